/* Goal: every line is one JSON object whatever the text holds, and a repeating event is held back
 * and counted. Method: lines go through a pipe and are read by a JSON parser. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "ops/json_text.h"
#include "ops/log.h"
#include "tests/seeded.h"

static int pipe_ends[2];

static void set_up(void)
{
    cr_assert_eq(pipe2(pipe_ends, O_NONBLOCK), 0);
    log_open(pipe_ends[1], LOG_INFO);
}

TestSuite(log, .init = set_up);

static json_t *next_line(void)
{
    static char bytes[1 << 16];
    static size_t have;
    const ssize_t got = read(pipe_ends[0], bytes + have, sizeof bytes - have);
    have += got > 0 ? (size_t)got : 0;
    char *end = memchr(bytes, '\n', have);
    if (end == NULL)
        return NULL;
    json_error_t error;
    json_t *line = json_loadb(bytes, (size_t)(end - bytes), 0, &error);
    cr_assert_neq(line, NULL, "not JSON: %s: %.*s", error.text, (int)(end - bytes), bytes);
    have -= (size_t)(end + 1 - bytes);
    memmove(bytes, end + 1, have);
    return line;
}

Test(log, fields_come_back)
{
    log_line(LOG_WARN, "test.fields", log_text("text", "a \"b\" \\ \n\x01 \xff ü"),
             log_u64("big", INT64_MAX), log_i64("small", INT64_MIN), log_bool("yes", true));
    log_line(LOG_DEBUG, "test.below", log_u64("n", 1));
    json_t *line = next_line();
    cr_assert_str_eq(json_string_value(json_object_get(line, "level")), "warn");
    cr_assert_str_eq(json_string_value(json_object_get(line, "event")), "test.fields");
    cr_assert_str_eq(json_string_value(json_object_get(line, "text")),
                     "a \"b\" \\ \n\x01 \xef\xbf\xbd ü");
    cr_assert_eq(json_integer_value(json_object_get(line, "small")), INT64_MIN);
    cr_assert(json_is_true(json_object_get(line, "yes")));
    cr_assert_eq(strlen(json_string_value(json_object_get(line, "time"))), 27u);
    json_decref(line);
    cr_assert_eq(next_line(), NULL, "below the level asked for");
}

Test(log, any_bytes_make_one_valid_line)
{
    struct seeded random = seeded_start("log");
    char text[3000], event[32];
    for (int i = 0; i < 500; i++) {
        const size_t size = seeded_below(&random, sizeof text);
        for (size_t k = 0; k < size; k++)
            text[k] = (char)(1 + seeded_below(&random, 255));
        text[size] = '\0';
        snprintf(event, sizeof event, "test.%d", i); /* each its own limit, until places run out */
        log_line(LOG_INFO, event, log_text("a", text), log_text("b", text), log_text("c", text),
                 log_text("d", text), log_text("e", text));
        json_t *line = next_line();
        if (line != NULL)
            cr_assert_str_eq(json_string_value(json_object_get(line, "event")), event);
        json_decref(line);
    }
}

Test(log, a_repeating_event_is_held_back_and_counted)
{
    for (int i = 0; i < 100; i++)
        log_line(LOG_INFO, "test.flood", log_u64("i", (uint64_t)i));
    unsigned lines = 0;
    uint64_t held = 0;
    for (json_t *line; (line = next_line()) != NULL; lines++) {
        held += (uint64_t)json_integer_value(json_object_get(line, "held_back"));
        json_decref(line);
    }
    cr_assert_geq(lines, 10u);
    cr_assert_leq(lines + held, 100u);
    cr_assert_leq(lines, 21u, "ten a second, and a second may begin in the middle");
}

/* `leatd 2>&1 | less`: less reads a screenful and no more. */
Test(log, a_reader_that_stopped_costs_its_lines_and_nobody_waits, .timeout = 20)
{
    int ends[2];
    char scrap[4096] = { 0 };
    cr_assert_eq(pipe(ends), 0);
    const int room = fcntl(ends[1], F_GETPIPE_SZ);
    for (int filled = 0; filled < room; filled += (int)sizeof scrap)
        cr_assert_eq(write(ends[1], scrap, sizeof scrap), (ssize_t)sizeof scrap);
    log_open(ends[1], LOG_INFO);
    for (uint64_t i = 0; i < 3; i++)
        log_line(LOG_WARN, "test.full", log_u64("i", i));
    for (int emptied = 0; emptied < room; emptied += (int)sizeof scrap)
        cr_assert_eq(read(ends[0], scrap, sizeof scrap), (ssize_t)sizeof scrap);
    for (uint64_t lost = 3;; lost = 0) { /* told once, exactly */
        log_line(LOG_WARN, lost != 0 ? "test.after" : "test.later", log_u64("i", 3));
        const ssize_t got = read(ends[0], scrap, sizeof scrap);
        cr_assert_gt(got, 0);
        json_t *line = json_loadb(scrap, (size_t)got, 0, NULL);
        cr_assert_neq(line, NULL, "%.*s", (int)got, scrap);
        cr_assert_eq(json_integer_value(json_object_get(line, "lines_lost")), (json_int_t)lost);
        json_decref(line);
        if (lost == 0)
            break;
    }
}

Test(json_text, utf8_is_told_from_what_is_not)
{
    static const struct {
        const char *bytes;
        size_t size, length;
    } cases[] = {
        { "a", 1, 1 },
        { "\xc3\xbc", 2, 2 },
        { "\xe2\x82\xac", 3, 3 },
        { "\xf0\x9f\x98\x80", 4, 4 },
        { "\xc3", 1, 0 },
        { "\xc0\x80", 2, 0 },
        { "\xe0\x80\x80", 3, 0 },
        { "\xed\xa0\x80", 3, 0 },
        { "\xf4\x90\x80\x80", 4, 0 },
        { "\xff", 1, 0 },
        { "\x80", 1, 0 },
        { "", 0, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_assert_eq(json_text_utf8(cases[i].bytes, cases[i].size), cases[i].length, "case %zu", i);
}

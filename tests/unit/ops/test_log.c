/* Goal: every line is one JSON object whatever the text holds, a repeating event is held back and
 * counted, and a reader that stops costs lines, counted to the last one, and nobody's time.
 * Method: lines go through a pipe and are read by a JSON parser; pipes of one page and of nobody
 * who reads; a device that is full. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ops/json_text.h"
#include "ops/log.h"
#include "tests/support/seeded.h"

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

enum { LONG_BYTES = 900, LONG_LINES = 400 };

/* About 6 KiB, each event twice, so that none is held back. */
static void log_long(int n)
{
    char text[LONG_BYTES + 1], event[32];
    memset(text, 'x', LONG_BYTES);
    text[LONG_BYTES] = '\0';
    snprintf(event, sizeof event, "test.long_%d", n / 8);
    log_line(LOG_INFO, event, log_u64("n", (uint64_t)n), log_text("a", text), log_text("b", text),
             log_text("c", text), log_text("d", text), log_text("e", text), log_text("f", text));
}

static int pipe_of_one_page(int ends[2])
{
    cr_assert_eq(pipe(ends), 0);
    return fcntl(ends[1], F_SETPIPE_SZ, 4096);
}

/* `leatd 2>&1 | less`: less reads a screenful and no more. poll says that there is room, which is
 * less than a line. */
Test(log, a_reader_that_stopped_costs_its_lines_and_nobody_waits, .timeout = 60)
{
    int ends[2];
    cr_assert_gt(pipe_of_one_page(ends), 0);
    log_open(ends[1], LOG_INFO);
    log_start();
    for (int n = 0; n < LONG_LINES; n++)
        log_long(n);
    FILE *reader = fdopen(ends[0], "r");
    char *line = NULL;
    size_t room = 0;
    json_int_t told = 0, came = 0, last = -1, reports = 0;
    while (came + told < LONG_LINES) {
        cr_assert_gt(getline(&line, &room, reader), 0);
        json_t *json = json_loads(line, 0, NULL);
        cr_assert_neq(json, NULL, "%s", line);
        if (strcmp(json_string_value(json_object_get(json, "event")), "log.lines_lost") == 0) {
            told += json_integer_value(json_object_get(json, "lines"));
            reports++;
        } else {
            const json_int_t n = json_integer_value(json_object_get(json, "n"));
            cr_assert_gt(n, last, "in order");
            last = n;
            came++;
        }
        json_decref(json);
    }
    cr_assert_eq(came + told, LONG_LINES);
    cr_assert_eq(reports, 1, "one line tells of all that were lost");
    cr_assert_gt(told, 0);
    log_stop();
    free(line);
    fclose(reader);
}

Test(log, an_end_waits_for_a_reader_and_not_for_ever, .timeout = 60)
{
    int ends[2], n = 0;
    cr_assert_gt(pipe_of_one_page(ends), 0);
    char path[] = "/tmp/leat-test-log-XXXXXX", bytes[4096];
    const int file = mkstemp(path);
    log_open(file, LOG_INFO);
    log_start();
    for (; n < 16; n++)
        log_long(n);
    log_stop();
    cr_assert_gt(lseek(file, 0, SEEK_CUR), 16 * 6 * LONG_BYTES, "all is written when it returns");
    unlink(path);
    log_open(ends[1], LOG_INFO);
    log_start();
    for (; n < 32; n++)
        log_long(n);
    log_stop(); /* nobody reads */
    cr_assert_gt(read(ends[0], bytes, sizeof bytes), 0);
}

Test(log, what_cannot_be_written_is_counted_and_told_when_it_can)
{
    const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    log_open(full, LOG_INFO);
    for (uint64_t i = 0; i < 3; i++)
        log_line(LOG_WARN, "test.full", log_u64("i", i));
    log_open(pipe_ends[1], LOG_INFO);
    log_line(LOG_WARN, "test.after", log_u64("i", 3));
    json_int_t came = 0, lost = 0;
    for (json_t *line; (line = next_line()) != NULL;) {
        lost += json_integer_value(json_object_get(line, "lines"));
        came += json_object_get(line, "i") != NULL;
        json_decref(line);
    }
    cr_assert_eq(came + lost, 4, "%lld and %lld", (long long)came, (long long)lost);
    cr_assert_geq(lost, 1);
}

/* A disk that becomes full within a line. */
Test(log, a_line_that_was_cut_does_not_run_into_the_next)
{
    char path[] = "/tmp/leat-test-log-XXXXXX", text[2 * 4096];
    const int file = mkstemp(path);
    const struct rlimit small = { 100, 4096 }, larger = { 4096, 4096 };
    signal(SIGXFSZ, SIG_IGN);
    log_open(file, LOG_INFO);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    log_line(LOG_WARN, "test.cut", log_text("long", "0123456789012345678901234567890123456789"));
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &larger), 0);
    log_line(LOG_WARN, "test.whole", log_u64("i", 1));
    const ssize_t got = pread(file, text, sizeof text - 1, 0);
    text[got > 0 ? got : 0] = '\0';
    unlink(path);
    const char *second = strchr(text, '\n');
    cr_assert_not_null(second);
    cr_assert_eq(second - text, 100);
    cr_assert_not_null(strstr(second, "log.lines_lost"));
    cr_assert_not_null(strstr(second, "test.whole"));
}

/* What a terminal obeys beyond ASCII. */
Test(json_text, the_second_block_of_control_characters_is_escaped)
{
    char out[64];
    const char in[] = "a\xc2\x9b\x7f\x1b\xc2\xa0";
    out[json_text_escape(out, in, sizeof in - 1)] = '\0';
    cr_assert_str_eq(out, "\"a\\u009b\\u007f\\u001b\xc2\xa0\"");
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

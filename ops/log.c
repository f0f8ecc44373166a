/* Log: one JSON object per line, to one descriptor (stderr). */
#include "ops/log.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ops/json_text.h"
#include "ops/log_writer.h"
#include "schema/units.h"

enum {
    LINE_BYTES = LOG_WRITER_LINE_BYTES,
    TEXT_BYTES_MAX = 1024,
    LINES_PER_SECOND = 10, /* per event */
    EVENTS_MAX = 64,       /* with a counter each; further events share the last one */
};

const char *const LOG_LEVEL_NAMES[] = {
    [LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error", NULL
};

static struct {
    pthread_mutex_t lock;
    enum log_level minimum;
    bool opened;
    struct event {
        char name[64];
        uint64_t second; /* of the count below */
        uint64_t lines;
        uint64_t held_back;
    } events[EVENTS_MAX];
} state = { .lock = PTHREAD_MUTEX_INITIALIZER, .minimum = LOG_INFO };

/* The counter of the event. Events without a counter of their own share the last one. */
static struct event *event_named(const char *name)
{
    for (int i = 0; i < EVENTS_MAX; i++) {
        struct event *event = &state.events[i];
        if (event->name[0] == '\0' && i < EVENTS_MAX - 1)
            snprintf(event->name, sizeof event->name, "%s", name);
        if (strncmp(event->name, name, sizeof event->name - 1) == 0)
            return event;
    }
    return &state.events[EVENTS_MAX - 1];
}

/* False: suppress this line. *held: the number of lines suppressed before this one. */
static bool may_write(const char *name, uint64_t second, uint64_t *held)
{
    struct event *event = event_named(name);
    *held = 0;
    if (event->second != second) {
        event->second = second;
        event->lines = 0;
        *held = event->held_back;
        event->held_back = 0;
    }
    if (event->lines == LINES_PER_SECOND) {
        event->held_back++;
        return false;
    }
    event->lines++;
    return true;
}

/* How long log_stop waits for the reader of the log. */
#define LOG_FLUSH_NS LEAT_NS_PER_S

struct line {
    char bytes[LINE_BYTES];
    size_t used;
    bool cut; /* something did not fit */
};

static void put(struct line *line, const char *text, size_t size)
{
    if (line->used + size > LINE_BYTES - 2) { /* keep room for the end of the line */
        line->cut = true;
        return;
    }
    memcpy(line->bytes + line->used, text, size);
    line->used += size;
}

static void put_text(struct line *line, const char *text)
{
    char escaped[6 * TEXT_BYTES_MAX + 2];
    const size_t size = strnlen(text, TEXT_BYTES_MAX);
    put(line, escaped, json_text_escape(escaped, text, size));
}

static void put_value(struct line *line, const struct log_field *field)
{
    char number[32];
    int size = 0;
    switch (field->kind) {
    case LOG_FIELD_TEXT: put_text(line, field->text); return;
    case LOG_FIELD_U64: size = snprintf(number, sizeof number, "%" PRIu64, field->u64); break;
    case LOG_FIELD_I64: size = snprintf(number, sizeof number, "%" PRId64, field->i64); break;
    case LOG_FIELD_BOOL:
        size = snprintf(number, sizeof number, "%s", field->boolean ? "true" : "false");
        break;
    }
    put(line, number, (size_t)size);
}

/* Writes the whole field or nothing. */
static void put_field(struct line *line, const struct log_field *field)
{
    const size_t before = line->used;
    put(line, ",", 1);
    put_text(line, field->name);
    put(line, ":", 1);
    put_value(line, field);
    if (line->cut)
        line->used = before;
    line->cut = false;
}

static void begin_line(struct line *line, const struct timespec *now, enum log_level level,
                       const char *event)
{
    struct tm utc;
    char head[64];
    line->used = 0;
    line->cut = false;
    gmtime_r(&now->tv_sec, &utc);
    const size_t size = strftime(head, sizeof head, "{\"time\":\"%Y-%m-%dT%H:%M:%S", &utc);
    put(line, head, size);
    put(line, head,
        (size_t)snprintf(head, sizeof head, ".%06ldZ\",\"level\":\"%s\",\"event\":",
                         now->tv_nsec / 1000, LOG_LEVEL_NAMES[level]));
    put_text(line, event);
}

static size_t end_line(struct line *line)
{
    memcpy(line->bytes + line->used, "}\n", 2);
    return line->used + 2;
}

/* Called by log_writer, on its thread. */
static size_t tell_lost(char bytes[LINE_BYTES], uint64_t lost)
{
    struct line line;
    struct timespec now;
    const struct log_field field = log_u64("lines", lost);
    clock_gettime(CLOCK_REALTIME, &now);
    begin_line(&line, &now, LOG_WARN, "log.lines_lost");
    put_field(&line, &field);
    const size_t size = end_line(&line);
    memcpy(bytes, line.bytes, size);
    return size;
}

void log_open(int fd, enum log_level minimum)
{
    pthread_mutex_lock(&state.lock);
    state.minimum = minimum;
    state.opened = true;
    pthread_mutex_unlock(&state.lock);
    log_writer_set(fd, tell_lost);
}

/* Without log_open, lines go to stderr. */
static bool wants(enum log_level level, const char *event, uint64_t second, uint64_t *held)
{
    pthread_mutex_lock(&state.lock);
    if (!state.opened)
        log_writer_set(STDERR_FILENO, tell_lost);
    state.opened = true;
    const bool wanted = level >= state.minimum && may_write(event, second, held);
    pthread_mutex_unlock(&state.lock);
    return wanted;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields,
               size_t count)
{
    struct line line;
    struct timespec now;
    uint64_t held;
    clock_gettime(CLOCK_REALTIME, &now);
    if (!wants(level, event, (uint64_t)now.tv_sec, &held))
        return;
    begin_line(&line, &now, level, event);
    for (size_t i = 0; i < count; i++)
        put_field(&line, &fields[i]);
    if (held != 0) {
        const struct log_field field = log_u64("held_back", held);
        put_field(&line, &field);
    }
    log_writer_put(line.bytes, end_line(&line));
}

void log_say(const char *text)
{
    char line[LINE_BYTES];
    const size_t size = strnlen(text, sizeof line - 1);
    memcpy(line, text, size);
    line[size] = '\n';
    log_writer_put(line, size + 1);
}

void log_start(void)
{
    if (!log_writer_start())
        log_line(LOG_WARN, "log.no_thread",
                 log_text("then", "threads that log may block on the reader of the log"));
}

void log_stop(void)
{
    log_writer_stop(LOG_FLUSH_NS);
}

#include "ops/log.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ops/json_text.h"
#include "schema/units.h"

enum {
    LINE_BYTES = 16384,
    TEXT_BYTES_MAX = 1024,
    LINES_PER_SECOND = 10, /* of one event */
    EVENTS_MAX = 64,       /* limited one by one; the rest share the last place */
};

static struct {
    pthread_mutex_t lock;
    int fd;
    enum log_level minimum;
    uint64_t lost; /* lines that nobody took */
    struct event {
        char name[64];
        uint64_t second; /* the one it counts in */
        uint64_t lines;
        uint64_t held_back;
    } events[EVENTS_MAX];
} state = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = STDERR_FILENO, .minimum = LOG_INFO };

void log_open(int fd, enum log_level minimum)
{
    pthread_mutex_lock(&state.lock);
    state.fd = fd;
    state.minimum = minimum;
    pthread_mutex_unlock(&state.lock);
}

/* The counter of this event; the last one is for all that found no place of their own. */
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

/* False: hold this line back. *held: how many were, before this one. */
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

struct line {
    char bytes[LINE_BYTES];
    size_t used;
    bool cut; /* something did not fit */
};

static void put(struct line *line, const char *text, size_t size)
{
    if (line->used + size > LINE_BYTES - 2) { /* room for the end is kept */
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

/* Whole, or not at all. */
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

/* One write a line. A pipe or terminal that is full (its reader stopped) costs the line, not the
 * thread: a shard does not wait for whoever reads the log. One at a time, or two would share the
 * room that one saw. */
static void write_line(int fd, const char *bytes, size_t size, uint64_t lost)
{
    struct pollfd out = { .fd = fd, .events = POLLOUT };
    pthread_mutex_lock(&state.lock);
    const bool taken = poll(&out, 1, 0) > 0 && write(fd, bytes, size) > 0;
    state.lost += taken ? 0 : lost + 1;
    pthread_mutex_unlock(&state.lock);
}

void log_write(enum log_level level, const char *event, const struct log_field *fields,
               size_t count)
{
    static const char *const levels[] = { "debug", "info", "warn", "error" };
    struct timespec now;
    struct tm utc;
    char head[64];
    uint64_t held;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    pthread_mutex_lock(&state.lock);
    const int fd = state.fd;
    const bool wanted = level >= state.minimum && may_write(event, (uint64_t)now.tv_sec, &held);
    const uint64_t lost = wanted ? state.lost : 0;
    state.lost -= lost;
    pthread_mutex_unlock(&state.lock);
    if (!wanted)
        return;

    struct line line = { .used = 0 };
    const size_t size = strftime(head, sizeof head, "{\"time\":\"%Y-%m-%dT%H:%M:%S", &utc);
    put(&line, head, size);
    put(&line, head,
        (size_t)snprintf(head, sizeof head, ".%06ldZ\",\"level\":\"%s\",\"event\":",
                         now.tv_nsec / 1000, levels[level]));
    put_text(&line, event);
    for (size_t i = 0; i < count; i++)
        put_field(&line, &fields[i]);
    if (held != 0) {
        const struct log_field field = log_u64("held_back", held);
        put_field(&line, &field);
    }
    if (lost != 0) {
        const struct log_field field = log_u64("lines_lost", lost);
        put_field(&line, &field);
    }
    memcpy(line.bytes + line.used, "}\n", 2);
    write_line(fd, line.bytes, line.used + 2, lost);
}

/* Log: one JSON object a line, on one descriptor (stderr).
 *
 *   {"time":"2026-11-24T10:11:12.123456Z","level":"warn","event":"log.normal_pages","topic":"quotes"}
 *
 * Role: format; limit a repeating event to 10 lines a second, saying how many were held back; never
 * wait for the log's reader (log_writer does), saying how many lines that cost ("log.lines_lost").
 * Must not know: who logs, what for. Not for a record's way. Threads: any; a line is one write(2).
 */
#ifndef LEAT_OPS_LOG_H
#define LEAT_OPS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_field {
    const char *name;
    enum { LOG_FIELD_TEXT, LOG_FIELD_U64, LOG_FIELD_I64, LOG_FIELD_BOOL } kind;
    union {
        const char *text; /* any bytes; escaped, invalid UTF-8 replaced, cut at 1,024 bytes */
        uint64_t u64;
        int64_t i64;
        bool boolean;
    };
};

/* Lines below `minimum` are dropped. Before this is called: stderr, LOG_INFO. */
void log_open(int fd, enum log_level minimum);

/* From now on a thread of its own writes the lines; before, whoever logs does. A reader that stops
 * costs the lines that 256 KiB do not hold, and nobody waits for it. */
void log_start(void);
/* Writes what waits, for a second at most, and ends the thread. The last call of all. */
void log_stop(void);

/* A line of text that is no event, in order with those that are; cut at 16 KiB. After log_open. */
void log_say(const char *text);

/* `event`: "room.what_happened". */
void log_write(enum log_level level, const char *event, const struct log_field *fields,
               size_t count);

static inline struct log_field log_text(const char *name, const char *text)
{
    return (struct log_field){ .name = name, .kind = LOG_FIELD_TEXT, .text = text };
}

static inline struct log_field log_u64(const char *name, uint64_t value)
{
    return (struct log_field){ .name = name, .kind = LOG_FIELD_U64, .u64 = value };
}

static inline struct log_field log_i64(const char *name, int64_t value)
{
    return (struct log_field){ .name = name, .kind = LOG_FIELD_I64, .i64 = value };
}

static inline struct log_field log_bool(const char *name, bool value)
{
    return (struct log_field){ .name = name, .kind = LOG_FIELD_BOOL, .boolean = value };
}

/* log_line(LOG_INFO, "leatd.ready", log_text("control", address), log_u64("shards", n)) */
#define log_line(level, event, ...)                                        \
    log_write((level), (event), (const struct log_field[]){ __VA_ARGS__ }, \
              sizeof((const struct log_field[]){ __VA_ARGS__ }) / sizeof(struct log_field))

#endif

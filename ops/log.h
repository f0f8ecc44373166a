/* Log: one JSON object per line, to one descriptor (stderr).
 *
 *   {"time":"2026-11-24T10:11:12.123456Z","level":"warn","event":"log.normal_pages","topic":"quotes"}
 *
 * Role: formats lines. Limits each event to 10 lines per second and says how many were suppressed
 * ("held_back"). Never blocks on the reader of the log; log_writer reports lines that were dropped
 * for it ("log.lines_lost").
 * Must not know: who logs, or why. Must not be called on the record path.
 * Threads: any; each line is one write(2). */
#ifndef LEAT_OPS_LOG_H
#define LEAT_OPS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* "debug", ...: by log_level; NULL-terminated. */
extern const char *const LOG_LEVEL_NAMES[];

struct log_field {
    const char *name;
    enum { LOG_FIELD_TEXT, LOG_FIELD_U64, LOG_FIELD_I64, LOG_FIELD_BOOL } kind;
    union {
        const char *text; /* any bytes: escaped, invalid UTF-8 replaced, truncated at 1,024 bytes */
        uint64_t u64;
        int64_t i64;
        bool boolean;
    };
};

/* Sets the descriptor and the minimum level; lines below it are discarded. Default: stderr,
 * LOG_INFO. */
void log_open(int fd, enum log_level minimum);

/* Starts a thread that writes the lines; without it, the calling thread writes. If the reader
 * stops, 256 KiB of lines are queued and further lines are dropped; no caller blocks. */
void log_start(void);
/* Waits at most one second for the queued lines to be written, then ends the thread. Must be the
 * last call. */
void log_stop(void);

/* Writes a line of plain text, in order with the events; truncated at 16 KiB. Call after log_open.
 */
void log_say(const char *text);

/* Writes one event. `event`: "component.what_happened". */
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

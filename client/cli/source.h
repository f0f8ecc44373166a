/* The source of `leat pub`: delimited text from a file or standard input, or the UDP payloads of a
 * capture.
 *
 * Role: one record after another, with its recording time if the source has one.
 * Must not know: topics, clients, pace.
 * Threads: one. */
#ifndef LEAT_CLIENT_CLI_SOURCE_H
#define LEAT_CLIENT_CLI_SOURCE_H

#include <stddef.h>
#include <stdint.h>

enum { SOURCE_RECORD_BYTES_MAX = 1 << 24 }; /* the largest record the library accepts */

struct source;
struct capture_counts;

struct source_record {
    const uint8_t *bytes; /* valid until the next call */
    size_t size;
    uint64_t number; /* 1-based: line or packet */
    int64_t time_ns; /* time of capture, ns since 1970; 0: unknown */
};

enum source_said {
    SOURCE_RECORD,
    SOURCE_WAIT, /* nothing yet: wait for source_fd */
    SOURCE_END,
    SOURCE_ERROR, /* source_error says what */
};

/* `path` NULL: standard input. A file may be gzip. An empty `delimiter` makes the whole input one
 * record. Both functions return NULL on failure; `error_text` then says why. */
struct source *source_open_text(const char *path, const char *delimiter, size_t delimiter_size,
                                char error_text[256]);
struct source *source_open_pcap(const char *path, char error_text[256]);
enum source_said source_next(struct source *s, struct source_record *out);
/* The descriptor to wait for after SOURCE_WAIT. */
int source_fd(void);
/* Valid until the next call. */
const char *source_error(const struct source *s);
/* NULL for text. */
const struct capture_counts *source_capture_counts(const struct source *s);
void source_close(struct source *s);

#endif

/* Where `leat pub` takes records from: delimited text of a file or of standard input, or the UDP
 * payloads of a capture.
 *
 * Role: one record after the other, with the time it was recorded if the source knows.
 * Must not know: topics, clients, pace. Threads: one. */
#ifndef LEAT_CLIENT_CLI_SOURCE_H
#define LEAT_CLIENT_CLI_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SOURCE_RECORD_BYTES_MAX = 1 << 24 }; /* the library takes no larger one */

struct source;
struct capture_counts;

struct source_record {
    const uint8_t *bytes; /* valid until the next call */
    size_t size;
    uint64_t number; /* 1-based: line or packet */
    int64_t time_ns; /* of capture, ns since 1970; 0: unknown */
};

enum source_said {
    SOURCE_RECORD,
    SOURCE_WAIT, /* nothing now: wait for source_fd */
    SOURCE_END,
    SOURCE_ERROR, /* source_error says what */
};

/* `path` NULL: standard input. A file may be gzip. `delimiter` empty: the whole input is one
 * record. Each returns NULL with a sentence in `error_text`. */
struct source *source_open_text(const char *path, const char *delimiter, size_t delimiter_size,
                                char error_text[256]);
struct source *source_open_pcap(const char *path, char error_text[256]);
enum source_said source_next(struct source *s, struct source_record *out);
/* To be waited on after SOURCE_WAIT. */
int source_fd(const struct source *s);
/* Valid until the next call. */
const char *source_error(const struct source *s);
/* NULL for text. */
const struct capture_counts *source_capture_counts(const struct source *s);
void source_close(struct source *s);

#endif

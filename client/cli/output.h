/* Standard output, gathered and written when it is worth it or when there is nothing else to do.
 *
 * Role: a buffer, JSON pieces into it, and a writer that never blocks the client's own work: a pipe
 * that takes nothing more is waited for beside the client. A reader that went away is an end, not a
 * failure. Must not know: records, topics.
 * Threads: one. */
#ifndef LEAT_CLIENT_CLI_OUTPUT_H
#define LEAT_CLIENT_CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/cli/cli.h"

struct output {
    struct cli *cli;
    uint8_t *bytes;
    size_t size;
    size_t room;
    bool regular; /* a file: every write is taken whole */
    bool closed;  /* the reader is gone: everything is dropped from here on */
    int error;    /* errno of a failed write, or 0 */
};

/* False: no memory. End with output_close, which does not flush. */
bool output_open(struct output *out, struct cli *cli);
void output_close(struct output *out);

void output_bytes(struct output *out, const void *bytes, size_t size);
void output_text(struct output *out, const char *text);
void output_u64(struct output *out, uint64_t number);
/* A JSON string; what is not UTF-8 does not come here: ask output_is_utf8. */
void output_json(struct output *out, const char *bytes, size_t size);
/* "..." in base64 (RFC 4648, padded). */
void output_base64(struct output *out, const uint8_t *bytes, size_t size);
bool output_is_utf8(const char *bytes, size_t size);

/* Writes everything, or until the reader is gone or the user stops a writer that waits. */
void output_flush(struct output *out);
/* Whether it is time to flush before adding more. */
bool output_full(const struct output *out);

#endif

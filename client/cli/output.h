/* Buffered standard output, written when the buffer is full enough or there is nothing else to do.
 *
 * Role: a buffer, JSON pieces appended to it, and a writer that never blocks the client: it waits
 * for a full pipe together with the client. A closed pipe ends the output and is not an error.
 * Must not know: records, topics.
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
    bool regular; /* a regular file, which accepts every write whole */
    bool closed;  /* the reader closed the pipe: further output is dropped */
    int error;    /* errno of a failed write, or 0 */
};

/* False: no memory. Free with output_close, which does not flush. */
bool output_open(struct output *out, struct cli *cli);
void output_close(struct output *out);

void output_bytes(struct output *out, const void *bytes, size_t size);
void output_text(struct output *out, const char *text);
void output_u64(struct output *out, uint64_t number);
/* Appends a JSON string. The bytes must be UTF-8: check with output_is_utf8. */
void output_json(struct output *out, const char *bytes, size_t size);
/* Appends "..." in base64 (RFC 4648, padded). */
void output_base64(struct output *out, const uint8_t *bytes, size_t size);
bool output_is_utf8(const char *bytes, size_t size);

/* Writes everything. Stops if the reader closes the pipe, or if the user stops the command while
 * the pipe is full. */
void output_flush(struct output *out);
/* True if the buffer should be flushed before more is added. */
bool output_full(const struct output *out);

#endif

/* Log writer: queues lines in a ring buffer for the one thread that writes them.
 *
 * Role: queues whole lines without blocking and writes each with one write(2). Counts the lines
 * that did not fit or could not be written, and reports their number once lines can be written
 * again.
 * Must not know: the content of lines.
 *
 * A reader that stopped (a full pipe, a terminal after Ctrl-S) blocks only the writing thread.
 * Before log_writer_start and after log_writer_stop the caller writes, and may block.
 *
 * Threads: any; log_writer_start and log_writer_stop: one thread. */
#ifndef LEAT_OPS_LOG_WRITER_H
#define LEAT_OPS_LOG_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LOG_WRITER_RING_BYTES = 256 << 10,
    LOG_WRITER_LINE_BYTES = 16384, /* maximum, with the newline */
};

/* Formats the line that reports `lost` lines; returns its length. */
typedef size_t log_writer_lost_fn(char line[LOG_WRITER_LINE_BYTES], uint64_t lost);

/* Sets the descriptor and the function that formats the report about lost lines. Before this call,
 * all lines are lost. */
void log_writer_set(int fd, log_writer_lost_fn *tell_lost);

/* Starts the thread. False: it could not be created, and callers continue to write. */
bool log_writer_start(void);

/* Queues one whole line of 1 to LOG_WRITER_LINE_BYTES bytes. */
void log_writer_put(const char *line, size_t size);

/* Waits at most `patience_ns` for the ring to be written, then ends the thread. A thread that still
 * blocks on the reader is detached. */
void log_writer_stop(uint64_t patience_ns);

#endif

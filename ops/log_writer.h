/* The log's writer: lines wait in a ring of bytes for the one thread that writes them.
 *
 * Role: take whole lines without waiting, write each with one write(2), count those that found no
 * room or could not be written, and have that told once lines can be written again.
 * Must not know: what a line says.
 *
 * A reader that stopped (a full pipe, a terminal after Ctrl-S) holds the writing thread and nobody
 * else. Before log_writer_start, and after log_writer_stop, the caller writes, and may wait.
 *
 * Threads: any, but start and stop: one. */
#ifndef LEAT_OPS_LOG_WRITER_H
#define LEAT_OPS_LOG_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LOG_WRITER_RING_BYTES = 256 << 10,
    LOG_WRITER_LINE_BYTES = 16384, /* at most, with its end */
};

/* Makes the line that says how many were lost, and returns its length. */
typedef size_t log_writer_lost_fn(char line[LOG_WRITER_LINE_BYTES], uint64_t lost);

/* Where lines go from now on, and how the lost ones are told. Before this: nowhere. */
void log_writer_set(int fd, log_writer_lost_fn *tell_lost);

/* Begins the thread. False: there is none, and callers go on writing. */
bool log_writer_start(void);

/* One whole line, 1 to LOG_WRITER_LINE_BYTES bytes. */
void log_writer_put(const char *line, size_t size);

/* Waits at most so long (ns) for what is in the ring to be written, then ends the thread; one that
 * still waits for its reader is left to the end of the process. */
void log_writer_stop(uint64_t patience_ns);

#endif

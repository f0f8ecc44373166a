/* Ringlog: the bytes of one log, by position, in a ring.
 *
 *      head                          tail
 *   ...|=============================|...........        tail - head <= size
 *      chunk  chunk  chunk  chunk  chunk
 *
 * Role: append whole runs of bytes, hand out slices, forget from the head, and never overwrite a
 * chunk that somebody still sends from (a pin). Must not know: batches, offsets, who reads.
 *
 * A position is a byte's number since the log was created; it is never reused.
 *
 * Threads: the owning shard, except ringlog_unpin (any thread). */
#ifndef LEAT_BROKER_LOG_RINGLOG_H
#define LEAT_BROKER_LOG_RINGLOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/log/logmem.h"
#include "schema/limits.h"

struct ringlog {
    struct logmem mem;
    uint64_t mask;
    uint64_t head;
    uint64_t tail;
    bool ever_pinned;       /* false: nothing needs looking at */
    _Atomic uint32_t *pins; /* by chunk of the ring */
};

/* As logmem_open; `size` is a power of two, at least LEAT_RING_BYTES_MIN. The log is empty: head
 * and tail are at `first_position`, a multiple of LEAT_ALIGN. */
enum leat_error ringlog_open(struct ringlog *out, uint64_t size, uint64_t first_position,
                             struct logmem_budget *budget, uint64_t *missing_bytes);
void ringlog_close(struct ringlog *log, struct logmem_budget *budget);

/* The byte at `position`; bytes follow it contiguously up to the tail. head <= position <= tail. */
static inline uint8_t *ringlog_at(const struct ringlog *log, uint64_t position)
{
    return log->mem.base + (position & log->mask);
}

static inline uint64_t ringlog_free(const struct ringlog *log)
{
    return log->mem.size - (log->tail - log->head);
}

/* True when a chunk that the next `size` bytes would overwrite is pinned. */
bool ringlog_pinned(const struct ringlog *log, uint64_t size);

/* True while anybody sends from it. */
bool ringlog_any_pinned(const struct ringlog *log);

/* Writes `size` <= ringlog_free bytes at the tail, which moves. What it overwrites is not pinned.
 */
void ringlog_append(struct ringlog *log, const void *bytes, uint64_t size);

/* Forgets everything below `position`, head <= position <= tail. */
static inline void ringlog_release(struct ringlog *log, uint64_t position)
{
    log->head = position;
}

/* The bytes [position, position + size), which lie in one chunk of the newest half of the ring, are
 * being sent from: they are not overwritten before the matching unpin. Returns the chunk for it. */
uint32_t ringlog_pin(struct ringlog *log, uint64_t position, uint64_t size);
void ringlog_unpin(struct ringlog *log, uint32_t chunk);

#endif

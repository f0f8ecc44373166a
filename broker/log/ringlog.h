/* Ringlog: the bytes of one log in a ring, addressed by position.
 *
 *      head                          tail
 *   ...|=============================|...........        tail - head <= size
 *      chunk  chunk  chunk  chunk  chunk
 *
 * Role: append runs of bytes, return slices, release from the head. A chunk that somebody still
 * sends from is pinned, and is never overwritten.
 * Must not know: batches, offsets, who reads.
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
    bool ever_pinned;       /* false: `pins` need not be read */
    _Atomic uint32_t *pins; /* counts, by chunk of the ring */
};

/* Like logmem_open; `size` is a power of two, at least LEAT_RING_BYTES_MIN. The log is empty: head
 * and tail are at `first_position`, a multiple of LEAT_ALIGN. */
enum leat_error ringlog_open(struct ringlog *out, uint64_t size, uint64_t first_position,
                             struct logmem_budget *budget, uint64_t *missing_bytes);
void ringlog_close(struct ringlog *log, struct logmem_budget *budget);

/* The byte at `position`, head <= position <= tail. The bytes up to the tail follow
 * contiguously. */
static inline uint8_t *ringlog_at(const struct ringlog *log, uint64_t position)
{
    return log->mem.base + (position & log->mask);
}

static inline uint64_t ringlog_free(const struct ringlog *log)
{
    return log->mem.size - (log->tail - log->head);
}

/* True when the next `size` bytes would overwrite a pinned chunk. */
bool ringlog_pinned(const struct ringlog *log, uint64_t size);

/* True while any chunk is pinned. */
bool ringlog_any_pinned(const struct ringlog *log);

/* Writes `size` <= ringlog_free bytes at the tail and advances it. No chunk that it overwrites may
 * be pinned. */
void ringlog_append(struct ringlog *log, const void *bytes, uint64_t size);

/* Releases everything below `position`, head <= position <= tail. */
static inline void ringlog_release(struct ringlog *log, uint64_t position)
{
    log->head = position;
}

/* Keeps the bytes [position, position + size) from being overwritten until the matching unpin. They
 * must lie in one chunk, and in the newest half of the ring. Returns the chunk, for
 * ringlog_unpin. */
uint32_t ringlog_pin(struct ringlog *log, uint64_t position, uint64_t size);
void ringlog_unpin(struct ringlog *log, uint32_t chunk);

#endif

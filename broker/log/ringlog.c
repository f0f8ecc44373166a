/* Ringlog: the bytes of one log in a ring, addressed by position. */
#include "broker/log/ringlog.h"

#include <assert.h>
#include <stdlib.h>

/* The processor's own prefetcher covers what lies further ahead. */
enum { LINE_BYTES = 64, AHEAD_BYTES = 4 * LINE_BYTES };

enum leat_error ringlog_open(struct ringlog *out, uint64_t size, uint64_t first_position,
                             struct logmem_budget *budget, uint64_t *missing_bytes)
{
    assert(size >= LEAT_RING_BYTES_MIN && (size & (size - 1)) == 0);
    assert(first_position % LEAT_ALIGN == 0);
    struct ringlog log = { .mask = size - 1, .head = first_position, .tail = first_position };
    *missing_bytes = 0;
    log.pins = calloc(size / LEAT_CHUNK_BYTES, sizeof *log.pins);
    if (log.pins == NULL)
        return LEAT_ERR_NO_MEMORY;
    const enum leat_error error = logmem_open(&log.mem, size, budget, missing_bytes);
    if (error != LEAT_OK) {
        free(log.pins);
        return error;
    }
    *out = log;
    return LEAT_OK;
}

void ringlog_close(struct ringlog *log, struct logmem_budget *budget)
{
    logmem_close(&log->mem, budget);
    free(log->pins);
    log->pins = NULL;
}

static uint32_t chunk_of(const struct ringlog *log, uint64_t position)
{
    return (uint32_t)((position & log->mask) / LEAT_CHUNK_BYTES);
}

bool ringlog_pinned(const struct ringlog *log, uint64_t size)
{
    if (!log->ever_pinned)
        return false;
    const uint64_t last = log->tail + size - 1;
    for (uint64_t at = log->tail - log->tail % LEAT_CHUNK_BYTES; at <= last;
         at += LEAT_CHUNK_BYTES) {
        const uint32_t chunk = chunk_of(log, at);
        /* The tail's own chunk needs no check. Only the newest half of the ring is ever pinned, so
         * pins of this chunk are of bytes written since the tail entered it. */
        if (at < log->tail)
            continue;
        /* Pairs with the release in ringlog_unpin: the sender is done reading. */
        if (atomic_load_explicit(&log->pins[chunk], memory_order_acquire) != 0)
            return true;
    }
    return false;
}

bool ringlog_any_pinned(const struct ringlog *log)
{
    const uint64_t chunks = log->ever_pinned ? log->mem.size / LEAT_CHUNK_BYTES : 0;
    for (uint64_t i = 0; i < chunks; i++)
        if (atomic_load_explicit(&log->pins[i], memory_order_acquire) != 0)
            return true;
    return false;
}

/* The bytes after the tail were last touched one turn of the ring ago. Prefetched now, they are in
 * the cache for the next append, and its delivery does not wait for memory. */
static void fetch_ahead(const struct ringlog *log)
{
    const uint8_t *next = log->mem.base + (log->tail & log->mask);
    for (int at = 0; at < AHEAD_BYTES; at += LINE_BYTES)
        __builtin_prefetch(next + at, 1);
}

void ringlog_append(struct ringlog *log, const void *bytes, uint64_t size)
{
    assert(size <= ringlog_free(log));
    logmem_write(&log->mem, log->tail & log->mask, bytes, size);
    log->tail += size;
    fetch_ahead(log);
}

uint32_t ringlog_pin(struct ringlog *log, uint64_t position, uint64_t size)
{
    const uint32_t chunk = chunk_of(log, position);
    assert(size != 0 && position >= log->head && position + size <= log->tail);
    assert(chunk == chunk_of(log, position + size - 1));
    assert(log->tail - position <= log->mem.size / 2);
    log->ever_pinned = true;
    atomic_fetch_add_explicit(&log->pins[chunk], 1, memory_order_relaxed);
    return chunk;
}

void ringlog_unpin(struct ringlog *log, uint32_t chunk)
{
    /* Pairs with the acquire in ringlog_pinned. */
    const uint32_t before = atomic_fetch_sub_explicit(&log->pins[chunk], 1, memory_order_release);
    assert(before != 0);
    (void)before;
}

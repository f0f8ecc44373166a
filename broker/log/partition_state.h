/* Partition state: what the files partition*.c share, and nobody else sees.
 *
 *      partition.c        open, close, append, retention, what readers take
 *      partition_seek.c   where a reader begins
 *
 * Threads: the owning shard; counters are read by anybody. */
#ifndef LEAT_BROKER_LOG_PARTITION_STATE_H
#define LEAT_BROKER_LOG_PARTITION_STATE_H

#include <assert.h>
#include <stdatomic.h>

#include "broker/log/index.h"
#include "broker/log/partition.h"
#include "broker/log/ringlog.h"
#include "broker/log/times.h"
#include "schema/batch.h"

/* One writer, many readers: plain moves, never torn. */
typedef _Atomic uint64_t partition_counter;

static inline uint64_t partition_get(const partition_counter *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

static inline void partition_set(partition_counter *c, uint64_t value)
{
    atomic_store_explicit(c, value, memory_order_relaxed);
}

static inline void partition_add(partition_counter *c, uint64_t n)
{
    partition_set(c, partition_get(c) + n);
}

struct partition {
    bool pinned; /* an append found the place still being sent from */
    bool held;   /* an append found that required readers hold the place */
    /* What an append touches, together. */
    struct ringlog log;
    struct index index;
    partition_counter head_position,
        tail_position; /* copies of log.head and log.tail, for others */
    partition_counter head_offset, next_offset;
    partition_counter batches_in, records_in, bytes_in;
    uint64_t offset_limit;
    uint64_t wants_below;      /* offsets left under this: ask for more */
    uint64_t keep_bytes;       /* retention_bytes, or the whole ring */
    uint64_t overran_position; /* everything below was overwritten, not retired */
    uint32_t batch_bytes_max;
    uint32_t record_bytes_max;
    uint32_t leader_epoch;
    bool asked; /* for offsets, and not given yet */
    uint8_t overrun;

    struct times times;
    partition_counter evicted_records;
    partition_counter duplicates, refused, busy, required_lost;
    struct required_readers required;
    struct producer_dedup_table *producers;
    struct logmem_budget *budget;
    struct partition_options options;
};

/* The header of the batch there. */
static inline struct leat_batch partition_batch_at(const struct partition *p, uint64_t position)
{
    struct leat_batch batch;
    const enum leat_error error =
        leat_batch_parse(&batch, ringlog_at(&p->log, position), LEAT_BATCH_HEADER_BYTES);
    /* It was checked when it came in. */
    assert(error == LEAT_OK);
    (void)error;
    return batch;
}

#endif

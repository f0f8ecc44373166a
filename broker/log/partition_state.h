/* Partition state: shared by the files partition*.c, and by no others.
 *
 *      partition.c        open, close, append, retention, slices for readers
 *      partition_seek.c   where a reader begins
 *
 * Threads: the owning shard; any thread may read the counters. */
#ifndef LEAT_BROKER_LOG_PARTITION_STATE_H
#define LEAT_BROKER_LOG_PARTITION_STATE_H

#include <assert.h>
#include <stdatomic.h>

#include "broker/log/index.h"
#include "broker/log/partition.h"
#include "broker/log/ringlog.h"
#include "broker/log/times.h"
#include "schema/batch.h"

/* One writer, many readers: relaxed accesses are plain moves and are never torn. */
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
    bool pinned; /* an append found its place in the ring pinned by a sender */
    bool held;   /* an append found its place in the ring held by required readers */
    /* What an append touches is kept together. */
    struct ringlog log;
    struct index index;
    partition_counter head_position,
        tail_position; /* copies of log.head and log.tail, for other threads */
    partition_counter head_offset, next_offset;
    partition_counter batches_in, records_in, bytes_in;
    uint64_t offset_limit;
    uint64_t wants_below;      /* when at most so many offsets are left, ask for more */
    uint64_t keep_bytes;       /* retention_bytes, or the whole ring */
    uint64_t overran_position; /* everything below was overwritten by appends, not evicted by
                                  retention */
    uint32_t batch_bytes_max;
    uint32_t record_bytes_max;
    uint32_t leader_epoch;
    bool asked; /* offsets were requested and not received yet; or none are needed */
    uint8_t overrun;

    struct times times;
    partition_counter evicted_records;
    partition_counter duplicates, refused, busy, required_lost;
    struct required_readers required;
    struct producer_dedup_table *producers;
    struct logmem_budget *budget;
    struct partition_options options;
};

/* Parses the header of the batch at `position`. */
static inline struct leat_batch partition_batch_at(const struct partition *p, uint64_t position)
{
    struct leat_batch batch;
    const enum leat_error error =
        leat_batch_parse(&batch, ringlog_at(&p->log, position), LEAT_BATCH_HEADER_BYTES);
    /* The header was checked when the batch was appended. */
    assert(error == LEAT_OK);
    (void)error;
    return batch;
}

#endif

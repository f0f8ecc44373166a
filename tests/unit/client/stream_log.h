/* A log's bytes in memory, and a consumer's stream that is fed with them.
 *
 * Role: what the tests of a partition's stream have in common.
 * Must not know: what is tested.
 * Threads: one; each Criterion test is a process of its own. */
#ifndef LEAT_TESTS_UNIT_CLIENT_STREAM_LOG_H
#define LEAT_TESTS_UNIT_CLIENT_STREAM_LOG_H

#include <criterion/criterion.h>
#include <string.h>

#include "client/partition_stream.h"
#include "client/ringmap.h"
#include "tests/support/seeded.h"

enum { LOG_BYTES = 1 << 20, OFFSETS_MAX = 1 << 14 };

static uint8_t log_bytes[LOG_BYTES];
static uint64_t log_end, log_next_offset;
static uint64_t batch_at[OFFSETS_MAX], batch_offset[OFFSETS_MAX]; /* where batches begin */
static uint32_t batch_count;

static inline void log_append(uint32_t records, uint32_t value_size)
{
    uint8_t *at = log_bytes + log_end;
    uint32_t size = LEAT_BATCH_HEADER_BYTES;
    static uint8_t value[4096];
    for (uint32_t i = 0; i < records; i++) {
        const uint64_t offset = log_next_offset + i;
        memcpy(value, &offset, sizeof offset);
        const struct leat_record_view record = { .value = value, .value_size = value_size };
        size += leat_record_write(at + size, &record, 0);
    }
    const struct leat_batch batch = { .size = size, .record_count = records, .producer_epoch = 1 };
    leat_batch_seal(at, &batch);
    leat_batch_stamp(at, log_next_offset, 5, 1);
    batch_at[batch_count] = log_end;
    batch_offset[batch_count++] = log_next_offset;
    log_end += size;
    log_next_offset += records;
}

static inline void log_fill(struct seeded *seed, uint64_t bytes)
{
    log_end = log_next_offset = batch_count = 0;
    while (log_end < bytes)
        log_append(1 + seeded_below(seed, 5), 8 + seeded_below(seed, 200));
}

static struct ringmap window;

static inline void start(struct partition_stream *stream, uint64_t position, uint64_t offset)
{
    *stream = (struct partition_stream){ 0 };
    if (window.bytes == NULL)
        cr_assert_eq(ringmap_reserve(&window, 4096, false), LEAT_OK);
    partition_stream_init(stream, window.bytes, window.size - 1, 8192);
    const struct partition_stream_start first = { .position = position,
                                                  .offset = offset,
                                                  .log_epoch = 1 };
    partition_stream_start(stream, &first);
}

static inline void feed(struct partition_stream *stream, uint64_t position, uint32_t size)
{
    uint8_t *into;
    cr_assert_eq(partition_stream_data_in_order(stream, position, size, &into), LEAT_OK);
    memcpy(into, log_bytes + position, size);
    partition_stream_arrived(stream, size);
}

static inline uint64_t value_of(const struct leat_record_view *view)
{
    uint64_t value;
    memcpy(&value, view->value, sizeof value);
    return value;
}

#endif

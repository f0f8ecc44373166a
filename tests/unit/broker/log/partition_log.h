/* A partition under a test, its producers' batches and its clock.
 *
 * Role: what the tests of partitions have in common; a refusal that no test asked for fails it.
 * Must not know: what is tested.
 * Threads: one; each Criterion test is a process of its own. */
#ifndef LEAT_TESTS_UNIT_BROKER_LOG_PARTITION_LOG_H
#define LEAT_TESTS_UNIT_BROKER_LOG_PARTITION_LOG_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "broker/log/partition.h"
#include "schema/batch.h"
#include "schema/crc32c.h"
#include "tests/support/seeded.h"

enum { RING = 1 << 18, RECORD_MAX = 8192 };

static struct logmem_budget budget = { .limit_bytes = 64 << 20, .pages = LOGMEM_NORMAL };
static uint8_t bytes[1 << 17];
static leat_ns now = 1000;
static uint64_t wall = UINT64_C(1700000000000000000);

static inline void pass(uint64_t ns)
{
    now += ns;
    wall += ns;
}

static inline struct partition_options defaults(void)
{
    return (struct partition_options){ .topic_id = 3,
                                       .log_epoch = 4,
                                       .first_offset = 70,
                                       .offset_limit = LEAT_OFFSET_NONE,
                                       .ring_bytes = RING,
                                       .record_bytes_max = RECORD_MAX,
                                       .required_timeout_ns = 1000,
                                       .leader_epoch = 1 };
}

static inline struct partition *open_partition(const struct partition_options *options)
{
    struct partition *p;
    uint64_t missing;
    cr_assert_eq(partition_open(&p, options, &budget, &missing), LEAT_OK);
    return p;
}

static inline struct producer_dedup *bind(struct partition *p, uint64_t id)
{
    struct producer_dedup *producer;
    bool was_bound;
    cr_assert_eq(producer_dedup_open(partition_producers(p), id, 1, PRODUCER_DEDUP_NEW,
                                     MAKER_NOBODY, &producer, &was_bound),
                 LEAT_OK);
    return producer;
}

static inline size_t make(uint64_t id, uint64_t sequence, uint32_t count, uint32_t value_size)
{
    static uint8_t value[1 << 16];
    uint8_t *at = bytes + LEAT_BATCH_HEADER_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        memset(value, (int)(sequence + i + id), value_size);
        const struct leat_record_view record = { .value = value, .value_size = value_size };
        at += leat_record_write(at, &record, 0);
    }
    const struct leat_batch batch = { .producer_id = id,
                                      .producer_epoch = 1,
                                      .base_sequence = sequence,
                                      .size = (uint32_t)(at - bytes),
                                      .record_count = count };
    leat_batch_seal(bytes, &batch);
    return batch.size;
}

static inline struct publish_result publish(struct partition *p, struct producer_dedup *producer,
                                            size_t size)
{
    struct publish_result result;
    partition_publish(p, producer, bytes, size, now, wall, &result);
    return result;
}

static struct required_lost lost[REQUIRED_READERS_MAX];

/* Of nobody in particular. */
static inline int attach(struct partition *p, uint64_t name_hash, uint64_t position)
{
    uint64_t given_up;
    return partition_required_attach(p, name_hash, position, (struct maker){ 0 }, &given_up);
}

#endif

/* Goal: whatever the wall clock does, a log forgets by age neither early nor late, and a time is
 * looked up in the newest line of times that covers it, in bounded memory. Method: partitions whose
 * clocks are arguments: single steps with known answers, more steps than lines are kept, a clock
 * that is slewed for days, and random steps against a model (printed seed). */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "broker/log/partition.h"
#include "broker/log/times.h"
#include "schema/batch.h"
#include "tests/support/seeded.h"

enum { RING = 1 << 18, MODEL_MAX = 20000 };
#define SECONDS(n) ((uint64_t)(n)*LEAT_NS_PER_S)
#define MINUTES(n) SECONDS(60 * (n))
#define DAYS(n) MINUTES(24 * 60 * (n))

static struct logmem_budget budget = { .limit_bytes = 64 << 20, .pages = LOGMEM_NORMAL };
static leat_ns now = SECONDS(1000);
static uint64_t wall = UINT64_C(1700000000000000000);
static uint64_t sequence;
static struct producer_dedup *producer;

static void pass(uint64_t ns)
{
    now += ns;
    wall += ns;
}

static struct partition *open_log(leat_ns retention_ns)
{
    const struct partition_options options = { .topic_id = 3,
                                               .log_epoch = 4,
                                               .offset_limit = LEAT_OFFSET_NONE,
                                               .ring_bytes = RING,
                                               .record_bytes_max = 8192,
                                               .retention_ns = retention_ns,
                                               .leader_epoch = 1 };
    struct partition *p;
    uint64_t missing;
    bool was_bound;
    cr_assert_eq(partition_open(&p, &options, &budget, &missing), LEAT_OK);
    cr_assert_eq(producer_dedup_open(partition_producers(p), 1, 1, PRODUCER_DEDUP_NEW, MAKER_NOBODY,
                                     &producer, &was_bound),
                 LEAT_OK);
    sequence = 0;
    return p;
}

/* One record now; its offset. */
static uint64_t append(struct partition *p)
{
    uint8_t bytes[LEAT_BATCH_HEADER_BYTES + 256];
    const struct leat_record_view record = { .value = (const uint8_t *)"value", .value_size = 5 };
    uint8_t *end = bytes + LEAT_BATCH_HEADER_BYTES;
    end += leat_record_write(end, &record, 0);
    const struct leat_batch batch = { .producer_id = 1,
                                      .producer_epoch = 1,
                                      .base_sequence = sequence++,
                                      .size = (uint32_t)(end - bytes),
                                      .record_count = 1 };
    leat_batch_seal(bytes, &batch);
    struct publish_result result;
    partition_publish(p, producer, bytes, batch.size, now, wall, &result);
    cr_assert_eq(result.status, LEAT_OK);
    return result.base_offset;
}

static uint64_t find(struct partition *p, uint64_t time_ns)
{
    struct partition_place place;
    partition_see_clock(p, now, wall);
    cr_assert_eq(partition_seek(p, PARTITION_TIME, time_ns, &place), LEAT_OK);
    return place.offset;
}

static uint64_t kept(struct partition *p)
{
    struct required_lost lost[REQUIRED_READERS_MAX];
    partition_retain(p, now, lost);
    return partition_next_offset(p) - partition_head_offset(p);
}

Test(times, a_jump_forward_by_an_hour_takes_nothing_of_ten_minutes)
{
    struct partition *p = open_log(MINUTES(10));
    for (int i = 0; i < 5; i++) {
        append(p);
        pass(MINUTES(1));
    }
    wall += MINUTES(60);
    cr_assert_eq(kept(p), 5u);
    cr_assert_eq(partition_age(p, partition_head(p), now), MINUTES(5));
    append(p);
    cr_assert_eq(kept(p), 6u, "nor does an append after the jump");
    pass(MINUTES(5) - 1);
    cr_assert_eq(kept(p), 6u);
    for (uint64_t left = 5; left > 0; left--, pass(MINUTES(1))) {
        pass(1);
        cr_assert_eq(kept(p), left, "each one at its own ten minutes");
        now--;
        wall--;
    }
    pass(1);
    cr_assert_eq(kept(p), 0u);
    partition_close(p);
}

Test(times, ten_days_ahead_for_a_second_keep_nothing_for_ten_days)
{
    struct partition *p = open_log(MINUTES(10));
    struct partition *all = open_log(0);
    cr_assert_eq(append(all), 0u);
    const uint64_t before = wall;
    pass(SECONDS(1));
    wall += DAYS(10);
    cr_assert_eq(append(all), 1u);
    const uint64_t ahead = wall;
    pass(SECONDS(1));
    wall -= DAYS(10);
    const uint64_t corrected = wall;
    cr_assert_eq(find(all, corrected), 2u, "nothing was appended since");
    pass(SECONDS(1));
    cr_assert_eq(append(all), 2u);
    pass(SECONDS(1));
    cr_assert_eq(append(all), 3u);
    cr_assert_eq(find(all, corrected), 2u);
    cr_assert_eq(find(all, wall), 3u);
    cr_assert_eq(find(all, wall + 1), 4u);
    cr_assert_eq(find(all, ahead), 4u, "after all that the newest line holds");
    cr_assert_eq(find(all, before), 0u);
    cr_assert_eq(find(all, before + 1), 1u);
    cr_assert_eq(find(all, 0), 0u);
    cr_assert_eq(find(all, UINT64_MAX), 4u);
    cr_assert_eq(partition_age(all, partition_head(all), now), SECONDS(4));
    partition_close(all);

    (void)kept(p);
    partition_close(p);
    p = open_log(MINUTES(10));
    append(p);
    wall += DAYS(10);
    append(p);
    wall -= DAYS(10);
    append(p);
    pass(MINUTES(10) - 1);
    cr_assert_eq(kept(p), 3u);
    pass(1);
    cr_assert_eq(kept(p), 0u);
    partition_close(p);
}

Test(times, steps_back_begin_a_line_each)
{
    struct partition *p = open_log(0);
    const uint64_t start = wall;
    for (uint64_t i = 0; i < 5; i++) { /* 10 s, a record a second, and back to the start */
        for (uint64_t k = 0; k < 10; k++, pass(SECONDS(1)))
            cr_assert_eq(append(p), 10 * i + k);
        wall = start + 1;
        for (uint64_t k = 1; k < 10; k++)
            cr_assert_eq(find(p, start + SECONDS(k)), 10 * (i + 1), "the line to come");
    }
    for (uint64_t k = 0; k < 9; k++, pass(SECONDS(1)))
        cr_assert_eq(append(p), 50 + k);
    for (uint64_t k = 1; k < 9; k++)
        cr_assert_eq(find(p, start + SECONDS(k)), 50 + k);
    cr_assert_eq(partition_age(p, partition_head(p), now), SECONDS(59));
    partition_close(p);
}

Test(times, a_clock_that_is_slewed_for_days_keeps_stamps_and_ages_right)
{
    enum { RECORDS = 900 };
    static uint64_t stamps[RECORDS];
    static leat_ns at[RECORDS];
    static uint64_t positions[RECORDS];
    struct partition *p = open_log(0);
    for (uint64_t i = 0; i < RECORDS; i++) {
        stamps[i] = wall;
        at[i] = now;
        positions[i] = partition_visible(p);
        cr_assert_eq(append(p), i);
        for (int k = 0; k < 300; k++) { /* 5 minutes; an append could come at any of them */
            now += SECONDS(1);
            wall += SECONDS(1) + 500000;
            partition_see_clock(p, now, wall);
        }
    }
    for (uint64_t i = 0; i < RECORDS; i++) {
        const leat_ns age = now - at[i], told = partition_age(p, positions[i], now);
        cr_assert_leq(told, age, "never older than it is");
        /* 900 lines of 150 ms a record were joined into 64. */
        cr_assert_geq(told + MINUTES(24 * 5), age);
        const uint64_t found = find(p, stamps[i]);
        cr_assert_leq(found, i, "never beyond what was asked for");
        cr_assert_geq(found + 24, i);
    }
    partition_close(p);
}

Test(times, more_steps_than_lines_forget_nothing_early_and_little_late)
{
    enum { STEPS = 4 * TIMES_OLDER_MAX };
    struct partition *p = open_log(MINUTES(10));
    for (int i = 0; i < STEPS; i++) {
        wall = i % 2 == 0 ? wall + DAYS(10) : wall - DAYS(10);
        append(p);
        pass(SECONDS(1));
    }
    const uint64_t last = sequence;
    cr_assert_eq(kept(p), last);
    pass(MINUTES(10) - SECONDS(STEPS) - 1);
    for (uint64_t i = 0; i < STEPS; i++, pass(SECONDS(1))) /* record i is 1 ns too young */
        cr_assert_geq(kept(p), last - i, "second %lu: none too early", (unsigned long)i);
    cr_assert_eq(kept(p), 0u, "no line lasts for ten days");
    partition_close(p);
}

/* ---- against a model */

static struct entry {
    uint64_t stamp, position;
    leat_ns at;
    unsigned line;
} model[MODEL_MAX];

Test(times, random_steps_take_nothing_young_and_all_that_is_old, .timeout = 100)
{
    struct seeded random = seeded_start("times");
    struct partition *p = open_log(MINUTES(10));
    unsigned first = 0, last = 0, lines = 1;
    while (last < MODEL_MAX) {
        if (seeded_below(&random, 100) == 0) { /* about 10 lines in what is kept */
            const uint64_t by = SECONDS(1 + seeded_below(&random, 4000));
            wall = seeded_below(&random, 2) == 0 ? wall + by : wall - by;
            lines++;
        }
        model[last] = (struct entry){ wall, partition_visible(p), now, lines - 1 };
        cr_assert_eq(append(p), last);
        last++;
        pass(1 + seeded_below(&random, (uint32_t)SECONDS(2)));
        (void)kept(p);
        while (first < last && now - model[first].at >= MINUTES(10))
            first++;
        cr_assert_eq(partition_head_offset(p), first, "by the monotonic clock alone");
        const struct entry *e = &model[first + seeded_below(&random, last - first)];
        cr_assert_eq(partition_age(p, e->position, now), now - e->at);
        if (e->line + 1 == lines) { /* times of older lines may be in newer ones too */
            cr_assert_eq(find(p, e->stamp), (uint64_t)(e - model));
            cr_assert_eq(find(p, e->stamp + 1), (uint64_t)(e - model) + 1);
        }
    }
    partition_close(p);
}

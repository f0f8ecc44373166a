/* Goal: a log keeps what required readers and retention say, holds writers where it must, and
 * forgets the rest; readers that hold them too long lose their mark. Method: a partition with a
 * mark, an age or a size each, filled batch by batch to the limit. */
#include "tests/unit/broker/log/partition_log.h"

/* Publishes batches of 1080 bytes until one is refused; returns the sequence of that one. */
static uint64_t fill_until_busy(struct partition *p, struct producer_dedup *producer,
                                uint64_t sequence)
{
    for (;; sequence++) {
        const struct publish_result r = publish(p, producer, make(1, sequence, 1, 1000));
        if (r.status == LEAT_OK)
            continue;
        cr_assert_eq(r.status, LEAT_BUSY);
        return sequence;
    }
}

Test(partition_keeps, block_holds_the_writer_at_the_mark_and_nothing_else_does)
{
    struct partition_options options = defaults();
    options.overrun = PARTITION_BLOCK;
    struct partition *p = open_partition(&options);
    struct producer_dedup *producer = bind(p, 1);
    const int slot = attach(p, 99, 0);
    cr_assert_eq(attach(p, 99, 0), slot, "the same reader, again");
    uint64_t sequence = 0;
    struct publish_result r;
    for (;;) {
        r = publish(p, producer, make(1, sequence, 1, 1000));
        if (r.status != LEAT_OK)
            break;
        sequence++;
    }
    cr_assert_eq(r.status, LEAT_BUSY);
    cr_assert_gt(r.retry_after_us, 0u);
    cr_assert_eq(partition_head(p), 0u);
    partition_required_advance(p, slot, 1080); /* exactly one batch */
    cr_assert_eq(publish(p, producer, make(1, sequence, 1, 1000)).status, LEAT_OK);
    cr_assert_eq(publish(p, producer, make(1, sequence + 1, 1, 1000)).status, LEAT_BUSY);
    partition_required_detach(p, slot, now);
    partition_required_detach(p, slot, now);
    cr_assert_eq(partition_retain(p, now + 999, lost), 0u);
    cr_assert_eq(publish(p, producer, make(1, sequence + 1, 1, 1000)).status, LEAT_BUSY);
    cr_assert_eq(partition_retain(p, now + 1000, lost), 1u);
    cr_assert_eq(publish(p, producer, make(1, sequence + 1, 1, 1000)).status, LEAT_OK);
    partition_close(p);
}

Test(partition_keeps, a_mark_that_holds_writers_and_does_not_move_is_lost_once)
{
    struct partition_options options = defaults();
    options.overrun = PARTITION_BLOCK;
    struct partition *p = open_partition(&options);
    struct producer_dedup *producer = bind(p, 1);
    const leat_ns began = now;
    const int stuck = attach(p, 98, 0), slow = attach(p, 99, 0);
    uint64_t sequence = fill_until_busy(p, producer, 0);
    now = began + 999;
    partition_required_advance(p, slow, 1080);
    cr_assert_eq(publish(p, producer, make(1, sequence, 1, 1000)).status, LEAT_BUSY);
    cr_assert_eq(partition_retain(p, now, lost), 0u);
    now = began + 1500;
    cr_assert_eq(partition_retain(p, now, lost), 0u, "no writer has asked since");
    cr_assert_eq(publish(p, producer, make(1, sequence, 1, 1000)).status, LEAT_BUSY);
    cr_assert_eq(partition_retain(p, now, lost), 1u);
    cr_assert(lost[0].name_hash == 98 && lost[0].handle == stuck && lost[0].stuck);
    /* The other one moved: it holds by what it has not consumed, from now on. */
    cr_assert_eq(publish(p, producer, make(1, sequence, 1, 1000)).status, LEAT_OK);
    cr_assert_eq(publish(p, producer, make(1, sequence + 1, 1, 1000)).status, LEAT_BUSY);
    cr_assert_eq(partition_retain(p, now, lost), 0u);
    /* A new mark in the place of the lost one is not moved or left by the one who lost it. */
    const int other = attach(p, 97, 1080);
    cr_assert_neq(other, stuck);
    partition_required_advance(p, stuck, 1 << 14);
    partition_required_detach(p, stuck, now);
    partition_required_advance(p, slow, 1 << 14);
    cr_assert_eq(publish(p, producer, make(1, sequence + 1, 1, 1000)).status, LEAT_BUSY);
    partition_required_advance(p, other, 1 << 14);
    cr_assert_eq(publish(p, producer, make(1, sequence + 1, 1, 1000)).status, LEAT_OK);
    now = began;
    partition_close(p);
}

Test(partition_keeps, writers_that_gave_up_count_for_nothing)
{
    struct partition_options options = defaults();
    options.overrun = PARTITION_BLOCK;
    options.required_timeout_ns = 10 * REQUIRED_READERS_PAUSE_NS;
    struct partition *p = open_partition(&options);
    struct producer_dedup *producer = bind(p, 1);
    const leat_ns began = now;
    attach(p, 98, 0);
    const uint64_t sequence = fill_until_busy(p, producer, 0);
    now += 9 * REQUIRED_READERS_PAUSE_NS; /* nobody asks meanwhile */
    cr_assert_eq(publish(p, producer, make(1, sequence, 1, 1000)).status, LEAT_BUSY);
    for (int i = 0; i < 19; i++) {
        now += REQUIRED_READERS_PAUSE_NS / 2;
        cr_assert_eq(publish(p, producer, make(1, sequence, 1, 1000)).status, LEAT_BUSY);
        cr_assert_eq(partition_retain(p, now, lost), 0u);
    }
    now += REQUIRED_READERS_PAUSE_NS / 2;
    cr_assert_eq(publish(p, producer, make(1, sequence, 1, 1000)).status, LEAT_BUSY);
    cr_assert_eq(partition_retain(p, now, lost), 1u);
    now = began;
    partition_close(p);
}

Test(partition_keeps, required_readers_are_shared_out)
{
    struct partition_options options = defaults();
    options.overrun = PARTITION_BLOCK;
    struct partition *p = open_partition(&options);
    uint64_t given_up;
    int handles[REQUIRED_READERS_MAX];
    for (uint32_t i = 0; i < REQUIRED_READERS_OF_ADDRESS_MAX; i++) {
        const struct maker maker = { .connection = 1 + i / 2, .address = 1 };
        handles[i] = partition_required_attach(p, 100 + i, 0, maker, &given_up);
        cr_assert_geq(handles[i], 0);
        if (i == 1)
            cr_assert_eq(partition_required_attach(p, 7, 0, maker, &given_up),
                         REQUIRED_READERS_OF_CONNECTION);
    }
    const struct maker fifth = { .connection = 5, .address = 1 };
    cr_assert_eq(partition_required_attach(p, 7, 0, fifth, &given_up), REQUIRED_READERS_OF_ADDRESS);
    const struct maker stranger = { .connection = 6, .address = 2 };
    cr_assert_geq(partition_required_attach(p, 7, 0, stranger, &given_up), 0);
    cr_assert_eq(given_up, 0u);
    /* Only what is its own and what nobody has open gives way. */
    const struct maker of_first = { .connection = 1, .address = 1 };
    partition_required_detach(p, handles[2], now);
    cr_assert_eq(partition_required_attach(p, 8, 0, of_first, &given_up),
                 REQUIRED_READERS_OF_CONNECTION);
    partition_required_detach(p, handles[1], now);
    cr_assert_geq(partition_required_attach(p, 8, 0, of_first, &given_up), 0);
    cr_assert_eq(given_up, 101u);
    partition_close(p);
}

Test(partition_keeps, a_mark_within_a_batch_keeps_that_whole_batch)
{
    struct partition_options options = defaults();
    options.overrun = PARTITION_BLOCK;
    options.retention_ns = 100;
    options.retention_bytes = RING / 2;
    struct partition *p = open_partition(&options);
    struct producer_dedup *producer = bind(p, 1);
    const int slot = attach(p, 99, 0);
    uint64_t sequence = fill_until_busy(p, producer, 0);
    static const struct {
        uint64_t mark, head;
    } steps[] = { { 1, 0 },
                  { 1079, 0 },
                  { 1080, 1080 },
                  { 1081, 1080 },
                  { 3 * 1080 - 1, 2160 },
                  { 3 * 1080, 3240 },
                  { 9 * 1080 + 8, 9720 } };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        partition_required_advance(p, slot, steps[i].mark);
        sequence = fill_until_busy(p, producer, sequence);
        cr_assert_eq(partition_head(p), steps[i].head, "step %zu: by the writer", i);
        partition_retain(p, now + 1000, lost);
        cr_assert_eq(partition_head(p), steps[i].head, "step %zu: by age", i);
    }
    partition_close(p);
}

Test(partition_keeps, the_slowest_of_the_required_readers_holds_and_their_number_is_bounded)
{
    struct partition_options options = defaults();
    options.overrun = PARTITION_BLOCK;
    struct partition *p = open_partition(&options);
    struct producer_dedup *producer = bind(p, 1);
    int slots[REQUIRED_READERS_MAX];
    for (int i = 0; i < REQUIRED_READERS_MAX; i++)
        cr_assert_geq(slots[i] = attach(p, 100 + (uint64_t)i, 0), 0);
    cr_assert_eq(attach(p, 7, 0), -1);
    uint64_t sequence = fill_until_busy(p, producer, 0);
    for (int i = 0; i < REQUIRED_READERS_MAX; i++) {
        cr_assert_eq(partition_head(p), 0u, "reader %d has not moved", i);
        partition_required_advance(p, slots[i], 1080 * (uint64_t)(i + 1));
        partition_required_advance(p, slots[i], 0); /* never back */
        sequence = fill_until_busy(p, producer, sequence);
    }
    cr_assert_eq(partition_head(p), 1080u);
    /* A name that comes back in time keeps its mark; one that does not loses it. */
    partition_required_detach(p, slots[0], now);
    partition_required_detach(p, slots[1], now);
    cr_assert_eq(attach(p, 100, 0), slots[0]);
    cr_assert_eq(partition_retain(p, now + 1000, lost), 1u);
    sequence = fill_until_busy(p, producer, sequence);
    cr_assert_eq(partition_head(p), 1080u, "the one that came back still holds");
    cr_assert_geq(attach(p, 7, partition_visible(p)), 0, "a place is free");
    struct partition_stats stats;
    partition_stats(p, &stats);
    cr_assert_eq(stats.required_lost, 1u);
    partition_close(p);
}

Test(partition_keeps, retention_by_age_and_by_bytes)
{
    struct partition_options options = defaults();
    options.retention_ns = 100;
    options.retention_bytes = 10000;
    struct partition *p = open_partition(&options);
    struct producer_dedup *producer = bind(p, 1);
    for (uint64_t i = 0; i < 50; i++, pass(10))
        cr_assert_eq(publish(p, producer, make(1, i, 1, 920)).status, LEAT_OK);
    cr_assert_leq(partition_visible(p) - partition_head(p), 10000u);
    cr_assert_gt(partition_visible(p) - partition_head(p), 10000u - 1000);
    const uint64_t by_bytes = partition_head_offset(p);
    partition_retain(p, now - 1, lost);
    cr_assert_eq(partition_head_offset(p), by_bytes, "all younger than 100 ns");
    partition_retain(p, now + 50, lost);
    cr_assert_eq(partition_head_offset(p), partition_next_offset(p) - 4);
    cr_assert_not(partition_overran(p, 0), "retired, not overrun");
    partition_retain(p, now + 1000, lost);
    cr_assert_eq(partition_head(p), partition_visible(p));
    cr_assert_eq(partition_head_offset(p), partition_next_offset(p));
    struct partition_place place;
    cr_assert_eq(partition_seek(p, PARTITION_OFFSET, 0, &place), LEAT_OK);
    cr_assert_eq(place.offset, partition_next_offset(p), "an empty log: everything is to come");
    cr_assert_eq(partition_seek(p, PARTITION_TIME, 0, &place), LEAT_OK);
    cr_assert_eq(place.position, partition_visible(p));
    cr_assert_eq(partition_seek(p, PARTITION_OFFSET, partition_next_offset(p) + 1, &place),
                 LEAT_ERR_OUT_OF_RANGE);
    partition_close(p);
}

Test(partition_keeps, age_drops_a_bounded_number_a_call)
{
    enum { MANY = 6000 }; /* small batches, more than one call drops */
    struct partition_options options = defaults();
    options.ring_bytes = 1 << 20;
    options.retention_ns = 100;
    struct partition *p = open_partition(&options);
    struct producer_dedup *producer = bind(p, 1);
    for (uint64_t i = 0; i < MANY; i++)
        cr_assert_eq(publish(p, producer, make(1, i, 1, 8)).status, LEAT_OK);
    partition_retain(p, now + 99, lost);
    cr_assert_eq(partition_head(p), 0u, "none is too old");
    partition_retain(p, now + 100, lost);
    const uint64_t once = partition_head_offset(p) - options.first_offset;
    cr_assert(once > 0 && once < MANY, "in one call %lu", (unsigned long)once);
    for (int calls = 1; partition_head(p) != partition_visible(p); calls++) {
        cr_assert_lt(calls, 10);
        partition_retain(p, now + 100, lost);
    }
    partition_close(p);
}

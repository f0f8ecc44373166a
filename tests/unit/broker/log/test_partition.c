/* Goal: the log keeps exactly what was appended, in order, forgets exactly what policy says,
 * answers every batch with the right status, and finds any offset or time. Method: a model that
 * remembers every batch, random publishing with printed seed over many laps of the ring; and a case
 * for every status. */
#include "tests/unit/broker/log/partition_log.h"

enum { MODEL_MAX = 20000 };

/* ---- the model */

static struct entry {
    uint64_t position, offset, time, sequence, id;
    uint32_t size, count;
} model[MODEL_MAX];
static unsigned first, last; /* kept entries are first .. last - 1 */

static void check_bytes(const struct partition *p, const struct entry *e)
{
    uint64_t got;
    const uint8_t *at = partition_slice(p, e->position, e->size, &got);
    struct leat_batch batch;
    cr_assert_eq(got, e->size);
    cr_assert_eq(leat_batch_parse(&batch, at, got), LEAT_OK);
    cr_assert_eq(batch.base_offset, e->offset);
    cr_assert_eq(batch.append_time_ns, e->time);
    cr_assert_eq(batch.base_sequence, e->sequence);
    cr_assert_eq(batch.producer_id, e->id);
    cr_assert_eq(leat_batch_check(&batch, at, RECORD_MAX), LEAT_OK);
}

static void check_seeks(const struct partition *p, struct seeded *random)
{
    struct partition_place place;
    const struct entry *e = &model[first + seeded_below(random, last - first)];
    const uint64_t offset = e->offset + seeded_below(random, e->count);
    cr_assert_eq(partition_seek(p, PARTITION_OFFSET, offset, &place), LEAT_OK);
    cr_assert_eq(place.position, e->position);
    cr_assert_eq(place.offset, offset);
    /* The first batch at or after that time, or the tail. */
    const uint64_t time = e->time + seeded_below(random, 3) - 1;
    unsigned i = first;
    while (i < last && model[i].time < time)
        i++;
    cr_assert_eq(partition_seek(p, PARTITION_TIME, time, &place), LEAT_OK);
    cr_assert_eq(place.position, i < last ? model[i].position : partition_visible(p));
    cr_assert_eq(place.offset, i < last ? model[i].offset : partition_next_offset(p));
}

static void follow_head(const struct partition *p)
{
    while (first < last && model[first].position < partition_head(p))
        first++;
    cr_assert(first < last ? model[first].position == partition_head(p)
                                 && model[first].offset == partition_head_offset(p)
                           : partition_head(p) == partition_visible(p));
}

static void run_laps(uint64_t first_position)
{
    struct seeded random = seeded_start("partition");
    struct partition_options options = defaults();
    options.first_position = first_position;
    struct partition *p = open_partition(&options);
    cr_assert(partition_head(p) == first_position && partition_visible(p) == first_position);
    struct producer_dedup *producers[3] = { bind(p, 1), bind(p, 2), bind(p, 3) };
    uint64_t sequences[3] = { 0 }, offset = options.first_offset, position = first_position;
    uint64_t newest = 0;
    first = 0;
    for (last = 0; last < MODEL_MAX; last++) {
        const uint32_t who = seeded_below(&random, 3);
        const uint32_t count = 1 + seeded_below(&random, 8);
        const size_t size = make(who + 1, sequences[who], count, seeded_below(&random, 900));
        /* The wall clock is slewed back now and then. */
        if (seeded_below(&random, 20) == 0)
            wall -= 50;
        else
            pass(seeded_below(&random, 8));
        newest = wall > newest ? wall : newest;
        const struct publish_result result = publish(p, producers[who], size);
        cr_assert_eq(result.status, LEAT_OK);
        cr_assert_eq(result.base_offset, offset, "dense");
        model[last] = (struct entry){ position, offset,         newest, sequences[who],
                                      who + 1,  (uint32_t)size, count };
        sequences[who] += count;
        offset += count;
        position += size;
        last++;
        follow_head(p);
        cr_assert_leq(partition_visible(p) - partition_head(p), (uint64_t)RING);
        if (first > 0) /* nothing was dropped that would have fitted */
            cr_assert_gt(partition_visible(p) - model[first - 1].position, (uint64_t)RING);
        check_bytes(p, &model[first]);
        check_bytes(p, &model[last - 1]);
        check_bytes(p, &model[first + seeded_below(&random, last - first)]);
        check_seeks(p, &random);
        last--;
    }
    struct partition_stats stats;
    partition_stats(p, &stats);
    cr_assert_eq(stats.records_in, offset - options.first_offset);
    cr_assert_eq(stats.records_in - stats.evicted_records, offset - partition_head_offset(p));
    cr_assert_eq(stats.bytes_in, position - first_position);
    cr_assert_eq(stats.head_position, partition_head(p));
    cr_assert_eq(stats.tail_position, position);
    cr_assert(partition_overran(p, partition_head(p) - 1));
    partition_close(p);
    cr_assert_eq(budget.used_bytes, 0u);
}

Test(partition, keeps_exactly_the_newest_batches_that_fit_over_many_laps, .timeout = 100)
{
    run_laps(0);
}

Test(partition, a_log_may_begin_at_any_position, .timeout = 100)
{
    run_laps((UINT64_C(1) << 50) + 3 * RING / 4 + 8);
    struct partition_options options = defaults();
    struct partition *p;
    struct partition_stats stats;
    struct partition_place place;
    uint64_t missing;
    options.first_position = UINT64_C(1) << 40;
    p = open_partition(&options);
    partition_stats(p, &stats);
    cr_assert(stats.head_position == options.first_position
              && stats.tail_position == options.first_position && stats.bytes_in == 0);
    cr_assert_eq(partition_seek(p, PARTITION_EARLIEST, 0, &place), LEAT_OK);
    cr_assert(place.position == options.first_position && place.offset == options.first_offset);
    cr_assert_eq(partition_seek(p, PARTITION_OFFSET, 0, &place), LEAT_OK);
    cr_assert(place.position == options.first_position && place.offset == options.first_offset);
    cr_assert_not(partition_overran(p, 0), "nothing of it was overwritten");
    partition_close(p);
    options.first_position++;
    cr_assert_eq(partition_open(&p, &options, &budget, &missing), LEAT_ERR_INVALID);
}

Test(partition, every_status)
{
    struct partition_options options = defaults();
    struct partition *p = open_partition(&options);
    struct producer_dedup *producer = bind(p, 1);
    size_t size = make(1, 0, 3, 10);
    cr_assert_eq(publish(p, producer, size - 8).count, 0u, "the header says more than there is");
    cr_assert_eq(publish(p, producer, 10).status, LEAT_ERR_MALFORMED);
    bytes[size - 1] ^= 1;
    struct publish_result r = publish(p, producer, size);
    cr_assert_eq(r.status, LEAT_ERR_BAD_CRC);
    cr_assert_eq(r.count, 3u);
    cr_assert_eq(producer_dedup_next_sequence(producer), 0u, "the way may have damaged it");
    partition_refuse(p, producer, bytes, LEAT_ERR_BAD_CRC, &r);
    cr_assert(r.status == LEAT_ERR_BAD_CRC && r.count == 3);
    cr_assert_eq(publish(p, producer, size).status, LEAT_ERR_BAD_CRC,
                 "refused once, refused again");
    size = make(1, 3, 1, RECORD_MAX + 1);
    cr_assert_eq(publish(p, producer, size).status, LEAT_ERR_TOO_LARGE);
    size = make(1, 4, 2, 10);
    r = publish(p, producer, size);
    cr_assert_eq(r.status, LEAT_OK);
    cr_assert_eq(r.base_offset, 70u, "refused batches leave no hole");
    r = publish(p, producer, size);
    cr_assert(r.status == LEAT_OK && r.base_offset == 70, "a duplicate gets its old answer");
    size = make(1, 9, 1, 10);
    cr_assert_eq(publish(p, producer, size).status, LEAT_ERR_OUT_OF_ORDER);
    size = make(2, 6, 1, 10);
    cr_assert_eq(publish(p, producer, size).status, LEAT_ERR_FENCED, "another's id on this stream");
    size = make(1, 6, 1, 10);
    partition_refuse(p, producer, bytes, LEAT_ERR_TOO_LARGE, &r);
    cr_assert_eq(r.status, LEAT_ERR_TOO_LARGE);
    size = make(1, 7, 1, 10);
    cr_assert_eq(publish(p, producer, size).base_offset, 72u);
    partition_close(p);
}

/* Changes bytes of the batch that was just made and gives it a CRC that is right again. */
static void reseal(size_t at, uint8_t value)
{
    const uint32_t size = leat_batch_size_at(bytes);
    bytes[at] = value;
    leat_store32(bytes + LEAT_BATCH_STAMP_BYTES,
                 leat_crc32c(bytes + LEAT_BATCH_CRC_FROM, size - LEAT_BATCH_CRC_FROM));
}

Test(partition, what_is_wrong_with_a_batch_decides_whether_its_sequence_is_consumed)
{
    enum { FORMAT = 32, ATTRIBUTES = 33, EPOCH = 36, FIRST_VALUE_SIZE = LEAT_BATCH_HEADER_BYTES };
    static const struct {
        const char *what;
        size_t at;
        uint8_t value;
        enum leat_error status;
        uint32_t count; /* 0: nothing of the header can be trusted */
        bool consumed;
    } cases[] = {
        { "another format", FORMAT, 9, LEAT_ERR_UNSUPPORTED, 0, false },
        { "a codec", ATTRIBUTES, 1, LEAT_ERR_UNSUPPORTED, 0, false },
        { "more records than fit", 34, 200, LEAT_ERR_MALFORMED, 0, false },
        { "a newer epoch", EPOCH, 2, LEAT_ERR_FENCED, 2, false },
        { "an older epoch", EPOCH, 0, LEAT_ERR_FENCED, 2, false },
        { "a record too long", FIRST_VALUE_SIZE, 200, LEAT_ERR_MALFORMED, 2, true },
        { "a record too short", FIRST_VALUE_SIZE, 1, LEAT_ERR_MALFORMED, 2, true },
    };
    struct partition_options options = defaults();
    struct partition *p = open_partition(&options);
    struct producer_dedup *producer = bind(p, 1);
    uint64_t sequence = 0, refused = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const size_t size = make(1, sequence, 2, 24);
        reseal(cases[i].at, cases[i].value);
        const struct publish_result r = publish(p, producer, size);
        cr_assert_eq(r.status, cases[i].status, "%s", cases[i].what);
        cr_assert_eq(r.count, cases[i].count, "%s", cases[i].what);
        cr_assert_eq(r.base_offset, LEAT_OFFSET_NONE, "%s", cases[i].what);
        sequence += cases[i].consumed ? 2 : 0;
        refused += cases[i].consumed;
        cr_assert_eq(producer_dedup_next_sequence(producer), sequence, "%s", cases[i].what);
        cr_assert_eq(partition_visible(p), 0u, "%s", cases[i].what);
    }
    struct partition_stats stats;
    partition_stats(p, &stats);
    cr_assert_eq(stats.refused, refused);
    cr_assert_eq(stats.batches_in, 0u);
    partition_close(p);
}

/* Offsets of a log that was cut need not be dense. Nothing makes such a log yet, so the test writes
 * the header of a batch in the ring. */
Test(partition, offsets_are_read_from_headers_and_may_have_holes)
{
    struct partition_options options = defaults();
    struct partition *p = open_partition(&options);
    struct producer_dedup *producer = bind(p, 1);
    const uint64_t from = options.first_offset;
    struct partition_place place;
    uint64_t size, position = 0;
    for (uint64_t i = 0; i < 3; i++) {
        position = partition_visible(p);
        cr_assert_eq(publish(p, producer, make(1, 2 * i, 2, 8)).status, LEAT_OK);
    }
    uint8_t *header = (uint8_t *)(uintptr_t)partition_slice(p, position, 64, &size);
    leat_store64(header, from + 5); /* from + 4 is missing */
    cr_assert_eq(partition_seek(p, PARTITION_OFFSET, from + 3, &place), LEAT_OK);
    cr_assert(place.offset == from + 3 && place.position < position);
    cr_assert_eq(partition_seek(p, PARTITION_OFFSET, from + 4, &place), LEAT_OK);
    cr_assert(place.offset == from + 5 && place.position == position, "the first one behind it");
    cr_assert_eq(partition_seek(p, PARTITION_OFFSET, from + 6, &place), LEAT_OK);
    cr_assert(place.offset == from + 6 && place.position == position);
    uint64_t sequence = 6;
    for (; partition_head(p) < position; sequence += 2)
        cr_assert_eq(publish(p, producer, make(1, sequence, 2, 8)).status, LEAT_OK);
    cr_assert_eq(partition_head_offset(p), from + 5, "the head's offset is that of its header");
    struct partition_stats stats;
    partition_stats(p, &stats);
    cr_assert_eq(stats.evicted_records, 4u, "a hole holds no records");
    cr_assert_eq(stats.records_in, sequence);
    partition_close(p);
}

Test(partition, a_duplicate_is_answered_from_memory_and_then_only_known)
{
    struct partition_options options = defaults();
    struct partition *p = open_partition(&options);
    struct producer_dedup *producer = bind(p, 1);
    for (uint64_t i = 0; i <= LEAT_IN_FLIGHT_BATCHES_MAX; i++)
        cr_assert_eq(publish(p, producer, make(1, 2 * i, 2, 8)).status, LEAT_OK);
    const uint64_t tail = partition_visible(p);
    struct publish_result r = publish(p, producer, make(1, 2, 2, 8));
    cr_assert(r.status == LEAT_OK && r.base_offset == options.first_offset + 2, "the oldest known");
    r = publish(p, producer, make(1, 0, 2, 8));
    cr_assert_eq(r.status, LEAT_ERR_DUPLICATE, "one older");
    cr_assert_eq(r.base_offset, LEAT_OFFSET_NONE);
    size_t size = make(1, 0, 2, 8);
    bytes[size - 1] ^= 1;
    r = publish(p, producer, size);
    cr_assert_eq(r.status, LEAT_ERR_OUT_OF_ORDER, "damaged bytes are no duplicate");
    cr_assert(r.first_sequence == 0 && r.count == 2);
    make(1, 0, 2, 8);
    partition_refuse(p, producer, bytes, LEAT_ERR_TOO_LARGE, &r);
    cr_assert_eq(r.status, LEAT_ERR_TOO_LARGE, "what is too large was never appended");
    make(1, 3, 1, 8);
    partition_refuse(p, producer, bytes, LEAT_ERR_TOO_LARGE, &r);
    cr_assert_eq(r.status, LEAT_ERR_TOO_LARGE, "no CRC was checked, so nobody is fenced");
    cr_assert_eq(publish(p, producer, make(1, 3, 1, 8)).status, LEAT_ERR_FENCED, "cut anew");
    /* As many records of the same numbers, but others: not to be acknowledged. */
    size = make(1, 4, 2, 16);
    r = publish(p, producer, size);
    cr_assert_eq(r.status, LEAT_ERR_FENCED);
    cr_assert(r.first_sequence == 4 && r.count == 2 && r.base_offset == LEAT_OFFSET_NONE);
    bytes[size - 1] ^= 1;
    cr_assert_eq(publish(p, producer, size).status, LEAT_ERR_OUT_OF_ORDER,
                 "damaged bytes decide nothing");
    cr_assert_eq(partition_visible(p), tail, "nothing was appended twice");
    struct partition_stats stats;
    partition_stats(p, &stats);
    cr_assert_eq(stats.duplicates, 2u);
    cr_assert_eq(stats.batches_in, LEAT_IN_FLIGHT_BATCHES_MAX + 1u);
    cr_assert_eq(stats.records_in, 2u * (LEAT_IN_FLIGHT_BATCHES_MAX + 1));
    cr_assert_eq(stats.bytes_in, tail);
    partition_close(p);
}

Test(partition, every_offset_and_time_of_a_small_log_is_found)
{
    struct partition_options options = defaults();
    struct partition *p = open_partition(&options);
    struct producer_dedup *producer = bind(p, 1);
    struct partition_place place;
    uint64_t sequence = 0;
    first = last = 0;
    for (unsigned i = 0; i < 1200; i++) { /* more than one lap; three batches share a time */
        const uint32_t count = 1 + i % 5;
        pass(i % 3 == 0 ? 10 : 0);
        model[last] = (struct entry){ .position = partition_visible(p),
                                      .offset = partition_next_offset(p),
                                      .time = wall,
                                      .count = count };
        last++;
        cr_assert_eq(publish(p, producer, make(1, sequence, count, 150)).status, LEAT_OK);
        sequence += count;
        follow_head(p);
    }
    cr_assert_gt(first, 0u);
    for (unsigned i = first; i < last; i++) {
        const struct entry *e = &model[i];
        for (uint64_t k = 0; k < e->count; k++) {
            cr_assert_eq(partition_seek(p, PARTITION_OFFSET, e->offset + k, &place), LEAT_OK);
            cr_assert(place.position == e->position && place.offset == e->offset + k, "entry %u",
                      i);
        }
        unsigned same = i; /* the first batch of this time, or of just after the time before */
        while (same > first && model[same - 1].time == e->time)
            same--;
        for (uint64_t back = 0; back < 10; back++) {
            cr_assert_eq(partition_seek(p, PARTITION_TIME, e->time - back, &place), LEAT_OK);
            cr_assert_eq(place.position, model[same].position, "entry %u - %lu ns", i,
                         (unsigned long)back);
        }
    }
    const struct partition_place head = { partition_head(p), partition_head_offset(p) };
    const struct partition_place tail = { partition_visible(p), partition_next_offset(p) };
    const struct {
        enum partition_seek_at at;
        uint64_t value;
        struct partition_place place;
    } ends[] = {
        { PARTITION_EARLIEST, 0, head },
        { PARTITION_LATEST, 0, tail },
        { PARTITION_OFFSET, 0, head },
        { PARTITION_OFFSET, head.offset - 1, head },
        { PARTITION_OFFSET, tail.offset, tail },
        { PARTITION_TIME, 0, head },
        { PARTITION_TIME, model[last - 1].time + 1, tail },
        { PARTITION_TIME, UINT64_MAX, tail },
    };
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        cr_assert_eq(partition_seek(p, ends[i].at, ends[i].value, &place), LEAT_OK, "end %zu", i);
        cr_assert(place.position == ends[i].place.position && place.offset == ends[i].place.offset,
                  "end %zu", i);
    }
    cr_assert_eq(partition_seek(p, PARTITION_OFFSET, UINT64_MAX, &place), LEAT_ERR_OUT_OF_RANGE);
    partition_close(p);
}

/* Everything at once, under both policies: readers that mark, ages, a clock that goes back. */
static void live_through(struct seeded *random, enum partition_overrun overrun)
{
    struct partition_options options = defaults();
    options.overrun = (uint8_t)overrun;
    options.required_timeout_ns = LEAT_NS_PER_S; /* no mark is lost here */
    options.retention_ns = 400;
    options.retention_bytes = RING / 4 * 3;
    struct partition *p = open_partition(&options);
    struct producer_dedup *producer = bind(p, 1);
    uint64_t sequence = 0, mark = 0, newest = 0, busy = 0;
    const int slot = attach(p, 5, 0);
    first = last = 0;
    while (last < MODEL_MAX / 2) {
        if (seeded_below(random, 30) == 0)
            wall -= 50;
        else
            pass(seeded_below(random, 8));
        const uint32_t count = 1 + seeded_below(random, 4);
        const size_t size = make(1, sequence, count, seeded_below(random, 2000));
        const struct entry e = { partition_visible(p),
                                 partition_next_offset(p),
                                 wall > newest ? wall : newest,
                                 sequence,
                                 1,
                                 (uint32_t)size,
                                 count };
        const uint64_t head = partition_head(p);
        const struct publish_result r = publish(p, producer, size);
        if (r.status == LEAT_BUSY) {
            cr_assert_eq(overrun, PARTITION_BLOCK);
            cr_assert(partition_head(p) == head && partition_visible(p) == e.position,
                      "BUSY changes nothing");
            /* It is busy for a reason: what the mark protects leaves no room. */
            unsigned i = first;
            while (model[i].position + model[i].size <= mark)
                i++;
            cr_assert_gt(e.position + size - model[i].position, (uint64_t)RING);
            busy++;
        } else {
            cr_assert_eq(r.status, LEAT_OK);
            cr_assert_eq(r.base_offset, e.offset);
            model[last++] = e;
            sequence += count;
            newest = e.time;
        }
        if (seeded_below(random, 50) == 0)
            partition_retain(p, now, lost);
        follow_head(p);
        if (overrun == PARTITION_BLOCK && first > 0)
            cr_assert_leq(model[first - 1].position + model[first - 1].size, mark, "was held");
        if (seeded_below(random, 100) == 0) { /* anywhere, not only whole */
            mark += seeded_below(random, 3) * (partition_visible(p) - mark) / 3;
            partition_required_advance(p, slot, mark);
        }
        if (first < last) {
            check_bytes(p, &model[first]);
            check_seeks(p, random);
        }
    }
    cr_assert_eq(busy != 0, overrun == PARTITION_BLOCK, "the case came up");
    partition_close(p);
}

Test(partition, marks_ages_and_sizes_together_keep_their_promises, .timeout = 100)
{
    struct seeded random = seeded_start("partition, all together");
    live_through(&random, PARTITION_EVICT);
    live_through(&random, PARTITION_BLOCK);
}

Test(partition, more_offsets_are_wanted_once_at_half)
{
    struct partition_options options = defaults();
    options.offset_limit = 170;
    struct partition *p = open_partition(&options);
    struct producer_dedup *producer = bind(p, 1);
    cr_assert_not(partition_wants_offsets(p));
    cr_assert_eq(publish(p, producer, make(1, 0, 49, 1)).status, LEAT_OK);
    cr_assert_not(partition_wants_offsets(p));
    cr_assert_eq(publish(p, producer, make(1, 49, 1, 1)).status, LEAT_OK);
    cr_assert(partition_wants_offsets(p));
    cr_assert_not(partition_wants_offsets(p), "asked already");
    cr_assert_eq(publish(p, producer, make(1, 50, 51, 1)).status, LEAT_BUSY);
    cr_assert_eq(publish(p, producer, make(1, 50, 50, 1)).status, LEAT_OK);
    partition_offset_limit(p, 370);
    cr_assert_not(partition_wants_offsets(p));
    cr_assert_eq(publish(p, producer, make(1, 100, 100, 1)).status, LEAT_OK);
    cr_assert(partition_wants_offsets(p));
    partition_close(p);
}

Test(partition, sizes_out_of_range_are_refused_and_over_commits_are_exact)
{
    struct partition *p;
    uint64_t missing;
    struct partition_options o = defaults();
    o.ring_bytes = RING + 8;
    cr_assert_eq(partition_open(&p, &o, &budget, &missing), LEAT_ERR_INVALID);
    o = defaults();
    o.record_bytes_max = RING / 4; /* four largest batches do not fit */
    cr_assert_eq(partition_open(&p, &o, &budget, &missing), LEAT_ERR_INVALID);
    o = defaults();
    const uint64_t used = budget.limit_bytes - RING + 5;
    budget.used_bytes = used;
    cr_assert_eq(partition_open(&p, &o, &budget, &missing), LEAT_ERR_NO_MEMORY);
    cr_assert_eq(missing, 5u);
    cr_assert_eq(budget.used_bytes, used, "a refusal holds nothing");
    budget.used_bytes -= missing;
    cr_assert_eq(partition_open(&p, &o, &budget, &missing), LEAT_OK, "and it was exactly that");
    partition_close(p);
}

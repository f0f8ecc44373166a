/* Goal: whatever order the pieces of a publish stream come in, however often, and however often the
 * partition was busy, its log gets every batch once and in order, and every batch is answered; a
 * damaged one is answered only when a checksum of its way says that it was sent so.
 * Method: one stream over packets on a real partition; batches of many sizes cut into pieces that a
 * seed shuffles, doubles and delays; a model of what the log must hold. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "broker/shard/owned_partition.h"
#include "broker/shard/publish_stream.h"
#include "broker/shard/publisher_index.h"
#include "schema/batch.h"
#include "schema/crc32c.h"
#include "tests/support/seeded.h"

enum { RING = 1 << 20, BATCHES = 60, PIECES_MAX = 4096, ID = 7 };

static struct {
    struct logmem_budget budget;
    struct owned_partitions owned_partitions;
    struct owned_partition *owned;
    struct partition *partition;
    struct producer_dedup *producer;
    struct session session;
    struct session_path path;
    struct publish_stream *stream;
    struct publisher_index index;
    struct stream_buffers buffers;
} w;

static void set_up(void)
{
    uint64_t missing;
    bool was_bound;
    const struct partition_options options = { .topic_id = 1,
                                               .log_epoch = 3,
                                               .ring_bytes = RING,
                                               .record_bytes_max = 100000,
                                               .leader_epoch = 1,
                                               .offset_limit = LEAT_OFFSET_NONE };
    w.budget = (struct logmem_budget){ .limit_bytes = 4 << 20, .pages = LOGMEM_NORMAL };
    cr_assert_eq(partition_open(&w.partition, &options, &w.budget, &missing), LEAT_OK);
    owned_partitions_init(&w.owned_partitions);
    w.owned = owned_partition_new();
    cr_assert_neq(w.owned, NULL);
    owned_partitions_add(&w.owned_partitions, w.partition, w.owned);
    cr_assert_eq(producer_dedup_open(partition_producers(w.partition), ID, 0, PRODUCER_DEDUP_NEW,
                                     MAKER_NOBODY, &w.producer, &was_bound),
                 LEAT_OK);
    w.session.path = &w.path;
    stream_buffers_init(&w.buffers);
    const struct message_publish opening = { .producer_id = ID };
    cr_assert_eq(
        publish_stream_open(&w.stream, &w.session, w.owned, &w.buffers, w.producer, &opening),
        LEAT_OK);
    publisher_index_add(&w.index, w.stream);
}

static void tear_down(void)
{
    publish_stream_close(w.stream, 0);
    owned_partitions_remove(&w.owned_partitions, w.owned);
    partition_close(w.partition);
    free(w.owned);
}

TestSuite(publish_packets, .init = set_up, .fini = tear_down, .timeout = 60);

static uint32_t make_batch(uint8_t *at, uint64_t sequence, uint32_t count, uint32_t value_size)
{
    struct leat_batch_wire *header = (struct leat_batch_wire *)at;
    uint32_t size = LEAT_BATCH_HEADER_BYTES;
    const uint32_t record = (LEAT_RECORD_HEADER_BYTES + value_size + 7) / 8 * 8;
    memset(at, 0, LEAT_BATCH_HEADER_BYTES + (size_t)count * record);
    for (uint32_t i = 0; i < count; i++, size += record) {
        leat_store32(at + size, value_size);
        leat_store16(at + size + 4, 0xFFFF);
        memset(at + size + LEAT_RECORD_HEADER_BYTES, (int)(sequence + i), value_size);
    }
    leat_store32(header->size, size);
    leat_store16(header->last_record, (uint16_t)(count - 1));
    header->format = LEAT_BATCH_FORMAT;
    leat_store64(header->producer_id, ID);
    leat_store64(header->base_sequence, sequence);
    leat_store32(header->crc32c, leat_crc32c(at + LEAT_BATCH_CRC_FROM, size - LEAT_BATCH_CRC_FROM));
    return size;
}

struct piece {
    uint64_t position;
    uint32_t size;
};

static struct {
    uint8_t bytes[RING / 2];
    uint64_t size;
    uint32_t records;
    struct piece pieces[PIECES_MAX];
    uint32_t piece_count;
} sent;

static void make_stream(struct seeded *random)
{
    sent.size = sent.records = sent.piece_count = 0;
    for (int i = 0; i < BATCHES; i++) {
        const uint32_t count = 1 + seeded_below(random, 4);
        const uint32_t value =
            seeded_below(random, 10) == 0 ? seeded_below(random, 9000) : seeded_below(random, 200);
        const uint64_t from = sent.size;
        sent.size += make_batch(sent.bytes + sent.size, sent.records, count, value);
        sent.records += count;
        for (uint64_t at = from; at < sent.size;) {
            const uint32_t left = (uint32_t)(sent.size - at);
            const uint32_t cut = 64 + seeded_below(random, 1400);
            const uint32_t size = left < cut ? left : cut;
            sent.pieces[sent.piece_count++] = (struct piece){ .position = at, .size = size };
            at += size;
        }
    }
}

struct answers {
    uint64_t next_sequence; /* every record below was answered with its offset */
    uint32_t busy, full;
};

/* Gives the stream one piece and checks what it answers. */
static void give(const struct piece *piece, struct answers *answers)
{
    struct leat_ack_run run;
    const struct leat_frame_data frame = { .bytes = sent.bytes + piece->position,
                                           .size = piece->size,
                                           .position = piece->position };
    enum publish_outcome outcome = publish_stream_take_any_order(w.stream, &frame, 0, 1000, &run);
    answers->full += outcome == PUBLISH_FULL;
    for (; outcome == PUBLISH_ANSWER; outcome = publish_stream_more(w.stream, 0, 1000, &run)) {
        if (run.status == LEAT_BUSY) {
            answers->busy++;
            cr_assert_eq(run.first_sequence, answers->next_sequence);
            continue;
        }
        cr_assert_eq(run.status, LEAT_OK);
        cr_assert_eq(run.first_sequence, answers->next_sequence, "answers come in order, once");
        cr_assert_eq(run.base_offset, run.first_sequence);
        answers->next_sequence += run.count;
    }
    cr_assert_neq(outcome, PUBLISH_BROKEN);
}

static void check_log(void)
{
    cr_assert_eq(partition_next_offset(w.partition), sent.records);
    uint64_t size;
    const uint8_t *log = partition_slice(w.partition, 0, sent.size, &size);
    cr_assert_eq(size, sent.size);
    for (uint64_t at = 0; at < size;) {
        struct leat_batch batch;
        cr_assert_eq(leat_batch_parse(&batch, log + at, size - at), LEAT_OK);
        cr_assert_eq(memcmp(log + at + LEAT_BATCH_STAMP_BYTES,
                            sent.bytes + at + LEAT_BATCH_STAMP_BYTES,
                            batch.size - LEAT_BATCH_STAMP_BYTES),
                     0);
        at += batch.size;
    }
}

Test(publish_packets, any_order_and_any_repetition_gives_the_same_log)
{
    struct seeded random = seeded_start("publish_packets");
    for (int round = 0; round < 40; round++) {
        struct answers answers = { 0 };
        make_stream(&random);
        const uint32_t window = 1 + seeded_below(&random, 60);
        bool taken[PIECES_MAX] = { false };
        uint32_t first = 0;
        while (first < sent.piece_count) {
            /* Within a window, as a sender whose packets overtake each other has it. */
            const uint32_t most =
                sent.piece_count - first < window ? sent.piece_count - first : window;
            const uint32_t pick = first + seeded_below(&random, most);
            const uint32_t full = answers.full;
            give(&sent.pieces[pick], &answers);
            taken[pick] |= answers.full == full;
            while (first < sent.piece_count && taken[first])
                first++;
        }
        cr_assert_eq(answers.next_sequence, sent.records, "round %d", round);
        check_log();
        if (round + 1 < 40) {
            tear_down();
            set_up();
        }
    }
}

Test(publish_packets, what_was_busy_is_kept_and_goes_on_where_it_stood)
{
    struct seeded random = seeded_start("publish_packets_busy");
    struct answers answers = { 0 };
    make_stream(&random);
    partition_offset_limit(w.partition, 20);
    for (uint32_t i = 0; i < sent.piece_count; i++)
        give(&sent.pieces[i], &answers);
    cr_assert_eq(answers.busy, 1, "said once, not for every batch behind it");
    cr_assert_lt(answers.next_sequence, 21);
    const uint64_t at = w.stream->received_bytes;
    cr_assert_lt(at, sent.size);
    partition_offset_limit(w.partition, LEAT_OFFSET_NONE);
    for (uint32_t i = 0; i < sent.piece_count; i++)
        if (sent.pieces[i].position == at)
            give(&sent.pieces[i], &answers); /* its client sends only this one again */
    for (uint32_t i = 0; i < sent.piece_count; i++)
        give(&sent.pieces[i], &answers);
    cr_assert_eq(answers.next_sequence, sent.records);
    check_log();
}

Test(publish_packets, answers_can_be_given_again)
{
    struct seeded random = seeded_start("publish_packets_again");
    struct answers answers = { 0 };
    make_stream(&random);
    for (uint32_t i = 0; i < sent.piece_count; i++)
        give(&sent.pieces[i], &answers);
    uint64_t from = 0, next = 0;
    struct leat_ack_run run;
    while (publish_stream_answer_again(w.stream, &from, sent.records, &run)) {
        cr_assert_eq(run.first_sequence, next);
        cr_assert_eq(run.status, LEAT_OK);
        cr_assert_eq(run.base_offset, next);
        next += run.count;
    }
    cr_assert_eq(next, sent.records);
}

Test(publish_packets, beyond_the_credit_or_with_a_broken_header_the_stream_ends)
{
    struct leat_ack_run run;
    uint8_t bytes[128] = { 0 };
    struct leat_frame_data frame = { .bytes = bytes,
                                     .size = 128,
                                     .position = w.stream->credit - 127 };
    cr_assert_eq(publish_stream_take_any_order(w.stream, &frame, 0, 0, &run), PUBLISH_BROKEN);
    cr_assert_eq(run.status, LEAT_ERR_PROTOCOL);
    memset(bytes, 0xAB, sizeof bytes);
    frame.position = 0;
    cr_assert_eq(publish_stream_take_any_order(w.stream, &frame, 0, 0, &run), PUBLISH_BROKEN);
}

/* ---- damage */

enum { BEFORE = 200, COUNT = 2, VALUE = 20 }; /* more than are remembered one by one */

/* A batch that was appended, as the next one and whole. */
static uint32_t damage_ready(uint8_t *bytes)
{
    struct leat_ack_run run;
    for (uint64_t i = 0; i < BEFORE; i++) {
        const uint32_t size = make_batch(bytes, i, 1, VALUE);
        const struct leat_frame_data frame = { .bytes = bytes,
                                               .size = size,
                                               .position = w.stream->received_bytes };
        cr_assert_eq(publish_stream_take_any_order(w.stream, &frame, 0, 0, &run), PUBLISH_ANSWER);
        cr_assert_eq(run.status, LEAT_OK);
    }
    return make_batch(bytes, BEFORE, COUNT, VALUE);
}

/* One bit of the batch is wrong when it comes. A new stream each time: some of them end. */
static enum publish_outcome take_damaged(uint8_t *bytes, uint32_t size, uint32_t bit,
                                         struct leat_ack_run *run)
{
    bool was_bound;
    const struct message_publish opening = { .producer_id = ID };
    publish_stream_close(w.stream, 0);
    cr_assert_eq(producer_dedup_open(partition_producers(w.partition), ID, 0, PRODUCER_DEDUP_RESUME,
                                     MAKER_NOBODY, &w.producer, &was_bound),
                 LEAT_OK);
    cr_assert_eq(
        publish_stream_open(&w.stream, &w.session, w.owned, &w.buffers, w.producer, &opening),
        LEAT_OK);
    publisher_index_add(&w.index, w.stream);
    const struct leat_frame_data frame = { .bytes = bytes, .size = size };
    bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    const enum publish_outcome outcome = publish_stream_take_any_order(w.stream, &frame, 0, 0, run);
    bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    return outcome;
}

Test(publish_packets, without_checksums_nothing_follows_from_a_damaged_batch)
{
    static uint8_t bytes[512];
    struct leat_ack_run run;
    const uint32_t size = damage_ready(bytes);
    for (uint32_t bit = 8 * LEAT_BATCH_STAMP_BYTES; bit < 8 * size; bit++) {
        const enum publish_outcome outcome = take_damaged(bytes, size, bit, &run);
        const bool waits = bit / 8 >= LEAT_BATCH_CRC_FROM && bit / 8 < LEAT_BATCH_CRC_FROM + 4;
        cr_assert(outcome == PUBLISH_BROKEN || (outcome == PUBLISH_NOTHING && waits), "bit %u",
                  bit);
        cr_assert_eq(producer_dedup_next_sequence(w.producer), BEFORE, "bit %u: consumed", bit);
        cr_assert_eq(partition_next_offset(w.partition), BEFORE, "bit %u: appended", bit);
    }
    cr_assert_eq(take_damaged(bytes, size, 0, &run), PUBLISH_ANSWER, "a stamp is the broker's");
    cr_assert_eq(run.status, LEAT_OK);
}

Test(publish_packets, with_checksums_the_damage_is_the_producers_and_refused_once)
{
    static uint8_t bytes[512];
    struct leat_ack_run run;
    w.path.sealed = true;
    const uint32_t size = damage_ready(bytes);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(take_damaged(bytes, size, 8 * size - 1, &run), PUBLISH_ANSWER);
        cr_assert_eq(run.status, LEAT_ERR_BAD_CRC);
        cr_assert(run.first_sequence == BEFORE && run.count == COUNT);
        cr_assert_eq(producer_dedup_next_sequence(w.producer), BEFORE + COUNT);
    }
    /* Numbers that are damaged are nobody's, even then: one far below would be a duplicate. */
    const uint32_t second = make_batch(bytes, BEFORE + COUNT, COUNT, VALUE);
    for (uint32_t bit = 8 * 48; bit < 8 * 56; bit++) {
        if (((BEFORE + COUNT) ^ UINT64_C(1) << (bit - 8 * 48)) == BEFORE)
            continue; /* the one that was refused, and is refused again */
        cr_assert_eq(take_damaged(bytes, second, bit, &run), PUBLISH_BROKEN, "bit %u", bit);
        cr_assert_eq(run.status, LEAT_ERR_BAD_CRC);
        cr_assert_eq(producer_dedup_next_sequence(w.producer), BEFORE + COUNT);
    }
}

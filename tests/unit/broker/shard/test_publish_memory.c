/* Goal: batches that come in pieces cost what the budget has and no more; who finds no room is told
 * BUSY and loses nothing; a stream that ends holds nothing. Method: many publish streams over byte
 * streams and in packets on one real partition, with a small budget. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "broker/shard/owned_partition.h"
#include "broker/shard/publish_stream.h"
#include "broker/shard/publisher_index.h"
#include "schema/batch.h"
#include "schema/crc32c.h"

enum {
    STREAMS = 60,
    RECORD = 1 << 20,
    RING = 8 << 20,
    PIECE = 60000,
    BATCH_ROOM = RECORD + LEAT_BATCH_OVERHEAD_MAX,
    LIMIT = 16 << 20,
};

static struct {
    struct logmem_budget log;
    struct memory_budget budget;
    struct owned_partitions owned_partitions;
    struct owned_partition *owned;
    struct partition *partition;
    struct session sessions[STREAMS];
    struct session_path path;
    struct publish_stream *streams[STREAMS];
    struct publisher_index index;
    struct stream_buffers buffers;
    uint64_t empty; /* used before any batch came */
    uint8_t batch[BATCH_ROOM];
} w;

static void open_streams(bool packets)
{
    for (uint64_t i = 0; i < STREAMS; i++) {
        struct producer_dedup *producer;
        bool was_bound;
        w.sessions[i].memory_account.budget = &w.budget;
        w.sessions[i].path = packets ? &w.path : NULL;
        cr_assert_eq(producer_dedup_open(partition_producers(w.partition), i + 1, 0,
                                         PRODUCER_DEDUP_NEW, MAKER_NOBODY, &producer, &was_bound),
                     LEAT_OK);
        const struct message_publish opening = { .producer_id = i + 1 };
        cr_assert_eq(publish_stream_open(&w.streams[i], &w.sessions[i], w.owned, &w.buffers,
                                         producer, &opening),
                     LEAT_OK);
        publisher_index_add(&w.index, w.streams[i]);
    }
    w.empty = w.budget.used_bytes;
}

static void set_up(void)
{
    uint64_t missing;
    w.budget.limit_bytes = LIMIT;
    const struct partition_options options = { .topic_id = 1,
                                               .log_epoch = 3,
                                               .ring_bytes = RING,
                                               .record_bytes_max = RECORD,
                                               .leader_epoch = 1,
                                               .offset_limit = LEAT_OFFSET_NONE,
                                               .memory = &w.budget };
    w.log = (struct logmem_budget){ .limit_bytes = RING, .pages = LOGMEM_NORMAL };
    cr_assert_eq(partition_open(&w.partition, &options, &w.log, &missing), LEAT_OK);
    owned_partitions_init(&w.owned_partitions);
    stream_buffers_init(&w.buffers);
    w.owned = owned_partition_new();
    cr_assert_neq(w.owned, NULL);
    owned_partitions_add(&w.owned_partitions, w.partition, w.owned);
}

static void tear_down(void)
{
    for (int i = 0; i < STREAMS; i++)
        publish_stream_close(w.streams[i], 0);
    owned_partitions_remove(&w.owned_partitions, w.owned);
    free(w.owned);
    partition_close(w.partition);
    cr_assert_eq(w.budget.used_bytes, 0u);
}

TestSuite(publish_memory, .init = set_up, .fini = tear_down, .timeout = 60);

/* One record of RECORD bytes, of the producer of stream `i`. */
static uint32_t make_batch(int i, uint64_t sequence)
{
    struct leat_batch_wire *header = (struct leat_batch_wire *)w.batch;
    const uint32_t size = LEAT_BATCH_HEADER_BYTES + (LEAT_RECORD_HEADER_BYTES + RECORD + 7) / 8 * 8;
    cr_assert_leq(size, (uint32_t)BATCH_ROOM);
    memset(w.batch, 0, size);
    leat_store32(w.batch + LEAT_BATCH_HEADER_BYTES, RECORD);
    leat_store16(w.batch + LEAT_BATCH_HEADER_BYTES + 4, 0xFFFF);
    leat_store32(header->size, size);
    header->format = LEAT_BATCH_FORMAT;
    leat_store64(header->producer_id, (uint64_t)i + 1);
    leat_store64(header->base_sequence, sequence);
    leat_store32(header->crc32c,
                 leat_crc32c(w.batch + LEAT_BATCH_CRC_FROM, size - LEAT_BATCH_CRC_FROM));
    return size;
}

/* The pieces [from, to) of a batch over a byte stream. */
static enum publish_outcome say(int i, uint32_t size, uint32_t from, uint32_t to,
                                struct leat_ack_run *run)
{
    enum publish_outcome outcome = PUBLISH_NOTHING;
    for (uint32_t at = from; at < to; at += PIECE) {
        const struct leat_frame_publish piece = { .bytes = w.batch + at,
                                                  .size = size - at < PIECE ? size - at : PIECE,
                                                  .piece_at = at,
                                                  .batch_size = size };
        outcome = publish_stream_take_in_order(w.streams[i], &piece, 0, 0, run);
    }
    return outcome;
}

static enum publish_outcome say_all(int i, uint64_t sequence, struct leat_ack_run *run)
{
    const uint32_t size = make_batch(i, sequence);
    return say(i, size, 0, size, run);
}

Test(publish_memory, batches_begun_by_all_stay_within_the_budget)
{
    struct leat_ack_run run;
    int taken = 0, busy = 0;
    uint32_t size = 0;
    open_streams(false);
    for (int i = 0; i < STREAMS; i++) {
        size = make_batch(i, 0);
        cr_assert_eq(say(i, size, 0, PIECE, &run), PUBLISH_NOTHING);
        cr_assert_leq(w.budget.used_bytes, (uint64_t)LIMIT);
    }
    for (int i = 0; i < STREAMS; i++) {
        size = make_batch(i, 0);
        cr_assert_eq(say(i, size, PIECE, size, &run), PUBLISH_ANSWER);
        taken += run.status == LEAT_OK;
        busy += run.status == LEAT_BUSY && run.retry_after_us != 0 && run.count == 1;
    }
    cr_assert_gt(taken, 4);
    cr_assert_gt(busy, 4);
    cr_assert_eq(taken + busy, STREAMS);
    /* Nothing was consumed, and what rests makes room: all of them get through in the end. */
    for (int i = 0; i < STREAMS; i++) {
        const bool again = producer_dedup_next_sequence(w.streams[i]->producer) == 0;
        cr_assert_eq(say_all(i, again ? 0 : 1, &run), PUBLISH_ANSWER);
        cr_assert_eq(run.status, LEAT_OK, "stream %d", i);
        cr_assert_leq(w.budget.used_bytes, (uint64_t)LIMIT);
    }
}

Test(publish_memory, a_small_batch_needs_no_room)
{
    open_streams(false);
    w.budget.limit_bytes = w.empty;
    struct leat_ack_run run;
    cr_assert_eq(say_all(0, 0, &run), PUBLISH_ANSWER);
    cr_assert_eq(run.status, LEAT_BUSY);
    w.budget.limit_bytes += (uint64_t)PRODUCER_DEDUP_FIRST_RESULTS * PRODUCER_DEDUP_RESULT_BYTES;
    const struct leat_frame_publish whole = { .bytes = w.batch,
                                              .size = make_batch(0, 0),
                                              .batch_size = make_batch(0, 0) };
    cr_assert_eq(publish_stream_take_in_order(w.streams[0], &whole, 0, 0, &run), PUBLISH_ANSWER);
    cr_assert_eq(run.status, LEAT_OK);
}

Test(publish_memory, a_stream_that_ends_within_a_batch_holds_nothing_and_answers_it)
{
    struct leat_ack_run run;
    open_streams(false);
    const uint32_t size = make_batch(0, 0);
    cr_assert_eq(say(0, size, 0, PIECE, &run), PUBLISH_NOTHING);
    cr_assert_gt(w.budget.used_bytes, w.empty);
    publish_stream_fence(w.streams[0], 0);
    cr_assert_eq(w.budget.used_bytes, w.empty);
    cr_assert_eq(say(0, size, PIECE, size, &run), PUBLISH_ANSWER);
    cr_assert_eq(run.status, LEAT_ERR_FENCED);
    cr_assert_eq(run.count, 1u);
    cr_assert_eq(say_all(0, 1, &run), PUBLISH_ANSWER);
    cr_assert(run.status == LEAT_ERR_FENCED && run.first_sequence == 1);
    cr_assert_eq(w.budget.used_bytes, w.empty, "it began none for a batch it will not take");
}

/* A piece of stream `i` in packets. */
static enum publish_outcome say_at(int i, uint64_t position, uint32_t at, uint32_t size,
                                   struct leat_ack_run *run)
{
    const struct leat_frame_data piece = { .bytes = w.batch + at,
                                           .size = size,
                                           .position = position };
    return publish_stream_take_any_order(w.streams[i], &piece, 0, 0, run);
}

Test(publish_memory, in_packets_a_piece_without_room_counts_as_lost)
{
    struct leat_ack_run run;
    int full = 0;
    open_streams(true);
    for (int i = 0; i < STREAMS; i++) {
        const uint32_t size = make_batch(i, 0);
        const enum publish_outcome outcome = say_at(i, size - PIECE, size - PIECE, PIECE, &run);
        cr_assert(outcome == PUBLISH_NOTHING || outcome == PUBLISH_FULL);
        full += outcome == PUBLISH_FULL;
        cr_assert_leq(w.budget.used_bytes, (uint64_t)LIMIT);
    }
    cr_assert_gt(full, 0);
    cr_assert_lt(full, STREAMS);
    publish_stream_fence(w.streams[0], 0);
    const uint32_t size = make_batch(STREAMS - 1, 0);
    for (uint32_t at = 0; at < size; at += PIECE) {
        const uint32_t left = size - at < PIECE ? size - at : PIECE;
        cr_assert_eq(say_at(STREAMS - 1, at, at, left, &run),
                     at + left == size ? PUBLISH_ANSWER : PUBLISH_NOTHING);
    }
    cr_assert_eq(run.status, LEAT_OK);
    cr_assert_eq(publish_stream_more(w.streams[STREAMS - 1], 0, 0, &run), PUBLISH_NOTHING);
}

Test(publish_memory, in_packets_a_stream_that_ends_holds_nothing_and_says_so)
{
    struct leat_ack_run run;
    open_streams(true);
    const uint32_t size = make_batch(0, 0);
    cr_assert_eq(say_at(0, 0, 0, PIECE, &run), PUBLISH_NOTHING);
    cr_assert_gt(w.budget.used_bytes, w.empty);
    publish_stream_fence(w.streams[0], 0);
    cr_assert_eq(w.budget.used_bytes, w.empty);
    cr_assert_eq(say_at(0, PIECE, PIECE, size - PIECE, &run), PUBLISH_ANSWER);
    cr_assert_eq(run.status, LEAT_ERR_FENCED);
    cr_assert_eq(w.budget.used_bytes, w.empty);
    cr_assert_eq(publish_stream_more(w.streams[0], 0, 0, &run), PUBLISH_NOTHING);
}

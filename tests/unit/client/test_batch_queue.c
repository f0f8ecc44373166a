/* Goal: every record a producer took is answered exactly once, in order, whatever a broker answers
 * and whenever a connection ends; batches go out whole, in sequence, within credit. Method: a model
 * of the broker's side (appends in sequence, refuses, says BUSY, forgets connections) driven at
 * random from a seed; the same by position, over a wire that loses, doubles and reorders pieces;
 * then the rules one by one. */
#include <criterion/criterion.h>
#include <string.h>

#include "client/batch_queue.h"
#include "tests/support/seeded.h"

enum { IN_FLIGHT = 5, POOL = 8, BATCH = 1024, LARGEST = 4096 };

static struct queued_batch *ring[8]; /* batch_queue_ring_entries(IN_FLIGHT) */

static void make(struct batch_pool *pool, struct batch_queue *queue)
{
    const struct batch_pool_options options = {
        .batches = POOL, .batch_bytes = BATCH, .records_max = 20, .largest = LARGEST
    };
    cr_assert_eq(batch_pool_reserve(pool, &options), LEAT_OK);
    pool->producer_id = 7;
    pool->producer_epoch = 1;
    batch_queue_init(queue, pool, ring, IN_FLIGHT);
    queue->credit = UINT64_MAX / 2;
}

struct answers {
    uint64_t next_cookie;
    uint64_t records;
    uint64_t refused;
};

static void on_answer(void *context, const struct queued_batch *batch,
                      const struct leat_ack_run *run)
{
    struct answers *answers = context;
    for (uint32_t i = 0; i < batch->count; i++)
        cr_assert_eq(batch->cookies[i], answers->next_cookie++);
    answers->records += batch->count;
    answers->refused += run->status != LEAT_OK ? batch->count : 0;
}

static enum leat_error put(struct batch_queue *queue, uint64_t cookie, uint32_t size)
{
    static const uint8_t value[LARGEST];
    const struct leat_record_view record = { .value = value,
                                             .value_size = size,
                                             .timestamp_ns = 1000 + (int64_t)cookie };
    return batch_queue_append(queue, &record, cookie);
}

/* The broker: joins pieces, appends what is next in sequence. */
struct model {
    uint8_t joined[LARGEST];
    uint32_t have;
    uint64_t next_sequence;
    uint64_t appended;
    uint64_t received_bytes;
    uint64_t epoch;
};

static bool model_take(struct model *m, const struct leat_frame_publish *piece, struct seeded *seed,
                       struct leat_ack_run *run)
{
    cr_assert_eq(piece->piece_at, m->have, "pieces of two batches are mixed");
    memcpy(m->joined + m->have, piece->bytes, piece->size);
    m->have += piece->size;
    if (m->have < piece->batch_size)
        return false;
    struct leat_batch batch;
    cr_assert_eq(leat_batch_parse(&batch, m->joined, m->have), LEAT_OK);
    cr_assert_eq(leat_batch_check(&batch, m->joined, LARGEST), LEAT_OK);
    cr_assert_eq(batch.producer_epoch, m->epoch);
    m->have = 0;
    m->received_bytes += batch.size;
    *run = (struct leat_ack_run){ .first_sequence = batch.base_sequence,
                                  .count = batch.record_count,
                                  .base_offset = LEAT_OFFSET_NONE };
    if (batch.base_sequence < m->next_sequence) {
        cr_assert_leq(batch.base_sequence + batch.record_count, m->next_sequence,
                      "cut differently");
        run->status = LEAT_ERR_DUPLICATE;
        run->level = LEAT_LEVEL_IN_RING;
    } else if (batch.base_sequence > m->next_sequence) {
        run->status = LEAT_ERR_OUT_OF_ORDER;
    } else if (seeded_below(seed, 8) == 0) {
        run->status = LEAT_BUSY;
        run->retry_after_us = 10;
    } else {
        m->next_sequence += batch.record_count;
        if (seeded_below(seed, 16) == 0) {
            run->status = LEAT_ERR_TOO_LARGE;
        } else {
            run->base_offset = m->appended;
            run->level = LEAT_LEVEL_IN_RING;
            m->appended += batch.record_count;
        }
    }
    return true;
}

/* Sends at most `pieces`; answers wait in `runs`. */
static void send_some(struct batch_queue *queue, struct model *m, struct seeded *seed,
                      struct leat_ack_run *runs, unsigned *run_count, unsigned pieces)
{
    struct batch_queue_cursor cursor = batch_queue_cursor(queue);
    struct leat_frame_publish piece;
    while (pieces-- > 0 && *run_count < 64
           && batch_queue_next_in_order(queue, &cursor, &piece) == BATCH_QUEUE_PIECE) {
        batch_queue_commit(queue, &cursor);
        if (model_take(m, &piece, seed, &runs[*run_count]))
            (*run_count)++;
        cursor = batch_queue_cursor(queue);
    }
}

Test(queue, every_record_is_answered_once_and_in_order)
{
    struct seeded seed = seeded_start("batch_queue");
    for (int round = 0; round < 50; round++) {
        struct batch_pool pool;
        struct batch_queue queue;
        make(&pool, &queue);
        struct model model = { .epoch = 1 };
        struct answers answers = { 0 };
        struct leat_ack_run runs[64];
        unsigned run_count = 0;
        uint64_t sent = 0;
        for (int step = 0; step < 4000 || answers.records < sent; step++) {
            cr_assert_lt(step, 100000, "it does not end");
            if (step < 4000 && put(&queue, sent, seeded_below(&seed, 700)) == LEAT_OK)
                sent++;
            if (seeded_below(&seed, 3) == 0)
                send_some(&queue, &model, &seed, runs, &run_count, 1 + seeded_below(&seed, 4));
            while (run_count > 0 && seeded_below(&seed, 2) == 0) {
                batch_queue_ack(&queue, &runs[0], on_answer, &answers);
                memmove(runs, runs + 1, --run_count * sizeof *runs);
            }
            if (seeded_below(&seed, 200) == 0) { /* the connection ends; answers are lost */
                run_count = 0;
                model.have = 0;
                const bool renumber = seeded_below(&seed, 4) == 0;
                const uint64_t first = batch_queue_first_unanswered(&queue);
                if (renumber) {
                    pool.producer_epoch = (uint32_t)++model.epoch;
                    model.next_sequence = first;
                }
                batch_queue_restart(&queue, UINT64_MAX / 2, renumber ? &first : NULL);
            }
            cr_assert_eq(queue.pending, sent - answers.records);
        }
        cr_assert_eq(answers.next_cookie, sent);
        batch_queue_close(&queue, LEAT_ERR_CLOSED, on_answer, &answers);
        cr_assert_eq(answers.records, sent);
        batch_pool_release(&pool);
    }
}

Test(queue, batches_wait_for_credit_and_grow_meanwhile)
{
    struct batch_pool pool;
    struct batch_queue queue;
    make(&pool, &queue);
    queue.credit = 100;
    cr_assert_eq(put(&queue, 0, 40), LEAT_OK); /* 64 + 16 + 40 bytes */
    struct batch_queue_cursor cursor = batch_queue_cursor(&queue);
    struct leat_frame_publish piece;
    cr_assert_eq(batch_queue_next_in_order(&queue, &cursor, &piece), BATCH_QUEUE_BLOCKED);
    cr_assert_eq(put(&queue, 1, 40), LEAT_OK);
    cr_assert_eq(queue.end, 0u, "not sealed: it still grows");
    queue.credit = 176;
    cr_assert_eq(batch_queue_next_in_order(&queue, &cursor, &piece), BATCH_QUEUE_PIECE);
    cr_assert_eq(piece.batch_size, 176u);
    batch_queue_commit(&queue, &cursor);
    cr_assert_eq(queue.sent_bytes, 176u);
    batch_pool_release(&pool);
}

Test(queue, is_busy_when_in_flight_or_the_pool_is_full_and_loses_nothing)
{
    struct batch_pool pool;
    struct batch_queue queue;
    make(&pool, &queue);
    uint64_t taken = 0;
    while (put(&queue, taken, 900) == LEAT_OK)
        taken++;
    cr_assert_eq(taken, (uint64_t)IN_FLIGHT + 1, "in flight, and one filling");
    cr_assert_eq(queue.pending, taken);
    struct answers answers = { 0 };
    batch_queue_close(&queue, LEAT_ERR_CLOSED, on_answer, &answers);
    cr_assert_eq(answers.records, taken);
    cr_assert_eq(queue.pending, 0u);
    batch_pool_release(&pool);
}

Test(queue, a_large_record_has_a_batch_of_its_own)
{
    struct batch_pool pool;
    struct batch_queue queue;
    make(&pool, &queue);
    cr_assert_eq(put(&queue, 0, 10), LEAT_OK);
    cr_assert_eq(put(&queue, 1, LARGEST - 80), LEAT_OK);
    cr_assert_eq(put(&queue, 2, 10), LEAT_OK);
    struct batch_queue_cursor cursor = batch_queue_cursor(&queue);
    struct leat_frame_publish piece;
    const uint32_t sizes[] = { 96, LARGEST, 96 };
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(batch_queue_next_in_order(&queue, &cursor, &piece), BATCH_QUEUE_PIECE);
        cr_assert_eq(piece.batch_size, sizes[i]);
    }
    batch_pool_release(&pool);
}

Test(queue, a_callback_may_append_while_answers_are_given)
{
    struct batch_pool pool;
    struct batch_queue queue;
    make(&pool, &queue);
    struct answers answers = { 0 };
    put(&queue, 0, 10);
    struct batch_queue_cursor cursor = batch_queue_cursor(&queue);
    struct leat_frame_publish piece;
    batch_queue_next_in_order(&queue, &cursor, &piece);
    batch_queue_commit(&queue, &cursor);
    const struct leat_ack_run wrong = { .first_sequence = 5, .count = 1, .level = 2 };
    batch_queue_ack(&queue, &wrong, on_answer, &answers);
    cr_assert_eq(answers.records, 0u, "an answer to something else changes nothing");
    const struct leat_ack_run run = { .first_sequence = 0, .count = 1, .level = 2 };
    batch_queue_ack(&queue, &run, on_answer, &answers);
    batch_queue_ack(&queue, &run, on_answer, &answers);
    cr_assert_eq(answers.records, 1u, "answered twice, told once");
    batch_pool_release(&pool);
}

/* ---- by position, as in packets */

enum { WIRE_MAX = 64, STREAM_BYTES = 1 << 22 };

/* The broker's side: bytes by position, whole batches in order, a rewind where it said BUSY. */
struct joined {
    uint8_t bytes[STREAM_BYTES];
    uint8_t have[STREAM_BYTES]; /* 1: arrived and kept */
    uint8_t seen[STREAM_BYTES]; /* 1: arrived once, whatever became of it */
    uint64_t next;              /* everything below was answered for good */
    uint64_t credit;
    uint64_t next_sequence;
    uint64_t appended;
    uint32_t epoch;
};
static struct joined joined;

struct wire_piece {
    uint64_t position;
    uint32_t size;
    uint8_t bytes[LARGEST];
};

static void join(const struct wire_piece *piece)
{
    cr_assert_leq(piece->position + piece->size, (uint64_t)STREAM_BYTES);
    for (uint32_t i = 0; i < piece->size; i++) {
        const uint64_t at = piece->position + i;
        if (joined.seen[at])
            cr_assert_eq(joined.bytes[at], piece->bytes[i], "a position has one content");
        joined.bytes[at] = piece->bytes[i];
        joined.seen[at] = 1;
        joined.have[at] = at >= joined.next;
    }
}

static uint64_t run_of_bytes(void)
{
    uint64_t end = joined.next;
    while (end < STREAM_BYTES && joined.have[end])
        end++;
    return end - joined.next;
}

/* Answers the next whole batch. False: there is none. */
static bool answer_joined(struct seeded *seed, struct leat_ack_run *run)
{
    struct leat_batch batch;
    const uint64_t have = run_of_bytes();
    if (leat_batch_parse(&batch, joined.bytes + joined.next, have) != LEAT_OK || batch.size > have)
        return false;
    cr_assert_eq(leat_batch_check(&batch, joined.bytes + joined.next, LARGEST), LEAT_OK);
    cr_assert_eq(batch.producer_epoch, joined.epoch);
    *run = (struct leat_ack_run){ .first_sequence = batch.base_sequence,
                                  .count = batch.record_count,
                                  .base_offset = LEAT_OFFSET_NONE };
    if (batch.base_sequence < joined.next_sequence) {
        run->status = LEAT_ERR_DUPLICATE;
    } else if (seeded_below(seed, 12) == 0) { /* from this one on all must come again */
        run->status = LEAT_BUSY;
        memset(joined.have + joined.next, 0, STREAM_BYTES - joined.next);
        return true;
    } else {
        cr_assert_eq(batch.base_sequence, joined.next_sequence, "batches are in order");
        joined.next_sequence += batch.record_count;
        run->base_offset = joined.appended;
        joined.appended += batch.record_count;
    }
    run->level = LEAT_LEVEL_IN_RING;
    joined.next += batch.size;
    return true;
}

struct lossy {
    struct wire_piece pieces[WIRE_MAX];
    unsigned count;
    struct wire_piece lost[WIRE_MAX]; /* found lost and not sent again yet; only where they were */
    unsigned lost_count;
};
static struct lossy wire;

static void put_on_wire(const struct batch_queue_piece *piece)
{
    struct wire_piece *w = &wire.pieces[wire.count++];
    w->position = piece->position;
    w->size = piece->size;
    memcpy(w->bytes, piece->bytes, piece->size);
}

static void send_by_position(struct batch_queue *queue, struct seeded *seed)
{
    const uint32_t room = 40 + seeded_below(seed, 1500);
    struct batch_queue_piece piece;
    if (wire.lost_count > 0 && wire.count < WIRE_MAX) {
        struct wire_piece *lost = &wire.lost[wire.lost_count - 1];
        const enum batch_queue_step step =
            batch_queue_lost(queue, lost->position, lost->size, room, &piece);
        if (step == BATCH_QUEUE_PIECE) {
            cr_assert_eq(piece.position, lost->position);
            cr_assert_leq(piece.size, room);
            put_on_wire(&piece);
            lost->position += piece.size;
            lost->size -= piece.size;
        }
        cr_assert_neq(step, BATCH_QUEUE_BLOCKED);
        if (step == BATCH_QUEUE_NOTHING || lost->size == 0)
            wire.lost_count--;
    }
    struct batch_queue_cursor cursor = batch_queue_cursor(queue);
    while (wire.count < WIRE_MAX) {
        const enum batch_queue_step step = batch_queue_next_any_order(queue, &cursor, room, &piece);
        if (step == BATCH_QUEUE_FULL)
            cr_assert_lt(room, (uint32_t)LEAT_BATCH_HEADER_BYTES);
        if (step != BATCH_QUEUE_PIECE)
            break;
        cr_assert_leq(piece.size, room);
        cr_assert_leq(piece.position + piece.size, joined.credit);
        if (seeded_below(seed, 10) == 0)
            break; /* not committed: as if it had never been asked for */
        put_on_wire(&piece);
        batch_queue_commit(queue, &cursor);
        cursor = batch_queue_cursor(queue);
    }
}

/* One piece arrives, is lost, or arrives and is taken for lost. */
static void move_wire(struct seeded *seed)
{
    if (wire.count == 0)
        return;
    const unsigned i = seeded_below(seed, wire.count);
    const uint32_t fate = seeded_below(seed, 10);
    if (fate > 1)
        join(&wire.pieces[i]);
    if (fate < 3) {
        cr_assert_lt(wire.lost_count, (unsigned)WIRE_MAX);
        wire.lost[wire.lost_count++] = wire.pieces[i];
    }
    if (fate != 9) /* else it arrives again, later */
        wire.pieces[i] = wire.pieces[--wire.count];
}

static void new_stream(struct batch_queue *queue, struct batch_pool *pool, bool renumber)
{
    const uint64_t first = batch_queue_first_unanswered(queue);
    const uint64_t sequence = renumber ? first : joined.next_sequence;
    const uint64_t appended = joined.appended;
    const uint32_t epoch = renumber ? joined.epoch + 1 : joined.epoch;
    memset(&joined, 0, sizeof joined);
    joined.next_sequence = sequence;
    joined.appended = appended;
    joined.epoch = pool->producer_epoch = epoch;
    joined.credit = 3 * LARGEST;
    wire.count = wire.lost_count = 0;
    batch_queue_restart(queue, joined.credit, renumber ? &first : NULL);
}

Test(queue, pieces_by_position_survive_loss_and_any_order)
{
    struct seeded seed = seeded_start("batch_queue");
    for (int round = 0; round < 10; round++) {
        struct batch_pool pool;
        struct batch_queue queue;
        make(&pool, &queue);
        new_stream(&queue, &pool, true);
        struct answers answers = { 0 };
        uint64_t sent = 0;
        for (int step = 0; step < 3000 || answers.records < sent; step++) {
            cr_assert_lt(step, 200000, "it does not end");
            const uint32_t size = seeded_below(&seed, 20) == 0 ? 3000 : seeded_below(&seed, 700);
            if (step < 3000 && put(&queue, sent, size) == LEAT_OK)
                sent++;
            if (seeded_below(&seed, 3) == 0 && wire.lost_count < WIRE_MAX / 2)
                send_by_position(&queue, &seed);
            if (seeded_below(&seed, 2) == 0 && wire.lost_count < WIRE_MAX / 2)
                move_wire(&seed);
            struct leat_ack_run run;
            if (seeded_below(&seed, 3) == 0 && answer_joined(&seed, &run)) {
                batch_queue_ack(&queue, &run, on_answer, &answers);
                if (joined.credit < joined.next + 3 * LARGEST)
                    joined.credit = joined.next + 3 * LARGEST;
                queue.credit = joined.credit;
            }
            if (seeded_below(&seed, 500) == 0 || joined.next > STREAM_BYTES - 8 * LARGEST)
                new_stream(&queue, &pool, seeded_below(&seed, 4) == 0);
            cr_assert_eq(queue.pending, sent - answers.records);
        }
        cr_assert_eq(answers.next_cookie, sent);
        batch_pool_release(&pool);
    }
}

Test(queue, a_batch_keeps_its_position_and_takes_credit_once)
{
    struct batch_pool pool;
    struct batch_queue queue;
    make(&pool, &queue);
    batch_queue_restart(&queue, 1200, NULL);
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_eq(put(&queue, i, 500), LEAT_OK); /* 64 + 16 + 504 bytes; one a batch */
    struct batch_queue_piece piece;
    struct batch_queue_cursor cursor = batch_queue_cursor(&queue);
    cr_assert_eq(batch_queue_next_any_order(&queue, &cursor, 63, &piece), BATCH_QUEUE_FULL,
                 "not its header");
    cr_assert_eq(batch_queue_next_any_order(&queue, &cursor, 100, &piece), BATCH_QUEUE_PIECE);
    cr_assert(piece.position == 0 && piece.size == 100 && !piece.ends);
    cr_assert_eq(batch_queue_next_any_order(&queue, &cursor, 2000, &piece), BATCH_QUEUE_PIECE);
    cr_assert(piece.position == 100 && piece.size == 484 && piece.ends);
    cr_assert_eq(batch_queue_next_any_order(&queue, &cursor, 2000, &piece), BATCH_QUEUE_PIECE);
    cr_assert(piece.position == 584 && piece.size == 584);
    cr_assert_eq(batch_queue_next_any_order(&queue, &cursor, 2000, &piece), BATCH_QUEUE_BLOCKED);
    batch_queue_commit(&queue, &cursor);
    /* BUSY for the first: both go again, where they were, within the same credit. */
    struct answers answers = { 0 };
    const struct leat_ack_run busy = { .count = 1, .status = LEAT_BUSY };
    cr_assert(batch_queue_ack(&queue, &busy, on_answer, &answers));
    cr_assert_eq(batch_queue_lost(&queue, 584, 584, 2000, &piece), BATCH_QUEUE_NOTHING,
                 "it goes anyway");
    cursor = batch_queue_cursor(&queue);
    cr_assert_eq(batch_queue_next_any_order(&queue, &cursor, 2000, &piece), BATCH_QUEUE_PIECE);
    cr_assert(piece.position == 0 && piece.size == 584);
    batch_queue_commit(&queue, &cursor);
    cr_assert_eq(batch_queue_lost(&queue, 100, 484, 300, &piece), BATCH_QUEUE_PIECE);
    cr_assert(piece.position == 100 && piece.size == 300);
    cr_assert_eq(batch_queue_lost(&queue, 100, 484, 20, &piece), BATCH_QUEUE_FULL);
    cr_assert_eq(batch_queue_next_any_order(&queue, &cursor, 2000, &piece), BATCH_QUEUE_PIECE);
    cr_assert_eq(piece.position, 584u);
    cr_assert_eq(batch_queue_next_any_order(&queue, &cursor, 2000, &piece), BATCH_QUEUE_BLOCKED);
    batch_queue_commit(&queue, &cursor);
    const struct leat_ack_run done = { .count = 1, .level = 2 };
    batch_queue_ack(&queue, &done, on_answer, &answers);
    cr_assert_eq(batch_queue_lost(&queue, 100, 484, 2000, &piece), BATCH_QUEUE_NOTHING,
                 "it was answered");
    batch_pool_release(&pool);
}

static void count_answer(void *context, const struct queued_batch *batch,
                         const struct leat_ack_run *run)
{
    (void)run;
    *(uint32_t *)context += batch->count;
}

/* In packets answers come in any order. A batch that was answered out of turn keeps the number it
 * had before a renumbering: it must not hide those behind it. */
Test(queue, answers_reach_batches_behind_one_answered_out_of_turn_and_renumbered)
{
    struct batch_pool pool;
    struct batch_queue queue;
    uint32_t answered = 0;
    make(&pool, &queue);
    queue.next_sequence = 500;
    for (uint64_t i = 0; i < 3; i++) {
        cr_assert_eq(put(&queue, i, 900), LEAT_OK); /* one record a batch */
        struct batch_queue_cursor cursor = batch_queue_cursor(&queue);
        struct leat_frame_publish piece;
        while (batch_queue_next_in_order(&queue, &cursor, &piece) == BATCH_QUEUE_PIECE)
            ;
        batch_queue_commit(&queue, &cursor);
    }
    const struct leat_ack_run second = { .first_sequence = 501, .count = 1 };
    batch_queue_ack(&queue, &second, count_answer, &answered);
    cr_assert_eq(answered, 1u);
    cr_assert_eq(batch_queue_first_unanswered(&queue), 500u);
    batch_queue_restart(&queue, UINT64_MAX / 2, &(uint64_t){ 500 }); /* 502 is 501 now */
    const struct leat_ack_run last = { .first_sequence = 501, .count = 1 };
    batch_queue_ack(&queue, &last, count_answer, &answered);
    cr_assert_eq(answered, 2u, "the last batch was answered");
    const struct leat_ack_run first = { .first_sequence = 500, .count = 1 };
    batch_queue_ack(&queue, &first, count_answer, &answered);
    cr_assert_eq(answered, 3u);
    cr_assert_eq(queue.pending, 0u);
    batch_queue_close(&queue, LEAT_ERR_CLOSED, count_answer, &answered);
    batch_pool_release(&pool);
}

/* Goal: every record a producer took is answered exactly once, in order, whatever a broker answers
 * and whenever a connection ends; batches go out whole, in sequence, within credit. Method: a model
 * of the broker's side (appends in sequence, refuses, says BUSY, forgets connections) driven at
 * random from a seed; then the rules one by one. */
#include <criterion/criterion.h>
#include <string.h>

#include "client/outbox.h"
#include "tests/seeded.h"

enum { IN_FLIGHT = 5, POOL = 8, BATCH = 1024, LARGEST = 4096 };

static struct outbox_batch *ring[IN_FLIGHT];

static void make(struct outbox_pool *pool, struct outbox *outbox)
{
    const struct outbox_pool_options options = {
        .batches = POOL, .batch_bytes = BATCH, .records_max = 20, .largest = LARGEST
    };
    cr_assert_eq(outbox_pool_reserve(pool, &options), LEAT_OK);
    pool->producer_id = 7;
    pool->producer_epoch = 1;
    outbox_init(outbox, pool, ring, IN_FLIGHT);
    outbox->credit = UINT64_MAX / 2;
}

struct answers {
    uint64_t next_cookie;
    uint64_t records;
    uint64_t refused;
};

static void on_answer(void *context, const struct outbox_batch *batch,
                      const struct leat_ack_run *run)
{
    struct answers *answers = context;
    for (uint32_t i = 0; i < batch->count; i++)
        cr_assert_eq(batch->cookies[i], answers->next_cookie++);
    answers->records += batch->count;
    answers->refused += run->status != LEAT_OK ? batch->count : 0;
}

static enum leat_error put(struct outbox *outbox, uint64_t cookie, uint32_t size)
{
    static const uint8_t value[LARGEST];
    const struct leat_record_view record = { .value = value,
                                             .value_size = size,
                                             .timestamp_ns = 1000 + (int64_t)cookie };
    return outbox_append(outbox, &record, cookie);
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
        run->level = LEAT_ACK_IN_RING;
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
            run->level = LEAT_ACK_IN_RING;
            m->appended += batch.record_count;
        }
    }
    return true;
}

/* Sends at most `pieces`; answers wait in `runs`. */
static void send_some(struct outbox *outbox, struct model *m, struct seeded *seed,
                      struct leat_ack_run *runs, unsigned *run_count, unsigned pieces)
{
    struct outbox_cursor cursor = outbox_cursor(outbox);
    struct leat_frame_publish piece;
    while (pieces-- > 0 && *run_count < 64
           && outbox_next(outbox, &cursor, &piece) == OUTBOX_PIECE) {
        outbox_commit(outbox, &cursor);
        if (model_take(m, &piece, seed, &runs[*run_count]))
            (*run_count)++;
        cursor = outbox_cursor(outbox);
    }
}

Test(outbox, every_record_is_answered_once_and_in_order)
{
    struct seeded seed = seeded_start("outbox");
    for (int round = 0; round < 50; round++) {
        struct outbox_pool pool;
        struct outbox outbox;
        make(&pool, &outbox);
        struct model model = { .epoch = 1 };
        struct answers answers = { 0 };
        struct leat_ack_run runs[64];
        unsigned run_count = 0;
        uint64_t sent = 0;
        for (int step = 0; step < 4000 || answers.records < sent; step++) {
            cr_assert_lt(step, 100000, "it does not end");
            if (step < 4000 && put(&outbox, sent, seeded_below(&seed, 700)) == LEAT_OK)
                sent++;
            if (seeded_below(&seed, 3) == 0)
                send_some(&outbox, &model, &seed, runs, &run_count, 1 + seeded_below(&seed, 4));
            while (run_count > 0 && seeded_below(&seed, 2) == 0) {
                outbox_ack(&outbox, &runs[0], on_answer, &answers);
                memmove(runs, runs + 1, --run_count * sizeof *runs);
            }
            if (seeded_below(&seed, 200) == 0) { /* the connection ends; answers are lost */
                run_count = 0;
                model.have = 0;
                const bool renumber = seeded_below(&seed, 4) == 0;
                if (renumber) {
                    pool.producer_epoch = (uint32_t)++model.epoch;
                    model.next_sequence = 0;
                }
                outbox_restart(&outbox, UINT64_MAX / 2, renumber);
            }
            cr_assert_eq(outbox.pending, sent - answers.records);
        }
        cr_assert_eq(answers.next_cookie, sent);
        outbox_close(&outbox, LEAT_ERR_CLOSED, on_answer, &answers);
        cr_assert_eq(answers.records, sent);
        outbox_pool_release(&pool);
    }
}

Test(outbox, batches_wait_for_credit_and_grow_meanwhile)
{
    struct outbox_pool pool;
    struct outbox outbox;
    make(&pool, &outbox);
    outbox.credit = 100;
    cr_assert_eq(put(&outbox, 0, 40), LEAT_OK); /* 64 + 16 + 40 bytes */
    struct outbox_cursor cursor = outbox_cursor(&outbox);
    struct leat_frame_publish piece;
    cr_assert_eq(outbox_next(&outbox, &cursor, &piece), OUTBOX_BLOCKED);
    cr_assert_eq(put(&outbox, 1, 40), LEAT_OK);
    cr_assert_eq(outbox.end, 0u, "not sealed: it still grows");
    outbox.credit = 176;
    cr_assert_eq(outbox_next(&outbox, &cursor, &piece), OUTBOX_PIECE);
    cr_assert_eq(piece.batch_size, 176u);
    outbox_commit(&outbox, &cursor);
    cr_assert_eq(outbox.sent_bytes, 176u);
    outbox_pool_release(&pool);
}

Test(outbox, is_busy_when_in_flight_or_the_pool_is_full_and_loses_nothing)
{
    struct outbox_pool pool;
    struct outbox outbox;
    make(&pool, &outbox);
    uint64_t taken = 0;
    while (put(&outbox, taken, 900) == LEAT_OK)
        taken++;
    cr_assert_eq(taken, (uint64_t)IN_FLIGHT + 1, "in flight, and one filling");
    cr_assert_eq(outbox.pending, taken);
    struct answers answers = { 0 };
    outbox_close(&outbox, LEAT_ERR_CLOSED, on_answer, &answers);
    cr_assert_eq(answers.records, taken);
    cr_assert_eq(outbox.pending, 0u);
    outbox_pool_release(&pool);
}

Test(outbox, a_large_record_has_a_batch_of_its_own)
{
    struct outbox_pool pool;
    struct outbox outbox;
    make(&pool, &outbox);
    cr_assert_eq(put(&outbox, 0, 10), LEAT_OK);
    cr_assert_eq(put(&outbox, 1, LARGEST - 80), LEAT_OK);
    cr_assert_eq(put(&outbox, 2, 10), LEAT_OK);
    struct outbox_cursor cursor = outbox_cursor(&outbox);
    struct leat_frame_publish piece;
    const uint32_t sizes[] = { 96, LARGEST, 96 };
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(outbox_next(&outbox, &cursor, &piece), OUTBOX_PIECE);
        cr_assert_eq(piece.batch_size, sizes[i]);
    }
    outbox_pool_release(&pool);
}

Test(outbox, a_callback_may_append_while_answers_are_given)
{
    struct outbox_pool pool;
    struct outbox outbox;
    make(&pool, &outbox);
    struct answers answers = { 0 };
    put(&outbox, 0, 10);
    struct outbox_cursor cursor = outbox_cursor(&outbox);
    struct leat_frame_publish piece;
    outbox_next(&outbox, &cursor, &piece);
    outbox_commit(&outbox, &cursor);
    const struct leat_ack_run wrong = { .first_sequence = 5, .count = 1, .level = 2 };
    outbox_ack(&outbox, &wrong, on_answer, &answers);
    cr_assert_eq(answers.records, 0u, "an answer to something else changes nothing");
    const struct leat_ack_run run = { .first_sequence = 0, .count = 1, .level = 2 };
    outbox_ack(&outbox, &run, on_answer, &answers);
    outbox_ack(&outbox, &run, on_answer, &answers);
    cr_assert_eq(answers.records, 1u, "answered twice, told once");
    outbox_pool_release(&pool);
}

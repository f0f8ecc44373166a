/* Goal: each (id, epoch) is taken once and in order: new, seen, gap, fenced and forgotten are told
 * apart, and the table stays within its bound. Method: tables of cases, and a model that remembers
 * everything. */
#include <criterion/criterion.h>

#include "broker/log/producer_dedup.h"
#include "tests/support/seeded.h"

enum { CRC = 0x1234 }; /* of every batch, where it does not matter */

static struct producer_dedup_table *new_table(uint32_t capacity)
{
    struct producer_dedup_table *table;
    cr_assert_eq(producer_dedup_table_open(&table, capacity, NULL), LEAT_OK);
    return table;
}

static struct producer_dedup *must_open(struct producer_dedup_table *table, uint64_t id,
                                        uint32_t epoch)
{
    struct producer_dedup *producer;
    bool was_bound;
    cr_assert_eq(producer_dedup_open(table, id, epoch, PRODUCER_DEDUP_NEW, MAKER_NOBODY, &producer,
                                     &was_bound),
                 LEAT_OK);
    return producer;
}

/* As a partition does it: asked first, then told. */
static void record(struct producer_dedup *p, uint64_t first, uint32_t count, uint32_t crc,
                   enum leat_error status, uint64_t base_offset)
{
    const struct producer_dedup_verdict v =
        producer_dedup_check(p, producer_dedup_epoch(p), first, count, crc);
    cr_assert_eq(v.status, LEAT_OK);
    cr_assert_not(v.answered);
    producer_dedup_record(p, first, count, crc, status, base_offset);
}

Test(producer, batches_are_new_seen_early_or_cut_differently)
{
    struct producer_dedup_table *table = new_table(4);
    struct producer_dedup *p = must_open(table, 1, 1);
    record(p, 0, 10, CRC, LEAT_OK, 100);
    record(p, 10, 5, CRC, LEAT_ERR_BAD_CRC, LEAT_OFFSET_NONE); /* consumed */
    record(p, 15, 5, CRC, LEAT_OK, 110);
    static const struct {
        uint64_t first;
        uint32_t count;
        enum leat_error status;
        bool answered;
        uint64_t offset;
    } cases[] = {
        { 20, 1, LEAT_OK, false, LEAT_OFFSET_NONE },
        { 21, 1, LEAT_ERR_OUT_OF_ORDER, false, LEAT_OFFSET_NONE },
        { 15, 5, LEAT_OK, true, 110 },
        { 10, 5, LEAT_ERR_BAD_CRC, true, LEAT_OFFSET_NONE },
        { 0, 10, LEAT_OK, true, 100 },
        { 0, 9, LEAT_ERR_FENCED, false, LEAT_OFFSET_NONE },
        { 1, 9, LEAT_ERR_FENCED, false, LEAT_OFFSET_NONE },
        { 15, 6, LEAT_ERR_FENCED, false, LEAT_OFFSET_NONE }, /* partly new */
        { UINT64_MAX - 5, 5, LEAT_ERR_OUT_OF_ORDER, false, LEAT_OFFSET_NONE },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct producer_dedup_verdict v =
            producer_dedup_check(p, 1, cases[i].first, cases[i].count, CRC);
        cr_assert_eq(v.status, cases[i].status, "case %zu", i);
        cr_assert_eq(v.answered, cases[i].answered, "case %zu", i);
        cr_assert_eq(v.base_offset, cases[i].offset, "case %zu", i);
    }
    cr_assert_eq(producer_dedup_check(p, 2, 20, 1, CRC).status, LEAT_ERR_FENCED);
    cr_assert_eq(producer_dedup_check(p, 0, 20, 1, CRC).status, LEAT_ERR_FENCED);
    producer_dedup_unbind(p, 0);
    producer_dedup_table_close(table);
}

Test(producer, the_same_numbers_with_another_content_are_no_duplicate)
{
    struct producer_dedup_table *table = new_table(4);
    struct producer_dedup *p = must_open(table, 1, 1);
    record(p, 0, 10, CRC, LEAT_OK, 100);
    record(p, 10, 5, CRC, LEAT_ERR_BAD_CRC, LEAT_OFFSET_NONE);
    struct producer_dedup_verdict v = producer_dedup_check(p, 1, 0, 10, CRC);
    cr_assert(v.answered && v.status == LEAT_OK && v.base_offset == 100);
    v = producer_dedup_check(p, 1, 0, 10, CRC + 1);
    cr_assert_not(v.answered);
    cr_assert_eq(v.status, LEAT_ERR_FENCED, "not OUT_OF_ORDER: that would be sent again for ever");
    cr_assert_eq(v.base_offset, LEAT_OFFSET_NONE);
    /* What was damaged on its way and refused may come again undamaged. */
    v = producer_dedup_check(p, 1, 10, 5, CRC + 1);
    cr_assert(v.answered && v.status == LEAT_ERR_BAD_CRC);
    producer_dedup_table_close(table);
}

Test(producer, the_last_k_results_are_remembered_and_older_ones_are_known_as_duplicates)
{
    struct producer_dedup_table *table = new_table(4);
    struct producer_dedup *p = must_open(table, 1, 1);
    for (uint64_t i = 0; i < 1000; i++)
        record(p, 3 * i, 3, CRC, LEAT_OK, 5000 + 3 * i);
    for (uint64_t i = 0; i < 1000; i++) {
        const struct producer_dedup_verdict v = producer_dedup_check(p, 1, 3 * i, 3, CRC);
        if (i >= 1000 - LEAT_IN_FLIGHT_BATCHES_MAX) {
            cr_assert(v.answered && v.status == LEAT_OK && v.base_offset == 5000 + 3 * i);
        } else {
            cr_assert_not(v.answered);
            cr_assert_eq(v.status, LEAT_ERR_DUPLICATE);
        }
    }
    producer_dedup_table_close(table);
}

Test(producer, epochs_replace_and_fence)
{
    struct producer_dedup_table *table = new_table(4);
    struct producer_dedup *old = must_open(table, 1, 3), *p;
    bool was_bound;
    record(old, 0, 7, CRC, LEAT_OK, 0);
    cr_assert_eq(producer_dedup_open(table, 1, 2, PRODUCER_DEDUP_NEW, MAKER_NOBODY, &p, &was_bound),
                 LEAT_ERR_FENCED);
    cr_assert_eq(
        producer_dedup_open(table, 1, 4, PRODUCER_DEDUP_RESUME, MAKER_NOBODY, &p, &was_bound),
        LEAT_ERR_PRODUCER_EXPIRED, "nothing is remembered of epoch 4");
    cr_assert_eq(
        producer_dedup_open(table, 1, 3, PRODUCER_DEDUP_RESUME, MAKER_NOBODY, &p, &was_bound),
        LEAT_OK);
    cr_assert(was_bound);
    cr_assert_eq(producer_dedup_next_sequence(p), 7u);
    producer_dedup_fence(table, 1, 4);
    cr_assert_eq(producer_dedup_check(p, 3, 7, 1, CRC).status, LEAT_ERR_FENCED);
    cr_assert_eq(
        producer_dedup_open(table, 1, 3, PRODUCER_DEDUP_RESUME, MAKER_NOBODY, &p, &was_bound),
        LEAT_ERR_FENCED);
    cr_assert_eq(producer_dedup_open(table, 1, 4, PRODUCER_DEDUP_NEW, MAKER_NOBODY, &p, &was_bound),
                 LEAT_OK);
    cr_assert_eq(producer_dedup_next_sequence(p), 0u);
    cr_assert_eq(producer_dedup_epoch(p), 4u);
    producer_dedup_fence(table, 99, 4); /* not known here: nothing to refuse */
    producer_dedup_table_close(table);
}

Test(producer, the_table_forgets_the_longest_idle_and_never_a_bound_one)
{
    struct producer_dedup_table *table = new_table(3);
    struct producer_dedup *p[3], *q;
    bool was_bound;
    for (uint64_t i = 0; i < 3; i++)
        p[i] = must_open(table, i, 1);
    cr_assert_eq(producer_dedup_open(table, 9, 1, PRODUCER_DEDUP_NEW, MAKER_NOBODY, &q, &was_bound),
                 LEAT_ERR_LIMIT);
    producer_dedup_unbind(p[1], 100);
    producer_dedup_unbind(p[0], 200);
    cr_assert_eq(producer_dedup_open(table, 9, 1, PRODUCER_DEDUP_NEW, MAKER_NOBODY, &q, &was_bound),
                 LEAT_OK);
    cr_assert_eq(
        producer_dedup_open(table, 1, 1, PRODUCER_DEDUP_RESUME, MAKER_NOBODY, &q, &was_bound),
        LEAT_ERR_PRODUCER_EXPIRED);
    cr_assert_eq(
        producer_dedup_open(table, 0, 1, PRODUCER_DEDUP_RESUME, MAKER_NOBODY, &q, &was_bound),
        LEAT_OK);
    producer_dedup_unbind(q, 300);
    cr_assert_eq(producer_dedup_expire(table, 399, 100), 0u);
    cr_assert_eq(producer_dedup_expire(table, 400, 100), 1u);
    cr_assert_eq(producer_dedup_expire(table, UINT64_MAX, 100), 0u, "the others are bound");
    producer_dedup_table_close(table);
}

Test(producer, a_table_of_many_finds_each_through_any_churn)
{
    enum { IDS = 64, CAPACITY = 40 };
    struct seeded random = seeded_start("producer");
    struct producer_dedup_table *table = new_table(CAPACITY);
    struct producer_dedup *bound[IDS] = { 0 };
    uint64_t next[IDS] = { 0 };
    unsigned count = 0;
    for (int step = 0; step < 20000; step++) {
        const uint32_t i = seeded_below(&random, IDS);
        const uint64_t id = (uint64_t)i << 32 | 5;
        if (bound[i] != NULL) {
            cr_assert_eq(producer_dedup_next_sequence(bound[i]), next[i]);
            record(bound[i], next[i]++, 1, CRC, LEAT_OK, 0);
            if (seeded_below(&random, 3) == 0) {
                producer_dedup_unbind(bound[i], (leat_ns)step);
                bound[i] = NULL;
                count--;
            }
            continue;
        }
        bool was_bound;
        enum leat_error error = producer_dedup_open(table, id, 1, PRODUCER_DEDUP_RESUME,
                                                    MAKER_NOBODY, &bound[i], &was_bound);
        if (error == LEAT_ERR_PRODUCER_EXPIRED) {
            next[i] = 0;
            error = producer_dedup_open(table, id, 1, PRODUCER_DEDUP_NEW, MAKER_NOBODY, &bound[i],
                                        &was_bound);
        }
        cr_assert_eq(error, count == CAPACITY ? LEAT_ERR_LIMIT : LEAT_OK);
        count += error == LEAT_OK;
        if (error != LEAT_OK)
            bound[i] = NULL;
        else
            cr_assert_eq(producer_dedup_next_sequence(bound[i]), next[i]);
    }
    producer_dedup_table_close(table);
}

Test(producer, costs_little_until_it_sends)
{
    enum { RUNS = 60, PARTITIONS = 4096 };
    struct memory_budget budget = { 0 };
    struct producer_dedup_table *table;
    cr_assert_eq(producer_dedup_table_open(&table, RUNS, &budget), LEAT_OK);
    const uint64_t empty = budget.used_bytes;
    for (uint64_t i = 0; i < RUNS; i++)
        must_open(table, i, 1);
    const uint64_t opened = budget.used_bytes, each = (opened - empty) / RUNS;
    cr_assert_leq(each, 160u, "60 runs with 4096 partitions would take %lu MiB",
                  (unsigned long)(each * RUNS * PARTITIONS >> 20));
    struct producer_dedup *p = must_open(table, 0, 1);
    record(p, 0, 1, CRC, LEAT_OK, 0);
    cr_assert_leq(budget.used_bytes - opened,
                  PRODUCER_DEDUP_FIRST_RESULTS * PRODUCER_DEDUP_RESULT_BYTES);
    producer_dedup_table_close(table);
    cr_assert_eq(budget.used_bytes, 0u);
}

Test(producer, no_result_is_lost_while_the_room_for_them_grows)
{
    struct producer_dedup_table *table = new_table(4);
    struct producer_dedup *p = must_open(table, 1, 1);
    for (uint64_t n = 0; n < 3 * LEAT_IN_FLIGHT_BATCHES_MAX; n++) {
        record(p, n, 1, CRC + (uint32_t)n, LEAT_OK, 100 + n);
        for (uint64_t i = 0; i <= n && i < PRODUCER_DEDUP_FIRST_RESULTS; i++) {
            const struct producer_dedup_verdict v =
                producer_dedup_check(p, 1, n - i, 1, CRC + (uint32_t)(n - i));
            cr_assert(v.answered && v.base_offset == 100 + n - i);
        }
        const uint64_t oldest =
            n < LEAT_IN_FLIGHT_BATCHES_MAX ? 0 : n + 1 - LEAT_IN_FLIGHT_BATCHES_MAX;
        const struct producer_dedup_verdict v =
            producer_dedup_check(p, 1, oldest, 1, CRC + (uint32_t)oldest);
        cr_assert(v.answered && v.base_offset == 100 + oldest, "of %lu", (unsigned long)n);
    }
    producer_dedup_table_close(table);
}

Test(producer, without_memory_nothing_is_consumed_and_all_goes_on_when_there_is_some)
{
    struct memory_budget budget = { 0 };
    struct producer_dedup_table *table;
    struct producer_dedup *p, *q;
    bool was_bound;
    cr_assert_eq(producer_dedup_table_open(&table, 4, &budget), LEAT_OK);
    p = must_open(table, 1, 1);
    for (uint64_t n = 0; n < 2 * LEAT_IN_FLIGHT_BATCHES_MAX; n++) {
        budget.limit_bytes = budget.used_bytes;
        const enum leat_error error = producer_dedup_check(p, 1, n, 1, CRC).status;
        cr_assert(error == LEAT_OK || error == LEAT_BUSY);
        cr_assert_eq(producer_dedup_next_sequence(p), n);
        for (uint64_t i = n > LEAT_IN_FLIGHT_BATCHES_MAX ? n - LEAT_IN_FLIGHT_BATCHES_MAX : 0;
             i < n; i++)
            cr_assert(producer_dedup_check(p, 1, i, 1, CRC).answered, "%lu of %lu",
                      (unsigned long)i, (unsigned long)n);
        if (n == 0)
            cr_assert_eq(error, LEAT_BUSY);
        cr_assert_eq(
            producer_dedup_open(table, 2, 1, PRODUCER_DEDUP_NEW, MAKER_NOBODY, &q, &was_bound),
            LEAT_ERR_NO_MEMORY);
        budget.limit_bytes = 0;
        record(p, n, 1, CRC, LEAT_OK, n);
    }
    producer_dedup_table_close(table);
    cr_assert_eq(budget.used_bytes, 0u);
}

Test(producer, one_that_never_sent_is_forgotten_soon)
{
    const leat_ns week = 7 * 24 * 3600 * LEAT_NS_PER_S;
    struct producer_dedup_table *table = new_table(4);
    struct producer_dedup *sent = must_open(table, 1, 1), *unused = must_open(table, 2, 1), *p;
    bool was_bound;
    record(sent, 0, 1, CRC, LEAT_OK, 0);
    producer_dedup_unbind(sent, 0);
    producer_dedup_unbind(unused, 0);
    cr_assert_eq(producer_dedup_expire(table, PRODUCER_DEDUP_UNUSED_IDLE_NS - 1, week), 0u);
    cr_assert_eq(producer_dedup_expire(table, PRODUCER_DEDUP_UNUSED_IDLE_NS, week), 1u);
    cr_assert_eq(
        producer_dedup_open(table, 2, 1, PRODUCER_DEDUP_RESUME, MAKER_NOBODY, &p, &was_bound),
        LEAT_ERR_PRODUCER_EXPIRED);
    cr_assert_eq(
        producer_dedup_open(table, 1, 1, PRODUCER_DEDUP_RESUME, MAKER_NOBODY, &p, &was_bound),
        LEAT_OK);
    cr_assert_eq(producer_dedup_next_sequence(p), 1u);
    producer_dedup_table_close(table);
}

/* ---- shares */

enum { SHARED = 64 }; /* entries of the table: an eighth is 8 */

static enum leat_error open_as(struct producer_dedup_table *table, uint64_t id, uint32_t connection,
                               uint64_t address, struct producer_dedup **out)
{
    bool was_bound;
    const struct maker maker = { .connection = connection, .address = address };
    return producer_dedup_open(table, id, 1, PRODUCER_DEDUP_NEW, &maker, out, &was_bound);
}

static bool is_known(struct producer_dedup_table *table, uint64_t id)
{
    struct producer_dedup *p;
    bool was_bound;
    if (producer_dedup_open(table, id, 1, PRODUCER_DEDUP_RESUME, MAKER_NOBODY, &p, &was_bound)
        != LEAT_OK)
        return false;
    if (!was_bound)
        producer_dedup_unbind(p, 0);
    return true;
}

static void expect_refused(struct producer_dedup_table *table, uint32_t connection,
                           uint64_t address, enum share_verdict verdict, uint32_t taken,
                           uint32_t share)
{
    struct producer_dedup *p;
    const struct maker maker = { .connection = connection, .address = address };
    cr_assert_eq(open_as(table, 9999, connection, address, &p), LEAT_ERR_LIMIT);
    const struct producer_share said = producer_dedup_refused_share(table, &maker);
    cr_assert_eq(said.verdict, verdict);
    cr_assert_eq(said.taken, taken);
    cr_assert_eq(said.share, share);
}

Test(producer, a_connection_binds_an_eighth_and_an_address_half_of_what_others_leave)
{
    struct producer_dedup_table *table = new_table(SHARED);
    struct producer_dedup *p;
    uint64_t id = 0;
    cr_assert_eq(open_as(table, 1000, 100, 2, &p), LEAT_OK);
    for (uint32_t connection = 1; connection <= 3; connection++) {
        for (int i = 0; i < SHARED / 8; i++)
            cr_assert_eq(open_as(table, ++id, connection, 1, &p), LEAT_OK);
        expect_refused(table, connection, 1, SHARE_CONNECTION_FULL, 8, 8);
    }
    for (int i = 0; i < 7; i++)
        cr_assert_eq(open_as(table, ++id, 4, 1, &p), LEAT_OK);
    expect_refused(table, 5, 1, SHARE_ADDRESS_FULL, 31, 31);
    cr_assert_eq(open_as(table, 2000, 101, 2, &p), LEAT_OK, "another address finds room");
    cr_assert(is_known(table, 1000));
    producer_dedup_table_close(table);
}

Test(producer, who_fills_the_table_gives_up_only_what_is_its_own_and_unbound)
{
    struct producer_dedup_table *table = new_table(SHARED);
    struct producer_dedup *p, *sent;
    cr_assert_eq(open_as(table, 1000, 100, 2, &p), LEAT_OK);
    producer_dedup_unbind(p, 0); /* the longest unbound of all */
    cr_assert_eq(open_as(table, 2000, 1, 1, &sent), LEAT_OK);
    record(sent, 0, 1, CRC, LEAT_OK, 0);
    for (uint64_t id = 1; id <= 200; id++) {
        cr_assert_eq(open_as(table, id, 1, 1, &p), LEAT_OK);
        producer_dedup_unbind(p, id);
    }
    cr_assert(is_known(table, 1000), "another's");
    cr_assert(is_known(table, 2000), "it is bound");
    cr_assert_not(is_known(table, 190));
    cr_assert(is_known(table, 200));
    for (uint64_t id = 301; id <= 500; id++) { /* by connections that come and go */
        cr_assert_eq(open_as(table, id, (uint32_t)id, 1, &p), LEAT_OK);
        producer_dedup_unbind(p, id);
    }
    cr_assert(is_known(table, 1000), "another's");
    cr_assert_eq(open_as(table, 1001, 101, 2, &p), LEAT_OK);
    cr_assert_eq(producer_dedup_expire(table, UINT64_MAX, LEAT_NS_PER_S), 32u,
                 "31 of one, 1 of another");
    producer_dedup_table_close(table);
}

Test(producer, one_that_is_opened_again_counts_for_who_has_it_then)
{
    struct producer_dedup_table *table = new_table(SHARED);
    struct producer_dedup *p;
    for (uint64_t id = 1; id <= SHARED / 8; id++)
        cr_assert_eq(open_as(table, id, 1, 1, &p), LEAT_OK);
    for (uint64_t id = 1; id <= SHARED / 8; id++)
        cr_assert_eq(open_as(table, id, 2, 1, &p), LEAT_OK, "after a reconnect");
    expect_refused(table, 2, 1, SHARE_CONNECTION_FULL, 8, 8);
    cr_assert_eq(open_as(table, 100, 1, 1, &p), LEAT_OK, "it has none any more");
    producer_dedup_table_close(table);
}

Test(producer, a_reserved_place_counts_and_is_given_back)
{
    struct producer_dedup_table *table = new_table(SHARED);
    struct producer_dedup *places[SHARED / 8], *p;
    const struct maker maker = { .connection = 1, .address = 1 };
    for (uint64_t i = 0; i < SHARED / 8; i++)
        cr_assert_eq(producer_dedup_reserve(table, i + 1, &maker, &places[i]), LEAT_OK);
    cr_assert_eq(producer_dedup_reserve(table, 50, &maker, &p), LEAT_ERR_LIMIT);
    for (uint64_t i = 0; i < SHARED / 8; i++)
        producer_dedup_release(places[i], 0);
    cr_assert_eq(producer_dedup_reserve(table, 50, &maker, &p), LEAT_OK);
    producer_dedup_release(p, 0);
    producer_dedup_table_close(table);
}

Test(producer, shares_are_right_through_any_churn_and_without_memory_too)
{
    enum { IDS = 300, CONNECTIONS = 16, ADDRESSES = 4, STEPS = 20000 };
    struct seeded random = seeded_start("producer shares");
    struct memory_budget budget = { 0 };
    struct producer_dedup_table *table;
    cr_assert_eq(producer_dedup_table_open(&table, SHARED, &budget), LEAT_OK);
    const uint64_t empty = budget.used_bytes;
    struct producer_dedup *bound[IDS] = { 0 };
    uint32_t owner[IDS] = { 0 }, of[CONNECTIONS + 1] = { 0 };
    for (int step = 0; step < STEPS; step++) {
        const uint32_t i = seeded_below(&random, IDS);
        if (bound[i] != NULL) {
            producer_dedup_unbind(bound[i], (leat_ns)step);
            bound[i] = NULL;
            of[owner[i]]--;
            continue;
        }
        const uint32_t connection = 1 + seeded_below(&random, CONNECTIONS);
        budget.limit_bytes = seeded_below(&random, 4) == 0 ? budget.used_bytes : 0;
        const enum leat_error error =
            open_as(table, i + 1, connection, 1 + connection % ADDRESSES, &bound[i]);
        if (error != LEAT_OK) {
            cr_assert(error == LEAT_ERR_LIMIT
                      || (error == LEAT_ERR_NO_MEMORY && budget.limit_bytes != 0));
            bound[i] = NULL;
            continue;
        }
        owner[i] = connection;
        of[connection]++;
        cr_assert(budget.limit_bytes != 0 || of[connection] <= SHARED / 8 + 1);
    }
    budget.limit_bytes = 0;
    for (uint32_t i = 0; i < IDS; i++)
        if (bound[i] != NULL)
            producer_dedup_unbind(bound[i], STEPS);
    producer_dedup_expire(table, UINT64_MAX, 0);
    for (uint32_t c = 1; c <= CONNECTIONS; c++) {
        const struct maker maker = { .connection = c, .address = 1 + c % ADDRESSES };
        const struct producer_share left = producer_dedup_refused_share(table, &maker);
        cr_assert_eq(left.verdict, SHARE_OK);
        cr_assert_eq(left.taken, 0u, "of the address of %u", c);
    }
    cr_assert_leq(budget.used_bytes - empty, 4096u, "places alone");
    producer_dedup_table_close(table);
    cr_assert_eq(budget.used_bytes, 0u);
}

Test(producer, what_a_maker_has_is_charged_to_its_address)
{
    struct memory_budget all = { 0 };
    struct memory_budget *parts[] = { memory_part_open(&all, 2), memory_part_open(&all, 2) };
    struct maker makers[] = { { 1, 11, parts[0] }, { 2, 12, parts[1] } };
    struct producer_dedup_table *table;
    struct producer_dedup *p;
    bool was_bound;
    cr_assert_eq(producer_dedup_table_open(&table, SHARED, &all), LEAT_OK);
    cr_assert_eq(producer_dedup_open(table, 1, 1, PRODUCER_DEDUP_NEW, &makers[0], &p, &was_bound),
                 LEAT_OK);
    record(p, 0, 1, CRC, LEAT_OK, 0);
    const uint64_t each = PRODUCER_DEDUP_BYTES
                          + PRODUCER_DEDUP_FIRST_RESULTS * PRODUCER_DEDUP_RESULT_BYTES
                          + UINT64_C(2) * PRODUCER_DEDUP_SHARE_BYTES;
    cr_assert_eq(parts[0]->used_bytes, each);
    cr_assert_eq(
        producer_dedup_open(table, 1, 1, PRODUCER_DEDUP_RESUME, &makers[1], &p, &was_bound),
        LEAT_OK);
    cr_assert_eq(parts[0]->used_bytes, 0u, "it has gone over");
    cr_assert_eq(parts[1]->used_bytes, each);
    all.limit_bytes = all.used_bytes; /* half of it is not enough for it */
    cr_assert_eq(
        producer_dedup_open(table, 1, 1, PRODUCER_DEDUP_RESUME, &makers[0], &p, &was_bound),
        LEAT_OK, "nothing is needed of who opens it again");
    cr_assert_eq(parts[1]->used_bytes, each, "it stays whose it was");
    cr_assert_eq(producer_dedup_open(table, 2, 1, PRODUCER_DEDUP_NEW, &makers[0], &p, &was_bound),
                 LEAT_ERR_NO_MEMORY);
    producer_dedup_table_close(table);
    for (int i = 0; i < 2; i++) {
        cr_assert_not(memory_part_is_shared(parts[i]));
        memory_part_release(parts[i]);
    }
    cr_assert_eq(all.used_bytes, 0u);
}

/* Goal: room for pieces is taken as it is needed and charged, what rests gives way to what is in
 * use, and nothing in use ever does. Method: few buffers, small budgets, and a model under a seed.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "broker/shard/stream_buffer.h"
#include "tests/support/seeded.h"
#include "tests/support/short_memory.h"

enum { MOST = 1 << 16 };

static struct stream_buffers all;

static void set_up(void)
{
    stream_buffers_init(&all);
}

TestSuite(stream_buffer, .init = set_up, .timeout = 60);

static bool reserve(struct stream_buffer *b, uint32_t need)
{
    return stream_buffer_reserve(&all, b, need, stream_buffer_round(need, MOST), 0, 0);
}

Test(stream_buffer, grows_as_needed_and_keeps_what_is_wanted)
{
    struct memory_budget budget = { .limit_bytes = UINT64_C(2) * MOST };
    struct memory_account account = { .budget = &budget };
    struct stream_buffer b = { .account = &account };
    cr_assert(reserve(&b, 1));
    cr_assert_eq(b.room, (uint32_t)STREAM_BUFFER_BYTES_MIN);
    memset(b.bytes, 'a', 2000);
    memset(b.bytes + 2000, 'b', 2000);
    cr_assert(stream_buffer_reserve(&all, &b, 5000, 8192, 2000, 2000));
    cr_assert_eq(b.room, 8192u);
    for (int i = 0; i < 2000; i++)
        cr_assert_eq(b.bytes[i], 'b');
    cr_assert(stream_buffer_reserve(&all, &b, 9000, 2 * MOST, 0, 0));
    cr_assert_eq(b.room, 9000u, "twice would be more than there is");
    cr_assert(reserve(&b, MOST));
    cr_assert_eq(account.used_bytes, (uint64_t)MOST);
    stream_buffer_free(&all, &b);
    cr_assert_eq(budget.used_bytes, 0u);
}

Test(stream_buffer, what_rests_gives_way_and_what_is_used_does_not)
{
    struct memory_budget budget = { .limit_bytes = UINT64_C(4) * MOST };
    struct memory_account accounts[5];
    struct stream_buffer b[5];
    for (int i = 0; i < 5; i++) {
        accounts[i] = (struct memory_account){ .budget = &budget };
        b[i] = (struct stream_buffer){ .account = &accounts[i] };
    }
    for (int i = 0; i < 4; i++)
        cr_assert(reserve(&b[i], MOST));
    cr_assert_not(reserve(&b[4], 1), "all four are in use");
    cr_assert_eq(budget.refused, 1u);
    stream_buffer_rest(&all, &b[2]);
    stream_buffer_rest(&all, &b[1]);
    cr_assert(reserve(&b[4], MOST));
    cr_assert_null(b[2].bytes, "it rested longest");
    cr_assert_not_null(b[1].bytes);
    cr_assert(reserve(&b[1], MOST));
    cr_assert_not(reserve(&b[2], 1));
    for (int i = 0; i < 5; i++)
        stream_buffer_free(&all, &b[i]);
    cr_assert_eq(budget.used_bytes, 0u);
}

Test(stream_buffer, an_account_that_is_full_takes_from_itself_only)
{
    struct memory_budget budget = { .limit_bytes = UINT64_C(4) * MOST };
    struct memory_account mine = { .budget = &budget }, other = { .budget = &budget };
    struct stream_buffer a = { .account = &other }, b = { .account = &mine },
                         c = { .account = &mine }, d = { .account = &mine };
    cr_assert(reserve(&a, MOST));
    cr_assert(reserve(&b, MOST));
    cr_assert(reserve(&c, MOST));
    stream_buffer_rest(&all, &a);
    cr_assert_not(reserve(&d, 1), "its part is in use");
    stream_buffer_rest(&all, &c);
    cr_assert(reserve(&d, MOST));
    cr_assert_null(c.bytes);
    cr_assert_not_null(a.bytes, "it would have helped nobody");
    stream_buffer_free(&all, &a);
    stream_buffer_free(&all, &b);
    stream_buffer_free(&all, &d);
    cr_assert_eq(budget.used_bytes, 0u);
}

Test(stream_buffer, what_has_rested_a_whole_turn_is_freed)
{
    struct memory_account account = { .budget = NULL };
    struct stream_buffer a = { .account = &account }, b = { .account = &account };
    cr_assert(reserve(&a, 1) && reserve(&b, 1));
    stream_buffer_rest(&all, &a);
    stream_buffers_trim(&all);
    cr_assert_not_null(a.bytes, "it may have rested for a moment only");
    stream_buffer_rest(&all, &b);
    stream_buffers_trim(&all);
    cr_assert_null(a.bytes);
    cr_assert_not_null(b.bytes);
    stream_buffers_trim(&all);
    cr_assert_null(b.bytes);
    cr_assert_eq(account.used_bytes, 0u);
}

Test(stream_buffer, any_churn_stays_within_the_budget_and_harms_nothing_in_use)
{
    enum { BUFFERS = 40, STEPS = 20000 };
    struct seeded random = seeded_start("stream_buffer");
    struct memory_budget budget = { .limit_bytes = UINT64_C(6) * MOST };
    struct memory_account accounts[4];
    struct stream_buffer b[BUFFERS];
    bool used[BUFFERS] = { false };
    for (int i = 0; i < 4; i++)
        accounts[i] = (struct memory_account){ .budget = &budget };
    for (int i = 0; i < BUFFERS; i++)
        b[i] = (struct stream_buffer){ .account = &accounts[i % 4] };
    for (int step = 0; step < STEPS; step++) {
        const uint32_t i = seeded_below(&random, BUFFERS);
        if (used[i])
            cr_assert(b[i].bytes != NULL && b[i].bytes[0] == (uint8_t)i);
        switch (seeded_below(&random, 4)) {
        case 0:
            used[i] = false;
            stream_buffer_free(&all, &b[i]);
            break;
        case 1:
            used[i] = false;
            stream_buffer_rest(&all, &b[i]);
            break;
        case 2:
            if (seeded_below(&random, 100) == 0)
                stream_buffers_trim(&all);
            break;
        default:
            if (stream_buffer_reserve(&all, &b[i], 1 + seeded_below(&random, MOST), MOST, 0,
                                      1 * used[i])) {
                used[i] = true;
                b[i].bytes[0] = (uint8_t)i;
            }
        }
        cr_assert_leq(budget.used_bytes, budget.limit_bytes);
    }
    for (int i = 0; i < BUFFERS; i++)
        stream_buffer_free(&all, &b[i]);
    cr_assert_eq(budget.used_bytes, 0u);
}

Test(stream_buffer, memory_that_the_system_lacks_is_counted_as_refused)
{
    struct memory_budget budget = { .limit_bytes = UINT64_C(4) * MOST };
    struct memory_account account = { .budget = &budget };
    struct stream_buffer b = { .account = &account };
    short_memory_fail_after(0);
    cr_assert_not(reserve(&b, 1000));
    cr_assert(short_memory_end());
    cr_assert_eq(budget.refused, 1u);
    cr_assert_eq(budget.used_bytes, 0u);
    cr_assert(reserve(&b, 1000));
    stream_buffer_free(&all, &b);
}

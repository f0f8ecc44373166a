/* Goal: a rate is kept over any pattern of taking, is overdrawn by one batch at most, and no time
 * is lost to rounding at slow rates. Method: a simulated clock, a printed seed, and the rate's own
 * definition. */
#include <criterion/criterion.h>

#include "broker/shared/quota.h"
#include "tests/support/seeded.h"

Test(quota, zero_is_no_limit)
{
    struct quota q = { 0 };
    cr_assert(quota_ready(&q, 5));
    quota_take(&q, UINT32_MAX, 5);
    cr_assert(quota_ready(&q, 5));
    cr_assert_eq(quota_ready_at(&q, 5), 5u);
}

Test(quota, says_exactly_when_it_is_ready_again)
{
    struct quota q;
    quota_init(&q, 1000, 0);
    quota_take(&q, 1100, 0); /* it had 101 */
    cr_assert_not(quota_ready(&q, 0));
    const leat_ns when = quota_ready_at(&q, 0);
    cr_assert_geq(when, LEAT_NS_PER_S);
    cr_assert_leq(when, LEAT_NS_PER_S + 2 * LEAT_NS_PER_MS);
    cr_assert_not(quota_ready(&q, when - 2 * LEAT_NS_PER_MS));
    cr_assert(quota_ready(&q, when));
}

Test(quota, a_rate_of_one_byte_a_second_does_not_lose_its_fractions)
{
    struct quota q;
    quota_init(&q, 1, 0);
    quota_take(&q, 3, 0); /* 2 owed, and 1 to be above zero */
    for (leat_ns now = 0; now < 3 * LEAT_NS_PER_S; now += LEAT_NS_PER_MS)
        cr_assert_not(quota_ready(&q, now));
    cr_assert(quota_ready(&q, 3 * LEAT_NS_PER_S));
}

Test(quota, another_rate_does_not_forgive_what_is_owed)
{
    struct quota q;
    quota_init(&q, 1000, 0);
    quota_take(&q, 1101, 0); /* 1000 owed */
    quota_set_rate(&q, 500, 0);
    cr_assert_not(quota_ready(&q, LEAT_NS_PER_S));
    cr_assert(quota_ready(&q, 2 * LEAT_NS_PER_S + LEAT_NS_PER_S / 100));
    quota_set_rate(&q, 0, 3 * LEAT_NS_PER_S);
    quota_take(&q, UINT32_MAX, 3 * LEAT_NS_PER_S);
    cr_assert(quota_ready(&q, 3 * LEAT_NS_PER_S));
    quota_set_rate(&q, 1000, 3 * LEAT_NS_PER_S);
    cr_assert(quota_ready(&q, 3 * LEAT_NS_PER_S), "nothing is owed from when there was no limit");
}

Test(quota, an_episode_is_told_once_and_ends_when_nobody_was_held_for_a_while)
{
    struct quota_hold hold = { 0 };
    cr_assert(quota_hold_note(&hold, 5));
    cr_assert(quota_hold_note(&hold, 6), "it was not said yet");
    hold.said = true;
    leat_ns now = 6;
    for (int i = 0; i < 100; i++)
        cr_assert_not(quota_hold_note(&hold, now += QUOTA_EPISODE_NS - 1));
    cr_assert(quota_hold_note(&hold, now + QUOTA_EPISODE_NS));
}

Test(quota, over_any_pattern_the_rate_holds)
{
    struct seeded random = seeded_start("quota");
    for (int round = 0; round < 200; round++) {
        const uint64_t rate = 1 + seeded_below(&random, 100000000);
        const uint32_t batch = 1 + seeded_below(&random, 1 << 20);
        struct quota q;
        leat_ns now = seeded_next(&random) >> 20;
        const leat_ns start = now;
        uint64_t taken = 0;
        quota_init(&q, rate, now);
        for (int i = 0; i < 300; i++) {
            if (quota_ready(&q, now)) {
                const uint32_t size = 1 + seeded_below(&random, batch);
                quota_take(&q, size, now);
                taken += size;
            } else if (seeded_below(&random, 2) == 0) {
                now = quota_ready_at(&q, now);
                cr_assert(quota_ready(&q, now), "rate %lu", (unsigned long)rate);
            }
            now += seeded_below(&random, 1000000);
        }
        const long double allowed = (long double)rate * (long double)(now - start) / 1e9L
                                    + (long double)rate / 10 + batch + 2;
        cr_assert((long double)taken <= allowed, "took %lu at rate %lu", (unsigned long)taken,
                  (unsigned long)rate);
    }
}

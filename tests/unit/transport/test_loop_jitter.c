/* Goal: the 99.9th percentile of a loop's pauses within a bucket's width, soon after they change,
 * and a floor within its bounds. Method: pauses whose percentile is known. */
#include <criterion/criterion.h>

#include "tests/support/seeded.h"
#include "transport/loop_jitter.h"

static leat_ns now = LEAT_NS_PER_S;

static void ticks(struct loop_jitter *gap, uint32_t count, leat_ns usual, leat_ns rare,
                  uint32_t one_in)
{
    for (uint32_t i = 0; i < count; i++) {
        const leat_ns pause = one_in != 0 && i % one_in == 0 ? rare : usual;
        now += pause;
        loop_jitter_tick(gap, now);
    }
}

static void expect_about(const struct loop_jitter *gap, leat_ns pause)
{
    cr_assert(gap->p999 > pause && gap->p999 <= pause + pause / 4 + 1, "%llu for %llu",
              (unsigned long long)gap->p999, (unsigned long long)pause);
}

Test(loop_jitter, finds_the_percentile_of_any_pause)
{
    struct seeded random = seeded_start("loop_jitter");
    for (int i = 0; i < 300; i++) {
        struct loop_jitter gap;
        const leat_ns pause =
            256 + (seeded_next(&random) & 0xFFFFFF) / (1 + seeded_below(&random, 4000));
        loop_jitter_init(&gap);
        loop_jitter_tick(&gap, now);
        ticks(&gap, 5000, pause, 0, 0);
        if (pause < 8 * LEAT_NS_PER_MS)
            expect_about(&gap, pause);
    }
}

Test(loop_jitter, rare_pauses_count_when_one_in_a_thousand_is_not_rarer)
{
    struct loop_jitter gap;
    loop_jitter_init(&gap);
    loop_jitter_tick(&gap, now);
    ticks(&gap, 50000, 1000, 90000, 500);
    expect_about(&gap, 90000);
    loop_jitter_init(&gap);
    loop_jitter_tick(&gap, now);
    ticks(&gap, 50000, 1000, 90000, 5000);
    expect_about(&gap, 1000);
}

Test(loop_jitter, says_something_from_the_first_pause_on)
{
    struct loop_jitter gap;
    loop_jitter_init(&gap);
    cr_assert_eq(loop_jitter_tick(&gap, 5000), 0);
    cr_assert_eq(loop_jitter_tick(&gap, 65000), 60000);
    expect_about(&gap, 60000);
}

Test(loop_jitter, forgets)
{
    struct loop_jitter gap;
    loop_jitter_init(&gap);
    loop_jitter_tick(&gap, now);
    ticks(&gap, 100000, 200000, 0, 0);
    expect_about(&gap, 200000);
    ticks(&gap, 1000000, 1000, 0, 0);
    expect_about(&gap, 1000);
}

Test(loop_jitter, sleep_is_no_pause)
{
    struct loop_jitter gap;
    loop_jitter_init(&gap);
    loop_jitter_tick(&gap, now);
    ticks(&gap, 5000, 1000, 0, 0);
    loop_jitter_slept(&gap);
    cr_assert_eq(loop_jitter_tick(&gap, now + LEAT_NS_PER_S), 0);
    cr_assert_eq(loop_jitter_tick(&gap, now + LEAT_NS_PER_S + 700), 700);
    expect_about(&gap, 1000);
}

Test(loop_jitter, the_floor_has_bounds)
{
    static const struct {
        leat_ns p999, bypass, kernel;
    } cases[] = {
        { 0, 100000, 2000000 },
        { 120000, 240000, 2000000 },
        { 4000000, 400000, 8000000 },
        { LEAT_NS_PER_S, 400000, 20000000 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct loop_jitter gap = { .p999 = cases[i].p999 };
        cr_assert_eq(loop_jitter_probe_floor(&gap, 1), cases[i].bypass);
        cr_assert_eq(loop_jitter_probe_floor(&gap, 0), cases[i].kernel);
    }
}

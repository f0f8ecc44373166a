/* Goal: the window grows while it is used, halves once for one episode of loss, and does not shrink
 * for the few losses of a bad wire. Method: acknowledgements and losses by hand. */
#include <criterion/criterion.h>

#include "transport/cc.h"

enum { RTT = 100000 };

static struct cc started(void)
{
    struct cc cc;
    cc_init(&cc);
    return cc;
}

/* So many rounds, each a full window acknowledged, and filled again at once. */
static void rounds(struct cc *cc, uint32_t count)
{
    for (uint32_t r = 0; r < count; r++) {
        const uint32_t window = cc->window;
        for (uint32_t acked = 0; acked < window; acked += 2)
            cc_acked(cc, 2, cc->window);
    }
}

Test(cc, doubles_a_round_up_to_its_limit)
{
    struct cc cc = started();
    cr_assert_eq(cc.window, CC_WINDOW_INITIAL);
    rounds(&cc, 1);
    cr_assert_eq(cc.window, 2 * CC_WINDOW_INITIAL);
    rounds(&cc, 20);
    cr_assert_eq(cc.window, CC_WINDOW_MAX);
}

Test(cc, a_window_that_was_not_used_does_not_grow)
{
    struct cc cc = started();
    for (int i = 0; i < 10000; i++)
        cc_acked(&cc, 1, CC_WINDOW_INITIAL / 2 - 1);
    cr_assert_eq(cc.window, CC_WINDOW_INITIAL);
}

Test(cc, halves_once_an_episode_and_then_grows_by_one_a_round)
{
    struct cc cc = started();
    rounds(&cc, 2);
    const uint32_t window = cc.window;
    cc_lost(&cc, 40, 1000, RTT, RTT, 5000);
    cr_assert_eq(cc.window, window / 2);
    cc_lost(&cc, 40, 4999, RTT, RTT, 6000);
    cr_assert_eq(cc.window, window / 2, "sent before the answer");
    rounds(&cc, 3);
    cr_assert_eq(cc.window, window / 2 + 3);
    cc_lost(&cc, 40, 5000, RTT, RTT, 7000);
    cr_assert_eq(cc.window, (window / 2 + 3) / 2);
    cr_assert_eq(cc.reductions, 2);
}

Test(cc, never_falls_below_its_least)
{
    struct cc cc = started();
    for (leat_ns now = 1000; now < 100000; now += 1000)
        cc_lost(&cc, 50, now, RTT, RTT, now);
    cr_assert_eq(cc.window, CC_WINDOW_MIN);
}

Test(cc, forgives_losses_under_two_percent)
{
    struct cc cc = started();
    rounds(&cc, 4);
    const uint32_t window = cc.window;
    for (leat_ns now = 1000; now < 1000000; now += 1000) {
        cc_acked(&cc, 99, 0);
        cc_lost(&cc, 1, now, RTT, RTT, now);
    }
    cr_assert_eq(cc.window, window);
    cr_assert_eq(cc.reductions, 0);
    cr_assert_eq(cc.forgiven, 999);
}

Test(cc, forgives_nothing_above_two_percent)
{
    struct cc cc = started();
    rounds(&cc, 4);
    for (leat_ns now = 1000; now < 1000000; now += 1000) {
        cc_acked(&cc, 33, 0);
        cc_lost(&cc, 1, now, RTT, RTT, now);
    }
    cr_assert_gt(cc.reductions, 3u);
    cr_assert_eq(cc.window, CC_WINDOW_MIN);
}

Test(cc, forgives_nothing_when_the_round_trip_grew)
{
    struct cc cc = started();
    rounds(&cc, 4);
    const uint32_t window = cc.window;
    cc_lost(&cc, 1, 1000, 4 * RTT, RTT, 5000);
    cr_assert_eq(cc.window, window / 2);
    cr_assert_eq(cc.forgiven, 0);
}

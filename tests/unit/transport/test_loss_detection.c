/* Goal: RTT, packet threshold and time threshold are those of RFC 9002, and the packet threshold
 * stays within its bounds. Method: each rule with numbers worked out by hand. */
#include <criterion/criterion.h>

#include "transport/loss.h"

enum { US = 1000 };

static struct loss fresh(void)
{
    return (struct loss){ .packet_threshold = LOSS_PACKET_THRESHOLD };
}

Test(loss_detection, the_first_sample_is_taken_whole)
{
    struct loss loss = fresh();
    loss_sample_rtt(&loss, 100 * US, 50 * US, 200 * US);
    cr_assert_eq(loss.srtt, 100 * US, "the ack delay is not subtracted");
    cr_assert_eq(loss.rttvar, 50 * US);
    cr_assert_eq(loss.rtt_min, 100 * US);
}

Test(loss_detection, a_sample_is_never_below_the_minimum)
{
    struct loss loss = fresh();
    loss_sample_rtt(&loss, 0, 0, 100 * US);
    loss_sample_rtt(&loss, 0, 90 * US, 120 * US); /* 30 us are less than the minimum of 100 */
    cr_assert_eq(loss.srtt, 100 * US);
    cr_assert_eq(loss.rtt_latest, 120 * US);
}

Test(loss_detection, the_time_threshold_is_nine_eighths_of_the_larger_rtt)
{
    struct loss loss = fresh();
    loss_sample_rtt(&loss, 0, 0, 80 * US);
    cr_assert_eq(loss_time_threshold(&loss), 90 * US);
    loss_sample_rtt(&loss, 0, 0, 160 * US);
    cr_assert_eq(loss_time_threshold(&loss), 180 * US,
                 "the latest is larger than the smoothed one");
    loss = fresh();
    loss_sample_rtt(&loss, 0, 0, 1);
    cr_assert_eq(loss_time_threshold(&loss), LOSS_GRANULARITY_NS);
}

Test(loss_detection, a_packet_is_lost_by_distance_or_by_time)
{
    struct loss loss = fresh();
    cr_assert_not(loss_is_lost(&loss, 2, 0, LEAT_NS_PER_S), "no sample, no time threshold");
    cr_assert(loss_is_lost(&loss, 3, LEAT_NS_NEVER, 0));
    loss_sample_rtt(&loss, 0, 0, 80 * US);
    cr_assert_not(loss_is_lost(&loss, 1, 90 * US, 90 * US - 1));
    cr_assert(loss_is_lost(&loss, 1, 90 * US, 90 * US));
}

Test(loss_detection, the_packet_threshold_rises_to_a_bound_and_falls_back)
{
    struct loss loss = fresh();
    loss_spurious(&loss, 2);
    cr_assert_eq(loss.packet_threshold, LOSS_PACKET_THRESHOLD);
    loss_spurious(&loss, 1000);
    cr_assert_eq(loss.packet_threshold, LOSS_PACKET_THRESHOLD_MAX);
    loss_age(&loss, LOSS_PACKET_THRESHOLD_AGE - 1);
    cr_assert_eq(loss.packet_threshold, LOSS_PACKET_THRESHOLD_MAX);
    loss_age(&loss, 1);
    cr_assert_eq(loss.packet_threshold, LOSS_PACKET_THRESHOLD_MAX - 1);
    for (uint32_t i = 0; i < LOSS_PACKET_THRESHOLD_MAX; i++)
        loss_age(&loss, LOSS_PACKET_THRESHOLD_AGE);
    cr_assert_eq(loss.packet_threshold, LOSS_PACKET_THRESHOLD);
}

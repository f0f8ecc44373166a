/* Goal: wall time follows the system's clock without a jump below a second, and says when it
 * jumped. Method: simulated clocks. */
#include <criterion/criterion.h>

#include "broker/shard/wallclock.h"

#define MS(n) ((n)*LEAT_NS_PER_MS)

Test(wallclock, a_small_difference_is_slewed_and_made_up)
{
    struct wallclock w;
    leat_ns now = 1000;
    wallclock_init(&w, now, MS(5000));
    const uint64_t ahead = MS(3); /* the system's clock gains 3 ms at once */
    uint64_t last = wallclock_at(&w, now);
    for (int second = 0; second < 10; second++) {
        now += LEAT_NS_PER_S;
        cr_assert(wallclock_due(&w, now));
        const uint64_t real = MS(5000) + (now - 1000) + ahead;
        cr_assert_eq(wallclock_check(&w, now, real), 0);
        cr_assert_gt(wallclock_at(&w, now), last);
        cr_assert_leq(wallclock_at(&w, now), real, "never beyond the clock it follows");
        last = wallclock_at(&w, now);
    }
    cr_assert_eq(wallclock_at(&w, now), MS(5000) + (now - 1000) + ahead, "made up in 6 s");
}

Test(wallclock, a_step_is_taken_over_and_told)
{
    struct wallclock w;
    wallclock_init(&w, 0, MS(5000));
    cr_assert_eq(wallclock_check(&w, MS(1000), MS(16000)), (int64_t)MS(10000));
    cr_assert_eq(wallclock_at(&w, MS(1000)), MS(16000));
    cr_assert_eq(wallclock_check(&w, MS(2000), MS(2000)), -(int64_t)MS(15000));
    cr_assert_eq(wallclock_at(&w, MS(2000)), MS(2000));
}

Test(wallclock, it_is_compared_once_a_second)
{
    struct wallclock w;
    wallclock_init(&w, MS(10), MS(5000));
    cr_assert_not(wallclock_due(&w, MS(1009)));
    cr_assert(wallclock_due(&w, MS(1010)));
}

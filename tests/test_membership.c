/* Goal: what a member of a group asks when, where a real broker is too quick to show it.
 * Method: the pure membership in virtual time. */
#include <criterion/criterion.h>

#include "client/membership.h"

#define MS LEAT_NS_PER_MS

static const leat_ns NOW = 5000 * MS;

static struct membership joined(void)
{
    return (struct membership){ .step = MEMBERSHIP_IN,
                                .epoch = 1,
                                .heartbeat_ms = 500,
                                .session_ns = 1500 * MS,
                                .answered = NOW,
                                .confirmed = true };
}

/* A broker that has stopped: nothing comes back. */
Test(membership, who_may_not_ask_more_waits_for_an_answer)
{
    struct membership m = joined();
    for (int i = 0; i < MEMBERSHIP_UNDER_WAY_MAX; i++) {
        m.changed = true;
        cr_assert_leq(membership_deadline(&m), NOW);
        cr_assert_eq(membership_next(&m, NOW).what, MEMBERSHIP_HEARTBEAT);
    }
    m.changed = true;
    cr_assert_eq(membership_next(&m, NOW).what, MEMBERSHIP_NOTHING);
    cr_assert_gt(membership_deadline(&m), NOW, "it would turn round and round");
}

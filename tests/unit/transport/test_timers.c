/* Goal: whatever is set, put off and removed, the timer that is due first comes first, and none is
 * forgotten or comes twice. Method: a model that looks at all of them. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/support/seeded.h"
#include "transport/timers.h"

enum { TIMERS = 100, STEPS = 20000 };

Test(timers, agree_with_a_model_that_looks_at_all)
{
    struct seeded random = seeded_start("timers");
    struct timers timers;
    struct timer all[TIMERS] = { 0 };
    leat_ns now = 1000;
    cr_assert_eq(timers_open(&timers, TIMERS), LEAT_OK);
    for (int step = 0; step < STEPS; step++) {
        struct timer *timer = &all[seeded_below(&random, TIMERS)];
        const leat_ns at = now + seeded_below(&random, 500);
        const bool was_in = timer->place != 0;
        const leat_ns was_at = timer->at;
        switch (seeded_below(&random, 4)) {
        case 0:
        case 1:
            timers_set(&timers, timer, at);
            cr_assert_eq(timer->at, was_in && was_at <= at ? was_at : at);
            break;
        case 2: timers_remove(&timers, timer); break;
        case 3: now += seeded_below(&random, 100); break;
        }
        leat_ns first = LEAT_NS_NEVER;
        uint32_t in = 0;
        for (int i = 0; i < TIMERS; i++) {
            if (all[i].place == 0)
                continue;
            in++;
            first = all[i].at < first ? all[i].at : first;
        }
        cr_assert_eq(timers.count, in);
        cr_assert_eq(timers_next(&timers), first);
        struct timer *due = timers_due(&timers, now);
        cr_assert_eq(due != NULL, first <= now);
        if (due != NULL)
            cr_assert(due->place == 0 && due->at == first);
    }
    timers_set(&timers, &all[0], LEAT_NS_NEVER);
    timers_close(&timers);
}

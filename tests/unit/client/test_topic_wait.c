/* Goal: a missing topic is asked for ever more rarely, but again and again, and told once a minute.
 * Method: the pure machine, with time made by hand. */
#include <criterion/criterion.h>

#include "client/topic_wait.h"

#define MS LEAT_NS_PER_MS

static struct topic_wait make(void)
{
    struct topic_wait wait;
    const struct backoff pauses = {
        .min_ns = 10 * MS, .max_ns = 2000 * MS, .circuit_failures = 3, .failures = 7, .random = 1
    };
    topic_wait_init(&wait, &pauses);
    return wait;
}

Test(topic_wait, it_is_asked_for_with_pauses_that_grow_up_to_the_longest)
{
    struct topic_wait wait = make();
    leat_ns now = 5000 * MS;
    for (unsigned i = 0; i < 100; i++) {
        const leat_ns longest = i < 8 ? (10 * MS) << i : 2000 * MS;
        topic_wait_missed(&wait, now);
        const leat_ns pause = wait.ask_at - now;
        cr_assert(pause >= longest / 2 && pause <= longest, "pause %lu of %lu", pause, longest);
        now = wait.ask_at;
    }
}

Test(topic_wait, it_is_told_at_once_and_then_once_a_minute)
{
    struct topic_wait wait = make();
    const leat_ns first = 7000 * MS;
    unsigned told = 0;
    leat_ns now = first;
    while (now < first + 10 * TOPIC_WAIT_TELL_NS) {
        if (topic_wait_missed(&wait, now)) {
            cr_assert_geq(now - first, told * TOPIC_WAIT_TELL_NS);
            told++;
        }
        cr_assert_eq(wait.since, first);
        now = wait.ask_at;
    }
    cr_assert(told == 10 || told == 9, "%u", told); /* a little later each time */
}

Test(topic_wait, a_topic_that_was_found_begins_anew)
{
    struct topic_wait wait = make();
    for (leat_ns now = 0; now < 5000 * MS; now = wait.ask_at)
        topic_wait_missed(&wait, now);
    topic_wait_found(&wait);
    cr_assert(!wait.missing);
    cr_assert(topic_wait_missed(&wait, 6000 * MS));
    cr_assert_eq(wait.since, 6000 * MS);
    cr_assert_leq(wait.ask_at, 6010 * MS);
}

Test(topic_wait, what_may_be_over_at_once_is_told_when_it_lasts)
{
    struct topic_wait wait = make();
    const leat_ns first = 100 * MS; /* soon after the machine was started */
    cr_assert_not(topic_wait_lasts(&wait, first, LEAT_NS_PER_S));
    cr_assert_not(topic_wait_lasts(&wait, first + LEAT_NS_PER_S - 1, LEAT_NS_PER_S));
    cr_assert(topic_wait_lasts(&wait, first + LEAT_NS_PER_S, LEAT_NS_PER_S));
    cr_assert_eq(wait.since, first);
    cr_assert_not(topic_wait_lasts(&wait, first + TOPIC_WAIT_TELL_NS, LEAT_NS_PER_S));
    cr_assert(topic_wait_lasts(&wait, first + LEAT_NS_PER_S + TOPIC_WAIT_TELL_NS, LEAT_NS_PER_S));
    topic_wait_found(&wait);
    cr_assert(topic_wait_lasts(&wait, first, 0), "or at once");
}

/* Goal: pauses double with jitter up to a limit, the circuit opens after so many failures in a row,
 * and a success forgets them. Method: many seeds, every pause held against its bounds. */
#include <criterion/criterion.h>

#include "client/backoff.h"
#include "tests/support/seeded.h"

static struct backoff make(uint64_t seed, uint32_t circuit_failures)
{
    return (struct backoff){ .min_ns = 1000,
                             .max_ns = 50000,
                             .open_ns = 777777,
                             .circuit_failures = circuit_failures,
                             .random = seed };
}

Test(backoff, pauses_double_within_their_jitter)
{
    struct seeded seed = seeded_start("backoff");
    for (int round = 0; round < 1000; round++) {
        struct backoff backoff = make(seeded_next(&seed), UINT32_MAX);
        uint64_t whole = 1000;
        for (int failure = 0; failure < 70; failure++) {
            const leat_ns pause = backoff_failed(&backoff);
            cr_assert_leq(pause, whole);
            cr_assert_geq(pause, whole / 2);
            whole = whole * 2 < 50000 ? whole * 2 : 50000;
        }
    }
}

Test(backoff, two_clients_do_not_come_back_together)
{
    struct backoff a = make(1, UINT32_MAX), b = make(2, UINT32_MAX);
    unsigned same = 0;
    for (int i = 0; i < 20; i++)
        same += backoff_failed(&a) == backoff_failed(&b);
    cr_assert_lt(same, 5u);
}

Test(backoff, the_circuit_opens_and_a_success_closes_it)
{
    struct backoff backoff = make(3, 4);
    for (int i = 0; i < 3; i++) {
        cr_assert_lt(backoff_failed(&backoff), 777777u);
        cr_assert_not(backoff_open(&backoff));
    }
    for (int i = 0; i < 3; i++) { /* each attempt after it opened is one more failure */
        cr_assert_eq(backoff_failed(&backoff), 777777u);
        cr_assert(backoff_open(&backoff));
    }
    backoff_succeeded(&backoff);
    cr_assert_not(backoff_open(&backoff));
    cr_assert_leq(backoff_failed(&backoff), 1000u);
}

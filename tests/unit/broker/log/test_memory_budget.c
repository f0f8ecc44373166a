/* Goal: what is charged never passes the limit, whoever charges at the same time; one account never
 * passes its part; all of it comes back. Method: edges, and threads that take and give at random.
 */
#include <criterion/criterion.h>
#include <pthread.h>

#include "broker/log/memory_budget.h"
#include "tests/support/seeded.h"

Test(memory_budget, takes_up_to_the_limit_and_says_when_it_cannot)
{
    struct memory_budget budget = { .limit_bytes = 100 };
    cr_assert(memory_budget_take(&budget, 100));
    cr_assert_not(memory_budget_take(&budget, 1));
    cr_assert_not(memory_budget_take(&budget, UINT64_MAX), "sums do not overflow");
    cr_assert_eq(budget.used_bytes, 100u);
    cr_assert_eq(budget.refused, 2u);
    memory_budget_give(&budget, 1);
    cr_assert(memory_budget_take(&budget, 1));
    cr_assert(memory_budget_take(NULL, UINT64_MAX));
}

Test(memory_budget, what_is_allocated_is_charged)
{
    struct memory_budget budget = { .limit_bytes = 100 };
    char *bytes = memory_budget_calloc(&budget, 60);
    cr_assert_not_null(bytes);
    cr_assert_null(memory_budget_calloc(&budget, 41));
    cr_assert_eq(budget.used_bytes, 60u);
    memory_budget_free(&budget, bytes, 60);
    memory_budget_free(&budget, NULL, 60);
    cr_assert_eq(budget.used_bytes, 0u);
}

Test(memory_budget, an_account_has_a_part_of_it)
{
    struct memory_budget budget = { .limit_bytes = 200 };
    struct memory_account one = { .budget = &budget }, other = { .budget = &budget };
    cr_assert(memory_account_take(&one, 100));
    cr_assert_not(memory_account_take(&one, 1));
    cr_assert(memory_account_take(&other, 100));
    memory_account_give(&one, 100);
    cr_assert_eq(budget.used_bytes, 100u);
    cr_assert(memory_account_take(&one, 99));
    struct memory_account unlimited = { .budget = NULL };
    cr_assert(memory_account_take(&unlimited, UINT64_MAX / 2));
}

enum { THREADS = 4, STEPS = 20000, LIMIT = 1000 };

static struct memory_budget shared = { .limit_bytes = LIMIT };

static void *churn(void *arg)
{
    struct seeded random = *(struct seeded *)arg;
    uint64_t held = 0;
    for (int i = 0; i < STEPS; i++) {
        const uint32_t bytes = seeded_below(&random, LIMIT);
        if (memory_budget_take(&shared, bytes))
            held += bytes;
        cr_assert_leq(atomic_load(&shared.used_bytes), (uint64_t)LIMIT);
        if (seeded_below(&random, 2) == 0) {
            memory_budget_give(&shared, held);
            held = 0;
        }
    }
    memory_budget_give(&shared, held);
    return NULL;
}

Test(memory_budget, a_part_is_charged_to_the_whole_and_stays_within_its_fraction)
{
    struct memory_budget whole = { .limit_bytes = 1000 };
    struct memory_budget *half = memory_part_open(&whole, 2), *other = memory_part_open(&whole, 2);
    cr_assert(memory_budget_take(half, 500));
    cr_assert_not(memory_budget_take(half, 1));
    cr_assert_eq(whole.used_bytes, 500u);
    cr_assert_eq(whole.refused, 1u, "it is counted where it is shown");
    cr_assert(memory_budget_take(&whole, 200));
    cr_assert_not(memory_budget_take(other, 301), "the whole has not so much left");
    cr_assert_eq(other->used_bytes, 0u);
    cr_assert(memory_budget_take(other, 300));
    whole.limit_bytes = 2000;
    cr_assert(memory_budget_take(half, 500), "the limit is of now");
    struct memory_account account = { .budget = half };
    cr_assert_eq(memory_account_most(half), memory_account_most(&whole));
    cr_assert_not(memory_account_take(&account, 1));
    memory_part_hold(half);
    cr_assert(memory_part_is_shared(half));
    memory_budget_give(half, 1000);
    memory_part_release(half);
    cr_assert_not(memory_part_is_shared(half));
    memory_part_release(half);
    memory_budget_give(other, 300);
    memory_part_release(other);
    cr_assert_eq(whole.used_bytes, 200u);
    cr_assert_null(memory_part_open(NULL, 2));
    memory_part_release(NULL);
    memory_part_release(&whole);
}

Test(memory_budget, threads_do_not_pass_the_limit_together)
{
    struct seeded random = seeded_start("memory_budget");
    struct seeded own[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        own[i] = random;
        for (int n = 0; n <= i; n++)
            seeded_next(&own[i]);
        cr_assert_eq(pthread_create(&threads[i], NULL, churn, &own[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(shared.used_bytes, 0u);
}

/* Goal: what is charged never passes the limit, whoever charges at the same time; one account never
 * passes its part; all of it comes back. Method: edges, and threads that take and give at random.
 */
#include <criterion/criterion.h>
#include <pthread.h>

#include "broker/log/memory_budget.h"
#include "tests/seeded.h"

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

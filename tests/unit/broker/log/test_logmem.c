/* Goal: a ring's two halves are one memory, the budget is exact, and a refusal holds nothing.
 * Method: write through one half, read through the other; budgets that fit, just fit and just do
 * not. */
#include <criterion/criterion.h>
#include <string.h>

#include "broker/log/logmem.h"
#include "schema/units.h"

Test(logmem, what_wraps_is_contiguous)
{
    struct logmem_budget budget = { .limit_bytes = LEAT_MIB, .pages = LOGMEM_NORMAL };
    struct logmem mem;
    uint64_t missing;
    uint8_t run[1000];
    cr_assert_eq(logmem_open(&mem, 64 * LEAT_KIB, &budget, &missing), LEAT_OK);
    cr_assert_not(mem.hugepages);
    for (unsigned lap = 0; lap < 5; lap++) {
        memset(run, (int)(lap + 1), sizeof run);
        const uint64_t at = mem.size - 300 - lap;
        logmem_write(&mem, at, run, sizeof run);
        cr_assert_arr_eq(mem.base + at, run, sizeof run);
        cr_assert_arr_eq(mem.base, run + 300 + lap, 700 - lap, "seen through the first half");
    }
    logmem_close(&mem, &budget);
    cr_assert_eq(budget.used_bytes, 0u);
    logmem_close(&mem, &budget); /* closed already: nothing happens */
    cr_assert_eq(budget.used_bytes, 0u);
}

Test(logmem, the_budget_says_exactly_what_is_missing)
{
    struct logmem_budget budget = { .limit_bytes = 200 * LEAT_KIB, .pages = LOGMEM_NORMAL };
    struct logmem a, b, c;
    uint64_t missing = 77;
    cr_assert_eq(logmem_open(&a, 128 * LEAT_KIB, &budget, &missing), LEAT_OK);
    cr_assert_eq(logmem_open(&b, 128 * LEAT_KIB, &budget, &missing), LEAT_ERR_NO_MEMORY);
    cr_assert_eq(missing, 56 * LEAT_KIB);
    cr_assert_eq(budget.used_bytes, 128 * LEAT_KIB, "a refusal holds nothing");
    cr_assert_eq(logmem_open(&c, 64 * LEAT_KIB, &budget, &missing), LEAT_OK);
    logmem_close(&a, &budget);
    logmem_close(&c, &budget);
    cr_assert_eq(budget.used_bytes, 0u);
}

Test(logmem, hugepages_are_used_or_refused_or_fallen_back_from)
{
    struct logmem_budget budget = { .limit_bytes = 64 * LEAT_MIB, .pages = LOGMEM_AUTO };
    struct logmem mem;
    uint64_t missing = 1;
    cr_assert_eq(logmem_open(&mem, 4 * LEAT_MIB, &budget, &missing), LEAT_OK, "auto never refuses");
    mem.base[mem.size] = 5;
    cr_assert_eq(mem.base[0], 5);
    const bool machine_has_them = mem.hugepages;
    logmem_close(&mem, &budget);
    budget.pages = LOGMEM_HUGE;
    const enum leat_error error = logmem_open(&mem, 4 * LEAT_MIB, &budget, &missing);
    cr_assert_eq(error, machine_has_them ? LEAT_OK : LEAT_ERR_NO_MEMORY);
    if (error == LEAT_OK)
        logmem_close(&mem, &budget);
    else
        cr_assert_eq(missing, 0u, "not the budget's fault");
    cr_assert_eq(logmem_open(&mem, 64 * LEAT_KIB, &budget, &missing), LEAT_OK,
                 "a ring below one hugepage uses normal pages");
    cr_assert_not(mem.hugepages);
    logmem_close(&mem, &budget);
}

/* Goal: the places of groups are charged and given back, and one that finds no room leaves nothing
 * behind. Method: the table itself. */
#include <criterion/criterion.h>

#include "broker/shared/offsets.h"

Test(offsets, entries_are_charged_and_given_back)
{
    struct memory_budget budget = { .limit_bytes = 1000 };
    struct offsets *offsets;
    struct offsets_entry *entries[64], *none;
    uint32_t count = 0;
    rcu_register_thread();
    cr_assert_eq(offsets_open(&offsets, &budget), LEAT_OK);
    struct offsets_key key = { .group_id = 1, .topic_id = 2 };
    while (offsets_create(offsets, &key, 1, &entries[count]) == LEAT_OK) {
        key.partition = ++count;
        cr_assert_lt(count, 64u, "nothing was charged");
    }
    cr_assert_gt(count, 0u);
    cr_assert_leq(budget.used_bytes, budget.limit_bytes);
    cr_assert_geq(budget.used_bytes, count * sizeof(struct offsets_entry));
    cr_assert_eq(offsets_create(offsets, &key, 1, &none), LEAT_ERR_NO_MEMORY);
    cr_assert_null(offsets_find(offsets, &key));
    cr_assert_eq(offsets_count(offsets), count);
    offsets_remove(offsets, entries[0]);
    cr_assert_eq(offsets_create(offsets, &key, 1, &none), LEAT_OK);
    offsets_close(offsets);
    cr_assert_eq(budget.used_bytes, 0u);
    rcu_unregister_thread();
}

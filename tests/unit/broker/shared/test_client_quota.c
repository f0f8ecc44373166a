/* Goal: a name has one bucket on each shard whoever comes under it, what it owes outlives its
 * sessions, and names cost no more than there is room for. Method: the table itself. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "broker/shared/client_quota.h"

enum { SHARDS = 3 };

static struct client_quotas all;
static struct memory_budget budget;

static void set_up(void)
{
    cr_assert(client_quotas_open(&all, SHARDS));
}

static void tear_down(void)
{
    client_quotas_close(&all);
    cr_assert_eq(budget.used_bytes, 0u);
}

TestSuite(client_quota, .init = set_up, .fini = tear_down, .timeout = 60);

Test(client_quota, all_of_one_name_share_it)
{
    struct client_quota *one = client_quota_take(&all, "a", &budget, 0);
    cr_assert_not_null(one);
    cr_assert_eq(client_quota_take(&all, "a", &budget, 0), one);
    cr_assert_neq(client_quota_take(&all, "b", &budget, 0), one);
    cr_assert_eq(one->sessions, 2u);
    for (int i = 0; i < SHARDS; i++)
        cr_assert_eq((uintptr_t)&one->buckets[i] % 64, 0u, "shards do not share a line");
}

Test(client_quota, what_is_owed_outlives_the_sessions)
{
    struct client_quota *one = client_quota_take(&all, "a", &budget, 0);
    quota_set_rate(&one->buckets[1].publish, 1000, 0);
    quota_take(&one->buckets[1].publish, 10000, 0);
    client_quota_release(&all, one);
    for (int i = 0; i < 10; i++)
        client_quota_release(&all, client_quota_take(&all, "other", &budget, LEAT_NS_PER_S));
    cr_assert_eq(client_quota_find(&all, "a"), one);
    cr_assert_eq(client_quota_take(&all, "a", &budget, LEAT_NS_PER_S), one);
    cr_assert_not(quota_ready(&one->buckets[1].publish, LEAT_NS_PER_S));
    client_quota_release(&all, one);
    for (int i = 0; i < 10; i++)
        client_quota_release(&all, client_quota_take(&all, "other", &budget, 60 * LEAT_NS_PER_S));
    cr_assert_null(client_quota_find(&all, "a"), "it owes nothing any more");
}

Test(client_quota, names_without_sessions_give_way_and_others_do_not)
{
    char name[16];
    struct client_quota *kept = client_quota_take(&all, "kept", &budget, 0);
    const uint64_t each = budget.used_bytes;
    budget.limit_bytes = 4 * each;
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "n%d", i);
        struct client_quota *one = client_quota_take(&all, name, &budget, 0);
        cr_assert_not_null(one);
        client_quota_release(&all, one);
    }
    cr_assert_eq(client_quota_find(&all, "kept"), kept);
    cr_assert_leq(all.count, 4u);
    struct client_quota *held[3];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "h%d", i);
        held[i] = client_quota_take(&all, name, &budget, 0);
        cr_assert_not_null(held[i]);
    }
    cr_assert_null(client_quota_take(&all, "more", &budget, 0));
    client_quota_release(&all, held[1]);
    cr_assert_not_null(client_quota_take(&all, "more", &budget, 0));
}

Test(client_quota, who_owes_keeps_the_debt_when_there_is_no_room_for_others)
{
    enum { DEBTORS = 100 };
    char name[16];
    client_quota_release(&all, client_quota_take(&all, "free", &budget, 0));
    for (int i = 0; i < DEBTORS; i++) {
        snprintf(name, sizeof name, "n%d", i);
        struct client_quota *one = client_quota_take(&all, name, &budget, 0);
        cr_assert_not_null(one);
        quota_set_rate(&one->buckets[0].deliver, 1, 0);
        quota_take(&one->buckets[0].deliver, 1000, 0);
        client_quota_release(&all, one);
    }
    budget.limit_bytes = budget.used_bytes;
    for (int i = 0; i < DEBTORS; i++)
        cr_assert_null(client_quota_take(&all, "new", &budget, 0), "somebody's debt went for it");
    for (int i = 0; i < DEBTORS; i++) {
        snprintf(name, sizeof name, "n%d", i);
        struct client_quota *one = client_quota_find(&all, name);
        cr_assert_not_null(one, "%s", name);
        cr_assert_not(quota_ready(&one->buckets[0].deliver, 0));
    }
    cr_assert_not_null(client_quota_take(&all, "new", &budget, 1001 * LEAT_NS_PER_S),
                       "they have paid");
}

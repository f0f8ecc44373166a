/* Goal: nobody fills a table alone: not one connection, not many of one address, and what was taken
 * counts until it is given back. Method: direct calls. */
#include <criterion/criterion.h>
#include <string.h>

#include "broker/control/shares.h"

enum { GROUPS = 64, SESSIONS = 3 };

static struct shares s;

static void set_up(void)
{
    static const uint32_t sizes[SHARE_SESSIONS + 1] = {
        [SHARE_GROUPS] = GROUPS, [SHARE_GROUP_PARTITIONS] = 1u << 31, [SHARE_SESSIONS] = SESSIONS
    };
    cr_assert_eq(shares_open(&s, sizes, SHARE_SESSIONS + 1, NULL), LEAT_OK);
}

static void tear_down(void)
{
    shares_close(&s);
}

TestSuite(shares, .init = set_up, .fini = tear_down);

/* 10.0.0.`last`, as it is mapped into IPv6. */
static struct share_maker *enter(uint8_t last)
{
    const uint8_t address[SHARE_ADDRESS_BYTES] = {
        [10] = 0xFF, [11] = 0xFF, [12] = 10, [15] = last
    };
    struct share_maker *maker = shares_enter(&s, address);
    cr_assert_neq(maker, NULL);
    return maker;
}

/* Takes one at a time until it may not; returns why not. */
static enum share_verdict fill(struct share_maker *maker, uint32_t table, uint32_t *taken)
{
    enum share_verdict verdict;
    for (*taken = 0; (verdict = shares_may_take(&s, maker, table, 1)) == SHARE_OK; ++*taken)
        shares_take(&s, maker, table, 1);
    return verdict;
}

static void empty(struct share_maker *maker, uint32_t table, uint32_t count)
{
    shares_leave(maker);
    for (uint32_t i = 0; i < count; i++)
        shares_give_back(&s, maker, table, 1);
}

Test(shares, a_connection_gets_an_eighth_an_address_half_and_another_half_of_the_rest)
{
    struct share_maker *makers[9];
    uint32_t taken[9];
    for (uint8_t i = 0; i < 4; i++) {
        makers[i] = enter(1);
        cr_assert_eq(fill(makers[i], SHARE_GROUPS, &taken[i]), SHARE_CONNECTION_FULL);
        cr_assert_eq(taken[i], GROUPS / 8u);
    }
    makers[4] = enter(1);
    cr_assert_eq(fill(makers[4], SHARE_GROUPS, &taken[4]), SHARE_ADDRESS_FULL);
    cr_assert_eq(taken[4], 0u);
    for (uint8_t i = 5; i < 9; i++)
        makers[i] = enter(2);
    cr_assert_eq(fill(makers[5], SHARE_GROUPS, &taken[5]), SHARE_CONNECTION_FULL);
    cr_assert_eq(fill(makers[6], SHARE_GROUPS, &taken[6]), SHARE_CONNECTION_FULL);
    cr_assert_eq(fill(makers[7], SHARE_GROUPS, &taken[7]), SHARE_ADDRESS_FULL);
    cr_assert_eq(taken[5] + taken[6] + taken[7], GROUPS / 4u, "half of the half that is left");
    shares_leave(makers[8]);
    makers[8] = enter(3);
    cr_assert_eq(fill(makers[8], SHARE_GROUPS, &taken[8]), SHARE_CONNECTION_FULL);
    for (uint8_t i = 0; i < 9; i++)
        empty(makers[i], SHARE_GROUPS, taken[i]);
    cr_assert_eq(s.taken[SHARE_GROUPS], 0u);
}

Test(shares, what_a_connection_left_behind_counts_for_its_address)
{
    struct share_maker *makers[4], *last;
    uint32_t taken[4], none;
    for (int i = 0; i < 4; i++) {
        makers[i] = enter(1);
        fill(makers[i], SHARE_GROUPS, &taken[i]);
        shares_leave(makers[i]);
    }
    last = enter(1);
    cr_assert_eq(fill(last, SHARE_GROUPS, &none), SHARE_ADDRESS_FULL);
    shares_give_back(&s, makers[2], SHARE_GROUPS, taken[2]);
    cr_assert_eq(fill(last, SHARE_GROUPS, &taken[2]), SHARE_CONNECTION_FULL);
    empty(last, SHARE_GROUPS, taken[2]);
    for (int i = 0; i < 4; i++)
        if (i != 2)
            shares_give_back(&s, makers[i], SHARE_GROUPS, taken[i]);
}

Test(shares, what_is_nobodys_takes_from_all)
{
    uint32_t taken;
    struct share_maker *maker = enter(1);
    shares_take(&s, NULL, SHARE_GROUPS, GROUPS - 6);
    cr_assert_eq(fill(maker, SHARE_GROUPS, &taken), SHARE_ADDRESS_FULL);
    cr_assert_eq(taken, 3u);
    cr_assert_eq(shares_may_take(&s, NULL, SHARE_GROUPS, 3), SHARE_OK);
    cr_assert_eq(shares_may_take(&s, NULL, SHARE_GROUPS, 4), SHARE_FULL);
    empty(maker, SHARE_GROUPS, taken);
    shares_give_back(&s, NULL, SHARE_GROUPS, GROUPS - 6);
}

Test(shares, a_small_table_has_two_for_each_and_many_at_once_do_not_overflow)
{
    uint32_t taken;
    struct share_maker *maker = enter(1);
    cr_assert_eq(fill(maker, SHARE_SESSIONS, &taken), SHARE_CONNECTION_FULL);
    cr_assert_eq(taken, 2u);
    cr_assert_eq(shares_may_take(&s, maker, SHARE_GROUP_PARTITIONS, UINT32_MAX),
                 SHARE_CONNECTION_FULL);
    shares_take(&s, maker, SHARE_GROUP_PARTITIONS, 1);
    cr_assert_eq(shares_may_take(&s, maker, SHARE_GROUP_PARTITIONS, UINT32_MAX),
                 SHARE_CONNECTION_FULL);
    cr_assert_eq(shares_may_take(&s, maker, SHARE_GROUP_PARTITIONS, 1u << 28),
                 SHARE_CONNECTION_FULL);
    cr_assert_eq(shares_may_take(&s, maker, SHARE_GROUP_PARTITIONS, (1u << 28) - 1), SHARE_OK);
    shares_give_back(&s, maker, SHARE_GROUP_PARTITIONS, 1);
    empty(maker, SHARE_SESSIONS, taken);
}

Test(shares, addresses_of_one_ipv6_network_are_one)
{
    uint8_t a[SHARE_ADDRESS_BYTES] = { 0x20, 0x01, 0x0D, 0xB8, [15] = 1 };
    struct share_maker *one = shares_enter(&s, a);
    a[8] = 7;
    struct share_maker *two = shares_enter(&s, a);
    a[7] = 1;
    struct share_maker *three = shares_enter(&s, a), *four = enter(1), *five = enter(2);
    cr_assert_eq(one->address, two->address);
    cr_assert_neq(one->address, three->address);
    cr_assert_neq(four->address, five->address, "IPv4 addresses are each one");
    struct share_maker *all[] = { one, two, three, four, five };
    for (int i = 0; i < 5; i++)
        shares_leave(all[i]);
}

/* A broker that ends does not wait for what sessions give back. A leak sanitizer sees it. */
Test(shares, what_is_not_given_back_before_the_end_is_freed)
{
    struct share_maker *gone = enter(1), *stays = enter(1);
    shares_take(&s, gone, SHARE_SESSIONS, 1);
    shares_leave(gone);
    cr_assert_eq(stays->address, gone->address);
}

Test(shares, an_address_that_comes_back_is_the_same)
{
    static const uint8_t v6[SHARE_ADDRESS_BYTES] = { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 9 };
    static const uint8_t v4[SHARE_ADDRESS_BYTES] = { [10] = 0xFF, [11] = 0xFF, 127, 0, 0, 1 };
    static const uint8_t loopback[SHARE_ADDRESS_BYTES] = { [15] = 1 };
    const uint8_t *const all[] = { v6, v4, loopback };
    uint64_t ids[3];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++) {
            struct share_maker *maker = shares_enter(&s, all[i]);
            const uint64_t id = shares_maker(maker).address;
            cr_assert_neq(id, 0u);
            cr_assert(round == 0 || id == ids[i]);
            ids[i] = id;
            shares_leave(maker); /* the last of its address */
        }
    }
    cr_assert(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
}

/* Goal: RESETs are few in all and few to one address, whatever addresses ask; an address that has
 * not asked is answered while there are any left. Method: the table by itself, with a clock made
 * by hand and addresses from a seed. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "broker/shard/reset_limit.h"
#include "tests/support/seeded.h"

static unsigned take(struct reset_limit *limit, uint8_t last, unsigned times, leat_ns now)
{
    const uint8_t address[16] = { [10] = 0xFF, [11] = 0xFF, [12] = 10, [15] = last };
    unsigned taken = 0;
    for (unsigned i = 0; i < times; i++)
        taken += reset_limit_take(limit, address, now);
    return taken;
}

Test(reset_limit, one_address_has_its_part_and_no_more)
{
    struct reset_limit limit;
    reset_limit_init(&limit, 42);
    cr_assert_eq(take(&limit, 1, 1000, LEAT_NS_PER_S), (unsigned)RESET_LIMIT_ADDRESS);
    cr_assert_eq(take(&limit, 2, 1, LEAT_NS_PER_S + 1), 1u);
    cr_assert_eq(take(&limit, 1, 1, 2 * LEAT_NS_PER_S - 1), 0u);
    cr_assert_eq(take(&limit, 1, 1000, 2 * LEAT_NS_PER_S), (unsigned)RESET_LIMIT_ADDRESS);
}

Test(reset_limit, all_addresses_together_have_theirs)
{
    struct seeded random = seeded_start("reset_limit");
    struct reset_limit limit;
    unsigned taken = 0;
    reset_limit_init(&limit, seeded_next(&random));
    for (int i = 0; i < 100000; i++) {
        uint8_t address[16];
        for (size_t b = 0; b < sizeof address; b++)
            address[b] = (uint8_t)seeded_next(&random);
        taken += reset_limit_take(&limit, address, 5 * LEAT_NS_PER_S);
    }
    cr_assert_eq(taken, (unsigned)RESET_LIMIT_ALL);
}

/* Whom an address shares its part with depends on the key: nobody can choose. */
Test(reset_limit, who_shares_a_place_is_another_with_another_key)
{
    unsigned shared = 0;
    for (uint64_t key = 1; key <= 64; key++) {
        struct reset_limit limit;
        reset_limit_init(&limit, key);
        take(&limit, 1, RESET_LIMIT_ADDRESS, LEAT_NS_PER_S);
        shared += take(&limit, 2, 1, LEAT_NS_PER_S) == 0;
    }
    cr_assert_lt(shared, 4u);
}

/* Goal: a packet is new once, an ack block says exactly what arrived, and an ack is due when its
 * sender needs it. Method: a set of everything that arrived, over numbers that jump, stay behind
 * and repeat; then the rules of when, one by one. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/seeded.h"
#include "transport/recvmap.h"

enum { NUMBERS = 20000, DELAY = 25000 };

static bool arrived[NUMBERS];

static void expect_block(struct recvmap *map, uint64_t largest, leat_ns waited, leat_ns now)
{
    struct leat_packet_ack ack;
    cr_assert(recvmap_ack(map, 77, &ack, now));
    cr_assert_eq(ack.largest, largest);
    cr_assert_eq(ack.window, 77);
    cr_assert_eq(ack.delay_ns, waited);
    for (uint64_t i = 0; i < LEAT_PACKET_MAP_BITS; i++) {
        const bool came = largest > i + 1 && arrived[largest - 1 - i];
        cr_assert_eq((ack.map >> i & 1) != 0, came, "%llu before %llu", (unsigned long long)i + 1,
                     (unsigned long long)largest);
    }
    cr_assert_eq(map->ack_at, LEAT_NS_NEVER);
}

Test(recvmap, agrees_with_a_set)
{
    struct seeded random = seeded_start("recvmap");
    for (int run = 0; run < 20; run++) {
        struct recvmap map;
        uint64_t largest = 0;
        leat_ns largest_at = 0;
        recvmap_init(&map);
        memset(arrived, 0, sizeof arrived);
        for (leat_ns now = 1000;; now += 100) {
            const bool jump = seeded_below(&random, 200) == 0;
            const uint64_t base =
                largest > 1500 && seeded_below(&random, 3) == 0 ? largest - 1500 : largest;
            const uint64_t number = base + 1
                                    + seeded_below(&random, jump             ? 3000
                                                            : largest > base ? 1500
                                                                             : 3);
            if (number >= NUMBERS)
                break;
            const bool too_old = number < largest && largest - number >= RECVMAP_BITS;
            cr_assert_eq(recvmap_is_too_old(&map, number), too_old);
            cr_assert_eq(recvmap_is_new(&map, number), !too_old && !arrived[number]);
            if (recvmap_is_new(&map, number) || too_old)
                recvmap_add(&map, number, true, false, DELAY, now);
            if (!too_old)
                arrived[number] = true;
            if (number > largest) {
                largest = number;
                largest_at = now;
            }
            cr_assert_eq(map.largest, largest);
            if (seeded_below(&random, 3) == 0)
                expect_block(&map, largest, now + 5 - largest_at, now + 5);
        }
    }
}

static struct recvmap after(uint64_t packets)
{
    struct recvmap map;
    struct leat_packet_ack ack;
    recvmap_init(&map);
    for (uint64_t n = 1; n <= packets; n++)
        recvmap_add(&map, n, true, false, DELAY, 1000);
    recvmap_ack(&map, 0, &ack, 1000);
    return map;
}

Test(recvmap, nothing_came_nothing_is_said)
{
    struct recvmap map;
    struct leat_packet_ack ack;
    recvmap_init(&map);
    cr_assert_not(recvmap_ack(&map, 0, &ack, 1000));
    cr_assert_eq(map.ack_at, LEAT_NS_NEVER);
}

Test(recvmap, an_ack_is_due_when_its_sender_needs_it)
{
    struct recvmap map = after(4);
    recvmap_add(&map, 5, true, false, DELAY, 2000);
    cr_assert_eq(map.ack_at, 2000 + DELAY, "the first waits for company");
    recvmap_add(&map, 6, true, false, DELAY, 2100);
    cr_assert_eq(map.ack_at, 2100, "the second does not");
    map = after(4);
    recvmap_add(&map, 6, true, false, DELAY, 2000);
    cr_assert_eq(map.ack_at, 2000, "a hole opened");
    map = after(4);
    recvmap_add(&map, 6, true, false, DELAY, 2000);
    recvmap_ack(&map, 0, &(struct leat_packet_ack){ 0 }, 2000);
    recvmap_add(&map, 5, true, false, DELAY, 2200);
    cr_assert_eq(map.ack_at, 2200, "a hole closed");
    map = after(4);
    recvmap_again(&map, 2000);
    cr_assert_eq(map.ack_at, 2000, "it came again");
    map = after(4);
    recvmap_add(&map, 5, true, true, DELAY, 2000);
    cr_assert_eq(map.ack_at, 2000, "it was asked for");
    map = after(4);
    recvmap_add(&map, 5, false, true, DELAY, 2000);
    cr_assert_eq(map.ack_at, 2000, "it was asked for, by a probe without content");
}

Test(recvmap, acks_are_not_acknowledged)
{
    struct recvmap map = after(4);
    recvmap_add(&map, 5, false, false, DELAY, 2000);
    recvmap_add(&map, 7, false, false, DELAY, 2000);
    cr_assert_eq(map.ack_at, LEAT_NS_NEVER);
}

Test(recvmap, what_was_not_said_after_all_is_still_due)
{
    struct recvmap map = after(4);
    struct leat_packet_ack ack;
    recvmap_add(&map, 5, true, false, DELAY, 2000);
    recvmap_ack(&map, 0, &ack, 2000);
    recvmap_unsaid(&map);
    cr_assert_eq(map.ack_at, 2000 + DELAY);
    recvmap_add(&map, 6, true, false, DELAY, 2100);
    cr_assert_eq(map.ack_at, 2100, "the one before still counts");
    recvmap_ack(&map, 0, &ack, 2100);
    recvmap_unsaid(&map);
    recvmap_unsaid(&map);
    cr_assert_eq(map.ack_at, 2100);
    cr_assert_eq(map.eliciting, 2);
}

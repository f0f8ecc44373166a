/* Goal: every packet ends exactly once, acknowledged or lost; what a lost one carried comes back
 * exactly once; round trip and losses are as RFC 9002 has them; nothing from outside breaks it.
 * Method: random packets over a wire that loses and overtakes, acknowledged from a set of what
 * arrived, against a model that remembers everything; then the rules, one by one. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/support/flow_check.h"
#include "tests/support/seeded.h"
#include "transport/sentmap.h"

enum { PACKETS = 30000, ITEMS_MOST = 5, US = 1000 };

static struct sentmap map;

static struct told {
    bool arrived, acked, lost, given;
    uint8_t items, back; /* how many it carried; how many came back, a bit each */
} model[PACKETS];

static uint32_t outstanding;

static void expect_sound(void)
{
    const char *wrong = sentmap_check(&map);
    cr_assert_null(wrong, "%s", wrong);
    cr_assert_eq(map.outstanding, outstanding);
}

/* Items carry their packet's number. */
static uint64_t send_packet(uint32_t items, leat_ns now)
{
    const uint64_t number = map.next;
    uint32_t noted = 0;
    for (; noted < items; noted++) {
        const struct flow_item item = { .at = number, .more = noted };
        if (!sentmap_note(&map, &item))
            break;
    }
    cr_assert_eq(sentmap_sent(&map, 100, noted != 0, now), number);
    model[number] = (struct told){ .items = (uint8_t)noted };
    outstanding += noted != 0;
    return number;
}

/* Takes lost items off the queue: each must be of a packet that was lost or given back, and come
 * once. */
static void take_lost(void)
{
    for (struct flow_item *item; (item = sentmap_lost(&map)) != NULL; sentmap_lost_done(&map)) {
        struct told *told = &model[item->at];
        cr_assert(told->lost || told->given, "came back, and was not lost");
        cr_assert_lt(item->more, told->items);
        cr_assert_eq(told->back >> item->more & 1, 0, "came back twice");
        told->back |= (uint8_t)(1u << item->more);
    }
}

/* What became of each packet since the last look, against the news. */
static void expect_news(const struct sentmap_news *news)
{
    struct sentmap_news seen = { 0 };
    const uint64_t first = map.next > SENTMAP_PACKETS ? map.next - SENTMAP_PACKETS : 1;
    for (uint64_t n = first; n < map.next; n++) {
        const uint8_t state = map.packets[n % SENTMAP_PACKETS].state;
        struct told *told = &model[n];
        if (state == SENT_ACKED && !told->acked) {
            cr_assert(told->arrived && told->items != 0);
            seen.acked += !told->lost;
            seen.spurious += told->lost;
            told->acked = true;
        } else if (state == SENT_LOST && !told->lost) {
            cr_assert_lt(n, map.largest_acked);
            seen.lost++;
            told->lost = true;
        } else if (state == SENT_QUIET) {
            cr_assert_eq(told->items, 0);
        }
        if (state == SENT_OUTSTANDING && n < map.largest_acked)
            cr_assert_lt(map.largest_acked - n, map.loss.packet_threshold);
    }
    outstanding -= seen.acked + seen.lost;
    cr_assert_eq(seen.acked, news->acked);
    cr_assert_eq(seen.lost, news->lost);
    cr_assert_eq(seen.spurious, news->spurious);
}

static void acknowledge(uint64_t largest, leat_ns now)
{
    struct leat_packet_ack ack = { .largest = (uint32_t)largest };
    struct sentmap_news news;
    for (uint64_t i = 0; i < LEAT_PACKET_MAP_BITS && largest > i + 1; i++)
        ack.map |= (uint64_t)model[largest - 1 - i].arrived << i;
    sentmap_acked(&map, largest, &ack, now, &news);
    cr_assert_not(news.bogus);
    expect_news(&news);
}

static void random_step(struct seeded *random, uint32_t loss, leat_ns now)
{
    const uint64_t back = seeded_below(random, seeded_below(random, 8) == 0 ? 200 : 6);
    struct sentmap_news news;
    switch (seeded_below(random, 10)) {
    case 0: /* something late arrives */
        if (map.next > back + 1)
            model[map.next - 1 - back].arrived = true;
        break;
    case 1:
        sentmap_expire(&map, now, &news);
        expect_news(&news);
        break;
    case 2:
        if (seeded_below(random, 4) == 0) {
            for (uint64_t n = map.oldest, left = 2; n < map.next && left != 0; n++) {
                struct told *told = &model[n];
                const bool open = told->items != 0 && !told->acked && !told->lost && !told->given;
                told->given |= open;
                left -= open;
            }
            sentmap_give_back(&map, 2);
        }
        break;
    case 3:
    case 4:
    case 5:
        if (map.next > back + 1 && model[map.next - 1 - back].arrived)
            acknowledge(map.next - 1 - back, now);
        break;
    default:
        if (!sentmap_is_full(&map)) {
            const uint64_t number = send_packet(seeded_below(random, ITEMS_MOST), now);
            model[number].arrived = seeded_below(random, 1000) >= loss;
        }
        break;
    }
}

Test(sentmap, every_packet_ends_once_and_lost_items_come_back_once)
{
    static const uint32_t losses[] = { 0, 10, 100, 500, 900 };
    struct seeded random = seeded_start("sentmap");
    for (int run = 0; run < 10; run++) {
        leat_ns now = LEAT_NS_PER_S;
        sentmap_init(&map);
        memset(model, 0, sizeof model);
        outstanding = 0;
        for (int step = 0; step < 20000 && map.next < PACKETS - 1; step++) {
            now += seeded_below(&random, 20 * US);
            random_step(&random, losses[run % 5], now);
            if (seeded_below(&random, 3) == 0)
                take_lost();
            expect_sound();
        }
        take_lost();
        for (uint64_t n = 1; n < map.next; n++) {
            const struct told *told = &model[n];
            const uint8_t all = (uint8_t)((1u << told->items) - 1);
            cr_assert_eq(told->back, told->lost || told->given ? all : 0, "packet %llu",
                         (unsigned long long)n);
        }
    }
}

static void start(void)
{
    sentmap_init(&map);
    memset(model, 0, sizeof model);
    outstanding = 0;
}
TestSuite(sentmap, .init = start);

/* `count` packets of one item, 1 us apart, from `at` on. */
static void send_some(uint32_t count, leat_ns at)
{
    for (uint32_t i = 0; i < count; i++)
        send_packet(1, at + i * US);
}

static struct sentmap_news acked(uint64_t largest, uint64_t before, leat_ns delay, leat_ns now)
{
    const struct leat_packet_ack ack = { .map = before, .delay_ns = delay };
    struct sentmap_news news;
    sentmap_acked(&map, largest, &ack, now, &news);
    return news;
}

Test(sentmap, a_hole_three_newer_ones_passed_is_lost)
{
    send_some(10, 0);
    cr_assert_eq(acked(3, 1, 0, 20 * US).lost, 0, "two and one are known, 1 is two older");
    cr_assert_eq(acked(4, 3, 0, 20 * US).lost, 1);
    cr_assert_eq(sentmap_lost(&map)->at, 1);
}

Test(sentmap, a_hole_that_grows_old_is_lost_by_time)
{
    struct sentmap_news news;
    send_some(2, 0);
    cr_assert_eq(acked(2, 0, 0, 101 * US).lost, 0); /* the round trip is 100 us */
    cr_assert_eq(map.loss_at, 112500);
    sentmap_expire(&map, 112499, &news);
    cr_assert_eq(news.lost, 0);
    sentmap_expire(&map, 112500, &news);
    cr_assert_eq(news.lost, 1);
    cr_assert_eq(news.lost_sent_at, 0);
    cr_assert_eq(map.loss_at, LEAT_NS_NEVER);
}

Test(sentmap, what_is_newer_than_all_acks_is_never_lost)
{
    struct sentmap_news news;
    send_some(100, 0);
    acked(1, 0, 0, 200 * US);
    sentmap_expire(&map, 100 * LEAT_NS_PER_S, &news);
    cr_assert_eq(news.lost, 0);
    cr_assert_eq(map.outstanding, 99);
}

Test(sentmap, below_what_an_ack_tells_everything_is_lost)
{
    send_some(200, 0);
    map.loss.packet_threshold = LOSS_PACKET_THRESHOLD_MAX;
    const struct sentmap_news news = acked(200, UINT64_MAX, 0, 300 * US);
    cr_assert_eq(news.acked, 65);
    cr_assert_eq(news.lost, 135);
    cr_assert_eq(map.outstanding, 0);
}

Test(sentmap, the_round_trip_is_that_of_the_newest_less_the_delay)
{
    send_some(4, 0);
    acked(1, 0, 50 * US, 100 * US);
    cr_assert_eq(map.loss.srtt, 100 * US, "nothing is taken off the first");
    acked(3, 3, 30 * US, 182 * US); /* 2 and 3: 180 us, of which 30 waited */
    cr_assert_eq(map.loss.rtt_latest, 180 * US);
    cr_assert_eq(map.loss.srtt, 100 * US - 100 * US / 8 + 150 * US / 8);
    cr_assert_eq(map.loss.rtt_min, 100 * US);
    const leat_ns srtt = map.loss.srtt;
    acked(4, 7, 900 * US, 200 * US); /* a delay longer than it can have been */
    cr_assert_lt(map.loss.srtt, srtt);
    cr_assert_eq(map.loss.srtt, srtt - srtt / 8 + map.loss.rtt_min / 8,
                 "never below the least there was");
}

Test(sentmap, an_ack_that_was_overtaken_tells_no_round_trip)
{
    send_some(4, 0);
    acked(4, 5, 0, 100 * US); /* 1 and 3 */
    const leat_ns srtt = map.loss.srtt;
    cr_assert_eq(acked(2, 1, 0, 90000 * US).acked, 1);
    cr_assert_eq(map.loss.srtt, srtt);
}

Test(sentmap, late_ones_raise_the_threshold_and_quiet_lowers_it)
{
    send_some(20, 0);
    cr_assert_eq(acked(12, 0x3FF, 0, 20 * US).lost, 1); /* all but 1 */
    const struct sentmap_news news = acked(12, 0x7FF, 0, 21 * US);
    cr_assert(news.spurious == 1 && news.acked == 0);
    cr_assert_eq(map.loss.packet_threshold, 12);
    for (uint32_t i = 0; i < 10 * LOSS_PACKET_THRESHOLD_AGE; i++) {
        const uint64_t number = send_packet(1, 30 * US);
        acked(number, UINT64_MAX, 0, 40 * US);
    }
    cr_assert_eq(map.loss.packet_threshold, LOSS_PACKET_THRESHOLD);
}

Test(sentmap, acks_of_what_was_never_sent_change_nothing)
{
    send_some(5, 0);
    static struct sentmap before;
    before = map;
    const uint64_t never[] = { 6, 7, 1000, UINT64_C(1) << 32, UINT64_MAX };
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++) {
        cr_assert(acked(never[i], UINT64_MAX, 0, 50 * US).bogus);
        cr_assert_eq(memcmp(&before, &map, sizeof map), 0);
    }
    cr_assert_not(acked(0, UINT64_MAX, 0, 50 * US).bogus);
    cr_assert_eq(map.outstanding, 5);
}

Test(sentmap, numbers_before_the_ring_are_not_taken_for_newer_ones)
{
    for (uint32_t i = 0; i < SENTMAP_PACKETS - 1; i++)
        sentmap_sent(&map, 20, false, 0);
    for (uint32_t i = 0; i < 40; i++)
        send_packet(1, 0); /* 1024 .. 1063: in the places of 0 .. 39 */
    const struct sentmap_news news = acked(50, UINT64_MAX, 0, 50 * US);
    cr_assert(news.acked == 0 && news.lost == 0 && news.spurious == 0);
    cr_assert_eq(acked(10, UINT64_MAX, 0, 50 * US).acked, 0);
    cr_assert_eq(map.outstanding, 40);
}

Test(sentmap, given_back_items_come_once_whatever_follows)
{
    send_some(8, 0);
    cr_assert_eq(sentmap_give_back(&map, 2), 2);
    cr_assert_eq(sentmap_give_back(&map, 2), 2);
    cr_assert_eq(map.outstanding, 8);
    uint64_t want = 1;
    for (struct flow_item *item; (item = sentmap_lost(&map)) != NULL; sentmap_lost_done(&map))
        cr_assert_eq(item->at, want++);
    cr_assert_eq(want, 5);
    acked(8, 0x7, 0, 20 * US); /* 5, 6, 7 too: 1 .. 4 are lost for good */
    cr_assert_eq(map.outstanding, 0);
    cr_assert_null(sentmap_lost(&map));
}

Test(sentmap, out_of_items_what_was_lost_can_still_go_again)
{
    const struct flow_item item = { .at = 1 };
    while (sentmap_has_room(&map)) {
        uint32_t noted = 0;
        while (noted < 200 && sentmap_note(&map, &item))
            noted++;
        sentmap_sent(&map, 1000, true, 0);
    }
    cr_assert(sentmap_is_tight(&map));
    cr_assert_not(sentmap_note(&map, &item));
    cr_assert_gt(sentmap_give_back(&map, UINT32_MAX), 4000u);
    cr_assert(sentmap_is_tight(&map) && sentmap_note(&map, sentmap_lost(&map)));
    cr_assert_not(sentmap_note(&map, &item), "one a packet");
    sentmap_lost_done(&map);
    acked(sentmap_sent(&map, 100, true, 0), 0, 0, 10 * US); /* those given back are lost for good */
    cr_assert_gt(sentmap_lost_items(&map), 3000u);
    while (sentmap_lost(&map) != NULL) {
        cr_assert(sentmap_has_room(&map) && sentmap_note(&map, sentmap_lost(&map)));
        sentmap_lost_done(&map);
        sentmap_sent(&map, 100, true, 0);
        cr_assert_null(sentmap_check(&map));
        if (map.next % 50 == 0)
            acked(map.next - 1, UINT64_MAX, 0, 10 * US);
    }
    cr_assert_null(sentmap_lost(&map));
}

Test(sentmap, places_of_items_given_back_are_taken_until_their_packets_end)
{
    const struct flow_item item = { .at = 1 };
    uint32_t placed = 0;
    for (int i = 0; i < 40; i++, placed += 100) {
        for (int k = 0; k < 100; k++)
            cr_assert(sentmap_note(&map, &item));
        sentmap_sent(&map, 1000, true, 0);
    }
    cr_assert_eq(sentmap_give_back(&map, 40), placed);
    while (sentmap_lost(&map) != NULL)
        sentmap_lost_done(&map); /* of no interest any more */
    cr_assert_eq(map.items_live, 0);
    while (sentmap_note(&map, &item))
        placed++;
    cr_assert_eq(placed, SENTMAP_ITEMS);
    cr_assert_not(sentmap_has_item(&map));
    sentmap_sent(&map, 1000, true, 0);
    acked(1, 0, 0, 10 * US);
    for (int k = 0; k < 100; k++)
        cr_assert(sentmap_note(&map, &item));
    cr_assert_not(sentmap_note(&map, &item));
}

Test(sentmap, a_full_ring_gives_its_oldest_up)
{
    struct sentmap_news news;
    send_packet(3, 0);
    while (!sentmap_is_full(&map))
        sentmap_sent(&map, 20, false, 0);
    cr_assert_not(sentmap_has_room(&map));
    sentmap_drop_oldest(&map, &news);
    cr_assert_eq(news.lost, 1);
    cr_assert_eq(sentmap_lost_items(&map), 3);
    cr_assert(sentmap_has_room(&map));
    cr_assert_null(sentmap_check(&map));
}

Test(sentmap, a_packet_that_does_not_leave_leaves_nothing)
{
    const struct flow_item item = { .at = 1 };
    send_some(3, 0);
    for (int i = 0; i < 10 * SENTMAP_ITEMS; i++) {
        cr_assert(sentmap_note(&map, &item));
        sentmap_abandon(&map);
    }
    cr_assert_eq(map.next, 4);
    cr_assert_null(sentmap_check(&map));
}

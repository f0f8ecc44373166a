/* Goal: a neighbour is asked for five times, 200 ms apart, and no packet that waits for it is lost
 * or given out twice; the table's bounds hold; nobody unasked gets into it. Method: time by hand,
 * step by step, and a random walk in which every packet is accounted for. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/support/seeded.h"
#include "transport/neighbour.h"

#define US UINT32_C(0x0A090001)
#define NET UINT32_C(0x0A090000)

static struct neighbours table;

static void start(uint32_t gateway)
{
    const struct neighbour_options options = {
        .ip = US, .prefix_bits = 16, .gateway = gateway, .vlan = 7
    };
    struct neighbour_question question;
    neighbour_init(&table, &options, 0);
    /* It begins by saying who we are. */
    cr_assert(neighbour_ask(&table, 0, &question));
    cr_assert_eq(question.ip, US);
    cr_assert_eq(question.vlan, 7);
    cr_assert_not(neighbour_ask(&table, 0, &question));
}

static const uint8_t *mac_of(uint32_t n)
{
    static uint8_t mac[6];
    memset(mac, 0, sizeof mac);
    mac[0] = 2;
    memcpy(mac + 2, &n, sizeof n);
    return mac;
}

static enum neighbour_verdict find(uint32_t ip, leat_ns now)
{
    const struct neighbour *entry;
    return neighbour_find(&table, ip, now, &entry);
}

/* Asked for: *packet waits. */
static void hold(uint32_t ip, leat_ns now, void *packet)
{
    const struct neighbour *entry = NULL;
    cr_assert_eq(neighbour_find(&table, ip, now, &entry), NEIGHBOUR_WAIT);
    cr_assert(neighbour_hold(&table, entry, packet));
}

/* Time passes, answers do not come; returns how often `ip` was asked for. */
static uint32_t pass(leat_ns from, leat_ns to, uint32_t ip)
{
    uint32_t asked = 0;
    leat_ns now = from;
    while (now <= to) {
        struct neighbour_question question;
        cr_assert_geq(table.deadline, now == from ? 0 : from);
        while (neighbour_ask(&table, now, &question))
            asked += question.ip == ip;
        cr_assert_gt(table.deadline, now, "it wants to be asked again at once");
        now = table.deadline;
    }
    return asked;
}

Test(neighbour, is_asked_for_five_times_and_given_up)
{
    struct neighbour_waited waited;
    int packets[3];
    start(0);
    for (int i = 0; i < 3; i++)
        hold(NET + 9, 10, &packets[i]);
    cr_assert_eq(table.deadline, 10);
    cr_assert_eq(pass(10, 10 + 4 * NEIGHBOUR_ASK_NS, NET + 9), 5);
    cr_assert_not(neighbour_waited(&table, &waited));
    cr_assert_eq(find(NET + 9, 10 + 4 * NEIGHBOUR_ASK_NS), NEIGHBOUR_WAIT);
    const leat_ns end = 10 + 5 * NEIGHBOUR_ASK_NS;
    cr_assert_eq(pass(end, end, NET + 9), 0);
    cr_assert(neighbour_waited(&table, &waited));
    cr_assert_not(waited.reachable);
    cr_assert_eq(waited.count, 3);
    cr_assert_eq(waited.packets[0], &packets[0]);
    cr_assert_eq(waited.packets[2], &packets[2]);
    cr_assert_not(neighbour_waited(&table, &waited));
    /* Nobody there: for a second nothing waits for it, then it is asked for again. */
    cr_assert_eq(find(NET + 9, end + NEIGHBOUR_SILENT_NS - 1), NEIGHBOUR_NONE);
    cr_assert_eq(find(NET + 9, end + NEIGHBOUR_SILENT_NS), NEIGHBOUR_WAIT);
}

Test(neighbour, that_answers_gets_what_waited_in_order)
{
    struct neighbour_waited waited;
    const struct neighbour *entry;
    int packets[NEIGHBOUR_WAITING_MAX + 1];
    start(0);
    for (int i = 0; i < NEIGHBOUR_WAITING_MAX; i++)
        hold(NET + 9, 10, &packets[i]);
    cr_assert_eq(neighbour_find(&table, NET + 9, 10, &entry), NEIGHBOUR_WAIT);
    cr_assert_not(neighbour_hold(&table, entry, &packets[NEIGHBOUR_WAITING_MAX]));
    cr_assert_eq(pass(10, 10, NET + 9), 1);
    cr_assert(neighbour_heard(&table, NET + 9, mac_of(9), 3, false, 20));
    cr_assert(neighbour_waited(&table, &waited));
    cr_assert(waited.reachable);
    cr_assert_arr_eq(waited.mac, mac_of(9), 6);
    cr_assert_eq(waited.count, NEIGHBOUR_WAITING_MAX);
    for (int i = 0; i < NEIGHBOUR_WAITING_MAX; i++)
        cr_assert_eq(waited.packets[i], &packets[i]);
    cr_assert_eq(neighbour_find(&table, NET + 9, 21, &entry), NEIGHBOUR_HAVE);
    cr_assert_arr_eq(entry->mac, mac_of(9), 6);
    cr_assert_eq(entry->vlan, 3);
    cr_assert_eq(pass(21, 29 * LEAT_NS_PER_S, NET + 9), 0);
}

Test(neighbour, in_use_is_asked_again_after_a_while)
{
    start(0);
    const leat_ns later = NEIGHBOUR_FRESH_NS + LEAT_NS_PER_S;
    cr_assert(neighbour_heard(&table, NET + 9, mac_of(9), 0, true, 0));
    cr_assert_eq(find(NET + 9, NEIGHBOUR_FRESH_NS), NEIGHBOUR_HAVE);
    cr_assert_eq(pass(NEIGHBOUR_FRESH_NS, later - 1, NET + 9), 0);
    /* Still good while the question is open. */
    const uint32_t generation = table.generation;
    cr_assert_eq(find(NET + 9, later), NEIGHBOUR_HAVE);
    cr_assert_eq(pass(later, later + NEIGHBOUR_ASK_NS, NET + 9), 2);
    cr_assert_eq(find(NET + 9, later + NEIGHBOUR_ASK_NS), NEIGHBOUR_HAVE);
    cr_assert(neighbour_heard(&table, NET + 9, mac_of(9), 0, false, later + NEIGHBOUR_ASK_NS));
    cr_assert_eq(table.generation, generation);
    cr_assert_eq(pass(later + NEIGHBOUR_ASK_NS, later + 20 * NEIGHBOUR_ASK_NS, NET + 9), 0);
    /* And forgotten when it does not answer any more. */
    const leat_ns gone = later + NEIGHBOUR_FRESH_NS + LEAT_NS_PER_S;
    cr_assert_eq(find(NET + 9, gone), NEIGHBOUR_HAVE);
    cr_assert_eq(pass(gone, gone + 6 * NEIGHBOUR_ASK_NS, NET + 9), NEIGHBOUR_TRIES);
    cr_assert_neq(table.generation, generation);
    cr_assert_eq(find(NET + 9, gone + 6 * NEIGHBOUR_ASK_NS), NEIGHBOUR_WAIT);
}

Test(neighbour, only_who_was_asked_for_or_talks_to_us_is_learned)
{
    start(0);
    cr_assert_not(neighbour_heard(&table, NET + 5, mac_of(5), 0, false, 1));
    cr_assert_eq(find(NET + 5, 2), NEIGHBOUR_WAIT);
    cr_assert(neighbour_heard(&table, NET + 6, mac_of(6), 0, true, 1));
    cr_assert_eq(find(NET + 6, 2), NEIGHBOUR_HAVE);
    cr_assert_not(neighbour_heard(&table, US, mac_of(6), 0, true, 1));
    cr_assert_not(neighbour_heard(&table, 0, mac_of(6), 0, true, 1));
    cr_assert_not(neighbour_heard(&table, 0x0B000001, mac_of(6), 0, true, 1));
    /* It moved: whoever kept its address finds out. */
    const uint32_t generation = table.generation;
    cr_assert(neighbour_heard(&table, NET + 6, mac_of(66), 0, false, 3));
    cr_assert_neq(table.generation, generation);
}

Test(neighbour, static_ones_stay)
{
    const struct neighbour *entry;
    start(0);
    cr_assert(neighbour_set_static(&table, NET + 9, mac_of(9)));
    cr_assert_not(neighbour_heard(&table, NET + 9, mac_of(1), 0, true, 5));
    for (uint32_t i = 100; i < 100 + 2 * NEIGHBOUR_ENTRIES; i++)
        cr_assert(neighbour_heard(&table, NET + i, mac_of(i), 0, true, i));
    cr_assert_eq(neighbour_find(&table, NET + 9, 1000 * LEAT_NS_PER_S, &entry), NEIGHBOUR_HAVE);
    cr_assert_arr_eq(entry->mac, mac_of(9), 6);
    cr_assert_eq(pass(1000 * LEAT_NS_PER_S, 1001 * LEAT_NS_PER_S, NET + 9), 0);
    for (uint32_t i = 0; i < NEIGHBOUR_ENTRIES; i++)
        neighbour_set_static(&table, NET + 1000 + i, mac_of(i));
    cr_assert_not(neighbour_set_static(&table, NET + 9999, mac_of(1)));
    cr_assert_eq(find(NET + 5000, 1), NEIGHBOUR_NONE);
}

Test(neighbour, elsewhere_is_behind_the_gateway)
{
    const struct neighbour *entry;
    start(0);
    cr_assert_eq(find(0xC0000201, 1), NEIGHBOUR_NONE);
    start(NET + 254);
    cr_assert_eq(find(0xC0000201, 1), NEIGHBOUR_WAIT);
    cr_assert_eq(pass(1, 1, NET + 254), 1);
    cr_assert(neighbour_heard(&table, NET + 254, mac_of(254), 0, false, 2));
    cr_assert_eq(neighbour_find(&table, 0xC0000202, 3, &entry), NEIGHBOUR_HAVE);
    cr_assert_eq(entry->ip, NET + 254);
}

Test(neighbour, questions_have_a_bound_and_disturb_nobody)
{
    start(0);
    for (uint32_t i = 0; i < NEIGHBOUR_ENTRIES; i++)
        cr_assert(neighbour_heard(&table, NET + 100 + i, mac_of(i), 0, true, i));
    for (uint32_t i = 0; i < NEIGHBOUR_WAITS; i++)
        cr_assert_eq(find(NET + 1000 + i, 1000), NEIGHBOUR_WAIT);
    const uint32_t generation = table.generation;
    for (uint32_t i = 0; i < 1000; i++)
        cr_assert_eq(find(NET + 2000 + i, 1000), NEIGHBOUR_NONE);
    cr_assert_eq(table.generation, generation, "a refused question threw somebody out");
    /* Those used longest ago had to go. */
    cr_assert_eq(find(NET + 100 + NEIGHBOUR_WAITS, 1000), NEIGHBOUR_HAVE);
    cr_assert_eq(find(NET + 100, 1000), NEIGHBOUR_NONE);
}

Test(neighbour, says_who_we_are_every_half_minute)
{
    start(0);
    cr_assert_eq(pass(1, 10 * NEIGHBOUR_ANNOUNCE_NS, US), 10);
}

/* ---- every packet is somewhere */

enum { PACKETS = 1 << 16, STEPS = 200000, HOSTS = 400 };
static uint8_t where[PACKETS]; /* 0 never held, 1 waits, 2 came back */

static void take_back(struct neighbour_waited *w, uint32_t *waiting)
{
    for (uint32_t i = 0; i < w->count; i++) {
        const size_t n = (size_t)((uint8_t *)w->packets[i] - where);
        cr_assert_lt(n, PACKETS);
        cr_assert_eq(where[n], 1, "packet %zu came back twice or never waited", n);
        where[n] = 2;
        (*waiting)--;
    }
}

Test(neighbour, no_packet_is_lost_on_a_random_walk)
{
    struct seeded random = seeded_start("test_neighbour");
    struct neighbour_waited waited;
    uint32_t next = 0, waiting = 0, reached = 0, given_up = 0;
    leat_ns now = 0;
    start(NET + 254);
    for (uint32_t step = 0; step < STEPS && next < PACKETS; step++) {
        const uint32_t ip = NET + 2 + seeded_below(&random, HOSTS);
        const struct neighbour *entry;
        struct neighbour_question question;
        switch (seeded_below(&random, 8)) {
        case 0: now += seeded_next(&random) % (100 * LEAT_NS_PER_MS); break;
        case 1:
            neighbour_heard(&table, ip, mac_of(ip), 0, seeded_below(&random, 4) == 0, now);
            break;
        case 2:
            while (neighbour_ask(&table, now, &question))
                if (question.ip != US && seeded_below(&random, 8) == 0)
                    neighbour_heard(&table, question.ip, mac_of(question.ip), 0, false, now);
            cr_assert_gt(table.deadline, now);
            break;
        default:
            if (neighbour_find(&table, ip, now, &entry) == NEIGHBOUR_WAIT
                && neighbour_hold(&table, entry, &where[next])) {
                where[next++] = 1;
                waiting++;
            }
        }
        while (neighbour_waited(&table, &waited)) {
            take_back(&waited, &waiting);
            reached += waited.reachable;
            given_up += !waited.reachable;
        }
        cr_assert_leq(waiting, NEIGHBOUR_WAITS * NEIGHBOUR_WAITING_MAX);
    }
    cr_assert_gt(reached, 100);
    cr_assert_gt(given_up, 100);
    while (neighbour_drain(&table, &waited))
        take_back(&waited, &waiting);
    cr_assert_eq(waiting, 0);
}

/* ---- ARP frames */

static const struct ether_self self = { .mac = { 2, 0, 0, 0, 0, 1 }, .ip = US };
static const struct ether_self peer = { .mac = { 2, 0, 0, 0, 0, 9 }, .ip = NET + 9 };

/* The peer's request for `ip`, parsed as a port does that takes every address. */
static struct ether_frame request_for(uint8_t frame[ETHER_FRAME_MIN], uint32_t ip)
{
    struct ether_frame parsed;
    ether_parse(&parsed, &self, frame, ether_ask_arp(frame, &peer, ip, 0));
    return parsed;
}

Test(neighbour, a_request_for_us_is_answered_and_its_sender_is_known)
{
    uint8_t frame[ETHER_FRAME_MIN];
    struct ether_frame reply;
    start(0);
    const struct ether_frame request = request_for(frame, US);
    const struct neighbour_received got = neighbour_receive(&table, &self, frame, &request, 1);
    cr_assert(got.updated);
    cr_assert_neq(got.reply_bytes, 0);
    cr_assert_eq(find(peer.ip, 2), NEIGHBOUR_HAVE);
    ether_parse(&reply, &peer, frame, got.reply_bytes);
    cr_assert_eq(reply.kind, ETHER_ARP);
    cr_assert_not(reply.arp.request);
    cr_assert_eq(reply.arp.sender_ip, US);
    cr_assert_arr_eq(reply.arp.sender_mac, self.mac, sizeof self.mac);
}

Test(neighbour, replies_and_announcements_get_no_answer)
{
    uint8_t frame[ETHER_FRAME_MIN], before[ETHER_FRAME_MIN];
    start(0);
    struct ether_frame parsed = request_for(frame, peer.ip); /* an announcement */
    struct neighbour_received got = neighbour_receive(&table, &self, frame, &parsed, 1);
    cr_assert(!got.updated && got.reply_bytes == 0);
    parsed = request_for(frame, US);
    parsed.arp.request = false; /* a reply that nobody asked for */
    memcpy(before, frame, sizeof before);
    got = neighbour_receive(&table, &self, frame, &parsed, 2);
    cr_assert(!got.updated && got.reply_bytes == 0);
    cr_assert_arr_eq(frame, before, sizeof before);
    hold(peer.ip, 3, frame);
    got = neighbour_receive(&table, &self, frame, &parsed, 4);
    cr_assert(got.updated && got.reply_bytes == 0);
}

/* Sentmap: the packets in flight, what each carried, and which of them were lost. */
#include "transport/sentmap.h"

#include <assert.h>
#include <string.h>

enum {
    ITEMS_MASK = SENTMAP_ITEMS - 1,
    PACKETS_MASK = SENTMAP_PACKETS - 1,
};
static_assert((SENTMAP_ITEMS & ITEMS_MASK) == 0 && (SENTMAP_PACKETS & PACKETS_MASK) == 0,
              "ring sizes are powers of two");
static_assert(SENTMAP_ITEMS <= UINT16_MAX, "item_count");
static_assert(LOSS_PACKET_THRESHOLD_MAX <= (int)LEAT_PACKET_MAP_BITS,
              "packets that an ack block no longer covers are lost");

void sentmap_init(struct sentmap *map)
{
    memset(map, 0, offsetof(struct sentmap, packets)); /* ring slots are written before read */
    map->next = 1;
    map->oldest = 1;
    map->loss.packet_threshold = LOSS_PACKET_THRESHOLD;
    map->loss_at = LEAT_NS_NEVER;
}

static struct sent_packet *packet_of(struct sentmap *map, uint64_t number)
{
    return &map->packets[number & PACKETS_MASK];
}

void sentmap_abandon(struct sentmap *map)
{
    map->items_to -= map->noted;
    map->items_live -= map->noted;
    map->noted = 0;
}

static void unmark_lost(struct sentmap *map, uint64_t number)
{
    map->lost_marks -= ringbits_test(map->lost_bits, number) ? 1 : 0;
    ringbits_clear(map->lost_bits, number);
}

uint64_t sentmap_sent(struct sentmap *map, uint32_t bytes, bool awaited, leat_ns now)
{
    assert(!sentmap_is_full(map) && (awaited || map->noted == 0));
    const uint64_t number = map->next;
    struct sent_packet *packet = packet_of(map, number);
    packet->sent_at = now;
    packet->bytes = bytes;
    packet->item_first = map->items_to - map->noted;
    packet->item_count = (uint16_t)map->noted;
    packet->given = false;
    packet->state = awaited ? SENT_OUTSTANDING : SENT_QUIET;
    if (map->lost_marks != 0) /* of the packet that had this slot before */
        unmark_lost(map, number);
    if (awaited) {
        ringbits_set(map->outstanding_bits, number);
        map->outstanding++;
        map->outstanding_bytes += bytes;
    } else if (map->oldest == number) {
        map->oldest = number + 1;
    }
    map->noted = 0;
    map->next = number + 1;
    return number;
}

/* ---- acknowledged and lost packets */

static bool is_large(const struct sent_packet *packet)
{
    return packet->bytes > LEAT_PACKET_BYTES_BASE;
}

static uint32_t give(struct sentmap *map, struct sent_packet *packet)
{
    const uint32_t count = packet->given ? 0 : packet->item_count;
    for (uint32_t i = 0; i < count; i++)
        map->lost[map->lost_to++ & ITEMS_MASK] = map->items[(packet->item_first + i) & ITEMS_MASK];
    map->items_live -= count;
    packet->given = true;
    return count;
}

static void decide(struct sentmap *map, uint64_t number, struct sent_packet *packet, uint8_t state)
{
    ringbits_clear(map->outstanding_bits, number);
    map->outstanding--;
    map->outstanding_bytes -= packet->bytes;
    packet->state = state;
}

static void settle_acked(struct sentmap *map, uint64_t number, struct sentmap_news *news)
{
    struct sent_packet *packet = packet_of(map, number);
    decide(map, number, packet, SENT_ACKED);
    map->items_live -= packet->given ? 0 : packet->item_count;
    news->acked++;
    news->acked_bytes += packet->bytes;
    news->large_arrived |= is_large(packet);
}

static leat_ns later(leat_ns a, leat_ns b)
{
    return a > b ? a : b;
}

static void settle_lost(struct sentmap *map, uint64_t number, struct sentmap_news *news)
{
    struct sent_packet *packet = packet_of(map, number);
    decide(map, number, packet, SENT_LOST);
    ringbits_set(map->lost_bits, number);
    map->lost_marks++;
    give(map, packet);
    news->lost++;
    news->lost_bytes += packet->bytes;
    if (number == map->trial) {
        news->trial_lost = true;
        return;
    }
    news->lost_sent_at = later(packet->sent_at, news->lost_sent_at);
    if (is_large(packet))
        news->large_lost_sent_at = later(packet->sent_at, news->large_lost_sent_at);
}

/* A late ack: the packet was not lost. */
static void settle_spurious(struct sentmap *map, uint64_t number, struct sentmap_news *news)
{
    struct sent_packet *packet = packet_of(map, number);
    packet->state = SENT_ACKED;
    unmark_lost(map, number);
    news->spurious++;
    news->large_arrived |= is_large(packet);
    loss_spurious(&map->loss, map->largest_acked - number + 1);
}

/* Moves `oldest` to the oldest outstanding packet, and frees the items below it. */
static void advance(struct sentmap *map)
{
    if (map->outstanding == 0) { /* fast path: the usual case at a low rate */
        map->oldest = map->next;
        map->items_from = map->items_to - map->noted;
        return;
    }
    map->oldest = ringbits_first(map->outstanding_bits, map->oldest, map->next);
    map->items_from = map->oldest < map->next ? packet_of(map, map->oldest)->item_first
                                              : map->items_to - map->noted;
}

/* Declares packets older than the largest acknowledged lost if loss.h says so. Send times ascend
 * with numbers, so the first packet that is not lost sets the loss timer. */
static void find_lost(struct sentmap *map, struct sentmap_news *news, leat_ns now)
{
    const uint64_t end = map->largest_acked;
    map->loss_at = LEAT_NS_NEVER;
    if (map->oldest >= end || map->outstanding == 0)
        return;
    const leat_ns delay = loss_time_threshold(&map->loss);
    for (uint64_t n = map->oldest; (n = ringbits_first(map->outstanding_bits, n, end)) < end; n++) {
        const leat_ns at = packet_of(map, n)->sent_at + delay;
        if (!loss_is_lost(&map->loss, end - n, at, now)) {
            map->loss_at = map->loss.srtt == 0 ? LEAT_NS_NEVER : at;
            return;
        }
        settle_lost(map, n, news);
    }
}

/* The bits of an ack map, without those of numbers that have left the ring. */
static uint64_t told(const struct sentmap *map, uint64_t largest, uint64_t bits)
{
    const uint64_t left = SENTMAP_PACKETS - (map->next - largest);
    return left < LEAT_PACKET_MAP_BITS ? bits & ~(UINT64_MAX << left) : bits;
}

/* Fast path of sentmap_acked: exactly one packet is outstanding, the ack is for it, and none is
 * marked lost. */
static void settle_only(struct sentmap *map, leat_ns delay, leat_ns now, struct sentmap_news *news)
{
    const uint64_t number = map->oldest;
    map->largest_acked = number;
    loss_sample_rtt(&map->loss, packet_of(map, number)->sent_at, delay, now);
    settle_acked(map, number, news);
    loss_age(&map->loss, news->acked);
    map->loss_at = LEAT_NS_NEVER;
    advance(map);
}

void sentmap_acked(struct sentmap *map, uint64_t largest, const struct leat_packet_ack *ack,
                   leat_ns now, struct sentmap_news *news)
{
    *news = (struct sentmap_news){ 0 };
    if (largest >= map->next) {
        news->bogus = true;
        return;
    }
    if (map->next - largest > SENTMAP_PACKETS)
        return; /* every number has left the ring */
    if (map->outstanding == 1 && map->oldest == largest && largest > map->largest_acked
        && map->lost_marks == 0) {
        settle_only(map, ack->delay_ns, now, news);
        return;
    }
    const uint64_t before = told(map, largest, ack->map);
    uint64_t acked = before & ringbits_before(map->outstanding_bits, largest);
    uint64_t late = map->lost_marks != 0 ? before & ringbits_before(map->lost_bits, largest) : 0;
    const uint64_t acked_until = map->largest_acked;
    const bool front = ringbits_test(map->outstanding_bits, largest);
    const uint64_t newest =
        front ? largest : (acked != 0 ? largest - 1 - (uint32_t)__builtin_ctzll(acked) : 0);
    map->largest_acked = largest > acked_until ? largest : acked_until;
    if (newest > acked_until)
        loss_sample_rtt(&map->loss, packet_of(map, newest)->sent_at, ack->delay_ns, now);
    if (front)
        settle_acked(map, largest, news);
    else if (ringbits_test(map->lost_bits, largest))
        settle_spurious(map, largest, news);
    for (; acked != 0; acked &= acked - 1)
        settle_acked(map, largest - 1 - (uint32_t)__builtin_ctzll(acked), news);
    for (; late != 0; late &= late - 1)
        settle_spurious(map, largest - 1 - (uint32_t)__builtin_ctzll(late), news);
    loss_age(&map->loss, news->acked);
    find_lost(map, news, now);
    advance(map);
}

void sentmap_expire(struct sentmap *map, leat_ns now, struct sentmap_news *news)
{
    *news = (struct sentmap_news){ 0 };
    find_lost(map, news, now);
    advance(map);
}

void sentmap_drop_oldest(struct sentmap *map, struct sentmap_news *news)
{
    *news = (struct sentmap_news){ 0 };
    if (map->oldest < map->next) {
        settle_lost(map, map->oldest, news);
        advance(map);
    }
}

uint32_t sentmap_give_back(struct sentmap *map, uint32_t count)
{
    const uint64_t end = map->next;
    uint32_t items = 0;
    for (uint64_t n = map->oldest;
         count != 0 && (n = ringbits_first(map->outstanding_bits, n, end)) < end; n++) {
        const uint32_t given = give(map, packet_of(map, n));
        items += given;
        count -= given != 0 ? 1 : 0;
    }
    return items;
}

struct flow_item *sentmap_lost(struct sentmap *map)
{
    return map->lost_from != map->lost_to ? &map->lost[map->lost_from & ITEMS_MASK] : NULL;
}

void sentmap_lost_done(struct sentmap *map)
{
    assert(map->lost_from != map->lost_to);
    map->lost_from++;
}

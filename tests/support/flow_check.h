/* What holds of a flow at any time, whatever came in.
 *
 * Role: looks at all of it; NULL, or what is wrong.
 * Must not know: tests' frameworks.
 * Threads: the flow's owner's. */
#ifndef LEAT_TESTS_SUPPORT_FLOW_CHECK_H
#define LEAT_TESTS_SUPPORT_FLOW_CHECK_H

#include <stddef.h>

#include "transport/flow.h"

struct flow_check_sums {
    uint32_t outstanding, items_live, lost_marks;
    uint64_t outstanding_bytes;
    bool bits_agree;
};

static inline struct flow_check_sums flow_check_sum(const struct sentmap *map)
{
    struct flow_check_sums sums = { .bits_agree = true };
    const uint64_t first = map->next > SENTMAP_PACKETS ? map->next - SENTMAP_PACKETS : 1;
    for (uint64_t n = first; n < map->next; n++) {
        const struct sent_packet *packet = &map->packets[n % SENTMAP_PACKETS];
        const bool outstanding = ringbits_test(map->outstanding_bits, n);
        if (outstanding) {
            sums.outstanding++;
            sums.outstanding_bytes += packet->bytes;
            sums.items_live += packet->given ? 0 : packet->item_count;
            sums.bits_agree &= packet->state == SENT_OUTSTANDING && n >= map->oldest;
        }
        if (ringbits_test(map->lost_bits, n))
            sums.bits_agree &= packet->state == SENT_LOST && !outstanding;
    }
    for (uint32_t word = 0; word < RINGBITS_WORDS; word++)
        sums.lost_marks += (uint32_t)__builtin_popcountll(map->lost_bits[word]);
    return sums;
}

static inline const char *sentmap_check(const struct sentmap *map)
{
    const struct flow_check_sums sums = flow_check_sum(map);
    const uint32_t lost = sentmap_lost_items(map);
    if (!sums.bits_agree)
        return "bits and states disagree";
    if (sums.outstanding != map->outstanding || sums.outstanding_bytes != map->outstanding_bytes)
        return "outstanding packets are miscounted";
    if (sums.lost_marks != map->lost_marks)
        return "packets marked lost are miscounted";
    if (sums.items_live + map->noted != map->items_live)
        return "live items are miscounted";
    if (map->items_live + lost > SENTMAP_ITEMS || lost > SENTMAP_ITEMS)
        return "more items than there is room for";
    if (map->items_to - map->items_from > SENTMAP_ITEMS)
        return "the ring of items overran";
    if (map->next - map->oldest > SENTMAP_PACKETS || map->oldest > map->next)
        return "the ring of packets overran";
    if (map->outstanding != 0 && !ringbits_test(map->outstanding_bits, map->oldest))
        return "the oldest is not outstanding";
    if (map->outstanding == 0 && map->oldest != map->next)
        return "the oldest lags";
    if (map->largest_acked >= map->next)
        return "acknowledged, never sent";
    if (map->loss.packet_threshold < LOSS_PACKET_THRESHOLD
        || map->loss.packet_threshold > LOSS_PACKET_THRESHOLD_MAX)
        return "threshold out of bounds";
    return NULL;
}

static inline const char *flow_check(const struct flow *flow)
{
    const struct flow_counters *c = &flow->counters;
    if (c->packets_sent
        != c->packets_acked + c->packets_lost + flow->sent.outstanding + c->packets_quiet)
        return "sent is not acked + lost + outstanding + quiet";
    if (c->packets_spurious > c->packets_lost)
        return "more came late than were lost";
    if (flow->cc.window < CC_WINDOW_MIN || flow->cc.window > CC_WINDOW_MAX)
        return "window out of bounds";
    if (flow_may_send(flow) != (flow_room(flow) != 0))
        return "may send, and no room, or the other way round";
    if (flow->sent.outstanding != 0 && flow_deadline(flow) == LEAT_NS_NEVER)
        return "waits for ever";
    if (sentmap_lost_items(&flow->sent) != 0 && flow->resend_allowance == 0
        && flow_deadline(flow) == LEAT_NS_NEVER && flow->probes_due == 0
        && !sentmap_is_tight(&flow->sent))
        return "what was lost waits for ever";
    return sentmap_check(&flow->sent);
}

#endif

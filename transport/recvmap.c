/* Recvmap: the packet numbers received, and when an acknowledgement is due. */
#include "transport/recvmap.h"

#include <string.h>

void recvmap_init(struct recvmap *map)
{
    memset(map, 0, sizeof *map);
    map->ack_at = LEAT_NS_NEVER;
    map->said_ack_at = LEAT_NS_NEVER;
}

bool recvmap_is_too_old(const struct recvmap *map, uint64_t number)
{
    return number < map->largest && map->largest - number >= RECVMAP_BITS;
}

bool recvmap_is_new(const struct recvmap *map, uint64_t number)
{
    if (number > map->largest)
        return true;
    return map->largest - number < RECVMAP_BITS && !ringbits_test(map->bits, number);
}

static void due(struct recvmap *map, leat_ns at)
{
    if (at < map->ack_at)
        map->ack_at = at;
}

void recvmap_add(struct recvmap *map, uint64_t number, bool eliciting, bool ack_now,
                 leat_ns delay_ns, leat_ns now)
{
    const bool in_order = number == map->largest + 1;
    if (!in_order && recvmap_is_too_old(map, number))
        return;
    if (in_order) {
        map->largest = number;
        map->largest_at = now;
    } else if (number > map->largest) {
        const uint64_t apart = number - map->largest;
        const uint64_t from = apart < RECVMAP_BITS ? map->largest + 1 : number - RECVMAP_BITS + 1;
        ringbits_clear_range(map->bits, from, number);
        map->largest = number;
        map->largest_at = now;
    }
    ringbits_set(map->bits, number);
    map->any = true;
    if (eliciting) {
        map->eliciting++;
        const bool at_once = !in_order || map->eliciting >= RECVMAP_ELICITING_MAX;
        due(map, at_once || ack_now ? now : now + delay_ns);
    } else if (ack_now) {
        due(map, now);
    }
}

void recvmap_again(struct recvmap *map, leat_ns now)
{
    due(map, now);
}

bool recvmap_ack(struct recvmap *map, uint16_t window, struct leat_packet_ack *out, leat_ns now)
{
    if (!map->any)
        return false;
    out->largest = (uint32_t)map->largest;
    out->map = ringbits_before(map->bits, map->largest);
    out->delay_ns = now > map->largest_at ? now - map->largest_at : 0;
    out->window = window;
    map->said_ack_at = map->ack_at;
    map->said_eliciting = map->eliciting;
    map->ack_at = LEAT_NS_NEVER;
    map->eliciting = 0;
    return true;
}

void recvmap_unsaid(struct recvmap *map)
{
    due(map, map->said_ack_at);
    map->eliciting += map->said_eliciting;
    map->said_ack_at = LEAT_NS_NEVER;
    map->said_eliciting = 0;
}

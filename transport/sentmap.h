/* Sentmap: the packets in flight, what each carried, and which of them were lost.
 *
 * Role: pure. A ring of packets and a ring of items. Settles acknowledged packets, and those that
 * loss.h declares lost.
 * Must not know: what an item means, windows, links, clocks.
 * Threads: the owner's. */
#ifndef LEAT_TRANSPORT_SENTMAP_H
#define LEAT_TRANSPORT_SENTMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/packet.h"
#include "schema/units.h"
#include "transport/loss.h"
#include "transport/ringbits.h"

enum {
    SENTMAP_PACKETS = RINGBITS, /* packet numbers in the ring, ACK-only packets included */
    SENTMAP_PACKETS_SPARE = 64, /* of them reserved for acks and probes */
    SENTMAP_ITEMS = 4096,       /* items in flight and lost, together */
    SENTMAP_ITEMS_SPARE = 64,   /* of them reserved for lost items: see sentmap_is_tight */
};

/* One frame that a packet carried, as the owner describes it. This module interprets no field. */
struct flow_item {
    uint64_t at;     /* position, sequence */
    uint32_t stream; /* stream number */
    uint32_t size;   /* bytes, records */
    uint32_t more;
    uint8_t kind; /* enum leat_frame_type */
    uint8_t flags;
    uint16_t reserved;
};

enum sent_state {
    SENT_QUIET,       /* carried nothing that must arrive */
    SENT_OUTSTANDING, /* neither acknowledged nor lost yet */
    SENT_ACKED,
    SENT_LOST, /* its items were returned; a late ack may still arrive */
};

struct sent_packet {
    leat_ns sent_at;
    uint32_t bytes;
    uint32_t item_first; /* free-running index into the ring of items */
    uint16_t item_count;
    uint8_t state; /* enum sent_state */
    bool given;    /* its items were returned already */
};

/* The current packet is the one between flow_begin and flow_commit. */
struct sentmap {
    uint64_t next;                 /* number of the next packet; numbers start at 1 */
    uint64_t oldest;               /* no packet below it is outstanding */
    uint64_t largest_acked;        /* 0: none */
    uint32_t items_from, items_to; /* of packets from `oldest` on, and of the current packet */
    uint32_t noted;                /* items of the current packet */
    uint32_t items_live;           /* items that may still be lost: not acked, not returned */
    uint32_t lost_from, lost_to;   /* the queue of lost items, free-running indices */
    uint32_t outstanding;          /* packets */
    uint64_t outstanding_bytes;
    struct loss loss;
    leat_ns loss_at; /* loss timer: when an outstanding packet is lost by time, or LEAT_NS_NEVER */
    uint64_t trial;  /* number of the last packet that tested the path's MTU */
    /* Packets in states SENT_OUTSTANDING and SENT_LOST, for fast search. */
    uint64_t outstanding_bits[RINGBITS_WORDS];
    uint64_t lost_bits[RINGBITS_WORDS];
    uint32_t lost_marks; /* bits set in lost_bits */
    struct sent_packet packets[SENTMAP_PACKETS];
    struct flow_item items[SENTMAP_ITEMS];
    struct flow_item lost[SENTMAP_ITEMS];
};

void sentmap_init(struct sentmap *map);

static inline uint32_t sentmap_lost_items(const struct sentmap *map)
{
    return map->lost_to - map->lost_from;
}

/* True if only the reserve of items is left. A lost item needs another one when it is sent again,
 * so the reserve is kept for that. While the map is tight and has lost items, a packet takes at
 * most one item, and the lost ones come before new content. */
static inline bool sentmap_is_tight(const struct sentmap *map)
{
    return map->items_live + sentmap_lost_items(map) >= SENTMAP_ITEMS - SENTMAP_ITEMS_SPARE;
}

/* True when the current packet can take one more item. */
static inline bool sentmap_has_item(const struct sentmap *map)
{
    const uint32_t lost = sentmap_lost_items(map);
    if (map->items_to - map->items_from >= SENTMAP_ITEMS)
        return false;
    return !sentmap_is_tight(map)
           || (lost != 0 && map->noted == 0 && map->items_live + lost < SENTMAP_ITEMS);
}

/* How many more packets with items can be remembered. */
static inline uint32_t sentmap_packets_left(const struct sentmap *map)
{
    const uint64_t undecided = map->next - map->oldest;
    const uint32_t most = SENTMAP_PACKETS - SENTMAP_PACKETS_SPARE;
    return undecided < most ? most - (uint32_t)undecided : 0;
}

/* True when one more packet with at least one item can be remembered. */
static inline bool sentmap_has_room(const struct sentmap *map)
{
    return sentmap_packets_left(map) != 0 && sentmap_has_item(map);
}

/* Notes an item of the current packet. False: there is no room. Inline, and copied by field,
 * because the caller has just written the fields: wider loads would stall on its stores. */
static inline bool sentmap_note(struct sentmap *map, const struct flow_item *item)
{
    if (!sentmap_has_item(map))
        return false;
    struct flow_item *kept = &map->items[map->items_to % SENTMAP_ITEMS];
    kept->at = item->at;
    kept->stream = item->stream;
    kept->size = item->size;
    kept->more = item->more;
    kept->kind = item->kind;
    kept->flags = item->flags;
    kept->reserved = item->reserved;
    map->items_to++;
    map->noted++;
    map->items_live++;
    return true;
}
/* Drops the items of the current packet, which is not sent. */
void sentmap_abandon(struct sentmap *map);
/* True if the ring of packets is full: call sentmap_drop_oldest before sentmap_sent. */
static inline bool sentmap_is_full(const struct sentmap *map)
{
    return map->next - map->oldest >= SENTMAP_PACKETS;
}
/* The current packet was sent with the items noted. The ring must not be full. `awaited`: it must
 * be acknowledged; true for every packet with items. Returns its number. */
uint64_t sentmap_sent(struct sentmap *map, uint32_t bytes, bool awaited, leat_ns now);

/* What a call found out. Large packets are those above LEAT_PACKET_BYTES_BASE. */
struct sentmap_news {
    uint32_t acked, lost, spurious; /* packets; acked excludes the spurious ones */
    uint64_t acked_bytes, lost_bytes;
    leat_ns lost_sent_at;       /* when the newest lost packet was sent; trials excluded */
    bool trial_lost;            /* the trial was lost */
    bool large_arrived;         /* a large packet arrived, on time or late */
    leat_ns large_lost_sent_at; /* as lost_sent_at, of large packets; 0: none */
    bool bogus;                 /* the ack is of packets never sent: nothing was changed */
};
/* Each of the next three calls overwrites *news.
 * Processes an ack block; `largest` is ack->largest widened to 64 bits. */
void sentmap_acked(struct sentmap *map, uint64_t largest, const struct leat_packet_ack *ack,
                   leat_ns now, struct sentmap_news *news);
/* Declares packets lost whose loss timer has expired. */
void sentmap_expire(struct sentmap *map, leat_ns now, struct sentmap_news *news);
/* Declares the oldest packet in the ring lost, to make room. */
void sentmap_drop_oldest(struct sentmap *map, struct sentmap_news *news);
/* Returns the items of the `count` oldest outstanding packets whose items were not returned yet, as
 * if they were lost, for a probe. The packets stay outstanding, so that they can still give an RTT
 * sample. The result is the number of items. */
uint32_t sentmap_give_back(struct sentmap *map, uint32_t count);

/* The oldest lost item, valid until sentmap_lost_done removes it; NULL: none. */
struct flow_item *sentmap_lost(struct sentmap *map);
void sentmap_lost_done(struct sentmap *map);

#endif

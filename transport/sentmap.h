/* Sentmap: the packets that are on the wire, what each carried, and which of them were lost.
 *
 * Role: pure; a ring of packets and a ring of items, round-trip time, loss by number and by time in
 * RFC 9002's shape (sections 5 and 6.1) with the clock in nanoseconds.
 * Must not know: what an item means, windows, links, clocks.
 * Threads: the owner's. */
#ifndef LEAT_TRANSPORT_SENTMAP_H
#define LEAT_TRANSPORT_SENTMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/packet.h"
#include "schema/units.h"
#include "transport/ringbits.h"

enum {
    SENTMAP_PACKETS = RINGBITS,  /* numbers in the ring, ack-only ones included */
    SENTMAP_PACKETS_SPARE = 64,  /* of them for acks and probes alone */
    SENTMAP_ITEMS = 4096,        /* on the wire and lost, together */
    SENTMAP_ITEMS_SPARE = 64,    /* of them for what was lost alone: see sentmap_is_tight */
    SENTMAP_THRESHOLD = 3,       /* newer packets acknowledged before an older one is lost */
    SENTMAP_THRESHOLD_MAX = 64,  /* how far spurious losses raise it */
    SENTMAP_THRESHOLD_AGE = 256, /* packets acknowledged until it comes down by one */
};

/* What one packet carried, one frame of it, in the owner's words. */
struct flow_item {
    uint64_t at;     /* position, sequence */
    uint32_t stream; /* number */
    uint32_t size;   /* bytes, records */
    uint32_t more;
    uint8_t kind; /* leat_frame_type */
    uint8_t flags;
    uint16_t reserved;
};

enum sent_state {
    SENT_QUIET,       /* carried nothing that must arrive */
    SENT_OUTSTANDING, /* not yet heard of */
    SENT_ACKED,
    SENT_LOST, /* its items were given back; an ack may still come */
};

struct sent_packet {
    leat_ns sent_at;
    uint32_t bytes;
    uint32_t item_first; /* in the ring of items, counting on */
    uint16_t item_count;
    uint8_t state; /* sent_state */
    bool given;    /* outstanding, but its items were given back */
};

struct sentmap {
    uint64_t next;                 /* number of the next packet; numbers start at 1 */
    uint64_t oldest;               /* below it everything is decided */
    uint64_t largest_acked;        /* 0: none */
    uint32_t items_from, items_to; /* of packets from `oldest` on, and of the packet under way */
    uint32_t noted;                /* items of the packet under way */
    uint32_t items_live;           /* those that may still be lost: not acked, not given back */
    uint32_t lost_from, lost_to;   /* the queue of lost items, counting on */
    uint32_t outstanding;          /* packets */
    uint64_t outstanding_bytes;
    uint32_t threshold, threshold_age;
    leat_ns srtt, rttvar, rtt_latest, rtt_min; /* srtt 0: no sample yet */
    leat_ns loss_at; /* an outstanding packet will be lost by time then; LEAT_NS_NEVER */
    uint64_t trial;  /* number of the packet that last tried what size the path carries */
    /* The states that are searched for. */
    uint64_t outstanding_bits[RINGBITS_WORDS];
    uint64_t lost_bits[RINGBITS_WORDS];
    uint32_t lost_marks; /* bits set in it */
    struct sent_packet packets[SENTMAP_PACKETS];
    struct flow_item items[SENTMAP_ITEMS];
    struct flow_item lost[SENTMAP_ITEMS];
};

void sentmap_init(struct sentmap *map);

static inline uint32_t sentmap_lost_items(const struct sentmap *map)
{
    return map->lost_to - map->lost_from;
}

/* Nearly out of items. What is lost needs one more when it is sent again, so the last ones are
 * kept for that: while anything is lost each packet takes one item, and nothing new may go before
 * what was lost. */
static inline bool sentmap_is_tight(const struct sentmap *map)
{
    return map->items_live + sentmap_lost_items(map) >= SENTMAP_ITEMS - SENTMAP_ITEMS_SPARE;
}

/* True when the packet under way can take one more item. */
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

/* False: no room. Here, and field by field, because it is written to be kept and read at once: a
 * copy of the whole would wait for the caller's stores. */
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
/* The packet under way does not leave. */
void sentmap_abandon(struct sentmap *map);
/* The ring of numbers is full: sentmap_sent needs the oldest one's place. */
static inline bool sentmap_is_full(const struct sentmap *map)
{
    return map->next - map->oldest >= SENTMAP_PACKETS;
}
/* The packet under way left, with what was noted; not when the map is full. `awaited`: it must be
 * acknowledged, as everything with items is. Returns its number. */
uint64_t sentmap_sent(struct sentmap *map, uint32_t bytes, bool awaited, leat_ns now);

struct sentmap_news {
    uint32_t acked, lost, spurious; /* packets; acked does not count the spurious */
    uint64_t acked_bytes, lost_bytes;
    leat_ns lost_sent_at; /* when the newest of the lost left; not of a trial */
    bool trial_lost;      /* one of the lost was a trial */
    /* Of packets larger than any path carries: one arrived (on time or late); when the newest of
     * those lost left that was no trial, 0: there is none. */
    bool large_arrived;
    leat_ns large_lost_sent_at;
    bool bogus; /* speaks of packets never sent: nothing was changed */
};
/* An ack block, its `largest` widened by the caller. Each of these fills *news anew. */
void sentmap_acked(struct sentmap *map, uint64_t largest, const struct leat_packet_ack *ack,
                   leat_ns now, struct sentmap_news *news);
/* Losses by time. */
void sentmap_expire(struct sentmap *map, leat_ns now, struct sentmap_news *news);
/* The oldest outstanding packet is lost, to make room. */
void sentmap_drop_oldest(struct sentmap *map, struct sentmap_news *news);
/* Gives the items of the `count` oldest outstanding packets that have any and were not given back
 * before back as if lost, but leaves the packets outstanding (their round trip may still be
 * measured). Returns how many items. */
uint32_t sentmap_give_back(struct sentmap *map, uint32_t count);

/* The oldest lost item; NULL: none. */
struct flow_item *sentmap_lost(struct sentmap *map);
void sentmap_lost_done(struct sentmap *map);

#endif

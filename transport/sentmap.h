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

enum {
    SENTMAP_PACKETS = 1024,     /* numbers in the ring, ack-only ones included */
    SENTMAP_ITEMS = 4096,       /* on the wire and lost, together */
    SENTMAP_THRESHOLD = 3,      /* newer packets acknowledged before an older one is lost */
    SENTMAP_THRESHOLD_MAX = 64, /* how far spurious losses raise it */
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
};

struct sentmap {
    uint64_t next;                 /* number of the next packet; numbers start at 1 */
    uint64_t oldest;               /* below it everything is decided */
    uint64_t largest_acked;        /* 0: none */
    uint32_t items_from, items_to; /* of packets in the ring; to counts the packet under way too */
    uint32_t noted;                /* items of the packet under way */
    uint32_t lost_from, lost_to;   /* the queue of lost items, counting on */
    uint32_t outstanding;          /* packets */
    uint64_t outstanding_bytes;
    uint32_t threshold;
    leat_ns srtt, rttvar, rtt_latest, rtt_min; /* srtt 0: no sample yet */
    leat_ns loss_at;   /* an outstanding packet will be lost by time then; LEAT_NS_NEVER */
    leat_ns last_sent; /* of the newest outstanding one */
    struct sent_packet packets[SENTMAP_PACKETS];
    struct flow_item items[SENTMAP_ITEMS];
    struct flow_item lost[SENTMAP_ITEMS];
};

void sentmap_init(struct sentmap *map);
/* True when one more packet with at least one item can be remembered. */
bool sentmap_has_room(const struct sentmap *map);
bool sentmap_note(struct sentmap *map, const struct flow_item *item);
/* The packet under way left, with what was noted. Returns its number. */
uint64_t sentmap_sent(struct sentmap *map, uint32_t bytes, leat_ns now);

struct sentmap_news {
    uint32_t acked, lost, spurious; /* packets */
    uint64_t acked_bytes, lost_bytes;
    leat_ns lost_sent_at; /* when the newest of the lost left */
    bool bogus;           /* speaks of packets never sent: nothing was changed */
};
/* An ack block, its `largest` widened by the caller. */
struct sentmap_news sentmap_acked(struct sentmap *map, uint64_t largest,
                                  const struct leat_packet_ack *ack, leat_ns now);
/* Losses by time. */
struct sentmap_news sentmap_expire(struct sentmap *map, leat_ns now);
/* Gives the items of the `count` oldest outstanding packets back as if lost, but leaves the packets
 * outstanding (their round trip may still be measured). Returns how many items. */
uint32_t sentmap_give_back(struct sentmap *map, uint32_t count);

struct flow_item *sentmap_lost(struct sentmap *map);
void sentmap_lost_done(struct sentmap *map);

#endif

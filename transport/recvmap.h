/* Recvmap: which packets arrived, and when that must be said.
 *
 * Role: pure; duplicates are told from news, an ack block is made of the rest.
 * Must not know: what packets carry, links, clocks.
 * Threads: the owner's. */
#ifndef LEAT_TRANSPORT_RECVMAP_H
#define LEAT_TRANSPORT_RECVMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/packet.h"
#include "schema/units.h"
#include "transport/ringbits.h"

enum {
    /* How far behind the largest a packet may come and still be told from a duplicate. */
    RECVMAP_BITS = RINGBITS,
    RECVMAP_ELICITING_MAX = 2, /* unacknowledged ones that make an ack due */
};

struct recvmap {
    uint64_t largest; /* 0: none came, numbers start at 1 */
    leat_ns largest_at;
    leat_ns ack_at;     /* due by then; LEAT_NS_NEVER: nothing to say */
    uint32_t eliciting; /* arrived since the last ack */
    bool any;
    leat_ns said_ack_at; /* the two as they were before recvmap_ack */
    uint32_t said_eliciting;
    uint64_t bits[RINGBITS_WORDS];
};

void recvmap_init(struct recvmap *map);
/* So far behind that it cannot be told from a duplicate. */
bool recvmap_is_too_old(const struct recvmap *map, uint64_t number);
/* False: it came before, or is too old to tell. */
bool recvmap_is_new(const struct recvmap *map, uint64_t number);
/* It arrived (and is new). An eliciting one makes an ack due after `delay_ns`; at once when it is
 * the second one, or when it closes or leaves a hole. `ack_now`: at once in any case. */
void recvmap_add(struct recvmap *map, uint64_t number, bool eliciting, bool ack_now,
                 leat_ns delay_ns, leat_ns now);
/* A duplicate of something eliciting came: its sender missed our ack. */
void recvmap_again(struct recvmap *map, leat_ns now);
/* Fills the block for what arrived and takes it as said. False: nothing ever came. */
bool recvmap_ack(struct recvmap *map, uint16_t window, struct leat_packet_ack *out, leat_ns now);
/* The block of the last recvmap_ack did not leave. */
void recvmap_unsaid(struct recvmap *map);

#endif

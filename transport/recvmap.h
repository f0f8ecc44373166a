/* Recvmap: the packet numbers received, and when an acknowledgement is due.
 *
 * Role: pure. Detects duplicates and builds ack blocks.
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
    /* Packets that are this far or farther behind the largest cannot be told from duplicates. */
    RECVMAP_BITS = RINGBITS,
    RECVMAP_ELICITING_MAX = 2, /* unacknowledged eliciting packets that make an ack due at once */
};

struct recvmap {
    uint64_t largest; /* 0: none was received; numbers start at 1 */
    leat_ns largest_at;
    leat_ns ack_at;     /* when an ack is due, or LEAT_NS_NEVER */
    uint32_t eliciting; /* ack-eliciting packets received since the last ack */
    bool any;
    /* ack_at and eliciting before the last recvmap_ack, for recvmap_unsaid. */
    leat_ns said_ack_at;
    uint32_t said_eliciting;
    uint64_t bits[RINGBITS_WORDS];
};

void recvmap_init(struct recvmap *map);
/* True if `number` is so far behind the largest that it cannot be told from a duplicate. */
bool recvmap_is_too_old(const struct recvmap *map, uint64_t number);
/* False: the number was received before, or is too old to tell. */
bool recvmap_is_new(const struct recvmap *map, uint64_t number);
/* Records a new number. An ack-eliciting packet makes an ack due after `delay_ns`; without delay if
 * it is the second one, or if it was not received in order. `ack_now`: without delay in any case.
 */
void recvmap_add(struct recvmap *map, uint64_t number, bool eliciting, bool ack_now,
                 leat_ns delay_ns, leat_ns now);
/* An ack-eliciting packet was received again, so its sender may have missed our ack: an ack is due.
 */
void recvmap_again(struct recvmap *map, leat_ns now);
/* Fills an ack block; no ack is due afterwards. False: no packet was ever received. */
bool recvmap_ack(struct recvmap *map, uint16_t window, struct leat_packet_ack *out, leat_ns now);
/* Undoes the last recvmap_ack, because its block was not sent. */
void recvmap_unsaid(struct recvmap *map);

#endif

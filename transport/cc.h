/* Congestion control: how many packets may be on the wire.
 *
 * Role: pure; slow start, then one packet more a round trip, half at most once a round trip. Losses
 * under 2 % of what was sent, without the round trip growing, do not count: they are the wire's,
 * not a queue's. Must not know: packets' content, links, clocks.
 * Threads: the owner's. */
#ifndef LEAT_TRANSPORT_CC_H
#define LEAT_TRANSPORT_CC_H

#include <stdint.h>

#include "schema/units.h"

enum {
    CC_WINDOW_INITIAL = 64, /* packets: about what one receive burst or two can hold */
    CC_WINDOW_MIN = 4,
    CC_WINDOW_MAX = 512,
    CC_ROUND = 4096,  /* packets the share of loss is taken from */
    CC_TRUSTED = 256, /* of them, to begin with, counted as sent and not lost */
};

struct cc {
    uint32_t window;        /* packets */
    uint32_t threshold;     /* slow start ends here */
    uint32_t grown;         /* acknowledged since the window last grew by one */
    leat_ns recovery_until; /* losses of packets sent before it were answered already */
    uint32_t round_sent,
        round_lost;                /* the last packets: their share of loss, halved now and then */
    uint64_t reductions, forgiven; /* times halved; losses that did not count */
};

void cc_init(struct cc *cc);
/* The window grows only while it is used: by half at least, for a burst of acknowledgements comes
 * before what is sent in answer to it. */
void cc_acked(struct cc *cc, uint32_t packets, uint32_t outstanding_before);
/* `lost_sent_at`: when the newest of them left. `rtt` and `rtt_min`: smoothed, and least seen. */
void cc_lost(struct cc *cc, uint32_t packets, leat_ns lost_sent_at, leat_ns rtt, leat_ns rtt_min,
             leat_ns now);

#endif

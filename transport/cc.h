/* Congestion control: how many packets may be in flight.
 *
 * Role: pure. Slow start, then additive increase by one packet per round trip. Multiplicative
 * decrease halves the window at most once per round trip. Loss below 2 % of the packets sent, while
 * the round-trip time does not grow, does not reduce the window: it comes from the wire and not
 * from a congested queue.
 * Must not know: packet contents, links, clocks.
 * Threads: the owner's. */
#ifndef LEAT_TRANSPORT_CC_H
#define LEAT_TRANSPORT_CC_H

#include <stdint.h>

#include "schema/units.h"

enum {
    CC_WINDOW_INITIAL = 64, /* packets: one or two receive bursts */
    CC_WINDOW_MIN = 4,
    CC_WINDOW_MAX = 512,
    CC_ROUND = 4096,  /* packets sent over which the loss rate is measured */
    CC_TRUSTED = 256, /* initial value of round_sent: packets assumed sent without loss */
};

struct cc {
    uint32_t window;        /* packets */
    uint32_t threshold;     /* packets: slow start ends here (ssthresh) */
    uint32_t grown;         /* packets acknowledged since the window last grew by one */
    leat_ns recovery_until; /* the window was already reduced for packets sent before this */
    /* Packets, for the loss rate; both are halved now and then so that old losses fade. */
    uint32_t round_sent, round_lost;
    uint64_t reductions, forgiven; /* reductions of the window; lost packets that caused none */
};

void cc_init(struct cc *cc);
/* `packets` were newly acknowledged; `outstanding_before` were outstanding before that. The window
 * grows only if at least half of it was in use. Requiring all of it would be too strict, because a
 * burst of acknowledgements arrives before the packets that it makes room for are sent. */
void cc_acked(struct cc *cc, uint32_t packets, uint32_t outstanding_before);
/* `packets` were lost. `lost_sent_at`: when the newest of them was sent. `rtt` and `rtt_min`: the
 * smoothed and the minimum round-trip time. */
void cc_lost(struct cc *cc, uint32_t packets, leat_ns lost_sent_at, leat_ns rtt, leat_ns rtt_min,
             leat_ns now);

#endif

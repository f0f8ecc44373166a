/* Loop jitter: how long an event loop's own pauses are, so that its probe timers do not take a
 * pause for packet loss.
 *
 * Role: pure. A decaying histogram of the time between iterations, and its 99.9th percentile.
 * Must not know: the loop, links, clocks.
 * Threads: the owner's. */
#ifndef LEAT_TRANSPORT_LOOP_JITTER_H
#define LEAT_TRANSPORT_LOOP_JITTER_H

#include <stdint.h>

#include "schema/units.h"

enum { LOOP_JITTER_BUCKETS = 64 };

struct loop_jitter {
    leat_ns last;                         /* 0: no iteration yet */
    uint32_t counts[LOOP_JITTER_BUCKETS]; /* four buckets per power of two, from 256 ns up */
    uint32_t total;
    leat_ns p999;
};

void loop_jitter_init(struct loop_jitter *gap);
/* To be called at each iteration. Returns the time since the previous one, 0 if that is unknown. */
leat_ns loop_jitter_tick(struct loop_jitter *gap, leat_ns now);
/* The loop slept on purpose: the time until the next tick is not recorded. */
void loop_jitter_slept(struct loop_jitter *gap);

/* The minimum of the probe timer: twice the 99.9th percentile, clamped to 100..400 us on a bypass
 * link and to 2..20 ms on a kernel link. */
leat_ns loop_jitter_probe_floor(const struct loop_jitter *gap, int bypass);

#endif

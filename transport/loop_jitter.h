/* Loopgap: how long this loop's own pauses are, so that its timers do not blame the wire for them.
 *
 * Role: pure; a histogram of the time between iterations that forgets, and its 99.9th percentile.
 * Threads: the owner's. */
#ifndef LEAT_TRANSPORT_LOOPGAP_H
#define LEAT_TRANSPORT_LOOPGAP_H

#include <stdint.h>

#include "schema/units.h"

enum { LOOPGAP_BUCKETS = 64 };

struct loopgap {
    leat_ns last;                     /* 0: no iteration yet */
    uint32_t counts[LOOPGAP_BUCKETS]; /* four a power of two, from 256 ns up */
    uint32_t total;
    leat_ns p999;
};

void loopgap_init(struct loopgap *gap);
/* An iteration of a loop that was not asleep. Returns the pause before it. */
leat_ns loopgap_tick(struct loopgap *gap, leat_ns now);
/* The loop slept, on purpose: the time until the next tick does not count. */
void loopgap_slept(struct loopgap *gap);

/* The probe timer's floor: twice the 99.9th percentile, at least 100 us and at most 400 us on a
 * bypass link; at least 2 ms and at most 20 ms on the kernel's. */
leat_ns loopgap_probe_floor(const struct loopgap *gap, int bypass);

#endif

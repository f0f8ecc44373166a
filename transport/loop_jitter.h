/* Loopgap: how long this loop's own pauses are, so that its timers do not blame the wire for them.
 *
 * Role: pure; a histogram of the time between iterations that forgets, and its 99.9th percentile.
 * Threads: the owner's. */
#ifndef LEAT_TRANSPORT_LOOP_JITTER_H
#define LEAT_TRANSPORT_LOOP_JITTER_H

#include <stdint.h>

#include "schema/units.h"

enum { LOOP_JITTER_BUCKETS = 64 };

struct loop_jitter {
    leat_ns last;                         /* 0: no iteration yet */
    uint32_t counts[LOOP_JITTER_BUCKETS]; /* four a power of two, from 256 ns up */
    uint32_t total;
    leat_ns p999;
};

void loop_jitter_init(struct loop_jitter *gap);
/* An iteration of a loop that was not asleep. Returns the pause before it. */
leat_ns loop_jitter_tick(struct loop_jitter *gap, leat_ns now);
/* The loop slept, on purpose: the time until the next tick does not count. */
void loop_jitter_slept(struct loop_jitter *gap);

/* The probe timer's floor: twice the 99.9th percentile, at least 100 us and at most 400 us on a
 * bypass link; at least 2 ms and at most 20 ms on the kernel's. */
leat_ns loop_jitter_probe_floor(const struct loop_jitter *gap, int bypass);

#endif

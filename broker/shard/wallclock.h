/* Wall clock: monotonic time plus an offset that is slewed towards the system clock, so that small
 * corrections never make it jump.
 *
 * Role: turn monotonic time into wall time.
 * Must not know: which clocks there are, who asks.
 * Threads: its owner's. */
#ifndef LEAT_BROKER_SHARD_WALLCLOCK_H
#define LEAT_BROKER_SHARD_WALLCLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/units.h"

struct wallclock {
    uint64_t offset_ns; /* wall = monotonic + offset, modulo 2^64 */
    leat_ns checked_at;
};

void wallclock_init(struct wallclock *w, leat_ns now, uint64_t real_ns);

/* True once a second, when the offset should be compared with the system clock. */
static inline bool wallclock_due(const struct wallclock *w, leat_ns now)
{
    return now - w->checked_at >= LEAT_NS_PER_S;
}

/* The system clock reads `real_ns`. The offset is slewed by at most 500 us a second, as adjtime
 * does. A difference of more than a second is applied at once and returned in ns; else 0. */
int64_t wallclock_check(struct wallclock *w, leat_ns now, uint64_t real_ns);

/* Wall time, ns since 1970. May step back in wallclock_check. */
static inline uint64_t wallclock_at(const struct wallclock *w, leat_ns now)
{
    return now + w->offset_ns;
}

#endif

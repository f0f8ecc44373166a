/* Wall clock: monotonic time plus an offset that is slewed towards the system clock, so that small
 * corrections never make it jump. */
#include "broker/shard/wallclock.h"

#define SLEW_NS_PER_S (500 * (int64_t)LEAT_NS_PER_US)

void wallclock_init(struct wallclock *w, leat_ns now, uint64_t real_ns)
{
    *w = (struct wallclock){ .offset_ns = real_ns - now, .checked_at = now };
}

int64_t wallclock_check(struct wallclock *w, leat_ns now, uint64_t real_ns)
{
    const int64_t off = (int64_t)(real_ns - wallclock_at(w, now));
    const int64_t second = (int64_t)LEAT_NS_PER_S;
    w->checked_at = now;
    if (off > second || off < -second) {
        w->offset_ns += (uint64_t)off;
        return off;
    }
    const int64_t slew = off > SLEW_NS_PER_S    ? SLEW_NS_PER_S
                         : off < -SLEW_NS_PER_S ? -SLEW_NS_PER_S
                                                : off;
    w->offset_ns += (uint64_t)slew;
    return 0;
}

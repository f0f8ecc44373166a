/* Quota: a byte rate that may be overdrawn by one batch, which then has to be paid back.
 *
 * A zeroed struct means "no limit".
 *
 * Role: a token bucket.
 * Must not know: who pays, clocks.
 * Threads: the owner's. */
#ifndef LEAT_BROKER_SHARED_QUOTA_H
#define LEAT_BROKER_SHARED_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/units.h"

struct quota {
    uint64_t rate; /* bytes a second; 0: no limit */
    int64_t left;  /* bytes; below zero: overdrawn */
    leat_ns at;    /* when `left` was computed */
};

/* Starts with a tenth of a second's worth, which is also the most that it accumulates. */
void quota_init(struct quota *q, uint64_t bytes_per_second, leat_ns now);

/* Changes the rate; 0: no limit. What is owed stays owed, unless the limit ends. */
void quota_set_rate(struct quota *q, uint64_t bytes_per_second, leat_ns now);

void quota_take_limited(struct quota *q, uint64_t bytes, leat_ns now);
bool quota_ready_limited(struct quota *q, leat_ns now);

/* Takes `bytes`, even if fewer are left. */
static inline void quota_take(struct quota *q, uint64_t bytes, leat_ns now)
{
    if (q->rate != 0)
        quota_take_limited(q, bytes, now);
}

/* True when anything may be taken now. */
static inline bool quota_ready(struct quota *q, leat_ns now)
{
    return q->rate == 0 || quota_ready_limited(q, now);
}

/* Limits the notices that a quota holds a client back: one for each episode. An episode ends when
 * the quota has held nobody back for QUOTA_EPISODE_NS. A zeroed struct: it has held nobody yet. */
struct quota_hold {
    leat_ns last; /* when it last held a client back */
    bool began;
    bool said;
};

#define QUOTA_EPISODE_NS (10 * LEAT_NS_PER_S)

/* The quota holds a client back now. True: this episode was not reported yet. */
static inline bool quota_hold_note(struct quota_hold *hold, leat_ns now)
{
    if (!hold->began || now - hold->last >= QUOTA_EPISODE_NS)
        hold->said = false;
    hold->began = true;
    hold->last = now;
    return !hold->said;
}

/* When the quota will be ready if nothing is taken: `now` or later. */
leat_ns quota_ready_at(const struct quota *q, leat_ns now);

#endif

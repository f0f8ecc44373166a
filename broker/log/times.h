/* Times: which monotonic time a wall clock stamp stands for, across steps of the wall clock.
 *
 * Role: a bounded list of lines of times. Within a line, wall - monotonic is the same but for what
 * a clock is slewed; a step of the wall clock begins a new line. So the age of a batch is known
 * from its stamp, however wrong the wall clock was. Must not know: batches, which clocks there are.
 * Threads: the owning shard. Allocates nothing. */
#ifndef LEAT_BROKER_LOG_TIMES_H
#define LEAT_BROKER_LOG_TIMES_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/units.h"

enum { TIMES_OLDER_MAX = 63 };
/* The offsets of one line differ by this at most, unless lines had to be joined. */
#define TIMES_SPREAD_NS (20 * (uint64_t)LEAT_NS_PER_MS)

struct times_line {
    uint64_t from;      /* position of its first batch */
    uint64_t begin_ns;  /* the wall clock of this line after which the line holds all appends */
    uint64_t low_ns;    /* the least offset (wall - monotonic, modulo 2^64) within it */
    uint64_t spread_ns; /* the greatest is low + spread */
    leat_ns until_ns;   /* monotonic: all of it was appended by then; of older lines only */
};

/* All zero: a log without batches. */
struct times {
    struct times_line newest;
    uint64_t stamp_ns;     /* the last one of the newest line */
    uint64_t last_mono_ns; /* at the last append of the lines before it, or a little later */
    uint32_t older_count;
    struct times_line older[TIMES_OLDER_MAX]; /* the oldest first */
};

/* The clocks differ otherwise than the newest line says: widens it, or begins a line at `tail`.
 * Lines that hold nothing from `head` on are forgotten. When there is no place, the two neighbours
 * whose offsets differ least become one. */
void times_follow(struct times *t, uint64_t head, uint64_t tail, leat_ns now, uint64_t wall_ns);

/* What the clocks say now, for a log that holds [head, tail). */
static inline void times_see(struct times *t, uint64_t head, uint64_t tail, leat_ns now,
                             uint64_t wall_ns)
{
    if (wall_ns - now - t->newest.low_ns > t->newest.spread_ns)
        times_follow(t, head, tail, now, wall_ns);
}

/* The stamp of a batch that is appended at `tail` now: the wall clock, never decreasing within a
 * line. */
static inline uint64_t times_stamp(struct times *t, uint64_t head, uint64_t tail, leat_ns now,
                                   uint64_t wall_ns)
{
    times_see(t, head, tail, now, wall_ns);
    if (wall_ns > t->stamp_ns)
        t->stamp_ns = wall_ns;
    return t->stamp_ns;
}

/* How long ago the batch at `position` was appended that was stamped `stamp_ns`: never more than it
 * is; less by the spread of its line at most, and by no more than the line lasted. */
leat_ns times_age(const struct times *t, uint64_t position, uint64_t stamp_ns, leat_ns now);

/* Where to look for the first batch stamped `time_ns` or later. */
struct times_place {
    uint64_t from;   /* not below this position */
    leat_ns mono_ns; /* what was appended before this is too early */
    bool joined;     /* a line with steps within: stamps there say nothing, begin at mono_ns */
};
/* In the newest line that covers `time_ns`, that is, that began before it. False: every line began
 * later. */
bool times_find(const struct times *t, uint64_t time_ns, struct times_place *out);

#endif

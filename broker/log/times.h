/* Times: maps stamps of the wall clock to monotonic time, across steps of the wall clock.
 *
 * Role: a bounded list of lines of times. A line is a run of appends within which wall - monotonic
 * is constant, clock slew apart; a step of the wall clock begins a new line. So a batch's stamp
 * gives its age, however wrong the wall clock was.
 * Must not know: batches, which clocks exist.
 * Threads: the owning shard. Allocates nothing. */
#ifndef LEAT_BROKER_LOG_TIMES_H
#define LEAT_BROKER_LOG_TIMES_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/units.h"

enum { TIMES_OLDER_MAX = 63 };
/* The offsets of one line differ by at most this, unless lines had to be merged. */
#define TIMES_SPREAD_NS (20 * (uint64_t)LEAT_NS_PER_MS)

struct times_line {
    uint64_t from;      /* position of its first batch */
    uint64_t begin_ns;  /* by this line's wall clock: all later appends are in the line */
    uint64_t low_ns;    /* the smallest offset (wall - monotonic, modulo 2^64) within it */
    uint64_t spread_ns; /* the largest offset is low_ns + spread_ns */
    leat_ns until_ns;   /* monotonic: all of it was appended by then; only in older lines */
};

/* All-zero: of a log without batches. */
struct times {
    struct times_line newest;
    uint64_t stamp_ns;     /* the last stamp of the newest line */
    uint64_t last_mono_ns; /* of the last append of the older lines, or a little later */
    uint32_t older_count;
    struct times_line older[TIMES_OLDER_MAX]; /* oldest first */
};

/* The clocks' offset is outside of the newest line: widens that line, or begins a new one at
 * `tail`. Drops lines that hold nothing from `head` on. When the list is full, merges the two
 * neighbours whose offsets differ least. */
void times_follow(struct times *t, uint64_t head, uint64_t tail, leat_ns now, uint64_t wall_ns);

/* Takes note of the time, for a log that holds [head, tail). */
static inline void times_see(struct times *t, uint64_t head, uint64_t tail, leat_ns now,
                             uint64_t wall_ns)
{
    if (wall_ns - now - t->newest.low_ns > t->newest.spread_ns)
        times_follow(t, head, tail, now, wall_ns);
}

/* The stamp for a batch that is appended at `tail` now: the wall clock, but never decreasing within
 * a line. */
static inline uint64_t times_stamp(struct times *t, uint64_t head, uint64_t tail, leat_ns now,
                                   uint64_t wall_ns)
{
    times_see(t, head, tail, now, wall_ns);
    if (wall_ns > t->stamp_ns)
        t->stamp_ns = wall_ns;
    return t->stamp_ns;
}

/* The age in ns of the batch at `position`, which was stamped `stamp_ns`. It is never too high. It
 * is too low by at most the spread of the batch's line, and by at most as long as the line
 * lasted. */
leat_ns times_age(const struct times *t, uint64_t position, uint64_t stamp_ns, leat_ns now);

/* Where to look for the first batch stamped `time_ns` or later. */
struct times_place {
    uint64_t from;   /* begin at this position */
    leat_ns mono_ns; /* skip what was appended before this time */
    bool joined;     /* a merged line: its stamps say nothing, begin at mono_ns */
};
/* Searches the newest line that covers `time_ns`, that is, that began before it. False: every line
 * began later. */
bool times_find(const struct times *t, uint64_t time_ns, struct times_place *out);

#endif

/* Reserve: decides how far ahead offsets are reserved on disk, so that none is ever assigned twice.
 *
 * Role: the next limit of one partition.
 * Must not know: files, who asks.
 *
 * Each new limit costs a durable write, and a crash wastes what was reserved and not used. So the
 * step begins at 2^20 offsets, and doubles while it is used up within seconds.
 * Threads: its owner's. */
#ifndef LEAT_BROKER_STATE_RESERVE_H
#define LEAT_BROKER_STATE_RESERVE_H

#include <stdint.h>

#include "schema/units.h"

enum {
    RESERVE_STEP_MIN = 1 << 20,
    RESERVE_STEP_MAX = 1 << 30,
};

struct reserve {
    uint64_t step;
    leat_ns grown_at;
};

/* The first limit of a log that begins at `first_offset`. */
uint64_t reserve_begin(struct reserve *r, uint64_t first_offset, leat_ns now);

/* The limit that follows `limit` when the log has reached `next_offset`. Never below `limit`. */
uint64_t reserve_grow(struct reserve *r, uint64_t limit, uint64_t next_offset, leat_ns now);

#endif

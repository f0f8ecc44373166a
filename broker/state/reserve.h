/* Reserve: how far ahead offsets are promised on disk, so that none is ever given out twice.
 *
 * Role: decide the next limit of one partition. Must not know: files, who asks.
 *
 * Each limit costs a durable write, and a crash wastes what was promised and not used: the step
 * begins at 2^20 offsets and doubles while it is used up within seconds.
 * Threads: its owner. */
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

/* The limit that follows `limit`, when the log has come to `next_offset`. Never below `limit`. */
uint64_t reserve_grow(struct reserve *r, uint64_t limit, uint64_t next_offset, leat_ns now);

#endif

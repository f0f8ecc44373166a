/* Session id: the u32 that names a session in every packet and in ATTACH.
 *
 *      shard:6 (high bits) | slot:14 | generation:12
 *
 * Role: the only file that knows this layout.
 * Must not know: what a session holds.
 * Threads: any; nothing here has state. */
#ifndef LEAT_SCHEMA_SESSION_ID_H
#define LEAT_SCHEMA_SESSION_ID_H

#include <assert.h>
#include <stdint.h>

#include "schema/limits.h"

enum {
    LEAT_SESSION_SHARD_BITS = 6,
    LEAT_SESSION_SLOT_BITS = 14,
    LEAT_SESSION_GENERATION_BITS = 12,
    LEAT_SESSION_SHARD_SHIFT = LEAT_SESSION_SLOT_BITS + LEAT_SESSION_GENERATION_BITS,
    LEAT_SESSION_SLOTS_MAX = 1 << LEAT_SESSION_SLOT_BITS, /* of one shard */
    LEAT_SESSION_GENERATIONS = 1 << LEAT_SESSION_GENERATION_BITS,
};
static_assert(LEAT_SESSION_SHARD_BITS + LEAT_SESSION_SHARD_SHIFT == 32, "an id is a u32");
static_assert(LEAT_SHARDS_MAX <= 1 << LEAT_SESSION_SHARD_BITS, "every shard has a number");

/* shard < LEAT_SHARDS_MAX, slot < LEAT_SESSION_SLOTS_MAX, generation < LEAT_SESSION_GENERATIONS. */
static inline uint32_t leat_session_id(uint32_t shard, uint32_t slot, uint32_t generation)
{
    return shard << LEAT_SESSION_SHARD_SHIFT | slot << LEAT_SESSION_GENERATION_BITS | generation;
}

static inline uint32_t leat_session_shard(uint32_t id)
{
    return id >> LEAT_SESSION_SHARD_SHIFT;
}

static inline uint32_t leat_session_slot(uint32_t id)
{
    return id >> LEAT_SESSION_GENERATION_BITS & (LEAT_SESSION_SLOTS_MAX - 1);
}

#endif

/* Loop jitter: the distribution of an event loop's own pauses. See loop_jitter.h. */
#include "transport/loop_jitter.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

enum {
    FIRST_POWER = 8,         /* 256 ns */
    RANK_SHIFT = 10,         /* one in 1024 samples lies above the percentile */
    FRESHEN_EVERY = 1 << 10, /* ticks between updates; below this many, whenever they doubled */
    FORGET_AT = 1 << 16,     /* samples at which all counts are halved */
};
static_assert((LOOP_JITTER_BUCKETS & 3) == 0, "four buckets per power of two");

void loop_jitter_init(struct loop_jitter *gap)
{
    memset(gap, 0, sizeof *gap);
}

static uint32_t bucket_of(leat_ns pause)
{
    if (pause < UINT64_C(1) << FIRST_POWER)
        return 0;
    const uint32_t power = 63 - (uint32_t)__builtin_clzll(pause);
    const uint32_t bucket = (power - FIRST_POWER) * 4 + (uint32_t)(pause >> (power - 2) & 3);
    return bucket < LOOP_JITTER_BUCKETS ? bucket : LOOP_JITTER_BUCKETS - 1;
}

/* The exclusive upper bound of a bucket. */
static leat_ns bucket_end(uint32_t bucket)
{
    return (leat_ns)(5 + bucket % 4) << (FIRST_POWER - 2 + bucket / 4);
}

static void freshen(struct loop_jitter *gap)
{
    uint32_t above = 0, bucket = LOOP_JITTER_BUCKETS - 1;
    for (; bucket > 0; bucket--) {
        above += gap->counts[bucket];
        if (above > gap->total >> RANK_SHIFT)
            break;
    }
    gap->p999 = bucket_end(bucket);
    if (gap->total < FORGET_AT)
        return;
    gap->total = 0;
    for (uint32_t i = 0; i < LOOP_JITTER_BUCKETS; i++) {
        gap->counts[i] /= 2;
        gap->total += gap->counts[i];
    }
}

leat_ns loop_jitter_tick(struct loop_jitter *gap, leat_ns now)
{
    const leat_ns last = gap->last;
    gap->last = now;
    if (last == 0 || now < last)
        return 0;
    gap->counts[bucket_of(now - last)]++;
    gap->total++;
    const bool doubled = gap->total < FRESHEN_EVERY && (gap->total & (gap->total - 1)) == 0;
    if (gap->total % FRESHEN_EVERY == 0 || doubled)
        freshen(gap);
    return now - last;
}

void loop_jitter_slept(struct loop_jitter *gap)
{
    gap->last = 0;
}

leat_ns loop_jitter_probe_floor(const struct loop_jitter *gap, int bypass)
{
    const leat_ns least = bypass ? 100 * LEAT_NS_PER_US : 2 * LEAT_NS_PER_MS;
    const leat_ns most = bypass ? 400 * LEAT_NS_PER_US : 20 * LEAT_NS_PER_MS;
    const leat_ns floor = 2 * gap->p999;
    if (floor < least)
        return least;
    return floor < most ? floor : most;
}

/* Reserve: decides how far ahead offsets are reserved on disk, so that none is ever assigned
 * twice. */
#include "broker/state/reserve.h"

#define QUICK_NS (10 * LEAT_NS_PER_S)
#define OFFSET_LAST (LEAT_OFFSET_NONE - 1)

static uint64_t ahead(uint64_t from, uint64_t step)
{
    return from > OFFSET_LAST - step ? OFFSET_LAST : from + step;
}

uint64_t reserve_begin(struct reserve *r, uint64_t first_offset, leat_ns now)
{
    r->step = RESERVE_STEP_MIN;
    r->grown_at = now;
    return ahead(first_offset, r->step);
}

uint64_t reserve_grow(struct reserve *r, uint64_t limit, uint64_t next_offset, leat_ns now)
{
    if (now - r->grown_at < QUICK_NS && r->step < RESERVE_STEP_MAX)
        r->step *= 2;
    r->grown_at = now;
    const uint64_t wanted = ahead(next_offset, r->step);
    return wanted > limit ? wanted : limit;
}

/* Times: maps stamps of the wall clock to monotonic time, across steps of the wall clock. */
#include "broker/log/times.h"

#include <string.h>

/* Drops lines that end at or below `head`. */
static void forget(struct times *t, uint64_t head)
{
    uint32_t gone = 0;
    while (gone < t->older_count) {
        const bool last = gone + 1 == t->older_count;
        if ((last ? t->newest.from : t->older[gone + 1].from) > head)
            break;
        gone++;
    }
    t->older_count -= gone;
    if (gone != 0)
        memmove(t->older, t->older + gone, t->older_count * sizeof t->older[0]);
}

/* Offsets are modulo 2^64, so they are compared by their difference. */
static uint64_t joint_spread(const struct times_line *a, const struct times_line *b, uint64_t *low)
{
    const int64_t lows = (int64_t)(b->low_ns - a->low_ns);
    *low = lows < 0 ? b->low_ns : a->low_ns;
    const uint64_t a_high = a->low_ns + a->spread_ns - *low;
    const uint64_t b_high = b->low_ns + b->spread_ns - *low;
    return a_high > b_high ? a_high : b_high;
}

static void join_nearest(struct times *t)
{
    uint32_t best = 0;
    uint64_t best_spread = UINT64_MAX, low;
    for (uint32_t i = 0; i + 1 < t->older_count; i++) {
        const uint64_t spread = joint_spread(&t->older[i], &t->older[i + 1], &low);
        if (spread < best_spread) {
            best_spread = spread;
            best = i;
        }
    }
    struct times_line *a = &t->older[best];
    const struct times_line *b = a + 1;
    a->spread_ns = joint_spread(a, b, &low);
    a->low_ns = low;
    if ((int64_t)(b->begin_ns - a->begin_ns) < 0)
        a->begin_ns = b->begin_ns;
    a->until_ns = b->until_ns;
    t->older_count--;
    memmove(&t->older[best + 1], &t->older[best + 2],
            (t->older_count - best - 1) * sizeof t->older[0]);
}

/* Widens the line to include `offset`. False: its spread would exceed TIMES_SPREAD_NS. */
static bool widen(struct times_line *line, uint64_t offset)
{
    const uint64_t above = offset - (line->low_ns + line->spread_ns);
    const uint64_t below = line->low_ns - offset;
    const uint64_t by = above < below ? above : below;
    if (by > TIMES_SPREAD_NS - line->spread_ns)
        return false;
    line->spread_ns += by;
    if (below <= above)
        line->low_ns = offset;
    return true;
}

void times_follow(struct times *t, uint64_t head, uint64_t tail, leat_ns now, uint64_t wall_ns)
{
    const uint64_t offset = wall_ns - now;
    if (t->newest.from != tail) {
        if (widen(&t->newest, offset))
            return;
        const uint64_t last = t->stamp_ns - t->newest.low_ns;
        t->last_mono_ns = last < now ? last : now;
        t->newest.until_ns = t->last_mono_ns;
        forget(t, head);
        if (t->older_count == TIMES_OLDER_MAX)
            join_nearest(t);
        t->older[t->older_count++] = t->newest;
    }
    t->newest =
        (struct times_line){ .from = tail, .begin_ns = t->last_mono_ns + offset, .low_ns = offset };
    t->stamp_ns = 0;
    forget(t, head);
}

leat_ns times_age(const struct times *t, uint64_t position, uint64_t stamp_ns, leat_ns now)
{
    const struct times_line *line = &t->newest;
    for (uint32_t i = t->older_count; i > 0 && position < line->from; i--)
        line = &t->older[i - 1];
    uint64_t age = now - (stamp_ns - line->low_ns);
    if ((int64_t)age < 0)
        age = 0;
    const uint64_t age_at_least = line == &t->newest ? 0 : now - line->until_ns;
    return age > age_at_least ? age : age_at_least;
}

bool times_find(const struct times *t, uint64_t time_ns, struct times_place *out)
{
    const int64_t time = time_ns > INT64_MAX ? INT64_MAX : (int64_t)time_ns;
    const struct times_line *line = &t->newest;
    for (uint32_t i = t->older_count; time <= (int64_t)line->begin_ns; i--) {
        if (i == 0)
            return false;
        line = &t->older[i - 1];
    }
    const int64_t mono = (int64_t)((uint64_t)time - line->low_ns - line->spread_ns);
    *out = (struct times_place){ .from = line->from,
                                 .mono_ns = mono < 0 ? 0 : (uint64_t)mono,
                                 .joined = line->spread_ns > TIMES_SPREAD_NS };
    return true;
}

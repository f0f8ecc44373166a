/* Goal: pieces are joined whatever order they come in, each says truly whether it was news, and the
 * ranges stay apart, in order and bounded. Method: a model with a byte for every position. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/support/seeded.h"
#include "transport/stream.h"

enum { SPAN = 4000 };

static bool here[SPAN];

static uint64_t model_next(uint64_t from)
{
    while (from < SPAN && here[from])
        from++;
    return from;
}

/* Ranges as the model sees them must be the map's, one for one. */
static void agree(const struct stream_map *map, uint64_t base)
{
    uint32_t range = 0;
    for (uint64_t at = map->next - base; at < SPAN;) {
        if (!here[at]) {
            at++;
            continue;
        }
        const uint64_t end = model_next(at);
        cr_assert_lt(range, map->count);
        cr_assert(map->ranges[range].from == base + at && map->ranges[range].to == base + end);
        range++;
        at = end;
    }
    cr_assert_eq(range, map->count);
    cr_assert_leq(map->count, STREAM_RANGES);
}

static uint32_t model_ranges(uint64_t next)
{
    uint32_t count = 0;
    for (uint64_t at = next + 1; at < SPAN; at++)
        count += here[at] && !here[at - 1];
    return count;
}

static void add(struct stream_map *map, uint64_t base, uint64_t at, uint32_t size)
{
    const uint64_t next = map->next - base;
    bool before[SPAN];
    uint32_t news = 0;
    memcpy(before, here, sizeof here);
    for (uint32_t i = 0; i < size; i++) {
        news += at + i >= next && !here[at + i];
        here[at + i] = true;
    }
    const enum stream_piece piece = stream_map_add(map, base + at, size);
    if (piece == STREAM_FULL) {
        cr_assert_eq(model_ranges(next), STREAM_RANGES + 1, "full, and yet there was room");
        memcpy(here, before, sizeof here);
    } else if (news == 0) {
        cr_assert_eq(piece, STREAM_OLD);
    } else {
        cr_assert_eq(piece, at <= next ? STREAM_NEXT : STREAM_AHEAD);
    }
    cr_assert_eq(map->next - base, piece == STREAM_NEXT ? model_next(at) : next);
    agree(map, base);
}

Test(stream, agrees_with_a_byte_for_every_position)
{
    struct seeded random = seeded_start("stream");
    unsigned full = 0;
    for (int run = 0; run < 60; run++) {
        struct stream_map map;
        const uint64_t base = run == 0 ? UINT64_MAX - SPAN : seeded_next(&random) >> 8;
        const uint32_t longest = 1 + seeded_below(&random, run % 2 == 0 ? 6 : 300);
        memset(here, 0, sizeof here);
        stream_map_init(&map, base);
        for (int step = 0; step < 400 && map.next < base + SPAN; step++) {
            const uint64_t at = seeded_below(&random, SPAN);
            const uint64_t left = SPAN - at;
            const uint32_t size = 1 + seeded_below(&random, longest);
            if (seeded_below(&random, 100) == 0) {
                const uint64_t to = map.next - base + seeded_below(&random, 50);
                stream_map_skip(&map, base + (to < SPAN ? to : SPAN));
                memset(here, 1, to < SPAN ? to : SPAN);
                cr_assert_eq(map.next - base, model_next(0));
                memset(here, 1, map.next - base);
                agree(&map, base);
            }
            add(&map, base, at, size < left ? size : (uint32_t)left);
            full += map.count == STREAM_RANGES;
        }
    }
    cr_assert_gt(full, 100u, "the bound was never reached");
}

Test(stream, skipping_back_changes_nothing)
{
    struct stream_map map;
    stream_map_init(&map, 100);
    cr_assert_eq(stream_map_add(&map, 120, 10), STREAM_AHEAD);
    stream_map_skip(&map, 50);
    cr_assert(map.next == 100 && map.count == 1);
    stream_map_skip(&map, 120);
    cr_assert(map.next == 130 && map.count == 0);
}

/* Stream: the received ranges of a byte stream, merged as they arrive in any order. */
#include "transport/stream.h"

#include <assert.h>
#include <string.h>

void stream_map_init(struct stream_map *map, uint64_t next)
{
    map->next = next;
    map->count = 0;
}

static void remove_ranges(struct stream_map *map, uint32_t at, uint32_t count)
{
    map->count -= count;
    memmove(&map->ranges[at], &map->ranges[at + count], (map->count - at) * sizeof map->ranges[0]);
}

/* Removes the ranges that `next` has reached. */
static void join(struct stream_map *map)
{
    uint32_t passed = 0;
    while (passed < map->count && map->ranges[passed].from <= map->next) {
        const uint64_t to = map->ranges[passed].to;
        map->next = to > map->next ? to : map->next;
        passed++;
    }
    if (passed != 0)
        remove_ranges(map, 0, passed);
}

static enum stream_piece keep(struct stream_map *map, uint64_t from, uint64_t to)
{
    struct stream_range *ranges = map->ranges;
    /* The first range that ends at `from` or above. Usually there is none: search backwards. */
    uint32_t at = map->count;
    while (at > 0 && ranges[at - 1].to >= from)
        at--;
    uint32_t end = at; /* ranges [at, end) touch or overlap [from, to) */
    while (end < map->count && ranges[end].from <= to)
        end++;
    if (at == end) {
        if (map->count == STREAM_RANGES)
            return STREAM_FULL;
        memmove(&ranges[at + 1], &ranges[at], (map->count - at) * sizeof ranges[0]);
        ranges[at] = (struct stream_range){ from, to };
        map->count++;
        return STREAM_AHEAD;
    }
    if (ranges[at].from <= from && ranges[at].to >= to)
        return STREAM_OLD;
    ranges[at].from = from < ranges[at].from ? from : ranges[at].from;
    ranges[at].to = to > ranges[end - 1].to ? to : ranges[end - 1].to;
    remove_ranges(map, at + 1, end - at - 1);
    return STREAM_AHEAD;
}

enum stream_piece stream_map_add(struct stream_map *map, uint64_t position, uint32_t size)
{
    const uint64_t end = position + size;
    assert(size != 0 && end > position);
    if (end <= map->next)
        return STREAM_OLD;
    if (position > map->next)
        return keep(map, position, end);
    map->next = end;
    join(map);
    return STREAM_NEXT;
}

void stream_map_skip(struct stream_map *map, uint64_t position)
{
    if (position > map->next) {
        map->next = position;
        join(map);
    }
}

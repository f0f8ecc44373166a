/* Stream: the received ranges of a byte stream, merged as they arrive in any order.
 *
 *      .......|next   [from, to)      [from, to) ...      at most STREAM_RANGES, ascending
 *
 * Role: pure. Knows which positions have arrived, not their bytes. `next` is the first position
 * that has not arrived.
 * Must not know: where the bytes are stored, what they mean, packets.
 * Threads: the owner's. */
#ifndef LEAT_TRANSPORT_STREAM_H
#define LEAT_TRANSPORT_STREAM_H

#include <stdbool.h>
#include <stdint.h>

enum { STREAM_RANGES = 64 };

struct stream_range {
    uint64_t from, to;
};

struct stream_map {
    uint64_t next;
    uint32_t count;
    struct stream_range ranges[STREAM_RANGES]; /* ascending, neither touching nor at `next` */
};

void stream_map_init(struct stream_map *map, uint64_t next);

enum stream_piece {
    STREAM_NEXT,  /* begins at or below `next` and ends above it: `next` has moved */
    STREAM_AHEAD, /* recorded as a range */
    STREAM_OLD,   /* contains nothing new */
    STREAM_FULL,  /* no range is free: not recorded, so it must arrive again */
};
/* Records [position, position + size), in bytes; size >= 1, and the sum must not overflow. */
enum stream_piece stream_map_add(struct stream_map *map, uint64_t position, uint32_t size);

/* Nothing below `position` will arrive any more (a GAP). Raises `next` to it, and beyond the ranges
 * that it then touches. */
void stream_map_skip(struct stream_map *map, uint64_t position);

#endif

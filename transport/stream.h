/* Stream: pieces of a byte stream by position, joined whatever order they come in.
 *
 * Role: pure; knows which positions have arrived, not their bytes. `next` is the first that has
 * not. Must not know: where the bytes are kept, what they mean, packets. Threads: the owner's.
 *
 *      .......|next   [from, to)      [from, to) ...      at most STREAM_RANGES of them, in order
 */
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
    struct stream_range ranges[STREAM_RANGES]; /* ascending, apart from each other, above next */
};

void stream_map_init(struct stream_map *map, uint64_t next);

enum stream_piece {
    STREAM_NEXT,  /* begins at or below `next` and reaches beyond: next has moved */
    STREAM_AHEAD, /* kept as a range */
    STREAM_OLD,   /* nothing new in it */
    STREAM_FULL,  /* no range is free: as if it had never come */
};
/* [position, position + size) arrived; size >= 1, no overflow. */
enum stream_piece stream_map_add(struct stream_map *map, uint64_t position, uint32_t size);

/* Everything below `position` is decided (a GAP): next becomes at least that, and joins what lies
 * there. */
void stream_map_skip(struct stream_map *map, uint64_t position);

#endif

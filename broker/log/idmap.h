/* Map of ids: elements found by the 64-bit id that each of them begins with.
 *
 * Role: open addressing, at most half full. Must not know: what the elements are; they stay their
 * owner's. All-zero, but for `budget`, is an empty map. Threads: its owner's. */
#ifndef LEAT_BROKER_LOG_IDMAP_H
#define LEAT_BROKER_LOG_IDMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/log/memory_budget.h"

struct idmap {
    uint64_t **places;            /* to the elements' ids; NULL: empty */
    uint32_t room;                /* places: 0, or a power of two */
    uint32_t count;               /* elements */
    struct memory_budget *budget; /* of the places; NULL: no limit */
};

/* Frees the places. */
void idmap_close(struct idmap *map);
/* The element of this id; NULL: there is none. */
void *idmap_find(const struct idmap *map, uint64_t id);
/* Makes a place for one more, so that idmap_add cannot lack one. False: no memory. */
bool idmap_make_room(struct idmap *map);
/* `id`: where the element begins. There is none of its id, and there is room. */
void idmap_add(struct idmap *map, uint64_t *id);
void idmap_remove(struct idmap *map, const uint64_t *id);

#endif

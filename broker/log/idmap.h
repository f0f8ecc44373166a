/* Id map: a hash table of elements, keyed by the 64-bit id at the start of each element.
 *
 * A zeroed map is empty, except that `budget` has to be set.
 *
 * Role: open addressing with linear probing, at most half full. The map stores pointers; the caller
 * owns the elements.
 * Must not know: what the elements are.
 * Threads: the owner's. */
#ifndef LEAT_BROKER_LOG_IDMAP_H
#define LEAT_BROKER_LOG_IDMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/log/memory_budget.h"

struct idmap {
    uint64_t **places;            /* pointers to the elements' ids; NULL: an empty slot */
    uint32_t room;                /* slots: 0, or a power of two */
    uint32_t count;               /* elements */
    struct memory_budget *budget; /* the slots are charged to it; NULL: no limit */
};

/* Frees the slots. The elements remain the caller's. */
void idmap_close(struct idmap *map);
/* Returns the element with this id, or NULL. */
void *idmap_find(const struct idmap *map, uint64_t id);
/* Makes room for one more element, so that the next idmap_add cannot fail. False: no memory;
 * nothing has changed. */
bool idmap_make_room(struct idmap *map);
/* `id` points to the start of the element. No element in the map may have this id, and there must
 * be room (idmap_make_room). */
void idmap_add(struct idmap *map, uint64_t *id);
void idmap_remove(struct idmap *map, const uint64_t *id);

#endif

/* Id map: a hash table of elements, keyed by the 64-bit id at the start of each element. */
#include "broker/log/idmap.h"

#include <assert.h>
#include <stddef.h>

enum { FIRST_PLACES = 16 };

static void free_places(const struct idmap *map)
{
    memory_budget_free(map->budget, map->places, map->room * sizeof(uint64_t *));
}

void idmap_close(struct idmap *map)
{
    free_places(map);
    map->places = NULL;
    map->room = map->count = 0;
}

/* The slot of `id`, or the empty slot where it would go. */
static uint64_t **place_of(const struct idmap *map, uint64_t id)
{
    uint32_t at = (uint32_t)(id * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (map->room - 1);
    while (map->places[at] != NULL && *map->places[at] != id)
        at = (at + 1) & (map->room - 1);
    return &map->places[at];
}

void *idmap_find(const struct idmap *map, uint64_t id)
{
    return map->room != 0 ? *place_of(map, id) : NULL;
}

bool idmap_make_room(struct idmap *map)
{
    const struct idmap old = *map;
    if (2 * (map->count + 1) <= old.room)
        return true;
    const uint32_t room = old.room == 0 ? FIRST_PLACES : 2 * old.room;
    uint64_t **places = memory_budget_calloc(map->budget, room * sizeof(uint64_t *));
    if (places == NULL)
        return false;
    map->places = places;
    map->room = room;
    for (uint32_t i = 0; i < old.room; i++)
        if (old.places[i] != NULL)
            *place_of(map, *old.places[i]) = old.places[i];
    free_places(&old);
    return true;
}

void idmap_add(struct idmap *map, uint64_t *id)
{
    assert(2 * (map->count + 1) <= map->room);
    uint64_t **place = place_of(map, *id);
    assert(*place == NULL);
    *place = id;
    map->count++;
}

void idmap_remove(struct idmap *map, const uint64_t *id)
{
    uint64_t **place = place_of(map, *id);
    assert(*place == id);
    *place = NULL;
    map->count--;
    /* The elements behind it, up to the next empty slot, may have been displaced by it: reinsert
     * them. */
    uint32_t at = (uint32_t)(place - map->places);
    for (at = (at + 1) & (map->room - 1); map->places[at] != NULL;
         at = (at + 1) & (map->room - 1)) {
        uint64_t *moved = map->places[at];
        map->places[at] = NULL;
        *place_of(map, *moved) = moved;
    }
}

#include <stdlib.h>
#include <string.h>

#include "broker/control/control_state.h"
#include "schema/crc32c.h"

enum { PLACES_MIN = 64 };

static struct control_name **place_of(struct control_name **places, uint32_t count,
                                      const char *name)
{
    uint32_t at = leat_crc32c(name, strlen(name)) & (count - 1);
    while (places[at] != NULL && strcmp(places[at]->name, name) != 0)
        at = (at + 1) & (count - 1);
    return &places[at];
}

struct control_name *names_find(const struct control_names *names, const char *name)
{
    return names->place_count == 0 ? NULL : *place_of(names->places, names->place_count, name);
}

static bool grow(struct control_names *names)
{
    const uint32_t count = names->place_count == 0 ? PLACES_MIN : 2 * names->place_count;
    struct control_name **places = calloc(count, sizeof(struct control_name *));
    if (places == NULL)
        return false;
    for (uint32_t i = 0; i < names->place_count; i++) {
        if (names->places[i] != NULL)
            *place_of(places, count, names->places[i]->name) = names->places[i];
    }
    free(names->places);
    names->places = places;
    names->place_count = count;
    return true;
}

enum leat_error names_add(struct control_names *names, const char *name, struct control_name **out)
{
    if (names->count >= CONTROL_NAMES_MAX)
        return LEAT_ERR_LIMIT;
    if (2 * (names->count + 1) > names->place_count && !grow(names))
        return LEAT_ERR_NO_MEMORY;
    struct control_name *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return LEAT_ERR_NO_MEMORY;
    strcpy(entry->name, name);
    *place_of(names->places, names->place_count, name) = entry;
    names->count++;
    *out = entry;
    return LEAT_OK;
}

void names_remove(struct control_names *names, struct control_name *name)
{
    const uint32_t mask = names->place_count - 1;
    struct control_name **place = place_of(names->places, names->place_count, name->name);
    *place = NULL;
    names->count--;
    free(name);
    /* Those behind it, up to the next empty place, may have been pushed on by it. */
    for (uint32_t at = ((uint32_t)(place - names->places) + 1) & mask; names->places[at] != NULL;
         at = (at + 1) & mask) {
        struct control_name *moved = names->places[at];
        names->places[at] = NULL;
        *place_of(names->places, names->place_count, moved->name) = moved;
    }
}

void names_free(struct control_names *names)
{
    for (uint32_t i = 0; i < names->place_count; i++)
        free(names->places[i]);
    free(names->places);
    *names = (struct control_names){ .count = 0 };
}

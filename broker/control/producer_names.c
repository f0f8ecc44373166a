/* Producer names: the table of names that control remembers. */
#include <stdlib.h>
#include <string.h>

#include "broker/control/producer_names.h"

enum { FIRST_ROOM = 64 };

/* The index of the first name that is not less than `name`. */
static uint32_t place_of(const struct producer_names *names, const char *name)
{
    uint32_t from = 0, to = names->count;
    while (from < to) {
        const uint32_t middle = from + (to - from) / 2;
        if (strcmp(names->all[middle]->name, name) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

struct producer_name *producer_names_find(const struct producer_names *names, const char *name)
{
    const uint32_t at = place_of(names, name);
    return at < names->count && strcmp(names->all[at]->name, name) == 0 ? names->all[at] : NULL;
}

uint32_t producer_names_above(const struct producer_names *names, const char *name)
{
    const uint32_t at = place_of(names, name);
    return at + (at < names->count && strcmp(names->all[at]->name, name) == 0);
}

static bool make_room(struct producer_names *names)
{
    if (names->count < names->room)
        return true;
    const uint32_t room = names->room == 0 ? FIRST_ROOM : 2 * names->room;
    struct producer_name **all = realloc(names->all, room * sizeof(struct producer_name *));
    if (all == NULL)
        return false;
    names->all = all;
    names->room = room;
    return true;
}

enum leat_error producer_names_add(struct producer_names *names, const char *name,
                                   struct share_maker *maker, struct producer_name **out)
{
    struct producer_name *entry = calloc(1, sizeof *entry);
    if (entry == NULL || !make_room(names)) {
        free(entry);
        return LEAT_ERR_NO_MEMORY;
    }
    const uint32_t at = place_of(names, name);
    memmove(&names->all[at + 1], &names->all[at],
            (names->count - at) * sizeof(struct producer_name *));
    names->all[at] = entry;
    names->count++;
    names->hand += names->hand > at;
    strcpy(entry->name, name);
    entry->maker = maker;
    TAILQ_INSERT_TAIL(&maker->names, entry, of_maker);
    TAILQ_INSERT_TAIL(&maker->address->names, entry, of_address);
    *out = entry;
    return LEAT_OK;
}

static void forget(struct producer_name *name)
{
    if (name->session != 0)
        LIST_REMOVE(name, stream_node);
    TAILQ_REMOVE(&name->maker->names, name, of_maker);
    TAILQ_REMOVE(&name->maker->address->names, name, of_address);
    free(name);
}

void producer_names_remove(struct producer_names *names, struct producer_name *name)
{
    const uint32_t at = place_of(names, name->name);
    names->count--;
    memmove(&names->all[at], &names->all[at + 1],
            (names->count - at) * sizeof(struct producer_name *));
    names->hand -= names->hand > at;
    forget(name);
}

/* Moves the rest of the table only once, however many names are removed. */
void producer_names_walk(struct producer_names *names, uint32_t count,
                         bool (*goes)(void *user, struct producer_name *name),
                         void (*gone)(void *user, struct share_maker *maker), void *user)
{
    const uint32_t from = names->hand < names->count ? names->hand : 0;
    const uint32_t to = names->count - from < count ? names->count : from + count;
    uint32_t kept = from;
    for (uint32_t i = from; i < to; i++) {
        struct producer_name *name = names->all[i];
        if (!goes(user, name)) {
            names->all[kept++] = name;
            continue;
        }
        struct share_maker *maker = name->maker;
        forget(name);
        gone(user, maker);
    }
    if (kept != to)
        memmove(&names->all[kept], &names->all[to],
                (names->count - to) * sizeof(struct producer_name *));
    names->count -= to - kept;
    names->hand = kept;
}

/* ---- by stream */

static uint32_t bucket_of(uint32_t session, uint32_t stream)
{
    const uint64_t mixed =
        ((uint64_t)session << 32 | stream) * UINT64_C(0x9E3779B97F4A7C15); /* Fibonacci hashing */
    return (uint32_t)(mixed >> 32) & (PRODUCER_NAMES_STREAM_BUCKETS - 1);
}

void producer_names_bind(struct producer_names *names, struct producer_name *name, uint32_t session,
                         uint32_t stream)
{
    if (name->session != 0)
        LIST_REMOVE(name, stream_node);
    name->session = session;
    name->stream = stream;
    if (session != 0)
        LIST_INSERT_HEAD(&names->streams[bucket_of(session, stream)], name, stream_node);
}

struct producer_name *producer_names_find_stream(const struct producer_names *names,
                                                 uint32_t session, uint32_t stream)
{
    struct producer_name *name;
    LIST_FOREACH(name, &names->streams[bucket_of(session, stream)], stream_node)
    {
        if (name->session == session && name->stream == stream)
            return name;
    }
    return NULL;
}

void producer_names_used(struct producer_name *name)
{
    struct share_maker *maker = name->maker;
    TAILQ_REMOVE(&maker->names, name, of_maker);
    TAILQ_INSERT_TAIL(&maker->names, name, of_maker);
    TAILQ_REMOVE(&maker->address->names, name, of_address);
    TAILQ_INSERT_TAIL(&maker->address->names, name, of_address);
}

void producer_names_free(struct producer_names *names)
{
    for (uint32_t i = 0; i < names->count; i++)
        free(names->all[i]);
    free(names->all);
    *names = (struct producer_names){ .count = 0 };
}

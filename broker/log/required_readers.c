/* Required readers: the readers that producers wait for when overrun is block. Each has a mark: it
 * has consumed everything below. */
#include "broker/log/required_readers.h"

#include <assert.h>
#include <stddef.h>

/* A handle is generation | slot. It is never negative. */
enum { SLOT_BITS = 4, GENERATIONS = 1 << 24 };
static_assert(REQUIRED_READERS_MAX == 1 << SLOT_BITS, "a slot's number fits");

static int handle_of(const struct required_readers *r, int slot)
{
    return (int)(r->marks[slot].generation << SLOT_BITS) | slot;
}

/* NULL: the mark was lost. */
static struct required_mark *mark_of(struct required_readers *r, int handle)
{
    struct required_mark *mark = &r->marks[handle & (REQUIRED_READERS_MAX - 1)];
    return mark->used && mark->generation == (uint32_t)handle >> SLOT_BITS ? mark : NULL;
}

static void drop(struct required_readers *r, struct required_mark *mark)
{
    mark->used = false;
    mark->generation = (mark->generation + 1) % GENERATIONS;
    r->count--;
}

static void move(struct required_mark *mark, uint64_t position)
{
    if (position <= mark->position)
        return;
    mark->position = position;
    mark->holds = false;
}

static int find(const struct required_readers *r, uint64_t name_hash)
{
    for (int i = 0; i < REQUIRED_READERS_MAX; i++)
        if (r->marks[i].used && r->marks[i].name_hash == name_hash)
            return i;
    return -1;
}

/* The mark of `connection` that was unbound longest ago; -1: none is unbound. */
static int find_longest_away(const struct required_readers *r, uint32_t connection)
{
    int found = -1;
    for (int i = 0; i < REQUIRED_READERS_MAX; i++) {
        const struct required_mark *mark = &r->marks[i];
        if (mark->used && mark->bound == 0 && mark->maker.connection == connection
            && (found < 0 || mark->away_since < r->marks[found].away_since))
            found = i;
    }
    return found;
}

/* Says whether the maker may have one more mark. *give_up: its own mark that has to be dropped for
 * it; -1: none. */
static int check_share(const struct required_readers *r, struct maker maker, int *give_up)
{
    int of_connection = 0, of_address = 0;
    *give_up = -1;
    for (int i = 0; i < REQUIRED_READERS_MAX; i++) {
        const struct required_mark *mark = &r->marks[i];
        of_connection += mark->used && mark->maker.connection == maker.connection;
        of_address += mark->used && mark->maker.address == maker.address;
    }
    const bool connection_full =
        maker.connection != 0 && of_connection >= REQUIRED_READERS_OF_CONNECTION_MAX;
    const bool address_full = maker.address != 0 && of_address >= REQUIRED_READERS_OF_ADDRESS_MAX;
    if (!connection_full && !address_full)
        return r->count < REQUIRED_READERS_MAX ? 0 : REQUIRED_READERS_FULL;
    *give_up = find_longest_away(r, maker.connection);
    if (*give_up >= 0)
        return 0;
    return connection_full ? REQUIRED_READERS_OF_CONNECTION : REQUIRED_READERS_OF_ADDRESS;
}

static int make(struct required_readers *r, uint64_t name_hash, uint64_t position,
                struct maker maker)
{
    int slot = 0;
    while (r->marks[slot].used)
        slot++;
    r->marks[slot] = (struct required_mark){ .used = true,
                                             .bound = 1,
                                             .generation = r->marks[slot].generation,
                                             .maker = maker,
                                             .name_hash = name_hash,
                                             .position = position };
    r->count++;
    return handle_of(r, slot);
}

int required_readers_attach(struct required_readers *r, uint64_t name_hash, uint64_t position,
                            struct maker maker, uint64_t *given_up)
{
    int give_up;
    const int slot = find(r, name_hash);
    *given_up = 0;
    if (slot >= 0) {
        r->marks[slot].bound++;
        r->marks[slot].maker = maker;
        move(&r->marks[slot], position);
        return handle_of(r, slot);
    }
    const int refusal = check_share(r, maker, &give_up);
    if (refusal < 0)
        return refusal;
    if (give_up >= 0) {
        *given_up = r->marks[give_up].name_hash;
        drop(r, &r->marks[give_up]);
    }
    return make(r, name_hash, position, maker);
}

void required_readers_advance(struct required_readers *r, int handle, uint64_t position)
{
    struct required_mark *mark = mark_of(r, handle);
    if (mark != NULL)
        move(mark, position);
}

void required_readers_detach(struct required_readers *r, int handle, leat_ns now)
{
    struct required_mark *mark = mark_of(r, handle);
    if (mark == NULL)
        return;
    assert(mark->bound != 0);
    if (--mark->bound == 0)
        mark->away_since = now;
}

uint64_t required_readers_lowest(const struct required_readers *r)
{
    uint64_t lowest = UINT64_MAX;
    for (int i = 0; r->count != 0 && i < REQUIRED_READERS_MAX; i++)
        if (r->marks[i].used && r->marks[i].position < lowest)
            lowest = r->marks[i].position;
    return lowest;
}

uint64_t required_readers_lowest_name(const struct required_readers *r)
{
    const uint64_t lowest = required_readers_lowest(r);
    uint64_t name_hash = 0;
    for (int i = 0; i < REQUIRED_READERS_MAX; i++)
        if (r->marks[i].used && r->marks[i].position == lowest)
            name_hash = r->marks[i].name_hash;
    return name_hash;
}

void required_readers_hold(struct required_readers *r, uint64_t needed, leat_ns now)
{
    for (int i = 0; i < REQUIRED_READERS_MAX; i++) {
        struct required_mark *mark = &r->marks[i];
        if (!mark->used || mark->position >= needed)
            continue;
        if (!mark->holds || now - mark->held_last >= REQUIRED_READERS_PAUSE_NS)
            mark->held_since = now;
        mark->holds = true;
        mark->held_last = now;
    }
}

unsigned required_readers_expire(struct required_readers *r, leat_ns now, leat_ns timeout_ns,
                                 struct required_lost lost[REQUIRED_READERS_MAX])
{
    unsigned count = 0;
    for (int i = 0; r->count != 0 && i < REQUIRED_READERS_MAX; i++) {
        struct required_mark *mark = &r->marks[i];
        const bool away = mark->bound == 0 && now - mark->away_since >= timeout_ns;
        /* Up to the last time a producer waited, not up to now: none may be waiting any more. */
        const bool stuck = mark->holds && mark->held_last - mark->held_since >= timeout_ns;
        if (!mark->used || (!away && !stuck))
            continue;
        lost[count++] = (struct required_lost){ .name_hash = mark->name_hash,
                                                .handle = handle_of(r, i),
                                                .stuck = !away };
        drop(r, mark);
    }
    return count;
}

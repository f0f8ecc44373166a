#include "broker/log/required.h"

#include <assert.h>

int required_attach(struct required *r, uint64_t name_hash, uint64_t position)
{
    int free_slot = -1;
    for (int i = 0; i < REQUIRED_MAX; i++) {
        struct required_mark *mark = &r->marks[i];
        if (mark->used && mark->name_hash == name_hash) {
            mark->bound++;
            required_advance(r, i, position);
            return i;
        }
        if (!mark->used && free_slot < 0)
            free_slot = i;
    }
    if (free_slot >= 0) {
        r->marks[free_slot] = (struct required_mark){
            .used = true, .bound = 1, .name_hash = name_hash, .position = position
        };
        r->count++;
    }
    return free_slot;
}

void required_advance(struct required *r, int slot, uint64_t position)
{
    struct required_mark *mark = &r->marks[slot];
    if (position > mark->position)
        mark->position = position;
}

void required_detach(struct required *r, int slot, leat_ns now)
{
    struct required_mark *mark = &r->marks[slot];
    assert(mark->used && mark->bound != 0);
    if (--mark->bound == 0)
        mark->away_since = now;
}

uint64_t required_lowest(const struct required *r)
{
    uint64_t lowest = UINT64_MAX;
    for (int i = 0; r->count != 0 && i < REQUIRED_MAX; i++) {
        if (r->marks[i].used && r->marks[i].position < lowest)
            lowest = r->marks[i].position;
    }
    return lowest;
}

uint64_t required_lowest_name(const struct required *r)
{
    const uint64_t lowest = required_lowest(r);
    uint64_t name_hash = 0;
    for (int i = 0; i < REQUIRED_MAX; i++) {
        if (r->marks[i].used && r->marks[i].position == lowest)
            name_hash = r->marks[i].name_hash;
    }
    return name_hash;
}

unsigned required_expire(struct required *r, leat_ns now, leat_ns timeout_ns)
{
    unsigned dropped = 0;
    for (int i = 0; r->count != 0 && i < REQUIRED_MAX; i++) {
        struct required_mark *mark = &r->marks[i];
        if (mark->used && mark->bound == 0 && now - mark->away_since >= timeout_ns) {
            mark->used = false;
            r->count--;
            dropped++;
        }
    }
    return dropped;
}

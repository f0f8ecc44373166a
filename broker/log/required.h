/* Required readers: those that producers wait for under `block`, each with a mark: everything below
 * it is consumed.
 *
 * Role: the marks of one partition, by the readers' names; who is away too long loses his.
 * Must not know: rings, sessions, clocks.
 * Threads: the owning shard. */
#ifndef LEAT_BROKER_REQUIRED_H
#define LEAT_BROKER_REQUIRED_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/units.h"

enum { REQUIRED_MAX = 16 };

struct required {
    uint32_t count; /* marks that hold */
    struct required_mark {
        bool used;
        uint32_t bound; /* subscriptions of this name now; a new one may come before the old ends */
        uint64_t name_hash;
        uint64_t position;
        leat_ns away_since; /* when bound became 0 */
    } marks[REQUIRED_MAX];
};

/* Registers the reader `name_hash` at `position`, or takes over the mark that an earlier
 * subscription of that name left behind, never moving it back. Returns its slot; -1: all are taken.
 */
int required_attach(struct required *r, uint64_t name_hash, uint64_t position);
/* It consumed everything below `position`. */
void required_advance(struct required *r, int slot, uint64_t position);
/* Its subscription ended: the mark holds for the timeout from `now`. */
void required_detach(struct required *r, int slot, leat_ns now);
/* The lowest mark; UINT64_MAX when there is none. */
uint64_t required_lowest(const struct required *r);
/* The name of the reader that has it; some mark holds. */
uint64_t required_lowest_name(const struct required *r);
/* Drops marks whose readers were away for `timeout_ns`. Returns how many. */
unsigned required_expire(struct required *r, leat_ns now, leat_ns timeout_ns);

#endif

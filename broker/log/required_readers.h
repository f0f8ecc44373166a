/* Required readers: those that producers wait for under `block`, each with a mark: everything below
 * it is consumed.
 *
 * Role: the marks of one partition, by the readers' names. A reader that is away too long loses its
 * mark, and so does one whose mark did not move for so long while producers waited for it.
 * Must not know: rings, sessions, clocks.
 * Threads: the owning shard. */
#ifndef LEAT_BROKER_LOG_REQUIRED_READERS_H
#define LEAT_BROKER_LOG_REQUIRED_READERS_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/log/maker.h"
#include "schema/units.h"

enum {
    REQUIRED_READERS_MAX = 16,
    REQUIRED_READERS_OF_CONNECTION_MAX = REQUIRED_READERS_MAX / SHARE_OF_CONNECTION,
    REQUIRED_READERS_OF_ADDRESS_MAX = REQUIRED_READERS_MAX / SHARE_OF_ADDRESS,
};
/* Producers that wait try again all the time. When none did for so long, none waits. */
#define REQUIRED_READERS_PAUSE_NS (5 * LEAT_NS_PER_S)

struct required_readers {
    uint32_t count; /* marks that hold */
    struct required_mark {
        bool used;
        bool holds;     /* producers wait for it: since held_since, and did last at held_last */
        uint32_t bound; /* subscriptions of this name now; a new one may come before the old ends */
        uint32_t generation; /* of the slot: an older handle is of a mark that was lost */
        struct maker maker;
        uint64_t name_hash;
        uint64_t position;
        leat_ns away_since; /* when bound became 0 */
        leat_ns held_since, held_last;
    } marks[REQUIRED_READERS_MAX];
};

/* What required_readers_attach says instead of a handle. */
enum required_refusal {
    REQUIRED_READERS_FULL = -1,
    REQUIRED_READERS_OF_CONNECTION =
        -2, /* it has REQUIRED_READERS_OF_CONNECTION_MAX, all of them bound */
    REQUIRED_READERS_OF_ADDRESS = -3, /* it has REQUIRED_READERS_OF_ADDRESS_MAX */
};

/* Registers the reader `name_hash` at `position`, or takes over the mark that an earlier
 * subscription of that name left behind, never moving it back. A connection that has its share
 * gives up the mark that it left longest ago: *given_up has its name; else 0. Returns the mark's
 * handle, or a required_refusal. */
int required_readers_attach(struct required_readers *r, uint64_t name_hash, uint64_t position,
                            struct maker maker, uint64_t *given_up);
/* It consumed everything below `position`. Nothing, when it has lost its mark. */
void required_readers_advance(struct required_readers *r, int handle, uint64_t position);
/* Its subscription ended: the mark holds for the timeout from `now`. */
void required_readers_detach(struct required_readers *r, int handle, leat_ns now);
/* The lowest mark; UINT64_MAX when there is none. */
uint64_t required_readers_lowest(const struct required_readers *r);
/* The name of the reader that has it; some mark holds. */
uint64_t required_readers_lowest_name(const struct required_readers *r);
/* A producer waits for every mark below `needed`. */
void required_readers_hold(struct required_readers *r, uint64_t needed, leat_ns now);
struct required_lost {
    uint64_t name_hash;
    int handle; /* as it was */
    bool stuck; /* else: away */
};
/* Takes the marks from readers that were away for `timeout_ns`, and from those whose mark stayed
 * where it was while producers waited for so long. Returns how many; `lost`: which. */
unsigned required_readers_expire(struct required_readers *r, leat_ns now, leat_ns timeout_ns,
                                 struct required_lost lost[REQUIRED_READERS_MAX]);

#endif

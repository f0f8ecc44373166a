/* Required readers: the readers that producers wait for when overrun is block. Each has a mark: it
 * has consumed everything below.
 *
 * Role: the marks of one partition, by the names of the readers. A reader loses its mark when it is
 * away for too long, or when the mark does not move for that long while producers wait for it.
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
/* Waiting producers keep trying. When none has tried for so long, none is waiting. */
#define REQUIRED_READERS_PAUSE_NS (5 * LEAT_NS_PER_S)

struct required_readers {
    uint32_t count; /* marks in use */
    struct required_mark {
        bool used;
        bool holds; /* producers have waited for it since held_since, last at held_last */
        /* Open subscriptions of this name: a new one may open before the old one ends. */
        uint32_t bound;
        uint32_t generation; /* of the slot: a handle of an older one names a mark that was lost */
        struct maker maker;
        uint64_t name_hash;
        uint64_t position;
        leat_ns away_since; /* when bound became 0 */
        leat_ns held_since, held_last;
    } marks[REQUIRED_READERS_MAX];
};

/* What required_readers_attach returns instead of a handle. */
enum required_refusal {
    REQUIRED_READERS_FULL = -1,
    /* The connection has REQUIRED_READERS_OF_CONNECTION_MAX, all of them bound. */
    REQUIRED_READERS_OF_CONNECTION = -2,
    /* The address has REQUIRED_READERS_OF_ADDRESS_MAX. */
    REQUIRED_READERS_OF_ADDRESS = -3,
};

/* Registers the reader `name_hash` at `position`, or takes over the mark that an earlier
 * subscription of that name left, which never moves back. When the client's share is used up, its
 * connection gives up the unbound mark that it left longest ago: *given_up is that reader's name;
 * else 0. Returns the mark's handle, or a required_refusal. */
int required_readers_attach(struct required_readers *r, uint64_t name_hash, uint64_t position,
                            struct maker maker, uint64_t *given_up);
/* The reader has consumed everything below `position`. A no-op when it has lost its mark. */
void required_readers_advance(struct required_readers *r, int handle, uint64_t position);
/* A subscription of the reader ended. After the last one the mark is kept for the timeout, from
 * `now`. */
void required_readers_detach(struct required_readers *r, int handle, leat_ns now);
/* The position of the lowest mark; UINT64_MAX: there is none. */
uint64_t required_readers_lowest(const struct required_readers *r);
/* The name of the reader with the lowest mark. There must be a mark. */
uint64_t required_readers_lowest_name(const struct required_readers *r);
/* A producer waits for every reader whose mark is below `needed`. */
void required_readers_hold(struct required_readers *r, uint64_t needed, leat_ns now);
struct required_lost {
    uint64_t name_hash;
    int handle; /* of the lost mark */
    bool stuck; /* it held producers back; false: it was away */
};
/* Drops the marks of readers that were away for `timeout_ns`, and of those whose mark did not move
 * while producers waited for that long. Returns how many, and sets `lost` to them. */
unsigned required_readers_expire(struct required_readers *r, leat_ns now, leat_ns timeout_ns,
                                 struct required_lost lost[REQUIRED_READERS_MAX]);

#endif

/* Reset limit: limits the RESETs that a shard sends to senders it does not know: so many a second
 * in all, and so many to one address, so that a noisy address leaves some to the others.
 *
 * Addresses are counted in a table of fixed size by a keyed hash. Two addresses in one slot share
 * what one has, and no sender can choose whom it shares with. A sender that forges many addresses
 * can still use up the total: then a client that gets no RESET finds out by its timeout.
 *
 * Role: pure arithmetic over addresses and time.
 * Must not know: packets, sessions, clocks.
 * Threads: its shard's. */
#ifndef LEAT_BROKER_SHARD_RESET_LIMIT_H
#define LEAT_BROKER_SHARD_RESET_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/units.h"

enum {
    RESET_LIMIT_ALL = 100,    /* a second */
    RESET_LIMIT_ADDRESS = 10, /* of those, to one address */
    RESET_LIMIT_PLACES = 1024,
};

struct reset_limit {
    uint64_t key;
    leat_ns since; /* when the second began that is being counted */
    uint32_t all;
    uint8_t sent[RESET_LIMIT_PLACES];
};

/* `key`: a secret number. */
void reset_limit_init(struct reset_limit *limit, uint64_t key);
/* True: one RESET may be sent to the address now, and is counted. Ports do not count: one host has
 * them all. */
bool reset_limit_take(struct reset_limit *limit, const uint8_t address[16], leat_ns now);

#endif

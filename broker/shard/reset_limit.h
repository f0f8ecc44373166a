/* Reset limit: how many RESETs a shard sends to those it does not know, a second: so many in all,
 * and so many to one address, so that a noisy one leaves some to the others.
 *
 * Addresses are counted in a table of fixed size by a keyed hash: two that fall into one place
 * share what one has, and nobody can choose whom with. Who forges many addresses can still take all
 * there is: a client that is not answered finds out by waiting.
 *
 * Role: pure arithmetic over addresses and time. Must not know: packets, sessions, clocks.
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
    leat_ns since; /* counted since then */
    uint32_t all;
    uint8_t sent[RESET_LIMIT_PLACES];
};

/* `key`: any number that others do not know. */
void reset_limit_init(struct reset_limit *limit, uint64_t key);
/* True: one may go to the address now, and is counted. The port does not matter: one host has them
 * all. */
bool reset_limit_take(struct reset_limit *limit, const uint8_t address[16], leat_ns now);

#endif

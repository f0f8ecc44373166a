/* Maker: the client that made an entry of a bounded table, and how many entries one client may
 * have.
 *
 *      a control connection   at most an eighth of the table
 *      an address             at most half of what the other addresses have left of it
 *
 * So one client can never fill a table, and a client from another address still finds room.
 *
 * Role: the rule for shares, and its types.
 * Must not know: tables, who counts the entries.
 * Threads: any. */
#ifndef LEAT_BROKER_LOG_MAKER_H
#define LEAT_BROKER_LOG_MAKER_H

#include <stdint.h>

struct memory_budget;

enum {
    SHARE_OF_CONNECTION = 8, /* a connection's share is size / 8 */
    SHARE_OF_ADDRESS = 2,
    /* The least share, where the table has as many entries: a client may open an entry before the
     * one that it replaces has ended. */
    SHARE_MIN = 2,
};

/* The number of a control connection, and a number of its address that is the same when the address
 * comes back. 0: no client's; no share applies. */
struct maker {
    uint32_t connection;
    uint64_t address;
    struct memory_budget *memory; /* the address's; NULL: what is made is charged elsewhere */
};

#define MAKER_NOBODY (&(const struct maker){ 0 })

enum share_verdict { SHARE_OK, SHARE_FULL, SHARE_CONNECTION_FULL, SHARE_ADDRESS_FULL };

static inline uint32_t share_at_least(uint32_t share, uint32_t size)
{
    const uint32_t least = size < SHARE_MIN ? size : SHARE_MIN;
    return share < least ? least : share;
}

/* The shares of a table of `size` entries, of which other addresses hold `others`. */
static inline uint32_t share_of_connection(uint32_t size)
{
    return share_at_least(size / SHARE_OF_CONNECTION, size);
}
static inline uint32_t share_of_address(uint32_t size, uint32_t others)
{
    const uint32_t left = others < size ? size - others : 0;
    return share_at_least(left / SHARE_OF_ADDRESS, left);
}

#endif

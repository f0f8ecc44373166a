/* Maker: who made an entry of a bounded table, and how many of those one client may have.
 *
 *      a control connection   at most an eighth of a table
 *      an address             at most half of what the others have left of it
 *
 * So a table is never full of one client's things, and whoever comes from another address finds a
 * place.
 *
 * Role: the rule, and the words for it. Must not know: tables, who counts. Threads: any. */
#ifndef LEAT_BROKER_LOG_MAKER_H
#define LEAT_BROKER_LOG_MAKER_H

#include <stdint.h>

struct memory_budget;

enum {
    SHARE_OF_CONNECTION = 8, /* the part of a table */
    SHARE_OF_ADDRESS = 2,
    SHARE_MIN = 2, /* of a small table; one may be opened before the one it replaces has ended */
};

/* The number of a control connection, and one for its address that stays the same when the address
 * comes back; 0: nobody's, who has no share. */
struct maker {
    uint32_t connection;
    uint64_t address;
    struct memory_budget *memory; /* of the address; NULL: what is made is charged elsewhere */
};

#define MAKER_NOBODY (&(const struct maker){ 0 })

enum share_verdict { SHARE_OK, SHARE_FULL, SHARE_CONNECTION_FULL, SHARE_ADDRESS_FULL };

static inline uint32_t share_at_least(uint32_t share, uint32_t size)
{
    const uint32_t least = size < SHARE_MIN ? size : SHARE_MIN;
    return share < least ? least : share;
}

/* Of a table of `size` entries, of which others than the address have taken `others`. */
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

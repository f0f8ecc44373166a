/* Shares: how much of each table that clients fill one control connection and one address have
 * taken, and whether they may take more by the rule of maker.h (IPv6: a /64 is one address). What
 * was taken counts until it is given back, also when its connection has gone.
 *
 * Role: counting. Must not know: what the tables hold, connections' descriptors.
 * Bounds: a maker for each connection and for each entry of a table at most, an address for each
 * maker at most. Threads: control's. */
#ifndef LEAT_BROKER_CONTROL_SHARES_H
#define LEAT_BROKER_CONTROL_SHARES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "broker/log/maker.h"
#include "broker/log/memory_budget.h"
#include "schema/error.h"
#include "schema/limits.h"

enum share_table {
    SHARE_GROUPS,
    SHARE_GROUP_PARTITIONS,
    SHARE_MEMBERS,
    SHARE_NAMES, /* of producers */
    SHARE_CONNECTIONS,
    SHARE_SESSIONS, /* of shard 0; those of the others follow */
    SHARE_TABLES_MAX = SHARE_SESSIONS + LEAT_SHARDS_MAX,
};

enum { SHARE_ADDRESS_BYTES = 16 };

struct producer_name;
TAILQ_HEAD(share_names, producer_name);

struct share_address {
    LIST_ENTRY(share_address) node;
    uint8_t bytes[SHARE_ADDRESS_BYTES];
    uint64_t id;                  /* never 0; the same when the address comes back */
    struct memory_budget *memory; /* what all that clients of it make is charged to; held */
    LIST_HEAD(, share_maker) makers;
    struct share_names names; /* the caller's: by last use, oldest first */
    uint32_t taken[];
};

struct share_maker {
    LIST_ENTRY(share_maker) node;
    struct share_address *address;
    uint32_t number; /* never 0 */
    bool connected;
    uint64_t entries;         /* that it has taken, of all tables */
    struct share_names names; /* the caller's: by last use, oldest first */
    uint32_t taken[];
};

LIST_HEAD(share_bucket, share_address);

struct shares {
    uint32_t tables;
    uint32_t sizes[SHARE_TABLES_MAX], taken[SHARE_TABLES_MAX];
    uint32_t last_number;
    struct memory_budget *memory;
    struct share_bucket *buckets; /* of addresses */
};

/* `memory`: kept; each address has its part of it; NULL: no limit. LEAT_ERR_NO_MEMORY. */
enum leat_error shares_open(struct shares *shares, const uint32_t *sizes, uint32_t tables,
                            struct memory_budget *memory);
/* Frees the makers too whose entries were not given back. */
void shares_close(struct shares *shares);

/* A connection from `address`: an IPv6 address, or one of IPv4 mapped into it. NULL: no memory. */
struct share_maker *shares_enter(struct shares *shares, const uint8_t address[SHARE_ADDRESS_BYTES]);
/* What tells shards who it is. */
static inline struct maker shares_maker(const struct share_maker *maker)
{
    return (struct maker){ .connection = maker->number,
                           .address = maker->address->id,
                           .memory = maker->address->memory };
}
/* The connection ends. The maker is freed when nothing it took is left. */
void shares_leave(struct shares *shares, struct share_maker *maker);

/* Whether it may take so many more. NULL `maker`: nobody; only what there is counts. */
enum share_verdict shares_may_take(const struct shares *shares, const struct share_maker *maker,
                                   uint32_t table, uint32_t count);
/* What one connection, and the maker's address, may have of it. */
uint32_t shares_of_connection(const struct shares *shares, uint32_t table);
uint32_t shares_of_address(const struct shares *shares, const struct share_maker *maker,
                           uint32_t table);
/* Counts; NULL `maker`: nobody's. */
void shares_take(struct shares *shares, struct share_maker *maker, uint32_t table, uint32_t count);
/* May free the maker. */
void shares_give_back(struct shares *shares, struct share_maker *maker, uint32_t table,
                      uint32_t count);

#endif

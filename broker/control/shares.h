/* Shares: limits how much of control's tables one connection and one address may use.
 *
 * Role: counts the entries that each control connection (a maker) and each address (IPv6: each /64
 * prefix) uses, and applies the rule in maker.h. Entries count until they are given back, even if
 * their connection has closed.
 * Must not know: what the tables contain, sockets.
 * Bounds: at most one maker per connection and per table entry, and one address per maker.
 * Threads: control. */
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
    uint64_t id; /* never 0; the same if the address reconnects */
    struct memory_budget
        *memory; /* charged for everything that its clients create; a reference is held */
    LIST_HEAD(, share_maker) makers;
    struct share_names names; /* the caller's: least recently used first */
    uint32_t taken[];         /* entries in use, by table */
};

/* A control connection, or what a closed one has left in tables. */
struct share_maker {
    LIST_ENTRY(share_maker) node;
    struct share_address *address;
    uint32_t number; /* never 0 */
    bool connected;
    uint64_t entries;         /* that it uses, in all tables */
    struct share_names names; /* the caller's: least recently used first */
    uint32_t taken[];         /* entries in use, by table */
};

LIST_HEAD(share_bucket, share_address);

struct shares {
    uint32_t tables;
    uint32_t sizes[SHARE_TABLES_MAX], taken[SHARE_TABLES_MAX];
    uint32_t last_number;
    struct memory_budget *memory;
    struct share_bucket *buckets; /* of addresses */
};

/* `sizes`: the capacity of each of the `tables` tables. `memory`: borrowed; each address may use a
 * part of it; NULL: no limit. LEAT_ERR_NO_MEMORY. */
enum leat_error shares_open(struct shares *shares, const uint32_t *sizes, uint32_t tables,
                            struct memory_budget *memory);
/* Also frees makers whose entries were not given back. */
void shares_close(struct shares *shares);

/* A new connection from `address` (IPv6, or IPv4 mapped to IPv6). NULL: no memory. */
struct share_maker *shares_enter(struct shares *shares, const uint8_t address[SHARE_ADDRESS_BYTES]);
/* The maker in the form that shards use. */
static inline struct maker shares_maker(const struct share_maker *maker)
{
    return (struct maker){ .connection = maker->number,
                           .address = maker->address->id,
                           .memory = maker->address->memory };
}
/* The connection has closed. The maker is freed when all its entries have been given back. */
void shares_leave(struct share_maker *maker);

/* Whether the maker may use `count` more entries. NULL `maker`: checks only the capacity. */
enum share_verdict shares_may_take(const struct shares *shares, const struct share_maker *maker,
                                   uint32_t table, uint32_t count);
/* The number of entries that one connection, and the maker's address, may use. */
uint32_t shares_of_connection(const struct shares *shares, uint32_t table);
uint32_t shares_of_address(const struct shares *shares, const struct share_maker *maker,
                           uint32_t table);
/* Counts `count` entries as used. NULL `maker`: charged to nobody. */
void shares_take(struct shares *shares, struct share_maker *maker, uint32_t table, uint32_t count);
/* Counts `count` entries as free. May free the maker. */
void shares_give_back(struct shares *shares, struct share_maker *maker, uint32_t table,
                      uint32_t count);

#endif

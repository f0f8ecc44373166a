/* Shares: limits how much of control's tables one connection and one address may use. */
#include "broker/control/shares.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "schema/bytes.h"
#include "schema/crc32c.h"

enum {
    BUCKETS = 4096,
    PREFIX_BYTES = 8, /* of an IPv6 address: a site can use every address of its /64 */
};

enum leat_error shares_open(struct shares *shares, const uint32_t *sizes, uint32_t tables,
                            struct memory_budget *memory)
{
    assert(tables <= SHARE_TABLES_MAX);
    *shares = (struct shares){ .tables = tables, .memory = memory };
    memcpy(shares->sizes, sizes, tables * sizeof *sizes);
    shares->buckets = calloc(BUCKETS, sizeof *shares->buckets);
    return shares->buckets != NULL ? LEAT_OK : LEAT_ERR_NO_MEMORY;
}

static void free_address(struct share_address *address)
{
    struct share_maker *maker;
    while ((maker = LIST_FIRST(&address->makers)) != NULL) {
        LIST_REMOVE(maker, node);
        free(maker);
    }
    LIST_REMOVE(address, node);
    memory_part_release(address->memory);
    free(address);
}

void shares_close(struct shares *shares)
{
    for (uint32_t i = 0; shares->buckets != NULL && i < BUCKETS; i++) {
        /* False positive: the analyzer does not see that free_address unlinks the entry. */
        while (!LIST_EMPTY(&shares->buckets[i]))
            free_address(LIST_FIRST(&shares->buckets[i])); // NOLINT(clang-analyzer-unix.Malloc)
    }
    free(shares->buckets);
    shares->buckets = NULL;
}

/* ---- addresses and makers */

static uint32_t next_number(struct shares *shares)
{
    shares->last_number = shares->last_number == UINT32_MAX ? 1 : shares->last_number + 1;
    return shares->last_number;
}

static void take_prefix(uint8_t out[SHARE_ADDRESS_BYTES],
                        const uint8_t address[SHARE_ADDRESS_BYTES])
{
    static const uint8_t mapped[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF };
    memcpy(out, address, SHARE_ADDRESS_BYTES);
    if (memcmp(address, mapped, sizeof mapped) != 0)
        memset(out + PREFIX_BYTES, 0, SHARE_ADDRESS_BYTES - PREFIX_BYTES);
}

/* An IPv4 address is in the second half, the prefix of an IPv6 address in the first. */
static uint64_t id_of(const uint8_t bytes[SHARE_ADDRESS_BYTES])
{
    const uint64_t id = leat_load64(bytes) ^ leat_load64(bytes + PREFIX_BYTES);
    return id != 0 ? id : 1;
}

/* An address without makers is kept as long as memory is charged to it, so that the charge still
 * counts when it reconnects. */
static bool is_used(const struct share_address *address)
{
    return !LIST_EMPTY(&address->makers) || memory_part_is_shared(address->memory);
}

static struct share_address *new_address(const struct shares *shares,
                                         const uint8_t bytes[SHARE_ADDRESS_BYTES])
{
    struct share_address *address =
        calloc(1, sizeof *address + shares->tables * sizeof address->taken[0]);
    if (address == NULL)
        return NULL;
    address->memory = memory_part_open(shares->memory, SHARE_OF_ADDRESS);
    if (address->memory == NULL && shares->memory != NULL) {
        free(address);
        return NULL;
    }
    memcpy(address->bytes, bytes, SHARE_ADDRESS_BYTES);
    address->id = id_of(bytes);
    TAILQ_INIT(&address->names);
    LIST_INIT(&address->makers);
    return address;
}

static struct share_address *have_address(struct shares *shares,
                                          const uint8_t address_bytes[SHARE_ADDRESS_BYTES])
{
    uint8_t bytes[SHARE_ADDRESS_BYTES];
    struct share_address *found = NULL, *address, *next;
    take_prefix(bytes, address_bytes);
    struct share_bucket *bucket =
        &shares->buckets[leat_crc32c(bytes, sizeof bytes) & (BUCKETS - 1)];
    for (address = LIST_FIRST(bucket); address != NULL; address = next) {
        next = LIST_NEXT(address, node);
        if (memcmp(address->bytes, bytes, sizeof bytes) == 0)
            found = address;
        else if (!is_used(address))
            free_address(address);
    }
    if (found != NULL)
        return found;
    found = new_address(shares, bytes);
    if (found != NULL)
        LIST_INSERT_HEAD(bucket, found, node);
    return found;
}

static void free_when_unused(struct share_maker *maker)
{
    struct share_address *address = maker->address;
    if (maker->connected || maker->entries != 0)
        return;
    LIST_REMOVE(maker, node);
    free(maker);
    if (!is_used(address))
        free_address(address);
}

struct share_maker *shares_enter(struct shares *shares, const uint8_t address[SHARE_ADDRESS_BYTES])
{
    struct share_maker *maker = calloc(1, sizeof *maker + shares->tables * sizeof maker->taken[0]);
    if (maker == NULL)
        return NULL;
    maker->address = have_address(shares, address);
    if (maker->address == NULL) {
        free(maker);
        return NULL;
    }
    LIST_INSERT_HEAD(&maker->address->makers, maker, node);
    maker->number = next_number(shares);
    maker->connected = true;
    TAILQ_INIT(&maker->names);
    return maker;
}

void shares_leave(struct share_maker *maker)
{
    assert(maker->connected);
    maker->connected = false;
    free_when_unused(maker);
}

/* ---- counting */

uint32_t shares_of_connection(const struct shares *shares, uint32_t table)
{
    return share_of_connection(shares->sizes[table]);
}

uint32_t shares_of_address(const struct shares *shares, const struct share_maker *maker,
                           uint32_t table)
{
    return share_of_address(shares->sizes[table],
                            shares->taken[table] - maker->address->taken[table]);
}

enum share_verdict shares_may_take(const struct shares *shares, const struct share_maker *maker,
                                   uint32_t table, uint32_t count)
{
    assert(table < shares->tables);
    if (maker != NULL) {
        const uint32_t connection = shares_of_connection(shares, table);
        const uint32_t address = shares_of_address(shares, maker, table);
        if (count > connection || maker->taken[table] > connection - count)
            return SHARE_CONNECTION_FULL;
        if (count > address || maker->address->taken[table] > address - count)
            return SHARE_ADDRESS_FULL;
    }
    return count > shares->sizes[table] || shares->taken[table] > shares->sizes[table] - count
               ? SHARE_FULL
               : SHARE_OK;
}

void shares_take(struct shares *shares, struct share_maker *maker, uint32_t table, uint32_t count)
{
    shares->taken[table] += count;
    if (maker == NULL)
        return;
    maker->taken[table] += count;
    maker->entries += count;
    maker->address->taken[table] += count;
}

void shares_give_back(struct shares *shares, struct share_maker *maker, uint32_t table,
                      uint32_t count)
{
    assert(shares->taken[table] >= count);
    shares->taken[table] -= count;
    if (maker == NULL)
        return;
    assert(maker->taken[table] >= count && maker->entries >= count);
    maker->taken[table] -= count;
    maker->entries -= count;
    maker->address->taken[table] -= count;
    free_when_unused(maker);
}

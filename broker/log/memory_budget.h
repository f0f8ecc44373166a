/* Memory budget: what clients can make the broker hold beside the logs, counted against one limit.
 *
 * Role: charge and give back bytes. An account holds one client's connection to its part of the
 * budget, and a part is what all clients of one address, or all that is kept for groups, may have
 * of it, so that nobody takes it all. Must not know: what the memory is for, who is refused,
 * allocators' overhead.
 *
 * Whoever is refused holds nothing more than before and answers its client before any effect.
 *
 * Threads: a budget is for any thread; an account belongs to its owner's. */
#ifndef LEAT_BROKER_LOG_MEMORY_BUDGET_H
#define LEAT_BROKER_LOG_MEMORY_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/units.h"

/* The least limit: see tests/test_bounds.c. */
#define MEMORY_BUDGET_BYTES_MIN (UINT64_C(16) * LEAT_MIB)

struct memory_budget {
    uint64_t limit_bytes; /* 0: none */
    _Atomic uint64_t used_bytes;
    _Atomic uint64_t refused; /* times there was not enough left, or the system had none */
    /* Of a part: */
    struct memory_budget *whole; /* everything is charged to that too; NULL: it is no part */
    uint32_t fraction;           /* it may have 1 / fraction of the whole's limit */
    _Atomic uint32_t holders;
};

enum { MEMORY_OF_GROUPS = 4 }; /* the part for what is kept for groups */

/* A part of `whole`, held once. NULL: no memory, or `whole` is NULL. */
struct memory_budget *memory_part_open(struct memory_budget *whole, uint32_t fraction);
/* Any thread that has been handed it; the last to let go frees it, and has given back all. A budget
 * that is no part, and NULL, are nobody's to hold. */
void memory_part_hold(struct memory_budget *part);
void memory_part_release(struct memory_budget *part);
/* Whether others than the caller hold it. */
bool memory_part_is_shared(const struct memory_budget *part);
/* Its limit; 0: none. */
uint64_t memory_budget_limit(const struct memory_budget *budget);

/* False: over the limit, nothing is charged. `budget` may be NULL: no limit. */
bool memory_budget_take(struct memory_budget *budget, uint64_t bytes);
void memory_budget_give(struct memory_budget *budget, uint64_t bytes);

/* Zeroed memory that is charged; NULL: over the limit, or the allocator has none. */
void *memory_budget_calloc(struct memory_budget *budget, size_t size);
/* `size`: as it was asked for. NULL `memory` is a no-op. */
void memory_budget_free(struct memory_budget *budget, void *memory, size_t size);

struct memory_account {
    struct memory_budget *budget; /* NULL: no limit */
    uint64_t used_bytes;
};

/* What one account may hold of `budget`: a quarter, or of a small one a half, up to 8 MiB;
 * UINT64_MAX: no limit. */
uint64_t memory_account_most(const struct memory_budget *budget);
/* As for a budget; false also when the account would hold more than its part. */
bool memory_account_take(struct memory_account *account, uint64_t bytes);
/* The same, for who can make room and try again: a refusal is not counted until the last. */
bool memory_account_try(struct memory_account *account, uint64_t bytes);
void memory_account_refuse(struct memory_account *account);
/* Whether `bytes` more are within the account's part. */
bool memory_account_fits(const struct memory_account *account, uint64_t bytes);
void memory_account_give(struct memory_account *account, uint64_t bytes);

/* Zeroed memory that is charged to the account; NULL: it may not have so much, or the system has
 * none. Given back by free and memory_account_give. */
void *memory_account_calloc(struct memory_account *account, size_t size);
/* The same for memory of `had` bytes that grows to `size`: what is new is zeroed. */
void *memory_account_realloc(struct memory_account *account, void *memory, size_t had, size_t size);

#endif

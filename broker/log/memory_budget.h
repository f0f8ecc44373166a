/* Memory budget: one limit for all memory, the logs apart, that clients make the broker allocate.
 *
 * Role: charge bytes and release them. An account limits one client connection to its share of the
 * budget. A part limits all clients of one address, or everything that is kept for groups, to a
 * fraction of the budget. So no client can use up the budget.
 * Must not know: what the memory is for, who is refused, the allocator's overhead.
 *
 * A caller that is refused holds no more memory than before, and refuses its client's request
 * before the request has any effect.
 *
 * Threads: a budget may be used by any thread; an account only by its owner's. */
#ifndef LEAT_BROKER_LOG_MEMORY_BUDGET_H
#define LEAT_BROKER_LOG_MEMORY_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/units.h"

/* The smallest limit that may be configured, in bytes; test_bounds.c shows that it is enough. */
#define MEMORY_BUDGET_BYTES_MIN (UINT64_C(16) * LEAT_MIB)

struct memory_budget {
    uint64_t limit_bytes; /* 0: no limit */
    _Atomic uint64_t used_bytes;
    _Atomic uint64_t refused; /* requests refused: over the limit, or the allocator failed */
    /* Only of a part: */
    struct memory_budget *whole; /* everything is charged to this budget too; NULL: not a part */
    uint32_t fraction;           /* its limit is the limit of `whole` / fraction */
    _Atomic uint32_t holders;    /* references */
};

enum { MEMORY_OF_GROUPS = 4 }; /* groups may use a quarter of the budget */

/* Opens a part of `whole`, with one reference, which is the caller's. NULL: no memory, or `whole`
 * is NULL. */
struct memory_budget *memory_part_open(struct memory_budget *whole, uint32_t fraction);
/* Takes and releases a reference. Any thread that was handed the part may call them. The last
 * release frees the part; all that was charged to it must have been released. No-ops for NULL and
 * for a budget that is not a part. */
void memory_part_hold(struct memory_budget *part);
void memory_part_release(struct memory_budget *part);
/* True when there are references other than the caller's. */
bool memory_part_is_shared(const struct memory_budget *part);
/* The limit in bytes; 0: no limit. */
uint64_t memory_budget_limit(const struct memory_budget *budget);

/* Charges `bytes`. False: over the limit; nothing is charged. `budget` NULL: no limit. */
bool memory_budget_take(struct memory_budget *budget, uint64_t bytes);
void memory_budget_give(struct memory_budget *budget, uint64_t bytes);

/* Allocates zeroed memory and charges it. NULL: over the limit, or the allocator failed. */
void *memory_budget_calloc(struct memory_budget *budget, size_t size);
/* Frees it and releases `size` bytes, the size it was allocated with. `memory` NULL: a no-op. */
void memory_budget_free(struct memory_budget *budget, void *memory, size_t size);

struct memory_account {
    struct memory_budget *budget; /* NULL: no limit */
    uint64_t used_bytes;
};

/* The most bytes that one account may hold of `budget`: a quarter; of a small budget a half, but at
 * most 8 MiB, if that is more. UINT64_MAX: no limit. */
uint64_t memory_account_most(const struct memory_budget *budget);
/* Like memory_budget_take. False also when the account would exceed its share. */
bool memory_account_take(struct memory_account *account, uint64_t bytes);
/* Like memory_account_take, for a caller that can free memory and try again: it does not count a
 * refusal. The caller counts its last one with memory_account_refuse. */
bool memory_account_try(struct memory_account *account, uint64_t bytes);
void memory_account_refuse(struct memory_account *account);
/* True when `bytes` more are within the account's share. */
bool memory_account_fits(const struct memory_account *account, uint64_t bytes);
void memory_account_give(struct memory_account *account, uint64_t bytes);

/* Allocates zeroed memory and charges it to the account. NULL: over the account's share or the
 * limit, or the allocator failed. Freed by free() and memory_account_give. */
void *memory_account_calloc(struct memory_account *account, size_t size);
/* Grows `memory` from `had` to `size` bytes; the new bytes are zeroed. NULL: as above; `memory` is
 * unchanged. */
void *memory_account_realloc(struct memory_account *account, void *memory, size_t had, size_t size);

#endif

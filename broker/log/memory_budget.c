/* Memory budget: one limit for all memory, the logs apart, that clients make the broker
 * allocate. */
#include "broker/log/memory_budget.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNT_ENOUGH (UINT64_C(8) * LEAT_MIB) /* see memory_account_most */

/* Relaxed, except for `holders`: the counters order nothing else. */

struct memory_budget *memory_part_open(struct memory_budget *whole, uint32_t fraction)
{
    struct memory_budget *part = whole != NULL ? calloc(1, sizeof *part) : NULL;
    if (part == NULL)
        return NULL;
    part->whole = whole;
    part->fraction = fraction;
    part->holders = 1;
    return part;
}

void memory_part_hold(struct memory_budget *part)
{
    if (part != NULL && part->whole != NULL)
        atomic_fetch_add_explicit(&part->holders, 1, memory_order_relaxed);
}

void memory_part_release(struct memory_budget *part)
{
    /* The last release must come after everything that the other holders did. */
    if (part == NULL || part->whole == NULL
        || atomic_fetch_sub_explicit(&part->holders, 1, memory_order_acq_rel) != 1)
        return;
    assert(part->used_bytes == 0);
    free(part);
}

bool memory_part_is_shared(const struct memory_budget *part)
{
    return part != NULL && atomic_load_explicit(&part->holders, memory_order_acquire) > 1;
}

uint64_t memory_budget_limit(const struct memory_budget *budget)
{
    return budget->whole != NULL ? budget->whole->limit_bytes / budget->fraction
                                 : budget->limit_bytes;
}

static void refuse(struct memory_budget *budget)
{
    if (budget == NULL)
        return;
    if (budget->whole != NULL)
        budget = budget->whole;
    atomic_fetch_add_explicit(&budget->refused, 1, memory_order_relaxed);
}

static void give(struct memory_budget *budget, uint64_t bytes)
{
    const uint64_t before =
        atomic_fetch_sub_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
    assert(before >= bytes);
    (void)before;
}

static bool charge(struct memory_budget *budget, uint64_t bytes)
{
    const uint64_t limit = memory_budget_limit(budget);
    uint64_t used = atomic_load_explicit(&budget->used_bytes, memory_order_relaxed);
    do {
        if (limit != 0 && (used > limit || bytes > limit - used))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&budget->used_bytes, &used, used + bytes,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

static bool try(struct memory_budget *budget, uint64_t bytes)
{
    if (budget == NULL)
        return true;
    if (!charge(budget, bytes))
        return false;
    if (budget->whole == NULL || charge(budget->whole, bytes))
        return true;
    give(budget, bytes);
    return false;
}

bool memory_budget_take(struct memory_budget *budget, uint64_t bytes)
{
    const bool taken = try(budget, bytes);
    if (!taken)
        refuse(budget);
    return taken;
}

void memory_budget_give(struct memory_budget *budget, uint64_t bytes)
{
    if (budget == NULL)
        return;
    give(budget, bytes);
    if (budget->whole != NULL)
        give(budget->whole, bytes);
}

void *memory_budget_calloc(struct memory_budget *budget, size_t size)
{
    if (!memory_budget_take(budget, size))
        return NULL;
    void *memory = calloc(1, size);
    if (memory != NULL)
        return memory;
    memory_budget_give(budget, size);
    refuse(budget);
    return NULL;
}

void memory_budget_free(struct memory_budget *budget, void *memory, size_t size)
{
    if (memory == NULL)
        return;
    free(memory);
    memory_budget_give(budget, size);
}

uint64_t memory_account_most(const struct memory_budget *budget)
{
    if (budget != NULL && budget->whole != NULL)
        budget = budget->whole;
    if (budget == NULL || budget->limit_bytes == 0)
        return UINT64_MAX;
    const uint64_t half = budget->limit_bytes / 2, quarter = budget->limit_bytes / 4;
    const uint64_t enough = half < ACCOUNT_ENOUGH ? half : ACCOUNT_ENOUGH;
    return quarter > enough ? quarter : enough;
}

bool memory_account_fits(const struct memory_account *account, uint64_t bytes)
{
    const uint64_t most = memory_account_most(account->budget);
    return account->used_bytes <= most && bytes <= most - account->used_bytes;
}

bool memory_account_try(struct memory_account *account, uint64_t bytes)
{
    if (!memory_account_fits(account, bytes) || !try(account->budget, bytes))
        return false;
    account->used_bytes += bytes;
    return true;
}

void memory_account_refuse(struct memory_account *account)
{
    refuse(account->budget);
}

bool memory_account_take(struct memory_account *account, uint64_t bytes)
{
    const bool taken = memory_account_try(account, bytes);
    if (!taken)
        refuse(account->budget);
    return taken;
}

void memory_account_give(struct memory_account *account, uint64_t bytes)
{
    assert(account->used_bytes >= bytes);
    account->used_bytes -= bytes;
    memory_budget_give(account->budget, bytes);
}

void *memory_account_calloc(struct memory_account *account, size_t size)
{
    return memory_account_realloc(account, NULL, 0, size);
}

void *memory_account_realloc(struct memory_account *account, void *memory, size_t had, size_t size)
{
    if (!memory_account_take(account, size - had))
        return NULL;
    uint8_t *more = realloc(memory, size);
    if (more == NULL) {
        memory_account_give(account, size - had);
        refuse(account->budget);
        return NULL;
    }
    memset(more + had, 0, size - had);
    return more;
}

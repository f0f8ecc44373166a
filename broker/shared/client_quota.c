/* Client quotas: the rates of all clients that use one client name. */
#include "broker/shared/client_quota.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    PLACES = 4096,
    FORGOTTEN_PER_CALL = 2, /* more than one, so that the idle list shrinks */
    EVICTION_SCAN_MAX = 64, /* idle names that are checked to make room for one */
};

static size_t bytes_of(const struct client_quotas *all)
{
    return sizeof(struct client_quota) + all->shards * sizeof(struct client_bucket);
}

static struct client_quota_list *place_of(const struct client_quotas *all, const char *name)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *name != '\0'; name++)
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    return &all->places[hash % PLACES];
}

bool client_quotas_open(struct client_quotas *all, uint32_t shards)
{
    *all = (struct client_quotas){ .shards = shards };
    TAILQ_INIT(&all->idle);
    all->places = calloc(PLACES, sizeof *all->places);
    return all->places != NULL;
}

static void forget(struct client_quotas *all, struct client_quota *quota)
{
    LIST_REMOVE(quota, same_place);
    if (quota->sessions == 0)
        TAILQ_REMOVE(&all->idle, quota, idle_node);
    all->count--;
    memory_budget_give(quota->memory, bytes_of(all));
    memory_part_release(quota->memory);
    free(quota);
}

void client_quotas_close(struct client_quotas *all)
{
    for (uint32_t i = 0; all->places != NULL && i < PLACES; i++)
        while (!LIST_EMPTY(&all->places[i]))
            forget(all, LIST_FIRST(&all->places[i]));
    free(all->places);
    all->places = NULL;
}

struct client_quota *client_quota_find(const struct client_quotas *all, const char *name)
{
    struct client_quota *quota;
    LIST_FOREACH(quota, place_of(all, name), same_place)
    {
        if (strcmp(quota->name, name) == 0)
            return quota;
    }
    return NULL;
}

static bool owes(const struct client_quotas *all, struct client_quota *quota, leat_ns now)
{
    for (uint32_t i = 0; i < all->shards; i++)
        if (!quota_ready(&quota->buckets[i].publish, now)
            || !quota_ready(&quota->buckets[i].deliver, now))
            return true;
    return false;
}

/* Forgets up to `most` idle names that owe nothing, among the first `looks` of the list. A name
 * that owes is moved to the end. Returns how many were forgotten. */
static int forget_idle(struct client_quotas *all, leat_ns now, int most, int looks)
{
    int forgotten = 0;
    for (int i = 0; i < looks && forgotten < most; i++) {
        struct client_quota *quota = TAILQ_FIRST(&all->idle);
        if (quota == NULL)
            break;
        /* The analyzer does not see that `forget` removes what it frees from the list. */
        if (!owes(all, quota, now)) { // NOLINT(clang-analyzer-unix.Malloc)
            forget(all, quota);
            forgotten++;
            continue;
        }
        TAILQ_REMOVE(&all->idle, quota, idle_node);
        TAILQ_INSERT_TAIL(&all->idle, quota, idle_node);
    }
    return forgotten;
}

/* A debt is kept until it is paid, even if that leaves no room for other names. */
static bool make_room(struct client_quotas *all, struct memory_budget *memory, leat_ns now)
{
    while (all->count >= CLIENT_QUOTAS_MAX || !memory_budget_take(memory, bytes_of(all)))
        if (forget_idle(all, now, 1, EVICTION_SCAN_MAX) == 0)
            return false;
    return true;
}

static struct client_quota *create(struct client_quotas *all, const char *name,
                                   struct memory_budget *memory, leat_ns now)
{
    if (!make_room(all, memory, now))
        return NULL;
    struct client_quota *quota = aligned_alloc(alignof(struct client_quota), bytes_of(all));
    if (quota == NULL) {
        memory_budget_give(memory, bytes_of(all));
        return NULL;
    }
    memset(quota, 0, bytes_of(all));
    memory_part_hold(memory);
    quota->memory = memory;
    strcpy(quota->name, name);
    LIST_INSERT_HEAD(place_of(all, name), quota, same_place);
    all->count++;
    return quota;
}

struct client_quota *client_quota_take(struct client_quotas *all, const char *name,
                                       struct memory_budget *memory, leat_ns now)
{
    struct client_quota *quota = client_quota_find(all, name);
    if (quota == NULL)
        quota = create(all, name, memory, now);
    else if (quota->sessions == 0)
        TAILQ_REMOVE(&all->idle, quota, idle_node);
    if (quota != NULL)
        quota->sessions++;
    forget_idle(all, now, FORGOTTEN_PER_CALL, FORGOTTEN_PER_CALL);
    return quota;
}

void client_quota_release(struct client_quotas *all, struct client_quota *quota)
{
    if (quota == NULL)
        return;
    assert(quota->sessions != 0);
    if (--quota->sessions == 0)
        TAILQ_INSERT_TAIL(&all->idle, quota, idle_node);
}

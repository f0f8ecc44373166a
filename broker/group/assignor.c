/* Assignor: decides which member of a group gets which partition. */
#include "broker/group/assignor.h"

#include <stdlib.h>
#include <string.h>

struct slot {
    struct group_member *member;
    uint32_t has;   /* partitions of the pool that it owns and that are assigned to it */
    uint32_t quota; /* the number of partitions it gets */
    uint32_t used;
};

/* A set of partitions that are assigned together, and the members to assign them to. */
struct pool {
    const struct group *group;
    uint64_t topics; /* bits */
    struct slot slots[LEAT_GROUP_MEMBERS_MAX];
    uint32_t slot_count;
    uint32_t partitions;
};

static struct slot *slot_of(struct pool *pool, const struct group_member *member)
{
    if (member == NULL || member->slot >= pool->slot_count
        || pool->slots[member->slot].member != member)
        return NULL;
    return &pool->slots[member->slot];
}

static bool keeps(const struct group_partition *p)
{
    return p->state == GROUP_OWNED && p->owner == p->target;
}

/* Calls `each` for every partition of the pool. */
static void visit(struct pool *pool, void (*each)(struct pool *pool, struct group_partition *p))
{
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX; t++) {
        struct group_topic *topic = pool->group->topics[t];
        if (topic == NULL || (pool->topics >> t & 1) == 0)
            continue;
        for (uint32_t i = 0; i < topic->count; i++)
            each(pool, &topic->partitions[i]);
    }
}

static void count(struct pool *pool, struct group_partition *p)
{
    struct slot *slot = slot_of(pool, p->owner);
    pool->partitions++;
    if (slot != NULL && keeps(p))
        slot->has++;
}

/* Members with more partitions come first, so that they keep them; among equals, those with fewer
 * partitions of other topics. */
static int by_what_they_have(const void *a, const void *b)
{
    const struct slot *x = a, *y = b;
    if (x->has != y->has)
        return x->has > y->has ? -1 : 1;
    if (x->member->load != y->member->load)
        return x->member->load < y->member->load ? -1 : 1;
    return strcmp(x->member->id, y->member->id);
}

static void take_slots(struct pool *pool)
{
    pool->slot_count = 0;
    for (uint32_t i = 0; i < pool->group->member_count; i++) {
        struct group_member *member = pool->group->members[i];
        member->slot = pool->slot_count;
        if ((member->topics & pool->topics) != 0)
            pool->slots[pool->slot_count++] = (struct slot){ .member = member };
    }
}

static void set_quotas(struct pool *pool)
{
    qsort(pool->slots, pool->slot_count, sizeof pool->slots[0], by_what_they_have);
    for (uint32_t i = 0; i < pool->slot_count; i++) {
        pool->slots[i].member->slot = i;
        pool->slots[i].quota =
            pool->partitions / pool->slot_count + (i < pool->partitions % pool->slot_count ? 1 : 0);
    }
}

static bool give(struct pool *pool, struct group_partition *p, struct group_member *member)
{
    struct slot *slot = slot_of(pool, member);
    if (slot == NULL || slot->used >= slot->quota)
        return false;
    slot->used++;
    p->target = member;
    return true;
}

/* First pass: owners keep their partitions. */
static void keep_owned(struct pool *pool, struct group_partition *p)
{
    if (keeps(p) && !give(pool, p, p->owner))
        p->target = NULL;
}

/* Second pass: members keep the partitions that are assigned to them and not granted yet. */
static void keep_promised(struct pool *pool, struct group_partition *p)
{
    if (!keeps(p) && p->target != NULL && !give(pool, p, p->target))
        p->target = NULL;
}

/* Third pass: members that are releasing a partition get it back. */
static void give_back(struct pool *pool, struct group_partition *p)
{
    if (p->target == NULL && p->state == GROUP_LEAVING)
        give(pool, p, p->owner);
}

/* Last pass: any member below its quota, starting with those that have the fewest partitions. */
static void give_to_any(struct pool *pool, struct group_partition *p)
{
    if (p->target != NULL)
        return;
    while (pool->slot_count != 0) {
        struct slot *last = &pool->slots[pool->slot_count - 1];
        if (give(pool, p, last->member))
            return;
        pool->slot_count--;
    }
}

static void clear(struct pool *pool, struct group_partition *p)
{
    (void)pool;
    p->target = NULL;
}

static void share_out(struct pool *pool)
{
    pool->partitions = 0;
    take_slots(pool);
    if (pool->slot_count == 0) {
        visit(pool, clear);
        return;
    }
    visit(pool, count);
    set_quotas(pool);
    visit(pool, keep_owned);
    visit(pool, keep_promised);
    visit(pool, give_back);
    const uint32_t slots = pool->slot_count;
    visit(pool, give_to_any);
    for (uint32_t i = 0; i < slots; i++)
        pool->slots[i].member->load += pool->slots[i].used;
}

void assignor_run(struct group *group)
{
    struct pool pool = { .group = group };
    uint64_t any = 0, all = UINT64_MAX;
    for (uint32_t i = 0; i < group->member_count; i++) {
        any |= group->members[i]->topics;
        all &= group->members[i]->topics;
        group->members[i]->load = 0;
    }
    const bool alike = group->member_count != 0 && any == all;
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX; t++) {
        pool.topics = UINT64_C(1) << t;
        if (group->topics[t] != NULL && !(alike && (pool.topics & any) != 0))
            share_out(&pool);
    }
    if (alike) {
        pool.topics = any;
        share_out(&pool);
    }
}

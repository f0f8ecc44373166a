#include "broker/group/assignor.h"

#include <stdlib.h>
#include <string.h>

struct seat {
    struct group_member *member;
    uint32_t has;   /* partitions of the heap that it owns and was to keep */
    uint32_t quota; /* it may have so many */
    uint32_t used;
};

/* Partitions that are shared out together, and among whom. */
struct heap {
    const struct group *group;
    uint64_t topics; /* bits */
    struct seat seats[LEAT_GROUP_MEMBERS_MAX];
    uint32_t seat_count;
    uint32_t partitions;
};

static struct seat *seat_of(struct heap *heap, const struct group_member *member)
{
    if (member == NULL || member->seat >= heap->seat_count
        || heap->seats[member->seat].member != member)
        return NULL;
    return &heap->seats[member->seat];
}

static bool keeps(const struct group_partition *p)
{
    return p->state == GROUP_OWNED && p->owner == p->target;
}

/* Calls `each` for every partition of the heap. */
static void visit(struct heap *heap, void (*each)(struct heap *heap, struct group_partition *p))
{
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX; t++) {
        struct group_topic *topic = heap->group->topics[t];
        if (topic == NULL || (heap->topics >> t & 1) == 0)
            continue;
        for (uint32_t i = 0; i < topic->count; i++)
            each(heap, &topic->partitions[i]);
    }
}

static void count(struct heap *heap, struct group_partition *p)
{
    struct seat *seat = seat_of(heap, p->owner);
    heap->partitions++;
    if (seat != NULL && keeps(p))
        seat->has++;
}

/* Who has more keeps more; of equals, who has less of other topics gets more. */
static int by_what_they_have(const void *a, const void *b)
{
    const struct seat *x = a, *y = b;
    if (x->has != y->has)
        return x->has > y->has ? -1 : 1;
    if (x->member->load != y->member->load)
        return x->member->load < y->member->load ? -1 : 1;
    return strcmp(x->member->id, y->member->id);
}

static void take_seats(struct heap *heap)
{
    heap->seat_count = 0;
    for (uint32_t i = 0; i < heap->group->member_count; i++) {
        struct group_member *member = heap->group->members[i];
        member->seat = heap->seat_count;
        if ((member->topics & heap->topics) != 0)
            heap->seats[heap->seat_count++] = (struct seat){ .member = member };
    }
}

static void set_quotas(struct heap *heap)
{
    qsort(heap->seats, heap->seat_count, sizeof heap->seats[0], by_what_they_have);
    for (uint32_t i = 0; i < heap->seat_count; i++) {
        heap->seats[i].member->seat = i;
        heap->seats[i].quota =
            heap->partitions / heap->seat_count + (i < heap->partitions % heap->seat_count ? 1 : 0);
    }
}

static bool give(struct heap *heap, struct group_partition *p, struct group_member *member)
{
    struct seat *seat = seat_of(heap, member);
    if (seat == NULL || seat->used >= seat->quota)
        return false;
    seat->used++;
    p->target = member;
    return true;
}

/* First come those who work on it. */
static void keep_owned(struct heap *heap, struct group_partition *p)
{
    if (keeps(p) && !give(heap, p, p->owner))
        p->target = NULL;
}

/* Then those it was promised to. */
static void keep_promised(struct heap *heap, struct group_partition *p)
{
    if (!keeps(p) && p->target != NULL && !give(heap, p, p->target))
        p->target = NULL;
}

/* Then those who have just been asked to let it go. */
static void give_back(struct heap *heap, struct group_partition *p)
{
    if (p->target == NULL && p->state == GROUP_LEAVING)
        give(heap, p, p->owner);
}

/* Then whoever has room: the last seats have the least. */
static void give_to_any(struct heap *heap, struct group_partition *p)
{
    if (p->target != NULL)
        return;
    while (heap->seat_count != 0) {
        struct seat *last = &heap->seats[heap->seat_count - 1];
        if (give(heap, p, last->member))
            return;
        heap->seat_count--;
    }
}

static void clear(struct heap *heap, struct group_partition *p)
{
    (void)heap;
    p->target = NULL;
}

static void share_out(struct heap *heap)
{
    heap->partitions = 0;
    take_seats(heap);
    if (heap->seat_count == 0) {
        visit(heap, clear);
        return;
    }
    visit(heap, count);
    set_quotas(heap);
    visit(heap, keep_owned);
    visit(heap, keep_promised);
    visit(heap, give_back);
    const uint32_t seats = heap->seat_count;
    visit(heap, give_to_any);
    for (uint32_t i = 0; i < seats; i++)
        heap->seats[i].member->load += heap->seats[i].used;
}

void assignor_run(struct group *group)
{
    struct heap heap = { .group = group };
    uint64_t any = 0, all = UINT64_MAX;
    for (uint32_t i = 0; i < group->member_count; i++) {
        any |= group->members[i]->topics;
        all &= group->members[i]->topics;
        group->members[i]->load = 0;
    }
    const bool alike = group->member_count != 0 && any == all;
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX; t++) {
        heap.topics = UINT64_C(1) << t;
        if (group->topics[t] != NULL && !(alike && (heap.topics & any) != 0))
            share_out(&heap);
    }
    if (alike) {
        heap.topics = any;
        share_out(&heap);
    }
}

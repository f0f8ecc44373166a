/* Assignor: who of a group's members is to have which partition. */
#include "broker/group/assignor.h"

#include <stdlib.h>
#include <string.h>

struct seat {
    struct group_member *member;
    uint32_t has;   /* partitions of the pile that it owns and was to keep */
    uint32_t quota; /* it may have so many */
    uint32_t used;
};

/* Partitions that are shared out together, and among whom. */
struct pile {
    const struct group *group;
    uint64_t topics; /* bits */
    struct seat seats[LEAT_GROUP_MEMBERS_MAX];
    uint32_t seat_count;
    uint32_t partitions;
};

static struct seat *seat_of(struct pile *pile, const struct group_member *member)
{
    if (member == NULL || member->seat >= pile->seat_count
        || pile->seats[member->seat].member != member)
        return NULL;
    return &pile->seats[member->seat];
}

static bool keeps(const struct group_partition *p)
{
    return p->state == GROUP_OWNED && p->owner == p->target;
}

/* Calls `each` for every partition of the pile. */
static void visit(struct pile *pile, void (*each)(struct pile *pile, struct group_partition *p))
{
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX; t++) {
        struct group_topic *topic = pile->group->topics[t];
        if (topic == NULL || (pile->topics >> t & 1) == 0)
            continue;
        for (uint32_t i = 0; i < topic->count; i++)
            each(pile, &topic->partitions[i]);
    }
}

static void count(struct pile *pile, struct group_partition *p)
{
    struct seat *seat = seat_of(pile, p->owner);
    pile->partitions++;
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

static void take_seats(struct pile *pile)
{
    pile->seat_count = 0;
    for (uint32_t i = 0; i < pile->group->member_count; i++) {
        struct group_member *member = pile->group->members[i];
        member->seat = pile->seat_count;
        if ((member->topics & pile->topics) != 0)
            pile->seats[pile->seat_count++] = (struct seat){ .member = member };
    }
}

static void set_quotas(struct pile *pile)
{
    qsort(pile->seats, pile->seat_count, sizeof pile->seats[0], by_what_they_have);
    for (uint32_t i = 0; i < pile->seat_count; i++) {
        pile->seats[i].member->seat = i;
        pile->seats[i].quota =
            pile->partitions / pile->seat_count + (i < pile->partitions % pile->seat_count ? 1 : 0);
    }
}

static bool give(struct pile *pile, struct group_partition *p, struct group_member *member)
{
    struct seat *seat = seat_of(pile, member);
    if (seat == NULL || seat->used >= seat->quota)
        return false;
    seat->used++;
    p->target = member;
    return true;
}

/* First come those who work on it. */
static void keep_owned(struct pile *pile, struct group_partition *p)
{
    if (keeps(p) && !give(pile, p, p->owner))
        p->target = NULL;
}

/* Then those it was promised to. */
static void keep_promised(struct pile *pile, struct group_partition *p)
{
    if (!keeps(p) && p->target != NULL && !give(pile, p, p->target))
        p->target = NULL;
}

/* Then those who have just been asked to let it go. */
static void give_back(struct pile *pile, struct group_partition *p)
{
    if (p->target == NULL && p->state == GROUP_LEAVING)
        give(pile, p, p->owner);
}

/* Then whoever has room: the last seats have the least. */
static void give_to_any(struct pile *pile, struct group_partition *p)
{
    if (p->target != NULL)
        return;
    while (pile->seat_count != 0) {
        struct seat *last = &pile->seats[pile->seat_count - 1];
        if (give(pile, p, last->member))
            return;
        pile->seat_count--;
    }
}

static void clear(struct pile *pile, struct group_partition *p)
{
    (void)pile;
    p->target = NULL;
}

static void share_out(struct pile *pile)
{
    pile->partitions = 0;
    take_seats(pile);
    if (pile->seat_count == 0) {
        visit(pile, clear);
        return;
    }
    visit(pile, count);
    set_quotas(pile);
    visit(pile, keep_owned);
    visit(pile, keep_promised);
    visit(pile, give_back);
    const uint32_t seats = pile->seat_count;
    visit(pile, give_to_any);
    for (uint32_t i = 0; i < seats; i++)
        pile->seats[i].member->load += pile->seats[i].used;
}

void assignor_run(struct group *group)
{
    struct pile pile = { .group = group };
    uint64_t any = 0, all = UINT64_MAX;
    for (uint32_t i = 0; i < group->member_count; i++) {
        any |= group->members[i]->topics;
        all &= group->members[i]->topics;
        group->members[i]->load = 0;
    }
    const bool alike = group->member_count != 0 && any == all;
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX; t++) {
        pile.topics = UINT64_C(1) << t;
        if (group->topics[t] != NULL && !(alike && (pile.topics & any) != 0))
            share_out(&pile);
    }
    if (alike) {
        pile.topics = any;
        share_out(&pile);
    }
}

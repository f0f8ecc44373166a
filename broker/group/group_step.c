/* One step of all groups: timeouts, assignment, hand-over of partitions, answers. */
#include "broker/group/group_state.h"

#include <assert.h>

#include "broker/group/assignor.h"

void group_unsettle(struct groups *g, struct group *group)
{
    if (!group->unsettled)
        TAILQ_INSERT_TAIL(&g->unsettled, group, unsettled_node);
    group->unsettled = true;
}

/* ---- counts of partitions, kept so that no caller has to scan them */

void group_set_owner(struct group_partition *p, struct group_member *owner)
{
    p->topic->group->in_use -= group_partition_in_use(p);
    p->owner = owner;
    p->topic->group->in_use += group_partition_in_use(p);
}

void group_partition_set_offsets(struct group_partition *p, void *offsets)
{
    p->topic->group->in_use -= group_partition_in_use(p);
    p->offsets = offsets;
    p->topic->group->in_use += group_partition_in_use(p);
}

void group_begin_leaving(struct group_member *member)
{
    member->leaving++;
    member->group->leaving++;
}

void group_end_leaving(struct group_member *member)
{
    member->leaving--;
    member->group->leaving--;
}

/* ---- hand-over of partitions */

void group_start_drop(struct groups *g, struct group_partition *p)
{
    struct group *group = p->topic->group;
    if (p->state == GROUP_OWNED)
        p->owner->assigned--;
    else
        group_end_leaving(p->owner);
    group_set_owner(p, NULL);
    p->state = GROUP_FREE;
    group_unsettle(g, group);
    if (p->offsets == NULL)
        return; /* no shard has had a stream of it */
    p->state = GROUP_DROPPING;
    p->told = false;
    group->dropping++;
    TAILQ_INSERT_TAIL(&g->drops, p, drop_node);
}

void group_drop_all(struct groups *g, struct group_member *member)
{
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX && member->assigned + member->leaving != 0;
         t++) {
        struct group_topic *topic = member->group->topics[t];
        for (uint32_t i = 0; topic != NULL && i < topic->count; i++)
            if (topic->partitions[i].owner == member)
                group_start_drop(g, &topic->partitions[i]);
    }
    member->leave_by = LEAT_NS_NEVER;
}

struct group_partition *groups_next_drop(struct groups *g)
{
    struct group_partition *p = TAILQ_FIRST(&g->drops);
    if (p == NULL)
        return NULL;
    TAILQ_REMOVE(&g->drops, p, drop_node);
    p->told = true;
    return p;
}

void groups_dropped(struct groups *g, struct group_partition *p)
{
    assert(p->state == GROUP_DROPPING && p->told);
    p->topic->group->dropping--;
    p->state = GROUP_FREE;
    group_unsettle(g, p->topic->group);
}

/* ---- answers and timeouts */

void group_set_timer(struct groups *g, struct group_member *member)
{
    leat_ns at = member->heard + member->session_ms * LEAT_NS_PER_MS;
    if (member->waiting && member->answer_by < at)
        at = member->answer_by;
    if (member->leave_by < at)
        at = member->leave_by;
    timers_set(&g->timers, &member->timer, at);
}

void group_want_answer(struct groups *g, struct group_member *member)
{
    if (!member->waiting || member->answering)
        return;
    member->answering = true;
    TAILQ_INSERT_TAIL(&g->answers, member, answer_node);
}

struct group_member *groups_next_answer(struct groups *g)
{
    struct group_member *member = TAILQ_FIRST(&g->answers);
    if (member == NULL)
        return NULL;
    TAILQ_REMOVE(&g->answers, member, answer_node);
    member->waiting = member->answering = false;
    return member;
}

/* ---- a step */

/* Takes the partitions that the member has not released within its session timeout. */
static void force_out(struct groups *g, struct group_member *member, leat_ns now)
{
    leat_ns next = LEAT_NS_NEVER;
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX; t++) {
        struct group_topic *topic = member->group->topics[t];
        for (uint32_t i = 0; topic != NULL && i < topic->count; i++) {
            struct group_partition *p = &topic->partitions[i];
            if (p->owner != member || p->state != GROUP_LEAVING)
                continue;
            if (p->leave_by <= now)
                group_start_drop(g, p);
            else if (p->leave_by < next)
                next = p->leave_by;
        }
    }
    member->leave_by = next;
}

/* A member with a held heartbeat cannot send another. If it looks silent, the broker was stalled,
 * so its session timer starts again. */
static void restart_session(struct group_member *member, leat_ns now)
{
    if (member->waiting && member->answer_by <= now
        && now - member->heard >= member->session_ms * LEAT_NS_PER_MS)
        member->heard = now;
}

/* Handles expired timers until `room` partitions were scanned; returns the number scanned. */
static uint32_t run_timers(struct groups *g, leat_ns now, uint32_t room)
{
    struct timer *timer;
    uint32_t looked = 0;
    while (looked < room && (timer = timers_due(&g->timers, now)) != NULL) {
        struct group_member *member =
            (void *)((char *)timer - offsetof(struct group_member, timer));
        looked += 1 + member->group->partition_count;
        restart_session(member, now);
        if (now - member->heard >= member->session_ms * LEAT_NS_PER_MS) {
            group_remove_member(g, member, GROUP_OUT_SILENT);
            continue;
        }
        if (member->leave_by <= now)
            force_out(g, member, now);
        if (member->waiting && member->answer_by <= now) {
            group_want_answer(g, member);
            member->answer_by = LEAT_NS_NEVER;
        }
        group_set_timer(g, member);
    }
    return looked;
}

/* Advances the state of the partition by one step. `epoch`: of the assignment being built. */
static void settle_partition(struct group_partition *p, uint32_t epoch, leat_ns now)
{
    struct group_member *owner = p->owner;
    switch ((enum group_partition_state)p->state) {
    case GROUP_FREE:
        if (p->target == NULL)
            return;
        owner = p->target;
        group_set_owner(p, owner);
        p->state = GROUP_OWNED;
        owner->assigned++;
        break;
    case GROUP_OWNED:
        if (p->target == owner)
            return;
        p->state = GROUP_LEAVING;
        p->leave_by = now + owner->session_ms * LEAT_NS_PER_MS;
        owner->assigned--;
        group_begin_leaving(owner);
        if (p->leave_by < owner->leave_by)
            owner->leave_by = p->leave_by;
        break;
    case GROUP_LEAVING:
        if (p->target != owner)
            return;
        p->state = GROUP_OWNED;
        owner->assigned++;
        group_end_leaving(owner);
        break;
    case GROUP_DROPPING: return;
    }
    p->epoch = epoch;
    owner->changed = true;
}

static bool is_used(const struct group_topic *topic)
{
    for (uint32_t i = 0; i < topic->count; i++) {
        const struct group_partition *p = &topic->partitions[i];
        if (p->offsets != NULL || p->state != GROUP_FREE)
            return true;
    }
    return topic->subscribers != 0;
}

static void follow_idleness(struct groups *g, struct group *group, leat_ns now)
{
    if (group->member_count != 0) {
        timers_remove(&g->idle, &group->idle_timer);
        group->stored_ns = 0;
    } else if (group->idle_timer.place == 0) {
        group->idle_since = now;
        timers_set(&g->idle, &group->idle_timer, now + g->look_ns);
    }
}

static void settle(struct groups *g, struct group *group, leat_ns now)
{
    bool any = false;
    group->unsettled = false;
    TAILQ_REMOVE(&g->unsettled, group, unsettled_node);
    if (group->unassigned)
        assignor_run(group);
    group->unassigned = false;
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX; t++) {
        struct group_topic *topic = group->topics[t];
        if (topic == NULL)
            continue;
        for (uint32_t i = 0; i < topic->count; i++)
            settle_partition(&topic->partitions[i], group->epoch + 1, now);
        if (!is_used(topic))
            group_free_topic(g, topic);
    }
    if (group->refused != 0)
        group_retry_refused(g, group); /* unsettles the group again on success */
    for (uint32_t i = 0; i < group->member_count; i++) {
        struct group_member *member = group->members[i];
        if (member->changed) {
            member->epoch = group->epoch + 1;
            any = true;
            group_want_answer(g, member);
        }
        member->changed = false;
        group_set_timer(g, member);
    }
    group->epoch += any;
    if (!group_free_empty(g, group))
        follow_idleness(g, group, now);
}

void groups_step(struct groups *g, leat_ns now)
{
    struct group *group;
    uint32_t looked = run_timers(g, now, GROUPS_STEP_PARTITIONS);
    while (looked < 2 * GROUPS_STEP_PARTITIONS && (group = TAILQ_FIRST(&g->unsettled)) != NULL) {
        looked += 1 + group->partition_count + group->member_count;
        settle(g, group, now);
    }
}

leat_ns groups_deadline(const struct groups *g)
{
    const leat_ns member = timers_next(&g->timers), idle = timers_next(&g->idle);
    if (!TAILQ_EMPTY(&g->unsettled) || !TAILQ_EMPTY(&g->answers))
        return 0;
    return member < idle ? member : idle;
}

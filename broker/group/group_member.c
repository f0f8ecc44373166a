/* Requests of members: join, heartbeat, leave; and whether a member may read a partition. */
#include "broker/group/group_state.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEARTBEATS_PER_SESSION = 3,
    NAME_CLIENT_BYTES = 100, /* of the client name in a generated member id */
};

/* ---- members */

uint32_t group_heartbeat_ms(const struct group_member *member)
{
    return member->session_ms / HEARTBEATS_PER_SESSION;
}

void group_forget_waiter(struct groups *g, struct group_member *member)
{
    if (member->answering)
        TAILQ_REMOVE(&g->answers, member, answer_node);
    member->waiting = member->answering = false;
    member->waiter = NULL;
}

static void unsubscribe(struct group_member *member, uint64_t topics)
{
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX; t++)
        if ((topics >> t & 1) != 0)
            member->group->topics[t]->subscribers--;
}

void group_remove_member(struct groups *g, struct group_member *member, enum group_out why)
{
    struct group *group = member->group;
    const uint32_t at = group_place_of_member(group, member->id);
    g->hooks.out(g->hooks.user, member, why);
    group_drop_all(g, member);
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX; t++) {
        struct group_topic *topic = group->topics[t];
        for (uint32_t i = 0; topic != NULL && i < topic->count; i++)
            if (topic->partitions[i].target == member)
                topic->partitions[i].target = NULL;
    }
    unsubscribe(member, member->topics);
    memmove(&group->members[at], &group->members[at + 1],
            (group->member_count - at - 1) * sizeof(struct group_member *));
    group->member_count--;
    group->unassigned = true;
    group_unsettle(g, group);
    group_free_member(g, member);
}

static enum leat_error make_member(struct groups *g, struct group *group,
                                   const struct group_join *join, struct group_member **out,
                                   const char **why)
{
    if (group->member_count >= LEAT_GROUP_MEMBERS_MAX) {
        *why = "the group has the maximum of 1024 members: let some leave, or use another group";
        return LEAT_ERR_LIMIT;
    }
    if (g->members >= GROUPS_MEMBERS_MAX) {
        *why =
            "all groups of the broker together have the maximum of 65536 members: let some leave";
        return LEAT_ERR_LIMIT;
    }
    struct group_member *member = calloc(1, sizeof *member);
    if (member == NULL
        || !group_make_room(&group->members, group->member_count, &group->member_room)) {
        free(member);
        return LEAT_ERR_NO_MEMORY;
    }
    if (!group_take(g, join->maker, GROUP_TABLE_MEMBERS, 1, why)) {
        free(member);
        return LEAT_ERR_LIMIT;
    }
    member->maker = join->maker;
    member->group = group;
    member->leave_by = LEAT_NS_NEVER;
    if (join->member_id[0] != '\0')
        strcpy(member->id, join->member_id);
    else
        snprintf(member->id, sizeof member->id, "%.*s-%" PRIx32 "-%" PRIu64 "-%" PRIu32,
                 NAME_CLIENT_BYTES, join->client[0] != '\0' ? join->client : "member",
                 join->names_key, group->id, ++group->named);
    const uint32_t at = group_place_of_member(group, member->id);
    memmove(&group->members[at + 1], &group->members[at],
            (group->member_count - at) * sizeof(struct group_member *));
    group->members[at] = member;
    group->member_count++;
    g->members++;
    *out = member;
    return LEAT_OK;
}

/* Finds or creates all topics of the request; *topics: their bits. */
static enum leat_error find_topics(struct groups *g, struct group *group,
                                   const struct group_join *join, uint64_t *topics,
                                   const char **why)
{
    *topics = 0;
    for (uint32_t i = 0; i < join->topic_count; i++) {
        struct group_topic *topic;
        const enum leat_error error =
            group_have_topic(g, group, &join->topics[i], join->maker, &topic, why);
        if (error != LEAT_OK)
            return error;
        *topics |= UINT64_C(1) << topic->place;
    }
    return LEAT_OK;
}

static void subscribe(struct group_member *member, uint64_t topics)
{
    struct group *group = member->group;
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX; t++)
        if ((topics >> t & 1) != 0)
            group->topics[t]->subscribers++;
    unsubscribe(member, member->topics);
    group->unassigned |= member->topics != topics;
    member->topics = topics;
}

enum leat_error groups_join(struct groups *g, const struct group_join *join, leat_ns now,
                            struct group_member **out, const char **why)
{
    struct group *group;
    uint64_t topics;
    *why = "no memory left";
    enum leat_error error = group_have(g, join->group, join->maker, &group, why);
    if (error != LEAT_OK)
        return error;
    group_unsettle(g, group); /* the next step frees what stays unused */
    error = find_topics(g, group, join, &topics, why);
    if (error != LEAT_OK) {
        group_free_empty(g, group);
        return error;
    }
    struct group_member *member =
        join->member_id[0] != '\0' ? group_find_member(group, join->member_id) : NULL;
    if (member != NULL) {
        g->hooks.out(g->hooks.user, member, GROUP_OUT_FENCED);
        group_forget_waiter(g, member);
        group_drop_all(g, member); /* they remain its targets */
    } else {
        error = make_member(g, group, join, &member, why);
        if (error != LEAT_OK)
            return error;
        group->unassigned = true;
    }
    subscribe(member, topics);
    snprintf(member->client, sizeof member->client, "%s", join->client);
    member->joined_epoch = member->epoch = ++group->epoch;
    member->session_ms = join->session_ms;
    member->heard = now;
    member->waiting = true;
    member->waiter = join->waiter;
    member->request = join->request;
    member->answer_by = now;
    group_set_timer(g, member);
    *out = member;
    return LEAT_OK;
}

enum leat_error groups_speaks(const struct groups *g, const char *name, const char *member_id,
                              uint32_t epoch, struct group_member **out)
{
    struct group *group = groups_find(g, name);
    struct group_member *member = group != NULL ? group_find_member(group, member_id) : NULL;
    if (member == NULL)
        return LEAT_ERR_UNKNOWN_MEMBER;
    if (epoch < member->joined_epoch || epoch > member->epoch)
        return LEAT_ERR_FENCED;
    *out = member;
    return LEAT_OK;
}

struct named {
    uint64_t bits[LEAT_PARTITIONS_MAX / 64];
};

/* The partitions of the topic that the heartbeat lists as owned. */
static void find_named(struct named *named, const struct group_heartbeat *beat,
                       const struct group_topic *topic)
{
    memset(named, 0, sizeof *named);
    for (size_t i = 0; i < beat->owned_count; i++) {
        const struct group_owned *owned = &beat->owned[i];
        if (strcmp(owned->topic, topic->name) != 0
            || (owned->topic_id != 0 && owned->topic_id != topic->id))
            continue;
        for (size_t k = 0; k < owned->count; k++)
            named->bits[owned->partitions[k] / 64] |= UINT64_C(1) << owned->partitions[k] % 64;
    }
}

/* Drops the LEAVING partitions that the member does not list any more. Its epoch shows that it
 * knows that they were revoked. */
static void release(struct groups *g, struct group_member *member,
                    const struct group_heartbeat *beat)
{
    struct named named;
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX && member->leaving != 0; t++) {
        struct group_topic *topic = member->group->topics[t];
        if (topic == NULL)
            continue;
        find_named(&named, beat, topic);
        for (uint32_t i = 0; i < topic->count && member->leaving != 0; i++) {
            struct group_partition *p = &topic->partitions[i];
            if (p->owner == member && p->state == GROUP_LEAVING && beat->epoch >= p->epoch
                && (named.bits[i / 64] >> i % 64 & 1) == 0)
                group_start_drop(g, p);
        }
    }
    if (member->leaving == 0)
        member->leave_by = LEAT_NS_NEVER;
}

enum leat_error groups_heartbeat(struct groups *g, const struct group_heartbeat *beat, leat_ns now,
                                 struct group_member **out)
{
    struct group_member *member;
    const enum leat_error error =
        groups_speaks(g, beat->group, beat->member_id, beat->epoch, &member);
    if (error != LEAT_OK)
        return error;
    assert(!member->waiting);
    const uint32_t longest = group_heartbeat_ms(member);
    const uint32_t wait = beat->wait_ms < longest ? beat->wait_ms : longest;
    if (member->group->refused != 0)
        group_unsettle(g, member->group);
    member->heard = now;
    member->waiting = true;
    member->waiter = beat->waiter;
    member->request = beat->request;
    member->answer_by = now + wait * LEAT_NS_PER_MS;
    if (member->leaving != 0)
        release(g, member, beat);
    if (member->epoch != beat->epoch)
        group_want_answer(g, member);
    group_set_timer(g, member);
    *out = member;
    return LEAT_OK;
}

enum leat_error groups_leave(struct groups *g, const char *group, const char *member_id,
                             uint32_t epoch)
{
    struct group_member *member;
    const enum leat_error error = groups_speaks(g, group, member_id, epoch, &member);
    if (error == LEAT_OK)
        group_remove_member(g, member, GROUP_OUT_LEFT);
    return error;
}

enum leat_error group_may_open(const struct group_member *member, uint32_t epoch,
                               const struct group_partition *p)
{
    if (p->state != GROUP_OWNED || p->owner != member)
        return LEAT_ERR_NOT_ASSIGNED;
    return epoch < p->epoch ? LEAT_ERR_FENCED : LEAT_OK;
}

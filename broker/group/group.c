/* Groups and their topics: create, free, find. */
#include "broker/group/group_state.h"

#include <stdlib.h>
#include <string.h>

#include "schema/crc32c.h"

enum { FIRST_ROOM = 16 };

/* ---- finding */

/* The index of the first group whose name is not less than `name`. */
static uint32_t place_of_group(const struct groups *g, const char *name)
{
    uint32_t from = 0, to = g->count;
    while (from < to) {
        const uint32_t middle = from + (to - from) / 2;
        if (strcmp(g->all[middle]->name, name) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

struct group *groups_find(const struct groups *g, const char *name)
{
    const uint32_t at = place_of_group(g, name);
    return at < g->count && strcmp(g->all[at]->name, name) == 0 ? g->all[at] : NULL;
}

uint32_t groups_above(const struct groups *g, const char *name)
{
    const uint32_t at = place_of_group(g, name);
    return at + (at < g->count && strcmp(g->all[at]->name, name) == 0);
}

uint32_t group_place_of_member(const struct group *group, const char *id)
{
    uint32_t from = 0, to = group->member_count;
    while (from < to) {
        const uint32_t middle = from + (to - from) / 2;
        if (strcmp(group->members[middle]->id, id) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

struct group_member *group_find_member(const struct group *group, const char *id)
{
    const uint32_t at = group_place_of_member(group, id);
    return at < group->member_count && strcmp(group->members[at]->id, id) == 0 ? group->members[at]
                                                                               : NULL;
}

struct group_topic *group_find_topic(const struct group *group, const char *name)
{
    for (uint32_t i = 0; i < LEAT_GROUP_TOPICS_MAX; i++)
        if (group->topics[i] != NULL && strcmp(group->topics[i]->name, name) == 0)
            return group->topics[i];
    return NULL;
}

static struct group_topic_bucket *bucket_of(const struct groups *g, const char *name)
{
    const uint32_t hash = leat_crc32c(name, strlen(name));
    const struct group_topic_bucket *bucket =
        &g->topics[hash & ((1u << GROUP_TOPIC_BUCKET_BITS) - 1)];
    return (struct group_topic_bucket *)bucket;
}

struct group_topic *groups_next_topic(const struct groups *g, const char *name,
                                      const struct group_topic *previous)
{
    struct group_topic *topic =
        previous != NULL ? LIST_NEXT(previous, name_node) : LIST_FIRST(bucket_of(g, name));
    while (topic != NULL && strcmp(topic->name, name) != 0)
        topic = LIST_NEXT(topic, name_node);
    return topic;
}

/* ---- open and close */

enum leat_error groups_open(struct groups *g, const struct groups_hooks *hooks, leat_ns look_ns)
{
    *g = (struct groups){ .hooks = *hooks, .look_ns = look_ns };
    TAILQ_INIT(&g->unsettled);
    TAILQ_INIT(&g->answers);
    TAILQ_INIT(&g->drops);
    enum leat_error error = timers_open(&g->timers, GROUPS_MEMBERS_MAX);
    if (error == LEAT_OK)
        error = timers_open(&g->idle, GROUPS_MAX);
    return error;
}

bool group_take(struct groups *g, void *maker, enum group_table table, uint32_t count,
                const char **why)
{
    return g->hooks.take == NULL || g->hooks.take(g->hooks.user, maker, table, count, why);
}

void group_give_back(struct groups *g, void *maker, enum group_table table, uint32_t count)
{
    if (g->hooks.give_back != NULL && count != 0)
        g->hooks.give_back(g->hooks.user, maker, table, count);
}

/* There is room for the topic, or it does not exist any more. */
static void accept(struct group_topic *topic)
{
    topic->group->refused -= topic->refused_id != 0;
    topic->refused_id = 0;
}

/* Its owners, if any, must be freed with it or have been updated. */
static void free_partitions(struct groups *g, struct group_topic *topic)
{
    for (uint32_t i = 0; i < topic->count; i++) {
        struct group_partition *p = &topic->partitions[i];
        if (p->state == GROUP_DROPPING)
            topic->group->dropping--;
        if (p->state == GROUP_DROPPING && !p->told)
            TAILQ_REMOVE(&g->drops, p, drop_node);
        if (p->offsets != NULL)
            g->hooks.forget(g->hooks.user, p);
        group_set_owner(p, NULL);
    }
    topic->group->partition_count -= topic->count;
    g->partitions -= topic->count;
    if (topic->count != 0)
        group_give_back(g, topic->maker, GROUP_TABLE_PARTITIONS, topic->count);
    /* Nothing is charged to the maker any more, so it may be freed. If the topic comes back, it is
     * charged to the maker of the group, which lives as long as the group. */
    topic->maker = topic->group->maker;
    free(topic->partitions);
    topic->partitions = NULL;
    topic->count = 0;
    topic->id = 0;
}

void group_free_topic(struct groups *g, struct group_topic *topic)
{
    free_partitions(g, topic);
    accept(topic);
    LIST_REMOVE(topic, name_node);
    topic->group->topics[topic->place] = NULL;
    topic->group->topic_count--;
    free(topic);
}

void group_free_member(struct groups *g, struct group_member *member)
{
    timers_remove(&g->timers, &member->timer);
    if (member->answering)
        TAILQ_REMOVE(&g->answers, member, answer_node);
    g->members--;
    group_give_back(g, member->maker, GROUP_TABLE_MEMBERS, 1);
    free(member);
}

void group_free(struct groups *g, struct group *group)
{
    const uint32_t at = place_of_group(g, group->name);
    for (uint32_t i = 0; i < LEAT_GROUP_TOPICS_MAX; i++)
        if (group->topics[i] != NULL)
            group_free_topic(g, group->topics[i]);
    for (uint32_t i = 0; i < group->member_count; i++)
        group_free_member(g, group->members[i]);
    if (group->unsettled)
        TAILQ_REMOVE(&g->unsettled, group, unsettled_node);
    timers_remove(&g->idle, &group->idle_timer);
    memmove(&g->all[at], &g->all[at + 1], (g->count - at - 1) * sizeof(struct group *));
    g->count--;
    group_give_back(g, group->maker, GROUP_TABLE_GROUPS, 1);
    free(group->members);
    free(group);
}

bool group_free_empty(struct groups *g, struct group *group)
{
    const bool empty = group->member_count == 0 && group->topic_count == 0;
    if (empty)
        group_free(g, group);
    return empty;
}

void groups_close(struct groups *g)
{
    while (g->count != 0)
        group_free(g, g->all[g->count - 1]);
    free(g->all);
    timers_close(&g->timers);
    timers_close(&g->idle);
}

bool group_make_room(void *array, uint32_t count, uint32_t *room)
{
    void **pointers = *(void ***)array;
    if (count < *room)
        return true;
    const uint32_t more = *room == 0 ? FIRST_ROOM : 2 * *room;
    pointers = realloc(pointers, more * sizeof *pointers);
    if (pointers == NULL)
        return false;
    *(void ***)array = pointers;
    *room = more;
    return true;
}

static enum leat_error make_group(struct groups *g, const char *name, void *maker,
                                  struct group **out, const char **why)
{
    if (g->count >= GROUPS_MAX) {
        *why = "the broker has the maximum number of groups: delete some";
        return LEAT_ERR_LIMIT;
    }
    struct group *group = calloc(1, sizeof *group);
    if (group == NULL || !group_make_room(&g->all, g->count, &g->room)) {
        free(group);
        return LEAT_ERR_NO_MEMORY;
    }
    if (!group_take(g, maker, GROUP_TABLE_GROUPS, 1, why)) {
        free(group);
        return LEAT_ERR_LIMIT;
    }
    group->maker = maker;
    const uint32_t at = place_of_group(g, name);
    memmove(&g->all[at + 1], &g->all[at], (g->count - at) * sizeof(struct group *));
    g->all[at] = group;
    g->count++;
    group->id = ++g->last_id;
    strcpy(group->name, name);
    group_unsettle(g, group);
    *out = group;
    return LEAT_OK;
}

enum leat_error group_have(struct groups *g, const char *name, void *maker, struct group **out,
                           const char **why)
{
    *out = groups_find(g, name);
    return *out != NULL ? LEAT_OK : make_group(g, name, maker, out, why);
}

/* ---- topics of a group */

static enum leat_error set_partitions(struct groups *g, struct group_topic *topic,
                                      const struct group_topic_ref *ref, const char **why)
{
    if (topic->group->partition_count + ref->partitions > GROUP_PARTITIONS_MAX) {
        *why = "the group would have more than 16384 partitions: name fewer topics";
        return LEAT_ERR_LIMIT;
    }
    if (g->partitions + ref->partitions > GROUPS_PARTITIONS_MAX) {
        *why = "the partitions of all groups are at the maximum of the broker: delete some groups";
        return LEAT_ERR_LIMIT;
    }
    if (!group_take(g, topic->maker, GROUP_TABLE_PARTITIONS, ref->partitions, why))
        return LEAT_ERR_LIMIT;
    topic->partitions = calloc(ref->partitions, sizeof *topic->partitions);
    if (topic->partitions == NULL) {
        group_give_back(g, topic->maker, GROUP_TABLE_PARTITIONS, ref->partitions);
        return LEAT_ERR_NO_MEMORY;
    }
    for (uint32_t i = 0; i < ref->partitions; i++)
        topic->partitions[i].topic = topic;
    accept(topic);
    topic->id = ref->id;
    topic->count = ref->partitions;
    topic->group->partition_count += ref->partitions;
    g->partitions += ref->partitions;
    return LEAT_OK;
}

static enum leat_error make_topic(struct groups *g, struct group *group,
                                  const struct group_topic_ref *ref, void *maker,
                                  struct group_topic **out, const char **why)
{
    uint32_t place = 0;
    while (place < LEAT_GROUP_TOPICS_MAX && group->topics[place] != NULL)
        place++;
    if (place == LEAT_GROUP_TOPICS_MAX) {
        *why = "the group has the maximum of 64 topics: use another group, or delete this one when "
               "it has no members";
        return LEAT_ERR_LIMIT;
    }
    struct group_topic *topic = calloc(1, sizeof *topic);
    if (topic == NULL)
        return LEAT_ERR_NO_MEMORY;
    topic->group = group;
    topic->maker = maker;
    topic->place = place;
    strcpy(topic->name, ref->name);
    const enum leat_error error = set_partitions(g, topic, ref, why);
    if (error != LEAT_OK) {
        free(topic);
        return error;
    }
    LIST_INSERT_HEAD(bucket_of(g, topic->name), topic, name_node);
    group->topics[place] = topic;
    group->topic_count++;
    *out = topic;
    return LEAT_OK;
}

enum leat_error group_have_topic(struct groups *g, struct group *group,
                                 const struct group_topic_ref *ref, void *maker,
                                 struct group_topic **out, const char **why)
{
    *out = group_find_topic(group, ref->name);
    if (*out == NULL)
        return make_topic(g, group, ref, maker, out, why);
    if ((*out)->id != 0)
        return LEAT_OK;
    /* The topic was created again when there was no room for it. */
    const enum leat_error error = set_partitions(g, *out, ref, why);
    group->unassigned |= error == LEAT_OK;
    return error;
}

enum leat_error groups_restore(struct groups *g, const char *name,
                               const struct group_topic_ref *topic, void *maker,
                               struct group_topic **out, const char **why)
{
    struct group *group;
    *why = "no memory left";
    const enum leat_error error = group_have(g, name, maker, &group, why);
    if (error != LEAT_OK)
        return error;
    group_unsettle(g, group); /* the next step frees what stays unused */
    const enum leat_error made = group_have_topic(g, group, topic, maker, out, why);
    if (made != LEAT_OK)
        group_free_empty(g, group);
    return made;
}

/* ---- topics come and go */

static void remove_topic(struct groups *g, struct group_topic *topic)
{
    for (uint32_t i = 0; i < topic->count; i++) {
        struct group_partition *p = &topic->partitions[i];
        if (p->owner == NULL)
            continue;
        if (p->state == GROUP_OWNED)
            p->owner->assigned--;
        else
            group_end_leaving(p->owner);
        p->owner->changed = true; /* until groups_step has handled the group */
    }
    free_partitions(g, topic);
    topic->group->unassigned = true;
    group_unsettle(g, topic->group);
}

/* Answers the held requests of its subscribers, with its new state. */
static void tell_members(struct groups *g, struct group_topic *topic)
{
    struct group *group = topic->group;
    for (uint32_t i = 0; i < group->member_count; i++) {
        struct group_member *member = group->members[i];
        member->changed |= (member->topics >> topic->place & 1) != 0;
    }
    group_unsettle(g, group);
}

static void refuse_topic(struct groups *g, struct group_topic *topic,
                         const struct group_topic_ref *ref, enum leat_error error)
{
    topic->group->refused += topic->refused_id == 0;
    topic->refused_id = ref->id;
    topic->refused_count = ref->partitions;
    topic->refused = (int16_t)error;
    tell_members(g, topic);
}

/* Rarely called, from the step that control runs for every record: not inlined, to keep that fast.
 */
__attribute__((noinline, cold)) void group_retry_refused(struct groups *g, struct group *group)
{
    const char *why;
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX && group->refused != 0; t++) {
        struct group_topic *topic = group->topics[t];
        if (topic == NULL || topic->refused_id == 0)
            continue;
        const struct group_topic_ref ref = { .name = topic->name,
                                             .id = topic->refused_id,
                                             .partitions = topic->refused_count };
        if (set_partitions(g, topic, &ref, &why) != LEAT_OK)
            continue;
        group->unassigned = true;
        tell_members(g, topic);
    }
}

void groups_topic_removed(struct groups *g, const char *name, uint64_t topic_id)
{
    for (struct group_topic *topic = groups_next_topic(g, name, NULL); topic != NULL;
         topic = groups_next_topic(g, name, topic)) {
        if (topic->refused_id == topic_id) {
            accept(topic);
            tell_members(g, topic);
        }
        if (topic->id == topic_id)
            remove_topic(g, topic);
    }
}

void groups_topic_added(struct groups *g, const struct group_topic_ref *ref)
{
    const char *why;
    for (struct group_topic *topic = groups_next_topic(g, ref->name, NULL); topic != NULL;
         topic = groups_next_topic(g, ref->name, topic)) {
        if (topic->id != 0)
            continue;
        const enum leat_error error = set_partitions(g, topic, ref, &why);
        if (error != LEAT_OK) {
            refuse_topic(g, topic, ref, error);
            continue;
        }
        topic->group->unassigned = true;
        group_unsettle(g, topic->group);
    }
}

void groups_forget_offsets(struct groups *g, struct group_partition *partition)
{
    g->hooks.forget(g->hooks.user, partition);
    group_unsettle(g, partition->topic->group);
}

/* ---- groups without members */

void groups_touch(struct group *group, leat_ns now)
{
    group->idle_since = now;
    group->stored_ns = 0;
}

struct group *groups_next_idle(struct groups *g, leat_ns now)
{
    struct timer *timer = timers_due(&g->idle, now);
    return timer != NULL ? (void *)((char *)timer - offsetof(struct group, idle_timer)) : NULL;
}

void groups_look_again(struct groups *g, struct group *group, leat_ns at)
{
    timers_set(&g->idle, &group->idle_timer, at);
}

enum leat_error groups_delete(struct groups *g, const char *name)
{
    struct group *group = groups_find(g, name);
    if (group == NULL)
        return LEAT_ERR_UNKNOWN_GROUP;
    if (group->member_count != 0)
        return LEAT_ERR_GROUP_NOT_EMPTY;
    if (group->dropping != 0)
        return LEAT_BUSY;
    group_free(g, group);
    return LEAT_OK;
}

/* Lists and descriptions of groups. */
#include <stdlib.h>
#include <string.h>

#include "broker/control/control_state.h"
#include "schema/loss.h"

enum {
    LIST_PAGE = 2048,                    /* groups per answer */
    DESCRIBE_PAGE = LEAT_PARTITIONS_MAX, /* partitions per answer */
};

static Leat__Control__GroupState state_of(const struct group *group)
{
    if (group->member_count == 0)
        return LEAT__CONTROL__GROUP_STATE__EMPTY;
    return group->leaving != 0 || group->dropping != 0 ? LEAT__CONTROL__GROUP_STATE__MOVING
                                                       : LEAT__CONTROL__GROUP_STATE__STABLE;
}

/* ---- lists */

void control_list_groups(struct control *control, struct control_conn *p,
                         const Leat__Control__Request *request)
{
    const struct groups *g = &control->groups;
    const uint32_t first = groups_above(g, request->list_groups->after);
    const uint32_t left = g->count - first;
    const uint32_t count = left < LIST_PAGE ? left : LIST_PAGE;
    Leat__Control__GroupSummary *rows = calloc(count + 1, sizeof *rows);
    Leat__Control__GroupSummary **list = calloc(count + 1, sizeof(Leat__Control__GroupSummary *));
    control_charge(control, count);
    if (rows == NULL || list == NULL) {
        control_conn_refuse_busy(control, p, request->id);
    } else {
        for (uint32_t i = 0; i < count; i++) {
            const struct group *group = g->all[first + i];
            leat__control__group_summary__init(&rows[i]);
            rows[i].group = (char *)group->name;
            rows[i].state = state_of(group);
            rows[i].members = group->member_count;
            rows[i].partitions = group->in_use;
            list[i] = &rows[i];
        }
        Leat__Control__GroupList groups = LEAT__CONTROL__GROUP_LIST__INIT;
        groups.groups = list;
        groups.n_groups = count;
        groups.more = count < left;
        Leat__Control__Response response = LEAT__CONTROL__RESPONSE__INIT;
        response.id = request->id;
        response.body_case = LEAT__CONTROL__RESPONSE__BODY_GROUPS;
        response.groups = &groups;
        control_conn_answer(control, p, &response);
    }
    free(rows);
    free(list);
}

/* ---- descriptions: the shards measure the positions in their logs first */

static void set_measure(const struct control *control, struct operation_part *part,
                        const struct group_topic *in, uint32_t index)
{
    struct message *m = &part->message;
    const struct topic *topic = topics_find(control->options.topics, in->id);
    m->type = MESSAGE_MEASURE;
    m->topic_id = in->id;
    m->partition_index = index;
    m->partition = topic->partitions[index].partition;
    part->shard = topic->partitions[index].shard;
    m->measure.entry = in->partitions[index].offsets;
    if (m->measure.entry != NULL)
        operation_hold(part, m->measure.entry);
}

/* Whether to describe the topic. A left-out topic has no logs to measure. */
static bool is_wanted(const struct control *control, const struct group_topic *topic,
                      const char *only)
{
    return topic != NULL && (only[0] == '\0' || strcmp(topic->name, only) == 0)
           && topics_find(control->options.topics, topic->id) != NULL;
}

/* Sets a part of `op` (NULL: none) for each partition to describe, up to `room` parts. Returns the
 * number of partitions. */
static uint32_t set_measures(const struct control *control, struct operation *op,
                             const struct group *group, const char *only, uint32_t room)
{
    uint32_t count = 0;
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX; t++) {
        const struct group_topic *topic = group->topics[t];
        if (!is_wanted(control, topic, only))
            continue;
        for (uint32_t i = 0; i < topic->count; i++) {
            if (!group_partition_in_use(&topic->partitions[i]))
                continue;
            if (op != NULL && count < room)
                set_measure(control, &op->parts[count], topic, i);
            count++;
        }
    }
    return count;
}

void control_describe_group(struct control *control, struct control_conn *p,
                            const Leat__Control__Request *request)
{
    const Leat__Control__DescribeGroup *ask = request->describe_group;
    const struct group *group = groups_find(&control->groups, ask->group);
    if (group == NULL) {
        control_refuse_group(control, p, request->id, ask->group);
        return;
    }
    const uint32_t all = set_measures(control, NULL, group, ask->topic, 0);
    const uint32_t count = all < DESCRIBE_PAGE ? all : DESCRIBE_PAGE;
    struct operation *op =
        operation_begin(control, p, request->id, OPERATION_DESCRIBE_GROUP, count);
    if (op == NULL)
        return;
    control_charge(control, (uint64_t)group->partition_count + count);
    strcpy(op->group, ask->group);
    op->cut = count < all;
    set_measures(control, op, group, ask->topic, count);
    operation_send(control, op);
}

struct picture {
    Leat__Control__GroupMember *members;
    Leat__Control__GroupMember **member_list;
    Leat__Control__GroupPartition *partitions;
    Leat__Control__GroupPartition **partition_list;
    char **topics;
};

static void draw_member(const struct control *control, Leat__Control__GroupMember *out,
                        const struct group_member *member, char **topics)
{
    leat__control__group_member__init(out);
    out->member_id = (char *)member->id;
    out->member_epoch = member->epoch;
    out->client_name = (char *)member->client;
    out->session_timeout_ms = member->session_ms;
    out->silent_ms = (uint32_t)((control->now - member->heard) / LEAT_NS_PER_MS);
    out->assigned = member->assigned;
    out->leaving = member->leaving;
    out->topics = topics;
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX; t++)
        if ((member->topics >> t & 1) != 0)
            topics[out->n_topics++] = member->group->topics[t]->name;
}

static void draw_offset(Leat__Control__GroupPartition *out, const struct group_partition *p,
                        const struct partition *log, const struct message_measure *m)
{
    const struct offsets_entry *entry = p->offsets;
    if (entry == NULL)
        return;
    const uint64_t stands = offsets_committed(entry);
    const bool here = stands != LEAT_OFFSET_NONE;
    offsets_lost(entry, &out->lost_at_least, &out->lost_at_most);
    out->metadata = p->metadata != NULL ? p->metadata : out->metadata;
    if (!here && entry->before_log_epoch == 0)
        return;
    out->committed = here ? stands : entry->before_offset;
    out->committed_log_epoch = here ? entry->log_epoch : entry->before_log_epoch;
    out->commit_time_ns = atomic_load_explicit(&entry->commit_ns, memory_order_relaxed);
    /* The group may have committed more since the measurement. */
    const uint64_t from = here && stands > m->head_offset ? stands : m->head_offset;
    out->lag_records = m->next_offset > from ? m->next_offset - from : 0;
    if (out->committed < m->head_offset)
        out->lost_at_most += m->head_offset - out->committed;
    out->lost_at_least +=
        leat_lost_at_least(out->committed, m->head_offset, 0, partition_certain_offset(log));
}

static void draw_partition(struct control *control, Leat__Control__GroupPartition *out,
                           const struct group *group, const struct message *m)
{
    const struct topic *topic = topics_find(control->options.topics, m->topic_id);
    leat__control__group_partition__init(out);
    out->partition = m->partition_index;
    out->error = m->status;
    const struct group_partition *p =
        topic != NULL ? control_group_partition(group, topic, m->partition_index) : NULL;
    if (p == NULL) { /* deleted meanwhile */
        out->topic = (char *)"deleted";
        out->error = LEAT_ERR_UNKNOWN_TOPIC;
        return;
    }
    out->topic = p->topic->name;
    out->member_id = p->owner != NULL ? p->owner->id : out->member_id;
    if (m->status != LEAT_OK)
        return;
    out->log_epoch = partition_log_epoch(m->partition);
    out->open = m->measure.open;
    out->required = m->measure.required;
    out->head_offset = m->measure.head_offset;
    out->next_offset = m->measure.next_offset;
    out->lag_bytes = m->measure.lag_bytes;
    out->lag_ms = m->measure.lag_ms;
    out->overrun_bytes = m->measure.overrun_bytes;
    out->overrun_ms = m->measure.overrun_ms;
    draw_offset(out, p, m->partition, &m->measure);
}

static bool picture_open(struct picture *picture, const struct group *group, uint32_t partitions)
{
    const size_t members = group->member_count + 1, rows = partitions + 1;
    picture->members = calloc(members, sizeof *picture->members);
    picture->member_list = calloc(members, sizeof(Leat__Control__GroupMember *));
    picture->partitions = calloc(rows, sizeof *picture->partitions);
    picture->partition_list = calloc(rows, sizeof(Leat__Control__GroupPartition *));
    picture->topics = calloc(members * LEAT_GROUP_TOPICS_MAX, sizeof(char *));
    return picture->members != NULL && picture->member_list != NULL && picture->partitions != NULL
           && picture->partition_list != NULL && picture->topics != NULL;
}

static void picture_close(struct picture *picture)
{
    free(picture->members);
    free(picture->member_list);
    free(picture->partitions);
    free(picture->partition_list);
    free(picture->topics);
}

/* Shortens the description until it fits a message: first drops the topics of members, then halves
 * the partitions, then the members. */
static void make_fit(Leat__Control__Response *response)
{
    Leat__Control__GroupDescription *out = response->group;
    while (leat_control_response_bytes(response)
           > LEAT_CONTROL_BYTES_MAX + LEAT_CONTROL_PREFIX_BYTES) {
        bool topics = false;
        for (size_t i = 0; i < out->n_members; i++) {
            topics |= out->members[i]->n_topics != 0;
            out->members[i]->n_topics = 0;
        }
        if (topics)
            continue;
        out->cut = true;
        out->n_partitions /= 2;
        out->n_members -= out->n_partitions == 0 ? out->n_members / 2 : 0;
    }
}

static void answer_described(struct control *control, struct operation *op,
                             const struct group *group, const struct picture *picture)
{
    Leat__Control__GroupDescription out = LEAT__CONTROL__GROUP_DESCRIPTION__INIT;
    for (uint32_t i = 0; i < group->member_count; i++) {
        draw_member(control, &picture->members[i], group->members[i],
                    picture->topics + (size_t)i * LEAT_GROUP_TOPICS_MAX);
        picture->member_list[i] = &picture->members[i];
    }
    for (uint32_t i = 0; i < op->count; i++) {
        draw_partition(control, &picture->partitions[i], group, &op->parts[i].message);
        picture->partition_list[i] = &picture->partitions[i];
    }
    out.group = (char *)group->name;
    out.state = state_of(group);
    out.epoch = group->epoch;
    out.members = picture->member_list;
    out.n_members = group->member_count;
    out.partitions = picture->partition_list;
    out.n_partitions = op->count;
    out.cut = op->cut;
    Leat__Control__Response response = LEAT__CONTROL__RESPONSE__INIT;
    response.id = op->request;
    response.body_case = LEAT__CONTROL__RESPONSE__BODY_GROUP;
    response.group = &out;
    make_fit(&response);
    control_conn_answer(control, op->owner, &response);
}

void control_described(struct control *control, struct operation *op)
{
    const struct group *group = groups_find(&control->groups, op->group);
    struct picture picture;
    if (group == NULL) {
        if (op->owner != NULL)
            control_conn_refuse(control, op->owner, op->request, LEAT_ERR_UNKNOWN_GROUP,
                                "group \"%s\" was deleted meanwhile", op->group);
    } else {
        if (picture_open(&picture, group, op->count))
            answer_described(control, op, group, &picture);
        else
            control_conn_refuse_busy(control, op->owner, op->request);
        picture_close(&picture);
    }
    operation_free(control, op);
}

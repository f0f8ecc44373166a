/* Requests of group members: join, heartbeat, leave; and the hand-over of their partitions. */
#include <stdlib.h>
#include <string.h>

#include "broker/control/control_state.h"
#include "ops/log.h"

enum {
    JOINS_PER_SECOND = 500, /* per connection */
    JOINS_RETRY_MS = 100,
    FULL_RETRY_MS = 1000, /* a member has to leave first */
};

/* ---- hooks of the coordinator */

static const char *const OUT[] = {
    [GROUP_OUT_LEFT] = "group.member_left",
    [GROUP_OUT_SILENT] = "group.member_silent",
    [GROUP_OUT_FENCED] = "group.member_fenced",
};

/* Logs it, and refuses the held request of the member, if any. */
static void member_out(void *user, struct group_member *member, enum group_out why)
{
    struct control *control = user;
    const bool fenced = why == GROUP_OUT_FENCED;
    metric_add(&control->counters.group_silent, why == GROUP_OUT_SILENT);
    metric_add(&control->counters.group_fenced, fenced);
    log_line(why == GROUP_OUT_LEFT ? LOG_INFO : LOG_WARN, OUT[why],
             log_text("group", member->group->name), log_text("member", member->id),
             log_text("client", member->client), log_u64("epoch", member->epoch),
             log_u64("partitions", member->assigned + member->leaving),
             log_u64("session_timeout_ms", member->session_ms));
    if (!member->waiting)
        return;
    LIST_REMOVE(member, waiter_node);
    control_refuse_member(control, member->waiter, member->request,
                          fenced ? LEAT_ERR_FENCED : LEAT_ERR_UNKNOWN_MEMBER, member->group->name,
                          member->id, member->epoch);
}

static void forget(void *user, struct group_partition *partition)
{
    struct control *control = user;
    offsets_remove(control->offsets, partition->offsets);
    control_metadata_free(control, partition->metadata);
    group_partition_set_offsets(partition, NULL);
    partition->metadata = NULL;
}

enum leat_error control_groups_open(struct control *control)
{
    const struct groups_hooks hooks = { .user = control,
                                        .take = control_group_take,
                                        .give_back = control_group_give_back,
                                        .out = member_out,
                                        .forget = forget };
    control->kept = memory_part_open(control->options.memory, MEMORY_OF_GROUPS);
    if (control->kept == NULL && control->options.memory != NULL)
        return LEAT_ERR_NO_MEMORY;
    enum leat_error error = offsets_open(&control->offsets, control->kept);
    if (error != LEAT_OK)
        return error;
    error = groups_open(&control->groups, &hooks, control_group_look_ns(control));
    control->groups_opened = error == LEAT_OK;
    return error;
}

void control_groups_close(struct control *control)
{
    if (control->groups_opened)
        groups_close(&control->groups);
    if (control->offsets != NULL)
        offsets_close(control->offsets);
    memory_part_release(control->kept);
}

void control_refuse_member(struct control *control, struct control_conn *p, uint64_t request,
                           enum leat_error error, const char *group, const char *member_id,
                           uint32_t epoch)
{
    if (error == LEAT_ERR_FENCED)
        control_conn_refuse(
            control, p, request, error,
            "member \"%s\" of group \"%s\" with epoch %u: another process has joined with this "
            "id; give each process its own id",
            member_id, group, epoch);
    else
        control_conn_refuse(
            control, p, request, error,
            "group \"%s\" has no member \"%s\": it was silent for too long, has left, or "
            "the broker was restarted; join again",
            group, member_id);
}

/* ---- answers */

struct picture {
    Leat__Control__TopicPartitions topics[LEAT_GROUP_TOPICS_MAX];
    Leat__Control__TopicPartitions *list[LEAT_GROUP_TOPICS_MAX];
    size_t count;
};

/* Lists the topics of the member for which its group has no room; returns their number. */
static size_t draw_refused(struct control *control, const struct group_member *member)
{
    static char limit[] = "the group, its creator or the broker would have too many partitions in "
                          "groups (maximum of a group: 16384): delete topics or groups, or create "
                          "the topic with fewer partitions";
    static char memory[] = "the broker has not enough memory for its partitions";
    size_t count = 0;
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX && member->group->refused != 0; t++) {
        const struct group_topic *topic = member->group->topics[t];
        if (topic == NULL || topic->refused_id == 0 || (member->topics >> t & 1) == 0)
            continue;
        Leat__Control__TopicRefused *out = &control->group_refused[count];
        leat__control__topic_refused__init(out);
        out->topic = (char *)topic->name;
        out->error = topic->refused;
        out->text = topic->refused == LEAT_ERR_LIMIT ? limit : memory;
        control->group_refused_list[count++] = out;
    }
    return count;
}

/* The partitions granted to the member. Needs no allocation, which could fail: the member has
 * joined already. */
static void draw(struct control *control, struct picture *picture,
                 const struct group_member *member)
{
    uint32_t *numbers = control->group_numbers;
    uint32_t used = 0;
    picture->count = 0;
    for (uint32_t t = 0; t < LEAT_GROUP_TOPICS_MAX; t++) {
        const struct group_topic *topic = member->group->topics[t];
        const uint32_t from = used;
        for (uint32_t i = 0; topic != NULL && i < topic->count; i++) {
            const struct group_partition *p = &topic->partitions[i];
            if (p->state == GROUP_OWNED && p->owner == member)
                numbers[used++] = i;
        }
        if (used == from)
            continue;
        Leat__Control__TopicPartitions *out = &picture->topics[picture->count];
        leat__control__topic_partitions__init(out);
        out->topic = (char *)topic->name;
        out->topic_id = topic->id;
        out->partitions = numbers + from;
        out->n_partitions = used - from;
        picture->list[picture->count++] = out;
    }
}

static void answer(struct control *control, struct group_member *member)
{
    struct picture picture;
    LIST_REMOVE(member, waiter_node);
    draw(control, &picture, member);
    Leat__Control__GroupAssignment assignment = LEAT__CONTROL__GROUP_ASSIGNMENT__INIT;
    assignment.member_id = member->id;
    assignment.member_epoch = member->epoch;
    assignment.session_timeout_ms = member->session_ms;
    assignment.heartbeat_ms = group_heartbeat_ms(member);
    assignment.assigned = picture.list;
    assignment.n_assigned = picture.count;
    assignment.refused = control->group_refused_list;
    assignment.n_refused = member->group->refused != 0 ? draw_refused(control, member) : 0;
    Leat__Control__Response response = LEAT__CONTROL__RESPONSE__INIT;
    response.id = member->request;
    response.body_case = LEAT__CONTROL__RESPONSE__BODY_ASSIGNMENT;
    response.assignment = &assignment;
    control_conn_answer(control, member->waiter, &response);
}

/* Answers the held request with the current assignment: a newer one replaces it. */
static void answer_waiting(struct control *control, struct group_member *member)
{
    if (!member->waiting)
        return;
    answer(control, member);
    group_forget_waiter(&control->groups, member);
}

static void wait_for(struct control *control, struct control_conn *p, struct group_member *member)
{
    if (p->closed) /* an earlier answer in this iteration closed it */
        group_forget_waiter(&control->groups, member);
    else
        LIST_INSERT_HEAD(&p->waiters, member, waiter_node);
}

void control_group_forget_conn(struct control *control, struct control_conn *p)
{
    struct group_member *member;
    while ((member = LIST_FIRST(&p->waiters)) != NULL) {
        LIST_REMOVE(member, waiter_node);
        group_forget_waiter(&control->groups, member);
    }
}

/* ---- requests */

/* False: refused. */
static bool find_topics(struct control *control, struct control_conn *p, uint64_t request,
                        const Leat__Control__JoinGroup *join, struct group_topic_ref *topics)
{
    for (size_t i = 0; i < join->n_topics; i++) {
        const struct topic *topic = topics_find_name(control->options.topics, join->topics[i]);
        if (topic == NULL) {
            control_conn_refuse_topic(control, p, request, join->topics[i]);
            return false;
        }
        topics[i] = (struct group_topic_ref){ .name = topic->name,
                                              .id = topic->id,
                                              .partitions = topic->settings.partitions };
    }
    return true;
}

static bool may_join(struct control *control, struct control_conn *p, uint64_t request)
{
    if (p->joins.rate == 0)
        quota_init(&p->joins, JOINS_PER_SECOND, control->now);
    if (quota_ready(&p->joins, control->now)) {
        quota_take(&p->joins, 1, control->now);
        return true;
    }
    control_conn_refuse_for(
        control, p, request, LEAT_ERR_THROTTLED, JOINS_RETRY_MS,
        "more than %d joins per second on one connection: try again later, and use "
        "heartbeats to stay in the group",
        JOINS_PER_SECOND);
    return false;
}

static void join_group(struct control *control, struct control_conn *p,
                       const Leat__Control__Request *request)
{
    const Leat__Control__JoinGroup *ask = request->join_group;
    struct group_topic_ref topics[LEAT_GROUP_TOPICS_MAX];
    struct group_member *member;
    const char *why;
    if (!find_topics(control, p, request->id, ask, topics))
        return;
    const struct group_join join = {
        .group = ask->group,
        .member_id = ask->member_id,
        .client = p->client_name,
        .maker = p->maker,
        .topics = topics,
        .topic_count = (uint32_t)ask->n_topics,
        .session_ms =
            ask->session_timeout_ms != 0 ? ask->session_timeout_ms : LEAT_GROUP_SESSION_MS_DEFAULT,
        .names_key =
            (uint32_t)(control->options.catalog->incarnation ^ control->options.catalog->run),
        .waiter = p,
        .request = request->id,
    };
    const enum leat_error error = groups_join(&control->groups, &join, control->now, &member, &why);
    if (error != LEAT_OK) {
        metric_add(&control->counters.group_joins_refused, 1);
        control_conn_refuse_for(control, p, request->id, error, FULL_RETRY_MS, "group \"%s\": %s",
                                ask->group, why);
        return;
    }
    wait_for(control, p, member);
    metric_add(&control->counters.group_joins, 1);
    log_line(LOG_INFO, "group.member_joined", log_text("group", ask->group),
             log_text("member", member->id), log_text("client", member->client),
             log_u64("epoch", member->epoch), log_u64("members", member->group->member_count));
}

void control_join_group(struct control *control, struct control_conn *p,
                        const Leat__Control__Request *request)
{
    if (may_join(control, p, request->id))
        join_group(control, p, request);
    else
        metric_add(&control->counters.group_joins_refused, 1);
}

void control_group_heartbeat(struct control *control, struct control_conn *p,
                             const Leat__Control__Request *request)
{
    const Leat__Control__GroupHeartbeat *ask = request->group_heartbeat;
    struct group_owned owned[LEAT_GROUP_TOPICS_MAX];
    struct group_member *member;
    for (size_t i = 0; i < ask->n_owned; i++)
        owned[i] = (struct group_owned){ .topic = ask->owned[i]->topic,
                                         .topic_id = ask->owned[i]->topic_id,
                                         .partitions = ask->owned[i]->partitions,
                                         .count = ask->owned[i]->n_partitions };
    const struct group_heartbeat beat = { .group = ask->group,
                                          .member_id = ask->member_id,
                                          .epoch = ask->member_epoch,
                                          .wait_ms = ask->wait_ms,
                                          .owned = owned,
                                          .owned_count = ask->n_owned,
                                          .waiter = p,
                                          .request = request->id };
    enum leat_error error =
        groups_speaks(&control->groups, ask->group, ask->member_id, ask->member_epoch, &member);
    if (error == LEAT_OK) {
        answer_waiting(control, member);
        error = groups_heartbeat(&control->groups, &beat, control->now, &member);
    }
    if (error != LEAT_OK)
        control_refuse_member(control, p, request->id, error, ask->group, ask->member_id,
                              ask->member_epoch);
    else
        wait_for(control, p, member);
}

void control_leave_group(struct control *control, struct control_conn *p,
                         const Leat__Control__Request *request)
{
    const Leat__Control__LeaveGroup *leave = request->leave_group;
    const enum leat_error error =
        groups_leave(&control->groups, leave->group, leave->member_id, leave->member_epoch);
    if (error == LEAT_OK)
        control_conn_done(control, p, request->id);
    else
        control_refuse_member(control, p, request->id, error, leave->group, leave->member_id,
                              leave->member_epoch);
}

/* ---- steps */

static void drop(struct control *control, struct operation *op, struct group_partition *partition)
{
    struct group_topic *in = partition->topic;
    const uint32_t index = (uint32_t)(partition - in->partitions);
    const struct topic *topic = topics_find(control->options.topics, in->id);
    struct message *m = &op->parts[0].message;
    strcpy(op->group, in->group->name);
    strcpy(op->topic, in->name);
    op->topic_id = in->id;
    m->type = MESSAGE_REVOKE;
    m->topic_id = in->id;
    m->partition_index = index;
    m->partition = topic->partitions[index].partition;
    m->commit.entry = partition->offsets;
    op->parts[0].shard = topic->partitions[index].shard;
    operation_hold(&op->parts[0], partition->offsets);
    metric_add(&control->counters.group_moves, 1);
    operation_send(control, op);
}

void control_dropped(struct control *control, struct operation *op)
{
    const struct group *group = groups_find(&control->groups, op->group);
    const struct group_topic *topic = group != NULL ? group_find_topic(group, op->topic) : NULL;
    const struct message *m = &op->parts[0].message;
    /* If the topic was deleted meanwhile, the partition is gone. */
    if (topic != NULL && topic->id == op->topic_id) {
        log_line(LOG_DEBUG, "group.partition_dropped", log_text("group", op->group),
                 log_text("topic", op->topic), log_u64("partition", m->partition_index),
                 log_u64("committed", m->value));
        groups_dropped(&control->groups, &topic->partitions[m->partition_index]);
    }
    operation_free(control, op);
}

void control_groups_step(struct control *control)
{
    struct groups *g = &control->groups;
    struct group_member *member;
    groups_step(g, control->now);
    while ((member = groups_next_answer(g)) != NULL)
        answer(control, member);
    while (!TAILQ_EMPTY(&g->drops)) {
        struct operation *op = operation_begin_own(control, OPERATION_DROP, 1);
        if (op == NULL)
            break; /* operations end soon, and the next step retries */
        drop(control, op, groups_next_drop(g));
    }
    control_groups_expire(control);
    metric_set(&control->counters.groups, g->count);
    metric_set(&control->counters.group_members, g->members);
    metric_set(&control->counters.group_offsets, offsets_count(control->offsets));
}

void control_group_topic_created(struct control *control, const struct topic *topic)
{
    const struct group_topic_ref ref = { .name = topic->name,
                                         .id = topic->id,
                                         .partitions = topic->settings.partitions };
    groups_topic_added(&control->groups, &ref);
}

enum leat_error control_group_entry(struct control *control, struct group_partition *partition,
                                    uint64_t log_epoch, struct offsets_entry **out)
{
    const struct group_topic *topic = partition->topic;
    const struct offsets_key key = { .group_id = topic->group->id,
                                     .topic_id = topic->id,
                                     .partition = (uint32_t)(partition - topic->partitions) };
    *out = partition->offsets;
    if (*out != NULL)
        return LEAT_OK;
    const enum leat_error error = offsets_create(control->offsets, &key, log_epoch, out);
    if (error == LEAT_OK)
        group_partition_set_offsets(partition, *out);
    return error;
}

void control_group_forget_unused(struct control *control, struct operation *op)
{
    const struct group *group = groups_find(&control->groups, op->group);
    const struct group_topic *topic = group != NULL ? group_find_topic(group, op->topic) : NULL;
    for (uint32_t i = 0; topic != NULL && topic->id == op->topic_id && i < op->count; i++) {
        struct operation_part *part = &op->parts[i];
        const struct offsets_entry *entry = part->entry;
        if (entry == NULL || part->message.status == LEAT_OK)
            continue;
        struct group_partition *p = &topic->partitions[part->message.partition_index];
        const bool here = p->offsets == entry && p->state != GROUP_DROPPING;
        offsets_release(part->entry);
        part->entry = NULL;
        if (here && offsets_is_unused(entry))
            groups_forget_offsets(&control->groups, p);
    }
}

/* The partition in the group with the hash of the message; NULL: the reader is not in a group. */
static const struct group_partition *find_holder(const struct control *control,
                                                 const struct topic *topic, const struct message *m)
{
    const struct group_topic *in = NULL;
    while (topic != NULL && (in = groups_next_topic(&control->groups, topic->name, in)) != NULL) {
        const bool there = in->id == topic->id && m->partition_index < in->count;
        const struct group_partition *p = there ? &in->partitions[m->partition_index] : NULL;
        if (p != NULL && p->offsets != NULL && control_hash_group(in->group->name) == m->value)
            return p;
    }
    return NULL;
}

void control_held_back(struct control *control, const struct message *m)
{
    const struct topic *topic = topics_find(control->options.topics, m->topic_id);
    const struct group_partition *p = find_holder(control, topic, m);
    const char *name = topic != NULL ? topic->name : "(deleted)";
    metric_add(&control->counters.held_back, 1);
    if (p == NULL)
        log_line(LOG_WARN, "topic.held_back", log_text("topic", name),
                 log_u64("partition", m->partition_index),
                 log_text("by", "a required reader that is not in a group"));
    else
        log_line(LOG_WARN, "topic.held_back", log_text("topic", name),
                 log_u64("partition", m->partition_index), log_text("group", p->topic->group->name),
                 log_text("member", p->owner != NULL ? p->owner->id : ""),
                 log_u64("committed", offsets_committed(p->offsets)),
                 log_text("do", "make the group read faster, or give the topic a larger ring"));
}

/* Why producers stopped waiting for a required reader, and what to do about it. */
static void say_why(int16_t status, const char **why, const char **what)
{
    switch (status) {
    case LEAT_ERR_TIMEOUT:
        *why = "producers waited for it for required_timeout_ms, and it made no progress";
        *what =
            "check why it neither consumes nor commits; it is required again when it subscribes";
        break;
    case LEAT_ERR_LIMIT:
        *why = "no client had it open, and its client created other required readers instead";
        *what = "use fewer required readers per control connection";
        break;
    default:
        *why = "no client had it open for required_timeout_ms";
        *what = "restart it: it is required again when it subscribes";
        break;
    }
}

void control_required_lost(struct control *control, const struct message *m)
{
    const struct topic *topic = topics_find(control->options.topics, m->topic_id);
    const struct group_partition *p = find_holder(control, topic, m);
    const char *why, *what;
    say_why(m->status, &why, &what);
    metric_add(&control->counters.required_lost, 1);
    log_line(LOG_WARN, "topic.required_reader_lost",
             log_text("topic", topic != NULL ? topic->name : "(deleted)"),
             log_u64("partition", m->partition_index),
             log_text("group", p != NULL ? p->topic->group->name : ""),
             log_text("client", control_session_client(control, m->session)), log_text("why", why),
             log_text("then", "producers no longer wait for it"), log_text("do", what));
}

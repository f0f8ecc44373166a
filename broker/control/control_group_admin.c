/* Administration of groups: commits on control, resets, deletion. */
#include <stdlib.h>
#include <string.h>

#include "broker/control/control_state.h"
#include "ops/log.h"

void control_refuse_group(struct control *control, struct control_conn *p, uint64_t request,
                          const char *group)
{
    control_conn_refuse(control, p, request, LEAT_ERR_UNKNOWN_GROUP,
                        "group \"%s\" does not exist: see `leat group list`", group);
}

static void refuse_members(struct control *control, struct control_conn *p, uint64_t request,
                           const struct group *group)
{
    control_conn_refuse(
        control, p, request, LEAT_ERR_GROUP_NOT_EMPTY,
        "group \"%s\" has members (%u): stop them, or wait until their sessions time out",
        group->name, group->member_count);
}

static void refuse_dropping(struct control *control, struct control_conn *p, uint64_t request,
                            const char *group)
{
    control_conn_refuse_for(
        control, p, request, LEAT_BUSY, CONTROL_RETRY_MS,
        "group \"%s\": the streams of its last member are still being closed: try again "
        "later",
        group);
}

/* ---- common to COMMIT and RESET: the list of committed offsets */

/* Reserves the memory of the answer, so that it cannot fail after the commit. NULL: answered BUSY.
 */
static struct operation *begin_committed(struct control *control, struct control_conn *p,
                                         uint64_t request, enum operation_kind kind, uint32_t parts)
{
    return operation_begin_answer(control, p, request, kind, parts,
                                  sizeof(Leat__Control__Committed *)
                                      + sizeof(Leat__Control__Committed));
}

static void answer_committed(struct control *control, struct operation *op,
                             void (*fill)(Leat__Control__Committed *out,
                                          const struct operation_part *part))
{
    Leat__Control__Committed **list = op->answer;
    Leat__Control__Committed *rows = (void *)(list + op->count);
    for (uint32_t i = 0; i < op->count; i++) {
        leat__control__committed__init(&rows[i]);
        rows[i].partition = op->parts[i].message.partition_index;
        rows[i].error = op->parts[i].message.status;
        fill(&rows[i], &op->parts[i]);
        list[i] = &rows[i];
    }
    Leat__Control__CommittedList committed = LEAT__CONTROL__COMMITTED_LIST__INIT;
    committed.offsets = list;
    committed.n_offsets = op->count;
    committed.dry_run = op->dry_run;
    Leat__Control__Response response = LEAT__CONTROL__RESPONSE__INIT;
    response.id = op->request;
    response.body_case = LEAT__CONTROL__RESPONSE__BODY_COMMITTED;
    response.committed = &committed;
    control_conn_answer(control, op->owner, &response);
}

/* Finds or creates the topic in the group. NULL: refused. */
static struct group_topic *place_of(struct control *control, const struct operation *op,
                                    const char *group, const struct topic *topic)
{
    const struct group_topic_ref ref = { .name = topic->name,
                                         .id = topic->id,
                                         .partitions = topic->settings.partitions };
    struct group_topic *in;
    const char *why;
    const enum leat_error error =
        groups_restore(&control->groups, group, &ref, op->owner->maker, &in, &why);
    if (error == LEAT_OK)
        return in;
    control_conn_refuse(control, op->owner, op->request, error, "group \"%s\": %s", group, why);
    return NULL;
}

/* ---- commits on control */

/* Checks that the client may commit: as a member, or as anyone if the group has no members. False:
 * refused. */
static bool find_committer(struct control *control, struct control_conn *p,
                           const Leat__Control__Request *request, struct group_member **member)
{
    const Leat__Control__CommitOffsets *commit = request->commit_offsets;
    const struct group *group = groups_find(&control->groups, commit->group);
    *member = NULL;
    if (commit->member_id[0] == '\0') {
        if (group == NULL || group->member_count == 0)
            return true;
        refuse_members(control, p, request->id, group);
        return false;
    }
    const enum leat_error error = groups_speaks(&control->groups, commit->group, commit->member_id,
                                                commit->member_epoch, member);
    if (error != LEAT_OK)
        control_refuse_member(control, p, request->id, error, commit->group, commit->member_id,
                              commit->member_epoch);
    return error == LEAT_OK;
}

/* A member may commit in a partition until it has released it. */
static enum leat_error may_commit(const struct group_member *member, uint32_t epoch,
                                  const struct group_partition *p)
{
    if (member == NULL)
        return p->state == GROUP_DROPPING ? LEAT_BUSY : LEAT_OK;
    return p->state == GROUP_LEAVING && p->owner == member ? LEAT_OK
                                                           : group_may_open(member, epoch, p);
}

static void set_commit(struct control *control, struct operation_part *part,
                       const struct topic *topic, struct group_topic *in,
                       const struct group_member *member, uint32_t epoch,
                       const Leat__Control__PartitionCommit *commit)
{
    struct message *m = &part->message;
    struct offsets_entry *entry;
    m->type = MESSAGE_COMMIT;
    m->topic_id = topic->id;
    m->partition_index = commit->partition;
    m->status = LEAT_ERR_UNKNOWN_PARTITION;
    if (commit->partition >= topic->settings.partitions)
        return;
    struct group_partition *p = &in->partitions[commit->partition];
    m->partition = topic->partitions[commit->partition].partition;
    part->shard = topic->partitions[commit->partition].shard;
    enum leat_error error = may_commit(member, epoch, p);
    if (error == LEAT_OK && commit->metadata[0] != '\0') {
        part->metadata = control_metadata_copy(control, commit->metadata, strlen(commit->metadata));
        error = part->metadata == NULL ? LEAT_ERR_NO_MEMORY : LEAT_OK;
    }
    if (error == LEAT_OK)
        error = control_group_entry(control, p, partition_log_epoch(m->partition), &entry);
    m->status = (int16_t)error;
    if (error != LEAT_OK)
        return;
    operation_hold(part, entry);
    m->commit.entry = entry;
    m->commit.offset = commit->offset;
    m->commit.log_epoch = commit->log_epoch;
}

void control_commit_offsets(struct control *control, struct control_conn *p,
                            const Leat__Control__Request *request)
{
    const Leat__Control__CommitOffsets *commit = request->commit_offsets;
    const struct topic *topic = topics_find_name(control->options.topics, commit->topic);
    struct group_member *member;
    if (topic == NULL) {
        control_conn_refuse_topic(control, p, request->id, commit->topic);
        return;
    }
    if (!find_committer(control, p, request, &member))
        return;
    struct operation *op =
        begin_committed(control, p, request->id, OPERATION_COMMIT, (uint32_t)commit->n_offsets);
    if (op == NULL)
        return;
    struct group_topic *in = place_of(control, op, commit->group, topic);
    if (in == NULL) {
        operation_free(control, op);
        return;
    }
    groups_touch(in->group, control->now);
    op->topic_id = topic->id;
    strcpy(op->topic, topic->name);
    strcpy(op->group, commit->group);
    for (uint32_t i = 0; i < op->count; i++)
        set_commit(control, &op->parts[i], topic, in, member, commit->member_epoch,
                   commit->offsets[i]);
    operation_send(control, op);
}

static void fill_commit(Leat__Control__Committed *out, const struct operation_part *part)
{
    if (part->entry == NULL)
        return;
    const uint64_t stands = offsets_committed(part->entry);
    const uint64_t before = part->message.commit.before;
    if (stands != LEAT_OFFSET_NONE) {
        out->offset = stands;
        out->log_epoch = part->entry->log_epoch;
    }
    if (part->message.type == MESSAGE_REPLY && before != LEAT_OFFSET_NONE) {
        out->before = before;
        out->before_log_epoch = part->entry->log_epoch;
    }
}

void control_committed(struct control *control, struct operation *op)
{
    const struct group *group = groups_find(&control->groups, op->group);
    const struct group_topic *topic = group != NULL ? group_find_topic(group, op->topic) : NULL;
    for (uint32_t i = 0; topic != NULL && topic->id == op->topic_id && i < op->count; i++) {
        struct operation_part *part = &op->parts[i];
        const uint64_t before = part->message.commit.before;
        if (part->message.status != LEAT_OK || part->metadata == NULL)
            continue;
        if (before != LEAT_OFFSET_NONE && part->message.commit.offset < before)
            continue; /* the committed offset is higher: the metadata does not belong to it */
        struct group_partition *p = &topic->partitions[part->message.partition_index];
        control_metadata_free(control, p->metadata);
        p->metadata = part->metadata;
        part->metadata = NULL;
    }
    answer_committed(control, op, fill_commit);
    control_group_forget_unused(control, op);
    operation_free(control, op);
}

/* ---- resets */

static void set_reset(struct control *control, struct operation_part *part,
                      const struct topic *topic, struct group_topic *in,
                      const Leat__Control__PartitionStart *start, uint32_t index, bool dry_run)
{
    struct message *m = &part->message;
    struct offsets_entry *entry = NULL;
    m->type = MESSAGE_RESET;
    m->topic_id = topic->id;
    m->partition_index = index;
    m->status = LEAT_ERR_UNKNOWN_PARTITION;
    if (index >= topic->settings.partitions)
        return;
    struct group_partition *p = &in->partitions[index];
    m->status = LEAT_OK;
    m->partition = topic->partitions[index].partition;
    part->shard = topic->partitions[index].shard;
    control_set_start(m, start);
    m->subscribe.dry_run = dry_run;
    if (dry_run && p->offsets == NULL) {
        m->type = MESSAGE_SEEK; /* nothing is committed, and a dry run creates nothing */
        return;
    }
    m->status = (int16_t)control_group_entry(control, p, partition_log_epoch(m->partition), &entry);
    if (m->status != LEAT_OK)
        return;
    operation_hold(part, entry);
    m->subscribe.entry = entry;
}

/* Checks that the group exists and is not in use. False: refused. */
static bool may_reset(struct control *control, struct control_conn *p,
                      const Leat__Control__Request *request)
{
    const char *name = request->reset_group->group;
    const struct group *group = groups_find(&control->groups, name);
    if (group == NULL)
        control_refuse_group(control, p, request->id, name);
    else if (group->member_count != 0)
        refuse_members(control, p, request->id, group);
    else if (group->dropping != 0)
        refuse_dropping(control, p, request->id, name);
    else
        return true;
    return false;
}

/* Members that join later open their streams after the reset, because mail to a shard is in order.
 */
void control_reset_group(struct control *control, struct control_conn *p,
                         const Leat__Control__Request *request)
{
    const Leat__Control__ResetGroup *ask = request->reset_group;
    const struct topic *topic = topics_find_name(control->options.topics, ask->topic);
    if (topic == NULL) {
        control_conn_refuse_topic(control, p, request->id, ask->topic);
        return;
    }
    if (!may_reset(control, p, request))
        return;
    const bool some = ask->n_partitions != 0;
    struct operation *op =
        begin_committed(control, p, request->id, OPERATION_RESET,
                        some ? (uint32_t)ask->n_partitions : topic->settings.partitions);
    if (op == NULL)
        return;
    struct group_topic *in = place_of(control, op, ask->group, topic);
    if (in == NULL) {
        operation_free(control, op);
        return;
    }
    control_charge(control, op->count);
    op->topic_id = topic->id;
    strcpy(op->topic, topic->name);
    strcpy(op->group, ask->group);
    op->dry_run = ask->dry_run;
    if (!ask->dry_run)
        groups_touch(in->group, control->now);
    for (uint32_t i = 0; i < op->count; i++) {
        const Leat__Control__PartitionStart *start = some ? ask->partitions[i] : ask->all;
        set_reset(control, &op->parts[i], topic, in, start, some ? start->partition : i,
                  ask->dry_run);
    }
    if (!ask->dry_run)
        log_line(LOG_INFO, "group.reset", log_text("group", ask->group),
                 log_text("topic", topic->name), log_u64("partitions", op->count),
                 log_text("client", p->client_name));
    operation_send(control, op);
}

static void fill_reset(Leat__Control__Committed *out, const struct operation_part *part)
{
    const struct message *m = &part->message;
    if (m->type == MESSAGE_REPLY) {
        out->head_offset = m->subscribe.head_offset;
        out->next_offset = m->subscribe.next_offset;
    }
    if (m->status != LEAT_OK)
        return;
    out->offset = m->subscribe.offset;
    out->log_epoch = partition_log_epoch(m->partition);
    out->before = m->subscribe.committed_log_epoch != 0 ? m->subscribe.committed : 0;
    out->before_log_epoch = m->subscribe.committed_log_epoch;
}

void control_reset(struct control *control, struct operation *op)
{
    /* If the topic was deleted meanwhile, its partitions may be freed. */
    const bool there = topics_find(control->options.topics, op->topic_id) != NULL;
    for (uint32_t i = 0; !there && i < op->count; i++)
        op->parts[i].message.status = LEAT_ERR_UNKNOWN_TOPIC;
    answer_committed(control, op, fill_reset);
    control_group_forget_unused(control, op);
    operation_free(control, op);
}

/* ---- deletion */

void control_delete_group(struct control *control, struct control_conn *p,
                          const Leat__Control__Request *request)
{
    const char *name = request->delete_group->group;
    const enum leat_error error = groups_delete(&control->groups, name);
    switch (error) {
    case LEAT_OK:
        log_line(LOG_INFO, "group.deleted", log_text("group", name),
                 log_text("client", p->client_name));
        control_conn_done(control, p, request->id);
        break;
    case LEAT_ERR_UNKNOWN_GROUP: control_refuse_group(control, p, request->id, name); break;
    case LEAT_ERR_GROUP_NOT_EMPTY:
        refuse_members(control, p, request->id, groups_find(&control->groups, name));
        break;
    default: refuse_dropping(control, p, request->id, name); break;
    }
}

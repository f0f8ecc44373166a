/* Subscriptions, closing streams, and listing offsets. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/control/control_state.h"
#include "schema/session_id.h"

static_assert((int)LEAT__CONTROL__START_AT__LATEST == PARTITION_LATEST
                  && (int)LEAT__CONTROL__START_AT__EARLIEST == PARTITION_EARLIEST
                  && (int)LEAT__CONTROL__START_AT__OFFSET == PARTITION_OFFSET
                  && (int)LEAT__CONTROL__START_AT__TIME == PARTITION_TIME
                  && (int)LEAT__CONTROL__START_AT__COMMITTED == MESSAGE_AT_COMMITTED,
              "the start positions have the same numbers");

/* FNV-1a: required readers are identified by a 64-bit hash of their names. */
static uint64_t hash_name(const char *name)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001B3);
    return hash;
}

/* ---- start positions of readers */

void control_set_start(struct message *m, const Leat__Control__PartitionStart *start)
{
    m->subscribe.at = (uint8_t)start->at;
    if (start->at == LEAT__CONTROL__START_AT__OFFSET) {
        m->subscribe.start = start->offset;
        m->subscribe.log_epoch = start->log_epoch;
    } else if (start->at == LEAT__CONTROL__START_AT__TIME
               || start->at == LEAT__CONTROL__START_AT__COMMITTED) {
        const bool at_offset = start->otherwise == LEAT__CONTROL__START_AT__OFFSET;
        m->subscribe.otherwise = (uint8_t)start->otherwise;
        m->subscribe.start = at_offset ? start->offset : start->time_ns;
        m->subscribe.seen = start->seen_offset;
        m->subscribe.processed = start->processed_offset;
        m->subscribe.log_epoch = start->log_epoch;
        m->subscribe.same_topic = start->topic_id == m->topic_id;
    }
}

/* Sets the fields common to SEEK and OPEN_SUBSCRIPTION. A part with a status other than LEAT_OK is
 * not sent. */
static void set_part(struct operation_part *part, const struct topic *topic, enum message_type type,
                     const Leat__Control__PartitionStart *start)
{
    struct message *m = &part->message;
    m->type = (uint16_t)type;
    m->topic_id = topic->id;
    m->partition_index = start->partition;
    m->session = start->session;
    if (start->partition >= topic->settings.partitions) {
        m->status = LEAT_ERR_UNKNOWN_PARTITION;
        return;
    }
    m->partition = topic->partitions[start->partition].partition;
    part->shard = topic->partitions[start->partition].shard;
    control_set_start(m, start);
}

/* ---- subscriptions */

uint64_t control_hash_group(const char *name)
{
    return ~hash_name(name);
}

/* If the member may open the partition, adds the entry for the group's offset to the message. */
static void set_group(struct control *control, struct operation_part *part,
                      const Leat__Control__OpenSubscription *open,
                      const struct group_member *member, const struct topic *topic)
{
    struct message *m = &part->message;
    struct offsets_entry *entry;
    struct group_partition *p = control_group_partition(member->group, topic, m->partition_index);
    enum leat_error error =
        p == NULL ? LEAT_ERR_NOT_ASSIGNED : group_may_open(member, open->member_epoch, p);
    if (error == LEAT_OK)
        error = control_group_entry(control, p, partition_log_epoch(m->partition), &entry);
    m->status = (int16_t)error;
    if (error != LEAT_OK)
        return;
    operation_hold(part, entry);
    m->subscribe.entry = entry;
    m->subscribe.name_hash = control_hash_group(open->group);
}

void control_open_subscription(struct control *control, struct control_conn *p,
                               const Leat__Control__Request *request)
{
    const Leat__Control__OpenSubscription *open = request->open_subscription;
    const struct topic *topic = topics_find_name(control->options.topics, open->topic);
    if (topic == NULL) {
        control_conn_refuse_topic(control, p, request->id, open->topic);
        return;
    }
    if (open->required && open->name[0] == '\0' && open->group[0] == '\0') {
        control_conn_refuse(
            control, p, request->id, LEAT_ERR_INVALID,
            "a required reader of \"%s\" needs a name, by which producers wait for it",
            open->topic);
        return;
    }
    struct group_member *member = NULL;
    if (open->group[0] != '\0') {
        const enum leat_error error = groups_speaks(&control->groups, open->group, open->member_id,
                                                    open->member_epoch, &member);
        if (error != LEAT_OK) {
            control_refuse_member(control, p, request->id, error, open->group, open->member_id,
                                  open->member_epoch);
            return;
        }
    }
    struct operation *op = operation_begin_answer(
        control, p, request->id, OPERATION_SUBSCRIPTION, (uint32_t)open->n_partitions,
        sizeof(Leat__Control__SubscriptionStream *) + sizeof(Leat__Control__SubscriptionStream));
    if (op == NULL)
        return;
    op->topic_id = topic->id;
    strcpy(op->topic, topic->name);
    strcpy(op->group, open->group);
    for (uint32_t i = 0; i < op->count; i++) {
        struct message *m = &op->parts[i].message;
        set_part(&op->parts[i], topic, MESSAGE_OPEN_SUBSCRIPTION, open->partitions[i]);
        m->subscribe.required = open->required;
        m->subscribe.name_hash = hash_name(open->name);
        m->subscribe.maker = shares_maker(p->maker);
        if (m->status == LEAT_OK
            && (control_session_of(control, p, m->session) == NULL
                || leat_session_shard(m->session) != op->parts[i].shard))
            m->status = LEAT_ERR_UNKNOWN_SESSION;
        if (m->status == LEAT_OK && member != NULL)
            set_group(control, &op->parts[i], open, member, topic);
    }
    operation_send(control, op);
}

/* What the error code alone does not tell. */
static const char *refusal_text(struct control *control, const struct control_conn *p,
                                const struct message *m)
{
    static_assert(REQUIRED_READERS_MAX == 16 && REQUIRED_READERS_OF_CONNECTION_MAX == 2
                      && REQUIRED_READERS_OF_ADDRESS_MAX == 8,
                  "as in the texts");
    if (m->status == LEAT_ERR_NO_MEMORY)
        return control_memory_text(control, p);
    switch (m->status == LEAT_ERR_LIMIT ? m->subscribe.refused : 0) {
    case REQUIRED_READERS_FULL:
        return "the partition has the maximum of 16 required readers: subscribe without being "
               "required";
    case REQUIRED_READERS_OF_CONNECTION:
        return "this connection has 2 of the partition's 16 required readers, and one connection "
               "may have an eighth: close one, or subscribe without being required";
    case REQUIRED_READERS_OF_ADDRESS:
        return "clients of your address have 8 of the partition's 16 required readers, and one "
               "address may have half: close some, or subscribe without being required";
    default: return "";
    }
}

static void set_stream(struct control *control, const struct control_conn *p,
                       Leat__Control__SubscriptionStream *stream, const struct message *m)
{
    leat__control__subscription_stream__init(stream);
    stream->partition = m->partition_index;
    stream->session = m->session;
    stream->error = m->status;
    if (m->status != LEAT_OK) {
        stream->error_text = (char *)refusal_text(control, p, m);
        return;
    }
    stream->stream = m->stream;
    stream->log_epoch = partition_log_epoch(m->partition);
    stream->topic_id = m->topic_id;
    stream->position = m->subscribe.position;
    stream->offset = m->subscribe.offset;
    stream->head_offset = m->subscribe.head_offset;
    stream->next_offset = m->subscribe.next_offset;
    stream->certain_offset = partition_certain_offset(m->partition);
    stream->committed = m->subscribe.committed;
    stream->committed_log_epoch = m->subscribe.committed_log_epoch;
    stream->batch_bytes_max = partition_batch_bytes_max(m->partition);
}

void control_subscribed(struct control *control, struct operation *op)
{
    Leat__Control__SubscriptionStream **list = op->answer;
    Leat__Control__SubscriptionStream *streams = (void *)(list + op->count);
    /* If the topic was deleted meanwhile, its streams are gone and its partitions may be freed. */
    const bool there = topics_find(control->options.topics, op->topic_id) != NULL;
    for (uint32_t i = 0; i < op->count; i++) {
        if (!there)
            op->parts[i].message.status = LEAT_ERR_UNKNOWN_TOPIC;
        set_stream(control, op->owner, &streams[i], &op->parts[i].message);
        list[i] = &streams[i];
    }
    Leat__Control__SubscriptionGrant grant = LEAT__CONTROL__SUBSCRIPTION_GRANT__INIT;
    grant.streams = list;
    grant.n_streams = op->count;
    Leat__Control__Response response = LEAT__CONTROL__RESPONSE__INIT;
    response.id = op->request;
    response.body_case = LEAT__CONTROL__RESPONSE__BODY_SUBSCRIPTION;
    response.subscription = &grant;
    control_conn_answer(control, op->owner, &response);
    control_group_forget_unused(control, op);
    operation_free(control, op);
}

/* ---- closing */

void control_close_streams(struct control *control, struct control_conn *p,
                           const Leat__Control__Request *request)
{
    const Leat__Control__CloseStreams *close = request->close_streams;
    struct operation *op = operation_begin(control, p, request->id, OPERATION_CLOSE_STREAMS,
                                           (uint32_t)close->n_streams);
    if (op == NULL)
        return;
    for (uint32_t i = 0; i < op->count; i++) {
        struct message *m = &op->parts[i].message;
        m->type = MESSAGE_CLOSE_STREAM;
        m->session = close->streams[i]->session;
        m->stream = close->streams[i]->stream;
        op->parts[i].shard = leat_session_shard(m->session);
        if (control_session_of(control, p, m->session) == NULL)
            m->status = LEAT_ERR_UNKNOWN_SESSION;
        else if (m->stream == 0)
            m->status = LEAT_ERR_UNKNOWN_STREAM;
    }
    operation_send(control, op);
}

void control_streams_closed(struct control *control, struct operation *op)
{
    const struct message *wrong = NULL;
    for (uint32_t i = 0; i < op->count && wrong == NULL; i++)
        if (op->parts[i].message.status != LEAT_OK)
            wrong = &op->parts[i].message;
    for (uint32_t i = 0; i < op->count; i++)
        if (op->parts[i].message.status == LEAT_OK)
            control_name_closed(control, op->parts[i].message.session, op->parts[i].message.stream);
    if (wrong == NULL)
        control_conn_done(control, op->owner, op->request);
    else
        control_conn_refuse(
            control, op->owner, op->request, (enum leat_error)wrong->status,
            "stream %u of session %u is not open on this control connection; the others "
            "are closed",
            wrong->stream, wrong->session);
    operation_free(control, op);
}

/* ---- offsets */

void control_list_offsets(struct control *control, struct control_conn *p,
                          const Leat__Control__Request *request)
{
    const Leat__Control__ListOffsets *ask = request->list_offsets;
    const struct topic *topic = topics_find_name(control->options.topics, ask->topic);
    if (topic == NULL) {
        control_conn_refuse_topic(control, p, request->id, ask->topic);
        return;
    }
    struct operation *op =
        operation_begin(control, p, request->id, OPERATION_OFFSETS, (uint32_t)ask->n_partitions);
    if (op == NULL)
        return;
    op->topic_id = topic->id;
    for (uint32_t i = 0; i < op->count; i++) {
        set_part(&op->parts[i], topic, MESSAGE_SEEK, ask->partitions[i]);
        op->parts[i].message.session = 0;
    }
    operation_send(control, op);
}

void control_offsets_found(struct control *control, struct operation *op)
{
    Leat__Control__PartitionOffset *offsets = calloc(op->count, sizeof *offsets);
    Leat__Control__PartitionOffset **list =
        calloc(op->count, sizeof(Leat__Control__PartitionOffset *));
    const bool there = topics_find(control->options.topics, op->topic_id) != NULL;
    if (offsets == NULL || list == NULL) {
        control_conn_refuse_busy(control, op->owner, op->request);
    } else {
        for (uint32_t i = 0; i < op->count; i++) {
            const struct message *m = &op->parts[i].message;
            leat__control__partition_offset__init(&offsets[i]);
            offsets[i].partition = m->partition_index;
            offsets[i].error = there ? m->status : LEAT_ERR_UNKNOWN_TOPIC;
            if (offsets[i].error == LEAT_OK) {
                offsets[i].log_epoch = partition_log_epoch(m->partition);
                offsets[i].offset = m->subscribe.offset;
            }
            list[i] = &offsets[i];
        }
        Leat__Control__OffsetList found = LEAT__CONTROL__OFFSET_LIST__INIT;
        found.offsets = list;
        found.n_offsets = op->count;
        Leat__Control__Response response = LEAT__CONTROL__RESPONSE__INIT;
        response.id = op->request;
        response.body_case = LEAT__CONTROL__RESPONSE__BODY_OFFSETS;
        response.offsets = &found;
        control_conn_answer(control, op->owner, &response);
    }
    free(offsets);
    free(list);
    operation_free(control, op);
}

/* Opens producers on all shards of a topic, in two phases. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/control/control_state.h"
#include "broker/shared/resume_token.h"
#include "schema/session_id.h"

/* A new producer:
 *
 *   OpenProducer --> OPEN_PUBLISH each partition --> grant
 *
 * A producer that another client may have open. A failed opening must not take it away:
 *
 *   OpenProducer --> prepare each partition --> BIND_PUBLISH each --> FENCE every shard --> grant
 *                    (all that can fail)                             (unless it resumes)
 *
 * A session may end between prepare and bind. Nothing is fenced, and no epoch takes effect, until a
 * partition is bound. If only some partitions could be bound, this cannot be undone: the previous
 * holder is fenced, and the opening fails.
 *
 * A client that resumes must present the token that it was granted with its id and epoch; this is
 * checked first. Topics, sessions and names may disappear between the phases, so each phase looks
 * them up again. The memory of the grant is allocated at the beginning. */

/* ---- one publish stream per partition */

static void open_streams(struct control *control, struct operation *op, const struct topic *topic,
                         bool prepare)
{
    op->kind = prepare ? OPERATION_PREPARE : OPERATION_PRODUCER;
    op->count = op->producer.partitions;
    for (uint32_t i = 0; i < op->count; i++) {
        struct operation_part *part = &op->parts[i];
        part->shard = topic->partitions[i].shard;
        part->message = (struct message){
            .type = MESSAGE_OPEN_PUBLISH,
            .session = op->producer.sessions[part->shard],
            .partition_index = i,
            .topic_id = topic->id,
            .partition = topic->partitions[i].partition,
            .publish = { .producer_id = op->producer.id,
                         .producer_epoch = op->producer.epoch,
                         .prepare = prepare,
                         .resume = op->producer.resume,
                         .maker = shares_maker(op->owner->maker),
                         .first_unanswered = op->producer.first_unanswered != NULL
                                                 ? op->producer.first_unanswered[i]
                                                 : 0 },
        };
    }
    operation_send(control, op);
}

/* The opening failed: closes the streams that were opened. */
static void close_streams(struct control *control, const struct operation *op)
{
    for (uint32_t i = 0; i < op->producer.partitions; i++) {
        const struct operation_part *part = &op->parts[i];
        const struct message m = { .type = MESSAGE_CLOSE_STREAM,
                                   .session = part->message.session,
                                   .stream = part->message.stream };
        if (part->message.status == LEAT_OK)
            control_post(control, part->shard, &m);
    }
}

static void answer_grant(struct control *control, struct operation *op)
{
    const uint32_t count = op->producer.partitions;
    assert(count != 0); /* a topic has at least one partition */
    Leat__Control__PublishStream **list = op->answer;
    Leat__Control__PublishStream *streams = (void *)(list + count);
    for (uint32_t i = 0; i < count; i++) {
        const struct message *m = &op->parts[i].message;
        leat__control__publish_stream__init(&streams[i]);
        streams[i].partition = i;
        streams[i].session = m->session;
        streams[i].stream = m->stream;
        streams[i].log_epoch = partition_log_epoch(m->partition);
        streams[i].next_sequence = m->publish.next_sequence;
        streams[i].credit = m->publish.credit;
        streams[i].expired = op->producer.expired || m->publish.expired;
        list[i] = &streams[i];
    }
    const struct topic *topic = topics_find(control->options.topics, op->topic_id);
    Leat__Control__ProducerGrant grant = LEAT__CONTROL__PRODUCER_GRANT__INIT;
    grant.producer_id = op->producer.id;
    grant.producer_epoch = op->producer.epoch;
    grant.topic_id = op->topic_id;
    grant.batch_bytes_max = partition_batch_bytes_max(op->parts[0].message.partition);
    grant.record_bytes_max = topic->settings.record_bytes_max;
    grant.streams = list;
    grant.n_streams = count;
    uint8_t token[LEAT_RESUME_TOKEN_BYTES];
    resume_token_make(control->options.resume_secret, control->options.catalog->run,
                      op->producer.id, op->producer.epoch, token);
    grant.resume_token = (ProtobufCBinaryData){ .len = sizeof token, .data = token };
    Leat__Control__Response response = LEAT__CONTROL__RESPONSE__INIT;
    response.id = op->request;
    response.body_case = LEAT__CONTROL__RESPONSE__BODY_PRODUCER;
    response.producer = &grant;
    control_conn_answer(control, op->owner, &response);
}

/* Removes the name if this opening has created it. */
static void forget_name(struct control *control, const struct operation *op)
{
    struct producer_name *name =
        op->producer.new_name ? producer_names_find(&control->names, op->producer.name) : NULL;
    if (name != NULL && name->id == op->producer.id && name->epoch == op->producer.epoch)
        control_name_remove(control, name);
}

/* The limit of the partition or of the session that was reached. */
static const char *limit_text(struct control *control, const struct producer_share *refused)
{
    static const struct share_words words = { "producers", "close some, or raise producers_max" };
    if (refused->verdict == SHARE_OK)
        return "the session has the maximum number of streams: close some, or open another "
               "session";
    return control_share_refused(control, refused->verdict, control->config->producers_max,
                                 refused->taken, refused->share, &words);
}

static void refuse_failed(struct control *control, struct operation *op, const struct message *m)
{
    close_streams(control, op);
    switch ((enum leat_error)m->status) {
    case LEAT_ERR_FENCED:
        control_conn_refuse(
            control, op->owner, op->request, LEAT_ERR_FENCED,
            "producer %016llx of \"%s\" was opened again with an epoch newer than %u",
            (unsigned long long)op->producer.id, op->topic, op->producer.epoch);
        break;
    case LEAT_ERR_UNKNOWN_SESSION:
        control_conn_refuse(control, op->owner, op->request, LEAT_ERR_UNKNOWN_SESSION,
                            "session %u for partition %u of \"%s\" has ended: open a new one",
                            m->session, m->partition_index, op->topic);
        break;
    case LEAT_ERR_NO_MEMORY:
        control_conn_refuse(control, op->owner, op->request, LEAT_ERR_NO_MEMORY,
                            "partition %u of \"%s\": %s", m->partition_index, op->topic,
                            control_memory_text(control, op->owner));
        break;
    case LEAT_ERR_LIMIT:
        control_conn_refuse(control, op->owner, op->request, LEAT_ERR_LIMIT,
                            "partition %u of \"%s\": %s", m->partition_index, op->topic,
                            limit_text(control, &m->publish.refused));
        break;
    default:
        control_conn_refuse(control, op->owner, op->request, (enum leat_error)m->status,
                            "partition %u of \"%s\" could not be opened for publishing",
                            m->partition_index, op->topic);
        break;
    }
}

/* The first partition that failed; NULL: none. */
static const struct message *find_failed(const struct operation *op)
{
    for (uint32_t i = 0; i < op->producer.partitions; i++)
        if (op->parts[i].message.status != LEAT_OK)
            return &op->parts[i].message;
    return NULL;
}

void control_producer_opened(struct control *control, struct operation *op)
{
    const struct message *failed = find_failed(op);
    const bool there = topics_find(control->options.topics, op->topic_id) != NULL;
    if (op->owner == NULL || !there || failed != NULL)
        forget_name(control, op);
    if (op->owner == NULL) {
        /* The streams end with the sessions. */
    } else if (!there) {
        control_conn_refuse_topic(control, op->owner, op->request, op->topic);
    } else if (failed != NULL) {
        refuse_failed(control, op, failed);
    } else {
        control_name_opened(control, op);
        answer_grant(control, op);
    }
    operation_free(control, op);
}

/* ---- taking over a producer that is open */

static uint32_t newest_epoch(const struct producer_name *name)
{
    return name->epoch > name->tried_epoch ? name->epoch : name->tried_epoch;
}

/* Chooses the epoch, which no other opening can get. False: refused. */
static bool take_identity(struct control *control, struct operation *op)
{
    struct producer_name *name = op->producer.name[0] != '\0'
                                     ? producer_names_find(&control->names, op->producer.name)
                                     : NULL;
    if (op->producer.name[0] == '\0')
        return true;
    if (op->producer.resume
        && (name == NULL || name->id != op->producer.id || name->epoch != op->producer.epoch)) {
        control_conn_refuse(control, op->owner, op->request, LEAT_ERR_FENCED,
                            "producer \"%s\" was opened by another client meanwhile",
                            op->producer.name);
        return false;
    }
    if (op->producer.resume)
        return true;
    if (name == NULL || name->id != op->producer.id || newest_epoch(name) == UINT32_MAX) {
        /* The opening that created the name failed meanwhile. */
        control_conn_refuse_busy(control, op->owner, op->request);
        return false;
    }
    op->producer.epoch = name->tried_epoch = newest_epoch(name) + 1;
    return true;
}

static void bind_streams(struct control *control, struct operation *op)
{
    for (uint32_t i = 0; i < op->producer.partitions; i++) {
        op->parts[i].message.type = MESSAGE_BIND_PUBLISH;
        op->parts[i].message.publish.producer_epoch = op->producer.epoch;
    }
    op->kind = OPERATION_BIND;
    operation_send(control, op);
}

/* Whether the sessions of all partitions exist, as far as control knows. */
static bool has_sessions(struct control *control, const struct operation *op)
{
    for (uint32_t shard = 0; shard < LEAT_SHARDS_MAX; shard++) {
        const uint32_t session = op->producer.sessions[shard];
        if (session != 0 && control_session_of(control, op->owner, session) == NULL)
            return false;
    }
    return true;
}

void control_producer_prepared(struct control *control, struct operation *op)
{
    const struct message *failed = find_failed(op);
    if (op->owner == NULL) { /* the streams end with the sessions */
        operation_free(control, op);
        return;
    }
    if (topics_find(control->options.topics, op->topic_id) == NULL) {
        control_conn_refuse_topic(control, op->owner, op->request, op->topic);
    } else if (failed != NULL) {
        refuse_failed(control, op, failed);
    } else if (!has_sessions(control, op)) {
        close_streams(control, op);
        control_conn_refuse(control, op->owner, op->request, LEAT_ERR_UNKNOWN_SESSION,
                            "a session for \"%s\" has ended: open a new one", op->topic);
    } else if (!take_identity(control, op)) {
        close_streams(control, op);
    } else {
        bind_streams(control, op);
        return;
    }
    operation_free(control, op);
}

static bool any_bound(const struct operation *op)
{
    for (uint32_t i = 0; i < op->producer.partitions; i++)
        if (op->parts[i].message.status == LEAT_OK)
            return true;
    return false;
}

/* Partitions were taken over, so the new epoch is valid and the previous holder is fenced. */
static void put_in_force(struct control *control, const struct operation *op)
{
    struct producer_name *name = producer_names_find(&control->names, op->producer.name);
    if (name == NULL || name->id != op->producer.id)
        return;
    if (op->producer.epoch > name->epoch)
        name->epoch = op->producer.epoch;
    if (op->producer.claimed_epoch > name->claimed_epoch)
        name->claimed_epoch = op->producer.claimed_epoch;
}

void control_producer_bound(struct control *control, struct operation *op)
{
    const uint32_t partitions = op->producer.partitions;
    if (op->producer.resume || !any_bound(op)) {
        control_producer_opened(control, op);
        return;
    }
    put_in_force(control, op);
    op->kind = OPERATION_PRODUCER;
    op->count = partitions + control->shard_count;
    for (uint32_t i = 0; i < control->shard_count; i++) {
        op->parts[partitions + i].shard = i;
        op->parts[partitions + i].message =
            (struct message){ .type = MESSAGE_FENCE,
                              .topic_id = op->topic_id,
                              .publish = { .producer_id = op->producer.id,
                                           .producer_epoch = op->producer.epoch } };
    }
    operation_send(control, op);
}

/* ---- identity */

enum step { STEP_REFUSED, STEP_OPEN, STEP_TAKE_OVER };

static enum step new_producer(struct control *control, struct operation *op)
{
    if (catalog_new_id(control->options.catalog, &op->producer.id) != LEAT_OK) {
        control_conn_refuse(control, op->owner, op->request, LEAT_ERR_LIMIT,
                            "this broker has used all its producer ids: restart it");
        return STEP_REFUSED;
    }
    op->producer.epoch = 1;
    return STEP_OPEN;
}

/* Whether the producer is of this run. A run on an old copy of the state directory may have the
 * same incarnation as a run that is not in the copy; `run` tells them apart. */
static bool of_this_run(const struct control *control, const Leat__Control__OpenProducer *open)
{
    return open->producer_id >> 32 == control->options.catalog->incarnation
           && resume_token_run(open->resume_token.data) == control->options.catalog->run;
}

/* Whether a token for this producer id can be verified. Nothing is left to verify or to protect
 * from an earlier run without a state directory, or from before its secret was created. A later
 * incarnation belongs to another directory, or to a run that is not in this copy. */
static bool can_prove(const struct control *control, uint64_t id)
{
    const uint64_t incarnation = id >> 32;
    return incarnation == control->options.catalog->incarnation
           || (control->options.state != NULL && incarnation >= control->options.resume_since
               && incarnation < control->options.catalog->incarnation);
}

static enum step anonymous(struct control *control, struct operation *op,
                           const Leat__Control__OpenProducer *open)
{
    if (open->producer_id == 0)
        return new_producer(control, op);
    if (!of_this_run(control, open)) {
        /* All logs are newer than the producer, so it gets a new id, of this run. */
        op->producer.expired = true;
        return new_producer(control, op);
    }
    op->producer.id = open->producer_id;
    op->producer.epoch = open->producer_epoch;
    op->producer.resume = true;
    return STEP_TAKE_OVER;
}

/* The name was not opened before in this run of the broker. */
static enum step new_name(struct control *control, struct operation *op,
                          const Leat__Control__OpenProducer *open)
{
    struct producer_name *name;
    const char *why;
    if (new_producer(control, op) == STEP_REFUSED)
        return STEP_REFUSED;
    const enum leat_error error =
        control_name_add(control, open->name, op->owner->maker, &name, &why);
    if (error != LEAT_OK) {
        control_conn_refuse(control, op->owner, op->request, error, "producer \"%s\": %s",
                            open->name, why);
        return STEP_REFUSED;
    }
    name->id = op->producer.id;
    name->epoch = op->producer.epoch;
    name->claimed_id = open->producer_id;
    name->claimed_epoch = open->producer_epoch;
    name->claimed_run = open->producer_id != 0 ? resume_token_run(open->resume_token.data) : 0;
    op->producer.new_name = true;
    control_name_hold(op, name);
    op->producer.expired = open->producer_id != 0;
    return STEP_OPEN;
}

/* This opening takes over the name, with a newer epoch, if it succeeds. */
static enum step succeed(struct control *control, struct operation *op, struct producer_name *name)
{
    if (newest_epoch(name) == UINT32_MAX) {
        control_conn_refuse(control, op->owner, op->request, LEAT_ERR_LIMIT,
                            "the producer has used all its epochs: open one with another name");
        return STEP_REFUSED;
    }
    op->producer.id = name->id;
    control_name_hold(op, name);
    return STEP_TAKE_OVER;
}

static enum step named(struct control *control, struct operation *op,
                       const Leat__Control__OpenProducer *open)
{
    struct producer_name *name = producer_names_find(&control->names, open->name);
    strcpy(op->producer.name, open->name);
    if (name == NULL)
        return new_name(control, op, open);
    if (open->producer_id == 0)
        return succeed(control, op, name);
    const bool now = of_this_run(control, open);
    if (now && open->producer_id == name->id && open->producer_epoch == name->epoch) {
        op->producer.id = name->id;
        op->producer.epoch = name->epoch;
        op->producer.resume = true;
        control_name_hold(op, name);
        return STEP_TAKE_OVER;
    }
    /* Several clients may have had the name in an earlier run: the newest epoch gets it. Without a
     * state directory the claim cannot be verified, but it gains no more than opening the name
     * again does. */
    if (!now && open->producer_id == name->claimed_id
        && resume_token_run(open->resume_token.data) == name->claimed_run
        && open->producer_epoch >= name->claimed_epoch) {
        op->producer.claimed_epoch = open->producer_epoch;
        op->producer.expired = true;
        return succeed(control, op, name);
    }
    control_conn_refuse(control, op->owner, op->request, LEAT_ERR_FENCED,
                        "producer \"%s\" was opened again: epoch %u was replaced by epoch %u",
                        open->name, open->producer_epoch, name->epoch);
    return STEP_REFUSED;
}

/* ---- the request */

static bool take_sessions(struct control *control, struct control_conn *p, uint64_t request,
                          const struct topic *topic, const Leat__Control__OpenProducer *open,
                          uint32_t sessions[LEAT_SHARDS_MAX])
{
    for (size_t i = 0; i < open->n_sessions; i++) {
        const uint32_t id = open->sessions[i];
        if (control_session_of(control, p, id) == NULL) {
            control_conn_refuse(control, p, request, LEAT_ERR_UNKNOWN_SESSION,
                                "session %u is not open on this control connection", id);
            return false;
        }
        sessions[leat_session_shard(id)] = id;
    }
    for (uint32_t i = 0; i < topic->settings.partitions; i++) {
        const uint32_t shard = topic->partitions[i].shard;
        if (sessions[shard] == 0) {
            control_conn_refuse(
                control, p, request, LEAT_ERR_INVALID,
                "open_producer.sessions: partition %u of \"%s\" is on shard %u, but none of "
                "the %zu sessions is: open a session on that shard",
                i, topic->name, shard, open->n_sessions);
            return false;
        }
    }
    return true;
}

/* Checks, before any effect, that the fields are complete and that the client may resume the
 * producer. */
static bool check_resume(struct control *control, struct control_conn *p, uint64_t request,
                         const struct topic *topic, const Leat__Control__OpenProducer *open)
{
    const bool resumes = open->producer_id != 0;
    if (resumes != (open->producer_epoch != 0) || resumes != (open->resume_token.len != 0)) {
        control_conn_refuse(
            control, p, request, LEAT_ERR_INVALID,
            "open_producer: expected all of producer_id, producer_epoch and resume_token (to "
            "resume), or none");
        return false;
    }
    if (open->n_first_unanswered != 0 && open->n_first_unanswered != topic->settings.partitions) {
        control_conn_refuse(
            control, p, request, LEAT_ERR_INVALID,
            "open_producer.first_unanswered: got %zu values, but \"%s\" has %u partitions: "
            "expected one value per partition, or none",
            open->n_first_unanswered, topic->name, topic->settings.partitions);
        return false;
    }
    if (!resumes || !can_prove(control, open->producer_id)
        || resume_token_fits(control->options.resume_secret, open->producer_id,
                             open->producer_epoch, open->resume_token.data))
        return true;
    control_conn_refuse(
        control, p, request, LEAT_ERR_FENCED,
        "open_producer.resume_token is not valid for producer %016llx with epoch %u: "
        "open a new producer",
        (unsigned long long)open->producer_id, open->producer_epoch);
    return false;
}

void control_open_producer(struct control *control, struct control_conn *p,
                           const Leat__Control__Request *request)
{
    const Leat__Control__OpenProducer *open = request->open_producer;
    uint32_t sessions[LEAT_SHARDS_MAX] = { 0 };
    const struct topic *topic = topics_find_name(control->options.topics, open->topic);
    if (topic == NULL) {
        control_conn_refuse_topic(control, p, request->id, open->topic);
        return;
    }
    if (!check_resume(control, p, request->id, topic, open)
        || !take_sessions(control, p, request->id, topic, open, sessions))
        return;
    const uint32_t partitions = topic->settings.partitions;
    struct operation *op = operation_begin_answer(
        control, p, request->id, OPERATION_PRODUCER, partitions + control->shard_count,
        sizeof(Leat__Control__PublishStream *) + sizeof(Leat__Control__PublishStream));
    if (op == NULL)
        return;
    control_charge(control, partitions + control->shard_count);
    op->topic_id = topic->id;
    op->producer.partitions = partitions;
    strcpy(op->topic, topic->name);
    memcpy(op->producer.sessions, sessions, sizeof sessions);
    if (open->n_first_unanswered != 0) {
        op->producer.unanswered_bytes = partitions * sizeof *op->producer.first_unanswered;
        op->producer.first_unanswered =
            memory_budget_calloc(op->memory, op->producer.unanswered_bytes);
        if (op->producer.first_unanswered == NULL) {
            control_conn_refuse_busy(control, p, request->id);
            operation_free(control, op);
            return;
        }
        memcpy(op->producer.first_unanswered, open->first_unanswered,
               partitions * sizeof *op->producer.first_unanswered);
    }
    switch (open->name[0] == '\0' ? anonymous(control, op, open) : named(control, op, open)) {
    case STEP_REFUSED: operation_free(control, op); break;
    case STEP_OPEN: open_streams(control, op, topic, false); break;
    case STEP_TAKE_OVER: open_streams(control, op, topic, true); break;
    }
}

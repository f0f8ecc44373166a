/* Checks the range of every field of a response. */
#include "schema/control_check.h"

static const char *check_hello_reply(const Leat__Control__HelloReply *hello)
{
    if (hello->version == 0 || hello->version > VERSION_MAX)
        return "hello.version: 1 to 65535";
    if (!text_ok(hello->broker, LEAT_CONTROL_TEXT_BYTES_MAX))
        return "hello.broker: at most 4096 bytes";
    if (hello->n_endpoints == 0 || hello->n_endpoints > LEAT_SHARDS_MAX)
        return "hello.endpoints: 1 to 64 of them";
    for (size_t i = 0; i < hello->n_endpoints; i++) {
        const Leat__Control__Endpoint *endpoint = hello->endpoints[i];
        if (endpoint->shard >= LEAT_SHARDS_MAX)
            return "hello.endpoints.shard: at most 63";
        if (!text_ok(endpoint->tcp, LEAT_CONTROL_ADDRESS_BYTES_MAX)
            || !text_ok(endpoint->udp, LEAT_CONTROL_ADDRESS_BYTES_MAX))
            return "hello.endpoints: addresses of at most 261 bytes";
        if (endpoint->n_dpdk > LEAT_CONTROL_PORTS_MAX)
            return "hello.endpoints.dpdk: at most 16 of them";
        for (size_t k = 0; k < endpoint->n_dpdk; k++)
            if (!text_ok(endpoint->dpdk[k], LEAT_CONTROL_ADDRESS_BYTES_MAX))
                return "hello.endpoints.dpdk: addresses of at most 261 bytes";
    }
    return hello->keepalive_ms == 0 ? "hello.keepalive_ms: 1 or more" : NULL;
}

static const char *check_topic(const Leat__Control__Topic *topic)
{
    if (!name_ok(topic->name))
        return "topic.name: " NAME_RULE;
    if (topic->settings == NULL)
        return "topic.settings: missing";
    if (topic->n_partitions > LEAT_PARTITIONS_MAX)
        return "topic.partitions: at most 4096 of them";
    for (size_t i = 0; i < topic->n_partitions; i++) {
        const Leat__Control__Partition *partition = topic->partitions[i];
        if (partition->index >= LEAT_PARTITIONS_MAX)
            return "topic.partitions.index: at most 4095";
        if (partition->shard >= LEAT_SHARDS_MAX)
            return "topic.partitions.shard: at most 63";
        if (partition->head_offset > partition->next_offset
            || partition->head_position > partition->tail_position)
            return "topic.partitions: head at most next_offset and tail_position";
    }
    return control_check_settings(topic->settings);
}

static const char *check_topic_list(const Leat__Control__TopicList *list)
{
    const char *refused = NULL;
    for (size_t i = 0; i < list->n_topics && refused == NULL; i++)
        refused = check_topic(list->topics[i]);
    return refused;
}

static const char *check_session_grant(const Leat__Control__SessionGrant *grant)
{
    if (grant->shard >= LEAT_SHARDS_MAX)
        return "session.shard: at most 63";
    if (grant->token.len != LEAT_TOKEN_BYTES || grant->reset_token.len != LEAT_TOKEN_BYTES)
        return "session: token and reset_token of 16 bytes";
    return NULL;
}

static const char *check_producer_grant(const Leat__Control__ProducerGrant *grant)
{
    if (grant->batch_bytes_max < BATCH_BYTES_MIN || grant->batch_bytes_max > LEAT_BATCH_BYTES_LIMIT)
        return "producer.batch_bytes_max: 80 to 16777344";
    if (grant->record_bytes_max > LEAT_RECORD_BYTES_LIMIT)
        return "producer.record_bytes_max: at most 16777216";
    if (grant->n_streams == 0 || grant->n_streams > LEAT_PARTITIONS_MAX)
        return "producer.streams: 1 to 4096 of them";
    for (size_t i = 0; i < grant->n_streams; i++)
        if (grant->streams[i]->partition >= LEAT_PARTITIONS_MAX)
            return "producer.streams.partition: at most 4095";
    if (grant->resume_token.len != LEAT_RESUME_TOKEN_BYTES)
        return "producer.resume_token: 24 bytes";
    return NULL;
}

static const char *check_subscription_grant(const Leat__Control__SubscriptionGrant *grant)
{
    if (grant->n_streams == 0 || grant->n_streams > LEAT_PARTITIONS_MAX)
        return "subscription.streams: 1 to 4096 of them";
    for (size_t i = 0; i < grant->n_streams; i++) {
        const Leat__Control__SubscriptionStream *stream = grant->streams[i];
        if (stream->partition >= LEAT_PARTITIONS_MAX)
            return "subscription.streams.partition: at most 4095";
        if (stream->error > 0)
            return "subscription.streams.error: 0 or below";
        if (!text_ok(stream->error_text, LEAT_CONTROL_TEXT_BYTES_MAX))
            return "subscription.streams.error_text: at most 4096 bytes";
        if (stream->head_offset > stream->next_offset)
            return "subscription.streams.head_offset: at most next_offset";
        if (stream->certain_offset > stream->next_offset)
            return "subscription.streams.certain_offset: at most next_offset";
        if (stream->error == LEAT_OK
            && (stream->batch_bytes_max < BATCH_BYTES_MIN
                || stream->batch_bytes_max > LEAT_BATCH_BYTES_LIMIT))
            return "subscription.streams.batch_bytes_max: 80 to 16777344";
    }
    return NULL;
}

static const char *check_offset_list(const Leat__Control__OffsetList *list)
{
    if (list->n_offsets > LEAT_PARTITIONS_MAX)
        return "offsets: at most 4096 of them";
    for (size_t i = 0; i < list->n_offsets; i++)
        if (list->offsets[i]->partition >= LEAT_PARTITIONS_MAX || list->offsets[i]->error > 0)
            return "offsets: partition at most 4095, error 0 or below";
    return NULL;
}

static const char *check_assignment(const Leat__Control__GroupAssignment *assignment)
{
    if (!name_ok(assignment->member_id))
        return "assignment.member_id: " NAME_RULE;
    if (assignment->member_epoch == 0)
        return "assignment.member_epoch: 1 or more";
    if (assignment->heartbeat_ms == 0 || assignment->heartbeat_ms > assignment->session_timeout_ms)
        return "assignment.heartbeat_ms: 1 to session_timeout_ms";
    if (assignment->n_refused > LEAT_GROUP_TOPICS_MAX)
        return "assignment.refused: at most 64 of them";
    for (size_t i = 0; i < assignment->n_refused; i++)
        if (!name_ok(assignment->refused[i]->topic) || assignment->refused[i]->error >= 0)
            return "assignment.refused: topics, each with an error below 0";
    return control_check_topic_partitions(assignment->assigned, assignment->n_assigned);
}

static const char *check_committed_list(const Leat__Control__CommittedList *list)
{
    if (list->n_offsets > LEAT_PARTITIONS_MAX)
        return "committed: at most 4096 of them";
    for (size_t i = 0; i < list->n_offsets; i++)
        if (list->offsets[i]->partition >= LEAT_PARTITIONS_MAX || list->offsets[i]->error > 0)
            return "committed: partition at most 4095, error 0 or below";
    return NULL;
}

static const char *check_group_list(const Leat__Control__GroupList *list)
{
    for (size_t i = 0; i < list->n_groups; i++)
        if (!name_ok(list->groups[i]->group))
            return "groups.group: " NAME_RULE;
    return NULL;
}

static const char *check_producer_list(const Leat__Control__ProducerList *list)
{
    for (size_t i = 0; i < list->n_producers; i++)
        if (!name_ok(list->producers[i]->name))
            return "producers.name: " NAME_RULE;
    return NULL;
}

static const char *check_group(const Leat__Control__GroupDescription *group)
{
    if (!name_ok(group->group))
        return "group.group: " NAME_RULE;
    for (size_t i = 0; i < group->n_partitions; i++) {
        const Leat__Control__GroupPartition *partition = group->partitions[i];
        if (!name_ok(partition->topic) || partition->partition >= LEAT_PARTITIONS_MAX
            || !optional_name_ok(partition->member_id) || partition->error > 0) {
            return "group.partitions: a topic, partition at most 4095, a member's id or none, "
                   "error 0 or below";
        }
    }
    for (size_t i = 0; i < group->n_members; i++) {
        const Leat__Control__GroupMember *member = group->members[i];
        if (!name_ok(member->member_id) || !optional_name_ok(member->client_name))
            return "group.members: member_id " NAME_RULE "; client_name the same or empty";
        for (size_t t = 0; t < member->n_topics; t++)
            if (!name_ok(member->topics[t]))
                return "group.members.topics: each " NAME_RULE;
    }
    return NULL;
}

static const char *check_session_ended(const Leat__Control__SessionEnded *ended)
{
    if (ended->session == 0)
        return "session_ended.session: never 0";
    if (ended->error >= 0)
        return "session_ended.error: below 0";
    return text_ok(ended->text, LEAT_CONTROL_TEXT_BYTES_MAX)
               ? NULL
               : "session_ended.text: at most 4096 bytes";
}

static const char *check_body(const Leat__Control__Response *response)
{
    switch (response->body_case) {
    case LEAT__CONTROL__RESPONSE__BODY_HELLO: return check_hello_reply(response->hello);
    case LEAT__CONTROL__RESPONSE__BODY_TOPIC: return check_topic(response->topic);
    case LEAT__CONTROL__RESPONSE__BODY_TOPICS: return check_topic_list(response->topics);
    case LEAT__CONTROL__RESPONSE__BODY_SESSION: return check_session_grant(response->session);
    case LEAT__CONTROL__RESPONSE__BODY_PRODUCER: return check_producer_grant(response->producer);
    case LEAT__CONTROL__RESPONSE__BODY_SUBSCRIPTION:
        return check_subscription_grant(response->subscription);
    case LEAT__CONTROL__RESPONSE__BODY_OFFSETS: return check_offset_list(response->offsets);
    case LEAT__CONTROL__RESPONSE__BODY_ASSIGNMENT: return check_assignment(response->assignment);
    case LEAT__CONTROL__RESPONSE__BODY_COMMITTED: return check_committed_list(response->committed);
    case LEAT__CONTROL__RESPONSE__BODY_GROUPS: return check_group_list(response->groups);
    case LEAT__CONTROL__RESPONSE__BODY_GROUP: return check_group(response->group);
    case LEAT__CONTROL__RESPONSE__BODY_PRODUCERS: return check_producer_list(response->producers);
    case LEAT__CONTROL__RESPONSE__BODY_SESSION_ENDED:
        return check_session_ended(response->session_ended);
    default: return NULL;
    }
}

enum leat_error leat_control_check_response(const Leat__Control__Response *response,
                                            const char **what)
{
    const char *refused = check_body(response);
    if (response->error > 0)
        refused = "response.error: 0 or below";
    else if (!text_ok(response->error_text, LEAT_CONTROL_TEXT_BYTES_MAX))
        refused = "response.error_text: at most 4096 bytes";
    if (refused != NULL) {
        *what = refused;
        return LEAT_ERR_PROTOCOL;
    }
    if (response->error == LEAT_OK
        && response->body_case == LEAT__CONTROL__RESPONSE__BODY__NOT_SET) {
        *what = "response.body: missing, or of a kind this build does not know";
        return LEAT_ERR_UNSUPPORTED;
    }
    return LEAT_OK;
}

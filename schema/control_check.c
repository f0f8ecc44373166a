/* Checks the range of every field of a request. Responses: control_check_reply.c. */
#include "schema/control_check.h"

enum { LIBRARY_BYTES_MAX = 1024, HELLO_FIELDS_BYTES = 64 };
static_assert(LEAT_CLIENT_NAME_BYTES_MAX + LIBRARY_BYTES_MAX + HELLO_FIELDS_BYTES
                  <= LEAT_CONTROL_HELLO_BYTES_MAX,
              "every Hello that is right fits");

static const char *check_hello(const Leat__Control__Hello *hello)
{
    if (hello->version_min == 0 || hello->version_min > hello->version_max
        || hello->version_max > VERSION_MAX)
        return "hello: 1 <= version_min <= version_max <= 65535";
    if (!optional_name_ok(hello->client_name))
        return "hello.client_name: " OPTIONAL_NAME_RULE;
    if (!text_ok(hello->library, LIBRARY_BYTES_MAX))
        return "hello.library: at most 1024 bytes";
    return NULL;
}

const char *control_check_settings(const Leat__Control__TopicSettings *settings)
{
    if (settings->partitions > LEAT_PARTITIONS_MAX)
        return "settings.partitions: at most 4096";
    if (settings->ring_bytes > LEAT_RING_BYTES_LIMIT)
        return "settings.ring_bytes: at most 1 TiB";
    if (settings->record_bytes_max > LEAT_RECORD_BYTES_LIMIT)
        return "settings.record_bytes_max: at most 16777216";
    if (settings->overrun != LEAT__CONTROL__OVERRUN__EVICT
        && settings->overrun != LEAT__CONTROL__OVERRUN__BLOCK)
        return "settings.overrun: EVICT or BLOCK";
    if (settings->retention_ms > MILLISECONDS_MAX)
        return "settings.retention_ms: at most 18446744073709";
    if (settings->required_timeout_ms > MILLISECONDS_MAX)
        return "settings.required_timeout_ms: at most 18446744073709";
    return NULL;
}

static const char *check_create_topic(const Leat__Control__CreateTopic *create)
{
    if (!name_ok(create->name))
        return "create_topic.name: " NAME_RULE;
    return create->settings != NULL ? control_check_settings(create->settings) : NULL;
}

static const char *check_open_producer(const Leat__Control__OpenProducer *open)
{
    if (!name_ok(open->topic))
        return "open_producer.topic: " NAME_RULE;
    if (open->n_sessions == 0 || open->n_sessions > LEAT_SHARDS_MAX)
        return "open_producer.sessions: 1 to 64";
    if (!optional_name_ok(open->name))
        return "open_producer.name: " OPTIONAL_NAME_RULE;
    if (open->resume_token.len != 0 && open->resume_token.len != LEAT_RESUME_TOKEN_BYTES)
        return "open_producer.resume_token: 24 bytes, or none";
    if (open->n_first_unanswered > LEAT_PARTITIONS_MAX)
        return "open_producer.first_unanswered: at most 4096 of them";
    for (size_t i = 0; i < open->n_first_unanswered; i++)
        if (open->first_unanswered[i] > LEAT_SEQUENCE_RESUMED_MAX)
            return "open_producer.first_unanswered: each at most 4611686018427387904";
    return NULL;
}

static bool start_ok(const Leat__Control__PartitionStart *start, bool committed_ok)
{
    switch (start->at) {
    case LEAT__CONTROL__START_AT__LATEST:
    case LEAT__CONTROL__START_AT__EARLIEST:
    case LEAT__CONTROL__START_AT__OFFSET:
    case LEAT__CONTROL__START_AT__TIME: return true;
    case LEAT__CONTROL__START_AT__COMMITTED: return committed_ok;
    default: return false;
    }
}

static bool otherwise_ok(const Leat__Control__PartitionStart *start)
{
    switch (start->otherwise) {
    case LEAT__CONTROL__START_AT__LATEST:
    case LEAT__CONTROL__START_AT__EARLIEST:
    case LEAT__CONTROL__START_AT__OFFSET:
    case LEAT__CONTROL__START_AT__TIME: return true;
    default: return false;
    }
}

static const char *check_starts(Leat__Control__PartitionStart *const *starts, size_t count,
                                bool in_group)
{
    if (count == 0 || count > LEAT_PARTITIONS_MAX)
        return "partitions: 1 to 4096 of them";
    for (size_t i = 0; i < count; i++) {
        if (starts[i]->partition >= LEAT_PARTITIONS_MAX)
            return "partitions.partition: at most 4095";
        if (!start_ok(starts[i], in_group)) {
            return in_group ? "partitions.at: LATEST, EARLIEST, OFFSET, TIME or COMMITTED"
                            : "partitions.at: LATEST, EARLIEST, OFFSET or TIME; COMMITTED is for "
                              "the subscription of a group";
        }
        if (!otherwise_ok(starts[i]))
            return "partitions.otherwise: LATEST, EARLIEST, OFFSET or TIME";
    }
    return NULL;
}

static const char *check_open_subscription(const Leat__Control__OpenSubscription *open)
{
    if (!name_ok(open->topic))
        return "open_subscription.topic: " NAME_RULE;
    if (!optional_name_ok(open->name))
        return "open_subscription.name: " OPTIONAL_NAME_RULE;
    if (!optional_name_ok(open->group))
        return "open_subscription.group: " OPTIONAL_NAME_RULE;
    const bool in_group = open->group[0] != '\0';
    if (in_group ? !name_ok(open->member_id) : open->member_id[0] != '\0')
        return "open_subscription.member_id: with a group " NAME_RULE "; else empty";
    return check_starts(open->partitions, open->n_partitions, in_group);
}

static const char *check_close_streams(const Leat__Control__CloseStreams *close)
{
    if (close->n_streams == 0 || close->n_streams > LEAT_PARTITIONS_MAX)
        return "close_streams.streams: 1 to 4096 of them";
    return NULL;
}

static const char *check_list_offsets(const Leat__Control__ListOffsets *list)
{
    if (!name_ok(list->topic))
        return "list_offsets.topic: " NAME_RULE;
    return check_starts(list->partitions, list->n_partitions, false);
}

/* ---- groups */

static const char *check_join_group(const Leat__Control__JoinGroup *join)
{
    if (!name_ok(join->group))
        return "join_group.group: " NAME_RULE;
    if (!optional_name_ok(join->member_id))
        return "join_group.member_id: " OPTIONAL_NAME_RULE;
    if (join->n_topics == 0 || join->n_topics > LEAT_GROUP_TOPICS_MAX)
        return "join_group.topics: 1 to 64 of them";
    for (size_t i = 0; i < join->n_topics; i++)
        if (!name_ok(join->topics[i]))
            return "join_group.topics: each " NAME_RULE;
    if (join->session_timeout_ms != 0
        && (join->session_timeout_ms < LEAT_GROUP_SESSION_MS_MIN
            || join->session_timeout_ms > LEAT_GROUP_SESSION_MS_MAX))
        return "join_group.session_timeout_ms: 0 for the default, or 100 to 3600000";
    return NULL;
}

const char *control_check_topic_partitions(Leat__Control__TopicPartitions *const *list,
                                           size_t count)
{
    if (count > LEAT_GROUP_TOPICS_MAX)
        return "at most 64 topics";
    for (size_t i = 0; i < count; i++) {
        if (!name_ok(list[i]->topic))
            return "topic: " NAME_RULE;
        if (list[i]->n_partitions > LEAT_PARTITIONS_MAX)
            return "partitions of a topic: at most 4096 of them";
        for (size_t k = 0; k < list[i]->n_partitions; k++)
            if (list[i]->partitions[k] >= LEAT_PARTITIONS_MAX)
                return "partitions of a topic: each at most 4095";
    }
    return NULL;
}

static const char *check_group_heartbeat(const Leat__Control__GroupHeartbeat *beat)
{
    if (!name_ok(beat->group))
        return "group_heartbeat.group: " NAME_RULE;
    if (!name_ok(beat->member_id))
        return "group_heartbeat.member_id: " NAME_RULE;
    return control_check_topic_partitions(beat->owned, beat->n_owned);
}

static const char *check_leave_group(const Leat__Control__LeaveGroup *leave)
{
    if (!name_ok(leave->group))
        return "leave_group.group: " NAME_RULE;
    return name_ok(leave->member_id) ? NULL : "leave_group.member_id: " NAME_RULE;
}

static const char *check_commit_offsets(const Leat__Control__CommitOffsets *commit)
{
    if (!name_ok(commit->group))
        return "commit_offsets.group: " NAME_RULE;
    if (!optional_name_ok(commit->member_id))
        return "commit_offsets.member_id: " OPTIONAL_NAME_RULE;
    if (!name_ok(commit->topic))
        return "commit_offsets.topic: " NAME_RULE;
    if (commit->n_offsets == 0 || commit->n_offsets > LEAT_PARTITIONS_MAX)
        return "commit_offsets.offsets: 1 to 4096 of them";
    for (size_t i = 0; i < commit->n_offsets; i++) {
        if (commit->offsets[i]->partition >= LEAT_PARTITIONS_MAX)
            return "commit_offsets.offsets.partition: at most 4095";
        if (commit->offsets[i]->offset == LEAT_OFFSET_NONE)
            return "commit_offsets.offsets.offset: below 2^64 - 1";
        if (!text_ok(commit->offsets[i]->metadata, LEAT_GROUP_METADATA_MAX))
            return "commit_offsets.offsets.metadata: at most 1024 bytes";
    }
    return NULL;
}

static const char *check_describe_group(const Leat__Control__DescribeGroup *describe)
{
    if (!name_ok(describe->group))
        return "describe_group.group: " NAME_RULE;
    return optional_name_ok(describe->topic) ? NULL : "describe_group.topic: " OPTIONAL_NAME_RULE;
}

static const char *check_reset_group(const Leat__Control__ResetGroup *reset)
{
    if (!name_ok(reset->group))
        return "reset_group.group: " NAME_RULE;
    if (!name_ok(reset->topic))
        return "reset_group.topic: " NAME_RULE;
    if (reset->n_partitions != 0)
        return check_starts(reset->partitions, reset->n_partitions, false);
    if (reset->all == NULL || !start_ok(reset->all, false))
        return "reset_group.all: without partitions, LATEST, EARLIEST, OFFSET or TIME";
    return NULL;
}

static const char *check_group_request(const Leat__Control__Request *request)
{
    switch (request->body_case) {
    case LEAT__CONTROL__REQUEST__BODY_JOIN_GROUP: return check_join_group(request->join_group);
    case LEAT__CONTROL__REQUEST__BODY_GROUP_HEARTBEAT:
        return check_group_heartbeat(request->group_heartbeat);
    case LEAT__CONTROL__REQUEST__BODY_LEAVE_GROUP: return check_leave_group(request->leave_group);
    case LEAT__CONTROL__REQUEST__BODY_COMMIT_OFFSETS:
        return check_commit_offsets(request->commit_offsets);
    case LEAT__CONTROL__REQUEST__BODY_LIST_GROUPS:
        return optional_name_ok(request->list_groups->after)
                   ? NULL
                   : "list_groups.after: " OPTIONAL_NAME_RULE;
    case LEAT__CONTROL__REQUEST__BODY_DESCRIBE_GROUP:
        return check_describe_group(request->describe_group);
    case LEAT__CONTROL__REQUEST__BODY_RESET_GROUP: return check_reset_group(request->reset_group);
    default: return name_ok(request->delete_group->group) ? NULL : "delete_group.group: " NAME_RULE;
    }
}

enum leat_error leat_control_check_request(const Leat__Control__Request *request, const char **what)
{
    const char *refused = NULL;
    switch (request->body_case) {
    case LEAT__CONTROL__REQUEST__BODY_HELLO: refused = check_hello(request->hello); break;
    case LEAT__CONTROL__REQUEST__BODY_CREATE_TOPIC:
        refused = check_create_topic(request->create_topic);
        break;
    case LEAT__CONTROL__REQUEST__BODY_DELETE_TOPIC:
        refused = name_ok(request->delete_topic->name) ? NULL : "delete_topic.name: " NAME_RULE;
        break;
    case LEAT__CONTROL__REQUEST__BODY_DESCRIBE_TOPIC:
        refused = name_ok(request->describe_topic->name) ? NULL : "describe_topic.name: " NAME_RULE;
        break;
    case LEAT__CONTROL__REQUEST__BODY_OPEN_SESSION:
        refused = request->open_session->shard < LEAT_SHARDS_MAX ? NULL
                                                                 : "open_session.shard: at most 63";
        break;
    case LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER:
        refused = check_open_producer(request->open_producer);
        break;
    case LEAT__CONTROL__REQUEST__BODY_OPEN_SUBSCRIPTION:
        refused = check_open_subscription(request->open_subscription);
        break;
    case LEAT__CONTROL__REQUEST__BODY_CLOSE_STREAMS:
        refused = check_close_streams(request->close_streams);
        break;
    case LEAT__CONTROL__REQUEST__BODY_LIST_OFFSETS:
        refused = check_list_offsets(request->list_offsets);
        break;
    case LEAT__CONTROL__REQUEST__BODY_JOIN_GROUP:
    case LEAT__CONTROL__REQUEST__BODY_GROUP_HEARTBEAT:
    case LEAT__CONTROL__REQUEST__BODY_LEAVE_GROUP:
    case LEAT__CONTROL__REQUEST__BODY_COMMIT_OFFSETS:
    case LEAT__CONTROL__REQUEST__BODY_LIST_GROUPS:
    case LEAT__CONTROL__REQUEST__BODY_DESCRIBE_GROUP:
    case LEAT__CONTROL__REQUEST__BODY_RESET_GROUP:
    case LEAT__CONTROL__REQUEST__BODY_DELETE_GROUP: refused = check_group_request(request); break;
    case LEAT__CONTROL__REQUEST__BODY_DELETE_PRODUCER:
        refused =
            name_ok(request->delete_producer->name) ? NULL : "delete_producer.name: " NAME_RULE;
        break;
    case LEAT__CONTROL__REQUEST__BODY_LIST_PRODUCERS:
        refused = optional_name_ok(request->list_producers->after)
                      ? NULL
                      : "list_producers.after: " OPTIONAL_NAME_RULE;
        break;
    case LEAT__CONTROL__REQUEST__BODY_LIST_TOPICS:
    case LEAT__CONTROL__REQUEST__BODY_CLOSE_SESSION:
    case LEAT__CONTROL__REQUEST__BODY_PING: break;
    default:
        *what = "request.body: missing, or of a kind this build does not know";
        return LEAT_ERR_UNSUPPORTED;
    }
    if (refused != NULL) {
        *what = refused;
        return LEAT_ERR_INVALID;
    }
    return LEAT_OK;
}

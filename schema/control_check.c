#include "schema/control.h"

#include <string.h>

#include "schema/batch.h"

/* The ranges of every field. Each check returns NULL, or static text: the field, then what it may
 * hold. */

#define NAME_RULE "1 to 249 of A-Z a-z 0-9 . _ - and not . or .."
#define OPTIONAL_NAME_RULE "empty, or " NAME_RULE
#define MILLISECONDS_MAX                                                    \
    (UINT64_MAX / LEAT_NS_PER_MS) /* still counts as nanoseconds in 64 bits \
                                   */

enum {
    VERSION_MAX = 0xFFFF, /* u16 in ATTACH */
    BATCH_BYTES_MIN = LEAT_BATCH_HEADER_BYTES + LEAT_RECORD_HEADER_BYTES,
};

static bool name_ok(const char *name)
{
    return leat_name_valid(name, strlen(name));
}

static bool optional_name_ok(const char *name)
{
    return *name == '\0' || name_ok(name);
}

static bool text_ok(const char *text, size_t bytes_max)
{
    return strnlen(text, bytes_max + 1) <= bytes_max;
}

static const char *check_hello(const Leat__Control__Hello *hello)
{
    if (hello->version_min == 0 || hello->version_min > hello->version_max
        || hello->version_max > VERSION_MAX) {
        return "hello: 1 <= version_min <= version_max <= 65535";
    }
    if (!optional_name_ok(hello->client_name)) {
        return "hello.client_name: " OPTIONAL_NAME_RULE;
    }
    if (!text_ok(hello->library, LEAT_CONTROL_TEXT_BYTES_MAX)) {
        return "hello.library: at most 4096 bytes";
    }
    return NULL;
}

static const char *check_settings(const Leat__Control__TopicSettings *settings)
{
    if (settings->partitions > LEAT_PARTITIONS_MAX) {
        return "settings.partitions: at most 4096";
    }
    if (settings->ring_bytes > LEAT_RING_BYTES_LIMIT) {
        return "settings.ring_bytes: at most 1 TiB";
    }
    if (settings->record_bytes_max > LEAT_RECORD_BYTES_LIMIT) {
        return "settings.record_bytes_max: at most 16777216";
    }
    if (settings->overrun != LEAT__CONTROL__OVERRUN__EVICT
        && settings->overrun != LEAT__CONTROL__OVERRUN__BLOCK) {
        return "settings.overrun: EVICT or BLOCK";
    }
    if (settings->retention_ms > MILLISECONDS_MAX) {
        return "settings.retention_ms: at most 18446744073709";
    }
    if (settings->required_timeout_ms > MILLISECONDS_MAX) {
        return "settings.required_timeout_ms: at most 18446744073709";
    }
    return NULL;
}

static const char *check_create_topic(const Leat__Control__CreateTopic *create)
{
    if (!name_ok(create->name)) {
        return "create_topic.name: " NAME_RULE;
    }
    return create->settings != NULL ? check_settings(create->settings) : NULL;
}

static const char *check_open_producer(const Leat__Control__OpenProducer *open)
{
    if (!name_ok(open->topic)) {
        return "open_producer.topic: " NAME_RULE;
    }
    if (open->n_sessions == 0 || open->n_sessions > LEAT_SHARDS_MAX) {
        return "open_producer.sessions: 1 to 64";
    }
    if (!optional_name_ok(open->name)) {
        return "open_producer.name: " OPTIONAL_NAME_RULE;
    }
    return NULL;
}

static const char *check_starts(Leat__Control__PartitionStart *const *starts, size_t count)
{
    if (count == 0 || count > LEAT_PARTITIONS_MAX) {
        return "partitions: 1 to 4096 of them";
    }
    for (size_t i = 0; i < count; i++) {
        if (starts[i]->partition >= LEAT_PARTITIONS_MAX) {
            return "partitions.partition: at most 4095";
        }
        switch (starts[i]->at) {
        case LEAT__CONTROL__START_AT__LATEST:
        case LEAT__CONTROL__START_AT__EARLIEST:
        case LEAT__CONTROL__START_AT__OFFSET:
        case LEAT__CONTROL__START_AT__TIME: break;
        default: return "partitions.at: LATEST, EARLIEST, OFFSET or TIME";
        }
    }
    return NULL;
}

static const char *check_open_subscription(const Leat__Control__OpenSubscription *open)
{
    if (!name_ok(open->topic)) {
        return "open_subscription.topic: " NAME_RULE;
    }
    if (!optional_name_ok(open->name)) {
        return "open_subscription.name: " OPTIONAL_NAME_RULE;
    }
    return check_starts(open->partitions, open->n_partitions);
}

static const char *check_close_streams(const Leat__Control__CloseStreams *close)
{
    if (close->n_streams == 0 || close->n_streams > LEAT_PARTITIONS_MAX) {
        return "close_streams.streams: 1 to 4096 of them";
    }
    return NULL;
}

static const char *check_list_offsets(const Leat__Control__ListOffsets *list)
{
    if (!name_ok(list->topic)) {
        return "list_offsets.topic: " NAME_RULE;
    }
    return check_starts(list->partitions, list->n_partitions);
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

static const char *check_hello_reply(const Leat__Control__HelloReply *hello)
{
    if (hello->version == 0 || hello->version > VERSION_MAX) {
        return "hello.version: 1 to 65535";
    }
    if (!text_ok(hello->broker, LEAT_CONTROL_TEXT_BYTES_MAX)) {
        return "hello.broker: at most 4096 bytes";
    }
    if (hello->n_endpoints == 0 || hello->n_endpoints > LEAT_SHARDS_MAX) {
        return "hello.endpoints: 1 to 64 of them";
    }
    for (size_t i = 0; i < hello->n_endpoints; i++) {
        const Leat__Control__Endpoint *endpoint = hello->endpoints[i];
        if (endpoint->shard >= LEAT_SHARDS_MAX) {
            return "hello.endpoints.shard: at most 63";
        }
        if (!text_ok(endpoint->tcp, LEAT_CONTROL_ADDRESS_BYTES_MAX)
            || !text_ok(endpoint->udp, LEAT_CONTROL_ADDRESS_BYTES_MAX)) {
            return "hello.endpoints: addresses of at most 261 bytes";
        }
        if (endpoint->n_dpdk > LEAT_CONTROL_PORTS_MAX) {
            return "hello.endpoints.dpdk: at most 16 of them";
        }
        for (size_t k = 0; k < endpoint->n_dpdk; k++) {
            if (!text_ok(endpoint->dpdk[k], LEAT_CONTROL_ADDRESS_BYTES_MAX)) {
                return "hello.endpoints.dpdk: addresses of at most 261 bytes";
            }
        }
    }
    return hello->keepalive_ms == 0 ? "hello.keepalive_ms: 1 or more" : NULL;
}

static const char *check_topic(const Leat__Control__Topic *topic)
{
    if (!name_ok(topic->name)) {
        return "topic.name: " NAME_RULE;
    }
    if (topic->settings == NULL) {
        return "topic.settings: missing";
    }
    if (topic->n_partitions > LEAT_PARTITIONS_MAX) {
        return "topic.partitions: at most 4096 of them";
    }
    for (size_t i = 0; i < topic->n_partitions; i++) {
        const Leat__Control__Partition *partition = topic->partitions[i];
        if (partition->index >= LEAT_PARTITIONS_MAX) {
            return "topic.partitions.index: at most 4095";
        }
        if (partition->shard >= LEAT_SHARDS_MAX) {
            return "topic.partitions.shard: at most 63";
        }
        if (partition->head_offset > partition->next_offset
            || partition->head_position > partition->tail_position) {
            return "topic.partitions: head at most next_offset and tail_position";
        }
    }
    return check_settings(topic->settings);
}

static const char *check_topic_list(const Leat__Control__TopicList *list)
{
    const char *refused = NULL;
    for (size_t i = 0; i < list->n_topics && refused == NULL; i++) {
        refused = check_topic(list->topics[i]);
    }
    return refused;
}

static const char *check_session_grant(const Leat__Control__SessionGrant *grant)
{
    if (grant->shard >= LEAT_SHARDS_MAX) {
        return "session.shard: at most 63";
    }
    if (grant->token.len != LEAT_TOKEN_BYTES || grant->reset_token.len != LEAT_TOKEN_BYTES) {
        return "session: token and reset_token of 16 bytes";
    }
    return NULL;
}

static const char *check_producer_grant(const Leat__Control__ProducerGrant *grant)
{
    if (grant->batch_bytes_max < BATCH_BYTES_MIN
        || grant->batch_bytes_max > LEAT_BATCH_BYTES_LIMIT) {
        return "producer.batch_bytes_max: 80 to 16777344";
    }
    if (grant->record_bytes_max > LEAT_RECORD_BYTES_LIMIT) {
        return "producer.record_bytes_max: at most 16777216";
    }
    if (grant->n_streams == 0 || grant->n_streams > LEAT_PARTITIONS_MAX) {
        return "producer.streams: 1 to 4096 of them";
    }
    for (size_t i = 0; i < grant->n_streams; i++) {
        if (grant->streams[i]->partition >= LEAT_PARTITIONS_MAX) {
            return "producer.streams.partition: at most 4095";
        }
    }
    return NULL;
}

static const char *check_subscription_grant(const Leat__Control__SubscriptionGrant *grant)
{
    if (grant->n_streams == 0 || grant->n_streams > LEAT_PARTITIONS_MAX) {
        return "subscription.streams: 1 to 4096 of them";
    }
    for (size_t i = 0; i < grant->n_streams; i++) {
        const Leat__Control__SubscriptionStream *stream = grant->streams[i];
        if (stream->partition >= LEAT_PARTITIONS_MAX) {
            return "subscription.streams.partition: at most 4095";
        }
        if (stream->error > 0) {
            return "subscription.streams.error: 0 or below";
        }
        if (stream->head_offset > stream->next_offset) {
            return "subscription.streams.head_offset: at most next_offset";
        }
        if (stream->error == LEAT_OK
            && (stream->batch_bytes_max < BATCH_BYTES_MIN
                || stream->batch_bytes_max > LEAT_BATCH_BYTES_LIMIT)) {
            return "subscription.streams.batch_bytes_max: 80 to 16777344";
        }
    }
    return NULL;
}

static const char *check_offset_list(const Leat__Control__OffsetList *list)
{
    if (list->n_offsets > LEAT_PARTITIONS_MAX) {
        return "offsets: at most 4096 of them";
    }
    for (size_t i = 0; i < list->n_offsets; i++) {
        if (list->offsets[i]->partition >= LEAT_PARTITIONS_MAX || list->offsets[i]->error > 0) {
            return "offsets: partition at most 4095, error 0 or below";
        }
    }
    return NULL;
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
    default: return NULL;
    }
}

enum leat_error leat_control_check_response(const Leat__Control__Response *response,
                                            const char **what)
{
    const char *refused = check_body(response);
    if (response->error > 0) {
        refused = "response.error: 0 or below";
    } else if (!text_ok(response->error_text, LEAT_CONTROL_TEXT_BYTES_MAX)) {
        refused = "response.error_text: at most 4096 bytes";
    }
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

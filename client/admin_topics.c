/* Topics, for operators: create, delete, list, describe. */
#include <inttypes.h>
#include <stdlib.h>

#include "client/client_call.h"
#include "schema/error_text.h"

struct topic_visit {
    void (*visit)(void *user, const struct leat_topic_info *info);
    void *user;
    uint64_t last_id; /* the last id of the list so far */
    bool more;        /* another page follows */
};

int leat_topic_create(leat_client *client, const char *name,
                      const struct leat_topic_settings *settings)
{
    if (client == NULL)
        return LEAT_ERR_INVALID;
    struct leat_topic_settings checked;
    char why[CLIENT_ERROR_BYTES];
    const int error = client_call_name(client, "topic", name);
    if (error != LEAT_OK)
        return error;
    if (options_topic(&checked, settings, why, sizeof why) != LEAT_OK)
        return client_error(client, LEAT_ERR_INVALID, "topic \"%s\": %s", name, why);
    Leat__Control__TopicSettings message = LEAT__CONTROL__TOPIC_SETTINGS__INIT;
    message.partitions = checked.partitions;
    message.ring_bytes = checked.ring_bytes;
    message.retention_ms = checked.retention_ms;
    message.retention_bytes = checked.retention_bytes;
    message.record_bytes_max = checked.record_bytes_max;
    message.overrun = checked.overrun == LEAT_OVERRUN_BLOCK ? LEAT__CONTROL__OVERRUN__BLOCK
                                                            : LEAT__CONTROL__OVERRUN__EVICT;
    message.required_timeout_ms = checked.required_timeout_ms;
    message.quota_publish_bytes = checked.quota_publish_bytes;
    message.quota_deliver_bytes = checked.quota_deliver_bytes;
    Leat__Control__CreateTopic create = LEAT__CONTROL__CREATE_TOPIC__INIT;
    create.name = (char *)name;
    create.settings = &message;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_CREATE_TOPIC;
    request.create_topic = &create;
    struct client_call call = { .client = client };
    return client_call_wait(&call, &request, "leat_topic_create");
}

int leat_topic_delete(leat_client *client, const char *name)
{
    if (client == NULL)
        return LEAT_ERR_INVALID;
    const int error = client_call_name(client, "topic", name);
    if (error != LEAT_OK)
        return error;
    Leat__Control__DeleteTopic delete = LEAT__CONTROL__DELETE_TOPIC__INIT;
    delete.name = (char *)name;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_DELETE_TOPIC;
    request.delete_topic = &delete;
    struct client_call call = { .client = client };
    return client_call_wait(&call, &request, "leat_topic_delete");
}

static void visit_topic(struct client_call *call, const Leat__Control__Topic *topic)
{
    struct leat_partition_info *partitions = calloc(topic->n_partitions + 1, sizeof *partitions);
    if (partitions == NULL) {
        call->error = client_error(call->client, LEAT_ERR_NO_MEMORY, "topics: no memory");
        return;
    }
    for (size_t i = 0; i < topic->n_partitions; i++) {
        const Leat__Control__Partition *told = topic->partitions[i];
        partitions[i] = (struct leat_partition_info){
            .index = told->index,
            .shard = told->shard,
            .log_epoch = told->log_epoch,
            .head_offset = told->head_offset,
            .next_offset = told->next_offset,
            .bytes = told->tail_position - told->head_position,
            .hugepages = told->hugepages,
        };
    }
    const Leat__Control__TopicSettings *s = topic->settings;
    struct leat_topic_info info = { .name = topic->name,
                                    .id = topic->id,
                                    .settings = { .size = sizeof info.settings },
                                    .partitions = partitions,
                                    .partition_count = (uint32_t)topic->n_partitions };
    if (s != NULL) {
        info.settings.partitions = s->partitions;
        info.settings.record_bytes_max = s->record_bytes_max;
        info.settings.ring_bytes = s->ring_bytes;
        info.settings.retention_ms = s->retention_ms;
        info.settings.retention_bytes = s->retention_bytes;
        info.settings.overrun =
            s->overrun == LEAT__CONTROL__OVERRUN__BLOCK ? LEAT_OVERRUN_BLOCK : LEAT_OVERRUN_EVICT;
        info.settings.required_timeout_ms = s->required_timeout_ms;
        info.settings.quota_publish_bytes = s->quota_publish_bytes;
        info.settings.quota_deliver_bytes = s->quota_deliver_bytes;
    }
    const struct topic_visit *to = call->context;
    call->client->in_callback++;
    to->visit(to->user, &info);
    call->client->in_callback--;
    free(partitions);
}

static void take_page(struct client_call *call, const Leat__Control__TopicList *page)
{
    struct topic_visit *to = call->context;
    for (size_t i = 0; i < page->n_topics && call->error == 0; i++) {
        /* Ids must ascend, so that the list ends whatever the peer sends. */
        if (page->topics[i]->id <= to->last_id) {
            call->error = client_error(call->client, LEAT_ERR_PROTOCOL,
                                       "topics: the list is not in the order of ids");
            return;
        }
        to->last_id = page->topics[i]->id;
        visit_topic(call, page->topics[i]);
    }
    to->more = page->more && page->n_topics != 0;
}

static void take_topics(struct client_call *call, const Leat__Control__Response *response)
{
    if (response->body_case == LEAT__CONTROL__RESPONSE__BODY_TOPIC)
        visit_topic(call, response->topic);
    else if (response->body_case == LEAT__CONTROL__RESPONSE__BODY_TOPICS)
        take_page(call, response->topics);
    else
        call->error = client_error(call->client, LEAT_ERR_PROTOCOL,
                                   "topics: the broker sent an answer of another kind");
}

static int list_topics(leat_client *client, struct topic_visit *to)
{
    int error = LEAT_OK;
    for (to->more = true; error == LEAT_OK && to->more;) {
        Leat__Control__ListTopics list = LEAT__CONTROL__LIST_TOPICS__INIT;
        Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
        list.after_id = to->last_id;
        request.body_case = LEAT__CONTROL__REQUEST__BODY_LIST_TOPICS;
        request.list_topics = &list;
        struct client_call call = { .client = client, .take = take_topics, .context = to };
        to->more = false;
        error = client_call_wait(&call, &request, "leat_topic_describe");
    }
    return error;
}

int leat_topic_describe(leat_client *client, const char *name,
                        void (*visit)(void *user, const struct leat_topic_info *info), void *user)
{
    if (client == NULL || visit == NULL)
        return LEAT_ERR_INVALID;
    struct topic_visit to = { .visit = visit, .user = user };
    if (name == NULL)
        return list_topics(client, &to);
    const int error = client_call_name(client, "topic", name);
    if (error != LEAT_OK)
        return error;
    Leat__Control__DescribeTopic describe = LEAT__CONTROL__DESCRIBE_TOPIC__INIT;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    describe.name = (char *)name;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_DESCRIBE_TOPIC;
    request.describe_topic = &describe;
    struct client_call call = { .client = client, .take = take_topics, .context = &to };
    return client_call_wait(&call, &request, "leat_topic_describe");
}

static void take_offset(struct client_call *call, const Leat__Control__Response *response)
{
    if (response->body_case != LEAT__CONTROL__RESPONSE__BODY_OFFSETS
        || response->offsets->n_offsets != 1) {
        call->error = client_error(call->client, LEAT_ERR_PROTOCOL,
                                   "offsets: the broker sent an answer of another kind");
        return;
    }
    const Leat__Control__PartitionOffset *told = response->offsets->offsets[0];
    if (told->error != 0)
        call->error = client_error(call->client, told->error, "partition %" PRIu32 ": %s",
                                   told->partition, leat_error_text(told->error));
    else
        *(uint64_t *)call->context = told->offset;
}

int leat_topic_offset(leat_client *client, const char *name, uint32_t partition, int32_t at,
                      uint64_t time_ns, uint64_t *offset)
{
    if (client == NULL || offset == NULL)
        return LEAT_ERR_INVALID;
    const int error = client_call_name(client, "topic", name);
    if (error != LEAT_OK)
        return error;
    Leat__Control__PartitionStart start = LEAT__CONTROL__PARTITION_START__INIT;
    Leat__Control__PartitionStart *starts[] = { &start };
    start.partition = partition;
    switch (at) {
    case LEAT_START_LATEST: start.at = LEAT__CONTROL__START_AT__LATEST; break;
    case LEAT_START_EARLIEST: start.at = LEAT__CONTROL__START_AT__EARLIEST; break;
    case LEAT_START_TIME:
        start.at = LEAT__CONTROL__START_AT__TIME;
        start.time_ns = time_ns;
        break;
    default:
        return client_error(client, LEAT_ERR_INVALID,
                            "at %" PRId32 ": expected "
                            "LEAT_START_LATEST, LEAT_START_EARLIEST or LEAT_START_TIME",
                            at);
    }
    Leat__Control__ListOffsets list = LEAT__CONTROL__LIST_OFFSETS__INIT;
    list.topic = (char *)name;
    list.n_partitions = 1;
    list.partitions = starts;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_LIST_OFFSETS;
    request.list_offsets = &list;
    uint64_t found = 0;
    struct client_call call = { .client = client, .take = take_offset, .context = &found };
    const int refused = client_call_wait(&call, &request, "leat_topic_offset");
    if (refused == LEAT_OK)
        *offset = found;
    return refused;
}

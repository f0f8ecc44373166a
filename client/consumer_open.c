/* Opening a consumer: its topics, their readers, their streams. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client_core.h"
#include "client/connect.h"
#include "client/consumer.h"
#include "client/consumer_group.h"
#include "client/consumer_topics.h"
#include "client/member_readers.h"
#include "client/refusal.h"
#include "client/session.h"
#include "schema/error_text.h"

/* Reserves the window once the broker has told the topic's largest batch. */
static enum leat_error reserve_window(struct reader *reader, uint32_t batch_bytes_max)
{
    const struct leat_consumer_options *options = &reader->topic->consumer->options;
    uint64_t window = options->window_bytes;
    if (window < batch_bytes_max)
        window = batch_bytes_max;
    if (reader->window.bytes != NULL && window <= reader->stream.window)
        return LEAT_OK;
    /* Fault the window in now on bypass ports: a page fault costs several microseconds. */
    const bool at_once = reader->topic->consumer->client->transport == URL_DPDK;
    struct ringmap made = { .bytes = NULL };
    const enum leat_error error = ringmap_reserve(&made, window, at_once);
    if (error != LEAT_OK)
        return error;
    /* A topic that was created again may have larger batches. The application may still hold
     * records in the old window. */
    if (reader->borrowed_noted && reader->outgrown.bytes == NULL)
        reader->outgrown = reader->window;
    else
        ringmap_release(&reader->window);
    reader->window = made;
    partition_stream_init(&reader->stream, reader->window.bytes, reader->window.size - 1, window);
    reader->stream.skip_crc = options->skip_crc != 0;
    return LEAT_OK;
}

/* Puts off this reader alone: it is opened again after a pause. */
static bool put_off_reader(struct reader *reader, int error, const char *text)
{
    reader->state = READER_WANTED;
    topic_put_off(reader->topic, error, text);
    return true;
}

/* Handles the refusal of one partition. True if the others can continue. */
static bool reader_refused(struct reader *reader, int error, const char *why)
{
    struct subscribed *topic = reader->topic;
    /* If the session has just ended, everything is opened again; a seek continues at its target. */
    const bool ended = topic->consumer->opened && error == LEAT_ERR_UNKNOWN_SESSION;
    reader->error = ended ? 0 : error;
    if (topic->consumer->group != NULL && group_refused(reader, error))
        return true;
    if (topic->consumer->opened && !ended && !reader->resumes && !reader->at_committed
        && reader->window.bytes != NULL) {
        reader->state = READER_WANTED; /* a refused seek: continue at the old position */
        reader->resumes = true;
        return true;
    }
    char text[CLIENT_ERROR_BYTES];
    if (topic->consumer->opened && refusal_of(error, topic->refused.missing) == REFUSAL_FOR_NOW) {
        snprintf(text, sizeof text, "partition %" PRIu32 ": %s", reader->partition,
                 *why != '\0' ? why : leat_error_text(error));
        return put_off_reader(reader, error, text);
    }
    snprintf(text, sizeof text,
             "topic \"%s\", partition %" PRIu32 ", start_at %" PRId32 ", start %" PRIu64 ": %s",
             topic->name, reader->partition, reader->start_at, reader->start,
             *why != '\0' ? why : leat_error_text(error));
    if (error == LEAT_ERR_UNKNOWN_PARTITION)
        error = topic->consumer->opened ? LEAT_ERR_UNKNOWN_TOPIC : error;
    topic_refused(topic, error, text);
    return false;
}

static bool open_reader(struct reader *reader, const Leat__Control__SubscriptionStream *stream)
{
    struct subscribed *topic = reader->topic;
    struct leat_client *client = topic->consumer->client;
    struct client_session *session = client->sessions[topic->shards.shard[reader->partition]];
    if (stream->error != 0)
        return reader_refused(reader, stream->error, stream->error_text);
    if (stream->partition != reader->partition || session == NULL || session->state != SESSION_UP
        || session->id != stream->session) {
        client_fail(client, LEAT_ERR_PROTOCOL,
                    "topic \"%s\", partition %" PRIu32 ": the grant names another session",
                    topic->name, reader->partition);
        return false;
    }
    enum leat_error error = reserve_window(reader, stream->batch_bytes_max);
    if (error == LEAT_OK)
        error = client_session_attach(session, stream->stream, reader);
    if (error != LEAT_OK && topic->consumer->opened) {
        const struct stream_name name = { session->id, stream->stream };
        connect_close_streams(client, &name, 1);
        return put_off_reader(reader, error, "no memory for the consumer's window");
    }
    if (error != LEAT_OK) {
        topic_refused(topic, error, "no memory for the consumer's window");
        return false;
    }
    const struct partition_stream_start start = {
        .position = stream->position,
        .offset = stream->offset,
        .log_epoch = stream->log_epoch,
        .resumed = reader->resumes || group_places(reader, stream),
        .anew = stream->topic_id != reader->topic_id,
        .seen_offset = stream->next_offset,
        .certain_offset = stream->certain_offset,
        .uncovered = client_session_is_uncovered(session)
    };
    partition_stream_start(&reader->stream, &start);
    reader->topic_id = stream->topic_id;
    reader->session = session;
    reader->number = stream->stream;
    reader->state = READER_OPEN;
    reader->resumes = true;
    if (topic->consumer->group != NULL)
        group_opened(reader, stream);
    reader_arrived(reader); /* there may be an event to report already */
    reader_credit(reader);
    return true;
}

static bool any_wanted(const struct subscribed *topic)
{
    for (uint32_t i = 0; i < topic->reader_count; i++)
        if (topic->readers[i]->state == READER_WANTED)
            return true;
    return false;
}

static void on_subscribed(void *context, int error, const char *text,
                          const Leat__Control__Response *response)
{
    struct subscribed *topic = context;
    struct leat_client *client = topic->consumer->client;
    if (response != NULL && error != 0 && topic->consumer->group != NULL
        && group_refused_all(topic, error))
        return;
    if (!topic_answer_came(topic, error, text, response))
        return;
    assert(response != NULL);
    const Leat__Control__SubscriptionGrant *grant = response->subscription;
    size_t at = 0;
    bool right = response->body_case == LEAT__CONTROL__RESPONSE__BODY_SUBSCRIPTION;
    assert(topic->reader_count == 0 || topic->readers != NULL);
    for (uint32_t i = 0; i < topic->reader_count && right; i++) {
        struct reader *reader = topic->readers[i];
        if (reader->state != READER_OPENING)
            continue;
        right = at < grant->n_streams;
        if (right && !open_reader(reader, grant->streams[at++]))
            return;
    }
    if (!right) {
        client_fail(client, LEAT_ERR_PROTOCOL,
                    "consumer of topic \"%s\": the grant does not match the request", topic->name);
        return;
    }
    client->work = true;
    if (topic->step == OWNER_PUT_OFF)
        return;
    topic_wait_found(&topic->refused);
    topic->step = any_wanted(topic) ? OWNER_OPEN : OWNER_READY;
}

static void fill_start(Leat__Control__PartitionStart *start, const struct reader *reader)
{
    static const Leat__Control__StartAt at[] = {
        [LEAT_START_LATEST] = LEAT__CONTROL__START_AT__LATEST,
        [LEAT_START_EARLIEST] = LEAT__CONTROL__START_AT__EARLIEST,
        [LEAT_START_OFFSET] = LEAT__CONTROL__START_AT__OFFSET,
        [LEAT_START_TIME] = LEAT__CONTROL__START_AT__TIME,
    };
    leat__control__partition_start__init(start);
    start->partition = reader->partition;
    start->session = reader->session != NULL ? reader->session->id : 0;
    if (reader->resumes) {
        start->at = LEAT__CONTROL__START_AT__OFFSET;
        start->offset = partition_stream_wanted(&reader->stream);
        start->log_epoch = reader->stream.log_epoch;
        return;
    }
    start->at = at[reader->start_at];
    if (reader->at_committed) {
        start->otherwise = start->at;
        start->at = LEAT__CONTROL__START_AT__COMMITTED;
        start->log_epoch = reader->stream.log_epoch;
        start->seen_offset = reader->stream.seen_offset;
        start->topic_id = reader->topic_id;
    }
    if (reader->at_committed && reader->had) {
        start->otherwise = LEAT__CONTROL__START_AT__OFFSET;
        start->offset = start->processed_offset = reader->stream.next_offset;
        return;
    }
    if (reader->start_at == LEAT_START_OFFSET)
        start->offset = reader->start;
    else if (reader->start_at == LEAT_START_TIME)
        start->time_ns = reader->start;
}

static void ask_subscribe(struct subscribed *topic)
{
    struct leat_consumer *consumer = topic->consumer;
    struct leat_client *client = consumer->client;
    uint64_t wanted = 0;
    for (uint32_t i = 0; i < topic->reader_count; i++)
        if (topic->readers[i]->state == READER_WANTED)
            wanted |= UINT64_C(1) << topic->shards.shard[topic->readers[i]->partition];
    if (wanted == 0) {
        topic->step = OWNER_READY;
        return;
    }
    if (!connect_sessions(client, wanted))
        return;
    Leat__Control__PartitionStart *starts = calloc(topic->reader_count, sizeof *starts);
    Leat__Control__PartitionStart **list = calloc(topic->reader_count, sizeof(void *));
    Leat__Control__OpenSubscription open = LEAT__CONTROL__OPEN_SUBSCRIPTION__INIT;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    if (starts == NULL || list == NULL) {
        topic_refused(topic, LEAT_ERR_NO_MEMORY, "no memory to subscribe");
        goto done;
    }
    for (uint32_t i = 0; i < topic->reader_count; i++) {
        const struct reader *reader = topic->readers[i];
        if (reader->state != READER_WANTED)
            continue;
        list[open.n_partitions] = &starts[open.n_partitions];
        fill_start(list[open.n_partitions], reader);
        list[open.n_partitions++]->session =
            client->sessions[topic->shards.shard[reader->partition]]->id;
    }
    open.topic = topic->name;
    open.partitions = list;
    open.name = consumer->name;
    open.required = consumer->options.required != 0;
    if (consumer->group != NULL) {
        open.group = consumer->group->name;
        open.member_id = consumer->group->member_id;
        open.member_epoch = consumer->group->membership.epoch;
    }
    request.body_case = LEAT__CONTROL__REQUEST__BODY_OPEN_SUBSCRIPTION;
    request.open_subscription = &open;
    if (connect_ask(client, &request, on_subscribed, topic) == LEAT_OK) {
        topic->step = OWNER_OPENING;
        for (uint32_t i = 0; i < topic->reader_count; i++)
            if (topic->readers[i]->state == READER_WANTED)
                topic->readers[i]->state = READER_OPENING;
    }
done:
    free(starts);
    free(list);
}

void consumer_advance(struct leat_consumer *consumer)
{
    if (consumer->group != NULL)
        group_advance(consumer);
    for (size_t i = 0; i < consumer->topic_count; i++) {
        struct subscribed *topic = &consumer->topics[i];
        if (topic->step == OWNER_DESCRIBE)
            topic_describe(topic);
        else if (topic->step == OWNER_OPEN
                 && (consumer->group == NULL || consumer->group->membership.confirmed))
            ask_subscribe(topic);
    }
}

bool consumer_is_ready(const struct leat_consumer *consumer)
{
    if (consumer->over != LEAT_OK)
        return true;
    for (size_t i = 0; i < consumer->topic_count; i++) {
        const enum owner_step step = consumer->topics[i].step;
        if (step != OWNER_READY && step != OWNER_AWAITED && step != OWNER_PUT_OFF
            && step != OWNER_OVER)
            return false;
    }
    return consumer->group == NULL || group_is_settled(consumer);
}

void consumer_disconnected(struct leat_consumer *consumer)
{
    if (consumer->group != NULL)
        group_disconnected(consumer);
    for (size_t i = 0; i < consumer->topic_count; i++) {
        struct subscribed *topic = &consumer->topics[i];
        for (uint32_t j = 0; j < topic->reader_count; j++) {
            struct reader *reader = topic->readers[j];
            client_session_detach_reader(reader);
            partition_stream_stop(&reader->stream);
            if (reader->state != READER_DEAD)
                reader->state = consumer->group != NULL ? READER_IDLE : READER_WANTED;
        }
        if (topic->step != OWNER_OVER)
            topic->step = OWNER_DESCRIBE;
    }
}

void consumer_free(struct leat_consumer *consumer)
{
    struct leat_client *client = consumer->client;
    for (size_t i = 0; consumer->topics != NULL && i < consumer->topic_count; i++) {
        struct subscribed *topic = &consumer->topics[i];
        control_channel_forget(&client->control, topic);
        for (uint32_t j = 0; j < topic->reader_room; j++) {
            client_session_detach_reader(topic->readers[j]);
            ringmap_release(&topic->readers[j]->window);
            ringmap_release(&topic->readers[j]->outgrown);
            free(topic->readers[j]);
        }
        free(topic->readers);
        topic_shards_free(&topic->shards);
    }
    TAILQ_REMOVE(&client->consumers, consumer, node);
    if (consumer->group != NULL)
        group_unmake(consumer);
    free(consumer->partitions);
    free(consumer->topics);
    free(consumer);
}

static int check_topics(struct leat_client *client, const char *const *topics, size_t count)
{
    if (topics == NULL || count == 0)
        return client_error(client, LEAT_ERR_INVALID, "topics: expected at least one");
    for (size_t i = 0; i < count; i++) {
        if (topics[i] == NULL
            || !leat_name_valid(topics[i], strnlen(topics[i], LEAT_NAME_BYTES_MAX + 1)))
            return client_error(client, LEAT_ERR_INVALID,
                                "topic \"%.80s\": expected 1 to 249 of A-Z a-z 0-9 . _ -",
                                topics[i] != NULL ? topics[i] : "(NULL)");
        for (size_t j = 0; j < i; j++) {
            if (strcmp(topics[i], topics[j]) == 0)
                return client_error(client, LEAT_ERR_INVALID, "topic \"%s\" is named twice",
                                    topics[i]);
        }
    }
    return LEAT_OK;
}

static struct leat_consumer *make(struct leat_client *client, const char *const *topics,
                                  size_t topic_count, const struct leat_consumer_options *options)
{
    struct leat_consumer *consumer = calloc(1, sizeof *consumer);
    if (consumer == NULL)
        return NULL;
    consumer->client = client;
    consumer->options = *options;
    TAILQ_INIT(&consumer->ready);
    TAILQ_INIT(&consumer->borrowed);
    TAILQ_INSERT_TAIL(&client->consumers, consumer, node);
    snprintf(consumer->name, sizeof consumer->name, "%s",
             options->name != NULL ? options->name : client->options.client_name);
    consumer->topics = calloc(topic_count, sizeof *consumer->topics);
    const size_t bytes = options->partition_count * sizeof *consumer->partitions;
    if (bytes > 0)
        consumer->partitions = malloc(bytes);
    if (consumer->topics == NULL || (bytes > 0 && consumer->partitions == NULL)) {
        consumer_free(consumer);
        return NULL;
    }
    if (bytes > 0)
        memcpy(consumer->partitions, options->partitions, bytes);
    consumer->options.partitions = consumer->partitions;
    consumer->options.name = consumer->name;
    consumer->topic_count = topic_count;
    for (size_t i = 0; i < topic_count; i++) {
        consumer->topics[i].consumer = consumer;
        snprintf(consumer->topics[i].name, sizeof consumer->topics[i].name, "%s", topics[i]);
    }
    topics_init(consumer);
    if (options->group != NULL && group_make(consumer, options) != LEAT_OK) {
        consumer_free(consumer);
        return NULL;
    }
    return consumer;
}

static int not_in_time(const struct leat_consumer *consumer)
{
    const char *why = consumer->group != NULL ? consumer->group->put_off : "";
    if (*why == '\0')
        why = connect_trouble(consumer->client);
    return client_error(consumer->client, LEAT_ERR_TIMEOUT,
                        "consumer of topic \"%s\": not opened within request_timeout_ns%s%s",
                        consumer->topics[0].name, *why != '\0' ? ": " : "", why);
}

int leat_consumer_open(leat_client *client, leat_consumer **consumer, const char *const *topics,
                       size_t topic_count, const struct leat_consumer_options *options)
{
    if (client == NULL || consumer == NULL || client_refuses(client, "leat_consumer_open"))
        return LEAT_ERR_INVALID;
    struct leat_consumer_options checked;
    char why[CLIENT_ERROR_BYTES];
    if (options_consumer(&checked, options, why, sizeof why) != LEAT_OK)
        return client_error(client, LEAT_ERR_INVALID, "%s", why);
    int error = client_refuses_data(client, "leat_consumer_open");
    if (error == LEAT_OK)
        error = check_topics(client, topics, topic_count);
    if (error == LEAT_OK && checked.group != NULL && topic_count > LEAT_GROUP_TOPICS_MAX)
        error =
            client_error(client, LEAT_ERR_INVALID, "topics: expected at most %d for a group member",
                         LEAT_GROUP_TOPICS_MAX);
    const leat_ns deadline =
        client_after(client_clock(client), client->options.values.request_timeout_ns);
    if (error == LEAT_OK)
        error = connect_wait_ready(client, deadline);
    if (error != LEAT_OK)
        return error;
    struct leat_consumer *opened = make(client, topics, topic_count, &checked);
    if (opened == NULL)
        return client_error(client, LEAT_ERR_NO_MEMORY, "consumer: no memory");
    client->work = true;
    while (opened->over == 0 && !consumer_is_ready(opened)) {
        if (client->now >= deadline) {
            error = not_in_time(opened);
            consumer_free(opened);
            return error;
        }
        client_run(client, deadline - client->now);
    }
    error = opened->over;
    if (error != 0) {
        leat_consumer_close(opened);
        return error;
    }
    opened->opened = true;
    *consumer = opened;
    return LEAT_OK;
}

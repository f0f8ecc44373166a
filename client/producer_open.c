/* Opening a producer: its topic, its batches, its streams. */
#include "client/producer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/client_core.h"
#include "client/connect.h"
#include "client/refusal.h"
#include "client/session.h"
#include "schema/error_text.h"

enum { BATCH_BYTES_DEFAULT = 60 << 10 };

/* Reopens the producer after a pause; unanswered records wait. */
static void put_off(struct leat_producer *producer, int error, const char *text)
{
    struct leat_client *client = producer->client;
    producer_detach_all(producer);
    producer->step = OWNER_PUT_OFF;
    const bool tells = topic_wait_missed(&producer->refused, client->now);
    client_retry_at(client, producer->refused.ask_at);
    if (!tells)
        return;
    const struct leat_event event = { .type = LEAT_EVENT_REFUSED,
                                      .error = error,
                                      .partition = -1,
                                      .topic = producer->topic,
                                      .time_ns = client->now - producer->refused.since,
                                      .text = *text != '\0' ? text : leat_error_text(error),
                                      .producer = producer };
    client_event(client, &event);
}

static void refused(struct leat_producer *producer, int error, const char *text)
{
    if (!producer->opened) {
        producer->over = client_error(producer->client, error, "%s",
                                      *text != '\0' ? text : leat_error_text(error));
        producer->step = OWNER_OVER;
        return;
    }
    switch (error) {
    case LEAT_ERR_UNKNOWN_TOPIC: producer_topic_gone(producer); return;
    case LEAT_ERR_FENCED: producer_fenced(producer, text); return;
    case LEAT_ERR_PRODUCER_EXPIRED:
        if (producer->renews)
            break; /* it presented no id that could have expired */
        producer->renews = true;
        producer_reopen(producer);
        return;
    default: break;
    }
    switch (refusal_of(error, producer->refused.missing)) {
    case REFUSAL_CONNECTION:
        client_fail(producer->client, error, "producer of topic \"%s\": %s", producer->topic, text);
        break;
    case REFUSAL_FOR_NOW: put_off(producer, error, text); break;
    case REFUSAL_FOR_GOOD: producer_end(producer, error, LEAT_EVENT_REFUSED, text); break;
    }
}

/* True if the request was answered without an error. Otherwise handles the error. */
static bool answer_came(struct leat_producer *producer, int error, const char *text,
                        const Leat__Control__Response *response, enum owner_step again)
{
    if (response == NULL) {
        if (producer->step != OWNER_OVER)
            producer->step = again;
        if (error == LEAT_ERR_TIMEOUT)
            client_fail(producer->client, error, "producer of topic \"%s\": %s", producer->topic,
                        text);
        return false;
    }
    if (error != 0)
        refused(producer, error, text);
    return error == 0;
}

static void on_described(void *context, int error, const char *text,
                         const Leat__Control__Response *response)
{
    struct leat_producer *producer = context;
    if (!answer_came(producer, error, text, response, OWNER_DESCRIBE))
        return;
    struct topic_shards shards = { 0 };
    const enum leat_error failed = topic_shards_take(&shards, response);
    if (failed != LEAT_OK) {
        refused(producer, failed, "describe_topic");
        return;
    }
    if (producer->opened && shards.partitions != producer->shards.partitions) {
        topic_shards_free(&shards);
        producer_topic_gone(producer); /* a new topic of the same name */
        return;
    }
    topic_shards_free(&producer->shards);
    producer->shards = shards;
    producer->step = OWNER_OPEN;
    producer->client->work = true;
}

static enum leat_error reserve(struct leat_producer *producer,
                               const Leat__Control__ProducerGrant *grant)
{
    const uint32_t partitions = producer->shards.partitions;
    const uint32_t in_flight = producer->options.in_flight_batches;
    uint32_t batch = producer->options.batch_bytes_max;
    if (batch == 0)
        batch = BATCH_BYTES_DEFAULT;
    if (batch > grant->batch_bytes_max)
        batch = grant->batch_bytes_max;
    batch &= ~(uint32_t)(LEAT_ALIGN - 1);
    const uint64_t record = leat_record_bytes(0, 0, grant->record_bytes_max);
    const uint32_t largest = (uint32_t)(LEAT_BATCH_HEADER_BYTES + record);
    /* Each partition can fill one batch and have one in flight; partitions share the rest. */
    const uint64_t shared = 2 * (uint64_t)partitions + 4 * (uint64_t)in_flight;
    const uint64_t most = (uint64_t)partitions * (in_flight + 1);
    const struct batch_pool_options options = {
        .batches = (uint32_t)(most < shared ? most : shared),
        .batch_bytes = batch,
        .records_max = producer->options.batch_records_max,
        .largest = largest > batch ? largest : batch,
    };
    producer->record_bytes_max = grant->record_bytes_max;
    producer->sticky = partitions - 1; /* records without a key begin with partition 0 */
    producer->publishers = calloc(partitions, sizeof *producer->publishers);
    const uint32_t entries = batch_queue_ring_entries(in_flight);
    producer->rings = calloc((size_t)partitions * entries, sizeof(struct queued_batch *));
    producer->headers = malloc(LEAT_HEADERS_BYTES_MAX);
    producer->unanswered = calloc(partitions, sizeof *producer->unanswered);
    if (producer->unanswered == NULL || producer->publishers == NULL || producer->rings == NULL
        || producer->headers == NULL)
        return LEAT_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < partitions; i++) {
        struct publisher *publisher = &producer->publishers[i];
        publisher->kind = STREAM_PUBLISHER;
        publisher->partition = i;
        publisher->producer = producer;
        batch_queue_init(&publisher->queue, &producer->pool, producer->rings + (size_t)i * entries,
                         in_flight);
    }
    return batch_pool_reserve(&producer->pool, &options);
}

static void tell_lost(struct publisher *publisher, uint64_t log_epoch)
{
    if (publisher->acked_epoch == 0 || publisher->acked_epoch == log_epoch)
        return;
    struct leat_producer *producer = publisher->producer;
    const struct leat_event event = {
        .type = LEAT_EVENT_RECORDS_LOST,
        .error = LEAT_ERR_LOST,
        .partition = (int32_t)publisher->partition,
        .topic = producer->topic,
        .first_offset = publisher->acked_first,
        .next_offset = publisher->acked_next,
        .log_epoch = publisher->acked_epoch,
        .text = "the broker restarted: acknowledged records that were only in its memory are lost",
        .producer = producer,
    };
    publisher->acked_epoch = 0;
    client_event(producer->client, &event);
}

static enum leat_error bind_stream(struct publisher *publisher,
                                   const Leat__Control__PublishStream *stream, bool new_identity)
{
    struct leat_producer *producer = publisher->producer;
    struct leat_client *client = producer->client;
    struct client_session *session = client->sessions[producer->shards.shard[publisher->partition]];
    if (stream->partition != publisher->partition || session == NULL || session->state != SESSION_UP
        || session->id != stream->session) {
        client_fail(client, LEAT_ERR_PROTOCOL,
                    "topic \"%s\", partition %" PRIu32 ": the grant names another session",
                    producer->topic, publisher->partition);
        return LEAT_ERR_PROTOCOL;
    }
    if (client_session_attach(session, stream->stream, publisher) != LEAT_OK)
        return LEAT_ERR_NO_MEMORY;
    publisher->number = stream->stream;
    publisher->session = session;
    publisher->blocked_said = UINT64_MAX;
    /* If the broker does not know the producer, renumber without holes: a batch answered out of
     * order would leave a hole, and the broker accepts nothing after a hole. */
    batch_queue_restart(&publisher->queue, stream->credit,
                        new_identity || stream->expired ? &stream->next_sequence : NULL);
    client_session_queue_publisher(publisher);
    return LEAT_OK;
}

/* False: the producer is not open, and the streams of `grant` stay unused. */
static bool bind_streams(struct leat_producer *producer, const Leat__Control__ProducerGrant *grant,
                         bool new_identity)
{
    struct leat_client *client = producer->client;
    enum leat_error error = LEAT_OK;
    for (uint32_t i = 0; i < producer->shards.partitions && error == LEAT_OK; i++)
        error = bind_stream(&producer->publishers[i], grant->streams[i], new_identity);
    if (error == LEAT_ERR_NO_MEMORY) {
        producer_detach_all(producer);
        for (uint32_t i = 0; i < producer->shards.partitions; i++) {
            const struct stream_name name = { grant->streams[i]->session,
                                              grant->streams[i]->stream };
            connect_close_streams(client, &name, 1);
        }
        refused(producer, error, "no memory for the producer's streams");
    }
    return error == LEAT_OK;
}

static void on_opened(void *context, int error, const char *text,
                      const Leat__Control__Response *response)
{
    struct leat_producer *producer = context;
    struct leat_client *client = producer->client;
    if (!answer_came(producer, error, text, response, OWNER_DESCRIBE))
        return;
    const Leat__Control__ProducerGrant *grant = response->producer;
    if (response->body_case != LEAT__CONTROL__RESPONSE__BODY_PRODUCER
        || grant->n_streams != producer->shards.partitions) {
        client_fail(client, LEAT_ERR_PROTOCOL,
                    "producer of topic \"%s\": the grant does not match the request",
                    producer->topic);
        return;
    }
    if (!producer->opened) {
        const enum leat_error failed = reserve(producer, grant);
        if (failed != LEAT_OK) {
            refused(producer, failed, "no memory for the producer's batches");
            return;
        }
    }
    const bool same_broker = producer->incarnation == client->incarnation;
    const bool new_identity = producer->pool.producer_id != grant->producer_id
                              || producer->pool.producer_epoch != grant->producer_epoch;
    producer->pool.producer_id = grant->producer_id;
    producer->pool.producer_epoch = grant->producer_epoch;
    memcpy(producer->resume_token, grant->resume_token.data, sizeof producer->resume_token);
    producer->incarnation = client->incarnation;
    producer->renews = false;
    producer->topic_id = grant->topic_id;
    bool expired = false;
    for (uint32_t i = 0; i < producer->shards.partitions; i++)
        expired = expired || grant->streams[i]->expired;
    if (!bind_streams(producer, grant, new_identity))
        return;
    topic_wait_found(&producer->refused);
    const bool was_open = producer->opened;
    producer->opened = true;
    producer->step = OWNER_READY;
    client->work = true;
    for (uint32_t i = 0; i < producer->shards.partitions; i++)
        tell_lost(&producer->publishers[i], grant->streams[i]->log_epoch);
    if (was_open && same_broker && (expired || new_identity)) {
        const struct leat_event event = {
            .type = LEAT_EVENT_PRODUCER_EXPIRED,
            .partition = -1,
            .topic = producer->topic,
            .text = "the broker no longer knows the producer: unacknowledged records are sent "
                    "again and may be duplicated",
            .producer = producer
        };
        client_event(client, &event);
    }
}

static void ask_open(struct leat_producer *producer)
{
    struct leat_client *client = producer->client;
    uint64_t wanted = 0;
    for (uint32_t i = 0; i < producer->shards.partitions; i++)
        wanted |= UINT64_C(1) << producer->shards.shard[i];
    if (!connect_sessions(client, wanted))
        return;
    uint32_t sessions[LEAT_SHARDS_MAX];
    Leat__Control__OpenProducer open = LEAT__CONTROL__OPEN_PRODUCER__INIT;
    open.topic = producer->topic;
    open.name = producer->name;
    open.sessions = sessions;
    for (uint32_t shard = 0; shard < LEAT_SHARDS_MAX; shard++)
        if ((wanted >> shard & 1) != 0)
            sessions[open.n_sessions++] = client->sessions[shard]->id;
    /* Also sent to a restarted broker, which uses them to tell which of several producers had the
     * name last. */
    if (producer->incarnation != 0 && !producer->renews) {
        open.producer_id = producer->pool.producer_id;
        open.producer_epoch = producer->pool.producer_epoch;
        open.resume_token = (ProtobufCBinaryData){ .len = sizeof producer->resume_token,
                                                   .data = producer->resume_token };
    }
    if (producer->opened) {
        for (uint32_t i = 0; i < producer->shards.partitions; i++)
            producer->unanswered[i] = batch_queue_first_unanswered(&producer->publishers[i].queue);
        open.first_unanswered = producer->unanswered;
        open.n_first_unanswered = producer->shards.partitions;
    }
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER;
    request.open_producer = &open;
    if (connect_ask(client, &request, on_opened, producer) == LEAT_OK)
        producer->step = OWNER_OPENING;
}

void producer_advance(struct leat_producer *producer)
{
    if (producer->step == OWNER_DESCRIBE
        && connect_describe(producer->client, producer->topic, on_described, producer) == LEAT_OK)
        producer->step = OWNER_DESCRIBING;
    else if (producer->step == OWNER_OPEN)
        ask_open(producer);
}

leat_ns producer_timers(struct leat_producer *producer)
{
    struct leat_client *client = producer->client;
    if (producer->step != OWNER_PUT_OFF || client->phase != PHASE_READY)
        return LEAT_NS_NEVER;
    if (producer->refused.ask_at > client->now)
        return producer->refused.ask_at;
    producer->step = OWNER_DESCRIBE;
    client->work = true;
    return LEAT_NS_NEVER;
}

static void on_doubt(void *context, int error, const char *text,
                     const Leat__Control__Response *response)
{
    struct leat_producer *producer = context;
    (void)text;
    if (response == NULL || producer->step != OWNER_READY)
        return;
    const bool another = response->body_case == LEAT__CONTROL__RESPONSE__BODY_TOPIC
                         && response->topic->id != producer->topic_id;
    if (error == LEAT_ERR_UNKNOWN_TOPIC || another)
        producer_topic_gone(producer);
}

void producer_doubt(struct leat_producer *producer)
{
    const bool stuck = producer->answers == producer->answers_before;
    producer->answers_before = producer->answers;
    if (producer->step == OWNER_READY && stuck && leat_producer_pending(producer) > 0)
        connect_describe(producer->client, producer->topic, on_doubt, producer);
}

#include "client/producer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/bringup.h"
#include "client/client_core.h"
#include "client/data_link.h"
#include "client/partitioner.h"
#include "schema/bytes.h"
#include "schema/error_text.h"

enum { BATCH_BYTES_DEFAULT = 60 << 10, OUT_OF_ORDER_PAUSE_US = 1000, US_NS = 1000 };

struct answer_context {
    struct publisher *publisher;
    uint64_t log_epoch;
};

static void note_acked(struct publisher *publisher, uint64_t log_epoch, uint64_t offset,
                       uint32_t count)
{
    if (publisher->acked_epoch != log_epoch) {
        publisher->acked_epoch = log_epoch;
        publisher->acked_first = offset;
        publisher->acked_next = offset;
    }
    if (offset + count > publisher->acked_next)
        publisher->acked_next = offset + count;
}

static void answered(void *context, const struct outbox_batch *batch,
                     const struct leat_ack_run *run)
{
    const struct answer_context *c = context;
    struct leat_producer *producer = c->publisher->producer;
    struct leat_client *client = producer->client;
    const bool appended = run->status == LEAT_OK;
    producer->answers++;
    struct leat_delivery delivery = {
        .status = run->status,
        .level = run->level,
        .partition = (int32_t)c->publisher->partition,
        .offset = LEAT_NO_OFFSET,
        .log_epoch = c->log_epoch,
        .producer = producer,
    };
    if (appended) {
        delivery.offset = run->base_offset + (batch->base_sequence - run->first_sequence);
        note_acked(c->publisher, c->log_epoch, delivery.offset, batch->count);
    }
    if (appended || run->status == LEAT_ERR_DUPLICATE)
        client->stats.records_acked += batch->count;
    if (producer->options.on_delivery == NULL && batch->waiter == NULL)
        return;
    client->in_callback++;
    for (uint32_t i = 0; i < batch->count; i++) {
        delivery.cookie = batch->cookies[i];
        if (batch->waiter != NULL && batch->waiter_record == i) {
            struct producer_waiter *waiter = batch->waiter;
            waiter->delivery = delivery;
            waiter->done = true;
        }
        if (producer->options.on_delivery != NULL)
            producer->options.on_delivery(producer->options.user, &delivery);
        delivery.offset += appended;
    }
    client->in_callback--;
}

static void unhold(struct publisher *publisher)
{
    if (publisher->held)
        TAILQ_REMOVE(&publisher->producer->client->held, publisher, held_link);
    publisher->held = false;
}

static void detach_all(struct leat_producer *producer)
{
    for (uint32_t i = 0; producer->publishers != NULL && i < producer->shards.partitions; i++) {
        unhold(&producer->publishers[i]);
        data_link_detach_publisher(&producer->publishers[i]);
    }
}

/* Nothing more is sent or taken; what was not answered is answered with `status`. */
static void over(struct leat_producer *producer, int status, int event, const char *text)
{
    struct leat_client *client = producer->client;
    detach_all(producer);
    producer->step = OWNER_OVER;
    producer->over = status;
    for (uint32_t i = 0; producer->publishers != NULL && i < producer->shards.partitions; i++) {
        struct answer_context context = { .publisher = &producer->publishers[i] };
        outbox_close(&producer->publishers[i].outbox, (int16_t)status, answered, &context);
    }
    if (event == 0)
        return;
    const struct leat_event told = { .type = event,
                                     .error = status,
                                     .partition = -1,
                                     .topic = producer->topic,
                                     .text = text,
                                     .producer = producer };
    client_event(client, &told);
}

static void topic_gone(struct leat_producer *producer)
{
    over(producer, LEAT_ERR_UNKNOWN_TOPIC, LEAT_EVENT_TOPIC_DELETED,
         "the producer's topic was deleted");
}

static void fenced(struct leat_producer *producer, const char *text)
{
    over(producer, LEAT_ERR_FENCED, LEAT_EVENT_PRODUCER_FENCED, text);
}

static void reopen(struct leat_producer *producer)
{
    detach_all(producer);
    producer->step = OWNER_OPEN;
    producer->client->work = true;
}

static void hold(struct publisher *publisher, uint32_t pause_us)
{
    struct leat_client *client = publisher->producer->client;
    const leat_ns until = client->now + (leat_ns)pause_us * US_NS;
    if (publisher->held && publisher->hold_until >= until)
        return;
    publisher->hold_until = until;
    if (!publisher->held)
        TAILQ_INSERT_TAIL(&client->held, publisher, held_link);
    publisher->held = true;
    data_link_unqueue_publisher(publisher);
    client_timer_at(client, until);
}

leat_ns producer_release_held(struct leat_client *client)
{
    leat_ns next = LEAT_NS_NEVER;
    struct publisher *publisher = TAILQ_FIRST(&client->held), *following;
    for (; publisher != NULL; publisher = following) {
        following = TAILQ_NEXT(publisher, held_link);
        if (publisher->hold_until <= client->now) {
            unhold(publisher);
            data_link_queue_publisher(publisher);
        } else if (publisher->hold_until < next) {
            next = publisher->hold_until;
        }
    }
    return next;
}

void producer_acked(struct publisher *publisher, const struct leat_frame_publish_ack *ack)
{
    struct leat_producer *producer = publisher->producer;
    struct answer_context context = { .publisher = publisher, .log_epoch = ack->log_epoch };
    for (uint32_t i = 0; i < ack->run_count; i++) {
        const struct leat_ack_run run = leat_ack_run_at(ack, i);
        switch (run.status) {
        case LEAT_ERR_FENCED:
            fenced(producer, "another producer took over its name, or writes under its identity");
            return;
        case LEAT_ERR_PRODUCER_EXPIRED: reopen(producer); return;
        case LEAT_ERR_UNKNOWN_TOPIC:
        case LEAT_ERR_UNKNOWN_PARTITION:
        case LEAT_ERR_UNKNOWN_STREAM: topic_gone(producer); return;
        default: break;
        }
        if (outbox_ack(&publisher->outbox, &run, answered, &context))
            hold(publisher, run.retry_after_us != 0 ? run.retry_after_us : OUT_OF_ORDER_PAUSE_US);
    }
    if (outbox_has_content(&publisher->outbox))
        data_link_queue_publisher(publisher);
}

/* ---- opening */

static void refused(struct leat_producer *producer, int error, const char *text)
{
    if (!producer->opened) {
        producer->over = client_error(producer->client, error, "%s",
                                      *text != '\0' ? text : leat_error_text(error));
        producer->step = OWNER_OVER;
        return;
    }
    switch (error) {
    case LEAT_ERR_UNKNOWN_TOPIC: topic_gone(producer); break;
    case LEAT_ERR_FENCED: fenced(producer, text); break;
    case LEAT_ERR_PRODUCER_EXPIRED:
        producer->incarnation = 0; /* asks for a new id */
        reopen(producer);
        break;
    default:
        client_fail(producer->client, error, "producer of topic \"%s\": %s", producer->topic, text);
    }
}

/* True when there is an answer to look at. */
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
        topic_gone(producer); /* another topic of the same name */
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
    /* Every partition can have a batch filling and one in flight; beyond that they share. */
    const uint64_t shared = 2 * (uint64_t)partitions + 4 * (uint64_t)in_flight;
    const uint64_t most = (uint64_t)partitions * (in_flight + 1);
    const struct outbox_pool_options options = {
        .batches = (uint32_t)(most < shared ? most : shared),
        .batch_bytes = batch,
        .records_max = producer->options.batch_records_max,
        .largest = largest > batch ? largest : batch,
    };
    producer->record_bytes_max = grant->record_bytes_max;
    producer->sticky = partitions - 1; /* the first batch without a key goes to partition 0 */
    producer->publishers = calloc(partitions, sizeof *producer->publishers);
    const uint32_t entries = outbox_ring_entries(in_flight);
    producer->rings = calloc((size_t)partitions * entries, sizeof(struct outbox_batch *));
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
        outbox_init(&publisher->outbox, &producer->pool, producer->rings + (size_t)i * entries,
                    in_flight);
    }
    return outbox_pool_reserve(&producer->pool, &options);
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
        .text = "the broker restarted: acked records that were in its memory are gone",
        .producer = producer,
    };
    publisher->acked_epoch = 0;
    client_event(producer->client, &event);
}

static bool bind_stream(struct publisher *publisher, const Leat__Control__PublishStream *stream,
                        bool new_identity)
{
    struct leat_producer *producer = publisher->producer;
    struct leat_client *client = producer->client;
    struct data_link *link = client->links[producer->shards.shard[publisher->partition]];
    if (stream->partition != publisher->partition || link == NULL || link->state != LINK_UP
        || link->session != stream->session) {
        client_fail(client, LEAT_ERR_PROTOCOL,
                    "topic \"%s\", partition %" PRIu32 ": the grant names another session",
                    producer->topic, publisher->partition);
        return false;
    }
    if (data_link_attach(link, stream->stream, publisher) != LEAT_OK) {
        client_fail(client, LEAT_ERR_NO_MEMORY, "producer of topic \"%s\": no memory",
                    producer->topic);
        return false;
    }
    publisher->number = stream->stream;
    publisher->link = link;
    publisher->blocked_said = UINT64_MAX;
    /* Where the broker knows nothing of it the numbers may be closed up: a batch answered out of
     * turn would leave a hole that nothing is taken behind. */
    outbox_restart(&publisher->outbox, stream->credit,
                   new_identity || stream->expired ? &stream->next_sequence : NULL);
    data_link_queue_publisher(publisher);
    return true;
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
        client_fail(client, LEAT_ERR_PROTOCOL, "producer of topic \"%s\": not its grant",
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
    producer->topic_id = grant->topic_id;
    bool expired = false;
    for (uint32_t i = 0; i < producer->shards.partitions; i++) {
        expired = expired || grant->streams[i]->expired;
        if (!bind_stream(&producer->publishers[i], grant->streams[i], new_identity))
            return;
    }
    const bool was_open = producer->opened;
    producer->opened = true;
    producer->step = OWNER_READY;
    client->work = true;
    for (uint32_t i = 0; i < producer->shards.partitions; i++)
        tell_lost(&producer->publishers[i], grant->streams[i]->log_epoch);
    if (was_open && same_broker && (expired || new_identity)) {
        const struct leat_event event = { .type = LEAT_EVENT_PRODUCER_EXPIRED,
                                          .partition = -1,
                                          .topic = producer->topic,
                                          .text = "the broker forgot the producer: what was "
                                                  "unacked is sent again and may be doubled",
                                          .producer = producer };
        client_event(client, &event);
    }
}

static void ask_open(struct leat_producer *producer)
{
    struct leat_client *client = producer->client;
    uint64_t wanted = 0;
    for (uint32_t i = 0; i < producer->shards.partitions; i++)
        wanted |= UINT64_C(1) << producer->shards.shard[i];
    if (!bringup_links(client, wanted))
        return;
    uint32_t sessions[LEAT_SHARDS_MAX];
    Leat__Control__OpenProducer open = LEAT__CONTROL__OPEN_PRODUCER__INIT;
    open.topic = producer->topic;
    open.name = producer->name;
    open.sessions = sessions;
    for (uint32_t shard = 0; shard < LEAT_SHARDS_MAX; shard++) {
        if ((wanted >> shard & 1) != 0)
            sessions[open.n_sessions++] = client->links[shard]->session;
    }
    /* A new broker is told them too: it knows by them who of several had the name last. */
    if (producer->incarnation != 0) {
        open.producer_id = producer->pool.producer_id;
        open.producer_epoch = producer->pool.producer_epoch;
        open.resume_token = (ProtobufCBinaryData){ .len = sizeof producer->resume_token,
                                                   .data = producer->resume_token };
    }
    if (producer->opened) {
        for (uint32_t i = 0; i < producer->shards.partitions; i++)
            producer->unanswered[i] = outbox_first_unanswered(&producer->publishers[i].outbox);
        open.first_unanswered = producer->unanswered;
        open.n_first_unanswered = producer->shards.partitions;
    }
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER;
    request.open_producer = &open;
    if (bringup_ask(client, &request, on_opened, producer) == LEAT_OK)
        producer->step = OWNER_OPENING;
}

void producer_advance(struct leat_producer *producer)
{
    if (producer->step == OWNER_DESCRIBE
        && bringup_describe(producer->client, producer->topic, on_described, producer) == LEAT_OK)
        producer->step = OWNER_DESCRIBING;
    else if (producer->step == OWNER_OPEN)
        ask_open(producer);
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
        topic_gone(producer);
}

void producer_doubt(struct leat_producer *producer)
{
    const bool stuck = producer->answers == producer->answers_before;
    producer->answers_before = producer->answers;
    if (producer->step == OWNER_READY && stuck && leat_producer_pending(producer) > 0)
        bringup_describe(producer->client, producer->topic, on_doubt, producer);
}

void producer_disconnected(struct leat_producer *producer)
{
    detach_all(producer);
    if (producer->step != OWNER_OVER)
        producer->step = OWNER_DESCRIBE;
}

static void free_producer(struct leat_producer *producer)
{
    struct leat_client *client = producer->client;
    control_link_forget(&client->control, producer);
    TAILQ_REMOVE(&client->producers, producer, link);
    outbox_pool_release(&producer->pool);
    topic_shards_free(&producer->shards);
    free(producer->publishers);
    free(producer->rings);
    free(producer->headers);
    free(producer->unanswered);
    free(producer);
}

/* NULL: *error says why. */
static struct leat_producer *make(struct leat_client *client, const char *topic,
                                  const struct leat_producer_options *options, int *error)
{
    struct leat_producer_options checked;
    char why[CLIENT_ERROR_BYTES];
    if (topic == NULL || !leat_name_valid(topic, strnlen(topic, LEAT_NAME_BYTES_MAX + 1))) {
        *error = client_error(client, LEAT_ERR_INVALID,
                              "topic \"%.80s\": expected 1 to 249 of A-Z a-z 0-9 . _ -",
                              topic != NULL ? topic : "(NULL)");
        return NULL;
    }
    if (options_producer(&checked, options, why, sizeof why) != LEAT_OK) {
        *error = client_error(client, LEAT_ERR_INVALID, "%s", why);
        return NULL;
    }
    struct leat_producer *producer = calloc(1, sizeof *producer);
    if (producer == NULL) {
        *error = client_error(client, LEAT_ERR_NO_MEMORY, "producer: no memory");
        return NULL;
    }
    producer->client = client;
    producer->options = checked;
    snprintf(producer->topic, sizeof producer->topic, "%s", topic);
    if (checked.name != NULL)
        snprintf(producer->name, sizeof producer->name, "%s", checked.name);
    producer->options.name = producer->name;
    TAILQ_INSERT_TAIL(&client->producers, producer, link);
    return producer;
}

int leat_producer_open(leat_client *client, leat_producer **producer, const char *topic,
                       const struct leat_producer_options *options)
{
    if (client == NULL || producer == NULL)
        return LEAT_ERR_INVALID;
    if (client_refuses(client, "leat_producer_open"))
        return LEAT_ERR_INVALID;
    const leat_ns deadline =
        client_after(client_clock(client), client->options.values.request_timeout_ns);
    int error = client_refuses_data(client, "leat_producer_open");
    if (error == 0)
        error = bringup_wait_ready(client, deadline);
    if (error != 0)
        return error;
    struct leat_producer *opened = make(client, topic, options, &error);
    if (opened == NULL)
        return error;
    client->work = true;
    while (opened->step != OWNER_READY && opened->step != OWNER_OVER) {
        if (client->now >= deadline) {
            const char *why = bringup_trouble(client);
            free_producer(opened);
            return client_error(client, LEAT_ERR_TIMEOUT,
                                "producer of topic \"%s\": not opened "
                                "within request_timeout_ns%s%s",
                                topic, *why != '\0' ? ": " : "", why);
        }
        client_run(client, deadline - client->now);
    }
    error = opened->over;
    if (error != 0) {
        detach_all(opened);
        free_producer(opened);
        return error;
    }
    *producer = opened;
    return LEAT_OK;
}

static void close_streams(struct leat_producer *producer)
{
    const uint32_t partitions = producer->publishers != NULL ? producer->shards.partitions : 0;
    struct stream_name *names = calloc(partitions + 1, sizeof *names);
    size_t count = 0;
    for (uint32_t i = 0; names != NULL && i < partitions; i++) {
        const struct publisher *publisher = &producer->publishers[i];
        if (publisher->link != NULL)
            names[count++] = (struct stream_name){ publisher->link->session, publisher->number };
    }
    if (count > 0) /* without memory for it they end with the session */
        bringup_close_streams(producer->client, names, count);
    free(names);
}

void leat_producer_close(leat_producer *producer)
{
    if (producer == NULL || client_refuses(producer->client, "leat_producer_close"))
        return;
    close_streams(producer);
    over(producer, LEAT_ERR_CLOSED, 0, NULL);
    free_producer(producer);
}

/* Producers as leat.h describes them: opening, answers, the end. */
#include "client/producer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client_core.h"
#include "client/connect.h"
#include "client/session.h"

enum { OUT_OF_ORDER_PAUSE_US = 1000, US_NS = 1000 };

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

static void answered(void *context, const struct queued_batch *batch,
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
        TAILQ_REMOVE(&publisher->producer->client->held, publisher, held_node);
    publisher->held = false;
}

void producer_detach_all(struct leat_producer *producer)
{
    for (uint32_t i = 0; producer->publishers != NULL && i < producer->shards.partitions; i++) {
        unhold(&producer->publishers[i]);
        client_session_detach_publisher(&producer->publishers[i]);
    }
}

void producer_end(struct leat_producer *producer, int status, int event, const char *text)
{
    struct leat_client *client = producer->client;
    producer_detach_all(producer);
    producer->step = OWNER_OVER;
    producer->over = status;
    for (uint32_t i = 0; producer->publishers != NULL && i < producer->shards.partitions; i++) {
        struct answer_context context = { .publisher = &producer->publishers[i] };
        batch_queue_close(&producer->publishers[i].queue, (int16_t)status, answered, &context);
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

void producer_topic_gone(struct leat_producer *producer)
{
    producer_end(producer, LEAT_ERR_UNKNOWN_TOPIC, LEAT_EVENT_TOPIC_DELETED,
                 "the producer's topic was deleted");
}

void producer_fenced(struct leat_producer *producer, const char *text)
{
    producer_end(producer, LEAT_ERR_FENCED, LEAT_EVENT_PRODUCER_FENCED, text);
}

void producer_reopen(struct leat_producer *producer)
{
    producer_detach_all(producer);
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
        TAILQ_INSERT_TAIL(&client->held, publisher, held_node);
    publisher->held = true;
    client_session_unqueue_publisher(publisher);
    client_timer_at(client, until);
}

leat_ns producer_release_held(struct leat_client *client)
{
    leat_ns next = LEAT_NS_NEVER;
    struct publisher *publisher = TAILQ_FIRST(&client->held), *following;
    for (; publisher != NULL; publisher = following) {
        following = TAILQ_NEXT(publisher, held_node);
        if (publisher->hold_until <= client->now) {
            unhold(publisher);
            client_session_queue_publisher(publisher);
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
            producer_fenced(producer,
                            "another producer took over its name, or writes under its identity");
            return;
        case LEAT_ERR_PRODUCER_EXPIRED: producer_reopen(producer); return;
        case LEAT_ERR_UNKNOWN_TOPIC:
        case LEAT_ERR_UNKNOWN_PARTITION:
        case LEAT_ERR_UNKNOWN_STREAM: producer_topic_gone(producer); return;
        default: break;
        }
        if (batch_queue_ack(&publisher->queue, &run, answered, &context))
            hold(publisher, run.retry_after_us != 0 ? run.retry_after_us : OUT_OF_ORDER_PAUSE_US);
    }
    if (batch_queue_has_content(&publisher->queue))
        client_session_queue_publisher(publisher);
}

void producer_disconnected(struct leat_producer *producer)
{
    producer_detach_all(producer);
    if (producer->step != OWNER_OVER)
        producer->step = OWNER_DESCRIBE;
}

static void free_producer(struct leat_producer *producer)
{
    struct leat_client *client = producer->client;
    control_channel_forget(&client->control, producer);
    TAILQ_REMOVE(&client->producers, producer, node);
    batch_pool_release(&producer->pool);
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
    topic_wait_init(&producer->refused, &client->backoff);
    snprintf(producer->topic, sizeof producer->topic, "%s", topic);
    if (checked.name != NULL)
        snprintf(producer->name, sizeof producer->name, "%s", checked.name);
    producer->options.name = producer->name;
    TAILQ_INSERT_TAIL(&client->producers, producer, node);
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
        error = connect_wait_ready(client, deadline);
    if (error != 0)
        return error;
    struct leat_producer *opened = make(client, topic, options, &error);
    if (opened == NULL)
        return error;
    client->work = true;
    while (opened->step != OWNER_READY && opened->step != OWNER_OVER) {
        if (client->now >= deadline) {
            const char *why = connect_trouble(client);
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
        producer_detach_all(opened);
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
        if (publisher->session != NULL)
            names[count++] = (struct stream_name){ publisher->session->id, publisher->number };
    }
    if (count > 0) /* out of memory: the streams end with the session */
        connect_close_streams(producer->client, names, count);
    free(names);
}

void leat_producer_close(leat_producer *producer)
{
    if (producer == NULL || client_refuses(producer->client, "leat_producer_close"))
        return;
    close_streams(producer);
    producer_end(producer, LEAT_ERR_CLOSED, 0, NULL);
    free_producer(producer);
}

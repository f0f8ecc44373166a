/* Sending: a record into its partition's batch, which batch_queue seals. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "client/client_core.h"
#include "client/partitioner.h"
#include "client/producer.h"
#include "client/session.h"

#include "schema/error_text.h"

enum { OTHERS_TRIED_MAX = 8 }; /* partitions tried for room when a record may go to any */

/* Encodes the headers into producer->headers. */
static int encode_headers(struct leat_producer *producer, const struct leat_record *record,
                          uint32_t *size)
{
    struct leat_client *client = producer->client;
    *size = 0;
    if (record->headers_count > LEAT_HEADERS_MAX || record->headers == NULL)
        return client_error(client, LEAT_ERR_INVALID,
                            "headers_count %" PRIu32 ": expected at most "
                            "64, and as many entries in headers",
                            record->headers_count);
    for (uint32_t i = 0; i < record->headers_count; i++) {
        const struct leat_header *header = &record->headers[i];
        if (header->name == NULL || (header->value == NULL && header->value_size > 0))
            return client_error(client, LEAT_ERR_INVALID,
                                "headers[%" PRIu32 "]: name is NULL, or "
                                "value is NULL and value_size is not 0",
                                i);
        size_t name_size = header->name_size;
        if (name_size == 0)
            name_size = strnlen(header->name, LEAT_HEADERS_BYTES_MAX + 1);
        enum { SIZES_BYTES = 4 };
        if (*size + SIZES_BYTES + name_size + header->value_size > LEAT_HEADERS_BYTES_MAX)
            return client_error(client, LEAT_ERR_INVALID,
                                "headers[%" PRIu32 "]: all headers of a "
                                "record take more than 65535 bytes",
                                i);
        const struct leat_header_view view = { .name = (const uint8_t *)header->name,
                                               .value = header->value,
                                               .name_size = (uint16_t)name_size,
                                               .value_size = header->value_size };
        *size += leat_header_write(producer->headers + *size, &view);
    }
    return LEAT_OK;
}

static int check(struct leat_producer *producer, const struct leat_record *record)
{
    struct leat_client *client = producer->client;
    if (record->partition < LEAT_ANY_PARTITION
        || record->partition >= (int32_t)producer->shards.partitions)
        return client_error(client, LEAT_ERR_INVALID,
                            "partition %" PRId32 ": topic \"%s\" has "
                            "partitions 0 to %" PRIu32 ", or LEAT_ANY_PARTITION",
                            record->partition, producer->topic, producer->shards.partitions - 1);
    if ((record->key == NULL && record->key_size > 0) || record->key_size > LEAT_KEY_BYTES_MAX)
        return client_error(client, LEAT_ERR_INVALID,
                            "key_size %" PRIu32 ": expected at most "
                            "65534, and 0 when key is NULL",
                            record->key_size);
    if (record->value == NULL && record->value_size > 0)
        return client_error(client, LEAT_ERR_INVALID,
                            "value_size %" PRIu32 ": expected 0 when "
                            "value is NULL",
                            record->value_size);
    if (record->timestamp_ns < 0)
        return client_error(client, LEAT_ERR_INVALID,
                            "timestamp_ns %" PRId64 ": expected "
                            "nanoseconds since 1970, or 0 for now",
                            record->timestamp_ns);
    return LEAT_OK;
}

static int64_t wall_clock(const struct leat_client *client)
{
    const struct client_hooks *hooks = &client->options.hooks;
    if (hooks->wall != NULL)
        return hooks->wall(hooks->context);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * (int64_t)LEAT_NS_PER_S + now.tv_nsec;
}

/* A record without a key goes into the batch being filled; after that batch, the next partition is
 * used. */
static int append_anywhere(struct leat_producer *producer, const struct leat_record_view *view,
                           uint64_t cookie, struct publisher **used)
{
    const uint32_t partitions = producer->shards.partitions;
    const struct queued_batch *filling = producer->publishers[producer->sticky].queue.open;
    const uint64_t bytes = leat_record_bytes(view->key_size, view->headers_size, view->value_size);
    if (filling == NULL || bytes > filling->room - filling->size
        || filling->count == filling->records_max)
        producer->sticky = (producer->sticky + 1) % partitions;
    for (uint32_t tried = 0; tried < partitions && tried < OTHERS_TRIED_MAX; tried++) {
        *used = &producer->publishers[producer->sticky];
        if (batch_queue_append(&(*used)->queue, view, cookie) == LEAT_OK)
            return LEAT_OK;
        producer->sticky = (producer->sticky + 1) % partitions;
    }
    return LEAT_BUSY;
}

static int append(struct leat_producer *producer, const struct leat_record *record,
                  struct publisher **used)
{
    struct leat_client *client = producer->client;
    if (producer->over != 0)
        return client_error(client, producer->over,
                            "producer of topic \"%s\" can no longer be used: %s", producer->topic,
                            leat_error_text(producer->over));
    int error = check(producer, record);
    if (error != 0)
        return error;
    struct leat_record_view view = {
        .key = record->key,
        .headers = producer->headers,
        .value = record->value,
        .key_size = record->key_size,
        .value_size = record->value_size,
        .timestamp_ns = record->timestamp_ns != 0 ? record->timestamp_ns : wall_clock(client),
    };
    if (record->headers_count > 0) {
        error = encode_headers(producer, record, &view.headers_size);
        if (error != 0)
            return error;
    }
    const uint64_t payload = (uint64_t)view.key_size + view.headers_size + view.value_size;
    if (payload > producer->record_bytes_max)
        return client_error(client, LEAT_ERR_TOO_LARGE,
                            "record of %" PRIu64 " bytes: topic \"%s\" "
                            "takes at most %" PRIu32 " (record_bytes_max)",
                            payload, producer->topic, producer->record_bytes_max);
    if (record->partition == LEAT_ANY_PARTITION && record->key == NULL)
        return append_anywhere(producer, &view, record->cookie, used);
    const uint32_t partition =
        record->partition != LEAT_ANY_PARTITION
            ? (uint32_t)record->partition
            : partitioner_pick(record->key, record->key_size, producer->shards.partitions);
    *used = &producer->publishers[partition];
    return batch_queue_append(&(*used)->queue, &view, record->cookie);
}

static int send_record(struct leat_producer *producer, const struct leat_record *record,
                       struct publisher **used)
{
    *used = NULL;
    const int error = append(producer, record, used);
    if (error != LEAT_OK || *used == NULL)
        return error;
    producer->client->stats.records_sent++;
    if (!(*used)->queued) { /* otherwise the next poll sends it anyway */
        client_session_queue_publisher(*used);
        client_arm(producer->client);
    }
    return LEAT_OK;
}

int leat_producer_send(leat_producer *producer, const struct leat_record *record)
{
    struct publisher *used = NULL;
    if (producer == NULL || record == NULL)
        return LEAT_ERR_INVALID;
    return send_record(producer, record, &used);
}

int leat_producer_send_wait(leat_producer *producer, const struct leat_record *record,
                            struct leat_delivery *delivery, uint64_t timeout_ns)
{
    if (producer == NULL || record == NULL)
        return LEAT_ERR_INVALID;
    struct leat_client *client = producer->client;
    if (client_refuses(client, "leat_producer_send_wait"))
        return LEAT_ERR_INVALID;
    struct publisher *used = NULL;
    const leat_ns deadline = client_after(client_clock(client), timeout_ns);
    int error = send_record(producer, record, &used);
    while (error == LEAT_BUSY && client->now < deadline) {
        client_run(client, deadline - client->now);
        error = send_record(producer, record, &used);
    }
    if (error != LEAT_OK)
        return error == LEAT_BUSY ? client_error(client, LEAT_ERR_TIMEOUT,
                                                 "topic \"%s\": no room "
                                                 "for the record in time",
                                                 producer->topic)
                                  : error;
    struct producer_waiter waiter = { 0 };
    struct queued_batch *batch = batch_queue_last(&used->queue);
    batch->waiter = &waiter;
    batch->waiter_record = batch->count - 1;
    while (!waiter.done && client->now < deadline)
        client_run(client, deadline - client->now);
    if (!waiter.done) {
        batch->waiter = NULL; /* unanswered, so that the batch is still in use */
        return client_error(client, LEAT_ERR_TIMEOUT,
                            "topic \"%s\": the record was not answered "
                            "in time; it is still in flight",
                            producer->topic);
    }
    if (delivery != NULL)
        *delivery = waiter.delivery;
    if (waiter.delivery.status != 0)
        client_error(client, waiter.delivery.status,
                     "topic \"%s\", partition %" PRId32 ": the "
                     "record was refused: %s",
                     producer->topic, waiter.delivery.partition,
                     leat_error_text(waiter.delivery.status));
    return waiter.delivery.status;
}

uint64_t leat_producer_pending(const leat_producer *producer)
{
    uint64_t pending = 0;
    for (uint32_t i = 0; producer != NULL && i < producer->shards.partitions; i++)
        pending += producer->publishers[i].queue.pending;
    return pending;
}

int leat_producer_flush(leat_producer *producer, uint64_t timeout_ns)
{
    if (producer == NULL)
        return LEAT_ERR_INVALID;
    struct leat_client *client = producer->client;
    if (client_refuses(client, "leat_producer_flush"))
        return LEAT_ERR_INVALID;
    const leat_ns deadline = client_after(client_clock(client), timeout_ns);
    uint64_t pending;
    while ((pending = leat_producer_pending(producer)) > 0) {
        const leat_ns now = client_clock(client);
        if (now >= deadline)
            return client_error(client, LEAT_ERR_TIMEOUT,
                                "topic \"%s\": %" PRIu64 " records were "
                                "not answered in time",
                                producer->topic, pending);
        client_run(client, deadline - now);
    }
    return LEAT_OK;
}

uint32_t leat_producer_partitions(const leat_producer *producer)
{
    return producer != NULL ? producer->shards.partitions : 0;
}

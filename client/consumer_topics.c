/* The topics of a consumer: their descriptions, and the readers created from them. */
#include "client/consumer_topics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "client/client_core.h"
#include "client/connect.h"
#include "client/consumer.h"
#include "client/consumer_group.h"
#include "client/member_readers.h"
#include "client/refusal.h"
#include "client/session.h"
#include "schema/error_text.h"

/* A consumer without a group has an offset in this very topic; a new topic of the same name does
 * not replace it. */
static void topic_gone(struct subscribed *topic)
{
    topic->step = OWNER_OVER;
    for (uint32_t i = 0; i < topic->reader_count; i++) {
        struct reader *reader = topic->readers[i];
        /* Records that have arrived are handed out before TOPIC_DELETED. */
        if (reader->gone || partition_stream_end_comes(&reader->stream))
            continue;
        client_session_detach_reader(reader);
        reader_tell_end(reader);
    }
}

/* The reader's partition no longer exists. */
static void lose_partition(struct reader *reader)
{
    if (reader->assigned)
        reader_tell_end(reader);
    group_drop(reader);
}

/* False: some readers first hand out records that have arrived. */
static bool lose_all(struct subscribed *topic)
{
    bool all = true;
    for (uint32_t i = 0; i < topic->reader_count; i++)
        if (group_end_comes(topic->readers[i]))
            all = false;
        else
            lose_partition(topic->readers[i]);
    return all;
}

/* The partitions of a member's readers from `first` on no longer exist. */
static void lose_partitions(struct subscribed *topic, uint32_t first)
{
    assert(topic->reader_count == 0 || topic->readers != NULL);
    for (uint32_t i = first; i < topic->reader_count; i++)
        lose_partition(topic->readers[i]);
}

/* A group reads topics by name: waits for a topic of this name to be created again. */
static void await_topic(struct subscribed *topic)
{
    struct leat_consumer *consumer = topic->consumer;
    struct leat_client *client = consumer->client;
    client->work = true;
    if (!lose_all(topic)) { /* described again once the last TOPIC_DELETED was reported */
        group_known(topic)->stale = false;
        topic->step = OWNER_READY;
        return;
    }
    topic->step = OWNER_AWAITED;
    group_topic_missing(topic);
    if (!topic_wait_missed(&topic->wait, client->now))
        return;
    const struct leat_event event = { .type = LEAT_EVENT_TOPIC_MISSING,
                                      .error = LEAT_ERR_UNKNOWN_TOPIC,
                                      .partition = -1,
                                      .topic = topic->name,
                                      .time_ns = client->now - topic->wait.since,
                                      .text =
                                          "the topic does not exist; waiting for it to be created",
                                      .consumer = consumer };
    client_event(client, &event);
}

static void tell_refused(const struct subscribed *topic, const struct topic_wait *wait, int error,
                         const char *text)
{
    struct leat_client *client = topic->consumer->client;
    const struct leat_event event = { .type = LEAT_EVENT_REFUSED,
                                      .error = error,
                                      .partition = -1,
                                      .topic = topic->name,
                                      .time_ns = client->now - wait->since,
                                      .text = *text != '\0' ? text : leat_error_text(error),
                                      .consumer = topic->consumer };
    client_event(client, &event);
}

void topic_put_off(struct subscribed *topic, int error, const char *text)
{
    struct leat_client *client = topic->consumer->client;
    topic->step = OWNER_PUT_OFF;
    const bool tells = topic_wait_missed(&topic->refused, client->now);
    client_retry_at(client, topic->refused.ask_at);
    if (tells)
        tell_refused(topic, &topic->refused, error, text);
}

void topic_doubted(struct subscribed *topic, int error, const char *text)
{
    if (topic_wait_lasts(&topic->refused, topic->consumer->client->now, TOPIC_WAIT_DOUBT_NS))
        tell_refused(topic, &topic->refused, error, text);
}

void topic_partless(struct subscribed *topic, int error, const char *text)
{
    if (error == LEAT_OK)
        topic_wait_found(&topic->partless);
    else if (topic_wait_lasts(&topic->partless, topic->consumer->client->now, 0))
        tell_refused(topic, &topic->partless, error, text);
}

/* Puts off all streams of the topic. */
static void put_off_all(struct subscribed *topic, int error, const char *text)
{
    for (uint32_t i = 0; i < topic->reader_count; i++)
        if (topic->readers[i]->state == READER_OPENING)
            topic->readers[i]->state = READER_WANTED;
    topic_put_off(topic, error, text);
}

/* Ends the consumer: leat_consumer_poll() returns `error` from now on. */
static void end_for_good(struct subscribed *topic, int error, const char *text)
{
    struct leat_consumer *consumer = topic->consumer;
    if (!topic->refused.missing)
        topic->refused.since = consumer->client->now;
    topic->step = OWNER_OVER;
    if (consumer->group != NULL)
        group_end(consumer);
    consumer->over = client_error(consumer->client, error, "consumer of topic \"%s\": %s",
                                  topic->name, *text != '\0' ? text : leat_error_text(error));
    tell_refused(topic, &topic->refused, error, text);
}

void topic_refused(struct subscribed *topic, int error, const char *text)
{
    struct leat_consumer *consumer = topic->consumer;
    if (!consumer->opened) {
        topic->step = OWNER_OVER;
        consumer->over = client_error(consumer->client, error, "%s",
                                      *text != '\0' ? text : leat_error_text(error));
        return;
    }
    if (error == LEAT_ERR_UNKNOWN_TOPIC) {
        if (consumer->group != NULL)
            await_topic(topic);
        else
            topic_gone(topic);
        return;
    }
    switch (refusal_of(error, topic->refused.missing)) {
    case REFUSAL_CONNECTION:
        client_fail(consumer->client, error, "consumer of topic \"%s\": %s", topic->name, text);
        break;
    case REFUSAL_FOR_NOW: put_off_all(topic, error, text); break;
    case REFUSAL_FOR_GOOD: end_for_good(topic, error, text); break;
    }
}

void topics_init(struct leat_consumer *consumer)
{
    struct backoff pauses = consumer->client->backoff;
    for (size_t i = 0; i < consumer->topic_count; i++) {
        pauses.random++; /* spread the pauses of several topics */
        topic_wait_init(&consumer->topics[i].refused, &pauses);
        topic_wait_init(&consumer->topics[i].partless, &pauses);
    }
}

leat_ns topics_timers(struct leat_consumer *consumer)
{
    struct leat_client *client = consumer->client;
    leat_ns next = LEAT_NS_NEVER;
    for (size_t i = 0; i < consumer->topic_count && client->phase == PHASE_READY; i++) {
        struct subscribed *topic = &consumer->topics[i];
        if (topic->step != OWNER_PUT_OFF)
            continue;
        if (topic->refused.ask_at <= client->now) {
            topic->step = OWNER_DESCRIBE;
            client->work = true;
        } else if (topic->refused.ask_at < next) {
            next = topic->refused.ask_at;
        }
    }
    return next;
}

bool topic_answer_came(struct subscribed *topic, int error, const char *text,
                       const Leat__Control__Response *response)
{
    if (response == NULL) {
        if (error == LEAT_ERR_TIMEOUT)
            client_fail(topic->consumer->client, error, "consumer of topic \"%s\": %s", topic->name,
                        text);
        return false;
    }
    if (error != 0)
        topic_refused(topic, error, text);
    return error == 0;
}

/* A reader lives as long as the consumer: the application may hold records in its window after the
 * partition is gone. False: no memory. */
static bool make_reader(struct subscribed *topic, uint32_t partition)
{
    const struct leat_consumer *consumer = topic->consumer;
    struct reader **readers =
        realloc(topic->readers, (topic->reader_room + 1) * sizeof(struct reader *));
    if (readers == NULL)
        return false;
    topic->readers = readers;
    struct reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL)
        return false;
    reader->kind = STREAM_READER;
    reader->partition = partition;
    reader->topic = topic;
    reader->state = consumer->group != NULL ? READER_IDLE : READER_WANTED;
    reader->start_at = consumer->options.start_at;
    reader->start = consumer->options.start;
    reader->from_first = consumer->opened;
    readers[topic->reader_room++] = reader;
    return true;
}

/* Creates a reader for each partition. A member may have some already, if the topic had another
 * number of partitions before. */
static enum leat_error make_readers(struct subscribed *topic)
{
    const struct leat_consumer *consumer = topic->consumer;
    const struct leat_consumer_options *options = &consumer->options;
    const bool all = consumer->partitions == NULL;
    const uint32_t count = all ? topic->shards.partitions : options->partition_count;
    for (uint32_t i = 0; !all && i < count; i++) {
        if (consumer->partitions[i] >= topic->shards.partitions)
            return (enum leat_error)client_error(
                consumer->client, LEAT_ERR_UNKNOWN_PARTITION,
                "partition %" PRIu32 ": topic \"%s\" has partitions 0 to %" PRIu32,
                consumer->partitions[i], topic->name, topic->shards.partitions - 1);
    }
    lose_partitions(topic, count);
    for (uint32_t i = topic->reader_room; i < count; i++) {
        if (!make_reader(topic, all ? i : consumer->partitions[i]))
            return (enum leat_error)client_error(consumer->client, LEAT_ERR_NO_MEMORY,
                                                 "consumer of topic \"%s\": no memory",
                                                 topic->name);
    }
    topic->reader_count = count;
    return LEAT_OK;
}

/* Adapts the readers to the topic's description. */
static enum leat_error take_description(struct subscribed *topic, const Leat__Control__Topic *told,
                                        bool another)
{
    enum leat_error error = LEAT_OK;
    if (another || topic->readers == NULL)
        error = make_readers(topic);
    if (error == LEAT_OK && topic->consumer->group != NULL)
        error = group_topic_known(topic, told);
    return error;
}

static void on_described(void *context, int error, const char *text,
                         const Leat__Control__Response *response)
{
    struct subscribed *topic = context;
    struct leat_consumer *consumer = topic->consumer;
    if (!topic_answer_came(topic, error, text, response))
        return;
    struct topic_shards shards = { 0 };
    const enum leat_error failed = topic_shards_take(&shards, response);
    if (failed != LEAT_OK) {
        topic_refused(topic, failed, "describe_topic");
        return;
    }
    const bool another = topic->readers != NULL && shards.partitions != topic->shards.partitions;
    topic_shards_free(&topic->shards);
    topic->shards = shards;
    if (another && consumer->group == NULL) {
        topic_gone(topic);
        return;
    }
    topic->step = OWNER_OPEN;
    consumer->client->work = true;
    consumer->over = take_description(topic, response->topic, another);
    if (consumer->over != LEAT_OK)
        topic->step = OWNER_OVER;
}

void topic_describe(struct subscribed *topic)
{
    if (connect_describe(topic->consumer->client, topic->name, on_described, topic) == LEAT_OK)
        topic->step = OWNER_DESCRIBING;
}

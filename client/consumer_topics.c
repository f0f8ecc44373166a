#include "client/consumer_topics.h"

#include <inttypes.h>
#include <stdlib.h>

#include "client/bringup.h"
#include "client/client_core.h"
#include "client/consumer.h"
#include "client/consumer_group.h"
#include "schema/error_text.h"

static void topic_gone(struct subscribed *topic)
{
    topic->step = OWNER_OVER;
    for (uint32_t i = 0; i < topic->reader_count; i++) {
        struct reader *reader = topic->readers[i];
        if (reader->state == READER_DEAD)
            continue;
        reader->state = READER_DEAD;
        if (topic->consumer->group != NULL && !reader->assigned)
            continue; /* another member's */
        const uint64_t offset = partition_stream_wanted(&reader->stream);
        const bool told = reader->gone;
        reader_gone(reader);
        if (told)
            continue;
        reader_event(reader, (struct leat_event){
                                 .type = LEAT_EVENT_TOPIC_DELETED,
                                 .error = LEAT_ERR_UNKNOWN_TOPIC,
                                 .first_offset = offset,
                                 .next_offset = offset,
                                 .text = "the topic is gone; nothing follows on this partition" });
    }
}

void topic_refused(struct subscribed *topic, int error, const char *text)
{
    struct leat_consumer *consumer = topic->consumer;
    if (!consumer->opened) {
        topic->step = OWNER_OVER;
        consumer->over = client_error(consumer->client, error, "%s",
                                      *text != '\0' ? text : leat_error_text(error));
    } else if (error == LEAT_ERR_UNKNOWN_TOPIC) {
        topic_gone(topic);
    } else {
        client_fail(consumer->client, error, "consumer of topic \"%s\": %s", topic->name, text);
    }
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

/* Readers stay where they are for as long as the consumer: the application may hold records in the
 * window of one whose partition is gone. False: no memory. */
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
    readers[topic->reader_room++] = reader;
    return true;
}

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
    for (uint32_t i = 0; i < count; i++) {
        if (!make_reader(topic, all ? i : consumer->partitions[i]))
            return (enum leat_error)client_error(consumer->client, LEAT_ERR_NO_MEMORY,
                                                 "consumer of topic \"%s\": no memory",
                                                 topic->name);
    }
    topic->reader_count = count;
    return LEAT_OK;
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
    if (another) {
        topic_gone(topic);
        return;
    }
    if (topic->readers == NULL) {
        consumer->over = make_readers(topic);
        if (consumer->over != LEAT_OK) {
            topic->step = OWNER_OVER;
            return;
        }
    }
    if (consumer->group != NULL) {
        consumer->over = group_topic_known(topic, response->topic);
        if (consumer->over != LEAT_OK) {
            topic->step = OWNER_OVER;
            return;
        }
    }
    topic->step = OWNER_OPEN;
    consumer->client->work = true;
}

void topic_describe(struct subscribed *topic)
{
    if (bringup_describe(topic->consumer->client, topic->name, on_described, topic) == LEAT_OK)
        topic->step = OWNER_DESCRIBING;
}

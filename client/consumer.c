/* Consumers as leat.h describes them: records and events out, seeking, closing. */
#include "client/consumer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/client_core.h"
#include "client/connect.h"
#include "client/consumer_group.h"
#include "client/member_readers.h"
#include "client/session.h"
#include "schema/error_text.h"
#include "schema/loss.h"

enum { TURN_RECORDS_MAX = 64 }; /* of one partition before the next one's turn */

void reader_arrived(struct reader *reader)
{
    struct leat_consumer *consumer = reader->topic->consumer;
    if (reader->ready_queued || reader_quiet(reader) || !partition_stream_ready(&reader->stream))
        return;
    TAILQ_INSERT_TAIL(&consumer->ready, reader, ready_node);
    reader->ready_queued = true;
}

void reader_credit(struct reader *reader)
{
    if (!reader_quiet(reader) && partition_stream_credit_due(&reader->stream))
        client_session_queue_credit(reader);
}

bool reader_quiet(const struct reader *reader)
{
    return reader->paused || reader->leaving;
}

void reader_want(struct reader *reader)
{
    struct subscribed *topic = reader->topic;
    reader->state = READER_WANTED;
    if (topic->step == OWNER_READY)
        topic->step = OWNER_OPEN;
    topic->consumer->client->work = true;
}

void reader_dropped(struct reader *reader)
{
    if (partition_stream_ends(&reader->stream))
        return; /* the deletion of its topic explains it better */
    client_session_detach_reader(reader);
    partition_stream_stop(&reader->stream);
    if (reader->topic->consumer->group != NULL)
        group_doubt(reader);
    else
        reader_want(reader);
}

static void release_all(struct leat_consumer *consumer)
{
    struct reader *reader;
    while ((reader = TAILQ_FIRST(&consumer->borrowed)) != NULL) {
        TAILQ_REMOVE(&consumer->borrowed, reader, borrowed_node);
        reader->borrowed_noted = false;
        partition_stream_release(&reader->stream);
        if (reader->outgrown.bytes != NULL)
            ringmap_release(&reader->outgrown);
        reader_credit(reader);
        if (consumer->group != NULL)
            group_processed(reader);
    }
}

static void fill(struct leat_record *out, const struct reader *reader,
                 const struct leat_record_view *view)
{
    const struct partition_stream *stream = &reader->stream;
    /* Assign each field: clearing all 128 bytes first would cost more than the assignments. */
    out->key = view->key;
    out->value = view->value;
    out->headers = NULL;
    out->topic = reader->topic->name;
    out->key_size = view->key_size;
    out->value_size = view->value_size;
    out->headers_count = 0;
    out->partition = (int32_t)reader->partition;
    out->timestamp_ns = view->timestamp_ns;
    out->append_time_ns = stream->batch.append_time_ns;
    out->offset = stream->record_offset - 1;
    out->log_epoch = stream->log_epoch;
    out->cookie = 0;
    out->headers_encoded = view->headers;
    out->headers_encoded_bytes = view->headers_size;
    out->reserved0 = 0;
    for (size_t i = 0; i < sizeof out->reserved / sizeof out->reserved[0]; i++)
        out->reserved[i] = 0;
    if (view->headers_size == 0)
        return;
    const uint8_t *cursor = view->headers;
    struct leat_header_view header;
    while (leat_header_next(&cursor, view->headers + view->headers_size, &header))
        out->headers_count++;
}

void reader_gone(struct reader *reader)
{
    struct leat_consumer *consumer = reader->topic->consumer;
    reader->gone = true;
    if (consumer->group != NULL || !consumer->opened)
        return;
    for (size_t i = 0; i < consumer->topic_count; i++) {
        const struct subscribed *topic = &consumer->topics[i];
        for (uint32_t j = 0; j < topic->reader_count; j++)
            if (!topic->readers[j]->gone)
                return;
    }
    consumer->over = client_error(
        consumer->client, LEAT_ERR_UNKNOWN_TOPIC,
        "consumer of topic \"%s\": %s deleted, and nothing is left to read",
        consumer->topics[0].name, consumer->topic_count == 1 ? "it was" : "it and the others were");
}

void reader_event(struct reader *reader, struct leat_event event)
{
    struct leat_consumer *consumer = reader->topic->consumer;
    event.partition = (int32_t)reader->partition;
    event.topic = reader->topic->name;
    event.log_epoch = reader->stream.log_epoch;
    event.consumer = consumer;
    client_event(consumer->client, &event);
}

/* Counts a loss for the group's next commit. A hole without a GAP is not counted, because the
 * broker did not report it. */
static void count_lost(struct reader *reader, const struct partition_stream_news *news)
{
    if (news->reason != 0)
        lost_count_note(&reader->lost, news->first_offset, news->next_offset, news->seen_offset,
                        news->certain_offset);
}

/* Fills in how many records were lost. Of a log that is gone, only records announced to this client
 * are certain. */
static void say_lost(struct leat_event *event, const struct partition_stream_news *news)
{
    const uint64_t first = news->first_offset, next = news->next_offset;
    if (news->event == PARTITION_STREAM_RESET || next == LEAT_OFFSET_NONE) {
        event->lost_at_least = news->seen_offset > first ? news->seen_offset - first : 0;
        event->lost_at_most = LEAT_UNKNOWN;
    } else {
        event->lost_at_least =
            leat_lost_at_least(first, next, news->seen_offset, news->certain_offset);
        event->lost_at_most = next - first;
    }
}

static void say_end(struct reader *reader, const struct partition_stream_news *news)
{
    struct leat_event event = { .type = LEAT_EVENT_TOPIC_DELETED,
                                .error = LEAT_ERR_UNKNOWN_TOPIC,
                                .first_offset = news->first_offset,
                                .next_offset = news->next_offset,
                                .text =
                                    "the topic was deleted; this partition delivers nothing more" };
    say_lost(&event, news);
    reader->state = READER_DEAD;
    reader_event(reader, event);
    reader_gone(reader);
}

static void tell(struct reader *reader, const struct partition_stream_news *news)
{
    struct leat_event event = { .first_offset = news->first_offset,
                                .next_offset = news->next_offset };
    say_lost(&event, news);
    switch (news->event) {
    case PARTITION_STREAM_GAP:
        event.type = LEAT_EVENT_GAP;
        event.error = LEAT_ERR_LOST;
        event.reason = news->reason;
        event.text = news->reason == LEAT_REASON_LOG_RESTARTED
                         ? "records that the log had in [first_offset, next_offset) were lost with "
                           "the broker"
                         : "records [first_offset, next_offset) will not be delivered";
        count_lost(reader, news);
        if (reader->opening_unknown && news->reason == LEAT_REASON_LOG_RESTARTED) {
            event.first_offset = event.lost_at_least = 0;
            event.lost_at_most = event.next_offset;
            event.text = "unknown: the log restarted. How far the old log had been read is not "
                         "known here; none of its records will be delivered";
        }
        break;
    case PARTITION_STREAM_RESET:
        event.type = LEAT_EVENT_LOG_RESET;
        event.error = LEAT_ERR_LOG_EPOCH;
        event.text = "the log restarted: unread records of the old log are lost, and offsets "
                     "restart at next_offset";
        if (reader->opening_unknown) {
            event.first_offset = LEAT_NO_OFFSET;
            event.lost_at_least = 0;
            event.text = "unknown: the log restarted. How far the old log had been read, and what "
                         "it had, is not known here. Offsets restart at next_offset";
        }
        break;
    case PARTITION_STREAM_BAD_BATCH:
        event.type = LEAT_EVENT_BAD_BATCH;
        event.error = news->error;
        event.text = reader->stream.dead
                         ? "a batch header does not parse: nothing more is delivered until a seek"
                         : "a batch failed its checks and is skipped";
        break;
    case PARTITION_STREAM_DAMAGED: client_session_damaged(reader->session, "a batch"); return;
    case PARTITION_STREAM_DELETED:
        say_end(reader, news);
        if (reader->topic->consumer->group != NULL)
            group_topic_deleted(reader);
        return;
    }
    reader->opening_unknown = false;
    if (reader->stream.dead)
        reader->state = READER_DEAD;
    reader_event(reader, event);
}

void reader_tell_loss(struct reader *reader)
{
    struct partition_stream_news news;
    while (partition_stream_take_loss(&reader->stream, &news))
        tell(reader, &news);
}

void reader_tell_end(struct reader *reader)
{
    struct partition_stream_news news;
    reader_tell_loss(reader);
    const bool told = reader->gone;
    partition_stream_end(&reader->stream, &news);
    if (told)
        reader_gone(reader);
    else
        say_end(reader, &news);
}

enum turn {
    TURN_MORE,  /* records are left */
    TURN_LATER, /* an event comes next; it has to wait for the next call */
    TURN_DONE,
};

/* Hands out up to `room` records of one partition, at most one turn's. */
static enum turn take_turn(struct reader *reader, struct leat_record *records, size_t room,
                           size_t *taken)
{
    struct leat_consumer *consumer = reader->topic->consumer;
    const size_t most = room < TURN_RECORDS_MAX ? room : TURN_RECORDS_MAX;
    size_t n = 0;
    enum partition_stream_item item = PARTITION_STREAM_NOTHING;
    while (n < most && !reader_quiet(reader)) {
        struct leat_record_view view;
        struct partition_stream_news news;
        /* An event is reported only once the application has returned the records before it. */
        item = partition_stream_next(&reader->stream, !reader->borrowed_noted, &view, &news);
        if (item == PARTITION_STREAM_NOTHING)
            break;
        if (item == PARTITION_STREAM_NEWS) {
            tell(reader, &news);
            continue;
        }
        fill(&records[n++], reader, &view);
        if (!reader->borrowed_noted)
            TAILQ_INSERT_TAIL(&consumer->borrowed, reader, borrowed_node);
        reader->borrowed_noted = true;
    }
    *taken = n;
    if (reader_quiet(reader) || !partition_stream_ready(&reader->stream))
        return TURN_DONE;
    return item == PARTITION_STREAM_NOTHING && n < most ? TURN_LATER : TURN_MORE;
}

/* Releases bytes that were skipped. If no record of the partition is handed out, nobody else would
 * release them. */
static void release_skipped(struct reader *reader)
{
    if (reader->borrowed_noted)
        return;
    partition_stream_release(&reader->stream);
    reader_credit(reader);
    if (reader->topic->consumer->group != NULL)
        group_processed(reader);
}

int leat_consumer_poll(leat_consumer *consumer, struct leat_record *records, size_t n)
{
    if (consumer == NULL || (records == NULL && n > 0))
        return LEAT_ERR_INVALID;
    struct leat_client *client = consumer->client;
    if (client_refuses(client, "leat_consumer_poll"))
        return LEAT_ERR_INVALID;
    if (n > INT32_MAX)
        n = INT32_MAX;
    if (consumer->group == NULL && TAILQ_EMPTY(&consumer->ready)
        && TAILQ_EMPTY(&consumer->borrowed))
        return consumer->over; /* fast path for applications that poll in a loop */
    release_all(consumer);
    if (consumer->group != NULL && !group_hands_out(consumer))
        return consumer->over; /* the broker may have given our partitions to others */
    struct reader_list later = TAILQ_HEAD_INITIALIZER(later);
    struct reader *reader;
    size_t filled = 0;
    while (filled < n && (reader = TAILQ_FIRST(&consumer->ready)) != NULL) {
        TAILQ_REMOVE(&consumer->ready, reader, ready_node);
        size_t taken;
        const enum turn turn = take_turn(reader, records + filled, n - filled, &taken);
        filled += taken;
        release_skipped(reader);
        reader->ready_queued = turn != TURN_DONE;
        if (turn == TURN_MORE)
            TAILQ_INSERT_TAIL(&consumer->ready, reader, ready_node);
        else if (turn == TURN_LATER)
            TAILQ_INSERT_TAIL(&later, reader, ready_node);
    }
    while ((reader = TAILQ_FIRST(&later)) != NULL) {
        TAILQ_REMOVE(&later, reader, ready_node);
        TAILQ_INSERT_TAIL(&consumer->ready, reader, ready_node);
    }
    client->leftover = client->leftover || !TAILQ_EMPTY(&consumer->ready);
    client->stats.records_received += filled;
    client_arm(client);
    return filled > 0 ? (int)filled : consumer->over;
}

int leat_record_header(const struct leat_record *record, uint32_t index, struct leat_header *out)
{
    if (record == NULL || out == NULL)
        return LEAT_ERR_INVALID;
    if (index >= record->headers_count)
        return LEAT_ERR_OUT_OF_RANGE;
    const uint8_t *cursor = record->headers_encoded;
    const uint8_t *end = cursor + record->headers_encoded_bytes;
    struct leat_header_view view;
    for (uint32_t i = 0; i <= index; i++)
        if (!leat_header_next(&cursor, end, &view))
            return LEAT_ERR_OUT_OF_RANGE;
    *out = (struct leat_header){ .name = (const char *)view.name,
                                 .value = view.value,
                                 .name_size = view.name_size,
                                 .value_size = view.value_size };
    return LEAT_OK;
}

struct reader *consumer_reader(struct leat_consumer *consumer, const char *topic,
                               uint32_t partition)
{
    for (size_t i = 0; topic != NULL && i < consumer->topic_count; i++) {
        struct subscribed *subscribed = &consumer->topics[i];
        if (strcmp(subscribed->name, topic) != 0)
            continue;
        for (uint32_t j = 0; j < subscribed->reader_count; j++)
            if (subscribed->readers[j]->partition == partition)
                return subscribed->readers[j];
    }
    return NULL;
}

int consumer_find(struct leat_consumer *consumer, const char *topic, uint32_t partition,
                  struct reader **reader)
{
    *reader = consumer_reader(consumer, topic, partition);
    if (*reader != NULL && (consumer->group == NULL || (*reader)->assigned))
        return LEAT_OK;
    if (*reader != NULL)
        return client_error(consumer->client, LEAT_ERR_NOT_ASSIGNED,
                            "topic \"%s\", partition %" PRIu32
                            ": not assigned to this member of group \"%s\"",
                            topic, partition, consumer->group->name);
    return client_error(consumer->client, LEAT_ERR_UNKNOWN_PARTITION,
                        "topic \"%.80s\", partition %" PRIu32 ": this consumer does not read it",
                        topic != NULL ? topic : "(NULL)", partition);
}

int leat_consumer_position(leat_consumer *consumer, const char *topic, uint32_t partition,
                           uint64_t *offset)
{
    if (consumer == NULL || offset == NULL)
        return LEAT_ERR_INVALID;
    struct reader *reader;
    const int error = consumer_find(consumer, topic, partition, &reader);
    if (error != LEAT_OK)
        return error;
    *offset = partition_stream_wanted(&reader->stream);
    return LEAT_OK;
}

/* Closes the stream; the next step of connecting opens it at the new position. */
static void restart(struct reader *reader, int32_t start_at, uint64_t start)
{
    struct leat_consumer *consumer = reader->topic->consumer;
    reader_tell_loss(reader); /* the new position will not report it */
    if (reader->session != NULL) {
        const struct stream_name name = { reader->session->id, reader->number };
        connect_close_streams(consumer->client, &name, 1);
        client_session_detach_reader(reader);
    }
    partition_stream_stop(&reader->stream);
    reader->start_at = start_at;
    reader->start = start;
    reader->resumes = reader->at_committed = false;
    reader->error = 0;
    reader_want(reader);
}

int leat_consumer_seek(leat_consumer *consumer, const char *topic, uint32_t partition,
                       int32_t start_at, uint64_t start)
{
    if (consumer == NULL)
        return LEAT_ERR_INVALID;
    struct leat_client *client = consumer->client;
    if (client_refuses(client, "leat_consumer_seek"))
        return LEAT_ERR_INVALID;
    if (start_at < LEAT_START_LATEST || start_at > LEAT_START_TIME)
        return client_error(client, LEAT_ERR_INVALID,
                            "start_at %" PRId32 ": expected a leat_start, 0 to 3", start_at);
    struct reader *reader;
    const int error = consumer_find(consumer, topic, partition, &reader);
    if (error != LEAT_OK)
        return error;
    const leat_ns deadline =
        client_after(client_clock(client), client->options.values.request_timeout_ns);
    bool asked = false;
    for (;;) {
        const enum owner_step step = reader->topic->step;
        if (consumer->over != LEAT_OK)
            return consumer->over;
        if (step == OWNER_OVER || reader->gone)
            return client_error(client, LEAT_ERR_UNKNOWN_TOPIC, "topic \"%s\" is gone", topic);
        if (consumer->group != NULL && !reader->assigned)
            return consumer_find(consumer, topic, partition,
                                 &reader); /* the partition was lost while waiting */
        if (step == OWNER_READY && asked)
            break;
        if (step == OWNER_READY) {
            restart(reader, start_at, start);
            asked = true;
        }
        if (client_clock(client) >= deadline)
            return client_error(client, LEAT_ERR_TIMEOUT,
                                "seek in topic \"%s\", partition %" PRIu32
                                ": no answer within request_timeout_ns",
                                topic, partition);
        client_run(client, deadline - client->now);
    }
    if (reader->error == 0)
        return LEAT_OK;
    return client_error(client, reader->error,
                        "seek in topic \"%s\", partition %" PRIu32 ", start_at %" PRId32
                        ", start %" PRIu64 ": %s; reading continues at the old position",
                        topic, partition, start_at, start, leat_error_text(reader->error));
}

void leat_consumer_close(leat_consumer *consumer)
{
    if (consumer == NULL || client_refuses(consumer->client, "leat_consumer_close"))
        return;
    if (consumer->group != NULL)
        group_finish(consumer);
    size_t count = 0;
    for (size_t i = 0; i < consumer->topic_count; i++)
        count += consumer->topics[i].reader_count;
    struct stream_name *names = calloc(count + 1, sizeof *names);
    count = 0;
    for (size_t i = 0; names != NULL && i < consumer->topic_count; i++) {
        for (uint32_t j = 0; j < consumer->topics[i].reader_count; j++) {
            const struct reader *reader = consumer->topics[i].readers[j];
            if (reader->session != NULL)
                names[count++] = (struct stream_name){ reader->session->id, reader->number };
        }
    }
    if (count > 0) /* out of memory: the streams end with the session */
        connect_close_streams(consumer->client, names, count);
    free(names);
    if (consumer->group != NULL)
        group_leave(consumer);
    consumer_free(consumer);
}

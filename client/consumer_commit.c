/* A group consumer's commits: requests, answers, positions, pauses and lag. */

#include "client/client_core.h"
#include "client/consumer.h"
#include "client/session.h"
#include "schema/error_text.h"

/* ---- frames */

bool reader_commit(struct reader *reader, struct leat_frame_commit *commit)
{
    if (!commit_state_next(&reader->commits, commit))
        return false;
    lost_count_fill(&reader->lost, commit);
    return true;
}

static void refused(struct reader *reader, const struct leat_frame_committed *frame)
{
    struct consumer_group *group = reader->topic->consumer->group;
    if (group->worst == LEAT_OK)
        group->worst = frame->status;
    reader_event(reader, (struct leat_event){ .type = LEAT_EVENT_COMMIT_REFUSED,
                                              .error = frame->status,
                                              .first_offset = frame->asked,
                                              .next_offset = frame->offset,
                                              .text = "a commit was refused" });
}

/* An automatic commit may be overrun, or its stream revoked, while it is in flight. A GAP or an
 * event of the group reports that. */
static bool is_overtaken(int status)
{
    return status == LEAT_ERR_OUT_OF_RANGE || status == LEAT_ERR_UNKNOWN_STREAM;
}

void reader_committed(struct reader *reader, const struct leat_frame_committed *frame)
{
    struct leat_client *client = reader->topic->consumer->client;
    if (reader->topic->consumer->group == NULL || !commit_state_answered(&reader->commits, frame))
        return;
    if (frame->status == LEAT_OK || frame->status == LEAT_ERR_OUT_OF_RANGE)
        lost_count_answered(&reader->lost);
    if (frame->status != LEAT_OK && (reader->commit_own || !is_overtaken(frame->status)))
        refused(reader, frame);
    if (commit_state_due(&reader->commits))
        client_session_queue_credit(reader);
    if (!commit_state_pending(&reader->commits))
        client->woken = true;                       /* leat_consumer_commit_wait() may be waiting */
    client->work = client->work || reader->leaving; /* the release of a partition may be waiting */
}

/* ---- public */

static int no_group(struct leat_consumer *consumer, const char *call)
{
    return client_error(consumer->client, LEAT_ERR_INVALID, "%s: the consumer is not in a group",
                        call);
}

static void ask(struct reader *reader, uint64_t offset)
{
    commit_state_ask(&reader->commits, offset, reader->stream.log_epoch);
    reader->commit_own = true;
    reader->processed_due = false; /* the application commits by itself */
    client_session_queue_credit(reader);
}

static void ask_all(struct leat_consumer *consumer)
{
    for (size_t i = 0; i < consumer->topic_count; i++) {
        struct subscribed *topic = &consumer->topics[i];
        for (uint32_t j = 0; j < topic->reader_count; j++) {
            struct reader *reader = topic->readers[j];
            if (reader->assigned && reader->stream.opening == 0)
                ask(reader, reader->stream.next_offset);
        }
    }
}

int leat_consumer_commit(leat_consumer *consumer, const char *topic, uint32_t partition,
                         uint64_t offset)
{
    if (consumer == NULL)
        return LEAT_ERR_INVALID;
    if (consumer->group == NULL)
        return no_group(consumer, "leat_consumer_commit");
    if (topic == NULL) {
        ask_all(consumer);
    } else {
        struct reader *reader;
        if (offset == LEAT_NO_OFFSET)
            return client_error(consumer->client, LEAT_ERR_INVALID,
                                "commit: LEAT_NO_OFFSET is not an offset");
        const int error = consumer_find(consumer, topic, partition, &reader);
        if (error != LEAT_OK)
            return error;
        ask(reader, offset);
    }
    client_arm(consumer->client);
    return LEAT_OK;
}

static bool any_pending(const struct leat_consumer *consumer)
{
    for (size_t i = 0; i < consumer->topic_count; i++) {
        const struct subscribed *topic = &consumer->topics[i];
        for (uint32_t j = 0; j < topic->reader_count; j++)
            if (commit_state_pending(&topic->readers[j]->commits))
                return true;
    }
    return false;
}

int leat_consumer_commit_wait(leat_consumer *consumer, uint64_t timeout_ns)
{
    if (consumer == NULL)
        return LEAT_ERR_INVALID;
    struct leat_client *client = consumer->client;
    if (consumer->group == NULL)
        return no_group(consumer, "leat_consumer_commit_wait");
    if (client_refuses(client, "leat_consumer_commit_wait"))
        return LEAT_ERR_INVALID;
    const leat_ns deadline = client_after(client_clock(client), timeout_ns);
    while (any_pending(consumer)) {
        const leat_ns now = client_clock(client);
        if (now >= deadline)
            return client_error(client, LEAT_ERR_TIMEOUT,
                                "commit in group \"%s\": no answer in time", consumer->group->name);
        client_run(client, deadline - now);
    }
    const int worst = consumer->group->worst;
    consumer->group->worst = LEAT_OK;
    return worst == LEAT_OK ? LEAT_OK
                            : client_error(client, worst, "commit in group \"%s\": %s",
                                           consumer->group->name, leat_error_text(worst));
}

int leat_consumer_committed(leat_consumer *consumer, const char *topic, uint32_t partition,
                            uint64_t *offset)
{
    struct reader *reader;
    if (consumer == NULL || offset == NULL)
        return LEAT_ERR_INVALID;
    if (consumer->group == NULL)
        return no_group(consumer, "leat_consumer_committed");
    const int error = consumer_find(consumer, topic, partition, &reader);
    if (error == LEAT_OK)
        *offset = commit_state_standing(&reader->commits);
    return error;
}

int leat_consumer_lag(leat_consumer *consumer, const char *topic, uint32_t partition,
                      uint64_t *records)
{
    struct reader *reader;
    uint64_t end;
    if (consumer == NULL || records == NULL)
        return LEAT_ERR_INVALID;
    int error = consumer_find(consumer, topic, partition, &reader);
    if (error == LEAT_OK)
        error = leat_topic_offset(consumer->client, topic, partition, LEAT_START_LATEST, 0, &end);
    if (error == LEAT_OK) /* the partition may have been reassigned */
        error = consumer_find(consumer, topic, partition, &reader);
    if (error != LEAT_OK)
        return error;
    const uint64_t position = partition_stream_wanted(&reader->stream);
    *records = end > position ? end - position : 0;
    return LEAT_OK;
}

static int set_paused(leat_consumer *consumer, const char *topic, uint32_t partition, bool paused)
{
    struct reader *reader;
    if (consumer == NULL)
        return LEAT_ERR_INVALID;
    const int error = consumer_find(consumer, topic, partition, &reader);
    if (error != LEAT_OK)
        return error;
    reader->paused = paused;
    reader_arrived(reader); /* records that arrived during the pause */
    reader_credit(reader);
    client_arm(consumer->client);
    return LEAT_OK;
}

int leat_consumer_pause(leat_consumer *consumer, const char *topic, uint32_t partition)
{
    return set_paused(consumer, topic, partition, true);
}

int leat_consumer_resume(leat_consumer *consumer, const char *topic, uint32_t partition)
{
    return set_paused(consumer, topic, partition, false);
}

int leat_consumer_assignment(leat_consumer *consumer,
                             void (*visit)(void *user, const char *topic, uint32_t partition),
                             void *user)
{
    if (consumer == NULL || visit == NULL)
        return LEAT_ERR_INVALID;
    if (consumer->group == NULL)
        return no_group(consumer, "leat_consumer_assignment");
    for (size_t i = 0; i < consumer->topic_count; i++) {
        struct subscribed *topic = &consumer->topics[i];
        for (uint32_t j = 0; j < topic->reader_count; j++)
            if (topic->readers[j]->assigned && !topic->readers[j]->leaving)
                visit(user, topic->name, topic->readers[j]->partition);
    }
    return LEAT_OK;
}

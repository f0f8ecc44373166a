/* The partitions of a group member: which ones its readers open, hold and release, and what it
 * commits. */
#include "client/member_readers.h"

#include "client/client_core.h"
#include "client/connect.h"
#include "client/consumer.h"
#include "client/consumer_topics.h"
#include "client/session.h"

/* ---- partitions that come and go */

struct member_state_topic *group_known(const struct subscribed *topic)
{
    struct leat_consumer *consumer = topic->consumer;
    return &consumer->group->membership.topics[topic - consumer->topics];
}

uint8_t *group_place(const struct reader *reader)
{
    return &group_known(reader->topic)->places[reader->partition];
}

void group_each_reader(struct leat_consumer *consumer, void (*visit)(struct reader *reader))
{
    for (size_t i = 0; i < consumer->topic_count; i++)
        for (uint32_t j = 0; j < consumer->topics[i].reader_count; j++)
            visit(consumer->topics[i].readers[j]);
}

/* Where this member would continue if the group has no commit: at what it committed, or
 * requested. */
static uint64_t goes_on_at(const struct reader *reader)
{
    const struct commit_state *commits = &reader->commits;
    const struct partition_stream *stream = &reader->stream;
    const uint64_t known = commit_state_known(commits, stream->log_epoch);
    if (commits->standing_epoch != 0 && commits->standing_epoch == stream->log_epoch
        && known < stream->next_offset)
        return known;
    return stream->next_offset;
}

bool group_end_comes(const struct reader *reader)
{
    return reader->assigned && !reader_quiet(reader) && partition_stream_end_comes(&reader->stream);
}

/* True if the topic of this name is not the one whose log the reader has read. */
static bool is_gone(const struct reader *reader)
{
    const uint64_t id = group_known(reader->topic)->id;
    return id != 0 && reader->topic_id != 0 && reader->topic_id != id;
}

void group_drop(struct reader *reader)
{
    struct consumer_group *group = reader->topic->consumer->group;
    struct partition_stream *stream = &reader->stream;
    client_session_detach_reader(reader);
    if (reader->assigned && partition_stream_end_comes(stream))
        reader_tell_end(reader);
    else if (reader->assigned)
        reader_tell_loss(reader); /* nobody else will report it */
    partition_stream_place(stream, goes_on_at(reader), stream->log_epoch);
    if (commit_state_pending(&reader->commits) && group->worst == LEAT_OK)
        group->worst = LEAT_ERR_UNKNOWN_MEMBER;
    reader->commits = (struct commit_state){ 0 };
    reader->assigned = reader->leaving = reader->paused = false;
    reader->resumes = reader->processed_due = false;
    reader->state = READER_IDLE;
}

void group_want(struct reader *reader)
{
    const struct leat_consumer_options *options = &reader->topic->consumer->options;
    const uint8_t place = *group_place(reader);
    if (reader->state != READER_IDLE || (place & PLACE_HELD) == 0 || (place & PLACE_LEAVING) != 0)
        return;
    if (!reader->assigned) {
        reader->at_committed = true;
        reader->start_at = reader->from_first ? LEAT_START_EARLIEST : options->start_at;
        reader->start = options->start;
    }
    reader_want(reader);
}

/* Another member now reads the partition, so this member's old position means nothing. After a
 * restart of the broker it does: it may be the only position anybody knows. */
void group_forget_place(struct reader *reader)
{
    if (*group_place(reader) == 0 && !reader->gone
        && reader->had_in == reader->topic->consumer->client->incarnation)
        reader->had = false;
}

void group_commit_processed(struct reader *reader)
{
    if (!reader->processed_due)
        return;
    reader->processed_due = false;
    if (reader->commits.standing_epoch == reader->stream.log_epoch
        && reader->commits.standing >= reader->processed)
        return; /* committed already: the application sought back */
    commit_state_ask(&reader->commits, reader->processed, reader->stream.log_epoch);
    reader->commit_own = false;
    client_session_queue_credit(reader);
}

static void tell_revoked(struct reader *reader)
{
    struct leat_client *client = reader->topic->consumer->client;
    reader_tell_loss(reader);
    group_commit_processed(reader);
    reader->leaving = true;
    reader->leave_by =
        client_after(client->now, reader->topic->consumer->group->membership.session_ns / 2);
    reader_event(reader,
                 (struct leat_event){ .type = LEAT_EVENT_REVOKED,
                                      .first_offset = commit_state_standing(&reader->commits),
                                      .next_offset = partition_stream_wanted(&reader->stream),
                                      .text = "the partition goes to another member" });
}

void group_let_go(struct reader *reader)
{
    struct leat_consumer *consumer = reader->topic->consumer;
    struct leat_client *client = consumer->client;
    if ((*group_place(reader) & PLACE_LEAVING) == 0 || reader->state == READER_OPENING)
        return;
    if (group_end_comes(reader))
        return; /* nobody else reads that log: it is released once TOPIC_DELETED was reported */
    if (reader->assigned && !reader->leaving && is_gone(reader)) {
        reader_tell_end(reader);
        group_drop(reader);
    }
    if (reader->assigned && !reader->leaving)
        tell_revoked(reader);
    if (commit_state_pending(&reader->commits) && reader->session != NULL
        && client->now < reader->leave_by) {
        if (reader->leave_by < consumer->group->wake_at)
            consumer->group->wake_at = reader->leave_by;
        return;
    }
    if (reader->session != NULL) {
        const struct stream_name name = { reader->session->id, reader->number };
        connect_close_streams(client, &name, 1);
    }
    group_drop(reader);
    reader->had = reader->gone; /* nobody else continues a log that ended */
    member_state_let_go(&consumer->group->membership, (uint32_t)(reader->topic - consumer->topics),
                        reader->partition);
}

void group_lose_all(struct leat_consumer *consumer)
{
    for (size_t i = 0; i < consumer->topic_count; i++) {
        struct subscribed *topic = &consumer->topics[i];
        if (topic->step != OWNER_OPENING)
            continue;
        control_channel_forget(&consumer->client->control, topic);
        topic->step = OWNER_OPEN;
    }
    group_each_reader(consumer, group_drop);
}

/* ---- streams */

bool group_places(struct reader *reader, const Leat__Control__SubscriptionStream *stream)
{
    const bool other = reader->stream.log_epoch != stream->log_epoch;
    reader->opening_unknown = false;
    if (!reader->at_committed)
        return false;
    if (stream->committed_log_epoch == 0 && reader->stream.log_epoch != 0) {
        reader->opening_unknown = !reader->had;
        return reader->had || other;
    }
    /* The group already reads the new log, which this member has not been told of. */
    if (other && reader->topic_id != 0 && reader->topic_id != stream->topic_id) {
        reader->opening_unknown = !reader->had;
        return true;
    }
    if (stream->committed_log_epoch == 0)
        return false;
    partition_stream_place(&reader->stream, stream->committed, stream->committed_log_epoch);
    return true;
}

/* Continues the broker's count of losses: from what it counted at the opening, or from what it
 * had. */
static void count_on(struct reader *reader, const Leat__Control__SubscriptionStream *stream)
{
    const struct commit_state *commits = &reader->commits;
    const uint64_t stood = reader->stream.next_offset, committed = stream->committed;
    if (reader->at_committed) {
        lost_count_begin(&reader->lost, stream->offset);
        return;
    }
    const bool here = stream->committed_log_epoch == stream->log_epoch;
    lost_count_resume(&reader->lost, here ? committed : 0, commits->sent, commits->standing,
                      here && stood > committed ? stood - committed : 0);
}

void group_opened(struct reader *reader, const Leat__Control__SubscriptionStream *stream)
{
    count_on(reader, stream);
    /* If opened at the committed offset, the stream begins there. */
    if (reader->at_committed)
        commit_state_stand(&reader->commits, stream->offset, stream->log_epoch);
    else if (stream->committed_log_epoch != 0)
        commit_state_stand(&reader->commits, stream->committed, stream->committed_log_epoch);
    if (reader->at_committed && stream->committed_log_epoch != 0)
        commit_state_cover(&reader->commits, stream->committed, stream->committed_log_epoch);
    reader->at_committed = false;
    reader->had = true;
    reader->gone = false;
    reader->had_in = reader->topic->consumer->client->incarnation;
    if (commit_state_due(&reader->commits))
        client_session_queue_credit(reader);
    if (reader->assigned)
        return;
    reader->assigned = true;
    reader->processed = stream->offset;
    reader_event(reader, (struct leat_event){ .type = LEAT_EVENT_ASSIGNED,
                                              .first_offset = stream->offset,
                                              .next_offset = stream->offset,
                                              .text = "the partition is assigned to this member" });
}

void group_doubt(struct reader *reader)
{
    struct leat_consumer *consumer = reader->topic->consumer;
    reader->state = READER_IDLE;
    member_state_doubt(&consumer->group->membership, consumer->client->now);
    consumer->client->work = true;
}

/* True if the error means that the group changed in a way the member has not heard of yet. */
static bool is_group_news(int error)
{
    return error == LEAT_ERR_NOT_ASSIGNED || error == LEAT_ERR_FENCED
           || error == LEAT_ERR_UNKNOWN_MEMBER;
}

bool group_refused(struct reader *reader, int error)
{
    bool *stale = &group_known(reader->topic)->stale;
    *stale = *stale || error == LEAT_ERR_UNKNOWN_PARTITION;
    if (!is_group_news(error) && !*stale)
        return false;
    topic_doubted(reader->topic, error, "");
    group_doubt(reader);
    return true;
}

bool group_refused_all(struct subscribed *topic, int error)
{
    if (!is_group_news(error))
        return false;
    topic->step = OWNER_READY;
    topic_doubted(topic, error, "");
    for (uint32_t i = 0; i < topic->reader_count; i++)
        if (topic->readers[i]->state == READER_OPENING)
            group_doubt(topic->readers[i]);
    return true;
}

void group_topic_deleted(struct reader *reader)
{
    struct leat_consumer *consumer = reader->topic->consumer;
    group_drop(reader);
    /* The topic may already exist again: then the partition is opened again once the broker assigns
     * it. */
    group_known(reader->topic)->stale = true;
    member_state_doubt(&consumer->group->membership, consumer->client->now);
    consumer->client->work = true;
}

/* ---- what was processed */

void group_processed(struct reader *reader)
{
    struct leat_consumer *consumer = reader->topic->consumer;
    struct consumer_group *group = consumer->group;
    const int32_t when = consumer->options.commit;
    if (when == LEAT_COMMIT_OFF || !reader->assigned || reader->stream.opening != 0
        || reader->stream.next_offset == reader->processed)
        return;
    reader->processed = reader->stream.next_offset;
    reader->processed_due = true;
    if (when == LEAT_COMMIT_PROCESSED) {
        group_commit_processed(reader);
    } else if (group->commit_at == LEAT_NS_NEVER) {
        group->commit_at =
            client_after(consumer->client->now, consumer->options.commit_interval_ns);
        client_timer_at(consumer->client, group->commit_at);
    }
}

/* Mail from control: partitions, sessions and streams that are added and removed; notices to
 * control. */
#include <assert.h>

#include "broker/shard/shard_state.h"
#include "schema/session_id.h"

enum {
    MAIL_PER_ITERATION = 128,
};

bool shard_tell(struct shard *shard, const struct message *message)
{
    return !shard->holds && mailbox_send(shard->options.outbox, message) == LEAT_OK;
}

static void reply(struct shard *shard, const struct message *request, enum leat_error status)
{
    struct message answer = *request;
    answer.type = MESSAGE_REPLY;
    answer.status = (int16_t)status;
    /* No further mail is read before this reply is sent, so one slot is enough. */
    if (!shard_tell(shard, &answer)) {
        shard->held = answer;
        shard->holds = true;
    }
}

/* ---- partitions */

/* The partition of the message; NULL: this shard does not own it, or is removing it. */
static struct owned_partition *owned_of(const struct shard *shard, const struct message *m)
{
    struct owned_partition *owned = owned_partitions_find(&shard->owned_partitions, m->partition);
    return owned != NULL && owned->removal.type == 0 ? owned : NULL;
}

static void apply_settings(struct shard *shard, struct owned_partition *owned)
{
    const struct topic *topic = topics_find(shard->options.topics, owned->topic_id);
    if (topic == NULL) {
        owned->ticks = true; /* unknown, so assume it has deadlines */
        return;
    }
    const struct topic_settings *settings = &topic->settings;
    owned->ticks = settings->retention_ms != 0 || settings->overrun == PARTITION_BLOCK;
    if (owned->share->owned_partitions != 1)
        return;
    /* The topic's rate is divided among the shards by the number of partitions they have. */
    uint64_t mine = 0;
    assert(settings->partitions != 0);
    for (uint32_t i = 0; i < settings->partitions; i++)
        mine += topic->partitions[i].shard == shard->options.index;
    const unsigned __int128 rate =
        (unsigned __int128)settings->quota_publish_bytes * mine / settings->partitions;
    const bool limited = settings->quota_publish_bytes != 0;
    quota_init(&owned->share->publish_quota, limited && rate == 0 ? 1 : (uint64_t)rate, shard->now);
    owned->share->quota_deliver_bytes = settings->quota_deliver_bytes;
}

static void add_partition(struct shard *shard, const struct message *m)
{
    struct owned_partition *owned = m->owned;
    owned_partitions_add(&shard->owned_partitions, m->partition, owned);
    apply_settings(shard, owned);
    shard->ticking += owned->ticks;
    if (shard->ticking == 1 && owned->ticks)
        shard->tick_deadline = shard->now;
}

static void close_end(struct shard *shard, const struct stream *place)
{
    if (place->publish != NULL) {
        if (place->publish->throttled)
            TAILQ_REMOVE(&shard->throttled_publishers, place->publish, throttled_node);
        publish_stream_close(place->publish, shard->now);
    } else {
        shard_unlist(shard, place->subscription);
        subscription_close(place->subscription, shard->now);
    }
}

void shard_close_stream(struct shard *shard, struct session *s, uint32_t number)
{
    close_end(shard, session_stream(s, number));
    session_stream_free(s, number);
}

static bool may_be_told(const struct session *s)
{
    return session_is_attached(s) && egress_room(&s->out) >= EGRESS_ANSWER_BYTES;
}

/* Closes the stream of a client that cannot be told now; it is told when there is room. A client
 * that has not attached yet asks by itself: it has to send CREDIT or a batch. Another one may wait
 * for records without sending anything. */
static void close_unreported(struct shard *shard, struct session *s, uint32_t number,
                             enum stream_end unreported)
{
    if (!session_is_attached(s)) {
        shard_close_stream(shard, s, number);
        return;
    }
    close_end(shard, session_stream(s, number));
    session_stream_leave_unreported(s, number, unreported);
    shard_set_interest(shard, s); /* may end it */
}

void shard_report_ends(struct session *s)
{
    const struct leat_frame_gap gone = { .offset = LEAT_OFFSET_NONE,
                                         .reason = LEAT_REASON_TOPIC_DELETED };
    uint32_t index = 0, number;
    while (s->unreported != 0 && egress_room(&s->out) >= 2 * EGRESS_ANSWER_BYTES)
        if (session_take_unreported(s, &index, &number) == STREAM_READER_UNREPORTED)
            egress_gap(&s->out, number, &gone);
        else
            shard_refuse_stream(s, number, LEAT_ERR_UNKNOWN_STREAM);
}

/* Tells the publisher at once. One that does not read leaves no room for it: it is told when it
 * publishes next, or says that it is blocked. */
static void tell_publisher(struct shard *shard, struct publish_stream *stream,
                           enum leat_error status)
{
    struct session *s = stream->session;
    if (!may_be_told(s))
        return;
    shard_refuse_stream(s, stream->number, status);
    shard_want_output(shard, s);
}

static void remove_partition(struct shard *shard, const struct message *m)
{
    struct owned_partition *owned = owned_of(shard, m);
    if (owned == NULL) {
        reply(shard, m, LEAT_ERR_UNKNOWN_PARTITION);
        return;
    }
    const struct leat_frame_gap gone = {
        .position = partition_visible(m->partition),
        .offset = partition_next_offset(m->partition),
        .log_epoch = partition_log_epoch(m->partition),
        .reason = LEAT_REASON_TOPIC_DELETED,
    };
    struct subscription *sub;
    struct publish_stream *stream;
    while ((sub = TAILQ_FIRST(&owned->readers)) != NULL) {
        struct session *s = sub->session;
        if (!may_be_told(s)) {
            close_unreported(shard, s, sub->number, STREAM_READER_UNREPORTED);
            continue;
        }
        egress_gap(&s->out, sub->number, &gone);
        shard_want_output(shard, s);
        shard_close_stream(shard, s, sub->number);
    }
    while ((stream = TAILQ_FIRST(&owned->publishers)) != NULL) {
        if (!may_be_told(stream->session)) {
            close_unreported(shard, stream->session, stream->number, STREAM_PUBLISHER_UNREPORTED);
            continue;
        }
        tell_publisher(shard, stream, LEAT_ERR_UNKNOWN_STREAM);
        shard_close_stream(shard, stream->session, stream->number);
    }
    if (owned->fresh)
        TAILQ_REMOVE(&shard->fresh, owned, fresh_node);
    shard->ticking -= owned->ticks;
    owned->fresh = owned->ticks = owned->reserve_pending = false;
    owned->removal = *m;
    TAILQ_INSERT_TAIL(&shard->leaving, owned, leaving_node);
}

/* Nothing new is sent from a log that is being removed, so links that are asked to reclaim release
 * it in the end. */
static bool is_sent_from(struct shard *shard, const struct owned_partition *owned)
{
    if (!partition_is_pinned(owned->partition))
        return false;
    shard_reclaim_links(shard, owned->topic_id);
    return partition_is_pinned(owned->partition);
}

static void unlist_notice(struct shard *shard, struct owned_partition *owned)
{
    if (owned->noticed)
        TAILQ_REMOVE(&shard->noticed, owned, notice_node);
    owned->noticed = false;
}

void shard_give_back(struct shard *shard)
{
    struct owned_partition *owned, *next;
    for (owned = TAILQ_FIRST(&shard->leaving); owned != NULL && !shard->holds; owned = next) {
        next = TAILQ_NEXT(owned, leaving_node);
        if (is_sent_from(shard, owned))
            continue;
        const struct message removal = owned->removal;
        TAILQ_REMOVE(&shard->leaving, owned, leaving_node);
        unlist_notice(shard, owned);
        owned_partitions_remove(&shard->owned_partitions, owned);
        reply(shard, &removal, LEAT_OK);
    }
}

/* ---- sessions */

static void grant_session(struct shard *shard, const struct message *m)
{
    struct session *s;
    const uint32_t slot = leat_session_slot(m->session);
    const bool place = slot < shard->options.sessions_max && shard->sessions[slot] == NULL;
    const enum leat_error error =
        place ? session_grant(&s, m->session, &m->grant, shard->now) : LEAT_ERR_LIMIT;
    if (error != LEAT_OK) {
        const struct message closed = { .type = MESSAGE_SESSION_CLOSED,
                                        .status = (int16_t)error,
                                        .session = m->session };
        if (!shard_tell(shard, &closed)) {
            shard->held = closed;
            shard->holds = true;
        }
        return;
    }
    s->say_closed = true;
    shard->sessions[slot] = s;
    TAILQ_INSERT_TAIL(&shard->granted, s, lifetime_node);
}

static enum leat_error close_session(struct shard *shard, const struct message *m)
{
    struct session *s = shard_session(shard, m->session);
    if (s == NULL)
        return LEAT_ERR_UNKNOWN_SESSION;
    s->say_closed = false; /* the reply tells control */
    shard_end_session(shard, s, LEAT_OK);
    return LEAT_OK;
}

/* ---- streams */

/* The producer is bound to `mine` now. Its older streams end, so that what they still send cannot
 * come in between, and their clients are told. */
static void end_other_streams(struct shard *shard, const struct publish_stream *mine)
{
    struct publish_stream *stream, *next;
    struct publisher_bucket *bucket = publisher_index_find(&shard->publishers, mine->producer_id);
    for (stream = LIST_FIRST(bucket); stream != NULL; stream = next) {
        next = LIST_NEXT(stream, producer_node);
        if (stream == mine || stream->producer_id != mine->producer_id
            || stream->owned != mine->owned)
            continue;
        publish_stream_hand_over(stream);
        tell_publisher(shard, stream, LEAT_ERR_FENCED);
    }
}

static enum leat_error bind_producer(struct owned_partition *owned, struct message_publish *m,
                                     struct producer_dedup **producer)
{
    struct producer_dedup_table *table = partition_producers(owned->partition);
    bool was_bound;
    enum leat_error error = LEAT_ERR_PRODUCER_EXPIRED;
    if (m->resume)
        error = producer_dedup_open(table, m->producer_id, m->producer_epoch, PRODUCER_DEDUP_RESUME,
                                    &m->maker, producer, &was_bound);
    m->expired = m->resume && error == LEAT_ERR_PRODUCER_EXPIRED;
    if (error == LEAT_ERR_PRODUCER_EXPIRED)
        error = producer_dedup_open(table, m->producer_id, m->producer_epoch, PRODUCER_DEDUP_NEW,
                                    &m->maker, producer, &was_bound);
    if (error == LEAT_OK)
        producer_dedup_skip(*producer, m->first_unanswered);
    return error;
}

static void take_over(struct shard *shard, struct publish_stream *stream, struct message *m)
{
    publisher_index_add(&shard->publishers, stream);
    end_other_streams(shard, stream);
    m->publish.next_sequence = producer_dedup_next_sequence(stream->producer);
    shard_first_credit(shard, stream);
    m->publish.credit = stream->credit;
}

static enum leat_error open_publish(struct shard *shard, struct message *m)
{
    struct session *s = shard_session(shard, m->session);
    struct owned_partition *owned = owned_of(shard, m);
    if (s == NULL)
        return LEAT_ERR_UNKNOWN_SESSION;
    if (owned == NULL)
        return LEAT_ERR_UNKNOWN_PARTITION;
    struct stream *place;
    enum leat_error error = session_stream_new(s, &place, &m->stream);
    if (error != LEAT_OK)
        return error;
    /* Everything that can fail comes before an older stream of the producer ends. */
    struct publish_stream *stream;
    error = publish_stream_open(&stream, s, owned, &shard->buffers, NULL, &m->publish);
    if (error != LEAT_OK)
        return error;
    error = m->publish.prepare ? producer_dedup_reserve(partition_producers(owned->partition),
                                                        m->publish.producer_id, &m->publish.maker,
                                                        &stream->reserved)
                               : bind_producer(owned, &m->publish, &stream->producer);
    if (error == LEAT_ERR_LIMIT)
        m->publish.refused =
            producer_dedup_refused_share(partition_producers(owned->partition), &m->publish.maker);
    if (error != LEAT_OK) {
        publish_stream_close(stream, shard->now);
        return error;
    }
    stream->number = m->stream;
    place->publish = stream;
    if (!m->publish.prepare)
        take_over(shard, stream, m);
    return LEAT_OK;
}

/* Everything the stream needs was reserved when it was prepared. */
static enum leat_error bind_publish(struct shard *shard, struct message *m)
{
    struct session *s = shard_session(shard, m->session);
    const struct stream *place = s != NULL ? session_stream(s, m->stream) : NULL;
    if (s == NULL)
        return LEAT_ERR_UNKNOWN_SESSION;
    if (place == NULL || place->publish == NULL || place->publish->reserved == NULL)
        return LEAT_ERR_UNKNOWN_STREAM;
    struct publish_stream *stream = place->publish;
    stream->producer_epoch = m->publish.producer_epoch;
    const enum leat_error error = bind_producer(stream->owned, &m->publish, &stream->producer);
    if (error != LEAT_OK) {
        shard_close_stream(shard, s, m->stream);
        return error;
    }
    producer_dedup_release(stream->reserved, shard->now);
    stream->reserved = NULL;
    take_over(shard, stream, m);
    return LEAT_OK;
}

static enum leat_error open_subscription(struct shard *shard, struct message *m)
{
    struct session *s = shard_session(shard, m->session);
    struct owned_partition *owned = owned_of(shard, m);
    if (s == NULL)
        return LEAT_ERR_UNKNOWN_SESSION;
    if (owned == NULL)
        return LEAT_ERR_UNKNOWN_PARTITION;
    enum leat_error error = m->subscribe.entry != NULL
                                ? shard_find_group_start(shard, owned->partition, &m->subscribe)
                                : shard_find_start(shard, owned->partition, &m->subscribe);
    if (error != LEAT_OK)
        return error;
    struct stream *place;
    error = session_stream_new(s, &place, &m->stream);
    if (error != LEAT_OK)
        return error;
    uint64_t given_up;
    error = subscription_open(&place->subscription, s, owned, &m->subscribe, &given_up, shard->now);
    if (given_up != 0)
        shard_tell_lost(shard, owned, given_up, 0, LEAT_ERR_LIMIT);
    if (error != LEAT_OK)
        return error;
    /* Nothing can fail from here on. Only now the group's offset moves, and an older stream of the
     * same member ends, which may still be open after a reconnect. */
    place->subscription->number = m->stream;
    if (m->subscribe.entry == NULL)
        return LEAT_OK;
    shard_begin_group(shard, &m->subscribe);
    shard_revoke(shard, m->subscribe.entry);
    subscription_take_commits(place->subscription);
    return LEAT_OK;
}

static enum leat_error seek(struct shard *shard, struct message *m)
{
    const struct owned_partition *owned = owned_of(shard, m);
    return owned == NULL ? LEAT_ERR_UNKNOWN_PARTITION
                         : shard_find_start(shard, owned->partition, &m->subscribe);
}

static enum leat_error end_stream(struct shard *shard, const struct message *m)
{
    struct session *s = shard_session(shard, m->session);
    if (s == NULL)
        return LEAT_ERR_UNKNOWN_SESSION;
    if (session_stream(s, m->stream) == NULL)
        return LEAT_ERR_UNKNOWN_STREAM;
    shard_close_stream(shard, s, m->stream);
    return LEAT_OK;
}

/* Control no longer resumes a producer of an older epoch, so only bound streams have to be
 * fenced. */
static void fence(struct shard *shard, const struct message *m)
{
    struct publish_stream *stream, *next;
    const uint64_t id = m->publish.producer_id;
    for (stream = LIST_FIRST(publisher_index_find(&shard->publishers, id)); stream != NULL;
         stream = next) {
        next = LIST_NEXT(stream, producer_node);
        if (stream->producer_id != id || stream->producer_epoch >= m->publish.producer_epoch)
            continue;
        producer_dedup_fence(partition_producers(stream->owned->partition), id,
                             m->publish.producer_epoch);
        publish_stream_fence(stream, shard->now);
        tell_publisher(shard, stream, LEAT_ERR_FENCED);
    }
}

static void handle(struct shard *shard, struct message *m)
{
    switch ((enum message_type)m->type) {
    case MESSAGE_ADD_PARTITION: add_partition(shard, m); break;
    case MESSAGE_REMOVE_PARTITION: remove_partition(shard, m); break;
    case MESSAGE_GRANT_SESSION: grant_session(shard, m); break;
    case MESSAGE_CLOSE_SESSION: reply(shard, m, close_session(shard, m)); break;
    case MESSAGE_OPEN_PUBLISH: {
        const enum leat_error error = open_publish(shard, m);
        reply(shard, m, error);
        break;
    }
    case MESSAGE_BIND_PUBLISH: {
        const enum leat_error error = bind_publish(shard, m);
        reply(shard, m, error);
        break;
    }
    case MESSAGE_OPEN_SUBSCRIPTION: {
        const enum leat_error error = open_subscription(shard, m);
        reply(shard, m, error);
        break;
    }
    case MESSAGE_SEEK: {
        const enum leat_error error = seek(shard, m);
        reply(shard, m, error);
        break;
    }
    case MESSAGE_REVOKE:
    case MESSAGE_COMMIT:
    case MESSAGE_RESET:
    case MESSAGE_MEASURE: {
        const enum leat_error error = shard_handle_group_mail(shard, owned_of(shard, m), m);
        reply(shard, m, error);
        break;
    }
    case MESSAGE_CLOSE_STREAM: reply(shard, m, end_stream(shard, m)); break;
    case MESSAGE_FENCE:
        fence(shard, m);
        reply(shard, m, LEAT_OK);
        break;
    case MESSAGE_OFFSETS_RESERVED:
        if (owned_of(shard, m) != NULL)
            partition_offset_limit(m->partition, m->value);
        break;
    case MESSAGE_STOP: shard->stopping = true; break;
    case MESSAGE_REPLY:
    case MESSAGE_SESSION_CLOSED:
    case MESSAGE_RESERVE_OFFSETS:
    case MESSAGE_HELD_BACK:
    case MESSAGE_HELD_BY_QUOTA:
    case MESSAGE_REQUIRED_LOST: break; /* sent by shards only */
    }
}

bool shard_read_mail(struct shard *shard)
{
    if (shard->holds) {
        if (mailbox_send(shard->options.outbox, &shard->held) != LEAT_OK)
            return false;
        shard->holds = false;
    }
    struct message message;
    int read = 0;
    while (read < MAIL_PER_ITERATION && !shard->holds
           && mailbox_receive(shard->options.inbox, &message)) {
        handle(shard, &message);
        read++;
    }
    return read != 0;
}

/* False: the outbox is full. */
static bool tell_notices(struct shard *shard, struct owned_partition *owned)
{
    struct message message = { .partition = owned->partition,
                               .topic_id = owned->topic_id,
                               .partition_index = owned->index };
    if (owned->reserve_pending) {
        message.type = MESSAGE_RESERVE_OFFSETS;
        message.value = partition_next_offset(owned->partition);
        if (!shard_tell(shard, &message))
            return false;
        owned->reserve_pending = false;
    }
    if (owned->held_by != 0) {
        message.type = MESSAGE_HELD_BACK;
        message.value = owned->held_by;
        if (!shard_tell(shard, &message))
            return false;
        owned->held_by = 0;
    }
    while (owned->required_lost_count != 0) {
        const struct owned_partition_lost *lost =
            &owned->required_lost[owned->required_lost_count - 1];
        message.type = MESSAGE_REQUIRED_LOST;
        message.value = lost->name_hash;
        message.session = lost->session;
        message.status = lost->why;
        if (!shard_tell(shard, &message))
            return false;
        owned->required_lost_count--;
    }
    return true;
}

void shard_send_notices(struct shard *shard)
{
    struct owned_partition *owned;
    if (shard->held_notice.type != 0) {
        if (!shard_tell(shard, &shard->held_notice))
            return;
        shard->held_notice.type = 0;
    }
    while ((owned = TAILQ_FIRST(&shard->noticed)) != NULL && tell_notices(shard, owned))
        unlist_notice(shard, owned);
}

void shard_tell_lost(struct shard *shard, struct owned_partition *owned, uint64_t name_hash,
                     uint32_t session, enum leat_error why)
{
    shard_notice(shard, owned);
    /* There are so many only when control has read nothing for long: the newest are kept. */
    if (owned->required_lost_count == REQUIRED_READERS_MAX)
        owned->required_lost_count--;
    owned->required_lost[owned->required_lost_count++] = (struct owned_partition_lost){
        .name_hash = name_hash, .session = session, .why = (int16_t)why
    };
}

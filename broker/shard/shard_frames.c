/* Frames that a session received: handles each and answers it. */
#include <assert.h>
#include <string.h>

#include "broker/shard/shard_state.h"

enum {
    NOT_BUSY_AFTER = 64, /* a session leaves the busy set after so many empty reads in a row */
};

/* At most so often control is told of a reader that holds producers back. */
#define HELD_EVERY_NS LEAT_NS_PER_S

static void count_answer(struct shard *shard, const struct leat_ack_run *run, uint64_t bytes)
{
    struct shard_counters *c = &shard->counters;
    switch (run->status) {
    case LEAT_OK:
        metric_add(&c->records_in, run->count);
        metric_add(&c->batches_in, 1);
        metric_add(&c->bytes_in, bytes);
        break;
    case LEAT_ERR_DUPLICATE: metric_add(&c->duplicates, 1); break;
    case LEAT_BUSY: metric_add(&c->busy, 1); break;
    default: metric_add(&c->refused, 1); break;
    }
}

void shard_refuse_stream(struct session *s, uint32_t stream, enum leat_error status)
{
    const struct leat_ack_run run = { .base_offset = LEAT_OFFSET_NONE,
                                      .count = 1,
                                      .status = (int16_t)status };
    egress_ack(&s->out, stream, 0, &run);
}

void shard_refuse_unknown(struct session *s, uint32_t stream, uint64_t first_sequence,
                          uint32_t count)
{
    const struct leat_ack_run run = { .first_sequence = first_sequence,
                                      .base_offset = LEAT_OFFSET_NONE,
                                      .count = count,
                                      .status = LEAT_ERR_UNKNOWN_STREAM };
    egress_ack(&s->out, stream, 0, &run);
}

/* Answers a batch for an unknown stream, most likely of a topic that was deleted. Each batch is
 * answered, so that the client need not wait to find out. False: the bytes are not the start of a
 * batch. */
static bool refuse_unknown(struct shard *shard, struct session *s, uint32_t stream,
                           const uint8_t *bytes, uint32_t size)
{
    struct leat_batch batch;
    metric_add(&shard->counters.frames_unknown_stream, 1);
    if (leat_batch_parse(&batch, bytes, size) != LEAT_OK)
        return false;
    shard_refuse_unknown(s, stream, batch.base_sequence, batch.record_count);
    return true;
}

/* Answers a batch of `size` bytes. */
static void answer(struct shard *shard, const struct publish_stream *stream,
                   const struct leat_ack_run *run, uint64_t size)
{
    struct owned_partition *owned = stream->owned;
    count_answer(shard, run, size);
    egress_ack(&stream->session->out, stream->number, partition_log_epoch(owned->partition), run);
    if (run->status == LEAT_OK && !owned->fresh) {
        owned->fresh = true;
        TAILQ_INSERT_TAIL(&shard->fresh, owned, fresh_node);
    }
    if (partition_wants_offsets(owned->partition)) {
        owned->reserve_pending = true;
        shard_notice(shard, owned);
    }
    if (run->status != LEAT_BUSY)
        return;
    if (partition_take_pinned(owned->partition))
        shard_reclaim_links(shard, owned->topic_id);
    uint64_t held_by;
    if (partition_take_held(owned->partition, &held_by)
        && shard->now - owned->held_said >= HELD_EVERY_NS) {
        owned->held_by = held_by;
        owned->held_said = shard->now;
        shard_notice(shard, owned);
    }
}

static enum leat_error publish(struct shard *shard, struct session *s,
                               const struct leat_frame *frame)
{
    const struct stream *place = session_stream(s, frame->stream);
    struct leat_ack_run run;
    if (place == NULL || place->publish == NULL) {
        /* Even if it is no batch, the sender is told that there is no such stream. */
        if (frame->publish.piece_at == 0
            && !refuse_unknown(shard, s, frame->stream, frame->publish.bytes, frame->publish.size))
            shard_refuse_stream(s, frame->stream, LEAT_ERR_UNKNOWN_STREAM);
        return LEAT_OK;
    }
    struct publish_stream *stream = place->publish;
    if (stream->by_position)
        return LEAT_ERR_PROTOCOL;
    switch (
        publish_stream_take_in_order(stream, &frame->publish, shard->now, shard->wall_ns, &run)) {
    case PUBLISH_NOTHING: break;
    case PUBLISH_ANSWER: answer(shard, stream, &run, frame->publish.batch_size); break;
    case PUBLISH_BROKEN:
    case PUBLISH_FULL: return (enum leat_error)run.status;
    }
    if (!stream->throttled && publish_stream_wants_credit(stream))
        shard_renew_credit(shard, stream);
    return LEAT_OK;
}

/* Answers a batch and handles the whole batches behind it, as far as there is room for their
 * answers. `before` is received_bytes before the first. */
static enum leat_error answer_whole(struct shard *shard, struct publish_stream *stream,
                                    enum publish_outcome outcome, uint64_t before,
                                    struct leat_ack_run *run)
{
    struct session *s = stream->session;
    while (outcome == PUBLISH_ANSWER) {
        answer(shard, stream, run, stream->received_bytes - before);
        before = stream->received_bytes;
        s->unread |= egress_room(&s->out) < EGRESS_ANSWER_BYTES;
        outcome = s->unread ? PUBLISH_NOTHING
                            : publish_stream_more(stream, shard->now, shard->wall_ns, run);
    }
    if (outcome == PUBLISH_BROKEN)
        return (enum leat_error)run->status;
    if (!stream->throttled && publish_stream_wants_credit(stream))
        shard_renew_credit(shard, stream);
    return outcome == PUBLISH_FULL ? LEAT_BUSY : LEAT_OK;
}

static enum leat_error publish_at(struct shard *shard, struct session *s,
                                  const struct leat_frame *frame)
{
    const struct stream *place = session_stream(s, frame->stream);
    struct leat_ack_run run;
    if (place == NULL || place->publish == NULL) {
        refuse_unknown(shard, s, frame->stream, frame->data.bytes, frame->data.size);
        return LEAT_OK;
    }
    struct publish_stream *stream = place->publish;
    const uint64_t before = stream->received_bytes;
    const enum publish_outcome outcome =
        publish_stream_take_any_order(stream, &frame->data, shard->now, shard->wall_ns, &run);
    return answer_whole(shard, stream, outcome, before, &run);
}

void shard_take_waiting(struct shard *shard, struct session *s)
{
    s->unread = false;
    for (uint32_t i = 0; i < s->stream_count && !s->unread; i++) {
        struct publish_stream *stream = s->streams[i].publish;
        struct leat_ack_run run;
        if (stream == NULL || !stream->by_position)
            continue;
        const uint64_t before = stream->received_bytes;
        const enum publish_outcome outcome =
            publish_stream_more(stream, shard->now, shard->wall_ns, &run);
        const enum leat_error error = answer_whole(shard, stream, outcome, before, &run);
        if (error == LEAT_OK)
            continue;
        shard_end_broken(shard, s, error);
        return;
    }
}

/* CREDIT for a stream that has ended. The client may have received the GAP of its end before the
 * grant on the control connection, and have ignored it as unknown. Repeated now, it makes the
 * client ask control. */
static void refuse_credit(struct shard *shard, struct session *s, uint32_t stream)
{
    const struct leat_frame_gap gone = { .offset = LEAT_OFFSET_NONE,
                                         .reason = LEAT_REASON_REVOKED };
    metric_add(&shard->counters.frames_unknown_stream, 1);
    egress_gap(&s->out, stream, &gone);
}

static enum leat_error credit(struct shard *shard, struct session *s,
                              const struct leat_frame *frame)
{
    const struct stream *place = session_stream(s, frame->stream);
    if (place == NULL || place->subscription == NULL) {
        refuse_credit(shard, s, frame->stream);
        return LEAT_OK;
    }
    struct subscription *sub = place->subscription;
    if (subscription_credit(sub, &frame->credit) && sub->state == SUBSCRIPTION_PARKED)
        shard_set_ready(shard, sub);
    return LEAT_OK;
}

/* The client waits for credit. If the stream has ended, it must be told so, or it would wait for
 * ever. */
static void blocked(struct shard *shard, struct session *s, uint32_t stream)
{
    const struct stream *place = session_stream(s, stream);
    metric_add(&shard->counters.blocked, 1);
    if (place == NULL)
        shard_refuse_stream(s, stream, LEAT_ERR_UNKNOWN_STREAM);
    else if (place->publish != NULL && place->publish->producer == NULL)
        shard_refuse_stream(s, stream, (enum leat_error)place->publish->ended_status);
    else if (place->publish != NULL)
        shard_publisher_waits(shard, place->publish);
}

/* Sends the committed offset of this stream's entry, as the answer to the COMMIT of `asked`. */
void shard_say_committed(struct session *s, uint32_t number, uint64_t asked, int16_t status)
{
    const struct stream *place = session_stream(s, number);
    const struct subscription *sub = place != NULL ? place->subscription : NULL;
    struct leat_frame_committed said = { .asked = asked, .status = status };
    if (sub != NULL && sub->entry != NULL) {
        said.offset = offsets_committed(sub->entry);
        said.log_epoch = sub->entry->log_epoch;
    } else {
        /* A commit that was accepted is committed, at least. */
        said.offset = status == LEAT_OK ? asked : LEAT_OFFSET_NONE;
    }
    egress_committed(&s->out, number, &said);
}

static enum leat_error commit(struct shard *shard, struct session *s,
                              const struct leat_frame *frame)
{
    const struct stream *place = session_stream(s, frame->stream);
    enum leat_error error = LEAT_ERR_UNKNOWN_STREAM;
    if (place != NULL && place->subscription != NULL)
        error = subscription_commit(place->subscription, &frame->commit, shard->wall_ns);
    metric_add(error == LEAT_OK ? &shard->counters.commits : &shard->counters.commits_refused, 1);
    shard_say_committed(s, frame->stream, frame->commit.offset, (int16_t)error);
    return LEAT_OK;
}

static enum leat_error attach_again(struct session *s, const struct leat_frame *frame)
{
    /* Over TCP one ATTACH is enough; in packets it is repeated until it is answered. */
    if (!session_is_packets(s) || frame->attach.session != s->id
        || !session_token_is(s->token, frame->attach.token))
        return LEAT_ERR_PROTOCOL;
    const struct leat_frame_attached said = { .session = s->id, .status = LEAT_OK };
    egress_attached(&s->out, &said);
    return LEAT_OK;
}

static void pong(struct shard *shard, struct session *s, uint64_t value)
{
    struct session_path *path = s->path;
    if (value == s->challenge)
        path->answered = true;
    else if (mtu_pong(&path->mtu, value))
        flow_resize(&path->flow, path->mtu.bytes, shard->now);
}

enum leat_error shard_handle_frame(struct shard *shard, struct session *s,
                                   const struct leat_frame *frame)
{
    switch (frame->type) {
    case LEAT_FRAME_PUBLISH_AT: return publish_at(shard, s, frame);
    case LEAT_FRAME_ATTACH: return attach_again(s, frame);
    case LEAT_FRAME_PUBLISH: return publish(shard, s, frame);
    case LEAT_FRAME_CREDIT: return credit(shard, s, frame);
    case LEAT_FRAME_COMMIT: return commit(shard, s, frame);
    case LEAT_FRAME_PING: egress_pong(&s->out, frame->ping); return LEAT_OK;
    case LEAT_FRAME_PONG:
        if (session_is_packets(s))
            pong(shard, s, frame->ping);
        return LEAT_OK;
    case LEAT_FRAME_BLOCKED: blocked(shard, s, frame->stream); return LEAT_OK;
    case LEAT_FRAME_RESET:
        return session_token_is(s->reset_token, frame->reset.token) ? LEAT_ERR_CLOSED
                                                                    : LEAT_ERR_PROTOCOL;
    case LEAT_FRAME_PAD: return LEAT_OK;
    case LEAT_FRAME_ATTACHED:
    case LEAT_FRAME_PUBLISH_ACK:
    case LEAT_FRAME_DATA:
    case LEAT_FRAME_COMMITTED:
    case LEAT_FRAME_GAP: return LEAT_ERR_PROTOCOL; /* not sent by clients, or not allowed now */
    default: metric_add(&shard->counters.frames_dropped, 1); return LEAT_OK;
    }
}

void shard_handle_frames(struct shard *shard, struct session *s)
{
    enum leat_error error = LEAT_OK;
    s->unread = false;
    while (error == LEAT_OK) {
        struct leat_frame frame;
        if (egress_room(&s->out) < EGRESS_ANSWER_BYTES) {
            s->unread = s->receive_from != s->receive_to;
            break;
        }
        error =
            leat_frame_decode(&frame, s->memory + s->receive_from, s->receive_to - s->receive_from);
        if (error != LEAT_OK)
            break;
        s->receive_from += frame.length;
        error = shard_handle_frame(shard, s, &frame);
    }
    if (error != LEAT_OK && error != LEAT_AGAIN) {
        if (error == LEAT_ERR_CLOSED)
            shard_end_session(shard, s, LEAT_OK);
        else
            shard_end_broken(shard, s, error);
        return;
    }
    const uint32_t left = s->receive_to - s->receive_from;
    if (left == 0 || SESSION_RECEIVE_BYTES - s->receive_to < LEAT_FRAME_BYTES_MAX) {
        memmove(s->memory, s->memory + s->receive_from, left);
        s->receive_from = 0;
        s->receive_to = left;
    }
    if (egress_pending(&s->out))
        shard_want_output(shard, s);
    shard_set_interest(shard, s);
}

/* Adds the session to the busy set: the spinning loop reads its members without asking epoll. */
static void add_to_busy_set(struct shard *shard, struct session *s)
{
    struct session **idlest = NULL;
    s->empty_reads = 0;
    for (int i = 0; i < SHARD_BUSY_MAX; i++) {
        struct session **place = &shard->busy_set[i];
        if (*place == s)
            return;
        if (*place == NULL || (*place)->empty_reads >= NOT_BUSY_AFTER)
            idlest = place;
    }
    if (idlest != NULL)
        *idlest = s;
}

bool shard_receive(struct shard *shard, struct session *s)
{
    if (s->ending || s->unread)
        return false;
    assert(s->receive_to < SESSION_RECEIVE_BYTES);
    size_t got;
    const enum leat_error error = link_tcp_receive(s->fd, s->memory + s->receive_to,
                                                   SESSION_RECEIVE_BYTES - s->receive_to, &got);
    if (error == LEAT_AGAIN) {
        s->empty_reads += s->empty_reads < NOT_BUSY_AFTER;
        return false;
    }
    if (error != LEAT_OK) {
        shard_end_session(shard, s, LEAT_OK);
        return true;
    }
    s->receive_to += (uint32_t)got;
    shard_heard(shard, s);
    add_to_busy_set(shard, s);
    shard_handle_frames(shard, s);
    return true;
}

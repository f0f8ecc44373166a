/* Publish stream: the batches of one producer for one partition, as they arrive over one
 * session. */
#include "broker/shard/publish_stream.h"

#include <stdlib.h>
#include <string.h>

#include "schema/crc32c.h"

enum {
    WINDOW_BATCHES = 4,
    WINDOW_BYTES_MIN = 4 << 20,
    PACKET_WINDOW_BATCHES = 2,
    PACKET_WINDOW_BYTES_MIN = 1 << 20,
    BUSY_MEMORY_US = 100000, /* others may have released some by then */
    PROMISE_BYTES_MIN = 1 << 16,
};

/* The lowest quota that applies, in bytes a second; 0: none. */
static uint64_t lowest_rate(const struct session *session, const struct owned_partition *owned)
{
    const uint64_t topic = owned->share->publish_quota.rate;
    const uint64_t client = session->bucket != NULL ? session->bucket->publish.rate : 0;
    return topic == 0 || (client != 0 && client < topic) ? client : topic;
}

/* A quota may be overdrawn by the credit that was granted. So a stream with a quota is granted a
 * tenth of a second's worth at a time, and a whole batch when its client says that it waits to send
 * one. */
static uint32_t promise_bytes(uint64_t rate, uint32_t batch_bytes_max)
{
    const uint64_t tenth = rate / 10 > PROMISE_BYTES_MIN ? rate / 10 : PROMISE_BYTES_MIN;
    return tenth < batch_bytes_max ? (uint32_t)tenth : batch_bytes_max;
}

void publish_stream_promise(struct publish_stream *stream)
{
    const uint32_t more = stream->wants_batch ? stream->window_bytes : stream->promise_bytes;
    if (stream->credit < stream->received_bytes + more)
        stream->credit = stream->received_bytes + more;
    stream->wants_batch = false;
}

static uint32_t window_bytes(const struct session *session, const struct owned_partition *owned)
{
    const bool packets = session_is_packets(session);
    if (lowest_rate(session, owned) != 0)
        return owned->batch_bytes_max;
    const uint64_t batches =
        (uint64_t)owned->batch_bytes_max * (packets ? PACKET_WINDOW_BATCHES : WINDOW_BATCHES);
    const uint64_t least = packets ? PACKET_WINDOW_BYTES_MIN : WINDOW_BYTES_MIN;
    return (uint32_t)(batches > least ? batches : least);
}

static size_t stream_bytes(bool by_position)
{
    return sizeof(struct publish_stream) + (by_position ? sizeof(struct stream_map) : 0);
}

enum leat_error publish_stream_open(struct publish_stream **out, struct session *session,
                                    struct owned_partition *owned, struct stream_buffers *buffers,
                                    struct producer_dedup *producer,
                                    const struct message_publish *opening)
{
    const bool by_position = session_is_packets(session);
    struct publish_stream *stream =
        memory_account_calloc(&session->memory_account, stream_bytes(by_position));
    if (stream == NULL)
        return LEAT_ERR_NO_MEMORY;
    stream->window_bytes = window_bytes(session, owned);
    stream->by_position = by_position;
    stream->buffers = buffers;
    stream->buffer.account = &session->memory_account;
    stream->session = session;
    stream->owned = owned;
    stream->producer = producer;
    stream->ended_status = LEAT_ERR_UNKNOWN_STREAM;
    stream->producer_id = opening->producer_id;
    stream->producer_epoch = opening->producer_epoch;
    const uint64_t rate = lowest_rate(session, owned);
    stream->limited = rate != 0;
    stream->promise_bytes =
        stream->limited ? promise_bytes(rate, owned->batch_bytes_max) : stream->window_bytes;
    stream->credit = stream->limited ? 0 : stream->window_bytes;
    if (by_position) {
        stream->joined = (struct stream_map *)(stream + 1);
        stream_map_init(stream->joined, 0);
    }
    TAILQ_INSERT_TAIL(&owned->publishers, stream, owned_node);
    *out = stream;
    return LEAT_OK;
}

void publish_stream_hand_over(struct publish_stream *stream)
{
    if (stream->producer != NULL)
        LIST_REMOVE(stream, producer_node);
    stream->producer = NULL;
    stream->ended_status = LEAT_ERR_FENCED;
    /* The rest of a batch that has begun is dropped: only its header is kept, to be answered. */
    if (stream->partial_size != 0 && stream->partial_refusal == LEAT_OK) {
        memcpy(stream->partial_header, stream->buffer.bytes, LEAT_BATCH_HEADER_BYTES);
        stream->partial_refusal = LEAT_ERR_FENCED;
    }
    stream->busy = false;
    stream_buffer_free(stream->buffers, &stream->buffer);
}

void publish_stream_fence(struct publish_stream *stream, leat_ns now)
{
    if (stream->producer != NULL)
        producer_dedup_unbind(stream->producer, now);
    publish_stream_hand_over(stream);
}

void publish_stream_close(struct publish_stream *stream, leat_ns now)
{
    publish_stream_fence(stream, now);
    if (stream->reserved != NULL)
        producer_dedup_release(stream->reserved, now);
    TAILQ_REMOVE(&stream->owned->publishers, stream, owned_node);
    memory_account_give(&stream->session->memory_account, stream_bytes(stream->by_position));
    free(stream);
}

static enum publish_outcome broken(struct leat_ack_run *run, enum leat_error status)
{
    *run = (struct leat_ack_run){ .status = (int16_t)status };
    return PUBLISH_BROKEN;
}

static enum publish_outcome answer(struct leat_ack_run *run, const struct publish_result *result)
{
    /* Without a readable header there is no sequence to answer. */
    if (result->count == 0)
        return broken(run, result->status);
    const bool has_level = result->status == LEAT_OK || result->status == LEAT_ERR_DUPLICATE;
    *run = (struct leat_ack_run){
        .first_sequence = result->first_sequence,
        .base_offset = result->base_offset,
        .count = result->count,
        .retry_after_us = result->retry_after_us,
        .status = (int16_t)result->status,
        .level = has_level ? LEAT_LEVEL_IN_RING : 0,
    };
    return PUBLISH_ANSWER;
}

/* Answers for a stream without a producer: nothing may be appended. */
static enum publish_outcome refuse_ended(const struct publish_stream *stream, const uint8_t *bytes,
                                         uint32_t size, struct leat_ack_run *run)
{
    struct leat_batch batch;
    const enum leat_error error = leat_batch_parse(&batch, bytes, size);
    if (error != LEAT_OK)
        return broken(run, LEAT_ERR_MALFORMED);
    const struct publish_result result = { .status = (enum leat_error)stream->ended_status,
                                           .first_sequence = batch.base_sequence,
                                           .count = batch.record_count,
                                           .base_offset = LEAT_OFFSET_NONE };
    return answer(run, &result);
}

static bool is_damaged(const uint8_t *bytes, uint32_t size)
{
    const struct leat_batch_wire *wire = (const struct leat_batch_wire *)bytes;
    return leat_crc32c(bytes + LEAT_BATCH_CRC_FROM, size - LEAT_BATCH_CRC_FROM)
           != leat_load32(wire->crc32c);
}

/* Handles a whole batch that was not appended. If its bytes are damaged, the numbers in them are
 * not the producer's: an answer would reach nobody, or answer another batch. So the session ends,
 * and the client resumes where it was. Only when the transport's checksum shows that the bytes
 * arrived as they were sent is the damage the producer's own. */
__attribute__((noinline, cold)) static enum publish_outcome not_appended(
    struct publish_stream *stream, const uint8_t *bytes, uint32_t size,
    struct publish_result *result, struct leat_ack_run *run)
{
    if (result->count != 0 && is_damaged(bytes, size)) {
        if (!session_is_covered(stream->session) || result->status != LEAT_ERR_BAD_CRC)
            return broken(run, LEAT_ERR_BAD_CRC);
        partition_refuse(stream->owned->partition, stream->producer, bytes, LEAT_ERR_BAD_CRC,
                         result);
    }
    return answer(run, result);
}

static enum publish_outcome publish(struct publish_stream *stream, const uint8_t *bytes,
                                    uint32_t size, leat_ns now, uint64_t wall_ns,
                                    struct leat_ack_run *run)
{
    struct publish_result result;
    partition_publish(stream->owned->partition, stream->producer, bytes, size, now, wall_ns,
                      &result);
    return result.status == LEAT_OK ? answer(run, &result)
                                    : not_appended(stream, bytes, size, &result, run);
}

static void count_received(struct publish_stream *stream, uint32_t size, leat_ns now)
{
    stream->received_bytes += size;
    quota_take(&stream->owned->share->publish_quota, size, now);
    if (stream->session->bucket != NULL)
        quota_take(&stream->session->bucket->publish, size, now);
}

static enum publish_outcome take_whole(struct publish_stream *stream, const uint8_t *bytes,
                                       uint32_t size, const struct publish_result *refused,
                                       leat_ns now, uint64_t wall_ns, struct leat_ack_run *run)
{
    count_received(stream, size, now);
    /* Only a batch that is refused for its size may exceed the credit. */
    if (stream->credit < stream->received_bytes)
        stream->credit = stream->received_bytes;
    if (stream->producer == NULL)
        return refuse_ended(stream, bytes, size, run);
    if (refused != NULL)
        return answer(run, refused);
    return publish(stream, bytes, size, now, wall_ns, run);
}

/* Handles the first piece of a batch that arrives in several. */
static bool begin_partial(struct publish_stream *stream, const struct leat_frame_publish *publish)
{
    if (publish->piece_at != 0 || publish->size < LEAT_BATCH_HEADER_BYTES)
        return false;
    const uint32_t most = stream->owned->batch_bytes_max;
    stream->partial_size = publish->batch_size;
    stream->partial_have = 0;
    stream->partial_refusal = LEAT_OK;
    if (publish->batch_size > most)
        stream->partial_refusal = LEAT_ERR_TOO_LARGE;
    else if (stream->producer == NULL)
        stream->partial_refusal = stream->ended_status;
    else if (!stream_buffer_reserve(stream->buffers, &stream->buffer, publish->batch_size,
                                    stream_buffer_round(publish->batch_size, most), 0, 0))
        stream->partial_refusal = LEAT_BUSY;
    return true;
}

/* Answers a batch of which only the header was kept, now that all of it has arrived. */
static enum publish_outcome refuse_partial(struct publish_stream *stream, uint32_t size,
                                           leat_ns now, uint64_t wall_ns, struct leat_ack_run *run)
{
    const enum leat_error status = (enum leat_error)stream->partial_refusal;
    struct publish_result refused;
    struct leat_batch batch;
    if (stream->producer != NULL && status == LEAT_BUSY) {
        /* BUSY consumes nothing. A header that cannot be read has no sequence: count 0. */
        const bool right = leat_batch_parse(&batch, stream->partial_header, size) == LEAT_OK;
        refused = (struct publish_result){ .status = right ? LEAT_BUSY : LEAT_ERR_MALFORMED,
                                           .first_sequence = right ? batch.base_sequence : 0,
                                           .count = right ? batch.record_count : 0,
                                           .retry_after_us = BUSY_MEMORY_US,
                                           .base_offset = LEAT_OFFSET_NONE };
    } else if (stream->producer != NULL) {
        partition_refuse(stream->owned->partition, stream->producer, stream->partial_header, status,
                         &refused);
    }
    return take_whole(stream, stream->partial_header, size, &refused, now, wall_ns, run);
}

enum publish_outcome publish_stream_take_in_order(struct publish_stream *stream,
                                                  const struct leat_frame_publish *publish,
                                                  leat_ns now, uint64_t wall_ns,
                                                  struct leat_ack_run *run)
{
    if (publish->piece_at == 0 && publish->batch_size > stream->credit - stream->received_bytes
        && publish->batch_size <= stream->owned->batch_bytes_max)
        return broken(run, LEAT_ERR_PROTOCOL);
    if (stream->partial_size == 0 && publish->piece_at == 0 && publish->size == publish->batch_size)
        return take_whole(stream, publish->bytes, publish->size, NULL, now, wall_ns, run);

    if (stream->partial_size == 0 && !begin_partial(stream, publish))
        return broken(run, LEAT_ERR_MALFORMED);
    if (publish->piece_at != stream->partial_have || publish->batch_size != stream->partial_size)
        return broken(run, LEAT_ERR_MALFORMED);
    if (stream->partial_refusal == LEAT_OK)
        memcpy(stream->buffer.bytes + stream->partial_have, publish->bytes, publish->size);
    else if (publish->piece_at == 0)
        memcpy(stream->partial_header, publish->bytes, LEAT_BATCH_HEADER_BYTES);
    stream->partial_have += publish->size;
    if (stream->partial_have != stream->partial_size)
        return PUBLISH_NOTHING;

    const uint32_t size = stream->partial_size;
    stream->partial_size = 0;
    if (stream->partial_refusal != LEAT_OK)
        return refuse_partial(stream, size, now, wall_ns, run);
    const enum publish_outcome outcome =
        take_whole(stream, stream->buffer.bytes, size, NULL, now, wall_ns, run);
    stream_buffer_rest(stream->buffers, &stream->buffer);
    return outcome;
}

/* ---- in packets */

/* True when the answer is final; else the batch has to be sent again. */
static bool is_settled(int16_t status)
{
    return status != LEAT_BUSY && status != LEAT_ERR_THROTTLED && status != LEAT_ERR_OUT_OF_ORDER;
}

/* Publishes the whole batch at received_bytes. */
static enum publish_outcome take_next(struct publish_stream *stream, const uint8_t *bytes,
                                      uint32_t size, leat_ns now, uint64_t wall_ns,
                                      struct leat_ack_run *run)
{
    const enum publish_outcome outcome = stream->producer == NULL
                                             ? refuse_ended(stream, bytes, size, run)
                                             : publish(stream, bytes, size, now, wall_ns, run);
    stream->busy = outcome == PUBLISH_ANSWER && !is_settled(run->status);
    if (outcome != PUBLISH_BROKEN && !stream->busy)
        count_received(stream, size, now);
    return outcome;
}

/* The window's bytes from `position` on. */
static uint8_t *window_at(const struct publish_stream *stream, uint64_t position)
{
    return stream->buffer.bytes + (position - stream->partial_from);
}

/* True when nothing in the window is needed. */
static bool is_idle(const struct publish_stream *stream)
{
    return stream->joined->next == stream->received_bytes && stream->joined->count == 0;
}

/* Extends the buffer to `end`. If there is memory, it has room for twice what is in use, so that it
 * is moved or grown at most once for so many bytes. False: no memory. */
static bool extend_window(struct publish_stream *stream, uint64_t end)
{
    if (stream->buffer.bytes != NULL && end - stream->partial_from <= stream->buffer.room)
        return stream_buffer_reserve(stream->buffers, &stream->buffer, 0, 0, 0, 0);
    uint64_t last = stream->joined->next;
    if (stream->joined->count != 0)
        last = stream->joined->ranges[stream->joined->count - 1].to;
    const uint64_t from = stream->received_bytes;
    const uint32_t keep = last > from ? (uint32_t)(last - from) : 0;
    const uint32_t need = end > last ? (uint32_t)(end - from) : keep;
    if (!stream_buffer_reserve(stream->buffers, &stream->buffer, need,
                               stream_buffer_round(2 * (uint64_t)need, 2 * stream->window_bytes),
                               keep != 0 ? (uint32_t)(from - stream->partial_from) : 0, keep))
        return false;
    stream->partial_from = from;
    return true;
}

enum publish_outcome publish_stream_more(struct publish_stream *stream, leat_ns now,
                                         uint64_t wall_ns, struct leat_ack_run *run)
{
    while (stream->producer != NULL && stream->buffer.bytes != NULL) {
        const uint64_t have = stream->joined->next - stream->received_bytes;
        struct leat_batch batch;
        if (is_idle(stream))
            stream_buffer_rest(stream->buffers, &stream->buffer);
        if (stream->busy || have < LEAT_BATCH_HEADER_BYTES)
            return PUBLISH_NOTHING;
        const uint8_t *bytes = window_at(stream, stream->received_bytes);
        const enum leat_error error = leat_batch_parse(&batch, bytes, have);
        if (error != LEAT_OK && error != LEAT_AGAIN)
            return broken(run, error);
        if (batch.size > stream->owned->batch_bytes_max)
            return broken(run, LEAT_ERR_TOO_LARGE);
        if (error == LEAT_AGAIN || batch.size > have)
            return PUBLISH_NOTHING;
        const enum publish_outcome outcome =
            take_next(stream, bytes, batch.size, now, wall_ns, run);
        if (outcome != PUBLISH_NOTHING)
            return outcome;
    }
    return PUBLISH_NOTHING;
}

/* Answers a piece for a stream that has ended: repeats the status, in a run that answers no
 * batch. */
static enum publish_outcome refuse_piece(const struct publish_stream *stream,
                                         struct leat_ack_run *run)
{
    const struct publish_result result = { .status = (enum leat_error)stream->ended_status,
                                           .count = 1,
                                           .base_offset = LEAT_OFFSET_NONE };
    return answer(run, &result);
}

enum publish_outcome publish_stream_take_any_order(struct publish_stream *stream,
                                                   const struct leat_frame_data *piece, leat_ns now,
                                                   uint64_t wall_ns, struct leat_ack_run *run)
{
    const uint64_t at = piece->position, end = piece->position + piece->size;
    struct leat_batch batch;
    if (!stream->by_position || end > stream->credit)
        return broken(run, LEAT_ERR_PROTOCOL);
    const bool idle = is_idle(stream);
    if (end <= stream->received_bytes)
        return PUBLISH_NOTHING;
    if (at <= stream->received_bytes)
        stream->busy = false; /* a retransmission: try again */
    /* Fast path, nearly always taken: the piece is the next batch, whole, and is published in
     * place. */
    if (idle && at == stream->received_bytes
        && leat_batch_parse(&batch, piece->bytes, piece->size) == LEAT_OK
        && batch.size == piece->size && batch.size <= stream->owned->batch_bytes_max) {
        const enum publish_outcome outcome =
            take_next(stream, piece->bytes, piece->size, now, wall_ns, run);
        stream_map_skip(stream->joined, stream->received_bytes);
        stream->busy = false; /* the batch was not stored */
        return outcome;
    }
    if (stream->producer == NULL)
        return refuse_piece(stream, run);
    if (idle)
        stream->partial_from = stream->received_bytes;
    const uint32_t skip = at < stream->received_bytes ? (uint32_t)(stream->received_bytes - at) : 0;
    if (!extend_window(stream, end))
        return PUBLISH_FULL;
    if (stream_map_add(stream->joined, at + skip, piece->size - skip) == STREAM_FULL)
        return PUBLISH_FULL;
    memcpy(window_at(stream, at + skip), piece->bytes + skip, piece->size - skip);
    return publish_stream_more(stream, now, wall_ns, run);
}

bool publish_stream_answer_again(const struct publish_stream *stream, uint64_t *from, uint64_t to,
                                 struct leat_ack_run *run)
{
    struct producer_dedup_verdict verdict;
    uint32_t count;
    if (*from >= to)
        return false;
    if (stream->producer == NULL) {
        /* The answers are forgotten; what matters is that the producer has ended. */
        const uint64_t left = to - *from;
        *run = (struct leat_ack_run){ .first_sequence = *from,
                                      .base_offset = LEAT_OFFSET_NONE,
                                      .count = left < UINT32_MAX ? (uint32_t)left : UINT32_MAX,
                                      .status = stream->ended_status };
        *from = to;
        return true;
    }
    if (!producer_dedup_recall(stream->producer, *from, &count, &verdict)) {
        /* Too old to be remembered one by one. */
        const uint64_t next = producer_dedup_next_sequence(stream->producer);
        const uint64_t end = to < next ? to : next;
        if (end <= *from)
            return false;
        count = end - *from < UINT32_MAX ? (uint32_t)(end - *from) : UINT32_MAX;
    }
    const struct publish_result result = { .status = verdict.status,
                                           .first_sequence = *from,
                                           .count = count,
                                           .base_offset = verdict.base_offset };
    *from += count;
    return answer(run, &result) == PUBLISH_ANSWER;
}

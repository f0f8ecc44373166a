/* Publish stream: the batches of one producer for one partition, as they come over one session.
 *
 * Role: join pieces to whole batches, hold the client to its credit, hand batches to the partition,
 * turn results into runs. Must not know: sockets, frames' bytes, topics, how a partition decides.
 *
 * Over a byte stream pieces come in order (publish_stream_take_in_order). In packets they come in
 * any, each with its position in the bytes of all batches (publish_stream_take_any_order): what is
 * early waits in a window of `window_bytes`, and a batch that the partition was too busy for stays
 * there, first in line, until its client sends it again or asks.
 *
 *      received_bytes       joined.next                       credit
 *      [batch taken next .. [hole][early][hole][early]        positions; the window ends at credit
 *
 * Room for pieces is taken when the first comes, and kept while nobody else needs it: see
 * broker/shard/stream_buffer.h. Without room a batch in pieces is answered BUSY.
 *
 * Threads: the owning shard. */
#ifndef LEAT_BROKER_SHARD_PUBLISH_STREAM_H
#define LEAT_BROKER_SHARD_PUBLISH_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "broker/shard/owned_partition.h"
#include "broker/shard/session.h"
#include "broker/shard/stream_buffer.h"
#include "schema/batch.h"
#include "schema/frame.h"
#include "transport/stream.h"

struct publish_stream {
    struct session *session;
    struct owned_partition *owned;
    /* NULL: ended, or only prepared: see ended_status; else it is in the shard's index */
    struct producer_dedup *producer;
    LIST_ENTRY(publish_stream) producer_node;
    struct producer_dedup *reserved; /* prepared: its place in the partition's memory; else NULL */
    uint64_t producer_id;
    uint32_t number; /* of the stream */
    uint32_t producer_epoch;
    int16_t ended_status; /* what every batch is answered since; never LEAT_OK */

    uint64_t received_bytes; /* of whole batches, since it opened */
    uint64_t credit;         /* the client may send up to here */
    uint32_t window_bytes;
    uint32_t promise_bytes; /* of credit that is given at a time */
    bool limited;           /* by some quota: then it is little */
    bool throttled;         /* credit is due, a quota withholds it */
    bool held_by_client;    /* it is that of the client's name, not the topic's */
    bool wants_batch;       /* its client waits to send a batch that is larger than its credit */
    TAILQ_ENTRY(publish_stream) throttled_node;
    TAILQ_ENTRY(publish_stream) owned_node;

    struct stream_buffers *buffers; /* the shard's */
    struct stream_buffer buffer;    /* for one batch, or for two windows of pieces */
    uint32_t partial_size;          /* whole size of the batch being joined; 0: none */
    uint32_t partial_have;
    int16_t partial_refusal; /* only its header is kept, and this is its answer; or LEAT_OK */
    uint8_t partial_header[LEAT_BATCH_HEADER_BYTES];

    /* In packets only. */
    bool by_position;
    bool busy;                 /* the batch at received_bytes was answered BUSY and is kept */
    uint64_t partial_from;     /* position of the buffer's first byte */
    struct stream_map *joined; /* of the window */
};

/* `producer` is bound, and kept until publish_stream_close; NULL: until the caller sets it every
 * batch is answered LEAT_ERR_UNKNOWN_STREAM. LEAT_ERR_NO_MEMORY. */
enum leat_error publish_stream_open(struct publish_stream **out, struct session *session,
                                    struct owned_partition *owned, struct stream_buffers *buffers,
                                    struct producer_dedup *producer,
                                    const struct message_publish *opening);
/* A newer epoch exists: every batch is answered LEAT_ERR_FENCED from now on. */
void publish_stream_fence(struct publish_stream *stream, leat_ns now);
/* The same, because another stream has its producer now, still bound. */
void publish_stream_hand_over(struct publish_stream *stream);
/* Unbinds what is bound and frees it. The place in the session is the caller's. */
void publish_stream_close(struct publish_stream *stream, leat_ns now);

enum publish_outcome {
    PUBLISH_NOTHING, /* a piece was kept, or dropped */
    PUBLISH_ANSWER,  /* *run is the answer */
    PUBLISH_BROKEN,  /* the client broke the protocol: *run.status says how */
    PUBLISH_FULL,    /* no room to remember a piece that came early */
};

/* A PUBLISH_AT frame. PUBLISH_ANSWER: call publish_stream_more until it says PUBLISH_NOTHING.
 * PUBLISH_FULL: as if the frame had never come. */
enum publish_outcome publish_stream_take_any_order(struct publish_stream *stream,
                                                   const struct leat_frame_data *piece, leat_ns now,
                                                   uint64_t wall_ns, struct leat_ack_run *run);
/* The next batch that has become whole. */
enum publish_outcome publish_stream_more(struct publish_stream *stream, leat_ns now,
                                         uint64_t wall_ns, struct leat_ack_run *run);
/* Answers given before to [*from, to) of sequences, one after the other: the next of them, which
 * *from moves behind. A stream that was fenced since answers so. False: no more is known. */
bool publish_stream_answer_again(const struct publish_stream *stream, uint64_t *from, uint64_t to,
                                 struct leat_ack_run *run);

/* A PUBLISH frame of this stream. */
enum publish_outcome publish_stream_take_in_order(struct publish_stream *stream,
                                                  const struct leat_frame_publish *publish,
                                                  leat_ns now, uint64_t wall_ns,
                                                  struct leat_ack_run *run);

/* Raises the credit, as far as `limited` allows for once. */
void publish_stream_promise(struct publish_stream *stream);

/* True when credit should be renewed: a quarter of the window is used up. */
static inline bool publish_stream_wants_credit(const struct publish_stream *stream)
{
    return stream->credit - stream->received_bytes <= stream->promise_bytes / 4 * 3;
}

#endif

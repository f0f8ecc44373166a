/* Publish stream: the batches of one producer for one partition, as they arrive over one session.
 *
 * Role: join pieces to whole batches, hold the client to its credit, pass batches to the partition,
 * turn results into ack runs.
 * Must not know: sockets, the layout of frames, topics, how a partition decides.
 *
 * Over a byte stream, pieces arrive in order (publish_stream_take_in_order). In packets they arrive
 * in any order, each with its position in the bytes of all batches (publish_stream_take_any_order).
 * Early pieces wait in a window of `window_bytes`. A batch that the partition was too busy for
 * stays first in the window until the client sends it again or asks for it.
 *
 *      received_bytes       joined.next                       credit
 *      [batch taken next .. [hole][early][hole][early]        positions; the window ends at credit
 *
 * Memory for pieces is allocated when the first piece arrives, and kept while nobody else needs it:
 * see broker/shard/stream_buffer.h. Without memory a batch in pieces is answered BUSY.
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
    /* NULL: ended, or only prepared: see ended_status. Otherwise the stream is in the shard's
     * publisher_index. */
    struct producer_dedup *producer;
    LIST_ENTRY(publish_stream) producer_node;
    /* Its reservation with the partition while the stream is prepared; else NULL. */
    struct producer_dedup *reserved;
    uint64_t producer_id;
    uint32_t number; /* stream number in the session */
    uint32_t producer_epoch;
    int16_t ended_status; /* the answer to every batch while `producer` is NULL; never LEAT_OK */

    uint64_t received_bytes; /* of whole batches, since the stream opened */
    uint64_t credit;         /* the client may send up to this position */
    uint32_t window_bytes;
    uint32_t promise_bytes; /* credit granted at a time */
    bool limited;           /* by a quota: then promise_bytes is small */
    bool throttled;         /* credit is due, but a quota withholds it */
    bool held_by_client;    /* that quota is the client name's, not the topic's */
    bool wants_batch;       /* the client waits to send a batch that is larger than its credit */
    TAILQ_ENTRY(publish_stream) throttled_node;
    TAILQ_ENTRY(publish_stream) owned_node;

    struct stream_buffers *buffers; /* the shard's */
    struct stream_buffer buffer;    /* of one batch, or of two windows of pieces */
    uint32_t partial_size;          /* whole size of the batch that arrives in pieces; 0: none */
    uint32_t partial_have;
    int16_t partial_refusal; /* LEAT_OK; else only the header is kept, and this is the answer */
    uint8_t partial_header[LEAT_BATCH_HEADER_BYTES];

    /* In packets only. */
    bool by_position;
    bool busy;                 /* the batch at received_bytes was answered BUSY and is kept */
    uint64_t partial_from;     /* position of the buffer's first byte */
    struct stream_map *joined; /* what has arrived of the window */
};

/* `producer` is bound, and stays so until publish_stream_close. NULL: every batch is answered
 * LEAT_ERR_UNKNOWN_STREAM until the caller sets it. Errors: LEAT_ERR_NO_MEMORY. */
enum leat_error publish_stream_open(struct publish_stream **out, struct session *session,
                                    struct owned_partition *owned, struct stream_buffers *buffers,
                                    struct producer_dedup *producer,
                                    const struct message_publish *opening);
/* A newer epoch exists: unbinds the producer. Every batch is answered LEAT_ERR_FENCED from now
 * on. */
void publish_stream_fence(struct publish_stream *stream, leat_ns now);
/* The same, when another stream has taken over the producer: it stays bound. */
void publish_stream_hand_over(struct publish_stream *stream);
/* Unbinds the producer, ends the reservation and frees the stream. The caller frees its slot in the
 * session. */
void publish_stream_close(struct publish_stream *stream, leat_ns now);

enum publish_outcome {
    PUBLISH_NOTHING, /* a piece was stored or dropped */
    PUBLISH_ANSWER,  /* *run is the answer */
    PUBLISH_BROKEN,  /* the client violated the protocol: *run.status says how */
    PUBLISH_FULL,    /* no room for a piece that arrived early */
};

/* Handles a PUBLISH_AT frame. After PUBLISH_ANSWER, call publish_stream_more until it returns
 * PUBLISH_NOTHING. PUBLISH_FULL: nothing has changed, as if the frame had been lost. */
enum publish_outcome publish_stream_take_any_order(struct publish_stream *stream,
                                                   const struct leat_frame_data *piece, leat_ns now,
                                                   uint64_t wall_ns, struct leat_ack_run *run);
/* Handles the next batch that has become whole. */
enum publish_outcome publish_stream_more(struct publish_stream *stream, leat_ns now,
                                         uint64_t wall_ns, struct leat_ack_run *run);
/* Repeats answers that were given to the sequences [*from, to), one run per call, and moves *from
 * behind it. A stream that was fenced meanwhile answers so. False: nothing more is known. */
bool publish_stream_answer_again(const struct publish_stream *stream, uint64_t *from, uint64_t to,
                                 struct leat_ack_run *run);

/* Handles a PUBLISH frame. */
enum publish_outcome publish_stream_take_in_order(struct publish_stream *stream,
                                                  const struct leat_frame_publish *publish,
                                                  leat_ns now, uint64_t wall_ns,
                                                  struct leat_ack_run *run);

/* Raises the credit by promise_bytes, or by a whole window when the client waits to send a
 * batch. */
void publish_stream_promise(struct publish_stream *stream);

/* True when credit should be renewed: a quarter of what was granted is used. */
static inline bool publish_stream_wants_credit(const struct publish_stream *stream)
{
    return stream->credit - stream->received_bytes <= stream->promise_bytes / 4 * 3;
}

#endif

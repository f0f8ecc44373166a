/* clang-format off */
/* Egress: what one session still has to send, and the one system call that sends it.
 *
 *      [ spill ][ stage: acks, credits, gaps, ... ][ DATA header | log bytes ][ DATA ... ] ...
 *        owned    owned                              owned here    the ring's, borrowed
 *
 * Role: the order of sending, and what is kept after a partial write. The rest of a DATA frame that
 * was cut is copied to the spill. Staged bytes stay. Whole DATA frames behind it are taken back:
 * the log still has them. So the byte stream never depends on log bytes that may be evicted.
 * Must not know: why something is sent, the rules of subscriptions, producers.
 *
 * Threads: the owning shard. Memory is fixed: nothing here allocates. */
/* clang-format on */
#ifndef LEAT_BROKER_SHARD_EGRESS_H
#define LEAT_BROKER_SHARD_EGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "schema/frame.h"
#include "schema/units.h"

enum {
    EGRESS_STAGE_BYTES = 1 << 16,
    EGRESS_BYTES = EGRESS_STAGE_BYTES + LEAT_FRAME_BYTES_MAX, /* memory that one egress needs */
    /* While so many staging bytes are free, any one received frame can be answered. */
    EGRESS_ANSWER_BYTES = 256,
    EGRESS_DATA_MAX = 64, /* DATA frames in one flush */
};

struct egress {
    uint8_t *stage;
    uint8_t *spill;
    uint32_t stage_from, stage_to;
    uint32_t spill_from, spill_to;
    bool blocked; /* the socket buffer is full: wait until it is writable */
    /* The PUBLISH_ACK that may still grow. It is staged before any other frame, and by a flush. */
    uint32_t ack_stream;
    uint32_t ack_run_count;
    uint32_t ack_runs_max; /* in one frame */
    bool ack_splits;       /* answers that are not remembered get frames of their own */
    uint64_t ack_log_epoch;
    struct leat_ack_run ack_runs[LEAT_ACK_RUNS_MAX];
};

/* One DATA frame to be sent. */
struct egress_data {
    void *source; /* the caller's; not used here */
    uint64_t position;
    uint32_t size; /* log bytes */
};

/* The working memory of one flush; one per shard, reused. */
struct egress_batch {
    struct iovec pieces[2 + 2 * EGRESS_DATA_MAX];
    struct egress_data data[EGRESS_DATA_MAX];
    uint8_t headers[EGRESS_DATA_MAX][LEAT_DATA_HEADER_BYTES];
    int data_count;
};

void egress_init(struct egress *out, uint8_t memory[EGRESS_BYTES]);

/* The session sends packets. Frames may have at most `frame_bytes_max` bytes. Answers that can be
 * made again after a loss do not share a frame with those that have to be repeated as they were. */
void egress_in_packets(struct egress *out, uint32_t frame_bytes_max);
/* Returns the first staged frame and its size; NULL: there is none. */
const uint8_t *egress_first(struct egress *out, uint32_t *size);
/* Removes the first staged frame, which was copied to a packet. */
void egress_took_first(struct egress *out, uint32_t size);

/* The number of free staging bytes. */
uint32_t egress_room(const struct egress *out);
/* True when anything is staged or spilled. */
bool egress_pending(const struct egress *out);

/* Each stages one frame. The caller must have checked that egress_room() is at least its size. */
void egress_gap(struct egress *out, uint32_t stream, const struct leat_frame_gap *gap);
void egress_credit(struct egress *out, uint32_t stream, uint64_t limit);
void egress_blocked(struct egress *out, uint32_t stream, uint64_t limit);
void egress_pong(struct egress *out, uint64_t value);
void egress_attached(struct egress *out, const struct leat_frame_attached *attached);
void egress_committed(struct egress *out, uint32_t stream,
                      const struct leat_frame_committed *committed);
void egress_reset(struct egress *out, const struct leat_frame_reset *reset);
/* Adds a run to the PUBLISH_ACK. It is merged with the run before it, or put into the same frame,
 * where stream, epoch and status allow. */
void egress_ack(struct egress *out, uint32_t stream, uint64_t log_epoch,
                const struct leat_ack_run *run);

/* True for an answer that the producer's state can give again (broker/log/producer_dedup.h). */
bool egress_is_remembered(int16_t status);

/* Adds a DATA frame to the batch. `bytes` must stay valid until the flush. False: the batch is
 * full. */
bool egress_add_data(struct egress_batch *batch, uint32_t stream, const struct egress_data *data,
                     const uint8_t *bytes);

/* Sends all of it with one system call; *sent_bytes counts what the kernel took. batch->data[*taken
 * .. data_count) was not sent at all and belongs to the log again; everything before was sent, or
 * its rest is in the spill. LEAT_OK; LEAT_AGAIN: the socket buffer is full, and out->blocked is
 * set; LEAT_ERR_CLOSED. */
enum leat_error egress_flush(struct egress *out, struct egress_batch *batch, int fd, int *taken,
                             uint64_t *sent_bytes);

#endif

/* Egress: what one session has still to send, and the one system call that sends it.
 *
 *      [ spill ][ stage: acks, credits, gaps, ... ][ DATA header | log bytes ][ DATA ... ] ...
 *        owned    owned                              owned here    the ring's, borrowed
 *
 * Role: order of leaving, and what is kept when the kernel takes only part: the rest of one cut
 * DATA frame is copied to the spill, staged bytes stay, whole DATA frames behind are taken back
 * (the log still has them). So the byte stream never depends on log bytes that may be evicted. Must
 * not know: why something is sent, subscriptions' rules, producers.
 *
 * Threads: the owning shard. Memory is fixed: nothing here allocates. */
#ifndef LEAT_BROKER_SHARD_EGRESS_H
#define LEAT_BROKER_SHARD_EGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "schema/frame.h"
#include "schema/units.h"

enum {
    EGRESS_STAGE_BYTES = 1 << 16,
    EGRESS_BYTES = EGRESS_STAGE_BYTES + LEAT_FRAME_BYTES_MAX, /* memory one egress takes */
    /* While this much is free, any one received frame can be answered. */
    EGRESS_ANSWER_BYTES = 256,
    EGRESS_DATA_MAX = 64, /* DATA frames in one flush */
};

struct egress {
    uint8_t *stage;
    uint8_t *spill;
    uint32_t stage_from, stage_to;
    uint32_t spill_from, spill_to;
    bool blocked; /* the kernel is full: wait until the socket is writable */
    /* The PUBLISH_ACK that may still grow; staged when anything else is, or at the flush. */
    uint32_t ack_stream;
    uint32_t ack_run_count;
    uint32_t ack_runs_max; /* in one frame */
    bool ack_splits;       /* answers that are not remembered stand in frames of their own */
    uint64_t ack_log_epoch;
    struct leat_ack_run ack_runs[LEAT_ACK_RUNS_MAX];
};

/* One DATA frame about to leave. */
struct egress_data {
    void *source; /* whose it is, for the caller */
    uint64_t position;
    uint32_t size; /* log bytes */
};

/* What one flush works with; one per shard, reused. */
struct egress_batch {
    struct iovec pieces[2 + 2 * EGRESS_DATA_MAX];
    struct egress_data data[EGRESS_DATA_MAX];
    uint8_t headers[EGRESS_DATA_MAX][LEAT_DATA_HEADER_BYTES];
    int data_count;
};

void egress_init(struct egress *out, uint8_t memory[EGRESS_BYTES]);

/* It leaves in packets: frames may have at most `frame_bytes_max`, and what answers it makes again
 * when a packet is lost can be told from those it has to repeat. */
void egress_in_packets(struct egress *out, uint32_t frame_bytes_max);
/* The first staged frame, and its size; NULL: none. */
const uint8_t *egress_first(struct egress *out, uint32_t *size);
/* It went into a packet. */
void egress_took_first(struct egress *out, uint32_t size);

/* Free staging bytes. */
uint32_t egress_room(const struct egress *out);
/* Anything staged or spilled. */
bool egress_pending(const struct egress *out);

/* Each stages one frame; the caller has seen egress_room() >= its size. */
void egress_gap(struct egress *out, uint32_t stream, const struct leat_frame_gap *gap);
void egress_credit(struct egress *out, uint32_t stream, uint64_t limit);
void egress_blocked(struct egress *out, uint32_t stream, uint64_t limit);
void egress_pong(struct egress *out, uint64_t value);
void egress_attached(struct egress *out, const struct leat_frame_attached *attached);
void egress_committed(struct egress *out, uint32_t stream,
                      const struct leat_frame_committed *committed);
void egress_reset(struct egress *out, const struct leat_frame_reset *reset);
/* Adds a run, joined to the run or the frame before it where that says the same. */
void egress_ack(struct egress *out, uint32_t stream, uint64_t log_epoch,
                const struct leat_ack_run *run);

/* An answer the producer's memory can give again (broker/log/producer_dedup.h). */
bool egress_is_remembered(int16_t status);

/* Adds a DATA frame to the batch; false when the batch is full. `bytes` stays valid until the
 * flush. */
bool egress_add_data(struct egress_batch *batch, uint32_t stream, const struct egress_data *data,
                     const uint8_t *bytes);

/* Sends all of it with one call. Afterwards batch->data[*taken .. data_count) were not sent at all
 * and are the log's again; everything before left (or its rest is in the spill).
 * LEAT_OK; LEAT_AGAIN: the kernel is full, out->blocked is set; LEAT_ERR_CLOSED. */
enum leat_error egress_flush(struct egress *out, struct egress_batch *batch, int fd, int *taken,
                             uint64_t *sent_bytes);

#endif

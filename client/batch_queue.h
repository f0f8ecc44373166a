/* Batch queue: fills and seals one producer's batches for one partition.
 *
 * It has the open batch being filled, the sealed batches that are unsent or unanswered, and the
 * credit for sending them.
 *
 * Role: pure bookkeeping of batches over memory reserved when the producer opens.
 * Must not know: sockets, sessions, clocks, the application's records beyond their bytes.
 * Threads: one per pool and everything that uses it.
 *
 *      first ........ send ........ end      ordinals of batches, ever growing
 *      [unanswered    [not yet sent [free        `open` becomes number `end` when it is sealed
 *
 * A batch keeps its bytes until the broker answers, and is sent from there without a copy. Over TCP
 * its pieces follow one another (batch_queue_next_in_order). In packets each piece carries its
 * position (batch_queue_next_any_order), by which a lost piece is found again (batch_queue_lost). A
 * stream uses one of the two ways only. */
#ifndef LEAT_CLIENT_BATCH_QUEUE_H
#define LEAT_CLIENT_BATCH_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/batch.h"
#include "schema/frame.h"

#define BATCH_QUEUE_NO_BATCH UINT64_MAX

struct queued_batch {
    uint8_t *bytes;
    uint64_t *cookies; /* one per record */
    struct queued_batch *next_free;
    void *waiter; /* wants the answer to record `waiter_record`; NULL: nobody */
    int64_t base_timestamp_ns;
    uint64_t base_sequence;
    uint64_t position; /* of its first byte in the stream; valid below `placed` */
    uint32_t waiter_record;
    uint32_t room; /* of bytes */
    uint32_t size; /* used, header included */
    uint32_t count;
    uint32_t records_max;
    bool answered;
};

/* The batches of one producer. Most have room for batch_bytes; a few hold one record of the largest
 * size, so that a high record limit does not make all batches large. */
struct batch_pool {
    struct queued_batch *batches;
    struct queued_batch *free;       /* LIFO, so that the memory in use stays small and in cache */
    struct queued_batch *free_large; /* only when largest > batch_bytes */
    uint8_t *memory;
    size_t memory_bytes;
    uint64_t producer_id;
    uint32_t producer_epoch;
    uint32_t batch_bytes;
    uint32_t largest; /* bytes of the largest batch it can make */
};

struct batch_pool_options {
    uint32_t batches;
    uint32_t batch_bytes;
    uint32_t records_max; /* per batch */
    uint32_t largest;
};

/* LEAT_ERR_NO_MEMORY. The kernel allocates pages when they are first touched. */
enum leat_error batch_pool_reserve(struct batch_pool *pool,
                                   const struct batch_pool_options *options);
void batch_pool_release(struct batch_pool *pool);

struct batch_queue {
    struct batch_pool *pool;
    struct queued_batch **ring; /* indexed by ordinal & ring_mask */
    struct queued_batch *open;  /* NULL: none */
    uint64_t first;
    uint64_t send;
    uint64_t end;
    uint64_t rewind;        /* resend from this ordinal; BATCH_QUEUE_NO_BATCH: nothing to resend */
    uint64_t next_sequence; /* of the next batch to be sealed */
    uint64_t credit;        /* limit on sent_bytes, as given by the broker */
    uint64_t sent_bytes;    /* of batches, since the stream was opened */
    uint64_t placed;        /* unanswered batches below this ordinal have a position */
    uint64_t pending;       /* records not yet answered */
    uint32_t piece_at;      /* bytes of batch `send` that were sent */
    uint32_t in_flight_max;
    uint32_t ring_mask;
};

/* Number of ring entries for in_flight_max (1 .. LEAT_IN_FLIGHT_BATCHES_MAX) batches. A power of
 * two, so that indexing needs no division. */
uint32_t batch_queue_ring_entries(uint32_t in_flight_max);

/* `ring` has batch_queue_ring_entries(in_flight_max) entries and remains owned by the caller. */
void batch_queue_init(struct batch_queue *queue, struct batch_pool *pool,
                      struct queued_batch **ring, uint32_t in_flight_max);

/* Copies the record into the open batch; opens and seals batches as needed. `cookie` is returned
 * with the answer. LEAT_BUSY: no batch is free, or in_flight_max batches are sealed. The record
 * must fit in the pool's largest batch. */
enum leat_error batch_queue_append(struct batch_queue *queue, const struct leat_record_view *record,
                                   uint64_t cookie);

/* The batch that holds the record appended last, for a waiter. */
struct queued_batch *batch_queue_last(const struct batch_queue *queue);

/* A tentative send position. It takes effect with batch_queue_commit. */
struct batch_queue_cursor {
    uint64_t batch;
    uint64_t sent_bytes;
    uint64_t placed;
    uint32_t piece_at;
};

enum batch_queue_step {
    BATCH_QUEUE_NOTHING, /* nothing to send now */
    BATCH_QUEUE_PIECE,
    BATCH_QUEUE_BLOCKED, /* the next batch needs more credit */
    BATCH_QUEUE_FULL,    /* the room left is too small for a useful piece */
};

/* Returns the position where sending continues. Applies a pending rewind, unless a batch has been
 * sent in part. */
struct batch_queue_cursor batch_queue_cursor(struct batch_queue *queue);

/* Gets the next piece and moves the cursor past it. Seals the open batch when it reaches it: by
 * then everything before it was sent, so that the wire is idle. */
enum batch_queue_step batch_queue_next_in_order(struct batch_queue *queue,
                                                struct batch_queue_cursor *cursor,
                                                struct leat_frame_publish *piece);

struct batch_queue_piece {
    const uint8_t *bytes;
    uint64_t position; /* in the stream */
    uint32_t size;     /* at least a batch header, unless less of the batch was left */
    bool ends;         /* last piece of the batch */
};

/* The same for packets: the next piece that fits in `room` bytes. A batch gets its position with
 * its first piece and keeps it when it is sent again, so that credit counts each batch once. */
enum batch_queue_step batch_queue_next_any_order(struct batch_queue *queue,
                                                 struct batch_queue_cursor *cursor, uint32_t room,
                                                 struct batch_queue_piece *piece);

/* The bytes [position, position + size) of one batch were lost: gets the part to send again that
 * fits in `room`. BATCH_QUEUE_NOTHING: the batch was answered, or the cursor will reach these bytes
 * anyway. */
enum batch_queue_step batch_queue_lost(const struct batch_queue *queue, uint64_t position,
                                       uint32_t size, uint32_t room,
                                       struct batch_queue_piece *piece);

/* True if something waits to be sent or resent, perhaps for credit. */
static inline bool batch_queue_has_content(const struct batch_queue *queue)
{
    return queue->send < queue->end || queue->open != NULL || queue->rewind != BATCH_QUEUE_NO_BATCH;
}

/* Records that everything up to `cursor` was handed to the wire. */
void batch_queue_commit(struct batch_queue *queue, const struct batch_queue_cursor *cursor);

/* Called for each batch with a final answer. */
typedef void batch_queue_answer(void *context, const struct queued_batch *batch,
                                const struct leat_ack_run *run);

/* Processes a run of answers. An answer for a batch that is not held here is ignored: the batch was
 * sent twice and answered before. Returns true if the run asks for a resend, which
 * batch_queue_cursor then applies. */
bool batch_queue_ack(struct batch_queue *queue, const struct leat_ack_run *run,
                     batch_queue_answer *answer, void *context);

/* The sequence number of the first unanswered record, or of the next record to be sent. */
uint64_t batch_queue_first_unanswered(const struct batch_queue *queue);

/* Starts a new stream: everything unanswered is sent again within `credit`, byte for byte as
 * before. With `renumber_from`, batches are sealed again with the pool's (new) id and epoch, and
 * numbered from there without a hole. */
void batch_queue_restart(struct batch_queue *queue, uint64_t credit, const uint64_t *renumber_from);

/* Returns all batches to the pool, the open one too, and calls `answer` for each unanswered one
 * with a run of `status`. */
void batch_queue_close(struct batch_queue *queue, int16_t status, batch_queue_answer *answer,
                       void *context);

#endif

/* What one producer wants in one partition's log: the batch being filled, the sealed ones waiting
 * or unanswered, how far they were sent and may be sent.
 *
 * Role: pure bookkeeping of batches over memory reserved when the producer opens.
 * Must not know: sockets, sessions, clocks, the application's records beyond their bytes.
 * Threads: one per pool and everything that uses it.
 *
 *      first ........ send ........ end      ordinals of batches, ever growing
 *      [unanswered    [not yet sent [free        `open` is filled and becomes number `end`
 *
 * A batch keeps its bytes until the broker's answer; sending is from those very bytes. Over a byte
 * stream its pieces follow one another (batch_queue_next_in_order); in packets they go by position
 * (batch_queue_next_any_order), and a piece that was lost is found again by it (batch_queue_lost).
 * One stream is sent one way. */
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
    uint64_t *cookies; /* one a record */
    struct queued_batch *next_free;
    void *waiter; /* who wants the answer to record `waiter_record`; NULL: nobody */
    int64_t base_timestamp_ns;
    uint64_t base_sequence;
    uint64_t position; /* of its first byte in the stream, once it has one: see `placed` */
    uint32_t waiter_record;
    uint32_t room; /* of bytes */
    uint32_t size; /* used, header included */
    uint32_t count;
    uint32_t records_max;
    bool answered;
};

/* The batches of one producer, of two sizes: many of batch_bytes, a few that hold one largest
 * record, so that a large limit does not reserve large batches for small records. */
struct batch_pool {
    struct queued_batch *batches;
    struct queued_batch *free; /* last in, first out: the memory in use stays warm and small */
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
    uint32_t records_max; /* of a batch */
    uint32_t largest;
};

/* LEAT_ERR_NO_MEMORY. Pages are taken from the system when first touched. */
enum leat_error batch_pool_reserve(struct batch_pool *pool,
                                   const struct batch_pool_options *options);
void batch_pool_release(struct batch_pool *pool);

struct batch_queue {
    struct batch_pool *pool;
    struct queued_batch **ring; /* by ordinal & ring_mask */
    struct queued_batch *open;  /* NULL: none */
    uint64_t first;
    uint64_t send;
    uint64_t end;
    uint64_t rewind;        /* send again from this ordinal; BATCH_QUEUE_NO_BATCH: no */
    uint64_t next_sequence; /* of the batch sealed next */
    uint64_t credit;        /* bytes of batches, since the stream was opened */
    uint64_t sent_bytes;    /* the same count */
    uint64_t placed;        /* unanswered batches below this ordinal have their position */
    uint64_t pending;       /* records not yet answered */
    uint32_t piece_at;      /* how much of batch `send` was sent */
    uint32_t in_flight_max;
    uint32_t ring_mask;
};

/* Entries of a ring for so many batches, 1 .. LEAT_IN_FLIGHT_BATCHES_MAX: a power of two, so that
 * none of the many looks into it divides. */
uint32_t batch_queue_ring_entries(uint32_t in_flight_max);

/* `ring` has batch_queue_ring_entries(in_flight_max) entries and stays the caller's. */
void batch_queue_init(struct batch_queue *queue, struct batch_pool *pool,
                      struct queued_batch **ring, uint32_t in_flight_max);

/* Copies the record into the open batch; opens or seals batches as needed. `cookie` comes back
 * with the answer. LEAT_BUSY: no batch is free, or in_flight_max are sealed.
 * The record is not larger than the pool's largest batch holds. */
enum leat_error batch_queue_append(struct batch_queue *queue, const struct leat_record_view *record,
                                   uint64_t cookie);

/* The place of the record appended last, for a waiter. */
struct queued_batch *batch_queue_last(const struct batch_queue *queue);

/* A tentative place in what is to be sent; batch_queue_commit makes it true. */
struct batch_queue_cursor {
    uint64_t batch;
    uint64_t sent_bytes;
    uint64_t placed;
    uint32_t piece_at;
};

enum batch_queue_step {
    BATCH_QUEUE_NOTHING, /* nothing to send now */
    BATCH_QUEUE_PIECE,
    BATCH_QUEUE_BLOCKED, /* a batch waits for credit */
    BATCH_QUEUE_FULL,    /* a piece that is worth it does not fit in the room there is */
};

/* Where sending goes on. Takes up a pending rewind, but never in the middle of a batch. */
struct batch_queue_cursor batch_queue_cursor(struct batch_queue *queue);

/* The next piece and moves the cursor behind it. Seals the open batch when it comes to it: that is
 * when the wire is idle. */
enum batch_queue_step batch_queue_next_in_order(struct batch_queue *queue,
                                                struct batch_queue_cursor *cursor,
                                                struct leat_frame_publish *piece);

struct batch_queue_piece {
    const uint8_t *bytes;
    uint64_t position; /* in the stream */
    uint32_t size;     /* at least a batch header, unless less of the batch was left */
    bool ends;         /* the batch ends with it */
};

/* The same for packets: the next piece that fits `room`. A batch gets its position with its first
 * piece and keeps it, however often it is sent: credit is counted by it, once. */
enum batch_queue_step batch_queue_next_any_order(struct batch_queue *queue,
                                                 struct batch_queue_cursor *cursor, uint32_t room,
                                                 struct batch_queue_piece *piece);

/* [position, position + size) of one batch was lost on the wire: what of it fits `room`.
 * BATCH_QUEUE_NOTHING: its batch was answered, or the cursor will come to it anyway. */
enum batch_queue_step batch_queue_lost(const struct batch_queue *queue, uint64_t position,
                                       uint32_t size, uint32_t room,
                                       struct batch_queue_piece *piece);

/* Something waits to be sent, for the first time or again (perhaps without credit). */
static inline bool batch_queue_has_content(const struct batch_queue *queue)
{
    return queue->send < queue->end || queue->open != NULL || queue->rewind != BATCH_QUEUE_NO_BATCH;
}

/* Everything up to `cursor` was handed to the wire. */
void batch_queue_commit(struct batch_queue *queue, const struct batch_queue_cursor *cursor);

/* Called for each batch answered for good. */
typedef void batch_queue_answer(void *context, const struct queued_batch *batch,
                                const struct leat_ack_run *run);

/* Takes a run of answers. Answers that are not for a batch held here are ignored: they are to
 * something sent twice. Returns true when the run asks to send again (batch_queue_cursor will). */
bool batch_queue_ack(struct batch_queue *queue, const struct leat_ack_run *run,
                     batch_queue_answer *answer, void *context);

/* The sequence of the first record that was not answered, or will be sent next. */
uint64_t batch_queue_first_unanswered(const struct batch_queue *queue);

/* A new stream: everything unanswered is sent again within `credit`, byte for byte as before. With
 * `renumber_from`, under the pool's (new) id and epoch, numbered from there on without a hole. */
void batch_queue_restart(struct batch_queue *queue, uint64_t credit, const uint64_t *renumber_from);

/* Gives every batch back, the open one too, telling `answer` with a run of `status`. */
void batch_queue_close(struct batch_queue *queue, int16_t status, batch_queue_answer *answer,
                       void *context);

#endif

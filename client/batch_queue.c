/* Batch queue: fills and seals one producer's batches for one partition, and keeps them until they
 * are answered. A batch is sealed when it is full or about to be sent: seal_open. */
#include "client/batch_queue.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
    LARGE_BATCHES = 4,
    RECORD_BYTES_MIN = LEAT_RECORD_HEADER_BYTES,
    COOKIE_BYTES = sizeof(uint64_t),
    LINE_BYTES = 64,
};

static uint32_t records_that_fit(uint32_t room, uint32_t records_max)
{
    const uint32_t fit = (room - LEAT_BATCH_HEADER_BYTES) / RECORD_BYTES_MIN;
    return fit < records_max ? fit : records_max;
}

/* An odd number of cache lines. With an even one the headers of all batches, which is most of what
 * small batches touch, would compete for a few sets of the cache. */
static size_t batch_footprint(uint32_t room, uint32_t records)
{
    const size_t bytes = room + (size_t)records * COOKIE_BYTES;
    return ((bytes + LINE_BYTES - 1) / LINE_BYTES | 1) * LINE_BYTES;
}

static uint8_t *batch_place(struct queued_batch *batch, uint8_t *at, uint32_t room,
                            uint32_t records)
{
    batch->bytes = at;
    batch->room = room;
    batch->records_max = records;
    batch->cookies = (uint64_t *)(void *)(at + room);
    return at + batch_footprint(room, records);
}

enum leat_error batch_pool_reserve(struct batch_pool *pool,
                                   const struct batch_pool_options *options)
{
    assert(options->batch_bytes % LEAT_ALIGN == 0 && options->largest % LEAT_ALIGN == 0);
    const uint32_t large = options->largest > options->batch_bytes ? LARGE_BATCHES : 0;
    const uint32_t records = records_that_fit(options->batch_bytes, options->records_max);
    const size_t bytes = options->batches * batch_footprint(options->batch_bytes, records)
                         + large * batch_footprint(options->largest, 1);
    struct queued_batch *batches = calloc(options->batches + large, sizeof *batches);
    uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (batches == NULL || memory == MAP_FAILED) {
        free(batches);
        if (memory != MAP_FAILED)
            munmap(memory, bytes);
        return LEAT_ERR_NO_MEMORY;
    }
    *pool = (struct batch_pool){ .batches = batches,
                                 .memory = memory,
                                 .memory_bytes = bytes,
                                 .batch_bytes = options->batch_bytes,
                                 .largest = options->largest };
    uint8_t *at = memory;
    for (uint32_t i = 0; i < options->batches; i++) {
        at = batch_place(&batches[i], at, options->batch_bytes, records);
        batches[i].next_free = pool->free;
        pool->free = &batches[i];
    }
    for (uint32_t i = options->batches; i < options->batches + large; i++) {
        at = batch_place(&batches[i], at, options->largest, 1);
        batches[i].next_free = pool->free_large;
        pool->free_large = &batches[i];
    }
    return LEAT_OK;
}

void batch_pool_release(struct batch_pool *pool)
{
    free(pool->batches);
    if (pool->memory != NULL)
        munmap(pool->memory, pool->memory_bytes);
    *pool = (struct batch_pool){ 0 };
}

static struct queued_batch *pool_take(struct batch_pool *pool, uint64_t bytes)
{
    struct queued_batch **list = bytes <= pool->batch_bytes ? &pool->free : &pool->free_large;
    struct queued_batch *batch = *list;
    if (batch == NULL)
        return NULL;
    *list = batch->next_free;
    batch->size = LEAT_BATCH_HEADER_BYTES;
    batch->count = 0;
    batch->answered = false;
    batch->waiter = NULL;
    return batch;
}

static void pool_give(struct batch_pool *pool, struct queued_batch *batch)
{
    struct queued_batch **list = batch->room <= pool->batch_bytes ? &pool->free : &pool->free_large;
    batch->next_free = *list;
    *list = batch;
}

uint32_t batch_queue_ring_entries(uint32_t in_flight_max)
{
    uint32_t entries = 1;
    while (entries < in_flight_max)
        entries *= 2;
    return entries;
}

void batch_queue_init(struct batch_queue *queue, struct batch_pool *pool,
                      struct queued_batch **ring, uint32_t in_flight_max)
{
    assert(in_flight_max >= 1 && in_flight_max <= LEAT_IN_FLIGHT_BATCHES_MAX);
    *queue = (struct batch_queue){ .pool = pool,
                                   .ring = ring,
                                   .rewind = BATCH_QUEUE_NO_BATCH,
                                   .in_flight_max = in_flight_max,
                                   .ring_mask = batch_queue_ring_entries(in_flight_max) - 1 };
}

static struct queued_batch **slot(const struct batch_queue *queue, uint64_t ordinal)
{
    return &queue->ring[ordinal & queue->ring_mask];
}

static void seal(const struct batch_queue *queue, struct queued_batch *batch)
{
    const struct leat_batch header = {
        .producer_id = queue->pool->producer_id,
        .producer_epoch = queue->pool->producer_epoch,
        .base_sequence = batch->base_sequence,
        .base_timestamp_ns = batch->base_timestamp_ns,
        .size = batch->size,
        .record_count = batch->count,
    };
    leat_batch_seal(batch->bytes, &header);
}

static bool seal_open(struct batch_queue *queue)
{
    struct queued_batch *batch = queue->open;
    if (queue->end - queue->first == queue->in_flight_max)
        return false;
    batch->base_sequence = queue->next_sequence;
    queue->next_sequence += batch->count;
    seal(queue, batch);
    *slot(queue, queue->end++) = batch;
    queue->open = NULL;
    return true;
}

enum leat_error batch_queue_append(struct batch_queue *queue, const struct leat_record_view *record,
                                   uint64_t cookie)
{
    const uint64_t bytes =
        leat_record_bytes(record->key_size, record->headers_size, record->value_size);
    assert(bytes != 0 && bytes + LEAT_BATCH_HEADER_BYTES <= queue->pool->largest);
    struct queued_batch *batch = queue->open;
    if (batch != NULL
        && (bytes > batch->room - batch->size || batch->count == batch->records_max)) {
        if (!seal_open(queue))
            return LEAT_BUSY;
        batch = NULL;
    }
    if (batch == NULL) {
        batch = pool_take(queue->pool, bytes + LEAT_BATCH_HEADER_BYTES);
        if (batch == NULL)
            return LEAT_BUSY;
        batch->base_timestamp_ns = record->timestamp_ns;
        queue->open = batch;
    }
    batch->size += leat_record_write(batch->bytes + batch->size, record, batch->base_timestamp_ns);
    batch->cookies[batch->count++] = cookie;
    queue->pending++;
    return LEAT_OK;
}

struct queued_batch *batch_queue_last(const struct batch_queue *queue)
{
    return queue->open;
}

struct batch_queue_cursor batch_queue_cursor(struct batch_queue *queue)
{
    /* A batch sent in part is finished first: pieces of two batches must not be mixed. */
    if (queue->rewind != BATCH_QUEUE_NO_BATCH && queue->piece_at == 0) {
        if (queue->rewind < queue->send)
            queue->send = queue->rewind;
        queue->rewind = BATCH_QUEUE_NO_BATCH;
    }
    return (struct batch_queue_cursor){ .batch = queue->send,
                                        .sent_bytes = queue->sent_bytes,
                                        .placed = queue->placed,
                                        .piece_at = queue->piece_at };
}

/* The batch at the cursor, after skipping batches that were answered out of order; NULL: none. */
static struct queued_batch *at_cursor(const struct batch_queue *queue,
                                      struct batch_queue_cursor *cursor)
{
    while (cursor->batch < queue->end && cursor->piece_at == 0
           && (*slot(queue, cursor->batch))->answered)
        cursor->batch++;
    struct queued_batch *batch =
        cursor->batch < queue->end ? *slot(queue, cursor->batch) : queue->open;
    return batch != NULL && batch->count > 0 ? batch : NULL;
}

static void move_on(struct batch_queue_cursor *cursor, const struct queued_batch *batch,
                    uint32_t size)
{
    cursor->piece_at += size;
    if (cursor->piece_at < batch->size)
        return;
    cursor->piece_at = 0;
    cursor->batch++;
}

enum batch_queue_step batch_queue_next_in_order(struct batch_queue *queue,
                                                struct batch_queue_cursor *cursor,
                                                struct leat_frame_publish *piece)
{
    const struct queued_batch *batch = at_cursor(queue, cursor);
    if (batch == NULL)
        return BATCH_QUEUE_NOTHING;
    if (cursor->piece_at == 0) {
        /* Check credit before sealing: a batch that has to wait may still grow. */
        if (batch->size > queue->credit - cursor->sent_bytes)
            return BATCH_QUEUE_BLOCKED;
        if (cursor->batch == queue->end && !seal_open(queue))
            return BATCH_QUEUE_NOTHING;
        cursor->sent_bytes += batch->size;
    }
    const uint32_t left = batch->size - cursor->piece_at;
    piece->bytes = batch->bytes + cursor->piece_at;
    piece->size = left < LEAT_PUBLISH_PIECE_BYTES_MAX ? left : LEAT_PUBLISH_PIECE_BYTES_MAX;
    piece->piece_at = cursor->piece_at;
    piece->batch_size = batch->size;
    move_on(cursor, batch, piece->size);
    return BATCH_QUEUE_PIECE;
}

/* How many of the next `left` bytes to send in `room`. 0: too few to be worth a frame, or fewer
 * than the batch header, by which the broker recognises a batch. */
static uint32_t piece_size(uint32_t left, uint32_t room)
{
    if (room >= left)
        return left;
    return room >= LEAT_BATCH_HEADER_BYTES ? room : 0;
}

enum batch_queue_step batch_queue_next_any_order(struct batch_queue *queue,
                                                 struct batch_queue_cursor *cursor, uint32_t room,
                                                 struct batch_queue_piece *piece)
{
    struct queued_batch *batch = at_cursor(queue, cursor);
    if (batch == NULL)
        return BATCH_QUEUE_NOTHING;
    const bool is_placed = cursor->batch < cursor->placed;
    if (!is_placed && batch->size > queue->credit - cursor->sent_bytes)
        return BATCH_QUEUE_BLOCKED;
    const uint32_t size = piece_size(batch->size - cursor->piece_at, room);
    if (size == 0)
        return BATCH_QUEUE_FULL;
    if (cursor->batch == queue->end && !seal_open(queue))
        return BATCH_QUEUE_NOTHING;
    if (!is_placed) {
        /* If the cursor is not committed, the batch gets the same position next time. */
        batch->position = cursor->sent_bytes;
        cursor->sent_bytes += batch->size;
        cursor->placed = cursor->batch + 1;
    }
    *piece = (struct batch_queue_piece){ .bytes = batch->bytes + cursor->piece_at,
                                         .position = batch->position + cursor->piece_at,
                                         .size = size,
                                         .ends = cursor->piece_at + size == batch->size };
    move_on(cursor, batch, size);
    return BATCH_QUEUE_PIECE;
}

enum batch_queue_step batch_queue_lost(const struct batch_queue *queue, uint64_t position,
                                       uint32_t size, uint32_t room,
                                       struct batch_queue_piece *piece)
{
    const uint64_t end = queue->placed < queue->rewind ? queue->placed : queue->rewind;
    for (uint64_t i = queue->first; i < end && i <= queue->send; i++) {
        const struct queued_batch *batch = *slot(queue, i);
        if (batch->answered || position < batch->position
            || position - batch->position >= batch->size)
            continue;
        const uint32_t at = (uint32_t)(position - batch->position);
        if (i == queue->send && at >= queue->piece_at)
            return BATCH_QUEUE_NOTHING;
        const uint32_t left = size < batch->size - at ? size : batch->size - at;
        *piece = (struct batch_queue_piece){ .bytes = batch->bytes + at,
                                             .position = position,
                                             .size = piece_size(left, room) };
        piece->ends = at + piece->size == batch->size;
        return piece->size > 0 ? BATCH_QUEUE_PIECE : BATCH_QUEUE_FULL;
    }
    return BATCH_QUEUE_NOTHING;
}

/* Frees answered batches at the front, except one that is being resent in part. */
static void drop_answered(struct batch_queue *queue)
{
    while (queue->first < queue->end && (*slot(queue, queue->first))->answered) {
        if (queue->first == queue->send && queue->piece_at > 0)
            break;
        pool_give(queue->pool, *slot(queue, queue->first));
        queue->first++;
    }
    if (queue->send < queue->first)
        queue->send = queue->first;
    if (queue->rewind < queue->first)
        queue->rewind = queue->first;
}

void batch_queue_commit(struct batch_queue *queue, const struct batch_queue_cursor *cursor)
{
    queue->send = cursor->batch;
    queue->piece_at = cursor->piece_at;
    queue->sent_bytes = cursor->sent_bytes;
    queue->placed = cursor->placed;
    drop_answered(queue);
}

static bool asks_again(int16_t status)
{
    return status == LEAT_BUSY || status == LEAT_ERR_THROTTLED || status == LEAT_ERR_OUT_OF_ORDER;
}

bool batch_queue_ack(struct batch_queue *queue, const struct leat_ack_run *run,
                     batch_queue_answer *answer, void *context)
{
    bool again = false;
    /* A callback may append, which moves `end` but nothing before it. */
    for (uint64_t i = queue->first; i < queue->end; i++) {
        struct queued_batch *batch = *slot(queue, i);
        /* A batch answered out of order may carry a sequence of an earlier producer id: ignore
         * it. */
        if (batch->answered)
            continue;
        if (batch->base_sequence >= run->first_sequence + run->count)
            break;
        if (batch->base_sequence < run->first_sequence
            || batch->base_sequence + batch->count > run->first_sequence + run->count)
            continue;
        if (asks_again(run->status)) {
            if (i < queue->rewind)
                queue->rewind = i;
            again = true;
            break;
        }
        batch->answered = true;
        queue->pending -= batch->count;
        answer(context, batch, run);
    }
    drop_answered(queue);
    return again;
}

uint64_t batch_queue_first_unanswered(const struct batch_queue *queue)
{
    for (uint64_t i = queue->first; i < queue->end; i++) {
        const struct queued_batch *batch = *slot(queue, i);
        if (!batch->answered)
            return batch->base_sequence;
    }
    return queue->next_sequence;
}

void batch_queue_restart(struct batch_queue *queue, uint64_t credit, const uint64_t *renumber_from)
{
    queue->piece_at = 0;
    drop_answered(queue);
    queue->send = queue->first;
    queue->rewind = BATCH_QUEUE_NO_BATCH;
    queue->credit = credit;
    queue->sent_bytes = 0;
    queue->placed = queue->first;
    if (renumber_from == NULL)
        return;
    queue->next_sequence = *renumber_from;
    for (uint64_t i = queue->first; i < queue->end; i++) {
        struct queued_batch *batch = *slot(queue, i);
        /* A batch answered out of order is never sent again and gets no number. */
        if (batch->answered)
            continue;
        batch->base_sequence = queue->next_sequence;
        queue->next_sequence += batch->count;
        seal(queue, batch);
    }
}

void batch_queue_close(struct batch_queue *queue, int16_t status, batch_queue_answer *answer,
                       void *context)
{
    const struct leat_ack_run run = { .base_offset = LEAT_OFFSET_NONE, .status = status };
    struct queued_batch *open = queue->open;
    queue->open = NULL;
    while (queue->first < queue->end) {
        struct queued_batch *batch = *slot(queue, queue->first++);
        if (!batch->answered) {
            queue->pending -= batch->count;
            answer(context, batch, &run);
        }
        pool_give(queue->pool, batch);
    }
    if (open != NULL) {
        queue->pending -= open->count;
        answer(context, open, &run);
        pool_give(queue->pool, open);
    }
    queue->send = queue->end;
    queue->piece_at = 0;
    queue->rewind = BATCH_QUEUE_NO_BATCH;
}

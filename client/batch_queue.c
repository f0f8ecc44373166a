#include "client/batch_queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
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

/* An odd number of lines: with an even one the beginnings of all batches, which small ones do not
 * go far beyond, would share a few sets of the cache. */
static size_t batch_footprint(uint32_t room, uint32_t records)
{
    const size_t bytes = room + (size_t)records * COOKIE_BYTES;
    return ((bytes + LINE_BYTES - 1) / LINE_BYTES | 1) * LINE_BYTES;
}

static uint8_t *batch_place(struct outbox_batch *batch, uint8_t *at, uint32_t room,
                            uint32_t records)
{
    batch->bytes = at;
    batch->room = room;
    batch->records_max = records;
    batch->cookies = (uint64_t *)(void *)(at + room);
    return at + batch_footprint(room, records);
}

enum leat_error outbox_pool_reserve(struct outbox_pool *pool,
                                    const struct outbox_pool_options *options)
{
    assert(options->batch_bytes % LEAT_ALIGN == 0 && options->largest % LEAT_ALIGN == 0);
    const uint32_t large = options->largest > options->batch_bytes ? LARGE_BATCHES : 0;
    const uint32_t records = records_that_fit(options->batch_bytes, options->records_max);
    const size_t bytes = options->batches * batch_footprint(options->batch_bytes, records)
                         + large * batch_footprint(options->largest, 1);
    struct outbox_batch *batches = calloc(options->batches + large, sizeof *batches);
    uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (batches == NULL || memory == MAP_FAILED) {
        free(batches);
        if (memory != MAP_FAILED)
            munmap(memory, bytes);
        return LEAT_ERR_NO_MEMORY;
    }
    *pool = (struct outbox_pool){ .batches = batches,
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

void outbox_pool_release(struct outbox_pool *pool)
{
    free(pool->batches);
    if (pool->memory != NULL)
        munmap(pool->memory, pool->memory_bytes);
    *pool = (struct outbox_pool){ 0 };
}

static struct outbox_batch *pool_take(struct outbox_pool *pool, uint64_t bytes)
{
    struct outbox_batch **list = bytes <= pool->batch_bytes ? &pool->free : &pool->free_large;
    struct outbox_batch *batch = *list;
    if (batch == NULL)
        return NULL;
    *list = batch->next_free;
    batch->size = LEAT_BATCH_HEADER_BYTES;
    batch->count = 0;
    batch->answered = false;
    batch->waiter = NULL;
    return batch;
}

static void pool_give(struct outbox_pool *pool, struct outbox_batch *batch)
{
    struct outbox_batch **list = batch->room <= pool->batch_bytes ? &pool->free : &pool->free_large;
    batch->next_free = *list;
    *list = batch;
}

uint32_t outbox_ring_entries(uint32_t in_flight_max)
{
    uint32_t entries = 1;
    while (entries < in_flight_max)
        entries *= 2;
    return entries;
}

void outbox_init(struct outbox *outbox, struct outbox_pool *pool, struct outbox_batch **ring,
                 uint32_t in_flight_max)
{
    assert(in_flight_max >= 1 && in_flight_max <= LEAT_IN_FLIGHT_BATCHES_MAX);
    *outbox = (struct outbox){ .pool = pool,
                               .ring = ring,
                               .rewind = OUTBOX_NO_BATCH,
                               .in_flight_max = in_flight_max,
                               .ring_mask = outbox_ring_entries(in_flight_max) - 1 };
}

static struct outbox_batch **slot(const struct outbox *outbox, uint64_t ordinal)
{
    return &outbox->ring[ordinal & outbox->ring_mask];
}

static void seal(const struct outbox *outbox, struct outbox_batch *batch)
{
    const struct leat_batch header = {
        .producer_id = outbox->pool->producer_id,
        .producer_epoch = outbox->pool->producer_epoch,
        .base_sequence = batch->base_sequence,
        .base_timestamp_ns = batch->base_timestamp_ns,
        .size = batch->size,
        .record_count = batch->count,
    };
    leat_batch_seal(batch->bytes, &header);
}

static bool seal_open(struct outbox *outbox)
{
    struct outbox_batch *batch = outbox->open;
    if (outbox->end - outbox->first == outbox->in_flight_max)
        return false;
    batch->base_sequence = outbox->next_sequence;
    outbox->next_sequence += batch->count;
    seal(outbox, batch);
    *slot(outbox, outbox->end++) = batch;
    outbox->open = NULL;
    return true;
}

enum leat_error outbox_append(struct outbox *outbox, const struct leat_record_view *record,
                              uint64_t cookie)
{
    const uint64_t bytes =
        leat_record_bytes(record->key_size, record->headers_size, record->value_size);
    assert(bytes != 0 && bytes + LEAT_BATCH_HEADER_BYTES <= outbox->pool->largest);
    struct outbox_batch *batch = outbox->open;
    if (batch != NULL
        && (bytes > batch->room - batch->size || batch->count == batch->records_max)) {
        if (!seal_open(outbox))
            return LEAT_BUSY;
        batch = NULL;
    }
    if (batch == NULL) {
        batch = pool_take(outbox->pool, bytes + LEAT_BATCH_HEADER_BYTES);
        if (batch == NULL)
            return LEAT_BUSY;
        batch->base_timestamp_ns = record->timestamp_ns;
        outbox->open = batch;
    }
    batch->size += leat_record_write(batch->bytes + batch->size, record, batch->base_timestamp_ns);
    batch->cookies[batch->count++] = cookie;
    outbox->pending++;
    return LEAT_OK;
}

struct outbox_batch *outbox_last(const struct outbox *outbox)
{
    return outbox->open;
}

struct outbox_cursor outbox_cursor(struct outbox *outbox)
{
    /* A batch once begun is ended first: pieces of two may not be mixed. */
    if (outbox->rewind != OUTBOX_NO_BATCH && outbox->piece_at == 0) {
        if (outbox->rewind < outbox->send)
            outbox->send = outbox->rewind;
        outbox->rewind = OUTBOX_NO_BATCH;
    }
    return (struct outbox_cursor){ .batch = outbox->send,
                                   .sent_bytes = outbox->sent_bytes,
                                   .placed = outbox->placed,
                                   .piece_at = outbox->piece_at };
}

/* The batch at the cursor, past those that were answered out of turn; NULL: there is none. */
static struct outbox_batch *at_cursor(const struct outbox *outbox, struct outbox_cursor *cursor)
{
    while (cursor->batch < outbox->end && cursor->piece_at == 0
           && (*slot(outbox, cursor->batch))->answered)
        cursor->batch++;
    struct outbox_batch *batch =
        cursor->batch < outbox->end ? *slot(outbox, cursor->batch) : outbox->open;
    return batch != NULL && batch->count > 0 ? batch : NULL;
}

static void move_on(struct outbox_cursor *cursor, const struct outbox_batch *batch, uint32_t size)
{
    cursor->piece_at += size;
    if (cursor->piece_at < batch->size)
        return;
    cursor->piece_at = 0;
    cursor->batch++;
}

enum outbox_step outbox_next(struct outbox *outbox, struct outbox_cursor *cursor,
                             struct leat_frame_publish *piece)
{
    const struct outbox_batch *batch = at_cursor(outbox, cursor);
    if (batch == NULL)
        return OUTBOX_NOTHING;
    if (cursor->piece_at == 0) {
        /* Looked at before sealing: a batch that must wait may as well grow. */
        if (batch->size > outbox->credit - cursor->sent_bytes)
            return OUTBOX_BLOCKED;
        if (cursor->batch == outbox->end && !seal_open(outbox))
            return OUTBOX_NOTHING;
        cursor->sent_bytes += batch->size;
    }
    const uint32_t left = batch->size - cursor->piece_at;
    piece->bytes = batch->bytes + cursor->piece_at;
    piece->size = left < LEAT_PUBLISH_PIECE_BYTES_MAX ? left : LEAT_PUBLISH_PIECE_BYTES_MAX;
    piece->piece_at = cursor->piece_at;
    piece->batch_size = batch->size;
    move_on(cursor, batch, piece->size);
    return OUTBOX_PIECE;
}

/* How much of the next `left` bytes goes into `room`; 0: too little to be worth a frame, or less
 * than the header by which the broker knows a batch. */
static uint32_t piece_size(uint32_t left, uint32_t room)
{
    if (room >= left)
        return left;
    return room >= LEAT_BATCH_HEADER_BYTES ? room : 0;
}

enum outbox_step outbox_next_at(struct outbox *outbox, struct outbox_cursor *cursor, uint32_t room,
                                struct outbox_piece *piece)
{
    struct outbox_batch *batch = at_cursor(outbox, cursor);
    if (batch == NULL)
        return OUTBOX_NOTHING;
    const bool is_placed = cursor->batch < cursor->placed;
    if (!is_placed && batch->size > outbox->credit - cursor->sent_bytes)
        return OUTBOX_BLOCKED;
    const uint32_t size = piece_size(batch->size - cursor->piece_at, room);
    if (size == 0)
        return OUTBOX_FULL;
    if (cursor->batch == outbox->end && !seal_open(outbox))
        return OUTBOX_NOTHING;
    if (!is_placed) {
        /* Should the cursor not be committed, the same batch gets the same place next time. */
        batch->position = cursor->sent_bytes;
        cursor->sent_bytes += batch->size;
        cursor->placed = cursor->batch + 1;
    }
    *piece = (struct outbox_piece){ .bytes = batch->bytes + cursor->piece_at,
                                    .position = batch->position + cursor->piece_at,
                                    .size = size,
                                    .ends = cursor->piece_at + size == batch->size };
    move_on(cursor, batch, size);
    return OUTBOX_PIECE;
}

enum outbox_step outbox_lost(const struct outbox *outbox, uint64_t position, uint32_t size,
                             uint32_t room, struct outbox_piece *piece)
{
    const uint64_t end = outbox->placed < outbox->rewind ? outbox->placed : outbox->rewind;
    for (uint64_t i = outbox->first; i < end && i <= outbox->send; i++) {
        const struct outbox_batch *batch = *slot(outbox, i);
        if (batch->answered || position < batch->position
            || position - batch->position >= batch->size)
            continue;
        const uint32_t at = (uint32_t)(position - batch->position);
        if (i == outbox->send && at >= outbox->piece_at)
            return OUTBOX_NOTHING;
        const uint32_t left = size < batch->size - at ? size : batch->size - at;
        *piece = (struct outbox_piece){ .bytes = batch->bytes + at,
                                        .position = position,
                                        .size = piece_size(left, room) };
        piece->ends = at + piece->size == batch->size;
        return piece->size > 0 ? OUTBOX_PIECE : OUTBOX_FULL;
    }
    return OUTBOX_NOTHING;
}

/* Frees what is answered at the front, but not a batch whose pieces are being sent again. */
static void drop_answered(struct outbox *outbox)
{
    while (outbox->first < outbox->end && (*slot(outbox, outbox->first))->answered) {
        if (outbox->first == outbox->send && outbox->piece_at > 0)
            break;
        pool_give(outbox->pool, *slot(outbox, outbox->first));
        outbox->first++;
    }
    if (outbox->send < outbox->first)
        outbox->send = outbox->first;
    if (outbox->rewind < outbox->first)
        outbox->rewind = outbox->first;
}

void outbox_commit(struct outbox *outbox, const struct outbox_cursor *cursor)
{
    outbox->send = cursor->batch;
    outbox->piece_at = cursor->piece_at;
    outbox->sent_bytes = cursor->sent_bytes;
    outbox->placed = cursor->placed;
    drop_answered(outbox);
}

static bool asks_again(int16_t status)
{
    return status == LEAT_BUSY || status == LEAT_ERR_THROTTLED || status == LEAT_ERR_OUT_OF_ORDER;
}

bool outbox_ack(struct outbox *outbox, const struct leat_ack_run *run, outbox_answer *answer,
                void *context)
{
    bool again = false;
    /* Callbacks may append and so move `end`; never what lies before it. */
    for (uint64_t i = outbox->first; i < outbox->end; i++) {
        struct outbox_batch *batch = *slot(outbox, i);
        /* One answered out of turn may have a number of an earlier life, which says nothing. */
        if (batch->answered)
            continue;
        if (batch->base_sequence >= run->first_sequence + run->count)
            break;
        if (batch->base_sequence < run->first_sequence
            || batch->base_sequence + batch->count > run->first_sequence + run->count)
            continue;
        if (asks_again(run->status)) {
            if (i < outbox->rewind)
                outbox->rewind = i;
            again = true;
            break;
        }
        batch->answered = true;
        outbox->pending -= batch->count;
        answer(context, batch, run);
    }
    drop_answered(outbox);
    return again;
}

uint64_t outbox_first_unanswered(const struct outbox *outbox)
{
    for (uint64_t i = outbox->first; i < outbox->end; i++) {
        const struct outbox_batch *batch = *slot(outbox, i);
        if (!batch->answered)
            return batch->base_sequence;
    }
    return outbox->next_sequence;
}

void outbox_restart(struct outbox *outbox, uint64_t credit, const uint64_t *renumber_from)
{
    outbox->piece_at = 0;
    drop_answered(outbox);
    outbox->send = outbox->first;
    outbox->rewind = OUTBOX_NO_BATCH;
    outbox->credit = credit;
    outbox->sent_bytes = 0;
    outbox->placed = outbox->first;
    if (renumber_from == NULL)
        return;
    outbox->next_sequence = *renumber_from;
    for (uint64_t i = outbox->first; i < outbox->end; i++) {
        struct outbox_batch *batch = *slot(outbox, i);
        /* One that was answered out of turn is out of the count too, and is never sent. */
        if (batch->answered)
            continue;
        batch->base_sequence = outbox->next_sequence;
        outbox->next_sequence += batch->count;
        seal(outbox, batch);
    }
}

void outbox_close(struct outbox *outbox, int16_t status, outbox_answer *answer, void *context)
{
    const struct leat_ack_run run = { .base_offset = LEAT_OFFSET_NONE, .status = status };
    struct outbox_batch *open = outbox->open;
    outbox->open = NULL;
    while (outbox->first < outbox->end) {
        struct outbox_batch *batch = *slot(outbox, outbox->first++);
        if (!batch->answered) {
            outbox->pending -= batch->count;
            answer(context, batch, &run);
        }
        pool_give(outbox->pool, batch);
    }
    if (open != NULL) {
        outbox->pending -= open->count;
        answer(context, open, &run);
        pool_give(outbox->pool, open);
    }
    outbox->send = outbox->end;
    outbox->piece_at = 0;
    outbox->rewind = OUTBOX_NO_BATCH;
}

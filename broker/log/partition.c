/* Partition: one ordered log with its index, its producers' deduplication state and its required
 * readers. */
#include "broker/log/partition.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/log/partition_state.h"
#include "schema/crc32c.h"
#include "schema/frame.h"

enum {
    BUSY_FULL_US = 1000,   /* a required reader may have advanced by then */
    BUSY_OFFSETS_US = 500, /* a state file is being written */
    BUSY_PINNED_US = 50,
    BUSY_MEMORY_US = 100000,   /* others may have released some by then */
    RETAIN_BATCHES_MAX = 4096, /* dropped in one call */
};

/* ---- open, close, getters */

static uint32_t align_up(uint32_t size)
{
    return (size + LEAT_ALIGN - 1) / LEAT_ALIGN * LEAT_ALIGN;
}

uint32_t partition_largest_batch(uint64_t ring_bytes, uint32_t record_bytes_max)
{
    const uint32_t one_record = align_up(record_bytes_max + LEAT_BATCH_OVERHEAD_MAX);
    const uint64_t quarter = ring_bytes / 4;
    const uint32_t frame = LEAT_PUBLISH_PIECE_BYTES_MAX;
    const uint32_t many = quarter < frame ? (uint32_t)quarter : frame;
    return one_record > many ? one_record : many;
}

static bool options_are_right(const struct partition_options *o)
{
    return (o->ring_bytes & (o->ring_bytes - 1)) == 0 && o->ring_bytes >= LEAT_RING_BYTES_MIN
           && o->ring_bytes <= LEAT_RING_BYTES_LIMIT && o->record_bytes_max != 0
           && o->record_bytes_max <= LEAT_RECORD_BYTES_LIMIT && o->leader_epoch >= 1
           && partition_largest_batch(o->ring_bytes, o->record_bytes_max) <= o->ring_bytes / 4
           && o->certain_offset <= o->first_offset && o->first_offset <= o->offset_limit
           && o->first_position % LEAT_ALIGN == 0;
}

enum leat_error partition_open(struct partition **out, const struct partition_options *options,
                               struct logmem_budget *budget, uint64_t *missing_bytes)
{
    *missing_bytes = 0;
    if (!options_are_right(options))
        return LEAT_ERR_INVALID;
    struct partition *p = calloc(1, sizeof *p);
    if (p == NULL)
        return LEAT_ERR_NO_MEMORY;
    const uint32_t producers =
        options->producers_max != 0 ? options->producers_max : PARTITION_PRODUCERS_DEFAULT;
    enum leat_error error = index_open(&p->index, options->ring_bytes);
    if (error == LEAT_OK)
        error = producer_dedup_table_open(&p->producers, producers, options->memory);
    if (error == LEAT_OK)
        error = ringlog_open(&p->log, options->ring_bytes, options->first_position, budget,
                             missing_bytes);
    p->budget = budget;
    if (error != LEAT_OK) {
        partition_close(p);
        return error;
    }
    const uint64_t keep = options->retention_bytes;
    p->options = *options;
    p->keep_bytes = keep != 0 && keep < options->ring_bytes ? keep : options->ring_bytes;
    p->record_bytes_max = options->record_bytes_max;
    p->batch_bytes_max = partition_largest_batch(options->ring_bytes, options->record_bytes_max);
    p->leader_epoch = options->leader_epoch;
    p->overrun = options->overrun;
    partition_set(&p->head_position, options->first_position);
    partition_set(&p->tail_position, options->first_position);
    partition_set(&p->head_offset, options->first_offset);
    partition_set(&p->next_offset, options->first_offset);
    partition_offset_limit(p, options->offset_limit);
    *out = p;
    return LEAT_OK;
}

void partition_close(struct partition *p)
{
    if (p == NULL)
        return;
    ringlog_close(&p->log, p->budget);
    producer_dedup_table_close(p->producers);
    index_close(&p->index);
    free(p);
}

uint64_t partition_topic_id(const struct partition *p)
{
    return p->options.topic_id;
}

uint32_t partition_index(const struct partition *p)
{
    return p->options.index;
}

uint64_t partition_log_epoch(const struct partition *p)
{
    return p->options.log_epoch;
}

uint64_t partition_certain_offset(const struct partition *p)
{
    return p->options.certain_offset;
}

uint32_t partition_batch_bytes_max(const struct partition *p)
{
    return p->batch_bytes_max;
}

bool partition_hugepages(const struct partition *p)
{
    return p->log.mem.hugepages;
}

/* ---- eviction */

static void drop_oldest(struct partition *p)
{
    const uint8_t *wire = ringlog_at(&p->log, p->log.head);
    partition_add(&p->evicted_records, leat_batch_count_at(wire));
    ringlog_release(&p->log, p->log.head + leat_batch_size_at(wire));
    partition_set(&p->head_position, p->log.head);
    wire = ringlog_at(&p->log, p->log.head); /* the next oldest */
    partition_set(&p->head_offset, p->log.head != p->log.tail ? leat_batch_offset_at(wire)
                                                              : partition_get(&p->next_offset));
}

/* Bytes from this position on may not be dropped, because required readers have not consumed
 * them. */
static uint64_t protected_from(const struct partition *p)
{
    return p->overrun == PARTITION_BLOCK ? required_readers_lowest(&p->required) : UINT64_MAX;
}

/* True when the batch at `position` is wholly below `held`. A mark may point into a batch, because
 * readers are sent slices that are cut anywhere. */
static bool droppable(const struct partition *p, uint64_t position, uint64_t held)
{
    return held == UINT64_MAX
           || position + leat_batch_size_at(ringlog_at(&p->log, position)) <= held;
}

/* True when a log that ends at `end` fits the ring without dropping anything that is held. */
static bool fits(const struct partition *p, uint64_t end, uint64_t held)
{
    if (held == UINT64_MAX)
        return true;
    for (uint64_t at = p->log.head; end - at > p->log.mem.size;
         at += leat_batch_size_at(ringlog_at(&p->log, at)))
        if (!droppable(p, at, held))
            return false;
    return true;
}

/* Makes room for `size` bytes within the ring and the retention. False: required readers hold the
 * room; nothing was dropped. */
static bool make_room(struct partition *p, uint64_t size)
{
    const uint64_t held = protected_from(p);
    const uint64_t end = p->log.tail + size;
    if (!fits(p, end, held))
        return false;
    while (end - p->log.head > p->log.mem.size) {
        drop_oldest(p);
        p->overran_position = p->log.head;
    }
    while (end - p->log.head > p->keep_bytes && p->log.head != p->log.tail
           && droppable(p, p->log.head, held))
        drop_oldest(p);
    return true;
}

void partition_see_clock(struct partition *p, leat_ns now, uint64_t wall_ns)
{
    times_see(&p->times, p->log.head, p->log.tail, now, wall_ns);
}

unsigned partition_retain(struct partition *p, leat_ns now,
                          struct required_lost lost[REQUIRED_READERS_MAX])
{
    if (p->options.retention_ns != 0) {
        const uint64_t held = protected_from(p);
        for (int i = 0; i < RETAIN_BATCHES_MAX && p->log.head != p->log.tail; i++) {
            const struct leat_batch oldest = partition_batch_at(p, p->log.head);
            const leat_ns age = times_age(&p->times, p->log.head, oldest.append_time_ns, now);
            if (!droppable(p, p->log.head, held) || age < p->options.retention_ns)
                break;
            drop_oldest(p);
        }
    }
    const unsigned count =
        required_readers_expire(&p->required, now, p->options.required_timeout_ns, lost);
    partition_add(&p->required_lost, count);
    return count;
}

/* ---- in */

static void busy(struct partition *p, struct publish_result *result, uint32_t retry_after_us)
{
    partition_add(&p->busy, 1);
    result->status = LEAT_BUSY;
    result->retry_after_us = retry_after_us;
}

/* A final refusal: it consumes the sequence. */
static void refuse(struct partition *p, struct producer_dedup *producer, uint32_t crc,
                   struct publish_result *result, enum leat_error status)
{
    partition_add(&p->refused, 1);
    result->status = status;
    producer_dedup_record(producer, result->first_sequence, result->count, crc, status,
                          LEAT_OFFSET_NONE);
}

/* False: *result is the answer, from the producer's state. *result must be empty before. */
static bool is_new(struct partition *p, struct producer_dedup *producer,
                   const struct leat_batch *batch, struct publish_result *result)
{
    result->first_sequence = batch->base_sequence;
    result->count = batch->record_count;
    if (batch->producer_id != producer_dedup_id(producer)) {
        result->status = LEAT_ERR_FENCED;
        return false;
    }
    const struct producer_dedup_verdict verdict = producer_dedup_check(
        producer, batch->producer_epoch, batch->base_sequence, batch->record_count, batch->crc32c);
    result->status = verdict.status;
    result->base_offset = verdict.base_offset;
    if (verdict.status == LEAT_OK && !verdict.answered)
        return true;
    if (verdict.answered)
        partition_add(&p->duplicates, 1);
    else if (verdict.status == LEAT_BUSY)
        busy(p, result, BUSY_MEMORY_US);
    return false;
}

static void append(struct partition *p, const uint8_t *bytes, const struct leat_batch *batch,
                   leat_ns now, uint64_t wall_ns, uint64_t base_offset)
{
    const uint64_t position = p->log.tail;
    const uint64_t time = times_stamp(&p->times, p->log.head, position, now, wall_ns);
    index_note(&p->index, position, base_offset, now);
    /* Copy once, then stamp in place: for a small batch a second copy would cost more. */
    ringlog_append(&p->log, bytes, batch->size);
    leat_batch_stamp(ringlog_at(&p->log, position), base_offset, time, p->leader_epoch);
    logmem_written(&p->log.mem, position & p->log.mask, LEAT_BATCH_STAMP_BYTES);
    partition_set(&p->next_offset, base_offset + batch->record_count);
    partition_set(&p->tail_position, p->log.tail);
    partition_add(&p->batches_in, 1);
    partition_add(&p->records_in, batch->record_count);
    partition_add(&p->bytes_in, batch->size);
}

/* Damaged bytes neither fence a producer nor count as a duplicate: the producer sends the batch
 * again. The records are not checked, because a second caller of leat_batch_check would keep the
 * compiler from inlining it into partition_publish. */
__attribute__((noinline, cold)) static void check_damage(struct partition *p, const uint8_t *bytes,
                                                         uint32_t size, uint32_t crc,
                                                         struct publish_result *result)
{
    if (leat_crc32c(bytes + LEAT_BATCH_CRC_FROM, size - LEAT_BATCH_CRC_FROM) != crc)
        result->status = LEAT_ERR_OUT_OF_ORDER;
    else if (result->status == LEAT_ERR_DUPLICATE)
        partition_add(&p->duplicates, 1);
}

/* Records which required readers keep `size` bytes from being appended, and since when. */
__attribute__((noinline, cold)) static void note_hold(struct partition *p, uint64_t size,
                                                      leat_ns now)
{
    uint64_t needed = p->log.head;
    while (p->log.tail + size - needed > p->log.mem.size)
        needed += leat_batch_size_at(ringlog_at(&p->log, needed));
    required_readers_hold(&p->required, needed, now);
    p->held = true;
}

void partition_publish(struct partition *p, struct producer_dedup *producer, const uint8_t *bytes,
                       size_t size, leat_ns now, uint64_t wall_ns, struct publish_result *result)
{
    struct leat_batch batch;
    *result = (struct publish_result){ .base_offset = LEAT_OFFSET_NONE };
    result->status = leat_batch_parse(&batch, bytes, size);
    if (result->status == LEAT_AGAIN || (result->status == LEAT_OK && batch.size != size))
        result->status = LEAT_ERR_MALFORMED;
    if (result->status != LEAT_OK)
        return;
    if (!is_new(p, producer, &batch, result)) {
        if (result->status == LEAT_ERR_FENCED || result->status == LEAT_ERR_DUPLICATE)
            check_damage(p, bytes, batch.size, batch.crc32c, result);
        return;
    }
    if (batch.size > p->batch_bytes_max) {
        refuse(p, producer, batch.crc32c, result, LEAT_ERR_TOO_LARGE);
        return;
    }
    const uint64_t base_offset = partition_get(&p->next_offset);
    if (batch.record_count > p->offset_limit - base_offset) {
        busy(p, result, BUSY_OFFSETS_US);
        return;
    }
    const enum leat_error error = leat_batch_check(&batch, bytes, p->record_bytes_max);
    if (error == LEAT_ERR_BAD_CRC) {
        result->status = error;
        return;
    }
    if (error != LEAT_OK) {
        refuse(p, producer, batch.crc32c, result, error);
        return;
    }
    if (ringlog_pinned(&p->log, batch.size)) {
        p->pinned = true;
        busy(p, result, BUSY_PINNED_US);
        return;
    }
    if (!make_room(p, batch.size)) {
        note_hold(p, batch.size, now);
        busy(p, result, BUSY_FULL_US);
        return;
    }
    append(p, bytes, &batch, now, wall_ns, base_offset);
    result->base_offset = base_offset;
    producer_dedup_record(producer, batch.base_sequence, batch.record_count, batch.crc32c, LEAT_OK,
                          base_offset);
}

void partition_refuse(struct partition *p, struct producer_dedup *producer,
                      const uint8_t header[LEAT_BATCH_HEADER_BYTES], enum leat_error status,
                      struct publish_result *result)
{
    struct leat_batch batch;
    *result = (struct publish_result){ .base_offset = LEAT_OFFSET_NONE };
    result->status = leat_batch_parse(&batch, header, LEAT_BATCH_HEADER_BYTES);
    if (result->status != LEAT_OK)
        return;
    if (is_new(p, producer, &batch, result))
        refuse(p, producer, batch.crc32c, result, status);
    else if (result->status == LEAT_ERR_FENCED || result->status == LEAT_ERR_DUPLICATE)
        result->status = status; /* its CRC cannot be checked, but it is known not to be appended */
}

void partition_offset_limit(struct partition *p, uint64_t limit)
{
    p->offset_limit = limit;
    p->asked = limit == LEAT_OFFSET_NONE;
    const uint64_t next = partition_get(&p->next_offset);
    p->wants_below = limit > next ? (limit - next) / 2 : 0;
}

bool partition_wants_offsets(struct partition *p)
{
    if (p->asked || p->offset_limit - partition_get(&p->next_offset) > p->wants_below)
        return false;
    p->asked = true;
    return true;
}

/* ---- out */

uint64_t partition_head(const struct partition *p)
{
    return p->log.head;
}

uint64_t partition_head_offset(const struct partition *p)
{
    return partition_get(&p->head_offset);
}

uint64_t partition_visible(const struct partition *p)
{
    return p->log.tail;
}

uint64_t partition_next_offset(const struct partition *p)
{
    return partition_get(&p->next_offset);
}

const uint8_t *partition_slice(const struct partition *p, uint64_t position, uint64_t max,
                               uint64_t *size)
{
    assert(position >= p->log.head && position < p->log.tail);
    const uint64_t left = p->log.tail - position;
    *size = left < max ? left : max;
    return ringlog_at(&p->log, position);
}

bool partition_pin(struct partition *p, uint64_t position, uint32_t size, uint32_t *chunk)
{
    const bool in_one = position / LEAT_CHUNK_BYTES == (position + size - 1) / LEAT_CHUNK_BYTES;
    if (!in_one || p->log.tail - position > p->log.mem.size / 2)
        return false;
    *chunk = ringlog_pin(&p->log, position, size);
    return true;
}

void partition_unpin(struct partition *p, uint32_t chunk)
{
    ringlog_unpin(&p->log, chunk);
}

bool partition_is_pinned(const struct partition *p)
{
    return ringlog_any_pinned(&p->log);
}

bool partition_take_pinned(struct partition *p)
{
    const bool pinned = p->pinned;
    p->pinned = false;
    return pinned;
}

uint64_t partition_room_above(const struct partition *p, uint64_t position)
{
    const uint64_t after = p->log.tail - position;
    return position < p->log.head || after > p->keep_bytes ? 0 : p->keep_bytes - after;
}

leat_ns partition_age(const struct partition *p, uint64_t position, leat_ns now)
{
    return times_age(&p->times, position, partition_batch_at(p, position).append_time_ns, now);
}

bool partition_overran(const struct partition *p, uint64_t position)
{
    return position < p->overran_position;
}

/* ---- readers, producers, statistics */

bool partition_take_held(struct partition *p, uint64_t *name_hash)
{
    const bool held = p->held && p->required.count != 0;
    p->held = false;
    if (held)
        *name_hash = required_readers_lowest_name(&p->required);
    return held;
}

int partition_required_attach(struct partition *p, uint64_t name_hash, uint64_t position,
                              struct maker maker, uint64_t *given_up)
{
    const int handle = required_readers_attach(&p->required, name_hash, position, maker, given_up);
    partition_add(&p->required_lost, *given_up != 0);
    return handle;
}

void partition_required_advance(struct partition *p, int handle, uint64_t position)
{
    required_readers_advance(&p->required, handle, position);
}

void partition_required_detach(struct partition *p, int handle, leat_ns now)
{
    required_readers_detach(&p->required, handle, now);
}

struct producer_dedup_table *partition_producers(struct partition *p)
{
    return p->producers;
}

void partition_stats(const struct partition *p, struct partition_stats *out)
{
    *out = (struct partition_stats){
        .head_position = partition_get(&p->head_position),
        .tail_position = partition_get(&p->tail_position),
        .head_offset = partition_get(&p->head_offset),
        .next_offset = partition_get(&p->next_offset),
        .batches_in = partition_get(&p->batches_in),
        .records_in = partition_get(&p->records_in),
        .bytes_in = partition_get(&p->bytes_in),
        .duplicates = partition_get(&p->duplicates),
        .refused = partition_get(&p->refused),
        .busy = partition_get(&p->busy),
        .evicted_records = partition_get(&p->evicted_records),
        .required_lost = partition_get(&p->required_lost),
    };
}

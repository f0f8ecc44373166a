/* One partition as a consumer receives it: a window with the log's bytes, the batches and gaps in
 * it, and the broker's credit. */
#include "client/partition_stream.h"

#include <assert.h>
#include <string.h>

enum {
    CREDIT_SHARE = 4, /* credit is renewed after 1/CREDIT_SHARE of the window was released */
    LINE_BYTES = 64,
    AHEAD_BYTES = 4 * LINE_BYTES, /* beyond that the hardware prefetcher takes over */
};

void partition_stream_init(struct partition_stream *stream, uint8_t *bytes, uint64_t mask,
                           uint64_t window)
{
    assert(window <= mask + 1);
    stream->bytes = bytes;
    stream->mask = mask;
    stream->window = window;
}

uint64_t partition_stream_wanted(const struct partition_stream *stream)
{
    return stream->opening != 0 ? stream->opening_offset : stream->next_offset;
}

static const uint8_t *at(const struct partition_stream *stream, uint64_t position)
{
    return stream->bytes + (position & stream->mask);
}

/* True if gap number `from` is at `position`. */
static bool gap_at(const struct partition_stream *stream, uint32_t from, uint64_t position)
{
    return from < stream->gap_count && stream->gaps[from].at == position;
}

/* Notes that records below `offset` are in the log. */
static void see(struct partition_stream *stream, uint64_t offset)
{
    if (stream->seen_offset < offset)
        stream->seen_offset = offset;
}

/* Notes the records in data that has arrived and is dropped. */
static void see_arrived(struct partition_stream *stream)
{
    struct leat_batch batch;
    see(stream, stream->next_offset);
    for (uint64_t position = stream->read; position < stream->tail; position += batch.size) {
        if (gap_at(stream, 0, position))
            return; /* the rest may stay unseen: `seen` is only a lower bound */
        if (leat_batch_parse(&batch, at(stream, position), stream->tail - position) != LEAT_OK
            || batch.size > stream->tail - position)
            return;
        see(stream, batch.base_offset + batch.record_count);
    }
}

void partition_stream_stop(struct partition_stream *stream)
{
    if (stream->started && stream->opening == 0)
        see_arrived(stream);
    stream->started = false;
    stream->in_batch = false;
    stream->gap_count = 0;
    stream->read = stream->tail = stream->released;
}

void partition_stream_place(struct partition_stream *stream, uint64_t offset, uint64_t log_epoch)
{
    partition_stream_stop(stream);
    if (stream->log_epoch != log_epoch)
        stream->seen_offset = 0;
    see(stream, offset);
    stream->opening = 0;
    stream->next_offset = offset;
    stream->log_epoch = log_epoch;
}

static void open_with(struct partition_stream *stream, enum partition_stream_event event,
                      uint64_t offset, uint8_t reason)
{
    if (stream->opening == 0)
        stream->opening_seen = stream->seen_offset;
    /* An unreported opening may be more important: a reset, or a restart of the broker. */
    if (stream->opening == 0 || event == PARTITION_STREAM_RESET) {
        stream->opening = event;
        stream->opening_reason = reason;
    } else if (reason == LEAT_REASON_LOG_RESTARTED) {
        stream->opening_reason = reason;
    }
    stream->opening_offset = offset;
}

void partition_stream_start(struct partition_stream *stream,
                            const struct partition_stream_start *start)
{
    const uint64_t wanted = partition_stream_wanted(stream);
    const bool same_log = stream->log_epoch == start->log_epoch;
    partition_stream_stop(stream);
    if (stream->log_epoch != 0 && !same_log && start->anew) {
        open_with(stream, PARTITION_STREAM_RESET, start->offset, 0);
    } else if (!start->resumed && stream->opening == PARTITION_STREAM_RESET) {
        stream->opening_offset = start->offset; /* not reported yet to an application that seeks */
    } else if (!start->resumed) {
        stream->opening = 0; /* partition_stream_take_loss() reported it before the seek */
        stream->next_offset = start->offset;
    } else if (start->offset < wanted && !same_log) {
        open_with(stream, PARTITION_STREAM_RESET, start->offset, 0);
    } else if (start->offset > wanted) {
        open_with(stream, PARTITION_STREAM_GAP, start->offset,
                  same_log ? LEAT_REASON_OVERRUN : LEAT_REASON_LOG_RESTARTED);
    }
    if (!same_log)
        stream->seen_offset = 0;
    see(stream, start->seen_offset);
    stream->opening_certain = start->certain_offset;
    stream->log_epoch = start->log_epoch;
    stream->read = stream->tail = stream->released = start->position;
    stream->limit = stream->credited = start->position;
    stream_map_init(&stream->arrived, start->position);
    stream->record_offset = LEAT_OFFSET_NONE;
    stream->uncovered = start->uncovered;
    stream->blocked = false;
    stream->dead = false;
    stream->started = true;
    stream->credit_held = stream->borrowed;
}

enum leat_error partition_stream_data_in_order(struct partition_stream *stream, uint64_t position,
                                               uint32_t size, uint8_t **into)
{
    if (!stream->started || position != stream->tail || stream->limit < position
        || size > stream->limit - position)
        return LEAT_ERR_PROTOCOL;
    *into = stream->bytes + (position & stream->mask);
    return LEAT_OK;
}

void partition_stream_arrived(struct partition_stream *stream, uint32_t size)
{
    stream->tail += size;
}

/* The position where the last whole batch after `read` ends. */
static uint64_t whole_end(const struct partition_stream *stream)
{
    uint64_t position = stream->read;
    uint32_t gap = 0;
    if (stream->in_batch)
        position += stream->batch.size;
    for (;;) {
        while (gap_at(stream, gap, position))
            position = stream->gaps[gap++].gap.position;
        struct leat_batch batch;
        if (position >= stream->tail
            || leat_batch_parse(&batch, at(stream, position), stream->tail - position) != LEAT_OK
            || batch.size > stream->tail - position)
            return position;
        position += batch.size;
    }
}

/* Notes a gap at `end`, the end of whole batches; an unfinished batch after it is dropped. */
static void note_gap(struct partition_stream *stream, const struct leat_frame_gap *gap,
                     uint64_t end)
{
    if (stream->gap_count == PARTITION_STREAM_GAPS_MAX) {
        /* Too many unread gaps: data after the last one is dropped and reported as lost with this
         * gap. */
        stream->gaps[PARTITION_STREAM_GAPS_MAX - 1].gap = *gap;
    } else if (stream->gap_count > 0 && gap->reason != LEAT_REASON_TOPIC_DELETED
               && stream->gaps[stream->gap_count - 1].gap.position == end) {
        stream->gaps[stream->gap_count - 1].gap = *gap; /* no data between the two gaps */
    } else {
        stream->gaps[stream->gap_count].at = end;
        stream->gaps[stream->gap_count].gap = *gap;
        stream->gap_count++;
    }
    stream->tail = gap->position > end ? gap->position : end;
    stream->blocked = false;
}

enum leat_error partition_stream_gap_in_order(struct partition_stream *stream,
                                              const struct leat_frame_gap *gap)
{
    if (!stream->started)
        return LEAT_ERR_PROTOCOL;
    const uint64_t end = whole_end(stream);
    if (gap->position < end && gap->reason != LEAT_REASON_TOPIC_DELETED)
        return LEAT_ERR_PROTOCOL;
    note_gap(stream, gap, end);
    return LEAT_OK;
}

static bool is_deleted(const struct partition_stream *stream)
{
    return stream->gap_count > 0
           && stream->gaps[stream->gap_count - 1].gap.reason == LEAT_REASON_TOPIC_DELETED;
}

/* Prefetch the memory ahead: it was last touched one turn of the window ago. The next slice then
 * does not wait for memory. */
static void fetch_ahead(const struct partition_stream *stream)
{
    const uint8_t *next = at(stream, stream->tail);
    for (int ahead = 0; ahead < AHEAD_BYTES; ahead += LINE_BYTES)
        __builtin_prefetch(next + ahead, 1);
}

bool partition_stream_ends(const struct partition_stream *stream)
{
    return stream->dead || is_deleted(stream);
}

bool partition_stream_data_any_order(struct partition_stream *stream, uint64_t position,
                                     const uint8_t *bytes, uint32_t size)
{
    if (!stream->started || is_deleted(stream))
        return true; /* no longer wanted */
    if (position < stream->tail && size <= stream->tail - position)
        return true;
    if (stream->limit < position || size > stream->limit - position)
        return false;
    if (stream_map_add(&stream->arrived, position, size) == STREAM_FULL)
        return false;
    /* Data that arrived before is not overwritten: the application may hold records in it. */
    const uint32_t old = position < stream->tail ? (uint32_t)(stream->tail - position) : 0;
    memcpy(stream->bytes + ((position + old) & stream->mask), bytes + old, size - old);
    stream->tail = stream->arrived.next;
    fetch_ahead(stream);
    return true;
}

void partition_stream_gap_any_order(struct partition_stream *stream,
                                    const struct leat_frame_gap *gap)
{
    const bool deleted = gap->reason == LEAT_REASON_TOPIC_DELETED;
    if (!stream->started || is_deleted(stream) || (gap->position <= stream->tail && !deleted))
        return;
    note_gap(stream, gap, whole_end(stream));
    /* Pieces that arrived beyond the gap are joined; pieces before it are dropped. */
    stream_map_skip(&stream->arrived, stream->tail);
    stream->tail = stream->arrived.next;
}

bool partition_stream_ready(const struct partition_stream *stream)
{
    if (stream->opening != 0)
        return true;
    if (stream->dead || !stream->started)
        return false;
    if (stream->in_batch || gap_at(stream, 0, stream->read))
        return true;
    struct leat_batch batch;
    const enum leat_error error =
        leat_batch_parse(&batch, at(stream, stream->read), stream->tail - stream->read);
    if (error != LEAT_OK)
        return error != LEAT_AGAIN; /* a header that does not parse is an event */
    return batch.size <= stream->tail - stream->read || batch.size > stream->window;
}

static void tell_opening(struct partition_stream *stream, struct partition_stream_news *news)
{
    *news = (struct partition_stream_news){ .event = stream->opening,
                                            .first_offset = stream->next_offset,
                                            .next_offset = stream->opening_offset,
                                            .seen_offset = stream->opening_seen,
                                            .certain_offset = stream->opening_certain,
                                            .reason = stream->opening_reason };
    stream->next_offset = stream->opening_offset;
    stream->opening = 0;
}

/* Fills in a TOPIC_DELETED from the last gap. A broker that repeats the gap may no longer know the
 * log's end. */
static void say_end(struct partition_stream *stream, const struct leat_frame_gap *gap,
                    struct partition_stream_news *news)
{
    const bool known = gap->log_epoch == stream->log_epoch && gap->offset >= stream->next_offset;
    *news = (struct partition_stream_news){ .event = PARTITION_STREAM_DELETED,
                                            .first_offset = stream->next_offset,
                                            .next_offset = known ? gap->offset : LEAT_OFFSET_NONE,
                                            .seen_offset = stream->seen_offset };
    stream->dead = true;
}

/* Takes the gap at `read`. False: there is nothing to report. */
static bool take_gap(struct partition_stream *stream, struct partition_stream_news *news)
{
    const struct leat_frame_gap gap = stream->gaps[0].gap;
    stream->gap_count--;
    memmove(&stream->gaps[0], &stream->gaps[1], stream->gap_count * sizeof stream->gaps[0]);
    if (gap.position > stream->read)
        stream->read = gap.position;
    *news = (struct partition_stream_news){ .event = PARTITION_STREAM_GAP,
                                            .first_offset = stream->next_offset,
                                            .next_offset = stream->next_offset,
                                            .seen_offset = stream->seen_offset,
                                            .reason = gap.reason };
    if (gap.reason == LEAT_REASON_TOPIC_DELETED) {
        say_end(stream, &gap, news);
        return true;
    }
    const bool lost = gap.offset > stream->next_offset;
    if (gap.log_epoch != stream->log_epoch && gap.offset < stream->next_offset)
        news->event = PARTITION_STREAM_RESET;
    else if (!lost)
        return false;
    stream->log_epoch = gap.log_epoch;
    news->next_offset = gap.offset;
    stream->next_offset = gap.offset;
    return true;
}

bool partition_stream_end_comes(const struct partition_stream *stream)
{
    return stream->started && !stream->dead && is_deleted(stream);
}

void partition_stream_end(struct partition_stream *stream, struct partition_stream_news *news)
{
    struct leat_frame_gap end = { .offset = LEAT_OFFSET_NONE, .log_epoch = stream->log_epoch };
    if (is_deleted(stream))
        end = stream->gaps[stream->gap_count - 1].gap;
    partition_stream_stop(stream);
    say_end(stream, &end, news);
}

static void damaged(struct partition_stream *stream, struct partition_stream_news *news)
{
    *news = (struct partition_stream_news){ .event = PARTITION_STREAM_DAMAGED,
                                            .first_offset = stream->next_offset,
                                            .next_offset = stream->next_offset,
                                            .error = LEAT_ERR_BAD_CRC };
    stream->started = false; /* data after it is not looked at either when the stream stops */
}

/* Handles a batch at `read` that failed its checks: [next_offset, next) is lost. */
static void bad_batch(struct partition_stream *stream, enum leat_error error, uint64_t next,
                      struct partition_stream_news *news)
{
    if (stream->uncovered) {
        damaged(stream, news);
        return;
    }
    *news = (struct partition_stream_news){ .event = PARTITION_STREAM_BAD_BATCH,
                                            .first_offset = stream->next_offset,
                                            .next_offset = next,
                                            .error = error };
    stream->dead = next == stream->next_offset;
    stream->next_offset = next;
}

static bool is_control(const struct leat_batch *batch)
{
    return (batch->attributes & LEAT_BATCH_CONTROL) != 0;
}

/* Called for a batch that would be skipped, or does not begin where the last one ended. True if the
 * broker cannot have sent it. The batch's own CRC does not cover offsets. After a start, the first
 * batches may begin below the wanted offset. Holes and control batches are rare: they are only
 * believed where checksums cover all bytes. */
static bool is_doubtful(const struct partition_stream *stream, const struct leat_batch *batch)
{
    const bool began = stream->record_offset != LEAT_OFFSET_NONE;
    return stream->uncovered
           && (began || batch->base_offset > stream->next_offset || is_control(batch));
}

enum begin {
    BEGIN_NOTHING,
    BEGIN_RECORDS, /* the batch at `read` is in use */
    BEGIN_SKIPPED, /* no record in it is wanted */
    BEGIN_NEWS,
};

/* Begins the batch at `read`. */
static enum begin begin_batch(struct partition_stream *stream, bool may_tell,
                              struct partition_stream_news *news)
{
    struct leat_batch batch;
    const uint8_t *bytes = at(stream, stream->read);
    const uint64_t have = stream->tail - stream->read;
    enum leat_error error = leat_batch_parse(&batch, bytes, have);
    if (error == LEAT_OK && batch.size > stream->window)
        error = LEAT_ERR_TOO_LARGE;
    if (error == LEAT_AGAIN || (error == LEAT_OK && batch.size > have))
        return BEGIN_NOTHING;
    if (error != LEAT_OK) { /* so the beginning of the next batch is unknown too */
        if (may_tell)
            bad_batch(stream, error, stream->next_offset, news);
        return may_tell ? BEGIN_NEWS : BEGIN_NOTHING;
    }
    const uint64_t end = batch.base_offset + batch.record_count;
    if ((batch.base_offset != stream->next_offset || is_control(&batch))
        && is_doubtful(stream, &batch)) {
        if (may_tell)
            damaged(stream, news);
        return may_tell ? BEGIN_NEWS : BEGIN_NOTHING;
    }
    if (end <= stream->next_offset || is_control(&batch)) {
        stream->read += batch.size;
        return BEGIN_SKIPPED;
    }
    if (batch.base_offset > stream->next_offset) { /* a hole that the broker did not report */
        if (!may_tell)
            return BEGIN_NOTHING;
        *news = (struct partition_stream_news){ .event = PARTITION_STREAM_GAP,
                                                .first_offset = stream->next_offset,
                                                .next_offset = batch.base_offset };
        stream->next_offset = batch.base_offset;
        return BEGIN_NEWS;
    }
    if (!stream->skip_crc) {
        error = leat_batch_check(&batch, bytes, LEAT_RECORD_BYTES_LIMIT);
        if (error != LEAT_OK) {
            if (!may_tell)
                return BEGIN_NOTHING;
            bad_batch(stream, error, end, news);
            stream->read += batch.size;
            return BEGIN_NEWS;
        }
    }
    stream->batch = batch;
    stream->record_offset = batch.base_offset;
    stream->in_batch = true;
    leat_record_iterate(&stream->records, &stream->batch, bytes);
    return BEGIN_RECORDS;
}

bool partition_stream_take_loss(struct partition_stream *stream, struct partition_stream_news *news)
{
    if (stream->opening != 0) {
        tell_opening(stream, news);
        return true;
    }
    if (!stream->started || stream->dead || stream->in_batch || !gap_at(stream, 0, stream->read))
        return false;
    const struct leat_frame_gap *gap = &stream->gaps[0].gap;
    if (gap->reason == LEAT_REASON_TOPIC_DELETED || gap->log_epoch != stream->log_epoch
        || gap->offset <= stream->next_offset)
        return false;
    /* The stream keeps its position and has nothing more to report. */
    *news = (struct partition_stream_news){ .event = PARTITION_STREAM_GAP,
                                            .first_offset = stream->next_offset,
                                            .next_offset = gap->offset,
                                            .seen_offset = stream->seen_offset,
                                            .reason = gap->reason };
    stream->next_offset = gap->offset;
    return true;
}

enum partition_stream_item partition_stream_next(struct partition_stream *stream, bool may_tell,
                                                 struct leat_record_view *record,
                                                 struct partition_stream_news *news)
{
    for (;;) {
        if (stream->in_batch) {
            while (leat_record_next(&stream->records, record)) {
                if (stream->records.left == 0) {
                    stream->read += stream->batch.size;
                    stream->in_batch = false;
                }
                if (stream->record_offset++ >= stream->next_offset) {
                    stream->next_offset = stream->record_offset;
                    stream->borrowed = true;
                    return PARTITION_STREAM_RECORD;
                }
            }
            stream->in_batch = false;
        }
        if (stream->opening != 0) {
            if (!may_tell)
                return PARTITION_STREAM_NOTHING;
            tell_opening(stream, news);
            return PARTITION_STREAM_NEWS;
        }
        if (stream->dead || !stream->started)
            return PARTITION_STREAM_NOTHING;
        if (gap_at(stream, 0, stream->read)) {
            if (!may_tell)
                return PARTITION_STREAM_NOTHING;
            if (take_gap(stream, news))
                return PARTITION_STREAM_NEWS;
            continue;
        }
        const enum begin begun = begin_batch(stream, may_tell, news);
        if (begun == BEGIN_NOTHING)
            return PARTITION_STREAM_NOTHING;
        if (begun == BEGIN_NEWS)
            return PARTITION_STREAM_NEWS;
    }
}

void partition_stream_release(struct partition_stream *stream)
{
    stream->borrowed = false;
    stream->credit_held = false;
    stream->released = stream->read; /* for a batch in use, its beginning */
}

bool partition_stream_credit_due(const struct partition_stream *stream)
{
    if (!stream->started || stream->dead || stream->credit_held)
        return false;
    const uint64_t gained = stream->released - stream->credited;
    if (stream->limit == stream->credited) /* no credit given yet */
        return true;
    /* A broker blocked by the limit gets all credit there is: the rest of a batch may need it. */
    return gained >= stream->window / CREDIT_SHARE
           || (gained > 0 && (stream->blocked || stream->tail >= stream->limit));
}

bool partition_stream_credit(struct partition_stream *stream, struct leat_frame_credit *credit)
{
    if (!partition_stream_credit_due(stream))
        return false;
    stream->credited = stream->released;
    stream->limit = stream->released + stream->window;
    stream->blocked = false;
    credit->limit = stream->limit;
    credit->consumed = stream->released;
    return true;
}

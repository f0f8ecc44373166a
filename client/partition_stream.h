/* One partition as a consumer receives it: a window with the log's bytes, the batches and gaps in
 * it, and the broker's credit.
 *
 * Role: pure. DATA and GAP in, records and events out in log order, credit back. Over TCP they must
 * arrive in order (partition_stream_data_in_order, _gap_in_order). In packets they arrive in any
 * order and more than once (partition_stream_data_any_order, _gap_any_order). A stream uses one of
 * the two ways only.
 * Must not know: sockets, sessions, topics, clocks.
 * Threads: one per object.
 *
 *      released ....... read ....... tail ....... limit      positions in the partition's log
 *      [handed out,     [arrived,    [to come    released + window
 *       not to be        not yet
 *       overwritten]     handed out]
 *
 * The window is a ringmap: position p is at bytes[p & mask], and no batch wraps. */
#ifndef LEAT_CLIENT_PARTITION_STREAM_H
#define LEAT_CLIENT_PARTITION_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/batch.h"
#include "schema/frame.h"
#include "transport/stream.h"

enum { PARTITION_STREAM_GAPS_MAX = 8 };

enum partition_stream_event {
    PARTITION_STREAM_GAP = 1,
    PARTITION_STREAM_RESET,     /* the log restarted, with offsets below those seen before */
    PARTITION_STREAM_BAD_BATCH, /* [first, next) is skipped; the stream is dead if first == next */
    PARTITION_STREAM_DELETED,   /* next_offset is the log's end; LEAT_OFFSET_NONE: unknown */
    PARTITION_STREAM_DAMAGED,   /* the path has no full checksum, and the bytes cannot be right.
                                   Nothing was reported; nothing follows before a new start */
};

struct partition_stream_news {
    enum partition_stream_event event;
    uint64_t first_offset;
    uint64_t next_offset;
    uint64_t
        seen_offset; /* of a GAP, RESET or DELETED: records below it existed, as far as is known */
    uint64_t certain_offset; /* of a GAP: ... and records from here on (schema/loss.h) */
    uint8_t reason;          /* leat_reason, of a GAP; 0: the log itself has a hole */
    enum leat_error error;   /* of a BAD_BATCH */
};

struct partition_stream {
    uint8_t *bytes; /* a ringmap of mask + 1 bytes */
    uint64_t mask;
    uint64_t window; /* <= mask + 1 */

    uint64_t released;
    uint64_t read;
    uint64_t tail;
    uint64_t limit;    /* last credit given */
    uint64_t credited; /* `released` at that time */
    uint64_t log_epoch;
    uint64_t next_offset; /* lower bound on the offset of the next record handed out */
    uint64_t seen_offset; /* records below it are, or were, in the log of log_epoch */

    /* The batch at `read`, while it has records left. */
    struct leat_batch batch;
    struct leat_record_iterator records;
    uint64_t
        record_offset; /* of the iterator's next record; LEAT_OFFSET_NONE: none since the start */

    /* Gaps within the data that has arrived, in order. */
    struct {
        uint64_t at; /* position */
        struct leat_frame_gap gap;
    } gaps[PARTITION_STREAM_GAPS_MAX];
    uint32_t gap_count;

    struct stream_map arrived; /* pieces that arrived out of order; its `next` is the tail */

    /* What the last start reports before any record. */
    enum partition_stream_event opening; /* 0: nothing */
    uint64_t opening_offset;             /* records continue here */
    uint64_t opening_seen;               /* seen_offset of the log read before */
    uint64_t opening_certain;
    uint8_t opening_reason;

    bool skip_crc;
    bool uncovered;   /* see partition_stream_start */
    bool started;     /* a stream is open, so that credit may be given */
    bool in_batch;    /* batch and records are in use */
    bool borrowed;    /* the application holds records of this stream */
    bool credit_held; /* the new stream gets no credit until the records of the old one are released
                       */
    bool blocked;     /* the broker has data beyond the credit limit (BLOCKED) */
    bool dead;        /* nothing follows until a new start */
};

/* `bytes` is a ringmap of mask + 1 bytes and remains owned by the caller. */
void partition_stream_init(struct partition_stream *stream, uint8_t *bytes, uint64_t mask,
                           uint64_t window);

struct partition_stream_start {
    uint64_t position;
    uint64_t offset;
    uint64_t log_epoch;
    bool resumed;            /* the application has a position: report what lies between */
    bool anew;               /* if the log epoch differs, offsets restarted too */
    bool uncovered;          /* the path has no checksum over the bytes of batches */
    uint64_t seen_offset;    /* the broker's log has the records below it ... */
    uint64_t certain_offset; /* ... and from here on all offsets are records */
};

/* Starts a new stream. Data that has arrived and was not handed out is dropped. Records handed out
 * stay valid: no credit is given before they are released. */
void partition_stream_start(struct partition_stream *stream,
                            const struct partition_stream_start *start);
/* The connection was lost: data that has arrived is dropped. */
void partition_stream_stop(struct partition_stream *stream);
/* Sets the application's position to `offset` of `log_epoch`, whatever it read before. A `resumed`
 * start then reports what lies between. */
void partition_stream_place(struct partition_stream *stream, uint64_t offset, uint64_t log_epoch);

/* The offset at which a new stream should start, in log_epoch. */
uint64_t partition_stream_wanted(const struct partition_stream *stream);

/* Takes the header of a DATA frame and sets *into to where its bytes belong. LEAT_ERR_PROTOCOL: it
 * does not continue the last one, or exceeds the credit. */
enum leat_error partition_stream_data_in_order(struct partition_stream *stream, uint64_t position,
                                               uint32_t size, uint8_t **into);
/* `size` more bytes were written at *into. */
void partition_stream_arrived(struct partition_stream *stream, uint32_t size);

/* Takes a GAP. LEAT_ERR_PROTOCOL: it points below data that has arrived. */
enum leat_error partition_stream_gap_in_order(struct partition_stream *stream,
                                              const struct leat_frame_gap *gap);

/* Takes the bytes [position, position + size) of the log from a packet. False: they exceed the
 * credit, or too many pieces are outstanding already; the caller treats them as lost. */
bool partition_stream_data_any_order(struct partition_stream *stream, uint64_t position,
                                     const uint8_t *bytes, uint32_t size);
/* Takes a GAP from a packet. Ignores one that says nothing new. */
void partition_stream_gap_any_order(struct partition_stream *stream,
                                    const struct leat_frame_gap *gap);

/* True if the topic is gone, and data that has arrived is to be handed out first. */
bool partition_stream_end_comes(const struct partition_stream *stream);
/* Ends the stream because the topic is gone: fills *news with what is known of the log's end.
 * Losses at the opening must have been reported. */
void partition_stream_end(struct partition_stream *stream, struct partition_stream_news *news);

/* True if nothing follows: the topic is gone, or the stream is dead. */
bool partition_stream_ends(const struct partition_stream *stream);

/* True if partition_stream_next() has a record or an event. */
bool partition_stream_ready(const struct partition_stream *stream);

enum partition_stream_item {
    PARTITION_STREAM_NOTHING,
    PARTITION_STREAM_RECORD, /* *record, at *offset; its batch is stream->batch */
    PARTITION_STREAM_NEWS,
};

/* Gets a loss at the current position that was not reported yet: from the opening, or a gap before
 * all other data that has arrived. False: none. Separate from partition_stream_next(), which the
 * compiler inlines into its only caller. */
bool partition_stream_take_loss(struct partition_stream *stream,
                                struct partition_stream_news *news);

/* Gets the next record or event. With `may_tell` false, returns NOTHING before an event. */
enum partition_stream_item partition_stream_next(struct partition_stream *stream, bool may_tell,
                                                 struct leat_record_view *record,
                                                 struct partition_stream_news *news);

/* The application released every record handed out so far. */
void partition_stream_release(struct partition_stream *stream);

/* True if a CREDIT is due: fills it and counts it as sent. */
bool partition_stream_credit(struct partition_stream *stream, struct leat_frame_credit *credit);
/* True if partition_stream_credit() would give one. */
bool partition_stream_credit_due(const struct partition_stream *stream);

#endif

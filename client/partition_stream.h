/* One partition as a consumer receives it: the log's bytes in a window of memory, batches and gaps
 * cut out of them, and how far the broker may go on.
 *
 * Role: pure; DATA and GAP in, records and events out in log order, credit back. Over a byte stream
 * they come in order or the broker is wrong (partition_stream_data_in_order, _gap_in_order); in
 * packets they come in any order and more than once (partition_stream_data_any_order,
 * _gap_any_order). One stream comes one way.
 * Must not know: sockets, sessions, topics, clocks.
 * Threads: one per object.
 *
 *      released ....... read ....... tail ....... limit      positions in the partition's log
 *      [handed out,     [arrived,    [to come    released + window
 *       not to be        not yet
 *       overwritten]     handed out]
 *
 * The window is mirrored memory: position p lies at bytes[p & mask], and no batch wraps. */
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
    PARTITION_STREAM_RESET,     /* the log began anew below the offsets seen before */
    PARTITION_STREAM_BAD_BATCH, /* [first, next) is skipped; dead when first == next */
    PARTITION_STREAM_DELETED, /* next_offset is the log's end; LEAT_OFFSET_NONE: it is not known */
    PARTITION_STREAM_DAMAGED, /* no checksum of its way vouches for what came, and it cannot be
                                 right: nothing was told of it, and nothing follows before a new
                                 start */
};

struct partition_stream_news {
    enum partition_stream_event event;
    uint64_t first_offset;
    uint64_t next_offset;
    uint64_t seen_offset; /* of a GAP, RESET or DELETED: records below it were there, as far as is
                             known; */
    uint64_t certain_offset; /* of a GAP: ... and those from here on (schema/loss.h) */
    uint8_t reason;          /* leat_reason, of a GAP; 0: the log itself has a hole */
    enum leat_error error;   /* of a BAD_BATCH */
};

struct partition_stream {
    uint8_t *bytes; /* mirrored; mask + 1 of them */
    uint64_t mask;
    uint64_t window; /* <= mask + 1 */

    uint64_t released;
    uint64_t read;
    uint64_t tail;
    uint64_t limit;    /* last credit given */
    uint64_t credited; /* `released` when it was given */
    uint64_t log_epoch;
    uint64_t next_offset; /* of the record handed out next, or a higher one */
    uint64_t seen_offset; /* records below it are, or were, in the log of log_epoch */

    /* The batch at `read`, while records of it are left. */
    struct leat_batch batch;
    struct leat_record_iterator records;
    uint64_t
        record_offset; /* of the iterator's next record; LEAT_OFFSET_NONE: none since the start */

    /* Gaps among what has arrived, in order. */
    struct {
        uint64_t at; /* position */
        struct leat_frame_gap gap;
    } gaps[PARTITION_STREAM_GAPS_MAX];
    uint32_t gap_count;

    struct stream_map arrived; /* of pieces in any order: its `next` is the tail */

    /* What the last start has to say before any record. */
    enum partition_stream_event opening; /* 0: nothing */
    uint64_t opening_offset;             /* records go on here */
    uint64_t opening_seen;               /* seen_offset of the log that was read before */
    uint64_t opening_certain;
    uint8_t opening_reason;

    bool skip_crc;
    bool uncovered;   /* see partition_stream_start */
    bool started;     /* a stream is open: credit may be given */
    bool in_batch;    /* batch and records are in use */
    bool borrowed;    /* the application holds records of it */
    bool credit_held; /* a new stream waits until the records of the old one are given back */
    bool blocked;     /* the broker said it has more than the limit allows */
    bool dead;        /* nothing follows, until a new start */
};

/* `bytes` is mirrored memory of mask + 1 bytes, and stays the caller's. */
void partition_stream_init(struct partition_stream *stream, uint8_t *bytes, uint64_t mask,
                           uint64_t window);

struct partition_stream_start {
    uint64_t position;
    uint64_t offset;
    uint64_t log_epoch;
    bool resumed;            /* the application was somewhere: tell it what lies between */
    bool anew;               /* in a log of another epoch offsets began again */
    bool uncovered;          /* no checksum of its way vouches for the bytes */
    uint64_t seen_offset;    /* the broker said that its log has the records below it ... */
    uint64_t certain_offset; /* ... and that from here on all offsets are records */
};

/* A new stream: what had arrived and was not handed out is dropped. Records that are handed out
 * stay valid: no credit is given before they are given back. */
void partition_stream_start(struct partition_stream *stream,
                            const struct partition_stream_start *start);
/* The connection is gone; what had arrived is dropped. */
void partition_stream_stop(struct partition_stream *stream);
/* The application stands at `offset` of that life of the log, whatever it read before: a start that
 * `resumed` tells what lies between. */
void partition_stream_place(struct partition_stream *stream, uint64_t offset, uint64_t log_epoch);

/* Where a new stream should start, and the log that offset belongs to. */
uint64_t partition_stream_wanted(const struct partition_stream *stream);

/* The head of a DATA frame: *into is where its bytes belong.
 * LEAT_ERR_PROTOCOL: not where the last one ended, or beyond the credit. */
enum leat_error partition_stream_data_in_order(struct partition_stream *stream, uint64_t position,
                                               uint32_t size, uint8_t **into);
/* `size` more bytes of it are there. */
void partition_stream_arrived(struct partition_stream *stream, uint32_t size);

/* LEAT_ERR_PROTOCOL: it points below what has arrived. */
enum leat_error partition_stream_gap_in_order(struct partition_stream *stream,
                                              const struct leat_frame_gap *gap);

/* [position, position + size) of the log came in a packet. False: it lies beyond the credit, or too
 * many pieces are scattered already; it is as if it had never come. */
bool partition_stream_data_any_order(struct partition_stream *stream, uint64_t position,
                                     const uint8_t *bytes, uint32_t size);
/* A GAP came in a packet. One that says nothing new is ignored. */
void partition_stream_gap_any_order(struct partition_stream *stream,
                                    const struct leat_frame_gap *gap);

/* Its topic is gone, and that comes behind what was not handed out yet. */
bool partition_stream_end_comes(const struct partition_stream *stream);
/* Its topic is gone, and nothing more of it is handed out: fills the news of that, with what is
 * known of the log's end. What the opening lost was told. */
void partition_stream_end(struct partition_stream *stream, struct partition_stream_news *news);

/* Nothing follows: its topic is gone, or it broke. */
bool partition_stream_ends(const struct partition_stream *stream);

/* True when partition_stream_next has something. */
bool partition_stream_ready(const struct partition_stream *stream);

enum partition_stream_item {
    PARTITION_STREAM_NOTHING,
    PARTITION_STREAM_RECORD, /* *record, at *offset; its batch is stream->batch */
    PARTITION_STREAM_NEWS,
};

/* What was lost right here and was not told yet: by the stream's opening, or in a gap that stands
 * before whatever else has arrived. False: nothing. Apart from partition_stream_next, whose one
 * caller the compiler makes it a part of. */
bool partition_stream_take_loss(struct partition_stream *stream,
                                struct partition_stream_news *news);

/* The next record or event. `may_tell` false: stops before an event, with NOTHING. */
enum partition_stream_item partition_stream_next(struct partition_stream *stream, bool may_tell,
                                                 struct leat_record_view *record,
                                                 struct partition_stream_news *news);

/* The application gave back every record handed out so far. */
void partition_stream_release(struct partition_stream *stream);

/* True when a CREDIT is due; fills it and takes it as sent. */
bool partition_stream_credit(struct partition_stream *stream, struct leat_frame_credit *credit);
/* Whether one is due, without taking it. */
bool partition_stream_credit_due(const struct partition_stream *stream);

#endif

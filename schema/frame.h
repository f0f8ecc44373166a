/* clang-format off */
/* Frames of the data channel: what one packet of a session, or a TCP stream, is made of.
 *
 * Role: the only file that knows these byte layouts; encodes and decodes, nothing more.
 * Must not know: sessions, streams' state, rings, sockets.
 * Threads: any; nothing here has state.
 *
 * Every frame starts with 8 bytes: type, flags, length (whole frame, header included), stream.
 * Frames follow one another without padding. Over TCP they are the byte stream itself: a length
 * prefix around them would say the same length twice and let the two disagree.
 *
 *   type         from    body                                   when lost on a wire
 *   ATTACH       client  session u32, version u16, reserved u16,
 *                        token 16                               repeated until answered
 *   ATTACHED     broker  session u32, status i16, reserved u16  repeated with ATTACH
 *   PUBLISH      client  piece_at u32, batch_size u32, bytes    again from the client's batch
 *   PUBLISH_ACK  broker  log_epoch u64, runs of 32 B            made again from the last K
 *   DATA         broker  position u64, bytes                    again from the log
 *   GAP          broker  position u64, offset u64,
 *                        log_epoch u64, reason u8, reserved 7   repeated until acknowledged
 *   CREDIT       both    limit u64, consumed u64                the latest value again
 *   BLOCKED      both    limit u64                              the latest value again
 *   PING, PONG   both    value u64                              never
 *   RESET        both    token 16, status i16, reserved 6       never
 *   PUBLISH_AT   client  position u64, bytes                    again from the client's batch
 *   PAD          both    anything                               never
 *   COMMIT       client  offset u64, log_epoch u64,
 *                        lost_at_most u64, lost_at_least u64    the latest value again
 *   COMMITTED    broker  offset u64, log_epoch u64, asked u64,
 *                        status i16, reserved 6                 made again, `offset` as it then is
 *
 * Over a byte stream batches come as PUBLISH, in order. In packets they come as PUBLISH_AT, whose
 * position counts the bytes of all batches of the stream since it was opened: a batch has one
 * position, however often it is sent, and pieces are joined by it. PAD only makes a packet larger.
 *
 * `stream` names a publish stream or a subscription of the session, given by the control channel
 * when it was opened; 0 where the frame is about the session (ATTACH, ATTACHED, RESET, PING, PONG).
 * COMMIT and COMMITTED are of a group's subscription: see PROTOCOL.md, "Groups".
 *
 * A type with the high bit set must be understood; an unknown one without it is skipped, whatever
 * its flags. Flags and reserved bytes of the types above are 0 in this version. */
/* clang-format on */
#ifndef LEAT_SCHEMA_FRAME_H
#define LEAT_SCHEMA_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/codes.h"
#include "schema/error.h"
#include "schema/limits.h"

enum leat_frame_type {
    LEAT_FRAME_PING = 0x01,
    LEAT_FRAME_PONG = 0x02,
    LEAT_FRAME_BLOCKED = 0x03,
    LEAT_FRAME_PAD = 0x04,
    LEAT_FRAME_ATTACH = 0x81,
    LEAT_FRAME_ATTACHED = 0x82,
    LEAT_FRAME_PUBLISH = 0x83,
    LEAT_FRAME_PUBLISH_ACK = 0x84,
    LEAT_FRAME_DATA = 0x85,
    LEAT_FRAME_GAP = 0x86,
    LEAT_FRAME_CREDIT = 0x87,
    LEAT_FRAME_RESET = 0x88,
    LEAT_FRAME_PUBLISH_AT = 0x89,
    LEAT_FRAME_COMMIT = 0x8A,
    LEAT_FRAME_COMMITTED = 0x8B,
};

enum {
    LEAT_FRAME_HEADER_BYTES = 8,
    LEAT_ATTACH_BYTES = 32,
    LEAT_ATTACHED_BYTES = 16,
    LEAT_PUBLISH_HEADER_BYTES = 16,     /* then the piece */
    LEAT_PUBLISH_ACK_HEADER_BYTES = 16, /* then the runs */
    LEAT_ACK_RUN_BYTES = 32,
    LEAT_DATA_HEADER_BYTES = 16, /* then the slice of the log */
    LEAT_GAP_BYTES = 40,
    LEAT_CREDIT_BYTES = 24,
    LEAT_BLOCKED_BYTES = 16,
    LEAT_PING_BYTES = 16,
    LEAT_RESET_BYTES = 32,
    LEAT_COMMIT_BYTES = 40,
    LEAT_COMMITTED_BYTES = 40,
    LEAT_DATA_BYTES_MAX = LEAT_FRAME_BYTES_MAX - LEAT_DATA_HEADER_BYTES,
    LEAT_PUBLISH_PIECE_BYTES_MAX = LEAT_FRAME_BYTES_MAX - LEAT_PUBLISH_HEADER_BYTES,
    LEAT_ACK_RUNS_MAX = LEAT_IN_FLIGHT_BATCHES_MAX, /* in one PUBLISH_ACK */
};

/* As the limit of a broker's BLOCKED: what is held is held by a quota, not for want of credit. */
#define LEAT_BLOCKED_BY_CLIENT_QUOTA UINT64_MAX      /* of the client's name */
#define LEAT_BLOCKED_BY_TOPIC_QUOTA (UINT64_MAX - 1) /* of the topic */

struct leat_frame_attach {
    uint32_t session;
    uint16_t version;
    uint8_t token[LEAT_TOKEN_BYTES];
};

struct leat_frame_attached {
    uint32_t session;
    int16_t status; /* leat_error; a newer peer's may have no name here, but is never above 0 */
};

struct leat_frame_publish {
    const uint8_t *bytes; /* borrowed from the frame */
    uint32_t size;        /* of this piece; >= 1 */
    uint32_t piece_at;    /* where in the batch it stands */
    uint32_t batch_size;  /* whole batch; piece_at + size <= batch_size <= LEAT_BATCH_BYTES_LIMIT */
};

struct leat_ack_run {
    uint64_t first_sequence;
    uint64_t base_offset;    /* LEAT_OFFSET_NONE when there is none */
    uint32_t count;          /* records; >= 1 */
    uint32_t retry_after_us; /* LEAT_BUSY, LEAT_ERR_THROTTLED: wait so long; else 0 */
    int16_t status;          /* leat_error */
    uint8_t level;           /* leat_level when status is LEAT_OK or LEAT_ERR_DUPLICATE, else 0 */
};

struct leat_frame_publish_ack {
    const uint8_t *runs; /* borrowed; read with leat_ack_run_at */
    uint32_t run_count;  /* 1 .. LEAT_ACK_RUNS_MAX */
    uint64_t log_epoch;
};

struct leat_frame_data {
    const uint8_t *bytes; /* borrowed */
    uint32_t size;        /* >= 1 */
    uint64_t position;    /* of bytes[0] in the partition's log */
};

struct leat_frame_gap {
    uint64_t position; /* the stream goes on here, at a batch boundary */
    uint64_t offset;   /* the first offset there */
    uint64_t log_epoch;
    uint8_t reason; /* leat_reason */
};

struct leat_frame_credit {
    uint64_t limit;    /* subscription: a log position; publish stream: bytes of batches since
                          the stream opened. Absolute; a lower one than before is ignored */
    uint64_t consumed; /* subscription: everything below this log position was consumed */
};

struct leat_frame_commit {
    uint64_t offset;    /* everything below it was processed; never LEAT_OFFSET_NONE */
    uint64_t log_epoch; /* of the log it belongs to */
    /* Records that GAPs took from this stream and that its opening did not count, since it was
     * opened: absolute, at least <= at most. */
    uint64_t lost_at_most;
    uint64_t lost_at_least;
};

struct leat_frame_committed {
    uint64_t offset;    /* what stands committed; LEAT_OFFSET_NONE: nothing */
    uint64_t log_epoch; /* 0: the stream is over, and nothing of it is known any more */
    uint64_t asked;     /* the offset of the COMMIT this answers */
    int16_t status;     /* leat_error of that COMMIT */
};

struct leat_frame_reset {
    uint8_t token[LEAT_TOKEN_BYTES];
    int16_t status;
};

struct leat_frame {
    uint8_t type;
    uint8_t flags;
    uint16_t length; /* whole frame */
    uint32_t stream;
    union {
        struct leat_frame_attach attach;
        struct leat_frame_attached attached;
        struct leat_frame_publish publish;
        struct leat_frame_publish_ack publish_ack;
        struct leat_frame_data data; /* DATA, and PUBLISH_AT: position in the stream */
        struct leat_frame_gap gap;
        struct leat_frame_credit credit;
        struct leat_frame_reset reset;
        struct leat_frame_commit commit;
        struct leat_frame_committed committed;
        uint64_t blocked_limit;
        uint64_t ping; /* PING and PONG */
    };
};

/* Decodes the frame at `bytes`, of which `size` can be read.
 * LEAT_OK            out is filled, out->length <= size; pointers borrow from `bytes`. An unknown
 *                    type without the high bit is LEAT_OK too: skip out->length bytes
 * LEAT_AGAIN         more bytes are needed (out untouched)
 * LEAT_ERR_MALFORMED a length, count, status, level, reason, flag or reserved byte is wrong, or an
 *                    unknown type must be understood: the stream cannot go on (what out holds means
 *                    nothing). It is said as soon as the first 8 bytes show it.
 * Whatever decodes as a known type is the very bytes its writer would write; only the body of a PAD
 * is anybody's. */
enum leat_error leat_frame_decode(struct leat_frame *out, const uint8_t *bytes, size_t size);

/* As leat_frame_decode, but a DATA frame is decoded as soon as its first LEAT_DATA_HEADER_BYTES can
 * be read: out->length may be more than `size`, and what out->data.bytes points at may not have
 * arrived. For a receiver that reads the slice straight to where it is kept. */
enum leat_error leat_frame_decode_head(struct leat_frame *out, const uint8_t *bytes, size_t size);

/* As leat_frame_decode, for the bytes of one of the writers below: nothing is checked. */
void leat_frame_peek(struct leat_frame *out, const uint8_t *bytes);

/* Length of a frame that was written here or decoded before. */
uint32_t leat_frame_length(const uint8_t *frame);
/* The length that a frame says, which may be any, and whether it is DATA or PUBLISH_AT; reads its
 * first LEAT_FRAME_HEADER_BYTES. */
uint32_t leat_frame_scan(const uint8_t *frame, bool *carries_batches);

/* Decodes run `index` < run_count. Status and level were checked by leat_frame_decode. */
struct leat_ack_run leat_ack_run_at(const struct leat_frame_publish_ack *ack, uint32_t index);

/* Writers. Each writes exactly the named number of bytes at `at` and returns it. */
size_t leat_frame_write_attach(uint8_t *at, const struct leat_frame_attach *attach);
size_t leat_frame_write_attached(uint8_t *at, const struct leat_frame_attached *attached);
/* Only the header: LEAT_PUBLISH_HEADER_BYTES; publish->bytes is sent behind it by the caller. */
size_t leat_frame_write_publish(uint8_t *at, uint32_t stream,
                                const struct leat_frame_publish *publish);
size_t leat_frame_write_publish_ack(uint8_t *at, uint32_t stream, uint64_t log_epoch,
                                    const struct leat_ack_run *runs, uint32_t run_count);
/* Only the header: LEAT_DATA_HEADER_BYTES; the slice, or the piece, follows. */
size_t leat_frame_write_data(uint8_t *at, uint32_t stream, uint64_t position, uint32_t size);
size_t leat_frame_write_publish_at(uint8_t *at, uint32_t stream, uint64_t position, uint32_t size);
/* `size` bytes in all, at least LEAT_FRAME_HEADER_BYTES; the rest is zeros. */
size_t leat_frame_write_pad(uint8_t *at, uint32_t size);
size_t leat_frame_write_gap(uint8_t *at, uint32_t stream, const struct leat_frame_gap *gap);
size_t leat_frame_write_credit(uint8_t *at, uint32_t stream,
                               const struct leat_frame_credit *credit);
size_t leat_frame_write_blocked(uint8_t *at, uint32_t stream, uint64_t limit);
/* `type` is LEAT_FRAME_PING or LEAT_FRAME_PONG. */
size_t leat_frame_write_ping(uint8_t *at, uint8_t type, uint64_t value);
size_t leat_frame_write_reset(uint8_t *at, const struct leat_frame_reset *reset);
size_t leat_frame_write_commit(uint8_t *at, uint32_t stream,
                               const struct leat_frame_commit *commit);
size_t leat_frame_write_committed(uint8_t *at, uint32_t stream,
                                  const struct leat_frame_committed *committed);

#endif

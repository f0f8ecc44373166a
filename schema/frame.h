/* clang-format off */
/* Frames of the data channel: the content of a packet, or of a TCP connection.
 *
 * Role: the only file that knows these byte layouts; encodes and decodes, nothing more.
 * Must not know: sessions, the state of streams, rings, sockets.
 * Threads: any; nothing here has state.
 *
 * Every frame starts with 8 bytes: type, flags, length (whole frame, header included), stream.
 * Frames follow one another without padding. Over TCP the byte stream is nothing but frames: an
 * outer length prefix would repeat the length and allow the two to disagree.
 *
 *   type         from    body                                   when its packet is lost
 *   ATTACH       client  session u32, version u16, reserved u16,
 *                        token 16                               sent again until answered
 *   ATTACHED     broker  session u32, status i16, reserved u16  sent again with ATTACH
 *   PUBLISH      client  piece_at u32, batch_size u32, bytes    (TCP only)
 *   PUBLISH_ACK  broker  log_epoch u64, runs of 32 B            built again from the last 64
 *   DATA         broker  position u64, bytes                    read from the log again
 *   GAP          broker  position u64, offset u64,
 *                        log_epoch u64, reason u8, reserved 7   sent again until acknowledged
 *   CREDIT       both    limit u64, consumed u64                the latest value is sent
 *   BLOCKED      both    limit u64                              the latest value is sent
 *   PING         both    value u64                              a broker's challenge is sent again
 *   PONG         both    value u64                              a client's is sent again
 *   RESET        both    token 16, status i16, reserved 6       never
 *   PUBLISH_AT   client  position u64, bytes                    sent again from the client's batch
 *   PAD          both    anything                               never
 *   COMMIT       client  offset u64, log_epoch u64,
 *                        lost_at_most u64, lost_at_least u64    the latest value is sent
 *   COMMITTED    broker  offset u64, log_epoch u64, asked u64,
 *                        status i16, reserved 6                 built again, `offset` as it then is
 *
 * Over TCP batches are sent as PUBLISH, in order. In packets they are sent as PUBLISH_AT, whose
 * position counts the bytes of all batches of the stream since it was opened. A batch keeps its
 * position however often it is sent, and the broker joins pieces by it. PAD only makes a packet
 * larger.
 *
 * `stream` is the number of a publish stream or subscription, assigned over the control channel
 * when it was opened; 0 if the frame concerns the session (ATTACH, ATTACHED, RESET, PING, PONG).
 * COMMIT and COMMITTED belong to a group's subscription: see PROTOCOL.md, "Groups".
 *
 * A receiver must understand a type with the high bit set; it skips an unknown type without it,
 * whatever its flags. Flags and reserved bytes of the types above are 0 in this version. */
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

/* Limits of a broker's BLOCKED that name a quota as the cause, and not a lack of credit. */
#define LEAT_BLOCKED_BY_CLIENT_QUOTA UINT64_MAX      /* of the client's name */
#define LEAT_BLOCKED_BY_TOPIC_QUOTA (UINT64_MAX - 1) /* of the topic */

struct leat_frame_attach {
    uint32_t session;
    uint16_t version;
    uint8_t token[LEAT_TOKEN_BYTES];
};

struct leat_frame_attached {
    uint32_t session;
    int16_t status; /* leat_error, never above 0; a newer peer may send one unknown here */
};

struct leat_frame_publish {
    const uint8_t *bytes; /* borrowed from the frame */
    uint32_t size;        /* of this piece; >= 1 */
    uint32_t piece_at;    /* its position in the batch */
    uint32_t batch_size;  /* whole batch; piece_at + size <= batch_size <= LEAT_BATCH_BYTES_LIMIT */
};

struct leat_ack_run {
    uint64_t first_sequence;
    uint64_t base_offset;    /* LEAT_OFFSET_NONE when there is none */
    uint32_t count;          /* records; >= 1 */
    uint32_t retry_after_us; /* of LEAT_BUSY, LEAT_ERR_THROTTLED; else 0 */
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
    uint64_t position; /* the stream continues here, at a batch boundary */
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
    uint64_t log_epoch; /* of the log that `offset` belongs to */
    /* Records lost to GAPs of this stream since it was opened, without those that its opening
     * counted. Absolute; lost_at_least <= lost_at_most. */
    uint64_t lost_at_most;
    uint64_t lost_at_least;
};

struct leat_frame_committed {
    uint64_t offset;    /* the committed offset; LEAT_OFFSET_NONE: none */
    uint64_t log_epoch; /* 0: the stream has ended, and the broker has forgotten it */
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

/* clang-format off */
/* Decodes the frame at `bytes`. `size` is the number of readable bytes.
 * LEAT_OK             *out is filled, out->length <= size; pointers borrow from `bytes`. Also for
 *                     an unknown type without the high bit: skip out->length bytes
 * LEAT_AGAIN          more bytes are needed; *out is untouched
 * LEAT_ERR_MALFORMED  a length, count, status, level, reason, flag or reserved byte is wrong, or an
 *                     unknown type must be understood. The stream cannot continue, and *out is
 *                     undefined. Returned as soon as the first 8 bytes show it
 * A frame of a known type that decodes is byte for byte what its writer would write, except for the
 * body of a PAD, which may be anything. */
/* clang-format on */
enum leat_error leat_frame_decode(struct leat_frame *out, const uint8_t *bytes, size_t size);

/* As leat_frame_decode, but a DATA frame is decoded as soon as its first LEAT_DATA_HEADER_BYTES are
 * readable: out->length may exceed `size`, and the bytes at out->data.bytes may not have arrived.
 * For a receiver that reads the slice directly to its destination. */
enum leat_error leat_frame_decode_head(struct leat_frame *out, const uint8_t *bytes, size_t size);

/* As leat_frame_decode, for a frame that one of the writers below wrote: checks nothing. */
void leat_frame_peek(struct leat_frame *out, const uint8_t *bytes);

/* Length of a frame that was written here or decoded before. */
uint32_t leat_frame_length(const uint8_t *frame);
/* Reads LEAT_FRAME_HEADER_BYTES. Returns the length field unchecked, and whether the frame is DATA
 * or PUBLISH_AT. */
uint32_t leat_frame_scan(const uint8_t *frame, bool *carries_batches);

/* Decodes run `index` < run_count. leat_frame_decode has checked status and level. */
struct leat_ack_run leat_ack_run_at(const struct leat_frame_publish_ack *ack, uint32_t index);

/* Writers. Each returns the number of bytes written at `at`: LEAT_<frame>_BYTES if the frame has a
 * fixed size. */
size_t leat_frame_write_attach(uint8_t *at, const struct leat_frame_attach *attach);
size_t leat_frame_write_attached(uint8_t *at, const struct leat_frame_attached *attached);
/* Writes only the header, LEAT_PUBLISH_HEADER_BYTES; the caller sends publish->bytes after it. */
size_t leat_frame_write_publish(uint8_t *at, uint32_t stream,
                                const struct leat_frame_publish *publish);
size_t leat_frame_write_publish_ack(uint8_t *at, uint32_t stream, uint64_t log_epoch,
                                    const struct leat_ack_run *runs, uint32_t run_count);
/* Writes only the header, LEAT_DATA_HEADER_BYTES; the caller sends the slice or piece after it. */
size_t leat_frame_write_data(uint8_t *at, uint32_t stream, uint64_t position, uint32_t size);
size_t leat_frame_write_publish_at(uint8_t *at, uint32_t stream, uint64_t position, uint32_t size);
/* `size` bytes in total, at least LEAT_FRAME_HEADER_BYTES; the body is zeros. */
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

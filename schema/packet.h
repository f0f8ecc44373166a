/* clang-format off */
/* Packet header: the first bytes of every datagram of a session, in both directions.
 *
 * Role: the only file that knows this byte layout; encodes and decodes, nothing more.
 * Must not know: the state of sessions, links, clocks; of frames, more than their length and
 * whether they carry batches.
 * Threads: any; nothing here has state.
 *
 *      header     version:3 (high bits) type:5 | flags u8 | length u16 | session u32 | number u32
 *      guard      tag u64 | crc32c u32 | reserved u32 (0)
 *      ack block  largest u32 | map u64 | delay u16 | window u16        when LEAT_PACKET_ACK is set
 *      frames     as many as fit (schema/frame.h)
 *
 * `length` is the size of the packet. The rest of the datagram is padding of the link and ignored.
 * `number` is the low half of a 64-bit packet number that is never reused, not even for a
 * retransmission; ack-only packets have one too. Bit i of `map` says that packet largest - 1 - i
 * arrived. `delay` is how long the acknowledgement of `largest` was delayed, in units of 256 ns.
 * `window` is how many packets beyond `largest` the receiver accepts.
 *
 * `tag` is the tag of this direction from the session's grant; 0 in a RESET, which has a token
 * instead. `crc32c` covers the whole packet except the field itself: bytes 0 .. 19, then bytes
 * 24 .. length - 1. With LEAT_PACKET_PARTIAL it also leaves out what follows the first
 * LEAT_PACKET_PIECE_BYTES of each DATA and PUBLISH_AT frame: those bytes hold the frame header and
 * the header of a batch that begins there. Batches have a CRC of their own. In encrypted packets
 * the authentication tag will replace the guard.
 *
 * Integers are little-endian. */
/* clang-format on */
#ifndef LEAT_SCHEMA_PACKET_H
#define LEAT_SCHEMA_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/error.h"
#include "schema/units.h"

enum {
    LEAT_PACKET_VERSION = 2,
    LEAT_PACKET_HEADER_BYTES = 12,
    LEAT_PACKET_SESSION_AT = 4, /* where the session id stands */
    LEAT_PACKET_ACK_BYTES = 16,
    LEAT_PACKET_GUARD_BYTES = 16,
    LEAT_PACKET_OVERHEAD_BYTES =
        LEAT_PACKET_HEADER_BYTES + LEAT_PACKET_GUARD_BYTES + LEAT_PACKET_ACK_BYTES,
    LEAT_PACKET_BYTES_MIN = 512,   /* what any path must carry */
    LEAT_PACKET_BYTES_BASE = 1200, /* UDP payload assumed to pass until a probe confirms more */
    LEAT_PACKET_BYTES_MAX = 65000,
    LEAT_PACKET_MAP_BITS = 64,
    LEAT_PACKET_PIECE_BYTES = 80, /* of a frame with a piece of a batch, under a partial checksum */
};

enum leat_packet_type {
    LEAT_PACKET_SESSION = 1, /* frames of a session */
    LEAT_PACKET_RESET = 2,   /* one RESET frame, for a session that its sender does not know;
                                number 0, tag 0, no ack block */
};

enum leat_packet_flag {
    LEAT_PACKET_ACK = 0x01,       /* the packet has an ack block */
    LEAT_PACKET_ACK_NOW = 0x02,   /* the receiver shall acknowledge without delay */
    LEAT_PACKET_PARTIAL = 0x04,   /* the checksum leaves out the bytes of batches */
    LEAT_PACKET_KEY_PHASE = 0x08, /* reserved for encryption; 0 in this version */
};

struct leat_packet_ack {
    uint32_t largest;
    uint64_t map;
    leat_ns delay_ns; /* rounded down to 256 ns; at most LEAT_PACKET_DELAY_MAX_NS */
    uint16_t window;
};
#define LEAT_PACKET_DELAY_MAX_NS (UINT64_C(0xFFFF) * 256)
/* The longest that either side delays an acknowledgement. The probe timer of the other side
 * allows for it. */
#define LEAT_ACK_DELAY_BYPASS_NS (25 * LEAT_NS_PER_US) /* over a bypass port */
#define LEAT_ACK_DELAY_KERNEL_NS LEAT_NS_PER_MS        /* over a kernel socket */
static inline leat_ns leat_ack_delay_ns(bool bypass)
{
    return bypass ? LEAT_ACK_DELAY_BYPASS_NS : LEAT_ACK_DELAY_KERNEL_NS;
}

struct leat_packet {
    enum leat_packet_type type;
    uint8_t flags;
    uint16_t length;
    uint32_t session;
    uint32_t number;
    uint64_t tag;
    uint32_t crc; /* of the guard; leat_packet_write leaves it 0 */
    bool has_ack;
    struct leat_packet_ack ack;
    const uint8_t *frames; /* borrowed from the datagram */
    uint32_t frames_size;
};

/* Decodes the datagram of `size` bytes. LEAT_ERR_MALFORMED: too short, `length` above `size` or
 * below the size of the headers, unknown flags, a reserved field that is not 0. LEAT_ERR_VERSION:
 * another version. LEAT_ERR_UNSUPPORTED: a type that this version does not know. On error *out is
 * untouched. Does not check tag and checksum: see leat_packet_tag_is and leat_packet_is_intact. */
enum leat_error leat_packet_decode(struct leat_packet *out, const uint8_t *bytes, size_t size);

/* Writes the header, the guard without its checksum and, if packet->has_ack, the ack block and the
 * flag LEAT_PACKET_ACK. Returns the number of bytes written. packet->length is that of the whole
 * packet. leat_packet_seal or leat_packet_seal_partial adds the checksum. */
size_t leat_packet_write(uint8_t *at, const struct leat_packet *packet);
/* Sets the length of a packet after its frames were written. */
void leat_packet_set_length(uint8_t *at, uint16_t length);
/* Writes the checksum of a packet that is complete, its length included. The packet is the `size`
 * bytes at `at`, at least header and guard, followed on the wire by the `more_size` bytes at `more`
 * (NULL and 0: none). */
void leat_packet_seal(uint8_t *at, size_t size, const uint8_t *more, size_t more_size);
/* The same with a partial checksum; sets LEAT_PACKET_PARTIAL. `more` may hold only bytes of the
 * last frame's piece. */
void leat_packet_seal_partial(uint8_t *at, size_t size, const uint8_t *more, size_t more_size);

/* True if the packet carries this tag. Constant time. */
bool leat_packet_tag_is(const struct leat_packet *packet, uint64_t tag);
/* True if the checksum leaves out the bytes of batches. */
static inline bool leat_packet_is_partial(const struct leat_packet *packet)
{
    return (packet->flags & LEAT_PACKET_PARTIAL) != 0;
}
/* True if the checksum of the packet, which was decoded from `bytes`, matches. A partial checksum
 * is accepted only if `may_be_partial`. */
bool leat_packet_is_intact(const struct leat_packet *packet, const uint8_t *bytes,
                           bool may_be_partial);

/* The 64-bit packet number with low half `low` that is closest to `near` (as in RFC 9000, A.3). */
uint64_t leat_packet_number(uint64_t near, uint32_t low);

#endif

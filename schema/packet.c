/* Packet header: encoding, decoding, checksums. */
#include "schema/packet.h"

#include <assert.h>

#include "schema/batch.h"
#include "schema/bytes.h"
#include "schema/crc32c.h"
#include "schema/frame.h"

/* Wire images. Every member is a byte array: alignment 1, no padding, overlays any buffer. */

struct packet_wire {
    uint8_t version_type;
    uint8_t flags;
    uint8_t length[2];
    uint8_t session[4];
    uint8_t number[4];
};
static_assert(sizeof(struct packet_wire) == LEAT_PACKET_HEADER_BYTES, "wire size");
static_assert(offsetof(struct packet_wire, session) == 4, "wire layout");

struct guard_wire {
    uint8_t tag[8];
    uint8_t crc[4];
    uint8_t reserved[4];
};
static_assert(sizeof(struct guard_wire) == LEAT_PACKET_GUARD_BYTES, "wire size");

struct ack_wire {
    uint8_t largest[4];
    uint8_t map[8];
    uint8_t delay[2];
    uint8_t window[2];
};
static_assert(sizeof(struct ack_wire) == LEAT_PACKET_ACK_BYTES, "wire size");
static_assert(offsetof(struct ack_wire, delay) == 12, "wire layout");

enum {
    TYPE_BITS = 5,
    TYPE_MASK = (1 << TYPE_BITS) - 1,
    FLAGS_WRITTEN = LEAT_PACKET_ACK_NOW | LEAT_PACKET_PARTIAL,
    FLAGS_KNOWN = LEAT_PACKET_ACK | FLAGS_WRITTEN,
    DELAY_SHIFT = 8, /* units of 256 ns */
    CRC_AT = sizeof(struct packet_wire) + offsetof(struct guard_wire, crc),
    BEHIND_CRC = CRC_AT + 4,
    PIECE_MORE = LEAT_PACKET_PIECE_BYTES - LEAT_DATA_HEADER_BYTES,
    BEHIND_GUARD = sizeof(struct packet_wire) + sizeof(struct guard_wire),
};
static_assert((int)LEAT_PACKET_PIECE_BYTES
                  == (int)LEAT_DATA_HEADER_BYTES + (int)LEAT_BATCH_HEADER_BYTES,
              "a batch's header is covered");
static_assert(LEAT_PACKET_DELAY_MAX_NS >> DELAY_SHIFT == UINT16_MAX, "u16");
static_assert(LEAT_PACKET_BYTES_MAX <= UINT16_MAX, "u16");

static const struct guard_wire *guard_of(const struct packet_wire *wire)
{
    return (const struct guard_wire *)(wire + 1);
}

static bool is_right(const struct packet_wire *wire, uint8_t type, size_t size)
{
    const uint16_t length = leat_load16(wire->length);
    const size_t ack = (wire->flags & LEAT_PACKET_ACK) != 0 ? sizeof(struct ack_wire) : 0;
    const struct guard_wire *guard = guard_of(wire);
    if ((wire->flags & ~FLAGS_KNOWN) != 0 || length > size
        || length < sizeof *wire + sizeof *guard + ack || leat_load32(guard->reserved) != 0)
        return false;
    return type != LEAT_PACKET_RESET
           || (wire->flags == 0 && leat_load32(wire->number) == 0 && leat_load64(guard->tag) == 0);
}

enum leat_error leat_packet_decode(struct leat_packet *out, const uint8_t *bytes, size_t size)
{
    if (size < sizeof(struct packet_wire))
        return LEAT_ERR_MALFORMED;
    const struct packet_wire *wire = (const struct packet_wire *)bytes;
    const uint8_t type = wire->version_type & TYPE_MASK;
    if (wire->version_type >> TYPE_BITS != LEAT_PACKET_VERSION)
        return LEAT_ERR_VERSION;
    if (type != LEAT_PACKET_SESSION && type != LEAT_PACKET_RESET)
        return LEAT_ERR_UNSUPPORTED;
    if (size < sizeof *wire + sizeof(struct guard_wire) || !is_right(wire, type, size))
        return LEAT_ERR_MALFORMED;
    const struct guard_wire *guard = guard_of(wire);
    const uint8_t *frames = bytes + sizeof *wire + sizeof *guard;
    out->type = (enum leat_packet_type)type;
    out->flags = wire->flags;
    out->length = leat_load16(wire->length);
    out->session = leat_load32(wire->session);
    out->number = leat_load32(wire->number);
    out->tag = leat_load64(guard->tag);
    out->crc = leat_load32(guard->crc);
    out->has_ack = (wire->flags & LEAT_PACKET_ACK) != 0;
    out->ack = (struct leat_packet_ack){ 0 };
    if (out->has_ack) {
        const struct ack_wire *ack = (const struct ack_wire *)frames;
        out->ack.largest = leat_load32(ack->largest);
        out->ack.map = leat_load64(ack->map);
        out->ack.delay_ns = (leat_ns)leat_load16(ack->delay) << DELAY_SHIFT;
        out->ack.window = leat_load16(ack->window);
        frames += sizeof *ack;
    }
    out->frames = frames;
    out->frames_size = (uint32_t)(bytes + out->length - frames);
    return LEAT_OK;
}

size_t leat_packet_write(uint8_t *at, const struct leat_packet *packet)
{
    struct packet_wire *wire = (struct packet_wire *)at;
    const uint8_t flags = packet->flags & FLAGS_WRITTEN;
    wire->version_type = (uint8_t)(LEAT_PACKET_VERSION << TYPE_BITS | (int)packet->type);
    wire->flags = packet->has_ack ? flags | LEAT_PACKET_ACK : flags;
    leat_store16(wire->length, packet->length);
    leat_store32(wire->session, packet->session);
    leat_store32(wire->number, packet->number);
    struct guard_wire *guard = (struct guard_wire *)(wire + 1);
    leat_store64(guard->tag, packet->tag);
    leat_store32(guard->crc, 0);
    leat_store32(guard->reserved, 0);
    if (!packet->has_ack)
        return sizeof *wire + sizeof *guard;
    struct ack_wire *ack = (struct ack_wire *)(guard + 1);
    const leat_ns delay = packet->ack.delay_ns < LEAT_PACKET_DELAY_MAX_NS
                              ? packet->ack.delay_ns
                              : LEAT_PACKET_DELAY_MAX_NS;
    leat_store32(ack->largest, packet->ack.largest);
    leat_store64(ack->map, packet->ack.map);
    leat_store16(ack->delay, (uint16_t)(delay >> DELAY_SHIFT));
    leat_store16(ack->window, packet->ack.window);
    return sizeof *wire + sizeof *guard + sizeof *ack;
}

void leat_packet_set_length(uint8_t *at, uint16_t length)
{
    leat_store16(((struct packet_wire *)at)->length, length);
}

/* Whole checksum of the packet's first `size` bytes. */
static uint32_t checksum(const uint8_t *at, size_t size)
{
    const uint32_t crc = leat_crc32c(at, CRC_AT);
    return leat_crc32c_extend(crc, at + BEHIND_CRC, size - BEHIND_CRC);
}

/* Partial checksum: without the bytes of batches. Frames are not checked yet, so their lengths are
 * not trusted: nothing beyond `size` is read. */
static uint32_t partial_checksum(const uint8_t *at, size_t size)
{
    const struct packet_wire *wire = (const struct packet_wire *)at;
    const bool has_ack = (wire->flags & LEAT_PACKET_ACK) != 0;
    size_t frame = BEHIND_GUARD + (has_ack ? sizeof(struct ack_wire) : 0);
    size_t from = BEHIND_CRC; /* first byte not yet in the checksum */
    uint32_t crc = leat_crc32c(at, CRC_AT);
    while (frame + LEAT_FRAME_HEADER_BYTES <= size) {
        bool carries_batches;
        const uint32_t length = leat_frame_scan(at + frame, &carries_batches);
        if (length < LEAT_FRAME_HEADER_BYTES)
            break;
        if (carries_batches) {
            const size_t head =
                frame + (length < LEAT_PACKET_PIECE_BYTES ? length : LEAT_PACKET_PIECE_BYTES);
            crc = leat_crc32c_extend(crc, at + from, (head < size ? head : size) - from);
            from = frame + length;
        }
        frame += length;
    }
    return from < size ? leat_crc32c_extend(crc, at + from, size - from) : crc;
}

void leat_packet_seal(uint8_t *at, size_t size, const uint8_t *more, size_t more_size)
{
    uint32_t crc = checksum(at, size);
    if (more_size != 0)
        crc = leat_crc32c_extend(crc, more, more_size);
    leat_store32(at + CRC_AT, crc);
}

void leat_packet_seal_partial(uint8_t *at, size_t size, const uint8_t *more, size_t more_size)
{
    ((struct packet_wire *)at)->flags |= LEAT_PACKET_PARTIAL;
    uint32_t crc = partial_checksum(at, size);
    if (more_size != 0)
        crc = leat_crc32c_extend(crc, more, more_size < PIECE_MORE ? more_size : PIECE_MORE);
    leat_store32(at + CRC_AT, crc);
}

bool leat_packet_tag_is(const struct leat_packet *packet, uint64_t tag)
{
    return (packet->tag ^ tag) == 0; /* one comparison of whole words */
}

bool leat_packet_is_intact(const struct leat_packet *packet, const uint8_t *bytes,
                           bool may_be_partial)
{
    if (leat_packet_is_partial(packet))
        return may_be_partial && packet->crc == partial_checksum(bytes, packet->length);
    return packet->crc == checksum(bytes, packet->length);
}

uint64_t leat_packet_number(uint64_t near, uint32_t low)
{
    const uint64_t period = UINT64_C(1) << 32;
    const uint32_t ahead = low - (uint32_t)near;
    if (ahead < period / 2) /* at or above `near`, unless that is beyond the last number */
        return ahead <= UINT64_MAX - near ? near + ahead : near + ahead - period;
    const uint64_t behind = period - ahead;
    return behind <= near ? near - behind : near + ahead;
}

/* Goal: packet headers survive the way from writer to reader, nothing that is not exactly one
 * decodes, and numbers are widened to the one that was meant. Method: the vectors, both ways; every
 * truncation; every bit of every vector flipped: what still decodes must write back to the very
 * same bytes; numbers against the definition. Bytes end where their heap block ends, so that ASan
 * sees a read beyond. */
#include <criterion/criterion.h>

#include "schema/batch.h"
#include "schema/bytes.h"
#include "schema/frame.h"
#include "schema/packet.h"
#include "tests/support/seeded.h"
#include "tests/support/vectors.h"

enum { CRC_AT = LEAT_PACKET_HEADER_BYTES + 8 };

static const char *const path = "schema/vectors/packet.txt";

static enum leat_error decode_copy(struct leat_packet *out, uint8_t **copy, const uint8_t *bytes,
                                   size_t size)
{
    *copy = malloc(size == 0 ? 1 : size);
    cr_assert_not_null(*copy);
    memcpy(*copy, bytes, size);
    return leat_packet_decode(out, *copy, size);
}

static void expect_written_back(const char *name, const struct leat_packet *packet,
                                const uint8_t *bytes)
{
    static uint8_t back[LEAT_PACKET_BYTES_MAX];
    struct leat_packet unfinished = *packet;
    unfinished.length = 0;
    const size_t size = leat_packet_write(back, &unfinished);
    cr_assert_eq(size + packet->frames_size, packet->length, "%s", name);
    leat_packet_set_length(back, packet->length);
    memcpy(back + size, packet->frames, packet->frames_size);
    if (!leat_packet_is_intact(packet, bytes, true))
        leat_store32(back + CRC_AT, packet->crc);
    else if (leat_packet_is_partial(packet))
        leat_packet_seal_partial(back, packet->length, NULL, 0);
    else
        leat_packet_seal(back, packet->length, NULL, 0);
    cr_assert_eq(memcmp(back, bytes, packet->length), 0, "%s", name);
}

static void expect_fields(const struct vector *v, const struct leat_packet *packet)
{
    uint8_t frames[VECTOR_BYTES_MAX];
    const size_t size = vector_hex(frames, sizeof frames, vector_text(v, "frames", 0));
    cr_assert_eq(packet->type, vector_number(v, "type"), "%s", v->name);
    cr_assert_eq(packet->flags, vector_number(v, "flags"), "%s", v->name);
    cr_assert_eq(packet->length, vector_number(v, "length"), "%s", v->name);
    cr_assert_eq(packet->session, vector_number(v, "session"), "%s", v->name);
    cr_assert_eq(packet->number, vector_number(v, "number"), "%s", v->name);
    cr_assert_eq(packet->tag, vector_number(v, "tag"), "%s", v->name);
    cr_assert(leat_packet_tag_is(packet, vector_number(v, "tag")), "%s", v->name);
    cr_assert_eq(packet->crc, vector_number(v, "crc"), "%s", v->name);
    cr_assert_neq(leat_packet_is_intact(packet, v->bytes, false), leat_packet_is_partial(packet),
                  "%s", v->name);
    cr_assert(leat_packet_is_intact(packet, v->bytes, true), "%s", v->name);
    cr_assert_eq(packet->has_ack, vector_text(v, "largest", 0) != NULL, "%s", v->name);
    if (packet->has_ack) {
        cr_assert_eq(packet->ack.largest, vector_number(v, "largest"), "%s", v->name);
        cr_assert_eq(packet->ack.map, vector_number(v, "map"), "%s", v->name);
        cr_assert_eq(packet->ack.delay_ns, vector_number(v, "delay_ns"), "%s", v->name);
        cr_assert_eq(packet->ack.window, vector_number(v, "window"), "%s", v->name);
    }
    cr_assert_eq(packet->frames_size, size, "%s", v->name);
    cr_assert_eq(memcmp(packet->frames, frames, size), 0, "%s", v->name);
}

Test(packet, every_vector_decodes_as_it_says_and_writes_back_to_its_bytes)
{
    FILE *file = vectors_open(path);
    static struct vector v;
    unsigned count = 0;
    for (; vector_next(file, &v); count++) {
        struct leat_packet packet;
        uint8_t *copy;
        const enum leat_error error = decode_copy(&packet, &copy, v.bytes, v.size);
        vector_expect(&v, "decode", error);
        if (error == LEAT_OK) {
            expect_fields(&v, &packet);
            expect_written_back(v.name, &packet, v.bytes);
        }
        free(copy);
    }
    fclose(file);
    cr_assert_gt(count, 20u);
}

Test(packet, a_cut_packet_is_malformed_and_leaves_nothing_behind)
{
    FILE *file = vectors_open(path);
    static struct vector v;
    while (vector_next(file, &v)) {
        struct leat_packet packet, untouched;
        uint8_t *copy;
        if (leat_packet_decode(&packet, v.bytes, v.size) != LEAT_OK)
            continue;
        for (size_t size = 0; size < packet.length; size++) {
            memset(&untouched, 0x5A, sizeof untouched);
            cr_assert_eq(decode_copy(&untouched, &copy, v.bytes, size), LEAT_ERR_MALFORMED,
                         "%s cut at %zu", v.name, size);
            for (size_t i = 0; i < sizeof untouched; i++)
                cr_assert_eq(((const uint8_t *)&untouched)[i], 0x5A);
            free(copy);
        }
    }
    fclose(file);
}

Test(packet, whatever_decodes_is_what_would_be_written)
{
    FILE *file = vectors_open(path);
    static struct vector v;
    unsigned decoded = 0;
    while (vector_next(file, &v)) {
        for (size_t bit = 0; bit < 8 * v.size; bit++) {
            struct leat_packet packet;
            uint8_t *copy;
            v.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (decode_copy(&packet, &copy, v.bytes, v.size) == LEAT_OK) {
                expect_written_back(v.name, &packet, v.bytes);
                decoded++;
            }
            free(copy);
            v.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    fclose(file);
    cr_assert_gt(decoded, 500u);
}

/* Whether the checksum leaves out the byte at `at`: it is of a batch, and the checksum partial. */
static bool is_left_out(const struct leat_packet *packet, const uint8_t *at)
{
    struct leat_frame frame;
    for (uint32_t from = 0; leat_packet_is_partial(packet) && from < packet->frames_size;
         from += frame.length) {
        cr_assert_eq(leat_frame_decode(&frame, packet->frames + from, packet->frames_size - from),
                     LEAT_OK);
        const bool carries = frame.type == LEAT_FRAME_DATA || frame.type == LEAT_FRAME_PUBLISH_AT;
        if (carries && at >= frame.data.bytes && at < frame.data.bytes + frame.data.size)
            return at >= frame.data.bytes + LEAT_BATCH_HEADER_BYTES;
    }
    return false;
}

/* Every packet, every bit of it: no flip that the checksum covers goes unnoticed, whatever it makes
 * of the packet, and neither does a tag that differs in one bit. */
Test(packet, no_flipped_bit_goes_unnoticed)
{
    FILE *file = vectors_open(path);
    static struct vector v;
    unsigned flips = 0, left_out = 0;
    while (vector_next(file, &v)) {
        struct leat_packet right, packet;
        if (leat_packet_decode(&right, v.bytes, v.size) != LEAT_OK)
            continue;
        for (size_t bit = 0; bit < (size_t)8 * right.length; bit++) {
            const bool is_out = is_left_out(&right, v.bytes + bit / 8);
            v.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (leat_packet_decode(&packet, v.bytes, v.size) == LEAT_OK) {
                cr_assert_eq(leat_packet_is_intact(&packet, v.bytes, true), is_out, "%s bit %zu",
                             v.name, bit);
                flips++;
                left_out += is_out;
            }
            v.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        for (int bit = 0; bit < 64; bit++)
            cr_assert_not(leat_packet_tag_is(&right, right.tag ^ UINT64_C(1) << bit));
    }
    fclose(file);
    cr_assert_gt(flips, 500u);
    cr_assert_eq(left_out, 8u * (16 + 8 + 8));
}

/* Frames are not checked before the checksum is: lengths may say anything. */
Test(packet, a_partial_checksum_reads_nothing_beyond_the_packet)
{
    struct seeded random = seeded_start("packet_partial");
    unsigned carried = 0;
    for (uint32_t i = 0; i < 50000; i++) {
        const uint32_t size = LEAT_PACKET_OVERHEAD_BYTES + seeded_below(&random, 300);
        uint8_t *bytes = malloc(size); /* so small that ASan sees its end */
        cr_assert_not_null(bytes);
        struct leat_packet packet = { .type = LEAT_PACKET_SESSION,
                                      .length = (uint16_t)size,
                                      .has_ack = seeded_below(&random, 2) == 0 };
        seeded_fill(&random, bytes, size);
        uint8_t *frame = bytes + leat_packet_write(bytes, &packet);
        while (frame + LEAT_FRAME_HEADER_BYTES <= bytes + size) {
            *frame = seeded_below(&random, 2) == 0 ? LEAT_FRAME_DATA : LEAT_FRAME_PING;
            const uint32_t length = seeded_below(&random, 120);
            leat_store16(frame + 2, (uint16_t)length);
            carried += *frame == LEAT_FRAME_DATA;
            frame += length < LEAT_FRAME_HEADER_BYTES ? LEAT_FRAME_HEADER_BYTES : length;
        }
        leat_packet_seal_partial(bytes, size, NULL, 0);
        cr_assert_eq(leat_packet_decode(&packet, bytes, size), LEAT_OK);
        cr_assert(leat_packet_is_intact(&packet, bytes, true));
        cr_assert_not(leat_packet_is_intact(&packet, bytes, false));
        free(bytes);
    }
    cr_assert_gt(carried, 10000u);
}

/* A sender's bytes lie in two places, and the second may be of any size. Where the checksum leaves
 * them out it is the same wherever they lie. */
Test(packet, a_checksum_runs_over_what_is_sent_from_two_places)
{
    static uint8_t bytes[2048];
    struct seeded random = seeded_start("packet_seal");
    for (uint32_t i = 0; i < 5000; i++) {
        const uint32_t size =
            LEAT_PACKET_HEADER_BYTES + LEAT_PACKET_GUARD_BYTES + seeded_below(&random, 100);
        const uint32_t more =
            seeded_below(&random, (uint32_t)sizeof bytes - size - LEAT_DATA_HEADER_BYTES);
        struct leat_packet packet = { .type = LEAT_PACKET_SESSION,
                                      .length = (uint16_t)(size + more),
                                      .tag = seeded_next(&random) };
        seeded_fill(&random, bytes, size + more);
        leat_packet_write(bytes, &packet);
        leat_packet_seal(bytes, size, bytes + size, more);
        cr_assert_eq(leat_packet_decode(&packet, bytes, sizeof bytes), LEAT_OK);
        cr_assert(leat_packet_is_intact(&packet, bytes, false));
        if (more == 0)
            continue;
        const uint32_t at = LEAT_PACKET_HEADER_BYTES + LEAT_PACKET_GUARD_BYTES;
        leat_packet_write(bytes, &packet);
        leat_frame_write_data(bytes + at, 5, 100, more);
        leat_packet_set_length(bytes, (uint16_t)(at + LEAT_DATA_HEADER_BYTES + more));
        leat_packet_seal_partial(bytes, at + LEAT_DATA_HEADER_BYTES,
                                 bytes + at + LEAT_DATA_HEADER_BYTES, more);
        cr_assert_eq(leat_packet_decode(&packet, bytes, sizeof bytes), LEAT_OK);
        cr_assert(leat_packet_is_intact(&packet, bytes, true));
    }
}

Test(packet, a_delay_too_long_for_its_field_is_the_longest_there_is)
{
    uint8_t bytes[LEAT_PACKET_OVERHEAD_BYTES];
    const leat_ns delays[] = { LEAT_PACKET_DELAY_MAX_NS + 256, UINT64_C(1) << 40, UINT64_MAX };
    for (size_t i = 0; i < sizeof delays / sizeof delays[0]; i++) {
        struct leat_packet packet = { .type = LEAT_PACKET_SESSION, .has_ack = true };
        packet.length = LEAT_PACKET_OVERHEAD_BYTES;
        packet.ack.delay_ns = delays[i];
        const size_t size = leat_packet_write(bytes, &packet);
        cr_assert_eq(leat_packet_decode(&packet, bytes, size), LEAT_OK);
        cr_assert_eq(packet.ack.delay_ns, LEAT_PACKET_DELAY_MAX_NS);
    }
}

static uint64_t distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

Test(packet, a_number_is_the_closest_with_that_low_half)
{
    static const struct {
        uint64_t near;
        uint32_t low;
        uint64_t is;
    } cases[] = {
        { 5, 5, 5 },
        { 0xfffffff0, 2, 0x100000002 },
        { 0x100000002, 0xfffffff0, 0xfffffff0 },
        { 2, 0xfffffff0, 0xfffffff0 }, /* nothing is before 0 */
        { 0xfffffffffffffff0, 2, 0xffffffff00000002 },
        { 0x300000000, 0x7fffffff, 0x37fffffff },
        { 0x300000000, 0x80000001, 0x280000001 },
    };
    struct seeded random = seeded_start("packet");
    const uint64_t period = UINT64_C(1) << 32;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_assert_eq(leat_packet_number(cases[i].near, cases[i].low), cases[i].is, "case %zu", i);
    for (int i = 0; i < 100000; i++) {
        const uint64_t near = seeded_next(&random) >> seeded_below(&random, 64);
        const uint32_t low = (uint32_t)seeded_next(&random);
        const uint64_t number = leat_packet_number(near, low);
        cr_assert_eq((uint32_t)number, low);
        if (number >= period)
            cr_assert_leq(distance(number, near), distance(number - period, near));
        if (number <= UINT64_MAX - period)
            cr_assert_leq(distance(number, near), distance(number + period, near));
    }
}

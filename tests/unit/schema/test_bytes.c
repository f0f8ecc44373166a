/* Goal: integers stand little-endian at any alignment.
 * Method: each width is stored at every offset of a word; the bytes are compared with shifts of
 * the value, the neighbours must stay, and the load gives the value back. */
#include <criterion/criterion.h>

#include "schema/bytes.h"

enum {
    ROOM = 24,
    FILL = 0xEE,
};

static void expect_bytes(const uint8_t *buffer, unsigned at, unsigned width, uint64_t value)
{
    for (unsigned i = 0; i < ROOM; i++) {
        const bool inside = i >= at && i < at + width;
        const uint8_t want = (uint8_t)(inside ? value >> 8 * (i - at) : FILL);
        cr_assert_eq(buffer[i], want, "width %u at %u: byte %u", width, at, i);
    }
}

Test(bytes, stores_little_endian_and_loads_back_at_every_alignment)
{
    const uint64_t value = UINT64_C(0xF1E2D3C4B5A69788);
    for (unsigned at = 0; at < 16; at++) {
        uint8_t buffer[ROOM];
        memset(buffer, FILL, sizeof buffer);
        leat_store16(buffer + at, (uint16_t)value);
        expect_bytes(buffer, at, 2, value);
        cr_assert_eq(leat_load16(buffer + at), (uint16_t)value);

        memset(buffer, FILL, sizeof buffer);
        leat_store32(buffer + at, (uint32_t)value);
        expect_bytes(buffer, at, 4, value);
        cr_assert_eq(leat_load32(buffer + at), (uint32_t)value);

        memset(buffer, FILL, sizeof buffer);
        leat_store64(buffer + at, value);
        expect_bytes(buffer, at, 8, value);
        cr_assert_eq(leat_load64(buffer + at), value);
    }
}

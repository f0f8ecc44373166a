/* CRC-32C (Castagnoli), as in iSCSI: reflected polynomial 0x82F63B78, initial value and final xor
 * 0xFFFFFFFF (RFC 3720, appendix B.4). */
#include "schema/crc32c.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#endif

#include "schema/bytes.h"

/* A checksum in progress ("raw") is the register before the final xor. */

#define POLYNOMIAL UINT32_C(0x82F63B78) /* x^32 is implied; bit 31 is x^0 */

enum {
    SLICES = 8,
    STREAM_WORDS_MAX = LEAT_CRC32C_PIECE_BYTES / 8 / 3,
    SHIFT_WORDS_MAX = 3 * STREAM_WORDS_MAX,
};

typedef uint32_t raw_extend_fn(uint32_t raw, const uint8_t *at, size_t size);

/* slices[k][b]: what byte b does to the register when k more bytes follow it. */
static uint32_t slices[SLICES][256];

static uint32_t times_x(uint32_t a)
{
    return (a >> 1) ^ (POLYNOMIAL & (0 - (a & 1)));
}

static void fill_slices(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t raw = b;
        for (int bit = 0; bit < 8; bit++)
            raw = times_x(raw);
        slices[0][b] = raw;
    }
    for (int k = 1; k < SLICES; k++) {
        for (uint32_t b = 0; b < 256; b++) {
            uint32_t before = slices[k - 1][b];
            slices[k][b] = (before >> 8) ^ slices[0][before & 0xFF];
        }
    }
}

static uint32_t extend_by_tables(uint32_t raw, const uint8_t *at, size_t size)
{
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t w = leat_load64(at) ^ raw;
        raw = slices[7][w & 0xFF] ^ slices[6][w >> 8 & 0xFF] ^ slices[5][w >> 16 & 0xFF]
              ^ slices[4][w >> 24 & 0xFF] ^ slices[3][w >> 32 & 0xFF] ^ slices[2][w >> 40 & 0xFF]
              ^ slices[1][w >> 48 & 0xFF] ^ slices[0][w >> 56];
    }
    for (; size > 0; at++, size--)
        raw = (raw >> 8) ^ slices[0][(raw ^ *at) & 0xFF];
    return raw;
}

/* Written once by choose_path, at load time, while there is one thread. */
static raw_extend_fn *extend = extend_by_tables;
static const char *path = "portable";

#if defined(__x86_64__)
/* shifts[w] = x^(64 w - 33) mod P. The carry-less product of two reflected 32-bit values is one
 * power of x short of their product, and the crc32 instruction multiplies by x^32: together they
 * turn x^(64 w - 33) into a shift by w words. */
static uint32_t shifts[SHIFT_WORDS_MAX + 1];

static void fill_shifts(void)
{
    uint32_t power = 1; /* x^31 */
    for (int w = 1; w <= SHIFT_WORDS_MAX; w++) {
        shifts[w] = power;
        for (int bit = 0; bit < 64; bit++)
            power = times_x(power);
    }
}

__attribute__((target("sse4.2"))) static inline uint32_t extend_tail(uint32_t raw,
                                                                     const uint8_t *at, size_t size)
{
    uint64_t crc = raw;
    for (; size >= 8; at += 8, size -= 8)
        crc = _mm_crc32_u64(crc, leat_load64(at));
    raw = (uint32_t)crc;
    if (size & 4) {
        raw = _mm_crc32_u32(raw, leat_load32(at));
        at += 4;
    }
    if (size & 2) {
        raw = _mm_crc32_u16(raw, leat_load16(at));
        at += 2;
    }
    if (size & 1)
        raw = _mm_crc32_u8(raw, *at);
    return raw;
}

__attribute__((target("sse4.2"))) static uint32_t extend_one_stream(uint32_t raw, const uint8_t *at,
                                                                    size_t size)
{
    return extend_tail(raw, at, size);
}

__attribute__((target("sse4.2,pclmul"))) static inline uint64_t shift_product(uint64_t crc,
                                                                              size_t words)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc),
                                           _mm_cvtsi64_si128((long long)shifts[words]), 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

/* The crc32 instruction has a throughput of one per cycle and a latency of three cycles, so three
 * streams run in parallel and are combined. Every stream starts from zero and `raw` is added at the
 * end: the dependency between calls is then one multiplication instead of a whole stream. */
__attribute__((target("sse4.2,pclmul"))) static inline uint32_t extend_three_streams(
    uint32_t raw, const uint8_t *at, size_t words)
{
    const uint8_t *second = at + 8 * words;
    const uint8_t *third = second + 8 * words;
    uint64_t a = 0;
    uint64_t b = 0;
    uint64_t c = 0;
    for (size_t i = 0; i < 8 * words; i += 8) {
        a = _mm_crc32_u64(a, leat_load64(at + i));
        b = _mm_crc32_u64(b, leat_load64(second + i));
        c = _mm_crc32_u64(c, leat_load64(third + i));
    }
    uint64_t joined =
        shift_product(raw, 3 * words) ^ shift_product(a, 2 * words) ^ shift_product(b, words);
    return (uint32_t)(_mm_crc32_u64(0, joined) ^ c);
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t extend_streams(uint32_t raw,
                                                                        const uint8_t *at,
                                                                        size_t size)
{
    for (; size >= LEAT_CRC32C_PIECE_BYTES;
         at += LEAT_CRC32C_PIECE_BYTES, size -= LEAT_CRC32C_PIECE_BYTES)
        raw = extend_three_streams(raw, at, STREAM_WORDS_MAX);
    size_t words = size / 24;
    if (words >= 5) { /* below that, combining costs more than it saves */
        raw = extend_three_streams(raw, at, words);
        at += 24 * words;
        size -= 24 * words;
    }
    return extend_tail(raw, at, size);
}

static void choose_instruction(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("sse4.2"))
        return;
    extend = extend_one_stream;
    path = "sse4.2";
    if (__builtin_cpu_supports("pclmul")) {
        fill_shifts();
        extend = extend_streams;
        path = "sse4.2+pclmul";
    }
}
#else
static void choose_instruction(void)
{
}
#endif

__attribute__((constructor)) static void choose_path(void)
{
    fill_slices();
    choose_instruction();
}

uint32_t leat_crc32c_extend(uint32_t crc, const void *bytes, size_t size)
{
    return ~extend(~crc, bytes, size);
}

uint32_t leat_crc32c(const void *bytes, size_t size)
{
    return ~extend(UINT32_MAX, bytes, size);
}

uint32_t leat_crc32c_extend_portable(uint32_t crc, const void *bytes, size_t size)
{
    return ~extend_by_tables(~crc, bytes, size);
}

uint32_t leat_crc32c_portable(const void *bytes, size_t size)
{
    return ~extend_by_tables(UINT32_MAX, bytes, size);
}

const char *leat_crc32c_path(void)
{
    return path;
}

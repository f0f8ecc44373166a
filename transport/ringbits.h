/* Ringbits: a bitmap of the newest RINGBITS numbers of an increasing sequence.
 *
 * Role: pure. Tests, sets, clears and searches bits. Bit positions descend as numbers ascend, so
 * that an ack block's map (bit i: number - 1 - i) is one shift away. Numbers that are RINGBITS or
 * more apart share a bit: the user clears the bits of numbers that leave the range, and asks for no
 * number outside it.
 * Must not know: what a bit means.
 * Threads: the owner's. */
#ifndef LEAT_TRANSPORT_RINGBITS_H
#define LEAT_TRANSPORT_RINGBITS_H

#include <stdbool.h>
#include <stdint.h>

enum { RINGBITS = 1024, RINGBITS_WORDS = RINGBITS / 64 };

static inline uint32_t ringbits_place(uint64_t number)
{
    return (uint32_t)~number & (RINGBITS - 1);
}

static inline bool ringbits_test(const uint64_t *bits, uint64_t number)
{
    const uint32_t place = ringbits_place(number);
    return (bits[place / 64] >> place % 64 & 1) != 0;
}

static inline void ringbits_set(uint64_t *bits, uint64_t number)
{
    const uint32_t place = ringbits_place(number);
    bits[place / 64] |= UINT64_C(1) << place % 64;
}

static inline void ringbits_clear(uint64_t *bits, uint64_t number)
{
    const uint32_t place = ringbits_place(number);
    bits[place / 64] &= ~(UINT64_C(1) << place % 64);
}

/* The 64 numbers before `number`. Bit i: number - 1 - i. */
static inline uint64_t ringbits_before(const uint64_t *bits, uint64_t number)
{
    const uint32_t place = ringbits_place(number - 1);
    const uint32_t shift = place % 64;
    const uint64_t next = bits[(place / 64 + 1) % RINGBITS_WORDS];
    return bits[place / 64] >> shift | next << 1 << (63 - shift);
}

/* The lowest number of [from, to) that is set; `to`: none is. to - from <= RINGBITS. */
static inline uint64_t ringbits_first(const uint64_t *bits, uint64_t from, uint64_t to)
{
    while (from < to) {
        const uint32_t place = ringbits_place(from);
        const uint32_t top = place % 64; /* higher numbers are at lower places */
        const uint64_t word = bits[place / 64] << (63 - top);
        if (word != 0) {
            from += (uint32_t)__builtin_clzll(word);
            return from < to ? from : to;
        }
        from += top + 1;
    }
    return to;
}

/* Clears [from, to). to - from <= RINGBITS. */
static inline void ringbits_clear_range(uint64_t *bits, uint64_t from, uint64_t to)
{
    while (from < to) {
        const uint32_t place = ringbits_place(from);
        const uint32_t top = place % 64;
        const uint64_t count = to - from <= top ? to - from : top + 1;
        bits[place / 64] &= ~(UINT64_MAX >> (64 - count) << (top + 1 - count));
        from += count;
    }
}

#endif

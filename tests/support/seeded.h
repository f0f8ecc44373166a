/* Random numbers of a seed that a failing test prints, so that the run can be had again.
 *
 * Role: splitmix64, and the seed from LEAT_TEST_SEED or a fixed one.
 * Must not know: what is tested.
 * Threads: one generator, one thread. */
#ifndef LEAT_TESTS_SUPPORT_SEEDED_H
#define LEAT_TESTS_SUPPORT_SEEDED_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct seeded {
    uint64_t state;
};

static inline uint64_t seeded_next(struct seeded *s)
{
    uint64_t z = s->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* 0 .. below - 1 */
static inline uint32_t seeded_below(struct seeded *s, uint32_t below)
{
    return (uint32_t)(seeded_next(s) % below);
}

static inline void seeded_fill(struct seeded *s, uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)seeded_next(s);
}

static inline struct seeded seeded_start(const char *test)
{
    const char *text = getenv("LEAT_TEST_SEED");
    const uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : 20240808;
    fprintf(stderr, "%s: LEAT_TEST_SEED=%llu\n", test, (unsigned long long)seed);
    return (struct seeded){ .state = seed };
}

#endif

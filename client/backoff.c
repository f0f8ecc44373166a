/* Backoff: pauses between attempts, and the circuit. */
#include "client/backoff.h"

enum { DOUBLINGS_MAX = 40 }; /* 1 ns doubled this often exceeds any sensible max_ns */

static uint64_t next_random(struct backoff *backoff)
{
    uint64_t z = backoff->random += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

bool backoff_open(const struct backoff *backoff)
{
    return backoff->failures >= backoff->circuit_failures;
}

leat_ns backoff_failed(struct backoff *backoff)
{
    if (backoff->failures < UINT32_MAX)
        backoff->failures++;
    if (backoff_open(backoff))
        return backoff->open_ns;
    const uint32_t doublings =
        backoff->failures - 1 < DOUBLINGS_MAX ? backoff->failures - 1 : DOUBLINGS_MAX;
    leat_ns whole = backoff->max_ns;
    if (backoff->min_ns <= backoff->max_ns >> doublings)
        whole = backoff->min_ns << doublings;
    /* Half of the pause is jitter, so that clients disconnected together do not reconnect
     * together. */
    const leat_ns half = whole / 2;
    return whole - half + next_random(backoff) % (half + 1);
}

void backoff_succeeded(struct backoff *backoff)
{
    backoff->failures = 0;
}

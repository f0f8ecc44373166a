/* When to retry: pauses that double, with jitter, and a circuit that opens after too many failures
 * in a row.
 *
 * Role: pure arithmetic over failures and time.
 * Must not know: what is retried, clocks, where randomness comes from.
 * Threads: one per object. */
#ifndef LEAT_CLIENT_BACKOFF_H
#define LEAT_CLIENT_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/units.h"

struct backoff {
    leat_ns min_ns;
    leat_ns max_ns;
    leat_ns open_ns; /* how long the circuit stays open */
    uint32_t circuit_failures;
    uint32_t failures; /* in a row */
    uint64_t random;   /* any value; seeds the jitter */
};

/* Counts a failure and returns the pause before the next attempt: open_ns while the circuit is
 * open. Otherwise it is random between half of the nominal pause and all of it; the nominal pause
 * is min_ns, doubled with each failure, at most max_ns. */
leat_ns backoff_failed(struct backoff *backoff);

/* True if the circuit is open: circuit_failures or more in a row. */
bool backoff_open(const struct backoff *backoff);

void backoff_succeeded(struct backoff *backoff);

#endif

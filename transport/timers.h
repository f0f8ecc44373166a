/* Timers: a priority queue of deadlines, earliest first.
 *
 * Role: pure. A binary heap of timers that belong to their owners. A timer that moves later stays
 * where it is; when its old time comes its owner sets it again. So the most frequent change, every
 * acknowledgement moving a probe timer later, costs nothing.
 * Must not know: what is due, clocks.
 * Threads: the owner's. Allocates only in timers_open. */
#ifndef LEAT_TRANSPORT_TIMERS_H
#define LEAT_TRANSPORT_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/error.h"
#include "schema/units.h"

struct timer {
    leat_ns at;
    uint32_t place; /* index in the heap, from 1; 0: not in it */
};

struct timers {
    struct timer **heap; /* [1 .. count] */
    uint32_t count, capacity;
};

/* Allocates room for `capacity` timers. LEAT_OK or LEAT_ERR_NO_MEMORY. */
enum leat_error timers_open(struct timers *timers, uint32_t capacity);
void timers_close(struct timers *timers);

/* Makes `timer` due at `at`, unless it is due earlier already. LEAT_NS_NEVER changes nothing. */
void timers_set(struct timers *timers, struct timer *timer, leat_ns at);
void timers_remove(struct timers *timers, struct timer *timer);

/* Removes and returns a timer that is due; NULL: none is. It may be early: its owner checks what is
 * really due, and sets it again. */
struct timer *timers_due(struct timers *timers, leat_ns now);

static inline leat_ns timers_next(const struct timers *timers)
{
    return timers->count != 0 ? timers->heap[1]->at : LEAT_NS_NEVER;
}

#endif

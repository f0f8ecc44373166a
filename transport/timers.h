/* Timers: many deadlines, the nearest one first.
 *
 * Role: pure; a heap of borrowed timers. A timer that is put off stays where it is until its old
 * time comes and its owner puts it in again: what moves most (a probe timer, pushed on by every
 * acknowledgement) costs nothing.
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
    uint32_t place; /* in the heap, counting from 1; 0: not in it */
};

struct timers {
    struct timer **heap; /* [1 .. count] */
    uint32_t count, capacity;
};

/* Room for `capacity` timers. LEAT_ERR_NO_MEMORY. */
enum leat_error timers_open(struct timers *timers, uint32_t capacity);
void timers_close(struct timers *timers);

/* Due at `at`, unless it is due earlier already. LEAT_NS_NEVER changes nothing. */
void timers_set(struct timers *timers, struct timer *timer, leat_ns at);
void timers_remove(struct timers *timers, struct timer *timer);

/* Takes one that is due out; NULL: none is. Its owner looks what is really due, and sets it anew.
 */
struct timer *timers_due(struct timers *timers, leat_ns now);

static inline leat_ns timers_next(const struct timers *timers)
{
    return timers->count != 0 ? timers->heap[1]->at : LEAT_NS_NEVER;
}

#endif

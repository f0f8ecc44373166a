/* Loss: how many records were in a range of offsets that was lost with a log or a broker.
 *
 * Role: the lower bound, as both broker and client count it.
 * Must not know: who asks.
 * Threads: any; nothing here has state.
 *
 * A broker that keeps its state reserves offsets ahead. If it is killed, the next log begins above
 * the reserve, and nobody knows how many of the offsets in between were records. After an orderly
 * stop the next log begins where the last one ended. A log is therefore certain from some offset
 * on: every offset from there to its end is a record, also in earlier lives of the log. */
#ifndef LEAT_SCHEMA_LOSS_H
#define LEAT_SCHEMA_LOSS_H

#include <stdint.h>

/* The number of offsets in [first, next) that are known to be records: those below `seen`, which
 * were seen in the log that `first` belongs to, and those from `certain` on. Takes any values; 0 if
 * next <= first. */
static inline uint64_t leat_lost_at_least(uint64_t first, uint64_t next, uint64_t seen,
                                          uint64_t certain)
{
    if (next <= first)
        return 0;
    const uint64_t from = certain < first ? first : certain < next ? certain : next;
    const uint64_t below = seen < first ? first : seen < from ? seen : from;
    return (below - first) + (next - from);
}

#endif

/* Loss: how many records a range of offsets stands for, when it was lost with a log or with a
 * broker.
 *
 * Role: the one way in which broker and client count what is certain. Must not know: who asks.
 *
 * A broker that keeps its state reserves offsets ahead. When it is killed, the next log begins
 * above the reserve, and nobody knows how many of the offsets in between were records. After an
 * orderly stop the next log begins where the last one ended. So a log is certain from some offset
 * on: those from there up to its end are records, also those of earlier lives of the log. Threads:
 * any; nothing here has state. */
#ifndef LEAT_SCHEMA_LOSS_H
#define LEAT_SCHEMA_LOSS_H

#include <stdint.h>

/* Of the offsets [first, next), those that are known to be records: the ones below `seen`, which
 * were seen in the log that `first` belongs to, and the ones from `certain` on. Any values; 0 where
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

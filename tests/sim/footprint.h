/* Footprint: what the process holds, so that runs one after the other can be compared.
 *
 * Role: heap in use, memory mapped, the lowest descriptor that is free.
 * Must not know: who holds it.
 * Threads: one. */
#ifndef LEAT_TESTS_SIM_FOOTPRINT_H
#define LEAT_TESTS_SIM_FOOTPRINT_H

#include <stdint.h>

struct footprint {
    uint64_t heap_bytes; /* 0: the allocator does not tell, as a sanitizer's */
    uint64_t mapped_bytes;
    int descriptor;
};

struct footprint footprint_now(void);
/* NULL, or what there is more of than at `then`, beyond what an allocator keeps for the next time.
 */
const char *footprint_grown(const struct footprint *then, const struct footprint *now);

#endif

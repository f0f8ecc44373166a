/* Footprint: what the process holds, so that runs one after the other can be compared. */
#include "tests/sim/footprint.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    HEAP_KEPT_BYTES = 1 << 20,   /* freed, and counted as in use */
    MAPPED_KEPT_BYTES = 64 << 20 /* freed, and not given back to the system */
};

static uint64_t mapped_bytes(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%lu", &pages) != 1)
        abort();
    fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

struct footprint footprint_now(void)
{
    const struct mallinfo2 heap = mallinfo2();
    const int descriptor = dup(STDERR_FILENO);
    close(descriptor);
    return (struct footprint){ .heap_bytes = heap.uordblks + heap.hblkhd,
                               .mapped_bytes = mapped_bytes(),
                               .descriptor = descriptor };
}

const char *footprint_grown(const struct footprint *then, const struct footprint *now)
{
    if (now->descriptor > then->descriptor)
        return "a descriptor was not closed";
    if (now->heap_bytes == 0)
        return NULL;
    if (now->heap_bytes > then->heap_bytes + HEAP_KEPT_BYTES)
        return "memory was not freed";
    if (now->mapped_bytes > then->mapped_bytes + MAPPED_KEPT_BYTES)
        return "memory was not unmapped";
    return NULL;
}

/* Memory limits: finds how much memory this process may use, and which limit says so.
 *
 * Role: reads the memory of the machine, the limits of the control groups (v1 and v2, up to the
 * root) of this process and its resource limits from /proc and /sys, and finds the smallest.
 * Must not know: what the memory is for.
 *
 * Limits of groups above the root of a container are not visible inside it. v1 includes them in
 * hierarchical_memory_limit; v2 does not show them.
 * Threads: any. */
#ifndef LEAT_BROKER_CONFIG_MEMORY_LIMITS_H
#define LEAT_BROKER_CONFIG_MEMORY_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

enum { MEMORY_LIMIT_FROM_BYTES = 512, MEMORY_LIMIT_PATH_BYTES = 4096 };

struct memory_limit {
    uint64_t bytes;                     /* UINT64_MAX: none */
    char from[MEMORY_LIMIT_FROM_BYTES]; /* "memory.max of /sys/fs/cgroup/a"; "" for none */
};

struct memory_limits {
    uint64_t available_bytes;      /* without swapping (MemAvailable); 0: unknown */
    uint64_t huge_available_bytes; /* in free hugepages of the default size; 0: none, or unknown */
    struct memory_limit hard;      /* beyond it the kernel kills the process or refuses memory */
    struct memory_limit soft;      /* beyond it the kernel throttles the process or swaps */
    struct memory_limit huge;      /* hard limit for 2 MiB hugepages */
};

/* Reads the limits. `root` is prepended to every path; "" for the real files. A file that cannot be
 * read sets no limit. */
void memory_limits_read(struct memory_limits *out, const char *root);

/* The smaller one of two. */
const struct memory_limit *memory_limit_least(const struct memory_limit *a,
                                              const struct memory_limit *b);

#endif

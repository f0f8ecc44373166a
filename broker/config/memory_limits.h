/* Memory limits: how much memory this process may have, and who says so.
 *
 * Role: read what the kernel tells of the machine, of the control groups (v1 and v2) that this
 * process is in, up to the root, and of its resource limits, and find the least.
 * Must not know: what the memory is for.
 *
 * Limits of groups above a container's own root cannot be seen from within; version 1 tells them in
 * hierarchical_memory_limit, version 2 does not. Threads: any. */
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
    uint64_t available_bytes;      /* without swapping; 0: unknown */
    uint64_t huge_available_bytes; /* in free hugepages of the default size; 0: none, or unknown */
    struct memory_limit hard;      /* beyond it the process is killed, or memory is refused */
    struct memory_limit soft;      /* beyond it the process is slowed down, or swaps */
    struct memory_limit huge;      /* hard, of hugepages of 2 MiB alone */
};

/* `root` stands before every path: "" for this machine. What cannot be read is no limit. */
void memory_limits_read(struct memory_limits *out, const char *root);

/* The smaller one of two. */
const struct memory_limit *memory_limit_least(const struct memory_limit *a,
                                              const struct memory_limit *b);

#endif

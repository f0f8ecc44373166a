/* Log memory: a ring of bytes that is mapped twice in a row, so that every slice is contiguous.
 *
 *      base            base + size       base + 2 size
 *      [ the bytes      ][ the same bytes ]
 *
 * Role: reserve the memory, on hugepages where available, and charge it to a budget.
 * Must not know: what is stored, positions, batches.
 *
 * A memfd backs both mappings. All of its pages are allocated at open, so that a later write cannot
 * fail. ThreadSanitizer does not know that two mappings are one memory: under it the second half is
 * ordinary memory, and logmem_write stores twice.
 *
 * Threads: logmem_open and logmem_close run one at a time, on the control thread or on the worker
 * it waits for. Any thread may read how much of a budget is in use. The bytes belong to the owning
 * shard. */
#ifndef LEAT_BROKER_LOG_LOGMEM_H
#define LEAT_BROKER_LOG_LOGMEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/error.h"

/* Detects ThreadSanitizer however it was enabled: a second mapping that it does not know of would
 * hide races. */
#if !defined(LEAT_TSAN) && defined(__SANITIZE_THREAD__)
#define LEAT_TSAN
#elif !defined(LEAT_TSAN) && defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LEAT_TSAN
#endif
#endif

enum logmem_pages {
    LOGMEM_AUTO, /* hugepages if available, else normal pages */
    LOGMEM_HUGE, /* hugepages, or an error */
    LOGMEM_NORMAL,
};

struct logmem;

struct logmem_budget {
    uint64_t limit_bytes;
    _Atomic uint64_t used_bytes;
    _Atomic uint64_t normal_bytes; /* the part of used_bytes on normal pages */
    enum logmem_pages pages;
    int refused; /* errno of the last request that the kernel refused */
    /* Called after each ring was opened and before it is closed; NULL: not called. */
    void (*opened)(const struct logmem *mem);
    void (*closing)(const struct logmem *mem);
};

struct logmem {
    uint8_t *base; /* 2 * size readable and writable bytes */
    uint64_t size;
    bool hugepages;
};

/* Opens a ring of `size` bytes, a power of two and a multiple of the page size, and charges it to
 * the budget. A ring smaller than one hugepage uses normal pages, whatever budget->pages is.
 * LEAT_ERR_NO_MEMORY: when *missing_bytes > 0, the budget lacks that much; when it is 0, the kernel
 * refused, and budget->refused is its errno. On an error nothing is allocated or charged. */
enum leat_error logmem_open(struct logmem *out, uint64_t size, struct logmem_budget *budget,
                            uint64_t *missing_bytes);
void logmem_close(struct logmem *mem, struct logmem_budget *budget);

/* Copies `length` bytes to index `at` of the ring (0 <= at < size, length <= size). */
void logmem_write(const struct logmem *mem, uint64_t at, const void *bytes, uint64_t length);

/* Call after writing to mem->base + at without logmem_write. Under ThreadSanitizer it copies the
 * bytes to the other half of the ring; in other builds the halves are one memory. */
static inline void logmem_written(const struct logmem *mem, uint64_t at, uint64_t length)
{
#ifdef LEAT_TSAN
    logmem_write(mem, at, mem->base + at, length);
#else
    (void)mem;
    (void)at;
    (void)length;
#endif
}

#endif

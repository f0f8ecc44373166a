/* Log memory: a ring of bytes mapped twice in a row, so that every slice of it is contiguous.
 *
 *      base            base + size       base + 2 size
 *      [ the bytes      ][ the same bytes ]
 *
 * Role: reserve it (hugepages when they can be had), account for it against one budget.
 * Must not know: what is stored, positions, batches.
 *
 * A memfd backs both mappings; its pages are all reserved at open, so that writing can never fail.
 * Under ThreadSanitizer, which does not see that two mappings are one memory, the second half is
 * ordinary memory and logmem_write stores twice.
 *
 * Threads: open and close, one at a time, belong to control and to the worker it waits for; what a
 * budget has in use may be read by anybody; the bytes belong to the owning shard. */
#ifndef LEAT_BROKER_LOG_LOGMEM_H
#define LEAT_BROKER_LOG_LOGMEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/error.h"

/* However ThreadSanitizer was asked for: a mirror it cannot see would hide races. */
#if !defined(LEAT_TSAN) && defined(__SANITIZE_THREAD__)
#define LEAT_TSAN
#elif !defined(LEAT_TSAN) && defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LEAT_TSAN
#endif
#endif

enum logmem_pages {
    LOGMEM_AUTO, /* hugepages if they can be had, else normal ones */
    LOGMEM_HUGE, /* hugepages or nothing */
    LOGMEM_NORMAL,
};

struct logmem;

struct logmem_budget {
    uint64_t limit_bytes;
    _Atomic uint64_t used_bytes;
    _Atomic uint64_t normal_bytes; /* of them, on normal pages */
    enum logmem_pages pages;
    int refused; /* errno of what the kernel refused last */
    /* Told of each ring after it opened and before it closes; NULL: nobody. */
    void (*opened)(const struct logmem *mem);
    void (*closing)(const struct logmem *mem);
};

struct logmem {
    uint8_t *base; /* 2 * size readable and writable bytes */
    uint64_t size;
    bool hugepages;
};

/* `size`: a power of two, multiple of the page size. Charges the budget; with hugepages a size
 * below one hugepage uses normal pages. LEAT_ERR_NO_MEMORY: over budget, *missing_bytes > 0 says by
 * how much; *missing_bytes == 0: the kernel refused, and budget->refused says why. Nothing is held
 * on error. */
enum leat_error logmem_open(struct logmem *out, uint64_t size, struct logmem_budget *budget,
                            uint64_t *missing_bytes);
void logmem_close(struct logmem *mem, struct logmem_budget *budget);

/* Copies `bytes` to ring place `at` (0 <= at < size, length <= size). */
void logmem_write(const struct logmem *mem, uint64_t at, const void *bytes, uint64_t length);

/* The bytes at mem->base + at were written there: shows them in the other half too, where that is
 * other memory (under ThreadSanitizer). */
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

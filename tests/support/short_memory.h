/* Memory that runs out: the n-th allocation of this thread fails, once.
 *
 * Role: glibc's allocation behind functions of the same names that can be told to refuse. It
 * defines them, so only the one source file of a test program includes it. Under a sanitizer malloc
 * itself is the sanitizer's and never refuses; what is built on it does.
 * Threads: each has its own count. */
#ifndef LEAT_TESTS_SUPPORT_SHORT_MEMORY_H
#define LEAT_TESTS_SUPPORT_SHORT_MEMORY_H

#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/sanitized.h"

/* Allocations that still succeed; below 0: all of them. */
static _Thread_local long short_memory_left = -1;
static _Thread_local bool short_memory_struck; /* one was refused */

/* The allocation after `n` more fails. */
static inline void short_memory_fail_after(long n)
{
    short_memory_left = n;
    short_memory_struck = false;
}

/* Every allocation succeeds again. True when one was refused since short_memory_fail_after. */
static inline bool short_memory_end(void)
{
    short_memory_left = -1;
    return short_memory_struck;
}

static inline bool short_memory_refuses(void)
{
    if (short_memory_left < 0 || short_memory_left-- > 0)
        return false;
    short_memory_struck = true;
    errno = ENOMEM;
    return true;
}

#if SANITIZED
/* Called through a pointer that the compiler cannot follow: it would make calloc of malloc and
 * memset, which is what is being defined. */
static void *(*volatile short_memory_take)(size_t) = malloc;
#else
void *__libc_malloc(size_t size);
void *malloc(size_t size);
static void *(*volatile short_memory_take)(size_t) = __libc_malloc;

void *malloc(size_t size)
{
    return short_memory_refuses() ? NULL : short_memory_take(size);
}
#endif

void *calloc(size_t n, size_t size);
void *realloc(void *block, size_t size);
void *aligned_alloc(size_t alignment, size_t size);
char *strdup(const char *text);

void *calloc(size_t n, size_t size)
{
    size_t all;
    if (short_memory_refuses() || __builtin_mul_overflow(n, size, &all))
        return NULL;
    void *block = short_memory_take(all);
    if (block != NULL)
        memset(block, 0, all);
    return block;
}

void *realloc(void *block, size_t size)
{
    if (short_memory_refuses())
        return NULL;
    void *more = short_memory_take(size);
    if (more == NULL || block == NULL)
        return more;
    const size_t had = malloc_usable_size(block);
    memcpy(more, block, had < size ? had : size);
    free(block);
    return more;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    void *block;
    if (short_memory_refuses() || posix_memalign(&block, alignment, size) != 0)
        return NULL;
    return block;
}

char *strdup(const char *text)
{
    const size_t size = strlen(text) + 1;
    if (short_memory_refuses())
        return NULL;
    char *copy = short_memory_take(size);
    return copy != NULL ? memcpy(copy, text, size) : NULL;
}

#endif

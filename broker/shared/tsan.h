/* Annotations for ThreadSanitizer: liburcu is not instrumented, so what it passes from one thread
 * to another looks like a race. In other builds they do nothing.
 *
 * Role: annotations.
 * Must not know: anything.
 * Threads: any. */
#ifndef LEAT_BROKER_SHARED_TSAN_H
#define LEAT_BROKER_SHARED_TSAN_H

#include <stdlib.h>

#ifdef LEAT_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
const char *__tsan_default_suppressions(void);

/* liburcu's threads free memory that its other threads allocated, over synchronisation that is not
 * instrumented. */
__attribute__((weak, visibility("default"))) const char *__tsan_default_suppressions(void)
{
    return "race:liburcu-qsbr.so\nrace:liburcu-cds.so\n";
}

/* Call before `object` is passed to liburcu (a table, call_rcu). */
static inline void tsan_give(void *object)
{
    __tsan_release(object);
}

/* Call before the first access to what liburcu returned. */
static inline void tsan_take(void *object)
{
    __tsan_acquire(object);
}

/* ThreadSanitizer sees no grace period and would report the free() as a race. AddressSanitizer
 * checks it in its own build. */
static inline void tsan_free(void *object)
{
    (void)object;
}
#else
static inline void tsan_give(void *object)
{
    (void)object;
}

static inline void tsan_take(void *object)
{
    (void)object;
}

static inline void tsan_free(void *object)
{
    free(object);
}
#endif

#endif

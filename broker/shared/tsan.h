/* What ThreadSanitizer cannot see: liburcu is not instrumented, so what it hands from one thread to
 * another looks like a race. These say so; in other builds they are nothing.
 *
 * Role: annotations. Must not know: anything.
 * Threads: any. */
#ifndef LEAT_BROKER_SHARED_TSAN_H
#define LEAT_BROKER_SHARED_TSAN_H

#include <stdlib.h>

#ifdef LEAT_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
const char *__tsan_default_suppressions(void);

/* liburcu's own threads free what other threads of it allocated, over means it does not see. */
__attribute__((weak, visibility("default"))) const char *__tsan_default_suppressions(void)
{
    return "race:liburcu-qsbr.so\nrace:liburcu-cds.so\n";
}

/* Before `object` is given to liburcu (a table, call_rcu). */
static inline void tsan_give(void *object)
{
    __tsan_release(object);
}

/* Before the first look at what liburcu gave back. */
static inline void tsan_take(void *object)
{
    __tsan_acquire(object);
}

/* It sees no grace period and would call this a race: AddressSanitizer watches it. */
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

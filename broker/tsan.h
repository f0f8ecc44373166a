/* What ThreadSanitizer cannot see: liburcu is not instrumented, so what it hands from one thread to
 * another looks like a race. These two say so; in other builds they are nothing.
 *
 * Role: annotations. Must not know: anything.
 * Threads: any. */
#ifndef LEAT_BROKER_TSAN_H
#define LEAT_BROKER_TSAN_H

#ifdef LEAT_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);

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
#else
static inline void tsan_give(void *object)
{
    (void)object;
}

static inline void tsan_take(void *object)
{
    (void)object;
}
#endif

#endif

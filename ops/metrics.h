/* Metrics: a registry of named numbers that others own and update.
 *
 * Role: remember where each number lives, and read them all out (Prometheus text).
 * Must not know: what is counted, who counts, HTTP.
 *
 * A counter is one atomic that its one writer bumps with relaxed stores; readers load it relaxed.
 * Nothing is ever locked on the writer's side. Threads: registering and removing take the
 * registry's lock (never on a record's way); metrics_write any thread. */
#ifndef LEAT_OPS_METRICS_H
#define LEAT_OPS_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/error.h"

struct metrics; /* the registry */

typedef _Atomic uint64_t metric; /* counter or gauge */

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

struct metric_options {
    const char *name;   /* "leat_records_in_total"; copied */
    const char *help;   /* one sentence; copied */
    const char *labels; /* "shard=\"0\"" or NULL; copied */
    enum metric_kind kind;
    const metric *value; /* kept: must outlive its registration */
};

/* One writer: cheaper than an atomic read-modify-write, and just as visible. */
static inline void metric_add(metric *m, uint64_t n)
{
    atomic_store_explicit(m, atomic_load_explicit(m, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline void metric_set(metric *m, uint64_t value)
{
    atomic_store_explicit(m, value, memory_order_relaxed);
}

static inline uint64_t metric_get(const metric *m)
{
    return atomic_load_explicit(m, memory_order_relaxed);
}

enum leat_error metrics_open(struct metrics **out);
void metrics_close(struct metrics *metrics);

/* LEAT_ERR_INVALID (name or labels are not Prometheus's), LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY. */
enum leat_error metrics_register(struct metrics *metrics, const struct metric_options *options);
/* Every metric whose value lies in [base, base + size): call before that memory goes. */
void metrics_unregister(struct metrics *metrics, const void *base, size_t size);

/* The registry as Prometheus text (exposition format 0.0.4), families sorted by name. Returns the
 * length it needs without the NUL; writes at most `size` bytes with the NUL. */
size_t metrics_write(struct metrics *metrics, char *text, size_t size);

#endif

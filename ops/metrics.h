/* Metrics: a registry of named values that other modules own and update.
 *
 * Role: keeps the address of each value, and prints all values (Prometheus text format).
 * Must not know: what is counted, who counts, HTTP.
 *
 * A counter is an atomic that has one writer, which uses relaxed stores; readers use relaxed loads.
 * Writers never lock.
 * Threads: any. metrics_register, metrics_unregister and metrics_write take the lock of the
 * registry, so they must not be called on the record path. */
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
    const metric *value; /* borrowed: must outlive the registration */
};

/* Only for the one writer, so a read-modify-write instruction is not needed. */
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

/* LEAT_ERR_NO_MEMORY. */
enum leat_error metrics_open(struct metrics **out);
/* NULL is a no-op. */
void metrics_close(struct metrics *metrics);

/* LEAT_ERR_INVALID (name or labels are not valid in Prometheus, or already registered),
 * LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY. */
enum leat_error metrics_register(struct metrics *metrics, const struct metric_options *options);
/* Removes every metric whose value is in [base, base + size). Call before that memory is freed. */
void metrics_unregister(struct metrics *metrics, const void *base, size_t size);

/* Writes all metrics as Prometheus text (exposition format 0.0.4), families sorted by name. Writes
 * at most `size` bytes including the NUL. Returns the length of the whole text without the NUL. */
size_t metrics_write(struct metrics *metrics, char *text, size_t size);

#endif

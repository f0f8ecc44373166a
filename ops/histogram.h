/* Histogram: counts of values over a wide range with a bounded relative error.
 *
 *      0 .. 127    one bucket per value
 *      128 ..      128 buckets per doubling: the relative error is at most 1/128
 *
 * The layout is that of HDR Histogram (log-linear buckets, G. Tene): the bucket of a value is given
 * by its highest set bit and the seven bits below it.
 *
 * Role: records values, merges histograms, computes percentiles.
 * Must not know: what is counted, units, clocks.
 * Threads: one writer; other threads must read a copy. Fixed size, no allocation. */
#ifndef LEAT_OPS_HISTOGRAM_H
#define LEAT_OPS_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_BITS = 7,
    HISTOGRAM_LINEAR = 1 << HISTOGRAM_BITS,
    HISTOGRAM_BUCKETS = (64 - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS,
};

/* All-zero is an empty histogram. */
struct histogram {
    uint64_t count;
    uint64_t max; /* exact */
    uint64_t min; /* exact; undefined while count is 0 */
    double sum;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

static inline uint32_t histogram_bucket(uint64_t value)
{
    if (value < HISTOGRAM_LINEAR)
        return (uint32_t)value;
    const uint32_t shift = 63 - HISTOGRAM_BITS - (uint32_t)__builtin_clzll(value);
    return (shift + 1) * HISTOGRAM_LINEAR + (uint32_t)(value >> shift) - HISTOGRAM_LINEAR;
}

static inline void histogram_record(struct histogram *h, uint64_t value)
{
    h->buckets[histogram_bucket(value)]++;
    h->min = h->count == 0 || value < h->min ? value : h->min;
    h->max = value > h->max ? value : h->max;
    h->count++;
    h->sum += (double)value;
}

/* The smallest value v such that at least `percent` (0 .. 100) of the recorded values are at most
 * v, rounded up to the end of its bucket, but never above the exact maximum. 0 if nothing was
 * recorded. */
uint64_t histogram_percentile(const struct histogram *h, double percent);

/* The mean of the recorded values; 0 if nothing was recorded. */
double histogram_mean(const struct histogram *h);

/* Adds the values recorded in `from` to `to`. */
void histogram_merge(struct histogram *to, const struct histogram *from);

#endif

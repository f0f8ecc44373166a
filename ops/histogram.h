/* Histogram: counts of values over a wide range with a bounded relative error.
 *
 *      0 .. 127    one place a value
 *      128 ..      128 places for every doubling: a value is told within 1/128 of itself
 *
 * The layout is that of HDR Histogram (log-linear places, G. Tene): the place of a value is its
 * highest set bit and the seven bits below it.
 *
 * Role: record, merge, and read percentiles. Must not know: what is counted, units, clocks.
 * Threads: one writer; a copy is what others read. Fixed size, nothing is allocated. */
#ifndef LEAT_OPS_HISTOGRAM_H
#define LEAT_OPS_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_BITS = 7,
    HISTOGRAM_LINEAR = 1 << HISTOGRAM_BITS,
    HISTOGRAM_PLACES = (64 - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS,
};

/* All-zero is an empty histogram. */
struct histogram {
    uint64_t count;
    uint64_t max; /* exact */
    uint64_t min; /* exact; undefined while count is 0 */
    double sum;
    uint64_t places[HISTOGRAM_PLACES];
};

static inline uint32_t histogram_place(uint64_t value)
{
    if (value < HISTOGRAM_LINEAR)
        return (uint32_t)value;
    const uint32_t shift = 63 - HISTOGRAM_BITS - (uint32_t)__builtin_clzll(value);
    return (shift + 1) * HISTOGRAM_LINEAR + (uint32_t)(value >> shift) - HISTOGRAM_LINEAR;
}

static inline void histogram_record(struct histogram *h, uint64_t value)
{
    h->places[histogram_place(value)]++;
    h->min = h->count == 0 || value < h->min ? value : h->min;
    h->max = value > h->max ? value : h->max;
    h->count++;
    h->sum += (double)value;
}

/* The smallest value v such that at least `percent` of the recorded values are at most v; v is the
 * top of its place, but never above the exact maximum. `percent` is 0 .. 100. 0 when nothing was
 * recorded. */
uint64_t histogram_percentile(const struct histogram *h, double percent);

double histogram_mean(const struct histogram *h);

/* Adds what `from` counted. */
void histogram_merge(struct histogram *to, const struct histogram *from);

#endif

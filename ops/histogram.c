/* Histogram: counts of values over a wide range with a bounded relative error. */
#include "ops/histogram.h"

#include <math.h>

/* The largest value in the bucket `bucket`. */
static uint64_t top_of(uint32_t bucket)
{
    if (bucket < HISTOGRAM_LINEAR)
        return bucket;
    const uint32_t shift = bucket / HISTOGRAM_LINEAR - 1;
    const uint64_t first = (uint64_t)(HISTOGRAM_LINEAR + bucket % HISTOGRAM_LINEAR) << shift;
    return first + ((UINT64_C(1) << shift) - 1);
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
    if (h->count == 0)
        return 0;
    const double wanted = ceil(percent / 100 * (double)h->count);
    uint64_t rank = wanted < 1 ? 1 : (uint64_t)wanted;
    rank = rank > h->count ? h->count : rank;
    uint64_t seen = 0;
    for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += h->buckets[bucket];
        if (seen >= rank) {
            const uint64_t top = top_of(bucket);
            return top < h->max ? top : h->max;
        }
    }
    return h->max;
}

double histogram_mean(const struct histogram *h)
{
    return h->count == 0 ? 0 : h->sum / (double)h->count;
}

void histogram_merge(struct histogram *to, const struct histogram *from)
{
    if (from->count == 0)
        return;
    to->min = to->count == 0 || from->min < to->min ? from->min : to->min;
    to->max = from->max > to->max ? from->max : to->max;
    to->count += from->count;
    to->sum += from->sum;
    for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++)
        to->buckets[bucket] += from->buckets[bucket];
}

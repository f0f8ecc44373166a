/* Goal: percentiles are right within 1/128, minimum, maximum and count exactly, over the whole
 * range of u64. Method: random values of every magnitude against the sorted list of them (printed
 * seed). */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "ops/histogram.h"
#include "tests/support/seeded.h"

enum { VALUES = 20000 };

static uint64_t values[VALUES];

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

Test(histogram, percentiles_are_within_one_part_in_128)
{
    struct seeded random = seeded_start("histogram");
    for (int round = 0; round < 8; round++) {
        static struct histogram h;
        h = (struct histogram){ 0 };
        for (int i = 0; i < VALUES; i++) {
            values[i] = seeded_next(&random) >> seeded_below(&random, 64);
            histogram_record(&h, values[i]);
        }
        qsort(values, VALUES, sizeof values[0], compare);
        cr_assert_eq(h.count, (uint64_t)VALUES);
        cr_assert_eq(h.min, values[0]);
        cr_assert_eq(h.max, values[VALUES - 1]);
        static const double percents[] = { 0, 0.01, 1, 10, 50, 90, 99, 99.9, 99.99, 100 };
        for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
            const double rank = ceil(percents[i] / 100 * VALUES);
            const uint64_t exact = values[rank < 1 ? 0 : (int)rank - 1];
            const uint64_t got = histogram_percentile(&h, percents[i]);
            cr_assert_geq(got, exact, "p%g", percents[i]);
            cr_assert_leq(got - exact, exact / 128 + 1, "p%g: %lu for %lu", percents[i],
                          (unsigned long)got, (unsigned long)exact);
        }
    }
}

Test(histogram, every_value_has_a_bucket_and_buckets_are_in_order)
{
    uint32_t last = 0;
    for (uint64_t value = 1; value != 0; value <<= 1) {
        for (uint64_t v = value - 1; v <= value; v++) {
            const uint32_t bucket = histogram_bucket(v);
            cr_assert_lt(bucket, (uint32_t)HISTOGRAM_BUCKETS);
            cr_assert_geq(bucket, last);
            last = bucket;
        }
    }
    cr_assert_eq(histogram_bucket(UINT64_MAX), (uint32_t)HISTOGRAM_BUCKETS - 1);
}

Test(histogram, merged_is_as_if_recorded_in_one)
{
    struct seeded random = seeded_start("histogram");
    static struct histogram a, b, both;
    for (int i = 0; i < VALUES; i++) {
        const uint64_t value = seeded_below(&random, 1 << 30);
        histogram_record(i % 3 == 0 ? &a : &b, value);
        histogram_record(&both, value);
    }
    histogram_merge(&a, &b);
    cr_assert_eq(a.count, both.count);
    cr_assert_eq(a.min, both.min);
    cr_assert_eq(a.max, both.max);
    cr_assert_float_eq(histogram_mean(&a), histogram_mean(&both), 1e-3);
    for (double p = 0; p <= 100; p += 0.5)
        cr_assert_eq(histogram_percentile(&a, p), histogram_percentile(&both, p));
}

Test(histogram, an_empty_one_says_zero)
{
    static struct histogram h, other;
    cr_assert_eq(histogram_percentile(&h, 50), 0u);
    cr_assert_float_eq(histogram_mean(&h), 0, 0);
    histogram_record(&other, 5);
    histogram_merge(&other, &h);
    cr_assert_eq(other.min, 5u);
}

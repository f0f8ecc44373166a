/* Goal: one bit a number, whatever words and the ring's end do. Method: a model of bytes, over the
 * newest RINGBITS numbers of a sequence that starts anywhere. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/support/seeded.h"
#include "transport/ringbits.h"

static uint64_t bits[RINGBITS_WORDS];
static bool model[RINGBITS]; /* of first + i */

static void agree(uint64_t first, struct seeded *random)
{
    const uint64_t number = first + 65 + seeded_below(random, RINGBITS - 65);
    const uint64_t from = first + seeded_below(random, RINGBITS);
    const uint64_t to = from + seeded_below(random, (uint32_t)(first + RINGBITS - from) + 1);
    uint64_t lowest = from;
    while (lowest < to && !model[lowest - first])
        lowest++;
    cr_assert_eq(ringbits_first(bits, from, to), lowest);
    const uint64_t before = ringbits_before(bits, number);
    for (uint32_t i = 0; i < 64; i++)
        cr_assert_eq((before >> i & 1) != 0, model[number - 1 - i - first]);
    for (uint32_t i = 0; i < RINGBITS; i++)
        cr_assert_eq(ringbits_test(bits, first + i), model[i]);
}

Test(ringbits, agree_with_a_model)
{
    struct seeded random = seeded_start("ringbits");
    for (int run = 0; run < 50; run++) {
        const uint64_t first = seeded_next(&random) >> (1 + seeded_below(&random, 60));
        memset(bits, 0, sizeof bits);
        memset(model, 0, sizeof model);
        for (int step = 0; step < 300; step++) {
            const uint32_t at = seeded_below(&random, RINGBITS);
            const uint32_t count = seeded_below(&random, RINGBITS - at + 1);
            switch (seeded_below(&random, 8)) {
            case 0:
                ringbits_clear_range(bits, first + at, first + at + count);
                memset(model + at, 0, count);
                break;
            case 1:
                ringbits_clear(bits, first + at);
                model[at] = false;
                break;
            default:
                ringbits_set(bits, first + at);
                model[at] = true;
                break;
            }
            agree(first, &random);
        }
    }
}

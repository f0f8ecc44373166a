/* Goal: a key goes to the partition Kafka's default partitioner picks, so that both kinds of
 * producers agree. Method: hashes Kafka's own tests hold, and every partition count for the sign
 * rule. */
#include <criterion/criterion.h>
#include <string.h>

#include "client/partitioner.h"

static const struct {
    const char *key;
    int32_t hash;
} known[] = {
    { "21", -973932308 },
    { "foobar", -790332482 },
    { "a-little-bit-long-string", -985981536 },
    { "a-little-bit-longer-string", -1486304829 },
    { "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971 },
    { "abc", 479470107 },
};

Test(partitioner, hashes_like_kafka)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const uint32_t hash =
            partitioner_murmur2((const uint8_t *)known[i].key, strlen(known[i].key));
        cr_expect_eq((int32_t)hash, known[i].hash, "%s: %d", known[i].key, (int32_t)hash);
    }
}

Test(partitioner, the_sign_bit_is_cleared_before_the_modulo)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        for (uint32_t partitions = 1; partitions <= 4096; partitions++) {
            const uint32_t expected = (uint32_t)(known[i].hash & INT32_MAX) % partitions;
            cr_assert_eq(
                partitioner_pick((const uint8_t *)known[i].key, strlen(known[i].key), partitions),
                expected);
        }
    }
}

Test(partitioner, an_empty_key_has_a_partition)
{
    cr_assert_lt(partitioner_pick((const uint8_t *)"", 0, 7), 7u);
}

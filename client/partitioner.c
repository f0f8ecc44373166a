/* The partition of a key: the one Kafka's default partitioner picks. */
#include "client/partitioner.h"

#include <assert.h>

#include "schema/bytes.h"

#define MURMUR_SEED UINT32_C(0x9747b28c)
#define MURMUR_M UINT32_C(0x5bd1e995)
#define POSITIVE UINT32_C(0x7fffffff)

uint32_t partitioner_murmur2(const uint8_t *key, size_t size)
{
    uint32_t hash = MURMUR_SEED ^ (uint32_t)size;
    size_t left = size;
    for (; left >= 4; left -= 4, key += 4) {
        uint32_t k = leat_load32(key) * MURMUR_M;
        k = (k ^ k >> 24) * MURMUR_M;
        hash = hash * MURMUR_M ^ k;
    }
    if (left > 0) {
        for (size_t i = left; i > 0; i--)
            hash ^= (uint32_t)key[i - 1] << 8 * (i - 1);
        hash *= MURMUR_M;
    }
    hash = (hash ^ hash >> 13) * MURMUR_M;
    return hash ^ hash >> 15;
}

uint32_t partitioner_pick(const uint8_t *key, size_t size, uint32_t partitions)
{
    assert(partitions >= 1);
    return (partitioner_murmur2(key, size) & POSITIVE) % partitions;
}

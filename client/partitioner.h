/* The partition of a key: the one Kafka's default partitioner picks, so that producers of both
 * agree.
 *
 * Role: murmur2 with Kafka's seed, made positive, modulo partitions.
 * Must not know: topics, records without a key.
 * Threads: any. */
#ifndef LEAT_CLIENT_PARTITIONER_H
#define LEAT_CLIENT_PARTITIONER_H

#include <stddef.h>
#include <stdint.h>

uint32_t partitioner_murmur2(const uint8_t *key, size_t size);

/* 0 .. partitions - 1; partitions >= 1. */
uint32_t partitioner_pick(const uint8_t *key, size_t size, uint32_t partitions);

#endif

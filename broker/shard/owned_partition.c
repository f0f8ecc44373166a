/* Owned partition: a partition on the shard that owns it: its publishers, its readers, and its
 * pending notices to control. */
#include "broker/shard/owned_partition.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES = 64 };

struct owned_partition *owned_partition_new(void)
{
    /* Whole cache lines: the memory next to it may be another shard's. */
    const size_t size = (sizeof(struct owned_partition) + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    struct owned_partition *owned = aligned_alloc(LINE_BYTES, size);
    if (owned != NULL)
        memset(owned, 0, size);
    return owned;
}

void owned_partitions_init(struct owned_partitions *h)
{
    *h = (struct owned_partitions){ .count = 0 };
    TAILQ_INIT(&h->all);
}

static uint32_t place_of(const struct partition *partition)
{
    /* Fibonacci hashing of the address, whose low bits are alike. */
    const uint64_t mixed = (uint64_t)(uintptr_t)partition * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(mixed >> 32) & (OWNED_PARTITIONS_PLACES - 1);
}

/* Control adds the partitions of a topic one after the other, so a sibling can only be the last in
 * the list. */
static struct topic_share *share_of(const struct owned_partitions *h, struct owned_partition *mine)
{
    const struct owned_partition *last = TAILQ_LAST(&h->all, owned_partition_list);
    if (last != NULL && last->topic_id == mine->topic_id)
        return last->share;
    mine->own = (struct topic_share){ .topic_id = mine->topic_id };
    return &mine->own;
}

void owned_partitions_add(struct owned_partitions *h, struct partition *partition,
                          struct owned_partition *owned)
{
    struct owned_partition **place = &h->places[place_of(partition)];
    assert(owned_partitions_find(h, partition) == NULL);
    owned->partition = partition;
    owned->topic_id = partition_topic_id(partition);
    owned->index = partition_index(partition);
    owned->batch_bytes_max = partition_batch_bytes_max(partition);
    owned->share = share_of(h, owned);
    owned->share->owned_partitions++;
    TAILQ_INIT(&owned->waiting);
    TAILQ_INIT(&owned->readers);
    TAILQ_INIT(&owned->publishers);
    TAILQ_INSERT_TAIL(&h->all, owned, node);
    h->count++;
    owned->behind = *place;
    *place = owned;
}

void owned_partitions_remove(struct owned_partitions *h, struct owned_partition *owned)
{
    struct owned_partition **at = &h->places[place_of(owned->partition)];
    while (*at != owned)
        at = &(*at)->behind;
    *at = owned->behind;
    TAILQ_REMOVE(&h->all, owned, node);
    h->count--;
    owned->share->owned_partitions--;
}

struct owned_partition *owned_partitions_find(const struct owned_partitions *h,
                                              const struct partition *partition)
{
    struct owned_partition *owned = h->places[place_of(partition)];
    while (owned != NULL && owned->partition != partition)
        owned = owned->behind;
    return owned;
}

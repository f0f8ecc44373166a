#include "broker/shard/owned_partition.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES = 64 };

struct holding *holding_new(void)
{
    /* Lines of its own: the neighbour's may be another shard's. */
    const size_t size = (sizeof(struct holding) + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    struct holding *holding = aligned_alloc(LINE_BYTES, size);
    if (holding != NULL)
        memset(holding, 0, size);
    return holding;
}

void holdings_init(struct holdings *h)
{
    *h = (struct holdings){ .count = 0 };
    TAILQ_INIT(&h->all);
}

static uint32_t place_of(const struct partition *partition)
{
    /* Fibonacci hashing of the address: its low bits are alike. */
    const uint64_t mixed = (uint64_t)(uintptr_t)partition * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(mixed >> 32) & (HOLDINGS_PLACES - 1);
}

/* Control hands over a topic's partitions one behind the other: a sibling is the last there is. */
static struct topic_share *share_of(const struct holdings *h, struct holding *mine)
{
    const struct holding *last = TAILQ_LAST(&h->all, holding_list);
    if (last != NULL && last->topic_id == mine->topic_id)
        return last->share;
    mine->own = (struct topic_share){ .topic_id = mine->topic_id };
    return &mine->own;
}

void holdings_add(struct holdings *h, struct partition *partition, struct holding *holding)
{
    struct holding **place = &h->places[place_of(partition)];
    assert(holdings_find(h, partition) == NULL);
    holding->partition = partition;
    holding->topic_id = partition_topic_id(partition);
    holding->index = partition_index(partition);
    holding->batch_bytes_max = partition_batch_bytes_max(partition);
    holding->share = share_of(h, holding);
    holding->share->holdings++;
    TAILQ_INIT(&holding->waiting);
    TAILQ_INIT(&holding->readers);
    TAILQ_INIT(&holding->publishers);
    TAILQ_INSERT_TAIL(&h->all, holding, link);
    h->count++;
    holding->behind = *place;
    *place = holding;
}

void holdings_remove(struct holdings *h, struct holding *holding)
{
    struct holding **at = &h->places[place_of(holding->partition)];
    while (*at != holding)
        at = &(*at)->behind;
    *at = holding->behind;
    TAILQ_REMOVE(&h->all, holding, link);
    h->count--;
    holding->share->holdings--;
}

struct holding *holdings_find(const struct holdings *h, const struct partition *partition)
{
    struct holding *holding = h->places[place_of(partition)];
    while (holding != NULL && holding->partition != partition)
        holding = holding->behind;
    return holding;
}

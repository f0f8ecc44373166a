#include "broker/shard/holding.h"

#include <assert.h>
#include <stdlib.h>

enum { FIRST_PLACES = 64 };

void holdings_init(struct holdings *h)
{
    *h = (struct holdings){ .count = 0 };
    TAILQ_INIT(&h->all);
}

static uint32_t place_of(const struct holdings *h, const struct partition *partition)
{
    /* Fibonacci hashing of the address: its low bits are alike. */
    const uint64_t mixed = (uint64_t)(uintptr_t)partition * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(mixed >> 32) & (h->place_count - 1);
}

static void place(struct holdings *h, struct holding *holding)
{
    uint32_t at = place_of(h, holding->partition);
    while (h->places[at] != NULL)
        at = (at + 1) & (h->place_count - 1);
    h->places[at] = holding;
}

static enum leat_error resize(struct holdings *h, uint32_t place_count)
{
    struct holding **places = calloc(place_count, sizeof *places);
    if (places == NULL)
        return LEAT_ERR_NO_MEMORY;
    free(h->places);
    h->places = places;
    h->place_count = place_count;
    struct holding *holding;
    TAILQ_FOREACH(holding, &h->all, link)
    place(h, holding);
    return LEAT_OK;
}

static struct topic_share *share_of(const struct holdings *h, uint64_t topic_id)
{
    struct holding *holding;
    TAILQ_FOREACH(holding, &h->all, link)
    {
        if (holding->topic_id == topic_id)
            return holding->share;
    }
    return calloc(1, sizeof(struct topic_share));
}

enum leat_error holdings_add(struct holdings *h, struct partition *partition, struct holding **out)
{
    assert(holdings_find(h, partition) == NULL);
    if (2 * (h->count + 1) > h->place_count) {
        const enum leat_error error =
            resize(h, h->place_count == 0 ? FIRST_PLACES : 2 * h->place_count);
        if (error != LEAT_OK)
            return error;
    }
    struct holding *holding = calloc(1, sizeof *holding);
    struct topic_share *share = share_of(h, partition_topic_id(partition));
    if (holding == NULL || share == NULL) {
        free(holding);
        if (share != NULL && share->holdings == 0)
            free(share);
        return LEAT_ERR_NO_MEMORY;
    }
    share->topic_id = partition_topic_id(partition);
    share->holdings++;
    holding->partition = partition;
    holding->share = share;
    holding->topic_id = share->topic_id;
    holding->index = partition_index(partition);
    holding->batch_bytes_max = partition_batch_bytes_max(partition);
    TAILQ_INIT(&holding->waiting);
    TAILQ_INIT(&holding->readers);
    TAILQ_INIT(&holding->publishers);
    TAILQ_INSERT_TAIL(&h->all, holding, link);
    h->count++;
    place(h, holding);
    *out = holding;
    return LEAT_OK;
}

static void free_holding(struct holding *holding)
{
    if (--holding->share->holdings == 0)
        free(holding->share);
    free(holding);
}

void holdings_remove(struct holdings *h, struct holding *holding)
{
    uint32_t at = place_of(h, holding->partition);
    while (h->places[at] != holding)
        at = (at + 1) & (h->place_count - 1);
    h->places[at] = NULL;
    /* Those behind it, up to the next hole, may have been pushed on by it: place them anew. */
    for (at = (at + 1) & (h->place_count - 1); h->places[at] != NULL;
         at = (at + 1) & (h->place_count - 1)) {
        struct holding *moved = h->places[at];
        h->places[at] = NULL;
        place(h, moved);
    }
    TAILQ_REMOVE(&h->all, holding, link);
    h->count--;
    free_holding(holding);
}

struct holding *holdings_find(const struct holdings *h, const struct partition *partition)
{
    if (h->place_count == 0)
        return NULL;
    for (uint32_t at = place_of(h, partition); h->places[at] != NULL;
         at = (at + 1) & (h->place_count - 1)) {
        if (h->places[at]->partition == partition)
            return h->places[at];
    }
    return NULL;
}

void holdings_free(struct holdings *h)
{
    struct holding *holding;
    while ((holding = TAILQ_FIRST(&h->all)) != NULL) {
        TAILQ_REMOVE(&h->all, holding, link);
        free_holding(holding);
    }
    free(h->places);
}

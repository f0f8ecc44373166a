/* Index: maps an offset, a time or a position to a batch that is not far before it. */
#include "broker/log/index.h"

#include <stdbool.h>
#include <stdlib.h>

enum {
    ENTRIES = 4096,  /* of a large ring; a small one has fewer */
    STEP_MIN = 4096, /* bytes */
};

enum leat_error index_open(struct index *out, uint64_t ring_bytes)
{
    const uint64_t step = ring_bytes / ENTRIES > STEP_MIN ? ring_bytes / ENTRIES : STEP_MIN;
    uint64_t places = 2;
    /* Entries lie at least one step apart and within the ring. One more may already be half
     * evicted. */
    while (places < ring_bytes / step + 2)
        places *= 2;
    struct index_entry *entries = calloc(places, sizeof *entries);
    if (entries == NULL)
        return LEAT_ERR_NO_MEMORY;
    *out = (struct index){ .entries = entries, .mask = places - 1, .step = step };
    return LEAT_OK;
}

void index_close(struct index *index)
{
    free(index->entries);
    index->entries = NULL;
}

void index_add(struct index *index, const struct index_entry *entry)
{
    if (index->count == index->mask + 1) {
        index->first++;
        index->count--;
    }
    index->entries[(index->first + index->count) & index->mask] = *entry;
    index->count++;
    index->next_position = entry->position + index->step;
}

static const struct index_entry *entry_at(const struct index *index, uint64_t number)
{
    return &index->entries[number & index->mask];
}

enum index_key { BY_POSITION, BY_OFFSET, BY_TIME };

/* The number of entries whose key is below `value`. Keys never decrease. */
static uint64_t count_below(const struct index *index, enum index_key key, uint64_t value)
{
    uint64_t low = 0, high = index->count;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        const struct index_entry *entry = entry_at(index, index->first + middle);
        const uint64_t k = key == BY_POSITION ? entry->position
                           : key == BY_OFFSET ? entry->offset
                                              : entry->mono_ns;
        if (k < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct index_entry *last_of(const struct index *index, uint64_t head, uint64_t count)
{
    if (count == 0 || count <= count_below(index, BY_POSITION, head))
        return NULL;
    return entry_at(index, index->first + count - 1);
}

const struct index_entry *index_by_offset(const struct index *index, uint64_t head, uint64_t offset)
{
    const uint64_t count =
        offset == UINT64_MAX ? index->count : count_below(index, BY_OFFSET, offset + 1);
    return last_of(index, head, count);
}

const struct index_entry *index_by_time(const struct index *index, uint64_t head, leat_ns mono_ns)
{
    return last_of(index, head, count_below(index, BY_TIME, mono_ns));
}

const struct index_entry *index_by_position(const struct index *index, uint64_t head,
                                            uint64_t position)
{
    return last_of(index, head, count_below(index, BY_POSITION, position + 1));
}

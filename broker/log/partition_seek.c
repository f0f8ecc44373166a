/* Finds where a reader of a partition begins: at an offset, at a time, at the head or the tail. */
#include "broker/log/partition_state.h"

static struct partition_place place_of(const struct partition *p, const struct index_entry *entry)
{
    if (entry == NULL)
        return (struct partition_place){ p->log.head, partition_get(&p->head_offset) };
    return (struct partition_place){ entry->position, entry->offset };
}

static struct partition_place seek_offset(const struct partition *p, uint64_t offset)
{
    struct partition_place place = place_of(p, index_by_offset(&p->index, p->log.head, offset));
    while (place.position != p->log.tail) {
        const struct leat_batch batch = partition_batch_at(p, place.position);
        place.offset = batch.base_offset;
        if (offset < batch.base_offset + batch.record_count) {
            place.offset = offset > batch.base_offset ? offset : batch.base_offset;
            break;
        }
        place.position += batch.size;
    }
    if (place.position == p->log.tail)
        place.offset = partition_get(&p->next_offset);
    return place;
}

static struct partition_place seek_time(const struct partition *p, uint64_t time_ns)
{
    struct times_place want;
    if (!times_find(&p->times, time_ns, &want))
        return place_of(p, NULL);
    const struct index_entry *entry = index_by_time(&p->index, p->log.head, want.mono_ns);
    const struct index_entry *line = index_by_position(&p->index, p->log.head, want.from);
    if (entry == NULL || (line != NULL && line->position > entry->position))
        entry = line;
    struct partition_place place = place_of(p, entry);
    while (place.position != p->log.tail) {
        const struct leat_batch batch = partition_batch_at(p, place.position);
        place.offset = batch.base_offset;
        if (place.position >= want.from && (want.joined || batch.append_time_ns >= time_ns))
            break;
        place.position += batch.size;
    }
    if (place.position == p->log.tail)
        place.offset = partition_get(&p->next_offset);
    return place;
}

enum leat_error partition_seek(const struct partition *p, enum partition_seek_at at, uint64_t value,
                               struct partition_place *out)
{
    switch (at) {
    case PARTITION_EARLIEST:
        *out = (struct partition_place){ p->log.head, partition_get(&p->head_offset) };
        return LEAT_OK;
    case PARTITION_LATEST:
        *out = (struct partition_place){ p->log.tail, partition_get(&p->next_offset) };
        return LEAT_OK;
    case PARTITION_OFFSET:
        if (value > partition_get(&p->next_offset))
            return LEAT_ERR_OUT_OF_RANGE;
        if (value < partition_get(&p->head_offset))
            value = partition_get(&p->head_offset);
        *out = seek_offset(p, value);
        return LEAT_OK;
    case PARTITION_TIME: *out = seek_time(p, value); return LEAT_OK;
    }
    return LEAT_ERR_INVALID;
}

/* Index: maps an offset, a time or a position to a batch that is not far before it.
 *
 * Role: a bounded ring of (position, offset, monotonic time) entries, about one for every `step`
 * bytes of log.
 * Must not know: batches, rings of bytes, what is stored at a position.
 * Threads: the owning shard. Allocates only in index_open. */
#ifndef LEAT_BROKER_LOG_INDEX_H
#define LEAT_BROKER_LOG_INDEX_H

#include <stdint.h>

#include "schema/error.h"
#include "schema/units.h"

struct index_entry {
    uint64_t position;
    uint64_t offset;
    leat_ns mono_ns; /* when it was appended */
};

struct index {
    struct index_entry *entries;
    uint64_t mask;
    uint64_t first, count; /* valid entry numbers are first .. first + count - 1 */
    uint64_t step;
    uint64_t next_position; /* the next batch at or above this position gets an entry */
};

/* Opens the index of a log of at most `ring_bytes` bytes. Errors: LEAT_ERR_NO_MEMORY. */
enum leat_error index_open(struct index *out, uint64_t ring_bytes);
void index_close(struct index *index);

void index_add(struct index *index, const struct index_entry *entry);

/* Tells the index that a batch begins at `position`. No argument may be less than in the call
 * before. */
static inline void index_note(struct index *index, uint64_t position, uint64_t offset,
                              leat_ns mono_ns)
{
    if (position >= index->next_position)
        index_add(index, &(struct index_entry){
                             .position = position, .offset = offset, .mono_ns = mono_ns });
}

/* The last entry at or above position `head` whose offset is at most `offset`, or NULL. */
const struct index_entry *index_by_offset(const struct index *index, uint64_t head,
                                          uint64_t offset);
/* The last entry at or above position `head` whose monotonic time is below `mono_ns`, or NULL. */
const struct index_entry *index_by_time(const struct index *index, uint64_t head, leat_ns mono_ns);
/* The last entry at or above position `head` whose position is at most `position`, or NULL. */
const struct index_entry *index_by_position(const struct index *index, uint64_t head,
                                            uint64_t position);

#endif

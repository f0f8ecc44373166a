/* The streams of one session, by the number the broker gave them.
 *
 * Role: a hash table from u32 to a pointer. Grows when streams are opened, never on a record's way.
 * Must not know: what a stream is.
 * Threads: one per object. */
#ifndef LEAT_CLIENT_STREAM_TABLE_H
#define LEAT_CLIENT_STREAM_TABLE_H

#include <stdint.h>

#include "schema/error.h"

struct stream_entry {
    void *stream; /* NULL: free */
    uint32_t id;
};

struct stream_table {
    struct stream_entry *entries; /* open addressing; a power of two, at most half full */
    uint32_t capacity;
    uint32_t count;
};

/* Sets or replaces the stream of `id`; not NULL. LEAT_ERR_NO_MEMORY. */
enum leat_error stream_table_put(struct stream_table *table, uint32_t id, void *stream);
void *stream_table_find(const struct stream_table *table, uint32_t id); /* NULL: none */
void stream_table_remove(struct stream_table *table, uint32_t id);
void stream_table_clear(struct stream_table *table); /* frees the memory too */

#endif

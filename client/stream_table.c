/* The streams of one session, by the number the broker gave them. */
#include "client/stream_table.h"

#include <assert.h>
#include <stdlib.h>

enum { CAPACITY_FIRST = 16 };

static uint32_t home(const struct stream_table *table, uint32_t id)
{
    return id * UINT32_C(0x9E3779B1) & (table->capacity - 1);
}

static uint32_t after(const struct stream_table *table, uint32_t at)
{
    return (at + 1) & (table->capacity - 1);
}

/* The index of `id`, or of the free entry where it would go. */
static uint32_t place(const struct stream_table *table, uint32_t id)
{
    uint32_t at = home(table, id);
    while (table->entries[at].stream != NULL && table->entries[at].id != id)
        at = after(table, at);
    return at;
}

static enum leat_error grow(struct stream_table *table)
{
    struct stream_table larger = { .count = table->count };
    larger.capacity = table->capacity == 0 ? CAPACITY_FIRST : 2 * table->capacity;
    larger.entries = calloc(larger.capacity, sizeof *larger.entries);
    if (larger.entries == NULL)
        return LEAT_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < table->capacity; i++)
        if (table->entries[i].stream != NULL)
            larger.entries[place(&larger, table->entries[i].id)] = table->entries[i];
    free(table->entries);
    *table = larger;
    return LEAT_OK;
}

enum leat_error stream_table_put(struct stream_table *table, uint32_t id, void *stream)
{
    assert(stream != NULL);
    if (2 * (table->count + 1) > table->capacity) {
        const enum leat_error error = grow(table);
        if (error != LEAT_OK)
            return error;
    }
    struct stream_entry *entry = &table->entries[place(table, id)];
    if (entry->stream == NULL)
        table->count++;
    *entry = (struct stream_entry){ .stream = stream, .id = id };
    return LEAT_OK;
}

void *stream_table_find(const struct stream_table *table, uint32_t id)
{
    return table->capacity == 0 ? NULL : table->entries[place(table, id)].stream;
}

void stream_table_remove(struct stream_table *table, uint32_t id)
{
    if (table->capacity == 0)
        return;
    uint32_t hole = place(table, id);
    if (table->entries[hole].stream == NULL)
        return;
    table->count--;
    /* Move entries back into the hole where needed, so that no search ends early. */
    for (uint32_t at = after(table, hole); table->entries[at].stream != NULL;
         at = after(table, at)) {
        const uint32_t from_home =
            (at - home(table, table->entries[at].id)) & (table->capacity - 1);
        const uint32_t from_hole = (at - hole) & (table->capacity - 1);
        if (from_home >= from_hole) {
            table->entries[hole] = table->entries[at];
            hole = at;
        }
    }
    table->entries[hole].stream = NULL;
}

void stream_table_clear(struct stream_table *table)
{
    free(table->entries);
    *table = (struct stream_table){ 0 };
}

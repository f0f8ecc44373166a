/* Oracle: what was published, acknowledged and delivered in one life of one partition's log, and
 * whether that fits together. */
#include "tests/sim/oracle.h"

#include <stdlib.h>
#include <string.h>

void oracle_open(struct oracle *l, uint64_t log_epoch,
                 void (*broken)(void *user, const char *what, uint64_t a, uint64_t b), void *user)
{
    *l = (struct oracle){ .log_epoch = log_epoch, .broken = broken, .user = user };
    l->record = calloc(ORACLE_OFFSETS_MAX, sizeof *l->record);
    l->acked = calloc(ORACLE_OFFSETS_MAX, sizeof *l->acked);
    if (l->record == NULL || l->acked == NULL)
        abort();
}

void oracle_close(struct oracle *l)
{
    free(l->record);
    free(l->acked);
}

static void note(struct oracle *l, uint64_t offset, uint64_t record)
{
    if (offset >= ORACLE_OFFSETS_MAX)
        l->broken(l->user, "an offset beyond all records", offset, record);
    else if (l->record[offset] == 0)
        l->record[offset] = record + 1;
    else if (l->record[offset] != record + 1)
        l->broken(l->user, "two records at one offset", offset, record);
}

void oracle_acked(struct oracle *l, uint64_t offset, uint64_t record)
{
    note(l, offset, record);
    if (l->acked[offset] != 0)
        l->broken(l->user, "an offset acknowledged twice", offset, record);
    l->acked[offset] = 1;
    l->acked_count++;
}

static void move(struct oracle_reader *r, uint64_t offset)
{
    r->next = offset;
    r->highest = offset > r->highest ? offset : r->highest;
}

void oracle_reader_at(struct oracle *l, unsigned index, uint64_t offset)
{
    l->readers[index].started = true;
    move(&l->readers[index], offset);
}

void oracle_delivered(struct oracle *l, unsigned index, uint64_t offset, uint64_t record)
{
    struct oracle_reader *r = &l->readers[index];
    if (!r->started)
        oracle_reader_at(l, index, offset);
    if (offset != r->next)
        l->broken(l->user, "delivered out of turn: offset, expected", offset, r->next);
    note(l, offset, record);
    move(r, offset + 1);
    r->delivered++;
}

void oracle_gap(struct oracle *l, unsigned index, uint64_t first, uint64_t next)
{
    struct oracle_reader *r = &l->readers[index];
    if (!r->started)
        oracle_reader_at(l, index, first);
    if (first != r->next || next <= first)
        l->broken(l->user, "a gap that does not begin where the reader stands: first, next offset",
                  first, r->next);
    r->lost += next - first;
    move(r, next);
}

void oracle_check_end(const struct oracle *l, unsigned index, uint64_t next_offset)
{
    const struct oracle_reader *r = &l->readers[index];
    if (r->started && r->next != next_offset)
        l->broken(l->user, "a reader was not told of everything: stands at, log ends at", r->next,
                  next_offset);
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

void oracle_check_once(const struct oracle *l, uint64_t next_offset)
{
    uint64_t *sorted = calloc(next_offset + 1, sizeof *sorted);
    if (sorted == NULL)
        abort();
    memcpy(sorted, l->record, next_offset * sizeof *sorted);
    qsort(sorted, next_offset, sizeof *sorted, by_value);
    for (uint64_t i = 1; i < next_offset; i++)
        if (sorted[i] != 0 && sorted[i] == sorted[i - 1])
            l->broken(l->user, "one record at two offsets: record", sorted[i] - 1, 0);
    free(sorted);
}

#include "tests/sim/oracle.h"

#include <stdlib.h>
#include <string.h>

void ledger_open(struct ledger *l, uint64_t log_epoch,
                 void (*broken)(void *user, const char *what, uint64_t a, uint64_t b), void *user)
{
    *l = (struct ledger){ .log_epoch = log_epoch, .broken = broken, .user = user };
    l->record = calloc(LEDGER_OFFSETS_MAX, sizeof *l->record);
    l->acked = calloc(LEDGER_OFFSETS_MAX, sizeof *l->acked);
    if (l->record == NULL || l->acked == NULL)
        abort();
}

void ledger_close(struct ledger *l)
{
    free(l->record);
    free(l->acked);
}

static void note(struct ledger *l, uint64_t offset, uint64_t record)
{
    if (offset >= LEDGER_OFFSETS_MAX)
        l->broken(l->user, "an offset beyond all records", offset, record);
    else if (l->record[offset] == 0)
        l->record[offset] = record + 1;
    else if (l->record[offset] != record + 1)
        l->broken(l->user, "two records at one offset", offset, record);
}

void ledger_acked(struct ledger *l, uint64_t offset, uint64_t record)
{
    note(l, offset, record);
    if (l->acked[offset] != 0)
        l->broken(l->user, "an offset acknowledged twice", offset, record);
    l->acked[offset] = 1;
    l->acked_count++;
}

static void move(struct ledger_reader *r, uint64_t offset)
{
    r->next = offset;
    r->highest = offset > r->highest ? offset : r->highest;
}

void ledger_reader_at(struct ledger *l, unsigned index, uint64_t offset)
{
    l->readers[index].started = true;
    move(&l->readers[index], offset);
}

void ledger_delivered(struct ledger *l, unsigned index, uint64_t offset, uint64_t record)
{
    struct ledger_reader *r = &l->readers[index];
    if (!r->started)
        ledger_reader_at(l, index, offset);
    if (offset != r->next)
        l->broken(l->user, "delivered out of turn: offset, expected", offset, r->next);
    note(l, offset, record);
    move(r, offset + 1);
    r->delivered++;
}

void ledger_gap(struct ledger *l, unsigned index, uint64_t first, uint64_t next)
{
    struct ledger_reader *r = &l->readers[index];
    if (!r->started)
        ledger_reader_at(l, index, first);
    if (first != r->next || next <= first)
        l->broken(l->user, "a gap that does not begin where the reader stands: first, next offset",
                  first, r->next);
    r->lost += next - first;
    move(r, next);
}

void ledger_check_end(const struct ledger *l, unsigned index, uint64_t next_offset)
{
    const struct ledger_reader *r = &l->readers[index];
    if (r->started && r->next != next_offset)
        l->broken(l->user, "a reader was not told of everything: stands at, log ends at", r->next,
                  next_offset);
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

void ledger_check_once(const struct ledger *l, uint64_t next_offset)
{
    uint64_t *sorted = calloc(next_offset + 1, sizeof *sorted);
    if (sorted == NULL)
        abort();
    memcpy(sorted, l->record, next_offset * sizeof *sorted);
    qsort(sorted, next_offset, sizeof *sorted, by_value);
    for (uint64_t i = 1; i < next_offset; i++) {
        if (sorted[i] != 0 && sorted[i] == sorted[i - 1])
            l->broken(l->user, "one record at two offsets: record", sorted[i] - 1, 0);
    }
    free(sorted);
}

/* Goal: a lookup finds the last entry before what is wanted, none when there is none, at every
 * size, and never one below the head. Method: against a plain list, random steps, printed seed. */
#include <criterion/criterion.h>

#include "broker/log/index.h"
#include "tests/support/seeded.h"

enum { NOTES = 3000 };

static struct index_entry all[NOTES];

/* The last entry of the model for which `below` holds; entries that the ring forgot do not count.
 */
static const struct index_entry *model(const struct index *index, uint64_t head, uint64_t limit,
                                       bool by_time)
{
    const struct index_entry *found = NULL;
    for (uint64_t i = index->first; i < index->first + index->count; i++) {
        const struct index_entry *e = &index->entries[i & index->mask];
        const bool fits = by_time ? e->mono_ns < limit : e->offset <= limit;
        if (e->position >= head && fits)
            found = e;
    }
    return found;
}

Test(index, finds_what_a_walk_over_all_entries_finds)
{
    struct seeded random = seeded_start("index");
    struct index index;
    cr_assert_eq(index_open(&index, 1 << 16), LEAT_OK);
    uint64_t position = 0, offset = 10, time = 1000;
    for (int i = 0; i < NOTES; i++) {
        index_note(&index, position, offset, time);
        all[i] = (struct index_entry){ position, offset, time };
        const uint64_t head = position > 60000 ? position - seeded_below(&random, 60000) : 0;
        const uint64_t o = offset > 200 ? offset - seeded_below(&random, 200) : offset;
        const uint64_t t = time > 300 ? time - seeded_below(&random, 300) : time;
        cr_assert_eq(index_by_offset(&index, head, o), model(&index, head, o, false));
        cr_assert_eq(index_by_time(&index, head, t), model(&index, head, t, true));
        position += 80 + 8 * seeded_below(&random, 400);
        offset += 1 + seeded_below(&random, 9);
        time += seeded_below(&random, 5); /* often the same time */
    }
    cr_assert_lt(index.count, 40u, "sparse and bounded");
    cr_assert_eq(index_by_offset(&index, 0, UINT64_MAX)->position,
                 index.entries[(index.first + index.count - 1) & index.mask].position);
    cr_assert_eq(index_by_offset(&index, UINT64_MAX, UINT64_MAX), NULL);
    index_close(&index);
}

Test(index, an_empty_one_finds_nothing)
{
    struct index index;
    cr_assert_eq(index_open(&index, 1 << 20), LEAT_OK);
    cr_assert_eq(index_by_offset(&index, 0, 5), NULL);
    cr_assert_eq(index_by_time(&index, 0, 5), NULL);
    cr_assert_eq(index_by_position(&index, 0, 5), NULL);
    index_close(&index);
}

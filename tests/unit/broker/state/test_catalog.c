/* Goal: the catalog comes back from its bytes as it was; bytes that are no catalog are refused; ids
 * are never given out twice; offsets are promised ahead and never run back. Method: random catalogs
 * from a printed seed; every cut and many random changes of their bytes. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/log/partition.h"
#include "broker/shared/settings.h"
#include "broker/state/catalog.h"
#include "broker/state/statefile.h"
#include "tests/support/seeded.h"

static void fill(struct catalog *c, struct seeded *random, unsigned topics)
{
    struct settings_error error;
    c->incarnation = (uint32_t)seeded_next(random) | 1;
    c->orderly = seeded_below(random, 2) != 0;
    for (unsigned i = 0; i < topics; i++) {
        char name[64];
        uint64_t id;
        struct catalog_topic *topic;
        struct topic_settings s = { .partitions = 1 + seeded_below(random, 5),
                                    .ring_bytes = UINT64_C(1) << (16 + seeded_below(random, 8)),
                                    .retention_ms = seeded_below(random, 1000),
                                    .retention_bytes = seeded_below(random, 1000),
                                    .quota_publish_bytes = seeded_next(random) >> 14,
                                    .quota_deliver_bytes = seeded_next(random) >> 14,
                                    .overrun = (uint8_t)seeded_below(random, 2) };
        snprintf(name, sizeof name, "topic-%u.%u", i, seeded_below(random, 100));
        cr_assert_eq(settings_resolve(&s, &error), LEAT_OK, "%s", error.expected);
        cr_assert_eq(catalog_new_id(c, &id), LEAT_OK);
        cr_assert_eq(catalog_add(c, name, id, &s, &topic), LEAT_OK);
        for (uint32_t k = 0; k < s.partitions; k++) {
            topic->partitions[k].log_epoch = seeded_next(random);
            topic->partitions[k].offset_limit = seeded_next(random);
            topic->partitions[k].certain_offset =
                topic->partitions[k].offset_limit >> seeded_below(random, 3);
        }
    }
}

static void assert_same(const struct catalog *a, const struct catalog *b)
{
    cr_assert_eq(a->incarnation, b->incarnation);
    cr_assert_eq(a->orderly, b->orderly);
    cr_assert_eq(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        const struct catalog_topic *x = a->topics[i], *y = b->topics[i];
        cr_assert_eq(x->id, y->id);
        cr_assert_str_eq(x->name, y->name);
        cr_assert_null(settings_difference(&x->settings, &y->settings));
        for (uint32_t k = 0; k < x->settings.partitions; k++) {
            cr_assert_eq(x->partitions[k].log_epoch, y->partitions[k].log_epoch);
            cr_assert_eq(x->partitions[k].offset_limit, y->partitions[k].offset_limit);
            cr_assert_eq(x->partitions[k].certain_offset, y->partitions[k].certain_offset);
        }
    }
}

Test(catalog, comes_back_from_its_bytes)
{
    struct seeded random = seeded_start("catalog");
    for (unsigned topics = 0; topics < 40; topics++) {
        struct catalog written, read;
        const char *why = "";
        size_t size;
        catalog_init(&written);
        catalog_init(&read);
        fill(&written, &random, topics);
        uint8_t *bytes = catalog_encode(&written, &size);
        cr_assert_eq(catalog_decode(&read, bytes, size, STATEFILE_VERSION, &why), LEAT_OK, "%s",
                     why);
        assert_same(&written, &read);
        catalog_free(&written);
        catalog_free(&read);
        free(bytes);
    }
}

Test(catalog, cut_bytes_and_bytes_behind_are_refused)
{
    struct seeded random = seeded_start("catalog");
    struct catalog written, read;
    const char *why;
    size_t size;
    catalog_init(&written);
    fill(&written, &random, 3);
    uint8_t *bytes = catalog_encode(&written, &size);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *exact = malloc(cut + 1); /* so that a sanitizer sees a read beyond */
        memcpy(exact, bytes, cut);
        catalog_init(&read);
        cr_assert_eq(catalog_decode(&read, exact, cut, STATEFILE_VERSION, &why), LEAT_ERR_STATE,
                     "cut at %zu", cut);
        catalog_free(&read);
        free(exact);
    }
    bytes = realloc(bytes, size + 1);
    bytes[size] = 0;
    catalog_init(&read);
    cr_assert_eq(catalog_decode(&read, bytes, size + 1, STATEFILE_VERSION, &why), LEAT_ERR_STATE);
    catalog_free(&read);
    catalog_free(&written);
    free(bytes);
}

/* What leatd 0.1 wrote is read; it does not say how the broker ended. */
Test(catalog, version_1_is_read_and_nothing_of_it_is_certain)
{
    struct seeded random = seeded_start("catalog");
    struct catalog written, read;
    const char *why;
    size_t size;
    catalog_init(&written);
    catalog_init(&read);
    fill(&written, &random, 1);
    written.orderly = true;
    uint8_t *bytes = catalog_encode(&written, &size);
    const uint32_t partitions = written.topics[0]->settings.partitions;
    uint8_t *old = malloc(size);
    const size_t head = size - 12 - (size_t)partitions * 24;
    memcpy(old, bytes, 8);
    memcpy(old + 8, bytes + 12, head);
    for (uint32_t i = 0; i < partitions; i++)
        memcpy(old + 8 + head + (size_t)i * 16, bytes + 12 + head + (size_t)i * 24, 16);
    const size_t old_size = 8 + head + (size_t)partitions * 16;
    cr_assert_eq(catalog_decode(&read, old, old_size, 1, &why), LEAT_OK, "%s", why);
    cr_assert_not(read.orderly);
    cr_assert_eq(read.incarnation, written.incarnation);
    for (uint32_t i = 0; i < partitions; i++) {
        const struct catalog_partition *x = &written.topics[0]->partitions[i];
        const struct catalog_partition *y = &read.topics[0]->partitions[i];
        cr_assert(x->log_epoch == y->log_epoch && x->offset_limit == y->offset_limit);
        cr_assert_eq(y->certain_offset, y->offset_limit);
    }
    catalog_free(&written);
    catalog_free(&read);
    free(bytes);
    free(old);
}

Test(catalog, a_log_that_is_certain_beyond_its_end_is_refused)
{
    struct seeded random = seeded_start("catalog");
    struct catalog written, read;
    const char *why;
    size_t size;
    catalog_init(&written);
    catalog_init(&read);
    fill(&written, &random, 1);
    written.topics[0]->partitions[0].offset_limit = 7;
    written.topics[0]->partitions[0].certain_offset = 8;
    uint8_t *bytes = catalog_encode(&written, &size);
    cr_assert_eq(catalog_decode(&read, bytes, size, STATEFILE_VERSION, &why), LEAT_ERR_STATE);
    catalog_free(&written);
    catalog_free(&read);
    free(bytes);
}

/* The checksum is the state file's; here only memory must stay safe. */
Test(catalog, changed_bytes_are_never_taken_beyond_their_end)
{
    struct seeded random = seeded_start("catalog");
    struct catalog written, read;
    const char *why;
    size_t size;
    catalog_init(&written);
    fill(&written, &random, 4);
    uint8_t *bytes = catalog_encode(&written, &size);
    for (int round = 0; round < 20000; round++) {
        const size_t at = seeded_below(&random, (uint32_t)size);
        const uint8_t old = bytes[at];
        bytes[at] = (uint8_t)seeded_next(&random);
        catalog_init(&read);
        const enum leat_error error = catalog_decode(&read, bytes, size, STATEFILE_VERSION, &why);
        cr_assert(error == LEAT_OK || error == LEAT_ERR_STATE || error == LEAT_ERR_NO_MEMORY);
        catalog_free(&read);
        bytes[at] = old;
    }
    catalog_free(&written);
    free(bytes);
}

Test(catalog, topics_are_found_removed_and_restored)
{
    struct seeded random = seeded_start("catalog");
    struct catalog c;
    catalog_init(&c);
    fill(&c, &random, 20);
    struct catalog_topic *seventh = c.topics[7];
    catalog_remove(&c, seventh);
    cr_assert_null(catalog_find(&c, seventh->id));
    cr_assert_null(catalog_find_name(&c, seventh->name));
    catalog_restore(&c, seventh);
    cr_assert_eq(c.topics[7], seventh);
    for (size_t i = 0; i < c.count; i++) {
        cr_assert_eq(catalog_find(&c, c.topics[i]->id), c.topics[i]);
        cr_assert_eq(catalog_find_name(&c, c.topics[i]->name), c.topics[i]);
    }
    catalog_free(&c);
}

Test(catalog, ids_end_before_they_repeat)
{
    struct catalog c;
    uint64_t id;
    catalog_init(&c);
    c.incarnation = 7;
    cr_assert_eq(catalog_new_id(&c, &id), LEAT_OK);
    cr_assert_eq(id, UINT64_C(7) << 32 | 1);
    c.counter = UINT32_MAX - 1;
    cr_assert_eq(catalog_new_id(&c, &id), LEAT_OK);
    cr_assert_eq(catalog_new_id(&c, &id), LEAT_ERR_LIMIT);
}

Test(catalog, no_two_catalogs_have_runs_in_common)
{
    struct catalog a, b;
    catalog_init(&a);
    catalog_init(&b);
    cr_assert(catalog_next_run(&a) && catalog_next_run(&b));
    cr_assert_neq(a.incarnation, b.incarnation);
    cr_assert(a.incarnation != 0 && a.incarnation <= UINT32_C(1) << 31);
    const uint32_t first = a.incarnation;
    cr_assert(catalog_next_run(&a));
    cr_assert_eq(a.incarnation, first + 1);
}

/* Two runs over copies of one catalog have the same incarnation, and hardly an id in common. */
Test(catalog, runs_over_copies_of_one_catalog_are_told_apart)
{
    struct catalog a, b;
    uint64_t of_a, of_b;
    catalog_init(&a);
    catalog_init(&b);
    a.incarnation = b.incarnation = 7;
    cr_assert(catalog_next_run(&a) && catalog_next_run(&b));
    cr_assert_eq(a.incarnation, b.incarnation);
    cr_assert_neq(a.run, b.run);
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(catalog_new_id(&a, &of_a), LEAT_OK);
        cr_assert_eq(catalog_new_id(&b, &of_b), LEAT_OK);
        cr_assert_neq(of_a, of_b);
        cr_assert_eq(of_a >> 32, 8u);
    }
}

Test(reserve, is_always_ahead_and_never_goes_back)
{
    struct seeded random = seeded_start("reserve");
    struct reserve r;
    leat_ns now = 1000;
    uint64_t next = 5;
    uint64_t limit = reserve_begin(&r, next, now);
    cr_assert_eq(limit, next + RESERVE_STEP_MIN);
    for (int i = 0; i < 1000; i++) {
        next += seeded_below(&random, 1 << 30) % (limit - next + 1);
        now += seeded_next(&random) % (60 * LEAT_NS_PER_S);
        const uint64_t before = limit;
        limit = reserve_grow(&r, limit, next, now);
        cr_assert_geq(limit, before);
        cr_assert_geq(limit, next + RESERVE_STEP_MIN);
        cr_assert_leq(r.step, (uint64_t)RESERVE_STEP_MAX);
    }
}

Test(reserve, grows_while_it_is_used_up_quickly)
{
    struct reserve r;
    uint64_t limit = reserve_begin(&r, 0, 0);
    limit = reserve_grow(&r, limit, limit / 2, LEAT_NS_PER_S);
    cr_assert_eq(r.step, 2u * RESERVE_STEP_MIN);
    reserve_grow(&r, limit, limit, 100 * LEAT_NS_PER_S);
    cr_assert_eq(r.step, 2u * RESERVE_STEP_MIN, "no hurry");
}

Test(reserve, ends_at_the_last_offset)
{
    struct reserve r;
    cr_assert_eq(reserve_begin(&r, LEAT_OFFSET_NONE - 2, 0), LEAT_OFFSET_NONE - 1);
    cr_assert_eq(reserve_grow(&r, LEAT_OFFSET_NONE - 1, LEAT_OFFSET_NONE - 1, 1),
                 LEAT_OFFSET_NONE - 1);
}

Test(settings, zeros_become_defaults_that_fit_together)
{
    struct settings_error error;
    for (unsigned bits = 16; bits <= 40; bits++) {
        struct topic_settings s = { .ring_bytes = UINT64_C(1) << bits };
        cr_assert_eq(settings_resolve(&s, &error), LEAT_OK, "2^%u: %s", bits, error.expected);
        cr_assert_eq(s.partitions, 1u);
        cr_assert_neq(s.record_bytes_max, 0u);
        cr_assert_leq(4 * (uint64_t)partition_largest_batch(s.ring_bytes, s.record_bytes_max),
                      s.ring_bytes);
    }
    struct topic_settings s = { .partitions = 0 };
    cr_assert_eq(settings_resolve(&s, &error), LEAT_OK);
    cr_assert_eq(s.ring_bytes, LEAT_RING_BYTES_DEFAULT);
    cr_assert_eq(s.record_bytes_max, (uint32_t)LEAT_RECORD_BYTES_DEFAULT);
    for (uint32_t size = 1; size <= LEAT_RECORD_BYTES_LIMIT; size <<= 1) {
        s = (struct topic_settings){ .record_bytes_max = size };
        cr_assert_eq(settings_resolve(&s, &error), LEAT_OK, "%u: %s", size, error.expected);
        cr_assert_eq(s.record_bytes_max, size);
        cr_assert_leq(4 * (uint64_t)partition_largest_batch(s.ring_bytes, size), s.ring_bytes);
        cr_assert_leq(s.ring_bytes, 2 * LEAT_RING_BYTES_DEFAULT);
    }
}

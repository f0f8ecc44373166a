/* Goal: what is written is read, and nothing else is: whatever is wrong is found before a row is
 * taken. Method: random places of random groups (printed seed) there and back; every truncation;
 * and random damage, after which the bytes are refused or are the very bytes a writer would write.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "broker/state/offsets_file.h"
#include "broker/state/statefile.h"
#include "tests/support/seeded.h"

enum { ROUNDS = 300, GROUPS = 6, TOPICS = 4, PARTITIONS = 6, DAMAGES = 200 };

/* Writes what a reader reads. */
static void write_back(struct offsets_writer *w, const uint8_t *bytes, size_t size)
{
    struct offsets_reader r;
    char group[LEAT_NAME_BYTES_MAX + 1] = "";
    const uint8_t *topic = NULL;
    offsets_file_begin(&r, bytes, size, STATEFILE_VERSION);
    while (offsets_file_next(&r)) {
        /* A topic's rows follow one another: a new one begins where nothing of the last is left. */
        const bool new_group = strcmp(group, r.group) != 0;
        if (new_group)
            offsets_file_group(w, r.group);
        if (new_group || topic == NULL)
            offsets_file_topic(w, r.topic_id);
        topic = r.partitions != 0 ? r.at : NULL;
        strcpy(group, r.group);
        offsets_file_partition(w, &r.row);
    }
}

static void write_random(struct offsets_writer *w, struct seeded *random)
{
    static char text[LEAT_GROUP_METADATA_MAX];
    memset(text, 'x', sizeof text);
    const unsigned groups = seeded_below(random, GROUPS);
    for (unsigned g = 0; g < groups; g++) {
        char name[32];
        snprintf(name, sizeof name, "group-%u", g);
        offsets_file_group(w, name);
        const unsigned topics = 1 + seeded_below(random, TOPICS);
        for (unsigned t = 0; t < topics; t++) {
            uint32_t partition = seeded_below(random, 10);
            offsets_file_topic(w, seeded_next(random));
            const unsigned partitions = 1 + seeded_below(random, PARTITIONS);
            for (unsigned p = 0; p < partitions; p++) {
                const struct offsets_row row = {
                    .partition = partition,
                    .log_epoch = 1 + seeded_below(random, 1000),
                    .offset = seeded_next(random) >> 1,
                    .commit_ns = seeded_next(random),
                    .lost_at_least = seeded_below(random, 3),
                    .lost_at_most = 2 + seeded_below(random, 3),
                    .metadata_size = (uint16_t)(seeded_below(random, 4) == 0
                                                    ? seeded_below(random, sizeof text + 1)
                                                    : 0),
                    .metadata = text,
                };
                offsets_file_partition(w, &row);
                partition += 1 + seeded_below(random, 100);
            }
        }
    }
    cr_assert_not(w->failed);
}

static void expect_the_same_back(const uint8_t *bytes, size_t size)
{
    struct offsets_writer back = { .bytes = NULL };
    write_back(&back, bytes, size);
    cr_assert_eq(back.size, size);
    cr_assert(size == 0 || memcmp(back.bytes, bytes, size) == 0);
    free(back.bytes);
}

/* At the end of its heap block, so that AddressSanitizer sees a read beyond. */
static enum leat_error check_copy(const uint8_t *bytes, size_t size, bool and_back)
{
    const char *why = NULL;
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    cr_assert_not_null(copy);
    if (size != 0)
        memcpy(copy, bytes, size);
    const enum leat_error error = offsets_file_check(copy, size, STATEFILE_VERSION, &why);
    cr_assert(error == LEAT_OK || why != NULL);
    if (error == LEAT_OK && and_back)
        expect_the_same_back(copy, size);
    free(copy);
    return error;
}

Test(offsets_file, there_and_back_cut_and_damaged)
{
    struct seeded random = seeded_start("offsets_file");
    unsigned refused = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct offsets_writer w = { .bytes = NULL };
        write_random(&w, &random);
        cr_assert_eq(check_copy(w.bytes, w.size, true), LEAT_OK);
        for (unsigned k = 0; k < DAMAGES && w.size != 0; k++) {
            const size_t at = seeded_below(&random, (uint32_t)w.size);
            const uint8_t was = w.bytes[at];
            w.bytes[at] = (uint8_t)seeded_next(&random);
            refused += check_copy(w.bytes, w.size, true) != LEAT_OK;
            w.bytes[at] = was;
            check_copy(w.bytes, seeded_below(&random, (uint32_t)w.size), true);
        }
        free(w.bytes);
    }
    cr_assert_gt(refused, 1000u);
}

Test(offsets_file, what_is_wrong_is_said)
{
    static const struct {
        const char *why;
        size_t size;
        uint8_t bytes[64];
    } cases[] = {
        { "it ends within a group", 2, { 1, 'g' } },
        { "a group's name is invalid", 4, { 1, '/', 1, 0 } },
        { "a group has 0 topics or too many", 4, { 1, 'g', 0, 0 } },
        { "a group has 0 topics or too many", 4, { 1, 'g', 65, 0 } },
        { "it ends within a topic", 5, { 1, 'g', 1, 0, 7 } },
        { "a topic has 0 partitions or too many", 14, { 1, 'g', 1, 0, 7 } },
        { "it ends within a partition", 15, { 1, 'g', 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0 } },
        { "a partition has no offset", 60, { 1, 'g', 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *why = "nothing";
        cr_assert_eq(offsets_file_check(cases[i].bytes, cases[i].size, STATEFILE_VERSION, &why),
                     LEAT_ERR_STATE);
        cr_assert_str_eq(why, cases[i].why, "case %zu: %s", i, why);
    }
}

/* What leatd 0.1 wrote: one number of lost records, an upper bound. */
Test(offsets_file, version_1_is_read)
{
    struct offsets_writer w = { .bytes = NULL };
    struct offsets_reader r;
    const char *why;
    uint8_t old[128];
    offsets_file_group(&w, "g");
    offsets_file_topic(&w, 7);
    offsets_file_partition(&w, &(struct offsets_row){ .log_epoch = 3,
                                                      .offset = 40,
                                                      .lost_at_least = 5,
                                                      .lost_at_most = 19,
                                                      .metadata_size = 3,
                                                      .metadata = "abc" });
    const size_t least = w.size - 3 - 2 - 8; /* the number that it has not */
    memcpy(old, w.bytes, least);
    memcpy(old + least, w.bytes + least + 8, 5);
    cr_assert_eq(offsets_file_check(old, w.size - 8, 1, &why), LEAT_OK, "%s", why);
    offsets_file_begin(&r, old, w.size - 8, 1);
    cr_assert(offsets_file_next(&r));
    cr_assert(r.row.offset == 40 && r.row.lost_at_most == 19 && r.row.lost_at_least == 0);
    cr_assert(r.row.metadata_size == 3 && memcmp(r.row.metadata, "abc", 3) == 0);
    cr_assert_not(offsets_file_next(&r));
    free(w.bytes);
}

/* Goal: the fast path and the tables are the same function, CRC-32C.
 * Method: published check values; both paths compared over every size and alignment that takes
 * another route through the streams, and over every way to cut a run in two. */
#include <criterion/criterion.h>

#include "schema/crc32c.h"
#include "tests/support/seeded.h"
#include "tests/support/vectors.h"

enum {
    SIZE_MAX_TESTED = 4096,
    ALIGNMENTS = 16,
};

Test(crc32c, gives_the_published_values)
{
    FILE *file = vectors_open("schema/vectors/crc32c.txt");
    static struct vector v;
    unsigned count = 0;
    for (; vector_next(file, &v); count++) {
        const uint32_t want = (uint32_t)vector_number(&v, "crc32c");
        cr_assert_eq(leat_crc32c(v.bytes, v.size), want, "%s, %s", v.name, leat_crc32c_path());
        cr_assert_eq(leat_crc32c_portable(v.bytes, v.size), want, "%s, portable", v.name);
    }
    fclose(file);
    cr_assert_geq(count, 9u);
}

Test(crc32c, fast_and_portable_agree_at_every_size_and_alignment)
{
    struct seeded random = seeded_start("crc32c");
    static uint8_t bytes[SIZE_MAX_TESTED + ALIGNMENTS];
    seeded_fill(&random, bytes, sizeof bytes);
    for (unsigned at = 0; at < ALIGNMENTS; at++) {
        for (unsigned size = 0; size <= SIZE_MAX_TESTED; size++) {
            cr_assert_eq(leat_crc32c(bytes + at, size), leat_crc32c_portable(bytes + at, size),
                         "%u bytes at %u, %s", size, at, leat_crc32c_path());
        }
    }
}

Test(crc32c, pieces_give_what_the_whole_gives)
{
    struct seeded random = seeded_start("crc32c");
    static uint8_t bytes[3 * LEAT_CRC32C_PIECE_BYTES + 7];
    seeded_fill(&random, bytes, sizeof bytes);
    const uint32_t whole = leat_crc32c_portable(bytes, sizeof bytes);
    for (unsigned cut = 0; cut <= sizeof bytes; cut++) {
        const uint32_t head = leat_crc32c_extend(0, bytes, cut);
        cr_assert_eq(leat_crc32c_extend(head, bytes + cut, sizeof bytes - cut), whole, "%u", cut);
        const uint32_t slow = leat_crc32c_extend_portable(0, bytes, cut);
        cr_assert_eq(slow, head, "%u", cut);
    }
}

Test(crc32c, every_single_bit_matters)
{
    struct seeded random = seeded_start("crc32c");
    uint8_t bytes[401];
    seeded_fill(&random, bytes, sizeof bytes);
    const uint32_t right = leat_crc32c(bytes, sizeof bytes);
    for (unsigned bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_neq(leat_crc32c(bytes, sizeof bytes), right, "bit %u", bit);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

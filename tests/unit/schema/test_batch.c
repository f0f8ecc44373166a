/* Goal: a batch survives the way from its writer to its reader, and no other bytes pass.
 * Method: the vectors, both ways; seeded random batches against a model of their records; every
 * byte of a batch damaged, every length cut, every size field set to hostile values with the CRC
 * made right again. Bytes are checked at the very end of a heap block, so that ASan sees a read
 * beyond them. */
#include <criterion/criterion.h>

#include "schema/batch.h"
#include "schema/bytes.h"
#include "schema/crc32c.h"
#include "tests/support/seeded.h"
#include "tests/support/vectors.h"

enum {
    ANY_RECORD = LEAT_RECORD_BYTES_LIMIT,
    MODEL_RECORDS_MAX = 64,
};

static void right_crc(uint8_t *bytes, uint32_t size)
{
    leat_store32(bytes + LEAT_BATCH_STAMP_BYTES,
                 leat_crc32c_portable(bytes + LEAT_BATCH_CRC_FROM, size - LEAT_BATCH_CRC_FROM));
}

/* Parse, then check, of a copy that ends where its heap block ends. */
static enum leat_error accept(const uint8_t *bytes, size_t size, uint32_t record_bytes_max)
{
    uint8_t *copy = malloc(size);
    cr_assert_not_null(copy);
    memcpy(copy, bytes, size);
    struct leat_batch batch;
    enum leat_error error = leat_batch_parse(&batch, copy, size);
    if (error == LEAT_OK)
        error = batch.size <= size ? leat_batch_check(&batch, copy, record_bytes_max) : LEAT_AGAIN;
    free(copy);
    return error;
}

/* "null", "empty" or hex: bytes into `room`, NULL for null. */
static const uint8_t *bytes_of(const char *text, uint8_t *room, uint32_t *size)
{
    *size = 0;
    if (strcmp(text, "null") == 0)
        return NULL;
    if (strcmp(text, "empty") != 0)
        *size = (uint32_t)vector_hex(room, VECTOR_BYTES_MAX, text);
    return room;
}

struct record_room {
    uint8_t key[VECTOR_BYTES_MAX];
    uint8_t value[VECTOR_BYTES_MAX];
    uint8_t headers[VECTOR_BYTES_MAX];
};

static struct leat_record_view record_of(const char *text, struct record_room *room)
{
    char line[VECTOR_TEXT_BYTES];
    snprintf(line, sizeof line, "%s", text);
    struct leat_record_view record = { .headers = room->headers };
    record.timestamp_ns = strtoll(strtok(line, " "), NULL, 0);
    record.key = bytes_of(strtok(NULL, " "), room->key, &record.key_size);
    record.value = bytes_of(strtok(NULL, " "), room->value, &record.value_size);
    for (char *word; (word = strtok(NULL, " ")) != NULL;) {
        char *value = strchr(word, ':');
        cr_assert_not_null(value, "%s", text);
        *value++ = '\0';
        uint8_t name_bytes[VECTOR_BYTES_MAX];
        uint8_t value_bytes[VECTOR_BYTES_MAX];
        uint32_t name_size;
        uint32_t value_size;
        const struct leat_header_view header = {
            .name = bytes_of(word, name_bytes, &name_size),
            .value = bytes_of(value, value_bytes, &value_size),
            .name_size = (uint16_t)name_size,
            .value_size = (uint16_t)value_size,
        };
        record.headers_size += leat_header_write(room->headers + record.headers_size, &header);
    }
    return record;
}

static bool same_part(const uint8_t *a, uint32_t a_size, const uint8_t *b, uint32_t b_size)
{
    return (a == NULL) == (b == NULL) && a_size == b_size
           && (a_size == 0 || memcmp(a, b, a_size) == 0);
}

static void expect_same(const struct leat_record_view *got, const struct leat_record_view *want,
                        const char *where)
{
    cr_assert(same_part(got->key, got->key_size, want->key, want->key_size), "%s: key", where);
    cr_assert(same_part(got->value, got->value_size, want->value, want->value_size), "%s: value",
              where);
    cr_assert_eq(got->headers_size, want->headers_size, "%s: headers", where);
    cr_assert(got->headers_size == 0 || memcmp(got->headers, want->headers, got->headers_size) == 0,
              "%s: headers", where);
    cr_assert_eq(got->timestamp_ns, want->timestamp_ns, "%s: time", where);
}

static void expect_fields(const struct leat_batch *batch, const struct vector *v)
{
    cr_assert_eq(batch->base_offset, vector_number(v, "base_offset"), "%s", v->name);
    cr_assert_eq(batch->append_time_ns, vector_number(v, "append_time_ns"), "%s", v->name);
    cr_assert_eq(batch->leader_epoch, vector_number(v, "leader_epoch"), "%s", v->name);
    cr_assert_eq(batch->crc32c, vector_number(v, "crc32c"), "%s", v->name);
    cr_assert_eq(batch->size, vector_number(v, "size"), "%s", v->name);
    cr_assert_eq(batch->record_count, vector_number(v, "record_count"), "%s", v->name);
    cr_assert_eq(batch->attributes, vector_number(v, "attributes"), "%s", v->name);
    cr_assert_eq(batch->producer_epoch, vector_number(v, "producer_epoch"), "%s", v->name);
    cr_assert_eq(batch->producer_id, vector_number(v, "producer_id"), "%s", v->name);
    cr_assert_eq(batch->base_sequence, vector_number(v, "base_sequence"), "%s", v->name);
    cr_assert_eq((uint64_t)batch->base_timestamp_ns, vector_number(v, "base_timestamp_ns"), "%s",
                 v->name);
}

/* Reads the vector's records out of its bytes, and writes the bytes from its records. */
static void expect_records(const struct leat_batch *batch, const struct vector *v)
{
    static struct record_room room;
    static uint8_t made[VECTOR_BYTES_MAX];
    uint32_t at = LEAT_BATCH_HEADER_BYTES;
    struct leat_record_iterator it;
    struct leat_record_view got;
    leat_record_iterate(&it, batch, v->bytes);
    for (unsigned i = 0; vector_text(v, "record", i) != NULL; i++) {
        const struct leat_record_view want = record_of(vector_text(v, "record", i), &room);
        cr_assert(leat_record_next(&it, &got), "%s: record %u", v->name, i);
        expect_same(&got, &want, v->name);
        at += leat_record_write(made + at, &want, batch->base_timestamp_ns);
    }
    cr_assert_not(leat_record_next(&it, &got), "%s: one record too many", v->name);
    leat_batch_seal(made, batch);
    leat_batch_stamp(made, batch->base_offset, batch->append_time_ns, batch->leader_epoch);
    if (vector_text(v, "log_epoch", 0) != NULL) {
        const uint32_t seed = leat_batch_stamp_seed(vector_number(v, "topic_id"),
                                                    (uint32_t)vector_number(v, "partition"),
                                                    vector_number(v, "log_epoch"));
        cr_assert(leat_batch_stamp_check(v->bytes, seed), "%s", v->name);
        leat_batch_stamp_protect(made, seed);
    }
    cr_assert_eq(at, v->size, "%s", v->name);
    cr_assert_arr_eq(made, v->bytes, v->size, "%s: written otherwise", v->name);
}

Test(batch, vectors_hold_both_ways)
{
    FILE *file = vectors_open("schema/vectors/batch.txt");
    static struct vector v;
    unsigned count = 0;
    for (; vector_next(file, &v); count++) {
        struct leat_batch batch;
        const enum leat_error parsed = leat_batch_parse(&batch, v.bytes, v.size);
        vector_expect(&v, "parse", parsed);
        if (parsed != LEAT_OK)
            continue;
        const uint32_t record_bytes_max = (uint32_t)vector_number(&v, "record_bytes_max");
        vector_expect(&v, "check", accept(v.bytes, v.size, record_bytes_max));
        if (vector_text(&v, "record", 0) != NULL) {
            expect_fields(&batch, &v);
            expect_records(&batch, &v);
        }
    }
    fclose(file);
    cr_assert_geq(count, 30u);
}

/* A random batch and what it holds. Views point into `data`, which repeats. */
struct model {
    struct leat_batch batch;
    struct leat_record_view records[MODEL_RECORDS_MAX];
    uint8_t headers[MODEL_RECORDS_MAX][256];
    uint8_t data[2048];
    uint8_t bytes[LEAT_BATCH_HEADER_BYTES + MODEL_RECORDS_MAX * 2048];
};

static void make_record(struct seeded *random, struct model *m, uint32_t index)
{
    struct leat_record_view *record = &m->records[index];
    *record = (struct leat_record_view){ .headers = m->headers[index] };
    record->timestamp_ns = (int64_t)seeded_next(random);
    if (seeded_below(random, 3) != 0) {
        record->key = m->data;
        record->key_size = seeded_below(random, 40);
    }
    if (seeded_below(random, 5) != 0) {
        record->value = m->data + seeded_below(random, 100);
        record->value_size = seeded_below(random, 4) == 0 ? seeded_below(random, 1500) : 64;
    }
    for (uint32_t i = seeded_below(random, 4) == 0 ? seeded_below(random, 5) : 0; i > 0; i--) {
        const struct leat_header_view header = {
            .name = m->data,
            .value = m->data + 7,
            .name_size = (uint16_t)seeded_below(random, 20),
            .value_size = (uint16_t)seeded_below(random, 20),
        };
        record->headers_size +=
            leat_header_write(m->headers[index] + record->headers_size, &header);
    }
}

static void make_batch(struct seeded *random, struct model *m)
{
    seeded_fill(random, m->data, sizeof m->data);
    m->batch = (struct leat_batch){
        .producer_id = seeded_next(random),
        .base_sequence = seeded_next(random) >> 1,
        .base_timestamp_ns = (int64_t)seeded_next(random),
        .size = LEAT_BATCH_HEADER_BYTES,
        .record_count = 1 + seeded_below(random, MODEL_RECORDS_MAX),
        .producer_epoch = (uint32_t)seeded_next(random),
    };
    for (uint32_t i = 0; i < m->batch.record_count; i++) {
        make_record(random, m, i);
        const struct leat_record_view *record = &m->records[i];
        const uint32_t wrote =
            leat_record_write(m->bytes + m->batch.size, record, m->batch.base_timestamp_ns);
        cr_assert_eq(wrote,
                     leat_record_bytes(record->key_size, record->headers_size, record->value_size));
        m->batch.size += wrote;
    }
    leat_batch_seal(m->bytes, &m->batch);
}

static struct model model;

Test(batch, random_batches_come_back_as_they_were_written)
{
    struct seeded random = seeded_start("batch");
    for (unsigned round = 0; round < 500; round++) {
        make_batch(&random, &model);
        leat_batch_stamp(model.bytes, round, seeded_next(&random), 1);
        cr_assert_eq(accept(model.bytes, model.batch.size, ANY_RECORD), LEAT_OK);

        struct leat_batch batch;
        cr_assert_eq(leat_batch_parse(&batch, model.bytes, model.batch.size), LEAT_OK);
        cr_assert_eq(batch.base_offset, round);
        struct leat_record_iterator it;
        struct leat_record_view got;
        leat_record_iterate(&it, &batch, model.bytes);
        for (uint32_t i = 0; i < model.batch.record_count; i++) {
            cr_assert(leat_record_next(&it, &got));
            expect_same(&got, &model.records[i], "random batch");
            const uint8_t *cursor = got.headers;
            for (struct leat_header_view header;
                 leat_header_next(&cursor, got.headers + got.headers_size, &header);) {
                cr_assert_eq(memcmp(header.name, model.data, header.name_size), 0);
                cr_assert_eq(memcmp(header.value, model.data + 7, header.value_size), 0);
            }
        }
        cr_assert_not(leat_record_next(&it, &got));
        cr_assert_eq((size_t)(it.next - model.bytes), batch.size);
    }
}

Test(batch, the_largest_record_a_topic_takes_is_judged_to_the_byte)
{
    struct seeded random = seeded_start("batch");
    for (unsigned round = 0; round < 100; round++) {
        make_batch(&random, &model);
        uint32_t largest = 0;
        for (uint32_t i = 0; i < model.batch.record_count; i++) {
            const struct leat_record_view *r = &model.records[i];
            const uint32_t payload = r->key_size + r->headers_size + r->value_size;
            largest = payload > largest ? payload : largest;
        }
        cr_assert_eq(accept(model.bytes, model.batch.size, largest), LEAT_OK);
        if (largest > 0)
            cr_assert_eq(accept(model.bytes, model.batch.size, largest - 1), LEAT_ERR_TOO_LARGE);
    }
}

Test(batch, no_damaged_byte_behind_the_stamp_passes)
{
    struct seeded random = seeded_start("batch");
    make_batch(&random, &model);
    for (uint32_t at = LEAT_BATCH_STAMP_BYTES; at < model.batch.size; at++) {
        const uint8_t was = model.bytes[at];
        model.bytes[at] ^= (uint8_t)(1 + seeded_below(&random, 255));
        cr_assert_neq(accept(model.bytes, model.batch.size, ANY_RECORD), LEAT_OK, "byte %u", at);
        model.bytes[at] = was;
    }
}

Test(batch, the_stamp_is_outside_the_checksum)
{
    struct seeded random = seeded_start("batch");
    make_batch(&random, &model);
    leat_batch_stamp(model.bytes, UINT64_MAX - model.batch.record_count, UINT64_MAX, UINT32_MAX);
    cr_assert_eq(accept(model.bytes, model.batch.size, ANY_RECORD), LEAT_OK);
}

Test(batch, a_cut_batch_is_more_to_wait_for_or_refused)
{
    struct seeded random = seeded_start("batch");
    make_batch(&random, &model);
    for (uint32_t size = 1; size < model.batch.size; size++)
        cr_assert_eq(accept(model.bytes, size, ANY_RECORD), LEAT_AGAIN, "%u bytes", size);
    for (uint32_t size = LEAT_BATCH_HEADER_BYTES + 8; size < model.batch.size; size += 8) {
        leat_store32(model.bytes + LEAT_BATCH_CRC_FROM, size);
        right_crc(model.bytes, size);
        cr_assert_eq(accept(model.bytes, size, ANY_RECORD), LEAT_ERR_MALFORMED, "says %u", size);
    }
}

Test(batch, hostile_sizes_under_a_right_checksum_are_refused_in_bounds)
{
    static const uint32_t hostile[] = { 0,      1,          7,          8,          0x7F,
                                        0xFFFE, 0xFFFF,     0x10000,    0x7FFFFFFF, 0x80000000,
                                        0xFFF0, 0xFFFFFFE8, 0xFFFFFFF0, 0xFFFFFFFE, 0xFFFFFFFF };
    struct seeded random = seeded_start("batch");
    for (unsigned round = 0; round < 2000; round++) {
        make_batch(&random, &model);
        uint32_t at = LEAT_BATCH_HEADER_BYTES;
        for (uint32_t skip = seeded_below(&random, model.batch.record_count); skip > 0; skip--) {
            const uint32_t value = leat_load32(model.bytes + at);
            const uint16_t key = leat_load16(model.bytes + at + 4);
            at += (uint32_t)leat_record_bytes(key == LEAT_NULL_KEY ? 0 : key,
                                              leat_load16(model.bytes + at + 6),
                                              value == LEAT_NULL_VALUE ? 0 : value);
        }
        uint8_t before[8];
        memcpy(before, model.bytes + at, sizeof before);
        const uint32_t bad = hostile[seeded_below(&random, sizeof hostile / sizeof *hostile)];
        switch (seeded_below(&random, 3)) {
        case 0: leat_store32(model.bytes + at, bad); break;
        case 1: leat_store16(model.bytes + at + 4, (uint16_t)bad); break;
        default: leat_store16(model.bytes + at + 6, (uint16_t)bad); break;
        }
        right_crc(model.bytes, model.batch.size);
        const enum leat_error got = accept(model.bytes, model.batch.size, ANY_RECORD);
        cr_assert(got == LEAT_ERR_MALFORMED || got == LEAT_OK, "%s", leat_error_name(got));
        if (got == LEAT_OK) { /* then the record must end where it ended before */
            struct leat_batch batch;
            cr_assert_eq(leat_batch_parse(&batch, model.bytes, model.batch.size), LEAT_OK);
            struct leat_record_iterator it;
            struct leat_record_view view;
            leat_record_iterate(&it, &batch, model.bytes);
            while (leat_record_next(&it, &view)) {
            }
            cr_assert_eq((size_t)(it.next - model.bytes), batch.size);
        }
    }
}

Test(batch, record_bytes_knows_every_limit)
{
    cr_assert_eq(leat_record_bytes(0, 0, 0), 16u);
    cr_assert_eq(leat_record_bytes(1, 0, 0), 24u);
    cr_assert_eq(leat_record_bytes(4, 2, 2), 24u);
    cr_assert_eq(leat_record_bytes(LEAT_KEY_BYTES_MAX, 0, 0), 16u + 65536u);
    cr_assert_eq(leat_record_bytes(LEAT_KEY_BYTES_MAX + 1, 0, 0), 0u);
    cr_assert_eq(leat_record_bytes(0, LEAT_HEADERS_BYTES_MAX + 1, 0), 0u);
    cr_assert_eq(leat_record_bytes(0, 0, LEAT_RECORD_BYTES_LIMIT), 16u + LEAT_RECORD_BYTES_LIMIT);
    cr_assert_eq(leat_record_bytes(1, 0, LEAT_RECORD_BYTES_LIMIT), 0u);
    cr_assert_eq(leat_record_bytes(0, 0, UINT32_MAX), 0u);
    cr_assert_leq(LEAT_BATCH_HEADER_BYTES + leat_record_bytes(0, 0, LEAT_RECORD_BYTES_LIMIT),
                  (uint64_t)LEAT_BATCH_BYTES_LIMIT);
}

Test(batch, the_stamp_is_protected_and_belongs_to_one_log)
{
    const uint32_t seed = leat_batch_stamp_seed(7, 3, 0x0102030405060708);
    uint8_t bytes[LEAT_BATCH_HEADER_BYTES + 24] = { 0 };
    const struct leat_batch batch = { .size = sizeof bytes, .record_count = 1, .producer_id = 9 };
    const struct leat_record_view record = { .value = (const uint8_t *)"abc", .value_size = 3 };
    leat_record_write(bytes + LEAT_BATCH_HEADER_BYTES, &record, 0);
    leat_batch_seal(bytes, &batch);
    leat_batch_stamp(bytes, 41, 42, 1);
    cr_assert(leat_batch_stamp_check(bytes, seed), "without one, nothing is said");
    leat_batch_stamp_protect(bytes, seed);
    cr_assert(leat_batch_stamp_check(bytes, seed));
    cr_assert_not(leat_batch_stamp_check(bytes, leat_batch_stamp_seed(8, 3, 0x0102030405060708)));
    cr_assert_not(leat_batch_stamp_check(bytes, leat_batch_stamp_seed(7, 2, 0x0102030405060708)));
    cr_assert_not(leat_batch_stamp_check(bytes, leat_batch_stamp_seed(7, 3, 1)));
    for (int bit = 0; bit < 8 * (LEAT_BATCH_STAMP_BYTES + 4); bit++) {
        if (bit / 8 >= 20 && bit / 8 < LEAT_BATCH_STAMP_BYTES)
            continue; /* the field itself: 0 is one of its values */
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_not(leat_batch_stamp_check(bytes, seed), "bit %d", bit);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    leat_batch_stamp(bytes, 41, 42, 1);
    cr_assert_eq(leat_load32(bytes + 20), 0u, "a new stamp has none");
}

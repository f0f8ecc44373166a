/* Goal: frames survive the way from writer to reader, and nothing that is not exactly a frame
 * decodes. Method: the vectors, both ways; every truncation; every bit of every vector flipped:
 * what still decodes must write back to the very same bytes. Bytes end where their heap block ends,
 * so that ASan sees a read beyond. */
#include <criterion/criterion.h>

#include "schema/frame.h"
#include "tests/support/frame_back.h"
#include "tests/support/seeded.h"
#include "tests/support/vectors.h"

static const char *const path = "schema/vectors/frame.txt";

static const struct {
    const char *name;
    enum leat_frame_type type;
} types[] = {
    { "PING", LEAT_FRAME_PING },
    { "PONG", LEAT_FRAME_PONG },
    { "BLOCKED", LEAT_FRAME_BLOCKED },
    { "ATTACH", LEAT_FRAME_ATTACH },
    { "ATTACHED", LEAT_FRAME_ATTACHED },
    { "PUBLISH", LEAT_FRAME_PUBLISH },
    { "PUBLISH_ACK", LEAT_FRAME_PUBLISH_ACK },
    { "DATA", LEAT_FRAME_DATA },
    { "GAP", LEAT_FRAME_GAP },
    { "CREDIT", LEAT_FRAME_CREDIT },
    { "RESET", LEAT_FRAME_RESET },
    { "PUBLISH_AT", LEAT_FRAME_PUBLISH_AT },
    { "PAD", LEAT_FRAME_PAD },
    { "COMMIT", LEAT_FRAME_COMMIT },
    { "COMMITTED", LEAT_FRAME_COMMITTED },
};

static enum leat_error decode_copy(struct leat_frame *out, uint8_t **copy, const uint8_t *bytes,
                                   size_t size)
{
    *copy = malloc(size == 0 ? 1 : size);
    cr_assert_not_null(*copy);
    memcpy(*copy, bytes, size);
    return leat_frame_decode(out, *copy, size);
}

static void expect_number(const struct vector *v, const char *key, uint64_t got)
{
    if (vector_text(v, key, 0) != NULL)
        cr_assert_eq(got, vector_number(v, key), "%s: %s", v->name, key);
}

static void expect_bytes(const struct vector *v, const char *key, const uint8_t *got, size_t size)
{
    uint8_t want[VECTOR_BYTES_MAX];
    if (vector_text(v, key, 0) == NULL)
        return;
    cr_assert_eq(vector_hex(want, sizeof want, vector_text(v, key, 0)), size, "%s", v->name);
    cr_assert_arr_eq(got, want, size);
}

static void expect_runs(const struct vector *v, const struct leat_frame_publish_ack *ack)
{
    uint32_t i = 0;
    for (const char *text; (text = vector_text(v, "run", i)) != NULL; i++) {
        unsigned long long first, base, retry;
        unsigned count, level;
        int status;
        cr_assert_eq(
            sscanf(text, "%llu %u %llu %d %u %llu", &first, &count, &base, &status, &level, &retry),
            6);
        const struct leat_ack_run run = leat_ack_run_at(ack, i);
        cr_assert(run.first_sequence == first && run.count == count && run.base_offset == base
                      && run.status == status && run.level == level && run.retry_after_us == retry,
                  "%s: run %u", v->name, i);
    }
    cr_assert_eq(ack->run_count, i);
}

static void expect_fields(const struct vector *v, const struct leat_frame *frame)
{
    switch (frame->type) {
    case LEAT_FRAME_ATTACH:
        expect_number(v, "session", frame->attach.session);
        expect_number(v, "version", frame->attach.version);
        expect_bytes(v, "token", frame->attach.token, LEAT_TOKEN_BYTES);
        break;
    case LEAT_FRAME_ATTACHED:
        expect_number(v, "session", frame->attached.session);
        expect_number(v, "status", (uint64_t)(int64_t)frame->attached.status);
        break;
    case LEAT_FRAME_PUBLISH:
        expect_number(v, "piece_at", frame->publish.piece_at);
        expect_number(v, "batch_size", frame->publish.batch_size);
        expect_bytes(v, "piece", frame->publish.bytes, frame->publish.size);
        break;
    case LEAT_FRAME_PUBLISH_ACK:
        expect_number(v, "log_epoch", frame->publish_ack.log_epoch);
        expect_runs(v, &frame->publish_ack);
        break;
    case LEAT_FRAME_DATA:
        expect_number(v, "position", frame->data.position);
        expect_bytes(v, "slice", frame->data.bytes, frame->data.size);
        break;
    case LEAT_FRAME_PUBLISH_AT:
        expect_number(v, "position", frame->data.position);
        expect_bytes(v, "piece", frame->data.bytes, frame->data.size);
        break;
    case LEAT_FRAME_GAP:
        expect_number(v, "position", frame->gap.position);
        expect_number(v, "offset", frame->gap.offset);
        expect_number(v, "log_epoch", frame->gap.log_epoch);
        expect_number(v, "reason", frame->gap.reason);
        break;
    case LEAT_FRAME_CREDIT:
        expect_number(v, "limit", frame->credit.limit);
        expect_number(v, "consumed", frame->credit.consumed);
        break;
    case LEAT_FRAME_COMMIT:
        expect_number(v, "offset", frame->commit.offset);
        expect_number(v, "log_epoch", frame->commit.log_epoch);
        expect_number(v, "lost_at_most", frame->commit.lost_at_most);
        expect_number(v, "lost_at_least", frame->commit.lost_at_least);
        break;
    case LEAT_FRAME_COMMITTED:
        expect_number(v, "offset", frame->committed.offset);
        expect_number(v, "log_epoch", frame->committed.log_epoch);
        expect_number(v, "asked", frame->committed.asked);
        expect_number(v, "status", (uint64_t)(int64_t)frame->committed.status);
        break;
    case LEAT_FRAME_BLOCKED: expect_number(v, "limit", frame->blocked_limit); break;
    case LEAT_FRAME_PING:
    case LEAT_FRAME_PONG: expect_number(v, "value", frame->ping); break;
    case LEAT_FRAME_RESET:
        expect_bytes(v, "token", frame->reset.token, LEAT_TOKEN_BYTES);
        expect_number(v, "status", (uint64_t)(int64_t)frame->reset.status);
        break;
    default: break;
    }
}

Test(frame, every_vector_decodes_as_it_says_and_writes_back_to_its_bytes)
{
    FILE *file = vectors_open(path);
    static struct vector v;
    unsigned count = 0;
    for (; vector_next(file, &v); count++) {
        struct leat_frame frame;
        uint8_t *copy, back[VECTOR_BYTES_MAX];
        const enum leat_error error = decode_copy(&frame, &copy, v.bytes, v.size);
        vector_expect(&v, "decode", error);
        if (error == LEAT_OK && vector_text(&v, "type", 0) != NULL) {
            for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
                if (strcmp(types[i].name, vector_text(&v, "type", 0)) == 0)
                    cr_assert_eq(frame.type, types[i].type, "%s", v.name);
            expect_number(&v, "stream", frame.stream);
            expect_fields(&v, &frame);
            const size_t size = frame_back(back, &frame);
            if (size != 0) {
                cr_assert_eq(size, frame.length, "%s", v.name);
                cr_assert_arr_eq(back, v.bytes, size);
            }
        }
        free(copy);
    }
    fclose(file);
    cr_assert_gt(count, 30u);
}

Test(frame, a_cut_frame_waits_for_the_rest_or_is_refused_at_once)
{
    FILE *file = vectors_open(path);
    static struct vector v;
    while (vector_next(file, &v)) {
        struct leat_frame frame;
        uint8_t *copy;
        if (leat_frame_decode(&frame, v.bytes, v.size) != LEAT_OK)
            continue;
        const uint16_t length = frame.length;
        for (size_t size = 0; size < length; size++) {
            cr_assert_eq(decode_copy(&frame, &copy, v.bytes, size), LEAT_AGAIN, "%s cut at %zu",
                         v.name, size);
            free(copy);
        }
    }
    fclose(file);
}

Test(frame, whatever_decodes_is_what_its_writer_would_write)
{
    FILE *file = vectors_open(path);
    static struct vector v;
    unsigned decoded = 0;
    while (vector_next(file, &v)) {
        for (size_t bit = 0; bit < 8 * v.size; bit++) {
            struct leat_frame frame;
            uint8_t *copy;
            static uint8_t back[LEAT_FRAME_BYTES_MAX + 64];
            v.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (decode_copy(&frame, &copy, v.bytes, v.size) == LEAT_OK) {
                const size_t size = frame_back(back, &frame);
                cr_assert_leq(frame.length, v.size);
                if (size != 0) {
                    cr_assert_eq(size, frame.length, "%s bit %zu", v.name, bit);
                    cr_assert_arr_eq(back, v.bytes, size);
                    decoded++;
                }
            }
            free(copy);
            v.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    fclose(file);
    cr_assert_gt(decoded, 1000u);
}

Test(frame, a_pad_is_as_large_as_wanted_and_zeros)
{
    for (uint32_t size = LEAT_FRAME_HEADER_BYTES; size <= LEAT_FRAME_BYTES_MAX; size += 1091) {
        uint8_t *at = malloc(size);
        struct leat_frame frame;
        cr_assert_not_null(at);
        memset(at, 0xFF, size);
        cr_assert_eq(leat_frame_write_pad(at, size), size);
        cr_assert_eq(leat_frame_decode(&frame, at, size), LEAT_OK);
        cr_assert(frame.type == LEAT_FRAME_PAD && frame.length == size && frame.stream == 0);
        for (uint32_t i = LEAT_FRAME_HEADER_BYTES; i < size; i++)
            cr_assert_eq(at[i], 0);
        free(at);
    }
}

Test(frame, only_data_decodes_before_it_is_whole)
{
    uint8_t at[LEAT_DATA_HEADER_BYTES];
    struct leat_frame frame;
    leat_frame_write_data(at, 1, 2, 3);
    cr_assert_eq(leat_frame_decode_head(&frame, at, sizeof at), LEAT_OK);
    leat_frame_write_publish_at(at, 1, 2, 3);
    cr_assert_eq(leat_frame_decode_head(&frame, at, sizeof at), LEAT_AGAIN);
}

Test(frame, random_bytes_are_refused_or_awaited_and_never_read_beyond)
{
    struct seeded random = seeded_start("frame");
    for (int i = 0; i < 200000; i++) {
        uint8_t noise[96], *copy;
        struct leat_frame frame;
        seeded_fill(&random, noise, sizeof noise);
        noise[0] = (uint8_t)(0x80 | seeded_below(&random, 12));
        noise[1] = 0;
        noise[2] = (uint8_t)seeded_below(&random, 100);
        noise[3] = 0;
        const size_t size = seeded_below(&random, sizeof noise);
        if (decode_copy(&frame, &copy, noise, size) == LEAT_OK)
            cr_assert_leq(frame.length, size);
        free(copy);
    }
}

/* What the writers wrote may be read without checks: the same as with them. */
Test(frame, peek_says_what_decode_says)
{
    uint8_t bytes[256];
    const struct leat_ack_run runs[2] = {
        { .first_sequence = 5, .base_offset = 9, .count = 3, .level = LEAT_LEVEL_IN_RING },
        { .first_sequence = 8, .base_offset = 30, .count = 1, .level = LEAT_LEVEL_IN_RING },
    };
    const struct leat_frame_gap gap = {
        .position = 64, .offset = 7, .log_epoch = 3, .reason = LEAT_REASON_OVERRUN
    };
    const struct leat_frame_credit credit = { .limit = 1000, .consumed = 900 };
    for (int kind = 0; kind < 4; kind++) {
        struct leat_frame peeked, decoded;
        size_t size = 0;
        switch (kind) {
        case 0: size = leat_frame_write_publish_ack(bytes, 4, 77, runs, 2); break;
        case 1: size = leat_frame_write_gap(bytes, 4, &gap); break;
        case 2: size = leat_frame_write_credit(bytes, 4, &credit); break;
        case 3: size = leat_frame_write_blocked(bytes, 4, 123); break;
        }
        cr_assert_eq(leat_frame_decode(&decoded, bytes, size), LEAT_OK);
        leat_frame_peek(&peeked, bytes);
        cr_assert_eq(peeked.type, decoded.type);
        cr_assert_eq(peeked.length, decoded.length);
        cr_assert_eq(peeked.stream, decoded.stream);
        cr_assert_eq(leat_frame_length(bytes), size);
        if (kind == 0) {
            cr_assert_eq(peeked.publish_ack.run_count, decoded.publish_ack.run_count);
            cr_assert_eq(leat_ack_run_at(&peeked.publish_ack, 1).base_offset, 30u);
        }
        if (kind == 1)
            cr_assert(peeked.gap.position == 64 && peeked.gap.reason == LEAT_REASON_OVERRUN);
        if (kind == 2)
            cr_assert_eq(peeked.credit.limit, decoded.credit.limit);
        if (kind == 3)
            cr_assert_eq(peeked.blocked_limit, decoded.blocked_limit);
    }
}

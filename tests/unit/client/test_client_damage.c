/* Goal: of what comes without a checksum, and cannot be right, nothing is told and nothing is
 * skipped: the stream asks for a new start, with checksums. With them the same is told. Method: a
 * stream of three batches, each bit of the second one flipped. */
#include <criterion/criterion.h>

#include "client/partition_stream.h"
#include "client/ringmap.h"
#include "schema/batch.h"

enum { BATCHES = 3, RECORDS = 2, VALUE = 20, WINDOW = 1 << 16 };

static uint8_t log_bytes[1024];
static uint32_t batch_at[BATCHES + 1];

static void make_log(void)
{
    const uint8_t value[VALUE] = "value";
    const struct leat_record_view record = { .value = value, .value_size = VALUE };
    uint8_t *at = log_bytes;
    for (uint32_t i = 0; i < BATCHES; i++) {
        uint8_t *end = at + LEAT_BATCH_HEADER_BYTES;
        for (int k = 0; k < RECORDS; k++)
            end += leat_record_write(end, &record, 0);
        const struct leat_batch batch = { .producer_id = 7,
                                          .base_sequence = (uint64_t)i * RECORDS,
                                          .size = (uint32_t)(end - at),
                                          .record_count = RECORDS };
        leat_batch_seal(at, &batch);
        leat_batch_stamp(at, (uint64_t)i * RECORDS, 5, 1);
        at = end;
        batch_at[i + 1] = (uint32_t)(at - log_bytes);
    }
}

static struct partition_stream stream;

/* The log's bytes again; it wants the records from `offset` on. */
static void start(uint64_t offset, bool uncovered)
{
    struct leat_frame_credit credit;
    const struct partition_stream_start start = { .log_epoch = 3,
                                                  .offset = offset,
                                                  .uncovered = uncovered };
    partition_stream_start(&stream, &start);
    partition_stream_release(&stream);
    cr_assert(partition_stream_credit(&stream, &credit));
    cr_assert(partition_stream_data_any_order(&stream, 0, log_bytes, batch_at[BATCHES]));
}

/* Records up to the first news; what there was then. */
static unsigned read_all(struct partition_stream_news *news)
{
    struct leat_record_view record;
    enum partition_stream_item item;
    unsigned records = 0;
    *news = (struct partition_stream_news){ .event = 0 };
    while ((item = partition_stream_next(&stream, true, &record, news)) == PARTITION_STREAM_RECORD)
        records++;
    return records;
}

static void open_stream(void)
{
    static struct ringmap map;
    make_log();
    cr_assert_eq(ringmap_reserve(&map, WINDOW, false), LEAT_OK);
    partition_stream_init(&stream, map.bytes, map.size - 1, WINDOW);
    partition_stream_place(&stream, 0, 3);
}

Test(damage, without_a_checksum_nothing_is_told_or_skipped)
{
    struct partition_stream_news news;
    open_stream();
    for (uint32_t bit = 8 * batch_at[1]; bit < 8 * batch_at[2]; bit++) {
        const uint32_t at = bit / 8 - batch_at[1];
        if (at >= 8 && at < LEAT_BATCH_STAMP_BYTES)
            continue; /* time and leader: told as they come */
        log_bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        start(0, true);
        cr_assert_eq(read_all(&news), RECORDS, "bit %u", bit);
        /* A size that is too large waits for bytes that have not come. */
        const bool waits = at >= LEAT_BATCH_CRC_FROM && at < LEAT_BATCH_CRC_FROM + 4;
        cr_assert(news.event == PARTITION_STREAM_DAMAGED || (news.event == 0 && waits), "bit %u",
                  bit);
        cr_assert_eq(stream.next_offset, RECORDS);
        cr_assert_not(partition_stream_ends(&stream), "it may be opened again");
        cr_assert_eq(read_all(&news), 0u);
        cr_assert(news.event == 0, "said once");
        partition_stream_stop(&stream);
        cr_assert_leq(stream.seen_offset, RECORDS, "bit %u: nor is it known to be there", bit);
        log_bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    start(0, true);
    cr_assert_eq(read_all(&news), BATCHES * RECORDS, "what is right needs none");
}

Test(damage, where_it_began_a_stream_may_begin_below_what_is_wanted)
{
    struct partition_stream_news news;
    open_stream();
    start(RECORDS + 1, true);
    cr_assert_eq(read_all(&news), BATCHES * RECORDS - RECORDS - 1);
    cr_assert(news.event == 0);
}

Test(damage, with_checksums_it_is_told_and_skipped)
{
    struct partition_stream_news news;
    open_stream();
    log_bytes[batch_at[2] - 1] ^= 1;
    start(0, true);
    cr_assert_eq(read_all(&news), RECORDS);
    cr_assert(news.event == PARTITION_STREAM_DAMAGED);
    /* Opened again where it stood, it is the same once more. */
    start(stream.next_offset, false);
    cr_assert_eq(read_all(&news), 0u);
    cr_assert(news.event == PARTITION_STREAM_BAD_BATCH);
    cr_assert_eq(news.first_offset, RECORDS);
    cr_assert_eq(news.next_offset, 2 * RECORDS);
    cr_assert_eq(read_all(&news), RECORDS);
}

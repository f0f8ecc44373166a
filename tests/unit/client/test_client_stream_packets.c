/* Goal: packets may be lost, doubled and reordered; a consumer still gets each record once, in
 * order, and each gap exactly where it lies. Method: a log built here is scattered in pieces that
 * arrive in any order, against a model of what must come. */
#include "tests/unit/client/stream_log.h"

enum { IN_FLIGHT_MAX = 100 };

struct flying {
    bool is_gap;
    uint64_t position;
    uint32_t size;
    struct leat_frame_gap gap;
};

/* A broker over packets: what it sent and nobody acknowledged flies, until it is taken. */
struct scattered {
    uint64_t position, limit, head; /* the log below `head` is gone */
    struct flying flying[IN_FLIGHT_MAX];
    unsigned count;
    unsigned refused;
};

static uint32_t batch_from(uint64_t position)
{
    uint32_t i = 0;
    while (i < batch_count && batch_at[i] < position)
        i++;
    return i;
}

static void scatter(struct scattered *b, struct partition_stream *stream, struct seeded *seed)
{
    struct leat_frame_credit credit;
    if (partition_stream_credit(stream, &credit))
        b->limit = credit.limit;
    if (b->count == IN_FLIGHT_MAX)
        return;
    struct flying *f = &b->flying[b->count];
    if (seeded_below(seed, 60) == 0) { /* the log overtakes the reader */
        const uint32_t i = batch_from(b->position) + seeded_below(seed, 60);
        if (i >= batch_count)
            return;
        b->head = b->position = batch_at[i];
        *f = (struct flying){ .is_gap = true,
                              .gap = { batch_at[i], batch_offset[i], 1, LEAT_REASON_OVERRUN } };
        b->count++;
        return;
    }
    const uint64_t end = b->limit < log_end ? b->limit : log_end;
    if (b->position >= end) {
        stream->blocked = b->position == b->limit;
        return;
    }
    uint64_t size = 1 + seeded_below(seed, 900);
    if (size > end - b->position)
        size = end - b->position;
    *f = (struct flying){ .position = b->position, .size = (uint32_t)size };
    b->position += size;
    b->count++;
}

/* One of them arrives, perhaps twice; what is not taken comes again, as long as the log has it. */
static void land(struct scattered *b, struct partition_stream *stream, struct seeded *seed)
{
    if (b->count == 0)
        return;
    const unsigned i = seeded_below(seed, b->count < 20 ? b->count : 20);
    const struct flying f = b->flying[i];
    if (seeded_below(seed, 4) == 0)
        return; /* lost: it flies again */
    if (f.is_gap) {
        partition_stream_gap_any_order(stream, &f.gap);
    } else if (f.position >= b->head || seeded_below(seed, 2) == 0) {
        if (!partition_stream_data_any_order(stream, f.position, log_bytes + f.position, f.size)) {
            b->refused++;
            return;
        }
    }
    if (seeded_below(seed, 8) == 0)
        return; /* it comes once more */
    memmove(&b->flying[i], &b->flying[i + 1], (--b->count - i) * sizeof f);
}

Test(stream_packets, in_any_order_records_and_gaps_account_for_every_offset)
{
    struct seeded seed = seeded_start("stream");
    for (int round = 0; round < 40; round++) {
        log_fill(&seed, 200000);
        struct partition_stream stream;
        struct scattered broker = { 0 };
        start(&stream, 0, 0);
        uint64_t next = 0, received = 0, lost = 0;
        const uint8_t *held = NULL;
        uint64_t held_value = 0;
        for (int step = 0; next < log_next_offset; step++) {
            cr_assert_lt(step, 200000, "it stalls at offset %llu", (unsigned long long)next);
            scatter(&broker, &stream, &seed);
            land(&broker, &stream, &seed);
            if (seeded_below(&seed, 3) == 0)
                land(&broker, &stream, &seed);
            if (held != NULL) { /* nothing that happened touched it */
                uint64_t value;
                memcpy(&value, held, sizeof value);
                cr_assert_eq(value, held_value);
            }
            if (seeded_below(&seed, 4) != 0)
                continue;
            held = NULL;
            partition_stream_release(&stream);
            bool any = false;
            for (uint32_t most = seeded_below(&seed, 30); most > 0; most--) {
                struct leat_record_view view;
                struct partition_stream_news news;
                const enum partition_stream_item item =
                    partition_stream_next(&stream, !any, &view, &news);
                if (item == PARTITION_STREAM_NOTHING)
                    break;
                if (item == PARTITION_STREAM_NEWS) {
                    cr_assert_eq(news.event, PARTITION_STREAM_GAP);
                    cr_assert_eq(news.first_offset, next);
                    cr_assert_gt(news.next_offset, next);
                    lost += news.next_offset - next;
                    next = news.next_offset;
                    continue;
                }
                cr_assert_eq(stream.record_offset - 1, next);
                cr_assert_eq(value_of(&view), next);
                if (!any) {
                    held = view.value;
                    held_value = next;
                }
                any = true;
                next++;
                received++;
            }
        }
        cr_assert_eq(received + lost, log_next_offset);
        cr_assert_gt(received, 0u);
    }
}

Test(stream_packets, pieces_beyond_credit_or_too_scattered_are_as_if_never_come)
{
    struct seeded seed = seeded_start("stream");
    log_fill(&seed, 8000);
    struct partition_stream stream;
    struct leat_frame_credit credit;
    start(&stream, 0, 0);
    cr_assert_not(partition_stream_data_any_order(&stream, 0, log_bytes, 1), "no credit yet");
    cr_assert(partition_stream_credit(&stream, &credit));
    cr_assert_not(partition_stream_data_any_order(&stream, credit.limit, log_bytes, 1));
    cr_assert_not(partition_stream_data_any_order(&stream, UINT64_MAX, log_bytes, 1));
    uint64_t at = 10, taken = 0;
    while (partition_stream_data_any_order(&stream, at, log_bytes + at, 1)) {
        at += 2;
        taken++;
    }
    cr_assert_eq(taken, (uint64_t)STREAM_RANGES);
    cr_assert_eq(stream.tail, 0u);
    cr_assert(partition_stream_data_any_order(&stream, 0, log_bytes, 12), "it joins what there is");
    cr_assert_eq(stream.tail, 13u);
    cr_assert(partition_stream_data_any_order(&stream, at, log_bytes + at, 1), "and makes room");
    cr_assert(partition_stream_data_any_order(&stream, 3, log_bytes + 3, 2), "old");
    /* A gap that says nothing new is no error, and one that does joins what lies behind it. */
    const struct leat_frame_gap stale = { 13, 0, 1, LEAT_REASON_OVERRUN };
    partition_stream_gap_any_order(&stream, &stale);
    cr_assert_eq(stream.gap_count, 0u);
    const struct leat_frame_gap ahead = { 14, 1, 1, LEAT_REASON_OVERRUN };
    partition_stream_gap_any_order(&stream, &ahead);
    cr_assert_eq(stream.gap_count, 1u);
    cr_assert_eq(stream.tail, 15u);
    const struct leat_frame_gap gone = { 0, 0, 1, LEAT_REASON_TOPIC_DELETED };
    partition_stream_gap_any_order(&stream, &gone);
    partition_stream_gap_any_order(&stream, &gone);
    cr_assert_eq(stream.gap_count, 2u);
    cr_assert(partition_stream_data_any_order(&stream, 15, log_bytes + 15, 100));
    cr_assert_eq(stream.tail, 15u, "nothing follows");
}

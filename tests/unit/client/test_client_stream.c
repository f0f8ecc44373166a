/* Goal: whatever way the log's bytes are cut on their way, a consumer gets the same records, each
 * gap exactly where it lies, and never more bytes than its window. Method: a log built here is fed
 * cut at every byte, then at random with gaps, restarts and a slow application, against a model of
 * what must come. */
#include "tests/unit/client/stream_log.h"

Test(map, what_is_written_behind_the_end_is_at_the_beginning)
{
    struct ringmap map;
    cr_assert_eq(ringmap_reserve(&map, 100000, false), LEAT_OK);
    cr_assert_geq(map.size, 100000u);
    map.bytes[map.size + 5] = 77;
    cr_assert_eq(map.bytes[5], 77);
    ringmap_release(&map);
}

Test(stream, cut_at_every_byte_the_records_are_the_same)
{
    struct seeded seed = seeded_start("stream");
    log_fill(&seed, 1500);
    for (uint64_t cut = 1; cut < log_end; cut++) {
        struct partition_stream stream;
        struct leat_frame_credit credit;
        start(&stream, 0, 0);
        cr_assert(partition_stream_credit(&stream, &credit));
        uint64_t next = 0, at = 0;
        for (int part = 0; part < 2; part++) {
            const uint64_t end = part == 0 ? cut : log_end;
            feed(&stream, at, (uint32_t)(end - at));
            at = end;
            struct leat_record_view view;
            struct partition_stream_news news;
            while (partition_stream_next(&stream, true, &view, &news) == PARTITION_STREAM_RECORD) {
                cr_assert_eq(stream.record_offset - 1, next);
                cr_assert_eq(value_of(&view), next++);
            }
            cr_assert_not(partition_stream_ready(&stream));
        }
        cr_assert_eq(next, log_next_offset, "cut at %llu", (unsigned long long)cut);
    }
}

/* A broker that sends what credit allows, sometimes skips batches, sometimes starts over. */
struct broker {
    uint64_t position, limit;
    bool restarts;
};

static void serve(struct broker *b, struct partition_stream *stream, struct seeded *seed)
{
    struct leat_frame_credit credit;
    if (partition_stream_credit(stream, &credit)) {
        cr_assert_geq(credit.limit, b->limit);
        cr_assert_leq(credit.limit - credit.consumed, 8192u);
        b->limit = credit.limit;
    }
    if (seeded_below(seed, 40) == 0 && b->position < log_end) { /* overrun: goes on further on */
        uint32_t i = 0;
        while (i < batch_count && batch_at[i] < b->position)
            i++;
        i += seeded_below(seed, 60);
        if (i < batch_count) {
            const struct leat_frame_gap gap = { .position = batch_at[i],
                                                .offset = batch_offset[i],
                                                .log_epoch = 1,
                                                .reason = LEAT_REASON_OVERRUN };
            cr_assert_eq(partition_stream_gap_in_order(stream, &gap), LEAT_OK);
            b->position = gap.position;
        }
    }
    const uint64_t end = b->limit < log_end ? b->limit : log_end;
    if (b->position >= end)
        return;
    uint64_t size = 1 + seeded_below(seed, 3000);
    if (size > end - b->position)
        size = end - b->position;
    feed(stream, b->position, (uint32_t)size);
    b->position += size;
    if (b->position == b->limit)
        stream->blocked = true;
}

Test(stream, records_and_gaps_account_for_every_offset)
{
    struct seeded seed = seeded_start("stream");
    for (int round = 0; round < 40; round++) {
        log_fill(&seed, 300000);
        struct partition_stream stream;
        struct broker broker = { 0 };
        start(&stream, 0, 0);
        uint64_t next = 0, received = 0, lost = 0;
        const uint8_t *held = NULL; /* the first record the application still holds */
        uint64_t held_value = 0;
        for (int step = 0; next < log_next_offset; step++) {
            cr_assert_lt(step, 200000, "it stalls at offset %llu", (unsigned long long)next);
            serve(&broker, &stream, &seed);
            if (seeded_below(&seed, 300) == 0) { /* a new session, at the batch of what is next */
                const uint64_t wanted = partition_stream_wanted(&stream);
                uint32_t i = batch_count - 1;
                while (batch_offset[i] > wanted)
                    i--;
                const struct partition_stream_start again = {
                    .position = batch_at[i], .offset = wanted, .log_epoch = 1, .resumed = true
                };
                partition_stream_stop(&stream);
                partition_stream_start(&stream, &again);
                broker = (struct broker){ .position = batch_at[i], .limit = 0 };
            }
            if (held != NULL) { /* nothing that happened touched it */
                uint64_t value;
                memcpy(&value, held, sizeof value);
                cr_assert_eq(value, held_value);
            }
            if (seeded_below(&seed, 3) != 0)
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
                    cr_assert_not(any, "an event before its turn");
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

static enum partition_stream_item next_item(struct partition_stream *stream,
                                            struct partition_stream_news *news)
{
    struct leat_record_view view;
    return partition_stream_next(stream, true, &view, news);
}

Test(stream, more_data_than_credit_or_a_hole_breaks_the_protocol)
{
    struct partition_stream stream;
    struct leat_frame_credit credit;
    uint8_t *into;
    start(&stream, 100, 0);
    cr_assert_eq(partition_stream_data_in_order(&stream, 100, 1, &into), LEAT_ERR_PROTOCOL,
                 "no credit yet");
    cr_assert(partition_stream_credit(&stream, &credit));
    cr_assert_eq(credit.limit, 100u + 8192);
    cr_assert_eq(credit.consumed, 100u);
    cr_assert_eq(partition_stream_data_in_order(&stream, 101, 1, &into), LEAT_ERR_PROTOCOL);
    cr_assert_eq(partition_stream_data_in_order(&stream, 100, 8193, &into), LEAT_ERR_PROTOCOL);
    cr_assert_eq(partition_stream_data_in_order(&stream, 100, 8192, &into), LEAT_OK);
}

Test(stream, a_new_log_is_told_before_any_record)
{
    struct seeded seed = seeded_start("stream");
    log_fill(&seed, 1000);
    struct partition_stream stream;
    struct partition_stream_news news;
    struct leat_frame_credit credit;
    start(&stream, 500, 40);
    const struct partition_stream_start above = {
        .position = 0, .offset = 90, .log_epoch = 2, .resumed = true
    };
    partition_stream_start(&stream, &above);
    cr_assert(partition_stream_ready(&stream));
    cr_assert_eq(next_item(&stream, &news), PARTITION_STREAM_NEWS);
    cr_assert_eq(news.event, PARTITION_STREAM_GAP);
    cr_assert_eq(news.reason, LEAT_REASON_LOG_RESTARTED);
    cr_assert_eq(news.first_offset, 40u);
    cr_assert_eq(news.next_offset, 90u);
    /* Two restarts, and nobody looked in between: the first was above, the second began anew. */
    const struct partition_stream_start higher = {
        .position = 0, .offset = 95, .log_epoch = 3, .resumed = true
    };
    const struct partition_stream_start anew = {
        .position = 0, .offset = 0, .log_epoch = 4, .resumed = true
    };
    partition_stream_start(&stream, &higher);
    partition_stream_start(&stream, &anew);
    cr_assert_eq(partition_stream_wanted(&stream), 0u);
    cr_assert(partition_stream_credit(&stream, &credit));
    feed(&stream, 0, (uint32_t)log_end);
    cr_assert_eq(next_item(&stream, &news), PARTITION_STREAM_NEWS);
    cr_assert_eq(news.event, PARTITION_STREAM_RESET);
    cr_assert_eq(news.next_offset, 0u);
    cr_assert_eq(next_item(&stream, &news), PARTITION_STREAM_RECORD);
    cr_assert_eq(stream.record_offset, 1u);
    /* The same place in another log, as after a clean stop: nothing was lost, nothing is told. */
    const uint64_t wanted = partition_stream_wanted(&stream);
    const struct partition_stream_start same = {
        .position = 0, .offset = wanted, .log_epoch = 5, .resumed = true
    };
    partition_stream_start(&stream, &same);
    cr_assert_not(partition_stream_ready(&stream));
}

/* What arrived and was not handed out is known to be lost; so is what the broker told of. */
Test(stream, records_that_were_seen_are_known_to_be_lost)
{
    struct seeded seed = seeded_start("stream");
    log_fill(&seed, 1000);
    struct partition_stream stream;
    struct partition_stream_news news;
    struct leat_frame_credit credit;
    start(&stream, 0, 0);
    cr_assert(partition_stream_credit(&stream, &credit));
    feed(&stream, 0, (uint32_t)log_end);
    cr_assert_eq(next_item(&stream, &news), PARTITION_STREAM_RECORD);
    const struct partition_stream_start kept = {
        .offset = log_next_offset + 100, .log_epoch = 2, .resumed = true, .seen_offset = 5000000
    };
    partition_stream_start(&stream, &kept);
    cr_assert_eq(next_item(&stream, &news), PARTITION_STREAM_NEWS);
    cr_assert_eq(news.event, PARTITION_STREAM_GAP);
    cr_assert_eq(news.first_offset, 1u);
    cr_assert_eq(news.next_offset, log_next_offset + 100);
    cr_assert_eq(news.seen_offset, log_next_offset);
    /* Another log at a higher offset: anew is anew. */
    const struct partition_stream_start anew = {
        .offset = 6000000, .log_epoch = 3, .resumed = true, .anew = true, .seen_offset = 6000001
    };
    partition_stream_start(&stream, &anew);
    cr_assert_eq(next_item(&stream, &news), PARTITION_STREAM_NEWS);
    cr_assert_eq(news.event, PARTITION_STREAM_RESET);
    cr_assert_eq(news.first_offset, log_next_offset + 100);
    cr_assert_eq(news.next_offset, 6000000u);
    cr_assert_eq(news.seen_offset, 5000000u);
}

/* Nobody looked while the broker was killed, came back, and the reader was overtaken in the new
 * log. */
Test(stream, a_broker_that_was_killed_is_not_forgotten_over_what_follows)
{
    struct seeded seed = seeded_start("stream");
    log_fill(&seed, 1000);
    struct partition_stream stream;
    struct partition_stream_news news;
    start(&stream, 0, 40);
    const struct partition_stream_start killed = {
        .offset = 1000, .log_epoch = 2, .resumed = true, .seen_offset = 1100, .certain_offset = 1000
    };
    const struct partition_stream_start overtaken = {
        .offset = 1050, .log_epoch = 2, .resumed = true, .seen_offset = 1200, .certain_offset = 1000
    };
    partition_stream_start(&stream, &killed);
    partition_stream_start(&stream, &overtaken);
    cr_assert_eq(next_item(&stream, &news), PARTITION_STREAM_NEWS);
    cr_assert_eq(news.reason, LEAT_REASON_LOG_RESTARTED);
    cr_assert(news.first_offset == 40 && news.next_offset == 1050);
    cr_assert_eq(news.seen_offset, 40u);
    cr_assert_eq(news.certain_offset, 1000u);
}

/* Behind what has come; with the log's end, or with what is known where nobody knows that. */
Test(stream, the_end_of_a_topic_says_where_reading_stopped)
{
    struct seeded seed = seeded_start("stream");
    log_fill(&seed, 1000);
    struct partition_stream stream;
    struct partition_stream_news news;
    struct leat_frame_credit credit;
    struct leat_frame_gap gone = { .position = log_end + 5000,
                                   .offset = log_next_offset + 7,
                                   .log_epoch = 1,
                                   .reason = LEAT_REASON_TOPIC_DELETED };
    for (int known = 0; known < 2; known++) {
        if (!known)
            gone.offset = LEAT_OFFSET_NONE;
        else
            gone.offset = log_next_offset + 7;
        gone.log_epoch = known ? 1 : 0; /* as one that is said again in packets */
        start(&stream, 0, 0);
        cr_assert(partition_stream_credit(&stream, &credit));
        feed(&stream, 0, (uint32_t)log_end);
        cr_assert_not(partition_stream_end_comes(&stream));
        cr_assert_eq(partition_stream_gap_in_order(&stream, &gone), LEAT_OK);
        cr_assert(partition_stream_end_comes(&stream));
        for (uint64_t i = 0; i < log_next_offset; i++)
            cr_assert_eq(next_item(&stream, &news), PARTITION_STREAM_RECORD);
        cr_assert_eq(next_item(&stream, &news), PARTITION_STREAM_NEWS);
        cr_assert_eq(news.event, PARTITION_STREAM_DELETED);
        cr_assert_eq(news.first_offset, log_next_offset);
        cr_assert_eq(news.next_offset, gone.offset);
        cr_assert_not(partition_stream_end_comes(&stream));
    }
    /* Told before that was handed out: what had arrived is known to be lost. */
    start(&stream, 0, 0);
    cr_assert(partition_stream_credit(&stream, &credit));
    feed(&stream, 0, (uint32_t)log_end);
    cr_assert_eq(next_item(&stream, &news), PARTITION_STREAM_RECORD);
    partition_stream_end(&stream, &news);
    cr_assert_eq(news.first_offset, 1u);
    cr_assert_eq(news.next_offset, LEAT_OFFSET_NONE);
    cr_assert_eq(news.seen_offset, log_next_offset);
}

Test(stream, a_gap_that_comes_next_can_be_told_before_a_seek)
{
    struct partition_stream stream;
    struct partition_stream_news news;
    struct leat_frame_credit credit;
    const struct partition_stream_start overtaken = {
        .position = 0, .offset = 50, .log_epoch = 1, .resumed = true
    };
    const struct leat_frame_gap more = { 4096, 70, 1, LEAT_REASON_OVERRUN };
    start(&stream, 0, 40);
    partition_stream_start(&stream, &overtaken);
    cr_assert(partition_stream_credit(&stream, &credit));
    cr_assert_eq(partition_stream_gap_in_order(&stream, &more), LEAT_OK);
    cr_assert(partition_stream_take_loss(&stream, &news));
    cr_assert(news.first_offset == 40 && news.next_offset == 50);
    cr_assert(partition_stream_take_loss(&stream, &news));
    cr_assert(news.first_offset == 50 && news.next_offset == 70);
    cr_assert_not(partition_stream_take_loss(&stream, &news));
    cr_assert_eq(partition_stream_wanted(&stream), 70u);
}

Test(stream, a_new_stream_waits_with_credit_until_records_are_given_back)
{
    struct seeded seed = seeded_start("stream");
    log_fill(&seed, 1000);
    struct partition_stream stream;
    struct partition_stream_news news;
    struct leat_frame_credit credit;
    start(&stream, 0, 0);
    cr_assert(partition_stream_credit(&stream, &credit));
    feed(&stream, 0, (uint32_t)log_end);
    cr_assert_eq(next_item(&stream, &news), PARTITION_STREAM_RECORD);
    const struct partition_stream_start seek = { .position = 0, .offset = 0, .log_epoch = 1 };
    partition_stream_start(&stream, &seek);
    cr_assert_not(partition_stream_credit(&stream, &credit));
    partition_stream_release(&stream);
    cr_assert(partition_stream_credit(&stream, &credit));
}

Test(stream, a_broken_batch_is_told_and_skipped)
{
    struct partition_stream stream;
    struct partition_stream_news news;
    struct leat_frame_credit credit;
    log_end = log_next_offset = batch_count = 0;
    log_append(2, 10);
    log_append(3, 10);
    log_append(1, 10);
    log_bytes[batch_at[1] + 70] ^= 1;
    start(&stream, 0, 0);
    cr_assert(partition_stream_credit(&stream, &credit));
    feed(&stream, 0, (uint32_t)log_end);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(next_item(&stream, &news), PARTITION_STREAM_RECORD);
    cr_assert_eq(next_item(&stream, &news), PARTITION_STREAM_NEWS);
    cr_assert_eq(news.event, PARTITION_STREAM_BAD_BATCH);
    cr_assert_eq(news.error, LEAT_ERR_BAD_CRC);
    cr_assert_eq(news.first_offset, 2u);
    cr_assert_eq(news.next_offset, 5u);
    cr_assert_eq(next_item(&stream, &news), PARTITION_STREAM_RECORD);
    cr_assert_eq(stream.record_offset, 6u);
}

Test(stream, a_header_that_does_not_parse_ends_the_stream_with_a_word)
{
    struct partition_stream stream;
    struct partition_stream_news news;
    struct leat_frame_credit credit;
    log_end = log_next_offset = batch_count = 0;
    log_append(1, 10);
    log_bytes[32] = 9; /* format */
    start(&stream, 0, 0);
    cr_assert(partition_stream_credit(&stream, &credit));
    feed(&stream, 0, (uint32_t)log_end);
    cr_assert(partition_stream_ready(&stream));
    cr_assert_eq(next_item(&stream, &news), PARTITION_STREAM_NEWS);
    cr_assert_eq(news.event, PARTITION_STREAM_BAD_BATCH);
    cr_assert(stream.dead);
    cr_assert_eq(next_item(&stream, &news), PARTITION_STREAM_NOTHING);
}

Test(stream, many_gaps_unread_become_one_and_none_is_forgotten)
{
    struct seeded seed = seeded_start("stream");
    log_fill(&seed, 8000);
    struct partition_stream stream;
    struct leat_frame_credit credit;
    start(&stream, 0, 0);
    cr_assert(partition_stream_credit(&stream, &credit));
    /* Every other batch is skipped, and nobody reads. */
    uint32_t i = 0;
    for (; i + 2 < batch_count && batch_at[i + 2] < credit.limit; i += 2) {
        feed(&stream, batch_at[i], (uint32_t)(batch_at[i + 1] - batch_at[i]));
        const struct leat_frame_gap gap = { batch_at[i + 2], batch_offset[i + 2], 1,
                                            LEAT_REASON_OVERRUN };
        cr_assert_eq(partition_stream_gap_in_order(&stream, &gap), LEAT_OK);
    }
    cr_assert_gt(i / 2, (uint32_t)PARTITION_STREAM_GAPS_MAX);
    uint64_t next = 0;
    for (;;) {
        struct leat_record_view view;
        struct partition_stream_news news;
        const enum partition_stream_item item = partition_stream_next(&stream, true, &view, &news);
        if (item == PARTITION_STREAM_NOTHING)
            break;
        if (item == PARTITION_STREAM_NEWS) {
            cr_assert_eq(news.first_offset, next);
            next = news.next_offset;
        } else {
            cr_assert_eq(stream.record_offset - 1, next++);
        }
    }
    cr_assert_eq(next, batch_offset[i]);
}

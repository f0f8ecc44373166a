/* Reader: one subscriber of the demo, in a process of its own. It reports through shared memory. */
#include "bench/demo/reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/leat.h"

const char *const demo_topics[DEMO_TOPICS] = { "quotes", "trades" };

enum {
    RECORDS_MAX = 256,
    SLOW_RECORDS = 32,
};
#define SLOW_NS UINT64_C(20000000) /* pause of the slow reader between its polls */
#define SECOND UINT64_C(1000000000)

struct reader {
    const struct reader_options *options;
    struct reader_report *report;
    struct book *book;
    uint32_t *expected[DEMO_TOPICS]; /* line numbers of each topic, by offset */
    uint64_t count[DEMO_TOPICS];
    uint64_t next[DEMO_TOPICS]; /* the next expected offset */
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void wrong(struct reader *r, const char *what, const char *topic, uint64_t offset)
{
    r->report->wrong++;
    if (r->report->fault[0] == '\0')
        snprintf(r->report->fault, sizeof r->report->fault, "%s, %s offset %llu", what, topic,
                 (unsigned long long)offset);
}

/* Builds the map from offsets to lines. Offsets of a new topic count its lines from 0. */
static bool index_feed(struct reader *r)
{
    const struct feed *feed = r->options->feed;
    for (unsigned t = 0; t < DEMO_TOPICS; t++) {
        r->expected[t] = calloc(feed->count + 1, sizeof *r->expected[t]);
        if (r->expected[t] == NULL)
            return false;
    }
    for (size_t i = 0; i < feed->count; i++) {
        for (unsigned t = 0; t < DEMO_TOPICS; t++)
            if ((feed->lines[i].topics & 1u << t) != 0)
                r->expected[t][r->count[t]++] = (uint32_t)i;
    }
    return true;
}

static unsigned topic_of(const char *name)
{
    return strcmp(name, demo_topics[0]) == 0 ? 0 : 1;
}

static void pass(struct reader *r, uint64_t bytes)
{
    atomic_fetch_add_explicit(&r->report->bytes_passed, bytes, memory_order_relaxed);
}

static void on_event(void *user, const struct leat_event *event)
{
    struct reader *r = user;
    if (event->type == LEAT_EVENT_CONNECTED)
        return;
    if (event->type != LEAT_EVENT_GAP) {
        wrong(r, event->text, event->topic != NULL ? event->topic : "-", 0);
        return;
    }
    const unsigned t = topic_of(event->topic);
    if (event->first_offset != r->next[t] || event->next_offset > r->count[t])
        wrong(r, "a gap that does not begin where the last record ended", event->topic,
              event->first_offset);
    for (uint64_t i = event->first_offset; i < event->next_offset && i < r->count[t]; i++)
        pass(r, r->options->feed->lines[r->expected[t][i]].size);
    r->report->gaps++;
    r->report->lost += event->next_offset - event->first_offset;
    r->next[t] = event->next_offset;
}

static void take(struct reader *r, const struct leat_record *record)
{
    const unsigned t = topic_of(record->topic);
    const uint64_t offset = record->offset;
    if (offset != r->next[t] || offset >= r->count[t]) {
        wrong(r, "a record out of order", record->topic, offset);
        return;
    }
    const struct feed_line *line = &r->options->feed->lines[r->expected[t][offset]];
    if (record->value_size != line->size || memcmp(record->value, line->text, line->size) != 0)
        wrong(r, "a record that is not the feed's line", record->topic, offset);
    r->next[t]++;
    r->report->bytes += record->value_size;
    histogram_record(&r->report->latency_ns, now_ns() - (uint64_t)record->timestamp_ns);
    if (r->book != NULL && t == 0)
        book_line(r->book, record->value, record->value_size);
    pass(r, record->value_size);
    atomic_fetch_add_explicit(&r->report->records, 1, memory_order_relaxed);
}

static bool finished(const struct reader *r)
{
    for (unsigned t = 0; t < r->options->topic_count; t++)
        if (r->next[t] < r->count[t])
            return false;
    return true;
}

static void pause_polling(leat_client *client)
{
    /* Keep polling the client, as an application should that consumes its records slowly. */
    const uint64_t until = now_ns() + SLOW_NS;
    for (uint64_t now; (now = now_ns()) < until;)
        leat_client_poll(client, until - now);
}

static int consume(struct reader *r, leat_client *client, leat_consumer *consumer)
{
    struct leat_record records[RECORDS_MAX];
    while (!finished(r)) {
        const bool slow =
            r->options->slow && !atomic_load_explicit(r->options->hurry, memory_order_relaxed);
        const int n = leat_consumer_poll(consumer, records, slow ? SLOW_RECORDS : RECORDS_MAX);
        for (int i = 0; i < n; i++)
            take(r, &records[i]);
        if (n < 0)
            return n;
        if (slow)
            pause_polling(client);
        const int error = n == 0 ? leat_client_poll(client, SECOND / 10) : 0;
        if (error < 0)
            return error;
    }
    return LEAT_OK;
}

int reader_run(const struct reader_options *options, struct reader_report *report)
{
    struct reader reader = { .options = options, .report = report };
    const struct leat_client_options listening = { .size = sizeof listening,
                                                   .client_name = options->slow ? "slow" : "fast",
                                                   .on_event = on_event,
                                                   .user = &reader };
    const struct leat_consumer_options start = { .size = sizeof start,
                                                 .start_at = LEAT_START_EARLIEST };
    leat_client *client = NULL;
    leat_consumer *consumer;
    if (!index_feed(&reader))
        return 1;
    if (options->check_book)
        reader.book = book_new(options->feed->kind == FEED_FUTURES);
    int error = leat_client_open(&client, options->url, &listening);
    if (error == LEAT_OK)
        error = leat_consumer_open(client, &consumer, demo_topics, options->topic_count, &start);
    if (error == LEAT_OK) {
        atomic_store_explicit(&report->ready, true, memory_order_release);
        error = consume(&reader, client, consumer);
    }
    if (error != LEAT_OK)
        fprintf(stderr, "leat-demo: a reader: %s\n", leat_client_error(client));
    leat_client_close(client);
    if (reader.book != NULL) {
        report->book_checked = true;
        report->book = *book_finish(reader.book);
        book_free(reader.book);
    }
    for (unsigned t = 0; t < DEMO_TOPICS; t++)
        free(reader.expected[t]);
    return error != LEAT_OK;
}

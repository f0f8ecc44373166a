/* Goal: whoever read a log that is gone is told before it is handed a record of the one that took
 * its place: plain readers, required ones and the members of groups; after a kill of a broker that
 * keeps no state, and when the topic was deleted and made again. What is said of the loss is what
 * is known of it.
 * Method: the real library against a real leatd that is killed; readers note in which order events
 * and records come. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/consumers.h"

/* A broker without a state folder, whose topic "t" is there from the start. */
static const char *const CONFIG =
    "{\"port\": 0, \"data_port\": 0, \"topics\": [{\"name\": \"t\", \"partitions\": 4,"
    " \"ring_bytes\": \"1MiB\", \"record_bytes_max\": 4096}]}";

static void set_up(struct consumers_bus *b, const char *way)
{
    *b = (struct consumers_bus){ .published = 0 };
    leatd_start_config(&b->broker, CONFIG);
    snprintf(b->url, sizeof b->url, "%s", bus_url(way, b->broker.url));
    b->client = bus_open(b->url);
    b->producer = bus_producer(b->client, "t");
}

/* A reader that notes whether the news of a new log came before its records. */
struct watcher {
    leat_client *client;
    leat_consumer *consumer;
    uint64_t epoch[PARTITIONS]; /* of the last record */
    uint64_t next[PARTITIONS];
    bool told[PARTITIONS]; /* of a new log, since the last record */
    unsigned records, resets, unknown;
    unsigned events[LEAT_EVENT_REFUSED + 1];
    unsigned gaps_before_end; /* GAPs of partitions whose topic was not said to be gone yet */
    bool gone[PARTITIONS];
    struct leat_event last_reset[PARTITIONS];
};

static void watch(void *user, const struct leat_event *event)
{
    struct watcher *w = user;
    w->events[event->type]++;
    if (event->type == LEAT_EVENT_TOPIC_DELETED)
        w->gone[event->partition] = true;
    if (event->type == LEAT_EVENT_GAP)
        w->gaps_before_end += !w->gone[event->partition];
    if (event->type != LEAT_EVENT_LOG_RESET)
        return;
    w->resets++;
    w->unknown += event->first_offset == LEAT_NO_OFFSET;
    w->told[event->partition] = true;
    w->last_reset[event->partition] = *event;
}

static void watcher_open(struct watcher *w, const char *url, struct leat_consumer_options options)
{
    const char *topic = "t";
    *w = (struct watcher){ .client = NULL };
    const struct leat_client_options client = { .size = sizeof client,
                                                .on_event = watch,
                                                .user = w,
                                                .backoff_max_ns = SECOND / 10,
                                                .circuit_failures = 100000 };
    cr_assert_eq(leat_client_open(&w->client, url, &client), 0, "%s", leat_client_error(NULL));
    cr_assert_eq(leat_consumer_open(w->client, &w->consumer, &topic, 1, &options), 0, "%s",
                 leat_client_error(w->client));
}

static void watcher_turn(struct watcher *w)
{
    struct leat_record records[16];
    const int n = leat_consumer_poll(w->consumer, records, 16);
    cr_assert_geq(n, 0, "%s", leat_strerror(n));
    for (int i = 0; i < n; i++) {
        const int32_t p = records[i].partition;
        cr_assert(w->epoch[p] == 0 || w->epoch[p] == records[i].log_epoch || w->told[p],
                  "a record of another log, and nothing said of the one that is gone");
        w->told[p] = false;
        w->epoch[p] = records[i].log_epoch;
        w->next[p] = records[i].offset + 1;
        w->records++;
    }
    cr_assert_geq(leat_client_poll(w->client, n > 0 ? 0 : SECOND / 500), 0);
}

#define WATCH_UNTIL(w, n, done)                                           \
    do {                                                                  \
        for (unsigned turn_ = 0; !(done); turn_++) {                      \
            cr_assert_lt(turn_, 20000u, "it did not come to: %s", #done); \
            for (unsigned m_ = 0; m_ < (n); m_++)                         \
                watcher_turn(&(w)[m_]);                                   \
        }                                                                 \
    } while (0)

static void kill_and_start(struct consumers_bus *b)
{
    leat_client_close(b->client);
    leatd_kill(&b->broker);
    leatd_restart(&b->broker);
    b->client = bus_open(b->url);
    b->producer = bus_producer(b->client, "t");
}

/* Told once a partition, with where it stood; what had arrived of the rest is known to be lost. */
static void check_told(const struct watcher *w, unsigned stood, unsigned more)
{
    for (int32_t p = 0; p < PARTITIONS; p++) {
        const struct leat_event *e = &w->last_reset[p];
        cr_assert_eq(e->error, LEAT_ERR_LOG_EPOCH);
        cr_assert_eq(e->first_offset, stood, "%d: %lu", p, (unsigned long)e->first_offset);
        cr_assert_eq(e->next_offset, 0u);
        cr_assert_leq(e->lost_at_least, more, "%lu", (unsigned long)e->lost_at_least);
        cr_assert_eq(e->lost_at_most, LEAT_UNKNOWN);
        cr_assert_not_null(e->text);
    }
}

/* Every reader of the list has read `stood`; so many records more arrived and were not handed out.
 */
static void is_told(const char *way, struct leat_consumer_options options, unsigned stood,
                    unsigned more)
{
    struct consumers_bus b;
    struct watcher w;
    set_up(&b, way);
    consumers_publish(&b, stood);
    watcher_open(&w, b.url, options);
    WATCH_UNTIL(&w, 1, w.records == stood * PARTITIONS);
    watcher_turn(&w);
    if (options.group != NULL)
        cr_assert_eq(leat_consumer_commit_wait(w.consumer, PATIENCE), 0);
    consumers_publish(&b, more);
    kill_and_start(&b);
    consumers_publish(&b, 3); /* before anybody is back */
    WATCH_UNTIL(&w, 1, w.records >= (stood + 3) * PARTITIONS);
    cr_assert_eq(w.records, (stood + 3) * PARTITIONS, "all of the new log and nothing twice");
    cr_assert_eq(w.resets, (unsigned)PARTITIONS, "told once");
    check_told(&w, stood, more);
    leat_client_close(w.client);
    consumers_tear_down(&b);
}

static const struct leat_consumer_options PLAIN = { .size = sizeof PLAIN,
                                                    .start_at = LEAT_START_EARLIEST };

BUS_TEST(new_log, a_plain_reader_is_told)
{
    is_told(way, PLAIN, 5, 7);
}

/* The old log ended where the new one begins: nothing of it had been read. */
BUS_TEST(new_log, a_reader_that_stood_at_the_beginning_is_told)
{
    is_told(way, PLAIN, 0, 7);
}

BUS_TEST(new_log, a_required_reader_is_told)
{
    struct leat_consumer_options options = PLAIN;
    options.name = "needs-all";
    options.required = 1;
    is_told(way, options, 5, 7);
}

BUS_TEST(new_log, a_group_member_is_told)
{
    is_told(way, consumers_in_group(NULL), 5, 7);
}

BUS_TEST(new_log, a_named_member_that_stood_at_the_beginning_is_told)
{
    is_told(way, consumers_in_group("m-1"), 0, 7);
}

/* From the latest on is where a group begins, not where it goes on after a loss. */
BUS_TEST(new_log, a_group_from_the_latest_misses_nothing_of_the_new_log)
{
    struct leat_consumer_options options = consumers_in_group(NULL);
    struct consumers_bus b;
    struct watcher w;
    options.start_at = LEAT_START_LATEST;
    set_up(&b, way);
    watcher_open(&w, b.url, options);
    WATCH_UNTIL(&w, 1, w.events[LEAT_EVENT_ASSIGNED] == PARTITIONS);
    consumers_publish(&b, 5);
    WATCH_UNTIL(&w, 1, w.records == 5 * PARTITIONS);
    kill_and_start(&b);
    consumers_publish(&b, 3);
    WATCH_UNTIL(&w, 1, w.records == 8 * PARTITIONS);
    cr_assert_eq(w.resets, (unsigned)PARTITIONS);
    leat_client_close(w.client);
    consumers_tear_down(&b);
}

/* A partition that was another's: that its log began anew is known, how much was lost is not. */
BUS_TEST(new_log, who_gets_the_partition_of_a_member_that_died_with_the_broker_is_told)
{
    struct leat_consumer_options options = consumers_in_group(NULL);
    struct consumers_bus b;
    struct watcher w[2];
    set_up(&b, way);
    consumers_publish(&b, 5);
    watcher_open(&w[0], b.url, options);
    watcher_open(&w[1], b.url, options);
    WATCH_UNTIL(w, 2,
                w[0].records + w[1].records >= 5 * PARTITIONS
                    && w[1].events[LEAT_EVENT_ASSIGNED] == PARTITIONS / 2);
    for (int i = 0; i < 20; i++) {
        watcher_turn(&w[0]);
        watcher_turn(&w[1]);
    }
    const unsigned others = w[1].events[LEAT_EVENT_ASSIGNED];
    leatd_kill(&b.broker);
    leat_client_close(w[1].client);
    leat_client_close(b.client);
    leatd_restart(&b.broker);
    b.client = bus_open(b.url);
    b.producer = bus_producer(b.client, "t");
    consumers_publish(&b, 3);
    WATCH_UNTIL(w, 1, w[0].resets == PARTITIONS);
    cr_assert_eq(w[0].unknown, others);
    leat_client_close(w[0].client);
    consumers_tear_down(&b);
}

/* Deleted and made again while the reader is cut off: the same offsets, another log. */
static void made_again(const char *way, struct leat_consumer_options options)
{
    struct consumers_bus b;
    struct watcher w;
    set_up(&b, way);
    consumers_publish(&b, 5);
    watcher_open(&w, b.url, options);
    WATCH_UNTIL(&w, 1, w.records == 5 * PARTITIONS);
    leat_client_close(b.client);
    leatd_kill(&b.broker); /* the reader finds out when the next one is there */
    leatd_restart(&b.broker);
    b.client = bus_open(b.url);
    cr_assert_eq(leat_topic_delete(b.client, "t"), 0);
    bus_create(b.client, "t", (struct leat_topic_settings){ .partitions = PARTITIONS });
    b.producer = bus_producer(b.client, "t");
    consumers_publish(&b, 9);
    WATCH_UNTIL(&w, 1, w.records == 14 * PARTITIONS);
    cr_assert_eq(w.resets, (unsigned)PARTITIONS);
    leat_client_close(w.client);
    consumers_tear_down(&b);
}

BUS_TEST(new_log, a_plain_reader_of_a_topic_made_again_is_told)
{
    made_again(way, PLAIN);
}

BUS_TEST(new_log, a_member_of_a_topic_made_again_is_told)
{
    made_again(way, consumers_in_group(NULL));
}

/* Whoever seeks before it was told is told all the same. */
Test(new_log, a_seek_does_not_swallow_the_news, .timeout = 60)
{
    struct consumers_bus b;
    struct watcher w;
    set_up(&b, "tcp");
    consumers_publish(&b, 5);
    watcher_open(&w, b.url, PLAIN);
    WATCH_UNTIL(&w, 1, w.records == 5 * PARTITIONS);
    kill_and_start(&b);
    consumers_publish(&b, 4);
    /* No record is taken meanwhile. */
    while (w.events[LEAT_EVENT_CONNECTED] < 2)
        cr_assert_geq(leat_client_poll(w.client, SECOND), 0);
    for (uint32_t p = 0; p < PARTITIONS; p++)
        cr_assert_eq(leat_consumer_seek(w.consumer, "t", p, LEAT_START_OFFSET, 2), 0);
    WATCH_UNTIL(&w, 1, w.records == 7 * PARTITIONS);
    cr_assert_eq(w.resets, (unsigned)PARTITIONS);
    leat_client_close(w.client);
    consumers_tear_down(&b);
}

/* A loss that nobody took a record behind is told before the topic's end. */
Test(new_log, the_end_of_a_topic_does_not_swallow_a_gap, .timeout = 60)
{
    char state[] = "/tmp/leat-new-log-XXXXXX", config[256], command[300];
    const char *topic = "t";
    struct consumers_bus b = { .published = 0 };
    struct watcher w;
    cr_assert_neq(mkdtemp(state), NULL);
    snprintf(config, sizeof config, "{\"port\": 0, \"state_dir\": \"%s\"}", state);
    leatd_start_config(&b.broker, config);
    snprintf(b.url, sizeof b.url, "%s", bus_url("tcp", b.broker.url));
    b.client = bus_open(b.url);
    bus_create(b.client, topic, (struct leat_topic_settings){ .partitions = PARTITIONS });
    b.producer = bus_producer(b.client, topic);
    consumers_publish(&b, 5);
    watcher_open(&w, b.url, PLAIN);
    WATCH_UNTIL(&w, 1, w.records == 5 * PARTITIONS);
    kill_and_start(&b);
    while (w.events[LEAT_EVENT_CONNECTED] < 2)
        cr_assert_geq(leat_client_poll(w.client, SECOND), 0);
    for (uint32_t p = 0; p < PARTITIONS; p++) { /* the stream stands behind the gap */
        uint64_t offset = 0;
        while (leat_consumer_position(w.consumer, topic, p, &offset) == 0 && offset <= 5)
            cr_assert_geq(leat_client_poll(w.client, SECOND), 0);
    }
    kill_and_start(&b);
    cr_assert_eq(leat_topic_delete(b.client, topic), 0);
    bus_create(b.client, topic, (struct leat_topic_settings){ .partitions = 1 });
    while (w.events[LEAT_EVENT_TOPIC_DELETED] < PARTITIONS)
        cr_assert_geq(leat_client_poll(w.client, SECOND), 0);
    cr_assert_eq(w.gaps_before_end, (unsigned)PARTITIONS, "%u", w.gaps_before_end);
    leat_client_close(w.client);
    consumers_tear_down(&b);
    snprintf(command, sizeof command, "rm -rf '%s'", state);
    cr_assert_eq(system(command), 0);
}

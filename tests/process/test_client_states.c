/* Goal: whatever state a consumer is in, it ends in records, in an event or in an error; none waits
 * for ever and says nothing.
 * Method: consumers, plain and of a group, over TCP and in packets, are brought by hand into each
 * situation; then they are polled, so many turns at most, until they say something. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/consumers.h"

static const char *const BARE = "{\"port\": 0, \"data_port\": 0}";

static void set_up(struct consumers_bus *b, const char *way, const char *config)
{
    *b = (struct consumers_bus){ .published = 0 };
    leatd_start_config(&b->broker, config);
    snprintf(b->url, sizeof b->url, "%s", bus_url(way, b->broker.url));
    b->client = bus_open(b->url);
    bus_create(b->client, "t", (struct leat_topic_settings){ .partitions = PARTITIONS });
    b->producer = bus_producer(b->client, "t");
}

/* The error that the poll ends with; 0: it did not. */
static int poll_until_error(leat_client *client, leat_consumer *consumer)
{
    struct leat_record records[16];
    for (int i = 0; i < 5000; i++) {
        const int n = leat_consumer_poll(consumer, records, 16);
        if (n < 0)
            return n;
        cr_assert_geq(leat_client_poll(client, n > 0 ? 0 : SECOND / 500), 0);
    }
    return 0;
}

BUS_TEST(states, a_plain_reader_of_a_deleted_topic_ends_with_an_error)
{
    struct consumers_bus b;
    set_up(&b, way, BARE);
    consumers_publish(&b, 2);
    leat_client *client = bus_open(b.url);
    leat_consumer *consumer = bus_consumer(client, "t", LEAT_START_EARLIEST, 0);
    cr_assert_eq(leat_topic_delete(b.client, "t"), 0);
    cr_assert_eq(poll_until_error(client, consumer), LEAT_ERR_UNKNOWN_TOPIC);
    cr_assert_not_null(strstr(leat_client_error(client), "\"t\""), "%s", leat_client_error(client));
    cr_assert_eq(leat_consumer_poll(consumer, NULL, 0), LEAT_ERR_UNKNOWN_TOPIC, "and stays so");
    cr_assert_eq(leat_consumer_seek(consumer, "t", 0, LEAT_START_EARLIEST, 0),
                 LEAT_ERR_UNKNOWN_TOPIC);
    leat_client_close(client);
    consumers_tear_down(&b);
}

/* Who comes before the topic is told which, and how to make it; nothing is left open. */
BUS_TEST(states, who_opens_before_the_topic_is_there_is_told_how_to_make_it)
{
    struct consumers_bus b;
    leat_producer *producer;
    leat_consumer *consumer;
    const char *const topics[] = { "early" };
    const char *const groups[] = { NULL, "g" };
    set_up(&b, way, BARE);
    leat_client *client = bus_open(b.url);
    cr_assert_eq(leat_producer_open(client, &producer, "early", NULL), LEAT_ERR_UNKNOWN_TOPIC);
    cr_assert_not_null(strstr(leat_client_error(client), "leat topic create early"));
    for (int i = 0; i < 2; i++) {
        const struct leat_consumer_options options = { .size = sizeof options, .group = groups[i] };
        cr_assert_eq(leat_consumer_open(client, &consumer, topics, 1, &options),
                     LEAT_ERR_UNKNOWN_TOPIC);
        cr_assert_not_null(strstr(leat_client_error(client), "leat topic create early"));
    }
    bus_create(client, "early", (struct leat_topic_settings){ .partitions = 1 });
    producer = bus_producer(client, "early");
    consumer = bus_consumer(client, "early", LEAT_START_EARLIEST, 0);
    bus_publish(producer, 5);
    struct leat_record record;
    bus_consume(client, consumer, &record);
    cr_assert_eq(bus_value(&record), 5u);
    leat_client_close(client);
    consumers_tear_down(&b);
}

/* One of two is gone: the other is read on. */
BUS_TEST(states, a_plain_reader_of_two_topics_goes_on_with_the_other)
{
    struct consumers_bus b;
    const char *topics[] = { "t", "u" };
    const struct leat_consumer_options options = { .size = sizeof options };
    leat_consumer *consumer;
    set_up(&b, way, BARE);
    bus_create(b.client, "u", (struct leat_topic_settings){ .partitions = 1 });
    leat_client *client = bus_open(b.url);
    cr_assert_eq(leat_consumer_open(client, &consumer, topics, 2, &options), 0);
    cr_assert_eq(leat_topic_delete(b.client, "t"), 0);
    bus_publish(bus_producer(b.client, "u"), 7);
    struct leat_record record;
    bus_consume(client, consumer, &record);
    cr_assert_eq(bus_value(&record), 7u);
    cr_assert_eq(leat_topic_delete(b.client, "u"), 0);
    cr_assert_eq(poll_until_error(client, consumer), LEAT_ERR_UNKNOWN_TOPIC);
    leat_client_close(client);
    consumers_tear_down(&b);
}

/* The broker comes back without the topic, or with another of fewer or more partitions. */
static void comes_back(const char *way, uint32_t partitions)
{
    struct consumers_bus b;
    set_up(&b, way, BARE);
    leat_client *client = bus_open(b.url);
    leat_consumer *consumer = bus_consumer(client, "t", LEAT_START_EARLIEST, 0);
    leat_client_close(b.client);
    leatd_kill(&b.broker);
    leatd_restart(&b.broker);
    b.client = bus_open(b.url);
    if (partitions != 0)
        bus_create(b.client, "t", (struct leat_topic_settings){ .partitions = partitions });
    cr_assert_eq(poll_until_error(client, consumer), LEAT_ERR_UNKNOWN_TOPIC);
    leat_client_close(client);
    consumers_tear_down(&b);
}

BUS_TEST(states, a_plain_reader_of_a_topic_that_did_not_come_back_ends_with_an_error)
{
    comes_back(way, 0);
}

BUS_TEST(states, a_plain_reader_of_a_topic_with_fewer_partitions_ends_with_an_error)
{
    comes_back(way, PARTITIONS - 2);
}

BUS_TEST(states, a_plain_reader_of_a_topic_with_more_partitions_ends_with_an_error)
{
    comes_back(way, PARTITIONS + 2);
}

/* The broker keeps topics and logs' numbers: the reader goes on, or hears that the topic was
 * deleted while it was away. */
static void comes_back_with_state(const char *way, bool deleted)
{
    char state[] = "/tmp/leat_states_XXXXXX";
    char text[256];
    struct consumers_bus b;
    struct leat_record record;
    cr_assert_neq(mkdtemp(state), NULL);
    snprintf(text, sizeof text, "{\"port\": 0, \"state_dir\": \"%s\"}", state);
    set_up(&b, way, text);
    leat_client *client = bus_open(b.url);
    leat_consumer *consumer = bus_consumer(client, "t", LEAT_START_EARLIEST, 0);
    leat_client_close(b.client);
    leatd_kill(&b.broker);
    leatd_restart(&b.broker);
    b.client = bus_open(b.url);
    if (deleted) {
        cr_assert_eq(leat_topic_delete(b.client, "t"), 0);
        cr_assert_eq(poll_until_error(client, consumer), LEAT_ERR_UNKNOWN_TOPIC);
    } else {
        bus_publish(bus_producer(b.client, "t"), 9);
        bus_consume(client, consumer, &record);
        cr_assert_eq(bus_value(&record), 9u);
    }
    leat_client_close(client);
    consumers_tear_down(&b);
    snprintf(text, sizeof text, "rm -rf '%s'", state);
    cr_assert_eq(system(text), 0);
}

BUS_TEST(states, a_plain_reader_of_a_broker_with_state_goes_on)
{
    comes_back_with_state(way, false);
}

BUS_TEST(states, a_plain_reader_of_a_topic_deleted_while_it_was_away_ends_with_an_error)
{
    comes_back_with_state(way, true);
}

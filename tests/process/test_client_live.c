/* Goal: the library does what leat.h promises, against a real leatd.
 * Method: publish and consume through the public header alone. */
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/leat.h"
#include "tests/support/bus.h"
#include "tests/support/leatd.h"
#include "tests/support/seeded.h"

BUS_TEST(client, what_was_published_is_consumed)
{
    struct leatd broker;
    leatd_start(&broker);
    leat_client *client = bus_open(bus_url(way, broker.url));
    bus_create(client, "all", (struct leat_topic_settings){ .partitions = 3 });
    leat_producer *producer = bus_producer(client, "all");
    leat_consumer *consumer = bus_consumer(client, "all", LEAT_START_EARLIEST, 0);
    cr_assert_eq(leat_producer_partitions(producer), 3u);

    const struct leat_header headers[] = {
        { .name = "kind", .value = "test", .value_size = 4 },
        { .name = "empty", .value = NULL, .value_size = 0 },
        { .name = "long name", .name_size = 4, .value = "\0\1", .value_size = 2 },
    };
    const struct leat_record records[] = {
        { .key = "abc",
          .key_size = 3,
          .value = "v",
          .value_size = 1,
          .headers = headers,
          .headers_count = 3,
          .timestamp_ns = 123456789,
          .partition = LEAT_ANY_PARTITION },
        { .key = "", .value = "", .partition = 1 },
        { .partition = 2 },
    };
    struct leat_delivery deliveries[3];
    for (int i = 0; i < 3; i++)
        cr_assert_eq(leat_producer_send_wait(producer, &records[i], &deliveries[i], PATIENCE), 0,
                     "%s", leat_client_error(client));
    cr_assert_eq(deliveries[0].partition, 479470107 % 3, "Kafka's partition of \"abc\"");
    cr_assert_eq(deliveries[1].partition, 1);
    cr_assert_eq(deliveries[2].level, LEAT_LEVEL_IN_RING);

    bool came[3] = { false };
    for (int i = 0; i < 3; i++) {
        struct leat_record got;
        struct leat_header header;
        bus_consume(client, consumer, &got);
        cr_assert_str_eq(got.topic, "all");
        cr_assert_gt(got.append_time_ns, 0u);
        if (got.headers_count == 3) {
            came[0] = true;
            cr_assert_eq(got.partition, deliveries[0].partition);
            cr_assert_eq(got.offset, deliveries[0].offset);
            cr_assert_eq(got.log_epoch, deliveries[0].log_epoch);
            cr_assert_eq(got.timestamp_ns, 123456789);
            cr_assert(got.key_size == 3 && memcmp(got.key, "abc", 3) == 0);
            cr_assert_eq(leat_record_header(&got, 2, &header), 0);
            cr_assert(header.name_size == 4 && memcmp(header.name, "long", 4) == 0);
            cr_assert(header.value_size == 2 && memcmp(header.value, "\0\1", 2) == 0);
            cr_assert_eq(leat_record_header(&got, 3, &header), LEAT_ERR_OUT_OF_RANGE);
        } else if (got.key != NULL) {
            came[1] = true;
            cr_assert(got.key_size == 0 && got.value != NULL && got.value_size == 0);
        } else {
            came[2] = true;
            cr_assert_eq(got.value, NULL);
        }
    }
    cr_assert(came[0] && came[1] && came[2]);
    leat_client_close(client);
    leatd_end(&broker);
}

BUS_TEST(client, a_topic_can_be_created_described_sought_and_deleted)
{
    struct leatd broker;
    leatd_start(&broker);
    leat_client *client = bus_open(bus_url(way, broker.url));
    bus_create(client, "t", (struct leat_topic_settings){ 0 });
    leat_producer *producer = bus_producer(client, "t");
    for (uint64_t i = 0; i < 20; i++)
        cr_assert_eq(bus_publish(producer, i), i);
    uint64_t offset = 99;
    cr_assert_eq(leat_topic_offset(client, "t", 0, LEAT_START_LATEST, 0, &offset), 0);
    cr_assert_eq(offset, 20u);
    cr_assert_eq(leat_topic_offset(client, "t", 0, LEAT_START_EARLIEST, 0, &offset), 0);
    cr_assert_eq(offset, 0u);

    leat_consumer *consumer = bus_consumer(client, "t", LEAT_START_OFFSET, 7);
    struct leat_record record;
    bus_consume(client, consumer, &record);
    cr_assert_eq(bus_value(&record), 7u);
    const uint64_t time = record.append_time_ns;
    cr_assert_eq(leat_consumer_position(consumer, "t", 0, &offset), 0);
    cr_assert_eq(offset, 8u);
    /* The record in hand lives through a seek and everything until the next poll. */
    cr_assert_eq(leat_consumer_seek(consumer, "t", 0, LEAT_START_EARLIEST, 0), 0, "%s",
                 leat_client_error(client));
    leat_client_poll(client, SECOND / 100);
    cr_assert_eq(bus_value(&record), 7u);
    bus_consume(client, consumer, &record);
    cr_assert_eq(bus_value(&record), 0u);
    cr_assert_eq(leat_consumer_seek(consumer, "t", 0, LEAT_START_TIME, time), 0);
    bus_consume(client, consumer, &record);
    cr_assert_leq(bus_value(&record), 7u);
    cr_assert_geq(record.append_time_ns, time);
    cr_assert_eq(leat_consumer_seek(consumer, "t", 0, LEAT_START_LATEST, 0), 0);
    bus_publish(producer, 20);
    bus_consume(client, consumer, &record);
    cr_assert_eq(bus_value(&record), 20u);
    cr_assert_eq(leat_consumer_seek(consumer, "t", 0, LEAT_START_OFFSET, 1000),
                 LEAT_ERR_OUT_OF_RANGE);
    cr_assert_neq(strstr(leat_client_error(client), "1000"), NULL, "%s", leat_client_error(client));
    bus_publish(producer, 21);
    bus_consume(client, consumer, &record);
    cr_assert_eq(bus_value(&record), 21u, "after a failed seek it goes on where it was");

    cr_assert_eq(leat_topic_delete(client, "t"), 0, "%s", leat_client_error(client));
    for (int turn = 0; turn < PATIENCE_TURNS && bus_find_event(LEAT_EVENT_TOPIC_DELETED) == NULL;
         turn++) {
        leat_consumer_poll(consumer, &record, 1);
        leat_client_poll(client, SECOND / 10);
    }
    cr_assert_neq(bus_find_event(LEAT_EVENT_TOPIC_DELETED), NULL);
    leat_client_close(client);
    leatd_end(&broker);
}

static struct {
    uint64_t next_cookie;
    uint64_t last_offset;
} told;

static void on_delivery(void *user, const struct leat_delivery *delivery)
{
    leat_client *client = *(leat_client **)user;
    cr_assert_eq(delivery->status, 0, "%s", leat_strerror(delivery->status));
    cr_assert_eq(delivery->cookie, told.next_cookie++);
    cr_assert_eq(delivery->offset, delivery->cookie);
    told.last_offset = delivery->offset;
    cr_assert_eq(leat_client_poll(client, 0), LEAT_ERR_INVALID, "callbacks may not poll");
}

BUS_TEST(client, each_record_is_answered_once_with_its_offset)
{
    struct leatd broker;
    leatd_start(&broker);
    leat_client *client = bus_open(bus_url(way, broker.url));
    bus_create(client, "t", (struct leat_topic_settings){ .ring_bytes = 16 << 20 });
    leat_producer *producer;
    const struct leat_producer_options options = { .size = sizeof options,
                                                   .on_delivery = on_delivery,
                                                   .user = &client };
    cr_assert_eq(leat_producer_open(client, &producer, "t", &options), 0);
    enum { COUNT = 50000 };
    for (uint64_t i = 0; i < COUNT;) {
        const struct leat_record record = {
            .value = &i, .value_size = sizeof i, .partition = LEAT_ANY_PARTITION, .cookie = i
        };
        const int error = leat_producer_send(producer, &record);
        cr_assert(error == 0 || error == LEAT_BUSY);
        i += error == 0;
        if (error != 0 || i % 100 == 0)
            leat_client_poll(client, error != 0 ? SECOND : 0);
    }
    cr_assert_eq(leat_producer_flush(producer, PATIENCE), 0);
    cr_assert_eq(told.next_cookie, (uint64_t)COUNT);
    cr_assert_eq(leat_producer_pending(producer), 0u);
    leat_consumer *consumer = bus_consumer(client, "t", LEAT_START_EARLIEST, 0);
    for (uint64_t next = 0; next < COUNT;) {
        struct leat_record records[100];
        const int n = leat_consumer_poll(consumer, records, 100);
        for (int i = 0; i < n; i++, next++)
            cr_assert_eq(bus_value(&records[i]), next);
        leat_client_poll(client, SECOND);
    }
    struct leat_client_stats stats = { .size = sizeof stats };
    cr_assert_eq(leat_client_stats(client, &stats), 0);
    cr_assert_eq(stats.records_acked, (uint64_t)COUNT);
    cr_assert_eq(stats.records_received, (uint64_t)COUNT);
    cr_assert_lt(stats.batches_sent, (uint64_t)COUNT / 10, "records share batches");
    leat_client_close(client);
    leatd_end(&broker);
}

BUS_TEST(client, one_descriptor_is_enough_to_wait_on)
{
    struct leatd broker;
    leatd_start(&broker);
    leat_client *client = bus_open(bus_url(way, broker.url));
    bus_create(client, "t", (struct leat_topic_settings){ 0 });
    leat_producer *producer = bus_producer(client, "t");
    leat_consumer *consumer = bus_consumer(client, "t", LEAT_START_EARLIEST, 0);
    struct pollfd wait = { .fd = leat_client_fd(client), .events = POLLIN };
    cr_assert_geq(wait.fd, 0);
    while (leat_client_poll(client, 0) > 0)
        ;
    if (strcmp(way, "tcp") == 0) /* packets have something to say now and then: all is well */
        cr_assert_eq(poll(&wait, 1, 50), 0, "nothing to do, and yet it wakes");
    for (uint64_t i = 0; i < 100; i++) {
        for (int k = 0; k < 3; k++) {
            const struct leat_record record = { .value = &i, .value_size = sizeof i };
            cr_assert_eq(leat_producer_send(producer, &record), 0);
        }
        for (int got = 0; got < 3;) { /* one record a time: some stay behind */
            struct leat_record record;
            cr_assert_eq(poll(&wait, 1, 10000), 1, "record %d", (int)i);
            leat_client_poll(client, 0);
            if (leat_consumer_poll(consumer, &record, 1) == 1) {
                cr_assert_eq(bus_value(&record), i);
                got++;
            }
        }
    }
    leat_client_close(client);
    leatd_end(&broker);
}

static int last_status;
static void on_closed(void *user, const struct leat_delivery *delivery)
{
    (void)user;
    last_status = delivery->status;
}

BUS_TEST(client, errors_name_the_thing_and_the_value)
{
    struct leatd broker;
    leatd_start(&broker);
    leat_client *client;
    cr_assert_eq(leat_client_open(&client, "tcp://127.0.0.1:1", NULL), LEAT_ERR_UNREACHABLE);
    cr_assert_neq(strstr(leat_client_error(NULL), "127.0.0.1:1"), NULL, "%s",
                  leat_client_error(NULL));
    cr_assert_eq(leat_client_open(&client, "ftp://x", NULL), LEAT_ERR_INVALID);
    client = bus_open(bus_url(way, broker.url));
    leat_producer *producer;
    leat_consumer *consumer;
    const char *topic = "nowhere";
    cr_assert_eq(leat_producer_open(client, &producer, topic, NULL), LEAT_ERR_UNKNOWN_TOPIC);
    cr_assert_neq(strstr(leat_client_error(client), "leat topic create"), NULL, "%s",
                  leat_client_error(client));
    cr_assert_eq(leat_consumer_open(client, &consumer, &topic, 1, NULL), LEAT_ERR_UNKNOWN_TOPIC);
    bus_create(client, "t", (struct leat_topic_settings){ .record_bytes_max = 100 });
    const struct leat_producer_options options = { .size = sizeof options,
                                                   .on_delivery = on_closed };
    cr_assert_eq(leat_producer_open(client, &producer, "t", &options), 0);
    char value[101] = "";
    struct leat_record record = { .value = value, .value_size = sizeof value };
    cr_assert_eq(leat_producer_send(producer, &record), LEAT_ERR_TOO_LARGE);
    cr_assert_neq(strstr(leat_client_error(client), "101"), NULL, "%s", leat_client_error(client));
    record = (struct leat_record){ .value = value, .value_size = 1, .partition = 1 };
    cr_assert_eq(leat_producer_send(producer, &record), LEAT_ERR_INVALID);
    record = (struct leat_record){ .value = NULL, .value_size = 1 };
    cr_assert_eq(leat_producer_send(producer, &record), LEAT_ERR_INVALID);
    topic = "t";
    const uint32_t partitions[] = { 5 };
    const struct leat_consumer_options listed = { .size = sizeof listed,
                                                  .partitions = partitions,
                                                  .partition_count = 1 };
    cr_assert_eq(leat_consumer_open(client, &consumer, &topic, 1, &listed),
                 LEAT_ERR_UNKNOWN_PARTITION);
    const struct leat_consumer_options above = { .size = sizeof above,
                                                 .start_at = LEAT_START_OFFSET,
                                                 .start = 777 };
    cr_assert_eq(leat_consumer_open(client, &consumer, &topic, 1, &above), LEAT_ERR_OUT_OF_RANGE);
    cr_assert_neq(strstr(leat_client_error(client), "777"), NULL, "%s", leat_client_error(client));

    record = (struct leat_record){ .value = value, .value_size = 1 };
    cr_assert_eq(leat_producer_send(producer, &record), 0);
    leat_client_close(client);
    cr_assert_eq(last_status, LEAT_ERR_CLOSED, "what was not answered is told at the close");
    leatd_end(&broker);
}

BUS_TEST(client, a_producer_whose_topic_was_deleted_is_told)
{
    struct leatd broker;
    leatd_start_config(&broker, "{\"port\": 0, \"data_port\": 0, \"keepalive_ms\": 300}");
    leat_client *client = bus_open(bus_url(way, broker.url));
    bus_create(client, "t", (struct leat_topic_settings){ 0 });
    leat_producer *producer = bus_producer(client, "t");
    bus_publish(producer, 1);
    cr_assert_eq(leat_topic_delete(client, "t"), 0);
    const uint64_t value = 2;
    const struct leat_record record = { .value = &value, .value_size = sizeof value };
    cr_assert_eq(leat_producer_send_wait(producer, &record, NULL, PATIENCE),
                 LEAT_ERR_UNKNOWN_TOPIC);
    cr_assert_eq(bus_count_events(LEAT_EVENT_TOPIC_DELETED), 1u);
    cr_assert_eq(leat_producer_send(producer, &record), LEAT_ERR_UNKNOWN_TOPIC);
    leat_client_close(client);
    leatd_end(&broker);
}

BUS_TEST(client, a_record_of_the_largest_size_comes_through)
{
    struct leatd broker;
    leatd_start(&broker);
    leat_client *client = bus_open(bus_url(way, broker.url));
    enum { LARGE = 3 << 20 };
    bus_create(client, "t",
               (struct leat_topic_settings){ .record_bytes_max = LARGE, .ring_bytes = 16 << 20 });
    leat_producer *producer = bus_producer(client, "t");
    leat_consumer *consumer = bus_consumer(client, "t", LEAT_START_EARLIEST, 0);
    uint8_t *value = malloc(LARGE);
    struct seeded seed = seeded_start("large");
    seeded_fill(&seed, value, LARGE);
    for (int i = 0; i < 10; i++) {
        const struct leat_record record = { .value = value, .value_size = LARGE };
        cr_assert_eq(leat_producer_send_wait(producer, &record, NULL, PATIENCE), 0, "%s",
                     leat_client_error(client));
        bus_publish(producer, 5);
        struct leat_record got;
        bus_consume(client, consumer, &got);
        cr_assert_eq(got.value_size, (uint32_t)LARGE);
        cr_assert_eq(memcmp(got.value, value, LARGE), 0);
        bus_consume(client, consumer, &got);
        cr_assert_eq(bus_value(&got), 5u);
    }
    free(value);
    leat_client_close(client);
    leatd_end(&broker);
}

/* Goal: what goes wrong between a client and its broker is survived, and told exactly: overruns,
 * required readers, fencing, connections that are cut, a broker that is not there. Method: the
 * public header against a real leatd; connections are cut by a proxy in a thread, at places a
 * printed seed chooses. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "client/leat.h"
#include "tests/support/bus.h"
#include "tests/support/leatd.h"
#include "tests/support/proxy.h"
#include "tests/support/seeded.h"

BUS_TEST(client, an_overrun_reader_gets_the_exact_gap)
{
    struct leatd broker;
    leatd_start(&broker);
    leat_client *client = bus_open(bus_url(way, broker.url));
    bus_create(client, "t", (struct leat_topic_settings){ .ring_bytes = 65536 });
    leat_producer *producer = bus_producer(client, "t");
    leat_consumer *consumer;
    const char *topic = "t";
    const struct leat_consumer_options options = { .size = sizeof options,
                                                   .start_at = LEAT_START_EARLIEST,
                                                   .window_bytes = 8192 };
    cr_assert_eq(leat_consumer_open(client, &consumer, &topic, 1, &options), 0);
    uint64_t value[100] = { 0 };
    enum { COUNT = 1000 };
    for (value[0] = 0; value[0] < COUNT; value[0]++) {
        const struct leat_record record = { .value = value, .value_size = sizeof value };
        cr_assert_eq(leat_producer_send_wait(producer, &record, NULL, PATIENCE), 0);
    }
    uint64_t next = 0, received = 0;
    unsigned gaps = 0;
    while (next < COUNT) {
        struct leat_record record;
        const int n = leat_consumer_poll(consumer, &record, 1);
        for (; gaps < bus_seen.count; gaps++) {
            if (bus_seen.events[gaps].type != LEAT_EVENT_GAP)
                continue;
            cr_assert_eq(bus_seen.events[gaps].first_offset, next);
            cr_assert_eq(bus_seen.events[gaps].reason, LEAT_REASON_OVERRUN);
            next = bus_seen.events[gaps].next_offset;
        }
        if (n == 1) {
            cr_assert_eq(record.offset, next++);
            received++;
        } else {
            leat_client_poll(client, SECOND);
        }
    }
    cr_assert_gt(received, 50u);
    cr_assert_lt(received, (uint64_t)COUNT);
    cr_assert_geq(bus_count_events(LEAT_EVENT_GAP), 1u);
    leat_client_close(client);
    leatd_end(&broker);
}

BUS_TEST(client, a_required_reader_holds_producers_back)
{
    struct leatd broker;
    leatd_start(&broker);
    leat_client *client = bus_open(bus_url(way, broker.url));
    bus_create(client, "t",
               (struct leat_topic_settings){ .ring_bytes = 65536, .overrun = LEAT_OVERRUN_BLOCK });
    leat_producer *producer = bus_producer(client, "t");
    leat_consumer *consumer;
    const char *topic = "t";
    const struct leat_consumer_options options = {
        .size = sizeof options, .start_at = LEAT_START_EARLIEST, .window_bytes = 8192, .required = 1
    };
    cr_assert_eq(leat_consumer_open(client, &consumer, &topic, 1, &options), 0);
    enum { COUNT = 20000 };
    uint64_t sent = 0, next = 0, value[20] = { 0 };
    bool was_busy = false;
    for (int idle = 0; next < COUNT && idle < 1000;) {
        value[0] = sent;
        const struct leat_record record = { .value = value, .value_size = sizeof value };
        const int error = sent < COUNT ? leat_producer_send(producer, &record) : LEAT_BUSY;
        sent += error == 0;
        leat_client_poll(client, 0);
        if (error == 0 && !was_busy)
            continue; /* nothing is consumed before the producer was held back */
        was_busy = true;
        struct leat_record records[10];
        const int n = leat_consumer_poll(consumer, records, 10);
        for (int i = 0; i < n; i++)
            cr_assert_eq(*(const uint64_t *)records[i].value, next++);
        idle = n == 0 ? idle + 1 : 0;
        if (n == 0)
            leat_client_poll(client, SECOND / 100);
    }
    cr_assert_eq(next, (uint64_t)COUNT);
    cr_assert_eq(bus_count_events(LEAT_EVENT_GAP), 0u);
    leat_client_close(client);
    leatd_end(&broker);
}

BUS_TEST(client, a_third_required_reader_of_one_client_is_told_the_share)
{
    struct leatd broker;
    leatd_start(&broker);
    leat_client *client = bus_open(bus_url(way, broker.url));
    bus_create(client, "t", (struct leat_topic_settings){ .overrun = LEAT_OVERRUN_BLOCK });
    leat_consumer *consumer;
    const char *topic = "t", *names[] = { "one", "two", "three" };
    for (int i = 0; i < 3; i++) {
        const struct leat_consumer_options options = { .size = sizeof options,
                                                       .name = names[i],
                                                       .required = 1 };
        cr_assert_eq(leat_consumer_open(client, &consumer, &topic, 1, &options),
                     i < 2 ? 0 : LEAT_ERR_LIMIT);
    }
    cr_assert_neq(strstr(leat_client_error(client), "one connection may have an eighth"), NULL,
                  "it says: %s", leat_client_error(client));
    leat_client_close(client);
    leatd_end(&broker);
}

BUS_TEST(client, a_named_producer_fences_the_older_one)
{
    struct leatd broker;
    leatd_start(&broker);
    leat_client *old_client = bus_open(bus_url(way, broker.url)),
                *new_client = bus_open(bus_url(way, broker.url));
    bus_create(old_client, "t", (struct leat_topic_settings){ 0 });
    const struct leat_producer_options options = { .size = sizeof options, .name = "writer" };
    leat_producer *old, *new;
    cr_assert_eq(leat_producer_open(old_client, &old, "t", &options), 0);
    bus_publish(old, 1);
    cr_assert_eq(leat_producer_open(new_client, &new, "t", &options), 0);
    bus_publish(new, 2);
    const uint64_t value = 3;
    const struct leat_record record = { .value = &value, .value_size = sizeof value };
    cr_assert_eq(leat_producer_send_wait(old, &record, NULL, PATIENCE), LEAT_ERR_FENCED);
    cr_assert_neq(bus_find_event(LEAT_EVENT_PRODUCER_FENCED), NULL);
    cr_assert_eq(leat_producer_send(old, &record), LEAT_ERR_FENCED);
    cr_assert_eq(bus_publish(new, 4), 2u, "the fenced one appended nothing");
    leat_client_close(old_client);
    leat_client_close(new_client);
    leatd_end(&broker);
}

BUS_TEST(client, a_producer_that_says_nothing_hears_that_it_was_fenced)
{
    struct leatd broker;
    leatd_start(&broker);
    leat_client *old_client = bus_open(bus_url(way, broker.url)),
                *new_client = bus_open(bus_url(way, broker.url));
    bus_create(old_client, "t", (struct leat_topic_settings){ 0 });
    const struct leat_producer_options options = { .size = sizeof options, .name = "writer" };
    leat_producer *old, *new;
    cr_assert_eq(leat_producer_open(old_client, &old, "t", &options), 0);
    cr_assert_eq(leat_producer_open(new_client, &new, "t", &options), 0);
    for (int turn = 0; turn < PATIENCE_TURNS && bus_count_events(LEAT_EVENT_PRODUCER_FENCED) == 0;
         turn++)
        leat_client_poll(old_client, SECOND / 10);
    cr_assert_eq(bus_count_events(LEAT_EVENT_PRODUCER_FENCED), 1u,
                 "it publishes nothing and is told all the same");
    leat_client_close(old_client);
    leat_client_close(new_client);
    leatd_end(&broker);
}

BUS_TEST(client, a_producer_that_says_nothing_hears_that_its_topic_was_deleted)
{
    struct leatd broker;
    leatd_start(&broker);
    leat_client *client = bus_open(bus_url(way, broker.url)), *other = bus_open(broker.url);
    bus_create(client, "t", (struct leat_topic_settings){ 0 });
    leat_producer *producer = bus_producer(client, "t");
    bus_publish(producer, 1);
    cr_assert_eq(leat_topic_delete(other, "t"), 0);
    for (int turn = 0; turn < PATIENCE_TURNS && bus_count_events(LEAT_EVENT_TOPIC_DELETED) == 0;
         turn++)
        leat_client_poll(client, SECOND / 10);
    cr_assert_eq(bus_count_events(LEAT_EVENT_TOPIC_DELETED), 1u);
    leat_client_close(client);
    leat_client_close(other);
    leatd_end(&broker);
}

/* Records are published and consumed while a proxy cuts connections: each comes once, in order. */
static void survive_cuts(uint64_t seed, uint32_t partitions)
{
    struct leatd broker;
    struct proxy proxy;
    leatd_start(&broker);
    leat_client *direct = bus_open(broker.url);
    bus_create(direct, "t",
               (struct leat_topic_settings){ .partitions = partitions, .ring_bytes = 16 << 20 });
    proxy_start(&proxy, &broker, seed);
    leat_client *client = bus_open(proxy.url);
    leat_producer *producer = bus_producer(client, "t");
    leat_consumer *consumer = bus_consumer(client, "t", LEAT_START_EARLIEST, 0);
    enum { COUNT = 30000 };
    uint64_t sent = 0, received = 0, next[8] = { 0 }, last[8] = { 0 };
    struct seeded random = { .state = seed };
    proxy_cut(&proxy, true);
    while (received < COUNT) {
        uint64_t value[40] = { sent + 1 };
        const struct leat_record record = { .value = value,
                                            .value_size = sizeof value,
                                            .partition = (int32_t)(sent % partitions) };
        const int error = sent < COUNT ? leat_producer_send(producer, &record) : LEAT_BUSY;
        cr_assert(error == 0 || error == LEAT_BUSY, "%s", leat_strerror(error));
        sent += error == 0;
        if (error != 0 || seeded_below(&random, 50) == 0) {
            cr_assert_geq(leat_client_poll(client, error != 0 ? SECOND / 100 : 0), 0);
            struct leat_record records[64];
            const int n = leat_consumer_poll(consumer, records, 64);
            for (int i = 0; i < n; i++) {
                const int p = records[i].partition;
                uint64_t got;
                memcpy(&got, records[i].value, sizeof got);
                cr_assert_eq(records[i].offset, next[p], "partition %d", p);
                next[p]++;
                cr_assert_gt(got, last[p], "doubled or out of order");
                last[p] = got;
                received++;
            }
        }
    }
    proxy_cut(&proxy, false);
    cr_assert_eq(leat_producer_flush(producer, PATIENCE), 0);
    for (uint32_t p = 0; p < partitions; p++)
        cr_assert_eq(next[p], COUNT / partitions, "as many offsets as records: none was doubled");
    cr_assert_eq(bus_count_events(LEAT_EVENT_GAP), 0u);
    cr_assert_gt(bus_count_events(LEAT_EVENT_DISCONNECTED), 0u, "the proxy never cut");
    leat_client_close(client);
    leat_client_close(direct);
    proxy_end(&proxy);
    leatd_end(&broker);
}

Test(client, cut_connections_lose_and_double_nothing, .timeout = 120)
{
    struct seeded seed = seeded_start("cuts");
    survive_cuts(seeded_next(&seed), 1);
}

Test(client, cut_connections_lose_and_double_nothing_of_many_partitions, .timeout = 120)
{
    struct seeded seed = seeded_start("cuts");
    seeded_next(&seed);
    survive_cuts(seeded_next(&seed), 6);
}

BUS_TEST(client, the_circuit_opens_when_nothing_listens_and_closes_again)
{
    struct leatd broker;
    leatd_start(&broker);
    leat_client *client;
    const struct leat_client_options options = { .size = sizeof options,
                                                 .on_event = bus_on_event,
                                                 .backoff_min_ns = SECOND / 1000,
                                                 .backoff_max_ns = SECOND / 100,
                                                 .circuit_failures = 4,
                                                 .circuit_open_ns = SECOND / 5 };
    cr_assert_eq(leat_client_open(&client, bus_url(way, broker.url), &options), 0);
    leatd_kill(&broker);
    for (int turn = 0; turn < PATIENCE_TURNS && bus_count_events(LEAT_EVENT_CIRCUIT_OPEN) < 2;
         turn++)
        leat_client_poll(client, SECOND / 10);
    cr_assert_eq(bus_count_events(LEAT_EVENT_DISCONNECTED), 1u);
    cr_assert_geq(bus_count_events(LEAT_EVENT_CIRCUIT_OPEN), 2u);
    cr_assert_eq(bus_find_event(LEAT_EVENT_CIRCUIT_OPEN)->time_ns, SECOND / 5);
    cr_assert_eq(leat_topic_delete(client, "t"), LEAT_ERR_CIRCUIT_OPEN);
    leatd_restart(&broker);
    for (int turn = 0; turn < PATIENCE_TURNS && bus_count_events(LEAT_EVENT_CONNECTED) < 2; turn++)
        leat_client_poll(client, SECOND / 10);
    cr_assert_eq(bus_count_events(LEAT_EVENT_CONNECTED), 2u);
    cr_assert_eq(leat_topic_delete(client, "t"), LEAT_ERR_UNKNOWN_TOPIC);
    leat_client_close(client);
    leatd_end(&broker);
}

/* The library under test: a client that keeps what it is told, and the usual calls with their
 * answers checked. */
#include "tests/support/bus.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

struct bus_seen bus_seen;

void bus_on_event(void *user, const struct leat_event *event)
{
    (void)user;
    cr_assert_neq(event->text, NULL);
    if (bus_seen.count < BUS_EVENTS_MAX)
        bus_seen.events[bus_seen.count++] = *event;
}

unsigned bus_count_events(int type)
{
    unsigned count = 0;
    for (unsigned i = 0; i < bus_seen.count; i++)
        count += bus_seen.events[i].type == type;
    return count;
}

const struct leat_event *bus_find_event(int type)
{
    for (unsigned i = 0; i < bus_seen.count; i++)
        if (bus_seen.events[i].type == type)
            return &bus_seen.events[i];
    return NULL;
}

const char *bus_url(const char *way, const char *url)
{
    static char text[128];
    const char *hosts = strstr(url, "://");
    cr_assert_neq(hosts, NULL);
    snprintf(text, sizeof text, "%s%s", way, hosts);
    return text;
}

leat_client *bus_open(const char *url)
{
    leat_client *client;
    const struct leat_client_options options = { .size = sizeof options,
                                                 .on_event = bus_on_event,
                                                 .backoff_min_ns = SECOND / 1000,
                                                 .backoff_max_ns = SECOND / 20,
                                                 .circuit_failures = 1000000 };
    cr_assert_eq(leat_client_open(&client, url, &options), 0, "%s", leat_client_error(NULL));
    return client;
}

void bus_create(leat_client *client, const char *name, struct leat_topic_settings settings)
{
    settings.size = sizeof settings;
    if (settings.ring_bytes == 0)
        settings.ring_bytes = 1 << 20;
    if (settings.record_bytes_max == 0)
        settings.record_bytes_max = 4096;
    cr_assert_eq(leat_topic_create(client, name, &settings), 0, "%s", leat_client_error(client));
}

leat_producer *bus_producer(leat_client *client, const char *topic)
{
    leat_producer *producer;
    cr_assert_eq(leat_producer_open(client, &producer, topic, NULL), 0, "%s",
                 leat_client_error(client));
    return producer;
}

leat_consumer *bus_consumer(leat_client *client, const char *topic, int32_t at, uint64_t start)
{
    leat_consumer *consumer;
    const struct leat_consumer_options options = { .size = sizeof options,
                                                   .start_at = at,
                                                   .start = start };
    cr_assert_eq(leat_consumer_open(client, &consumer, &topic, 1, &options), 0, "%s",
                 leat_client_error(client));
    return consumer;
}

uint64_t bus_publish(leat_producer *producer, uint64_t value)
{
    struct leat_delivery delivery;
    const struct leat_record record = { .value = &value,
                                        .value_size = sizeof value,
                                        .partition = LEAT_ANY_PARTITION };
    const int error = leat_producer_send_wait(producer, &record, &delivery, PATIENCE);
    cr_assert_eq(error, 0, "%s", leat_strerror(error));
    return delivery.offset;
}

void bus_consume(leat_client *client, leat_consumer *consumer, struct leat_record *record)
{
    for (int turn = 0; turn < PATIENCE_TURNS; turn++) {
        const int n = leat_consumer_poll(consumer, record, 1);
        cr_assert_geq(n, 0);
        if (n == 1)
            return;
        cr_assert_geq(leat_client_poll(client, SECOND / 10), 0);
    }
    cr_assert_fail("no record came");
}

uint64_t bus_value(const struct leat_record *record)
{
    uint64_t value;
    cr_assert_eq(record->value_size, sizeof value);
    memcpy(&value, record->value, sizeof value);
    return value;
}

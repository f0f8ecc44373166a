/* Goal: with fallback=tcp a path that never comes up, or dies in the middle, is left for TCP: told
 * once, nothing lost, nothing doubled; without it the client keeps trying. Method: a real leatd,
 * and a link around the real socket that a test can cut. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "client/client_core.h"
#include "tests/support/bus.h"
#include "tests/support/leatd.h"
#include "transport/link_udp.h"

/* What is received is dropped while it is cut; what is sent leaves all the same. */
static struct fragile {
    struct link link;
    struct link *inner;
    bool cut;
} fragile;

static unsigned receive(struct link *link, struct link_datagram *out, unsigned max, leat_ns now)
{
    (void)link;
    const unsigned count = fragile.inner->ops->receive(fragile.inner, out, max, now);
    if (!fragile.cut)
        return count;
    fragile.inner->ops->release(fragile.inner, out, count);
    return 0;
}

static void release(struct link *link, struct link_datagram *datagrams, unsigned count)
{
    (void)link;
    fragile.inner->ops->release(fragile.inner, datagrams, count);
}

static bool reserve(struct link *link, struct link_outgoing *out)
{
    (void)link;
    return fragile.inner->ops->reserve(fragile.inner, out);
}

static void cancel(struct link *link, struct link_outgoing *out)
{
    (void)link;
    fragile.inner->ops->cancel(fragile.inner, out);
}

static void send_one(struct link *link, struct link_outgoing *out, uint32_t size,
                     const struct link_reference *reference, const struct link_peer *to)
{
    (void)link;
    fragile.inner->ops->send(fragile.inner, out, size, reference, to);
}

static unsigned flush(struct link *link, leat_ns now)
{
    (void)link;
    return fragile.inner->ops->flush(fragile.inner, now);
}

static int descriptor(const struct link *link)
{
    (void)link;
    return fragile.inner->ops->descriptor(fragile.inner);
}

static leat_ns deadline(const struct link *link)
{
    (void)link;
    return fragile.inner->ops->deadline(fragile.inner);
}

static void close_it(struct link *link)
{
    (void)link;
    fragile.inner->ops->close(fragile.inner);
    fragile.inner = NULL;
}

static const struct link_ops ops = {
    .receive = receive,
    .release = release,
    .reserve = reserve,
    .cancel = cancel,
    .send = send_one,
    .flush = flush,
    .descriptor = descriptor,
    .deadline = deadline,
    .close = close_it,
};

static struct link *open_fragile(void *context)
{
    (void)context;
    const struct link_udp_options options = { 0 };
    char bound[LINK_TCP_ADDRESS_TEXT], why[LINK_TCP_ERROR_TEXT];
    if (link_udp_open(&fragile.inner, AF_INET, "127.0.0.1", 0, &options, bound, why) != LEAT_OK)
        return NULL;
    fragile.link.ops = &ops;
    fragile.link.limits = fragile.inner->limits;
    return &fragile.link;
}

static leat_client *open_over_fragile(const struct leatd *broker, const char *query)
{
    char url[160];
    leat_client *client;
    const struct client_hooks hooks = { .link_open = open_fragile, .seed = 1 };
    const struct leat_client_options options = { .size = sizeof options,
                                                 .on_event = bus_on_event,
                                                 .request_timeout_ns = PATIENCE,
                                                 .backoff_min_ns = SECOND / 1000,
                                                 .backoff_max_ns = SECOND / 20,
                                                 .circuit_failures = 1000000 };
    snprintf(url, sizeof url, "%s%s", bus_url("udp", broker->url), query);
    cr_assert_eq(client_open(&client, url, &options, &hooks), 0, "%s", leat_client_error(NULL));
    return client;
}

Test(fallback, a_path_that_dies_goes_on_over_tcp_from_where_it_was, .timeout = 60)
{
    struct leatd broker;
    leatd_start(&broker);
    leat_client *client = open_over_fragile(&broker, "?fallback=tcp");
    bus_create(client, "t", (struct leat_topic_settings){ .ring_bytes = 16 << 20 });
    leat_producer *producer = bus_producer(client, "t");
    leat_consumer *consumer = bus_consumer(client, "t", LEAT_START_EARLIEST, 0);
    enum { BEFORE = 5000, COUNT = 10000 };
    uint64_t sent = 0, next = 0;
    while (next < COUNT) {
        for (int k = 0; k < 10 && sent < COUNT; k++) {
            const struct leat_record record = { .value = &sent, .value_size = sizeof sent };
            if (leat_producer_send(producer, &record) != 0)
                break;
            sent++;
        }
        if (next >= BEFORE)
            fragile.cut = true; /* with records on their way, both ways */
        cr_assert_geq(leat_client_poll(client, sent == COUNT ? SECOND / 10 : 0), 0);
        struct leat_record records[64];
        const int n = leat_consumer_poll(consumer, records, 64);
        for (int i = 0; i < n; i++, next++) {
            cr_assert_eq(bus_value(&records[i]), next);
            cr_assert_eq(records[i].offset, next, "none was doubled");
        }
    }
    cr_assert_eq(leat_producer_flush(producer, PATIENCE), 0);
    cr_assert_eq(bus_count_events(LEAT_EVENT_FALLBACK), 1u);
    cr_assert_eq(bus_count_events(LEAT_EVENT_GAP), 0u);
    cr_assert_eq(bus_count_events(LEAT_EVENT_PRODUCER_EXPIRED), 0u, "the epoch was kept");
    cr_assert_eq(bus_find_event(LEAT_EVENT_FALLBACK)->error, LEAT_ERR_UNREACHABLE);
    cr_assert_eq(fragile.inner, NULL, "its socket is closed");
    struct leat_client_stats stats = { .size = sizeof stats };
    cr_assert_eq(leat_client_stats(client, &stats), 0);
    cr_assert_gt(stats.packets_sent, 0u);
    const uint64_t packets = stats.packets_sent;
    bus_publish(producer, 1);
    leat_client_stats(client, &stats);
    cr_assert_eq(stats.packets_sent, packets, "TCP for good");
    leat_client_close(client);
    leatd_end(&broker);
}

Test(fallback, a_path_that_never_comes_up_is_left, .timeout = 60)
{
    struct leatd broker;
    leatd_start(&broker);
    fragile.cut = true;
    leat_client *client = open_over_fragile(&broker, "?fallback=tcp");
    bus_create(client, "t", (struct leat_topic_settings){ 0 });
    leat_producer *producer = bus_producer(client, "t");
    cr_assert_eq(bus_publish(producer, 7), 0u);
    cr_assert_eq(bus_count_events(LEAT_EVENT_FALLBACK), 1u);
    cr_assert_eq(bus_find_event(LEAT_EVENT_FALLBACK)->error, LEAT_ERR_TIMEOUT);
    leat_client_close(client);
    leatd_end(&broker);
}

Test(fallback, without_it_packets_are_tried_again, .timeout = 60)
{
    struct leatd broker;
    leatd_start(&broker);
    fragile.cut = true;
    leat_client *client = open_over_fragile(&broker, "");
    bus_create(client, "t", (struct leat_topic_settings){ 0 });
    leat_producer *producer;
    client->options.values.request_timeout_ns = 3 * SECOND;
    cr_assert_eq(leat_producer_open(client, &producer, "t", NULL), LEAT_ERR_TIMEOUT);
    fragile.cut = false;
    producer = bus_producer(client, "t");
    cr_assert_eq(bus_publish(producer, 7), 0u);
    cr_assert_eq(bus_count_events(LEAT_EVENT_FALLBACK), 0u);
    leat_client_close(client);
    leatd_end(&broker);
}

Test(fallback, a_bypass_device_that_is_not_there_is_told_or_left, .timeout = 60)
{
    struct leatd broker;
    leatd_start(&broker);
    char url[160];
    snprintf(url, sizeof url, "%s?ip=10.9.9.2/24&device=net_none0&pages=normal",
             bus_url("dpdk", broker.url));
    leat_client *client;
    cr_assert_lt(leat_client_open(&client, url, NULL), 0);
    cr_assert_gt(strlen(leat_client_error(NULL)), 0u);
    strcat(url, "&fallback=tcp");
    client = bus_open(url);
    cr_assert_eq(bus_count_events(LEAT_EVENT_FALLBACK), 1u);
    bus_create(client, "t", (struct leat_topic_settings){ 0 });
    cr_assert_eq(bus_publish(bus_producer(client, "t"), 7), 0u);
    leat_client_close(client);
    leatd_end(&broker);
}

/* Goal: a broker that moves to another machine under the same name is found again, every address of
 * a name is tried, and a name that stands for nothing for a while costs nothing that was known.
 * Method: the library against a real leatd on addresses of 127/8; the resolver is the test's. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "client/client_core.h"
#include "tests/support/bus.h"
#include "tests/support/leatd.h"

enum { ADDRESSES_MAX = 3 };

static uint64_t request_timeout_ns; /* 0: the library's own */

static struct leatd broker;
static struct names {
    const char *control[ADDRESSES_MAX]; /* what "bus.test" stands for */
    const char *data[ADDRESSES_MAX];    /* and "data.test" */
    unsigned asked;
} names;

static uint32_t resolve(void *context, const char *name, struct sockaddr_storage *out,
                        uint32_t room)
{
    struct names *all = context;
    const bool is_data = strcmp(name, "data.test") == 0;
    const char *const *list = is_data ? all->data : all->control;
    uint32_t count = 0;
    if (strcmp(name, "many.test") == 0) { /* nobody answers at any of them */
        for (; count < room; count++)
            cr_assert_eq(link_tcp_address("127.0.1.1", 0, &out[count]), LEAT_OK);
        return count;
    }
    cr_assert(is_data || strcmp(name, "bus.test") == 0, "%s", name);
    all->asked++;
    for (; count < ADDRESSES_MAX && count < room && list[count] != NULL; count++)
        cr_assert_eq(link_tcp_address(list[count], 0, &out[count]), LEAT_OK);
    return count;
}

static void configure(const char *host)
{
    FILE *file = fopen(broker.config_path, "w");
    cr_assert_neq(file, NULL);
    fprintf(file,
            "{\"port\": 0, \"data_port\": 0, \"hugepages\": \"off\", \"host\": \"%s\","
            " \"allow_unauthenticated\": true,"
            " \"advertise\": {\"host\": \"data.test\"}, \"topics\": [{\"name\": \"t\"}]}",
            host);
    cr_assert_eq(fclose(file), 0);
}

/* The same name, configuration and port; another address. */
static void move(const char *host)
{
    leatd_stop(&broker);
    configure(host);
    leatd_restart(&broker);
}

static leat_client *open_named_after(const char *way, const char *others)
{
    leat_client *client;
    char url[96];
    const struct client_hooks hooks = { .resolve = resolve, .context = &names };
    const struct leat_client_options options = { .size = sizeof options,
                                                 .on_event = bus_on_event,
                                                 .request_timeout_ns = request_timeout_ns,
                                                 .backoff_min_ns = SECOND / 1000,
                                                 .backoff_max_ns = SECOND / 20,
                                                 .circuit_failures = 1000000 };
    snprintf(url, sizeof url, "%s://%sbus.test:%s", way, others, strrchr(broker.control, ':') + 1);
    const int error = client_open(&client, url, &options, &hooks);
    cr_assert_eq(error, 0, "%s", leat_client_error(NULL));
    return client;
}

static leat_client *open_named(const char *way)
{
    return open_named_after(way, "");
}

static void set_up(const char *host)
{
    leatd_start_config(&broker, "{\"port\": 0, \"data_port\": 0}");
    move(host);
}

BUS_TEST(names, a_client_follows_a_name_that_moves)
{
    set_up("127.0.0.2");
    names = (struct names){ .control = { "127.0.0.2" }, .data = { "127.0.0.2" } };
    leat_client *client = open_named(way);
    leat_producer *producer = bus_producer(client, "t");
    bus_publish(producer, 1);
    names = (struct names){ .control = { "127.0.0.3" }, .data = { "127.0.0.3" } };
    move("127.0.0.3");
    bus_publish(producer, 2);
    /* The resolver is out for a while: what was known holds. */
    names = (struct names){ 0 };
    leatd_restart(&broker);
    bus_publish(producer, 3);
    cr_assert_gt(names.asked, 0u);
    leat_client_close(client);
    leatd_end(&broker);
}

BUS_TEST(names, every_address_of_a_name_is_tried)
{
    set_up("127.0.0.4");
    names = (struct names){ .control = { "127.0.0.2", "127.0.0.3", "127.0.0.4" },
                            .data = { "127.0.0.2", "127.0.0.3", "127.0.0.4" } };
    leat_client *client = open_named(way);
    leat_producer *producer = bus_producer(client, "t");
    bus_publish(producer, 1);
    cr_assert_eq(bus_count_events(LEAT_EVENT_DISCONNECTED), 0u, "the machine control was at");
    move("127.0.0.3");
    bus_publish(producer, 2);
    move("127.0.0.2");
    bus_publish(producer, 3);
    leat_client_close(client);
    leatd_end(&broker);
}

BUS_TEST(names, a_host_of_many_addresses_leaves_room_for_the_next_host)
{
    set_up("127.0.0.4");
    names = (struct names){ .control = { "127.0.0.4" }, .data = { "127.0.0.4" } };
    leat_client *client = open_named_after(way, "many.test:1,");
    leat_producer *producer = bus_producer(client, "t");
    bus_publish(producer, 1);
    leat_client_close(client);
    leatd_end(&broker);
}

/* The machine that control was reached at is none of them. */
BUS_TEST(names, every_address_of_a_data_endpoint_is_tried)
{
    set_up("0.0.0.0");
    names = (struct names){ .control = { "127.0.0.4" }, .data = { "::1", "127.0.0.1" } };
    leat_client *client = open_named(way);
    leat_producer *producer = bus_producer(client, "t");
    bus_publish(producer, 1);
    cr_assert_geq(leat_client_poll(client, 0), 0);
    leat_client_close(client);
    leatd_end(&broker);
}

/* An application without on_event has only this. */
BUS_TEST(names, what_cannot_be_opened_names_the_address_that_was_not_reached)
{
    set_up("127.0.0.4");
    names = (struct names){ .control = { "127.0.0.4" }, .data = { "::1" } };
    request_timeout_ns = 3 * SECOND;
    leat_client *client = open_named(way);
    leat_producer *producer;
    leat_consumer *consumer;
    const char *topic = "t", *port = strrchr(broker.data[0], ':');
    char address[64];
    snprintf(address, sizeof address, "data.test%s", port);
    cr_assert_eq(leat_producer_open(client, &producer, topic, NULL), LEAT_ERR_TIMEOUT);
    cr_assert_neq(strstr(leat_client_error(client), address), NULL, "%s",
                  leat_client_error(client));
    cr_assert_eq(leat_consumer_open(client, &consumer, &topic, 1, NULL), LEAT_ERR_TIMEOUT);
    cr_assert_neq(strstr(leat_client_error(client), address), NULL, "%s",
                  leat_client_error(client));
    leat_client_close(client);
    leatd_end(&broker);
}

Test(names, packets_to_a_broker_that_takes_none_are_unsupported_at_once)
{
    leat_client *client;
    leatd_start_config(&broker, "{\"port\": 0, \"data_port\": 0, \"udp\": false}");
    cr_assert_eq(leat_client_open(&client, bus_url("udp", broker.url), NULL), LEAT_ERR_UNSUPPORTED);
    cr_assert_neq(strstr(leat_client_error(NULL), "no packets"), NULL);
    leatd_end(&broker);
}

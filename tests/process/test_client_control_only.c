/* Goal: a client for control only makes, lists and deletes, whatever its URL says of data, and
 * opens nothing for data: no DPDK, no port, no socket. Method: the public header against a real
 * leatd. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "client/leat.h"
#include "tests/support/bus.h"
#include "tests/support/leatd.h"

static struct leatd broker;

static void set_up(void)
{
    leatd_start(&broker);
}

static void tear_down(void)
{
    leatd_end(&broker);
}

TestSuite(control_only, .init = set_up, .fini = tear_down, .timeout = 60);

static bool is_loaded(const char *library)
{
    char line[512];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "re");
    cr_assert_neq(maps, NULL);
    while (!found && fgets(line, sizeof line, maps) != NULL)
        found = strstr(line, library) != NULL;
    fclose(maps);
    return found;
}

static void check(const char *url)
{
    const struct leat_client_options options = { .size = sizeof options, .control_only = 1 };
    leat_client *client;
    cr_assert_eq(leat_client_open(&client, url, &options), 0, "%s", leat_client_error(NULL));
    struct leat_topic_settings settings = {
        .size = sizeof settings, .ring_bytes = 1 << 20, .record_bytes_max = 4096, .partitions = 1
    };
    cr_assert_eq(leat_topic_create(client, "t", &settings), 0, "%s", leat_client_error(client));
    leat_producer *producer;
    cr_assert_eq(leat_producer_open(client, &producer, "t", NULL), LEAT_ERR_UNSUPPORTED);
    cr_assert_neq(strstr(leat_client_error(client), "control_only"), NULL);
    const char *topic = "t";
    leat_consumer *consumer;
    cr_assert_eq(leat_consumer_open(client, &consumer, &topic, 1, NULL), LEAT_ERR_UNSUPPORTED);
    cr_assert_neq(strstr(leat_client_error(client), "control_only"), NULL);
    cr_assert_eq(leat_topic_delete(client, "t"), 0, "%s", leat_client_error(client));
    leat_client_close(client);
    cr_assert_not(is_loaded("libleat-dpdk"));
}

Test(control_only, over_tcp)
{
    check(broker.url);
}

Test(control_only, of_a_url_of_packets)
{
    check(bus_url("udp", broker.url));
}

Test(control_only, of_a_url_with_a_port)
{
    char url[256];
    snprintf(url, sizeof url, "%s?device=net_nonsense0&ip=10.9.9.2/24",
             bus_url("dpdk", broker.url));
    check(url);
}

/* Goal: whoever a quota of the broker holds is told so, once: the producer, the consumer, and in
 * the broker's log the operator; four of one name get together what one gets; and nothing is lost
 * by it. Method: the real library against a real leatd with small quotas. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "client/leat.h"
#include "tests/support/leatd.h"

enum { VALUE = 1000, RECORDS = 600, PUBLISHERS = 4 };
#define SECOND UINT64_C(1000000000)

static struct leatd broker;

/* What one client was told. */
struct told {
    unsigned throttled;
    struct leat_event event;
    char topic[16];
};

static void note(void *user, const struct leat_event *event)
{
    struct told *told = user;
    if (event->type != LEAT_EVENT_THROTTLED)
        return;
    told->throttled++;
    told->event = *event;
    snprintf(told->topic, sizeof told->topic, "%s", event->topic);
}

static void set_up(void)
{
    leatd_start_config(
        &broker, "{\"port\": 0, \"data_port\": 0, \"hugepages\": \"off\", \"log_memory_bytes\": "
                 "\"32MiB\", \"quotas\": [{\"client\": \"slow\", \"publish_bytes\": 200000}, "
                 "{\"client\": \"reader\", \"deliver_bytes\": 200000}], "
                 "\"topics\": [{\"name\": \"t\", \"ring_bytes\": \"8MiB\"}]}");
}

static void tear_down(void)
{
    leatd_end(&broker);
}

TestSuite(client_throttled, .init = set_up, .fini = tear_down, .timeout = 120);

static leat_client *open_client(const char *name, struct told *told)
{
    leat_client *client;
    const struct leat_client_options options = {
        .size = sizeof options, .client_name = name, .on_event = note, .user = told
    };
    cr_assert_eq(leat_client_open(&client, broker.url, &options), LEAT_OK, "%s",
                 leat_client_error(NULL));
    return client;
}

static leat_producer *open_producer(leat_client *client)
{
    leat_producer *producer;
    const struct leat_producer_options options = { .size = sizeof options };
    cr_assert_eq(leat_producer_open(client, &producer, "t", &options), LEAT_OK, "%s",
                 leat_client_error(client));
    return producer;
}

static void publish(leat_client *client, leat_producer *producer, unsigned records)
{
    static const char value[VALUE];
    const struct leat_record record = { .value = value,
                                        .value_size = sizeof value,
                                        .partition = LEAT_ANY_PARTITION };
    for (unsigned i = 0; i < records; i++) {
        int error;
        while ((error = leat_producer_send(producer, &record)) == LEAT_BUSY)
            leat_client_poll(client, SECOND);
        cr_assert_eq(error, LEAT_OK);
    }
}

Test(client_throttled, a_producer_is_told_once_and_the_log_says_who)
{
    struct told told = { 0 };
    leat_client *client = open_client("slow", &told);
    leat_producer *producer = open_producer(client);
    publish(client, producer, RECORDS);
    cr_assert_eq(leat_producer_flush(producer, 60 * SECOND), LEAT_OK);
    cr_assert_eq(told.throttled, 1u);
    cr_assert_eq(told.event.error, LEAT_ERR_THROTTLED);
    cr_assert_eq(told.event.producer, producer);
    cr_assert_null(told.event.consumer);
    cr_assert_str_eq(told.topic, "t");
    cr_assert(leatd_log_says(&broker, "\"event\":\"quota.holds\""));
    cr_assert(leatd_log_has(&broker, "\"client\":\"slow\""));
    leat_client_close(client);
}

Test(client_throttled, a_consumer_is_told_once)
{
    struct told told = { 0 }, other = { 0 };
    leat_client *fast = open_client("fast", &other), *client = open_client("reader", &told);
    leat_producer *producer = open_producer(fast);
    leat_consumer *consumer;
    const char *const topics[] = { "t" };
    const struct leat_consumer_options options = { .size = sizeof options,
                                                   .start_at = LEAT_START_EARLIEST };
    publish(fast, producer, RECORDS);
    cr_assert_eq(leat_producer_flush(producer, 60 * SECOND), LEAT_OK);
    cr_assert_eq(other.throttled, 0u);
    cr_assert_eq(leat_consumer_open(client, &consumer, topics, 1, &options), LEAT_OK);
    for (int got = 0; got < RECORDS;) {
        struct leat_record records[64];
        const int n = leat_consumer_poll(consumer, records, 64);
        cr_assert_geq(n, 0);
        got += n;
        if (n == 0)
            leat_client_poll(client, SECOND);
    }
    cr_assert_eq(told.throttled, 1u);
    cr_assert_eq(told.event.consumer, consumer);
    cr_assert_null(told.event.producer);
    leat_client_close(client);
    leat_client_close(fast);
}

Test(client_throttled, those_of_one_name_wait_for_one_another)
{
    /* Each sends less than what one may at once; together they send more. */
    struct told told[PUBLISHERS];
    leat_client *clients[PUBLISHERS];
    leat_producer *producers[PUBLISHERS];
    unsigned held = 0;
    memset(told, 0, sizeof told);
    for (int i = 0; i < PUBLISHERS; i++) {
        clients[i] = open_client("slow", &told[i]);
        producers[i] = open_producer(clients[i]);
        publish(clients[i], producers[i], 60);
        leat_client_poll(clients[i], 0);
    }
    for (int i = 0; i < PUBLISHERS; i++) {
        cr_assert_eq(leat_producer_flush(producers[i], 60 * SECOND), LEAT_OK);
        held += told[i].throttled;
    }
    cr_assert_gt(held, 0u);
    for (int i = 0; i < PUBLISHERS; i++)
        leat_client_close(clients[i]);
}

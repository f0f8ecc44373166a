/* Goal: a data connection that dies alone, without a word to the one side or to either, is noticed
 * by both within some keepalives; readers, group members and producers then go on where they were,
 * nothing lost and nothing doubled; and a client that is merely quiet keeps its connection. Method:
 * the public header against a real leatd; a proxy in a thread forgets data connections while
 * control goes on. A client that is not polled stands for an application that was stopped. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/leat.h"
#include "schema/control.h"
#include "tests/support/bus.h"
#include "tests/support/leatd.h"
#include "tests/support/proxy.h"
#include "tests/support/wire.h"

#define CONFIG "{\"port\": 0, \"data_port\": 0, \"hugepages\": \"off\", \"keepalive_ms\": 300}"

static struct leatd broker;
static struct proxy proxy;
static leat_client *direct;  /* to the broker itself */
static leat_client *through; /* the proxy */

static void set_up(void)
{
    leatd_start_config(&broker, CONFIG);
    direct = bus_open(broker.url);
    bus_create(direct, "t", (struct leat_topic_settings){ 0 });
    proxy_start(&proxy, &broker, 1);
    through = bus_open(proxy.url);
}

static void tear_down(void)
{
    leat_client_close(through);
    leat_client_close(direct);
    proxy_end(&proxy);
    leatd_end(&broker);
}

TestSuite(dead_paths, .timeout = 60);

static void turn(void)
{
    cr_assert_geq(leat_client_poll(direct, 0), 0);
    cr_assert_geq(leat_client_poll(through, SECOND / 100), 0);
}

/* On a busy machine one may have ended by itself just before: then the next is forgotten. An old
 * one may not have ended yet. */
static void forget(unsigned faults)
{
    while (proxy_forget(&proxy, faults) == 0)
        turn();
}

/* The next record through the proxy; both clients live on meanwhile. */
static struct leat_record next_record(leat_consumer *consumer)
{
    struct leat_record record;
    int n = 0;
    for (int turns = 0; turns < 10 * PATIENCE_TURNS && n == 0; turns++) {
        turn();
        n = leat_consumer_poll(consumer, &record, 1);
        cr_assert_geq(n, 0, "%s", leat_strerror(n));
    }
    cr_assert_eq(n, 1, "no record came");
    return record;
}

static void wait_for_loss(unsigned losses)
{
    for (int turns = 0; bus_count_events(LEAT_EVENT_DISCONNECTED) < losses; turns++) {
        cr_assert_lt(turns, 10 * PATIENCE_TURNS, "nobody noticed");
        turn();
    }
}

/* Each record published directly comes once, in order, over connections that die in between. */
static void reader_survives(unsigned faults, leat_consumer *consumer)
{
    leat_producer *producer = bus_producer(direct, "t");
    enum { ROUNDS = 3 };
    for (unsigned i = 0; i < ROUNDS; i++) {
        bus_publish(producer, 2 * i);
        struct leat_record record = next_record(consumer);
        cr_assert_eq(bus_value(&record), 2 * i);
        cr_assert_eq(record.offset, 2 * i);
        forget(faults);
        bus_publish(producer, 2 * i + 1);
        record = next_record(consumer);
        cr_assert_eq(record.offset, 2 * i + 1);
        wait_for_loss(i + 1);
    }
    cr_assert_eq(bus_count_events(LEAT_EVENT_GAP), 0u);
}

static void plain_reader_survives(unsigned faults)
{
    set_up();
    reader_survives(faults, bus_consumer(through, "t", LEAT_START_EARLIEST, 0));
    tear_down();
}

Test(dead_paths, a_reader_whose_connection_is_forgotten_goes_on)
{
    plain_reader_survives(PROXY_MUTE_CLIENT | PROXY_MUTE_BROKER);
}

Test(dead_paths, a_reader_that_is_not_heard_any_more_goes_on)
{
    plain_reader_survives(PROXY_MUTE_CLIENT);
}

Test(dead_paths, a_reader_that_hears_nothing_any_more_goes_on)
{
    plain_reader_survives(PROXY_MUTE_BROKER);
}

/* The client is told over control: that does not take a keepalive. */
Test(dead_paths, a_reader_whose_connection_was_reset_at_the_broker_goes_on)
{
    plain_reader_survives(PROXY_RESET_BROKER);
    const struct leat_event *lost = bus_find_event(LEAT_EVENT_DISCONNECTED);
    cr_assert_eq(lost->error, LEAT_ERR_CLOSED);
}

Test(dead_paths, a_member_of_a_group_whose_connection_is_forgotten_goes_on)
{
    set_up();
    leat_consumer *consumer;
    const char *topic = "t";
    const struct leat_consumer_options options = { .size = sizeof options,
                                                   .group = "g",
                                                   .start_at = LEAT_START_EARLIEST };
    cr_assert_eq(leat_consumer_open(through, &consumer, &topic, 1, &options), 0);
    reader_survives(PROXY_MUTE_CLIENT | PROXY_MUTE_BROKER, consumer);
    tear_down();
}

static void producer_survives(unsigned faults)
{
    set_up();
    leat_producer *producer = bus_producer(through, "t");
    leat_consumer *consumer = bus_consumer(direct, "t", LEAT_START_EARLIEST, 0);
    enum { ROUNDS = 3 };
    for (uint64_t i = 0; i < ROUNDS; i++) {
        cr_assert_eq(bus_publish(producer, i), i);
        forget(faults);
        leat_client_poll(direct, 0);
    }
    cr_assert_eq(bus_publish(producer, ROUNDS), (uint64_t)ROUNDS, "doubled");
    for (uint64_t i = 0; i <= ROUNDS; i++) {
        struct leat_record record;
        bus_consume(direct, consumer, &record);
        cr_assert_eq(bus_value(&record), i);
    }
    cr_assert_geq(bus_count_events(LEAT_EVENT_DISCONNECTED), (unsigned)ROUNDS);
    tear_down();
}

Test(dead_paths, a_producer_whose_connection_is_forgotten_goes_on)
{
    producer_survives(PROXY_MUTE_CLIENT | PROXY_MUTE_BROKER);
}

/* What it sent was appended, and only the answer did not come. */
Test(dead_paths, a_producer_that_hears_nothing_any_more_doubles_nothing)
{
    producer_survives(PROXY_MUTE_BROKER);
}

/* ---- over both ways */

static void wait_for_log(leat_client *alive, const char *text)
{
    while (!leatd_log_has(&broker, text))
        cr_assert_geq(leat_client_poll(alive, SECOND / 100), 0);
}

/* It is silent on control and on data until the broker has given it up. */
BUS_TEST(dead_paths_live, an_application_that_was_stopped_resumes_exactly)
{
    leatd_start_config(&broker, CONFIG);
    direct = bus_open(broker.url);
    bus_create(direct, "t", (struct leat_topic_settings){ 0 });
    leat_client *stopped = bus_open(bus_url(way, broker.url));
    leat_producer *producer = bus_producer(stopped, "t"), *other = bus_producer(direct, "t");
    leat_consumer *consumer = bus_consumer(stopped, "t", LEAT_START_EARLIEST, 0);
    struct leat_record record;
    enum { ROUNDS = 10 };
    for (uint64_t i = 0; i < ROUNDS; i++)
        bus_publish(producer, i);
    bus_consume(stopped, consumer, &record);
    const uint64_t unanswered = ROUNDS;
    const struct leat_record last = { .value = &unanswered, .value_size = sizeof unanswered };
    cr_assert_eq(leat_producer_send(producer, &last), 0);
    wait_for_log(direct, "control.keepalive_expired");
    bus_publish(other, ROUNDS + 1);
    for (uint64_t i = 1; i < ROUNDS + 2; i++) {
        bus_consume(stopped, consumer, &record);
        cr_assert_eq(record.offset, i);
        /* What was not sent when it was stopped comes behind what the other one published. */
        const uint64_t swapped = i == ROUNDS ? ROUNDS + 1 : i == ROUNDS + 1 ? ROUNDS : i;
        cr_assert(bus_value(&record) == i || bus_value(&record) == swapped);
        leat_client_poll(direct, 0);
    }
    cr_assert_eq(leat_producer_flush(producer, PATIENCE), 0);
    cr_assert_eq(bus_publish(other, 0), (uint64_t)ROUNDS + 2, "as many as were published");
    cr_assert_eq(bus_count_events(LEAT_EVENT_GAP), 0u);
    leat_client_close(stopped);
    leat_client_close(direct);
    leatd_end(&broker);
}

/* One that says nothing dies beside it, twice: so long it lived. */
BUS_TEST(dead_paths_live, a_client_with_nothing_to_say_keeps_its_connection)
{
    leatd_start_config(&broker, CONFIG);
    leat_client *quiet = bus_open(bus_url(way, broker.url));
    bus_create(quiet, "t", (struct leat_topic_settings){ 0 });
    leat_producer *producer = bus_producer(quiet, "t");
    bus_publish(producer, 1);
    leat_producer_close(producer); /* a session without a stream is left */
    leat_consumer *consumer = bus_consumer(quiet, "t", LEAT_START_LATEST, 0);
    for (int i = 0; i < 2; i++) {
        char more[64];
        const int control = wire_control(broker.control);
        const struct wire_grant grant = wire_open_session(control, 0);
        int16_t status;
        const int data = wire_attach(broker.data[0], &grant, &status);
        struct wire_reader reader;
        wire_reader_init(&reader, data);
        while (recv(control, more, sizeof more, MSG_DONTWAIT) != 0)
            leat_client_poll(quiet, SECOND / 100);
        close(data);
        close(control);
    }
    cr_assert_eq(bus_count_events(LEAT_EVENT_DISCONNECTED), 0u);
    leat_consumer_close(consumer);
    leat_client_close(quiet);
    leatd_end(&broker);
}

/* ---- what the broker says over control */

static void expect_notice(Leat__Control__Response *notice, uint32_t session, int error)
{
    cr_assert_neq(notice, NULL, "control was closed");
    cr_assert_eq(notice->id, 0u);
    cr_assert_eq(notice->body_case, LEAT__CONTROL__RESPONSE__BODY_SESSION_ENDED);
    cr_assert_eq(notice->session_ended->session, session);
    cr_assert_eq(notice->session_ended->error, error);
    cr_assert_neq(notice->session_ended->text[0], '\0');
    leat__control__response__free_unpacked(notice, NULL);
}

/* Pings until something else than an answer comes. */
static Leat__Control__Response *ping_until_notice(int control)
{
    Leat__Control__Ping body = LEAT__CONTROL__PING__INIT;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    uint8_t bytes[64];
    size_t size;
    request.id = 7;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_PING;
    request.ping = &body;
    cr_assert_eq(leat_control_pack_request(bytes, sizeof bytes, &size, &request), LEAT_OK);
    for (;;) {
        cr_assert(wire_send(control, bytes, size));
        Leat__Control__Response *response = wire_response(control);
        if (response == NULL || response->id == 0)
            return response;
        leat__control__response__free_unpacked(response, NULL);
    }
}

Test(dead_paths, the_owner_of_a_session_that_ended_is_told_over_control)
{
    leatd_start_config(&broker, CONFIG);
    const int control = wire_control(broker.control);
    struct wire_grant grant = wire_open_session(control, 0);
    int16_t status;
    close(wire_attach(broker.data[0], &grant, &status));
    expect_notice(wire_response(control), grant.session, LEAT_ERR_CLOSED);
    grant = wire_open_session(control, 0);
    const int silent = wire_attach(broker.data[0], &grant, &status);
    expect_notice(ping_until_notice(control), grant.session, LEAT_ERR_TIMEOUT);
    cr_assert(wire_wait_closed(silent));
    cr_assert(leatd_log_says(&broker, "shard.session_silent"));
    close(silent);
    close(control);
    leatd_end(&broker);
}

/* Goal: whatever error a broker refuses an opening with after a reconnect, producers, plain readers
 * and groups' members end in records, in an event or in an error; what is refused for now is asked
 * for again with pauses and disturbs nobody else's connection, and nobody reconnects in a loop.
 * Method: a real leatd behind a control port that refuses requests of one kind; every error of the
 * list, for every kind of request, is walked. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "schema/error.h"
#include "tests/support/bus.h"
#include "tests/support/refuser.h"

#define DESCRIBE LEAT__CONTROL__REQUEST__BODY_DESCRIBE_TOPIC
#define OPEN_PRODUCER LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER
#define SUBSCRIBE LEAT__CONTROL__REQUEST__BODY_OPEN_SUBSCRIPTION
#define JOIN LEAT__CONTROL__REQUEST__BODY_JOIN_GROUP
#define HEARTBEAT LEAT__CONTROL__REQUEST__BODY_GROUP_HEARTBEAT

enum { TURNS = 4000 /* of a millisecond at most */, CIRCUIT_FAILURES = 4, LOOP = 20 };

static struct leatd broker;
static struct refuser refuser;
static char url[96];

struct user {
    leat_client *client;
    leat_producer *producer;
    leat_consumer *consumer;
    unsigned events[LEAT_EVENT_REFUSED + 1];
    struct leat_event refused; /* the last */
    unsigned records;
};

static void set_up(void)
{
    leat_client *client;
    leatd_start_config(&broker, "{\"port\": 0, \"data_port\": 0, \"hugepages\": \"off\"}");
    refuser_start(&refuser, &broker);
    snprintf(url, sizeof url, "tcp://%s", refuser.control);
    client = bus_open(broker.url);
    bus_create(client, "t", (struct leat_topic_settings){ .partitions = 2 });
    leat_client_close(client);
}

static void tear_down(void)
{
    refuser_end(&refuser);
    leatd_end(&broker);
}

TestSuite(client_refusals, .init = set_up, .fini = tear_down, .timeout = 240);

static void on_event(void *user, const struct leat_event *event)
{
    struct user *u = user;
    u->events[event->type]++;
    if (event->type == LEAT_EVENT_REFUSED)
        u->refused = *event;
}

static void open_client(struct user *u)
{
    *u = (struct user){ .records = 0 };
    refuser.left = 0;
    const struct leat_client_options options = { .size = sizeof options,
                                                 .on_event = on_event,
                                                 .user = u,
                                                 .backoff_min_ns = SECOND / 1000,
                                                 .backoff_max_ns = SECOND / 200,
                                                 .circuit_failures = CIRCUIT_FAILURES,
                                                 .circuit_open_ns = SECOND / 100 };
    cr_assert_eq(leat_client_open(&u->client, url, &options), 0, "%s", leat_client_error(NULL));
}

static void open_producer(struct user *u)
{
    open_client(u);
    cr_assert_eq(leat_producer_open(u->client, &u->producer, "t", NULL), 0, "%s",
                 leat_client_error(u->client));
}

static void open_consumer(struct user *u, const char *group)
{
    static const char *const topics[] = { "t" };
    const struct leat_consumer_options options = { .size = sizeof options,
                                                   .group = group,
                                                   .session_timeout_ns = group != NULL ? SECOND : 0,
                                                   .start_at = LEAT_START_EARLIEST };
    open_client(u);
    cr_assert_eq(leat_consumer_open(u->client, &u->consumer, topics, 1, &options), 0, "%s",
                 leat_client_error(u->client));
}

static void open_reader(struct user *u)
{
    open_consumer(u, NULL);
}

static void open_member(struct user *u)
{
    static unsigned groups; /* one that was cut off may be a member for a while yet */
    char group[16];
    snprintf(group, sizeof group, "g%u", ++groups);
    open_consumer(u, group);
}

/* What the application hears: records count, an error is returned. */
static int turn(struct user *u)
{
    struct leat_record records[16];
    int n = 0;
    cr_assert_geq(leat_client_poll(u->client, SECOND / 1000), 0);
    if (u->consumer != NULL)
        n = leat_consumer_poll(u->consumer, records, 16);
    u->records += n > 0 ? (unsigned)n : 0;
    if (u->producer != NULL && u->events[LEAT_EVENT_DISCONNECTED] > 0) {
        const struct leat_record record = { .value = "v", .value_size = 1, .partition = 0 };
        n = leat_producer_send(u->producer, &record);
        n = n == LEAT_BUSY || n == LEAT_AGAIN ? 0 : n; /* no room, while nothing goes */
    }
    return n < 0 ? n : 0;
}

/* Any but that the connection came and went. */
static unsigned news(const struct user *u)
{
    unsigned sum = 0;
    for (int type = 0; type <= LEAT_EVENT_REFUSED; type++)
        if (type != LEAT_EVENT_CONNECTED && type != LEAT_EVENT_DISCONNECTED
            && type != LEAT_EVENT_ASSIGNED)
            sum += u->events[type];
    return sum;
}

/* Of errors that say that the connection's state is gone, the circuit tells. */
static void walk(void (*open)(struct user *u), Leat__Control__Request__BodyCase kind)
{
    for (int error = LEAT_AGAIN; error >= LEAT_ERR_GROUP_NOT_EMPTY; error--) {
        struct user u;
        int said = 0;
        open(&u);
        const unsigned accepted = refuser.accepted;
        refuser_set(&refuser, kind, error, REFUSER_FOR_EVER);
        for (int i = 0; i < TURNS && said == 0 && news(&u) == 0; i++)
            said = turn(&u);
        cr_assert(said != 0 || news(&u) > 0, "request %d refused with %d: nothing was said", kind,
                  error);
        cr_assert_leq(refuser.accepted - accepted, (unsigned)CIRCUIT_FAILURES + 1,
                      "request %d refused with %d: it reconnects", kind, error);
        cr_assert_lt(refuser.refused, 1000u, "request %d refused with %d: without a pause", kind,
                     error);
        refuser.left = 0;
        leat_client_close(u.client);
    }
}

Test(client_refusals, a_producer_whose_topic_is_not_described)
{
    walk(open_producer, DESCRIBE);
}

Test(client_refusals, a_producer_that_is_not_opened)
{
    walk(open_producer, OPEN_PRODUCER);
}

Test(client_refusals, a_reader_whose_topic_is_not_described)
{
    walk(open_reader, DESCRIBE);
}

Test(client_refusals, a_reader_that_is_not_subscribed)
{
    walk(open_reader, SUBSCRIBE);
}

Test(client_refusals, a_member_whose_topic_is_not_described)
{
    walk(open_member, DESCRIBE);
}

Test(client_refusals, a_member_that_is_not_subscribed)
{
    walk(open_member, SUBSCRIBE);
}

/* It has joined again only after it was lost: its broker restarted. */
Test(client_refusals, a_member_that_is_not_taken_back)
{
    for (int error = LEAT_AGAIN; error >= LEAT_ERR_GROUP_NOT_EMPTY; error--) {
        struct user u;
        int said = 0;
        open_member(&u);
        leatd_kill(&broker);
        leatd_restart(&broker);
        leat_client *client = bus_open(broker.url);
        bus_create(client, "t", (struct leat_topic_settings){ .partitions = 2 });
        leat_client_close(client);
        refuser_set(&refuser, JOIN, error, REFUSER_FOR_EVER);
        for (int i = 0; i < TURNS && said == 0 && u.events[LEAT_EVENT_REFUSED] == 0; i++)
            said = turn(&u);
        cr_assert(said != 0 || u.events[LEAT_EVENT_REFUSED] > 0, "join refused with %d", error);
        refuser.left = 0;
        leat_client_close(u.client);
    }
}

Test(client_refusals, a_member_whose_heartbeats_are_refused)
{
    walk(open_member, HEARTBEAT);
}

static void publish(void)
{
    leat_client *client = bus_open(broker.url);
    leat_producer *producer = bus_producer(client, "t");
    for (uint64_t i = 0; i < 8; i++)
        bus_publish(producer, i);
    leat_client_close(client);
}

/* Refused a few times, and then not: told once, without another connection, and it goes on. */
static void goes_on(void (*open)(struct user *u), Leat__Control__Request__BodyCase kind)
{
    static const int errors[] = { LEAT_BUSY, LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY,
                                  LEAT_ERR_THROTTLED };
    for (size_t e = 0; e < sizeof errors / sizeof errors[0]; e++) {
        struct user u;
        open(&u);
        const unsigned accepted = refuser.accepted;
        refuser_set(&refuser, kind, errors[e], 3);
        for (int i = 0; i < TURNS && (refuser.left > 0 || u.events[LEAT_EVENT_REFUSED] == 0); i++)
            cr_assert_eq(turn(&u), 0);
        cr_assert_eq(u.events[LEAT_EVENT_REFUSED], 1u);
        cr_assert_eq(u.refused.error, errors[e]);
        u.records = 0;
        publish();
        for (int i = 0; i < TURNS && u.consumer != NULL && u.records < 8; i++)
            cr_assert_eq(turn(&u), 0);
        cr_assert(u.consumer == NULL || u.records >= 8);
        if (u.producer != NULL)
            cr_assert_eq(leat_producer_flush(u.producer, PATIENCE), 0, "%s",
                         leat_client_error(u.client));
        cr_assert_eq(refuser.accepted - accepted, 1u, "the connection that was cut is made anew");
        cr_assert_eq(u.events[LEAT_EVENT_DISCONNECTED], 1u);
        cr_assert_eq(u.events[LEAT_EVENT_REFUSED], 1u);
        leat_client_close(u.client);
    }
}

Test(client_refusals, a_producer_goes_on_when_it_is_not_refused_any_more)
{
    goes_on(open_producer, DESCRIBE);
    goes_on(open_producer, OPEN_PRODUCER);
}

Test(client_refusals, a_reader_goes_on_when_it_is_not_refused_any_more)
{
    goes_on(open_reader, DESCRIBE);
    goes_on(open_reader, SUBSCRIBE);
}

Test(client_refusals, a_member_goes_on_when_it_is_not_refused_any_more)
{
    goes_on(open_member, DESCRIBE);
    goes_on(open_member, SUBSCRIBE);
}

/* A topic that its group has no room for: told once, its partitions go, and come back. */
Test(client_refusals, a_member_without_a_part_is_told_why)
{
    struct user u;
    open_member(&u);
    for (int i = 0; i < TURNS && u.events[LEAT_EVENT_ASSIGNED] < 2; i++)
        cr_assert_eq(turn(&u), 0);
    refuser.partless = true;
    for (int i = 0; i < TURNS && u.events[LEAT_EVENT_REFUSED] == 0; i++)
        cr_assert_eq(turn(&u), 0);
    cr_assert_eq(u.events[LEAT_EVENT_REFUSED], 1u);
    cr_assert_eq(u.refused.error, LEAT_ERR_LIMIT);
    for (int i = 0; i < 500; i++)
        cr_assert_eq(turn(&u), 0);
    cr_assert_eq(u.events[LEAT_EVENT_REFUSED], 1u, "not with each heartbeat");
    refuser.partless = false;
    publish();
    for (int i = 0; i < TURNS && u.records < 8; i++)
        cr_assert_eq(turn(&u), 0);
    cr_assert_eq(u.records, 8u);
    cr_assert_eq(u.events[LEAT_EVENT_DISCONNECTED], 0u);
    leat_client_close(u.client);
}

/* An error that does not go away ends the one it is about, with its name, and nobody else. */
Test(client_refusals, what_is_refused_for_good_ends_alone)
{
    struct user u;
    leat_producer *other;
    int said = 0;
    open_reader(&u);
    cr_assert_eq(leat_producer_open(u.client, &other, "t", NULL), 0);
    const unsigned accepted = refuser.accepted;
    refuser_set(&refuser, SUBSCRIBE, LEAT_ERR_UNSUPPORTED, REFUSER_FOR_EVER);
    for (int i = 0; i < TURNS && said == 0; i++)
        said = turn(&u);
    cr_assert_eq(said, LEAT_ERR_UNSUPPORTED);
    cr_assert_neq(strstr(leat_client_error(u.client), "\"t\""), NULL);
    cr_assert_eq(u.events[LEAT_EVENT_REFUSED], 1u);
    cr_assert_eq(turn(&u), LEAT_ERR_UNSUPPORTED, "and stays so");
    const struct leat_record record = { .value = "v", .value_size = 1, .partition = 0 };
    cr_assert_eq(leat_producer_send_wait(other, &record, NULL, PATIENCE), 0);
    cr_assert_eq(refuser.accepted - accepted, 1u);
    leat_client_close(u.client);
}

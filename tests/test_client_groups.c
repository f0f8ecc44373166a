/* Goal: consumers of a group get what leat.h promises, against a real leatd.
 * Method: members are clients of one process, driven in turn, through the public header alone; a
 * member that is stopped is a process of its own. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/leat.h"
#include "tests/support/bus.h"
#include "tests/support/leatd.h"

enum { PARTITIONS = 4, MEMBERS = 3 };

struct member {
    leat_client *client;
    leat_consumer *consumer;
    unsigned records;
    uint64_t next[PARTITIONS]; /* the highest offset handed out, + 1 */
    unsigned events[LEAT_EVENT_COMMIT_REFUSED + 1];
    struct leat_event last; /* of a partition that came or went, or of the member */
};

static void on_event(void *user, const struct leat_event *event)
{
    struct member *m = user;
    m->events[event->type]++;
    if (event->type >= LEAT_EVENT_ASSIGNED)
        m->last = *event;
}

static struct leat_consumer_options in_group(const char *member)
{
    return (struct leat_consumer_options){ .size = sizeof(struct leat_consumer_options),
                                           .group = "g",
                                           .member = member,
                                           .start_at = LEAT_START_EARLIEST,
                                           .session_timeout_ns = 2 * SECOND };
}

static void join_as(struct member *m, const char *url, struct leat_consumer_options options)
{
    const char *topic = "t";
    *m = (struct member){ .client = NULL };
    const struct leat_client_options client = { .size = sizeof client,
                                                .on_event = on_event,
                                                .user = m,
                                                .backoff_max_ns = SECOND / 10,
                                                .circuit_failures = 100000 };
    cr_assert_eq(leat_client_open(&m->client, url, &client), 0, "%s", leat_client_error(NULL));
    cr_assert_eq(leat_consumer_open(m->client, &m->consumer, &topic, 1, &options), 0, "%s",
                 leat_client_error(m->client));
}

static void leave(struct member *m)
{
    leat_client_close(m->client);
    m->client = NULL;
}

/* What is there, and a little waiting when nothing is. */
static void turn(struct member *m)
{
    struct leat_record records[16];
    const int n = leat_consumer_poll(m->consumer, records, 16);
    for (int i = 0; i < n; i++) {
        m->records++;
        if (records[i].offset >= m->next[records[i].partition])
            m->next[records[i].partition] = records[i].offset + 1;
    }
    cr_assert_geq(leat_client_poll(m->client, n > 0 ? 0 : SECOND / 500), 0);
}

static void count(void *user, const char *topic, uint32_t partition)
{
    unsigned *bits = user;
    cr_assert_str_eq(topic, "t");
    *bits |= 1U << partition;
}

static unsigned assigned(const struct member *m)
{
    unsigned bits = 0;
    cr_assert_eq(leat_consumer_assignment(m->consumer, count, &bits), 0);
    return bits;
}

/* Turns of all `members`, until `done`. */
#define UNTIL(members, n, done)                                                  \
    do {                                                                         \
        const uint64_t until_turns = 20000;                                      \
        for (uint64_t t = 0; !(done); t++) {                                     \
            cr_assert_lt(t, until_turns, "it did not come to this: %s", #done);  \
            for (unsigned m_ = 0; m_ < (n); m_++)                                \
                turn(&(members)[m_]);                                            \
        }                                                                        \
    } while (0)

struct bench {
    struct leatd broker;
    leat_client *client;
    leat_producer *producer;
    char url[128];
    uint64_t published;
};

static void set_up(struct bench *b, const char *way)
{
    *b = (struct bench){ .published = 0 };
    leatd_start(&b->broker);
    snprintf(b->url, sizeof b->url, "%s", bus_url(way, b->broker.url));
    b->client = bus_open(b->url);
    bus_create(b->client, "t", (struct leat_topic_settings){ .partitions = PARTITIONS });
    b->producer = bus_producer(b->client, "t");
}

static void tear_down(struct bench *b)
{
    leat_client_close(b->client);
    leatd_end(&b->broker);
}

/* So many to each partition. */
static void publish(struct bench *b, unsigned each)
{
    for (unsigned i = 0; i < each; i++) {
        for (int32_t p = 0; p < PARTITIONS; p++) {
            const struct leat_record record = { .value = "v", .value_size = 1, .partition = p };
            cr_assert_eq(leat_producer_send_wait(b->producer, &record, NULL, PATIENCE), 0, "%s",
                         leat_client_error(b->client));
            b->published++;
        }
    }
}

static uint64_t committed(const struct member *m, uint32_t partition)
{
    uint64_t offset = 0;
    cr_assert_eq(leat_consumer_committed(m->consumer, "t", partition, &offset), 0, "%s",
                 leat_client_error(m->client));
    return offset;
}

BUS_TEST(groups, one_member_has_all_and_another_run_goes_on_where_it_committed)
{
    struct bench b;
    struct member m;
    set_up(&b, way);
    publish(&b, 5);
    join_as(&m, b.url, in_group(NULL));
    UNTIL(&m, 1, m.records == 5 * PARTITIONS);
    cr_assert_eq(m.events[LEAT_EVENT_ASSIGNED], (unsigned)PARTITIONS);
    cr_assert_eq(assigned(&m), (1U << PARTITIONS) - 1);
    turn(&m); /* the last ones are processed */
    cr_assert_eq(leat_consumer_commit_wait(m.consumer, PATIENCE), 0, "%s",
                 leat_client_error(m.client));
    for (uint32_t p = 0; p < PARTITIONS; p++)
        cr_assert_eq(committed(&m, p), 5u);
    leave(&m);
    publish(&b, 2);
    join_as(&m, b.url, in_group(NULL));
    UNTIL(&m, 1, m.records == 2 * PARTITIONS);
    for (int i = 0; i < 20; i++)
        turn(&m);
    cr_assert_eq(m.records, 2U * PARTITIONS, "nothing that was committed came again");
    leave(&m);
    tear_down(&b);
}

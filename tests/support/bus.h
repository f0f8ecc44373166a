/* The library under test: a client that keeps what it is told, and the usual calls with their
 * answers checked.
 *
 * Role: what tests against a real leatd have in common; a refusal fails the test with the library's
 * own words.
 * Must not know: what is tested.
 * Threads: one; each Criterion test is a process of its own. */
#ifndef LEAT_TESTS_SUPPORT_BUS_H
#define LEAT_TESTS_SUPPORT_BUS_H

#include <stdint.h>

#include "client/leat.h"

#define SECOND UINT64_C(1000000000)
#define PATIENCE (20 * SECOND)

enum { BUS_EVENTS_MAX = 256, PATIENCE_TURNS = 200 /* of a tenth of a second */ };

/* A test that runs once for each way data can go: `way` is "tcp" or "udp", for bus_url. */
#define BUS_TEST(suite, name)                   \
    static void name(const char *way);          \
    Test(suite, name##_over_tcp, .timeout = 60) \
    {                                           \
        name("tcp");                            \
    }                                           \
    Test(suite, name##_over_udp, .timeout = 60) \
    {                                           \
        name("udp");                            \
    }                                           \
    static void name(const char *way)

/* Every event of every client opened here, the first BUS_EVENTS_MAX. */
extern struct bus_seen {
    unsigned count;
    struct leat_event events[BUS_EVENTS_MAX];
} bus_seen;

/* `user` is not used. */
void bus_on_event(void *user, const struct leat_event *event);
unsigned bus_count_events(int type);
/* The first of this type, or NULL. */
const struct leat_event *bus_find_event(int type);

/* The same hosts, another scheme. Valid until the next call. */
const char *bus_url(const char *way, const char *url);
/* Reconnects fast and never opens its circuit. */
leat_client *bus_open(const char *url);
/* Sizes that are 0 become small: a ring of 1 MiB, records of 4 KiB. */
void bus_create(leat_client *client, const char *name, struct leat_topic_settings settings);
leat_producer *bus_producer(leat_client *client, const char *topic);
leat_consumer *bus_consumer(leat_client *client, const char *topic, int32_t at, uint64_t start);
/* Sends `value`, waits for the answer, returns the offset. */
uint64_t bus_publish(leat_producer *producer, uint64_t value);
/* The next record; fails when none comes. */
void bus_consume(leat_client *client, leat_consumer *consumer, struct leat_record *record);
uint64_t bus_value(const struct leat_record *record);

#endif

/* Consumers of one group, in one process: a broker, a topic of a few partitions, and members that
 * are clients through leat.h alone, driven in turn. */
#include "tests/support/consumers.h"

#include <stdio.h>

void consumers_on_event(void *user, const struct leat_event *event)
{
    struct consumer_member *m = user;
    m->events[event->type]++;
    if (event->type == LEAT_EVENT_GAP)
        m->lost += event->next_offset - event->first_offset;
    if (event->type >= LEAT_EVENT_ASSIGNED)
        m->last = *event;
}

struct leat_consumer_options consumers_in_group(const char *member)
{
    return (struct leat_consumer_options){ .size = sizeof(struct leat_consumer_options),
                                           .group = "g",
                                           .member = member,
                                           .start_at = LEAT_START_EARLIEST,
                                           .session_timeout_ns = 2 * SECOND };
}

void consumer_join(struct consumer_member *m, const char *url, struct leat_consumer_options options)
{
    const char *topic = "t";
    *m = (struct consumer_member){ .client = NULL };
    const struct leat_client_options client = { .size = sizeof client,
                                                .on_event = consumers_on_event,
                                                .user = m,
                                                .backoff_max_ns = SECOND / 10,
                                                .circuit_failures = 100000 };
    cr_assert_eq(leat_client_open(&m->client, url, &client), 0, "%s", leat_client_error(NULL));
    cr_assert_eq(leat_consumer_open(m->client, &m->consumer, &topic, 1, &options), 0, "%s",
                 leat_client_error(m->client));
}

void consumer_leave(struct consumer_member *m)
{
    leat_client_close(m->client);
    m->client = NULL;
}

void consumer_turn(struct consumer_member *m)
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

unsigned consumer_assigned(const struct consumer_member *m)
{
    unsigned bits = 0;
    cr_assert_eq(leat_consumer_assignment(m->consumer, count, &bits), 0);
    return bits;
}

void consumers_set_up(struct consumers_bus *b, const char *way)
{
    *b = (struct consumers_bus){ .published = 0 };
    leatd_start(&b->broker);
    snprintf(b->url, sizeof b->url, "%s", bus_url(way, b->broker.url));
    b->client = bus_open(b->url);
    bus_create(b->client, "t", (struct leat_topic_settings){ .partitions = PARTITIONS });
    b->producer = bus_producer(b->client, "t");
}

void consumers_tear_down(struct consumers_bus *b)
{
    leat_client_close(b->client);
    leatd_end(&b->broker);
}

void consumers_publish(struct consumers_bus *b, unsigned each)
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

uint64_t consumer_committed(const struct consumer_member *m, uint32_t partition)
{
    uint64_t offset = 0;
    cr_assert_eq(leat_consumer_committed(m->consumer, "t", partition, &offset), 0, "%s",
                 leat_client_error(m->client));
    return offset;
}

bool consumers_share(const struct consumer_member *members, unsigned count)
{
    unsigned seen = 0;
    for (unsigned i = 0; i < count; i++) {
        const unsigned mine = consumer_assigned(&members[i]);
        if (mine == 0 || (seen & mine) != 0)
            return false;
        seen |= mine;
    }
    return seen == ALL;
}

unsigned consumers_records(const struct consumer_member *members, unsigned count)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < count; i++)
        sum += members[i].records;
    return sum;
}

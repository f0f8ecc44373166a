/* Recreated topics: topics that are deleted and made again, with any number of partitions, under
 * the members of a group. */
#include "tests/sim/recreated_topics.h"

#include <string.h>

#include "schema/units.h"

enum { RECORDS = 16, JOINS_ONE_IN = 20 };
#define SESSION_NS (100 * LEAT_NS_PER_MS)

static const char *const NAMES[RECREATED_TOPICS] = { "anew-a", "anew-b" };

static int topic_of(const char *name)
{
    for (int i = 0; i < RECREATED_TOPICS; i++)
        if (name != NULL && strcmp(name, NAMES[i]) == 0)
            return i;
    return -1;
}

static void make(struct recreated_topics *recreated_topics, unsigned index, leat_client *client,
                 struct seeded *random)
{
    struct recreated_topic *topic = &recreated_topics->topics[index];
    const struct leat_topic_settings settings = {
        .size = sizeof settings,
        .partitions = 1 + seeded_below(random, RECREATED_PARTITIONS_MAX),
        .ring_bytes = 1 << 16,
        .record_bytes_max = 4096
    };
    topic->there = leat_topic_create(client, NAMES[index], &settings) == LEAT_OK;
    topic->partitions = settings.partitions;
    topic->life++;
    topic->read = 0;
    recreated_topics->makings += topic->there;
}

/* True: it is not there any more. */
static bool unmake(struct recreated_topics *recreated_topics, unsigned index, leat_client *client)
{
    const int error = leat_topic_delete(client, NAMES[index]);
    recreated_topics->topics[index].there = false;
    return error == LEAT_OK || error == LEAT_ERR_UNKNOWN_TOPIC;
}

void recreated_goes_on(struct recreated_topics *recreated_topics, leat_client *client,
                       struct seeded *random)
{
    const unsigned index = seeded_below(random, RECREATED_TOPICS);
    /* What became of it when an answer stayed away is not known, so it is deleted in any case. */
    if (recreated_topics->on && unmake(recreated_topics, index, client)
        && seeded_below(random, 3) != 0)
        make(recreated_topics, index, client, random);
}

static void join(struct recreated_member *m, leat_client *client)
{
    const struct leat_consumer_options options = { .size = sizeof options,
                                                   .start_at = LEAT_START_EARLIEST,
                                                   .window_bytes = 16384,
                                                   .group = "anew",
                                                   .session_timeout_ns = SESSION_NS };
    if (leat_consumer_open(client, &m->consumer, NAMES, RECREATED_TOPICS, &options) != LEAT_OK)
        *m = (struct recreated_member){ .consumer = NULL }; /* one is missing, or the wire is cut */
}

static void read_some(struct recreated_topics *recreated_topics, struct recreated_member *m,
                      struct seeded *random)
{
    struct leat_record records[RECORDS];
    const int n = leat_consumer_poll(m->consumer, records, 1 + seeded_below(random, RECORDS));
    if (n < 0)
        recreated_topics->broken(recreated_topics->user,
                                 "a member's topics were made anew, and it ended: error",
                                 (uint64_t)-n, 0);
    for (int i = 0; i < n; i++) {
        const int index = topic_of(records[i].topic);
        struct recreated_topic *topic = &recreated_topics->topics[index];
        const uint32_t bit = UINT32_C(1) << records[i].partition;
        uint64_t life;
        if ((m->held[index] & bit) == 0)
            recreated_topics->broken(recreated_topics->user,
                                     "handed out, and not assigned or gone: topic, partition",
                                     (uint64_t)index, (uint64_t)records[i].partition);
        memcpy(&life, records[i].value, sizeof life);
        if (life == topic->life)
            topic->read |= bit;
    }
}

/* The first of all members makes the topics, too. */
static void begin(struct recreated_topics *recreated_topics, struct recreated_member *m,
                  leat_client *client, struct seeded *random)
{
    bool there = true;
    for (unsigned i = 0; i < RECREATED_TOPICS; i++) {
        if (recreated_topics->topics[i].life == 0)
            make(recreated_topics, i, client, random);
        there = there && recreated_topics->topics[i].there;
    }
    if (there)
        join(m, client);
}

void recreated_step(struct recreated_topics *recreated_topics, unsigned index, leat_client *client,
                    struct seeded *random)
{
    struct recreated_member *m = &recreated_topics->members[index];
    if (!recreated_topics->on)
        return;
    if (m->consumer != NULL)
        read_some(recreated_topics, m, random);
    else if (seeded_below(random, JOINS_ONE_IN) == 0)
        begin(recreated_topics, m, client, random);
}

bool recreated_event(struct recreated_topics *recreated_topics, unsigned index,
                     const struct leat_event *event)
{
    struct recreated_member *m = &recreated_topics->members[index];
    const int topic = topic_of(event->topic);
    if (topic < 0 && (event->consumer == NULL || event->consumer != m->consumer))
        return false;
    if (event->consumer == NULL)
        return true; /* a producer's */
    const uint32_t bit = event->partition >= 0 ? UINT32_C(1) << event->partition : 0;
    switch (event->type) {
    case LEAT_EVENT_ASSIGNED: m->held[topic] |= bit; break;
    case LEAT_EVENT_REVOKED:
    case LEAT_EVENT_TOPIC_DELETED:
        if ((m->held[topic] & bit) == 0)
            recreated_topics->broken(recreated_topics->user,
                                     "it went, and was not assigned: topic, partition",
                                     (uint64_t)topic, (uint64_t)event->partition);
        m->held[topic] &= ~bit;
        break;
    case LEAT_EVENT_TOPIC_MISSING:
        if (m->held[topic] != 0)
            recreated_topics->broken(recreated_topics->user,
                                     "it is missing, and partitions of it are held: topic, which",
                                     (uint64_t)topic, m->held[topic]);
        recreated_topics->missing++;
        break;
    case LEAT_EVENT_MEMBER_LOST: memset(m->held, 0, sizeof m->held); break;
    case LEAT_EVENT_MEMBER_FENCED:
        recreated_topics->broken(recreated_topics->user, "a member was fenced: client", index, 0);
        break;
    default: break;
    }
    return true;
}

void recreated_died(struct recreated_topics *recreated_topics, unsigned index)
{
    recreated_topics->members[index] = (struct recreated_member){ .consumer = NULL };
}

/* Its last life: there, and with a record in each partition. */
static void fill(struct recreated_topics *recreated_topics, unsigned index, leat_client *client,
                 struct seeded *random)
{
    struct recreated_topic *topic = &recreated_topics->topics[index];
    const struct leat_producer_options options = { .size = sizeof options };
    if (!topic->last) {
        if (unmake(recreated_topics, index, client))
            make(recreated_topics, index, client, random);
        topic->last = topic->there;
        return;
    }
    if (topic->producer != NULL
        || leat_producer_open(client, &topic->producer, NAMES[index], &options) != LEAT_OK)
        return;
    for (uint32_t p = 0; p < topic->partitions; p++) {
        const struct leat_record record = { .value = &topic->life,
                                            .value_size = sizeof topic->life,
                                            .partition = (int32_t)p };
        if (leat_producer_send(topic->producer, &record) != LEAT_OK)
            recreated_topics->broken(recreated_topics->user,
                                     "a new producer has no room: topic, partition", index, p);
    }
}

void recreated_end(struct recreated_topics *recreated_topics, leat_client *client,
                   struct seeded *random)
{
    for (unsigned i = 0; recreated_topics->on && i < RECREATED_TOPICS; i++)
        fill(recreated_topics, i, client, random);
}

bool recreated_settled(const struct recreated_topics *recreated_topics)
{
    for (unsigned i = 0; recreated_topics->on && i < RECREATED_TOPICS; i++) {
        const struct recreated_topic *topic = &recreated_topics->topics[i];
        if (!topic->last || topic->read != (UINT32_C(1) << topic->partitions) - 1)
            return false;
    }
    return true;
}

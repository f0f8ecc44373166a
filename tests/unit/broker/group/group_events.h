/* What is under way in a modelled world of groups: messages, each with the time it arrives.
 *
 * Role: a queue by time, then by the order of sending.
 * Must not know: what a message leads to. */
#ifndef LEAT_TESTS_UNIT_BROKER_GROUP_GROUP_EVENTS_H
#define LEAT_TESTS_UNIT_BROKER_GROUP_GROUP_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/error.h"
#include "schema/units.h"

enum { EVENTS_MAX = 4096 };

enum kind {
    EVENT_JOIN,
    EVENT_BEAT,
    EVENT_LEAVE,
    EVENT_ANSWER,
    EVENT_REFUSAL,
    EVENT_OPEN,   /* at control */
    EVENT_OPENED, /* at the shard */
    EVENT_DROP,   /* at the shard */
    EVENT_DROPPED,
    EVENT_COMMIT, /* at the shard */
    EVENT_RETRY,
    EVENT_BEGIN,
};

struct event {
    leat_ns at;
    uint64_t order;
    enum kind kind;
    unsigned client, instance, partition;
    uint32_t epoch;
    uint64_t number; /* of the request; an offset */
    uint32_t assigned;
    enum leat_error error;
    char id[32];
};

struct events {
    struct event list[EVENTS_MAX];
    unsigned count;
    uint64_t orders;
};

/* False: it is full. */
static inline bool events_put_back(struct events *q, struct event e)
{
    if (q->count == EVENTS_MAX)
        return false;
    q->list[q->count++] = e;
    return true;
}

static inline bool events_put(struct events *q, struct event e)
{
    e.order = q->orders++;
    return events_put_back(q, e);
}

/* The next; false: there is none. */
static inline bool events_take(struct events *q, struct event *out)
{
    unsigned first = 0;
    if (q->count == 0)
        return false;
    for (unsigned i = 1; i < q->count; i++) {
        const struct event *a = &q->list[i], *b = &q->list[first];
        if (a->at < b->at || (a->at == b->at && a->order < b->order))
            first = i;
    }
    *out = q->list[first];
    q->list[first] = q->list[--q->count];
    return true;
}

#endif

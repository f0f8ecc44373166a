/* Group membership of a consumer: joining, heartbeats, leaving, topics that come and go. */
#include "client/consumer_group.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "client/client_core.h"
#include "client/member_readers.h"
#include "client/member_requests.h"

/* ---- making */

static void name_member(struct consumer_group *group, struct leat_client *client,
                        const char *member)
{
    group->named = member != NULL;
    if (member != NULL) {
        snprintf(group->member_id, sizeof group->member_id, "%s", member);
        return;
    }
    /* Spread the seed: clients of one test have adjacent seeds and must not get the same name. */
    const uint64_t seed = client->options.hooks.seed * UINT64_C(0x9E3779B97F4A7C15);
    uint64_t random = seed ^ client->now ^ ++client->members_named << 48;
    if (seed == 0 && getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random ^= (uint64_t)(uintptr_t)group; /* if two are the same, the broker fences one */
    snprintf(group->member_id, sizeof group->member_id, "%.200s-%016" PRIx64,
             client->options.client_name, random);
}

static void name_topic(struct leat_consumer *consumer, size_t index)
{
    struct backoff pauses = consumer->client->backoff;
    pauses.random += index; /* spread the pauses of several topics */
    topic_wait_init(&consumer->topics[index].wait, &pauses);
    consumer->group->membership.topics[index].name = consumer->topics[index].name;
}

enum leat_error group_make(struct leat_consumer *consumer,
                           const struct leat_consumer_options *options)
{
    struct consumer_group *group = calloc(1, sizeof *group);
    if (group == NULL)
        return LEAT_ERR_NO_MEMORY;
    consumer->group = group;
    snprintf(group->name, sizeof group->name, "%s", options->group);
    name_member(group, consumer->client, options->member);
    consumer->options.group = group->name;
    consumer->options.member = group->member_id;
    topic_wait_init(&group->refused, &consumer->client->backoff);
    group->commit_at = group->wake_at = group->ask_at = LEAT_NS_NEVER;
    group->membership.topic_count = (uint32_t)consumer->topic_count;
    for (size_t i = 0; i < consumer->topic_count; i++)
        name_topic(consumer, i);
    return LEAT_OK;
}

void group_unmake(struct leat_consumer *consumer)
{
    struct consumer_group *group = consumer->group;
    member_requests_forget(consumer);
    for (uint32_t i = 0; i < group->membership.topic_count; i++)
        free(group->membership.topics[i].places);
    free(group);
    consumer->group = NULL;
}

/* Notes the current log of a partition that this member has not read, so that it notices a new log
 * once the partition is assigned to it. */
static void note_log(struct reader *reader, const Leat__Control__Topic *told)
{
    const Leat__Control__Partition *log = told->partitions[reader->partition];
    struct partition_stream *stream = &reader->stream;
    if (reader->assigned || reader->had
        || (reader->topic_id != 0
            && (reader->topic_id != told->id || stream->log_epoch != log->log_epoch)))
        return;
    partition_stream_place(stream, log->next_offset, log->log_epoch);
    reader->topic_id = told->id;
}

/* Allocates a place for each partition. False: no memory. */
static bool make_places(struct member_state_topic *known, uint32_t partitions)
{
    if (partitions > known->partitions) {
        uint8_t *places = realloc(known->places, partitions);
        if (places == NULL)
            return false;
        memset(places + known->partitions, 0, partitions - known->partitions);
        known->places = places;
    }
    known->partitions = partitions;
    return true;
}

enum leat_error group_topic_known(struct subscribed *topic, const Leat__Control__Topic *told)
{
    struct leat_consumer *consumer = topic->consumer;
    struct member_state *m = &consumer->group->membership;
    struct member_state_topic *known = group_known(topic);
    if (!make_places(known, topic->reader_count))
        return (enum leat_error)client_error(consumer->client, LEAT_ERR_NO_MEMORY,
                                             "consumer of topic \"%s\": no memory", topic->name);
    if (known->id != told->id && m->step == MEMBER_STATE_IN)
        member_state_doubt(m, consumer->client->now); /* ask which are assigned */
    known->id = told->id;
    known->stale = false;
    topic_wait_found(&topic->wait);
    for (uint32_t i = 0; i < topic->reader_count; i++) {
        note_log(topic->readers[i], told);
        if (m->confirmed)
            group_want(topic->readers[i]);
    }
    return LEAT_OK;
}

void group_topic_missing(struct subscribed *topic)
{
    struct member_state_topic *known = group_known(topic);
    known->id = 0; /* an assignment of this name means a new topic */
    known->stale = false;
}

/* If a topic loses all its partitions, describes it again to see if it still exists. A member that
 * is told TOPIC_DELETED must not also be told that another member has the partition. */
static void look_at_topic(struct subscribed *topic)
{
    bool news = false;
    if (topic->step != OWNER_READY)
        return;
    for (uint32_t i = 0; i < topic->reader_count; i++) {
        const struct reader *reader = topic->readers[i];
        if ((*group_place(reader) & PLACE_ASSIGNED) != 0)
            return;
        news = news || (reader->assigned && !reader->leaving);
    }
    if (news)
        topic->step = OWNER_DESCRIBE;
}

/* ---- what the broker says */

static void member_event(struct leat_consumer *consumer, int type, int error, const char *text)
{
    struct leat_client *client = consumer->client;
    const struct leat_event event = { .type = type,
                                      .error = error,
                                      .partition = -1,
                                      .time_ns = client->now - consumer->group->membership.answered,
                                      .text = text,
                                      .consumer = consumer };
    client_event(client, &event);
}

static void over(struct leat_consumer *consumer, int error, const char *text)
{
    group_lose_all(consumer);
    consumer->over = client_error(consumer->client, error, "%s", text);
    if (consumer->opened)
        member_event(consumer, LEAT_EVENT_MEMBER_FENCED, error, text);
}

void group_end(struct leat_consumer *consumer)
{
    if (consumer->group->membership.step == MEMBER_STATE_IN)
        member_requests_leave(consumer);
    member_state_end(&consumer->group->membership);
    group_lose_all(consumer);
}

/* One of its topics was deleted: describes all of them to find out which. */
static void look_again(struct leat_consumer *consumer)
{
    member_state_rejoin(&consumer->group->membership, consumer->client->now);
    for (size_t i = 0; i < consumer->topic_count; i++)
        if (consumer->topics[i].step != OWNER_OVER)
            consumer->topics[i].step = OWNER_DESCRIBE;
}

static void lost(struct leat_consumer *consumer, const char *text)
{
    group_lose_all(consumer);
    member_event(consumer, LEAT_EVENT_MEMBER_LOST, LEAT_ERR_UNKNOWN_MEMBER, text);
}

/* Reported only if it lasts: when many members join at once, the broker asks some to wait a
 * little. */
static void put_off(struct leat_consumer *consumer, int error, const char *text)
{
    struct consumer_group *group = consumer->group;
    struct leat_client *client = consumer->client;
    if (!consumer->opened) {
        snprintf(group->put_off, sizeof group->put_off, "%s", text);
        return;
    }
    const bool brief =
        error == LEAT_BUSY || error == LEAT_ERR_THROTTLED || error == LEAT_ERR_UNKNOWN_TOPIC;
    if (!topic_wait_lasts(&group->refused, client->now, brief ? TOPIC_WAIT_DOUBT_NS : 0))
        return;
    const struct leat_event event = { .type = LEAT_EVENT_REFUSED,
                                      .error = error,
                                      .partition = -1,
                                      .time_ns = client->now - group->refused.since,
                                      .text = text,
                                      .consumer = consumer };
    client_event(client, &event);
}

void group_news(struct leat_consumer *consumer, enum member_state_news news, int error,
                const char *text)
{
    struct leat_client *client = consumer->client;
    client->work = true;
    switch (news) {
    case MEMBER_STATE_NO_NEWS:
        if (error != LEAT_OK)
            put_off(consumer, error, text);
        break;
    case MEMBER_STATE_CONFIRMED:
        topic_wait_found(&consumer->group->refused);
        consumer->group->joined = true;
        group_each_reader(consumer, group_want);
        group_each_reader(consumer, group_forget_place);
        for (size_t i = 0; i < consumer->topic_count; i++)
            look_at_topic(&consumer->topics[i]);
        client->leftover = client->leftover || !TAILQ_EMPTY(&consumer->ready);
        break;
    case MEMBER_STATE_LOST:
        lost(consumer, "silent for too long, or the broker restarted; joining again");
        break;
    case MEMBER_STATE_FENCED: over(consumer, LEAT_ERR_FENCED, text); break;
    case MEMBER_STATE_REFUSED:
        if (error == LEAT_ERR_UNKNOWN_TOPIC && consumer->opened) {
            look_again(consumer);
            put_off(consumer, error, text);
        } else {
            over(consumer, error, text);
        }
        break;
    }
}

/* ---- steps */

static bool all_described(const struct leat_consumer *consumer)
{
    for (size_t i = 0; i < consumer->topic_count; i++) {
        const enum owner_step step = consumer->topics[i].step;
        if (step == OWNER_DESCRIBE || step == OWNER_DESCRIBING)
            return false;
    }
    return true;
}

/* True if the topic exists, so that a join may name it. */
static bool is_there(const struct subscribed *topic)
{
    return topic->step != OWNER_AWAITED && topic->step != OWNER_OVER;
}

static bool any_there(const struct leat_consumer *consumer)
{
    for (size_t i = 0; i < consumer->topic_count; i++)
        if (is_there(&consumer->topics[i]))
            return true;
    return false;
}

/* Describes missing topics again from time to time, and at once those that the broker says differ
 * from what we know. A topic whose streams are being opened is left alone until then. */
static void look_for_topics(struct leat_consumer *consumer)
{
    struct consumer_group *group = consumer->group;
    group->ask_at = LEAT_NS_NEVER;
    for (size_t i = 0; i < consumer->topic_count; i++) {
        struct subscribed *topic = &consumer->topics[i];
        const bool stale = group->membership.topics[i].stale;
        const bool awaited = topic->step == OWNER_AWAITED;
        if (awaited && !stale && topic->wait.ask_at > consumer->client->now)
            group->ask_at = topic->wait.ask_at < group->ask_at ? topic->wait.ask_at : group->ask_at;
        else if (awaited
                 || (stale
                     && (topic->step == OWNER_OPEN || topic->step == OWNER_READY
                         || topic->step == OWNER_PUT_OFF)))
            topic->step = OWNER_DESCRIBE;
    }
}

/* True if a topic exists that the join did not name: the broker never assigns partitions of it. */
static bool joined_without(const struct leat_consumer *consumer)
{
    const struct member_state *m = &consumer->group->membership;
    for (size_t i = 0; m->step == MEMBER_STATE_IN && m->confirmed && i < consumer->topic_count; i++)
        if (is_there(&consumer->topics[i]) && !m->topics[i].named)
            return true;
    return false;
}

static void join_with_all(struct leat_consumer *consumer)
{
    bool had = false;
    for (size_t i = 0; i < consumer->topic_count; i++)
        for (uint32_t j = 0; j < consumer->topics[i].reader_count; j++)
            had = had || consumer->topics[i].readers[j]->assigned;
    member_state_rejoin(&consumer->group->membership, consumer->client->now);
    if (had)
        lost(consumer, "a topic that was missing exists now; joining again with it");
    else
        group_lose_all(consumer);
}

/* When the next request is due. */
static leat_ns next_request(const struct leat_consumer *consumer)
{
    const struct member_state *m = &consumer->group->membership;
    return m->step != MEMBER_STATE_OUT || any_there(consumer) ? member_state_deadline(m)
                                                              : LEAT_NS_NEVER;
}

void group_advance(struct leat_consumer *consumer)
{
    struct member_state *m = &consumer->group->membership;
    struct leat_client *client = consumer->client;
    if (consumer->over != LEAT_OK)
        return;
    look_for_topics(consumer);
    if (!all_described(consumer))
        return;
    consumer->group->wake_at = LEAT_NS_NEVER;
    group_each_reader(consumer, group_let_go);
    if (joined_without(consumer))
        join_with_all(consumer);
    while (client->failure == 0 && (m->step != MEMBER_STATE_OUT || any_there(consumer))) {
        const struct member_state_asked asked = member_state_next(m, client->now);
        if (asked.what == MEMBER_STATE_NOTHING)
            break;
        member_requests_send(consumer, &asked);
    }
    client_timer_at(client, group_timers(consumer));
}

leat_ns group_timers(struct leat_consumer *consumer)
{
    struct consumer_group *group = consumer->group;
    struct leat_client *client = consumer->client;
    if (client->phase != PHASE_READY || consumer->over != LEAT_OK)
        return LEAT_NS_NEVER;
    if (group->commit_at <= client->now) {
        group->commit_at = LEAT_NS_NEVER;
        group_each_reader(consumer, group_commit_processed);
    }
    client->work = client->work || group->ask_at <= client->now;
    leat_ns next = next_request(consumer);
    next = group->wake_at < next ? group->wake_at : next;
    next = group->ask_at < next ? group->ask_at : next;
    if (next <= client->now) {
        client->work = client->work || all_described(consumer);
        next = LEAT_NS_NEVER; /* the next step sets it */
    }
    return group->commit_at < next ? group->commit_at : next;
}

void group_disconnected(struct leat_consumer *consumer)
{
    member_state_disconnected(&consumer->group->membership);
}

bool group_is_settled(const struct leat_consumer *consumer)
{
    return (consumer->group->joined && consumer->group->membership.confirmed)
           || !any_there(consumer);
}

bool group_hands_out(const struct leat_consumer *consumer)
{
    /* Read the clock: a process that was stopped may call this before anything else. */
    return consumer->over == LEAT_OK
           && member_state_is_in(&consumer->group->membership, client_clock(consumer->client));
}

/* ---- the end */

static bool is_in(const struct leat_consumer *consumer)
{
    return consumer->client->phase == PHASE_READY
           && consumer->group->membership.step == MEMBER_STATE_IN;
}

void group_finish(struct leat_consumer *consumer)
{
    if (!is_in(consumer))
        return;
    group_each_reader(consumer, group_commit_processed);
    leat_consumer_commit_wait(consumer, consumer->client->options.values.request_timeout_ns);
}

void group_leave(struct leat_consumer *consumer)
{
    struct leat_client *client = consumer->client;
    const leat_ns deadline =
        client_after(client_clock(client), client->options.values.request_timeout_ns);
    if (consumer->group->named || !is_in(consumer) || member_requests_leave(consumer) != LEAT_OK)
        return;
    member_state_end(&consumer->group->membership);
    while (!consumer->group->left && client->phase == PHASE_READY) {
        const leat_ns now = client_clock(client);
        if (now >= deadline)
            return;
        client_run(client, deadline - now);
    }
}

#include "client/consumer_group.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "client/bringup.h"
#include "client/client_core.h"
#include "client/consumer.h"
#include "client/data_link.h"
#include "client/group_ask.h"
#include "client/group_readers.h"
#include "schema/error_text.h"

/* ---- making */

static void name_member(struct consumer_group *group, struct leat_client *client,
                        const char *member)
{
    group->named = member != NULL;
    if (member != NULL) {
        snprintf(group->member_id, sizeof group->member_id, "%s", member);
        return;
    }
    /* Spread, so that the clients of one test, whose seeds are neighbours, have no name in common.
     */
    const uint64_t seed = client->options.hooks.seed * UINT64_C(0x9E3779B97F4A7C15);
    uint64_t random = seed ^ client->now ^ ++client->members_named << 48;
    if (seed == 0 && getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random ^= (uint64_t)(uintptr_t)group; /* the broker fences who should have the same */
    snprintf(group->member_id, sizeof group->member_id, "%.200s-%016" PRIx64,
             client->options.client_name, random);
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
    group->commit_at = group->wake_at = LEAT_NS_NEVER;
    group->membership.topic_count = (uint32_t)consumer->topic_count;
    for (size_t i = 0; i < consumer->topic_count; i++)
        group->membership.topics[i].name = consumer->topics[i].name;
    return LEAT_OK;
}

void group_unmake(struct leat_consumer *consumer)
{
    struct consumer_group *group = consumer->group;
    group_ask_forget(consumer);
    for (uint32_t i = 0; i < group->membership.topic_count; i++)
        free(group->membership.topics[i].places);
    free(group);
    consumer->group = NULL;
}

/* Of a partition where this member never stood: which log it has, so that another one is noticed
 * when it comes to be this member's. */
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

int group_topic_known(struct subscribed *topic, const Leat__Control__Topic *told)
{
    struct leat_consumer *consumer = topic->consumer;
    struct membership_topic *known = &consumer->group->membership.topics[topic - consumer->topics];
    if (known->places == NULL)
        known->places = calloc(topic->reader_count, sizeof *known->places);
    if (known->places == NULL)
        return client_error(consumer->client, LEAT_ERR_NO_MEMORY,
                            "consumer of topic \"%s\": no memory", topic->name);
    known->partitions = topic->reader_count;
    for (uint32_t i = 0; i < topic->reader_count; i++)
        note_log(topic->readers[i], told);
    return LEAT_OK;
}

/* Of a topic from which everything goes: is it there at all? Who was told that it is deleted is not
 * told that another has it. */
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

/* A topic of it is gone: describing them all finds out which. */
static void look_again(struct leat_consumer *consumer)
{
    membership_rejoin(&consumer->group->membership, consumer->client->now);
    for (size_t i = 0; i < consumer->topic_count; i++) {
        if (consumer->topics[i].step != OWNER_OVER)
            consumer->topics[i].step = OWNER_DESCRIBE;
    }
}

/* A topic that the application was told is deleted is there again, and of it something is given to
 * this member, which reads nothing of it any more. */
static bool is_given_what_is_over(const struct leat_consumer *consumer)
{
    for (size_t i = 0; i < consumer->topic_count; i++) {
        const struct membership_topic *topic = &consumer->group->membership.topics[i];
        for (uint32_t j = 0; consumer->topics[i].step == OWNER_OVER && j < topic->partitions; j++) {
            if ((topic->places[j] & PLACE_ASSIGNED) != 0)
                return true;
        }
    }
    return false;
}

static void lost(struct leat_consumer *consumer, const char *text)
{
    group_lose_all(consumer);
    member_event(consumer, LEAT_EVENT_MEMBER_LOST, LEAT_ERR_UNKNOWN_MEMBER, text);
}

void group_news(struct leat_consumer *consumer, enum membership_news news, int error,
                const char *text)
{
    struct leat_client *client = consumer->client;
    client->work = true;
    switch (news) {
    case MEMBERSHIP_NO_NEWS:
        if (error != LEAT_OK && !consumer->opened)
            snprintf(consumer->group->put_off, sizeof consumer->group->put_off, "%s", text);
        break;
    case MEMBERSHIP_CONFIRMED:
        consumer->group->joined = true;
        if (is_given_what_is_over(consumer)) {
            membership_rejoin(&consumer->group->membership, client->now);
            lost(consumer, "a topic that was deleted is there again; joining again without it");
            break;
        }
        group_each_reader(consumer, group_want);
        group_each_reader(consumer, group_forget_place);
        for (size_t i = 0; i < consumer->topic_count; i++)
            look_at_topic(&consumer->topics[i]);
        client->leftover = client->leftover || !TAILQ_EMPTY(&consumer->ready);
        break;
    case MEMBERSHIP_LOST:
        lost(consumer, "silent for too long, or the broker restarted; joining again");
        break;
    case MEMBERSHIP_FENCED: over(consumer, LEAT_ERR_FENCED, text); break;
    case MEMBERSHIP_REFUSED:
        if (error == LEAT_ERR_UNKNOWN_TOPIC && consumer->opened)
            look_again(consumer);
        else
            over(consumer, error, text);
        break;
    }
}

/* ---- steps */

static bool all_described(const struct leat_consumer *consumer)
{
    bool any = false;
    for (size_t i = 0; i < consumer->topic_count; i++) {
        const enum owner_step step = consumer->topics[i].step;
        if (step == OWNER_DESCRIBE || step == OWNER_DESCRIBING)
            return false;
        any = any || step != OWNER_OVER;
    }
    return any;
}

void group_advance(struct leat_consumer *consumer)
{
    struct membership *m = &consumer->group->membership;
    struct leat_client *client = consumer->client;
    if (consumer->over != LEAT_OK || !all_described(consumer))
        return;
    consumer->group->wake_at = LEAT_NS_NEVER;
    group_each_reader(consumer, group_let_go);
    while (client->failure == 0) {
        const struct membership_asked asked = membership_next(m, client->now);
        if (asked.what == MEMBERSHIP_NOTHING)
            break;
        group_ask(consumer, &asked);
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
    leat_ns next = membership_deadline(&group->membership);
    next = group->wake_at < next ? group->wake_at : next;
    if (next <= client->now) {
        client->work = client->work || all_described(consumer);
        next = LEAT_NS_NEVER; /* the step that follows says */
    }
    return group->commit_at < next ? group->commit_at : next;
}

void group_disconnected(struct leat_consumer *consumer)
{
    membership_disconnected(&consumer->group->membership);
}

bool group_is_settled(const struct leat_consumer *consumer)
{
    return consumer->group->joined && consumer->group->membership.confirmed;
}

bool group_hands_out(const struct leat_consumer *consumer)
{
    /* By the clock as it is: whoever was stopped may come here before anything else. */
    return consumer->over == LEAT_OK
           && membership_is_in(&consumer->group->membership, client_clock(consumer->client));
}

/* ---- the end */

static bool is_in(const struct leat_consumer *consumer)
{
    return consumer->client->phase == PHASE_READY
           && consumer->group->membership.step == MEMBERSHIP_IN;
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
    if (consumer->group->named || !is_in(consumer) || group_ask_leave(consumer) != LEAT_OK)
        return;
    membership_end(&consumer->group->membership);
    while (!consumer->group->left && client->phase == PHASE_READY) {
        const leat_ns now = client_clock(client);
        if (now >= deadline)
            return;
        client_run(client, deadline - now);
    }
}

/* A group member's requests on the control connection. */
#include "client/member_requests.h"

#include <stdlib.h>
#include <string.h>

#include "client/client_core.h"
#include "client/connect.h"
#include "client/consumer_topics.h"
#include "schema/error_text.h"

/* Notes the topics for which the group has no room. */
static void take_refused(struct leat_consumer *consumer,
                         const Leat__Control__GroupAssignment *assignment)
{
    for (size_t i = 0; i < consumer->topic_count; i++) {
        struct subscribed *topic = &consumer->topics[i];
        int error = LEAT_OK;
        const char *text = "";
        for (size_t k = 0; k < assignment->n_refused; k++) {
            const Leat__Control__TopicRefused *told = assignment->refused[k];
            if (strcmp(told->topic, topic->name) != 0)
                continue;
            error = told->error;
            text = told->text;
        }
        topic_partless(topic, error, text);
    }
}

static void answered(struct leat_consumer *consumer, const struct member_state_asked *asked,
                     const struct member_state_answer *answer, const char *text)
{
    const enum member_state_news news =
        member_state_answered(&consumer->group->membership, asked, answer, consumer->client->now);
    group_news(consumer, news, answer->error,
               *text != '\0' ? text : leat_error_text(answer->error));
    if (answer->assignment != NULL && news == MEMBER_STATE_CONFIRMED)
        take_refused(consumer, answer->assignment);
}

static void on_answer(void *context, int error, const char *text,
                      const Leat__Control__Response *response)
{
    struct group_request *request = context;
    struct leat_consumer *consumer = request->consumer;
    const struct member_state_asked asked = request->asked;
    request->consumer = NULL;
    if (response == NULL) {
        if (error == LEAT_ERR_TIMEOUT)
            client_fail(consumer->client, error, "group \"%s\": %s", consumer->group->name, text);
        return;
    }
    if (error == 0 && response->body_case != LEAT__CONTROL__RESPONSE__BODY_ASSIGNMENT) {
        client_fail(consumer->client, LEAT_ERR_PROTOCOL,
                    "group \"%s\": the broker sent an answer of another kind",
                    consumer->group->name);
        return;
    }
    /* Only a join names topics: no broker refuses a heartbeat with this error. */
    if (asked.what == MEMBER_STATE_HEARTBEAT && error == LEAT_ERR_UNKNOWN_TOPIC)
        error = LEAT_ERR_PROTOCOL;
    const struct member_state_answer answer = {
        .error = error,
        .retry_after_ms = response->retry_after_ms,
        .assignment = error == 0 ? response->assignment : NULL,
    };
    answered(consumer, &asked, &answer, text);
}

/* The broker holds a heartbeat before it answers. */
static enum leat_error ask(struct leat_consumer *consumer, Leat__Control__Request *request,
                           const struct member_state_asked *asked)
{
    struct leat_client *client = consumer->client;
    struct consumer_group *group = consumer->group;
    struct group_request *place = NULL;
    for (size_t i = 0; i < sizeof group->requests / sizeof group->requests[0]; i++)
        if (group->requests[i].consumer == NULL)
            place = &group->requests[i];
    if (place == NULL)
        return LEAT_BUSY;
    const leat_ns deadline = client_after(client->now, client->options.values.request_timeout_ns
                                                           + asked->wait_ms * LEAT_NS_PER_MS);
    const enum leat_error error =
        control_channel_ask(&client->control, request, deadline, on_answer, place);
    if (error != LEAT_OK)
        return error;
    *place = (struct group_request){ .consumer = consumer, .asked = *asked };
    client_timer_at(client, deadline);
    return LEAT_OK;
}

static enum leat_error ask_join(struct leat_consumer *consumer,
                                const struct member_state_asked *asked)
{
    Leat__Control__JoinGroup join = LEAT__CONTROL__JOIN_GROUP__INIT;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    char *topics[LEAT_GROUP_TOPICS_MAX];
    join.topics = topics;
    for (size_t i = 0; i < consumer->topic_count; i++) {
        consumer->group->membership.topics[i].named = consumer->topics[i].step != OWNER_AWAITED;
        if (consumer->topics[i].step != OWNER_AWAITED)
            topics[join.n_topics++] = consumer->topics[i].name;
    }
    join.group = consumer->group->name;
    join.member_id = consumer->group->member_id;
    join.session_timeout_ms = (uint32_t)(consumer->options.session_timeout_ns / LEAT_NS_PER_MS);
    request.body_case = LEAT__CONTROL__REQUEST__BODY_JOIN_GROUP;
    request.join_group = &join;
    return ask(consumer, &request, asked);
}

static void list_held(const struct member_state_topic *topic, Leat__Control__TopicPartitions *out)
{
    for (uint32_t i = 0; i < topic->partitions; i++)
        if ((topic->places[i] & PLACE_HELD) != 0)
            out->partitions[out->n_partitions++] = i;
}

static enum leat_error ask_heartbeat(struct leat_consumer *consumer,
                                     const struct member_state_asked *asked)
{
    const struct member_state *m = &consumer->group->membership;
    Leat__Control__GroupHeartbeat beat = LEAT__CONTROL__GROUP_HEARTBEAT__INIT;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    Leat__Control__TopicPartitions held[LEAT_GROUP_TOPICS_MAX];
    Leat__Control__TopicPartitions *list[LEAT_GROUP_TOPICS_MAX];
    size_t partitions = 1;
    for (uint32_t i = 0; i < m->topic_count; i++)
        partitions += m->topics[i].partitions;
    uint32_t *numbers = malloc(partitions * sizeof *numbers);
    if (numbers == NULL)
        return LEAT_ERR_NO_MEMORY;
    uint32_t used = 0;
    for (uint32_t i = 0; i < m->topic_count; i++) {
        leat__control__topic_partitions__init(&held[i]);
        held[i].topic = consumer->topics[i].name;
        held[i].partitions = numbers + used;
        list_held(&m->topics[i], &held[i]);
        used += (uint32_t)held[i].n_partitions;
        list[beat.n_owned] = &held[i];
        beat.n_owned += held[i].n_partitions > 0;
    }
    beat.group = consumer->group->name;
    beat.member_id = consumer->group->member_id;
    beat.member_epoch = m->epoch;
    beat.owned = list;
    beat.wait_ms = asked->wait_ms;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_GROUP_HEARTBEAT;
    request.group_heartbeat = &beat;
    const enum leat_error error = ask(consumer, &request, asked);
    free(numbers);
    return error;
}

void member_requests_send(struct leat_consumer *consumer, const struct member_state_asked *asked)
{
    const enum leat_error error = asked->what == MEMBER_STATE_JOIN ? ask_join(consumer, asked)
                                                                   : ask_heartbeat(consumer, asked);
    /* The request was not sent: retry a little later. */
    if (error != LEAT_OK)
        answered(consumer, asked, &(struct member_state_answer){ .error = LEAT_BUSY }, "");
}

static void on_left(void *context, int error, const char *text,
                    const Leat__Control__Response *response)
{
    struct leat_consumer *consumer = context;
    (void)error;
    (void)text;
    (void)response;
    consumer->group->left = true;
    consumer->client->woken = true;
}

enum leat_error member_requests_leave(struct leat_consumer *consumer)
{
    Leat__Control__LeaveGroup leave = LEAT__CONTROL__LEAVE_GROUP__INIT;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    leave.group = consumer->group->name;
    leave.member_id = consumer->group->member_id;
    leave.member_epoch = consumer->group->membership.epoch;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_LEAVE_GROUP;
    request.leave_group = &leave;
    consumer->client->work = true;
    return connect_ask(consumer->client, &request, on_left, consumer);
}

void member_requests_forget(struct leat_consumer *consumer)
{
    struct consumer_group *group = consumer->group;
    for (size_t i = 0; i < sizeof group->requests / sizeof group->requests[0]; i++)
        control_channel_forget(&consumer->client->control, &group->requests[i]);
    control_channel_forget(&consumer->client->control, consumer);
}

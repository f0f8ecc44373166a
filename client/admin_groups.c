/* Consumer groups, for operators: list, describe, reset, delete. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/client_call.h"
#include "schema/error_text.h"

static int other_answer(struct client_call *call)
{
    return client_error(call->client, LEAT_ERR_PROTOCOL,
                        "groups: the broker sent an answer of another kind");
}

static int32_t state_of(Leat__Control__GroupState told)
{
    switch (told) {
    case LEAT__CONTROL__GROUP_STATE__STABLE: return LEAT_GROUP_STABLE;
    case LEAT__CONTROL__GROUP_STATE__MOVING: return LEAT_GROUP_MOVING;
    default: return LEAT_GROUP_EMPTY;
    }
}

/* ---- lists, page by page */

struct list_call {
    void (*visit)(void *user, const struct leat_group_info *info);
    void *user;
    char last[LEAT_NAME_BYTES_MAX + 1]; /* the next page starts after this name */
    bool more;
};

static void take_list(struct client_call *call, const Leat__Control__Response *response)
{
    struct list_call *list = call->context;
    if (response->body_case != LEAT__CONTROL__RESPONSE__BODY_GROUPS) {
        call->error = other_answer(call);
        return;
    }
    const Leat__Control__GroupList *groups = response->groups;
    for (size_t i = 0; i < groups->n_groups; i++) {
        const Leat__Control__GroupSummary *told = groups->groups[i];
        /* Names must ascend, so that the list ends whatever the peer sends. */
        if (strcmp(told->group, list->last) <= 0) {
            call->error = client_error(call->client, LEAT_ERR_PROTOCOL,
                                       "groups: the list is not in the order of names");
            return;
        }
        strcpy(list->last, told->group);
        const struct leat_group_info info = { .name = told->group,
                                              .state = state_of(told->state),
                                              .members = told->members,
                                              .partitions = told->partitions };
        call->client->in_callback++;
        list->visit(list->user, &info);
        call->client->in_callback--;
    }
    list->more = groups->more && groups->n_groups != 0;
}

int leat_group_list(leat_client *client,
                    void (*visit)(void *user, const struct leat_group_info *info), void *user)
{
    if (client == NULL || visit == NULL)
        return LEAT_ERR_INVALID;
    struct list_call list = { .visit = visit, .user = user, .more = true };
    int error = LEAT_OK;
    while (error == LEAT_OK && list.more) {
        Leat__Control__ListGroups ask = LEAT__CONTROL__LIST_GROUPS__INIT;
        ask.after = list.last;
        Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
        request.body_case = LEAT__CONTROL__REQUEST__BODY_LIST_GROUPS;
        request.list_groups = &ask;
        struct client_call call = { .client = client, .take = take_list, .context = &list };
        error = client_call_wait(&call, &request, "leat_group_list");
    }
    return error;
}

/* ---- descriptions */

struct describe_call {
    void (*visit)(void *user, const struct leat_group_description *description);
    void *user;
};

static void read_member(struct leat_group_member *out, const Leat__Control__GroupMember *told)
{
    *out = (struct leat_group_member){ .id = told->member_id,
                                       .client_name = told->client_name,
                                       .topics = (const char *const *)told->topics,
                                       .topic_count = (uint32_t)told->n_topics,
                                       .epoch = told->member_epoch,
                                       .assigned = told->assigned,
                                       .leaving = told->leaving,
                                       .silent_ms = told->silent_ms,
                                       .session_timeout_ms = told->session_timeout_ms };
}

static const char *text_or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

static void read_partition(struct leat_group_partition *out,
                           const Leat__Control__GroupPartition *told)
{
    const bool stands = told->committed_log_epoch != 0;
    *out = (struct leat_group_partition){ .topic = told->topic,
                                          .member = text_or_null(told->member_id),
                                          .metadata = text_or_null(told->metadata),
                                          .partition = told->partition,
                                          .error = told->error,
                                          .open = told->open,
                                          .required = told->required,
                                          .log_epoch = told->log_epoch,
                                          .head_offset = told->head_offset,
                                          .next_offset = told->next_offset,
                                          .committed = stands ? told->committed : LEAT_NO_OFFSET,
                                          .committed_log_epoch = told->committed_log_epoch,
                                          .commit_time_ns = told->commit_time_ns,
                                          .lag_records = told->lag_records,
                                          .lag_bytes = told->lag_bytes,
                                          .lag_ms = told->lag_ms,
                                          .lost_at_least = told->lost_at_least,
                                          .lost_at_most = told->lost_at_most,
                                          .overrun_bytes = told->overrun_bytes,
                                          .overrun_ms = told->overrun_ms };
}

static void visit_description(struct client_call *call, const Leat__Control__GroupDescription *told,
                              struct leat_group_member *members,
                              struct leat_group_partition *partitions)
{
    for (size_t i = 0; i < told->n_members; i++)
        read_member(&members[i], told->members[i]);
    for (size_t i = 0; i < told->n_partitions; i++)
        read_partition(&partitions[i], told->partitions[i]);
    const struct leat_group_description description = {
        .name = told->group,
        .state = state_of(told->state),
        .epoch = told->epoch,
        .members = members,
        .partitions = partitions,
        .member_count = (uint32_t)told->n_members,
        .partition_count = (uint32_t)told->n_partitions,
        .cut = told->cut,
    };
    const struct describe_call *to = call->context;
    call->client->in_callback++;
    to->visit(to->user, &description);
    call->client->in_callback--;
}

static void take_description(struct client_call *call, const Leat__Control__Response *response)
{
    if (response->body_case != LEAT__CONTROL__RESPONSE__BODY_GROUP) {
        call->error = other_answer(call);
        return;
    }
    const Leat__Control__GroupDescription *told = response->group;
    struct leat_group_member *members = calloc(told->n_members + 1, sizeof *members);
    struct leat_group_partition *partitions = calloc(told->n_partitions + 1, sizeof *partitions);
    if (members == NULL || partitions == NULL)
        call->error = client_error(call->client, LEAT_ERR_NO_MEMORY, "groups: no memory");
    else
        visit_description(call, told, members, partitions);
    free(members);
    free(partitions);
}

int leat_group_describe(leat_client *client, const char *group, const char *topic,
                        void (*visit)(void *user, const struct leat_group_description *description),
                        void *user)
{
    if (client == NULL || visit == NULL)
        return LEAT_ERR_INVALID;
    int error = client_call_name(client, "group", group);
    if (error == LEAT_OK && topic != NULL)
        error = client_call_name(client, "topic", topic);
    if (error != LEAT_OK)
        return error;
    Leat__Control__DescribeGroup ask = LEAT__CONTROL__DESCRIBE_GROUP__INIT;
    ask.group = (char *)group;
    if (topic != NULL)
        ask.topic = (char *)topic;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_DESCRIBE_GROUP;
    request.describe_group = &ask;
    struct describe_call to = { visit, user };
    struct client_call call = { .client = client, .take = take_description, .context = &to };
    return client_call_wait(&call, &request, "leat_group_describe");
}

/* ---- resets */

struct reset_call {
    const char *topic;
    uint64_t value; /* that was requested */
    void (*visit)(void *user, const struct leat_group_move *move);
    void *user;
};

static int refused_partition(struct client_call *call, const Leat__Control__Committed *told)
{
    const struct reset_call *reset = call->context;
    if (told->error == LEAT_ERR_OUT_OF_RANGE)
        return client_error(
            call->client, told->error,
            "topic \"%s\": partition %" PRIu32 ": offset %" PRIu64
            " is not in the log: expected %" PRIu64 " to %" PRIu64 ", earliest or latest",
            reset->topic, told->partition, reset->value, told->head_offset, told->next_offset);
    if (told->error == LEAT_ERR_UNKNOWN_PARTITION)
        return client_error(call->client, told->error,
                            "topic \"%s\": there is no partition %" PRIu32
                            ": see `leat topic describe %s`",
                            reset->topic, told->partition, reset->topic);
    return client_error(call->client, told->error, "topic \"%s\": partition %" PRIu32 ": %s",
                        reset->topic, told->partition, leat_error_text(told->error));
}

static void visit_move(struct client_call *call, const Leat__Control__Committed *told)
{
    const struct reset_call *reset = call->context;
    if (reset->visit == NULL)
        return;
    const struct leat_group_move move = { .topic = reset->topic,
                                          .partition = told->partition,
                                          .from = told->before_log_epoch != 0 ? told->before
                                                                              : LEAT_NO_OFFSET,
                                          .from_log_epoch = told->before_log_epoch,
                                          .to = told->offset,
                                          .log_epoch = told->log_epoch };
    call->client->in_callback++;
    reset->visit(reset->user, &move);
    call->client->in_callback--;
}

static void take_reset(struct client_call *call, const Leat__Control__Response *response)
{
    if (response->body_case != LEAT__CONTROL__RESPONSE__BODY_COMMITTED) {
        call->error = other_answer(call);
        return;
    }
    const Leat__Control__CommittedList *told = response->committed;
    for (size_t i = 0; i < told->n_offsets; i++)
        if (told->offsets[i]->error == LEAT_OK)
            visit_move(call, told->offsets[i]);
        else if (call->error == LEAT_OK)
            call->error = refused_partition(call, told->offsets[i]);
}

static int set_start(struct leat_client *client, Leat__Control__PartitionStart *start, int32_t at,
                     uint64_t value)
{
    switch (at) {
    case LEAT_START_LATEST: start->at = LEAT__CONTROL__START_AT__LATEST; return LEAT_OK;
    case LEAT_START_EARLIEST: start->at = LEAT__CONTROL__START_AT__EARLIEST; return LEAT_OK;
    case LEAT_START_OFFSET:
        start->at = LEAT__CONTROL__START_AT__OFFSET;
        start->offset = value;
        return LEAT_OK;
    case LEAT_START_TIME:
        start->at = LEAT__CONTROL__START_AT__TIME;
        start->time_ns = value;
        return LEAT_OK;
    default:
        return client_error(client, LEAT_ERR_INVALID, "at %" PRId32 ": expected a leat_start", at);
    }
}

static int check_reset(struct leat_client *client, const char *group, const char *topic,
                       const struct leat_group_reset_options *given,
                       struct leat_group_reset_options *options)
{
    char why[CLIENT_ERROR_BYTES];
    int error = options_group_reset(options, given, why, sizeof why);
    if (error != LEAT_OK)
        return client_error(client, error, "%s", why);
    error = client_call_name(client, "group", group);
    return error == LEAT_OK ? client_call_name(client, "topic", topic) : error;
}

int leat_group_reset(leat_client *client, const char *group, const char *topic,
                     const struct leat_group_reset_options *options,
                     void (*visit)(void *user, const struct leat_group_move *move), void *user)
{
    if (client == NULL)
        return LEAT_ERR_INVALID;
    struct leat_group_reset_options o;
    Leat__Control__PartitionStart start = LEAT__CONTROL__PARTITION_START__INIT;
    Leat__Control__PartitionStart *starts[] = { &start };
    int error = check_reset(client, group, topic, options, &o);
    if (error == LEAT_OK)
        error = set_start(client, &start, o.at, o.value);
    if (error != LEAT_OK)
        return error;
    Leat__Control__ResetGroup ask = LEAT__CONTROL__RESET_GROUP__INIT;
    ask.group = (char *)group;
    ask.topic = (char *)topic;
    if (o.partition >= 0) {
        start.partition = (uint32_t)o.partition;
        ask.n_partitions = 1;
        ask.partitions = starts;
    } else {
        ask.all = &start;
    }
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_RESET_GROUP;
    request.reset_group = &ask;
    /* The broker resets each partition on its own. A dry run first keeps a reset that one partition
     * refuses from being applied to the others. */
    for (int try = 1; try >= (o.dry_run ? 1 : 0) && error == LEAT_OK; try--) {
        struct reset_call reset = { .topic = topic, .value = o.value, .user = user };
        struct client_call call = { .client = client, .take = take_reset, .context = &reset };
        reset.visit = try == 0 || o.dry_run ? visit : NULL;
        ask.dry_run = try == 1;
        error = client_call_wait(&call, &request, "leat_group_reset");
    }
    return error;
}

/* ---- deletion */

int leat_group_delete(leat_client *client, const char *group)
{
    if (client == NULL)
        return LEAT_ERR_INVALID;
    const int error = client_call_name(client, "group", group);
    if (error != LEAT_OK)
        return error;
    Leat__Control__DeleteGroup ask = LEAT__CONTROL__DELETE_GROUP__INIT;
    ask.group = (char *)group;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_DELETE_GROUP;
    request.delete_group = &ask;
    struct client_call call = { .client = client };
    return client_call_wait(&call, &request, "leat_group_delete");
}

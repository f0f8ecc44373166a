/* Requests: hello, ping, and dispatch to the other files. */
#include <string.h>

#include "broker/control/control_topic_registry.h"
#include "schema/version.h"

/* ---- hello */

static void answer_hello(struct control *control, struct control_conn *p, uint64_t request)
{
    Leat__Control__Endpoint endpoints[LEAT_SHARDS_MAX];
    Leat__Control__Endpoint *list[LEAT_SHARDS_MAX];
    for (uint32_t i = 0; i < control->shard_count; i++) {
        leat__control__endpoint__init(&endpoints[i]);
        endpoints[i].shard = i;
        endpoints[i].tcp = control->endpoints[i];
        endpoints[i].udp = control->udp_endpoints[i];
        endpoints[i].dpdk = (char **)control->shards[i].link.port_addresses;
        endpoints[i].n_dpdk = control->shards[i].link.port_count;
        list[i] = &endpoints[i];
    }
    Leat__Control__HelloReply hello = LEAT__CONTROL__HELLO_REPLY__INIT;
    hello.version = LEAT_PROTOCOL_VERSION;
    hello.broker = (char *)"leatd " LEAT_VERSION;
    hello.incarnation = (uint64_t)control->options.catalog->incarnation << 32
                        | (uint32_t)control->options.catalog->run;
    hello.endpoints = list;
    hello.n_endpoints = control->shard_count;
    hello.keepalive_ms = control->config->keepalive_ms;
    Leat__Control__Response response = LEAT__CONTROL__RESPONSE__INIT;
    response.id = request;
    response.body_case = LEAT__CONTROL__RESPONSE__BODY_HELLO;
    response.hello = &hello;
    control_conn_answer(control, p, &response);
}

static void refuse_guest(struct control *control, struct control_conn *p, uint64_t request)
{
    if (p->refused == CONN_NO_DESCRIPTOR)
        control_conn_refuse_for(
            control, p, request, LEAT_ERR_LIMIT, CONTROL_RETRY_MS,
            "the broker is out of file descriptors, with %u control connections: "
            "close some, or raise its limit (ulimit -n, LimitNOFILE)",
            control->connection_count);
    else if (p->refused == CONN_NO_MEMORY)
        control_conn_refuse_for(control, p, request, LEAT_ERR_NO_MEMORY, CONTROL_RETRY_MS, "%s",
                                control_memory_text(control, p));
    else
        control_conn_refuse_for(
            control, p, request, LEAT_ERR_LIMIT, CONTROL_RETRY_MS,
            "the broker has the maximum number of connections (connections_max: %u): "
            "close some, or raise it",
            control->config->connections_max);
}

static void handle_hello(struct control *control, struct control_conn *p, uint64_t request,
                         const Leat__Control__Hello *hello)
{
    if (p->state != CONN_GREETING) {
        control_conn_refuse(control, p, request, LEAT_ERR_PROTOCOL,
                            "hello was already received on this connection: send it only once");
        return;
    }
    if (hello->version_min > LEAT_PROTOCOL_VERSION || hello->version_max < LEAT_PROTOCOL_VERSION) {
        const bool old_client = hello->version_max < LEAT_PROTOCOL_VERSION;
        control_conn_refuse(
            control, p, request, LEAT_ERR_VERSION,
            "the client supports protocol versions %u to %u (%.64s), this broker version %d "
            "(leatd %s): upgrade %s",
            hello->version_min, hello->version_max, hello->library, LEAT_PROTOCOL_VERSION,
            LEAT_VERSION, old_client ? "the client's library" : "leatd");
        return;
    }
    if (p->refused != CONN_WELCOME) {
        refuse_guest(control, p, request);
        return;
    }
    const char *why;
    if (!control_may_take(control, p->maker, SHARE_CONNECTIONS, 1, &why)) {
        control_conn_refuse_for(control, p, request, LEAT_ERR_LIMIT, CONTROL_RETRY_MS, "%s", why);
        return;
    }
    control_conn_open(control, p, hello->client_name);
    answer_hello(control, p, request);
}

/* ---- everything else */

/* The name in the request, for error texts; NULL: none. */
static const char *name_in(const Leat__Control__Request *request)
{
    switch (request->body_case) {
    case LEAT__CONTROL__REQUEST__BODY_HELLO: return request->hello->client_name;
    case LEAT__CONTROL__REQUEST__BODY_CREATE_TOPIC: return request->create_topic->name;
    case LEAT__CONTROL__REQUEST__BODY_DELETE_TOPIC: return request->delete_topic->name;
    case LEAT__CONTROL__REQUEST__BODY_DESCRIBE_TOPIC: return request->describe_topic->name;
    case LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER: return request->open_producer->topic;
    case LEAT__CONTROL__REQUEST__BODY_OPEN_SUBSCRIPTION: return request->open_subscription->topic;
    case LEAT__CONTROL__REQUEST__BODY_LIST_OFFSETS: return request->list_offsets->topic;
    case LEAT__CONTROL__REQUEST__BODY_JOIN_GROUP: return request->join_group->group;
    case LEAT__CONTROL__REQUEST__BODY_GROUP_HEARTBEAT: return request->group_heartbeat->group;
    case LEAT__CONTROL__REQUEST__BODY_LEAVE_GROUP: return request->leave_group->group;
    case LEAT__CONTROL__REQUEST__BODY_COMMIT_OFFSETS: return request->commit_offsets->group;
    case LEAT__CONTROL__REQUEST__BODY_LIST_GROUPS: return request->list_groups->after;
    case LEAT__CONTROL__REQUEST__BODY_DESCRIBE_GROUP: return request->describe_group->group;
    case LEAT__CONTROL__REQUEST__BODY_RESET_GROUP: return request->reset_group->group;
    case LEAT__CONTROL__REQUEST__BODY_DELETE_GROUP: return request->delete_group->group;
    case LEAT__CONTROL__REQUEST__BODY_DELETE_PRODUCER: return request->delete_producer->name;
    case LEAT__CONTROL__REQUEST__BODY_LIST_PRODUCERS: return request->list_producers->after;
    default: return NULL;
    }
}

/* Settings are refused where they are resolved, with the value and the expected one. */
static bool only_settings_wrong(const Leat__Control__Request *request, const char *what)
{
    return request->body_case == LEAT__CONTROL__REQUEST__BODY_CREATE_TOPIC
           && strncmp(what, "settings.", strlen("settings.")) == 0;
}

/* If the request names an unknown topic, this is the error to report first. */
static const char *unknown_topic_in(const struct control *control,
                                    const Leat__Control__Request *request)
{
    switch (request->body_case) {
    case LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER:
    case LEAT__CONTROL__REQUEST__BODY_OPEN_SUBSCRIPTION:
    case LEAT__CONTROL__REQUEST__BODY_LIST_OFFSETS: break;
    default: return NULL;
    }
    const char *name = name_in(request);
    return leat_name_valid(name, strlen(name))
                   && topics_find_name(control->options.topics, name) == NULL
               ? name
               : NULL;
}

static bool check(struct control *control, struct control_conn *p,
                  const Leat__Control__Request *request)
{
    const char *what = "";
    const enum leat_error error = leat_control_check_request(request, &what);
    if (error == LEAT_OK || only_settings_wrong(request, what))
        return true;
    const char *unknown = unknown_topic_in(control, request);
    const char *name = name_in(request);
    if (unknown != NULL)
        control_conn_refuse_topic(control, p, request->id, unknown);
    else if (name != NULL)
        control_conn_refuse(control, p, request->id, error, "\"%.300s\": expected %s", name, what);
    else
        control_conn_refuse(control, p, request->id, error, "expected %s", what);
    return false;
}

bool control_request_is_costly(const Leat__Control__Request *request)
{
    switch (request->body_case) {
    case LEAT__CONTROL__REQUEST__BODY_CREATE_TOPIC:
    case LEAT__CONTROL__REQUEST__BODY_DELETE_TOPIC:
    case LEAT__CONTROL__REQUEST__BODY_LIST_TOPICS:
    case LEAT__CONTROL__REQUEST__BODY_DESCRIBE_TOPIC:
    case LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER:
    case LEAT__CONTROL__REQUEST__BODY_LIST_GROUPS:
    case LEAT__CONTROL__REQUEST__BODY_LIST_PRODUCERS:
    case LEAT__CONTROL__REQUEST__BODY_DESCRIBE_GROUP:
    case LEAT__CONTROL__REQUEST__BODY_RESET_GROUP:
    case LEAT__CONTROL__REQUEST__BODY_DELETE_GROUP: return true;
    default: return false;
    }
}

static void dispatch(struct control *control, struct control_conn *p,
                     const Leat__Control__Request *r)
{
    switch (r->body_case) {
    case LEAT__CONTROL__REQUEST__BODY_CREATE_TOPIC: control_create_topic(control, p, r); break;
    case LEAT__CONTROL__REQUEST__BODY_DELETE_TOPIC: control_delete_topic(control, p, r); break;
    case LEAT__CONTROL__REQUEST__BODY_LIST_TOPICS: control_list_topics(control, p, r); break;
    case LEAT__CONTROL__REQUEST__BODY_DESCRIBE_TOPIC: control_describe_topic(control, p, r); break;
    case LEAT__CONTROL__REQUEST__BODY_OPEN_SESSION: control_open_session(control, p, r); break;
    case LEAT__CONTROL__REQUEST__BODY_CLOSE_SESSION: control_close_session(control, p, r); break;
    case LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER: control_open_producer(control, p, r); break;
    case LEAT__CONTROL__REQUEST__BODY_OPEN_SUBSCRIPTION:
        control_open_subscription(control, p, r);
        break;
    case LEAT__CONTROL__REQUEST__BODY_CLOSE_STREAMS: control_close_streams(control, p, r); break;
    case LEAT__CONTROL__REQUEST__BODY_LIST_OFFSETS: control_list_offsets(control, p, r); break;
    case LEAT__CONTROL__REQUEST__BODY_JOIN_GROUP: control_join_group(control, p, r); break;
    case LEAT__CONTROL__REQUEST__BODY_GROUP_HEARTBEAT:
        control_group_heartbeat(control, p, r);
        break;
    case LEAT__CONTROL__REQUEST__BODY_LEAVE_GROUP: control_leave_group(control, p, r); break;
    case LEAT__CONTROL__REQUEST__BODY_COMMIT_OFFSETS: control_commit_offsets(control, p, r); break;
    case LEAT__CONTROL__REQUEST__BODY_LIST_GROUPS: control_list_groups(control, p, r); break;
    case LEAT__CONTROL__REQUEST__BODY_DESCRIBE_GROUP: control_describe_group(control, p, r); break;
    case LEAT__CONTROL__REQUEST__BODY_RESET_GROUP: control_reset_group(control, p, r); break;
    case LEAT__CONTROL__REQUEST__BODY_DELETE_GROUP: control_delete_group(control, p, r); break;
    case LEAT__CONTROL__REQUEST__BODY_DELETE_PRODUCER:
        control_delete_producer(control, p, r);
        break;
    case LEAT__CONTROL__REQUEST__BODY_LIST_PRODUCERS: control_list_producers(control, p, r); break;
    case LEAT__CONTROL__REQUEST__BODY_PING: control_conn_done(control, p, r->id); break;
    default: break; /* refused by leat_control_check_request */
    }
}

void control_handle_request(struct control *control, struct control_conn *p,
                            const Leat__Control__Request *request)
{
    const bool hello = request->body_case == LEAT__CONTROL__REQUEST__BODY_HELLO;
    if (!hello && p->state == CONN_GREETING) {
        control_conn_refuse(control, p, request->id, LEAT_ERR_PROTOCOL,
                            "the first request of a connection must be hello");
        return;
    }
    if (!check(control, p, request))
        return;
    if (hello)
        handle_hello(control, p, request->id, request->hello);
    else
        dispatch(control, p, request);
}

/* Connecting and reconnecting: control connection, hello, sessions, producers, subscriptions. */
#include "client/connect.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "client/client_core.h"
#include "client/consumer.h"
#include "client/consumer_topics.h"
#include "client/liveness.h"
#include "client/producer.h"
#include "client/resolve.h"
#include "client/session.h"
#include "schema/error_text.h"
#include "schema/version.h"
#include "transport/link_tcp.h"

static void watch_control(struct leat_client *client, int how, bool output)
{
    struct epoll_event event = { .events = EPOLLIN | (output ? EPOLLOUT : 0) };
    event.data.ptr = &client->control;
    epoll_ctl(client->epoll, how, client->control.fd, &event);
}

/* ---- addresses */

int connect_start(struct leat_client *client)
{
    const char *why = resolve_hosts(client);
    client->phase = PHASE_WAITING;
    client->phase_end = client->now;
    if (why != NULL)
        return client_error(client, LEAT_ERR_UNREACHABLE, "cannot resolve \"%s\": %s",
                            client->url.hosts[0].host, why);
    return LEAT_OK;
}

static bool is_wildcard(const char *host)
{
    return *host == '\0' || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

/* Sets the endpoint's address from `text`, as the broker advertises it. A name that does not
 * resolve now keeps its previous address, or else stands for the host that control was reached
 * at. */
static bool take_endpoint(struct leat_client *client, struct resolved *cache,
                          struct endpoint *endpoint, const char *text)
{
    struct url_host host;
    if (url_host_parse(&host, text, strlen(text), 0) != LEAT_OK)
        return false;
    const bool as_before = endpoint->known && strcmp(endpoint->text, text) == 0;
    struct sockaddr_storage address = client->addresses[client->address_now].address;
    if (is_wildcard(host.host)) {
        resolve_set_port(&address, host.port);
    } else if (link_tcp_address(host.host, host.port, &address) != LEAT_OK
               && !resolve_endpoint(client, cache, &host, &address)) {
        if (as_before)
            return true;
        resolve_set_port(&address, host.port);
    }
    endpoint->address = address;
    endpoint->known = true;
    snprintf(endpoint->text, sizeof endpoint->text, "%s", text);
    return true;
}

/* The shard's bypass port in our own network; else its first one. */
static const char *pick_dpdk(const struct url_dpdk *ours, const Leat__Control__Endpoint *told)
{
    const uint32_t mask = UINT32_MAX << (32 - ours->prefix_bits);
    for (size_t i = 0; i < told->n_dpdk; i++) {
        struct url_host host;
        struct sockaddr_storage address;
        if (url_host_parse(&host, told->dpdk[i], strlen(told->dpdk[i]), 0) != LEAT_OK
            || link_tcp_address(host.host, host.port, &address) != LEAT_OK
            || address.ss_family != AF_INET)
            continue;
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
        if (((ntohl(v4->sin_addr.s_addr) ^ ours->ip) & mask) == 0)
            return told->dpdk[i];
    }
    return told->n_dpdk > 0 ? told->dpdk[0] : "";
}

/* False: *wrong is an address that does not parse. */
static bool take_endpoints(struct leat_client *client, struct resolved *cache,
                           const Leat__Control__Endpoint *told, const char **wrong)
{
    *wrong = told->tcp;
    if (!take_endpoint(client, cache, &client->endpoints[told->shard], told->tcp))
        return false;
    if (client->transport == URL_TCP)
        return true;
    *wrong = client->transport == URL_UDP ? told->udp : pick_dpdk(&client->url.dpdk, told);
    struct endpoint *endpoint = &client->packet_endpoints[told->shard];
    if (**wrong == '\0')
        endpoint->known = false;
    return **wrong == '\0' || take_endpoint(client, cache, endpoint, *wrong);
}

/* False: the client's transport uses packets, and no shard takes any. */
static bool has_way(const struct leat_client *client)
{
    bool any = client->transport == URL_TCP;
    for (uint32_t i = 0; i < LEAT_SHARDS_MAX; i++)
        any = any || client->packet_endpoints[i].known;
    return any;
}

/* ---- phases */

static void on_hello(void *context, int error, const char *text,
                     const Leat__Control__Response *response)
{
    struct leat_client *client = context;
    if (response == NULL || error != 0) {
        client_fail(client, error, "hello: %s", text);
        return;
    }
    if (response->body_case != LEAT__CONTROL__RESPONSE__BODY_HELLO) {
        client_fail(client, LEAT_ERR_PROTOCOL, "hello: the broker sent an answer of another kind");
        return;
    }
    const Leat__Control__HelloReply *hello = response->hello;
    if (hello->version != LEAT_PROTOCOL_VERSION) {
        client_fail(client, LEAT_ERR_VERSION,
                    "the broker speaks protocol version %" PRIu32
                    " (%.64s), this library version %d (libleat " LEAT_VERSION "): upgrade %s",
                    hello->version, hello->broker, LEAT_PROTOCOL_VERSION,
                    hello->version < LEAT_PROTOCOL_VERSION ? "leatd" : "the library");
        return;
    }
    struct resolved cache = { 0 };
    for (size_t i = 0; i < hello->n_endpoints; i++) {
        const Leat__Control__Endpoint *told = hello->endpoints[i];
        const char *wrong;
        if (!take_endpoints(client, &cache, told, &wrong)) {
            client_fail(client, LEAT_ERR_PROTOCOL,
                        "shard %" PRIu32 " is at \"%.80s\": expected "
                        "host:port",
                        told->shard, wrong);
            return;
        }
    }
    /* Report what is wrong on this side before what is wrong on the broker's. */
    if (packet_port_open(client) != LEAT_OK)
        return;
    if (!has_way(client)) {
        client_fail_path(client, LEAT_ERR_UNSUPPORTED,
                         "the broker takes no packets of this transport; use tcp:// or "
                         "fallback=tcp");
        return;
    }
    client->incarnation = hello->incarnation;
    liveness_begin(client, hello->keepalive_ms);
    resolve_answered(client);
    client->phase = PHASE_READY;
    client->phase_end = LEAT_NS_NEVER;
    client->work = true;
}

enum leat_error connect_ask(struct leat_client *client, Leat__Control__Request *request,
                            control_answer *answer, void *context)
{
    const leat_ns deadline = client_after(client->now, client->options.values.request_timeout_ns);
    const enum leat_error error =
        control_channel_ask(&client->control, request, deadline, answer, context);
    if (error == LEAT_OK)
        client_timer_at(client, deadline);
    else if (error != LEAT_BUSY)
        client_fail(client, error, "a control request: %s", leat_error_text(error));
    return error;
}

static void say_hello(struct leat_client *client)
{
    char library[] = "libleat " LEAT_VERSION;
    Leat__Control__Hello hello = LEAT__CONTROL__HELLO__INIT;
    hello.version_min = LEAT_PROTOCOL_VERSION;
    hello.version_max = LEAT_PROTOCOL_VERSION;
    hello.client_name = client->options.client_name;
    hello.library = library;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_HELLO;
    request.hello = &hello;
    client->phase = PHASE_GREETING;
    connect_ask(client, &request, on_hello, client);
}

static void connect_control(struct leat_client *client)
{
    const struct link_tcp_options options = { 0 };
    const struct sockaddr_storage *address = resolve_next(client);
    int fd;
    const enum leat_error error = link_tcp_connect(&fd, address, &options);
    if (error != LEAT_OK) {
        char text[LINK_TCP_ADDRESS_TEXT];
        link_tcp_address_text(address, text);
        client_fail(client, error, "cannot connect to %s: is leatd running there?", text);
        return;
    }
    control_channel_use(&client->control, fd);
    client->phase = PHASE_CONNECTING;
    client->phase_end = client_after(client->now, client->options.values.connect_timeout_ns);
    client_timer_at(client, client->phase_end);
    watch_control(client, EPOLL_CTL_ADD, true);
}

void connect_writable(struct leat_client *client)
{
    if (client->phase == PHASE_CONNECTING) {
        const enum leat_error error = link_tcp_connected(client->control.fd);
        if (error == LEAT_AGAIN)
            return;
        if (error != LEAT_OK) {
            char text[LINK_TCP_ADDRESS_TEXT];
            link_tcp_address_text(&client->addresses[client->address_now].address, text);
            client_fail(client, error, "cannot connect to %s: is leatd running there?", text);
            return;
        }
        say_hello(client);
    }
    client->work = true;
}

unsigned connect_receive(struct leat_client *client)
{
    unsigned handled = 0;
    size_t bytes = 0;
    const enum leat_error error = control_channel_receive(&client->control, &handled, &bytes);
    client->stats.bytes_received += bytes;
    if (bytes > 0) {
        client->heard = client->now;
        client->asked = false;
    }
    if (error != LEAT_OK)
        client_fail(client, error == LEAT_ERR_CLOSED ? LEAT_ERR_UNREACHABLE : error,
                    "the control connection was lost: %s", leat_error_text(error));
    client->work = client->work || handled > 0;
    return handled;
}

static bool all_ready(const struct leat_client *client)
{
    const struct leat_producer *producer;
    TAILQ_FOREACH(producer, &client->producers, node)
    {
        if (producer->step != OWNER_READY && producer->step != OWNER_PUT_OFF
            && producer->step != OWNER_OVER)
            return false;
    }
    const struct leat_consumer *consumer;
    TAILQ_FOREACH(consumer, &client->consumers, node)
    {
        if (!consumer_is_ready(consumer))
            return false;
    }
    return true;
}

static void announce(struct leat_client *client)
{
    if (client->announced || !all_ready(client))
        return;
    client->announced = true;
    backoff_succeeded(&client->backoff);
    const struct leat_event event = { .type = LEAT_EVENT_CONNECTED,
                                      .partition = -1,
                                      .text = "control and data connections are up" };
    client_event(client, &event);
}

static void flush_control(struct leat_client *client)
{
    if (client->phase < PHASE_GREETING || client->failure != 0)
        return;
    const bool any = client->control.out_used > 0;
    const enum leat_error error = control_channel_flush(&client->control);
    if (error == LEAT_ERR_CLOSED)
        client_fail(client, LEAT_ERR_UNREACHABLE, "the control connection was lost");
    else if (any || error == LEAT_AGAIN)
        watch_control(client, EPOLL_CTL_MOD, error == LEAT_AGAIN);
}

void connect_advance(struct leat_client *client)
{
    client->work = false;
    if (client->phase == PHASE_READY) {
        struct leat_producer *producer;
        TAILQ_FOREACH(producer, &client->producers, node)
        producer_advance(producer);
        struct leat_consumer *consumer;
        TAILQ_FOREACH(consumer, &client->consumers, node)
        consumer_advance(consumer);
        if (client->failure == 0)
            announce(client);
    }
    flush_control(client);
}

static leat_ns check_sessions(struct leat_client *client)
{
    leat_ns next = LEAT_NS_NEVER;
    for (uint32_t i = 0; i < client->sessions_end; i++) {
        const struct client_session *session = client->sessions[i];
        if (session == NULL || session->state == SESSION_NONE || session->state == SESSION_UP)
            continue;
        if (session->deadline > client->now) {
            next = session->deadline < next ? session->deadline : next;
            continue;
        }
        resolve_endpoint_failed(client);
        if (session->packets != NULL)
            client_fail_path(client, LEAT_ERR_TIMEOUT,
                             "shard %" PRIu32 " at %s did not answer packets in time", i,
                             client->packet_endpoints[i].text);
        else
            client_fail(client, LEAT_ERR_TIMEOUT, "shard %" PRIu32 " at %s did not answer in time",
                        i, client->endpoints[i].text);
    }
    return next;
}

leat_ns connect_timers(struct leat_client *client)
{
    if (client->phase == PHASE_WAITING && client->phase_end <= client->now)
        connect_control(client);
    else if (client->phase != PHASE_WAITING && client->phase_end <= client->now)
        client_fail(client, LEAT_ERR_TIMEOUT,
                    "the broker did not answer within "
                    "connect_timeout_ns");
    leat_ns next = control_channel_expire(&client->control, client->now);
    if (client->phase == PHASE_READY) {
        const leat_ns ping_at = liveness_timers(client);
        next = ping_at < next ? ping_at : next;
    } else if (client->phase_end < next) {
        next = client->phase_end;
    }
    const leat_ns sessions = check_sessions(client);
    return sessions < next ? sessions : next;
}

void connect_retry(struct leat_client *client)
{
    leat_ns next = LEAT_NS_NEVER;
    struct leat_consumer *consumer;
    TAILQ_FOREACH(consumer, &client->consumers, node)
    {
        const leat_ns at = topics_timers(consumer);
        next = at < next ? at : next;
    }
    struct leat_producer *producer;
    TAILQ_FOREACH(producer, &client->producers, node)
    {
        const leat_ns at = producer_timers(producer);
        next = at < next ? at : next;
    }
    client->retry_at = next;
}

static void tell_down(struct leat_client *client)
{
    if (!client->announced)
        return;
    client->announced = false;
    client->stats.reconnects++;
    const struct leat_event event = { .type = LEAT_EVENT_DISCONNECTED,
                                      .error = client->failure,
                                      .partition = -1,
                                      .text = client->failure_text };
    client_event(client, &event);
}

/* If the path for packets failed and fallback=tcp is set, the client uses TCP from now on. */
static void fall_back(struct leat_client *client)
{
    const bool falls = client->path_failed && client->url.fallback_tcp;
    client->path_failed = false;
    if (!falls)
        return;
    packet_port_close(client);
    client->transport = URL_TCP;
    char text[CLIENT_ERROR_BYTES];
    snprintf(text, sizeof text, "%s: %.400s; data goes over TCP from now on",
             client->url.transport == URL_UDP ? "udp" : "dpdk", client->failure_text);
    const struct leat_event event = {
        .type = LEAT_EVENT_FALLBACK, .error = client->failure, .partition = -1, .text = text
    };
    client_event(client, &event);
}

void connect_down(struct leat_client *client)
{
    const int failure = client->failure;
    control_channel_end(&client->control, client->epoll,
                        failure == LEAT_ERR_TIMEOUT ? LEAT_ERR_UNREACHABLE : failure,
                        client->failure_text);
    struct leat_producer *producer;
    TAILQ_FOREACH(producer, &client->producers, node)
    producer_disconnected(producer);
    struct leat_consumer *consumer;
    TAILQ_FOREACH(consumer, &client->consumers, node)
    consumer_disconnected(consumer);
    for (uint32_t i = 0; i < client->sessions_end; i++)
        if (client->sessions[i] != NULL)
            client_session_end(client->sessions[i]);
    tell_down(client);
    fall_back(client);
    const leat_ns pause = backoff_failed(&client->backoff);
    client->phase = PHASE_WAITING;
    client->phase_end = client_after(client->now, pause);
    client->woken = true;
    client->last_failure = failure;
    client->failure = 0;
    client_timer_at(client, client->phase_end);
    if (!backoff_open(&client->backoff) || client->opening)
        return;
    const struct leat_event event = { .type = LEAT_EVENT_CIRCUIT_OPEN,
                                      .error = failure,
                                      .partition = -1,
                                      .time_ns = pause,
                                      .text = client->failure_text };
    client_event(client, &event);
}

/* ---- for producers and consumers */

enum leat_error connect_describe(struct leat_client *client, char *topic, control_answer *answer,
                                 void *context)
{
    Leat__Control__DescribeTopic describe = LEAT__CONTROL__DESCRIBE_TOPIC__INIT;
    describe.name = topic;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_DESCRIBE_TOPIC;
    request.describe_topic = &describe;
    return connect_ask(client, &request, answer, context);
}

enum leat_error topic_shards_take(struct topic_shards *shards,
                                  const Leat__Control__Response *response)
{
    if (response->body_case != LEAT__CONTROL__RESPONSE__BODY_TOPIC
        || response->topic->n_partitions == 0)
        return LEAT_ERR_PROTOCOL;
    const size_t count = response->topic->n_partitions;
    uint8_t *shard = malloc(count);
    if (shard == NULL)
        return LEAT_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        const Leat__Control__Partition *partition = response->topic->partitions[i];
        if (partition->index != i || partition->shard >= LEAT_SHARDS_MAX) {
            free(shard);
            return LEAT_ERR_PROTOCOL;
        }
        shard[i] = (uint8_t)partition->shard;
    }
    shards->shard = shard;
    shards->partitions = (uint32_t)count;
    return LEAT_OK;
}

void topic_shards_free(struct topic_shards *shards)
{
    free(shards->shard);
    *shards = (struct topic_shards){ 0 };
}

bool connect_sessions(struct leat_client *client, uint64_t wanted)
{
    bool up = true;
    for (uint32_t shard = 0; shard < LEAT_SHARDS_MAX; shard++) {
        if ((wanted >> shard & 1) == 0)
            continue;
        const struct client_session *session = client_session_want(client, shard);
        up = up && session != NULL && session->state == SESSION_UP;
    }
    return up;
}

void connect_close_streams(struct leat_client *client, const struct stream_name *streams,
                           size_t count)
{
    Leat__Control__StreamRef *refs = calloc(count, sizeof *refs);
    Leat__Control__StreamRef **list = calloc(count, sizeof(void *));
    if (refs != NULL && list != NULL && client->phase == PHASE_READY && client->failure == 0) {
        for (size_t i = 0; i < count; i++) {
            leat__control__stream_ref__init(&refs[i]);
            refs[i].session = streams[i].session;
            refs[i].stream = streams[i].number;
            list[i] = &refs[i];
        }
        Leat__Control__CloseStreams close = LEAT__CONTROL__CLOSE_STREAMS__INIT;
        close.n_streams = count;
        close.streams = list;
        Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
        request.body_case = LEAT__CONTROL__REQUEST__BODY_CLOSE_STREAMS;
        request.close_streams = &close;
        connect_ask(client, &request, NULL, client);
        flush_control(client);
    }
    free(refs);
    free(list);
}

int connect_wait_ready(struct leat_client *client, leat_ns deadline)
{
    while (client->phase != PHASE_READY) {
        if (client->phase == PHASE_WAITING && backoff_open(&client->backoff))
            return client_error(client, LEAT_ERR_CIRCUIT_OPEN,
                                "not connected, and reconnecting is paused: %s",
                                client->failure_text);
        const leat_ns now = client_clock(client);
        if (now >= deadline)
            return client_error(client, LEAT_ERR_TIMEOUT,
                                "not connected within "
                                "request_timeout_ns: %s",
                                client->failure_text);
        client_run(client, deadline - now);
    }
    return LEAT_OK;
}

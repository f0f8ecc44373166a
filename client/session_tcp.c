/* A session over its own TCP connection: connecting, attaching, the end. */
#include "client/session_tcp.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "client/client_core.h"
#include "client/resolve.h"
#include "schema/error_text.h"
#include "transport/event_wait.h"
#include "transport/link_tcp.h"

static void watch(struct client_session *session, int how, bool output)
{
    struct epoll_event event = { .events = EPOLLIN | (output ? EPOLLOUT : 0) };
    event.data.ptr = session;
    epoll_ctl(session->client->epoll, how, session->fd, &event);
    session->watches_output = output;
}

void session_tcp_connect(struct client_session *session)
{
    struct leat_client *client = session->client;
    if (session->stage == NULL)
        session->stage = malloc(SESSION_STAGE_BYTES);
    if (session->spill == NULL)
        session->spill = malloc(LEAT_FRAME_BYTES_MAX);
    if (session->stage == NULL || session->spill == NULL) {
        client_fail(client, LEAT_ERR_NO_MEMORY, "connection to shard %u: no memory",
                    session->shard);
        return;
    }
    const struct link_tcp_options options = {
        .socket_buffer_bytes = client->options.values.socket_buffer_bytes,
        .congestion = client->options.values.tcp_congestion,
        .user_timeout_ms = client->keepalive_ms,
    };
    const struct endpoint *endpoint = &client->endpoints[session->shard];
    const enum leat_error failed = link_tcp_connect(&session->fd, &endpoint->address, &options);
    if (failed != LEAT_OK) {
        session->fd = -1;
        resolve_endpoint_failed(client);
        client_fail(client, failed, "cannot connect to shard %u at %s: %s", session->shard,
                    endpoint->text, leat_error_text(failed));
        return;
    }
    session->state = SESSION_CONNECTING;
    watch(session, EPOLL_CTL_ADD, true);
}

static void attach(struct client_session *session)
{
    struct leat_frame_attach frame = { .session = session->id, .version = LEAT_PROTOCOL_VERSION };
    memcpy(frame.token, session->token, sizeof frame.token);
    session->small_size = (uint32_t)leat_frame_write_attach(session->small, &frame);
    session->state = SESSION_ATTACHING;
    client_dirty(session->client, session);
}

void session_tcp_ping(struct client_session *session)
{
    session->asked = true;
    /* If the small-frame buffer is full of unsent frames, those serve as a PING. */
    if (session->small_size + LEAT_PING_BYTES > sizeof session->small)
        return;
    session->small_size +=
        (uint32_t)leat_frame_write_ping(session->small + session->small_size, LEAT_FRAME_PING, 0);
    client_dirty(session->client, session);
}

void session_tcp_writable(struct client_session *session)
{
    if (session->state == SESSION_CONNECTING) {
        const enum leat_error error = link_tcp_connected(session->fd);
        if (error == LEAT_AGAIN)
            return;
        if (error != LEAT_OK) {
            resolve_endpoint_failed(session->client);
            client_fail(session->client, error, "cannot connect to shard %u at %s", session->shard,
                        session->client->endpoints[session->shard].text);
            return;
        }
        attach(session);
    }
    watch(session, EPOLL_CTL_MOD, false);
    client_dirty(session->client, session);
}

void session_tcp_end(struct client_session *session)
{
    if (session->fd >= 0)
        event_close(session->client->epoll, session->fd);
    session->fd = -1;
    session->watches_output = session->pong_due = false;
    session->slice_left = session->staged = session->small_size = session->spill_size = 0;
    session->slice_reader = NULL;
}

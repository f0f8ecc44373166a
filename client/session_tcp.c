#include "client/session_tcp.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "client/client_core.h"
#include "client/resolve.h"
#include "schema/error_text.h"
#include "transport/event_wait.h"
#include "transport/link_tcp.h"

static void watch(struct data_link *link, int how, bool output)
{
    struct epoll_event event = { .events = EPOLLIN | (output ? EPOLLOUT : 0) };
    event.data.ptr = link;
    epoll_ctl(link->client->epoll, how, link->fd, &event);
    link->watches_output = output;
}

void tcp_link_connect(struct data_link *link)
{
    struct leat_client *client = link->client;
    if (link->stage == NULL)
        link->stage = malloc(LINK_STAGE_BYTES);
    if (link->spill == NULL)
        link->spill = malloc(LEAT_FRAME_BYTES_MAX);
    if (link->stage == NULL || link->spill == NULL) {
        client_fail(client, LEAT_ERR_NO_MEMORY, "connection to shard %u: no memory", link->shard);
        return;
    }
    const struct link_tcp_options options = {
        .socket_buffer_bytes = client->options.values.socket_buffer_bytes,
        .congestion = client->options.values.tcp_congestion,
        .user_timeout_ms = client->keepalive_ms,
    };
    const struct endpoint *endpoint = &client->endpoints[link->shard];
    const enum leat_error failed = link_tcp_connect(&link->fd, &endpoint->address, &options);
    if (failed != LEAT_OK) {
        link->fd = -1;
        resolve_endpoint_failed(client);
        client_fail(client, failed, "cannot connect to shard %u at %s: %s", link->shard,
                    endpoint->text, leat_error_text(failed));
        return;
    }
    link->state = LINK_CONNECTING;
    watch(link, EPOLL_CTL_ADD, true);
}

static void attach(struct data_link *link)
{
    struct leat_frame_attach frame = { .session = link->session, .version = LEAT_PROTOCOL_VERSION };
    memcpy(frame.token, link->token, sizeof frame.token);
    link->small_size = (uint32_t)leat_frame_write_attach(link->small, &frame);
    link->state = LINK_ATTACHING;
    client_dirty(link->client, link);
}

void tcp_link_ping(struct data_link *link)
{
    link->asked = true;
    /* What goes first is full of what did not leave: that asks as well. */
    if (link->small_size + LEAT_PING_BYTES > sizeof link->small)
        return;
    link->small_size +=
        (uint32_t)leat_frame_write_ping(link->small + link->small_size, LEAT_FRAME_PING, 0);
    client_dirty(link->client, link);
}

void tcp_link_writable(struct data_link *link)
{
    if (link->state == LINK_CONNECTING) {
        const enum leat_error error = link_tcp_connected(link->fd);
        if (error == LEAT_AGAIN)
            return;
        if (error != LEAT_OK) {
            resolve_endpoint_failed(link->client);
            client_fail(link->client, error, "cannot connect to shard %u at %s", link->shard,
                        link->client->endpoints[link->shard].text);
            return;
        }
        attach(link);
    }
    watch(link, EPOLL_CTL_MOD, false);
    client_dirty(link->client, link);
}

void tcp_link_end(struct data_link *link)
{
    if (link->fd >= 0)
        event_close(link->client->epoll, link->fd);
    link->fd = -1;
    link->watches_output = link->pong_due = false;
    link->slice_left = link->staged = link->small_size = link->spill_size = 0;
    link->slice_reader = NULL;
}

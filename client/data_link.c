#include "client/data_link.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "client/client_core.h"
#include "schema/error_text.h"
#include "transport/link_tcp.h"

static uint64_t shard_bit(const struct data_link *link)
{
    return UINT64_C(1) << link->shard;
}

static void watch(struct data_link *link, int how, bool output)
{
    struct epoll_event event = { .events = EPOLLIN | (output ? EPOLLOUT : 0) };
    event.data.ptr = link;
    epoll_ctl(link->client->epoll, how, link->fd, &event);
    link->watches_output = output;
}

static void on_session(void *context, int error, const char *text,
                       const Leat__Control__Response *response)
{
    struct data_link *link = context;
    struct leat_client *client = link->client;
    if (error != 0 || response == NULL) {
        client_fail(client, error, "session with shard %u: %s", link->shard, text);
        return;
    }
    if (response->body_case != LEAT__CONTROL__RESPONSE__BODY_SESSION) {
        client_fail(client, LEAT_ERR_PROTOCOL, "session with shard %u: not a grant", link->shard);
        return;
    }
    link->session = response->session->session;
    memcpy(link->token, response->session->token.data, LEAT_TOKEN_BYTES);
    const struct link_tcp_options options = {
        .socket_buffer_bytes = client->options.values.socket_buffer_bytes,
        .congestion = client->options.values.tcp_congestion,
    };
    const struct endpoint *endpoint = &client->endpoints[link->shard];
    const enum leat_error failed = link_tcp_connect(&link->fd, &endpoint->address, &options);
    if (failed != LEAT_OK) {
        link->fd = -1;
        client_fail(client, failed, "cannot connect to shard %u at %s: %s", link->shard,
                    endpoint->text, leat_error_text(failed));
        return;
    }
    link->state = LINK_CONNECTING;
    watch(link, EPOLL_CTL_ADD, true);
}

static struct data_link *make(struct leat_client *client, uint32_t shard)
{
    struct data_link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return NULL;
    link->client = client;
    link->shard = shard;
    link->fd = -1;
    TAILQ_INIT(&link->publishers);
    TAILQ_INIT(&link->credits);
    link->stage = malloc(LINK_STAGE_BYTES);
    link->spill = malloc(LEAT_FRAME_BYTES_MAX);
    if (link->stage == NULL || link->spill == NULL) {
        data_link_free(link);
        return NULL;
    }
    return link;
}

struct data_link *data_link_want(struct leat_client *client, uint32_t shard)
{
    if (shard >= LEAT_SHARDS_MAX || !client->endpoints[shard].known) {
        client_fail(client, LEAT_ERR_PROTOCOL, "the broker told no address for shard %u", shard);
        return NULL;
    }
    struct data_link *link = client->links[shard];
    if (link == NULL) {
        link = client->links[shard] = make(client, shard);
        if (link == NULL) {
            client_fail(client, LEAT_ERR_NO_MEMORY, "connection to shard %u: no memory", shard);
            return NULL;
        }
    }
    if (link->state != LINK_NONE)
        return link;
    Leat__Control__OpenSession open = LEAT__CONTROL__OPEN_SESSION__INIT;
    open.shard = shard;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_OPEN_SESSION;
    request.open_session = &open;
    const leat_ns deadline = client_after(client->now, client->options.values.request_timeout_ns);
    const enum leat_error error =
        control_link_ask(&client->control, &request, deadline, on_session, link);
    if (error == LEAT_OK) {
        link->state = LINK_ASKED;
        link->deadline = deadline;
        client_timer_at(client, deadline);
    } else if (error != LEAT_BUSY) {
        client_fail(client, error, "session with shard %u: %s", shard, leat_error_text(error));
    }
    return link;
}

static void attach(struct data_link *link)
{
    struct leat_frame_attach frame = { .session = link->session, .version = LEAT_PROTOCOL_VERSION };
    memcpy(frame.token, link->token, sizeof frame.token);
    link->small_size = (uint32_t)leat_frame_write_attach(link->small, &frame);
    link->state = LINK_ATTACHING;
    client_dirty(link->client, link);
}

void data_link_writable(struct data_link *link)
{
    if (link->state == LINK_CONNECTING) {
        const enum leat_error error = link_tcp_connected(link->fd);
        if (error == LEAT_AGAIN)
            return;
        if (error != LEAT_OK) {
            client_fail(link->client, error, "cannot connect to shard %u at %s", link->shard,
                        link->client->endpoints[link->shard].text);
            return;
        }
        attach(link);
    }
    watch(link, EPOLL_CTL_MOD, false);
    client_dirty(link->client, link);
}

enum leat_error data_link_attach(struct data_link *link, uint32_t number, void *stream)
{
    return stream_table_put(&link->streams, number, stream);
}

void data_link_detach_publisher(struct publisher *publisher)
{
    struct data_link *link = publisher->link;
    if (link == NULL)
        return;
    if (publisher->queued)
        TAILQ_REMOVE(&link->publishers, publisher, ready_link);
    publisher->queued = false;
    stream_table_remove(&link->streams, publisher->number);
    publisher->link = NULL;
}

void data_link_detach_reader(struct reader *reader)
{
    struct data_link *link = reader->link;
    if (link == NULL)
        return;
    if (reader->credit_queued)
        TAILQ_REMOVE(&link->credits, reader, credit_link);
    reader->credit_queued = false;
    stream_table_remove(&link->streams, reader->number);
    if (link->slice_reader == reader)
        link->slice_reader = NULL;
    reader->link = NULL;
}

void data_link_queue_publisher(struct publisher *publisher)
{
    struct data_link *link = publisher->link;
    if (link == NULL || publisher->held)
        return;
    if (!publisher->queued)
        TAILQ_INSERT_TAIL(&link->publishers, publisher, ready_link);
    publisher->queued = true;
    client_dirty(link->client, link);
}

void data_link_queue_credit(struct reader *reader)
{
    struct data_link *link = reader->link;
    if (link == NULL)
        return;
    if (!reader->credit_queued)
        TAILQ_INSERT_TAIL(&link->credits, reader, credit_link);
    reader->credit_queued = true;
    client_dirty(link->client, link);
}

void data_link_end(struct data_link *link)
{
    control_link_forget(&link->client->control, link);
    if (link->fd >= 0)
        close(link->fd); /* epoll lets go of it by itself */
    link->fd = -1;
    link->state = LINK_NONE;
    link->watches_output = false;
    link->slice_left = link->staged = link->small_size = link->spill_size = 0;
    link->slice_reader = NULL;
    link->client->links_up &= ~shard_bit(link);
    link->client->links_dirty &= ~shard_bit(link);
    stream_table_clear(&link->streams);
}

void data_link_free(struct data_link *link)
{
    if (link == NULL)
        return;
    data_link_end(link);
    free(link->stage);
    free(link->spill);
    free(link);
}

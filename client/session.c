#include "client/session.h"

#include <stdlib.h>
#include <string.h>

#include "client/client_core.h"
#include "client/consumer.h"
#include "client/session_packets.h"
#include "client/producer.h"
#include "client/session_tcp.h"
#include "schema/error_text.h"

#define THROTTLED_EPISODE_NS (10 * LEAT_NS_PER_S)

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
    memcpy(link->reset_token, response->session->reset_token.data, LEAT_TOKEN_BYTES);
    link->tag_to_broker = response->session->tag_to_broker;
    link->tag_to_client = response->session->tag_to_client;
    link->may_be_partial = response->session->checksum_partial;
    if (client->transport == URL_TCP)
        tcp_link_connect(link);
    else
        packet_link_connect(link);
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
        if (shard >= client->links_end)
            client->links_end = shard + 1;
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

void data_link_flush(struct data_link *link)
{
    link->client->links_dirty &= ~(UINT64_C(1) << link->shard);
    if (link->state < LINK_ATTACHING)
        return;
    if (link->packets == NULL)
        tcp_link_flush(link);
    else
        packet_link_flush(link);
}

leat_ns data_link_deadline(const struct data_link *link)
{
    const bool in_packets = link->state >= LINK_ATTACHING && link->packets != NULL;
    return in_packets ? packet_link_deadline(link) : LEAT_NS_NEVER;
}

/* ---- streams */

enum leat_error data_link_attach(struct data_link *link, uint32_t number, void *stream)
{
    return stream_table_put(&link->streams, number, stream);
}

void data_link_detach_publisher(struct publisher *publisher)
{
    struct data_link *link = publisher->link;
    if (link == NULL)
        return;
    data_link_unqueue_publisher(publisher);
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
    reader->credit_queued = reader->credit_again = false;
    commits_interrupted(&reader->commits);
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

void data_link_unqueue_publisher(struct publisher *publisher)
{
    if (publisher->queued)
        TAILQ_REMOVE(&publisher->link->publishers, publisher, ready_link);
    publisher->queued = false;
}

struct reader *data_link_next_credit(struct data_link *link)
{
    struct reader *reader = TAILQ_FIRST(&link->credits);
    if (reader == NULL)
        return NULL;
    TAILQ_REMOVE(&link->credits, reader, credit_link);
    reader->credit_queued = false;
    return reader;
}

void *data_link_stream(const struct data_link *link, uint32_t number, enum stream_kind kind)
{
    enum stream_kind *stream = stream_table_find(&link->streams, number);
    return stream != NULL && *stream == kind ? (void *)stream : NULL;
}

/* ---- frames */

bool data_link_is_uncovered(const struct data_link *link)
{
    return link->packets != NULL && link->packets->may_be_partial;
}

void data_link_damaged(struct data_link *link, const char *what)
{
    link->client->seals = true;
    client_fail(
        link->client, LEAT_ERR_BAD_CRC,
        "shard %u: %s came damaged over a link within this machine; from now on checksums cover "
        "all bytes",
        link->shard, what);
}

void data_link_broken(struct data_link *link, const char *what)
{
    if (data_link_is_uncovered(link)) {
        data_link_damaged(link, what);
        return;
    }
    client_fail(link->client, LEAT_ERR_PROTOCOL, "shard %u broke the protocol: %s", link->shard,
                what);
}

void data_link_was_reset(struct data_link *link, const struct leat_frame_reset *reset)
{
    link->client->seals |= reset->status == LEAT_ERR_BAD_CRC;
    client_fail(link->client, reset->status != LEAT_OK ? reset->status : LEAT_ERR_CLOSED,
                "shard %u ended the session: %s", link->shard, leat_error_text(reset->status));
}

static void attached(struct data_link *link, const struct leat_frame_attached *frame)
{
    struct leat_client *client = link->client;
    if (link->state == LINK_UP && link->packets != NULL && frame->session == link->session)
        return; /* said again */
    if (link->state != LINK_ATTACHING || frame->session != link->session) {
        data_link_broken(link, "ATTACHED was not expected");
        return;
    }
    if (frame->status != LEAT_OK) {
        client_fail(client, frame->status, "shard %u refused the session: %s", link->shard,
                    frame->status == LEAT_ERR_LIMIT
                        ? "the broker has no file descriptor, or no place, left"
                        : leat_error_text(frame->status));
        return;
    }
    link->state = LINK_UP;
    link->heard = client->now;
    link->asked = false;
    if (link->packets == NULL)
        client->links_up |= UINT64_C(1) << link->shard;
    client->work = true;
}

/* True: the application has not heard of this episode. */
static bool is_news(struct throttling *t, leat_ns now)
{
    const bool news = !t->began || now - t->last >= THROTTLED_EPISODE_NS;
    t->began = true;
    t->last = now;
    return news;
}

static void throttled(struct data_link *link, struct publisher *publisher, struct reader *reader,
                      bool by_client)
{
    struct leat_event event = { .type = LEAT_EVENT_THROTTLED,
                                .error = LEAT_ERR_THROTTLED,
                                .text = by_client
                                            ? "the broker's quota for this client's name is used up"
                                            : "the topic's quota is used up" };
    if (publisher != NULL && is_news(&publisher->producer->throttling, link->client->now)) {
        event.partition = (int32_t)publisher->partition;
        event.topic = publisher->producer->topic;
        event.producer = publisher->producer;
        client_event(link->client, &event);
    } else if (reader != NULL && is_news(&reader->topic->consumer->throttling, link->client->now)) {
        reader_event(reader, event);
    }
}

static void blocked(struct data_link *link, struct publisher *publisher, struct reader *reader,
                    uint64_t limit)
{
    if (limit >= LEAT_BLOCKED_BY_TOPIC_QUOTA) {
        throttled(link, publisher, reader, limit == LEAT_BLOCKED_BY_CLIENT_QUOTA);
    } else if (reader != NULL && limit == reader->stream.limit) {
        reader->stream.blocked = true;
        reader_credit(reader);
    }
}

/* Frames for streams that were closed here and not yet there are dropped. */
void data_link_handle(struct data_link *link, const struct leat_frame *frame)
{
    struct publisher *publisher = data_link_stream(link, frame->stream, STREAM_PUBLISHER);
    struct reader *reader = data_link_stream(link, frame->stream, STREAM_READER);
    switch (frame->type) {
    case LEAT_FRAME_ATTACHED: attached(link, &frame->attached); break;
    case LEAT_FRAME_PUBLISH_ACK:
        if (publisher != NULL)
            producer_acked(publisher, &frame->publish_ack);
        break;
    case LEAT_FRAME_CREDIT:
        if (publisher != NULL && frame->credit.limit > publisher->outbox.credit) {
            publisher->outbox.credit = frame->credit.limit;
            data_link_queue_publisher(publisher);
        }
        break;
    case LEAT_FRAME_BLOCKED: blocked(link, publisher, reader, frame->blocked_limit); break;
    case LEAT_FRAME_COMMITTED:
        if (reader != NULL)
            reader_committed(reader, &frame->committed);
        break;
    case LEAT_FRAME_COMMIT:
    case LEAT_FRAME_ATTACH:
    case LEAT_FRAME_PUBLISH:
    case LEAT_FRAME_PUBLISH_AT: data_link_broken(link, "a frame only clients send"); break;
    default: break; /* PONG, PAD, and what a newer broker may say */
    }
}

/* ---- the end */

void data_link_end(struct data_link *link)
{
    struct leat_client *client = link->client;
    const uint64_t bit = UINT64_C(1) << link->shard;
    control_link_forget(&client->control, link);
    if (link->packets != NULL)
        packet_link_end(link);
    tcp_link_end(link);
    link->state = LINK_NONE;
    client->links_up &= ~bit;
    client->links_dirty &= ~bit;
    stream_table_clear(&link->streams);
}

void data_link_free(struct data_link *link)
{
    if (link == NULL)
        return;
    data_link_end(link);
    free(link->stage);
    free(link->spill);
    packet_link_free(link);
    free(link);
}

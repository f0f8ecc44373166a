/* The session with one shard: the part that TCP and packets have in common. */
#include "client/session.h"

#include <stdlib.h>
#include <string.h>

#include "client/client_core.h"
#include "client/consumer.h"
#include "client/producer.h"
#include "client/session_packets.h"
#include "client/session_tcp.h"
#include "schema/error_text.h"

#define THROTTLED_EPISODE_NS (10 * LEAT_NS_PER_S)

static void on_session(void *context, int error, const char *text,
                       const Leat__Control__Response *response)
{
    struct client_session *session = context;
    struct leat_client *client = session->client;
    if (error != 0 || response == NULL) {
        client_fail(client, error, "session with shard %u: %s", session->shard, text);
        return;
    }
    if (response->body_case != LEAT__CONTROL__RESPONSE__BODY_SESSION) {
        client_fail(client, LEAT_ERR_PROTOCOL,
                    "session with shard %u: the broker sent an answer of another kind",
                    session->shard);
        return;
    }
    session->id = response->session->session;
    memcpy(session->token, response->session->token.data, LEAT_TOKEN_BYTES);
    memcpy(session->reset_token, response->session->reset_token.data, LEAT_TOKEN_BYTES);
    session->tag_to_broker = response->session->tag_to_broker;
    session->tag_to_client = response->session->tag_to_client;
    session->may_be_partial = response->session->checksum_partial;
    if (client->transport == URL_TCP)
        session_tcp_connect(session);
    else
        session_packets_connect(session);
}

static struct client_session *make(struct leat_client *client, uint32_t shard)
{
    struct client_session *session = calloc(1, sizeof *session);
    if (session == NULL)
        return NULL;
    session->client = client;
    session->shard = shard;
    session->fd = -1;
    TAILQ_INIT(&session->publishers);
    TAILQ_INIT(&session->credits);
    return session;
}

struct client_session *client_session_want(struct leat_client *client, uint32_t shard)
{
    if (shard >= LEAT_SHARDS_MAX || !client->endpoints[shard].known) {
        client_fail(client, LEAT_ERR_PROTOCOL, "the broker gave no address for shard %u", shard);
        return NULL;
    }
    struct client_session *session = client->sessions[shard];
    if (session == NULL) {
        session = client->sessions[shard] = make(client, shard);
        if (shard >= client->sessions_end)
            client->sessions_end = shard + 1;
        if (session == NULL) {
            client_fail(client, LEAT_ERR_NO_MEMORY, "connection to shard %u: no memory", shard);
            return NULL;
        }
    }
    if (session->state != SESSION_NONE)
        return session;
    Leat__Control__OpenSession open = LEAT__CONTROL__OPEN_SESSION__INIT;
    open.shard = shard;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_OPEN_SESSION;
    request.open_session = &open;
    const leat_ns deadline = client_after(client->now, client->options.values.request_timeout_ns);
    const enum leat_error error =
        control_channel_ask(&client->control, &request, deadline, on_session, session);
    if (error == LEAT_OK) {
        session->state = SESSION_ASKED;
        session->deadline = deadline;
        client_timer_at(client, deadline);
    } else if (error != LEAT_BUSY) {
        client_fail(client, error, "session with shard %u: %s", shard, leat_error_text(error));
    }
    return session;
}

void client_session_flush(struct client_session *session)
{
    session->client->sessions_dirty &= ~(UINT64_C(1) << session->shard);
    if (session->state < SESSION_ATTACHING)
        return;
    if (session->packets == NULL)
        session_tcp_flush(session);
    else
        session_packets_flush(session);
}

leat_ns client_session_deadline(const struct client_session *session)
{
    const bool in_packets = session->state >= SESSION_ATTACHING && session->packets != NULL;
    return in_packets ? session_packets_deadline(session) : LEAT_NS_NEVER;
}

/* ---- streams */

enum leat_error client_session_attach(struct client_session *session, uint32_t number, void *stream)
{
    return stream_table_put(&session->streams, number, stream);
}

void client_session_detach_publisher(struct publisher *publisher)
{
    struct client_session *session = publisher->session;
    if (session == NULL)
        return;
    client_session_unqueue_publisher(publisher);
    stream_table_remove(&session->streams, publisher->number);
    publisher->session = NULL;
}

void client_session_detach_reader(struct reader *reader)
{
    struct client_session *session = reader->session;
    if (session == NULL)
        return;
    if (reader->credit_queued)
        TAILQ_REMOVE(&session->credits, reader, credit_node);
    reader->credit_queued = reader->credit_again = false;
    commit_state_interrupted(&reader->commits);
    stream_table_remove(&session->streams, reader->number);
    if (session->slice_reader == reader)
        session->slice_reader = NULL;
    reader->session = NULL;
}

void client_session_queue_publisher(struct publisher *publisher)
{
    struct client_session *session = publisher->session;
    if (session == NULL || publisher->held)
        return;
    if (!publisher->queued)
        TAILQ_INSERT_TAIL(&session->publishers, publisher, ready_node);
    publisher->queued = true;
    client_dirty(session->client, session);
}

void client_session_queue_credit(struct reader *reader)
{
    struct client_session *session = reader->session;
    if (session == NULL)
        return;
    if (!reader->credit_queued)
        TAILQ_INSERT_TAIL(&session->credits, reader, credit_node);
    reader->credit_queued = true;
    client_dirty(session->client, session);
}

void client_session_unqueue_publisher(struct publisher *publisher)
{
    if (publisher->queued)
        TAILQ_REMOVE(&publisher->session->publishers, publisher, ready_node);
    publisher->queued = false;
}

struct reader *client_session_next_credit(struct client_session *session)
{
    struct reader *reader = TAILQ_FIRST(&session->credits);
    if (reader == NULL)
        return NULL;
    TAILQ_REMOVE(&session->credits, reader, credit_node);
    reader->credit_queued = false;
    return reader;
}

void *client_session_stream(const struct client_session *session, uint32_t number,
                            enum stream_kind kind)
{
    enum stream_kind *stream = stream_table_find(&session->streams, number);
    return stream != NULL && *stream == kind ? (void *)stream : NULL;
}

/* ---- frames */

bool client_session_is_uncovered(const struct client_session *session)
{
    return session->packets != NULL && session->packets->may_be_partial;
}

void client_session_damaged(struct client_session *session, const char *what)
{
    session->client->seals = true;
    client_fail(
        session->client, LEAT_ERR_BAD_CRC,
        "shard %u: %s arrived damaged over a link within this machine; from now on checksums cover "
        "all bytes",
        session->shard, what);
}

void client_session_broken(struct client_session *session, const char *what)
{
    if (client_session_is_uncovered(session)) {
        client_session_damaged(session, what);
        return;
    }
    client_fail(session->client, LEAT_ERR_PROTOCOL, "shard %u broke the protocol: %s",
                session->shard, what);
}

void client_session_was_reset(struct client_session *session, const struct leat_frame_reset *reset)
{
    session->client->seals |= reset->status == LEAT_ERR_BAD_CRC;
    client_fail(session->client, reset->status != LEAT_OK ? reset->status : LEAT_ERR_CLOSED,
                "shard %u ended the session: %s", session->shard, leat_error_text(reset->status));
}

static void attached(struct client_session *session, const struct leat_frame_attached *frame)
{
    struct leat_client *client = session->client;
    if (session->state == SESSION_UP && session->packets != NULL && frame->session == session->id)
        return; /* a repeated answer */
    if (session->state != SESSION_ATTACHING || frame->session != session->id) {
        client_session_broken(session, "an unexpected ATTACHED");
        return;
    }
    if (frame->status != LEAT_OK) {
        client_fail(client, frame->status, "shard %u refused the session: %s", session->shard,
                    frame->status == LEAT_ERR_LIMIT
                        ? "the broker has no file descriptor or no connection slot left"
                        : leat_error_text(frame->status));
        return;
    }
    session->state = SESSION_UP;
    session->heard = client->now;
    session->asked = false;
    if (session->packets == NULL)
        client->sessions_up |= UINT64_C(1) << session->shard;
    client->work = true;
}

/* True if the application was not told of this episode yet. */
static bool is_news(struct throttling *t, leat_ns now)
{
    const bool news = !t->began || now - t->last >= THROTTLED_EPISODE_NS;
    t->began = true;
    t->last = now;
    return news;
}

static void throttled(struct client_session *session, struct publisher *publisher,
                      struct reader *reader, bool by_client)
{
    struct leat_event event = { .type = LEAT_EVENT_THROTTLED,
                                .error = LEAT_ERR_THROTTLED,
                                .text = by_client
                                            ? "the broker's quota for this client's name is used up"
                                            : "the topic's quota is used up" };
    if (publisher != NULL && is_news(&publisher->producer->throttling, session->client->now)) {
        event.partition = (int32_t)publisher->partition;
        event.topic = publisher->producer->topic;
        event.producer = publisher->producer;
        client_event(session->client, &event);
    } else if (reader != NULL
               && is_news(&reader->topic->consumer->throttling, session->client->now)) {
        reader_event(reader, event);
    }
}

static void blocked(struct client_session *session, struct publisher *publisher,
                    struct reader *reader, uint64_t limit)
{
    if (limit >= LEAT_BLOCKED_BY_TOPIC_QUOTA) {
        throttled(session, publisher, reader, limit == LEAT_BLOCKED_BY_CLIENT_QUOTA);
    } else if (reader != NULL && limit == reader->stream.limit) {
        reader->stream.blocked = true;
        reader_credit(reader);
    }
}

/* Drops frames for streams that were closed here and not yet at the broker. */
void client_session_handle(struct client_session *session, const struct leat_frame *frame)
{
    struct publisher *publisher = client_session_stream(session, frame->stream, STREAM_PUBLISHER);
    struct reader *reader = client_session_stream(session, frame->stream, STREAM_READER);
    switch (frame->type) {
    case LEAT_FRAME_ATTACHED: attached(session, &frame->attached); break;
    case LEAT_FRAME_PUBLISH_ACK:
        if (publisher != NULL)
            producer_acked(publisher, &frame->publish_ack);
        break;
    case LEAT_FRAME_CREDIT:
        if (publisher != NULL && frame->credit.limit > publisher->queue.credit) {
            publisher->queue.credit = frame->credit.limit;
            client_session_queue_publisher(publisher);
        }
        break;
    case LEAT_FRAME_BLOCKED: blocked(session, publisher, reader, frame->blocked_limit); break;
    case LEAT_FRAME_COMMITTED:
        if (reader != NULL)
            reader_committed(reader, &frame->committed);
        break;
    case LEAT_FRAME_COMMIT:
    case LEAT_FRAME_ATTACH:
    case LEAT_FRAME_PUBLISH:
    case LEAT_FRAME_PUBLISH_AT:
        client_session_broken(session, "a frame that only clients may send");
        break;
    default: break; /* PONG, PAD, and frames of a newer broker */
    }
}

/* ---- the end */

void client_session_end(struct client_session *session)
{
    struct leat_client *client = session->client;
    const uint64_t bit = UINT64_C(1) << session->shard;
    control_channel_forget(&client->control, session);
    if (session->packets != NULL)
        session_packets_end(session);
    session_tcp_end(session);
    session->state = SESSION_NONE;
    client->sessions_up &= ~bit;
    client->sessions_dirty &= ~bit;
    stream_table_clear(&session->streams);
}

void client_session_free(struct client_session *session)
{
    if (session == NULL)
        return;
    client_session_end(session);
    free(session->stage);
    free(session->spill);
    session_packets_free(session);
    free(session);
}

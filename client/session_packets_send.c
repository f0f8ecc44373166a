/* A session over packets, sending: frames into packets, and what was lost again. */
#include <string.h>

#include "client/client_core.h"
#include "client/consumer.h"
#include "client/session.h"
#include "client/session_packets.h"

/* Pause before retrying when the link had no free buffer. */
#define RETRY_NS (200 * LEAT_NS_PER_US)

/* The packet being filled. */
struct packet {
    struct link_outgoing out;
    uint32_t at;    /* offset of the next frame */
    uint32_t end;   /* limit for frames */
    uint32_t items; /* items noted for recovery */
    bool publishes; /* it contains a piece of a batch */
};

static bool begin(struct client_session *session, struct packet *p)
{
    struct leat_client *client = session->client;
    struct flow *flow = &session->packets->flow;
    struct link *link = client->port.link;
    if (!link->ops->reserve(link, &p->out)) {
        client_dirty(client, session);
        client_timer_at(client, client->now + RETRY_NS);
        return false;
    }
    p->at = flow_begin(flow, p->out.bytes, client->now);
    p->end = flow->options.payload_max;
    p->items = 0;
    p->publishes = false;
    return true;
}

static void send_out(struct client_session *session, struct packet *p)
{
    struct leat_client *client = session->client;
    struct link *link = client->port.link;
    if (session->packets->sealed)
        leat_packet_seal(p->out.bytes, p->at, NULL, 0);
    else
        leat_packet_seal_partial(p->out.bytes, p->at, NULL, 0);
    link->ops->send(link, &p->out, p->at, NULL, &session->packets->peer);
    client->port.staged = true;
    client->stats.bytes_sent += p->at;
}

static void finish(struct client_session *session, struct packet *p)
{
    flow_commit(&session->packets->flow, p->out.bytes, p->at, session->client->now);
    send_out(session, p);
}

static bool fits(const struct packet *p, uint32_t bytes)
{
    return p->end - p->at >= bytes;
}

/* Reserves room for one more frame and notes the item for recovery. False: the packet is full. */
static bool note(struct client_session *session, struct packet *p, uint8_t kind, uint32_t stream,
                 uint64_t at, uint32_t size)
{
    const struct flow_item item = { .at = at, .stream = stream, .size = size, .kind = kind };
    if (!flow_note(&session->packets->flow, &item))
        return false;
    p->items++;
    return true;
}

/* ---- small frames; each function returns true when the packet is full */

static bool add_attach(struct client_session *session, struct packet *p)
{
    struct leat_frame_attach frame = { .session = session->id, .version = LEAT_PROTOCOL_VERSION };
    memcpy(frame.token, session->token, sizeof frame.token);
    if (!note(session, p, LEAT_FRAME_ATTACH, 0, 0, 0))
        return true;
    p->at += (uint32_t)leat_frame_write_attach(p->out.bytes + p->at, &frame);
    /* The broker's link may not be within this machine after all: the second ATTACH has a full
     * checksum. */
    session->packets->sealed =
        !session->packets->may_be_partial || session->packets->attaches++ != 0;
    session->packets->attach_due = false;
    return false;
}

static bool add_ping(struct client_session *session, struct packet *p, uint8_t type, uint64_t value)
{
    if (!fits(p, LEAT_PING_BYTES) || !note(session, p, type, 0, value, 0))
        return true;
    p->at += (uint32_t)leat_frame_write_ping(p->out.bytes + p->at, type, value);
    return false;
}

static bool add_pings(struct client_session *session, struct packet *p)
{
    struct session_packets *packets = session->packets;
    if (packets->ping_due && add_ping(session, p, LEAT_FRAME_PING, 0))
        return true;
    packets->ping_due = false;
    while (packets->pong_count > 0) {
        if (add_ping(session, p, LEAT_FRAME_PONG, packets->pongs[packets->pong_count - 1]))
            return true;
        packets->pong_count--;
    }
    return false;
}

static bool add_credit(struct client_session *session, struct packet *p, struct reader *reader)
{
    struct leat_frame_credit credit = { .limit = reader->stream.limit,
                                        .consumed = reader->stream.credited };
    const bool due = !reader_quiet(reader) && partition_stream_credit(&reader->stream, &credit);
    if (!due && !reader->credit_again)
        return false;
    reader->credit_again = false;
    if (!note(session, p, LEAT_FRAME_CREDIT, reader->number, credit.limit, 0)) {
        reader->credit_again = true;
        return true;
    }
    p->at += (uint32_t)leat_frame_write_credit(p->out.bytes + p->at, reader->number, &credit);
    return false;
}

static bool add_commit(struct client_session *session, struct packet *p, struct reader *reader)
{
    struct leat_frame_commit commit;
    if (!reader_commit(reader, &commit))
        return false;
    if (!note(session, p, LEAT_FRAME_COMMIT, reader->number, commit.offset, 0)) {
        commit_state_interrupted(&reader->commits); /* sent in the next packet */
        return true;
    }
    p->at += (uint32_t)leat_frame_write_commit(p->out.bytes + p->at, reader->number, &commit);
    return false;
}

static bool add_credits(struct client_session *session, struct packet *p)
{
    struct reader *reader;
    while (fits(p, LEAT_CREDIT_BYTES + LEAT_COMMIT_BYTES)
           && (reader = client_session_next_credit(session)) != NULL) {
        if (!add_credit(session, p, reader) && !add_commit(session, p, reader))
            continue;
        client_session_queue_credit(reader);
        return true;
    }
    return !TAILQ_EMPTY(&session->credits);
}

/* ---- batches */

static bool add_piece(struct client_session *session, struct packet *p, uint32_t stream,
                      const struct batch_queue_piece *piece)
{
    if (!note(session, p, LEAT_FRAME_PUBLISH_AT, stream, piece->position, piece->size))
        return true;
    uint8_t *at = p->out.bytes + p->at;
    at += leat_frame_write_publish_at(at, stream, piece->position, piece->size);
    memcpy(at, piece->bytes, piece->size);
    p->at += LEAT_DATA_HEADER_BYTES + piece->size;
    p->publishes = true;
    return false;
}

static uint32_t piece_room(const struct packet *p)
{
    return fits(p, LEAT_DATA_HEADER_BYTES) ? p->end - p->at - LEAT_DATA_HEADER_BYTES : 0;
}

/* Sends BLOCKED once for each credit limit. */
static bool add_blocked(struct client_session *session, struct packet *p,
                        struct publisher *publisher)
{
    const uint64_t credit = publisher->queue.credit;
    if (publisher->blocked_said == credit)
        return false;
    if (!fits(p, LEAT_BLOCKED_BYTES)
        || !note(session, p, LEAT_FRAME_BLOCKED, publisher->number, credit, 0))
        return true;
    publisher->blocked_said = credit;
    session->client->stats.blocked++;
    p->at += (uint32_t)leat_frame_write_blocked(p->out.bytes + p->at, publisher->number, credit);
    return false;
}

/* With batches of one record, each record gets a packet of its own: no record waits for another or
 * is lost with it. */
static bool travels_alone(const struct publisher *publisher)
{
    return publisher->producer->options.batch_records_max == 1;
}

static bool add_publisher(struct client_session *session, struct packet *p,
                          struct publisher *publisher)
{
    struct batch_queue *queue = &publisher->queue;
    const bool alone = travels_alone(publisher);
    if (alone && p->publishes)
        return true;
    for (;;) {
        struct batch_queue_cursor cursor = batch_queue_cursor(queue);
        struct batch_queue_piece piece;
        const enum batch_queue_step step =
            batch_queue_next_any_order(queue, &cursor, piece_room(p), &piece);
        if (step == BATCH_QUEUE_FULL
            || (step == BATCH_QUEUE_BLOCKED && add_blocked(session, p, publisher)))
            return true;
        if (step != BATCH_QUEUE_PIECE)
            break;
        if (add_piece(session, p, publisher->number, &piece))
            return true;
        batch_queue_commit(queue, &cursor);
        session->client->stats.batches_sent += piece.ends;
        if (piece.ends && alone) {
            if (!batch_queue_has_content(queue))
                client_session_unqueue_publisher(publisher);
            return true;
        }
    }
    client_session_unqueue_publisher(publisher);
    return false;
}

static void add_publishers(struct client_session *session, struct packet *p)
{
    struct publisher *publisher;
    while ((publisher = TAILQ_FIRST(&session->publishers)) != NULL) {
        if (!add_publisher(session, p, publisher))
            continue;
        if (publisher->queued) { /* move to the end of the list */
            TAILQ_REMOVE(&session->publishers, publisher, ready_node);
            TAILQ_INSERT_TAIL(&session->publishers, publisher, ready_node);
        }
        return;
    }
}

/* ---- what was lost */

static void small_lost(struct client_session *session, const struct flow_item *item)
{
    struct publisher *publisher = client_session_stream(session, item->stream, STREAM_PUBLISHER);
    struct reader *reader = client_session_stream(session, item->stream, STREAM_READER);
    if (item->kind == LEAT_FRAME_ATTACH && session->state == SESSION_ATTACHING)
        session->packets->attach_due = true;
    if (item->kind == LEAT_FRAME_PONG)
        session_packets_pong_again(session->packets,
                                   item->at); /* the broker may wait for the answer */
    if (item->kind == LEAT_FRAME_CREDIT && reader != NULL && reader->stream.limit == item->at) {
        reader->credit_again = true; /* otherwise a later CREDIT was sent */
        client_session_queue_credit(reader);
    }
    if (item->kind == LEAT_FRAME_COMMIT && reader != NULL
        && commit_state_lost(&reader->commits, item->at))
        client_session_queue_credit(reader);
    if (item->kind == LEAT_FRAME_BLOCKED && publisher != NULL
        && publisher->blocked_said == item->at) {
        publisher->blocked_said = UINT64_MAX;
        client_session_queue_publisher(publisher); /* sends BLOCKED again if still blocked */
    }
}

/* Resends a lost piece, or as much of it as fits. */
static bool piece_lost(struct client_session *session, struct packet *p, struct flow_item *item)
{
    struct flow *flow = &session->packets->flow;
    struct publisher *publisher = client_session_stream(session, item->stream, STREAM_PUBLISHER);
    struct batch_queue_piece piece;
    const enum batch_queue_step step =
        publisher == NULL
            ? BATCH_QUEUE_NOTHING
            : batch_queue_lost(&publisher->queue, item->at, item->size, piece_room(p), &piece);
    if (step == BATCH_QUEUE_FULL
        || (step == BATCH_QUEUE_PIECE && add_piece(session, p, item->stream, &piece)))
        return true;
    if (step == BATCH_QUEUE_PIECE) {
        flow_resent(flow, piece.size);
        item->at += piece.size;
        item->size -= piece.size;
    }
    if (step != BATCH_QUEUE_PIECE || item->size == 0)
        flow_lost_done(flow);
    return false;
}

static bool add_lost(struct client_session *session, struct packet *p)
{
    struct flow *flow = &session->packets->flow;
    struct flow_item *item;
    while ((item = flow_lost(flow)) != NULL) {
        if (item->kind != LEAT_FRAME_PUBLISH_AT) {
            small_lost(session, item);
            flow_lost_done(flow);
            continue;
        }
        if (!flow_may_resend(flow, session->client->now))
            return false; /* new data has a budget of its own */
        if (piece_lost(session, p, item))
            return true;
    }
    return false;
}

/* ---- packets */

static void fill(struct client_session *session, struct packet *p)
{
    if (add_lost(session, p) || (session->packets->attach_due && add_attach(session, p)))
        return;
    if (session->state != SESSION_UP) /* the broker must accept ATTACH first */
        return;
    if (!add_pings(session, p) && !add_credits(session, p))
        add_publishers(session, p);
}

/* False: nothing to send, or no buffer or room. */
static bool send_content(struct client_session *session)
{
    struct leat_client *client = session->client;
    struct flow *flow = &session->packets->flow;
    struct packet p;
    if (!begin(session, &p))
        return false;
    fill(session, &p);
    if (p.items == 0) {
        flow_abandon(flow);
        client->port.link->ops->cancel(client->port.link, &p.out);
        return false;
    }
    finish(session, &p);
    return true;
}

static void send_ack(struct client_session *session)
{
    struct packet p;
    if (begin(session, &p))
        finish(session, &p);
}

/* Sends one packet of the size to be probed. */
static void send_probe(struct client_session *session, uint32_t size)
{
    struct session_packets *packets = session->packets;
    struct packet p;
    packets->flow.options.payload_max = size;
    if (begin(session, &p)) {
        const uint32_t room = p.end - p.at;
        mtu_write(&packets->mtu, p.out.bytes + p.at, room);
        p.at += room;
        note(session, &p, LEAT_FRAME_PAD, 0, 0, 0);
        flow_commit_trial(&packets->flow, p.out.bytes, p.at, session->client->now);
        send_out(session, &p);
        mtu_sent(&packets->mtu, session->client->now);
    }
    packets->flow.options.payload_max = packets->mtu.bytes;
}

void session_packets_flush(struct client_session *session)
{
    struct leat_client *client = session->client;
    struct session_packets *packets = session->packets;
    struct flow *flow = &packets->flow;
    flow_probe_floor(flow,
                     loop_jitter_probe_floor(&client->port.gap, client->port.link->limits.bypass));
    if (mtu_doubt(&packets->mtu, flow->probe_count, flow_large_lost(flow), client->now))
        flow_resize(flow, packets->mtu.bytes, client->now);
    const uint32_t probe = session->state == SESSION_UP ? mtu_probe(&packets->mtu, client->now) : 0;
    if (probe != 0 && flow_may_try(flow))
        send_probe(session, probe);
    while (session_packets_has_content(session) && flow_may_send(flow))
        if (!send_content(session))
            break;
    if (flow_ack_due(flow, client->now))
        send_ack(session);
}

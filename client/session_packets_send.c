#include <string.h>

#include "client/client_core.h"
#include "client/consumer.h"
#include "client/session.h"
#include "client/session_packets.h"

/* No buffer was free: soon, but not at once again. */
#define RETRY_NS (200 * LEAT_NS_PER_US)

/* The packet being filled. */
struct packet {
    struct link_outgoing out;
    uint32_t at;    /* where its next frame goes */
    uint32_t end;   /* and where frames end */
    uint32_t items; /* noted */
    bool publishes; /* a piece of a batch is among them */
};

static bool begin(struct data_link *link, struct packet *p)
{
    struct leat_client *client = link->client;
    struct flow *flow = &link->packets->flow;
    struct link *wire = client->port.link;
    if (!wire->ops->reserve(wire, &p->out)) {
        client_dirty(client, link);
        client_timer_at(client, client->now + RETRY_NS);
        return false;
    }
    p->at = flow_begin(flow, p->out.bytes, client->now);
    p->end = flow->options.payload_max;
    p->items = 0;
    p->publishes = false;
    return true;
}

static void send_out(struct data_link *link, struct packet *p)
{
    struct leat_client *client = link->client;
    struct link *wire = client->port.link;
    if (link->packets->sealed)
        leat_packet_seal(p->out.bytes, p->at, NULL, 0);
    else
        leat_packet_seal_partial(p->out.bytes, p->at, NULL, 0);
    wire->ops->send(wire, &p->out, p->at, NULL, &link->packets->peer);
    client->port.staged = true;
    client->stats.bytes_sent += p->at;
}

static void finish(struct data_link *link, struct packet *p)
{
    flow_commit(&link->packets->flow, p->out.bytes, p->at, link->client->now);
    send_out(link, p);
}

static bool fits(const struct packet *p, uint32_t bytes)
{
    return p->end - p->at >= bytes;
}

/* Room for one more frame, and for remembering it. False: the packet is full. */
static bool note(struct data_link *link, struct packet *p, uint8_t kind, uint32_t stream,
                 uint64_t at, uint32_t size)
{
    const struct flow_item item = { .at = at, .stream = stream, .size = size, .kind = kind };
    if (!flow_note(&link->packets->flow, &item))
        return false;
    p->items++;
    return true;
}

/* ---- small frames; each of these returns true when the packet is full */

static bool add_attach(struct data_link *link, struct packet *p)
{
    struct leat_frame_attach frame = { .session = link->session, .version = LEAT_PROTOCOL_VERSION };
    memcpy(frame.token, link->token, sizeof frame.token);
    if (!note(link, p, LEAT_FRAME_ATTACH, 0, 0, 0))
        return true;
    p->at += (uint32_t)leat_frame_write_attach(p->out.bytes + p->at, &frame);
    /* The broker's end may be no link of this machine: the second time with a whole checksum. */
    link->packets->sealed = !link->packets->may_be_partial || link->packets->attaches++ != 0;
    link->packets->attach_due = false;
    return false;
}

static bool add_ping(struct data_link *link, struct packet *p, uint8_t type, uint64_t value)
{
    if (!fits(p, LEAT_PING_BYTES) || !note(link, p, type, 0, value, 0))
        return true;
    p->at += (uint32_t)leat_frame_write_ping(p->out.bytes + p->at, type, value);
    return false;
}

static bool add_pings(struct data_link *link, struct packet *p)
{
    struct packet_link *packets = link->packets;
    if (packets->ping_due && add_ping(link, p, LEAT_FRAME_PING, 0))
        return true;
    packets->ping_due = false;
    while (packets->pong_count > 0) {
        if (add_ping(link, p, LEAT_FRAME_PONG, packets->pongs[packets->pong_count - 1]))
            return true;
        packets->pong_count--;
    }
    return false;
}

static bool add_credit(struct data_link *link, struct packet *p, struct reader *reader)
{
    struct leat_frame_credit credit = { .limit = reader->stream.limit,
                                        .consumed = reader->stream.credited };
    const bool due = !reader_quiet(reader) && partition_stream_credit(&reader->stream, &credit);
    if (!due && !reader->credit_again)
        return false;
    reader->credit_again = false;
    if (!note(link, p, LEAT_FRAME_CREDIT, reader->number, credit.limit, 0)) {
        reader->credit_again = true;
        return true;
    }
    p->at += (uint32_t)leat_frame_write_credit(p->out.bytes + p->at, reader->number, &credit);
    return false;
}

static bool add_commit(struct data_link *link, struct packet *p, struct reader *reader)
{
    struct leat_frame_commit commit;
    if (!reader_commit(reader, &commit))
        return false;
    if (!note(link, p, LEAT_FRAME_COMMIT, reader->number, commit.offset, 0)) {
        commits_interrupted(&reader->commits); /* goes with the next packet */
        return true;
    }
    p->at += (uint32_t)leat_frame_write_commit(p->out.bytes + p->at, reader->number, &commit);
    return false;
}

static bool add_credits(struct data_link *link, struct packet *p)
{
    struct reader *reader;
    while (fits(p, LEAT_CREDIT_BYTES + LEAT_COMMIT_BYTES)
           && (reader = data_link_next_credit(link)) != NULL) {
        if (!add_credit(link, p, reader) && !add_commit(link, p, reader))
            continue;
        data_link_queue_credit(reader);
        return true;
    }
    return !TAILQ_EMPTY(&link->credits);
}

/* ---- batches */

static bool add_piece(struct data_link *link, struct packet *p, uint32_t stream,
                      const struct outbox_piece *piece)
{
    if (!note(link, p, LEAT_FRAME_PUBLISH_AT, stream, piece->position, piece->size))
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

/* Said once for each credit. */
static bool add_blocked(struct data_link *link, struct packet *p, struct publisher *publisher)
{
    const uint64_t credit = publisher->outbox.credit;
    if (publisher->blocked_said == credit)
        return false;
    if (!fits(p, LEAT_BLOCKED_BYTES)
        || !note(link, p, LEAT_FRAME_BLOCKED, publisher->number, credit, 0))
        return true;
    publisher->blocked_said = credit;
    link->client->stats.blocked++;
    p->at += (uint32_t)leat_frame_write_blocked(p->out.bytes + p->at, publisher->number, credit);
    return false;
}

/* A producer of single records wants none of them to wait for another, or to be lost with it. */
static bool travels_alone(const struct publisher *publisher)
{
    return publisher->producer->options.batch_records_max == 1;
}

static bool add_publisher(struct data_link *link, struct packet *p, struct publisher *publisher)
{
    struct outbox *outbox = &publisher->outbox;
    const bool alone = travels_alone(publisher);
    if (alone && p->publishes)
        return true;
    for (;;) {
        struct outbox_cursor cursor = outbox_cursor(outbox);
        struct outbox_piece piece;
        const enum outbox_step step = outbox_next_at(outbox, &cursor, piece_room(p), &piece);
        if (step == OUTBOX_FULL || (step == OUTBOX_BLOCKED && add_blocked(link, p, publisher)))
            return true;
        if (step != OUTBOX_PIECE)
            break;
        if (add_piece(link, p, publisher->number, &piece))
            return true;
        outbox_commit(outbox, &cursor);
        link->client->stats.batches_sent += piece.ends;
        if (piece.ends && alone) {
            if (!outbox_has_content(outbox))
                data_link_unqueue_publisher(publisher);
            return true;
        }
    }
    data_link_unqueue_publisher(publisher);
    return false;
}

static void add_publishers(struct data_link *link, struct packet *p)
{
    struct publisher *publisher;
    while ((publisher = TAILQ_FIRST(&link->publishers)) != NULL) {
        if (!add_publisher(link, p, publisher))
            continue;
        if (publisher->queued) { /* the others first, next time */
            TAILQ_REMOVE(&link->publishers, publisher, ready_link);
            TAILQ_INSERT_TAIL(&link->publishers, publisher, ready_link);
        }
        return;
    }
}

/* ---- what was lost */

static void small_lost(struct data_link *link, const struct flow_item *item)
{
    struct publisher *publisher = data_link_stream(link, item->stream, STREAM_PUBLISHER);
    struct reader *reader = data_link_stream(link, item->stream, STREAM_READER);
    if (item->kind == LEAT_FRAME_ATTACH && link->state == LINK_ATTACHING)
        link->packets->attach_due = true;
    if (item->kind == LEAT_FRAME_PONG)
        packet_link_pong_again(link->packets, item->at); /* the broker may need it to speak up */
    if (item->kind == LEAT_FRAME_CREDIT && reader != NULL && reader->stream.limit == item->at) {
        reader->credit_again = true; /* else a later one was said */
        data_link_queue_credit(reader);
    }
    if (item->kind == LEAT_FRAME_COMMIT && reader != NULL
        && commits_lost(&reader->commits, item->at))
        data_link_queue_credit(reader);
    if (item->kind == LEAT_FRAME_BLOCKED && publisher != NULL
        && publisher->blocked_said == item->at) {
        publisher->blocked_said = UINT64_MAX;
        data_link_queue_publisher(publisher); /* says it again, if that is still so */
    }
}

/* One lost piece, or what of it fits. */
static bool piece_lost(struct data_link *link, struct packet *p, struct flow_item *item)
{
    struct flow *flow = &link->packets->flow;
    struct publisher *publisher = data_link_stream(link, item->stream, STREAM_PUBLISHER);
    struct outbox_piece piece;
    const enum outbox_step step =
        publisher == NULL
            ? OUTBOX_NOTHING
            : outbox_lost(&publisher->outbox, item->at, item->size, piece_room(p), &piece);
    if (step == OUTBOX_FULL || (step == OUTBOX_PIECE && add_piece(link, p, item->stream, &piece)))
        return true;
    if (step == OUTBOX_PIECE) {
        flow_resent(flow, piece.size);
        item->at += piece.size;
        item->size -= piece.size;
    }
    if (step != OUTBOX_PIECE || item->size == 0)
        flow_lost_done(flow);
    return false;
}

static bool add_lost(struct data_link *link, struct packet *p)
{
    struct flow *flow = &link->packets->flow;
    struct flow_item *item;
    while ((item = flow_lost(flow)) != NULL) {
        if (item->kind != LEAT_FRAME_PUBLISH_AT) {
            small_lost(link, item);
            flow_lost_done(flow);
            continue;
        }
        if (!flow_may_resend(flow, link->client->now))
            return false; /* what is new has a budget of its own */
        if (piece_lost(link, p, item))
            return true;
    }
    return false;
}

/* ---- packets */

static void fill(struct data_link *link, struct packet *p)
{
    if (add_lost(link, p) || (link->packets->attach_due && add_attach(link, p)))
        return;
    if (link->state != LINK_UP) /* nothing else before the broker knows who we are */
        return;
    if (!add_pings(link, p) && !add_credits(link, p))
        add_publishers(link, p);
}

/* False: there was nothing to put in, or nowhere. */
static bool send_content(struct data_link *link)
{
    struct leat_client *client = link->client;
    struct flow *flow = &link->packets->flow;
    struct packet p;
    if (!begin(link, &p))
        return false;
    fill(link, &p);
    if (p.items == 0) {
        flow_abandon(flow);
        client->port.link->ops->cancel(client->port.link, &p.out);
        return false;
    }
    finish(link, &p);
    return true;
}

static void send_ack(struct data_link *link)
{
    struct packet p;
    if (begin(link, &p))
        finish(link, &p);
}

/* One packet of the size that is to be proved. */
static void send_probe(struct data_link *link, uint32_t size)
{
    struct packet_link *packets = link->packets;
    struct packet p;
    packets->flow.options.payload_max = size;
    if (begin(link, &p)) {
        const uint32_t room = p.end - p.at;
        mtu_write(&packets->mtu, p.out.bytes + p.at, room);
        p.at += room;
        note(link, &p, LEAT_FRAME_PAD, 0, 0, 0);
        flow_commit_trial(&packets->flow, p.out.bytes, p.at, link->client->now);
        send_out(link, &p);
        mtu_sent(&packets->mtu, link->client->now);
    }
    packets->flow.options.payload_max = packets->mtu.bytes;
}

void packet_link_flush(struct data_link *link)
{
    struct leat_client *client = link->client;
    struct packet_link *packets = link->packets;
    struct flow *flow = &packets->flow;
    flow_probe_floor(flow,
                     loopgap_probe_floor(&client->port.gap, client->port.link->limits.bypass));
    if (mtu_doubt(&packets->mtu, flow->probe_count, flow_large_lost(flow), client->now))
        flow_resize(flow, packets->mtu.bytes, client->now);
    const uint32_t probe = link->state == LINK_UP ? mtu_probe(&packets->mtu, client->now) : 0;
    if (probe != 0 && flow_may_try(flow))
        send_probe(link, probe);
    while (packet_link_has_content(link) && flow_may_send(flow)) {
        if (!send_content(link))
            break;
    }
    if (flow_ack_due(flow, client->now))
        send_ack(link);
}

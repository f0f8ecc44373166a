/* Goal: the shard's side of a session in packets: who may attach and who is not heard, that what is
 * lost comes again as it then is, that strangers cost bounded work and get no more bytes than they
 * sent, and that every packet is counted once. Method: a real shard whose only way in is a
 * simulated fabric; one thread plays control (the mailboxes), time, and a peer made of a flow. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <urcu-qsbr.h>

#include "broker/egress.h"
#include "broker/partition.h"
#include "broker/shard.h"
#include "broker/shard_state.h"
#include "ops/metrics.h"
#include "schema/batch.h"
#include "schema/bytes.h"
#include "schema/packet.h"
#include "tests/sim/fabric.h"
#include "tests/support/wire.h"
#include "transport/flow.h"
#include "transport/link_udp.h"
#include "transport/stream.h"

enum { RING = 1 << 17, TOPIC = 5, SESSION = 1 << 12 | 77, BROKER_HOST = 1, CLIENT_HOST = 2 };
#define STEP_NS 10000

static struct {
    struct shard *shard;
    struct mailbox *inbox, *outbox;
    struct topics *topics;
    struct metrics *metrics;
    struct logmem_budget budget;
    struct partition *partition;
    struct fabric *fabric;
    struct link *broker_link;
    uint8_t token[LEAT_TOKEN_BYTES], reset_token[LEAT_TOKEN_BYTES];
    leat_ns now;
    uint64_t requests;
    bool udp; /* it has a socket too */
} w;

/* The client's end. */
static struct {
    struct link *link;
    struct link_peer broker;
    struct flow flow;
    bool attached;
    int16_t reset;
    uint32_t resets, publish, subscription;
    bool answered[4096]; /* by sequence: packets with answers come in any order */
    uint64_t acked;
    int16_t last_status;
    uint64_t duplicates;
    struct stream_map arrived; /* of the log's bytes */
    uint8_t log[4 * RING];
    uint64_t gaps, credit;
    struct leat_frame_gap gap;
    uint64_t pongs;
    bool refused[4096]; /* by sequence */
    uint64_t refusals;
} c;

static struct mailbox *new_box(void)
{
    struct mailbox *box = aligned_alloc(64, sizeof *box);
    cr_assert_neq(box, NULL);
    mailbox_init(box, eventfd(0, EFD_NONBLOCK));
    return box;
}

static void shard_turn(void)
{
    w.now += STEP_NS;
    fabric_now(w.fabric, w.now);
    shard_step(w.shard, w.now, 1700000000000000000u + w.now);
}

static struct message ask(struct message m)
{
    m.request = ++w.requests;
    cr_assert_eq(mailbox_send(w.inbox, &m), LEAT_OK);
    struct message answer;
    do {
        shard_turn();
        cr_assert(mailbox_receive(w.outbox, &answer), "no answer to %u", m.type);
    } while (answer.type != MESSAGE_REPLY);
    return answer;
}

static void open_partition(void)
{
    uint64_t missing;
    const struct partition_options options = { .topic_id = TOPIC,
                                               .log_epoch = 9,
                                               .ring_bytes = RING,
                                               .record_bytes_max = 4096,
                                               .leader_epoch = 1,
                                               .offset_limit = LEAT_OFFSET_NONE };
    struct topic *topic = calloc(1, sizeof *topic + sizeof(struct topic_partition));
    cr_assert_eq(partition_open(&w.partition, &options, &w.budget, &missing), LEAT_OK);
    topic->id = TOPIC;
    snprintf(topic->name, sizeof topic->name, "t");
    topic->settings.partitions = 1;
    topic->partitions[0].partition = w.partition;
    cr_assert_eq(topics_add(w.topics, topic), LEAT_OK);
    const struct message m = { .type = MESSAGE_ADD_PARTITION,
                               .topic_id = TOPIC,
                               .partition = w.partition };
    cr_assert_eq(mailbox_send(w.inbox, &m), LEAT_OK);
}

static void set_up(void)
{
    char text[256];
    rcu_register_thread();
    w.inbox = new_box();
    w.outbox = new_box();
    w.now = LEAT_NS_PER_S;
    w.budget = (struct logmem_budget){ .limit_bytes = 64 << 20, .pages = LOGMEM_NORMAL };
    w.fabric = fabric_open(1);
    w.broker_link = fabric_link(w.fabric, BROKER_HOST, 7430);
    cr_assert_eq(metrics_open(&w.metrics), LEAT_OK);
    cr_assert_eq(topics_open(&w.topics), LEAT_OK);
    struct shard_options options = { .cpu = -1,
                                     .listen_host = "127.0.0.1",
                                     .sessions_max = 64,
                                     .connections_max = 64,
                                     .producer_idle_ns = LEAT_NS_PER_S,
                                     .topics = w.topics,
                                     .inbox = w.inbox,
                                     .outbox = w.outbox,
                                     .metrics = w.metrics,
                                     .links = &w.broker_link,
                                     .link_count = 1,
                                     .udp = w.udp };
    memset(options.reset_secret, 42, sizeof options.reset_secret);
    cr_assert_eq(shard_open(&w.shard, &options, text), LEAT_OK, "%s", text);
    open_partition();
    memset(w.token, 1, sizeof w.token);
    memset(w.reset_token, 2, sizeof w.reset_token);
    struct message grant = { .type = MESSAGE_GRANT_SESSION, .session = SESSION };
    memcpy(grant.grant.token, w.token, sizeof w.token);
    memcpy(grant.grant.reset_token, w.reset_token, sizeof w.reset_token);
    grant.grant.expires_ns = w.now + LEAT_TOKEN_LIFE_NS;
    cr_assert_eq(mailbox_send(w.inbox, &grant), LEAT_OK);
    shard_turn();
    c.link = fabric_link(w.fabric, CLIENT_HOST, 1000);
    fabric_peer(BROKER_HOST, 7430, &c.broker);
    const struct flow_options client = { .session = SESSION,
                                         .payload_max = FABRIC_PAYLOAD_MAX,
                                         .ack_delay_ns = 25000,
                                         .peer_ack_delay_ns = 25000,
                                         .probe_floor_ns = 200000,
                                         .rtt_initial_ns = 500000,
                                         .receive_window = 256 };
    flow_init(&c.flow, &client, w.now);
}

static void set_up_with_udp(void)
{
    w.udp = true;
    set_up();
}

static uint64_t counted(const char *name)
{
    static char text[1 << 17];
    metrics_write(w.metrics, text, sizeof text);
    uint64_t sum = 0;
    for (const char *at = text; (at = strstr(at, name)) != NULL; at += strlen(name)) {
        if (at != text && at[-1] != '\n')
            continue;
        const char *value = at + strcspn(at, " \n");
        sum += *value == ' ' ? strtoull(value + 1, NULL, 10) : 0;
    }
    return sum;
}

static void tear_down(void)
{
    cr_assert_eq(counted("leat_packets_in_total"),
                 counted("leat_packets_taken_total") + counted("leat_packets_dropped_total"),
                 "every packet is counted once");
    shard_close(w.shard);
    partition_close(w.partition);
    fabric_close(w.fabric);
    metrics_close(w.metrics);
    rcu_unregister_thread();
}

TestSuite(shard_packets, .init = set_up, .fini = tear_down, .timeout = 60);
TestSuite(shard_udp, .init = set_up_with_udp, .fini = tear_down, .timeout = 60);

/* ---- the peer */

static void take_data(const struct leat_frame_data *data)
{
    cr_assert_leq(data->position + data->size, sizeof c.log);
    if (stream_map_add(&c.arrived, data->position, data->size) == STREAM_OLD)
        c.duplicates++;
    memcpy(c.log + data->position, data->bytes, data->size);
}

/* A sender with more in flight than the broker remembers is told that much. */
static bool is_appended(int16_t status)
{
    return status == LEAT_OK || status == LEAT_ERR_DUPLICATE;
}

static void take_ack(const struct leat_frame_publish_ack *ack)
{
    for (uint32_t i = 0; i < ack->run_count; i++) {
        const struct leat_ack_run run = leat_ack_run_at(ack, i);
        c.last_status = run.status;
        for (uint64_t k = run.first_sequence; k < run.first_sequence + run.count; k++) {
            const bool good = is_appended(run.status), bad = run.status == LEAT_ERR_BAD_CRC;
            c.acked += good && !c.answered[k];
            c.answered[k] |= good;
            c.refusals += bad && !c.refused[k];
            c.refused[k] |= bad;
        }
    }
}

static void answer_ping(uint64_t value);

static void take_frame(const struct leat_frame *frame)
{
    switch (frame->type) {
    case LEAT_FRAME_ATTACHED: c.attached = frame->attached.status == LEAT_OK; break;
    case LEAT_FRAME_PUBLISH_ACK: take_ack(&frame->publish_ack); break;
    case LEAT_FRAME_DATA: take_data(&frame->data); break;
    case LEAT_FRAME_GAP:
        c.gaps++;
        c.gap = frame->gap;
        stream_map_skip(&c.arrived, frame->gap.position);
        break;
    case LEAT_FRAME_CREDIT: c.credit = frame->credit.limit; break;
    case LEAT_FRAME_PONG: c.pongs++; break;
    case LEAT_FRAME_PING: answer_ping(frame->ping); break;
    default: break;
    }
}

static void take_packet(const struct link_datagram *datagram)
{
    struct leat_packet packet;
    uint64_t number;
    cr_assert_eq(leat_packet_decode(&packet, datagram->bytes, datagram->size), LEAT_OK);
    if (packet.type == LEAT_PACKET_RESET) {
        struct leat_frame frame;
        cr_assert_eq(leat_frame_decode(&frame, packet.frames, packet.frames_size), LEAT_OK);
        c.resets++;
        c.reset = frame.reset.status;
        return;
    }
    if (packet.has_ack)
        flow_acked(&c.flow, &packet.ack, w.now);
    if (flow_open(&c.flow, &packet, &number, w.now) != FLOW_NEW)
        return;
    for (uint32_t at = 0; at < packet.frames_size;) {
        struct leat_frame frame;
        cr_assert_eq(leat_frame_decode(&frame, packet.frames + at, packet.frames_size - at),
                     LEAT_OK);
        take_frame(&frame);
        at += frame.length;
    }
    flow_take(&c.flow, number, packet.frames_size != 0, false, w.now);
}

static void receive_all(void)
{
    struct link_datagram got[LINK_BURST];
    unsigned count;
    while ((count = c.link->ops->receive(c.link, got, LINK_BURST, w.now)) != 0) {
        for (unsigned i = 0; i < count; i++)
            take_packet(&got[i]);
        c.link->ops->release(c.link, got, count);
    }
}

/* One packet with these frames. */
static void send_frames(const uint8_t *frames, uint32_t size, const struct flow_item *item)
{
    struct link_outgoing out;
    cr_assert(c.link->ops->reserve(c.link, &out));
    const uint32_t at = flow_begin(&c.flow, out.bytes, w.now);
    if (size != 0)
        memcpy(out.bytes + at, frames, size);
    if (item != NULL)
        cr_assert(flow_note(&c.flow, item));
    flow_commit(&c.flow, out.bytes, at + size, w.now);
    c.link->ops->send(c.link, &out, at + size, NULL, &c.broker);
    c.link->ops->flush(c.link, w.now);
}

static void answer_ping(uint64_t value)
{
    uint8_t bytes[LEAT_PING_BYTES];
    const struct flow_item item = { .kind = LEAT_FRAME_PONG };
    send_frames(bytes, (uint32_t)leat_frame_write_ping(bytes, LEAT_FRAME_PONG, value), &item);
}

static void send_attach(const uint8_t token[LEAT_TOKEN_BYTES])
{
    uint8_t bytes[LEAT_ATTACH_BYTES];
    struct leat_frame_attach attach = { .session = SESSION, .version = LEAT_PROTOCOL_VERSION };
    const struct flow_item item = { .kind = LEAT_FRAME_ATTACH };
    memcpy(attach.token, token, sizeof attach.token);
    send_frames(bytes, (uint32_t)leat_frame_write_attach(bytes, &attach), &item);
}

static uint8_t batches[2 * RING]; /* the publish stream's bytes */
static uint64_t batches_size;
static uint32_t batches_records;

static void send_publish(uint64_t position, uint32_t size)
{
    uint8_t bytes[FABRIC_PAYLOAD_MAX];
    const struct flow_item item = {
        .kind = LEAT_FRAME_PUBLISH_AT, .stream = c.publish, .at = position, .size = size
    };
    leat_frame_write_publish_at(bytes, c.publish, position, size);
    memcpy(bytes + 16, batches + position, size);
    send_frames(bytes, 16 + size, &item);
}

/* `count` PINGs in packets as full as they can be, for the next turn of the shard. */
static void send_pings(uint32_t count)
{
    uint8_t bytes[FABRIC_PAYLOAD_MAX];
    while (count != 0) {
        const struct flow_item item = { .kind = LEAT_FRAME_PING };
        uint32_t size = 0;
        for (; count != 0 && size + LEAT_PING_BYTES <= flow_frames_max(&c.flow); count--)
            size += (uint32_t)leat_frame_write_ping(bytes + size, LEAT_FRAME_PING, count);
        send_frames(bytes, size, &item);
    }
}

static void send_credit(uint64_t limit)
{
    uint8_t bytes[LEAT_CREDIT_BYTES];
    const struct leat_frame_credit credit = { .limit = limit };
    const struct flow_item item = { .kind = LEAT_FRAME_CREDIT,
                                    .stream = c.subscription,
                                    .at = limit };
    send_frames(bytes, (uint32_t)leat_frame_write_credit(bytes, c.subscription, &credit), &item);
}

/* What was lost goes again; acks that are due go. */
static void keep_up(void)
{
    struct flow_item *lost;
    if (flow_deadline(&c.flow) <= w.now)
        flow_timeout(&c.flow, w.now);
    while ((lost = flow_lost(&c.flow)) != NULL) {
        const struct flow_item item = *lost;
        flow_lost_done(&c.flow);
        switch (item.kind) {
        case LEAT_FRAME_ATTACH: send_attach(w.token); break;
        case LEAT_FRAME_PUBLISH_AT: send_publish(item.at, item.size); break;
        case LEAT_FRAME_CREDIT: send_credit(item.at); break;
        default: break;
        }
    }
    if (flow_ack_due(&c.flow, w.now))
        send_frames(NULL, 0, NULL);
}

static void turn(void)
{
    shard_turn();
    receive_all();
    keep_up();
}

static const struct session *session_of_client(void)
{
    return shard_session(w.shard, SESSION);
}

#define UNTIL(condition, patience)                                             \
    for (int turns_ = 0; !(condition); turns_++) {                             \
        cr_assert_lt(turns_, (patience), "%s did not come about", #condition); \
        turn();                                                                \
    }

static void attach(void)
{
    send_attach(w.token);
    UNTIL(c.attached, 20000);
    for (int i = 0; i < 100; i++) /* the broker tries what the path carries */
        turn();
}

static void open_streams(void)
{
    struct message publish = { .type = MESSAGE_OPEN_PUBLISH,
                               .session = SESSION,
                               .partition = w.partition,
                               .topic_id = TOPIC };
    publish.publish.producer_id = 7;
    struct message answer = ask(publish);
    cr_assert_eq(answer.status, LEAT_OK);
    c.publish = answer.stream;
    c.credit = answer.publish.credit;
    struct message subscribe = { .type = MESSAGE_OPEN_SUBSCRIPTION,
                                 .session = SESSION,
                                 .partition = w.partition,
                                 .topic_id = TOPIC };
    subscribe.subscribe.at = PARTITION_EARLIEST;
    answer = ask(subscribe);
    cr_assert_eq(answer.status, LEAT_OK);
    c.subscription = answer.stream;
    stream_map_init(&c.arrived, answer.subscribe.position);
}

/* Adds one batch to the stream; returns its size. */
static uint32_t make_one(uint32_t value_size)
{
    const struct wire_producer producer = { .id = 7 };
    const size_t size = wire_make_batch(batches + batches_size, sizeof batches - batches_size,
                                        &producer, batches_records, 1, value_size);
    batches_size += size;
    batches_records++;
    return (uint32_t)size;
}

/* Adds one batch to the stream and sends it. */
static void publish_one(uint32_t value_size)
{
    const uint32_t size = make_one(value_size);
    send_publish(batches_size - size, size);
}

/* The same, and what its bytes say is wrong. */
static void publish_broken(uint32_t value_size)
{
    const uint32_t size = make_one(value_size);
    batches[batches_size - 1] ^= 1;
    send_publish(batches_size - size, size);
}

static void expect_log(uint64_t from)
{
    for (uint64_t at = from; at < c.arrived.next;) {
        struct leat_batch batch;
        cr_assert_eq(leat_batch_parse(&batch, c.log + at, c.arrived.next - at), LEAT_OK);
        cr_assert_eq(leat_batch_check(&batch, c.log + at, 4096), LEAT_OK);
        at += batch.size;
    }
}

/* ---- tests */

Test(shard_packets, a_batch_is_acknowledged_and_delivered)
{
    attach();
    open_streams();
    send_credit(RING);
    publish_one(64);
    UNTIL(c.acked == 1 && c.arrived.next == batches_size, 100);
    expect_log(0);
    cr_assert_eq(c.duplicates, 0);
    cr_assert_eq(counted("leat_link_tx_lost_total"), 0);
    /* Quiet: nothing is said again when everything was acknowledged. */
    for (int i = 0; i < 100; i++)
        turn();
    const uint64_t sent = fabric_counters(w.fabric)->sent;
    for (int i = 0; i < 2000; i++)
        turn();
    cr_assert_eq(fabric_counters(w.fabric)->sent, sent);
    cr_assert_eq(fabric_buffers(w.fabric), 0);
}

Test(shard_packets, only_the_token_attaches_and_only_from_one_place)
{
    uint8_t wrong[LEAT_TOKEN_BYTES] = { 9 };
    send_attach(wrong);
    for (int i = 0; i < 20; i++)
        shard_turn();
    receive_all();
    cr_assert_not(c.attached);
    cr_assert_eq(counted("leat_attach_refused_total"), 1);
    flow_init(&c.flow, &c.flow.options, w.now);
    attach();
    /* The same session from another port: not heard, not answered. */
    struct link *first = c.link;
    c.link = fabric_link(w.fabric, CLIENT_HOST, 1001);
    const uint64_t taken = counted("leat_packets_taken_total");
    const uint64_t before = fabric_counters(w.fabric)->sent;
    send_attach(w.token);
    for (int i = 0; i < 20; i++)
        shard_turn();
    cr_assert_eq(counted("leat_packets_taken_total"), taken);
    cr_assert_eq(fabric_counters(w.fabric)->sent, before + 1);
    c.link = first;
}

Test(shard_packets, a_grant_that_is_too_old_does_not_attach)
{
    w.now += LEAT_TOKEN_LIFE_NS;
    send_attach(w.token);
    for (int i = 0; i < 20; i++)
        shard_turn();
    receive_all();
    cr_assert_not(c.attached);
}

Test(shard_packets, strangers_are_told_little_and_seldom)
{
    /* Small packets get nothing, large ones no more than they brought, and not all of them. */
    uint8_t bytes[64] = { 0 };
    const struct leat_packet packet = {
        .type = LEAT_PACKET_SESSION, .length = 64, .session = SESSION + (1 << 12), .number = 1
    };
    leat_packet_write(bytes, &packet);
    const uint64_t before = w.broker_link->counters.tx;
    for (int i = 0; i < 1000; i++) {
        struct link_outgoing out;
        const uint32_t size = i % 2 == 0 ? 64 : 20;
        cr_assert(c.link->ops->reserve(c.link, &out));
        memcpy(out.bytes, bytes, 64);
        leat_store16(out.bytes + 2, (uint16_t)size);
        c.link->ops->send(c.link, &out, size, NULL, &c.broker);
        if (i % 32 == 31) {
            c.link->ops->flush(c.link, w.now);
            shard_turn();
        }
    }
    turn();
    const uint64_t answered = w.broker_link->counters.tx - before;
    cr_assert_leq(answered, 101);
    cr_assert_geq(answered, 1);
    cr_assert_eq(c.resets, answered);
    cr_assert_eq(c.reset, LEAT_ERR_UNKNOWN_SESSION);
    cr_assert_leq(w.broker_link->counters.tx_bytes, 64 * answered);
}

Test(shard_packets, noise_is_dropped_and_counted)
{
    struct seeded random = seeded_start("shard_packets_noise");
    attach();
    const uint64_t taken = counted("leat_packets_taken_total");
    for (int i = 0; i < 5000; i++) {
        struct link_outgoing out;
        const uint32_t size = 1 + seeded_below(&random, 200);
        cr_assert(c.link->ops->reserve(c.link, &out));
        seeded_fill(&random, out.bytes, size);
        if (size > 8 && i % 2 == 0) { /* looks right at first sight */
            const struct leat_packet packet = { .type = LEAT_PACKET_SESSION,
                                                .length = (uint16_t)size,
                                                .session =
                                                    SESSION ^ (1u << seeded_below(&random, 32)),
                                                .number = seeded_below(&random, 1000) };
            uint8_t header[LEAT_PACKET_HEADER_BYTES];
            leat_packet_write(header, &packet);
            memcpy(out.bytes, header, size < sizeof header ? size : sizeof header);
        }
        c.link->ops->send(c.link, &out, size, NULL, &c.broker);
        if (i % 16 == 0) {
            c.link->ops->flush(c.link, w.now);
            shard_turn();
        }
    }
    c.link->ops->flush(c.link, w.now);
    shard_turn();
    cr_assert_eq(counted("leat_packets_taken_total"), taken);
}

Test(shard_packets, acks_for_packets_never_sent_change_nothing)
{
    attach();
    open_streams();
    send_credit(RING);
    struct link_outgoing out;
    cr_assert(c.link->ops->reserve(c.link, &out));
    const struct leat_packet packet = {
        .type = LEAT_PACKET_SESSION,
        .length = LEAT_PACKET_HEADER_BYTES + LEAT_PACKET_ACK_BYTES,
        .session = SESSION,
        .number = 500,
        .has_ack = true,
        .ack = { .largest = 1000000, .map = UINT64_MAX, .window = 500 },
    };
    leat_packet_write(out.bytes, &packet);
    c.link->ops->send(c.link, &out, packet.length, NULL, &c.broker);
    c.link->ops->flush(c.link, w.now);
    publish_one(10);
    UNTIL(c.acked == 1 && c.arrived.next == batches_size, 2000);
}

Test(shard_packets, nothing_is_lost_on_a_wire_that_loses_everything_now_and_then)
{
    struct seeded random = seeded_start("shard_packets_loss");
    const struct fabric_faults faults = { .loss_ppm = 200000,
                                          .duplicate_ppm = 50000,
                                          .reorder_ppm = 100000,
                                          .corrupt_ppm = 20000,
                                          .reorder_ns = 300000,
                                          .burst_ppm = 5000,
                                          .burst_length = 10,
                                          .delay_ns = 5000,
                                          .jitter_ns = 20000 };
    fabric_set(w.fabric, &faults);
    attach();
    open_streams();
    send_credit(RING);
    for (int i = 0; i < 300; i++) {
        publish_one(seeded_below(&random, 250));
        for (uint32_t k = seeded_below(&random, 4); k > 0; k--)
            turn();
    }
    UNTIL(c.acked == 300 && c.arrived.next == batches_size, 400000);
    expect_log(0);
    cr_assert_eq(partition_next_offset(w.partition), 300);
    cr_assert_eq(c.gaps, 0);
    fabric_set(w.fabric, &(struct fabric_faults){ 0 });
    for (int i = 0; i < 20000 && fabric_buffers(w.fabric) != 0; i++)
        turn();
    cr_assert_eq(fabric_buffers(w.fabric), 0, "every buffer was given back");
}

Test(shard_packets, what_was_lost_and_is_gone_from_the_ring_is_a_gap)
{
    attach();
    open_streams();
    send_credit(4 * RING);
    publish_one(1000);
    UNTIL(c.acked == 1 && c.arrived.next == batches_size, 1000);
    /* Nothing reaches the reader while the ring goes round. */
    fabric_cut(w.fabric, BROKER_HOST, CLIENT_HOST, true);
    for (int i = 0; i < 150; i++) {
        publish_one(1000);
        for (int k = 0; k < 3; k++)
            shard_turn();
    }
    cr_assert_eq(partition_next_offset(w.partition), 151);
    const uint64_t head = partition_head(w.partition);
    cr_assert_gt(head, c.arrived.next);
    fabric_cut(w.fabric, BROKER_HOST, CLIENT_HOST, false);
    UNTIL(c.arrived.next == batches_size && c.acked == 151, 400000);
    cr_assert_geq(c.gaps, 1);
    cr_assert_eq(c.gap.position, head);
    cr_assert_eq(c.gap.offset, partition_head_offset(w.partition));
    expect_log(head);
}

enum {
    STAGE_PONGS = EGRESS_STAGE_BYTES / LEAT_PING_BYTES,
    RUNS = 35, /* what one PUBLISH_ACK holds */
};

static struct session *session(void)
{
    return w.shard->sessions[session_slot(SESSION)];
}

/* The peer acknowledges nothing: the session's window fills, and then its stage (in the next turn
 * of the shard) up to `room`. */
static void fill_stage(uint32_t room)
{
    while (flow_may_send(&session()->path->flow)) {
        send_pings(STAGE_PONGS / 4);
        shard_turn();
    }
    send_pings((egress_room(&session()->out) - room) / LEAT_PING_BYTES);
}

/* A peer that says nothing more: the answers it was sent are lost, and its session's stage has
 * filled meanwhile. Giving the answers again takes more room than any one frame received. */
Test(shard_packets, answers_given_again_wait_for_room)
{
    attach();
    open_streams();
    fabric_cut(w.fabric, BROKER_HOST, CLIENT_HOST, true);
    for (int i = 0; i < RUNS; i++)
        publish_broken(10);
    shard_turn();
    fill_stage(2 * EGRESS_ANSWER_BYTES);
    for (int i = 0; i < 1000; i++)
        shard_turn(); /* probes: what is oldest goes again */
    fabric_cut(w.fabric, BROKER_HOST, CLIENT_HOST, false);
    UNTIL(c.refusals == RUNS, 400000);
    publish_one(10);
    UNTIL(c.acked == 1, 400000);
}

/* The batch that all others wait for comes when there is room for its answer alone: the others are
 * taken as soon as there is more, though their client has nothing more to say. */
Test(shard_packets, batches_that_became_whole_are_answered_when_there_is_room)
{
    enum { BATCHES = 10 };
    attach();
    open_streams();
    const uint32_t first = make_one(10);
    for (int i = 1; i < BATCHES; i++)
        publish_one(10);
    turn();
    fabric_cut(w.fabric, BROKER_HOST, CLIENT_HOST, true);
    fill_stage(EGRESS_ANSWER_BYTES + LEAT_PING_BYTES);
    send_publish(0, first);
    shard_turn();
    cr_assert_eq(partition_next_offset(w.partition), 1);
    fabric_cut(w.fabric, BROKER_HOST, CLIENT_HOST, false);
    UNTIL(c.acked == BATCHES, 400000);
    cr_assert_eq(partition_next_offset(w.partition), BATCHES);
}

/* Over a connection the answer would have come before; a client that waits for it must learn that
 * its producer is over without sending more. */
Test(shard_packets, an_answer_lost_before_a_fence_is_a_fence)
{
    attach();
    open_streams();
    fabric_cut(w.fabric, BROKER_HOST, CLIENT_HOST, true);
    publish_one(10);
    shard_turn();
    cr_assert_eq(partition_next_offset(w.partition), 1);
    const struct message fence = { .type = MESSAGE_FENCE,
                                   .topic_id = TOPIC,
                                   .publish = { .producer_id = 7, .producer_epoch = 1 } };
    cr_assert_eq(ask(fence).status, LEAT_OK);
    fabric_cut(w.fabric, BROKER_HOST, CLIENT_HOST, false);
    UNTIL(c.last_status == LEAT_ERR_FENCED, 400000);
    cr_assert_eq(c.acked, 0);
}

/* The session remembers as much as it can, there is more to say, and every probe says a little of
 * it: what was lost still has a place to go when the peer comes back. */
Test(shard_packets, a_session_that_remembers_all_it_can_goes_on)
{
    attach();
    open_streams();
    fabric_cut(w.fabric, BROKER_HOST, CLIENT_HOST, true);
    for (int i = 0; i < 8; i++) {
        send_pings(STAGE_PONGS / 2);
        shard_turn();
    }
    for (int i = 0; i < 100; i++) { /* probes, once a second in the end */
        w.now += LEAT_NS_PER_S;
        shard_turn();
    }
    fabric_cut(w.fabric, BROKER_HOST, CLIENT_HOST, false);
    w.now += LEAT_NS_PER_S;
    publish_one(10);
    UNTIL(c.acked == 1, 400000);
}

/* The log's memory is control's again only when no link sends from it any more. */
Test(shard_packets, a_deleted_log_stays_while_a_link_sends_from_it)
{
    struct message answer;
    attach();
    open_streams();
    send_credit(RING);
    turn();
    fabric_slow(w.broker_link, true);
    publish_one(1000);
    UNTIL(c.acked == 1 && c.arrived.next == batches_size, 1000);
    cr_assert_eq(w.broker_link->counters.tx_references, 1);
    const struct message removal = { .type = MESSAGE_REMOVE_PARTITION,
                                     .request = ++w.requests,
                                     .topic_id = TOPIC,
                                     .partition = w.partition };
    cr_assert_eq(mailbox_send(w.inbox, &removal), LEAT_OK);
    UNTIL(c.gaps == 1 && c.gap.reason == LEAT_GAP_TOPIC_DELETED, 1000);
    for (int i = 0; i < 100; i++) {
        turn();
        cr_assert_not(mailbox_receive(w.outbox, &answer), "the link still has it");
    }
    fabric_slow(w.broker_link, false);
    turn();
    cr_assert(mailbox_receive(w.outbox, &answer));
    cr_assert_eq(answer.type, MESSAGE_REPLY);
    cr_assert_eq(answer.request, removal.request);
    cr_assert_eq(answer.status, LEAT_OK);
}

/* A peer that acknowledges nothing, while the path is to be probed: no reason to be awake. */
Test(shard_packets, a_probe_that_waits_for_the_window_wakes_nobody)
{
    fabric_set(w.fabric, &(struct fabric_faults){ .mtu = LEAT_PACKET_BYTES_BASE });
    send_attach(w.token);
    UNTIL(c.attached, 20000);
    fabric_cut(w.fabric, BROKER_HOST, CLIENT_HOST, true);
    for (int i = 0; i < 2 * FLOW_PEER_WINDOW_FIRST; i++) {
        send_pings(20); /* in all more than leaves: some answer always waits */
        shard_turn();
    }
    for (int i = 0; i < 100000; i++) { /* a second: probes are given up after 0.3 */
        shard_turn();
        cr_assert_gt(shard_deadline(w.shard), w.now, "after %d turns", i);
    }
}

/* What a path begins to swallow goes again in packets that it carries, though all that is small,
 * the probe beside it too, gets through. */
Test(shard_packets, a_path_that_grows_narrow_is_noticed_though_small_packets_arrive)
{
    attach();
    open_streams();
    publish_one(600);
    publish_one(600);
    UNTIL(c.acked == 2, 1000);
    fabric_set(w.fabric, &(struct fabric_faults){ .mtu = LEAT_PACKET_BYTES_BASE });
    send_credit(RING);
    UNTIL(c.arrived.next == batches_size, 2000);
    expect_log(0);
    /* It may be wide again one day. */
    fabric_set(w.fabric, &(struct fabric_faults){ 0 });
    UNTIL(session_of_client()->path->flow.options.payload_max > LEAT_PACKET_BYTES_BASE, 1100000);
}

/* A peer that was off its processor for a while: nothing speaks against large packets. */
Test(shard_packets, after_a_pause_packets_are_large_again_soon)
{
    attach();
    open_streams();
    send_credit(RING);
    fabric_cut(w.fabric, BROKER_HOST, CLIENT_HOST, true);
    publish_one(600);
    for (int i = 0; i < 10000; i++)
        turn();
    cr_assert_eq(session_of_client()->path->flow.options.payload_max, LEAT_PACKET_BYTES_BASE);
    fabric_cut(w.fabric, BROKER_HOST, CLIENT_HOST, false);
    UNTIL(session_of_client()->path->flow.options.payload_max > LEAT_PACKET_BYTES_BASE, 100000);
}

/* A wire that takes nothing: the shard tries again now and then, and does not turn without end. */
Test(shard_packets, a_full_link_is_tried_again_and_not_waited_for_awake)
{
    attach();
    fabric_full(w.broker_link, true);
    for (int i = 0; i < 1000; i++) {
        send_pings(1);
        shard_turn();
    }
    cr_assert_gt(w.broker_link->counters.tx_no_buffer, 0);
    for (int i = 0; i < 1000; i++) {
        shard_turn();
        cr_assert(TAILQ_EMPTY(&w.shard->output), "after %d turns", i);
        cr_assert_gt(shard_deadline(w.shard), w.now, "after %d turns", i);
    }
    fabric_full(w.broker_link, false);
    UNTIL(c.pongs == 1000, 400000);
}

/* The kernel gives many datagrams at once; those a turn has no time for are not forgotten until the
 * next one comes. */
Test(shard_udp, what_the_link_still_holds_is_taken_though_nothing_more_comes)
{
    enum { DATAGRAMS = 250 };
    char bound[LINK_TCP_ADDRESS_TEXT], text[LINK_TCP_ERROR_TEXT];
    struct sockaddr_storage address = { .ss_family = AF_INET };
    struct link_peer to;
    struct link *link;
    const struct link_udp_options options = { .socket_buffer_bytes = 0 };
    cr_assert_eq(link_udp_open(&link, AF_INET, "127.0.0.1", 0, &options, bound, text), LEAT_OK,
                 "%s", text);
    const uint16_t port = (uint16_t)strtoul(strrchr(shard_udp_address(w.shard), ':') + 1, NULL, 10);
    cr_assert_eq(link_tcp_address("127.0.0.1", port, &address), LEAT_OK);
    cr_assert(link_udp_peer(&address, &to));
    for (int i = 0; i < DATAGRAMS; i++) {
        struct link_outgoing out;
        cr_assert(link->ops->reserve(link, &out));
        memset(out.bytes, 0, 40);
        link->ops->send(link, &out, 40, NULL, &to);
    }
    cr_assert_eq(link->ops->flush(link, w.now), 0);
    /* One acknowledgement speaks of 64 packets, however the shard has come to look. */
    w.now += STEP_NS;
    w.shard->now = w.now;
    shard_look(w.shard);
    shard_iterate(w.shard, true);
    cr_assert_leq(counted("leat_packets_in_total"), LEAT_PACKET_MAP_BITS);
    for (int i = 0; i < 20; i++)
        shard_turn();
    cr_assert_eq(counted("leat_packets_in_total"), DATAGRAMS);
    link->ops->close(link);
}

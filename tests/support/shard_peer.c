/* A real shard over a simulated fabric, and a peer made by hand. */
#include "tests/support/shard_peer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <urcu-qsbr.h>

#include "broker/log/partition.h"
#include "broker/shard/owned_partition.h"
#include "ops/metrics.h"
#include "schema/batch.h"
#include "schema/packet.h"
#include "tests/support/wire.h"

struct shard_peer shard_peer;

/* What no test looks at. */
static struct {
    struct topics *topics;
    struct metrics *metrics;
    struct logmem_budget budget;
    uint32_t publish, subscription;
    bool answered[4096], refused[4096]; /* by sequence: packets with answers come in any order */
    uint8_t log[4 * SHARD_PEER_RING];
    uint8_t batches[2 * SHARD_PEER_RING]; /* the publish stream's bytes */
    uint64_t batches_size;
    uint32_t batches_records;
    struct owned_partition *owned;
} own;

static struct mailbox *new_box(void)
{
    struct mailbox *box = aligned_alloc(64, sizeof *box);
    cr_assert_neq(box, NULL);
    mailbox_init(box, eventfd(0, EFD_NONBLOCK));
    return box;
}

void shard_peer_shard_turn(void)
{
    shard_peer.now += SHARD_PEER_STEP_NS;
    fabric_now(shard_peer.fabric, shard_peer.now);
    shard_step(shard_peer.shard, shard_peer.now, 1700000000000000000u + shard_peer.now);
}

struct message shard_peer_ask(struct message m)
{
    m.request = ++shard_peer.requests;
    cr_assert_eq(mailbox_send(shard_peer.inbox, &m), LEAT_OK);
    struct message answer;
    do {
        shard_peer_shard_turn();
        cr_assert(mailbox_receive(shard_peer.outbox, &answer), "no answer to %u", m.type);
    } while (answer.type != MESSAGE_REPLY);
    return answer;
}

static void open_partition(void)
{
    uint64_t missing;
    const struct partition_options options = { .topic_id = SHARD_PEER_TOPIC,
                                               .log_epoch = 9,
                                               .ring_bytes = SHARD_PEER_RING,
                                               .record_bytes_max = 4096,
                                               .leader_epoch = 1,
                                               .offset_limit = LEAT_OFFSET_NONE };
    struct topic *topic = calloc(1, sizeof *topic + sizeof(struct topic_partition));
    cr_assert_eq(partition_open(&shard_peer.partition, &options, &own.budget, &missing), LEAT_OK);
    topic->id = SHARD_PEER_TOPIC;
    snprintf(topic->name, sizeof topic->name, "t");
    topic->settings.partitions = 1;
    topic->partitions[0].partition = shard_peer.partition;
    cr_assert_eq(topics_add(own.topics, topic), LEAT_OK);
    const struct message m = { .type = MESSAGE_ADD_PARTITION,
                               .topic_id = SHARD_PEER_TOPIC,
                               .partition = shard_peer.partition,
                               .owned = own.owned = owned_partition_new() };
    cr_assert_neq(own.owned, NULL);
    cr_assert_eq(mailbox_send(shard_peer.inbox, &m), LEAT_OK);
}

void shard_peer_open_session(uint32_t id)
{
    struct message grant = { .type = MESSAGE_GRANT_SESSION, .session = id };
    memcpy(grant.grant.token, shard_peer.token, sizeof shard_peer.token);
    memset(grant.grant.reset_token, 2, sizeof grant.grant.reset_token);
    grant.grant.tag_to_broker = SHARD_PEER_TAG_TO_BROKER;
    grant.grant.tag_to_client = SHARD_PEER_TAG_TO_CLIENT;
    grant.grant.challenge = UINT64_C(0x0123456789ABCDEF);
    grant.grant.expires_ns = shard_peer.now + LEAT_TOKEN_LIFE_NS;
    cr_assert_eq(mailbox_send(shard_peer.inbox, &grant), LEAT_OK);
    shard_peer_shard_turn();
    const struct flow_options client = { .session = id,
                                         .tag = SHARD_PEER_TAG_TO_BROKER,
                                         .payload_max = FABRIC_PAYLOAD_MAX,
                                         .ack_delay_ns = LEAT_ACK_DELAY_BYPASS_NS,
                                         .peer_ack_delay_ns = LEAT_ACK_DELAY_BYPASS_NS,
                                         .probe_floor_ns = 200000,
                                         .rtt_initial_ns = 500000,
                                         .receive_window = 256 };
    flow_init(&shard_peer.flow, &client, shard_peer.now);
}

static void open_shard(bool udp)
{
    char text[256];
    rcu_register_thread();
    shard_peer.inbox = new_box();
    shard_peer.outbox = new_box();
    shard_peer.now = LEAT_NS_PER_S;
    own.budget = (struct logmem_budget){ .limit_bytes = 64 << 20, .pages = LOGMEM_NORMAL };
    shard_peer.fabric = fabric_open(1);
    shard_peer.broker_link = fabric_link(shard_peer.fabric, SHARD_PEER_BROKER_HOST, 7430);
    cr_assert_eq(metrics_open(&own.metrics), LEAT_OK);
    cr_assert_eq(topics_open(&own.topics), LEAT_OK);
    struct shard_options options = { .cpu = -1,
                                     .listen_host = "127.0.0.1",
                                     .sessions_max = 1024,
                                     .connections_max = 1024,
                                     .keepalive_ns = SHARD_PEER_KEEPALIVE_NS,
                                     .producer_idle_ns = LEAT_NS_PER_S,
                                     .topics = own.topics,
                                     .inbox = shard_peer.inbox,
                                     .outbox = shard_peer.outbox,
                                     .metrics = own.metrics,
                                     .links = &shard_peer.broker_link,
                                     .link_count = 1,
                                     .udp = udp };
    memset(options.reset_secret, 42, sizeof options.reset_secret);
    cr_assert_eq(shard_open(&shard_peer.shard, &options, text), LEAT_OK, "%s", text);
    open_partition();
    memset(shard_peer.token, 1, sizeof shard_peer.token);
    fabric_peer(SHARD_PEER_BROKER_HOST, 7430, &shard_peer.broker);
    shard_peer.link = fabric_link(shard_peer.fabric, SHARD_PEER_CLIENT_HOST, 1000);
    shard_peer_open_session(SHARD_PEER_SESSION);
}

void shard_peer_open(void)
{
    open_shard(false);
}

void shard_peer_open_with_udp(void)
{
    open_shard(true);
}

uint64_t shard_peer_counted(const char *name)
{
    static char text[1 << 17];
    metrics_write(own.metrics, text, sizeof text);
    uint64_t sum = 0;
    for (const char *at = text; (at = strstr(at, name)) != NULL; at += strlen(name)) {
        if (at != text && at[-1] != '\n')
            continue;
        const char *value = at + strcspn(at, " \n");
        sum += *value == ' ' ? strtoull(value + 1, NULL, 10) : 0;
    }
    return sum;
}

void shard_peer_close(void)
{
    cr_assert_eq(shard_peer_counted("leat_packets_in_total"),
                 shard_peer_counted("leat_packets_taken_total")
                     + shard_peer_counted("leat_packets_dropped_total"),
                 "every packet is counted once");
    shard_close(shard_peer.shard);
    partition_close(shard_peer.partition);
    free(own.owned);
    fabric_close(shard_peer.fabric);
    metrics_close(own.metrics);
    rcu_unregister_thread();
}

static void take_data(const struct leat_frame_data *data)
{
    cr_assert_leq(data->position + data->size, sizeof own.log);
    if (stream_map_add(&shard_peer.arrived, data->position, data->size) == STREAM_OLD)
        shard_peer.duplicates++;
    memcpy(own.log + data->position, data->bytes, data->size);
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
        shard_peer.last_status = run.status;
        for (uint64_t k = run.first_sequence; k < run.first_sequence + run.count; k++) {
            const bool good = is_appended(run.status), bad = run.status == LEAT_ERR_BAD_CRC;
            shard_peer.acked += good && !own.answered[k];
            own.answered[k] |= good;
            shard_peer.refusals += bad && !own.refused[k];
            own.refused[k] |= bad;
        }
    }
}

static void answer_ping(uint64_t value);

static void take_frame(const struct leat_frame *frame)
{
    switch (frame->type) {
    case LEAT_FRAME_ATTACHED: shard_peer.attached = frame->attached.status == LEAT_OK; break;
    case LEAT_FRAME_PUBLISH_ACK: take_ack(&frame->publish_ack); break;
    case LEAT_FRAME_DATA: take_data(&frame->data); break;
    case LEAT_FRAME_GAP:
        shard_peer.gaps++;
        shard_peer.gap = frame->gap;
        stream_map_skip(&shard_peer.arrived, frame->gap.position);
        break;
    case LEAT_FRAME_COMMITTED:
        cr_assert_lt(frame->committed.asked, SHARD_PEER_COMMITS);
        shard_peer.committed[frame->committed.asked] = frame->committed;
        break;
    case LEAT_FRAME_PONG: shard_peer.pongs++; break;
    case LEAT_FRAME_PING: answer_ping(frame->ping); break;
    default: break;
    }
}

static void take_packet(const struct link_datagram *datagram)
{
    struct leat_packet packet;
    uint64_t number;
    if (leat_packet_decode(&packet, datagram->bytes, datagram->size) != LEAT_OK
        || !leat_packet_is_intact(&packet, datagram->bytes, true)) {
        cr_assert_neq(fabric_counters(shard_peer.fabric)->corrupted, 0);
        return;
    }
    if (packet.type == LEAT_PACKET_RESET) {
        struct leat_frame frame;
        cr_assert(leat_packet_is_intact(&packet, datagram->bytes, false));
        cr_assert_eq(leat_frame_decode(&frame, packet.frames, packet.frames_size), LEAT_OK);
        shard_peer.resets++;
        shard_peer.reset = frame.reset.status;
        memcpy(shard_peer.reset_token, frame.reset.token, sizeof shard_peer.reset_token);
        return;
    }
    cr_assert(leat_packet_tag_is(&packet, SHARD_PEER_TAG_TO_CLIENT));
    cr_assert(leat_packet_is_intact(&packet, datagram->bytes, shard_peer.partial));
    shard_peer.partials += leat_packet_is_partial(&packet);
    if (packet.has_ack)
        flow_acked(&shard_peer.flow, &packet.ack, shard_peer.now);
    if (flow_open(&shard_peer.flow, &packet, &number, shard_peer.now) != FLOW_NEW)
        return;
    for (uint32_t at = 0; at < packet.frames_size;) {
        struct leat_frame frame;
        cr_assert_eq(leat_frame_decode(&frame, packet.frames + at, packet.frames_size - at),
                     LEAT_OK);
        take_frame(&frame);
        at += frame.length;
    }
    flow_take(&shard_peer.flow, number, packet.frames_size != 0, false, shard_peer.now);
}

void shard_peer_receive(void)
{
    struct link_datagram got[LINK_BURST];
    unsigned count;
    while ((count = shard_peer.link->ops->receive(shard_peer.link, got, LINK_BURST, shard_peer.now))
           != 0) {
        for (unsigned i = 0; i < count; i++)
            take_packet(&got[i]);
        shard_peer.link->ops->release(shard_peer.link, got, count);
    }
}

/* One packet with these frames. */
static void send_frames(const uint8_t *frames, uint32_t size, const struct flow_item *item)
{
    struct link_outgoing out;
    cr_assert(shard_peer.link->ops->reserve(shard_peer.link, &out));
    const uint32_t at = flow_begin(&shard_peer.flow, out.bytes, shard_peer.now);
    if (size != 0)
        memcpy(out.bytes + at, frames, size);
    if (item != NULL)
        cr_assert(flow_note(&shard_peer.flow, item));
    flow_commit(&shard_peer.flow, out.bytes, at + size, shard_peer.now);
    if (shard_peer.partial)
        leat_packet_seal_partial(out.bytes, at + size, NULL, 0);
    else
        leat_packet_seal(out.bytes, at + size, NULL, 0);
    shard_peer.link->ops->send(shard_peer.link, &out, at + size, NULL, &shard_peer.broker);
    shard_peer.link->ops->flush(shard_peer.link, shard_peer.now);
}

static void answer_ping(uint64_t value)
{
    uint8_t bytes[LEAT_PING_BYTES];
    const struct flow_item item = { .kind = LEAT_FRAME_PONG, .at = value };
    send_frames(bytes, (uint32_t)leat_frame_write_ping(bytes, LEAT_FRAME_PONG, value), &item);
}

void shard_peer_send_attach(const uint8_t token[LEAT_TOKEN_BYTES])
{
    shard_peer_send_attach_as(token, LEAT_PROTOCOL_VERSION);
}

void shard_peer_send_attach_as(const uint8_t token[LEAT_TOKEN_BYTES], uint16_t version)
{
    uint8_t bytes[LEAT_ATTACH_BYTES];
    struct leat_frame_attach attach = { .session = shard_peer.flow.options.session,
                                        .version = version };
    const struct flow_item item = { .kind = LEAT_FRAME_ATTACH };
    memcpy(attach.token, token, sizeof attach.token);
    send_frames(bytes, (uint32_t)leat_frame_write_attach(bytes, &attach), &item);
}

void shard_peer_send_publish(uint64_t position, uint32_t size)
{
    uint8_t bytes[FABRIC_PAYLOAD_MAX];
    const struct flow_item item = {
        .kind = LEAT_FRAME_PUBLISH_AT, .stream = own.publish, .at = position, .size = size
    };
    leat_frame_write_publish_at(bytes, own.publish, position, size);
    memcpy(bytes + 16, own.batches + position, size);
    send_frames(bytes, 16 + size, &item);
}

void shard_peer_guess_acks(void)
{
    for (uint64_t number = 1; number <= 16; number++) {
        flow_take(&shard_peer.flow, number, true, true, shard_peer.now);
        send_frames(NULL, 0, NULL);
    }
}

void shard_peer_send_pings(uint32_t count)
{
    uint8_t bytes[FABRIC_PAYLOAD_MAX];
    while (count != 0) {
        const struct flow_item item = { .kind = LEAT_FRAME_PING };
        uint32_t size = 0;
        for (; count != 0 && size + LEAT_PING_BYTES <= flow_frames_max(&shard_peer.flow); count--)
            size += (uint32_t)leat_frame_write_ping(bytes + size, LEAT_FRAME_PING, count);
        send_frames(bytes, size, &item);
    }
}

void shard_peer_send_credit(uint64_t limit)
{
    uint8_t bytes[LEAT_CREDIT_BYTES];
    const struct leat_frame_credit credit = { .limit = limit };
    const struct flow_item item = { .kind = LEAT_FRAME_CREDIT,
                                    .stream = own.subscription,
                                    .at = limit };
    send_frames(bytes, (uint32_t)leat_frame_write_credit(bytes, own.subscription, &credit), &item);
}

void shard_peer_send_commit(uint64_t offset)
{
    uint8_t bytes[LEAT_COMMIT_BYTES];
    const struct leat_frame_commit commit = { .offset = offset,
                                              .log_epoch =
                                                  partition_log_epoch(shard_peer.partition) };
    const struct flow_item item = { .kind = LEAT_FRAME_COMMIT,
                                    .stream = own.subscription,
                                    .at = offset };
    send_frames(bytes, (uint32_t)leat_frame_write_commit(bytes, own.subscription, &commit), &item);
}

/* What was lost goes again; acks that are due go. */
static void keep_up(void)
{
    struct flow_item *lost;
    if (flow_deadline(&shard_peer.flow) <= shard_peer.now)
        flow_timeout(&shard_peer.flow, shard_peer.now);
    while ((lost = flow_lost(&shard_peer.flow)) != NULL) {
        const struct flow_item item = *lost;
        flow_lost_done(&shard_peer.flow);
        switch (item.kind) {
        case LEAT_FRAME_ATTACH: shard_peer_send_attach(shard_peer.token); break;
        case LEAT_FRAME_PUBLISH_AT: shard_peer_send_publish(item.at, item.size); break;
        case LEAT_FRAME_CREDIT: shard_peer_send_credit(item.at); break;
        case LEAT_FRAME_PONG: answer_ping(item.at); break;
        case LEAT_FRAME_COMMIT: shard_peer_send_commit(item.at); break;
        default: break;
        }
    }
    if (flow_ack_due(&shard_peer.flow, shard_peer.now))
        send_frames(NULL, 0, NULL);
}

void shard_peer_turn(void)
{
    shard_peer_shard_turn();
    shard_peer_receive();
    keep_up();
}

void shard_peer_attach(void)
{
    shard_peer_send_attach(shard_peer.token);
    UNTIL(shard_peer.attached, 20000);
    for (int i = 0; i < 100; i++) /* the broker tries what the path carries */
        shard_peer_turn();
}

void shard_peer_open_streams(void)
{
    struct message publish = { .type = MESSAGE_OPEN_PUBLISH,
                               .session = shard_peer.flow.options.session,
                               .partition = shard_peer.partition,
                               .topic_id = SHARD_PEER_TOPIC };
    publish.publish.producer_id = SHARD_PEER_PRODUCER;
    const struct message answer = shard_peer_ask(publish);
    cr_assert_eq(answer.status, LEAT_OK);
    own.publish = answer.stream;
    shard_peer_open_subscription();
}

void shard_peer_open_subscription(void)
{
    struct message subscribe = { .type = MESSAGE_OPEN_SUBSCRIPTION,
                                 .session = shard_peer.flow.options.session,
                                 .partition = shard_peer.partition,
                                 .topic_id = SHARD_PEER_TOPIC };
    subscribe.subscribe.at = PARTITION_EARLIEST;
    subscribe.subscribe.entry = shard_peer.entry;
    const struct message answer = shard_peer_ask(subscribe);
    cr_assert_eq(answer.status, LEAT_OK);
    own.subscription = answer.stream;
    stream_map_init(&shard_peer.arrived, answer.subscribe.position);
}

uint32_t shard_peer_make_batch(uint32_t value_size)
{
    const struct wire_producer producer = { .id = SHARD_PEER_PRODUCER };
    const size_t size =
        wire_make_batch(own.batches + own.batches_size, sizeof own.batches - own.batches_size,
                        &producer, own.batches_records, 1, value_size);
    own.batches_size += size;
    own.batches_records++;
    return (uint32_t)size;
}

void shard_peer_publish(uint32_t value_size)
{
    const uint32_t size = shard_peer_make_batch(value_size);
    shard_peer_send_publish(own.batches_size - size, size);
}

void shard_peer_publish_broken(uint32_t value_size)
{
    const uint32_t size = shard_peer_make_batch(value_size);
    own.batches[own.batches_size - 1] ^= 1;
    shard_peer_send_publish(own.batches_size - size, size);
}

bool shard_peer_has_log(void)
{
    return shard_peer.arrived.next == own.batches_size;
}

void shard_peer_expect_log(uint64_t from)
{
    for (uint64_t at = from; at < shard_peer.arrived.next;) {
        struct leat_batch batch;
        cr_assert_eq(leat_batch_parse(&batch, own.log + at, shard_peer.arrived.next - at), LEAT_OK);
        cr_assert_eq(leat_batch_check(&batch, own.log + at, 4096), LEAT_OK);
        at += batch.size;
    }
}

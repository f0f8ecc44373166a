/* A small broker in packets at the other end of badwire: made by hand over the same pure core as
 * the real one, for tests of the library's session. */
#include "tests/support/packet_broker.h"

#include <criterion/criterion.h>
#include <string.h>

#include "schema/batch.h"
#include "schema/frame.h"
#include "schema/packet.h"
#include "tests/support/badwire.h"
#include "transport/flow.h"
#include "transport/stream.h"

enum {
    LOG_MAX = 1 << 23,
    BUFFER = 1 << 18, /* bytes of batches it holds out of order: its credit */
    BATCHES_MAX = 1 << 16,
};

struct answer {
    struct leat_ack_run run;
    bool due;
};

static struct broker {
    struct flow flow;
    bool attached, attached_due;
    bool credit_due, pong_due, committed_due;
    uint64_t committed;
    uint64_t pong;
    struct stream_map arrived; /* of the publish stream */
    uint64_t taken;            /* of it, appended or answered */
    uint8_t held[BUFFER];      /* position % BUFFER */
    uint64_t credit;
    uint64_t next_sequence;
    struct answer answers[BATCHES_MAX]; /* by batch, in order of appending */
    uint32_t answer_count, answers_told;
    struct answer busy;
    bool says_busy;
    uint8_t log[LOG_MAX];
    uint64_t log_end, sent, limit;
} broker;

void packet_broker_start(leat_ns now)
{
    memset(&broker, 0, sizeof broker);
    const struct flow_options options = { .session = PACKET_BROKER_SESSION,
                                          .tag = PACKET_BROKER_TAG_TO_CLIENT,
                                          .payload_max = LEAT_PACKET_BYTES_BASE,
                                          .ack_delay_ns = LEAT_ACK_DELAY_KERNEL_NS,
                                          .peer_ack_delay_ns = LEAT_ACK_DELAY_KERNEL_NS,
                                          .probe_floor_ns = 2 * LEAT_NS_PER_MS,
                                          .rtt_initial_ns = 10 * LEAT_NS_PER_MS,
                                          .receive_window = 512 };
    flow_init(&broker.flow, &options, now);
    stream_map_init(&broker.arrived, 0);
    broker.credit = BUFFER / 2;
}

static void append(void)
{
    static uint8_t batch_bytes[PACKET_BROKER_BATCH];
    for (;;) {
        const uint64_t have = broker.arrived.next - broker.taken;
        for (uint64_t i = 0; i < have && i < PACKET_BROKER_BATCH; i++)
            batch_bytes[i] = broker.held[(broker.taken + i) % BUFFER];
        struct leat_batch batch;
        if (leat_batch_parse(&batch, batch_bytes,
                             have < PACKET_BROKER_BATCH ? have : PACKET_BROKER_BATCH)
                != LEAT_OK
            || batch.size > have)
            return;
        cr_assert_eq(leat_batch_check(&batch, batch_bytes, PACKET_BROKER_BATCH), LEAT_OK);
        struct leat_ack_run run = { .first_sequence = batch.base_sequence,
                                    .count = batch.record_count,
                                    .base_offset = LEAT_OFFSET_NONE };
        if (broker.says_busy && seeded_below(&badwire.seed, 30) == 0) {
            /* All of it from here on must come again. */
            run.status = LEAT_BUSY;
            run.retry_after_us = 100;
            broker.busy = (struct answer){ .run = run, .due = true };
            stream_map_init(&broker.arrived, broker.taken);
            return;
        }
        cr_assert_eq(batch.base_sequence, broker.next_sequence, "batches are in order");
        run.base_offset = batch.base_sequence;
        run.level = LEAT_LEVEL_IN_RING;
        leat_batch_stamp(batch_bytes, batch.base_sequence, 5, 1);
        cr_assert_leq(broker.log_end + batch.size, (uint64_t)LOG_MAX);
        memcpy(broker.log + broker.log_end, batch_bytes, batch.size);
        broker.log_end += batch.size;
        broker.next_sequence += batch.record_count;
        broker.answers[broker.answer_count++] = (struct answer){ .run = run, .due = true };
        broker.taken += batch.size;
        broker.credit = broker.taken + BUFFER / 2;
        broker.credit_due = true;
    }
}

static void take_frame(const struct leat_frame *frame)
{
    switch (frame->type) {
    case LEAT_FRAME_ATTACH:
        cr_assert_eq(frame->attach.session, (uint32_t)PACKET_BROKER_SESSION);
        broker.attached = broker.attached_due = true;
        break;
    case LEAT_FRAME_PUBLISH_AT: {
        const struct leat_frame_data *piece = &frame->data;
        cr_assert_eq(frame->stream, (uint32_t)PACKET_BROKER_PUBLISH_STREAM);
        cr_assert_leq(piece->position + piece->size, broker.credit);
        if (piece->position + piece->size <= broker.arrived.next)
            break;
        for (uint32_t i = 0; i < piece->size; i++)
            if (piece->position + i >= broker.arrived.next)
                broker.held[(piece->position + i) % BUFFER] = piece->bytes[i];
        cr_assert_neq(stream_map_add(&broker.arrived, piece->position, piece->size), STREAM_FULL);
        append();
        break;
    }
    case LEAT_FRAME_CREDIT:
        cr_assert_eq(frame->stream, (uint32_t)PACKET_BROKER_READ_STREAM);
        if (frame->credit.limit > broker.limit)
            broker.limit = frame->credit.limit;
        break;
    case LEAT_FRAME_COMMIT:
        cr_assert_eq(frame->stream, (uint32_t)PACKET_BROKER_READ_STREAM);
        if (frame->commit.offset > broker.committed)
            broker.committed = frame->commit.offset;
        broker.committed_due = true;
        break;
    case LEAT_FRAME_PING:
        broker.pong_due = true;
        broker.pong = frame->ping;
        break;
    case LEAT_FRAME_PAD:
    case LEAT_FRAME_BLOCKED: break;
    default: cr_assert_fail("a client sends no frame of type %d", frame->type);
    }
}

static void receive(leat_ns now)
{
    static struct badwire_datagram burst[LINK_BURST];
    uint32_t count;
    while ((count = badwire_land(&badwire.to_broker, burst, LINK_BURST)) > 0) {
        for (uint32_t i = 0; i < count; i++) {
            struct leat_packet packet;
            uint64_t number;
            cr_assert_eq(leat_packet_decode(&packet, burst[i].bytes, burst[i].size), LEAT_OK);
            cr_assert_eq(packet.session, (uint32_t)PACKET_BROKER_SESSION);
            cr_assert(leat_packet_tag_is(&packet, PACKET_BROKER_TAG_TO_BROKER));
            cr_assert(leat_packet_is_intact(&packet, burst[i].bytes, false));
            if (flow_open(&broker.flow, &packet, &number, now) != FLOW_NEW)
                continue;
            if (packet.has_ack)
                flow_acked(&broker.flow, &packet.ack, now);
            for (uint32_t at = 0; at < packet.frames_size;) {
                struct leat_frame frame;
                cr_assert_eq(leat_frame_decode(&frame, packet.frames + at, packet.frames_size - at),
                             LEAT_OK);
                take_frame(&frame);
                at += frame.length;
            }
            flow_take(&broker.flow, number, packet.frames_size > 0,
                      (packet.flags & LEAT_PACKET_ACK_NOW) != 0, now);
        }
    }
}

/* What a lost packet carried is due again. */
static void take_lost(struct flow_item *data)
{
    struct flow_item *item;
    data->size = 0;
    while (data->size == 0 && (item = flow_lost(&broker.flow)) != NULL) {
        if (item->kind == LEAT_FRAME_ATTACHED)
            broker.attached_due = true;
        if (item->kind == LEAT_FRAME_CREDIT)
            broker.credit_due = true;
        if (item->kind == LEAT_FRAME_COMMITTED)
            broker.committed_due = true;
        if (item->kind == LEAT_FRAME_PUBLISH_ACK && item->more == 0)
            broker.answers[item->at].due = true;
        if (item->kind == LEAT_FRAME_PUBLISH_ACK && item->more == 0
            && item->at < broker.answers_told)
            broker.answers_told = (uint32_t)item->at;
        if (item->kind == LEAT_FRAME_PUBLISH_ACK && item->more == 1)
            broker.busy.due = item->at == broker.next_sequence; /* else it came again already */
        if (item->kind == LEAT_FRAME_DATA)
            *data = *item;
        flow_lost_done(&broker.flow);
    }
}

static void note(uint8_t kind, uint64_t at, uint32_t size, uint32_t more)
{
    const struct flow_item item = { .kind = kind, .at = at, .size = size, .more = more };
    cr_assert(flow_note(&broker.flow, &item));
}

static uint32_t write_data(uint8_t *at, uint64_t position, uint32_t size)
{
    note(LEAT_FRAME_DATA, position, size, 0);
    leat_frame_write_data(at, PACKET_BROKER_READ_STREAM, position, size);
    memcpy(at + LEAT_DATA_HEADER_BYTES, broker.log + position, size);
    return LEAT_DATA_HEADER_BYTES + size;
}

/* One frame a packet; 0: nothing is left to say. */
static uint32_t fill(uint8_t *at)
{
    struct flow_item again;
    take_lost(&again);
    if (again.size > 0)
        return write_data(at, again.at, again.size);
    if (broker.attached_due) {
        const struct leat_frame_attached frame = { .session = PACKET_BROKER_SESSION };
        note(LEAT_FRAME_ATTACHED, 0, 0, 0);
        broker.attached_due = false;
        return (uint32_t)leat_frame_write_attached(at, &frame);
    }
    if (broker.pong_due) {
        broker.pong_due = false;
        note(LEAT_FRAME_PONG, 0, 0, 0);
        return (uint32_t)leat_frame_write_ping(at, LEAT_FRAME_PONG, broker.pong);
    }
    if (broker.busy.due) {
        broker.busy.due = false;
        note(LEAT_FRAME_PUBLISH_ACK, broker.busy.run.first_sequence, 0, 1);
        return (uint32_t)leat_frame_write_publish_ack(at, PACKET_BROKER_PUBLISH_STREAM, 1,
                                                      &broker.busy.run, 1);
    }
    while (broker.answers_told < broker.answer_count) {
        struct answer *answer = &broker.answers[broker.answers_told++];
        if (!answer->due)
            continue;
        answer->due = false;
        note(LEAT_FRAME_PUBLISH_ACK, broker.answers_told - 1, 0, 0);
        return (uint32_t)leat_frame_write_publish_ack(at, PACKET_BROKER_PUBLISH_STREAM, 1,
                                                      &answer->run, 1);
    }
    if (broker.committed_due) {
        const struct leat_frame_committed frame = { .offset = broker.committed,
                                                    .log_epoch = 1,
                                                    .asked = broker.committed };
        broker.committed_due = false;
        note(LEAT_FRAME_COMMITTED, broker.committed, 0, 0);
        return (uint32_t)leat_frame_write_committed(at, PACKET_BROKER_READ_STREAM, &frame);
    }
    if (broker.credit_due) {
        const struct leat_frame_credit credit = { .limit = broker.credit };
        broker.credit_due = false;
        note(LEAT_FRAME_CREDIT, broker.credit, 0, 0);
        return (uint32_t)leat_frame_write_credit(at, PACKET_BROKER_PUBLISH_STREAM, &credit);
    }
    const uint64_t end = broker.limit < broker.log_end ? broker.limit : broker.log_end;
    if (broker.sent >= end)
        return 0;
    uint64_t size = 1 + seeded_below(&badwire.seed, 1100);
    size = size < end - broker.sent ? size : end - broker.sent;
    broker.sent += size;
    return write_data(at, broker.sent - size, (uint32_t)size);
}

void packet_broker_say_busy(void)
{
    broker.says_busy = true;
}

uint64_t packet_broker_credit(void)
{
    return broker.credit;
}

uint64_t packet_broker_committed(void)
{
    return broker.committed;
}

void packet_broker_step(leat_ns now)
{
    receive(now);
    if (flow_deadline(&broker.flow) <= now)
        flow_timeout(&broker.flow, now);
    uint8_t bytes[LEAT_PACKET_BYTES_BASE];
    while (broker.attached && (flow_may_send(&broker.flow) || flow_ack_due(&broker.flow, now))) {
        const uint32_t at = flow_begin(&broker.flow, bytes, now);
        const uint32_t size = flow_may_send(&broker.flow) ? fill(bytes + at) : 0;
        if (size == 0 && !flow_ack_due(&broker.flow, now)) {
            flow_abandon(&broker.flow);
            if (!flow_ack_due(&broker.flow, now))
                return;
            flow_begin(&broker.flow, bytes, now);
        }
        flow_commit(&broker.flow, bytes, at + size, now);
        leat_packet_seal(bytes, at + size, NULL, 0);
        badwire_fly(&badwire.to_client, bytes, at + size);
    }
}

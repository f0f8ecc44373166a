/* A real shard between a mailbox and kernel sockets, and raw peers of it over TCP.
 *
 * Role: what the tests of a shard over TCP have in common: set-up, control's side of the mailbox,
 * peers that count what they are told.
 * Must not know: what is tested.
 * Threads: one; each Criterion test is a process of its own. */
#ifndef LEAT_TESTS_UNIT_BROKER_SHARD_SHARD_TCP_H
#define LEAT_TESTS_UNIT_BROKER_SHARD_SHARD_TCP_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <urcu-qsbr.h>

#include "broker/log/partition.h"
#include "broker/shard/owned_partition.h"
#include "broker/shard/shard.h"
#include "broker/shared/client_quota.h"
#include "schema/batch.h"
#include "schema/session_id.h"
#include "tests/support/wire.h"

enum { RING = 1 << 20, TOPIC = 5 };

static struct {
    struct shard *shard;
    struct mailbox *inbox, *outbox;
    struct topics *topics;
    struct metrics *metrics;
    struct logmem_budget budget;
    struct partition *partition;
    struct owned_partition *owned;
    leat_ns now;
    uint64_t requests;
    uint32_t sessions;
    struct client_bucket bucket; /* of a name that several peers may have */
} w;

static inline struct mailbox *new_box(void)
{
    struct mailbox *box = aligned_alloc(64, sizeof *box);
    cr_assert_neq(box, NULL);
    mailbox_init(box, eventfd(0, EFD_NONBLOCK));
    return box;
}

static inline void step(void)
{
    w.now += 1000;
    shard_step(w.shard, w.now, 1700000000000000000u + w.now);
}

static inline struct message ask(struct message m)
{
    m.request = ++w.requests;
    cr_assert_eq(mailbox_send(w.inbox, &m), LEAT_OK);
    struct message answer;
    do {
        step();
        cr_assert(mailbox_receive(w.outbox, &answer), "no answer to %u", m.type);
    } while (answer.type != MESSAGE_REPLY);
    cr_assert_eq(answer.request, m.request);
    return answer;
}

static inline void add_topic(const struct partition_options *more,
                             const struct topic_settings *settings)
{
    struct topic *topic = calloc(1, sizeof *topic + sizeof(struct topic_partition));
    uint64_t missing;
    struct partition_options options = { .topic_id = TOPIC,
                                         .log_epoch = 9,
                                         .ring_bytes = RING,
                                         .record_bytes_max = 4096,
                                         .leader_epoch = 1,
                                         .offset_limit = LEAT_OFFSET_NONE,
                                         .required_timeout_ns = LEAT_NS_PER_S };
    if (more != NULL) {
        options.overrun = more->overrun;
        options.offset_limit = more->offset_limit;
    }
    cr_assert_eq(partition_open(&w.partition, &options, &w.budget, &missing), LEAT_OK);
    topic->id = TOPIC;
    snprintf(topic->name, sizeof topic->name, "t");
    if (settings != NULL)
        topic->settings = *settings;
    topic->settings.partitions = 1;
    topic->settings.overrun = options.overrun;
    topic->partitions[0].partition = w.partition;
    cr_assert_eq(topics_add(w.topics, topic), LEAT_OK);
    const struct message m = { .type = MESSAGE_ADD_PARTITION,
                               .topic_id = TOPIC,
                               .partition = w.partition,
                               .owned = w.owned = owned_partition_new() };
    cr_assert_eq(mailbox_send(w.inbox, &m), LEAT_OK);
    step();
}

static inline void set_up(void)
{
    char text[256];
    rcu_register_thread();
    w.inbox = new_box();
    w.outbox = new_box();
    w.now = LEAT_NS_PER_S;
    w.budget = (struct logmem_budget){ .limit_bytes = 64 << 20, .pages = LOGMEM_NORMAL };
    cr_assert_eq(metrics_open(&w.metrics), LEAT_OK);
    cr_assert_eq(topics_open(&w.topics), LEAT_OK);
    const struct shard_options options = { .cpu = -1,
                                           .listen_host = "127.0.0.1",
                                           .sessions_max = 64,
                                           .connections_max = 64,
                                           .producer_idle_ns = LEAT_NS_PER_S,
                                           .topics = w.topics,
                                           .inbox = w.inbox,
                                           .outbox = w.outbox,
                                           .metrics = w.metrics };
    cr_assert_eq(shard_open(&w.shard, &options, text), LEAT_OK, "%s", text);
}

static inline void tear_down(void)
{
    shard_close(w.shard);
    partition_close(w.partition);
    free(w.owned);
    cr_assert_eq(w.budget.used_bytes, 0u);
    metrics_close(w.metrics);
    rcu_unregister_thread();
}

/* ---- a client */

struct peer {
    int fd;
    uint32_t session, publish, subscription;
    struct wire_producer producer;
    uint8_t bytes[1 << 19];
    size_t have;
    /* what it was told */
    uint64_t acked, credit, position, pongs, blocked, gaps;
    uint64_t blocked_limit; /* of the last */
    uint64_t sent, sequence;
    struct leat_frame_gap gap;
    uint64_t last_offset;
    int16_t last_status, reset;
    bool closed;
};

static inline void grant(uint32_t session, const uint8_t token[LEAT_TOKEN_BYTES],
                         uint64_t publish_quota)
{
    struct message m = { .type = MESSAGE_GRANT_SESSION, .session = session };
    memcpy(m.grant.token, token, LEAT_TOKEN_BYTES);
    m.grant.expires_ns = w.now + LEAT_TOKEN_LIFE_NS;
    m.grant.quota_publish_bytes = publish_quota;
    m.grant.bucket = publish_quota != 0 ? &w.bucket : NULL;
    cr_assert_eq(mailbox_send(w.inbox, &m), LEAT_OK);
    step();
}

static inline void read_frames(struct peer *peer);

static inline void join(struct peer *peer, uint64_t publish_quota)
{
    memset(peer, 0, sizeof *peer);
    struct leat_frame_attach attach = { .version = LEAT_PROTOCOL_VERSION };
    attach.token[0] = 42;
    attach.session = peer->session = leat_session_id(0, ++w.sessions, 0x77);
    grant(peer->session, attach.token, publish_quota);
    uint8_t bytes[LEAT_ATTACH_BYTES];
    peer->fd = wire_connect(shard_tcp_address(w.shard));
    cr_assert(wire_send(peer->fd, bytes, leat_frame_write_attach(bytes, &attach)));
    cr_assert_eq(fcntl(peer->fd, F_SETFL, O_NONBLOCK), 0);
    peer->last_status = 1;
    while (peer->last_status == 1) {
        step();
        read_frames(peer);
    }
    cr_assert_eq(peer->last_status, LEAT_OK);
}

static inline void open_publish(struct peer *peer, uint64_t id, uint32_t epoch, bool resume)
{
    const struct message answer = ask((struct message){
        .type = MESSAGE_OPEN_PUBLISH,
        .session = peer->session,
        .partition = w.partition,
        .publish = { .producer_id = id, .producer_epoch = epoch, .resume = resume } });
    cr_assert_eq(answer.status, LEAT_OK);
    peer->publish = answer.stream;
    peer->credit = answer.publish.credit;
    peer->producer = (struct wire_producer){ .id = id,
                                             .epoch = epoch,
                                             .stream = answer.stream,
                                             .next_sequence = answer.publish.next_sequence };
}

static inline void open_subscription(struct peer *peer, bool required)
{
    const struct message answer = ask((struct message){
        .type = MESSAGE_OPEN_SUBSCRIPTION,
        .session = peer->session,
        .partition = w.partition,
        .subscribe = { .at = PARTITION_EARLIEST, .required = required, .name_hash = 7 } });
    cr_assert_eq(answer.status, LEAT_OK);
    peer->subscription = answer.stream;
    peer->position = answer.subscribe.position;
}

static inline void send_credit(struct peer *peer, uint64_t limit, uint64_t consumed)
{
    uint8_t bytes[LEAT_CREDIT_BYTES];
    const struct leat_frame_credit credit = { .limit = limit, .consumed = consumed };
    cr_assert(
        wire_send(peer->fd, bytes, leat_frame_write_credit(bytes, peer->subscription, &credit)));
}

static inline void send_ping(struct peer *peer)
{
    uint8_t bytes[LEAT_PING_BYTES];
    cr_assert(wire_send(peer->fd, bytes, leat_frame_write_ping(bytes, LEAT_FRAME_PING, 1)));
}

/* One batch of `count` records of 100 bytes; returns its size. */
static inline size_t send_batch(struct peer *peer, uint64_t sequence, uint32_t count)
{
    static uint8_t batch[1 << 16];
    const size_t size = wire_make_batch(batch, sizeof batch, &peer->producer, sequence, count, 100);
    cr_assert(wire_publish(peer->fd, peer->publish, batch, size));
    return size;
}

static inline void take_frame(struct peer *peer, const struct leat_frame *frame)
{
    switch (frame->type) {
    case LEAT_FRAME_ATTACHED: peer->last_status = frame->attached.status; break;
    case LEAT_FRAME_PUBLISH_ACK:
        for (uint32_t i = 0; i < frame->publish_ack.run_count; i++) {
            const struct leat_ack_run run = leat_ack_run_at(&frame->publish_ack, i);
            peer->last_status = run.status;
            peer->last_offset = run.base_offset;
            peer->acked = run.status == LEAT_OK ? run.first_sequence + run.count : peer->acked;
        }
        break;
    case LEAT_FRAME_DATA:
        cr_assert_eq(frame->data.position, peer->position, "a hole in the stream");
        peer->position += frame->data.size;
        break;
    case LEAT_FRAME_GAP:
        peer->gap = frame->gap;
        peer->gaps++;
        if (frame->gap.reason == LEAT_REASON_TOPIC_DELETED)
            break; /* nothing follows */
        cr_assert_gt(frame->gap.position, peer->position);
        peer->position = frame->gap.position;
        break;
    case LEAT_FRAME_CREDIT: peer->credit = frame->credit.limit; break;
    case LEAT_FRAME_BLOCKED:
        peer->blocked++;
        peer->blocked_limit = frame->blocked_limit;
        break;
    case LEAT_FRAME_PONG: peer->pongs++; break;
    case LEAT_FRAME_RESET: peer->reset = frame->reset.status; break;
    default: cr_assert_fail("frame %u", frame->type);
    }
}

static inline void read_frames(struct peer *peer)
{
    const ssize_t got = read(peer->fd, peer->bytes + peer->have, sizeof peer->bytes - peer->have);
    peer->closed |= got == 0;
    if (got > 0)
        peer->have += (size_t)got;
    size_t used = 0;
    struct leat_frame frame;
    while (leat_frame_decode(&frame, peer->bytes + used, peer->have - used) == LEAT_OK) {
        take_frame(peer, &frame);
        used += frame.length;
    }
    memmove(peer->bytes, peer->bytes + used, peer->have - used);
    peer->have -= used;
}

/* Lets everything that can happen without more input happen. */
static inline void settle(struct peer *a, struct peer *b)
{
    for (int i = 0; i < 50; i++) {
        step();
        read_frames(a);
        if (b != NULL)
            read_frames(b);
    }
}

#endif

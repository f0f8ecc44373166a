/* Goal: the shard does what design and PROTOCOL.md say between a mailbox and real sockets: order,
 * credit, gaps, fencing, rebinding, quotas, grants; and a reader that does nothing costs the others
 * nothing. Method: one thread plays control (the mailboxes), the clients (sockets) and time
 * (shard_step's `now`). */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <urcu-qsbr.h>

#include "broker/log/partition.h"
#include "broker/shard/holding.h"
#include "broker/shard/shard.h"
#include "broker/shared/client_quota.h"
#include "schema/batch.h"
#include "tests/support/wire.h"

enum { RING = 1 << 20, TOPIC = 5 };

static struct {
    struct shard *shard;
    struct mailbox *inbox, *outbox;
    struct topics *topics;
    struct metrics *metrics;
    struct logmem_budget budget;
    struct partition *partition;
    struct holding *holding;
    leat_ns now;
    uint64_t requests;
    uint32_t sessions;
    struct client_bucket bucket; /* of a name that several peers may have */
} w;

static struct mailbox *new_box(void)
{
    struct mailbox *box = aligned_alloc(64, sizeof *box);
    cr_assert_neq(box, NULL);
    mailbox_init(box, eventfd(0, EFD_NONBLOCK));
    return box;
}

static void step(void)
{
    w.now += 1000;
    shard_step(w.shard, w.now, 1700000000000000000u + w.now);
}

static struct message ask(struct message m)
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

static void add_topic(const struct partition_options *more, const struct topic_settings *settings)
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
                               .holding = w.holding = holding_new() };
    cr_assert_eq(mailbox_send(w.inbox, &m), LEAT_OK);
    step();
}

static void set_up(void)
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

static void tear_down(void)
{
    shard_close(w.shard);
    partition_close(w.partition);
    free(w.holding);
    cr_assert_eq(w.budget.used_bytes, 0u);
    metrics_close(w.metrics);
    rcu_unregister_thread();
}

TestSuite(shard, .init = set_up, .fini = tear_down, .timeout = 60);

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

static void grant(uint32_t session, const uint8_t token[LEAT_TOKEN_BYTES], uint64_t publish_quota)
{
    struct message m = { .type = MESSAGE_GRANT_SESSION, .session = session };
    memcpy(m.grant.token, token, LEAT_TOKEN_BYTES);
    m.grant.expires_ns = w.now + LEAT_TOKEN_LIFE_NS;
    m.grant.quota_publish_bytes = publish_quota;
    m.grant.bucket = publish_quota != 0 ? &w.bucket : NULL;
    cr_assert_eq(mailbox_send(w.inbox, &m), LEAT_OK);
    step();
}

static void read_frames(struct peer *peer);

static void join(struct peer *peer, uint64_t publish_quota)
{
    memset(peer, 0, sizeof *peer);
    struct leat_frame_attach attach = { .version = LEAT_PROTOCOL_VERSION };
    attach.token[0] = 42;
    attach.session = peer->session = ++w.sessions << 12 | 0x77;
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

static void open_publish(struct peer *peer, uint64_t id, uint32_t epoch, bool resume)
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

static void open_subscription(struct peer *peer, bool required)
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

static void send_credit(struct peer *peer, uint64_t limit, uint64_t consumed)
{
    uint8_t bytes[LEAT_CREDIT_BYTES];
    const struct leat_frame_credit credit = { .limit = limit, .consumed = consumed };
    cr_assert(
        wire_send(peer->fd, bytes, leat_frame_write_credit(bytes, peer->subscription, &credit)));
}

static void send_ping(struct peer *peer)
{
    uint8_t bytes[LEAT_PING_BYTES];
    cr_assert(wire_send(peer->fd, bytes, leat_frame_write_ping(bytes, LEAT_FRAME_PING, 1)));
}

/* One batch of `count` records of 100 bytes; returns its size. */
static size_t send_batch(struct peer *peer, uint64_t sequence, uint32_t count)
{
    static uint8_t batch[1 << 16];
    const size_t size = wire_make_batch(batch, sizeof batch, &peer->producer, sequence, count, 100);
    cr_assert(wire_publish(peer->fd, peer->publish, batch, size));
    return size;
}

static void take_frame(struct peer *peer, const struct leat_frame *frame)
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

static void read_frames(struct peer *peer)
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
static void settle(struct peer *a, struct peer *b)
{
    for (int i = 0; i < 50; i++) {
        step();
        read_frames(a);
        if (b != NULL)
            read_frames(b);
    }
}

/* ---- tests */

static struct peer a, b;

Test(shard, what_is_published_is_acked_and_delivered_within_credit)
{
    add_topic(NULL, NULL);
    join(&a, 0);
    open_publish(&a, 100, 1, false);
    open_subscription(&a, false);
    size_t sent = 0;
    for (uint64_t i = 0; i < 10; i++)
        sent += send_batch(&a, 3 * i, 3);
    settle(&a, NULL);
    cr_assert_eq(a.acked, 30u);
    cr_assert_eq(a.position, 0u, "no credit yet: nothing is sent");
    send_credit(&a, 500, 0);
    settle(&a, NULL);
    cr_assert_eq(a.position, 500u, "DATA goes up to the limit, wherever it cuts");
    cr_assert_eq(a.blocked, 1u, "said once a limit");
    send_credit(&a, 400, 0); /* lower: ignored */
    send_credit(&a, 1 << 20, 500);
    settle(&a, NULL);
    cr_assert_eq(a.position, sent);
}

Test(shard, a_reader_that_is_overtaken_gets_one_exact_gap_and_another_loses_nothing)
{
    add_topic(NULL, NULL);
    join(&a, 0);
    join(&b, 0);
    open_publish(&a, 100, 1, false);
    open_subscription(&a, false);
    open_subscription(&b, false);
    send_credit(&b, 1000, 0);
    uint64_t records = 0;
    for (int i = 0; i < 200; i++) {
        send_credit(&a, a.position + (1 << 19), a.position);
        send_batch(&a, records, 100);
        records += 100;
        settle(&a, &b);
    }
    cr_assert_eq(a.gaps, 0u);
    cr_assert_eq(a.position, partition_visible(w.partition));
    cr_assert_eq(b.position, 1000u);
    send_credit(&b, UINT32_MAX, 1000);
    settle(&a, &b);
    cr_assert_eq(b.gaps, 1u);
    cr_assert_eq(b.gap.reason, LEAT_GAP_OVERRUN);
    cr_assert_eq(b.gap.offset, partition_head_offset(w.partition));
    cr_assert_eq(b.position, partition_visible(w.partition));
}

Test(shard, under_block_a_required_reader_holds_the_producer_until_it_consumed)
{
    const struct partition_options block = { .overrun = PARTITION_BLOCK,
                                             .offset_limit = LEAT_OFFSET_NONE };
    add_topic(&block, NULL);
    join(&a, 0);
    join(&b, 0);
    open_publish(&a, 100, 1, false);
    open_subscription(&b, true);
    uint64_t sequence = 0;
    do {
        send_batch(&a, sequence, 100);
        settle(&a, &b);
        sequence += a.last_status == LEAT_OK ? 100 : 0;
    } while (a.last_status == LEAT_OK);
    cr_assert_eq(a.last_status, LEAT_BUSY);
    send_batch(&a, sequence + 100, 1); /* behind a BUSY one: not appended */
    settle(&a, &b);
    cr_assert_eq(a.last_status, LEAT_ERR_OUT_OF_ORDER);
    send_credit(&b, UINT32_MAX, 0);
    settle(&a, &b);
    send_credit(&b, UINT32_MAX, b.position);
    settle(&a, &b);
    send_batch(&a, sequence, 100);
    settle(&a, &b);
    cr_assert_eq(a.last_status, LEAT_OK);
    cr_assert_eq(b.gaps, 0u);
}

Test(shard, a_required_reader_that_stays_away_loses_its_mark_and_control_hears_of_it)
{
    const struct partition_options block = { .overrun = PARTITION_BLOCK,
                                             .offset_limit = LEAT_OFFSET_NONE };
    add_topic(&block, NULL);
    join(&a, 0);
    join(&b, 0);
    open_publish(&a, 100, 1, false);
    open_subscription(&b, true);
    close(b.fd);
    uint64_t sequence = 0;
    do {
        send_batch(&a, sequence, 100);
        settle(&a, NULL);
        sequence += a.last_status == LEAT_OK ? 100 : 0;
    } while (a.last_status == LEAT_OK);
    w.now += 2 * LEAT_NS_PER_S;
    settle(&a, NULL);
    send_batch(&a, sequence, 100);
    settle(&a, NULL);
    cr_assert_eq(a.last_status, LEAT_OK);
    bool told = false;
    struct message m;
    while (mailbox_receive(w.outbox, &m))
        told |= m.type == MESSAGE_REQUIRED_LOST && m.status == LEAT_ERR_CLOSED;
    cr_assert(told);
}

Test(shard, a_producer_is_bound_to_one_session_and_keeps_its_epoch)
{
    add_topic(NULL, NULL);
    join(&a, 0);
    join(&b, 0);
    open_publish(&a, 100, 1, false);
    send_batch(&a, 0, 5);
    settle(&a, &b);
    cr_assert_eq(a.acked, 5u);
    open_publish(&b, 100, 1, true);
    cr_assert_eq(b.producer.next_sequence, 5u);
    send_batch(&a, 5, 5); /* the old session: dropped without a word */
    settle(&a, &b);
    cr_assert_eq(a.acked, 5u);
    cr_assert_eq(partition_next_offset(w.partition), 5u);
    send_batch(&b, 0, 5); /* a duplicate gets its old answer */
    settle(&a, &b);
    cr_assert_eq(b.last_status, LEAT_OK);
    cr_assert_eq(b.last_offset, 0u);
    send_batch(&b, 5, 5);
    settle(&a, &b);
    cr_assert_eq(b.last_offset, 5u);
}

Test(shard, a_small_batch_may_come_in_pieces_too)
{
    static uint8_t batch[1 << 12];
    add_topic(NULL, NULL); /* its largest batch fits one frame */
    join(&a, 0);
    open_publish(&a, 100, 1, false);
    const size_t size = wire_make_batch(batch, sizeof batch, &a.producer, 0, 5, 100);
    for (size_t at = 0; at < size; at += 100) {
        uint8_t frame[200];
        const size_t piece = size - at < 100 ? size - at : 100;
        const struct leat_frame_publish publish = { .size = (uint32_t)piece,
                                                    .piece_at = (uint32_t)at,
                                                    .batch_size = (uint32_t)size };
        leat_frame_write_publish(frame, a.publish, &publish);
        memcpy(frame + LEAT_PUBLISH_HEADER_BYTES, batch + at, piece);
        cr_assert(wire_send(a.fd, frame, LEAT_PUBLISH_HEADER_BYTES + piece));
        settle(&a, NULL);
        cr_assert_eq(a.acked, at + piece == size ? 5u : 0u);
    }
}

Test(shard, a_fence_answers_fenced)
{
    add_topic(NULL, NULL);
    join(&a, 0);
    open_publish(&a, 100, 1, false);
    cr_assert_eq(ask((struct message){ .type = MESSAGE_FENCE,
                                       .publish = { .producer_id = 100, .producer_epoch = 2 } })
                     .status,
                 LEAT_OK);
    send_batch(&a, 0, 5);
    settle(&a, NULL);
    cr_assert_eq(a.last_status, LEAT_ERR_FENCED);
    cr_assert_eq(partition_next_offset(w.partition), 0u);
    join(&b, 0);
    open_publish(&b, 100, 2, false);
    send_batch(&b, 0, 5);
    settle(&a, &b);
    cr_assert_eq(b.last_status, LEAT_OK);
}

Test(shard, quotas_hold_credit_back_and_nothing_else)
{
    const struct topic_settings settings = { .quota_publish_bytes = 1 << 20 };
    add_topic(NULL, &settings);
    join(&a, 0);
    open_publish(&a, 100, 1, false);
    uint64_t sequence = 0, sent = 0;
    const leat_ns start = w.now;
    while (w.now - start < 3 * LEAT_NS_PER_S) {
        if (a.credit - sent >= 30000) {
            sent += send_batch(&a, sequence, 100);
            sequence += 100;
        } else {
            send_ping(&a);
        }
        const uint64_t pongs = a.pongs;
        settle(&a, NULL);
        if (a.credit - sent < 30000) {
            send_ping(&a);
            settle(&a, NULL);
            cr_assert_gt(a.pongs, pongs, "a heartbeat waited for a quota");
        }
        w.now += LEAT_NS_PER_MS;
    }
    cr_assert_eq(a.acked, sequence);
    cr_assert_gt(sent, 2u << 20);
    cr_assert_lt(sent, 4u << 20, "a rate of 1 MiB/s over 3 s let %lu through", (unsigned long)sent);
}

/* Says that it waits for credit. */
static void send_blocked(struct peer *peer)
{
    uint8_t bytes[LEAT_BLOCKED_BYTES];
    cr_assert(
        wire_send(peer->fd, bytes, leat_frame_write_blocked(bytes, peer->publish, peer->credit)));
}

/* Publishes for `ns` as fast as credit allows, as libleat does. */
static void publish_for(struct peer *list[], int count, leat_ns ns)
{
    enum { RECORDS = 400, BATCH = 60000 };
    const leat_ns start = w.now;
    while (w.now - start < ns) {
        for (int i = 0; i < count; i++) {
            struct peer *p = list[i];
            if (p->credit - p->sent >= BATCH) {
                p->sent += send_batch(p, p->sequence, RECORDS);
                p->sequence += RECORDS;
            } else {
                send_blocked(p);
            }
        }
        for (int i = 0; i < 4; i++) {
            step();
            for (int k = 0; k < count; k++)
                read_frames(list[k]);
        }
        w.now += LEAT_NS_PER_MS;
    }
}

enum { RATE = 200000, PEERS = 10 };

static struct peer crowd[PEERS];

Test(shard, who_opens_while_a_quota_is_overdrawn_gets_no_credit)
{
    const struct topic_settings settings = { .quota_publish_bytes = RATE };
    add_topic(NULL, &settings);
    uint64_t sent = 0;
    for (int i = 0; i < PEERS; i++) {
        struct peer *list[] = { &crowd[i] };
        join(&crowd[i], 0);
        open_publish(&crowd[i], 100 + (uint64_t)i, 1, false);
        cr_assert(i == 0 || crowd[i].credit == 0, "peer %d opened with %lu bytes", i,
                  (unsigned long)crowd[i].credit);
        publish_for(list, 1, 60 * LEAT_NS_PER_MS);
        sent += crowd[i].sent;
    }
    cr_assert_leq(sent, (uint64_t)RATE, "%lu bytes in 0.6 s", (unsigned long)sent);
    cr_assert_eq(crowd[PEERS - 1].blocked_limit, LEAT_BLOCKED_BY_TOPIC_QUOTA);
}

Test(shard, those_who_wait_for_a_quota_do_not_overdraw_it_by_a_batch_each)
{
    const struct topic_settings settings = { .quota_publish_bytes = RATE };
    struct peer *list[PEERS];
    add_topic(NULL, &settings);
    uint64_t sent = 0;
    for (int i = 0; i < PEERS; i++) {
        list[i] = &crowd[i];
        join(&crowd[i], 0);
        open_publish(&crowd[i], 100 + (uint64_t)i, 1, false);
    }
    publish_for(list, PEERS, 20 * LEAT_NS_PER_S);
    unsigned served = 0;
    for (int i = 0; i < PEERS; i++) {
        sent += crowd[i].sent;
        served += crowd[i].sent != 0;
    }
    cr_assert_eq(served, (unsigned)PEERS);
    cr_assert_gt(sent, UINT64_C(15) * RATE);
    cr_assert_leq(sent, UINT64_C(20) * RATE + PEERS * (uint64_t)(1 << 16) + RATE);
}

Test(shard, peers_of_one_name_share_its_quota_and_are_told)
{
    struct peer *list[] = { &a, &b };
    add_topic(NULL, NULL);
    join(&a, RATE);
    join(&b, RATE);
    open_publish(&a, 100, 1, false);
    open_publish(&b, 101, 1, false);
    publish_for(list, 2, 5 * LEAT_NS_PER_S);
    cr_assert_gt(a.sent, 0u);
    cr_assert_gt(b.sent, 0u);
    cr_assert_leq(a.sent + b.sent, UINT64_C(5) * RATE + 3 * (uint64_t)(1 << 16));
    cr_assert_eq(a.blocked_limit, LEAT_BLOCKED_BY_CLIENT_QUOTA);
    struct message m;
    unsigned told = 0;
    while (mailbox_receive(w.outbox, &m)) {
        if (m.type != MESSAGE_HELD_BY_QUOTA)
            continue;
        told++;
        cr_assert(m.session == a.session || m.session == b.session);
        cr_assert_eq(m.topic_id, 0u);
        cr_assert_eq(m.value, 1u);
    }
    cr_assert_eq(told, 1u, "once an episode");
}

Test(shard, a_reader_that_a_quota_holds_is_told_once)
{
    const struct topic_settings settings = { .quota_deliver_bytes = RATE };
    add_topic(NULL, &settings);
    join(&a, 0);
    join(&b, 0);
    open_publish(&a, 100, 1, false);
    open_subscription(&b, false);
    uint64_t sent = 0;
    for (uint64_t i = 0; i < 10; i++)
        sent += send_batch(&a, i * 400, 400);
    settle(&a, &b);
    send_credit(&b, 10 << 20, 0);
    for (int i = 0; i < 4000 && b.position < sent; i++) {
        settle(&a, &b);
        w.now += LEAT_NS_PER_MS;
    }
    cr_assert_eq(b.position, sent);
    cr_assert_gt(sent, UINT64_C(2) * RATE);
    cr_assert_eq(b.blocked, 1u);
    cr_assert_eq(b.blocked_limit, LEAT_BLOCKED_BY_TOPIC_QUOTA);
}

Test(shard, more_than_the_credit_ends_the_session)
{
    const struct topic_settings settings = { .quota_publish_bytes = 1000 };
    add_topic(NULL, &settings);
    join(&a, 0);
    open_publish(&a, 100, 1, false);
    uint64_t sequence = 0;
    for (int i = 0; i < 20 && !a.closed; i++, sequence += 100) {
        send_batch(&a, sequence, 100);
        settle(&a, NULL);
    }
    cr_assert(a.closed);
    cr_assert_eq(a.reset, LEAT_ERR_PROTOCOL);
}

Test(shard, a_grant_nobody_uses_dies_and_control_hears_of_it)
{
    const uint8_t token[LEAT_TOKEN_BYTES] = { 1 };
    grant(9 << 12 | 1, token, 0);
    struct message m;
    cr_assert_not(mailbox_receive(w.outbox, &m));
    w.now += LEAT_TOKEN_LIFE_NS;
    step();
    cr_assert(mailbox_receive(w.outbox, &m));
    cr_assert_eq(m.type, MESSAGE_SESSION_CLOSED);
    cr_assert_eq(m.session, 9u << 12 | 1);
}

Test(shard, offsets_run_out_politely)
{
    const struct partition_options few = { .offset_limit = 100 };
    add_topic(&few, NULL);
    join(&a, 0);
    open_publish(&a, 100, 1, false);
    send_batch(&a, 0, 60);
    settle(&a, NULL);
    struct message m;
    cr_assert(mailbox_receive(w.outbox, &m));
    cr_assert_eq(m.type, MESSAGE_RESERVE_OFFSETS);
    cr_assert_eq(m.value, 60u);
    send_batch(&a, 60, 60);
    settle(&a, NULL);
    cr_assert_eq(a.last_status, LEAT_BUSY);
    m = (struct message){ .type = MESSAGE_OFFSETS_RESERVED,
                          .partition = w.partition,
                          .value = 300 };
    cr_assert_eq(mailbox_send(w.inbox, &m), LEAT_OK);
    settle(&a, NULL);
    send_batch(&a, 60, 60);
    settle(&a, NULL);
    cr_assert_eq(a.last_status, LEAT_OK);
}

Test(shard, readers_of_a_removed_partition_are_told)
{
    add_topic(NULL, NULL);
    join(&a, 0);
    open_publish(&a, 100, 1, false);
    open_subscription(&a, false);
    send_credit(&a, 1 << 20, 0);
    send_batch(&a, 0, 5);
    settle(&a, NULL);
    /* A GAP moves forward; nothing was unread, so append what it will skip. */
    send_credit(&a, 0, a.position);
    const struct message removed =
        ask((struct message){ .type = MESSAGE_REMOVE_PARTITION, .partition = w.partition });
    cr_assert_eq(removed.status, LEAT_OK);
    a.position--; /* take_frame wants a GAP to be ahead */
    settle(&a, NULL);
    cr_assert_eq(a.gap.reason, LEAT_GAP_TOPIC_DELETED);
    send_batch(&a, 5, 5);
    send_ping(&a);
    settle(&a, NULL);
    cr_assert_eq(a.pongs, 1u);
    cr_assert_eq(a.last_status, LEAT_ERR_UNKNOWN_STREAM);
}

Test(shard, a_reader_that_never_reads_does_not_cost_an_iteration)
{
    add_topic(NULL, NULL);
    join(&a, 0);
    join(&b, 0);
    open_publish(&a, 100, 1, false);
    open_subscription(&b, false);
    send_credit(&b, UINT32_MAX, 0);
    uint64_t sequence = 0;
    for (int i = 0; i < 2000;
         i++, sequence += 100) { /* far more than the sockets hold; b never reads */
        send_batch(&a, sequence, 100);
        for (int k = 0; k < 5; k++) {
            step();
            read_frames(&a);
        }
    }
    cr_assert_eq(a.acked, sequence);
    /* Nothing is left to do: a step finds no work although b's socket is full. */
    bool worked = true;
    for (int i = 0; i < 20 && worked; i++)
        worked = shard_step(w.shard, w.now, w.now);
    cr_assert_not(worked);
    for (int i = 0; i < 20000 && b.position < partition_visible(w.partition); i++) {
        step();
        read_frames(&b);
    }
    cr_assert_eq(b.position, partition_visible(w.partition));
    cr_assert_eq(b.gaps, 1u, "it was overtaken while it did not read");
}

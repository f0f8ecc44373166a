/* Goal: a quota holds back who has used it up and nobody else; peers of one name share theirs, and
 * who is held is told, once. Method: a real shard over TCP in virtual time, with raw peers. */
#include "tests/unit/broker/shard/shard_tcp.h"

TestSuite(shard_quotas, .init = set_up, .fini = tear_down, .timeout = 60);

static struct peer a, b;

Test(shard_quotas, quotas_hold_credit_back_and_nothing_else)
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

Test(shard_quotas, who_opens_while_a_quota_is_overdrawn_gets_no_credit)
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

Test(shard_quotas, those_who_wait_for_a_quota_do_not_overdraw_it_by_a_batch_each)
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

Test(shard_quotas, peers_of_one_name_share_its_quota_and_are_told)
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

Test(shard_quotas, a_reader_that_a_quota_holds_is_told_once)
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

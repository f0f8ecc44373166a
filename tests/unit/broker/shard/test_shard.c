/* Goal: the shard does what design and PROTOCOL.md say between a mailbox and real sockets: order,
 * credit, gaps, fencing, rebinding, quotas, grants; and a reader that does nothing costs the others
 * nothing. Method: one thread plays control (the mailboxes), the clients (sockets) and time
 * (shard_step's `now`). */
#include "broker/shard/shard_state.h"
#include "schema/session_id.h"
#include "tests/unit/broker/shard/shard_tcp.h"

TestSuite(shard, .init = set_up, .fini = tear_down, .timeout = 60);

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
    cr_assert_eq(b.gap.reason, LEAT_REASON_OVERRUN);
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
    grant(leat_session_id(0, 9, 1), token, 0);
    struct message m;
    cr_assert_not(mailbox_receive(w.outbox, &m));
    w.now += LEAT_TOKEN_LIFE_NS;
    step();
    cr_assert(mailbox_receive(w.outbox, &m));
    cr_assert_eq(m.type, MESSAGE_SESSION_CLOSED);
    cr_assert_eq(m.session, leat_session_id(0, 9, 1));
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
    const struct message removed =
        ask((struct message){ .type = MESSAGE_REMOVE_PARTITION, .partition = w.partition });
    cr_assert_eq(removed.status, LEAT_OK);
    settle(&a, NULL);
    cr_assert_eq(a.gap.reason, LEAT_REASON_TOPIC_DELETED);
    send_batch(&a, 5, 5);
    send_ping(&a);
    settle(&a, NULL);
    cr_assert_eq(a.pongs, 1u);
    cr_assert_eq(a.last_status, LEAT_ERR_UNKNOWN_STREAM);
}

/* PINGs until there is no room for what they, or anything else, would be answered. */
static void fill_output(struct peer *peer)
{
    const struct session *s = shard_session(w.shard, peer->session);
    uint8_t pings[256 * LEAT_PING_BYTES];
    size_t at = 0;
    for (size_t i = 0; i < sizeof pings; i += LEAT_PING_BYTES)
        leat_frame_write_ping(pings + i, LEAT_FRAME_PING, 1);
    for (int i = 0; egress_room(&s->out) >= EGRESS_ANSWER_BYTES; i++) {
        cr_assert_lt(i, 1 << 20);
        const ssize_t sent = write(peer->fd, pings + at, sizeof pings - at);
        at = (at + (size_t)(sent > 0 ? sent : 0)) % sizeof pings;
        step();
    }
    while (at % LEAT_PING_BYTES != 0) { /* no frame is left cut */
        const ssize_t sent = write(peer->fd, pings + at, LEAT_PING_BYTES - at % LEAT_PING_BYTES);
        cr_assert_gt(sent, 0);
        at += (size_t)sent;
    }
}

Test(shard, who_had_no_room_to_be_told_of_a_removed_partition_is_told_when_there_is_some)
{
    add_topic(NULL, NULL);
    join(&a, 0);
    open_publish(&a, 100, 1, false);
    open_subscription(&a, false);
    send_credit(&a, 1 << 20, 0);
    settle(&a, NULL);
    fill_output(&a);
    const struct message removed =
        ask((struct message){ .type = MESSAGE_REMOVE_PARTITION, .partition = w.partition });
    cr_assert_eq(removed.status, LEAT_OK);
    /* Until it reads there is nothing to do. */
    bool worked = true;
    for (int i = 0; i < 20 && worked; i++)
        worked = shard_step(w.shard, w.now, w.now);
    cr_assert_not(worked);
    /* It says nothing more. */
    for (int i = 0; i < 100000 && (a.gaps == 0 || a.last_status == LEAT_OK); i++) {
        step();
        read_frames(&a);
    }
    cr_assert_eq(a.gaps, 1u);
    cr_assert_eq(a.gap.reason, LEAT_REASON_TOPIC_DELETED);
    cr_assert_eq(a.last_status, LEAT_ERR_UNKNOWN_STREAM);
    settle(&a, NULL);
    const uint64_t pongs = a.pongs;
    send_ping(&a);
    settle(&a, NULL);
    cr_assert_eq(a.pongs, pongs + 1, "it is read again");
    cr_assert_eq(a.gaps, 1u, "once is enough");
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

/* ATTACH without a grant, on a new connection. */
static int knock(void)
{
    uint8_t bytes[LEAT_ATTACH_BYTES];
    const struct leat_frame_attach attach = { .version = LEAT_PROTOCOL_VERSION, .session = 77 };
    const int fd = wire_connect(shard_tcp_address(w.shard));
    cr_assert(wire_send(fd, bytes, leat_frame_write_attach(bytes, &attach)));
    return fd;
}

Test(shard, beyond_connections_max_who_attaches_is_told_so)
{
    enum { MOST = 64 };
    int fds[MOST];
    for (int i = 0; i < MOST; i++) {
        fds[i] = wire_connect(shard_tcp_address(w.shard));
        step();
    }
    const leat_ns before = w.now;
    struct peer *late = calloc(1, sizeof *late);
    late->last_status = 1;
    late->fd = knock();
    cr_assert_eq(fcntl(late->fd, F_SETFL, O_NONBLOCK), 0);
    for (int i = 0; i < 1000 && late->last_status == 1; i++) {
        step();
        read_frames(late);
    }
    cr_assert_eq(late->last_status, LEAT_ERR_LIMIT);
    cr_assert_lt(w.now - before, 50 * LEAT_NS_PER_MS, "before any of the others gave way");
    for (int i = 0; i < MOST; i++)
        close(fds[i]);
    close(late->fd);
    free(late);
}

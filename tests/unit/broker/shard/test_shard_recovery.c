/* Goal: what goes wrong on a session's way in packets is made good by the shard: what is lost comes
 * again as it then is, answers wait for room and are not forgotten, packets grow no larger than the
 * path carries, and a peer or a link that stands still keeps nobody awake. Method: a real shard
 * whose only way in is a simulated fabric; one thread plays control (the mailboxes), time, and a
 * peer made of a flow. */
#include <criterion/criterion.h>

#include "broker/log/partition.h"
#include "broker/shard/egress.h"
#include "broker/shard/shard.h"
#include "broker/shard/shard_state.h"
#include "tests/support/shard_peer.h"
#include "transport/flow.h"

TestSuite(shard_recovery, .init = shard_peer_open, .fini = shard_peer_close, .timeout = 60);

Test(shard_recovery, nothing_is_lost_on_a_wire_that_loses_everything_now_and_then)
{
    struct seeded random = seeded_start("shard_recovery_loss");
    const struct fabric_faults faults = { .loss_ppm = 200000,
                                          .duplicate_ppm = 50000,
                                          .reorder_ppm = 100000,
                                          .corrupt_ppm = 20000,
                                          .reorder_ns = 300000,
                                          .burst_ppm = 5000,
                                          .burst_length = 10,
                                          .delay_ns = 5000,
                                          .jitter_ns = 20000 };
    fabric_set(shard_peer.fabric, &faults);
    shard_peer_attach();
    shard_peer_open_streams();
    shard_peer_send_credit(SHARD_PEER_RING);
    for (int i = 0; i < 300; i++) {
        shard_peer_publish(seeded_below(&random, 250));
        for (uint32_t k = seeded_below(&random, 4); k > 0; k--)
            shard_peer_turn();
    }
    UNTIL(shard_peer.acked == 300 && shard_peer_has_log(), 400000);
    shard_peer_expect_log(0);
    cr_assert_eq(partition_next_offset(shard_peer.partition), 300);
    cr_assert_eq(shard_peer.gaps, 0);
    fabric_set(shard_peer.fabric, &(struct fabric_faults){ 0 });
    for (int i = 0; i < 20000 && fabric_buffers(shard_peer.fabric) != 0; i++)
        shard_peer_turn();
    cr_assert_eq(fabric_buffers(shard_peer.fabric), 0, "every buffer was given back");
}

Test(shard_recovery, what_was_lost_and_is_gone_from_the_ring_is_a_gap)
{
    shard_peer_attach();
    shard_peer_open_streams();
    shard_peer_send_credit(4 * SHARD_PEER_RING);
    shard_peer_publish(1000);
    UNTIL(shard_peer.acked == 1 && shard_peer_has_log(), 1000);
    /* Nothing reaches the reader while the ring goes round. */
    fabric_cut(shard_peer.fabric, SHARD_PEER_BROKER_HOST, SHARD_PEER_CLIENT_HOST, true);
    for (int i = 0; i < 150; i++) {
        shard_peer_publish(1000);
        for (int k = 0; k < 3; k++)
            shard_peer_shard_turn();
    }
    cr_assert_eq(partition_next_offset(shard_peer.partition), 151);
    const uint64_t head = partition_head(shard_peer.partition);
    cr_assert_gt(head, shard_peer.arrived.next);
    fabric_cut(shard_peer.fabric, SHARD_PEER_BROKER_HOST, SHARD_PEER_CLIENT_HOST, false);
    UNTIL(shard_peer_has_log() && shard_peer.acked == 151, 400000);
    cr_assert_geq(shard_peer.gaps, 1);
    cr_assert_eq(shard_peer.gap.position, head);
    cr_assert_eq(shard_peer.gap.offset, partition_head_offset(shard_peer.partition));
    shard_peer_expect_log(head);
}

Test(shard_recovery, every_commit_is_answered_and_the_last_word_is_revoked)
{
    const struct offsets_key key = { .group_id = 1, .topic_id = SHARD_PEER_TOPIC };
    const struct fabric_faults faults = {
        .loss_ppm = 300000, .duplicate_ppm = 50000, .reorder_ppm = 100000, .reorder_ns = 300000
    };
    struct offsets *offsets;
    cr_assert_eq(offsets_open(&offsets, NULL), LEAT_OK);
    cr_assert_eq(
        offsets_create(offsets, &key, partition_log_epoch(shard_peer.partition), &shard_peer.entry),
        LEAT_OK);
    fabric_set(shard_peer.fabric, &faults);
    shard_peer_attach();
    shard_peer_open_streams();
    for (int i = 0; i < 20; i++)
        shard_peer_publish(100);
    UNTIL(shard_peer.acked == 20, 400000);
    const struct leat_frame_committed *said = shard_peer.committed;
    for (uint64_t offset = 1; offset <= 20; offset++) {
        shard_peer_send_commit(offset);
        UNTIL(said[offset].asked == offset, 400000);
        cr_assert_eq(said[offset].status, LEAT_OK);
        cr_assert_geq(said[offset].offset, offset);
        cr_assert_geq(offsets_committed(shard_peer.entry), offset);
    }
    shard_peer_send_commit(21);
    UNTIL(said[21].asked == 21, 400000);
    cr_assert_eq(said[21].status, LEAT_ERR_OUT_OF_RANGE);
    cr_assert_eq(said[21].offset, 20u);
    struct message revoke = { .type = MESSAGE_REVOKE,
                              .partition = shard_peer.partition,
                              .topic_id = SHARD_PEER_TOPIC,
                              .commit = { .entry = shard_peer.entry } };
    revoke = shard_peer_ask(revoke);
    cr_assert(revoke.status == LEAT_OK && revoke.value == 20);
    UNTIL(shard_peer.gaps != 0, 400000);
    cr_assert_eq(shard_peer.gap.reason, LEAT_REASON_REVOKED);
    shard_peer_send_commit(19);
    UNTIL(said[19].status == LEAT_ERR_UNKNOWN_STREAM, 400000);
    cr_assert_eq(offsets_committed(shard_peer.entry), 20u);
    cr_assert_eq(atomic_load(&shard_peer.entry->references), 1u, "the shard has let go");
    offsets_close(offsets);
}

enum {
    STAGE_PONGS = EGRESS_STAGE_BYTES / LEAT_PING_BYTES,
    RUNS = 35, /* what one PUBLISH_ACK holds */
};

static struct session *session(void)
{
    return shard_session(shard_peer.shard, SHARD_PEER_SESSION);
}

/* The peer acknowledges nothing: the session's window fills, and then its stage (in the next turns
 * of the shard) up to `room`. */
static void fill_stage(uint32_t room)
{
    while (flow_may_send(&session()->path->flow)) {
        shard_peer_send_pings(STAGE_PONGS / 4);
        shard_peer_shard_turn();
    }
    shard_peer_send_pings((egress_room(&session()->out) - room) / LEAT_PING_BYTES);
}

/* A peer that says nothing more: the answers it was sent are lost, and its session's stage has
 * filled meanwhile. Giving the answers again takes more room than any one frame received. */
Test(shard_recovery, answers_given_again_wait_for_room)
{
    shard_peer_attach();
    shard_peer_open_streams();
    fabric_cut(shard_peer.fabric, SHARD_PEER_BROKER_HOST, SHARD_PEER_CLIENT_HOST, true);
    for (int i = 0; i < RUNS; i++)
        shard_peer_publish_broken(10);
    shard_peer_shard_turn();
    fill_stage(2 * EGRESS_ANSWER_BYTES);
    for (int i = 0; i < 1000; i++)
        shard_peer_shard_turn(); /* probes: what is oldest goes again */
    fabric_cut(shard_peer.fabric, SHARD_PEER_BROKER_HOST, SHARD_PEER_CLIENT_HOST, false);
    UNTIL(shard_peer.refusals == RUNS, 400000);
    shard_peer_publish(10);
    UNTIL(shard_peer.acked == 1, 400000);
}

/* The batch that all others wait for comes when there is room for its answer alone: the others are
 * taken as soon as there is more, though their client has nothing more to say. */
Test(shard_recovery, batches_that_became_whole_are_answered_when_there_is_room)
{
    enum { BATCHES = 10 };
    shard_peer_attach();
    shard_peer_open_streams();
    const uint32_t first = shard_peer_make_batch(10);
    for (int i = 1; i < BATCHES; i++)
        shard_peer_publish(10);
    shard_peer_turn();
    fabric_cut(shard_peer.fabric, SHARD_PEER_BROKER_HOST, SHARD_PEER_CLIENT_HOST, true);
    fill_stage(EGRESS_ANSWER_BYTES + LEAT_PING_BYTES);
    shard_peer_send_publish(0, first);
    for (int i = 0; i < 4; i++) /* a burst each: the PINGs before it are more than one */
        shard_peer_shard_turn();
    cr_assert_eq(partition_next_offset(shard_peer.partition), 1);
    fabric_cut(shard_peer.fabric, SHARD_PEER_BROKER_HOST, SHARD_PEER_CLIENT_HOST, false);
    UNTIL(shard_peer.acked == BATCHES, 400000);
    cr_assert_eq(partition_next_offset(shard_peer.partition), BATCHES);
}

/* A client that awaits records, or credit, says nothing: it hears of the end all the same. */
Test(shard_recovery, who_had_no_room_to_be_told_of_a_removed_partition_is_told_when_there_is_some)
{
    shard_peer_attach();
    shard_peer_open_streams();
    shard_peer_send_credit(SHARD_PEER_RING);
    shard_peer_turn();
    fabric_cut(shard_peer.fabric, SHARD_PEER_BROKER_HOST, SHARD_PEER_CLIENT_HOST, true);
    fill_stage(0);
    for (int i = 0; i < 4; i++)
        shard_peer_shard_turn();
    cr_assert_lt(egress_room(&session()->out), EGRESS_ANSWER_BYTES);
    const struct message removal = { .type = MESSAGE_REMOVE_PARTITION,
                                     .topic_id = SHARD_PEER_TOPIC,
                                     .partition = shard_peer.partition };
    cr_assert_eq(shard_peer_ask(removal).status, LEAT_OK);
    fabric_cut(shard_peer.fabric, SHARD_PEER_BROKER_HOST, SHARD_PEER_CLIENT_HOST, false);
    UNTIL(shard_peer.gaps != 0 && shard_peer.last_status == LEAT_ERR_UNKNOWN_STREAM, 400000);
    cr_assert_eq(shard_peer.gap.reason, LEAT_REASON_TOPIC_DELETED);
}

/* Over a connection the answer would have come before; a client that waits for it must learn that
 * its producer is over without sending more. */
Test(shard_recovery, an_answer_lost_before_a_fence_is_a_fence)
{
    shard_peer_attach();
    shard_peer_open_streams();
    fabric_cut(shard_peer.fabric, SHARD_PEER_BROKER_HOST, SHARD_PEER_CLIENT_HOST, true);
    shard_peer_publish(10);
    shard_peer_shard_turn();
    cr_assert_eq(partition_next_offset(shard_peer.partition), 1);
    const struct message fence = { .type = MESSAGE_FENCE,
                                   .topic_id = SHARD_PEER_TOPIC,
                                   .publish = { .producer_id = SHARD_PEER_PRODUCER,
                                                .producer_epoch = 1 } };
    cr_assert_eq(shard_peer_ask(fence).status, LEAT_OK);
    fabric_cut(shard_peer.fabric, SHARD_PEER_BROKER_HOST, SHARD_PEER_CLIENT_HOST, false);
    UNTIL(shard_peer.last_status == LEAT_ERR_FENCED, 400000);
    cr_assert_eq(shard_peer.acked, 0);
}

/* The session remembers as much as it can, there is more to say, and every probe says a little of
 * it: what was lost still has a place to go when the peer comes back. */
Test(shard_recovery, a_session_that_remembers_all_it_can_goes_on)
{
    shard_peer_attach();
    shard_peer_open_streams();
    fabric_cut(shard_peer.fabric, SHARD_PEER_BROKER_HOST, SHARD_PEER_CLIENT_HOST, true);
    for (int i = 0; i < 8; i++) {
        shard_peer_send_pings(STAGE_PONGS / 2);
        shard_peer_shard_turn();
    }
    for (int i = 0; i < 100; i++) { /* probes, once a second in the end */
        shard_peer.now += LEAT_NS_PER_S;
        shard_peer_shard_turn();
    }
    fabric_cut(shard_peer.fabric, SHARD_PEER_BROKER_HOST, SHARD_PEER_CLIENT_HOST, false);
    shard_peer.now += LEAT_NS_PER_S;
    shard_peer_publish(10);
    UNTIL(shard_peer.acked == 1, 400000);
}

/* A peer that acknowledges nothing, while the path is to be probed: no reason to be awake. */
Test(shard_recovery, a_probe_that_waits_for_the_window_wakes_nobody)
{
    fabric_set(shard_peer.fabric, &(struct fabric_faults){ .mtu = LEAT_PACKET_BYTES_BASE });
    shard_peer_send_attach(shard_peer.token);
    UNTIL(shard_peer.attached, 20000);
    fabric_cut(shard_peer.fabric, SHARD_PEER_BROKER_HOST, SHARD_PEER_CLIENT_HOST, true);
    for (int i = 0; i < 2 * FLOW_PEER_WINDOW_FIRST; i++) {
        shard_peer_send_pings(20); /* in all more than leaves: some answer always waits */
        shard_peer_shard_turn();
    }
    for (int i = 0; i < 100000; i++) { /* a second: probes are given up after 0.3 */
        shard_peer_shard_turn();
        cr_assert_gt(shard_deadline(shard_peer.shard), shard_peer.now, "after %d turns", i);
    }
}

/* What a path begins to swallow goes again in packets that it carries, though all that is small,
 * the probe beside it too, gets through. */
Test(shard_recovery, a_path_that_grows_narrow_is_noticed_though_small_packets_arrive)
{
    shard_peer_attach();
    shard_peer_open_streams();
    shard_peer_publish(600);
    shard_peer_publish(600);
    UNTIL(shard_peer.acked == 2, 1000);
    fabric_set(shard_peer.fabric, &(struct fabric_faults){ .mtu = LEAT_PACKET_BYTES_BASE });
    shard_peer_send_credit(SHARD_PEER_RING);
    UNTIL(shard_peer_has_log(), 2000);
    shard_peer_expect_log(0);
    /* It may be wide again one day. */
    fabric_set(shard_peer.fabric, &(struct fabric_faults){ 0 });
    UNTIL(session()->path->flow.options.payload_max > LEAT_PACKET_BYTES_BASE, 1100000);
}

/* A peer that was off its processor for a while: nothing speaks against large packets. */
Test(shard_recovery, after_a_pause_packets_are_large_again_soon)
{
    shard_peer_attach();
    shard_peer_open_streams();
    shard_peer_send_credit(SHARD_PEER_RING);
    fabric_cut(shard_peer.fabric, SHARD_PEER_BROKER_HOST, SHARD_PEER_CLIENT_HOST, true);
    shard_peer_publish(600);
    for (int i = 0; i < 300000; i++) /* three seconds */
        shard_peer_turn();
    cr_assert_eq(session()->path->flow.options.payload_max, LEAT_PACKET_BYTES_BASE);
    fabric_cut(shard_peer.fabric, SHARD_PEER_BROKER_HOST, SHARD_PEER_CLIENT_HOST, false);
    UNTIL(session()->path->flow.options.payload_max > LEAT_PACKET_BYTES_BASE, 150000);
}

/* A wire that takes nothing: the shard tries again now and then, and does not turn without end. */
Test(shard_recovery, a_full_link_is_tried_again_and_not_waited_for_awake)
{
    shard_peer_attach();
    fabric_full(shard_peer.broker_link, true);
    for (int i = 0; i < 1000; i++) {
        shard_peer_send_pings(1);
        shard_peer_shard_turn();
    }
    cr_assert_gt(shard_peer.broker_link->counters.tx_no_buffer, 0);
    for (int i = 0; i < 1000; i++) {
        shard_peer_shard_turn();
        cr_assert(TAILQ_EMPTY(&shard_peer.shard->output), "after %d turns", i);
        cr_assert_gt(shard_deadline(shard_peer.shard), shard_peer.now, "after %d turns", i);
    }
    fabric_full(shard_peer.broker_link, false);
    UNTIL(shard_peer.pongs == 1000, 400000);
}

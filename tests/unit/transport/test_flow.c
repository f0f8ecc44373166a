/* Goal: whatever the wire does, everything that was sent arrives, what is lost is found soon, and
 * memory stays bounded. Method: two flows over simulated wires in virtual time, from a seed; after
 * every step the flow's own sums are checked (tests/support/flow_check.h). */
#include <criterion/criterion.h>

#include "tests/support/flow_check.h"
#include "tests/support/flow_sim.h"

static struct sim sim;

enum { MIB = 1 << 20 };

static struct seeded seeds;

static void start_all(void)
{
    seeds = seeded_start("flow");
}
TestSuite(flow, .init = start_all);

static void start(void)
{
    sim_start(&sim, seeded_next(&seeds), &sim_options);
}

static void both_wires(uint32_t lost, uint32_t doubled, leat_ns delay, leat_ns jitter)
{
    for (int e = 0; e < SIM_ENDS; e++) {
        struct sim_wire *wire = &sim.ends[e].wire;
        wire->lost_permille = lost;
        wire->doubled_permille = doubled;
        wire->delay_ns = delay;
        wire->jitter_ns = jitter;
    }
}

Test(flow, over_a_good_wire_nothing_is_sent_twice)
{
    start();
    sim_send(&sim, 0, 4 * MIB);
    sim_send(&sim, 1, MIB);
    cr_assert(sim_run(&sim, LEAT_NS_PER_S));
    sim_rest(&sim, LEAT_NS_PER_S);
    for (int e = 0; e < SIM_ENDS; e++) {
        const struct flow_counters *c = &sim.ends[e].flow.counters;
        cr_assert_eq(c->packets_lost, 0);
        cr_assert_eq(c->bytes_resent, 0);
        cr_assert_eq(c->probes, 0);
        cr_assert_eq(c->duplicates + c->too_old + c->acks_bogus, 0);
        cr_assert_eq(sim.ends[e].flow.sent.outstanding, 0);
        cr_assert_eq(flow_deadline(&sim.ends[e].flow), LEAT_NS_NEVER, "an idle flow is silent");
    }
}

Test(flow, everything_arrives_whatever_the_wire_does)
{
    static const uint32_t losses[] = { 0, 5, 50, 200, 500 };
    for (unsigned i = 0; i < 100; i++) {
        start();
        both_wires(losses[i % 5], i % 3 * 100, 10 * LEAT_NS_PER_US, i % 4 * 20 * LEAT_NS_PER_US);
        for (int e = 0; e < SIM_ENDS; e++) {
            sim.ends[e].piece_max = 1 + seeded_below(&sim.random, SIM_PAYLOAD);
            sim.ends[e].cuts = i % 2 == 0;
        }
        sim_send(&sim, 0, 100000);
        sim_send(&sim, 1, seeded_below(&sim.random, 100000));
        cr_assert(sim_run(&sim, 60 * LEAT_NS_PER_S), "run %u", i);
    }
}

Test(flow, everything_arrives_across_the_end_of_32_bits)
{
    for (unsigned i = 0; i < 20; i++) {
        start();
        both_wires(i % 2 * 100, i % 3 * 50, 10 * LEAT_NS_PER_US, i % 4 * 20 * LEAT_NS_PER_US);
        sim_first_number(&sim, 0, UINT32_MAX - 100 - i);
        sim_first_number(&sim, 1, UINT32_MAX - 20 * i);
        sim_send(&sim, 0, 500000);
        sim_send(&sim, 1, 500000);
        cr_assert(sim_run(&sim, 60 * LEAT_NS_PER_S), "run %u", i);
        for (int e = 0; e < SIM_ENDS; e++) {
            cr_assert_gt(sim.ends[e].flow.sent.next, UINT64_C(1) << 32);
            cr_assert_eq(sim.ends[e].flow.counters.acks_bogus, 0);
        }
    }
}

/* Pieces so small that items run out before packets do. */
Test(flow, everything_arrives_when_items_are_scarce)
{
    for (unsigned i = 0; i < 6; i++) {
        start();
        both_wires(i % 3 * 150, 0, 10 * LEAT_NS_PER_US, 0);
        for (int e = 0; e < SIM_ENDS; e++) {
            sim.ends[e].piece_max = 1;
            sim_send(&sim, e, 30000);
        }
        sim.ends[0].wire.down = i >= 3;
        sim_rest(&sim, 200 * LEAT_NS_PER_MS);
        sim.ends[0].wire.down = false;
        cr_assert(sim_run(&sim, 60 * LEAT_NS_PER_S), "run %u", i);
        cr_assert(sim.ends[0].was_tight);
    }
}

Test(flow, everything_arrives_after_a_silence)
{
    for (unsigned i = 0; i < 20; i++) {
        start();
        sim_send(&sim, 0, 4 * MIB);
        sim_send(&sim, 1, i % 2 * MIB);
        sim_rest(&sim, 60 * LEAT_NS_PER_US);
        sim.ends[0].wire.down = i % 3 != 1;
        sim.ends[1].wire.down = i % 3 != 2;
        sim_rest(&sim, (1 + i) * 100 * LEAT_NS_PER_MS);
        cr_assert_not(sim_is_done(&sim));
        for (int e = 0; e < SIM_ENDS; e++)
            sim.ends[e].wire.down = false;
        /* the next probe comes within a second, and then all goes fast */
        cr_assert(sim_run(&sim, 1100 * LEAT_NS_PER_MS), "run %u", i);
    }
}

Test(flow, a_silent_peer_costs_a_few_packets_and_is_found_dead)
{
    start();
    sim_send(&sim, 0, 4 * MIB);
    sim.ends[0].wire.down = true;
    sim_rest(&sim, 20 * LEAT_NS_PER_S);
    const struct flow *flow = &sim.ends[0].flow;
    cr_assert(flow_dead(flow, LEAT_NS_PER_S, sim.now));
    cr_assert_lt(flow->counters.probes, 40u);
    cr_assert_leq(flow->counters.packets_sent, CC_WINDOW_INITIAL + 2 * flow->counters.probes);
    cr_assert_not(flow_dead(&sim.ends[1].flow, LEAT_NS_PER_S, sim.now), "nothing is awaited");
}

Test(flow, a_lost_tail_is_repaired_by_a_probe)
{
    for (int acks_too = 0; acks_too < 2; acks_too++) {
        start();
        sim_send(&sim, 0, 100000);
        cr_assert(sim_run(&sim, LEAT_NS_PER_S));
        sim_rest(&sim, 10 * LEAT_NS_PER_MS);
        sim.ends[0].wire.drop_next = 1;
        sim.ends[1].wire.drop_next = (uint32_t)acks_too;
        sim_send(&sim, 0, 100);
        const leat_ns sent_at = sim.now;
        cr_assert(sim_run(&sim, LEAT_NS_PER_S));
        const leat_ns round_trip = 20 * LEAT_NS_PER_US;
        cr_assert_leq(sim.now - sent_at, sim_options.probe_floor_ns + round_trip);
        cr_assert_eq(sim.ends[0].flow.counters.probes, 1);
    }
}

Test(flow, a_lost_ack_costs_a_probe_and_no_more)
{
    start();
    sim.ends[1].wire.drop_next = 1;
    sim_send(&sim, 0, 100);
    cr_assert(sim_run(&sim, LEAT_NS_PER_S));
    sim_rest(&sim, LEAT_NS_PER_S);
    const struct sim_end *a = &sim.ends[0], *b = &sim.ends[1];
    cr_assert_eq(a->flow.counters.probes, 1);
    cr_assert_eq(a->flow.sent.outstanding, 0);
    cr_assert_eq(b->arrived.next, 100);
    cr_assert_leq(a->wire.sent, 3u);
}

Test(flow, doubled_packets_do_not_breed)
{
    start();
    both_wires(0, 1000, 10 * LEAT_NS_PER_US, 0);
    sim_send(&sim, 0, 100000);
    cr_assert(sim_run(&sim, LEAT_NS_PER_S));
    const uint64_t content = sim.ends[0].wire.sent;
    sim_rest(&sim, LEAT_NS_PER_S);
    cr_assert_leq(sim.ends[0].wire.sent, content);
    cr_assert_leq(sim.ends[1].wire.sent, 2 * content);
    cr_assert_geq(sim.ends[1].flow.counters.duplicates, content);
}

static void bulk(uint32_t lost_permille, leat_ns packet_ns, uint32_t queue)
{
    start();
    both_wires(0, 0, 100 * LEAT_NS_PER_US, 0);
    sim.ends[0].wire.lost_permille = lost_permille;
    sim.ends[0].wire.packet_ns = packet_ns;
    sim.ends[0].wire.queue = queue;
    sim_send(&sim, 0, 16 * MIB);
    cr_assert(sim_run(&sim, 60 * LEAT_NS_PER_S));
}

Test(flow, a_bad_wire_does_not_shrink_the_window_and_a_queue_does)
{
    const struct cc *cc = &sim.ends[0].flow.cc;
    bulk(5, 0, 0);
    cr_assert_gt(sim.ends[0].flow.counters.packets_lost, 20u);
    cr_assert_eq(cc->reductions, 0);
    cr_assert_eq(cc->window, CC_WINDOW_MAX);
    bulk(100, 0, 0);
    cr_assert_gt(cc->reductions, 5u);
    bulk(0, 5 * LEAT_NS_PER_US, 100); /* 40 packets a round trip, and 100 that wait */
    cr_assert_gt(cc->reductions, 0u);
    cr_assert_lt(sim.ends[0].wire.lost * 20, sim.ends[0].wire.sent, "less than one in 20");
}

Test(flow, loss_costs_little_more_than_what_was_lost)
{
    bulk(10, 2 * LEAT_NS_PER_US, 0);
    const struct sim_end *a = &sim.ends[0];
    cr_assert_lt(a->flow.counters.packets_lost, a->wire.lost + a->wire.lost / 10 + 5);
    cr_assert_lt(a->flow.counters.bytes_resent, 16 * MIB / 50);
}

/* ---- one flow, by hand */

static struct flow flow;
static uint8_t bytes[SIM_PAYLOAD];
static const struct flow_item some = { .at = 1, .size = 100, .kind = 0x85 };

static uint64_t commit(const struct flow_item *item, uint32_t size, leat_ns now)
{
    const uint32_t headers = flow_begin(&flow, bytes, now);
    if (item != NULL)
        cr_assert(flow_note(&flow, item));
    flow_commit(&flow, bytes, headers + size, now);
    return flow.sent.next - 1;
}

static void acked(uint64_t largest, uint16_t window, leat_ns now)
{
    const struct leat_packet_ack ack = { .largest = (uint32_t)largest,
                                         .map = UINT64_MAX,
                                         .window = window };
    flow_acked(&flow, &ack, now);
    cr_assert_null(flow_check(&flow));
}

static void alone(void)
{
    flow_init(&flow, &sim_options, 1000);
}

Test(flow, the_header_says_what_was_meant, .init = alone)
{
    struct leat_packet packet;
    uint64_t number;
    commit(&some, 100, 1000);
    cr_assert_eq(leat_packet_decode(&packet, bytes, sizeof bytes), LEAT_OK);
    cr_assert(packet.type == LEAT_PACKET_SESSION && packet.session == sim_options.session);
    cr_assert(packet.number == 1 && !packet.has_ack && packet.frames_size == 100);
    packet = (struct leat_packet){ .type = LEAT_PACKET_SESSION, .number = 1, .frames_size = 9 };
    cr_assert_eq(flow_open(&flow, &packet, &number, 2000), FLOW_NEW);
    flow_take(&flow, number, true, false, 2000);
    cr_assert_eq(flow_deadline(&flow), 2000 + sim_options.ack_delay_ns);
    commit(&some, 100, 2512);
    cr_assert_eq(leat_packet_decode(&packet, bytes, sizeof bytes), LEAT_OK);
    cr_assert(packet.number == 2 && packet.has_ack && packet.ack.largest == 1
              && packet.ack.delay_ns == 512 && packet.ack.window == sim_options.receive_window);
    cr_assert_not(flow_ack_due(&flow, 1000000));
}

Test(flow, the_peers_window_holds_and_never_closes_for_good, .init = alone)
{
    for (uint32_t i = 0; i < CC_WINDOW_INITIAL; i++) {
        cr_assert_eq(flow_room(&flow), CC_WINDOW_INITIAL - i);
        commit(&some, 100, 1000);
    }
    cr_assert_not(flow_may_send(&flow));
    acked(CC_WINDOW_INITIAL, 10, 2000);
    cr_assert_eq(flow_room(&flow), 10);
    commit(&some, 100, 3000);
    acked(CC_WINDOW_INITIAL + 1, 0, 4000);
    cr_assert_eq(flow_room(&flow), 1);
    commit(&some, 100, 5000);
    acked(CC_WINDOW_INITIAL, 300, 6000); /* overtaken */
    cr_assert_eq(flow_room(&flow), 0);
}

Test(flow, acks_for_nothing_are_counted_and_ignored, .init = alone)
{
    commit(&some, 100, 1000);
    acked(2, 500, 2000);
    acked(UINT32_MAX / 2, 500, 2000);
    cr_assert_eq(flow.counters.acks_bogus, 2);
    cr_assert_eq(flow.sent.outstanding, 1);
    cr_assert_eq(flow.peer_window, FLOW_PEER_WINDOW_FIRST);
}

Test(flow, an_abandoned_packet_keeps_number_and_ack, .init = alone)
{
    commit(NULL, 0, 1000);
    flow_take(&flow, 1, true, true, 2000);
    flow_begin(&flow, bytes, 2000);
    cr_assert(flow_note(&flow, &some));
    cr_assert_not(flow_ack_due(&flow, 2000));
    flow_abandon(&flow);
    cr_assert(flow_ack_due(&flow, 2000));
    cr_assert_eq(commit(&some, 100, 2000), 2);
    cr_assert_null(flow_check(&flow));
    cr_assert_eq(flow.counters.packets_quiet, 1);
}

Test(flow, probes_go_out_twice_as_late_each_time, .init = alone)
{
    leat_ns last = 0, now = 1000;
    commit(&some, 100, now);
    for (int i = 0; i < 20; i++) {
        const leat_ns at = flow_deadline(&flow), wait = at - now;
        cr_assert_eq(wait, i == 0 ? wait : 2 * last < LEAT_NS_PER_S ? 2 * last : LEAT_NS_PER_S);
        flow_timeout(&flow, at - 1);
        cr_assert_eq(flow.counters.probes, (uint64_t)i);
        flow_timeout(&flow, at);
        cr_assert_eq(flow.counters.probes, (uint64_t)i + 1);
        cr_assert_eq(flow_lost(&flow) != NULL, i == 0, "its item comes back once");
        if (flow_lost(&flow) != NULL)
            flow_lost_done(&flow);
        last = wait;
        now = at;
    }
    cr_assert_eq(last, LEAT_NS_PER_S);
}

Test(flow, the_probe_timer_counts_from_what_was_last_sent_or_heard, .init = alone)
{
    commit(&some, 100, 1000);
    const leat_ns wait = flow_deadline(&flow) - 1000;
    commit(&some, 100, 51000);
    cr_assert_eq(flow_deadline(&flow), 51000 + wait);
    commit(NULL, 0, 61000);
    cr_assert_eq(flow_deadline(&flow), 51000 + wait, "an ack alone awaits nothing");
    for (int i = 0; i < 3; i++)
        flow_timeout(&flow, flow_deadline(&flow));
    cr_assert_eq(flow.probe_count, 3);
    const leat_ns heard = 51000 + 10 * wait;
    acked(1, 100, heard);
    cr_assert_eq(flow.probe_count, 0);
    cr_assert_eq(flow.probes_due, 0);
    const leat_ns rtt = heard - 1000, variance = rtt / 2 * 4;
    cr_assert_eq(flow_deadline(&flow), heard + rtt + variance + sim_options.peer_ack_delay_ns);
    acked(1, 100, heard + 5000);
    cr_assert_eq(flow_deadline(&flow), heard + rtt + variance + sim_options.peer_ack_delay_ns,
                 "nothing new was heard");
}

Test(flow, probes_may_leave_whatever_the_window_says, .init = alone)
{
    struct leat_packet packet;
    while (flow_may_send(&flow))
        commit(&some, 100, 1000);
    flow_timeout(&flow, flow_deadline(&flow));
    for (int i = 0; i < 2; i++) {
        cr_assert(flow_may_send(&flow) && flow_may_resend(&flow, 1000));
        commit(flow_lost(&flow), 100, 2000);
        flow_lost_done(&flow);
        cr_assert_eq(leat_packet_decode(&packet, bytes, sizeof bytes), LEAT_OK);
        cr_assert_neq(packet.flags & LEAT_PACKET_ACK_NOW, 0);
    }
    cr_assert_not(flow_may_send(&flow));
}

enum { LARGE = LEAT_PACKET_BYTES_BASE };

/* What lies before the last `count` packets is not acknowledged, they are. */
static void acked_last(unsigned count, leat_ns now)
{
    const struct leat_packet_ack ack = { .largest = (uint32_t)flow.sent.next - 1,
                                         .map = (UINT64_C(1) << (count - 1)) - 1,
                                         .window = 100 };
    flow_acked(&flow, &ack, now);
    while (flow_lost(&flow) != NULL)
        flow_lost_done(&flow);
    cr_assert_null(flow_check(&flow));
}

Test(flow, large_packets_that_never_arrive_are_noticed_though_small_ones_do, .init = alone)
{
    leat_ns now = 1000;
    for (uint32_t round = 1; round < 5; round++) {
        commit(&some, LARGE, now);
        commit(&some, LARGE, now);
        commit(&some, 100, now);
        commit(&some, 100, now);
        acked_last(2, now + 100); /* the first is three behind... */
        cr_assert_eq(flow.counters.packets_lost, 2 * round - 1);
        commit(&some, 100, now + 100);
        acked_last(3, now += 200); /* ...and now the second */
        cr_assert_eq(flow.counters.packets_lost, 2 * round);
        cr_assert_eq(flow_large_lost(&flow), round, "both left before it was noticed");
    }
    commit(&some, LARGE, now);
    acked_last(1, now += 100000);
    cr_assert_eq(flow_large_lost(&flow), 0u);
    commit(&some, LARGE, now);
    flow_resize(&flow, LEAT_PACKET_BYTES_BASE, now += 1000);
    for (unsigned i = 0; i < 4; i++)
        commit(&some, 100, now);
    acked_last(4, now += 100000);
    cr_assert_eq(flow.counters.packets_lost, 9);
    cr_assert_eq(flow_large_lost(&flow), 0u, "it left before they were made small");
}

Test(flow, a_trial_that_is_lost_says_nothing_of_the_load, .init = alone)
{
    leat_ns now = 1000;
    for (unsigned round = 1; round < 20; round++) {
        cr_assert(flow_may_try(&flow));
        const uint32_t headers = flow_begin(&flow, bytes, now);
        cr_assert(flow_note(&flow, &some));
        flow_commit_trial(&flow, bytes, headers + LARGE, now);
        for (unsigned i = 0; i < 4; i++)
            commit(&some, 100, now);
        acked_last(4, now += 100000);
        cr_assert_eq(flow.counters.packets_lost, round);
    }
    cr_assert_eq(flow.cc.window, (uint32_t)CC_WINDOW_INITIAL);
    cr_assert_eq(flow.cc.round_lost, 0u);
    cr_assert_eq(flow_large_lost(&flow), 0u);
}

Test(flow, a_trial_waits_for_what_was_lost_and_for_the_peer, .init = alone)
{
    commit(&some, 100, 1000);
    flow_timeout(&flow, flow_deadline(&flow));
    cr_assert_not(flow_may_try(&flow), "something is to be sent again");
    flow_lost_done(&flow);
    for (int i = 0; i < 2; i++) {
        cr_assert(flow_may_send(&flow));
        cr_assert_not(flow_may_try(&flow), "the peer is asked for a word");
        commit(&some, 100, 500000000);
    }
    cr_assert_eq(flow.probes_due, 0u);
    cr_assert_not(flow_may_try(&flow), "and has not given it");
    acked(1, 100, 900000000);
    cr_assert(flow_may_try(&flow));
}

Test(flow, sending_again_has_a_budget_and_never_starves, .init = alone)
{
    leat_ns now = 1000 + sim_options.rtt_initial_ns;
    const uint64_t most = (uint64_t)CC_WINDOW_INITIAL * SIM_PAYLOAD;
    uint64_t resent = 0;
    cr_assert_not(flow_may_resend(&flow, 1000), "nothing was sent yet");
    for (; flow_may_resend(&flow, now); resent += 1000)
        flow_resent(&flow, 1000);
    cr_assert(resent >= most && resent < most + 1000);
    commit(&some, 400, now);
    cr_assert(flow_may_resend(&flow, now), "a quarter of what is sent");
    flow_resent(&flow, 120);
    cr_assert_not(flow_may_resend(&flow, now));
    flow_timeout(&flow, now + LEAT_NS_PER_MS / 2);
    cr_assert_not(flow_may_resend(&flow, now + LEAT_NS_PER_MS / 2));
    cr_assert(flow_may_resend(&flow, now + sim_options.rtt_initial_ns));
    cr_assert_eq(flow.counters.bytes_resent, resent + 120);
}

Test(flow, what_waits_for_its_budget_is_woken, .init = alone)
{
    for (int i = 0; i < 6; i++)
        commit(&some, 100, 1000);
    acked(6, 100, 21000); /* a round trip of 20 us */
    for (int i = 0; i < 5; i++)
        commit(&some, 0, 30000);
    const struct leat_packet_ack ack = { .largest = 11, .window = 100 };
    flow_acked(&flow, &ack, 50000); /* 7 and 8 are lost by number, 9 and 10 later */
    cr_assert(flow_may_resend(&flow, 50000));
    flow_resent(&flow, UINT32_MAX);
    flow_timeout(&flow, flow_deadline(&flow));
    while (flow.sent.outstanding != 0)
        flow_timeout(&flow, flow_deadline(&flow));
    flow_resent(&flow, UINT32_MAX);
    cr_assert(flow_lost(&flow) != NULL && flow.sent.outstanding == 0);
    const leat_ns at = flow_deadline(&flow);
    cr_assert(at != LEAT_NS_NEVER && !flow_may_resend(&flow, at - 1));
    flow_timeout(&flow, at);
    cr_assert(flow_may_resend(&flow, at));
    cr_assert_eq(flow_deadline(&flow), LEAT_NS_NEVER);
}

Test(flow, without_room_for_items_the_probe_is_an_ack_that_asks, .init = alone)
{
    struct leat_packet packet;
    commit(&some, 100, 1000);
    for (uint32_t i = 0; i < 5000; i++)
        commit(NULL, 0, 1000); /* acks, of which nobody takes notice; the first is given up */
    cr_assert_eq(flow.counters.packets_lost, 1);
    flow_lost_done(&flow);
    commit(&some, 100, 1000);
    while (sentmap_has_room(&flow.sent))
        commit(NULL, 0, 1000);
    cr_assert_not(flow_may_send(&flow));
    cr_assert_not(flow_ack_due(&flow, 2000));
    flow_timeout(&flow, flow_deadline(&flow));
    cr_assert(flow_ack_due(&flow, 2000));
    const uint64_t probe = commit(NULL, 0, 2000);
    cr_assert_eq(leat_packet_decode(&packet, bytes, sizeof bytes), LEAT_OK);
    cr_assert_neq(packet.flags & LEAT_PACKET_ACK_NOW, 0);
    cr_assert_eq(flow.sent.outstanding, 2);
    acked(probe, 100, 3000);
    cr_assert(flow.sent.outstanding == 0 && flow_may_send(&flow));
}

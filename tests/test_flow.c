/* Goal: whatever the wire does, everything that was sent arrives, what is lost is found soon, and
 * memory stays bounded. Method: two flows over simulated wires in virtual time, from a seed; after
 * every step the flow's own sums are checked (tests/support/flow_check.c). */
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
        both_wires(losses[i % 5], i % 3 * 100, 10 * LEAT_NS_PER_US,
                   i % 4 == 0 ? 0 : (i % 4) * 20 * LEAT_NS_PER_US);
        for (int e = 0; e < SIM_ENDS; e++) {
            sim.ends[e].piece_max = 1 + seeded_below(&sim.random, SIM_PAYLOAD);
            sim.ends[e].cuts = i % 2 == 0;
        }
        sim_send(&sim, 0, 100000);
        sim_send(&sim, 1, seeded_below(&sim.random, 100000));
        cr_assert(sim_run(&sim, 600 * LEAT_NS_PER_S), "run %u", i);
    }
}

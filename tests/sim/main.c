/* Goal: whatever the wire does and whoever is stopped or restarted, every acknowledged record is
 * delivered to every subscriber exactly once and in order, or lies in one exact GAP; no credit is
 * overrun, memory is bounded, every buffer comes back, and when the faults end everything goes on.
 * A group beside them processes all of it, whoever of its members comes, goes or dies.
 * Method: the real broker (control plane and shard) and two real clients in one process, in
 * simulated time, their packets over a fabric that a seed breaks; then the oracle is checked. A
 * failing seed is printed and replays: sim --seed S. */
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <urcu-qsbr.h>

#include "broker/log/partition.h"
#include "client/client_core.h"
#include "ops/log.h"
#include "schema/packet.h"
#include "tests/sim/footprint.h"
#include "tests/sim/sim.h"

enum {
    PHASES_MAX = 6,
    RECORDS_MAX = 600,         /* of most runs */
    HEAP_MAX_BYTES = 32 << 20, /* of the broker and its clients, whatever is going on */
};
#define PATIENCE_NS (120 * LEAT_NS_PER_S) /* until everything has settled, after the last fault */

/* Everyone's turn at the next time something happens, `end` at the latest. */
static void turn(struct sim *sim, leat_ns end)
{
    leat_ns next = sim_next_of_broker(sim);
    for (unsigned i = 0; i < CLIENTS; i++)
        sim_earliest(&next, sim_client_next(&sim->clients[i]));
    sim_earliest(&next, end);
    sim_go_to(sim, next);
    for (int again = 1; again != 0;) {
        again = sim_step_broker(sim);
        for (unsigned i = 0; i < CLIENTS; i++)
            sim_client_step(&sim->clients[i]);
        again = again != 0 && sim_step_broker(sim);
    }
    const struct fabric_counters *wire = fabric_counters(sim->fabric);
    if (wire->changed != 0)
        sim_fail(sim, "the log changed under a link that was to send it: so often, of",
                 wire->changed, wire->read_late);
    const char *overrun = sim_broker_overrun(&sim->broker);
    if (overrun != NULL)
        sim_fail(sim, overrun, 0, 0);
}

/* ---- a run */

static uint64_t log_head(void *user, unsigned partition, uint64_t *log_epoch)
{
    const struct partition *p = sim_broker_partition(&((struct sim *)user)->broker, partition);
    *log_epoch = partition_log_epoch(p);
    return partition_head_offset(p);
}

static leat_ns time_now(void *user)
{
    return ((struct sim *)user)->now;
}

static bool settled(const struct sim *sim)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        const struct sim_client *c = &sim->clients[i];
        if (c->client == NULL || leat_producer_pending(c->producer) != 0)
            return false;
        if (!deleted_topic_settled(&sim->deleted_topic))
            return false;
        for (unsigned p = 0; p < PARTITIONS; p++) {
            uint64_t position;
            if (leat_consumer_position(c->consumer, SIM_TOPIC, p, &position) != LEAT_OK
                || position != partition_next_offset(sim_broker_partition(&sim->broker, p)))
                return false;
        }
    }
    for (unsigned p = 0; p < PARTITIONS; p++) {
        const struct partition *partition = sim_broker_partition(&sim->broker, p);
        if (!group_members_settled(&sim->group_members, p, partition_log_epoch(partition),
                                   partition_next_offset(partition)))
            return false;
    }
    return recreated_settled(&sim->recreated_topics);
}

static void drain(struct sim *sim)
{
    const struct fabric_faults none = { .delay_ns = 2000,
                                        .jitter_ns = 500,
                                        .mtu = sim->stays_narrow ? sim->narrow_bytes : 0,
                                        .mtu_host = sim->narrow_host };
    const leat_ns end = sim->now + PATIENCE_NS;
    sim_tell(sim, "no more faults");
    fabric_set(sim->fabric, &none);
    sim_heal(sim);
    sim_trouble_link(sim, false, false);
    sim_keep_references(sim, 0);
    sim->seeks = false;
    for (unsigned i = 0; i < CLIENTS; i++)
        sim->clients[i].read_every = 0;
    sim->sends_left += 20; /* what is sent now must get through too */
    while (!settled(sim) || sim->sends_left != 0) {
        if (sim->deleted_topic.open && !sim->deleted_topic.deleted)
            sim_delete_topic_step(sim);
        if (sim->clients[0].client != NULL)
            recreated_end(&sim->recreated_topics, sim->clients[0].client, &sim->random);
        turn(sim, end);
        if (sim->now >= end)
            sim_fail(
                sim, "it did not settle: pending",
                sim->clients[0].client != NULL ? leat_producer_pending(sim->clients[0].producer)
                                               : 0,
                sim->clients[1].client != NULL ? leat_producer_pending(sim->clients[1].producer)
                                               : 0);
    }
}

static void check_memory(struct sim *sim)
{
    const struct footprint now = footprint_now();
    if (now.heap_bytes > HEAP_MAX_BYTES)
        sim_fail(sim, "memory has no bound: heap, most", now.heap_bytes, HEAP_MAX_BYTES);
}

/* When everything is closed there is no more than there was after the first run. */
static void check_footprint(struct sim *sim)
{
    static struct footprint first;
    const struct footprint now = footprint_now();
    if (sim_total.runs == 0)
        first = now;
    const char *grown = footprint_grown(&first, &now);
    if (grown != NULL)
        sim_fail(sim, grown, now.heap_bytes, now.mapped_bytes);
}

static void check_end(struct sim *sim)
{
    sim_check_broker(sim);
    for (unsigned p = 0; p < PARTITIONS; p++) {
        const struct partition *partition = sim_broker_partition(&sim->broker, p);
        const struct oracle *oracle = sim_oracle(sim, p, partition_log_epoch(partition));
        const uint64_t next = partition_next_offset(partition);
        for (unsigned i = 0; i < CLIENTS; i++)
            oracle_check_end(oracle, i, next);
        oracle_check_once(oracle, next);
    }
}

/* Once its time is over nothing is kept, whatever the wall clock did. */
static void check_retention(struct sim *sim)
{
    const leat_ns end = sim->now + (sim->topic.retention_ms + 500) * LEAT_NS_PER_MS;
    if (sim->topic.retention_ms == 0 || sim->topic.blocks)
        return;
    while (sim->now < end) {
        leat_ns next = sim_next_of_broker(sim);
        sim_earliest(&next, end);
        sim_go_to(sim, next);
        sim_step_broker(sim);
    }
    for (unsigned p = 0; p < PARTITIONS; p++) {
        const struct partition *partition = sim_broker_partition(&sim->broker, p);
        if (partition_head_offset(partition) != partition_next_offset(partition))
            sim_fail(sim, "kept for ever: head, next offset", partition_head_offset(partition),
                     partition_next_offset(partition));
    }
}

static void add_counters(const struct fabric_counters *c)
{
    struct fabric_counters *t = &sim_total.fabric;
    t->sent += c->sent;
    t->delivered += c->delivered;
    t->lost += c->lost;
    t->burst_lost += c->burst_lost;
    t->duplicated += c->duplicated;
    t->reordered += c->reordered;
    t->corrupted += c->corrupted;
    t->too_large += c->too_large;
    t->partitioned += c->partitioned;
    t->overflowed += c->overflowed;
    t->read_late += c->read_late;
}

static void choose(struct sim *sim)
{
    struct seeded *r = &sim->random;
    sim->broker_restarts = seeded_below(r, 8) == 0;
    sim->narrow_bytes = LEAT_PACKET_BYTES_BASE + seeded_below(r, 272);
    sim->narrow_host = (uint8_t)seeded_below(r, CLIENT_HOST + 1);
    sim->stays_narrow = seeded_below(r, 8) == 0;
    sim->topic.partitions = PARTITIONS;
    sim->topic.ring_bytes = UINT64_C(1) << (16 + seeded_below(r, 3));
    sim->topic.blocks = seeded_below(r, 5) == 0;
    if (seeded_below(r, 5) == 0)
        sim->topic.publish_quota = 1000000 + seeded_below(r, 50000000);
    if (seeded_below(r, 8) == 0)
        sim->topic.deliver_quota = 1000000 + seeded_below(r, 50000000);
    if (seeded_below(r, 3) == 0)
        sim->topic.retention_ms = 1 + seeded_below(r, seeded_below(r, 2) == 0 ? 50 : 2000);
    sim->window_bytes = seeded_below(r, 3) == 0 ? 16384 : 32768;
    sim->seeks = !sim->broker_restarts && seeded_below(r, 4) == 0;
}

/* What the seed decides once, in the order in which it always did. */
static void set_up(struct sim *sim, uint64_t seed, bool verbose)
{
    memset(sim, 0, sizeof *sim);
    sim->seed = seed;
    sim->random.state = seed * UINT64_C(0x2545F4914F6CDD1D) + 1;
    sim->verbose = verbose;
    sim->now = START_NS;
    sim->fabric = fabric_open(seeded_next(&sim->random));
    sim->incarnation = (uint32_t)seed % 1000000 + 1;
    choose(sim);
    const enum fabric_care care = (enum fabric_care)seeded_below(&sim->random, 4);
    fabric_care(sim->fabric, care);
    if (care == FABRIC_FALSE)
        fabric_damage_by(sim->fabric, sim_damage_packet, NULL);
    /* Now and then more than a ring holds, so that slow readers are overtaken. */
    const uint32_t most = seeded_below(&sim->random, 5) == 0 ? 6 * RECORDS_MAX : RECORDS_MAX;
    sim->sends_left = 20 + seeded_below(&sim->random, most);
    fabric_now(sim->fabric, sim->now);
    sim->deleted_topic.broken = sim_fail;
    sim->deleted_topic.user = sim;
    for (unsigned i = 0; i < PARTITIONS; i++) {
        sim->ages[i].broken = sim_fail;
        sim->ages[i].user = sim;
    }
    sim->recreated_topics.on = seeded_below(&sim->random, 3) == 0;
    sim->recreated_topics.broken = sim_fail;
    sim->recreated_topics.user = sim;
    sim->group_members.head = log_head;
    sim->group_members.now = time_now;
    sim->group_members.broken = sim_fail;
    sim->group_members.user = sim;
    sim_open_broker(sim);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct sim_client *c = &sim->clients[i];
        c->sim = sim;
        c->index = i;
        if (seeded_below(&sim->random, 3) == 0) /* a slow reader */
            c->read_every = 1 + seeded_below(&sim->random, 20000000);
        sim_client_open(c);
    }
}

/* One time of some faults. Now and then long enough for a session to be given up. */
static void run_phase(struct sim *sim)
{
    const bool lasts = seeded_below(&sim->random, 12) == 0;
    leat_ns end = sim->now + sim_between(sim, 500000, 20000000);
    sim_faults_choose(sim);
    if (lasts) {
        if (seeded_below(&sim->random, 2) == 0) {
            sim_cut_some(sim);
            sim_total.silent_paths++; /* what goes over control still comes */
        } else {
            sim_stand_still(sim);
        }
        end += sim_between(sim, 2 * LEAT_NS_PER_S, 5 * LEAT_NS_PER_S);
    } else {
        sim_fault(sim);
        sim_recreate_topics(sim);
    }
    sim_keep_references(
        sim, seeded_below(&sim->random, 4) == 0 ? sim_between(sim, 1000, 200 * LEAT_NS_PER_MS) : 0);
    while (sim->now < end)
        turn(sim, end);
    check_memory(sim);
    sim_trouble_link(sim, false, false);
    if (lasts || seeded_below(&sim->random, 2) == 0)
        sim_heal(sim);
}

/* Closes what is left, and checks what can be checked only then. */
static void tear_down(struct sim *sim)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        sim_client_close(&sim->clients[i]);
    check_retention(sim);
    sim_broker_close(&sim->broker);
    add_counters(fabric_counters(sim->fabric));
    /* What was due when its link closed goes first. */
    for (leat_ns next = sim->now + 1; next != LEAT_NS_NEVER; next = fabric_next(sim->fabric))
        sim_go_to(sim, next);
    if (fabric_buffers(sim->fabric) != 0)
        sim_fail(sim, "buffers were not given back", fabric_buffers(sim->fabric), 0);
    fabric_close(sim->fabric);
    for (unsigned i = 0; i < sim->oracle_count; i++)
        oracle_close(&sim->oracles[i]);
    check_footprint(sim);
}

static void run(uint64_t seed, bool verbose)
{
    static struct sim sim;
    set_up(&sim, seed, verbose);
    for (unsigned phase = 1 + seeded_below(&sim.random, PHASES_MAX); phase > 0; phase--)
        run_phase(&sim);
    sim.broker_stalled_until = 0;
    drain(&sim);
    check_end(&sim);
    tear_down(&sim);
    sim_total.runs++;
    sim_total.records += sim.records;
    sim_total.handovers += sim.group_members.handovers;
    sim_total.processed += sim.group_members.processed;
    sim_total.again += sim.group_members.again;
    sim_total.members_lost += sim.group_members.lost;
    sim_total.topics_made += sim.recreated_topics.makings;
    sim_total.topics_missed += sim.recreated_topics.missing;
}

static void report(void)
{
    const struct fabric_counters *f = &sim_total.fabric;
    const uint64_t faults = f->lost + f->burst_lost + f->duplicated + f->reordered + f->corrupted
                            + f->too_large + f->partitioned + f->overflowed + sim_total.stalls
                            + sim_total.cuts + sim_total.client_restarts + sim_total.broker_restarts
                            + sim_total.full + sim_total.slow + sim_total.long_stalls
                            + sim_total.clock_steps;
    printf("%" PRIu64 " runs, %" PRIu64 " faults: %" PRIu64 " lost, %" PRIu64 " in bursts, %" PRIu64
           " doubled, %" PRIu64 " reordered, %" PRIu64 " corrupted (%" PRIu64
           " batches and %" PRIu64 " headers that links said were intact), %" PRIu64
           " too large, %" PRIu64 " cut off, %" PRIu64 " stalls and %" PRIu64 " long ones, %" PRIu64
           " cuts, %" PRIu64 " data paths silent for seconds, %" PRIu64
           " steps of the wall clock, %" PRIu64 " client and %" PRIu64 " broker restarts, %" PRIu64
           " full and %" PRIu64 " slow links, %" PRIu64 " references read late; %" PRIu64
           " seeks, %" PRIu64 " topics deleted\n",
           sim_total.runs, faults, f->lost, f->burst_lost, f->duplicated, f->reordered,
           f->corrupted, sim_total.damaged_batches, sim_total.damaged_headers, f->too_large,
           f->partitioned, sim_total.stalls, sim_total.long_stalls, sim_total.cuts,
           sim_total.silent_paths, sim_total.clock_steps, sim_total.client_restarts,
           sim_total.broker_restarts, sim_total.full, sim_total.slow, f->read_late, sim_total.seeks,
           sim_total.deletions);
    printf("%" PRIu64 " packets; %" PRIu64 " records published, %" PRIu64 " acknowledged, %" PRIu64
           " delivered, %" PRIu64 " gaps over %" PRIu64 " records, %" PRIu64
           " reconnects; none lost in silence, doubled or out of order\n",
           f->sent, sim_total.records, sim_total.acked, sim_total.delivered, sim_total.gaps,
           sim_total.lost_in_gaps, sim_total.reconnects);
    printf("a group beside them: %" PRIu64 " partitions handed over, %" PRIu64
           " records processed, %" PRIu64 " of them again, %" PRIu64
           " members lost; another, whose topics were made %" PRIu64 " times and missed %" PRIu64
           " times\n",
           sim_total.handovers, sim_total.processed, sim_total.again, sim_total.members_lost,
           sim_total.topics_made, sim_total.topics_missed);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "seeds", required_argument, NULL, 'n' },
        { "from", required_argument, NULL, 'f' },
        { "seed", required_argument, NULL, 's' },
        { "verbose", no_argument, NULL, 'v' },
        { NULL, 0, NULL, 0 },
    };
    uint64_t seeds = 100, from = 1;
    bool verbose = false;
    int option;
    /* An arena of each thread is address space that stays: nothing that a run did not unmap. */
    mallopt(M_ARENA_MAX, 1);
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'n': seeds = strtoull(optarg, NULL, 0); break;
        case 'f': from = strtoull(optarg, NULL, 0); break;
        case 's':
            from = strtoull(optarg, NULL, 0);
            seeds = 1;
            break;
        case 'v': verbose = true; break;
        default:
            fprintf(stderr, "usage: sim [--seeds N] [--from S] [--seed S] [--verbose]\n");
            return 2;
        }
    }
    log_open(STDERR_FILENO, LOG_ERROR);
    rcu_register_thread();
    for (uint64_t seed = from; seed < from + seeds; seed++)
        run(seed, verbose);
    report();
    rcu_unregister_thread();
    return EXIT_SUCCESS;
}

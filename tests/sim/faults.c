/* The simulation's faults, chosen by the seed. */
#include <stdlib.h>
#include <string.h>

#include "schema/frame.h"
#include "schema/packet.h"
#include "tests/sim/sim.h"

void sim_faults_choose(struct sim *sim)
{
    struct seeded *r = &sim->random;
    struct fabric_faults f = { .delay_ns = 1000 + seeded_below(r, 20000),
                               .jitter_ns = 1 + seeded_below(r, 10000) };
    if (seeded_below(r, 2) == 0)
        f.loss_ppm = seeded_below(r, 4) == 0 ? seeded_below(r, 500000) : seeded_below(r, 50000);
    if (seeded_below(r, 3) == 0) {
        f.burst_ppm = seeded_below(r, 20000);
        f.burst_length = 1 + seeded_below(r, 60);
    }
    if (seeded_below(r, 3) == 0)
        f.duplicate_ppm = seeded_below(r, 200000);
    if (seeded_below(r, 3) == 0) {
        f.reorder_ppm = seeded_below(r, 300000);
        f.reorder_ns = 1 + seeded_below(r, 2000000);
    }
    if (seeded_below(r, 4) == 0)
        f.corrupt_ppm = seeded_below(r, 100000);
    f.mtu_host = sim->narrow_host;
    if (seeded_below(r, 8) == 0)
        f.mtu = sim->narrow_bytes;
    if (seeded_below(r, 5) == 0)
        f.delay_ns += seeded_below(r, 5000000);
    fabric_set(sim->fabric, &f);
}

void sim_cut_some(struct sim *sim)
{
    const uint8_t client = (uint8_t)(CLIENT_HOST + seeded_below(&sim->random, CLIENTS));
    const unsigned how = seeded_below(&sim->random, 3);
    sim_tell(sim, "cut: host %u, direction %u", client, how);
    sim_total.cuts++;
    if (how != 0)
        fabric_cut(sim->fabric, SIM_BROKER_HOST, client, true);
    if (how != 1)
        fabric_cut(sim->fabric, client, SIM_BROKER_HOST, true);
}

void sim_heal(struct sim *sim)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        fabric_cut(sim->fabric, SIM_BROKER_HOST, (uint8_t)(CLIENT_HOST + i), false);
        fabric_cut(sim->fabric, (uint8_t)(CLIENT_HOST + i), SIM_BROKER_HOST, false);
    }
}

void sim_open_broker(struct sim *sim)
{
    sim_broker_open(&sim->broker, sim->fabric, ++sim->incarnation, sim->control_port, &sim->topic,
                    sim->now);
    sim->broker.wall_off_ns = sim->wall_off_ns;
    sim->control_port =
        (uint16_t)strtoul(strrchr(sim_broker_control(&sim->broker), ':') + 1, NULL, 10);
}

void sim_check_broker(struct sim *sim)
{
    const struct sim_broker *b = &sim->broker;
    const uint64_t in = sim_broker_counter(b, "leat_packets_in_total");
    const uint64_t sum = sim_broker_counter(b, "leat_packets_taken_total")
                         + sim_broker_counter(b, "leat_packets_dropped_total");
    if (in != sum)
        sim_fail(sim, "packets in are not taken plus dropped", in, sum);
    if (sim_broker_counter(b, "leat_protocol_errors_total") != 0)
        sim_fail(sim, "a client broke the protocol, says the broker", 0, 0);
    const struct link_counters *c = &b->link->counters;
    uint64_t dropped = 0;
    for (int i = 0; i < LINK_DROPS; i++)
        dropped += c->drops[i];
    if (c->rx != c->accepted + c->answered + dropped)
        sim_fail(sim, "the link's rx is not accepted plus dropped", c->rx, c->accepted + dropped);
}

void sim_trouble_link(struct sim *sim, bool full, bool slow)
{
    sim_total.full += full;
    sim_total.slow += slow;
    sim_tell(sim, "the broker's link: full %d, slow %d", full, slow);
    fabric_full(sim->broker.link, full);
    fabric_slow(sim->broker.link, slow);
}

void sim_keep_references(struct sim *sim, leat_ns most_ns)
{
    sim_tell(sim, "the broker's link reads up to %.6f s late", (double)most_ns / 1e9);
    fabric_late(sim->broker.link, most_ns);
}

static void damage_byte(struct seeded *random, uint8_t *at)
{
    *at ^= (uint8_t)(1 + seeded_below(random, 255));
}

/* A byte of a whole batch that begins with the frame's bytes. False: there is none. */
static bool damage_batch(struct seeded *random, uint8_t *bytes, const struct leat_frame *frame)
{
    struct leat_batch batch;
    if (leat_batch_parse(&batch, frame->data.bytes, frame->data.size) != LEAT_OK
        || batch.size > frame->data.size
        || leat_batch_check(&batch, frame->data.bytes, LEAT_RECORD_BYTES_LIMIT) != LEAT_OK)
        return false; /* it begins within a batch, or holds a part of one */
    damage_byte(random, bytes + (frame->data.bytes - bytes) + seeded_below(random, batch.size));
    sim_total.damaged_batches++;
    return true;
}

/* The frame whose piece of a batch holds the byte at `at` of the packet. False: none does. */
static bool piece_at(const struct leat_packet *packet, const uint8_t *at, struct leat_frame *frame)
{
    for (uint32_t from = 0; from < packet->frames_size; from += frame->length) {
        if (leat_frame_decode(frame, packet->frames + from, packet->frames_size - from) != LEAT_OK)
            return false;
        if ((frame->type == LEAT_FRAME_PUBLISH_AT || frame->type == LEAT_FRAME_DATA)
            && at >= frame->data.bytes && at < frame->data.bytes + frame->data.size)
            return true;
    }
    return false;
}

bool sim_damage_packet(void *user, struct seeded *random, uint8_t *bytes, uint32_t size)
{
    enum { TRIES = 20 };
    const bool wants_batch = seeded_below(random, 2) == 0;
    struct leat_packet packet;
    struct leat_frame frame;
    (void)user;
    if (leat_packet_decode(&packet, bytes, size) != LEAT_OK)
        return false;
    for (int i = 0; i < TRIES; i++) {
        uint8_t *at = bytes + seeded_below(random, packet.length);
        const bool is_batch = piece_at(&packet, at, &frame);
        if (is_batch != wants_batch)
            continue;
        if (is_batch)
            return damage_batch(random, bytes, &frame);
        damage_byte(random, at);
        sim_total.damaged_headers++;
        return true;
    }
    return false;
}

void sim_stand_still(struct sim *sim)
{
    const leat_ns until = sim->now + sim_between(sim, 50 * LEAT_NS_PER_MS, 8 * LEAT_NS_PER_S);
    const unsigned who = seeded_below(&sim->random, CLIENTS + 1);
    sim_total.long_stalls++;
    sim_tell(sim, "%s %u stands still until %.6f", who < CLIENTS ? "client" : "broker", who,
             (double)(until - START_NS) / 1e9);
    if (who < CLIENTS)
        sim->clients[who].stalled_until = until;
    else
        sim->broker_stalled_until = until;
}

void sim_step_clock(struct sim *sim)
{
    const leat_ns hour = 3600 * LEAT_NS_PER_S;
    switch (seeded_below(&sim->random, 3)) {
    case 0: sim->wall_off_ns += sim_between(sim, hour, 240 * hour); break;
    case 1: sim->wall_off_ns -= sim_between(sim, LEAT_NS_PER_S, 240 * hour); break;
    default: sim->wall_off_ns = 0;
    }
    sim_total.clock_steps++;
    sim->broker.wall_off_ns = sim->wall_off_ns;
    sim_tell(sim, "the broker's wall clock is off by %.6f s",
             (double)(int64_t)sim->wall_off_ns / 1e9);
}

void sim_delete_topic_step(struct sim *sim)
{
    leat_client *clients[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++)
        if ((clients[i] = sim->clients[i].client) == NULL)
            return;
    if (!sim->deleted_topic.open) {
        deleted_topic_open(&sim->deleted_topic, clients);
        sim_tell(sim, "side topic: open %d", sim->deleted_topic.open);
    } else if (!sim->deleted_topic.deleted) {
        deleted_topic_delete(&sim->deleted_topic, clients[seeded_below(&sim->random, CLIENTS)]);
        sim_tell(sim, "side topic: deleted %d", sim->deleted_topic.deleted);
        sim_total.deletions += sim->deleted_topic.deleted;
    } else if (deleted_topic_settled(&sim->deleted_topic)) {
        deleted_topic_close(&sim->deleted_topic);
    }
}

void sim_recreate_topics(struct sim *sim)
{
    leat_client *client = sim->clients[seeded_below(&sim->random, CLIENTS)].client;
    if (client == NULL || !sim->recreated_topics.on)
        return;
    recreated_goes_on(&sim->recreated_topics, client, &sim->random);
    sim_tell(sim, "topics under members: %u and %u partitions, there: %d and %d",
             sim->recreated_topics.topics[0].partitions, sim->recreated_topics.topics[1].partitions,
             sim->recreated_topics.topics[0].there, sim->recreated_topics.topics[1].there);
}

static void restart_broker(struct sim *sim)
{
    sim_tell(sim, "broker restarts");
    sim_total.broker_restarts++;
    sim_check_broker(sim);
    sim_broker_close(&sim->broker);
    sim_open_broker(sim);
}

void sim_fault(struct sim *sim)
{
    struct sim_client *c = &sim->clients[seeded_below(&sim->random, CLIENTS)];
    switch (seeded_below(&sim->random, 12)) {
    case 0: sim_cut_some(sim); break;
    case 1:
        sim_total.stalls++;
        sim->broker_stalled_until = sim->now + sim_between(sim, 10000, 30000000);
        sim_tell(sim, "broker stalls until %.6f",
                 (double)(sim->broker_stalled_until - START_NS) / 1e9);
        break;
    case 2:
        sim_total.stalls++;
        c->stalled_until = sim->now + sim_between(sim, 10000, 60000000);
        sim_tell(sim, "client %u stalls", c->index);
        break;
    case 3:
        if (seeded_below(&sim->random, 2) == 0 && c->client != NULL) {
            sim_total.client_restarts++;
            sim_tell(sim, "client %u restarts", c->index);
            sim_client_close(c);
        }
        break;
    case 4:
    case 9:
        if (sim->broker_restarts)
            restart_broker(sim);
        break;
    case 5: sim_trouble_link(sim, true, false); break;
    case 6: sim_trouble_link(sim, seeded_below(&sim->random, 4) == 0, true); break;
    case 7:
    case 8: sim_delete_topic_step(sim); break;
    case 10:
    case 11: sim_step_clock(sim); break;
    default: break;
    }
}

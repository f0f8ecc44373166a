/* Goal: the cost per packet of a session's reliable transport, both ends together: begin, note and
 * commit on one side; decode, open and take on the other; and the acknowledgements, sent and
 * processed.
 * Method: two flows in memory, one small frame per packet, bursts of 32 as links use them; the
 * median of rounds is given. One direction (one ACK-only packet per burst) and both (acks are
 * piggybacked). Without loss, then with one packet in a hundred lost. */
#include <stdio.h>
#include <string.h>

#include "bench/common/bench.h"
#include "schema/frame.h"
#include "schema/packet.h"
#include "transport/flow.h"

enum {
    ROUNDS = 21,
    BURSTS = 20000, /* per round */
    BURST = 32,
    SLOT_BYTES = 256,
    PAYLOAD = 16,
};

static struct flow flows[2];
static struct slot {
    uint8_t bytes[SLOT_BYTES];
} slots[BURST];
static leat_ns now;
static uint64_t positions[2], packets, lost_every, until_lost;

static void start(void)
{
    const struct flow_options options = {
        .session = 1,
        .payload_max = 1200,
        .ack_delay_ns = LEAT_ACK_DELAY_BYPASS_NS,
        .peer_ack_delay_ns = LEAT_ACK_DELAY_BYPASS_NS,
        .probe_floor_ns = 200 * LEAT_NS_PER_US,
        .rtt_initial_ns = LEAT_NS_PER_MS,
        .receive_window = 512,
    };
    now = LEAT_NS_PER_S;
    for (int e = 0; e < 2; e++) {
        flow_init(&flows[e], &options, now);
        positions[e] = 0;
    }
}

static void put(struct flow *flow, uint8_t *at, uint64_t position)
{
    const struct flow_item item = { .at = position, .size = PAYLOAD, .kind = LEAT_FRAME_DATA };
    uint32_t size = flow_begin(flow, at, now);
    if (!flow_note(flow, &item))
        bench_fail("no room for an item");
    size += (uint32_t)leat_frame_write_data(at + size, 1, position, PAYLOAD) + PAYLOAD;
    flow_commit(flow, at, size, now);
}

static void take(struct flow *flow, const uint8_t *at)
{
    struct leat_packet packet;
    uint64_t number;
    if (leat_packet_decode(&packet, at, SLOT_BYTES) != LEAT_OK
        || flow_open(flow, &packet, &number, now) != FLOW_NEW)
        bench_fail("a packet did not arrive");
    if (packet.has_ack)
        flow_acked(flow, &packet.ack, now);
    flow_take(flow, number, packet.frames_size != 0, false, now);
}

/* Sends one burst from `from`. `ack_back`: the peer answers with an ACK-only packet. */
static void burst(int from, bool ack_back)
{
    struct flow *flow = &flows[from], *peer = &flows[1 - from];
    uint32_t count = 0;
    while (flow_lost(flow) != NULL)
        flow_lost_done(flow); /* this bench does not send content again */
    for (; count < BURST && flow_may_send(flow); count++, positions[from] += PAYLOAD)
        put(flow, slots[count].bytes, positions[from]);
    now += 5 * LEAT_NS_PER_US;
    packets += count;
    for (uint32_t i = 0; i < count; i++)
        if (--until_lost == 0)
            until_lost = lost_every;
        else
            take(peer, slots[i].bytes);
    if (ack_back && flow_ack_due(peer, now)) {
        flow_commit(peer, slots[0].bytes, flow_begin(peer, slots[0].bytes, now), now);
        take(flow, slots[0].bytes);
    }
    if (flow_deadline(flow) <= now)
        flow_timeout(flow, now);
}

static void measure(const char *name, bool both_ways, uint64_t every)
{
    double ns[ROUNDS];
    char note[128];
    lost_every = until_lost = every;
    packets = 0;
    start();
    for (int r = 0; r < ROUNDS; r++) {
        const uint64_t before = packets, started = bench_now_ns();
        for (int i = 0; i < BURSTS; i++) {
            burst(0, !both_ways);
            if (both_ways)
                burst(1, false);
        }
        ns[r] = (double)(bench_now_ns() - started) / (double)(packets - before);
    }
    const struct bench_spread spread = bench_spread(ns, ROUNDS);
    snprintf(note, sizeof note, "%.1f..%.1f; %llu packets, %llu lost", spread.p25, spread.p75,
             (unsigned long long)packets,
             (unsigned long long)(flows[0].counters.packets_lost + flows[1].counters.packets_lost));
    bench_emit(name, spread.p50, "ns", BENCH_NO_GOAL, 0, note);
}

int main(void)
{
    bench_pin(0);
    measure("flow_packet_one_way_ns", false, UINT64_MAX);
    measure("flow_packet_both_ways_ns", true, UINT64_MAX);
    measure("flow_packet_one_way_lossy_ns", false, 100);
    return 0;
}

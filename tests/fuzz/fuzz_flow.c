/* A flow driven by hostile bytes: packets and acknowledgements of any number, sent packets, time.
 * What holds of a flow holds after every step, and at the end a peer that acknowledges everything
 * gets everything: no state is a dead end. */
#include <stdlib.h>
#include <string.h>

#include "schema/packet.h"
#include "tests/support/flow_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAYLOAD = 600, DRAIN_STEPS = 100000 };

struct input {
    const uint8_t *at;
    size_t left;
};

static struct flow flow;
static leat_ns now;
static uint8_t bytes[PAYLOAD];

static void require(int truth)
{
    if (!truth)
        abort();
}

static uint64_t take(struct input *in, size_t count)
{
    uint64_t value = 0;
    count = count < in->left ? count : in->left;
    memcpy(&value, in->at, count);
    in->at += count;
    in->left -= count;
    return value;
}

/* Lost items first, as the contract says, unless there is plenty of room. */
static void send_packet(uint32_t items, bool new_first, bool leaves)
{
    if (!flow_may_send(&flow))
        return;
    const uint32_t start = flow_begin(&flow, bytes, now);
    uint32_t noted = 0;
    for (; noted < items; noted++) {
        const struct flow_item fresh = { .at = 1, .size = 100 };
        struct flow_item *lost = flow_lost(&flow);
        const bool again = lost != NULL && flow_may_resend(&flow, now)
                           && (!new_first || sentmap_is_tight(&flow.sent));
        if (!flow_note(&flow, again ? lost : &fresh))
            break;
        if (again && leaves) {
            flow_resent(&flow, 100);
            flow_lost_done(&flow);
        }
        if (again && !leaves)
            break;
    }
    if (leaves && noted != 0)
        flow_commit(&flow, bytes, start + 100, now);
    else
        flow_abandon(&flow);
}

static void ack_alone(void)
{
    flow_commit(&flow, bytes, flow_begin(&flow, bytes, now), now);
}

static void receive(const struct leat_packet *packet, bool taken)
{
    uint64_t number;
    const bool is_new = flow_open(&flow, packet, &number, now) == FLOW_NEW;
    require((uint32_t)number == packet->number);
    if (is_new && packet->has_ack)
        flow_acked(&flow, &packet->ack, now);
    if (is_new && taken) {
        flow_take(&flow, number, packet->frames_size != 0,
                  (packet->flags & LEAT_PACKET_ACK_NOW) != 0, now);
        require(flow_open(&flow, packet, &number, now) == FLOW_DUPLICATE);
    }
}

static void receive_bytes(struct input *in)
{
    struct leat_packet packet;
    const size_t size = in->left < 48 ? in->left : 48;
    if (leat_packet_decode(&packet, in->at, size) == LEAT_OK)
        receive(&packet, true);
    in->at += size;
    in->left -= size;
}

static void receive_near(struct input *in)
{
    const uint64_t what = take(in, 2);
    struct leat_packet packet = {
        .flags = (uint8_t)(what & LEAT_PACKET_ACK_NOW),
        .number = (uint32_t)flow.received.largest + (uint32_t)(what >> 2 & 0x7FF) - 0x400,
        .frames_size = what >> 13 & 1,
    };
    receive(&packet, (what >> 14 & 1) == 0);
}

static void acknowledge_near(struct input *in)
{
    const uint64_t back = take(in, 2);
    const struct leat_packet_ack ack = {
        .largest = (uint32_t)(flow.sent.next + 2 - (back & 0x7FF)),
        .map = take(in, 8),
        .delay_ns = (back >> 11) * 4096,
        .window = (uint16_t)take(in, 2),
    };
    flow_acked(&flow, &ack, now);
}

static void pass_time(uint64_t units)
{
    now += units * units * 50;
    if (flow_deadline(&flow) <= now)
        flow_timeout(&flow, now);
    (void)flow_dead(&flow, LEAT_NS_PER_S, now);
}

static void step(struct input *in)
{
    const uint64_t what = take(in, 1), more = what >> 3;
    switch (what & 7) {
    case 0: send_packet((uint32_t)more + 1, false, true); break;
    case 1: send_packet((uint32_t)more * 40 + 1, true, true); break;
    case 2:
        if (more < 24)
            ack_alone();
        else
            send_packet((uint32_t)more, false, false);
        break;
    case 3: acknowledge_near(in); break;
    case 4: receive_near(in); break;
    case 5: pass_time(take(in, 1)); break;
    case 6: receive_bytes(in); break;
    default: /* many at once: what only comes with numbers */
        for (uint64_t i = 0; i < more * 8; i++)
            if (more % 2 == 0)
                ack_alone();
            else
                send_packet(1 + (uint32_t)more % 4, false, true);
        break;
    }
    require(flow_check(&flow) == NULL);
}

/* Everything that is sent now arrives and is acknowledged. */
static void drain(void)
{
    int steps = 0;
    while (flow.sent.outstanding != 0 || flow_lost(&flow) != NULL) {
        require(++steps < DRAIN_STEPS);
        if (flow_lost(&flow) != NULL && flow_may_resend(&flow, now))
            send_packet(1, false, true);
        if (flow_ack_due(&flow, now))
            ack_alone();
        const struct leat_packet_ack ack = { .largest = (uint32_t)(flow.sent.next - 1),
                                             .map = UINT64_MAX,
                                             .window = 64 };
        flow_acked(&flow, &ack, now);
        pass_time(255);
        require(flow_check(&flow) == NULL);
    }
    require(flow_may_send(&flow));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { data, size };
    const struct flow_options options = {
        .session = 1,
        .payload_max = PAYLOAD,
        .ack_delay_ns = LEAT_ACK_DELAY_BYPASS_NS,
        .peer_ack_delay_ns = LEAT_ACK_DELAY_BYPASS_NS,
        .probe_floor_ns = 200 * LEAT_NS_PER_US,
        .rtt_initial_ns = LEAT_NS_PER_MS,
        .receive_window = 64,
    };
    now = LEAT_NS_PER_S;
    flow_init(&flow, &options, now);
    if (take(&in, 1) % 2 == 1)
        flow.sent.next = flow.sent.oldest = UINT32_MAX - 100;
    while (in.left != 0)
        step(&in);
    drain();
    return 0;
}

/* Two flows and the wires between them, in virtual time. */
#include "tests/support/flow_sim.h"

#include <criterion/criterion.h>
#include <string.h>

#include "schema/frame.h"
#include "schema/packet.h"
#include "tests/support/flow_check.h"

enum { STREAM = 7, SESSION = 0x04000123 };

const struct flow_options sim_options = {
    .session = SESSION,
    .payload_max = SIM_PAYLOAD,
    .ack_delay_ns = LEAT_ACK_DELAY_BYPASS_NS,
    .peer_ack_delay_ns = LEAT_ACK_DELAY_BYPASS_NS,
    .probe_floor_ns = 200 * LEAT_NS_PER_US,
    .rtt_initial_ns = 1 * LEAT_NS_PER_MS,
    .receive_window = 512,
};

void sim_start(struct sim *sim, uint64_t seed, const struct flow_options *options)
{
    memset(sim, 0, sizeof *sim);
    sim->random.state = seed;
    sim->now = LEAT_NS_PER_S;
    for (int i = 0; i < SIM_ENDS; i++) {
        struct sim_end *end = &sim->ends[i];
        memset(&end->flow, 0xA5, sizeof end->flow); /* reused memory must do */
        flow_init(&end->flow, options, sim->now);
        stream_map_init(&end->arrived, 0);
        end->piece_max = SIM_PAYLOAD;
        end->wire.delay_ns = 10 * LEAT_NS_PER_US;
        for (uint32_t d = 0; d < SIM_DATAGRAMS; d++)
            sim->under_way[i].heap[d] = (uint16_t)d;
    }
}

void sim_first_number(struct sim *sim, int end, uint64_t number)
{
    struct sentmap *sent = &sim->ends[end].flow.sent;
    sent->next = sent->oldest = number;
    sim->ends[1 - end].flow.received.largest = number - 1;
}

void sim_send(struct sim *sim, int end, uint64_t bytes)
{
    sim->ends[end].to_send += bytes;
}

static bool chance(struct sim *sim, uint32_t permille)
{
    return permille != 0 && seeded_below(&sim->random, 1000) < permille;
}

static uint8_t byte_at(int end, uint64_t position)
{
    return (uint8_t)((position * UINT64_C(0x9E3779B97F4A7C15) >> 56) + (uint64_t)end);
}

/* ---- the wires */

static bool before(const struct sim_under_way *way, uint32_t a, uint32_t b)
{
    const struct sim_datagram *x = &way->datagrams[way->heap[a]];
    const struct sim_datagram *y = &way->datagrams[way->heap[b]];
    return x->at != y->at ? x->at < y->at : x->order < y->order;
}

static void swap(struct sim_under_way *way, uint32_t a, uint32_t b)
{
    const uint16_t was = way->heap[a];
    way->heap[a] = way->heap[b];
    way->heap[b] = was;
}

static void put_on_wire(struct sim *sim, int from, const uint8_t *bytes, uint32_t size, leat_ns at)
{
    struct sim_under_way *way = &sim->under_way[from];
    cr_assert_lt(way->count, SIM_DATAGRAMS);
    uint32_t place = way->count++;
    struct sim_datagram *datagram = &way->datagrams[way->heap[place]];
    datagram->at = at;
    datagram->order = sim->datagrams++;
    datagram->size = size;
    memcpy(datagram->bytes, bytes, size);
    for (; place > 0 && before(way, place, (place - 1) / 2); place = (place - 1) / 2)
        swap(way, place, (place - 1) / 2);
}

static leat_ns next_arrival(const struct sim_under_way *way)
{
    return way->count != 0 ? way->datagrams[way->heap[0]].at : LEAT_NS_NEVER;
}

/* The first to arrive; valid until the next is put on the wire. */
static const struct sim_datagram *take_off_wire(struct sim_under_way *way)
{
    swap(way, 0, --way->count);
    for (uint32_t place = 0, child; (child = 2 * place + 1) < way->count; place = child) {
        child += child + 1 < way->count && before(way, child + 1, child);
        if (!before(way, child, place))
            break;
        swap(way, place, child);
    }
    return &way->datagrams[way->heap[way->count]];
}

static void transmit(struct sim *sim, int from, const uint8_t *bytes, uint32_t size)
{
    struct sim_wire *wire = &sim->ends[from].wire;
    wire->sent++;
    const leat_ns start = wire->busy_until > sim->now ? wire->busy_until : sim->now;
    const bool overrun = wire->queue != 0 && start - sim->now > wire->queue * wire->packet_ns;
    const bool chosen = wire->drop_next != 0;
    wire->drop_next -= chosen ? 1 : 0;
    if (chosen || overrun || wire->down || chance(sim, wire->lost_permille)) {
        wire->lost++;
        return;
    }
    wire->busy_until = start + wire->packet_ns;
    const int copies = chance(sim, wire->doubled_permille) ? 2 : 1;
    for (int i = 0; i < copies; i++) {
        const leat_ns jitter =
            wire->jitter_ns == 0 ? 0 : seeded_below(&sim->random, (uint32_t)wire->jitter_ns);
        put_on_wire(sim, from, bytes, size, wire->busy_until + wire->delay_ns + jitter);
    }
}

/* ---- an end receives */

/* False: some of it found no room. */
static bool handle_frames(struct sim *sim, int to, const struct leat_packet *packet)
{
    struct sim_end *end = &sim->ends[to];
    bool whole = true;
    for (uint32_t at = 0; at < packet->frames_size;) {
        struct leat_frame frame;
        cr_assert_eq(leat_frame_decode(&frame, packet->frames + at, packet->frames_size - at),
                     LEAT_OK);
        at += frame.length;
        if (frame.type == LEAT_FRAME_PING)
            continue;
        cr_assert(frame.type == LEAT_FRAME_DATA && frame.stream == STREAM);
        cr_assert_leq(frame.data.position + frame.data.size, sim->ends[1 - to].to_send);
        for (uint32_t i = 0; i < frame.data.size; i++)
            cr_assert_eq(frame.data.bytes[i], byte_at(1 - to, frame.data.position + i));
        if (stream_map_add(&end->arrived, frame.data.position, frame.data.size) == STREAM_FULL) {
            end->pieces_full++;
            whole = false;
        } else {
            end->pieces++;
        }
    }
    return whole;
}

static void receive(struct sim *sim, int to, const struct sim_datagram *datagram)
{
    struct flow *flow = &sim->ends[to].flow;
    struct leat_packet packet;
    uint64_t number;
    cr_assert_eq(leat_packet_decode(&packet, datagram->bytes, datagram->size), LEAT_OK);
    cr_assert_eq(packet.session, SESSION);
    if (flow_open(flow, &packet, &number, sim->now) != FLOW_NEW)
        return;
    if (packet.has_ack)
        flow_acked(flow, &packet.ack, sim->now);
    if (handle_frames(sim, to, &packet)) {
        flow_take(flow, number, packet.frames_size != 0, (packet.flags & LEAT_PACKET_ACK_NOW) != 0,
                  sim->now);
    }
}

/* ---- an end sends */

/* Writes a piece of what `item` says, of at most `most` bytes; 0: it does not go in. */
static uint32_t write_piece(struct sim *sim, int from, uint8_t *at, uint32_t room,
                            uint64_t position, uint64_t most)
{
    struct sim_end *end = &sim->ends[from];
    if (room <= LEAT_DATA_HEADER_BYTES || most == 0)
        return 0;
    uint32_t size = room - LEAT_DATA_HEADER_BYTES;
    size = size < end->piece_max ? size : end->piece_max;
    size = size < most ? size : (uint32_t)most;
    const struct flow_item item = {
        .at = position, .stream = STREAM, .size = size, .kind = LEAT_FRAME_DATA
    };
    if (!flow_note(&end->flow, &item))
        return 0;
    leat_frame_write_data(at, STREAM, position, size);
    for (uint32_t i = 0; i < size; i++)
        at[LEAT_DATA_HEADER_BYTES + i] = byte_at(from, position + i);
    return size;
}

static uint32_t put_lost(struct sim *sim, int from, uint8_t *at, uint32_t room)
{
    struct flow *flow = &sim->ends[from].flow;
    struct flow_item *item = flow_lost(flow);
    if (item->kind == LEAT_FRAME_PING) { /* nobody wants it again */
        flow_lost_done(flow);
        return 0;
    }
    uint64_t most = item->size;
    if (sim->ends[from].cuts && most > 1 && chance(sim, 300))
        most = 1 + seeded_below(&sim->random, (uint32_t)most - 1);
    const uint32_t size = write_piece(sim, from, at, room, item->at, most);
    if (size == 0)
        return 0;
    flow_resent(flow, size);
    if (size < item->size) {
        item->at += size;
        item->size -= size;
    } else {
        flow_lost_done(flow);
    }
    return LEAT_DATA_HEADER_BYTES + size;
}

/* What was lost first, then what is new; with nothing to send a probe is a PING. */
static uint32_t fill(struct sim *sim, int from, uint8_t *bytes, uint32_t at)
{
    struct sim_end *end = &sim->ends[from];
    const uint32_t limit = at + flow_frames_max(&end->flow) - LEAT_PACKET_ACK_BYTES;
    const uint32_t start = at;
    const struct flow_item ping = { .kind = LEAT_FRAME_PING };
    for (;;) {
        uint32_t put;
        struct flow_item *const lost = flow_lost(&end->flow);
        if (lost != NULL && flow_may_resend(&end->flow, sim->now)) {
            put = put_lost(sim, from, bytes + at, limit - at);
            if (put == 0 && flow_lost(&end->flow) != lost)
                continue;
        } else {
            const uint64_t left = end->to_send - end->sent;
            put = write_piece(sim, from, bytes + at, limit - at, end->sent, left);
            end->sent += put;
            put += put != 0 ? LEAT_DATA_HEADER_BYTES : 0;
        }
        if (put == 0)
            break;
        at += put;
    }
    if (at == start && end->flow.probes_due != 0 && flow_note(&end->flow, &ping))
        at += (uint32_t)leat_frame_write_ping(bytes + at, LEAT_FRAME_PING, sim->now);
    return at;
}

static void send(struct sim *sim, int from)
{
    struct flow *flow = &sim->ends[from].flow;
    uint8_t bytes[SIM_PAYLOAD];
    while (flow_may_send(flow)) {
        const uint32_t start = flow_begin(flow, bytes, sim->now);
        const uint32_t size = fill(sim, from, bytes, start);
        if (size == start) {
            flow_abandon(flow);
            break;
        }
        flow_commit(flow, bytes, size, sim->now);
        transmit(sim, from, bytes, size);
    }
    if (flow_ack_due(flow, sim->now)) {
        const uint32_t size = flow_begin(flow, bytes, sim->now);
        flow_commit(flow, bytes, size, sim->now);
        transmit(sim, from, bytes, size);
    }
}

/* ---- time */

static void deliver(struct sim *sim, int from)
{
    struct sim_under_way *way = &sim->under_way[from];
    for (int taken = 0; taken < SIM_BURST && next_arrival(way) <= sim->now; taken++)
        receive(sim, 1 - from, take_off_wire(way));
}

static leat_ns next_event(const struct sim *sim)
{
    leat_ns next = LEAT_NS_NEVER;
    for (int e = 0; e < SIM_ENDS; e++) {
        const leat_ns deadline = flow_deadline(&sim->ends[e].flow);
        next = deadline < next ? deadline : next;
        const leat_ns arrival = next_arrival(&sim->under_way[e]);
        next = arrival < next ? arrival : next;
    }
    return next;
}

static void step(struct sim *sim)
{
    sim->steps++;
    for (int e = 0; e < SIM_ENDS; e++)
        deliver(sim, e);
    for (int e = 0; e < SIM_ENDS; e++) {
        struct sim_end *end = &sim->ends[e];
        if (flow_deadline(&end->flow) <= sim->now)
            flow_timeout(&end->flow, sim->now);
        send(sim, e);
        end->was_tight |= sentmap_is_tight(&end->flow.sent);
        const char *wrong = flow_check(&end->flow);
        cr_assert_null(wrong, "end %d: %s", e, wrong);
        if (end->arrived.next < sim->ends[1 - e].to_send)
            end->done_at = 0;
        else if (end->done_at == 0)
            end->done_at = sim->now;
    }
}

bool sim_is_done(const struct sim *sim)
{
    return sim->ends[0].done_at != 0 && sim->ends[1].done_at != 0;
}

static void go_on(struct sim *sim, leat_ns until, bool to_the_end)
{
    for (;;) {
        step(sim);
        if (sim_is_done(sim) && !to_the_end)
            return;
        const leat_ns next = next_event(sim);
        if (next > until) {
            sim->now = to_the_end ? until : sim->now;
            return;
        }
        sim->now = next > sim->now ? next : sim->now + 100; /* a loop's turn takes some time */
    }
}

bool sim_run(struct sim *sim, leat_ns most_ns)
{
    go_on(sim, sim->now + most_ns, false);
    return sim_is_done(sim);
}

void sim_rest(struct sim *sim, leat_ns for_ns)
{
    go_on(sim, sim->now + for_ns, true);
}

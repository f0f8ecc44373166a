/* DPDK receive path: bursts from the device and from other lanes.
 *
 * Role: parses frames once, answers ARP and ICMP echo requests, counts drops by reason, and passes
 * datagrams to the lane that owns them.
 * Must not know: sessions, except where the id is.
 * Threads: the lane's. */
#include <rte_prefetch.h>

#include "schema/bytes.h"
#include "schema/packet.h"
#include "transport/link_dpdk_port.h"

enum {
    SESSION_END = 8,
    PREFETCH_AHEAD = 4,
};

static struct link_dpdk_lane *of(struct link *link)
{
    return (struct link_dpdk_lane *)link;
}

/* Added to the counters once per burst. */
struct tally {
    unsigned rx, accepted, answered;
    uint64_t bytes;
    uint64_t handed; /* bitmap of lanes that were given something */
};

static void count_drop(struct link_dpdk_lane *lane, struct tally *tally, enum link_drop reason,
                       struct rte_mbuf *m)
{
    link_count(&lane->link.counters.drops[reason], 1);
    tally->rx++;
    rte_pktmbuf_free(m);
}

/* Sends a reply of `size` bytes, which was written over the request in `m`. */
static void answer(struct link_dpdk_lane *lane, struct tally *tally, struct rte_mbuf *m,
                   uint32_t size)
{
    rte_pktmbuf_trim(m, (uint16_t)(m->data_len - size));
    if (!link_dpdk_stage(lane, m)) {
        count_drop(lane, tally, LINK_DROP_NO_BUFFER, m);
        return;
    }
    tally->rx++;
    tally->answered++;
}

/* Copies an ARP frame to other lanes that are resolving addresses: the reply to their request may
 * arrive on any queue. */
static void share_arp(struct link_dpdk_lane *lane, struct tally *tally, struct rte_mbuf *m)
{
    const struct link_dpdk_port *port = lane->port;
    for (uint32_t i = 0; i < port->lane_count; i++) {
        struct rte_ring *ring = port->to_lane[lane->index * port->lane_count + i];
        if (ring == NULL || !atomic_load_explicit(&port->lanes[i]->asking, memory_order_relaxed))
            continue;
        struct rte_mbuf *copy = rte_pktmbuf_copy(m, m->pool, 0, UINT32_MAX);
        if (copy != NULL && rte_ring_sp_enqueue(ring, copy) == 0)
            tally->handed |= UINT64_C(1) << i;
        else
            rte_pktmbuf_free(copy);
    }
}

static void take_arp(struct link_dpdk_lane *lane, struct tally *tally, struct rte_mbuf *m,
                     const struct ether_frame *frame, bool shared)
{
    if (!shared && lane->port->lane_count > 1)
        share_arp(lane, tally, m); /* before the reply is written over it */
    const struct neighbour_received got = neighbour_receive(
        &lane->neighbours, &lane->self, rte_pktmbuf_mtod(m, uint8_t *), frame, lane->now);
    if (got.updated)
        link_dpdk_settle(lane);
    if (shared) { /* the lane that received it counts and answers it */
        rte_pktmbuf_free(m);
    } else if (got.reply_bytes != 0) {
        answer(lane, tally, m, got.reply_bytes);
    } else if (got.updated) {
        tally->rx++;
        tally->answered++;
        rte_pktmbuf_free(m);
    } else {
        count_drop(lane, tally, LINK_DROP_ARP, m);
    }
}

static void fill(struct link_datagram *out, struct rte_mbuf *m, const struct ether_frame *frame)
{
    out->bytes = frame->payload;
    out->size = frame->size;
    out->handle = m;
    memset(out->peer.key.address, 0, 10);
    out->peer.key.address[10] = out->peer.key.address[11] = 0xFF;
    ether_store32(out->peer.key.address + 12, frame->source_ip);
    out->peer.key.scope = 0;
    out->peer.key.port = frame->source_port;
    out->peer.key.reserved = 0;
    memcpy(out->peer.mac, rte_pktmbuf_mtod(m, uint8_t *) + ETHER_MAC_BYTES, ETHER_MAC_BYTES);
    out->peer.vlan = frame->vlan;
}

/* The lane that owns a datagram: by its session id, or by its UDP port if it has none. */
static uint32_t owner_of(const struct link_dpdk_port *port, const struct ether_frame *frame)
{
    const uint32_t by_port = (uint32_t)(frame->target_port - port->udp_port);
    if (frame->size < SESSION_END)
        return by_port;
    const uint64_t session = leat_load32(frame->payload + LEAT_PACKET_SESSION_AT);
    const uint64_t by_session = session >> port->lane_shift;
    return by_session < port->lane_count ? (uint32_t)by_session : by_port;
}

/* True: *out is filled. */
static inline bool take(struct link_dpdk_lane *lane, struct tally *tally, struct rte_mbuf *m,
                        struct link_datagram *out, bool shared)
{
    const struct link_dpdk_port *port = lane->port;
    struct ether_frame frame;
    if (unlikely(m->nb_segs > 1) && rte_pktmbuf_linearize(m) != 0) {
        count_drop(lane, tally, LINK_DROP_NO_BUFFER, m);
        return false;
    }
    ether_parse(&frame, &lane->self, rte_pktmbuf_mtod(m, uint8_t *), m->data_len);
    if (likely(frame.kind == ETHER_DATAGRAM)) {
        if (unlikely((uint16_t)(frame.target_port - port->udp_port) >= port->lane_count)) {
            count_drop(lane, tally, LINK_DROP_PORT, m);
            return false;
        }
        const uint32_t owner = port->lane_count > 1 ? owner_of(port, &frame) : lane->index;
        if (owner != lane->index) {
            struct rte_ring *ring = port->to_lane[lane->index * port->lane_count + owner];
            if (ring == NULL || rte_ring_sp_enqueue(ring, m) != 0)
                count_drop(lane, tally, LINK_DROP_HANDOVER, m);
            else
                tally->handed |= UINT64_C(1) << owner;
            return false; /* the owner counts it */
        }
        fill(out, m, &frame);
        tally->rx++;
        tally->accepted++;
        tally->bytes += frame.size;
        return true;
    }
    if (frame.kind == ETHER_ARP)
        take_arp(lane, tally, m, &frame, shared);
    else if (frame.kind == ETHER_ECHO)
        answer(lane, tally, m, ether_answer_echo(rte_pktmbuf_mtod(m, uint8_t *), &frame));
    else
        count_drop(lane, tally, frame.drop, m);
    return false;
}

/* If the driver does not copy, all cache lines of the packet are still in the sending core's cache.
 * Parsing would miss on them one after the other; prefetching overlaps the misses. */
static inline void prefetch(const struct link_dpdk_lane *lane, const struct rte_mbuf *m)
{
    const uint32_t size = m->data_len < lane->prefetch_bytes ? m->data_len : lane->prefetch_bytes;
    for (uint32_t at = 0; at < size; at += RTE_CACHE_LINE_SIZE)
        rte_prefetch0(rte_pktmbuf_mtod_offset(m, const void *, at));
}

static unsigned take_burst(struct link_dpdk_lane *lane, struct tally *tally,
                           struct rte_mbuf **packets, unsigned count, struct link_datagram *out,
                           bool shared)
{
    unsigned got = 0;
    for (unsigned i = 0; i < count && i < PREFETCH_AHEAD; i++)
        prefetch(lane, packets[i]);
    for (unsigned i = 0; i < count; i++) {
        if (i + PREFETCH_AHEAD < count)
            prefetch(lane, packets[i + PREFETCH_AHEAD]);
        if (take(lane, tally, packets[i], &out[got], shared))
            got++;
    }
    return got;
}

static unsigned receive_device(struct link_dpdk_lane *lane, struct tally *tally,
                               struct link_datagram *out, unsigned max)
{
    struct rte_mbuf *packets[LINK_BURST];
    if (unlikely(!link_dpdk_enter(lane->port)))
        return 0;
    struct link_dpdk_rings *rings = atomic_load_explicit(&lane->port->rings, memory_order_acquire);
    if (rings != NULL)
        link_dpdk_rings_before_receive(rings);
    unsigned count = rte_eth_rx_burst(lane->port->id, lane->rx_queue, packets, (uint16_t)max);
    if (rings != NULL)
        link_dpdk_rings_after_receive(rings);
    link_dpdk_leave(lane->port);
    if (unlikely(lane->inject != NULL)) {
        unsigned lost;
        count = inject_received(lane->inject, packets, count, max, &lost);
        tally->rx += lost;
        link_count(&lane->link.counters.drops[LINK_DROP_DEVICE], lost);
    }
    return take_burst(lane, tally, packets, count, out, false);
}

static unsigned receive_lanes(struct link_dpdk_lane *lane, struct tally *tally,
                              struct link_datagram *out, unsigned max)
{
    const struct link_dpdk_port *port = lane->port;
    unsigned got = 0;
    for (uint32_t from = 0; from < port->lane_count && got < max; from++) {
        struct rte_ring *ring = port->to_lane[from * port->lane_count + lane->index];
        struct rte_mbuf *packets[LINK_BURST];
        if (ring == NULL)
            continue;
        const unsigned count = rte_ring_sc_dequeue_burst(ring, (void **)packets, max - got, NULL);
        got += take_burst(lane, tally, packets, count, out + got, true);
    }
    return got;
}

unsigned link_dpdk_receive(struct link *link, struct link_datagram *out, unsigned max, leat_ns now)
{
    struct link_dpdk_lane *lane = of(link);
    struct link_counters *c = &link->counters;
    struct tally tally = { 0 };
    unsigned got = 0;
    lane->now = now;
    if (lane->polls && atomic_load_explicit(&lane->port->running, memory_order_relaxed))
        got = receive_device(lane, &tally, out, max);
    if (lane->port->lane_count > 1 && got < max)
        got += receive_lanes(lane, &tally, out + got, max - got);
    if (unlikely(tally.handed != 0))
        link_dpdk_nudge(lane->port, tally.handed);
    if (tally.rx != 0) {
        link_count(&c->rx, tally.rx);
        link_count(&c->accepted, tally.accepted);
        link_count(&c->answered, tally.answered);
        link_count(&c->rx_bytes, tally.bytes);
    }
    return got;
}

void link_dpdk_release(struct link *link, struct link_datagram *datagrams, unsigned count)
{
    struct rte_mbuf *packets[LINK_BURST];
    (void)link;
    for (unsigned i = 0; i < count; i++)
        packets[i] = datagrams[i].handle;
    rte_pktmbuf_free_bulk(packets, count);
}

void link_dpdk_count_device(struct link_dpdk_lane *lane)
{
    struct link_counters *c = &lane->link.counters;
    struct rte_eth_stats stats;
    if (rte_eth_stats_get(lane->port->id, &stats) != 0)
        return;
    /* A restarted device counts from 0 again. */
    const uint64_t drops =
        stats.imissed >= lane->device_drops ? stats.imissed - lane->device_drops : stats.imissed;
    const uint64_t no_buffer = stats.rx_nombuf >= lane->device_no_buffer
                                   ? stats.rx_nombuf - lane->device_no_buffer
                                   : stats.rx_nombuf;
    lane->device_drops = stats.imissed;
    lane->device_no_buffer = stats.rx_nombuf;
    link_count(&c->rx, drops + no_buffer);
    link_count(&c->drops[LINK_DROP_DEVICE], drops);
    link_count(&c->drops[LINK_DROP_NO_BUFFER], no_buffer);
}

/* DPDK transmit path: frames are staged, and sent in bursts and with every flush.
 *
 * Role: provides buffers, prepends cached headers, resolves neighbours, keeps frames that the
 * device has no room for in order, sends log memory by reference where that is fast and safe.
 * Must not know: what is sent.
 * Threads: the lane's; references are released on the thread that transmits. */
#include <assert.h>

#include "transport/link_dpdk_port.h"

enum { SPARES_AHEAD = 4 };

/* In the private area of an mbuf that refers to an external buffer. */
struct reference {
    struct rte_mbuf_ext_shared_info shared;
    struct link_dpdk_lane *lane;
    void (*release)(void *owner, uint32_t token);
    void *owner;
    uint32_t token;
};
static_assert(sizeof(struct reference) <= LINK_DPDK_REFERENCE_BYTES, "fits the private area");

static struct link_dpdk_lane *of(struct link *link)
{
    return (struct link_dpdk_lane *)link;
}

/* ---- staging */

static bool has_room(const struct link_dpdk_lane *lane)
{
    return lane->staged_count + lane->reserved < lane->staged_max;
}

static void push(struct link_dpdk_lane *lane, struct rte_mbuf *frame)
{
    uint32_t at = lane->staged_head + lane->staged_count;
    if (at == 2 * lane->staged_max) {
        memmove(lane->staged, lane->staged + lane->staged_head,
                lane->staged_count * sizeof lane->staged[0]);
        lane->staged_head = 0;
        at = lane->staged_count;
    }
    lane->staged[at] = frame;
    lane->staged_count++;
}

bool link_dpdk_stage(struct link_dpdk_lane *lane, struct rte_mbuf *frame)
{
    if (!has_room(lane))
        return false;
    push(lane, frame);
    return true;
}

static void lose(struct link_dpdk_lane *lane, struct rte_mbuf *frame)
{
    rte_pktmbuf_free(frame);
    link_count(&lane->link.counters.tx_lost, 1);
}

/* ---- routes */

static bool is_zero(const uint8_t mac[ETHER_MAC_BYTES])
{
    return (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]) == 0;
}

/* Builds headers for a peer. *hold is set if its MAC address, missing in them, is being resolved.
 * NULL: the peer is unreachable. */
static const struct ether_template *make_route(struct link_dpdk_lane *lane,
                                               struct link_dpdk_route *r,
                                               const struct link_peer *to,
                                               const struct neighbour **hold)
{
    struct ether_route route = { .vlan = to->vlan,
                                 .ip = ether_load32(to->key.address + 12),
                                 .source_port = lane->udp_port,
                                 .target_port = to->key.port };
    memcpy(route.mac, to->mac, sizeof route.mac);
    r->peer = *to;
    r->expires = LEAT_NS_NEVER;
    r->generation = lane->neighbours.generation;
    if (is_zero(to->mac)) {
        const struct neighbour *found = NULL;
        const enum neighbour_verdict verdict =
            neighbour_find(&lane->neighbours, route.ip, lane->now, &found);
        r->expires = 0;
        if (verdict == NEIGHBOUR_NONE)
            return NULL;
        route.vlan = found->vlan;
        if (verdict == NEIGHBOUR_HAVE) {
            memcpy(route.mac, found->mac, sizeof route.mac);
            r->expires = lane->now + LINK_DPDK_RESOLVED_NS;
        } else {
            *hold = found;
        }
    }
    ether_template(&r->headers, &lane->self, &route);
    return &r->headers;
}

static inline const struct ether_template *find_route(struct link_dpdk_lane *lane,
                                                      const struct link_peer *to,
                                                      const struct neighbour **hold)
{
    uint32_t ip;
    memcpy(&ip, to->key.address + 12, sizeof ip);
    const uint32_t hash = (ip ^ (uint32_t)to->key.port << 16) * UINT32_C(0x9E3779B1);
    struct link_dpdk_route *r = &lane->routes[hash >> 28 & (LINK_DPDK_PEERS - 1)];
    if (likely(lane->now < r->expires && memcmp(&r->peer, to, sizeof *to) == 0
               && (r->expires == LEAT_NS_NEVER || r->generation == lane->neighbours.generation)))
        return &r->headers;
    return make_route(lane, r, to, hold);
}

void link_dpdk_settle(struct link_dpdk_lane *lane)
{
    struct neighbour_waited w;
    while (neighbour_waited(&lane->neighbours, &w)) {
        for (uint16_t i = 0; i < w.count; i++) {
            struct rte_mbuf *frame = w.packets[i];
            if (w.reachable && has_room(lane)) {
                memcpy(rte_pktmbuf_mtod(frame, uint8_t *), w.mac, ETHER_MAC_BYTES);
                push(lane, frame);
            } else {
                lose(lane, frame);
            }
        }
    }
}

/* ---- by reference */

static void give_back(void *address, void *opaque)
{
    struct reference *r = opaque;
    struct link_dpdk_lane *lane = r->lane;
    (void)address;
    r->release(r->owner, r->token);
    atomic_store_explicit(&lane->returned_at,
                          atomic_load_explicit(&lane->port->clock, memory_order_relaxed),
                          memory_order_relaxed);
    atomic_fetch_sub_explicit(&lane->references_out, 1, memory_order_release);
}

/* True if no reference is in use, or one was released lately: the next will be released soon. */
static bool come_back(const struct link_dpdk_lane *lane)
{
    return atomic_load_explicit(&lane->references_out, memory_order_acquire) == 0
           || lane->now < atomic_load_explicit(&lane->returned_at, memory_order_relaxed)
                              + LINK_DPDK_STUCK_NS;
}

static bool attach(struct link_dpdk_lane *lane, struct rte_mbuf *head,
                   const struct link_reference *reference)
{
    if (!link_sends_by_reference(&lane->link.limits, reference->size) || !come_back(lane))
        return false;
    const rte_iova_t iova = rte_eal_iova_mode() == RTE_IOVA_VA
                                ? (rte_iova_t)(uintptr_t)reference->bytes
                                : rte_mem_virt2iova(reference->bytes);
    struct rte_mbuf *m =
        iova != RTE_BAD_IOVA ? rte_pktmbuf_alloc(lane->port->reference_pool) : NULL;
    if (m == NULL)
        return false;
    struct reference *r = rte_mbuf_to_priv(m);
    *r = (struct reference){ .lane = lane,
                             .release = reference->release,
                             .owner = reference->owner,
                             .token = reference->token };
    r->shared.free_cb = give_back;
    r->shared.fcb_opaque = r;
    rte_mbuf_ext_refcnt_set(&r->shared, 1);
    rte_pktmbuf_attach_extbuf(m, (void *)reference->bytes, iova, (uint16_t)reference->size,
                              &r->shared);
    m->data_len = (uint16_t)reference->size;
    m->pkt_len = reference->size;
    head->next = m;
    head->nb_segs = 2;
    if (atomic_fetch_add_explicit(&lane->references_out, 1, memory_order_acquire) == 0)
        atomic_store_explicit(&lane->returned_at, lane->now, memory_order_relaxed);
    link_count(&lane->link.counters.tx_references, 1);
    return true;
}

/* ---- transmitting */

/* Sends staged frames; returns how many the device or the polling lane accepted. */
static uint32_t transmit(struct link_dpdk_lane *lane)
{
    struct link_dpdk_port *port = lane->port;
    struct rte_mbuf **from = lane->staged + lane->staged_head;
    uint32_t taken = 0;
    if (!lane->polls && port->to_wire != NULL) {
        taken = rte_ring_sp_enqueue_burst(port->to_wire[lane->index], (void **)from,
                                          lane->staged_count, NULL);
        link_dpdk_nudge(port, 1);
        return taken;
    }
    if (!atomic_load_explicit(&port->running, memory_order_relaxed) || !link_dpdk_enter(port))
        return 0;
    struct link_dpdk_rings *rings = atomic_load_explicit(&port->rings, memory_order_acquire);
    if (rings != NULL)
        link_dpdk_rings_before_send(rings);
    while (taken < lane->staged_count) {
        const uint32_t left = lane->staged_count - taken;
        const uint16_t now = rte_eth_tx_burst(port->id, lane->tx_queue, from + taken,
                                              (uint16_t)(left < UINT16_MAX ? left : UINT16_MAX));
        taken += now;
        if (now == 0)
            break;
    }
    if (rings != NULL)
        link_dpdk_rings_after_send(rings);
    link_dpdk_leave(port);
    return taken;
}

/* Transmits staged frames; those not accepted stay at the head. */
static void put_on_wire(struct link_dpdk_lane *lane)
{
    const uint32_t taken = transmit(lane);
    lane->moved |= taken != 0;
    lane->staged_count -= taken;
    lane->staged_head = lane->staged_count == 0 ? 0 : lane->staged_head + taken;
}

/* ---- the link's operations */

/* PREFETCHW is a no-op on processors that do not support it. */
#if defined(__x86_64__)
#define KNOWS_PREFETCHW __attribute__((target("prfchw")))
#else
#define KNOWS_PREFETCHW
#endif

/* If the peer reads our memory, its core still caches the lines that were last sent from this
 * buffer. Prefetch them for writing now, so that writing the next packet does not wait for them. */
KNOWS_PREFETCHW static void take_back(const struct link_dpdk_lane *lane, const struct rte_mbuf *m)
{
    const uint8_t *at = rte_pktmbuf_mtod_offset(m, const uint8_t *, -ETHER_TEMPLATE_BYTES);
    for (uint32_t i = 0; i < lane->take_back_bytes; i += RTE_CACHE_LINE_SIZE)
        __builtin_prefetch(at + i, 1);
}

static struct rte_mbuf *take_spare(struct link_dpdk_lane *lane)
{
    if (unlikely(lane->spare_count == 0)) {
        /* The pool has less than a burst left: take one. */
        if (rte_pktmbuf_alloc_bulk(lane->port->pool, lane->spares, LINK_BURST) != 0)
            return rte_pktmbuf_alloc(lane->port->pool);
        lane->spare_count = LINK_BURST;
        for (uint32_t i = LINK_BURST - SPARES_AHEAD; i < LINK_BURST; i++)
            take_back(lane, lane->spares[i]);
    }
    lane->spare_count--;
    if (lane->spare_count >= SPARES_AHEAD)
        take_back(lane, lane->spares[lane->spare_count - SPARES_AHEAD]);
    return lane->spares[lane->spare_count];
}

bool link_dpdk_reserve(struct link *link, struct link_outgoing *out)
{
    struct link_dpdk_lane *lane = of(link);
    struct rte_mbuf *m = has_room(lane) ? take_spare(lane) : NULL;
    if (unlikely(m == NULL)) {
        link_count(&link->counters.tx_no_buffer, 1);
        return false;
    }
    lane->reserved++;
    out->bytes = rte_pktmbuf_mtod(m, uint8_t *);
    out->handle = m;
    return true;
}

void link_dpdk_cancel(struct link *link, struct link_outgoing *out)
{
    of(link)->reserved--;
    rte_pktmbuf_free(out->handle);
}

void link_dpdk_send(struct link *link, struct link_outgoing *out, uint32_t size,
                    const struct link_reference *reference, const struct link_peer *to)
{
    struct link_dpdk_lane *lane = of(link);
    struct rte_mbuf *const m = out->handle;
    uint8_t *const payload = out->bytes;
    const struct neighbour *hold = NULL;
    uint32_t total = size;
    lane->reserved--;
    if (reference != NULL) {
        total += reference->size;
        assert(total <= link->limits.payload_max);
        if (!attach(lane, m, reference)) {
            memcpy(payload + size, reference->bytes, reference->size);
            size = total;
            reference->release(reference->owner, reference->token);
        }
    }
    assert(total <= link->limits.payload_max);
    const struct ether_template *headers = find_route(lane, to, &hold);
    if (unlikely(headers == NULL || (lane->inject != NULL && inject_loses_sent(lane->inject)))) {
        lose(lane, m);
        return;
    }
    ether_prepend(headers, payload, total);
    m->data_off = (uint16_t)(m->data_off - headers->size);
    m->data_len = (uint16_t)(size + headers->size);
    m->pkt_len = total + headers->size;
    if (likely(hold == NULL)) {
        push(lane, m);
        /* Send a full burst now: the peer processes it while we fill the next one. */
        if (lane->staged_count % LINK_BURST == 0)
            put_on_wire(lane);
    } else if (!neighbour_hold(&lane->neighbours, hold, m)) {
        lose(lane, m);
        return;
    }
    link_count(&link->counters.tx, 1);
    link_count(&link->counters.tx_bytes, total);
}

/* ---- flushing */

/* Stages the frames of lanes without a queue of their own. */
static void collect(struct link_dpdk_lane *lane)
{
    const struct link_dpdk_port *port = lane->port;
    for (uint32_t i = 1; i < port->lane_count; i++) {
        struct rte_mbuf *frames[LINK_BURST];
        const uint32_t room = lane->staged_max - lane->staged_count;
        const uint32_t free_places = room > lane->reserved ? room - lane->reserved : 0;
        const unsigned count =
            rte_ring_sc_dequeue_burst(port->to_wire[i], (void **)frames,
                                      free_places < LINK_BURST ? free_places : LINK_BURST, NULL);
        for (unsigned k = 0; k < count; k++)
            push(lane, frames[k]);
    }
}

static void ask_neighbours(struct link_dpdk_lane *lane)
{
    struct neighbour_question question;
    while (has_room(lane) && neighbour_ask(&lane->neighbours, lane->now, &question)) {
        struct rte_mbuf *m = rte_pktmbuf_alloc(lane->port->pool);
        if (m == NULL)
            break; /* neighbour_ask repeats the request */
        const uint32_t size =
            ether_ask_arp(rte_pktmbuf_mtod(m, uint8_t *), &lane->self, question.ip, question.vlan);
        m->data_len = (uint16_t)size;
        m->pkt_len = size;
        push(lane, m);
    }
    link_dpdk_settle(lane);
    bool asking = false;
    for (uint32_t i = 0; i < NEIGHBOUR_WAITS; i++)
        asking |= lane->neighbours.waits[i].taken;
    atomic_store_explicit(&lane->asking, asking, memory_order_relaxed);
}

/* The device accepts nothing, because its peer is disconnected or does not read. Drops staged
 * references, whose memory the owner needs back. Copied frames stay staged. */
static void shed_references(struct link_dpdk_lane *lane)
{
    const uint32_t count = lane->staged_count;
    struct rte_mbuf **staged = lane->staged + lane->staged_head;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (staged[i]->nb_segs > 1)
            lose(lane, staged[i]);
        else
            staged[kept++] = staged[i];
    lane->staged_count = kept;
}

/* Work that is needed only a few times a second. */
static void do_chores(struct link_dpdk_lane *lane)
{
    struct link_dpdk_port *port = lane->port;
    if (!lane->moved)
        shed_references(lane);
    lane->moved = false;
    if (lane->index != 0 || !link_dpdk_enter(port)) {
        lane->chores_at = lane->now + LINK_DPDK_CHORES_NS;
        return;
    }
    const bool up = link_dpdk_is_up(port);
    atomic_store_explicit(&port->away, !up, memory_order_relaxed);
    if (up) {
        port->was_up = true;
        port->reconnect_at = 0;
    } else {
        link_dpdk_reconnect(port, lane->now);
    }
    if (atomic_load_explicit(&port->running, memory_order_relaxed))
        link_dpdk_count_device(lane);
    link_dpdk_vhost_look(port);
    link_dpdk_leave(port);
    lane->chores_at = lane->now + LINK_DPDK_CHORES_NS;
}

/* Releases sent frames, which a device does only when it sends more. */
static void clean_up(struct link_dpdk_lane *lane)
{
    lane->cleanup_at = lane->now + LINK_DPDK_CLEANUP_NS;
    if (!lane->no_cleanup && atomic_load_explicit(&lane->port->running, memory_order_relaxed))
        lane->no_cleanup = rte_eth_tx_done_cleanup(lane->port->id, lane->tx_queue, 0) == -ENOTSUP;
}

unsigned link_dpdk_flush(struct link *link, leat_ns now)
{
    struct link_dpdk_lane *lane = of(link);
    const struct link_dpdk_port *port = lane->port;
    lane->now = now;
    if (lane->polls && port->reference_pool != NULL) {
        atomic_store_explicit(&lane->port->clock, now, memory_order_relaxed);
        if (now >= lane->cleanup_at && lane->staged_count == 0
            && atomic_load_explicit(&lane->references_out, memory_order_relaxed) != 0)
            clean_up(lane);
    }
    if (now >= lane->neighbours.deadline)
        ask_neighbours(lane);
    if (port->to_wire != NULL && lane->polls)
        collect(lane);
    if (lane->staged_count != 0) {
        put_on_wire(lane);
        if (lane->staged_count != 0)
            link_count(&link->counters.tx_kept, 1);
    }
    /* After transmitting, so that frames staged just now do not count as stuck. */
    if (now >= lane->chores_at)
        do_chores(lane);
    /* While the peer is disconnected there is no point in flushing again soon. */
    return atomic_load_explicit(&lane->port->away, memory_order_relaxed) ? 0 : lane->staged_count;
}

unsigned link_dpdk_reclaim(struct link *link)
{
    struct link_dpdk_lane *lane = of(link);
    shed_references(lane);
    if (lane->polls && lane->port->reference_pool != NULL)
        clean_up(lane);
    return atomic_load_explicit(&lane->references_out, memory_order_acquire);
}

leat_ns link_dpdk_deadline(const struct link *link)
{
    const struct link_dpdk_lane *lane = (const struct link_dpdk_lane *)link;
    return lane->neighbours.deadline < lane->chores_at ? lane->neighbours.deadline
                                                       : lane->chores_at;
}

void link_dpdk_discard(struct link_dpdk_lane *lane)
{
    struct neighbour_waited w;
    rte_pktmbuf_free_bulk(lane->staged + lane->staged_head, lane->staged_count);
    lane->staged_count = 0;
    rte_pktmbuf_free_bulk(lane->spares, lane->spare_count);
    lane->spare_count = 0;
    while (neighbour_drain(&lane->neighbours, &w))
        rte_pktmbuf_free_bulk((struct rte_mbuf **)w.packets, w.count);
}

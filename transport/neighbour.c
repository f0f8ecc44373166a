/* Neighbour: states and timers of the ARP table, and who is answered. See neighbour.h. */
#include "transport/neighbour.h"

#include <assert.h>
#include <string.h>

static leat_ns earlier(leat_ns a, leat_ns b)
{
    return a < b ? a : b;
}

void neighbour_init(struct neighbours *n, const struct neighbour_options *options, leat_ns now)
{
    memset(n, 0, sizeof *n);
    n->options = *options;
    n->announce_at = now;
    n->deadline = now;
    for (uint32_t i = 0; i < NEIGHBOUR_ENTRIES; i++)
        n->entries[i].ask_at = LEAT_NS_NEVER;
}

static struct neighbour *lookup(struct neighbours *n, uint32_t ip)
{
    for (uint32_t i = 0; i < NEIGHBOUR_ENTRIES; i++)
        if (n->entries[i].state != NEIGHBOUR_FREE && n->entries[i].ip == ip)
            return &n->entries[i];
    return NULL;
}

/* A free entry, or the least recently used one that is neither static nor being resolved. */
static struct neighbour *take_place(struct neighbours *n, uint32_t ip, leat_ns now)
{
    struct neighbour *best = NULL;
    for (uint32_t i = 0; i < NEIGHBOUR_ENTRIES; i++) {
        struct neighbour *e = &n->entries[i];
        if (e->state == NEIGHBOUR_FREE) {
            best = e;
            break;
        }
        if ((e->state == NEIGHBOUR_KNOWN || e->state == NEIGHBOUR_SILENT)
            && (best == NULL || e->used < best->used))
            best = e;
    }
    if (best == NULL)
        return NULL;
    if (best->state == NEIGHBOUR_KNOWN)
        n->generation++;
    *best = (struct neighbour){ .ip = ip, .used = now, .ask_at = LEAT_NS_NEVER };
    return best;
}

bool neighbour_set_static(struct neighbours *n, uint32_t ip, const uint8_t mac[NEIGHBOUR_MAC_BYTES])
{
    struct neighbour *e = lookup(n, ip);
    if (e == NULL)
        e = take_place(n, ip, 0);
    if (e == NULL)
        return false;
    memcpy(e->mac, mac, sizeof e->mac);
    e->vlan = n->options.vlan;
    e->state = NEIGHBOUR_STATIC;
    return true;
}

static bool in_prefix(const struct neighbour_options *o, uint32_t ip)
{
    return o->prefix_bits == 0 || (ip ^ o->ip) >> (32 - o->prefix_bits) == 0;
}

/* The index of a free wait; NEIGHBOUR_WAITS: none is free. */
static uint8_t free_wait(const struct neighbours *n)
{
    uint8_t i = 0;
    while (i < NEIGHBOUR_WAITS && n->waits[i].taken)
        i++;
    return i;
}

static void start_asking(struct neighbours *n, struct neighbour *e, uint8_t wait, leat_ns now)
{
    n->waits[wait] = (struct neighbour_wait){ .taken = true };
    e->state = NEIGHBOUR_ASKING;
    e->vlan = n->options.vlan;
    e->wait = wait;
    e->tries = 0;
    e->ask_at = now;
    n->deadline = earlier(n->deadline, now);
}

enum neighbour_verdict neighbour_find(struct neighbours *n, uint32_t ip, leat_ns now,
                                      const struct neighbour **entry)
{
    const uint32_t next = in_prefix(&n->options, ip) ? ip : n->options.gateway;
    if (next == 0)
        return NEIGHBOUR_NONE;
    struct neighbour *e = lookup(n, next);
    if (e == NULL || e->state == NEIGHBOUR_SILENT) {
        const uint8_t wait = free_wait(n);
        if (wait == NEIGHBOUR_WAITS || (e != NULL && now < e->ask_at))
            return NEIGHBOUR_NONE;
        if (e == NULL)
            e = take_place(n, next, now);
        if (e == NULL)
            return NEIGHBOUR_NONE;
        start_asking(n, e, wait, now);
    }
    e->used = now;
    *entry = e;
    if (e->state == NEIGHBOUR_ASKING)
        return NEIGHBOUR_WAIT;
    if (e->state == NEIGHBOUR_KNOWN && e->ask_at == LEAT_NS_NEVER
        && now - e->heard > NEIGHBOUR_FRESH_NS) {
        e->ask_at = now;
        n->deadline = earlier(n->deadline, now);
    }
    return NEIGHBOUR_HAVE;
}

bool neighbour_hold(struct neighbours *n, const struct neighbour *entry, void *packet)
{
    assert(entry->state == NEIGHBOUR_ASKING);
    struct neighbour_wait *w = &n->waits[entry->wait];
    if (w->count == NEIGHBOUR_WAITING_MAX)
        return false;
    w->packets[w->count++] = packet;
    return true;
}

bool neighbour_heard(struct neighbours *n, uint32_t ip, const uint8_t mac[NEIGHBOUR_MAC_BYTES],
                     uint16_t vlan, bool to_us, leat_ns now)
{
    if (ip == 0 || ip == n->options.ip || !in_prefix(&n->options, ip))
        return false;
    struct neighbour *e = lookup(n, ip);
    if (e == NULL && to_us)
        e = take_place(n, ip, now);
    if (e == NULL || e->state == NEIGHBOUR_STATIC)
        return false;
    if (e->state == NEIGHBOUR_ASKING) {
        struct neighbour_wait *w = &n->waits[e->wait];
        w->ended = w->reachable = true;
        memcpy(w->mac, mac, sizeof w->mac);
    }
    if (e->state == NEIGHBOUR_KNOWN && (memcmp(e->mac, mac, sizeof e->mac) != 0 || e->vlan != vlan))
        n->generation++;
    memcpy(e->mac, mac, sizeof e->mac);
    e->vlan = vlan;
    e->state = NEIGHBOUR_KNOWN;
    e->heard = now;
    e->tries = 0;
    e->ask_at = LEAT_NS_NEVER;
    return true;
}

struct neighbour_received neighbour_receive(struct neighbours *n, const struct ether_self *self,
                                            uint8_t *frame, const struct ether_frame *parsed,
                                            leat_ns now)
{
    const struct ether_arp *arp = &parsed->arp;
    const bool asks_us = arp->request && arp->target_ip == self->ip;
    return (struct neighbour_received){
        .updated = neighbour_heard(n, arp->sender_ip, arp->sender_mac, parsed->vlan, asks_us, now),
        .reply_bytes = asks_us ? ether_answer_arp(frame, parsed, self) : 0,
    };
}

/* The last request went unanswered: ends the wait of an unresolved address, frees a known one. */
static void give_up(struct neighbours *n, struct neighbour *e, leat_ns now)
{
    if (e->state == NEIGHBOUR_ASKING) {
        n->waits[e->wait].ended = true;
        e->state = NEIGHBOUR_SILENT;
        e->ask_at = now + NEIGHBOUR_SILENT_NS;
    } else {
        n->generation++;
        e->state = NEIGHBOUR_FREE;
        e->ask_at = LEAT_NS_NEVER;
    }
}

bool neighbour_ask(struct neighbours *n, leat_ns now, struct neighbour_question *out)
{
    if (now < n->deadline)
        return false;
    if (now >= n->announce_at) {
        n->announce_at = now + NEIGHBOUR_ANNOUNCE_NS;
        *out = (struct neighbour_question){ .ip = n->options.ip, .vlan = n->options.vlan };
        return true;
    }
    n->deadline = n->announce_at;
    for (uint32_t i = 0; i < NEIGHBOUR_ENTRIES; i++) {
        struct neighbour *e = &n->entries[i];
        if (e->state != NEIGHBOUR_ASKING && e->state != NEIGHBOUR_KNOWN)
            continue;
        if (now >= e->ask_at && e->tries == NEIGHBOUR_TRIES) {
            give_up(n, e, now);
            continue;
        }
        if (now >= e->ask_at) {
            e->tries++;
            e->ask_at = now + NEIGHBOUR_ASK_NS;
            *out = (struct neighbour_question){ .ip = e->ip, .vlan = e->vlan };
            n->deadline = now; /* there may be more */
            return true;
        }
        n->deadline = earlier(n->deadline, e->ask_at);
    }
    return false;
}

static void fetch(struct neighbour_wait *w, struct neighbour_waited *out)
{
    out->reachable = w->reachable;
    memcpy(out->mac, w->mac, sizeof out->mac);
    out->count = w->count;
    memcpy(out->packets, w->packets, w->count * sizeof w->packets[0]);
    w->taken = false;
}

bool neighbour_waited(struct neighbours *n, struct neighbour_waited *out)
{
    for (uint32_t i = 0; i < NEIGHBOUR_WAITS; i++) {
        if (n->waits[i].taken && n->waits[i].ended) {
            fetch(&n->waits[i], out);
            return true;
        }
    }
    return false;
}

bool neighbour_drain(struct neighbours *n, struct neighbour_waited *out)
{
    for (uint32_t i = 0; i < NEIGHBOUR_ENTRIES; i++)
        if (n->entries[i].state == NEIGHBOUR_ASKING)
            give_up(n, &n->entries[i], 0);
    return neighbour_waited(n, out);
}

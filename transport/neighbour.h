/* Neighbour: the table of IP addresses and their MAC addresses, resolved with ARP.
 *
 *      FREE --(sent to)--> ASKING --(answered)--> KNOWN --(30 s, still in use)--> asked again
 *                            |  five times, 200 ms apart                            |
 *                            +--(no answer)--> SILENT --(1 s)--> FREE <--(no answer)+
 *
 * Role: the table, its timers, the answers to ARP requests, and the packets that wait for a reply,
 * as pure state. Input: IP addresses, ARP frames, `now`. Output: MAC addresses, requests and
 * replies to send, packets to send or to give up.
 * Must not know: byte layouts (ether has them), links, DPDK, clocks.
 * Threads: the owner's. No allocation. Everything is bounded: a full table evicts the entry used
 * least recently; requests and waiting packets beyond the limits are refused. */
#ifndef LEAT_TRANSPORT_NEIGHBOUR_H
#define LEAT_TRANSPORT_NEIGHBOUR_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/units.h"
#include "transport/ether.h"

enum {
    NEIGHBOUR_ENTRIES = 256,
    NEIGHBOUR_WAITS = 16,       /* addresses being resolved at a time */
    NEIGHBOUR_WAITING_MAX = 32, /* packets that wait for each of them */
    NEIGHBOUR_TRIES = 5,
    NEIGHBOUR_MAC_BYTES = 6,
};
#define NEIGHBOUR_ASK_NS (200 * LEAT_NS_PER_MS)
#define NEIGHBOUR_FRESH_NS (30 * LEAT_NS_PER_S) /* a reply is valid for this long */
#define NEIGHBOUR_SILENT_NS (1 * LEAT_NS_PER_S) /* pause after all requests went unanswered */
#define NEIGHBOUR_ANNOUNCE_NS (30 * LEAT_NS_PER_S)

struct neighbour_options {
    uint32_t ip; /* our address; all addresses in host order */
    uint8_t prefix_bits;
    uint32_t gateway; /* 0: none */
    uint16_t vlan;    /* tag for neighbours that we have not heard from yet */
};

enum neighbour_state {
    NEIGHBOUR_FREE,
    NEIGHBOUR_ASKING,
    NEIGHBOUR_KNOWN,
    NEIGHBOUR_SILENT,
    NEIGHBOUR_STATIC,
};

struct neighbour {
    uint32_t ip;
    uint8_t mac[NEIGHBOUR_MAC_BYTES];
    uint16_t vlan;
    uint8_t state; /* enum neighbour_state */
    uint8_t tries; /* requests sent since the last reply */
    uint8_t wait;  /* NEIGHBOUR_ASKING: index in neighbours.waits */
    leat_ns heard, used;
    leat_ns ask_at; /* time of the next request, or LEAT_NS_NEVER */
};

struct neighbour_wait {
    bool taken;            /* from the first request until the packets are fetched */
    bool ended, reachable; /* resolution has ended; a reply came */
    uint8_t mac[NEIGHBOUR_MAC_BYTES];
    uint16_t count;
    void *packets[NEIGHBOUR_WAITING_MAX];
};

struct neighbours {
    struct neighbour_options options;
    uint32_t generation; /* grows when a known MAC address changes or is removed */
    leat_ns deadline;    /* when neighbour_ask must be called */
    leat_ns announce_at;
    struct neighbour entries[NEIGHBOUR_ENTRIES];
    struct neighbour_wait waits[NEIGHBOUR_WAITS];
};

void neighbour_init(struct neighbours *n, const struct neighbour_options *options, leat_ns now);
/* Adds a static entry: it is never requested, changed or evicted. False: no entry can be evicted
 * for it. */
bool neighbour_set_static(struct neighbours *n, uint32_t ip,
                          const uint8_t mac[NEIGHBOUR_MAC_BYTES]);

enum neighbour_verdict {
    NEIGHBOUR_HAVE, /* *entry has the MAC address */
    NEIGHBOUR_WAIT, /* being resolved: pass the packet to neighbour_hold */
    NEIGHBOUR_NONE, /* unreachable: no gateway, no reply, or too many requests are pending */
};
/* Finds the next hop of a packet to `ip`: `ip` itself, or the gateway if `ip` is outside the
 * prefix. Starts resolving it if needed. *entry stays valid until the next call. */
enum neighbour_verdict neighbour_find(struct neighbours *n, uint32_t ip, leat_ns now,
                                      const struct neighbour **entry);
/* Queues a packet until the entry is resolved; the table owns the packet until neighbour_waited or
 * neighbour_drain returns it. False: the queue is full, the caller keeps the packet. */
bool neighbour_hold(struct neighbours *n, const struct neighbour *entry, void *packet);

/* What neighbour_receive made of an ARP frame. */
struct neighbour_received {
    bool updated;         /* the table was: call neighbour_waited */
    uint32_t reply_bytes; /* the frame is now our reply, of this size; 0: it gets none */
};
/* Takes an ARP frame, of which `parsed` is the result: updates the table, and answers a request for
 * our address by writing the reply over it. */
struct neighbour_received neighbour_receive(struct neighbours *n, const struct ether_self *self,
                                            uint8_t *frame, const struct ether_frame *parsed,
                                            leat_ns now);

/* Its part that updates the table: an ARP frame told that `ip` is at `mac`. `to_us`: it was a
 * request for our address, whose sender is about to send to us, so it is added to the table. True:
 * the table was updated. */
bool neighbour_heard(struct neighbours *n, uint32_t ip, const uint8_t mac[NEIGHBOUR_MAC_BYTES],
                     uint16_t vlan, bool to_us, leat_ns now);

struct neighbour_question {
    uint32_t ip; /* our own address: a gratuitous ARP */
    uint16_t vlan;
};
/* The next ARP request to send; false: none is due before n->deadline. */
bool neighbour_ask(struct neighbours *n, leat_ns now, struct neighbour_question *out);

struct neighbour_waited {
    bool reachable;
    uint8_t mac[NEIGHBOUR_MAC_BYTES];
    uint16_t count;
    void *packets[NEIGHBOUR_WAITING_MAX];
};
/* Returns packets whose address was resolved or given up, one address per call; the caller owns
 * them. False: there are none. */
bool neighbour_waited(struct neighbours *n, struct neighbour_waited *out);
/* Like neighbour_waited, but gives up all pending addresses first: the owner is closing. */
bool neighbour_drain(struct neighbours *n, struct neighbour_waited *out);

#endif

/* Neighbour: which Ethernet address an IP address has, found out by asking (ARP).
 *
 *      FREE --(sent to)--> ASKING --(answered)--> KNOWN --(30 s, still in use)--> asked again
 *                            |  five times, 200 ms apart                            |
 *                            +--(no answer)--> SILENT --(1 s)--> FREE <--(no answer)+
 *
 * Role: the table, its timers, and the packets that wait for an answer, as pure state: takes
 * addresses, what ARP frames said and `now`; gives addresses, questions to ask, packets to send or
 * to give up.
 * Must not know: frames' bytes, links, DPDK, clocks.
 * Threads: the owner's. No allocation; everything has a bound: a full table forgets what was used
 * longest ago, too many questions or waiting packets are refused. */
#ifndef LEAT_TRANSPORT_NEIGHBOUR_H
#define LEAT_TRANSPORT_NEIGHBOUR_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/units.h"

enum {
    NEIGHBOUR_ENTRIES = 256,
    NEIGHBOUR_WAITS = 16,       /* addresses asked for at a time */
    NEIGHBOUR_WAITING_MAX = 32, /* packets for each of them */
    NEIGHBOUR_TRIES = 5,
    NEIGHBOUR_MAC_BYTES = 6,
};
#define NEIGHBOUR_ASK_NS (200 * LEAT_NS_PER_MS)
#define NEIGHBOUR_FRESH_NS (30 * LEAT_NS_PER_S) /* an answer holds without asking again */
#define NEIGHBOUR_SILENT_NS (1 * LEAT_NS_PER_S) /* nobody answered: not asked again for so long */
#define NEIGHBOUR_ANNOUNCE_NS (30 * LEAT_NS_PER_S)

struct neighbour_options {
    uint32_t ip; /* ours; all addresses in host order */
    uint8_t prefix_bits;
    uint32_t gateway; /* 0: none */
    uint16_t vlan;    /* of those not heard from yet */
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
    uint8_t state; /* neighbour_state */
    uint8_t tries; /* asked since the last answer */
    uint8_t wait;  /* NEIGHBOUR_ASKING: which of the waits */
    leat_ns heard, used;
    leat_ns ask_at; /* next question; LEAT_NS_NEVER */
};

struct neighbour_wait {
    bool taken; /* by an address that is being asked for, then until its packets are fetched */
    bool ended, reachable; /* answered or given up */
    uint8_t mac[NEIGHBOUR_MAC_BYTES];
    uint16_t count;
    void *packets[NEIGHBOUR_WAITING_MAX];
};

struct neighbours {
    struct neighbour_options options;
    uint32_t generation; /* changes whenever an address learned before does */
    leat_ns deadline;    /* neighbour_ask has something to say then */
    leat_ns announce_at;
    struct neighbour entries[NEIGHBOUR_ENTRIES];
    struct neighbour_wait waits[NEIGHBOUR_WAITS];
};

void neighbour_init(struct neighbours *n, const struct neighbour_options *options, leat_ns now);
/* Never asked for, never forgotten, never changed. False: the table is full of such. */
bool neighbour_set_static(struct neighbours *n, uint32_t ip,
                          const uint8_t mac[NEIGHBOUR_MAC_BYTES]);

enum neighbour_verdict {
    NEIGHBOUR_HAVE, /* *entry says where */
    NEIGHBOUR_WAIT, /* being asked for: neighbour_hold the packet */
    NEIGHBOUR_NONE, /* no way there: no gateway, nobody answered, or too many questions open */
};
/* Where a packet to `ip` goes: to it, or to the gateway. */
enum neighbour_verdict neighbour_find(struct neighbours *n, uint32_t ip, leat_ns now,
                                      const struct neighbour **entry);
/* The packet waits for the answer. False: too many wait already. */
bool neighbour_hold(struct neighbours *n, const struct neighbour *entry, void *packet);

/* An ARP frame said that `ip` is at `mac`; `to_us`: it was addressed to our address, so its sender
 * is about to talk to us. True: it was of use. */
bool neighbour_heard(struct neighbours *n, uint32_t ip, const uint8_t mac[NEIGHBOUR_MAC_BYTES],
                     uint16_t vlan, bool to_us, leat_ns now);

struct neighbour_question {
    uint32_t ip; /* our own: an announcement */
    uint16_t vlan;
};
/* The next question that is due; false: none before n->deadline. */
bool neighbour_ask(struct neighbours *n, leat_ns now, struct neighbour_question *out);

struct neighbour_waited {
    bool reachable;
    uint8_t mac[NEIGHBOUR_MAC_BYTES];
    uint16_t count;
    void *packets[NEIGHBOUR_WAITING_MAX];
};
/* Packets whose waiting ended, one address at a time; false: none. */
bool neighbour_waited(struct neighbours *n, struct neighbour_waited *out);
/* All packets that still wait, one address at a time: the owner is closing. */
bool neighbour_drain(struct neighbours *n, struct neighbour_waited *out);

#endif

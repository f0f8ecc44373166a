/* Fabric: a network of simulated time between links, that does to datagrams what a seed says.
 *
 * Role: links (transport/link.h) whose datagrams are kept until they are due; loss (random and in
 * bursts), duplication, reordering, corruption (found by a checksum of the link, or handed on;
 * anywhere, or where its user says),
 * delay and jitter, a largest datagram, partitions one way or both.
 * Must not know: what datagrams carry.
 * Threads: one. Everything comes from the seed: the same calls give the same faults. */
#ifndef LEAT_TESTS_SIM_FABRIC_H
#define LEAT_TESTS_SIM_FABRIC_H

#include "tests/support/seeded.h"
#include "transport/link.h"

enum {
    FABRIC_LINKS_MAX = 8,
    FABRIC_PAYLOAD_MAX = 1472,
    FABRIC_IN_FLIGHT_MAX = 16384, /* more are lost, as in a full queue */
};

struct fabric_faults {
    uint32_t loss_ppm;
    uint32_t burst_ppm;    /* a bad time begins with this chance at each datagram... */
    uint32_t burst_length; /* ...and lasts about so many, most of which are lost */
    uint32_t duplicate_ppm;
    uint32_t reorder_ppm; /* held back for up to reorder_ns */
    uint32_t corrupt_ppm;
    uint64_t reorder_ns;
    uint64_t delay_ns, jitter_ns;
    uint32_t mtu;     /* larger ones vanish; 0: none do */
    uint8_t mtu_host; /* only those to this host; 0: to all */
};

struct fabric_counters {
    uint64_t sent, delivered;
    uint64_t lost, burst_lost, duplicated, reordered, corrupted, too_large, partitioned, overflowed;
    uint64_t read_late; /* references */
    uint64_t changed;   /* of those: other bytes than when they were sent, which must not be */
};

struct fabric;

/* What its links do about damage. */
enum fabric_care {
    FABRIC_CATCHES, /* they find it, and do not promise to */
    FABRIC_INTACT,  /* they find it, and say so in their limits */
    FABRIC_BLIND,   /* they hand it on */
    FABRIC_FALSE,   /* they hand it on, and say in their limits that they do not */
};

struct fabric *fabric_open(uint64_t seed);
void fabric_close(struct fabric *fabric);
/* Before its first link opens. */
void fabric_care(struct fabric *fabric, enum fabric_care care);
void fabric_set(struct fabric *fabric, const struct fabric_faults *faults);
/* What damages a datagram instead of the fabric. False: it found nothing to damage. */
typedef bool fabric_damage(void *user, struct seeded *random, uint8_t *bytes, uint32_t size);
void fabric_damage_by(struct fabric *fabric, fabric_damage *damage, void *user);
/* The link of 10.0.0.`host`:`port`. Closed by its ops, or with the fabric. */
struct link *fabric_link(struct fabric *fabric, uint8_t host, uint16_t port);
void fabric_peer(uint8_t host, uint16_t port, struct link_peer *out);
/* Nothing goes from `from` to `to` (hosts) any more, or again. */
void fabric_cut(struct fabric *fabric, uint8_t from, uint8_t to, bool cut);

/* Its device is slow to say what it has sent: references come back only when this ends. */
void fabric_slow(struct link *link, bool slow);
/* Its device reads what it is to send from where it lies up to `most_ns` after it was told to, each
 * reference for itself; 0: at once again, also what is under way. */
void fabric_late(struct link *link, leat_ns most_ns);
/* The wire takes nothing from it any more, or again: what it was given is kept. */
void fabric_full(struct link *link, bool full);

/* What leaves a link leaves at this time. */
void fabric_now(struct fabric *fabric, leat_ns now);
/* When the next datagram is due that is not due yet; LEAT_NS_NEVER. */
leat_ns fabric_next(const struct fabric *fabric);
const struct fabric_counters *fabric_counters(const struct fabric *fabric);
/* Buffers that are out: 0 when everything was given back and nothing is on the way. */
uint32_t fabric_buffers(const struct fabric *fabric);

#endif

/* Link: where datagrams enter and leave. The seam between the pure core and what moves bytes.
 *
 * Role: move bursts of datagrams, own their buffers, count what it drops.
 * Must not know: what the bytes mean, sessions, retransmission, topics.
 *
 * Implementations: link_udp.c (kernel sockets), link_dpdk*.c (bypass ports), and the simulated
 * fabric of the tests. What works on one works on all; what differs stands in `limits`, fixed when
 * the link opened. A link belongs to one thread. */
#ifndef LEAT_TRANSPORT_LINK_H
#define LEAT_TRANSPORT_LINK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "schema/units.h"

enum { LINK_BURST = 32 };

/* Who is at the other end. A datagram's sender is compared by `key`; the rest says how to reach it
 * and may change under it (a peer that moved to another network card). */
struct link_peer {
    struct link_peer_key {
        uint8_t address[16]; /* IPv6, or IPv4 mapped (::ffff:a.b.c.d) */
        uint32_t scope;      /* of a link-local IPv6 address */
        uint16_t port;       /* host order */
        uint16_t reserved;
    } key;
    uint8_t mac[6]; /* links that speak Ethernet; all zero: to be resolved */
    uint16_t vlan;  /* tag control as on the wire, host order; 0: untagged */
};

static inline bool link_peer_same(const struct link_peer *a, const struct link_peer *b)
{
    return memcmp(&a->key, &b->key, sizeof a->key) == 0;
}

/* One received. */
struct link_datagram {
    const uint8_t *bytes;
    uint32_t size;
    struct link_peer peer;
    void *handle; /* the link's buffer */
};

/* One to be sent: a place for its bytes, and perhaps bytes that stay where they are. */
struct link_outgoing {
    uint8_t *bytes; /* room for limits.payload_max bytes */
    void *handle;   /* the link's buffer */
};

/* Bytes to be sent from where they are, behind those in the buffer. */
struct link_reference {
    const uint8_t *bytes;
    uint32_t size;
    void (*release)(void *owner, uint32_t token); /* called once, by any thread that sends */
    void *owner;
    uint32_t token;
};

struct link_limits {
    uint32_t payload_max;   /* UDP payload the path's own end can carry */
    uint32_t reference_min; /* from this size on sending by reference pays; 0: it cannot */
    bool polled;            /* it must be asked again and again, or armed: see link_ops.arm */
    bool bypass;            /* microseconds, not tens of them: which timers fit */
    bool intact; /* what is sent stays within this machine's memory, so that it arrives as it
                    left or not at all: packets' checksums may be partial */
};

enum link_drop {
    LINK_DROP_SHORT,     /* truncated: a length points beyond the frame */
    LINK_DROP_ETHERTYPE, /* neither IPv4 nor ARP */
    LINK_DROP_ARP,       /* malformed, or about an address that is not ours */
    LINK_DROP_IP,        /* malformed header, wrong checksum, options, not for us */
    LINK_DROP_FRAGMENT,  /* fragments are never taken */
    LINK_DROP_PROTOCOL,  /* neither UDP nor an ICMP echo */
    LINK_DROP_UDP,       /* malformed, wrong checksum */
    LINK_DROP_PORT,      /* no lane takes this port */
    LINK_DROP_NO_BUFFER, /* no memory to hold it */
    LINK_DROP_HANDOVER,  /* the owning lane's ring is full */
    LINK_DROP_DEVICE,    /* by the device or the kernel, before we saw it */
    LINK_DROPS
};

/* One writer each: the link's thread. Any thread reads. rx == accepted + answered + sum of drops.
 */
struct link_counters {
    _Atomic uint64_t rx; /* frames or datagrams that reached us, dropped or not */
    _Atomic uint64_t accepted;
    _Atomic uint64_t answered; /* ARP and ICMP handled here */
    _Atomic uint64_t drops[LINK_DROPS];
    _Atomic uint64_t rx_bytes; /* payload of the accepted */
    _Atomic uint64_t tx;
    _Atomic uint64_t tx_bytes;
    _Atomic uint64_t tx_references;
    _Atomic uint64_t tx_kept;      /* times some had to wait for the next flush */
    _Atomic uint64_t tx_no_buffer; /* reserve found none */
    _Atomic uint64_t tx_lost;      /* given up: no neighbour answered, refused by the kernel */
};

static inline void link_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

struct link;

struct link_ops {
    /* Fills up to `max` (<= LINK_BURST) and returns how many. Each is valid until it is given to
     * `release`, exactly once, before the next `receive`. Never blocks. */
    unsigned (*receive)(struct link *, struct link_datagram *out, unsigned max, leat_ns now);
    void (*release)(struct link *, struct link_datagram *datagrams, unsigned count);

    /* A buffer to write one datagram into. False: none now; try again in the next iteration. */
    bool (*reserve)(struct link *, struct link_outgoing *out);
    /* Gives one back that is not to be sent after all. */
    void (*cancel)(struct link *, struct link_outgoing *out);
    /* Takes it: `size` bytes of the buffer and, unless NULL, what `reference` says behind them
     * (limits.reference_min must allow it). Leaves with the next flush, or earlier. */
    void (*send)(struct link *, struct link_outgoing *out, uint32_t size,
                 const struct link_reference *reference, const struct link_peer *to);
    /* Offers everything taken to the wire; keeps what the wire has no room for. Returns how many
     * datagrams are still kept for want of room: flush again in the next iteration. (With nobody at
     * the other end it may keep some and return 0.) Never spins, never drops. Also gives finished
     * references back. */
    unsigned (*flush)(struct link *, leat_ns now);

    /* Log memory that is still referred to is wanted now: drops what was taken with a reference and
     * has not left (as if the wire had lost it), makes the device look at what it has sent. Returns
     * how many references are still out. */
    unsigned (*reclaim)(struct link *);

    /* Readable when there is something to receive. Of a polled link: speaks only while it is armed,
     * is to be watched for edges (EPOLLET), and may speak without need; -1: it cannot be armed. */
    int (*descriptor)(const struct link *);
    /* Of a polled link with a descriptor, for a thread that would sleep: what comes from now on is
     * told by the descriptor. What came before is not, so the thread asks once more, and sleeps
     * only if there was nothing, until `deadline` at most. False: not now, or not for a while; ask
     * again after a backoff. */
    bool (*arm)(struct link *);
    /* Awake again, armed or not: nobody needs to be told. */
    void (*disarm)(struct link *);
    /* When it wants to be flushed even if nothing happens (neighbours to be asked again). */
    leat_ns (*deadline)(const struct link *);
    void (*close)(struct link *);
};

/* First member of every implementation's own struct. */
struct link {
    const struct link_ops *ops;
    struct link_limits limits;
    struct link_counters counters;
};

#endif

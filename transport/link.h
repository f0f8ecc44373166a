/* Link: sends and receives datagrams. The interface between the pure core and the drivers.
 *
 * Role: moves bursts of datagrams, owns their buffers, counts what it drops.
 * Must not know: what the bytes mean, sessions, retransmission, topics.
 *
 * Implementations: link_udp.c (kernel sockets), link_dpdk*.c (bypass ports), and the simulated
 * fabric of the tests. All behave alike; differences are described by `limits`, which are fixed
 * when the link is opened.
 * Threads: a link belongs to one thread. */
#ifndef LEAT_TRANSPORT_LINK_H
#define LEAT_TRANSPORT_LINK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "schema/units.h"

enum { LINK_BURST = 32 };

/* The address of the other end. `key` identifies the peer; the other fields say how to reach it and
 * may change while the key stays the same (the peer moved to another NIC). */
struct link_peer {
    struct link_peer_key {
        uint8_t address[16]; /* IPv6, or IPv4 mapped (::ffff:a.b.c.d) */
        uint32_t scope;      /* of a link-local IPv6 address */
        uint16_t port;       /* host order */
        uint16_t reserved;
    } key;
    uint8_t mac[6]; /* Ethernet links only; all zero: to be resolved */
    uint16_t vlan;  /* VLAN tag control information, host order; 0: untagged */
};

static inline bool link_peer_same(const struct link_peer *a, const struct link_peer *b)
{
    return memcmp(&a->key, &b->key, sizeof a->key) == 0;
}

/* A received datagram. */
struct link_datagram {
    const uint8_t *bytes;
    uint32_t size;
    struct link_peer peer;
    void *handle; /* the link's buffer */
};

/* A buffer for one datagram to be sent. */
struct link_outgoing {
    uint8_t *bytes; /* room for limits.payload_max bytes */
    void *handle;   /* the link's buffer */
};

/* Bytes that are sent in place, without a copy, after those in the buffer. They must stay unchanged
 * until `release` is called. */
struct link_reference {
    const uint8_t *bytes;
    uint32_t size;
    void (*release)(void *owner, uint32_t token); /* called exactly once, by any sending thread */
    void *owner;
    uint32_t token;
};

/* Copy-break: the bytes from which a link sends by reference, because a copy would cost more. For
 * less, the second iovec or mbuf costs more than the copy. */
enum {
    LINK_REFERENCE_MIN_UDP = 512, /* the kernel copies either way */
    LINK_REFERENCE_MIN_DPDK = 1024,
};

struct link_limits {
    uint32_t payload_max;   /* bytes of UDP payload that this end of the path can carry */
    uint32_t reference_min; /* the link's copy-break; 0: it copies everything */
    bool polled;            /* the owner must poll it, or arm it before sleeping: link_ops.arm */
    bool bypass;            /* latency of microseconds, not tens of them: use the bypass timers */
    bool intact; /* data stays in this machine's memory, so that a datagram arrives uncorrupted or
                    not at all: packet checksums may be partial */
};

/* Whether `size` bytes are sent by reference, rather than copied. */
static inline bool link_sends_by_reference(const struct link_limits *limits, uint32_t size)
{
    return limits->reference_min != 0 && size >= limits->reference_min;
}

enum link_drop {
    LINK_DROP_SHORT,     /* truncated: a length points beyond the frame */
    LINK_DROP_ETHERTYPE, /* neither IPv4 nor ARP */
    LINK_DROP_ARP,       /* malformed, or about an address that is not ours */
    LINK_DROP_IP,        /* malformed header, wrong checksum, options, not for us */
    LINK_DROP_FRAGMENT,  /* fragments are not supported */
    LINK_DROP_PROTOCOL,  /* neither UDP nor an ICMP echo request */
    LINK_DROP_UDP,       /* malformed, wrong checksum */
    LINK_DROP_PORT,      /* no lane receives on this port */
    LINK_DROP_NO_BUFFER, /* no buffer available */
    LINK_DROP_HANDOVER,  /* the ring of the owning lane is full */
    LINK_DROP_DEVICE,    /* dropped by the device or the kernel before we saw it */
    LINK_DROPS
};

/* Written by the link's thread only; any thread may read.
 * rx == accepted + answered + sum of drops. */
struct link_counters {
    _Atomic uint64_t rx; /* frames or datagrams that reached us, dropped or not */
    _Atomic uint64_t accepted;
    _Atomic uint64_t answered; /* ARP and ICMP handled by the link itself */
    _Atomic uint64_t drops[LINK_DROPS];
    _Atomic uint64_t rx_bytes; /* payload of accepted datagrams */
    _Atomic uint64_t tx;
    _Atomic uint64_t tx_bytes;
    _Atomic uint64_t tx_references; /* datagrams sent by reference */
    _Atomic uint64_t tx_kept;       /* flushes that left datagrams for the next flush */
    _Atomic uint64_t tx_no_buffer;  /* calls of reserve that found no buffer */
    _Atomic uint64_t tx_lost;       /* given up: no neighbour answered, or the kernel refused */
};

static inline void link_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

struct link;

struct link_ops {
    /* Receives up to `max` (<= LINK_BURST) datagrams and returns how many. The caller must pass
     * each to `release` exactly once before the next `receive`; it is valid until then. Never
     * blocks. */
    unsigned (*receive)(struct link *, struct link_datagram *out, unsigned max, leat_ns now);
    void (*release)(struct link *, struct link_datagram *datagrams, unsigned count);

    /* Reserves a buffer for one datagram; the caller owns it until `send` or `cancel`. False: none
     * is free; try again in the next iteration. */
    bool (*reserve)(struct link *, struct link_outgoing *out);
    /* Returns a reserved buffer unsent. */
    void (*cancel)(struct link *, struct link_outgoing *out);
    /* Queues a datagram: the first `size` bytes of the buffer, followed by `reference` unless NULL
     * (only if limits.reference_min allows it). It is sent by the next flush, or earlier. */
    void (*send)(struct link *, struct link_outgoing *out, uint32_t size,
                 const struct link_reference *reference, const struct link_peer *to);
    /* Sends everything queued; keeps what the device or kernel has no room for. Returns how many
     * datagrams are kept for lack of room: flush again in the next iteration. While the other end
     * is not connected it may keep some and return 0. Never spins, never drops. Also releases
     * references of datagrams that were sent. */
    unsigned (*flush)(struct link *, leat_ns now);

    /* The owner needs referenced log memory back. Drops queued datagrams that have a reference, as
     * if the wire had lost them, and makes the device release those it has sent. Returns how many
     * references are still unreleased. */
    unsigned (*reclaim)(struct link *);

    /* A descriptor that becomes readable when there is something to receive. That of a polled link
     * works only while the link is armed, must be watched edge-triggered (EPOLLET), and may wake
     * spuriously; -1: the link cannot be armed. */
    int (*descriptor)(const struct link *);
    /* For a polled link with a descriptor, before its thread sleeps: the descriptor reports what
     * arrives from now on. It does not report what arrived earlier, so the thread must receive once
     * more, and may sleep, until `deadline` at most, only if that returned nothing. False: the link
     * cannot be armed now; try again after a backoff. */
    bool (*arm)(struct link *);
    /* The thread is awake and needs no wakeups. May be called without `arm`. */
    void (*disarm)(struct link *);
    /* When the link must be flushed even if nothing happens (to repeat ARP requests). */
    leat_ns (*deadline)(const struct link *);
    void (*close)(struct link *);
};

/* The first member of every implementation's struct. */
struct link {
    const struct link_ops *ops;
    struct link_limits limits;
    struct link_counters counters;
};

#endif

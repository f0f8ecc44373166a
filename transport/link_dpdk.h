/* DPDK driver: bypass ports as links. A library of its own (libleat-dpdk.so), loaded when a
 * configuration or a URL asks for it, so that nobody else links DPDK or waits for it to start.
 *
 * Role: start EAL from checked options, open ports, hand out a link for each lane (a thread's share
 * of a port), speak Ethernet, ARP, ICMP echo, IPv4 and UDP for them.
 * Must not know: packets' content, except the session id that says which lane a datagram is for.
 *
 *      port                one device: a NIC, a memif, a vhost-user or virtio-user end, a veth
 *       +-- lane 0..n-1    one link each, one thread each: queue pair i where the device has so
 * many, else rings to and from the lane that polls
 *
 * Threads: `start`, `open`, `close` one at a time (control, or the client's); a lane's link belongs
 * to one thread, which calls `enter` before and `leave` after. */
#ifndef LEAT_TRANSPORT_LINK_DPDK_H
#define LEAT_TRANSPORT_LINK_DPDK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/error.h"
#include "transport/link.h"

enum {
    LINK_DPDK_ABI = 2,
    LINK_DPDK_ERROR_TEXT = 512,
    LINK_DPDK_NEIGHBOURS_MAX = 64, /* static ones in options */
};

enum link_dpdk_pages {
    LINK_DPDK_PAGES_AUTO, /* hugepages if enough are free, else normal ones (said in `start`) */
    LINK_DPDK_PAGES_HUGE,
    LINK_DPDK_PAGES_NORMAL,
};

/* EAL as we start it; arguments are built here and nowhere else. Zero is the default. */
struct link_dpdk_eal {
    uint32_t memory_mb; /* [the sum of what ports need, at least 64] */
    int32_t pages;      /* link_dpdk_pages */
    bool pci;           /* scan the PCI bus: some device is a PCI address */
    bool iova_pa;       /* physical addresses, for NICs without an IOMMU [virtual] */
};

struct link_dpdk_neighbour {
    uint32_t ip; /* host order */
    uint8_t mac[6];
};

/* Faults made on purpose, for tests of what is built on top. Parts per million of packets. */
struct link_dpdk_inject {
    uint32_t rx_loss_ppm, tx_loss_ppm;
    uint32_t rx_duplicate_ppm, rx_reorder_ppm, rx_corrupt_ppm;
    uint32_t burst; /* a loss takes so many in a row [1] */
    uint64_t seed;
};

struct link_dpdk_options {
    const char *device; /* "net_memif0,role=server,socket=/run/leat.sock" or "0000:03:00.0" */
    uint32_t ip;        /* ours, host order */
    uint8_t prefix_bits;
    uint32_t gateway; /* for addresses outside the prefix; 0: none */
    uint16_t vlan;    /* tag of what we send to a neighbour not heard from yet; 0: untagged */
    uint16_t mtu;     /* of the IP packet; 0: what the device has, 1500 if it does not say */
    uint32_t lanes;   /* 1 .. LEAT_SHARDS_MAX */
    uint16_t port;    /* lane i takes UDP port + i; 0 (clients): lane 0 takes any free-chosen one */
    uint8_t lane_shift; /* datagrams go to lane `session id >> lane_shift`, whatever port they came
                           to; 32: all to the lane that polls (clients) */
    uint16_t descriptors; /* of each queue [1024] */
    uint32_t buffers;     /* mbufs of the pool; 0: by formula, see link_dpdk_plan */
    bool copy_only;       /* never send by reference */
    const struct link_dpdk_neighbour *neighbours;
    uint32_t neighbour_count;
    struct link_dpdk_inject inject;
    /* An application that runs EAL itself hands its port over, configured and started; one lane. */
    bool external;
    uint16_t external_port, external_rx_queue, external_tx_queue;
    void *external_pool; /* struct rte_mempool */
};

/* What a port will take, by the same formula that opens it. */
struct link_dpdk_plan {
    uint32_t buffers, buffer_bytes;
    uint64_t memory_bytes;
};

struct link_dpdk_port;

struct link_dpdk_driver {
    uint32_t abi; /* LINK_DPDK_ABI */
    /* Once a process; a second call finds it started. EAL runs on a thread of its own: the caller's
     * affinity and signal mask stay as they were. LEAT_ERR_UNSUPPORTED, LEAT_ERR_NO_MEMORY,
     * LEAT_ERR_IO; error_text says what to do. LEAT_OK with a text: a notice that should be logged
     * (normal pages instead of hugepages), else it is "". An application that runs EAL itself is
     * left as it is: LEAT_OK. */
    enum leat_error (*start)(const struct link_dpdk_eal *eal,
                             char error_text[LINK_DPDK_ERROR_TEXT]);
    void (*plan)(const struct link_dpdk_options *options, struct link_dpdk_plan *out);
    /* LEAT_ERR_INVALID (an option), LEAT_ERR_UNREACHABLE (no such device), LEAT_ERR_NO_MEMORY. */
    enum leat_error (*open)(struct link_dpdk_port **out, const struct link_dpdk_options *options,
                            char error_text[LINK_DPDK_ERROR_TEXT]);
    struct link *(*lane)(struct link_dpdk_port *port, uint32_t index);
    /* UDP port that lane `index` receives on. */
    uint16_t (*udp_port)(const struct link_dpdk_port *port, uint32_t index);
    /* Link state as the device reports it now. */
    bool (*is_up)(const struct link_dpdk_port *port);
    /* Memory that will be sent from by reference: tells EAL, and devices that map it. Forgetting is
     * for when nothing of it is on the wire any more. LEAT_ERR_UNSUPPORTED: a zero-copy memif
     * client is open, which goes with no registered memory (and the other way round, in `open`). */
    enum leat_error (*register_memory)(void *base, size_t size, size_t page_size);
    void (*forget_memory)(void *base, size_t size);
    /* Every thread that uses a lane. */
    void (*enter)(void);
    void (*leave)(void);
    /* Stops the device and frees its memory; lanes are closed by it (their own `close` does
     * nothing). No thread uses a lane any more. */
    void (*close)(struct link_dpdk_port *port);
    /* Buffers of the port that are neither in its pool nor kept at hand by a lane: the baseline
     * after a test. */
    uint32_t (*buffers_in_use)(const struct link_dpdk_port *port);
};

/* Finds libleat-dpdk.so (beside the program, beside libleat, then where the system looks) and its
 * driver. NULL: error_text says what was tried and what to install. Any thread, once at a time. */
const struct link_dpdk_driver *link_dpdk_load(char error_text[LINK_DPDK_ERROR_TEXT]);

#endif

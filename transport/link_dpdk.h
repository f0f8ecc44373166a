/* clang-format off */
/* DPDK driver: bypass ports as links. It is a library of its own, libleat-dpdk.so, loaded when a
 * configuration or a URL asks for a bypass port. Other users neither link nor start DPDK.
 *
 * Role: starts EAL from checked options, opens ports, provides a link per lane (a thread's share of
 * a port). Implements Ethernet, ARP, ICMP echo, IPv4 and UDP for them.
 * Must not know: packet contents, except the session id, which selects a datagram's lane.
 *
 *      port                one device: a NIC, a memif, a vhost-user or virtio-user end, a veth
 *       +-- lane 0..n-1    one link and one thread each: queue pair i if the device has that many,
 *                          else rings to and from the polling lane
 *
 * Threads: `start`, `open`, `close` one call at a time (the control thread or the client's). A
 * lane's link belongs to one thread, which calls `enter` before using it and `leave` after. */
/* clang-format on */
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
    LINK_DPDK_NEIGHBOURS_MAX = 64, /* static neighbours in the options */
};

enum link_dpdk_pages {
    LINK_DPDK_PAGES_AUTO, /* hugepages if enough are free, else normal pages and a notice */
    LINK_DPDK_PAGES_HUGE,
    LINK_DPDK_PAGES_NORMAL,
};

/* Options of EAL, from which the driver builds EAL's arguments. Zero is the default, in []. */
struct link_dpdk_eal {
    uint32_t memory_mb; /* MiB [what the ports need in sum, at least 64] */
    int32_t pages;      /* enum link_dpdk_pages */
    bool pci;           /* scan the PCI bus: a device is named by its PCI address */
    bool iova_pa;       /* use physical addresses, for NICs without an IOMMU [virtual] */
};

struct link_dpdk_neighbour {
    uint32_t ip; /* host order */
    uint8_t mac[6];
};

/* Fault injection, for tests. Rates in parts per million of packets. */
struct link_dpdk_inject {
    uint32_t rx_loss_ppm, tx_loss_ppm;
    uint32_t rx_duplicate_ppm, rx_reorder_ppm, rx_corrupt_ppm;
    uint32_t burst; /* consecutive packets dropped per loss [1] */
    uint64_t seed;
};

struct link_dpdk_options {
    const char *device; /* "net_memif0,role=server,socket=/run/leat.sock" or "0000:03:00.0" */
    uint32_t ip;        /* our address, host order */
    uint8_t prefix_bits;
    uint32_t gateway;   /* for addresses outside the prefix, host order; 0: none */
    uint16_t vlan;      /* tag for neighbours that we have not heard from yet; 0: untagged */
    uint16_t mtu;       /* bytes of an IP packet; 0: the device's MTU, 1500 if it reports none */
    uint32_t lanes;     /* 1 .. LEAT_SHARDS_MAX */
    uint16_t port;      /* lane i receives on UDP port + i; 0 (clients): we choose one for lane 0 */
    uint8_t lane_shift; /* a datagram goes to lane `session id >> lane_shift`, whatever UDP port it
                           was sent to; 32: all go to the polling lane (clients) */
    uint16_t descriptors; /* per queue [1024] */
    uint32_t buffers;     /* mbufs in the pool; 0: by formula, see link_dpdk_plan */
    bool copy_only;       /* never send by reference */
    const struct link_dpdk_neighbour *neighbours;
    uint32_t neighbour_count;
    struct link_dpdk_inject inject;
    /* True: the application runs EAL and provides a port that it has configured and started. The
     * port has one lane. */
    bool external;
    uint16_t external_port, external_rx_queue, external_tx_queue;
    void *external_pool; /* struct rte_mempool */
};

/* The memory that a port needs, by the formula that `open` uses. */
struct link_dpdk_plan {
    uint32_t buffers, buffer_bytes; /* number of mbufs, bytes of each */
    uint64_t memory_bytes;
};

struct link_dpdk_port;

struct link_dpdk_driver {
    uint32_t abi; /* LINK_DPDK_ABI */
    /* Starts EAL, once per process. Later calls return LEAT_OK, and so does a call in an
     * application that runs EAL itself. The caller's affinity and signal mask do not change.
     * LEAT_ERR_UNSUPPORTED, LEAT_ERR_NO_MEMORY, LEAT_ERR_IO: error_text says what to do. LEAT_OK
     * with a text: a notice to be logged (normal pages instead of hugepages); otherwise the text is
     * "". */
    enum leat_error (*start)(const struct link_dpdk_eal *eal,
                             char error_text[LINK_DPDK_ERROR_TEXT]);
    void (*plan)(const struct link_dpdk_options *options, struct link_dpdk_plan *out);
    /* Opens a port; the caller closes it with `close`. LEAT_ERR_INVALID (an option),
     * LEAT_ERR_UNREACHABLE (no such device), LEAT_ERR_NO_MEMORY. */
    enum leat_error (*open)(struct link_dpdk_port **out, const struct link_dpdk_options *options,
                            char error_text[LINK_DPDK_ERROR_TEXT]);
    /* The link of lane `index`, owned by the port. */
    struct link *(*lane)(struct link_dpdk_port *port, uint32_t index);
    /* The UDP port that lane `index` receives on. */
    uint16_t (*udp_port)(const struct link_dpdk_port *port, uint32_t index);
    /* The link state that the device reports now. */
    bool (*is_up)(const struct link_dpdk_port *port);
    /* Registers memory for sending by reference with EAL and with the devices that map it. A
     * zero-copy memif client excludes registered memory: LEAT_ERR_UNSUPPORTED if one is open, and
     * `open` refuses one while memory is registered. */
    enum leat_error (*register_memory)(void *base, size_t size, size_t page_size);
    /* Undoes register_memory. No reference into the memory may be unreleased. */
    void (*forget_memory)(void *base, size_t size);
    /* To be called by every thread that uses a lane, before and after. */
    void (*enter)(void);
    void (*leave)(void);
    /* Stops the device, closes its lanes (a lane's own `close` does nothing) and frees the memory.
     * No thread may be using a lane. */
    void (*close)(struct link_dpdk_port *port);
    /* The number of the port's buffers that are neither in its pool nor in a lane's spares. Tests
     * use it to detect leaks. */
    uint32_t (*buffers_in_use)(const struct link_dpdk_port *port);
};

/* Loads libleat-dpdk.so from the program's folder, from libleat's folder, or from the system's
 * search path, and returns its driver. NULL: error_text says what was tried and what to install.
 * Any thread, one call at a time. */
const struct link_dpdk_driver *link_dpdk_load(char error_text[LINK_DPDK_ERROR_TEXT]);

#endif

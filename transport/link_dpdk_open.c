/* DPDK ports: opens and closes them.
 *
 * Role: probes, configures and starts a device, creates its pools and lanes; undoes what was done.
 * Must not know: what is sent.
 * Threads: control's; link_dpdk_reconnect the polling lane's. */
#include <dlfcn.h>
#include <errno.h>
#include <net/if.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_random.h>

#include "transport/eal.h"
#include "transport/link_dpdk_port.h"

enum {
    SAID_BYTES = 256,
    FREE_PORTS_FROM = 49152, /* the dynamic ones */
    TAKE_BACK_BYTES = 320,   /* size of a packet with one small record */
    PREFETCH_BYTES = 512,    /* beyond that the hardware prefetcher follows */
    MTU_DEFAULT = 1500,
};

#define NO_FILES "device %s shares memory, and none can be made for that: memfd_create: %s"
/* Formats an error, followed by what EAL or the driver has logged. */
__attribute__((format(printf, 3, 4))) static enum leat_error fail(
    enum leat_error error, char error_text[LINK_DPDK_ERROR_TEXT], const char *format, ...)
{
    char said[SAID_BYTES];
    va_list list;
    va_start(list, format);
    const int n = vsnprintf(error_text, LINK_DPDK_ERROR_TEXT, format, list);
    va_end(list);
    eal_last_error(said, sizeof said);
    if (said[0] != '\0' && n > 0 && n < LINK_DPDK_ERROR_TEXT)
        snprintf(error_text + n, (size_t)(LINK_DPDK_ERROR_TEXT - n), " (DPDK: %s)", said);
    return error;
}

/* ---- the device */

/* libbpf and libxdp, used by af_xdp, print harmless warnings to stderr. */
static void quieten(const char *name, const char *set_print)
{
    void *library = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
    if (library == NULL)
        return;
    void *(*set)(void *) = NULL;
    *(void **)&set = dlsym(library, set_print);
    if (set != NULL)
        set(NULL);
    dlclose(library);
}

/* Makes a memif server's driver listen on the proxy's private socket. */
static enum leat_error prepare_proxy(struct link_dpdk_port *port,
                                     char error_text[LINK_DPDK_ERROR_TEXT])
{
    struct link_dpdk_device *d = &port->device;
    if (d->memif_socket[0] == '\0' || d->memif_client)
        return LEAT_OK;
    const char *listens = link_dpdk_memif_proxy_prepare(port);
    if (listens == NULL)
        return fail(
            LEAT_ERR_IO, error_text,
            "device %s: no folder for its driver's socket can be made: %s; is TMPDIR right?",
            d->name, strerror(errno));
    const size_t n = strlen(d->arguments);
    snprintf(d->arguments + n, sizeof d->arguments - n, ",socket=%s,socket-abstract=no", listens);
    snprintf(d->memif_socket, sizeof d->memif_socket, "%s", listens);
    return LEAT_OK;
}

static enum leat_error attach(struct link_dpdk_port *port, const char *options_device,
                              char error_text[LINK_DPDK_ERROR_TEXT])
{
    const char *name = port->device.name;
    if (port->device.kind.shares && !link_dpdk_memif_fds_can_be_made())
        return fail(LEAT_ERR_UNSUPPORTED, error_text, NO_FILES, name, strerror(errno));
    if (port->device.kind.dma && !eal_has_pci())
        return fail(LEAT_ERR_INVALID, error_text,
                    "device %s: DPDK was started without PCI devices; start it with pci", name);
    if (rte_eth_dev_get_port_by_name(name, &port->id) == 0 && !port->device.kind.dma)
        return fail(LEAT_ERR_INVALID, error_text,
                    "device %s is open already; give each its own name (net_memif0, net_memif1)",
                    name);
    link_dpdk_socket_clear(&port->device);
    quieten("libbpf.so.1", "libbpf_set_print");
    quieten("libxdp.so.1", "libxdp_set_print");
    const int failed = rte_dev_probe(port->device.arguments);
    if (failed != 0 && failed != -EEXIST)
        return fail(LEAT_ERR_UNREACHABLE, error_text, "device %s does not open: %s",
                    port->device.arguments, rte_strerror(-failed));
    if (rte_eth_dev_get_port_by_name(name, &port->id) != 0)
        return fail(LEAT_ERR_UNREACHABLE, error_text,
                    "device %s: no driver took it as an Ethernet port", name);
    port->attached = true;
    if (!link_dpdk_vhost_open(port))
        return fail(LEAT_ERR_NO_MEMORY, error_text, "device %s: no memory", name);
    if (port->proxy == NULL || link_dpdk_memif_proxy_open(port))
        return LEAT_OK;
    return fail(LEAT_ERR_UNREACHABLE, error_text, "device %s: its socket cannot be served: %s",
                options_device, strerror(errno));
}

/* The MTU of the kernel interface behind a device; 0: unknown. */
static uint16_t interface_mtu(unsigned index)
{
    struct ifreq request = { 0 };
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const bool known = fd >= 0 && if_indextoname(index, request.ifr_name) != NULL
                       && ioctl(fd, SIOCGIFMTU, &request) == 0;
    if (fd >= 0)
        close(fd);
    return known && request.ifr_mtu <= UINT16_MAX ? (uint16_t)request.ifr_mtu : 0;
}

static enum leat_error choose_mtu(struct link_dpdk_port *port, const struct rte_eth_dev_info *info,
                                  char error_text[LINK_DPDK_ERROR_TEXT])
{
    const struct link_dpdk_device *d = &port->device;
    uint16_t most = d->kind.interface ? interface_mtu(info->if_index) : 0;
    uint16_t has = most;
    const bool says = d->kind.configure_mtu || d->kind.interface || port->external;
    if (says && info->max_mtu != 0 && (most == 0 || info->max_mtu < most))
        most = info->max_mtu;
    if (has == 0 && rte_eth_dev_get_mtu(port->id, &has) != 0)
        has = MTU_DEFAULT;
    if (most != 0 && d->mtu > most)
        return fail(LEAT_ERR_INVALID, error_text, "device %s: mtu %u, it takes at most %u", d->name,
                    d->mtu, most);
    port->mtu = d->mtu != 0 ? d->mtu : has;
    if (most != 0 && port->mtu > most)
        port->mtu = most;
    return LEAT_OK;
}

static enum leat_error make_pools(struct link_dpdk_port *port,
                                  const struct link_dpdk_options *options,
                                  char error_text[LINK_DPDK_ERROR_TEXT])
{
    struct link_dpdk_plan plan;
    char name[RTE_MEMPOOL_NAMESIZE];
    link_dpdk_plan(options, &plan);
    snprintf(name, sizeof name, "leat%u", port->id);
    port->pool = rte_pktmbuf_pool_create(name, plan.buffers, LINK_DPDK_CACHE, 0,
                                         (uint16_t)plan.buffer_bytes, SOCKET_ID_ANY);
    const uint32_t references = link_dpdk_reference_count(options, &port->device);
    if (port->pool != NULL && references != 0) {
        snprintf(name, sizeof name, "leat%u_references", port->id);
        port->reference_pool = rte_pktmbuf_pool_create(name, references, LINK_DPDK_CACHE,
                                                       LINK_DPDK_REFERENCE_BYTES, 0, SOCKET_ID_ANY);
    }
    if (port->pool != NULL && (references == 0 || port->reference_pool != NULL))
        return LEAT_OK;
    const unsigned long long wanted = (plan.memory_bytes + LEAT_MIB - 1) / LEAT_MIB;
    return fail(LEAT_ERR_NO_MEMORY, error_text,
                "device %s needs %llu MiB for %u buffers, and %s: %s", port->device.name, wanted,
                plan.buffers,
                eal_has_hugepages() ? "too few hugepages are free" : "DPDK has too little memory",
                eal_has_hugepages() ? "raise vm.nr_hugepages, or ask for fewer buffers"
                                    : "start it with more, or ask for fewer buffers");
}

static enum leat_error start(struct link_dpdk_port *port, char error_text[LINK_DPDK_ERROR_TEXT])
{
    if (port->device.memif_zero_copy && !link_dpdk_memif_fds_hold())
        return fail(LEAT_ERR_IO, error_text,
                    "device %s: DPDK's memory cannot be shared; use zero-copy=no",
                    port->device.name);
    const int failed = rte_eth_dev_start(port->id);
    atomic_store(&port->running, failed == 0);
    /* A memif client fails if its server does not run yet: retry at once. */
    if (failed != 0)
        port->reconnect_at = 1;
    if (failed != 0 && !port->device.memif_client)
        return fail(LEAT_ERR_IO, error_text, "device %s does not start: %s", port->device.name,
                    rte_strerror(-failed));
    return LEAT_OK;
}

static enum leat_error configure(struct link_dpdk_port *port, struct rte_eth_dev_info *info,
                                 char error_text[LINK_DPDK_ERROR_TEXT])
{
    struct rte_eth_conf conf = { .intr_conf.rxq = port->interrupts };
    uint16_t rx_descriptors = port->descriptors, tx_descriptors = port->descriptors;
    if (port->device.kind.configure_mtu)
        conf.rxmode.mtu = port->mtu;
    if (port->queues > 1 && info->flow_type_rss_offloads != 0) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf =
            (RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP) & info->flow_type_rss_offloads;
    }
    if (port->reference_pool != NULL)
        conf.txmode.offloads = info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    int failed = rte_eth_dev_configure(port->id, port->queues, port->queues, &conf);
    if (failed == 0)
        failed = rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &rx_descriptors, &tx_descriptors);
    struct rte_eth_txconf tx = info->default_txconf;
    tx.offloads = conf.txmode.offloads;
    for (uint16_t q = 0; failed == 0 && q < port->queues; q++) {
        failed = rte_eth_rx_queue_setup(port->id, q, rx_descriptors, (unsigned)SOCKET_ID_ANY, NULL,
                                        port->pool);
        if (failed == 0)
            failed =
                rte_eth_tx_queue_setup(port->id, q, tx_descriptors, (unsigned)SOCKET_ID_ANY, &tx);
    }
    if (failed != 0)
        return fail(port->device.kind.lingers ? LEAT_BUSY : LEAT_ERR_IO, error_text,
                    "device %s does not take %u queue pairs of %u descriptors, mtu %u: %s",
                    port->device.name, port->queues, port->descriptors, port->mtu,
                    rte_strerror(-failed));
    return LEAT_OK;
}

/* Disables receive interrupts. True: they were enabled, so the caller should try again without. */
static bool drop_interrupts(struct link_dpdk_port *port, char error_text[LINK_DPDK_ERROR_TEXT])
{
    const bool had = port->interrupts;
    port->interrupts = false;
    if (had) {
        eal_forget_errors();
        error_text[0] = '\0';
    }
    return had;
}

static enum leat_error open_device(struct link_dpdk_port *port,
                                   const struct link_dpdk_options *options,
                                   char error_text[LINK_DPDK_ERROR_TEXT])
{
    struct rte_eth_dev_info info;
    enum leat_error error = link_dpdk_socket_place(&port->device, error_text);
    if (error == LEAT_OK)
        error = prepare_proxy(port, error_text);
    if (error != LEAT_OK)
        return error;
    if (!link_dpdk_memif_quiesce_add(port))
        return fail(LEAT_ERR_IO, error_text, "device %s: EAL's interrupts cannot be watched",
                    port->device.name);
    link_dpdk_enter_waiting(port);
    error = attach(port, options->device, error_text);
    if (error != LEAT_OK)
        return error;
    const int failed = rte_eth_dev_info_get(port->id, &info);
    if (failed != 0)
        return fail(LEAT_ERR_IO, error_text, "device %s reports no properties: %s",
                    port->device.name, rte_strerror(-failed));
    const uint16_t pairs =
        info.max_rx_queues < info.max_tx_queues ? info.max_rx_queues : info.max_tx_queues;
    port->interrupts = port->device.kind.interrupts;
    port->queues =
        port->device.kind.queues && pairs >= port->lane_count ? (uint16_t)port->lane_count : 1;
    if (port->device.kind.dma && (info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) == 0)
        port->device.kind.references = false;
    error = choose_mtu(port, &info, error_text);
    if (error != LEAT_OK)
        return error;
    struct link_dpdk_options sized = *options;
    sized.mtu = port->mtu;
    error = make_pools(port, &sized, error_text);
    if (error == LEAT_OK)
        error = configure(port, &info, error_text);
    /* The kernel driver that a NIC is bound to may not support interrupts. */
    if (error != LEAT_OK && drop_interrupts(port, error_text))
        error = configure(port, &info, error_text);
    port->shares = error == LEAT_OK && link_dpdk_memory_opened(port);
    if (error == LEAT_OK && !port->shares)
        error = fail(
            LEAT_ERR_UNSUPPORTED, error_text,
            "device %s: log memory cannot be shared with it; a zero-copy memif client excludes "
            "ports that send by reference (set copy_only, or zero-copy=no)",
            port->device.name);
    if (error == LEAT_OK)
        error = start(port, error_text);
    if (error != LEAT_OK && port->shares && drop_interrupts(port, error_text)) {
        error = configure(port, &info, error_text);
        if (error == LEAT_OK)
            error = start(port, error_text);
    }
    link_dpdk_socket_protect(&port->device);
    return error;
}

static enum leat_error open_external(struct link_dpdk_port *port,
                                     const struct link_dpdk_options *options,
                                     char error_text[LINK_DPDK_ERROR_TEXT])
{
    struct rte_eth_dev_info info;
    port->external = true;
    port->id = options->external_port;
    port->queues = 1;
    port->pool = options->external_pool;
    if (rte_eth_dev_info_get(port->id, &info) != 0
        || options->external_rx_queue >= info.nb_rx_queues
        || options->external_tx_queue >= info.nb_tx_queues)
        return fail(LEAT_ERR_INVALID, error_text,
                    "port %u with receive queue %u and send queue %u: the application has no such "
                    "port configured",
                    port->id, options->external_rx_queue, options->external_tx_queue);
    const enum leat_error error = choose_mtu(port, &info, error_text);
    if (error != LEAT_OK)
        return error;
    const uint32_t room = rte_pktmbuf_data_room_size(port->pool);
    const uint32_t needed =
        RTE_PKTMBUF_HEADROOM + ETHER_BYTES + ETHER_VLAN_BYTES + (uint32_t)port->mtu;
    if (room < needed)
        return fail(LEAT_ERR_INVALID, error_text,
                    "buffers of the application's pool have %u bytes, an mtu of %u needs %u", room,
                    port->mtu, needed);
    atomic_store(&port->running, true);
    return LEAT_OK;
}

/* ---- lanes */

static struct link_dpdk_lane *make_lane(struct link_dpdk_port *port, uint32_t index,
                                        const struct link_dpdk_options *options)
{
    struct link_dpdk_lane *lane = rte_zmalloc("leat_lane", sizeof *lane, RTE_CACHE_LINE_SIZE);
    if (lane == NULL)
        return NULL;
    const struct neighbour_options neighbours = { .ip = options->ip,
                                                  .prefix_bits = options->prefix_bits,
                                                  .gateway = options->gateway,
                                                  .vlan = options->vlan };
    lane->port = port;
    lane->index = index;
    lane->udp_port = (uint16_t)(port->udp_port + index);
    lane->polls = index < port->queues;
    lane->rx_queue = options->external ? options->external_rx_queue : (uint16_t)index;
    lane->tx_queue = options->external ? options->external_tx_queue : (uint16_t)index;
    lane->self = port->self;
    const bool in_place = !port->device.kind.copies || port->device.memif_zero_copy;
    lane->prefetch_bytes = in_place ? PREFETCH_BYTES : 0;
    lane->take_back_bytes = in_place ? TAKE_BACK_BYTES : 0;
    lane->sleeper = lane->nudged = -1;
    lane->staged_max = port->descriptors;
    lane->staged =
        rte_calloc("leat_staged", 2 * (size_t)lane->staged_max, sizeof lane->staged[0], 0);
    lane->link.limits.payload_max = port->mtu - (uint32_t)ETHER_OVERHEAD_BYTES;
    lane->link.limits.reference_min =
        port->reference_pool != NULL ? (uint32_t)LINK_REFERENCE_MIN_DPDK : 0;
    lane->link.limits.polled = true;
    lane->link.limits.bypass = true;
    lane->link.limits.intact = port->device.kind.intact && options->inject.rx_corrupt_ppm == 0;
    neighbour_init(&lane->neighbours, &neighbours, 0);
    for (uint32_t i = 0; i < options->neighbour_count; i++)
        neighbour_set_static(&lane->neighbours, options->neighbours[i].ip,
                             options->neighbours[i].mac);
    const struct link_dpdk_inject *faults = &options->inject;
    const bool injects = (faults->rx_loss_ppm | faults->tx_loss_ppm | faults->rx_duplicate_ppm
                          | faults->rx_reorder_ppm | faults->rx_corrupt_ppm)
                         != 0;
    if (injects)
        lane->inject = inject_open(faults, index);
    if (lane->staged != NULL && (!injects || lane->inject != NULL))
        return lane;
    inject_close(lane->inject);
    rte_free(lane->staged);
    rte_free(lane);
    return NULL;
}

static struct rte_ring *make_ring(const struct link_dpdk_port *port, const char *what,
                                  uint32_t from, uint32_t to)
{
    char name[RTE_RING_NAMESIZE];
    snprintf(name, sizeof name, "leat%u_%s%u_%u", port->id, what, from, to);
    return rte_ring_create(name, LINK_DPDK_HANDOVER, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
}

static bool make_rings(struct link_dpdk_port *port)
{
    const uint32_t n = port->lane_count;
    port->to_lane = calloc((size_t)n * n, sizeof(struct rte_ring *));
    if (port->to_lane == NULL)
        return false;
    for (uint32_t from = 0; from < port->queues; from++)
        for (uint32_t to = 0; to < n; to++)
            if (from != to
                && (port->to_lane[from * n + to] = make_ring(port, "rx", from, to)) == NULL)
                return false;
    if (port->queues == n)
        return true;
    port->to_wire = calloc(n, sizeof(struct rte_ring *));
    if (port->to_wire == NULL)
        return false;
    for (uint32_t i = 1; i < n; i++)
        if ((port->to_wire[i] = make_ring(port, "tx", i, 0)) == NULL)
            return false;
    return true;
}

static bool make_lanes(struct link_dpdk_port *port, const struct link_dpdk_options *options)
{
    struct rte_ether_addr mac;
    if (rte_eth_macaddr_get(port->id, &mac) != 0)
        return false;
    port->self.alone = port->device.kind.alone;
    if (rte_is_zero_ether_addr(&mac)) { /* a device without an address, such as net_ring */
        rte_eth_random_addr(mac.addr_bytes);
        port->self.alone = true;
    }
    memcpy(port->self.mac, mac.addr_bytes, sizeof port->self.mac);
    port->self.ip = options->ip;
    port->self.partial_checksums = port->device.kind.partial_checksums;
    port->udp_port = options->port;
    if (port->udp_port == 0)
        port->udp_port =
            (uint16_t)(FREE_PORTS_FROM
                       + rte_rand_max(UINT16_MAX + 1 - FREE_PORTS_FROM - LEAT_SHARDS_MAX));
    if (!make_rings(port))
        return false;
    for (uint32_t i = 0; i < port->lane_count; i++)
        if ((port->lanes[i] = make_lane(port, i, options)) == NULL)
            return false;
    return true;
}

/* ---- open, close */

enum leat_error link_dpdk_try(struct link_dpdk_port **out, const struct link_dpdk_options *options,
                              char error_text[LINK_DPDK_ERROR_TEXT])
{
    struct link_dpdk_device device;
    error_text[0] = '\0';
    eal_forget_errors();
    enum leat_error error = link_dpdk_device(&device, options, error_text);
    if (error != LEAT_OK)
        return error;
    struct link_dpdk_port *port = calloc(1, sizeof *port);
    if (port == NULL)
        return fail(LEAT_ERR_NO_MEMORY, error_text, "device %s: no memory", device.name);
    port->device = device;
    port->lane_count = options->lanes;
    port->lane_shift = options->lane_shift;
    port->descriptors = link_dpdk_descriptors(options);
    error = options->external ? open_external(port, options, error_text)
                              : open_device(port, options, error_text);
    link_dpdk_leave(port);
    link_dpdk_memif_quiesce_changed(port);
    if (error == LEAT_OK && !make_lanes(port, options))
        error = fail(LEAT_ERR_NO_MEMORY, error_text, "device %s: no memory for %u lanes",
                     device.name, options->lanes);
    if (error == LEAT_OK)
        link_dpdk_sleep_open(port);
    if (error != LEAT_OK) {
        link_dpdk_close(port);
        return error;
    }
    *out = port;
    return LEAT_OK;
}

static void free_ring(struct rte_ring *ring)
{
    struct rte_mbuf *m;
    while (ring != NULL && rte_ring_sc_dequeue(ring, (void **)&m) == 0)
        rte_pktmbuf_free(m);
    rte_ring_free(ring);
}

static void free_lanes(struct link_dpdk_port *port)
{
    const uint32_t n = port->lane_count;
    for (uint32_t i = 0; i < n; i++) {
        struct link_dpdk_lane *lane = port->lanes[i];
        if (lane == NULL)
            continue;
        link_dpdk_discard(lane);
        inject_close(lane->inject);
        rte_free(lane->staged);
        lane->staged = NULL;
    }
    for (uint32_t i = 0; port->to_lane != NULL && i < n * n; i++)
        free_ring(port->to_lane[i]);
    for (uint32_t i = 0; port->to_wire != NULL && i < n; i++)
        free_ring(port->to_wire[i]);
    free(port->to_lane);
    free(port->to_wire);
}

/* Keeps EAL's interrupt thread out of the port's handlers while `still`. Drivers of NICs wait for
 * their interrupts themselves. */
static void stand_still(struct link_dpdk_port *port, bool still)
{
    if (port->quiesces && still)
        link_dpdk_enter_waiting(port);
    else if (port->quiesces)
        link_dpdk_leave(port);
    else if (!port->device.kind.dma && still)
        port->held = link_dpdk_hold();
    else if (port->held)
        link_dpdk_let_go();
}

/* Runs everything due. `last`: until memif's server has handled that all its peers disconnected. */
static void run_due(const struct link_dpdk_port *port, bool last)
{
    do
        link_dpdk_run_due();
    while (last && link_dpdk_memif_quiesce_served(port) != 0);
}

static void detach(struct link_dpdk_port *port)
{
    struct rte_eth_dev_info info;
    struct rte_device *device = NULL;
    if (rte_eth_dev_info_get(port->id, &info) == 0)
        device = info.device;
    if (port->shares)
        link_dpdk_memory_closed(port);
    stand_still(port, true);
    if (atomic_load(&port->running))
        rte_eth_dev_stop(port->id);
    const bool last = link_dpdk_memif_proxy_close(port);
    if (last)
        link_dpdk_memif_quiesce_silence(port);
    stand_still(port, false);
    run_due(port, last);
    stand_still(port, true);
    rte_eth_dev_close(port->id);
    if (device != NULL)
        rte_dev_remove(device);
    stand_still(port, false);
}

/* virtio-user writes to a backend that may be gone: SIGPIPE must not end the application. */
static void detach_without_signal(struct link_dpdk_port *port)
{
    const struct timespec at_once = { 0 };
    sigset_t pipe, before;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    detach(port);
    if (sigismember(&before, SIGPIPE) == 0) {
        sigtimedwait(&pipe, NULL, &at_once);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
}

void link_dpdk_close(struct link_dpdk_port *port)
{
    link_dpdk_sleep_close(port);
    link_dpdk_vhost_close(port);
    free_lanes(port);
    if (port->attached)
        detach_without_signal(port);
    link_dpdk_memif_quiesce_remove(port);
    link_dpdk_memif_proxy_close(port); /* if the device was not attached */
    link_dpdk_vhost_free(port);
    /* Closing the device released its references, which are counted in the lanes: free them last.
     */
    for (uint32_t i = 0; i < port->lane_count; i++)
        rte_free(port->lanes[i]);
    if (!port->external) {
        rte_mempool_free(port->reference_pool);
        rte_mempool_free(port->pool);
    }
    free(port);
}

bool link_dpdk_is_up(const struct link_dpdk_port *port)
{
    struct rte_eth_link link;
    return atomic_load_explicit(&port->running, memory_order_relaxed)
           && rte_eth_link_get_nowait(port->id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

void link_dpdk_reconnect(struct link_dpdk_port *port, leat_ns now)
{
    if (!port->device.memif_client || port->external || now < port->reconnect_at)
        return;
    if (port->reconnect_at == 0) {
        /* Just started, or just disconnected: give the peer time to connect. */
        port->reconnect_at = now + (port->was_up ? LINK_DPDK_CHORES_NS : LINK_DPDK_CONNECT_NS);
        port->was_up = false;
        return;
    }
    if (atomic_exchange(&port->running, false))
        rte_eth_dev_stop(port->id);
    const bool whole = !port->device.memif_zero_copy || link_dpdk_memif_fds_hold();
    const bool started = whole && rte_eth_dev_start(port->id) == 0;
    atomic_store(&port->running, started);
    port->reconnect_at = now + (started ? LINK_DPDK_CONNECT_NS : LINK_DPDK_CHORES_NS);
    link_dpdk_memif_quiesce_changed(port);
}

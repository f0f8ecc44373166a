/* A port of an application that runs DPDK itself: the driver takes it as it is, sends and receives
 * over it, and leaves it as it was. And a port of the driver's own beside an application that keeps
 * EAL's interrupt thread busy.
 *
 * Method: EAL started here, one looped ring port configured and started here, and two lanes over
 * the same queues, which are two hosts: what one sends, the other receives. Then an interrupt
 * handler that does not come back for a while, and a memif port opened meanwhile.
 * Threads: this one, and EAL's for the handler. */
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_interrupts.h>
#include <rte_mbuf.h>

#include "transport/link_dpdk.h"

enum {
    BUFFERS = 2047,
    ROUNDS = 5000,
    BUSY_US = 300000,
    CLOSINGS = 4 /* DPDK takes a second to hear of a new backend */
};

static sem_t begun;         /* the handler has */
static atomic_bool returns; /* it is about to */
static int interrupt;

static void require(bool truth, const char *what)
{
    if (truth)
        return;
    fprintf(stderr, "link_external: %s\n", what);
    exit(1);
}

static uint16_t start_port(struct rte_mempool **pool)
{
    static char text[][32] = { "host",
                               "--no-huge",
                               "--no-shconf",
                               "-m",
                               "64",
                               "--no-telemetry",
                               "--log-level=4",
                               "--no-pci",
                               "--lcores",
                               "0@0",
                               "--vdev=net_ring0" };
    enum { COUNT = sizeof text / sizeof text[0] };
    char *arguments[COUNT + 1] = { NULL };
    const struct rte_eth_conf conf = { 0 };
    for (int i = 0; i < COUNT; i++)
        arguments[i] = text[i];
    uint16_t port = 0;
    require(rte_eal_init(COUNT, arguments) >= 0, "EAL");
    *pool =
        rte_pktmbuf_pool_create("host", BUFFERS, 32, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    require(*pool != NULL && rte_eth_dev_get_port_by_name("net_ring0", &port) == 0
                && rte_eth_dev_configure(port, 1, 1, &conf) == 0
                && rte_eth_rx_queue_setup(port, 0, 256, 0, NULL, *pool) == 0
                && rte_eth_tx_queue_setup(port, 0, 256, 0, NULL) == 0
                && rte_eth_dev_start(port) == 0,
            "the application's port");
    return port;
}

static struct link_dpdk_port *open_host(const struct link_dpdk_driver *driver, uint16_t port,
                                        struct rte_mempool *pool, uint8_t number)
{
    const struct link_dpdk_options options = { .external = true,
                                               .external_port = port,
                                               .external_pool = pool,
                                               .ip = 0x0A090000u + number,
                                               .prefix_bits = 24,
                                               .port = 7430,
                                               .lanes = 1,
                                               .lane_shift = 32 };
    char text[LINK_DPDK_ERROR_TEXT];
    struct link_dpdk_port *host = NULL;
    require(driver->open(&host, &options, text) == LEAT_OK, text);
    return host;
}

/* Everything that is on the loop, taken by `link`: datagrams for it are counted. */
static unsigned take(struct link *link, leat_ns now, uint8_t content)
{
    struct link_datagram got[LINK_BURST];
    unsigned total = 0, count;
    do {
        count = link->ops->receive(link, got, LINK_BURST, now);
        for (unsigned i = 0; i < count; i++)
            require(got[i].size == 100 && got[i].bytes[99] == content, "another datagram");
        if (count != 0)
            link->ops->release(link, got, count);
        total += count;
    } while (count != 0);
    return total;
}

static void be_busy(void *unused)
{
    eventfd_t value;
    (void)unused;
    eventfd_read(interrupt, &value);
    sem_post(&begun);
    usleep(BUSY_US);
    atomic_store(&returns, true);
}

/* A peer may speak before EAL's interrupt thread first hears of the port: no burst runs before that
 * thread is known to stand still. */
static void open_beside_a_busy_handler(const struct link_dpdk_driver *driver)
{
    char device[128], text[LINK_DPDK_ERROR_TEXT], folder[] = "/tmp/leat-external-XXXXXX";
    require(mkdtemp(folder) != NULL, "a folder");
    snprintf(device, sizeof device, "net_memif0,role=server,socket=%s/memif", folder);
    const struct link_dpdk_options options = { .device = device,
                                               .ip = 0x0A090003u,
                                               .prefix_bits = 24,
                                               .port = 7430,
                                               .lanes = 1,
                                               .lane_shift = 32,
                                               .descriptors = 64,
                                               .buffers = 511 };
    struct rte_intr_handle *handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
    sem_init(&begun, 0, 0);
    interrupt = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    require(handle != NULL && rte_intr_fd_set(handle, interrupt) == 0
                && rte_intr_type_set(handle, RTE_INTR_HANDLE_EXT) == 0
                && rte_intr_callback_register(handle, be_busy, NULL) == 0,
            "an interrupt handler");
    while (sem_wait(&begun) != 0)
        ; /* a signal */
    struct link_dpdk_port *port = NULL;
    require(driver->open(&port, &options, text) == LEAT_OK, text);
    require(atomic_load(&returns), "the port was used while EAL's interrupt thread was at large");
    driver->close(port);
    require(rmdir(folder) == 0, "something was left in the folder");
}

/* EAL calls it in the driver's handler, while the link goes down. */
static int linger(uint16_t port, enum rte_eth_event_type event, void *unused, void *more)
{
    (void)port;
    (void)event;
    (void)unused;
    (void)more;
    sem_post(&begun);
    usleep(BUSY_US);
    atomic_store(&returns, true);
    return 0;
}

static struct link_dpdk_port *open_end(const struct link_dpdk_driver *driver, const char *device,
                                       const char *folder, uint8_t number)
{
    char whole[128], text[LINK_DPDK_ERROR_TEXT];
    snprintf(whole, sizeof whole, "%s=%s/vhost", device, folder);
    const struct link_dpdk_options options = { .device = whole,
                                               .ip = 0x0A090100u + number,
                                               .prefix_bits = 24,
                                               .port = 7430,
                                               .lanes = 1,
                                               .lane_shift = 32,
                                               .descriptors = 64,
                                               .buffers = 511 };
    struct link_dpdk_port *port = NULL;
    require(driver->open(&port, &options, text) == LEAT_OK, text);
    return port;
}

/* The backend of a virtio-user port goes, which EAL's interrupt thread hears first, and is told
 * again by an alarm; and the port is closed meanwhile. */
static void close_beside_a_busy_handler(const struct link_dpdk_driver *driver, bool lingers)
{
    char folder[] = "/tmp/leat-external-XXXXXX";
    uint16_t id;
    require(mkdtemp(folder) != NULL, "a folder");
    struct link_dpdk_port *backend = open_end(driver, "net_vhost0,iface", folder, 1);
    struct link_dpdk_port *port = open_end(driver, "net_virtio_user0,path", folder, 2);
    require(rte_eth_dev_get_port_by_name("net_virtio_user0", &id) == 0, "no virtio-user");
    require(driver->is_up(port), "virtio-user without its backend");
    sem_init(&begun, 0, 0);
    atomic_store(&returns, false);
    if (lingers)
        require(rte_eth_dev_callback_register(id, RTE_ETH_EVENT_INTR_LSC, linger, NULL) == 0,
                "a handler of link changes");
    driver->close(backend);
    while (lingers && sem_wait(&begun) != 0)
        ;                /* a signal */
    driver->is_up(port); /* sets an alarm of its own */
    driver->close(port);
    require(!lingers || atomic_load(&returns), "closed while EAL's interrupt thread was in it");
    if (lingers)
        rte_eth_dev_callback_unregister(id, RTE_ETH_EVENT_INTR_LSC, linger, NULL);
    require(rmdir(folder) == 0, "something was left in the folder");
}

int main(void)
{
    char text[LINK_DPDK_ERROR_TEXT];
    struct rte_mempool *pool;
    const uint16_t port = start_port(&pool);
    const struct link_dpdk_driver *driver = link_dpdk_load(text);
    require(driver != NULL, text);
    const struct link_dpdk_eal eal = { 0 };
    require(driver->start(&eal, text) == LEAT_OK, text);
    struct link_dpdk_port *a = open_host(driver, port, pool, 1);
    struct link_dpdk_port *b = open_host(driver, port, pool, 2);
    struct link *from = driver->lane(a, 0), *to = driver->lane(b, 0);
    struct link_peer peer = { .key = { .address = { [10] = 0xFF, 0xFF, 10, 9, 0, 2 },
                                       .port = driver->udp_port(b, 0) },
                              .mac = { 2, 0, 0, 0, 0, 9 } };
    require(from->limits.payload_max == 1472, "payload");
    unsigned received = 0;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct link_outgoing out;
        require(from->ops->reserve(from, &out), "no buffer");
        memset(out.bytes, (int)(i & 255), 100);
        from->ops->send(from, &out, 100, NULL, &peer);
        require(from->ops->flush(from, i) == 0, "kept");
        received += take(to, i, (uint8_t)i);
    }
    require(received == ROUNDS, "not all came");
    driver->close(a);
    driver->close(b);
    struct rte_mbuf *rest;
    while (rte_eth_rx_burst(port, 0, &rest, 1) == 1)
        rte_pktmbuf_free(rest);
    require(rte_mempool_in_use_count(pool) == 0, "buffers are missing");
    require(rte_eth_dev_stop(port) == 0, "the port is not as it was");
    open_beside_a_busy_handler(driver);
    close_beside_a_busy_handler(driver, true);
    for (int i = 0; i < CLOSINGS; i++)
        close_beside_a_busy_handler(driver, false);
    puts("link_external: ok");
    return 0;
}

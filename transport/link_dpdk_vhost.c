/* DPDK vhost: the memory that a vhost-user peer shares.
 *
 * 22.11's backend checks what stands in its peer's rings, but not that the files behind them are as
 * large as was said, and stay so. They are watched while the peer is there (fault.c); a
 * peer that takes memory away is hung up on.
 *
 * Role: that. Must not know: rings.
 * Threads: open and close control's; `changed` the driver's; look the polling lane's. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <rte_vhost.h>

#include "transport/link_dpdk_port.h"

enum { VIDS_MAX = 1024 /* the library's own limit */ };

struct link_dpdk_vhost {
    pthread_mutex_t mutex; /* of what is watched */
    uint32_t count;
    int watched[LINK_DPDK_REGIONS];
    _Atomic bool wrong;
};

static int find_vid(const struct link_dpdk_port *port)
{
    char name[LINK_DPDK_SOCKET_BYTES];
    for (int vid = 0; vid < VIDS_MAX; vid++)
        if (rte_vhost_get_ifname(vid, name, sizeof name) == 0
            && strcmp(name, port->device.socket_file) == 0)
            return vid;
    return -1;
}

static bool watch(struct link_dpdk_vhost *v, const struct rte_vhost_mem_region *region)
{
    struct stat found;
    if (v->count == LINK_DPDK_REGIONS || fstat(region->fd, &found) != 0
        || region->mmap_size > (uint64_t)found.st_size)
        return false;
    const int place = fault_watch(region->fd);
    if (place >= 0)
        v->watched[v->count++] = place;
    return place >= 0;
}

static void forget(const int *watched, uint32_t count)
{
    while (count != 0)
        fault_forget(watched[--count]);
}

/* A peer came or went. */
static void scan(const struct link_dpdk_port *port)
{
    struct link_dpdk_vhost *v = port->vhost;
    struct rte_vhost_memory *memory = NULL;
    bool right = true;
    int before[LINK_DPDK_REGIONS];
    const int vid = find_vid(port);
    pthread_mutex_lock(&v->mutex);
    const uint32_t count_before = v->count;
    memcpy(before, v->watched, sizeof before);
    v->count = 0;
    if (vid >= 0 && rte_vhost_get_mem_table(vid, &memory) == 0)
        for (uint32_t i = 0; i < memory->nregions; i++)
            right &= watch(v, &memory->regions[i]);
    forget(before, count_before); /* now: what is there still is watched all the time */
    pthread_mutex_unlock(&v->mutex);
    free(memory);
    atomic_store(&v->wrong, !right);
}

static int changed(uint16_t id, enum rte_eth_event_type event, void *argument, void *more)
{
    (void)id;
    (void)event;
    (void)more;
    scan(argument);
    return 0;
}

bool link_dpdk_vhost_open(struct link_dpdk_port *port)
{
    struct link_dpdk_vhost *v = NULL;
    if (strcmp(port->device.kind.prefix, "net_vhost") != 0)
        return true;
    if (!fault_open() || (v = calloc(1, sizeof *v)) == NULL)
        return false;
    pthread_mutex_init(&v->mutex, NULL);
    port->vhost = v;
    if (rte_eth_dev_callback_register(port->id, RTE_ETH_EVENT_INTR_LSC, changed, port) != 0)
        return false;
    scan(port); /* it may be there already */
    return true;
}

void link_dpdk_vhost_close(struct link_dpdk_port *port)
{
    if (port->vhost == NULL)
        return;
    while (rte_eth_dev_callback_unregister(port->id, RTE_ETH_EVENT_INTR_LSC, changed, port)
           == -EAGAIN)
        sched_yield(); /* it runs just now */
}

void link_dpdk_vhost_free(struct link_dpdk_port *port)
{
    if (port->vhost == NULL)
        return;
    forget(port->vhost->watched, port->vhost->count);
    pthread_mutex_destroy(&port->vhost->mutex);
    free(port->vhost);
    port->vhost = NULL;
}

void link_dpdk_vhost_look(struct link_dpdk_port *port)
{
    struct link_dpdk_vhost *v = port->vhost;
    if (v == NULL || pthread_mutex_trylock(&v->mutex) != 0)
        return;
    bool wrong = atomic_exchange(&v->wrong, false);
    for (uint32_t i = 0; i < v->count; i++)
        wrong |= fault_met(v->watched[i]);
    pthread_mutex_unlock(&v->mutex);
    if (wrong)
        link_dpdk_gate_hang_up(port->device.socket_file);
}

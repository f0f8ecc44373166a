/* DPDK vhost: guards against vhost-user peers that truncate the memory they share.
 *
 * DPDK 22.11's backend validates a peer's rings, but not that the files behind them have the
 * announced size and keep it. It accesses them while the peer sets up its rings, before it reports
 * the peer. It also maps files that it does not report: the dirty log and the inflight region. So a
 * SIGBUS from shared memory on the library's own thread, or in a call of the driver, is attributed
 * to a peer (fault.c). Reported files are registered as well, because other threads may access
 * them. A peer whose memory is gone, or smaller than announced, is disconnected. A peer that
 * changes its memory while connected is checked again: the driver does not report that, but the
 * library passes on the peer's messages.
 *
 * Role: the memory of peers.
 * Must not know: rings.
 * Threads: open and close control's; `changed` and `heard` the library's; look the polling lane's.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <rte_vhost.h>

#include "transport/link_dpdk_port.h"

enum {
    VIDS_MAX = 1024, /* the limit of the vhost library */
    SET_MEM_TABLE = 5,
    SET_VRING_CALL = 13,
};

static const char library_thread[] = "vhost-events";

struct link_dpdk_vhost {
    pthread_mutex_t mutex; /* guards count and watched */
    uint32_t count;
    int watched[LINK_DPDK_REGIONS];
    struct link_dpdk_calls *calls; /* NULL: see link_dpdk_calls_open */
    struct link_dpdk_port *next;
};

static struct {
    pthread_mutex_t mutex; /* lock order: before that of a port */
    struct link_dpdk_port *first;
} ports = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static const enum rte_eth_event_type events[] = { RTE_ETH_EVENT_QUEUE_STATE,
                                                  RTE_ETH_EVENT_INTR_LSC };
enum { EVENTS = sizeof events / sizeof events[0] };

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
    if (v->count == LINK_DPDK_REGIONS || fstat(region->fd, &found) != 0)
        return false;
    const int place = fault_watch(region->fd);
    if (place >= 0)
        v->watched[v->count++] = place;
    return place >= 0 && region->mmap_size <= (uint64_t)found.st_size;
}

static void forget(const int *watched, uint32_t count)
{
    while (count != 0)
        fault_forget(watched[--count]);
}

static enum rte_vhost_msg_result heard(int vid, void *message);
static const struct rte_vhost_user_extern_ops hear = { .post_msg_handle = heard };

/* Registers the current peer's memory and descriptors after a change. Runs on the library's thread,
 * which is the one that changes them. */
static void scan(struct link_dpdk_port *port)
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
    if (vid >= 0)
        rte_vhost_extern_callback_register(vid, &hear, NULL);
    if (vid >= 0 && v->calls != NULL)
        right &= link_dpdk_calls_take(v->calls, vid);
    if (vid >= 0 && rte_vhost_get_mem_table(vid, &memory) == 0)
        for (uint32_t i = 0; i < memory->nregions; i++)
            right &= watch(v, &memory->regions[i]);
    forget(before, count_before); /* last, so that files that stay are always registered */
    pthread_mutex_unlock(&v->mutex);
    free(memory);
    if (!right)
        atomic_store(&port->peer_wrong, true);
}

/* Handles a message of the peer after the library did. The library holds the locks of the rings: no
 * lane has yet accessed new memory or signalled a new descriptor. */
static enum rte_vhost_msg_result heard(int vid, void *message)
{
    char name[LINK_DPDK_SOCKET_BYTES];
    uint32_t request; /* first field of a vhost-user message */
    memcpy(&request, message, sizeof request);
    if ((request != SET_MEM_TABLE && request != SET_VRING_CALL)
        || rte_vhost_get_ifname(vid, name, sizeof name) != 0)
        return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
    pthread_mutex_lock(&ports.mutex);
    for (struct link_dpdk_port *p = ports.first; p != NULL; p = p->vhost->next)
        if (strcmp(name, p->device.socket_file) == 0)
            scan(p);
    pthread_mutex_unlock(&ports.mutex);
    return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
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
    fault_suspect_threads(library_thread);
    pthread_mutex_init(&v->mutex, NULL);
    v->calls = link_dpdk_calls_open(2 * port->lane_count);
    port->vhost = v;
    port->suspect = &port->peer_wrong;
    pthread_mutex_lock(&ports.mutex);
    v->next = ports.first;
    ports.first = port;
    pthread_mutex_unlock(&ports.mutex);
    for (int i = 0; i < EVENTS; i++)
        if (rte_eth_dev_callback_register(port->id, events[i], changed, port) != 0)
            return false;
    return true;
}

static void unlist(struct link_dpdk_port *port)
{
    pthread_mutex_lock(&ports.mutex);
    struct link_dpdk_port **at = &ports.first;
    while (*at != NULL && *at != port)
        at = &(*at)->vhost->next;
    if (*at != NULL)
        *at = port->vhost->next;
    pthread_mutex_unlock(&ports.mutex);
}

void link_dpdk_vhost_close(struct link_dpdk_port *port)
{
    if (port->vhost == NULL)
        return;
    for (int i = 0; i < EVENTS; i++)
        while (rte_eth_dev_callback_unregister(port->id, events[i], changed, port) == -EAGAIN)
            sched_yield(); /* the callback is running */
    unlist(port);
    /* Closing waits for the library's thread, which may be waiting for the rest of a message. */
    link_dpdk_memif_quiesce_hang_up(port->device.socket_file);
}

void link_dpdk_vhost_free(struct link_dpdk_port *port)
{
    if (port->vhost == NULL)
        return;
    forget(port->vhost->watched, port->vhost->count);
    link_dpdk_calls_close(port->vhost->calls);
    pthread_mutex_destroy(&port->vhost->mutex);
    free(port->vhost);
    port->vhost = NULL;
}

void link_dpdk_vhost_look(struct link_dpdk_port *port)
{
    struct link_dpdk_vhost *v = port->vhost;
    if (v == NULL || pthread_mutex_trylock(&v->mutex) != 0)
        return;
    bool wrong = atomic_exchange(&port->peer_wrong, false);
    for (uint32_t i = 0; i < v->count; i++)
        wrong |= fault_met(v->watched[i]);
    pthread_mutex_unlock(&v->mutex);
    if (wrong)
        link_dpdk_memif_quiesce_hang_up(port->device.socket_file);
}

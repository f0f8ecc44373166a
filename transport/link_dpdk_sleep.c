/* DPDK sleep: lets a lane's thread block until something arrives.
 *
 *      sleeper   the epoll descriptor that the thread waits on. It contains
 *       +- the receive interrupt of the lane's queue, armed while the thread sleeps
 *       +- nudged: other lanes have filled its rings, or a peer connected or disconnected
 *
 * No wakeup is lost. A producer enqueues first, and then reads whether the lane is asleep. The lane
 * first sets that it is asleep, and then polls once more (see link.h). Both sides have a full fence
 * in between; the drivers have their own.
 *
 * When a vhost peer disconnects, a thread of the driver unmaps the peer's memory, and arming writes
 * to that memory. The driver calls `changed` before it unmaps anything, and `changed` waits for a
 * lane that is arming. A lane that arms later finds the queue without a peer.
 *
 * Role: arming, disarming and waking a lane.
 * Must not know: what arrives.
 * Threads: open and close control's; arm and disarm the lane's; nudge any lane's; `changed` the
 * driver's. */
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "transport/link_dpdk_port.h"

static bool watch(int sleeper, int fd)
{
    struct epoll_event event = { .events = EPOLLIN | EPOLLET };
    return fd >= 0 && epoll_ctl(sleeper, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void open_lane(struct link_dpdk_lane *lane)
{
    const struct link_dpdk_port *port = lane->port;
    if (lane->polls && !port->interrupts)
        return;
    const int sleeper = epoll_create1(EPOLL_CLOEXEC);
    const int nudged = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (watch(sleeper, nudged)
        && (!lane->polls
            || watch(sleeper, rte_eth_dev_rx_intr_ctl_q_get_fd(port->id, lane->rx_queue)))) {
        lane->sleeper = sleeper;
        lane->nudged = nudged;
        return;
    }
    if (sleeper >= 0)
        close(sleeper);
    if (nudged >= 0)
        close(nudged);
}

static int changed(uint16_t id, enum rte_eth_event_type event, void *argument, void *more)
{
    const struct link_dpdk_port *port = argument;
    (void)id;
    (void)event;
    (void)more;
    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t i = 0; i < port->lane_count; i++)
        while (atomic_load_explicit(&port->lanes[i]->arming, memory_order_acquire))
            sched_yield();
    link_dpdk_nudge(port, UINT64_MAX);
    return 0;
}

void link_dpdk_sleep_open(struct link_dpdk_port *port)
{
    if (port->interrupts
        && rte_eth_dev_callback_register(port->id, RTE_ETH_EVENT_INTR_LSC, changed, port) != 0)
        port->interrupts = false;
    for (uint32_t i = 0; i < port->lane_count; i++)
        open_lane(port->lanes[i]);
}

void link_dpdk_sleep_close(struct link_dpdk_port *port)
{
    if (port->interrupts)
        while (rte_eth_dev_callback_unregister(port->id, RTE_ETH_EVENT_INTR_LSC, changed, port)
               == -EAGAIN)
            sched_yield(); /* the callback is running */
    for (uint32_t i = 0; i < port->lane_count; i++) {
        struct link_dpdk_lane *lane = port->lanes[i];
        if (lane == NULL || lane->sleeper < 0)
            continue;
        close(lane->sleeper);
        close(lane->nudged);
    }
}

int link_dpdk_descriptor(const struct link *link)
{
    return ((const struct link_dpdk_lane *)link)->sleeper;
}

/* Arms or disarms the device's receive interrupt. */
static bool set_interrupt(struct link_dpdk_lane *lane, bool on)
{
    const struct link_dpdk_port *port = lane->port;
    if (!lane->polls)
        return true;
    atomic_store_explicit(&lane->arming, true, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    fault_suspect = port->suspect;
    const int failed = on ? rte_eth_dev_rx_intr_enable(port->id, lane->rx_queue)
                          : rte_eth_dev_rx_intr_disable(port->id, lane->rx_queue);
    fault_suspect = NULL;
    atomic_store_explicit(&lane->arming, false, memory_order_release);
    return failed == 0;
}

bool link_dpdk_arm(struct link *link)
{
    struct link_dpdk_lane *lane = (struct link_dpdk_lane *)link;
    /* The device releases references only when it is polled. */
    if (lane->polls && atomic_load_explicit(&lane->references_out, memory_order_relaxed) != 0)
        return false;
    atomic_store_explicit(&lane->asleep, true, memory_order_relaxed);
    const bool armed = set_interrupt(lane, true);
    if (!armed)
        link_dpdk_disarm(link);
    atomic_thread_fence(memory_order_seq_cst);
    return armed;
}

void link_dpdk_disarm(struct link *link)
{
    struct link_dpdk_lane *lane = (struct link_dpdk_lane *)link;
    struct epoll_event told[2];
    atomic_store_explicit(&lane->asleep, false, memory_order_relaxed);
    set_interrupt(lane, false);
    epoll_wait(lane->sleeper, told, 2, 0);
}

void link_dpdk_nudge(const struct link_dpdk_port *port, uint64_t lanes)
{
    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t i = 0; i < port->lane_count; i++) {
        const struct link_dpdk_lane *lane = port->lanes[i];
        if ((lanes >> i & 1) != 0 && lane->nudged >= 0
            && atomic_load_explicit(&lane->asleep, memory_order_relaxed))
            eventfd_write(lane->nudged, 1);
    }
}

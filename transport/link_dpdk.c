/* DPDK driver: the function table that libleat-dpdk.so exports. See link_dpdk.h.
 *
 * Role: connects the driver's files with link_dpdk.h and link.h.
 * Must not know: how they work.
 * Threads: as link_dpdk.h says. */
#include <stdio.h>
#include <stdlib.h>

#include <rte_lcore.h>

#include "transport/eal.h"
#include "transport/link_dpdk_port.h"

/* The port's close frees its lanes. */
static void lane_close(struct link *link)
{
    (void)link;
}

static const struct link_ops lane_ops = {
    .receive = link_dpdk_receive,
    .release = link_dpdk_release,
    .reserve = link_dpdk_reserve,
    .cancel = link_dpdk_cancel,
    .send = link_dpdk_send,
    .flush = link_dpdk_flush,
    .reclaim = link_dpdk_reclaim,
    .descriptor = link_dpdk_descriptor,
    .arm = link_dpdk_arm,
    .disarm = link_dpdk_disarm,
    .deadline = link_dpdk_deadline,
    .close = lane_close,
};

static struct link *driver_lane(struct link_dpdk_port *port, uint32_t index)
{
    return index < port->lane_count ? &port->lanes[index]->link : NULL;
}

static uint16_t driver_udp_port(const struct link_dpdk_port *port, uint32_t index)
{
    return (uint16_t)(port->udp_port + index);
}

static enum leat_error driver_open(struct link_dpdk_port **out,
                                   const struct link_dpdk_options *options,
                                   char error_text[LINK_DPDK_ERROR_TEXT])
{
    const enum leat_error error = link_dpdk_open(out, options, error_text);
    for (uint32_t i = 0; error == LEAT_OK && i < (*out)->lane_count; i++)
        (*out)->lanes[i]->link.ops = &lane_ops;
    return error;
}

/* Only threads registered with EAL have a mempool cache. */
static _Thread_local bool entered;

static void driver_enter(void)
{
    if (rte_lcore_id() == LCORE_ID_ANY)
        entered = rte_thread_register() == 0;
}

static void driver_leave(void)
{
    if (entered)
        rte_thread_unregister();
    entered = false;
}

static uint32_t driver_buffers_in_use(const struct link_dpdk_port *port)
{
    uint32_t spare = 0;
    for (uint32_t i = 0; i < port->lane_count; i++)
        spare += port->lanes[i]->spare_count;
    return rte_mempool_in_use_count(port->pool) - spare
           + (port->reference_pool != NULL ? rte_mempool_in_use_count(port->reference_pool) : 0);
}

/* The only exported symbol: see link_dpdk_load. */
extern const struct link_dpdk_driver leat_dpdk_driver;
__attribute__((visibility("default"))) const struct link_dpdk_driver leat_dpdk_driver = {
    .abi = LINK_DPDK_ABI,
    .start = eal_start,
    .plan = link_dpdk_plan,
    .open = driver_open,
    .lane = driver_lane,
    .udp_port = driver_udp_port,
    .is_up = link_dpdk_is_up,
    .register_memory = link_dpdk_register,
    .forget_memory = link_dpdk_forget,
    .enter = driver_enter,
    .leave = driver_leave,
    .close = link_dpdk_close,
    .buffers_in_use = driver_buffers_in_use,
};

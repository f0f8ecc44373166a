/* Ports: the broker's bypass ports, opened through the DPDK driver.
 *
 * Role: loads the driver if the configuration has ports, starts it, opens each port with one lane
 * per shard, and tells at which addresses clients reach the ports.
 * Must not know: packets, sessions, the work of shards. Only the driver includes `<rte_*>`.
 * Threads: the main thread, before the shards start and after they have ended. */
#ifndef LEAT_BROKER_PORTS_H
#define LEAT_BROKER_PORTS_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/config/config.h"
#include "broker/control/control.h"
#include "broker/log/logmem.h"
#include "transport/link_dpdk.h"
#include "transport/link_tcp.h"

struct ports {
    const struct link_dpdk_driver *driver; /* NULL: no ports */
    struct link_dpdk_port *open[CONFIG_PORTS_MAX];
    struct link *lanes[LEAT_SHARDS_MAX][CONFIG_PORTS_MAX];
    uint32_t count;
};

/* Opens the configured ports, if any. False: error_text says why and what to do. Call ports_close
 * in both cases. */
bool ports_open(struct ports *ports, const struct config *config,
                char error_text[LINK_DPDK_ERROR_TEXT]);
void ports_close(struct ports *ports);

/* The memory that each configured port needs. False: the driver is not installed, or no ports are
 * configured. */
bool ports_plan(const struct config *config, struct link_dpdk_plan plans[CONFIG_PORTS_MAX]);

/* The address ("ip:port") at which clients reach a shard through port `index`. */
void ports_address(const struct ports *ports, const struct config *config, uint32_t index,
                   uint32_t shard, char text[LINK_TCP_ADDRESS_TEXT]);

/* Sets the hooks that register log memory with the devices, so that they can send from it. */
void ports_watch_memory(const struct ports *ports, struct control_options *options);

#endif

/* Ports: the broker's bypass ports, opened through the DPDK driver.
 *
 * Role: load the driver only when the configuration has ports; start it; open each port with a lane
 * for each shard; say where clients reach them.
 * Must not know: packets, sessions, shards' work. `<rte_*>` is the driver's.
 * Threads: the main thread, before the shards run and after they ended. */
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

/* Opens what the configuration names; nothing when it names none. False: error_text says what to
 * do. Close in both cases. */
bool ports_open(struct ports *ports, const struct config *config,
                char error_text[LINK_DPDK_ERROR_TEXT]);
void ports_close(struct ports *ports);

/* What each of the configured ports takes. False: the driver is not here to ask. */
bool ports_plan(const struct config *config, struct link_dpdk_plan plans[CONFIG_PORTS_MAX]);

/* "ip:port" of a shard through port `index`. */
void ports_address(const struct ports *ports, const struct config *config, uint32_t index,
                   uint32_t shard, char text[LINK_TCP_ADDRESS_TEXT]);

/* Log memory is made known to the devices that send from it. */
void ports_watch_memory(const struct ports *ports, struct control_options *options);

#endif

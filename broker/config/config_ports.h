/* Config of the bypass ports: the "dpdk" object of the configuration.
 *
 * Role: keys, ranges and messages about mistakes.
 * Must not know: DPDK, how ports are opened.
 * Threads: any; pure. */
#ifndef LEAT_BROKER_CONFIG_CONFIG_PORTS_H
#define LEAT_BROKER_CONFIG_CONFIG_PORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/link_dpdk.h"

enum {
    CONFIG_PORTS_MAX = 16,
    CONFIG_DEVICE_BYTES = 256,
    CONFIG_NEIGHBOURS_MAX = 16, /* per port */
};

struct config_port {
    char device[CONFIG_DEVICE_BYTES];
    struct link_dpdk_options options; /* `device`, `neighbours`, `lanes` and `port` are not set */
    struct link_dpdk_neighbour neighbours[CONFIG_NEIGHBOURS_MAX];
};

struct config_ports {
    struct link_dpdk_eal eal;
    struct config_port *list; /* owned */
    uint32_t count;
};

struct config_place;

/* Parses the member "dpdk" of the object at `at`. False: no memory. Mistakes go to at->errors. */
bool config_ports_parse(struct config_ports *ports, const struct config_place *at);
void config_ports_free(struct config_ports *ports);

/* True if the only possible peer is a process on this machine that may open the device's socket
 * file: memif and vhost-user. */
bool config_port_is_private(const struct config_port *port);

/* Formats `ip` (host byte order) as "10.0.0.1". */
void config_port_ip_text(uint32_t ip, char text[16]);

#endif

#include <stdio.h>

#include "client/packet_port.h"

enum leat_error packet_port_open_dpdk(struct leat_client *client, char *why, size_t why_bytes)
{
    (void)client;
    snprintf(why, why_bytes, "dpdk://: this build has no bypass driver; use udp:// or tcp://");
    return LEAT_ERR_UNSUPPORTED;
}

void packet_port_close_dpdk(struct packet_port *port)
{
    (void)port;
}

/* The client's bypass port: opening and closing it through libleat-dpdk. */
#include <stdio.h>
#include <string.h>

#include "client/client_core.h"
#include "client/packet_port.h"

static void fill_options(const struct leat_client *client, struct link_dpdk_options *out)
{
    const struct url_dpdk *url = &client->url.dpdk;
    const struct leat_dpdk_port *given = client->options.values.dpdk_port;
    *out = (struct link_dpdk_options){
        .device = url->device,
        .ip = url->ip,
        .prefix_bits = url->prefix_bits,
        .gateway = url->gateway,
        .vlan = url->vlan,
        .mtu = (uint16_t)client->url.mtu,
        .lanes = 1,
        .lane_shift = 32,
        .neighbours = url->neighbours,
        .neighbour_count = url->neighbour_count,
        .inject = url->inject,
    };
    if (given == NULL)
        return;
    out->external = true;
    out->external_port = given->port;
    out->external_rx_queue = given->rx_queue;
    out->external_tx_queue = given->tx_queue;
    out->external_pool = given->pool;
}

/* True for a PCI address, "0000:03:00.0" or "03:00.0", with or without arguments after a comma;
 * false for the name of a virtual device. */
static bool is_pci(const char *device)
{
    const size_t size = strcspn(device, ",");
    return size > 0 && strspn(device, "0123456789abcdefABCDEF:.") == size
           && memchr(device, ':', size) != NULL;
}

enum leat_error packet_port_open_dpdk(struct leat_client *client, char *why, size_t why_bytes)
{
    struct packet_port *port = &client->port;
    const struct url_dpdk *url = &client->url.dpdk;
    char text[LINK_DPDK_ERROR_TEXT] = "";
    const struct link_dpdk_driver *driver = link_dpdk_load(text);
    enum leat_error error = driver != NULL ? LEAT_OK : LEAT_ERR_UNSUPPORTED;
    struct link_dpdk_options options;
    fill_options(client, &options);
    const struct link_dpdk_eal eal = { .memory_mb = url->memory_mb,
                                       .pages = url->pages,
                                       .pci = is_pci(url->device) };
    if (error == LEAT_OK && !options.external)
        error = driver->start(&eal, text);
    if (error == LEAT_OK)
        error = driver->open(&port->dpdk, &options, text);
    if (error != LEAT_OK) {
        snprintf(why, why_bytes, "%s", text);
        return error;
    }
    port->driver = driver;
    driver->enter();
    port->link = driver->lane(port->dpdk, 0);
    return LEAT_OK;
}

void packet_port_close_dpdk(struct packet_port *port)
{
    port->driver->leave();
    port->driver->close(port->dpdk);
}

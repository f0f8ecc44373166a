/* Parses the "dpdk" object of the configuration: the bypass ports. */
#include "broker/config/config_ports.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/config_value.h"

enum { PPM_MAX = 1000000, DESCRIPTORS_MAX = 32768, BUFFERS_MAX = 1 << 24, VLAN_MAX = 4094 };

static const char *const PAGES_NAMES[] = { [LINK_DPDK_PAGES_AUTO] = "auto",
                                           [LINK_DPDK_PAGES_HUGE] = "huge",
                                           [LINK_DPDK_PAGES_NORMAL] = "normal",
                                           NULL };

static bool parse_ip(const char *text, uint32_t *out)
{
    struct in_addr address;
    if (inet_pton(AF_INET, text, &address) != 1)
        return false;
    *out = ntohl(address.s_addr);
    return true;
}

static bool parse_cidr(const char *text, uint32_t *ip, uint8_t *prefix_bits)
{
    char address[32], tail;
    unsigned bits;
    if (sscanf(text, "%31[0-9.]/%u%c", address, &bits, &tail) != 2 || bits < 1 || bits > 32
        || !parse_ip(address, ip))
        return false;
    *prefix_bits = (uint8_t)bits;
    return true;
}

static bool parse_mac(const char *text, uint8_t mac[6])
{
    unsigned b[6];
    char tail;
    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &tail)
        != 6)
        return false;
    for (int i = 0; i < 6; i++)
        mac[i] = (uint8_t)b[i];
    return true;
}

static void parse_address(const struct config_place *at, struct link_dpdk_options *options)
{
    static const char rule[] =
        "the IPv4 address of this port with its prefix length, such as \"10.0.0.1/24\"";
    static const char gateway_rule[] = "an IPv4 address, such as \"10.0.0.254\"";
    char text[64] = "";
    json_t *value = json_object_get(at->object, "ip");
    if (value == NULL)
        config_mistake(at, "ip", "nothing", rule);
    else if (config_text(at, "ip", rule, text, sizeof text)
             && !parse_cidr(text, &options->ip, &options->prefix_bits))
        config_wrong(at, "ip", value, rule);
    value = json_object_get(at->object, "gateway");
    if (config_text(at, "gateway", gateway_rule, text, sizeof text)
        && !parse_ip(text, &options->gateway))
        config_wrong(at, "gateway", value, gateway_rule);
}

static void parse_inject(const struct config_place *at, struct link_dpdk_inject *inject)
{
    static const char *const known[] = { "rx_loss_ppm",
                                         "tx_loss_ppm",
                                         "rx_duplicate_ppm",
                                         "rx_reorder_ppm",
                                         "rx_corrupt_ppm",
                                         "burst",
                                         "seed",
                                         NULL };
    json_t *value = json_object_get(at->object, "inject");
    if (value == NULL)
        return;
    if (!json_is_object(value)) {
        config_wrong(at, "inject", value, "an object of faults, such as {\"rx_loss_ppm\": 10000}");
        return;
    }
    struct config_place inside = *at;
    inside.object = value;
    snprintf(inside.path, sizeof inside.path, "%.40sinject.", at->path);
    config_known_keys(&inside, known);
    config_u32(&inside, "rx_loss_ppm", 0, PPM_MAX, &inject->rx_loss_ppm);
    config_u32(&inside, "tx_loss_ppm", 0, PPM_MAX, &inject->tx_loss_ppm);
    config_u32(&inside, "rx_duplicate_ppm", 0, PPM_MAX, &inject->rx_duplicate_ppm);
    config_u32(&inside, "rx_reorder_ppm", 0, PPM_MAX, &inject->rx_reorder_ppm);
    config_u32(&inside, "rx_corrupt_ppm", 0, PPM_MAX, &inject->rx_corrupt_ppm);
    config_u32(&inside, "burst", 1, 1024, &inject->burst);
    config_integer(&inside, "seed", 0, INT64_MAX, &inject->seed);
}

static void parse_neighbour(const struct config_place *at, struct link_dpdk_neighbour *out)
{
    static const char *const known[] = { "ip", "mac", NULL };
    static const char rule[] = "the IPv4 address of a neighbour, such as \"10.0.0.2\"";
    static const char mac_rule[] =
        "the MAC address of the neighbour, such as \"02:00:00:00:00:02\"";
    char text[32] = "";
    config_known_keys(at, known);
    if (!config_text(at, "ip", rule, text, sizeof text) || !parse_ip(text, &out->ip))
        config_mistake(at, "ip", text[0] != '\0' ? text : "nothing", rule);
    text[0] = '\0';
    if (!config_text(at, "mac", mac_rule, text, sizeof text) || !parse_mac(text, out->mac))
        config_mistake(at, "mac", text[0] != '\0' ? text : "nothing", mac_rule);
}

static void parse_neighbours(const struct config_place *at, struct config_port *port)
{
    json_t *list = json_object_get(at->object, "neighbours");
    if (list == NULL)
        return;
    if (!json_is_array(list) || json_array_size(list) > CONFIG_NEIGHBOURS_MAX) {
        config_wrong(at, "neighbours", list,
                     "a list of at most 16 objects with \"ip\" and \"mac\"");
        return;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct config_place inside = *at;
        inside.object = json_array_get(list, i);
        snprintf(inside.path, sizeof inside.path, "%.32sneighbours[%u].", at->path,
                 (unsigned)i % 100);
        parse_neighbour(&inside, &port->neighbours[port->options.neighbour_count++]);
    }
}

/* The device is copied unescaped into the ready line (JSON) and into EAL's arguments. */
static bool device_ok(const char *device)
{
    for (const char *c = device; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~' || *c == '"' || *c == '\\')
            return false;
    return device[0] != '\0' && device[0] != '-';
}

static void parse_port(const struct config_place *at, struct config_port *port)
{
    static const char *const known[] = { "device", "ip",          "gateway", "vlan",
                                         "mtu",    "descriptors", "buffers", "copy_only",
                                         "inject", "neighbours",  NULL };
    static const char rule[] =
        "a PCI address such as \"0000:03:00.0\", or a virtual device such as "
        "\"net_memif0,role=server,...\"";
    uint64_t vlan = 0, mtu = 0, descriptors = 0;
    config_known_keys(at, known);
    if (json_object_get(at->object, "device") == NULL)
        config_mistake(at, "device", "nothing", rule);
    else if (config_text(at, "device", rule, port->device, sizeof port->device)
             && !device_ok(port->device))
        config_mistake(at, "device", port->device, rule);
    parse_address(at, &port->options);
    config_integer(at, "vlan", 0, VLAN_MAX, &vlan);
    config_integer(at, "mtu", 576, UINT16_MAX, &mtu);
    config_integer(at, "descriptors", 64, DESCRIPTORS_MAX, &descriptors);
    config_u32(at, "buffers", 0, BUFFERS_MAX, &port->options.buffers);
    config_bool(at, "copy_only", &port->options.copy_only);
    parse_inject(at, &port->options.inject);
    parse_neighbours(at, port);
    port->options.vlan = (uint16_t)vlan;
    port->options.mtu = (uint16_t)mtu;
    port->options.descriptors = (uint16_t)descriptors;
}

static bool parse_list(struct config_ports *ports, const struct config_place *at)
{
    json_t *list = json_object_get(at->object, "ports");
    const size_t count = json_array_size(list);
    if (!json_is_array(list) || count == 0 || count > CONFIG_PORTS_MAX) {
        config_mistake(at, "ports", list == NULL ? "nothing" : "something else",
                       "a list of 1 to 16 objects with \"device\" and \"ip\"");
        return true;
    }
    ports->list = calloc(count, sizeof *ports->list);
    if (ports->list == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        struct config_place inside = *at;
        inside.object = json_array_get(list, i);
        snprintf(inside.path, sizeof inside.path, "dpdk.ports[%zu]", i);
        if (!json_is_object(inside.object)) {
            config_wrong(&inside, "", inside.object, "an object");
            continue;
        }
        strcat(inside.path, ".");
        parse_port(&inside, &ports->list[ports->count++]);
    }
    return true;
}

static bool is_pci(const char *device)
{
    return strncmp(device, "net_", 4) != 0 && strncmp(device, "eth_", 4) != 0
           && strchr(device, ':') != NULL;
}

bool config_ports_parse(struct config_ports *ports, const struct config_place *at)
{
    static const char *const known[] = { "memory_mb", "pages", "physical_addresses", "ports",
                                         NULL };
    json_t *value = json_object_get(at->object, "dpdk");
    unsigned pages = LINK_DPDK_PAGES_AUTO;
    if (value == NULL)
        return true;
    if (!json_is_object(value)) {
        config_wrong(at, "dpdk", value, "an object with \"ports\"");
        return true;
    }
    struct config_place inside = *at;
    inside.object = value;
    snprintf(inside.path, sizeof inside.path, "dpdk.");
    config_known_keys(&inside, known);
    config_u32(&inside, "memory_mb", 0, 1 << 20, &ports->eal.memory_mb);
    config_choice(&inside, "pages", PAGES_NAMES, &pages);
    config_bool(&inside, "physical_addresses", &ports->eal.iova_pa);
    ports->eal.pages = (int32_t)pages;
    if (!parse_list(ports, &inside))
        return false;
    for (uint32_t i = 0; i < ports->count; i++)
        ports->eal.pci |= is_pci(ports->list[i].device);
    return true;
}

void config_ports_free(struct config_ports *ports)
{
    free(ports->list);
    ports->list = NULL;
    ports->count = 0;
}

bool config_port_is_private(const struct config_port *port)
{
    static const char *const kinds[] = { "net_memif", "net_vhost", "eth_vhost" };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strncmp(port->device, kinds[i], strlen(kinds[i])) == 0)
            return true;
    return false;
}

void config_port_ip_text(uint32_t ip, char text[16])
{
    const struct in_addr address = { .s_addr = htonl(ip) };
    inet_ntop(AF_INET, &address, text, 16);
}

/* Goal: the "dpdk" object of a configuration is taken as it is written, or refused with every
 * mistake at its place; a port that others can reach needs the operator's word. Method: tables of
 * texts against config_parse, which is pure and knows no device. */
#include <criterion/criterion.h>
#include <string.h>

#include "broker/config/config.h"

static struct config_errors errors;

static enum leat_error parse(struct config *config, const char *text)
{
    config_init(config, false);
    return config_parse(config, text, strlen(text), "leatd.json", &errors);
}

Test(config_ports, every_key_arrives)
{
    struct config config;
    cr_assert_eq(
        parse(&config,
              "{\"udp\": false, \"allow_unauthenticated\": true, \"dpdk\": {\"memory_mb\": 128,"
              " \"pages\": \"normal\", \"physical_addresses\": true, \"ports\": ["
              "{\"device\": \"net_memif0,role=server,id=0\", \"ip\": \"10.1.2.3/24\","
              " \"gateway\": \"10.1.2.254\", \"vlan\": 7, \"mtu\": 9000, \"descriptors\": 512,"
              " \"buffers\": 4095, \"copy_only\": true,"
              " \"neighbours\": [{\"ip\": \"10.1.2.9\", \"mac\": \"02:00:00:00:00:0a\"}],"
              " \"inject\": {\"rx_loss_ppm\": 10000, \"burst\": 3, \"seed\": 5}},"
              "{\"device\": \"0000:03:00.0\", \"ip\": \"10.1.3.1/16\"}]}}"),
        LEAT_OK, "%s", errors.text);
    cr_assert_not(config.udp);
    cr_assert_eq(config.ports.eal.memory_mb, 128u);
    cr_assert_eq(config.ports.eal.pages, LINK_DPDK_PAGES_NORMAL);
    cr_assert(config.ports.eal.iova_pa);
    cr_assert(config.ports.eal.pci, "the second device is on the PCI bus");
    cr_assert_eq(config.ports.count, 2u);
    const struct config_port *port = &config.ports.list[0];
    cr_assert_str_eq(port->device, "net_memif0,role=server,id=0");
    cr_assert_eq(port->options.ip, 0x0A010203u);
    cr_assert_eq(port->options.prefix_bits, 24);
    cr_assert_eq(port->options.gateway, 0x0A0102FEu);
    cr_assert_eq(port->options.vlan, 7);
    cr_assert_eq(port->options.mtu, 9000);
    cr_assert_eq(port->options.descriptors, 512);
    cr_assert_eq(port->options.buffers, 4095u);
    cr_assert(port->options.copy_only);
    cr_assert_eq(port->options.neighbour_count, 1u);
    cr_assert_eq(port->neighbours[0].ip, 0x0A010209u);
    cr_assert_eq(port->neighbours[0].mac[5], 10);
    cr_assert_eq(port->options.inject.rx_loss_ppm, 10000u);
    cr_assert_eq(port->options.inject.burst, 3u);
    cr_assert_eq(port->options.inject.seed, 5u);
    config_free(&config);
}

Test(config_ports, mistakes_name_place_value_and_expectation)
{
    static const struct {
        const char *text, *says[3];
    } cases[] = {
        { "{\"dpdk\": 1}", { "leatd.json: dpdk", "ports" } },
        { "{\"dpdk\": {}}", { "dpdk.ports", "nothing", "1 to 16" } },
        { "{\"dpdk\": {\"ports\": []}}", { "dpdk.ports", "1 to 16" } },
        { "{\"dpdk\": {\"ports\": [3]}}", { "dpdk.ports[0]", "3", "an object" } },
        { "{\"dpdk\": {\"prots\": []}}", { "dpdk.prots", "unknown key", "\"ports\"" } },
        { "{\"dpdk\": {\"ports\": [{}]}}",
          { "dpdk.ports[0].device", "nothing", "dpdk.ports[0].ip" } },
        { "{\"dpdk\": {\"ports\": [{\"device\": \"net_memif0\", \"ip\": \"10.0.0.1\"}]}}",
          { "dpdk.ports[0].ip", "10.0.0.1", "/24" } },
        { "{\"dpdk\": {\"ports\": [{\"device\": \"net_memif0\", \"ip\": \"10.0.0.1/33\"}]}}",
          { "dpdk.ports[0].ip", "10.0.0.1/33", "/24" } },
        { "{\"dpdk\": {\"ports\": [{\"device\": \"-c 1\", \"ip\": \"10.0.0.1/24\"}]}}",
          { "dpdk.ports[0].device", "-c 1", "PCI" } },
        { "{\"dpdk\": {\"ports\": [{\"device\": \"net_memif0\", \"ip\": \"10.0.0.1/24\","
          " \"vlan\": 5000}]}}",
          { "dpdk.ports[0].vlan", "5000", "4094" } },
        { "{\"dpdk\": {\"ports\": [{\"device\": \"net_memif0\", \"ip\": \"10.0.0.1/24\","
          " \"inject\": {\"loss\": 1}}]}}",
          { "dpdk.ports[0].inject.loss", "unknown key", "rx_loss_ppm" } },
        { "{\"dpdk\": {\"ports\": [{\"device\": \"net_memif0\", \"ip\": \"10.0.0.1/24\","
          " \"neighbours\": [{\"ip\": \"10.0.0.2\", \"mac\": \"02:00\"}]}]}}",
          { "dpdk.ports[0].neighbours[0].mac", "02:00", "02:00:00:00:00:02" } },
        { "{\"dpdk\": {\"ports\": [{\"device\": \"net_af_packet0,iface=eth0\","
          " \"ip\": \"10.0.0.1/24\"}]}}",
          { "dpdk.ports[0].device", "net_af_packet0", "allow_unauthenticated" } },
        { "{\"udp\": 1}", { "udp", "1", "true or false" } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config config;
        cr_assert_eq(parse(&config, cases[i].text), LEAT_ERR_INVALID, "%s", cases[i].text);
        for (int k = 0; k < 3 && cases[i].says[k] != NULL; k++)
            cr_assert(strstr(errors.text, cases[i].says[k]) != NULL, "%s: no \"%s\" in: %s",
                      cases[i].text, cases[i].says[k], errors.text);
        config_free(&config);
    }
}

/* Ports: the broker's bypass ports, opened through the DPDK driver. */
#include "broker/ports.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ops/log.h"
#include "schema/session_id.h"

enum { HUGEPAGE_BYTES = 2 << 20 };

/* Global, because the log memory hooks are called without a context. */
static const struct link_dpdk_driver *memory_driver;

static struct link_dpdk_options options_of(const struct config *config, uint32_t index)
{
    const struct config_port *port = &config->ports.list[index];
    struct link_dpdk_options options = port->options;
    options.device = port->device;
    options.neighbours = port->neighbours;
    options.lanes = config->shards;
    options.port = config->data_port != 0 ? config->data_port : CONFIG_DATA_PORT_DEFAULT;
    options.lane_shift = LEAT_SESSION_SHARD_SHIFT;
    return options;
}

/* Sets memory_mb to the sum of what all ports need, unless it is configured. */
static void fit_memory(const struct ports *ports, const struct config *config,
                       struct link_dpdk_eal *eal)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < config->ports.count; i++) {
        const struct link_dpdk_options options = options_of(config, i);
        struct link_dpdk_plan plan;
        ports->driver->plan(&options, &plan);
        bytes += plan.memory_bytes;
    }
    if (eal->memory_mb == 0)
        eal->memory_mb = (uint32_t)(bytes / LEAT_MIB) + 1;
}

bool ports_open(struct ports *ports, const struct config *config,
                char error_text[LINK_DPDK_ERROR_TEXT])
{
    memset(ports, 0, sizeof *ports);
    if (config->ports.count == 0)
        return true;
    ports->driver = link_dpdk_load(error_text);
    if (ports->driver == NULL)
        return false;
    struct link_dpdk_eal eal = config->ports.eal;
    fit_memory(ports, config, &eal);
    if (ports->driver->start(&eal, error_text) != LEAT_OK)
        return false;
    for (uint32_t i = 0; i < config->ports.count; i++) {
        const struct link_dpdk_options options = options_of(config, i);
        if (ports->driver->open(&ports->open[i], &options, error_text) != LEAT_OK)
            return false;
        ports->count++;
        for (uint32_t shard = 0; shard < config->shards; shard++)
            ports->lanes[shard][i] = ports->driver->lane(ports->open[i], shard);
        log_line(LOG_INFO, "port.open", log_text("device", options.device),
                 log_u64("lanes", options.lanes),
                 log_u64("payload_max", ports->lanes[0][i]->limits.payload_max),
                 log_u64("reference_min", ports->lanes[0][i]->limits.reference_min));
    }
    return true;
}

bool ports_plan(const struct config *config, struct link_dpdk_plan plans[CONFIG_PORTS_MAX])
{
    char ignored[LINK_DPDK_ERROR_TEXT];
    const struct link_dpdk_driver *driver =
        config->ports.count != 0 ? link_dpdk_load(ignored) : NULL;
    for (uint32_t i = 0; driver != NULL && i < config->ports.count; i++) {
        const struct link_dpdk_options options = options_of(config, i);
        driver->plan(&options, &plans[i]);
    }
    return driver != NULL;
}

void ports_close(struct ports *ports)
{
    memory_driver = NULL;
    while (ports->count != 0)
        ports->driver->close(ports->open[--ports->count]);
}

void ports_address(const struct ports *ports, const struct config *config, uint32_t index,
                   uint32_t shard, char text[LINK_TCP_ADDRESS_TEXT])
{
    char ip[16];
    config_port_ip_text(config->ports.list[index].options.ip, ip);
    snprintf(text, LINK_TCP_ADDRESS_TEXT, "%s:%u", ip,
             ports->driver->udp_port(ports->open[index], shard));
}

static size_t page_bytes(const struct logmem *mem)
{
    return mem->hugepages ? (size_t)HUGEPAGE_BYTES : (size_t)sysconf(_SC_PAGESIZE);
}

static void memory_opened(const struct logmem *mem)
{
    /* If the device cannot map the memory, packets are copied instead: only slower. */
    if (memory_driver != NULL
        && memory_driver->register_memory(mem->base, 2 * mem->size, page_bytes(mem)) != LEAT_OK)
        log_line(LOG_WARN, "port.memory_not_registered", log_u64("bytes", mem->size));
}

static void memory_closing(const struct logmem *mem)
{
    if (memory_driver != NULL)
        memory_driver->forget_memory(mem->base, 2 * mem->size);
}

void ports_watch_memory(const struct ports *ports, struct control_options *options)
{
    memory_driver = ports->driver;
    options->memory_opened = memory_opened;
    options->memory_closing = memory_closing;
}

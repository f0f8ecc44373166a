/* DPDK memory: registers our log memory, which is sent by reference.
 *
 * Role: registers it with EAL, and maps it for devices that use DMA.
 * Must not know: what is in it.
 * Threads: control's, one call at a time.
 *
 * The zero-copy memif client of DPDK 22.11 shares all memory known to EAL with its peer, and fails
 * if some of it is not EAL's own. So such a client and registered memory exclude each other. */
#include <errno.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_memory.h>

#include "transport/link_dpdk_port.h"

enum { REGIONS_MAX = 4096, PORTS_MAX = 32 };

struct region {
    void *base; /* NULL: free */
    size_t size;
};

static struct {
    struct region regions[REGIONS_MAX];
    uint32_t region_count;     /* entries in use, free ones between them included */
    uint16_t ports[PORTS_MAX]; /* ports that use DMA */
    uint32_t port_count;
    uint32_t zero_copy_memifs;
} memory;

static struct rte_device *device_of(uint16_t port)
{
    struct rte_eth_dev_info info;
    return rte_eth_dev_info_get(port, &info) == 0 ? info.device : NULL;
}

/* Devices behind an IOMMU need a mapping; the others return ENOTSUP. */
static bool map(uint16_t port, const struct region *region)
{
    struct rte_device *device = device_of(port);
    return device != NULL
           && (rte_dev_dma_map(device, region->base, (uint64_t)(uintptr_t)region->base,
                               region->size)
                   == 0
               || rte_errno == ENOTSUP);
}

static void unmap(uint16_t port, const struct region *region)
{
    struct rte_device *device = device_of(port);
    if (device != NULL)
        rte_dev_dma_unmap(device, region->base, (uint64_t)(uintptr_t)region->base, region->size);
}

static struct region *find(const void *base)
{
    for (uint32_t i = 0; i < memory.region_count; i++)
        if (memory.regions[i].base == base)
            return &memory.regions[i];
    return NULL;
}

/* The physical address of each page; NULL: no memory. The caller frees the array. */
static rte_iova_t *addresses(void *base, size_t size, size_t page_size)
{
    const size_t count = size / page_size;
    rte_iova_t *out = calloc(count, sizeof *out);
    for (size_t i = 0; out != NULL && i < count; i++)
        out[i] = rte_mem_virt2iova((uint8_t *)base + i * page_size);
    return out;
}

enum leat_error link_dpdk_register(void *base, size_t size, size_t page_size)
{
    if (size == 0 || page_size == 0 || (page_size & (page_size - 1)) != 0 || size % page_size != 0
        || (uintptr_t)base % page_size != 0 || find(base) != NULL)
        return LEAT_ERR_INVALID;
    if (memory.zero_copy_memifs != 0)
        return LEAT_ERR_UNSUPPORTED;
    struct region *place = find(NULL);
    if (place == NULL) {
        if (memory.region_count == REGIONS_MAX)
            return LEAT_ERR_NO_MEMORY;
        place = &memory.regions[memory.region_count++];
    }
    const size_t pages = size / page_size;
    rte_iova_t *physical =
        rte_eal_iova_mode() == RTE_IOVA_PA ? addresses(base, size, page_size) : NULL;
    const int failed = pages > UINT32_MAX
                           ? -1
                           : rte_extmem_register(base, size, physical, (unsigned)pages, page_size);
    free(physical);
    if (failed != 0)
        return rte_errno == ENOMEM || rte_errno == ENOSPC ? LEAT_ERR_NO_MEMORY : LEAT_ERR_IO;
    *place = (struct region){ .base = base, .size = size };
    for (uint32_t i = 0; i < memory.port_count; i++) {
        if (!map(memory.ports[i], place)) {
            link_dpdk_forget(base, size);
            return LEAT_ERR_IO;
        }
    }
    return LEAT_OK;
}

void link_dpdk_forget(void *base, size_t size)
{
    struct region *region = base != NULL ? find(base) : NULL;
    if (region == NULL)
        return;
    for (uint32_t i = 0; i < memory.port_count; i++)
        unmap(memory.ports[i], region);
    rte_extmem_unregister(base, size);
    region->base = NULL;
}

static bool has_regions(void)
{
    for (uint32_t i = 0; i < memory.region_count; i++)
        if (memory.regions[i].base != NULL)
            return true;
    return false;
}

bool link_dpdk_memory_opened(const struct link_dpdk_port *port)
{
    if (port->device.memif_zero_copy) {
        if (has_regions())
            return false;
        memory.zero_copy_memifs++;
        return true;
    }
    if (!port->device.kind.dma || port->external)
        return true;
    if (memory.port_count == PORTS_MAX)
        return false;
    for (uint32_t i = 0; i < memory.region_count; i++)
        if (memory.regions[i].base != NULL && !map(port->id, &memory.regions[i]))
            return false;
    memory.ports[memory.port_count++] = port->id;
    return true;
}

void link_dpdk_memory_closed(const struct link_dpdk_port *port)
{
    if (port->device.memif_zero_copy) {
        memory.zero_copy_memifs--;
        return;
    }
    for (uint32_t i = 0; i < memory.port_count; i++) {
        if (memory.ports[i] != port->id)
            continue;
        for (uint32_t r = 0; r < memory.region_count; r++)
            if (memory.regions[r].base != NULL)
                unmap(port->id, &memory.regions[r]);
        memory.ports[i] = memory.ports[--memory.port_count];
        return;
    }
}

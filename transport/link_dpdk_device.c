/* DPDK devices: properties of each kind of device, and checks of options before EAL uses them.
 *
 * Role: turns options into a device string, sizes and a kind, or into an error that says what was
 * expected.
 * Must not know: open ports.
 * Threads: any; no state. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/link_dpdk_port.h"

enum {
    APPENDED_BYTES = 64 + LINK_DPDK_SOCKET_BYTES, /* at most, to a device string */
    MTU_MIN = 576,
    MTU_MAX = 65000,
    FRAME_OVERHEAD = ETHER_BYTES + ETHER_VLAN_BYTES,
    VIRTIO_HEADER_BYTES = 12, /* lies before each frame in the same buffer */
    DATA_BYTES_MIN = 2048,
    MEMIF_BUFFER_BYTES = 2048, /* the driver's default */
    AF_PACKET_FRAME_BYTES = 2048,
    AF_PACKET_FRAME_HEADER = 32, /* of it, before the data */
    DESCRIPTORS_DEFAULT = 1024,
    DESCRIPTORS_MIN = 64,
    DESCRIPTORS_MAX = 8192,
    BUFFERS_MIN = 511,
    BUFFERS_MAX = (1 << 22) - 1,
    OBJECT_HEADER_BYTES = 64,
    SLACK_BYTES = 4 << 20, /* queues, rings, the driver's own */
};

#define MEMIF_SOCKET "/run/memif.sock" /* the driver's default */

/* 22.11: a memif or vhost backend copies from chained buffers into its peer's memory. The zero-copy
 * memif client and virtio-user hand out addresses of their own memory only; af_xdp takes the first
 * segment for the whole packet. memif, af_packet and af_xdp have no receive interrupts. */
static const struct link_dpdk_kind kinds[] = {
    { .prefix = "net_memif", .references = true, .alone = true, .intact = true, .copies = true },
    { .prefix = "net_vhost",
      .references = true,
      .alone = true,
      .interrupts = true,
      .intact = true,
      .copies = true },
    { .prefix = "net_virtio_user",
      .shares = true,
      .configure_mtu = true,
      .alone = true,
      .interrupts = true,
      .intact = true },
    { .prefix = "net_af_packet",
      .references = true,
      .partial_checksums = true,
      .queues = true,
      .interface = true,
      .copies = true },
    { .prefix = "net_af_xdp",
      .partial_checksums = true,
      .queues = true,
      .interface = true,
      .lingers = true },
    { .prefix = "net_tap", .partial_checksums = true, .interface = true },
    { .prefix = "net_" },
};
static const struct link_dpdk_kind pci = { .prefix = "",
                                           .references = true,
                                           .configure_mtu = true,
                                           .queues = true,
                                           .dma = true,
                                           .interrupts = true };

__attribute__((format(printf, 2, 3))) static enum leat_error refuse(
    char error_text[LINK_DPDK_ERROR_TEXT], const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(error_text, LINK_DPDK_ERROR_TEXT, format, list);
    va_end(list);
    return LEAT_ERR_INVALID;
}

static bool is_pci_address(const char *name)
{
    unsigned domain, bus, slot, function;
    int end = 0;
    return sscanf(name, "%4x:%2x:%2x.%1u%n", &domain, &bus, &slot, &function, &end) == 4
           && name[end] == '\0';
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* The value of `key` ("role=") in the arguments, up to the next comma; NULL: not given. */
static const char *find_argument(const char *arguments, const char *key)
{
    for (const char *at = strchr(arguments, ','); at != NULL; at = strchr(at, ',')) {
        at++;
        if (starts_with(at, key))
            return at + strlen(key);
    }
    return NULL;
}

static unsigned long number_argument(const char *arguments, const char *key, unsigned long absent)
{
    const char *value = find_argument(arguments, key);
    return value != NULL ? strtoul(value, NULL, 10) : absent;
}

static void append(struct link_dpdk_device *d, const char *key, unsigned long value)
{
    const size_t n = strlen(d->arguments);
    snprintf(d->arguments + n, sizeof d->arguments - n, ",%s%lu", key, value);
}

static enum leat_error split(struct link_dpdk_device *out, const char *device,
                             char error_text[LINK_DPDK_ERROR_TEXT])
{
    if (device == NULL || device[0] == '\0')
        return refuse(error_text,
                      "device: none given; expected a device such as "
                      "\"net_memif0,role=client,socket=/run/leat.sock\" or a PCI address");
    const size_t size = strlen(device), name_size = strcspn(device, ",");
    if (size + APPENDED_BYTES > sizeof out->arguments || name_size >= sizeof out->name)
        return refuse(error_text,
                      "device \"%.64s...\": longer than %zu bytes, or its name than %zu", device,
                      sizeof out->arguments - APPENDED_BYTES, sizeof out->name - 1);
    for (const char *c = device; *c != '\0'; c++)
        if (!isgraph((unsigned char)*c))
            return refuse(error_text,
                          "device \"%.64s\": has a space or control character at byte %td", device,
                          c - device);
    memcpy(out->arguments, device, size + 1);
    memcpy(out->name, device, name_size);
    out->name[name_size] = '\0';
    if (is_pci_address(out->name)) {
        out->kind = pci;
        return LEAT_OK;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (starts_with(out->name, kinds[i].prefix)) {
            out->kind = kinds[i];
            return LEAT_OK;
        }
    }
    return refuse(
        error_text,
        "device \"%s\": expected a virtual device (\"net_memif0,...\", \"net_vhost0,...\", "
        "\"net_virtio_user0,...\", \"net_af_packet0,...\", \"net_af_xdp0,...\") or a PCI "
        "address (\"0000:03:00.0\")",
        out->name);
}

static void remove_argument(struct link_dpdk_device *d, const char *key)
{
    const char *value = find_argument(d->arguments, key);
    if (value == NULL)
        return;
    char *start = d->arguments + (value - d->arguments) - strlen(key) - 1; /* its comma, too */
    const char *end = value + strcspn(value, ",");
    memmove(start, end, strlen(end) + 1);
}

void link_dpdk_set_argument(struct link_dpdk_device *d, const char *key, const char *value)
{
    remove_argument(d, key);
    const size_t n = strlen(d->arguments);
    snprintf(d->arguments + n, sizeof d->arguments - n, ",%s%s", key, value);
}

/* `value` is an argument's: it ends at a comma. */
static void set_socket_file(struct link_dpdk_device *d, const char *key, const char *value,
                            bool serves)
{
    d->socket_key = key;
    d->serves = serves;
    snprintf(d->socket_file, sizeof d->socket_file, "%.*s", (int)strcspn(value, ","), value);
}

/* The driver's default is an abstract socket, which any user of the machine reaches. Ours is a
 * file. */
static void complete_memif(struct link_dpdk_device *d)
{
    const char *role = find_argument(d->arguments, "role=");
    const char *zero_copy = find_argument(d->arguments, "zero-copy=");
    const char *abstract = find_argument(d->arguments, "socket-abstract=");
    d->memif_abstract = abstract != NULL && starts_with(abstract, "yes");
    d->memif_id = (uint32_t)number_argument(d->arguments, "id=", 0);
    d->memif_client = role == NULL || starts_with(role, "client") || starts_with(role, "slave");
    const char *socket = find_argument(d->arguments, "socket=");
    if (socket == NULL)
        socket = MEMIF_SOCKET;
    snprintf(d->memif_socket, sizeof d->memif_socket, "%.*s", (int)strcspn(socket, ","), socket);
    if (!d->memif_abstract)
        set_socket_file(d, "socket=", socket, !d->memif_client);
    d->memif_zero_copy = d->memif_client && zero_copy != NULL && starts_with(zero_copy, "yes");
    if (d->memif_client) {
        link_dpdk_set_argument(d, "socket=", d->memif_socket);
        link_dpdk_set_argument(d, "socket-abstract=", d->memif_abstract ? "yes" : "no");
    } else { /* link_dpdk_open.c sets the proxy's private socket */
        remove_argument(d, "socket=");
        remove_argument(d, "socket-abstract=");
    }
    d->kind.references = !d->memif_zero_copy;
    d->kind.shares = d->memif_client;
    if (d->data_bytes > MEMIF_BUFFER_BYTES && find_argument(d->arguments, "bsize=") == NULL)
        append(d, "bsize=", d->data_bytes);
    /* The driver's fast paths need buffers as large as those of its rings. */
    const unsigned long ring_bytes = number_argument(d->arguments, "bsize=", MEMIF_BUFFER_BYTES);
    if (ring_bytes > d->data_bytes && ring_bytes <= UINT16_MAX - RTE_PKTMBUF_HEADROOM)
        d->data_bytes = (uint32_t)ring_bytes;
}

static void complete_vhost(struct link_dpdk_device *d)
{
    const char *path = find_argument(d->arguments, "iface=");
    const char *client = find_argument(d->arguments, "client=");
    if (path != NULL)
        set_socket_file(d, "iface=", path, client == NULL || !starts_with(client, "1"));
}

static void complete_virtio_user(struct link_dpdk_device *d)
{
    const char *path = find_argument(d->arguments, "path=");
    const char *server = find_argument(d->arguments, "server=");
    if (path != NULL)
        set_socket_file(d, "path=", path, server != NULL && starts_with(server, "1"));
}

static enum leat_error complete_af_packet(struct link_dpdk_device *d,
                                          char error_text[LINK_DPDK_ERROR_TEXT])
{
    const unsigned long needed = (unsigned long)d->mtu + FRAME_OVERHEAD + AF_PACKET_FRAME_HEADER;
    if (needed > AF_PACKET_FRAME_BYTES && find_argument(d->arguments, "framesz=") == NULL) {
        unsigned long frame = AF_PACKET_FRAME_BYTES;
        while (frame < needed)
            frame *= 2;
        append(d, "framesz=", frame);
        if (find_argument(d->arguments, "blocksz=") == NULL)
            append(d, "blocksz=", frame > 4096 ? frame : 4096);
    }
    const unsigned long frame = number_argument(d->arguments, "framesz=", AF_PACKET_FRAME_BYTES);
    if (frame < needed || frame > UINT16_MAX)
        return refuse(error_text,
                      "device \"%s\": framesz=%lu does not fit an MTU of %u; expected %lu or more",
                      d->name, frame, d->mtu, needed);
    /* The driver refuses buffers smaller than its frames. */
    if (frame - AF_PACKET_FRAME_HEADER > d->data_bytes)
        d->data_bytes = (uint32_t)(frame - AF_PACKET_FRAME_HEADER);
    return LEAT_OK;
}

static enum leat_error check_numbers(const struct link_dpdk_options *o,
                                     char error_text[LINK_DPDK_ERROR_TEXT])
{
    if (o->ip >> 24 == 0 || o->ip >> 24 == 127 || o->ip >> 24 >= 224)
        return refuse(error_text, "ip %u.%u.%u.%u: expected a host's address", o->ip >> 24,
                      o->ip >> 16 & 255, o->ip >> 8 & 255, o->ip & 255);
    if (o->prefix_bits < 1 || o->prefix_bits > 32)
        return refuse(error_text, "prefix of %u bits: expected 1 to 32", o->prefix_bits);
    if (o->mtu != 0 && (o->mtu < MTU_MIN || o->mtu > MTU_MAX))
        return refuse(error_text, "mtu %u: expected %d to %d", o->mtu, MTU_MIN, MTU_MAX);
    if (o->lanes < 1 || o->lanes > LEAT_SHARDS_MAX || (o->external && o->lanes != 1))
        return refuse(error_text, "%u lanes: expected 1 to %d, on a port of the application 1",
                      o->lanes, LEAT_SHARDS_MAX);
    if (o->port != 0 && o->port + o->lanes - 1 > UINT16_MAX)
        return refuse(error_text, "UDP ports %u and the next %u: beyond 65535", o->port, o->lanes);
    if (o->lane_shift > 32)
        return refuse(error_text, "lane shift %u: expected at most 32", o->lane_shift);
    if (o->descriptors != 0
        && (o->descriptors < DESCRIPTORS_MIN || o->descriptors > DESCRIPTORS_MAX))
        return refuse(error_text, "%u descriptors: expected %d to %d", o->descriptors,
                      DESCRIPTORS_MIN, DESCRIPTORS_MAX);
    if (o->buffers != 0 && (o->buffers < BUFFERS_MIN || o->buffers > BUFFERS_MAX))
        return refuse(error_text, "%u buffers: expected %d to %d", o->buffers, BUFFERS_MIN,
                      BUFFERS_MAX);
    if (o->neighbour_count > LINK_DPDK_NEIGHBOURS_MAX)
        return refuse(error_text, "%u static neighbours: at most %d", o->neighbour_count,
                      LINK_DPDK_NEIGHBOURS_MAX);
    if (o->external && o->external_pool == NULL)
        return refuse(error_text, "a port of the application needs its buffer pool, too");
    return LEAT_OK;
}

enum leat_error link_dpdk_device(struct link_dpdk_device *out,
                                 const struct link_dpdk_options *options,
                                 char error_text[LINK_DPDK_ERROR_TEXT])
{
    memset(out, 0, sizeof *out);
    enum leat_error error = check_numbers(options, error_text);
    if (error != LEAT_OK)
        return error;
    out->mtu = options->mtu;
    if (options->external) {
        out->kind = pci;
        snprintf(out->name, sizeof out->name, "port %u", options->external_port);
        return LEAT_OK;
    }
    error = split(out, options->device, error_text);
    if (error != LEAT_OK)
        return error;
    const bool virtio = starts_with(out->name, "net_virtio_user");
    const uint32_t frame =
        (uint32_t)options->mtu + FRAME_OVERHEAD + (virtio ? VIRTIO_HEADER_BYTES : 0);
    out->data_bytes = frame > DATA_BYTES_MIN ? (frame + 63) & ~63u : (uint32_t)DATA_BYTES_MIN;
    if (starts_with(out->name, "net_memif"))
        complete_memif(out);
    else if (starts_with(out->name, "net_vhost"))
        complete_vhost(out);
    else if (virtio)
        complete_virtio_user(out);
    else if (starts_with(out->name, "net_af_packet"))
        error = complete_af_packet(out, error_text);
    return error;
}

uint16_t link_dpdk_descriptors(const struct link_dpdk_options *options)
{
    return options->descriptors != 0 ? options->descriptors : (uint16_t)DESCRIPTORS_DEFAULT;
}

/* The maximum that the device, all lanes and all rings between lanes hold at the same time. */
static uint32_t buffer_count(const struct link_dpdk_options *options,
                             const struct link_dpdk_device *device)
{
    const uint32_t queues = device->kind.queues ? options->lanes : 1;
    const uint32_t descriptors = link_dpdk_descriptors(options);
    const uint32_t lane =
        LINK_DPDK_CACHE * 3 / 2 + 3 * LINK_BURST + descriptors + NEIGHBOUR_WAITING_MAX;
    const uint32_t rings = (options->lanes - 1) * 2 * LINK_DPDK_HANDOVER;
    const uint32_t needed = 2 * descriptors * queues + lane * options->lanes + rings;
    uint32_t count = BUFFERS_MIN;
    if (options->buffers != 0)
        return options->buffers;
    while (count < needed && count < BUFFERS_MAX)
        count = 2 * count + 1;
    return count;
}

uint32_t link_dpdk_reference_count(const struct link_dpdk_options *options,
                                   const struct link_dpdk_device *device)
{
    if (options->copy_only || !device->kind.references)
        return 0;
    const uint32_t queues = device->kind.queues ? options->lanes : 1;
    uint32_t count = BUFFERS_MIN;
    while (count < 2u * link_dpdk_descriptors(options) * queues + LINK_DPDK_CACHE * options->lanes)
        count = 2 * count + 1;
    return count;
}

void link_dpdk_plan(const struct link_dpdk_options *options, struct link_dpdk_plan *out)
{
    struct link_dpdk_device device;
    char ignored[LINK_DPDK_ERROR_TEXT];
    memset(out, 0, sizeof *out);
    if (options->external || link_dpdk_device(&device, options, ignored) != LEAT_OK)
        return;
    out->buffers = buffer_count(options, &device);
    out->buffer_bytes = device.data_bytes + RTE_PKTMBUF_HEADROOM;
    const uint64_t each =
        OBJECT_HEADER_BYTES + sizeof(struct rte_mbuf) + out->buffer_bytes + sizeof(void *);
    const uint64_t each_reference = (uint64_t)OBJECT_HEADER_BYTES + LINK_DPDK_REFERENCE_BYTES
                                    + sizeof(struct rte_mbuf) + sizeof(void *);
    out->memory_bytes = out->buffers * each + SLACK_BYTES
                        + link_dpdk_reference_count(options, &device) * each_reference;
}

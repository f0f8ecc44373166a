/* DPDK memif handshake: receives all of a peer's handshake before forwarding any of it to the
 * driver.
 *
 *      peer                     here                               driver
 *      INIT, regions, rings  -> checked, acknowledged
 *      CONNECT               -> forwarded whole, with our rings -> CONNECTED
 *
 * So the driver never has a half-connected peer, whose descriptors it would leak, and it maps only
 * what was checked (link_dpdk_rings.c). The driver's own acknowledgements are dropped.
 *
 * Role: the messages of the handshake.
 * Must not know: socket names, ports.
 * Threads: the proxy's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "transport/link_dpdk_port.h"

/* Messages of memif.h, DPDK 22.11: a 16-bit type, followed by packed fields. */
enum {
    ID_AT = 4,           /* INIT: u16 version, u32 id */
    REGION_INDEX_AT = 2, /* ADD_REGION: u16 index, u64 size */
    REGION_SIZE_AT = 4,
    RING_FLAGS_AT = 2, /* ADD_RING: u16 flags, u16 index, u16 region, u32 offset, u8 log2 */
    RING_INDEX_AT = 4,
    RING_REGION_AT = 6,
    RING_OFFSET_AT = 8,
    RING_LOG2_AT = 12,
    RING_IN = 1, /* flag: from the peer to us */
};

enum stage { STAGE_INIT, STAGE_SHARING, STAGE_WHOLE };

struct link_dpdk_handshake {
    enum stage stage;
    bool has_rings;
    uint8_t init[LINK_DPDK_MEMIF_BYTES], connect[LINK_DPDK_MEMIF_BYTES];
    struct link_dpdk_rings *rings;
};

static uint16_t load16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint32_t load32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

struct link_dpdk_handshake *link_dpdk_handshake_new(int wake)
{
    struct link_dpdk_handshake *h = calloc(1, sizeof *h);
    if (h != NULL && (h->rings = link_dpdk_rings_new(wake)) == NULL) {
        free(h);
        h = NULL;
    }
    return h;
}

void link_dpdk_handshake_free(struct link_dpdk_handshake *h)
{
    if (h != NULL && h->rings != NULL)
        link_dpdk_rings_free(h->rings);
    free(h);
}

struct link_dpdk_rings *link_dpdk_handshake_take_rings(struct link_dpdk_handshake *h)
{
    struct link_dpdk_rings *rings = h->rings;
    h->rings = NULL;
    return rings;
}

uint32_t link_dpdk_handshake_id(const struct link_dpdk_handshake *h)
{
    return load32(h->init + ID_AT);
}

static const char *hear_region(struct link_dpdk_handshake *h, const uint8_t *m, int fd)
{
    uint64_t size;
    memcpy(&size, m + REGION_SIZE_AT, sizeof size);
    if (fd < 0 || h->has_rings)
        return "expected regions before rings, each with its file descriptor";
    return link_dpdk_rings_add_region(h->rings, load16(m + REGION_INDEX_AT), size, fd);
}

static const char *hear_ring(struct link_dpdk_handshake *h, const uint8_t *m, int fd)
{
    if (fd < 0 || load16(m + RING_INDEX_AT) != 0)
        return "expected one ring per direction, each with its eventfd";
    h->has_rings = true;
    return link_dpdk_rings_add_ring(h->rings, (load16(m + RING_FLAGS_AT) & RING_IN) != 0,
                                    load16(m + RING_REGION_AT), load32(m + RING_OFFSET_AT),
                                    m[RING_LOG2_AT]);
}

const char *link_dpdk_handshake_hear(struct link_dpdk_handshake *h,
                                     const uint8_t m[LINK_DPDK_MEMIF_BYTES], int fd)
{
    const uint16_t type = load16(m);
    if (h->stage == STAGE_INIT && type == LINK_DPDK_MEMIF_INIT && fd < 0) {
        memcpy(h->init, m, sizeof h->init);
        h->stage = STAGE_SHARING;
        return NULL;
    }
    if (h->stage == STAGE_SHARING && type == LINK_DPDK_MEMIF_ADD_REGION)
        return hear_region(h, m, fd);
    if (h->stage == STAGE_SHARING && type == LINK_DPDK_MEMIF_ADD_RING)
        return hear_ring(h, m, fd);
    if (h->stage == STAGE_SHARING && type == LINK_DPDK_MEMIF_CONNECT && fd < 0) {
        memcpy(h->connect, m, sizeof h->connect);
        h->stage = STAGE_WHOLE;
        return NULL;
    }
    return "unexpected message in the handshake";
}

bool link_dpdk_handshake_is_whole(const struct link_dpdk_handshake *h)
{
    return h->stage == STAGE_WHOLE;
}

static bool tell_region(int to, uint16_t index, uint64_t size, int fd)
{
    uint8_t m[LINK_DPDK_MEMIF_BYTES] = { LINK_DPDK_MEMIF_ADD_REGION };
    memcpy(m + REGION_INDEX_AT, &index, sizeof index);
    memcpy(m + REGION_SIZE_AT, &size, sizeof size);
    return link_dpdk_message_tell(to, m, fd);
}

/* The protocol requires an eventfd, but nobody waits for it: both ends poll. */
static bool tell_ring(int to, bool in, uint16_t region, uint16_t size)
{
    uint8_t m[LINK_DPDK_MEMIF_BYTES] = { LINK_DPDK_MEMIF_ADD_RING };
    const uint16_t flags = in ? RING_IN : 0;
    const uint32_t offset = link_dpdk_rings_own_offset(in);
    const int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    memcpy(m + RING_FLAGS_AT, &flags, sizeof flags);
    memcpy(m + RING_REGION_AT, &region, sizeof region);
    memcpy(m + RING_OFFSET_AT, &offset, sizeof offset);
    while (1u << m[RING_LOG2_AT] < size)
        m[RING_LOG2_AT]++;
    const bool told = event >= 0 && link_dpdk_message_tell(to, m, event);
    if (event >= 0)
        close(event);
    return told;
}

const char *link_dpdk_handshake_tell(struct link_dpdk_handshake *h, int to, uint32_t packet_bytes)
{
    struct link_dpdk_shared shared;
    const char *why = link_dpdk_rings_begin(h->rings, packet_bytes);
    if (why != NULL)
        return why;
    link_dpdk_rings_describe(h->rings, &shared);
    bool told = link_dpdk_message_tell(to, h->init, -1);
    for (uint32_t i = 0; told && i <= shared.region_count; i++)
        told = tell_region(to, (uint16_t)i, shared.regions[i].size, shared.regions[i].fd);
    const uint16_t own = (uint16_t)shared.region_count;
    told = told && tell_ring(to, true, own, shared.in_size)
           && tell_ring(to, false, own, shared.out_size)
           && link_dpdk_message_tell(to, h->connect, -1);
    return told ? NULL : "cannot forward the handshake to the driver";
}

/* MTU: how large packets to one peer may be. */
#include "transport/mtu.h"

#include <string.h>

#include "schema/frame.h"

enum { LOOPBACK_NET = 127 };
#define PROBE_TAG (UINT64_C(0x4D545500) << 32) /* "MTU": no other PING's value begins with it */

static uint32_t lesser(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* The UDP payload in bytes that a path to `peer` most likely carries. */
static uint32_t usual(const struct link_peer *peer)
{
    static const uint8_t mapped[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF };
    static const uint8_t loopback[16] = { [15] = 1 };
    const uint8_t *address = peer->key.address;
    if (memcmp(address, mapped, sizeof mapped) == 0)
        return address[sizeof mapped] == LOOPBACK_NET ? MTU_LOOPBACK_BYTES : MTU_ETHERNET_BYTES;
    return memcmp(address, loopback, sizeof loopback) == 0 ? MTU_LOOPBACK_BYTES
                                                           : MTU_ETHERNET_V6_BYTES;
}

uint32_t mtu_wanted(const struct link_limits *limits, const struct link_peer *peer, uint32_t asked)
{
    const uint32_t most = lesser(limits->payload_max, LEAT_PACKET_BYTES_MAX);
    if (asked != 0)
        return lesser(asked, most);
    return limits->bypass ? most : lesser(most, usual(peer));
}

void mtu_init(struct mtu *mtu, uint32_t wanted, leat_ns now)
{
    *mtu = (struct mtu){ .bytes = lesser(wanted, LEAT_PACKET_BYTES_BASE),
                         .wanted = wanted,
                         .due_at = wanted > LEAT_PACKET_BYTES_BASE ? now : LEAT_NS_NEVER };
}

uint32_t mtu_probe(const struct mtu *mtu, leat_ns now)
{
    return mtu->due_at <= now ? mtu->wanted : 0;
}

static uint64_t ping_value(const struct mtu *mtu)
{
    return PROBE_TAG | mtu->wanted;
}

void mtu_write(const struct mtu *mtu, uint8_t *at, uint32_t size)
{
    at += leat_frame_write_ping(at, LEAT_FRAME_PING, ping_value(mtu));
    leat_frame_write_pad(at, size - LEAT_PING_BYTES);
}

void mtu_sent(struct mtu *mtu, leat_ns now)
{
    mtu->probes++;
    mtu->due_at = now + (mtu->probes < MTU_PROBES_MAX ? MTU_PATIENCE_NS : MTU_AGAIN_NS);
}

bool mtu_pong(struct mtu *mtu, uint64_t value)
{
    if (mtu->probes == 0 || value != ping_value(mtu) || mtu->bytes == mtu->wanted)
        return false;
    mtu->bytes = mtu->wanted;
    mtu->due_at = LEAT_NS_NEVER;
    return true;
}

bool mtu_doubt(struct mtu *mtu, uint32_t probe_count, uint32_t large_lost, leat_ns now)
{
    if ((probe_count < MTU_DOUBT_PROBES && large_lost < MTU_DOUBT_LOSSES)
        || mtu->bytes <= LEAT_PACKET_BYTES_BASE)
        return false;
    mtu->bytes = LEAT_PACKET_BYTES_BASE;
    mtu->probes = 0;
    mtu->due_at = now + MTU_PATIENCE_NS;
    return true;
}

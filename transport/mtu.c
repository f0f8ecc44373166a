#include "transport/mtu.h"

#include "schema/frame.h"

#define PROBE_TAG (UINT64_C(0x4D545500) << 32) /* no other PING has it */

static uint32_t lesser(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

uint32_t mtu_wanted(const struct link_limits *limits, bool loopback, uint32_t asked)
{
    if (asked != 0)
        return lesser(asked, limits->payload_max);
    if (limits->bypass)
        return limits->payload_max;
    return lesser(limits->payload_max, loopback ? MTU_LOOPBACK_BYTES : MTU_ETHERNET_BYTES);
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

/* MTU: packetization-layer path MTU discovery for one peer (in the manner of RFC 8899). A path
 * starts at the size that any path carries; one acknowledged probe of the wanted size confirms
 * that.
 *
 * Role: pure. Decides when to send a probe and of what size, and processes the answer:
 *      mtu_probe > 0 -> a packet of that many bytes: mtu_write, mtu_sent -> PONG -> mtu_pong
 * A path may carry less later: mtu_doubt detects this, and then it is probed like a new path.
 * Must not know: links, sessions, clocks.
 * Threads: the owner's. */
#ifndef LEAT_TRANSPORT_MTU_H
#define LEAT_TRANSPORT_MTU_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/packet.h"
#include "schema/units.h"
#include "transport/link.h"

enum {
    MTU_PROBES_MAX = 3,
    MTU_DOUBT_PROBES = 3,         /* flow probe timers in a row without an answer, or */
    MTU_DOUBT_LOSSES = 3,         /* times in a row that all large packets were lost */
    MTU_ETHERNET_BYTES = 1472,    /* UDP payload of a 1,500-byte MTU, IPv4 */
    MTU_ETHERNET_V6_BYTES = 1452, /* the same, IPv6 */
    MTU_LOOPBACK_BYTES = 8952,    /* of 9,000 bytes; a larger packet takes several us to copy */
};
/* A probe counts as lost without an answer for this long: longer than any useful round trip. */
#define MTU_PATIENCE_NS (300 * LEAT_NS_PER_MS)
/* Interval of probes after MTU_PROBES_MAX were lost: the path may change, or they were lost by
 * chance. */
#define MTU_AGAIN_NS (10 * LEAT_NS_PER_S)

struct mtu {
    uint32_t bytes;  /* UDP payload that packets may have now */
    uint32_t wanted; /* UDP payload after an answered probe */
    uint32_t probes; /* sent since the path was new or in doubt */
    leat_ns due_at;  /* of the next probe; LEAT_NS_NEVER: none is needed */
};

/* The UDP payload in bytes to aim at on a link towards `peer`. `asked`: the user's setting, 0:
 * none. */
uint32_t mtu_wanted(const struct link_limits *limits, const struct link_peer *peer, uint32_t asked);

void mtu_init(struct mtu *mtu, uint32_t wanted, leat_ns now);
/* The size in bytes of the probe packet to send now; 0: none is due. */
uint32_t mtu_probe(const struct mtu *mtu, leat_ns now);
/* Writes `size` bytes of frames for a probe: a PING, whose value identifies the answer, and a PAD.
 */
void mtu_write(const struct mtu *mtu, uint8_t *at, uint32_t size);
/* The probe was sent. */
void mtu_sent(struct mtu *mtu, leat_ns now);
/* A PONG arrived. True: it answers a probe, and `bytes` has grown. */
bool mtu_pong(struct mtu *mtu, uint64_t value);
/* `probe_count`: how often in a row the flow's probe timer expired. `large_lost`: how often in a
 * row large packets were lost. True: `bytes` was reduced, because the path may no longer carry
 * large packets (black hole detection, RFC 8899, section 4.3). A probe follows soon, because the
 * peer may only have paused. */
bool mtu_doubt(struct mtu *mtu, uint32_t probe_count, uint32_t large_lost, leat_ns now);

#endif

/* MTU: how large packets to one peer may be. Everything starts with what any path carries; one
 * probe of the wanted size, answered, proves that the path carries that too.
 *
 * Role: pure; says when to probe and with what, takes the answer.
 *      mtu_probe > 0 -> a packet of so many bytes: mtu_write, mtu_sent -> PONG -> mtu_pong
 * A path may carry less later on: mtu_doubt, and then it is probed like a new one.
 * Must not know: links, sessions, clocks. Threads: the owner's. */
#ifndef LEAT_TRANSPORT_MTU_H
#define LEAT_TRANSPORT_MTU_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/packet.h"
#include "schema/units.h"
#include "transport/link.h"

enum {
    MTU_PROBES_MAX = 3,
    MTU_DOUBT_PROBES = 3,      /* probe timers in a row without a word... */
    MTU_DOUBT_LOSSES = 3,      /* ...or round trips in which large packets got lost, all of them */
    MTU_ETHERNET_BYTES = 1472, /* UDP payload of 1,500 bytes of IPv4... */
    MTU_ETHERNET_V6_BYTES = 1452, /* ...and of IPv6 */
    MTU_LOOPBACK_BYTES = 8952,    /* of 9,000: as good as any for copies of a few microseconds */
};
/* How long an answer may take before the probe counts as lost: above any round trip worth using. */
#define MTU_PATIENCE_NS (300 * LEAT_NS_PER_MS)
/* When as many as that were lost, one is tried so often: paths change, and probes get lost. */
#define MTU_AGAIN_NS (10 * LEAT_NS_PER_S)

struct mtu {
    uint32_t bytes;  /* UDP payload that packets may have now */
    uint32_t wanted; /* and after a probe, should it be answered */
    uint32_t probes; /* sent since the last word */
    leat_ns due_at;  /* of the next one; LEAT_NS_NEVER: none is needed */
};

/* What to aim at on a link, towards `peer`; `asked`: what the user said, 0: nothing. */
uint32_t mtu_wanted(const struct link_limits *limits, const struct link_peer *peer, uint32_t asked);

void mtu_init(struct mtu *mtu, uint32_t wanted, leat_ns now);
/* The size of the packet to probe with now; 0: none is due. */
uint32_t mtu_probe(const struct mtu *mtu, leat_ns now);
/* Its frames, `size` bytes: a PING by whose value the answer is known, and a PAD. */
void mtu_write(const struct mtu *mtu, uint8_t *at, uint32_t size);
void mtu_sent(struct mtu *mtu, leat_ns now);
/* A PONG came. True: it answers a probe, and `bytes` has grown. */
bool mtu_pong(struct mtu *mtu, uint64_t value);
/* The probe timer ran out `probe_count` times in a row, large packets were lost `large_lost` times
 * in a row. True: packets are small again from now on, in case the large ones are what does not
 * arrive (RFC 8899, section 4.3). Soon a probe tells whether it was that: a peer may just have
 * paused. */
bool mtu_doubt(struct mtu *mtu, uint32_t probe_count, uint32_t large_lost, leat_ns now);

#endif

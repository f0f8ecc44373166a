/* Ether: the bytes around a datagram on a wire of our own.
 *
 *      Ethernet, at most one VLAN tag
 *       +-- ARP                     asked and answered
 *       +-- IPv4 without options, never a fragment
 *            +-- UDP                what sessions travel in
 *            +-- ICMP echo          answered
 *
 * Role: checks every length and checksum of a frame once and says what it is, or why it is nothing;
 * writes headers and answers. An answer is never larger than what it answers.
 * Must not know: ports, lanes, DPDK, sessions, clocks.
 * Threads: any; nothing here has state. */
#ifndef LEAT_TRANSPORT_ETHER_H
#define LEAT_TRANSPORT_ETHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "transport/link.h"

enum {
    ETHER_MAC_BYTES = 6,
    ETHER_BYTES = 14,
    ETHER_VLAN_BYTES = 4,
    ETHER_IPV4_BYTES = 20,
    ETHER_UDP_BYTES = 8,
    ETHER_ARP_BYTES = 28,
    ETHER_FRAME_MIN = 60,                                      /* what an Ethernet card pads to */
    ETHER_OVERHEAD_BYTES = ETHER_IPV4_BYTES + ETHER_UDP_BYTES, /* of the MTU */
    ETHER_TEMPLATE_BYTES = 48, /* all headers, tagged, and two bytes of nothing before them */
};

/* Who we are on one port. */
struct ether_self {
    uint8_t mac[ETHER_MAC_BYTES];
    uint32_t ip; /* host order, as everywhere here */
    /* A kernel at the other end of a local device leaves UDP checksums half made (the sum of the
     * pseudo header alone), for hardware that is not there. Accept those, and only those. */
    bool partial_checksums;
    /* Nobody else is on this wire (a memif, a vhost): all frames are ours, also those of a peer
     * that knew us with another address, before a restart. */
    bool alone;
};

enum ether_kind { ETHER_DATAGRAM, ETHER_ARP, ETHER_ECHO, ETHER_DROP };

struct ether_arp {
    bool request;
    uint8_t sender_mac[ETHER_MAC_BYTES];
    uint32_t sender_ip, target_ip;
};

/* What a frame is. Only what `kind` has is set. */
struct ether_frame {
    enum ether_kind kind;
    enum link_drop drop; /* ETHER_DROP: why */
    uint16_t vlan;       /* all but ETHER_DROP: tag control, 0: untagged */
    uint8_t l2_bytes;
    uint16_t source_port, target_port; /* ETHER_DATAGRAM */
    uint32_t source_ip;                /* ETHER_DATAGRAM, ETHER_ECHO */
    uint32_t size;                     /* ETHER_DATAGRAM: of the payload; ETHER_ECHO: of the
                                          answer, with all headers */
    const uint8_t *payload;            /* ETHER_DATAGRAM */
    struct ether_arp arp;              /* ETHER_ARP */
};

/* `frame` has `size` bytes, in one piece. */
void ether_parse(struct ether_frame *out, const struct ether_self *self, const uint8_t *frame,
                 uint32_t size);

/* Turns the request that `parsed` is of into its answer, in place; returns the answer's size. */
uint32_t ether_answer_arp(uint8_t *frame, const struct ether_frame *parsed,
                          const struct ether_self *self);
uint32_t ether_answer_echo(uint8_t *frame, const struct ether_frame *parsed);

/* Asks everybody who `target_ip` is; of our own address it is an announcement. `frame` has room for
 * ETHER_FRAME_MIN bytes, all of which are written: the size. */
uint32_t ether_ask_arp(uint8_t *frame, const struct ether_self *self, uint32_t target_ip,
                       uint16_t vlan);

struct ether_route {
    uint8_t mac[ETHER_MAC_BYTES];
    uint16_t vlan;
    uint32_t ip;
    uint16_t source_port, target_port;
};

/* Headers towards one peer, waiting for a payload's size. */
struct ether_template {
    uint8_t bytes[ETHER_TEMPLATE_BYTES]; /* the headers are the last `size` of them */
    uint32_t size;
    uint32_t sum; /* of the IP header without its length */
};

void ether_template(struct ether_template *out, const struct ether_self *self,
                    const struct ether_route *route);
/* Addresses a frame whose headers end at `payload`, later than it was built. */
void ether_set_mac(uint8_t *payload, uint32_t headers_size, const uint8_t mac[ETHER_MAC_BYTES]);

/* ---- in network byte order */

static inline uint16_t ether_load16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t ether_load32(const uint8_t *p)
{
    return (uint32_t)ether_load16(p) << 16 | ether_load16(p + 2);
}

static inline void ether_store16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void ether_store32(uint8_t *p, uint32_t v)
{
    ether_store16(p, (uint16_t)(v >> 16));
    ether_store16(p + 2, (uint16_t)v);
}

/* Ones' complement sum, folded to 16 bits. */
static inline uint16_t ether_fold(uint64_t sum)
{
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & 0xFFFF) + (sum >> 16);
    sum = (sum & 0xFFFF) + (sum >> 16);
    sum = (sum & 0xFFFF) + (sum >> 16);
    return (uint16_t)sum;
}

/* Writes the headers of a datagram of `size` bytes before `payload`, which has room for
 * ETHER_TEMPLATE_BYTES there. The UDP checksum is 0, "none": sessions check what matters. */
static inline void ether_prepend(const struct ether_template *t, uint8_t *payload, uint32_t size)
{
    uint8_t *const ip = payload - ETHER_UDP_BYTES - ETHER_IPV4_BYTES;
    const uint32_t total = size + ETHER_OVERHEAD_BYTES;
    memcpy(payload - ETHER_TEMPLATE_BYTES, t->bytes, ETHER_TEMPLATE_BYTES);
    ether_store16(ip + 2, (uint16_t)total);
    ether_store16(ip + 10, (uint16_t)~ether_fold((uint64_t)t->sum + total));
    ether_store16(payload - ETHER_UDP_BYTES + 4, (uint16_t)(size + ETHER_UDP_BYTES));
}

#endif

/* Ether: Ethernet, ARP, ICMP echo, IPv4 and UDP headers for bypass ports.
 *
 *      Ethernet, at most one VLAN tag
 *       +-- ARP                     requests sent and answered
 *       +-- IPv4 without options, never a fragment
 *            +-- UDP                carries sessions' packets
 *            +-- ICMP echo          answered
 *
 * Role: parses a frame, checks each length and checksum once, and returns its kind or the reason to
 * drop it. Writes headers and replies. A reply is never larger than its request.
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
    ETHER_FRAME_MIN = 60, /* minimum frame without FCS: NICs pad to it */
    ETHER_OVERHEAD_BYTES = ETHER_IPV4_BYTES + ETHER_UDP_BYTES, /* MTU less UDP payload */
    ETHER_TEMPLATE_BYTES = 48, /* all headers with a VLAN tag, after two bytes of padding */
};

/* Our own addresses on one port. */
struct ether_self {
    uint8_t mac[ETHER_MAC_BYTES];
    uint32_t ip; /* host order, as everywhere here */
    /* The peer is a kernel behind a virtual device. It leaves checksum offload to hardware that
     * does not exist, so a UDP checksum may cover the pseudo header alone: accept that as well. */
    bool partial_checksums;
    /* A point-to-point device (memif, vhost): take frames for any MAC address. After a restart the
     * peer may still use our previous one. */
    bool alone;
};

enum ether_kind { ETHER_DATAGRAM, ETHER_ARP, ETHER_ECHO, ETHER_DROP };

struct ether_arp {
    bool request;
    uint8_t sender_mac[ETHER_MAC_BYTES];
    uint32_t sender_ip, target_ip;
};

/* A parsed frame. Fields are set only for the kinds named at them. */
struct ether_frame {
    enum ether_kind kind;
    enum link_drop drop; /* ETHER_DROP: the reason */
    uint16_t vlan;       /* all but ETHER_DROP: VLAN tag control information; 0: untagged */
    uint8_t l2_bytes;    /* all but ETHER_DROP: Ethernet header with its tag */
    uint16_t source_port, target_port; /* ETHER_DATAGRAM */
    uint32_t source_ip;                /* ETHER_DATAGRAM, ETHER_ECHO */
    uint32_t size;                     /* ETHER_DATAGRAM: bytes of payload; ETHER_ECHO: bytes of the
                                          reply with all headers */
    const uint8_t *payload;            /* ETHER_DATAGRAM: points into the frame */
    struct ether_arp arp;              /* ETHER_ARP */
};

/* Parses `frame`, `size` contiguous bytes. */
void ether_parse(struct ether_frame *out, const struct ether_self *self, const uint8_t *frame,
                 uint32_t size);

/* Turns the request in `frame`, of which `parsed` is the result, into its reply in place. Returns
 * the size of the reply in bytes. */
uint32_t ether_answer_arp(uint8_t *frame, const struct ether_frame *parsed,
                          const struct ether_self *self);
uint32_t ether_answer_echo(uint8_t *frame, const struct ether_frame *parsed);

/* Writes a broadcast ARP request for `target_ip`; with our own address it is a gratuitous ARP.
 * `frame` has room for ETHER_FRAME_MIN bytes. Writes and returns that many. */
uint32_t ether_ask_arp(uint8_t *frame, const struct ether_self *self, uint32_t target_ip,
                       uint16_t vlan);

struct ether_route {
    uint8_t mac[ETHER_MAC_BYTES];
    uint16_t vlan;
    uint32_t ip;
    uint16_t source_port, target_port;
};

/* Prebuilt headers for one peer; lengths and the IP checksum are filled in per datagram. */
struct ether_template {
    uint8_t bytes[ETHER_TEMPLATE_BYTES]; /* the headers are the last `size` bytes */
    uint32_t size;
    uint32_t sum; /* checksum of the IP header without its total length, not complemented */
};

void ether_template(struct ether_template *out, const struct ether_self *self,
                    const struct ether_route *route);
/* Sets the destination MAC address of a frame that was built before the address was known. Its
 * headers are the `headers_size` bytes before `payload`. */
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

/* Writes the headers of a datagram with `size` bytes of payload in front of `payload`, where there
 * is room for ETHER_TEMPLATE_BYTES. The UDP checksum is 0 (none): sessions have their own. */
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

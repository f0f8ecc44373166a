/* Ether: parses and writes frames. See ether.h. */
#include "transport/ether.h"

enum {
    TYPE_IPV4 = 0x0800,
    TYPE_ARP = 0x0806,
    TYPE_VLAN = 0x8100,
    PROTOCOL_ICMP = 1,
    PROTOCOL_UDP = 17,
    ARP_REQUEST = 1,
    ARP_REPLY = 2,
    ICMP_BYTES = 8,
    ICMP_ECHO_REQUEST = 8,
    IP_VERSION_AND_SIZE = 0x45, /* version 4, header of five words: no options */
    IP_DONT_FRAGMENT = 0x4000,
    IP_FRAGMENT_BITS = 0x3FFF, /* more-fragments flag and fragment offset */
    IP_TTL = 64,
};

static const uint8_t broadcast[ETHER_MAC_BYTES] = { 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF };

/* The sum of 16-bit words in network order. `p` is at an even offset of what is summed. */
static uint64_t sum_bytes(const uint8_t *p, uint32_t size)
{
    uint64_t sum = 0;
    while (size >= 4) {
        sum += ether_load32(p);
        p += 4;
        size -= 4;
    }
    if (size >= 2) {
        sum += ether_load16(p);
        p += 2;
        size -= 2;
    }
    if (size != 0)
        sum += (uint64_t)p[0] << 8;
    return sum;
}

/* False for addresses that cannot be answered: this network, loopback, multicast, reserved and
 * broadcast. */
static bool is_host(uint32_t ip)
{
    const uint32_t first = ip >> 24;
    return first != 0 && first != 127 && first < 224;
}

static bool is_station(const uint8_t *mac)
{
    static const uint8_t none[ETHER_MAC_BYTES] = { 0 };
    return (mac[0] & 1) == 0 && memcmp(mac, none, sizeof none) != 0;
}

static void drop(struct ether_frame *out, enum link_drop reason)
{
    out->kind = ETHER_DROP;
    out->drop = reason;
}

static void parse_arp(struct ether_frame *out, const struct ether_self *self, const uint8_t *arp,
                      uint32_t size)
{
    static const uint8_t ethernet_ipv4[] = { 0, 1, TYPE_IPV4 >> 8, TYPE_IPV4 & 0xFF, 6, 4 };
    if (size < ETHER_ARP_BYTES) {
        drop(out, LINK_DROP_SHORT);
        return;
    }
    const uint16_t operation = ether_load16(arp + 6);
    struct ether_arp *a = &out->arp;
    memcpy(a->sender_mac, arp + 8, ETHER_MAC_BYTES);
    a->sender_ip = ether_load32(arp + 14);
    a->target_ip = ether_load32(arp + 24);
    a->request = operation == ARP_REQUEST;
    /* For us, or a gratuitous ARP. An ARP probe (sender 0) for our address is answered too. */
    const bool for_us = a->target_ip == self->ip || a->target_ip == a->sender_ip;
    const bool from_host = is_host(a->sender_ip) || (a->sender_ip == 0 && a->request);
    if (memcmp(arp, ethernet_ipv4, sizeof ethernet_ipv4) != 0
        || (operation != ARP_REQUEST && operation != ARP_REPLY) || !is_station(a->sender_mac)
        || !for_us || !from_host || a->sender_ip == self->ip) {
        drop(out, LINK_DROP_ARP);
        return;
    }
    out->kind = ETHER_ARP;
}

static void parse_echo(struct ether_frame *out, const uint8_t *icmp, uint32_t size)
{
    if (size < ICMP_BYTES || icmp[0] != ICMP_ECHO_REQUEST || icmp[1] != 0
        || ether_fold(sum_bytes(icmp, size)) != 0xFFFF) {
        drop(out, LINK_DROP_PROTOCOL);
        return;
    }
    out->kind = ETHER_ECHO;
    out->size = out->l2_bytes + ETHER_IPV4_BYTES + size;
}

static bool checksum_holds(const struct ether_self *self, const uint8_t *ip, const uint8_t *udp,
                           uint32_t udp_size)
{
    const uint16_t checksum = ether_load16(udp + 6);
    const uint64_t pseudo = sum_bytes(ip + 12, 8) + PROTOCOL_UDP + udp_size;
    if (checksum == 0)
        return true;
    return ether_fold(pseudo + sum_bytes(udp, udp_size)) == 0xFFFF
           || (self->partial_checksums && checksum == ether_fold(pseudo));
}

static void parse_udp(struct ether_frame *out, const struct ether_self *self, const uint8_t *ip,
                      uint32_t size)
{
    const uint8_t *const udp = ip + ETHER_IPV4_BYTES;
    if (size < ETHER_UDP_BYTES) {
        drop(out, LINK_DROP_UDP);
        return;
    }
    const uint32_t udp_size = ether_load16(udp + 4);
    out->source_port = ether_load16(udp);
    out->target_port = ether_load16(udp + 2);
    if (udp_size < ETHER_UDP_BYTES || udp_size > size || out->source_port == 0
        || !checksum_holds(self, ip, udp, udp_size)) {
        drop(out, LINK_DROP_UDP);
        return;
    }
    out->kind = ETHER_DATAGRAM;
    out->payload = udp + ETHER_UDP_BYTES;
    out->size = udp_size - ETHER_UDP_BYTES;
}

static void parse_ipv4(struct ether_frame *out, const struct ether_self *self, const uint8_t *ip,
                       uint32_t size)
{
    if (size < ETHER_IPV4_BYTES) {
        drop(out, LINK_DROP_SHORT);
        return;
    }
    const uint32_t total = ether_load16(ip + 2);
    out->source_ip = ether_load32(ip + 12);
    if (ip[0] != IP_VERSION_AND_SIZE || total < ETHER_IPV4_BYTES
        || ether_fold(sum_bytes(ip, ETHER_IPV4_BYTES)) != 0xFFFF
        || ether_load32(ip + 16) != self->ip || !is_host(out->source_ip)
        || out->source_ip == self->ip)
        drop(out, LINK_DROP_IP);
    else if (total > size)
        drop(out, LINK_DROP_SHORT);
    else if ((ether_load16(ip + 6) & IP_FRAGMENT_BITS) != 0)
        drop(out, LINK_DROP_FRAGMENT);
    else if (ip[9] == PROTOCOL_UDP)
        parse_udp(out, self, ip, total - ETHER_IPV4_BYTES);
    else if (ip[9] == PROTOCOL_ICMP)
        parse_echo(out, ip + ETHER_IPV4_BYTES, total - ETHER_IPV4_BYTES);
    else
        drop(out, LINK_DROP_PROTOCOL);
}

void ether_parse(struct ether_frame *out, const struct ether_self *self, const uint8_t *frame,
                 uint32_t size)
{
    uint32_t at = ETHER_BYTES;
    out->vlan = 0;
    if (size < ETHER_BYTES) {
        drop(out, LINK_DROP_SHORT);
        return;
    }
    uint16_t type = ether_load16(frame + 12);
    if (type == TYPE_VLAN) {
        at += ETHER_VLAN_BYTES;
        if (size < at) {
            drop(out, LINK_DROP_SHORT);
            return;
        }
        out->vlan = ether_load16(frame + 14);
        type = ether_load16(frame + 16);
    }
    out->l2_bytes = (uint8_t)at;
    if (type == TYPE_IPV4) {
        /* Drops frames for others that a switch flooded, and senders that cannot be answered. */
        const bool to_us = self->alone || memcmp(frame, self->mac, ETHER_MAC_BYTES) == 0;
        if (!to_us || !is_station(frame + ETHER_MAC_BYTES))
            drop(out, LINK_DROP_IP);
        else
            parse_ipv4(out, self, frame + at, size - at);
    } else if (type == TYPE_ARP) {
        parse_arp(out, self, frame + at, size - at);
    } else {
        drop(out, LINK_DROP_ETHERTYPE);
    }
}

/* ---- answers */

static void write_arp(uint8_t *arp, uint16_t operation, const struct ether_self *self,
                      const uint8_t target_mac[ETHER_MAC_BYTES], uint32_t target_ip)
{
    ether_store16(arp, 1);
    ether_store16(arp + 2, TYPE_IPV4);
    arp[4] = ETHER_MAC_BYTES;
    arp[5] = 4;
    ether_store16(arp + 6, operation);
    memcpy(arp + 8, self->mac, ETHER_MAC_BYTES);
    ether_store32(arp + 14, self->ip);
    memcpy(arp + 18, target_mac, ETHER_MAC_BYTES);
    ether_store32(arp + 24, target_ip);
}

uint32_t ether_answer_arp(uint8_t *frame, const struct ether_frame *parsed,
                          const struct ether_self *self)
{
    memcpy(frame, parsed->arp.sender_mac, ETHER_MAC_BYTES);
    memcpy(frame + ETHER_MAC_BYTES, self->mac, ETHER_MAC_BYTES);
    write_arp(frame + parsed->l2_bytes, ARP_REPLY, self, parsed->arp.sender_mac,
              parsed->arp.sender_ip);
    return (uint32_t)parsed->l2_bytes + ETHER_ARP_BYTES;
}

uint32_t ether_answer_echo(uint8_t *frame, const struct ether_frame *parsed)
{
    uint8_t *const ip = frame + parsed->l2_bytes;
    uint8_t *const icmp = ip + ETHER_IPV4_BYTES;
    uint8_t mac[ETHER_MAC_BYTES], address[4];
    memcpy(mac, frame, sizeof mac);
    memcpy(frame, frame + ETHER_MAC_BYTES, sizeof mac);
    memcpy(frame + ETHER_MAC_BYTES, mac, sizeof mac);
    memcpy(address, ip + 12, sizeof address);
    memcpy(ip + 12, ip + 16, sizeof address); /* swapping keeps the header's checksum valid */
    memcpy(ip + 16, address, sizeof address);
    /* Incremental update: the type changes from 8 to 0. */
    const uint16_t sum = (uint16_t)~ether_load16(icmp + 2);
    const uint16_t less = (uint16_t) ~(ICMP_ECHO_REQUEST << 8);
    icmp[0] = 0;
    ether_store16(icmp + 2, (uint16_t)~ether_fold((uint64_t)sum + less));
    return parsed->size;
}

/* ---- frames that we send */

/* Writes an Ethernet header with a tag if `vlan` is not 0. Returns the end of the header. */
static uint8_t *write_ether(uint8_t *at, const uint8_t target[ETHER_MAC_BYTES],
                            const struct ether_self *self, uint16_t vlan, uint16_t type)
{
    memcpy(at, target, ETHER_MAC_BYTES);
    memcpy(at + ETHER_MAC_BYTES, self->mac, ETHER_MAC_BYTES);
    at += (size_t)2 * ETHER_MAC_BYTES;
    if (vlan != 0) {
        ether_store16(at, TYPE_VLAN);
        ether_store16(at + 2, vlan);
        at += ETHER_VLAN_BYTES;
    }
    ether_store16(at, type);
    return at + 2;
}

uint32_t ether_ask_arp(uint8_t *frame, const struct ether_self *self, uint32_t target_ip,
                       uint16_t vlan)
{
    static const uint8_t nobody[ETHER_MAC_BYTES] = { 0 };
    memset(frame, 0, ETHER_FRAME_MIN);
    write_arp(write_ether(frame, broadcast, self, vlan, TYPE_ARP), ARP_REQUEST, self, nobody,
              target_ip);
    return ETHER_FRAME_MIN;
}

void ether_template(struct ether_template *out, const struct ether_self *self,
                    const struct ether_route *route)
{
    memset(out, 0, sizeof *out);
    out->size =
        ETHER_BYTES + ETHER_OVERHEAD_BYTES + (route->vlan != 0 ? (uint32_t)ETHER_VLAN_BYTES : 0);
    uint8_t *const ip = write_ether(out->bytes + ETHER_TEMPLATE_BYTES - out->size, route->mac, self,
                                    route->vlan, TYPE_IPV4);
    ip[0] = IP_VERSION_AND_SIZE;
    ether_store16(ip + 6, IP_DONT_FRAGMENT);
    ip[8] = IP_TTL;
    ip[9] = PROTOCOL_UDP;
    ether_store32(ip + 12, self->ip);
    ether_store32(ip + 16, route->ip);
    out->sum = ether_fold(sum_bytes(ip, ETHER_IPV4_BYTES));
    ether_store16(ip + ETHER_IPV4_BYTES, route->source_port);
    ether_store16(ip + ETHER_IPV4_BYTES + 2, route->target_port);
}

void ether_set_mac(uint8_t *payload, uint32_t headers_size, const uint8_t mac[ETHER_MAC_BYTES])
{
    memcpy(payload - headers_size, mac, ETHER_MAC_BYTES);
}

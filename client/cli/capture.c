#include "client/cli/capture.h"

#include <pcap/pcap.h>
#include <pcap/sll.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ETHERNET_BYTES = 14,
    VLAN_BYTES = 4,
    VLANS_MAX = 2,
    IPV4_BYTES = 20,
    IPV6_BYTES = 40,
    UDP_BYTES = 8,
    TYPE_IPV4 = 0x0800,
    TYPE_IPV6 = 0x86DD,
    TYPE_VLAN = 0x8100,
    TYPE_QINQ = 0x88A8,
    PROTOCOL_UDP = 17,
};

struct capture {
    pcap_t *pcap;
    int link;
    uint64_t skipped;
};

struct capture *capture_open(const char *path, char error_text[256])
{
    char reason[PCAP_ERRBUF_SIZE];
    struct capture *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->pcap = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, reason);
    if (c->pcap == NULL) {
        snprintf(error_text, 256, "%.240s", reason);
        free(c);
        return NULL;
    }
    c->link = pcap_datalink(c->pcap);
    switch (c->link) {
    case DLT_EN10MB:
    case DLT_LINUX_SLL:
    case DLT_LINUX_SLL2:
    case DLT_RAW:
    case DLT_NULL:
    case DLT_LOOP: return c;
    default:
        snprintf(error_text, 256,
                 "%.150s: link type %d is not one of Ethernet, Linux cooked, raw IP, "
                 "loopback",
                 path, c->link);
        capture_close(c);
        return NULL;
    }
}

static uint16_t load16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

struct cut {
    const uint8_t *at;
    size_t size;
};

static bool skip(struct cut *cut, size_t bytes)
{
    if (cut->size < bytes)
        return false;
    cut->at += bytes;
    cut->size -= bytes;
    return true;
}

/* Moves past the link header; *type is the EtherType. */
static bool skip_link(int link, struct cut *cut, uint16_t *type)
{
    size_t header, type_at;
    switch (link) {
    case DLT_EN10MB: header = ETHERNET_BYTES, type_at = 12; break;
    case DLT_LINUX_SLL: header = 16, type_at = 14; break;
    case DLT_LINUX_SLL2: header = 20, type_at = 0; break;
    default: header = link == DLT_RAW ? 0 : 4, type_at = SIZE_MAX; break;
    }
    if (cut->size < header + 1)
        return false;
    if (type_at == SIZE_MAX)
        *type = cut->at[header] >> 4 == 6 ? TYPE_IPV6 : TYPE_IPV4; /* the packet says it itself */
    else
        *type = load16(cut->at + type_at);
    skip(cut, header);
    for (int i = 0; i < VLANS_MAX && (*type == TYPE_VLAN || *type == TYPE_QINQ); i++) {
        if (cut->size < VLAN_BYTES)
            return false;
        *type = load16(cut->at + 2);
        skip(cut, VLAN_BYTES);
    }
    return true;
}

/* Moves past the IP header and cuts what follows to what the header says. */
static bool skip_ip(struct cut *cut, uint16_t type)
{
    const uint8_t *ip = cut->at;
    size_t header, total;
    if (type == TYPE_IPV4) {
        if (cut->size < IPV4_BYTES || ip[0] >> 4 != 4 || ip[9] != PROTOCOL_UDP)
            return false;
        header = (size_t)(ip[0] & 15) * 4;
        total = load16(ip + 2);
        if ((load16(ip + 6) & 0x3FFF) != 0) /* more fragments, or not the first */
            return false;
        if (header < IPV4_BYTES)
            return false;
    } else if (type == TYPE_IPV6) {
        if (cut->size < IPV6_BYTES || ip[0] >> 4 != 6 || ip[6] != PROTOCOL_UDP)
            return false;
        header = IPV6_BYTES;
        total = IPV6_BYTES + load16(ip + 4);
    } else {
        return false;
    }
    if (total < header || cut->size < total)
        return false;
    cut->size = total;
    return skip(cut, header);
}

bool capture_payload(int link, const uint8_t *packet, size_t size, const uint8_t **payload,
                     size_t *payload_size)
{
    struct cut cut = { packet, size };
    uint16_t type;
    if (!skip_link(link, &cut, &type) || !skip_ip(&cut, type) || cut.size < UDP_BYTES)
        return false;
    const size_t length = load16(cut.at + 4);
    if (length < UDP_BYTES || length > cut.size)
        return false;
    *payload = cut.at + UDP_BYTES;
    *payload_size = length - UDP_BYTES;
    return true;
}

enum capture_said capture_next(struct capture *c, struct capture_datagram *out)
{
    struct pcap_pkthdr *header;
    const uint8_t *packet;
    int got;
    while ((got = pcap_next_ex(c->pcap, &header, &packet)) == 1) {
        /* With nanosecond precision tv_usec holds nanoseconds. */
        out->time_ns = (int64_t)header->ts.tv_sec * 1000000000 + header->ts.tv_usec;
        if (capture_payload(c->link, packet, header->caplen, &out->bytes, &out->size))
            return CAPTURE_DATAGRAM;
        c->skipped++;
    }
    return got == PCAP_ERROR_BREAK ? CAPTURE_END : CAPTURE_ERROR;
}

const char *capture_error(const struct capture *c)
{
    return pcap_geterr(c->pcap);
}

uint64_t capture_skipped(const struct capture *c)
{
    return c->skipped;
}

void capture_close(struct capture *c)
{
    pcap_close(c->pcap);
    free(c);
}

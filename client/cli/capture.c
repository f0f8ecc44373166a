/* The UDP payloads in a capture file (pcap, pcapng). */
#include "client/cli/capture.h"

#include <pcap/pcap.h>
#include <pcap/sll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    PROTOCOL_FRAGMENT = 44,
};

struct capture {
    pcap_t *pcap;
    int link;
    struct capture_counts counts;
};

struct capture *capture_open(const char *path, char error_text[256])
{
    char reason[PCAP_ERRBUF_SIZE];
    struct capture *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->pcap = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, reason);
    if (c->pcap == NULL) {
        /* libpcap names the file only if it could not open it. */
        if (strstr(reason, path) == NULL)
            snprintf(error_text, 256, "%.120s: not a packet capture: %.100s", path, reason);
        else
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
    case DLT_IPV4:
    case DLT_IPV6:
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

/* The rest of a packet. */
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

/* Skips the link header and sets *type to the EtherType. False: the packet ends inside the
 * header. */
static bool skip_link(int link, struct cut *cut, uint16_t *type)
{
    const uint8_t *const begin = cut->at;
    size_t header = link == DLT_NULL || link == DLT_LOOP ? 4 : 0;
    size_t type_at = SIZE_MAX;
    if (link == DLT_EN10MB) {
        header = ETHERNET_BYTES;
        type_at = ETHERNET_BYTES - 2;
    } else if (link == DLT_LINUX_SLL) {
        header = SLL_HDR_LEN;
        type_at = SLL_HDR_LEN - 2;
    } else if (link == DLT_LINUX_SLL2) {
        header = SLL2_HDR_LEN;
        type_at = 0;
    }
    if (!skip(cut, header) || cut->size == 0)
        return false;
    if (type_at == SIZE_MAX) /* no EtherType: use the IP version */
        *type = cut->at[0] >> 4 == 6 ? TYPE_IPV6 : TYPE_IPV4;
    else
        *type = load16(begin + type_at);
    for (int i = 0; i < VLANS_MAX && (*type == TYPE_VLAN || *type == TYPE_QINQ); i++) {
        const uint8_t *const tag = cut->at;
        if (!skip(cut, VLAN_BYTES))
            return false;
        *type = load16(tag + 2);
    }
    return true;
}

static enum capture_kind skip_ipv4(struct cut *cut)
{
    const uint8_t *const ip = cut->at;
    if (cut->size < IPV4_BYTES)
        return CAPTURE_TRUNCATED;
    const size_t header = (size_t)(ip[0] & 15) * 4;
    const size_t total = load16(ip + 2);
    if (ip[0] >> 4 != 4 || ip[9] != PROTOCOL_UDP || header < IPV4_BYTES || total < header)
        return CAPTURE_OTHER;
    if ((load16(ip + 6) & 0x3FFF) != 0) /* more fragments follow, or this is not the first */
        return CAPTURE_FRAGMENT;
    if (cut->size < total)
        return CAPTURE_TRUNCATED;
    cut->size = total; /* short Ethernet frames are padded */
    skip(cut, header);
    return CAPTURE_UDP;
}

/* Extension headers are not supported, except that fragments are recognised: feeds have none. */
static enum capture_kind skip_ipv6(struct cut *cut)
{
    const uint8_t *const ip = cut->at;
    if (cut->size < IPV6_BYTES)
        return CAPTURE_TRUNCATED;
    const size_t total = (size_t)IPV6_BYTES + load16(ip + 4);
    if (ip[0] >> 4 == 6 && ip[6] == PROTOCOL_FRAGMENT)
        return CAPTURE_FRAGMENT;
    if (ip[0] >> 4 != 6 || ip[6] != PROTOCOL_UDP)
        return CAPTURE_OTHER;
    if (cut->size < total)
        return CAPTURE_TRUNCATED;
    cut->size = total;
    skip(cut, IPV6_BYTES);
    return CAPTURE_UDP;
}

enum capture_kind capture_payload(int link, const uint8_t *packet, size_t size,
                                  const uint8_t **payload, size_t *payload_size)
{
    struct cut cut = { packet, size };
    uint16_t type;
    if (!skip_link(link, &cut, &type))
        return CAPTURE_TRUNCATED;
    if (type != TYPE_IPV4 && type != TYPE_IPV6)
        return CAPTURE_OTHER;
    const enum capture_kind kind = type == TYPE_IPV4 ? skip_ipv4(&cut) : skip_ipv6(&cut);
    if (kind != CAPTURE_UDP)
        return kind;
    const uint8_t *const udp = cut.at;
    if (cut.size < UDP_BYTES)
        return CAPTURE_OTHER;
    const size_t length = load16(udp + 4);
    if (length < UDP_BYTES || length > cut.size)
        return CAPTURE_OTHER;
    *payload = udp + UDP_BYTES;
    *payload_size = length - UDP_BYTES;
    return CAPTURE_UDP;
}

enum capture_said capture_next(struct capture *c, struct capture_datagram *out)
{
    struct pcap_pkthdr *header;
    const uint8_t *packet;
    int got;
    while ((got = pcap_next_ex(c->pcap, &header, &packet)) == 1) {
        /* With nanosecond precision tv_usec holds nanoseconds. */
        out->time_ns = (int64_t)header->ts.tv_sec * 1000000000 + header->ts.tv_usec;
        c->counts.packets++;
        switch (capture_payload(c->link, packet, header->caplen, &out->bytes, &out->size)) {
        case CAPTURE_UDP: c->counts.datagrams++; return CAPTURE_DATAGRAM;
        case CAPTURE_FRAGMENT: c->counts.fragments++; break;
        case CAPTURE_TRUNCATED: c->counts.truncated++; break;
        case CAPTURE_OTHER: c->counts.other++; break;
        }
    }
    return got == PCAP_ERROR_BREAK ? CAPTURE_END : CAPTURE_ERROR;
}

const char *capture_error(const struct capture *c)
{
    return pcap_geterr(c->pcap);
}

const struct capture_counts *capture_counts(const struct capture *c)
{
    return &c->counts;
}

void capture_close(struct capture *c)
{
    pcap_close(c->pcap);
    free(c);
}

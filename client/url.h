/* URLs: where a broker is, and how data is carried to it.
 *
 *      tcp://host:port,host:port
 *      udp://host:port,host:port?mtu=1472&fallback=tcp
 *      dpdk://host:port?device=net_memif0,role=client,socket=/run/l.sock&ip=10.0.0.2/24&fallback=tcp
 *
 * Role: parsing a URL or a "host:port", and saying what is wrong with it.
 * Must not know: sockets, name resolution, what a device is.
 * Threads: any. */
#ifndef LEAT_CLIENT_URL_H
#define LEAT_CLIENT_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/error.h"
#include "transport/link_dpdk.h"

#define URL_DEFAULT "tcp://127.0.0.1:7420"

enum {
    URL_HOSTS_MAX = 16,
    URL_HOST_BYTES_MAX = 253, /* of a DNS name */
    URL_DEFAULT_PORT = 7420,
    URL_DEVICE_BYTES_MAX = 511,
    URL_NEIGHBOURS_MAX = 16,
};

struct url_host {
    char host[URL_HOST_BYTES_MAX + 1]; /* without brackets */
    uint16_t port;
};

/* How data is carried. The hosts are always those of the control connection, over TCP. */
enum url_transport { URL_TCP, URL_UDP, URL_DPDK };

/* The query of a dpdk:// URL. Zero: not given. Addresses are in host order. */
struct url_dpdk {
    char device[URL_DEVICE_BYTES_MAX + 1]; /* "" if the application supplies the port */
    uint32_t ip;                           /* never 0 */
    uint8_t prefix_bits;
    uint32_t gateway;
    uint16_t vlan;
    uint32_t memory_mb;
    int32_t pages; /* link_dpdk_pages */
    uint32_t neighbour_count;
    struct link_dpdk_neighbour neighbours[URL_NEIGHBOURS_MAX];
    struct link_dpdk_inject inject;
};

struct url {
    struct url_host hosts[URL_HOSTS_MAX];
    uint32_t count; /* >= 1 */
    enum url_transport transport;
    bool fallback_tcp;
    uint32_t mtu; /* udp: largest UDP payload; dpdk: largest IP packet; bytes, 0: not given */
    struct url_dpdk dpdk;
};

/* Parses a URL. LEAT_ERR_INVALID; LEAT_ERR_UNSUPPORTED for a scheme that this build has no link
 * for. On failure, `why` says what was expected. */
enum leat_error url_parse(struct url *out, const char *text, char *why, size_t why_bytes);

/* Parses "host:port" or "[v6]:port". The port is optional if `default_port` is not 0. The host may
 * be empty: brokers advertise that. LEAT_ERR_INVALID. */
enum leat_error url_host_parse(struct url_host *out, const char *text, size_t size,
                               uint16_t default_port);

/* Parses the query ("key=value&key=value", values percent-encoded where needed) into `url`, whose
 * transport determines the valid keys. `text` is the whole URL, for `why`. */
enum leat_error url_query_parse(struct url *url, const char *query, const char *text, char *why,
                                size_t why_bytes);

#endif

/* UDP link: datagrams over one kernel socket, many a system call.
 *
 * Role: open and bind the socket, receive and send bursts (recvmmsg and sendmmsg; GRO and GSO where
 * the kernel has them), count what the kernel dropped. The only file that knows these options.
 * Must not know: packets' content, sessions, event loops.
 * Threads: open anywhere; then the one that uses the link. */
#ifndef LEAT_TRANSPORT_LINK_UDP_H
#define LEAT_TRANSPORT_LINK_UDP_H

#include <stdint.h>
#include <sys/socket.h>

#include "schema/error.h"
#include "transport/link.h"
#include "transport/link_tcp.h"

enum {
    /* A 9,000-byte Ethernet frame less IPv6 and UDP headers: what loopback and jumbo frames carry.
     */
    LINK_UDP_PAYLOAD_MAX = 8952,
};

struct link_udp_options {
    uint32_t socket_buffer_bytes; /* of each direction; 0: 4 MiB, or what the kernel allows */
};

/* Binds `host` (numeric) and `port` (0: any free one); host NULL: any address of `family`.
 * `bound` gets the address. LEAT_ERR_INVALID, LEAT_ERR_IO, LEAT_ERR_NO_MEMORY; error_text says what
 * to do. Close with link->ops->close. */
enum leat_error link_udp_open(struct link **out, int family, const char *host, uint16_t port,
                              const struct link_udp_options *options,
                              char bound[LINK_TCP_ADDRESS_TEXT],
                              char error_text[LINK_TCP_ERROR_TEXT]);

/* Who a socket address means. False: neither IPv4 nor IPv6. */
bool link_udp_peer(const struct sockaddr_storage *address, struct link_peer *out);

#endif

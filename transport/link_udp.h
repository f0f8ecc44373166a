/* UDP link: datagrams over one kernel socket, many per system call.
 *
 * Role: opens and binds the socket, receives and sends bursts (recvmmsg and sendmmsg; GRO and GSO
 * where the kernel has them), counts what the kernel dropped. The only file that knows UDP options.
 * Must not know: packet contents, sessions, event loops.
 * Threads: open from any; afterwards only the thread that uses the link. */
#ifndef LEAT_TRANSPORT_LINK_UDP_H
#define LEAT_TRANSPORT_LINK_UDP_H

#include <stdint.h>
#include <sys/socket.h>

#include "schema/error.h"
#include "transport/link.h"
#include "transport/link_tcp.h"

enum {
    /* An MTU of 9,000 bytes less the IPv6 and UDP headers: fits loopback and jumbo frames. */
    LINK_UDP_PAYLOAD_MAX = 8952,
};

struct link_udp_options {
    uint32_t socket_buffer_bytes; /* per direction; 0: 4 MiB, or what the kernel allows */
};

/* Binds `host` (numeric; NULL: any address of `family`) and `port` (0: any free port). `bound` gets
 * the bound address. The caller closes *out with its ops->close. LEAT_ERR_INVALID, LEAT_ERR_IO,
 * LEAT_ERR_NO_MEMORY: error_text says what to do. */
enum leat_error link_udp_open(struct link **out, int family, const char *host, uint16_t port,
                              const struct link_udp_options *options,
                              char bound[LINK_TCP_ADDRESS_TEXT],
                              char error_text[LINK_TCP_ERROR_TEXT]);

/* Converts a socket address to a peer. False: it is neither IPv4 nor IPv6. */
bool link_udp_peer(const struct sockaddr_storage *address, struct link_peer *out);

#endif

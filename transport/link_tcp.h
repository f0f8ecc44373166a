/* TCP link: non-blocking stream sockets, their options, and their errors as enum leat_error.
 *
 * Role: listen, accept, connect, receive, send. The only file that knows TCP options and errno.
 * Must not know: frames, sessions, event loops, what the peer is.
 * Threads: any; nothing here has state. No descriptor is inherited by child processes. */
#ifndef LEAT_TRANSPORT_LINK_TCP_H
#define LEAT_TRANSPORT_LINK_TCP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "schema/error.h"

enum {
    LINK_TCP_ADDRESS_TEXT = 64, /* "[v6%zone]:port" and its NUL */
    LINK_TCP_ERROR_TEXT = 256,
    LINK_TCP_PEER_BYTES = 16,
};

struct link_tcp_options {
    uint32_t socket_buffer_bytes; /* SO_SNDBUF and SO_RCVBUF; 0: the kernel's default */
    const char *congestion;       /* TCP_CONGESTION; NULL: the kernel's default */
    uint32_t user_timeout_ms;     /* as link_tcp_user_timeout; 0: the kernel's default */
};

/* Converts a numeric host ("127.0.0.1", "::1") and a port to a socket address. LEAT_OK or
 * LEAT_ERR_INVALID. */
enum leat_error link_tcp_address(const char *host, uint16_t port, struct sockaddr_storage *out);
/* Formats an address as "127.0.0.1:7420" or "[::1]:7420". */
void link_tcp_address_text(const struct sockaddr_storage *address,
                           char text[LINK_TCP_ADDRESS_TEXT]);

/* Binds and listens; port 0: any free port. `bound` gets the bound address. Accepted connections
 * inherit the options. The caller owns *fd. LEAT_ERR_INVALID (host, congestion) or LEAT_ERR_IO:
 * `error_text` names the address, the problem and the remedy. */
enum leat_error link_tcp_listen(int *fd, const char *host, uint16_t port,
                                const struct link_tcp_options *options,
                                char bound[LINK_TCP_ADDRESS_TEXT],
                                char error_text[LINK_TCP_ERROR_TEXT]);

/* Accepts one pending connection; the caller owns *fd. LEAT_AGAIN: none is pending. LEAT_ERR_LIMIT:
 * no descriptor or memory is left and the connection stays pending, so do not call this again
 * before some was freed. */
enum leat_error link_tcp_accept(int listener, int *fd);

/* The peer's IPv6 address, or its IPv4 address mapped into IPv6. All zero: unknown. */
void link_tcp_peer(int fd, uint8_t address[LINK_TCP_PEER_BYTES]);

/* Starts connecting. The descriptor, owned by the caller, becomes writable when the attempt has
 * succeeded or failed. LEAT_ERR_INVALID (congestion), LEAT_ERR_UNREACHABLE, LEAT_ERR_LIMIT. */
enum leat_error link_tcp_connect(int *fd, const struct sockaddr_storage *to,
                                 const struct link_tcp_options *options);
/* The result of link_tcp_connect: LEAT_OK, LEAT_AGAIN (not yet known), LEAT_ERR_UNREACHABLE. */
enum leat_error link_tcp_connected(int fd);

/* Receives what is available now, at most `room` bytes. LEAT_OK: *got >= 1. LEAT_AGAIN: nothing is
 * available. LEAT_ERR_CLOSED: the peer ended the stream, or the connection broke. */
enum leat_error link_tcp_receive(int fd, void *bytes, size_t room, size_t *got);

/* Like link_tcp_receive, into several buffers in order. */
enum leat_error link_tcp_receive_pieces(int fd, const struct iovec *pieces, int count, size_t *got);

/* Sends what the kernel accepts now of at most IOV_MAX pieces. LEAT_OK: *sent >= 1, maybe not all.
 * LEAT_AGAIN: the socket buffer is full. LEAT_ERR_CLOSED. */
enum leat_error link_tcp_send(int fd, const struct iovec *pieces, int count, size_t *sent);

/* Shuts down the sending direction; receiving still works. LEAT_OK or LEAT_ERR_CLOSED. */
enum leat_error link_tcp_end_output(int fd);

/* TCP_USER_TIMEOUT: the kernel ends the connection if sent data stays unacknowledged, or unsent
 * because of a zero window, for `ms` milliseconds. Does nothing where the option is missing. */
void link_tcp_user_timeout(int fd, uint32_t ms);

/* Bytes in the send buffer that the peer has not acknowledged; 0 if unknown. */
size_t link_tcp_unsent(int fd);

#endif

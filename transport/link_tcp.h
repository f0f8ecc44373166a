/* TCP link: non-blocking stream sockets, their options and their errors in our words.
 *
 * Role: listen, accept, connect, receive, send; the only file that knows socket options and errno.
 * Must not know: frames, sessions, event loops, who is on the other side.
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
    uint32_t socket_buffer_bytes; /* SO_SNDBUF and SO_RCVBUF; 0: the kernel's own */
    const char *congestion;       /* TCP_CONGESTION; NULL: the kernel's own */
    uint32_t user_timeout_ms;     /* as link_tcp_user_timeout; 0: the kernel's own */
};

/* A numeric host ("127.0.0.1", "::1") and port as a socket address. LEAT_ERR_INVALID. */
enum leat_error link_tcp_address(const char *host, uint16_t port, struct sockaddr_storage *out);
/* "127.0.0.1:7420" or "[::1]:7420". */
void link_tcp_address_text(const struct sockaddr_storage *address,
                           char text[LINK_TCP_ADDRESS_TEXT]);

/* Binds and listens; port 0: any free one. `bound` gets the address it has. Accepted connections
 * inherit the options. On failure `error_text` names the address, what is wrong and what to do.
 * LEAT_ERR_INVALID (host, congestion), LEAT_ERR_IO. */
enum leat_error link_tcp_listen(int *fd, const char *host, uint16_t port,
                                const struct link_tcp_options *options,
                                char bound[LINK_TCP_ADDRESS_TEXT],
                                char error_text[LINK_TCP_ERROR_TEXT]);

/* One waiting connection. LEAT_AGAIN: none. LEAT_ERR_LIMIT: no descriptor or memory left; the
 * connection goes on waiting, so do not ask again before one was freed. */
enum leat_error link_tcp_accept(int listener, int *fd);

/* The other end's address, as one of IPv6; one of IPv4 is mapped into it. All zero: it has none. */
void link_tcp_peer(int fd, uint8_t address[LINK_TCP_PEER_BYTES]);

/* Begins to connect; the descriptor becomes writable when it is decided. LEAT_ERR_INVALID
 * (congestion), LEAT_ERR_UNREACHABLE, LEAT_ERR_LIMIT. */
enum leat_error link_tcp_connect(int *fd, const struct sockaddr_storage *to,
                                 const struct link_tcp_options *options);
/* How it ended: LEAT_OK, LEAT_AGAIN (not yet), LEAT_ERR_UNREACHABLE. */
enum leat_error link_tcp_connected(int fd);

/* Up to `room` bytes, what is there now. LEAT_OK: *got >= 1. LEAT_AGAIN: nothing now.
 * LEAT_ERR_CLOSED: the peer ended the stream or the connection broke. */
enum leat_error link_tcp_receive(int fd, void *bytes, size_t room, size_t *got);

/* The same into several places, one after the other. */
enum leat_error link_tcp_receive_pieces(int fd, const struct iovec *pieces, int count, size_t *got);

/* What the kernel takes now of these pieces (at most IOV_MAX). LEAT_OK: *sent >= 1, maybe not all.
 * LEAT_AGAIN: no room now. LEAT_ERR_CLOSED. */
enum leat_error link_tcp_send(int fd, const struct iovec *pieces, int count, size_t *sent);

/* Nothing more will be sent; what comes can still be received. LEAT_ERR_CLOSED. */
enum leat_error link_tcp_end_output(int fd);

/* The kernel ends the connection when what was sent is not acknowledged, or not taken by a full
 * peer, for so long. Where it has no such option this does nothing. */
void link_tcp_user_timeout(int fd, uint32_t ms);

/* How many bytes the kernel still holds that the peer has not acknowledged; 0 when unknown. */
size_t link_tcp_unsent(int fd);

#endif

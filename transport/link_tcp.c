/* TCP link: non-blocking stream sockets, their options, and their errors as enum leat_error. */
#include "transport/link_tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "transport/accept.h"

enum {
    BACKLOG = 4096, /* the kernel limits it to net.core.somaxconn */
};

enum leat_error link_tcp_address(const char *host, uint16_t port, struct sockaddr_storage *out)
{
    struct sockaddr_storage address;
    memset(&address, 0, sizeof address);
    struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
    } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
    } else {
        return LEAT_ERR_INVALID;
    }
    *out = address;
    return LEAT_OK;
}

void link_tcp_address_text(const struct sockaddr_storage *address, char text[LINK_TCP_ADDRESS_TEXT])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(text, LINK_TCP_ADDRESS_TEXT, "[%s]:%u", host, (unsigned)ntohs(v6->sin6_port));
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(text, LINK_TCP_ADDRESS_TEXT, "%s:%u", host, (unsigned)ntohs(v4->sin_port));
    }
}

static socklen_t address_bytes(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                          : sizeof(struct sockaddr_in);
}

void link_tcp_user_timeout(int fd, uint32_t ms)
{
    const unsigned timeout = ms;
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
}

static enum leat_error set_options(int fd, const struct link_tcp_options *options)
{
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (options->user_timeout_ms != 0)
        link_tcp_user_timeout(fd, options->user_timeout_ms);
    if (options->socket_buffer_bytes != 0) {
        const int bytes = options->socket_buffer_bytes > INT_MAX / 2
                              ? INT_MAX / 2
                              : (int)options->socket_buffer_bytes;
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    }
    if (options->congestion != NULL
        && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, options->congestion,
                      (socklen_t)strlen(options->congestion))
               != 0)
        return LEAT_ERR_INVALID;
    return LEAT_OK;
}

static const char *advice(int error)
{
    switch (error) {
    case EADDRINUSE: return "another process listens there: stop it or choose another port";
    case EADDRNOTAVAIL: return "this machine does not have that address";
    case EACCES: return "ports below 1024 need root: choose a higher one";
    case EMFILE:
    case ENFILE: return "no file descriptors are left: raise `ulimit -n`";
    default: return "see the operating system's message";
    }
}

enum leat_error link_tcp_listen(int *fd, const char *host, uint16_t port,
                                const struct link_tcp_options *options,
                                char bound[LINK_TCP_ADDRESS_TEXT],
                                char error_text[LINK_TCP_ERROR_TEXT])
{
    struct sockaddr_storage address;
    if (link_tcp_address(host, port, &address) != LEAT_OK) {
        snprintf(error_text, LINK_TCP_ERROR_TEXT,
                 "host \"%.64s\": expected a numeric IPv4 or IPv6 address", host);
        return LEAT_ERR_INVALID;
    }
    char wanted[LINK_TCP_ADDRESS_TEXT];
    link_tcp_address_text(&address, wanted);
    const int on = 1;
    enum leat_error error = LEAT_ERR_IO;
    const int listener = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0)
        goto refused;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    error = set_options(listener, options);
    if (error != LEAT_OK) {
        snprintf(error_text, LINK_TCP_ERROR_TEXT,
                 "tcp_congestion \"%.32s\": this kernel does not have it; see "
                 "/proc/sys/net/ipv4/tcp_available_congestion_control",
                 options->congestion);
        close(listener);
        return error;
    }
    error = LEAT_ERR_IO;
    socklen_t size = sizeof address;
    if (bind(listener, (const struct sockaddr *)&address, address_bytes(&address)) != 0
        || listen(listener, BACKLOG) != 0
        || getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        goto refused;
    link_tcp_address_text(&address, bound);
    *fd = listener;
    return LEAT_OK;

refused:
    snprintf(error_text, LINK_TCP_ERROR_TEXT, "cannot listen on %s: %s; %s", wanted,
             strerror(errno), advice(errno));
    if (listener >= 0)
        close(listener);
    return error;
}

enum leat_error link_tcp_accept(int listener, int *fd)
{
    const int accepted = accept_connection(listener);
    if (accepted >= 0) {
        /* On Linux it inherits the listener's options, TCP_NODELAY among them. */
        *fd = accepted;
        return LEAT_OK;
    }
    switch (errno) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EPERM: /* from a seccomp filter or a firewall: the caller must not retry at once */
    case ENOSYS: return LEAT_ERR_LIMIT;
    default: return LEAT_AGAIN; /* including a connection that was reset while pending */
    }
}

void link_tcp_peer(int fd, uint8_t address[LINK_TCP_PEER_BYTES])
{
    static const uint8_t mapped[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF };
    struct sockaddr_storage peer = { .ss_family = AF_UNSPEC };
    socklen_t size = sizeof peer;
    memset(address, 0, LINK_TCP_PEER_BYTES);
    if (getpeername(fd, (struct sockaddr *)&peer, &size) != 0)
        return;
    if (peer.ss_family == AF_INET6) {
        memcpy(address, &((const struct sockaddr_in6 *)&peer)->sin6_addr, LINK_TCP_PEER_BYTES);
    } else if (peer.ss_family == AF_INET) {
        memcpy(address, mapped, sizeof mapped);
        memcpy(address + sizeof mapped, &((const struct sockaddr_in *)&peer)->sin_addr,
               sizeof(struct in_addr));
    }
}

enum leat_error link_tcp_connect(int *fd, const struct sockaddr_storage *to,
                                 const struct link_tcp_options *options)
{
    const int s = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s < 0)
        return errno == EMFILE || errno == ENFILE ? LEAT_ERR_LIMIT : LEAT_ERR_UNREACHABLE;
    enum leat_error error = set_options(s, options);
    if (error == LEAT_OK && connect(s, (const struct sockaddr *)to, address_bytes(to)) != 0
        && errno != EINPROGRESS)
        error = LEAT_ERR_UNREACHABLE;
    if (error != LEAT_OK) {
        close(s);
        return error;
    }
    *fd = s;
    return LEAT_OK;
}

enum leat_error link_tcp_connected(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;
    struct sockaddr_storage peer;
    socklen_t peer_size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)
        return LEAT_ERR_UNREACHABLE;
    if (getpeername(fd, (struct sockaddr *)&peer, &peer_size) != 0)
        return LEAT_AGAIN;
    return LEAT_OK;
}

static enum leat_error received(ssize_t n, size_t *got)
{
    if (n > 0) {
        *got = (size_t)n;
        return LEAT_OK;
    }
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return LEAT_AGAIN;
    return LEAT_ERR_CLOSED;
}

enum leat_error link_tcp_receive(int fd, void *bytes, size_t room, size_t *got)
{
    return received(recv(fd, bytes, room, 0), got);
}

enum leat_error link_tcp_receive_pieces(int fd, const struct iovec *pieces, int count, size_t *got)
{
    struct msghdr message = { .msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)count };
    return received(recvmsg(fd, &message, 0), got);
}

enum leat_error link_tcp_send(int fd, const struct iovec *pieces, int count, size_t *sent)
{
    const struct msghdr message = { .msg_iov = (struct iovec *)pieces,
                                    .msg_iovlen = (size_t)(count < IOV_MAX ? count : IOV_MAX) };
    const ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);
    if (n > 0) {
        *sent = (size_t)n;
        return LEAT_OK;
    }
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ENOBUFS))
        return LEAT_AGAIN;
    return LEAT_ERR_CLOSED;
}

enum leat_error link_tcp_end_output(int fd)
{
    return shutdown(fd, SHUT_WR) == 0 ? LEAT_OK : LEAT_ERR_CLOSED;
}

size_t link_tcp_unsent(int fd)
{
    int bytes = 0;
    return ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? (size_t)bytes : 0;
}

/* UDP link: datagrams over one kernel socket, many per system call. */
#include "transport/link_udp.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "transport/messages.h"

enum {
    MESSAGES_MAX = LINK_BURST, /* per recvmmsg */
    RECEIVE_BYTES = 1 << 16,   /* per message; with GRO a message holds many datagrams */
    OUTGOING_MAX = 256,        /* buffers that are reserved or queued */
    OUTGOING_BYTES = 1 << 14,  /* per buffer: whole pages, at least the payload */
    SEGMENTS_MAX = 64,         /* datagrams per message with GSO: the kernel's limit */
    GSO_BYTES_MAX = 65000,     /* payload per message with GSO */
    CONTROL_BYTES = 64,        /* per message: GRO's segment size and the drop count */
    BUFFER_BYTES_DEFAULT = 4 << 20,
};
static_assert((int)OUTGOING_BYTES >= (int)LINK_UDP_PAYLOAD_MAX, "a buffer holds one datagram");

struct outgoing {
    uint32_t size; /* bytes in the buffer */
    uint32_t buffer;
    struct link_reference reference; /* size 0: none */
    struct link_peer to;
};

/* The arguments of one sendmmsg. */
struct send_plan {
    struct mmsghdr messages[OUTGOING_MAX];
    struct iovec pieces[2 * OUTGOING_MAX];
    struct sockaddr_storage addresses[OUTGOING_MAX];
    uint32_t datagrams[OUTGOING_MAX]; /* number in each message */
    uint8_t controls[OUTGOING_MAX][CMSG_SPACE(sizeof(uint16_t))];
    uint32_t count;
};

struct link_udp {
    struct link link;
    int fd;
    int family;
    bool gso;
    uint32_t alone; /* so many at the queue's head go one per message: with GSO they were refused */
    uint32_t kernel_drops; /* the kernel's counter, as last reported */

    /* Messages of the last recvmmsg that were not returned yet. */
    int message_count, message_next;
    uint32_t segment_at; /* offset in the message */
    struct mmsghdr messages[MESSAGES_MAX];
    struct iovec receive_places[MESSAGES_MAX];
    struct sockaddr_storage senders[MESSAGES_MAX];
    uint8_t controls[MESSAGES_MAX][CONTROL_BYTES];
    uint32_t segment_sizes[MESSAGES_MAX];

    uint32_t free_count;
    uint32_t free_buffers[OUTGOING_MAX];
    uint32_t queue_count;
    struct outgoing queue[OUTGOING_MAX];
    struct send_plan plan;

    uint8_t *memory; /* receive buffers, then outgoing ones */
};

enum { MEMORY_BYTES = MESSAGES_MAX * RECEIVE_BYTES + OUTGOING_MAX * OUTGOING_BYTES };

static struct link_udp *of(struct link *link)
{
    return (struct link_udp *)link;
}

static uint8_t *outgoing_buffer(const struct link_udp *u, uint32_t index)
{
    return u->memory + (size_t)MESSAGES_MAX * RECEIVE_BYTES + (size_t)index * OUTGOING_BYTES;
}

static uint32_t buffer_index(const struct link_udp *u, const uint8_t *buffer)
{
    return (uint32_t)((size_t)(buffer - outgoing_buffer(u, 0)) / OUTGOING_BYTES);
}

/* ---- addresses */

bool link_udp_peer(const struct sockaddr_storage *address, struct link_peer *out)
{
    memset(out, 0, sizeof *out);
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        out->key.address[10] = out->key.address[11] = 0xFF;
        memcpy(out->key.address + 12, &v4->sin_addr, sizeof v4->sin_addr);
        out->key.port = ntohs(v4->sin_port);
        return true;
    }
    if (address->ss_family != AF_INET6)
        return false;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
    memcpy(out->key.address, &v6->sin6_addr, sizeof v6->sin6_addr);
    out->key.scope = v6->sin6_scope_id;
    out->key.port = ntohs(v6->sin6_port);
    return true;
}

static socklen_t peer_address(const struct link_udp *u, const struct link_peer *peer,
                              struct sockaddr_storage *out)
{
    if (u->family == AF_INET) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)out;
        *v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(peer->key.port) };
        memcpy(&v4->sin_addr, peer->key.address + 12, sizeof v4->sin_addr);
        return sizeof *v4;
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    *v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
                                 .sin6_port = htons(peer->key.port),
                                 .sin6_scope_id = peer->key.scope };
    memcpy(&v6->sin6_addr, peer->key.address, sizeof v6->sin6_addr);
    return sizeof *v6;
}

/* ---- receiving */

/* Reads a message's control data: GRO's segment size, and the kernel's count of drops. */
static void read_control(struct link_udp *u, int index)
{
    struct msghdr *header = &u->messages[index].msg_hdr;
    u->segment_sizes[index] = u->messages[index].msg_len;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
            int size;
            memcpy(&size, CMSG_DATA(c), sizeof size);
            if (size > 0)
                u->segment_sizes[index] = (uint32_t)size;
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
            uint32_t drops;
            memcpy(&drops, CMSG_DATA(c), sizeof drops);
            const uint32_t more = drops - u->kernel_drops;
            u->kernel_drops = drops;
            link_count(&u->link.counters.rx, more);
            link_count(&u->link.counters.drops[LINK_DROP_DEVICE], more);
        }
    }
}

static bool refill(struct link_udp *u)
{
    for (int i = 0; i < MESSAGES_MAX; i++) {
        struct msghdr *header = &u->messages[i].msg_hdr;
        header->msg_namelen = sizeof u->senders[i];
        header->msg_controllen = CONTROL_BYTES;
    }
    const int count = messages_receive(u->fd, u->messages, MESSAGES_MAX, MSG_DONTWAIT);
    u->message_count = count > 0 ? count : 0;
    u->message_next = 0;
    u->segment_at = 0;
    for (int i = 0; i < u->message_count; i++)
        read_control(u, i);
    return u->message_count != 0;
}

static unsigned udp_receive(struct link *link, struct link_datagram *out, unsigned max, leat_ns now)
{
    struct link_udp *u = of(link);
    unsigned got = 0;
    uint64_t bytes = 0;
    (void)now;
    if (u->message_next == u->message_count && !refill(u))
        return 0;
    while (got < max && u->message_next < u->message_count) {
        const int i = u->message_next;
        const uint32_t left = u->messages[i].msg_len - u->segment_at;
        const uint32_t size = left < u->segment_sizes[i] ? left : u->segment_sizes[i];
        const bool cut = (u->messages[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
        link_count(&link->counters.rx, 1);
        if (!cut && link_udp_peer(&u->senders[i], &out[got].peer)) {
            out[got].bytes = (uint8_t *)u->receive_places[i].iov_base + u->segment_at;
            out[got].size = size;
            out[got].handle = NULL;
            bytes += size;
            got++;
        } else {
            link_count(&link->counters.drops[LINK_DROP_SHORT], 1);
        }
        u->segment_at += size;
        if (u->segment_at >= u->messages[i].msg_len) {
            u->message_next++;
            u->segment_at = 0;
        }
    }
    link_count(&link->counters.accepted, got);
    link_count(&link->counters.rx_bytes, bytes);
    return got;
}

static void udp_release(struct link *link, struct link_datagram *datagrams, unsigned count)
{
    (void)link; /* the next receive reuses all buffers */
    (void)datagrams;
    (void)count;
}

/* ---- sending */

static bool udp_reserve(struct link *link, struct link_outgoing *out)
{
    struct link_udp *u = of(link);
    if (u->free_count == 0) {
        link_count(&link->counters.tx_no_buffer, 1);
        return false;
    }
    const uint32_t index = u->free_buffers[--u->free_count];
    out->bytes = outgoing_buffer(u, index);
    out->handle = out->bytes;
    return true;
}

static void udp_cancel(struct link *link, struct link_outgoing *out)
{
    struct link_udp *u = of(link);
    u->free_buffers[u->free_count++] = buffer_index(u, out->handle);
}

static void udp_send(struct link *link, struct link_outgoing *out, uint32_t size,
                     const struct link_reference *reference, const struct link_peer *to)
{
    struct link_udp *u = of(link);
    struct outgoing *o = &u->queue[u->queue_count++]; /* has as many entries as there are buffers */
    o->size = size;
    o->buffer = buffer_index(u, out->handle);
    o->to = *to;
    if (reference != NULL)
        o->reference = *reference;
    else
        o->reference.size = 0;
}

static uint32_t whole_size(const struct outgoing *o)
{
    return o->size + o->reference.size;
}

/* How many datagrams from `first` on fit into one GSO message. They must go to the same peer and
 * have the same size; the last may be smaller. */
static uint32_t run_length(const struct link_udp *u, uint32_t first)
{
    const struct outgoing *head = &u->queue[first];
    const uint32_t size = whole_size(head);
    uint32_t count = 1, total = size;
    if (!u->gso)
        return 1;
    while (first + count < u->queue_count && count < SEGMENTS_MAX) {
        const struct outgoing *next = &u->queue[first + count];
        const uint32_t more = whole_size(next);
        if (more > size || total + more > GSO_BYTES_MAX || !link_peer_same(&head->to, &next->to))
            break;
        total += more;
        count++;
        if (more < size)
            break;
    }
    return count;
}

static void set_segment_size(struct msghdr *header, uint8_t *control, uint16_t size)
{
    header->msg_control = control;
    header->msg_controllen = CMSG_SPACE(sizeof size);
    struct cmsghdr *c = CMSG_FIRSTHDR(header);
    c->cmsg_level = SOL_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof size);
    memcpy(CMSG_DATA(c), &size, sizeof size);
}

static void make_plan(struct link_udp *u)
{
    struct send_plan *plan = &u->plan;
    uint32_t piece = 0;
    plan->count = 0;
    for (uint32_t at = 0; at < u->queue_count;) {
        const uint32_t i = plan->count++;
        const uint32_t run = at < u->alone ? 1 : run_length(u, at);
        struct msghdr *header = &plan->messages[i].msg_hdr;
        *header =
            (struct msghdr){ .msg_name = &plan->addresses[i], .msg_iov = &plan->pieces[piece] };
        header->msg_namelen = peer_address(u, &u->queue[at].to, &plan->addresses[i]);
        for (uint32_t k = 0; k < run; k++) {
            const struct outgoing *o = &u->queue[at + k];
            plan->pieces[piece++] =
                (struct iovec){ .iov_base = outgoing_buffer(u, o->buffer), .iov_len = o->size };
            if (o->reference.size != 0)
                plan->pieces[piece++] = (struct iovec){ .iov_base = (void *)o->reference.bytes,
                                                        .iov_len = o->reference.size };
        }
        header->msg_iovlen = (size_t)(&plan->pieces[piece] - header->msg_iov);
        if (run > 1)
            set_segment_size(header, plan->controls[i], (uint16_t)whole_size(&u->queue[at]));
        plan->datagrams[i] = run;
        at += run;
    }
}

/* Removes the first `count` datagrams, sent or given up, from the queue. */
static void forget(struct link_udp *u, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct outgoing *o = &u->queue[i];
        if (o->reference.size != 0)
            o->reference.release(o->reference.owner, o->reference.token);
        u->free_buffers[u->free_count++] = o->buffer;
    }
    u->queue_count -= count;
    u->alone -= count < u->alone ? count : u->alone;
    memmove(u->queue, u->queue + count, u->queue_count * sizeof u->queue[0]);
}

static void count_sent(struct link_udp *u, uint32_t datagrams)
{
    struct link_counters *c = &u->link.counters;
    for (uint32_t i = 0; i < datagrams; i++) {
        link_count(&c->tx_bytes, whole_size(&u->queue[i]));
        if (u->queue[i].reference.size != 0)
            link_count(&c->tx_references, 1);
    }
    link_count(&c->tx, datagrams);
}

static bool is_for_later(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR || error == ENOBUFS;
}

static unsigned udp_flush(struct link *link, leat_ns now)
{
    struct link_udp *u = of(link);
    (void)now;
    while (u->queue_count != 0) {
        make_plan(u);
        const struct send_plan *plan = &u->plan;
        const int sent = messages_send(u->fd, u->plan.messages, plan->count, MSG_DONTWAIT);
        if (sent > 0) {
            uint32_t datagrams = 0;
            for (int i = 0; i < sent; i++)
                datagrams += plan->datagrams[i];
            count_sent(u, datagrams);
            forget(u, datagrams);
            continue;
        }
        if (is_for_later(errno)) {
            link_count(&link->counters.tx_kept, 1);
            break;
        }
        if (plan->datagrams[0] > 1 && errno == EIO) {
            u->gso = false; /* the device does not support it */
            continue;
        }
        if (plan->datagrams[0] > 1 && (errno == EMSGSIZE || errno == EINVAL)) {
            u->alone = plan->datagrams[0]; /* some may be too large for the path: send each alone */
            continue;
        }
        /* A permanent error (no route, too large for the path): treat it as loss. */
        link_count(&link->counters.tx_lost, plan->datagrams[0]);
        forget(u, plan->datagrams[0]);
    }
    return u->queue_count;
}

static unsigned udp_reclaim(struct link *link)
{
    struct link_udp *u = of(link);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < u->queue_count; i++) {
        const struct outgoing o = u->queue[i];
        if (o.reference.size == 0) {
            u->queue[kept++] = o;
            continue;
        }
        o.reference.release(o.reference.owner, o.reference.token);
        u->free_buffers[u->free_count++] = o.buffer;
        link_count(&link->counters.tx_lost, 1);
    }
    u->queue_count = kept;
    return 0;
}

static int udp_descriptor(const struct link *link)
{
    return ((const struct link_udp *)link)->fd;
}

static leat_ns udp_deadline(const struct link *link)
{
    (void)link;
    return LEAT_NS_NEVER;
}

/* ---- opening and closing */

static void udp_close(struct link *link)
{
    struct link_udp *u = of(link);
    forget(u, u->queue_count);
    if (u->fd >= 0)
        close(u->fd);
    if (u->memory != NULL)
        munmap(u->memory, MEMORY_BYTES);
    free(u);
}

static const struct link_ops udp_ops = {
    .receive = udp_receive,
    .release = udp_release,
    .reserve = udp_reserve,
    .cancel = udp_cancel,
    .send = udp_send,
    .flush = udp_flush,
    .reclaim = udp_reclaim,
    .descriptor = udp_descriptor,
    .deadline = udp_deadline,
    .close = udp_close,
};

/* Only a privileged process can exceed the system's limit (the FORCE option). */
static void set_buffer(int fd, int force, int plain, uint32_t bytes)
{
    const int value = bytes != 0 ? (int)bytes : BUFFER_BYTES_DEFAULT;
    if (setsockopt(fd, SOL_SOCKET, force, &value, sizeof value) != 0)
        setsockopt(fd, SOL_SOCKET, plain, &value, sizeof value);
}

static void set_options(struct link_udp *u, const struct link_udp_options *options)
{
    const int on = 1, off = 0, segment = 0;
    set_buffer(u->fd, SO_RCVBUFFORCE, SO_RCVBUF, options->socket_buffer_bytes);
    set_buffer(u->fd, SO_SNDBUFFORCE, SO_SNDBUF, options->socket_buffer_bytes);
    setsockopt(u->fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
    setsockopt(u->fd, SOL_UDP, UDP_GRO, &on, sizeof on);
    /* No fragmentation: the kernel refuses a datagram above the interface's MTU, and the session
     * detects the path's MTU itself (mtu.h). */
    const int probe = u->family == AF_INET ? IP_PMTUDISC_PROBE : IPV6_PMTUDISC_PROBE;
    if (u->family == AF_INET) {
        setsockopt(u->fd, IPPROTO_IP, IP_MTU_DISCOVER, &probe, sizeof probe);
    } else {
        setsockopt(u->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &probe, sizeof probe);
        setsockopt(u->fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    }
    u->gso = setsockopt(u->fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment) == 0;
}

static void prepare(struct link_udp *u)
{
    for (int i = 0; i < MESSAGES_MAX; i++) {
        u->receive_places[i] = (struct iovec){ .iov_base = u->memory + (size_t)i * RECEIVE_BYTES,
                                               .iov_len = RECEIVE_BYTES };
        u->messages[i].msg_hdr = (struct msghdr){ .msg_name = &u->senders[i],
                                                  .msg_iov = &u->receive_places[i],
                                                  .msg_iovlen = 1,
                                                  .msg_control = u->controls[i] };
    }
    /* LIFO, beginning with buffer 0: the memory in use stays small and in the cache. */
    for (uint32_t i = 0; i < OUTGOING_MAX; i++)
        u->free_buffers[i] = OUTGOING_MAX - 1 - i;
    u->free_count = OUTGOING_MAX;
}

static enum leat_error bind_to(struct link_udp *u, const char *host, uint16_t port,
                               char bound[LINK_TCP_ADDRESS_TEXT],
                               char error_text[LINK_TCP_ERROR_TEXT])
{
    struct sockaddr_storage address = { .ss_family = (sa_family_t)u->family };
    socklen_t length =
        u->family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    if (host != NULL && link_tcp_address(host, port, &address) != LEAT_OK) {
        snprintf(error_text, LINK_TCP_ERROR_TEXT,
                 "udp \"%s\": expected a numeric IPv4 or IPv6 address", host);
        return LEAT_ERR_INVALID;
    }
    if (bind(u->fd, (const struct sockaddr *)&address, length) != 0) {
        char text[LINK_TCP_ADDRESS_TEXT];
        link_tcp_address_text(&address, text);
        snprintf(error_text, LINK_TCP_ERROR_TEXT,
                 "cannot bind UDP %s: %s; is another leatd running? Choose another port", text,
                 strerror(errno));
        return LEAT_ERR_IO;
    }
    if (getsockname(u->fd, (struct sockaddr *)&address, &length) == 0)
        link_tcp_address_text(&address, bound);
    return LEAT_OK;
}

enum leat_error link_udp_open(struct link **out, int family, const char *host, uint16_t port,
                              const struct link_udp_options *options,
                              char bound[LINK_TCP_ADDRESS_TEXT],
                              char error_text[LINK_TCP_ERROR_TEXT])
{
    struct link_udp *u = calloc(1, sizeof *u);
    if (u == NULL) {
        snprintf(error_text, LINK_TCP_ERROR_TEXT, "udp: out of memory");
        return LEAT_ERR_NO_MEMORY;
    }
    struct sockaddr_storage address;
    if (host != NULL && link_tcp_address(host, port, &address) == LEAT_OK)
        family = address.ss_family;
    u->link.ops = &udp_ops;
    u->link.limits = (struct link_limits){ .payload_max = LINK_UDP_PAYLOAD_MAX,
                                           .reference_min = LINK_REFERENCE_MIN_UDP };
    u->family = family;
    u->fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* mmap: pages of buffers that are never used are never allocated. */
    void *memory =
        mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    u->memory = memory != MAP_FAILED ? memory : NULL;
    if (u->fd < 0 || u->memory == NULL) {
        snprintf(error_text, LINK_TCP_ERROR_TEXT, "udp: cannot get a socket and its buffers: %s",
                 strerror(errno));
        udp_close(&u->link);
        return LEAT_ERR_IO;
    }
    prepare(u);
    set_options(u, options);
    const enum leat_error error = bind_to(u, host, port, bound, error_text);
    if (error != LEAT_OK) {
        udp_close(&u->link);
        return error;
    }
    *out = &u->link;
    return LEAT_OK;
}

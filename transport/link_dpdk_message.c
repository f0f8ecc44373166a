/* DPDK memif messages: sends and receives single messages of memif's control channel.
 *
 * Role: bytes and descriptors of a message.
 * Must not know: the order of messages.
 * Threads: the proxy's; control's while a port closes. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/link_dpdk_port.h"

enum {
    REASON_AT = 6, /* in DISCONNECT, behind a 32-bit code: memif.h of DPDK 22.11 */
    REASON_BYTES = 96,
};

bool link_dpdk_message_receive(int from, struct link_dpdk_message *m)
{
    char control[CMSG_SPACE(sizeof m->descriptors)];
    struct iovec part = { .iov_base = m->bytes, .iov_len = sizeof m->bytes };
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
    };
    m->descriptor_count = 0;
    m->size = recvmsg(from, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (m->size < 0)
        return false;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c != NULL; c = CMSG_NXTHDR(&header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        m->descriptor_count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(m->descriptors, CMSG_DATA(c), m->descriptor_count * sizeof(int));
    }
    return m->size > 0 && (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
}

bool link_dpdk_message_send(int to, struct link_dpdk_message *m)
{
    char control[CMSG_SPACE(sizeof m->descriptors)] = { 0 };
    const size_t bytes = m->descriptor_count * sizeof(int);
    struct iovec part = { .iov_base = m->bytes, .iov_len = (size_t)m->size };
    struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
    if (bytes != 0) {
        header.msg_control = control;
        header.msg_controllen = CMSG_SPACE(bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(c), m->descriptors, bytes);
    }
    return sendmsg(to, &header, MSG_DONTWAIT | MSG_NOSIGNAL) == m->size;
}

void link_dpdk_message_drop(struct link_dpdk_message *m)
{
    for (size_t i = 0; i < m->descriptor_count; i++)
        close(m->descriptors[i]);
    m->descriptor_count = 0;
}

bool link_dpdk_message_tell(int to, const uint8_t bytes[LINK_DPDK_MEMIF_BYTES], int fd)
{
    struct link_dpdk_message m = { .size = LINK_DPDK_MEMIF_BYTES };
    memcpy(m.bytes, bytes, LINK_DPDK_MEMIF_BYTES);
    if (fd >= 0)
        m.descriptors[m.descriptor_count++] = fd;
    return link_dpdk_message_send(to, &m);
}

uint16_t link_dpdk_message_type(const struct link_dpdk_message *m)
{
    uint16_t type = 0;
    memcpy(&type, m->bytes, sizeof type);
    return m->size == LINK_DPDK_MEMIF_BYTES ? type : 0;
}

void link_dpdk_message_say_why(int fd, const char *why)
{
    uint8_t bytes[LINK_DPDK_MEMIF_BYTES] = { LINK_DPDK_MEMIF_DISCONNECT };
    snprintf((char *)bytes + REASON_AT, REASON_BYTES, "%s", why);
    link_dpdk_message_tell(fd, bytes, -1); /* or it does not hear it */
}

/* Many datagrams per system call, where the kernel and seccomp allow it. */
#include "transport/messages.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

static atomic_bool receive_refused, send_refused;

/* EPERM from sendmmsg is ambiguous: a firewall also returns it for a single datagram. */
static bool is_refusal(int error)
{
    return error == ENOSYS || error == EPERM;
}

static bool is_refused(const atomic_bool *call)
{
    return atomic_load_explicit(call, memory_order_relaxed);
}

static int receive_each(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    unsigned done = 0;
    for (; done < count; done++) {
        const ssize_t got = recvmsg(fd, &messages[done].msg_hdr, flags);
        if (got < 0)
            break;
        messages[done].msg_len = (unsigned)got;
    }
    return done != 0 ? (int)done : -1;
}

static int send_each(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    unsigned done = 0;
    for (; done < count; done++) {
        const ssize_t sent = sendmsg(fd, &messages[done].msg_hdr, flags);
        if (sent < 0)
            break;
        messages[done].msg_len = (unsigned)sent;
    }
    return done != 0 ? (int)done : -1;
}

int messages_receive(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    if (!is_refused(&receive_refused)) {
        const int got = recvmmsg(fd, messages, count, flags, NULL);
        if (got >= 0 || !is_refusal(errno))
            return got;
        atomic_store_explicit(&receive_refused, true, memory_order_relaxed);
    }
    return receive_each(fd, messages, count, flags);
}

int messages_send(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    if (is_refused(&send_refused))
        return send_each(fd, messages, count, flags);
    int sent = sendmmsg(fd, messages, count, flags);
    if (sent >= 0 || !is_refusal(errno))
        return sent;
    sent = send_each(fd, messages, count, flags);
    if (sent > 0) /* so sendmmsg was refused, not the datagram */
        atomic_store_explicit(&send_refused, true, memory_order_relaxed);
    return sent;
}

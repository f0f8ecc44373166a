/* Many datagrams per system call, where the kernel and seccomp allow it.
 *
 * Role: recvmmsg and sendmmsg, or recvmsg and sendmsg in a loop where those are refused (ENOSYS, or
 * EPERM from a seccomp profile). A refusal is remembered for the whole process.
 * Must not know: what is sent, to whom.
 * Threads: any. */
#ifndef LEAT_TRANSPORT_MESSAGES_H
#define LEAT_TRANSPORT_MESSAGES_H

#include <sys/socket.h>

/* Like recvmmsg without a timeout: returns how many were received, or -1 with errno set. `flags`
 * must contain MSG_DONTWAIT. */
int messages_receive(int fd, struct mmsghdr *messages, unsigned count, int flags);
/* Like sendmmsg: returns how many were sent, or -1 with errno set. */
int messages_send(int fd, struct mmsghdr *messages, unsigned count, int flags);

#endif

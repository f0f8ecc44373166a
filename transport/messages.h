/* Many datagrams in one system call, where the kernel and its filters have that.
 *
 * Role: recvmmsg and sendmmsg, or one by one where they are refused (ENOSYS, or EPERM of a seccomp
 * profile), which is remembered for the process. Must not know: what is sent, to whom.
 * Threads: any. */
#ifndef LEAT_TRANSPORT_MESSAGES_H
#define LEAT_TRANSPORT_MESSAGES_H

#include <sys/socket.h>

/* As recvmmsg without a timeout: how many came, or -1 with errno. `flags` has MSG_DONTWAIT. */
int messages_receive(int fd, struct mmsghdr *messages, unsigned count, int flags);
/* As sendmmsg: how many were sent, or -1 with errno. */
int messages_send(int fd, struct mmsghdr *messages, unsigned count, int flags);

#endif

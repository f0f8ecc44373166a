/* Accepting: accept4, or accept and fcntl where older filters of system calls refuse that.
 *
 * Role: that. Must not know: who knocks. Threads: any. */
#ifndef LEAT_TRANSPORT_ACCEPT_H
#define LEAT_TRANSPORT_ACCEPT_H

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

/* A non-blocking descriptor that no program we start gets; -1: errno says why. */
static inline int accept_connection(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
        return fd;
    fd = accept(listener, NULL, NULL);
    if (fd < 0)
        return fd;
    if (fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
        return fd;
    close(fd);
    errno = EPERM;
    return -1;
}

#endif

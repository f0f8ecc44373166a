/* Accept a connection with accept4, or with accept and fcntl where an older seccomp filter refuses
 * accept4.
 *
 * Role: returns a descriptor with the right flags.
 * Must not know: protocols, peers.
 * Threads: any. */
#ifndef LEAT_TRANSPORT_ACCEPT_H
#define LEAT_TRANSPORT_ACCEPT_H

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

/* Accepts one connection. Returns a descriptor with O_NONBLOCK and FD_CLOEXEC set, owned by the
 * caller, or -1 with errno set (EPERM if the flags could not be set). */
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

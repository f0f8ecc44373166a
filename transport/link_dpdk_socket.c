/* DPDK sockets: checks that a socket for sharing memory is in a safe directory.
 *
 * A process at the other end of such a socket shares memory with us: a server shares with everyone
 * who connects, a client with whoever serves. As for a private key, the directory is the
 * protection: it and all its parents must belong to our own user or to root, and nobody else may
 * write to them. A world-writable directory with the sticky bit, such as /tmp, is not safe for the
 * socket itself, because another user may create it first. It is safe as a parent of our own
 * directory.
 *
 * Role: paths and permissions of sockets, for memif, vhost-user and virtio-user.
 * Must not know: what peers say.
 * Threads: control's. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "transport/link_dpdk_port.h"

enum { FOLDER_SHOWN = 200, BACKLOG = 16 };

__attribute__((format(printf, 2, 3))) static enum leat_error refuse(
    char error_text[LINK_DPDK_ERROR_TEXT], const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(error_text, LINK_DPDK_ERROR_TEXT, format, list);
    va_end(list);
    return LEAT_ERR_INVALID;
}

/* Checks one directory of the path. `last`: the one that contains the socket. NULL: it is safe,
 * else the problem. */
static const char *find_fault(const char *folder, bool last)
{
    struct stat found;
    if (stat(folder, &found) != 0)
        return strerror(errno);
    if (!S_ISDIR(found.st_mode))
        return "it is not a directory";
    if (found.st_uid != geteuid() && found.st_uid != 0)
        return "it belongs to another user";
    const bool sticky = (found.st_mode & S_ISVTX) != 0 && !last;
    if ((found.st_mode & S_IWOTH) != 0 && !sticky)
        return "every user may write there";
    if ((found.st_mode & S_IWGRP) != 0 && !sticky && (last || found.st_gid != 0))
        return "a group may write there";
    return NULL;
}

static enum leat_error check_folders(const struct link_dpdk_device *d, const char *folder,
                                     char error_text[LINK_DPDK_ERROR_TEXT])
{
    char above[PATH_MAX];
    snprintf(above, sizeof above, "%s", folder);
    for (bool last = true;; last = false) {
        const char *fault = find_fault(above, last);
        if (fault != NULL)
            return refuse(error_text,
                          "device %s: its socket shares memory, and \"%.*s\" does not keep others "
                          "from it: %s; use a directory of mode 0700 that belongs to this user",
                          d->name, FOLDER_SHOWN, above, fault);
        char *slash = strrchr(above, '/');
        if (slash == NULL || above[1] == '\0')
            return LEAT_OK;
        slash[slash == above] = '\0';
    }
}

/* virtio-user's path may be a character device: vhost-net or vDPA. */
static bool is_device(const char *path)
{
    struct stat found;
    return stat(path, &found) == 0 && S_ISCHR(found.st_mode);
}

enum leat_error link_dpdk_socket_place(struct link_dpdk_device *d,
                                       char error_text[LINK_DPDK_ERROR_TEXT])
{
    char given[LINK_DPDK_SOCKET_BYTES], folder[PATH_MAX], whole[PATH_MAX + sizeof given];
    const struct sockaddr_un *address = NULL;
    if (d->socket_file[0] == '\0' || is_device(d->socket_file))
        return LEAT_OK;
    memcpy(given, d->socket_file, sizeof given);
    char *slash = strrchr(given, '/');
    const char *name = slash != NULL ? slash + 1 : given;
    const char *where = slash == NULL ? "." : slash == given ? "/" : given;
    if (slash != NULL)
        *slash = '\0';
    if (realpath(where, folder) == NULL)
        return refuse(error_text,
                      "device %s: the directory \"%.*s\" of its socket: %s; create it with mode "
                      "0700, owned by this user",
                      d->name, FOLDER_SHOWN, where, strerror(errno));
    snprintf(whole, sizeof whole, "%s/%s", folder[1] != '\0' ? folder : "", name);
    if (name[0] == '\0' || strlen(whole) >= sizeof address->sun_path)
        return refuse(error_text,
                      "device %s: its socket \"%.*s\": expected a path of 1 to %zu bytes", d->name,
                      FOLDER_SHOWN, whole, sizeof address->sun_path - 1);
    const enum leat_error error = check_folders(d, folder, error_text);
    if (error != LEAT_OK)
        return error;
    memcpy(d->socket_file, whole, strlen(whole) + 1);
    if (d->memif_socket[0] != '\0')
        memcpy(d->memif_socket, whole, strlen(whole) + 1);
    if (d->memif_socket[0] == '\0' || d->memif_client)
        link_dpdk_set_argument(d, d->socket_key, whole);
    return LEAT_OK;
}

/* The drivers take a leftover file for a running server. Probe with SOCK_DGRAM: a live server of
 * another socket type does not notice it, a dead one returns ECONNREFUSED. */
void link_dpdk_socket_clear(const struct link_dpdk_device *d)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct stat found;
    if (!d->serves || strlen(d->socket_file) >= sizeof address.sun_path
        || lstat(d->socket_file, &found) != 0 || !S_ISSOCK(found.st_mode))
        return;
    memcpy(address.sun_path, d->socket_file, strlen(d->socket_file) + 1);
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0
        && errno == ECONNREFUSED)
        unlink(d->socket_file);
    close(fd);
}

void link_dpdk_socket_protect(const struct link_dpdk_device *d)
{
    struct stat found;
    if (d->serves && lstat(d->socket_file, &found) == 0 && S_ISSOCK(found.st_mode))
        chmod(d->socket_file, S_IRUSR | S_IWUSR);
}

int link_dpdk_socket_listen(const char *name, bool abstract)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const size_t size = strlen(name);
    if (size + 1 > sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        fchmod(fd, S_IRUSR | S_IWUSR); /* before bind, so that the file never has another mode */
    memcpy(address.sun_path + abstract, name, size);
    const socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + 1);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, length) != 0
        || listen(fd, BACKLOG) != 0) {
        const int error = errno;
        if (fd >= 0)
            close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* Needed because an abstract socket has no file permissions. */
bool link_dpdk_socket_is_ours(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0
           && (peer.uid == geteuid() || peer.uid == 0);
}

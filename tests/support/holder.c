/* Somebody who holds connections of another process open: what a fork does, or a thread in the
 * middle of a system call. */
#include "tests/support/holder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PATH_BYTES = 300, LINE_BYTES = 256 };

/* Calls `visit` with each descriptor of the process that is of this kind. */
static void walk(const struct holder *holder, const char *kind,
                 void (*visit)(int number, const char *target, void *context), void *context)
{
    char path[PATH_BYTES], target[LINE_BYTES];
    snprintf(path, sizeof path, "/proc/%d/fd", holder->pid);
    DIR *folder = opendir(path);
    if (folder == NULL)
        return;
    for (const struct dirent *e = readdir(folder); e != NULL; e = readdir(folder)) {
        snprintf(path, sizeof path, "/proc/%d/fd/%s", holder->pid, e->d_name);
        const ssize_t size = readlink(path, target, sizeof target - 1);
        if (size <= 0)
            continue;
        target[size] = '\0';
        if (strncmp(target, kind, strlen(kind)) == 0)
            visit((int)strtol(e->d_name, NULL, 10), target, context);
    }
    closedir(folder);
}

struct taking {
    struct holder *holder;
    int pidfd;
    bool refused;
};

static bool is_connected(int fd)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    return getpeername(fd, (struct sockaddr *)&address, &size) == 0
           && (address.ss_family == AF_INET || address.ss_family == AF_INET6);
}

static void take(int number, const char *target, void *context)
{
    struct taking *t = context;
    struct holder *h = t->holder;
    struct stat found;
    (void)target;
    const int copy = (int)syscall(SYS_pidfd_getfd, t->pidfd, number, 0);
    t->refused |= copy < 0 && errno != EBADF; /* it was closed meanwhile */
    if (copy >= 0 && h->count < HOLDER_MAX && is_connected(copy) && fstat(copy, &found) == 0) {
        h->inodes[h->count] = found.st_ino;
        h->copies[h->count++] = copy;
    } else if (copy >= 0) {
        close(copy);
    }
}

bool holder_take(struct holder *holder, pid_t pid)
{
    struct taking t = { .holder = holder };
    *holder = (struct holder){ .pid = pid };
    t.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (t.pidfd < 0)
        return false;
    walk(holder, "socket:", take, &t);
    close(t.pidfd);
    return !t.refused;
}

struct counting {
    const struct holder *holder;
    unsigned count;
};

static bool took(const struct holder *holder, uint64_t inode)
{
    for (unsigned i = 0; i < holder->count; i++)
        if (holder->inodes[i] == inode)
            return true;
    return false;
}

static bool is_copy(const struct holder *holder, int number)
{
    for (unsigned i = 0; holder->pid == getpid() && i < holder->count; i++)
        if (holder->copies[i] == number)
            return true;
    return false;
}

static void count_open(int number, const char *target, void *context)
{
    struct counting *c = context;
    c->count += !is_copy(c->holder, number)
                && took(c->holder, strtoull(target + strlen("socket:["), NULL, 10));
}

unsigned holder_open(const struct holder *holder)
{
    struct counting c = { .holder = holder };
    walk(holder, "socket:", count_open, &c);
    return c.count;
}

static void count_watched(int number, const char *target, void *context)
{
    struct counting *c = context;
    char path[PATH_BYTES], line[LINE_BYTES];
    (void)target;
    snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", c->holder->pid, number);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *inode = strstr(line, "ino:");
        c->count += strncmp(line, "tfd:", 4) == 0 && inode != NULL
                    && took(c->holder, strtoull(inode + strlen("ino:"), NULL, 16));
    }
    if (file != NULL)
        fclose(file);
}

unsigned holder_watched(const struct holder *holder)
{
    struct counting c = { .holder = holder };
    walk(holder, "anon_inode:[eventpoll]", count_watched, &c);
    return c.count;
}

void holder_drop(struct holder *holder)
{
    for (unsigned i = 0; i < holder->count; i++)
        close(holder->copies[i]);
    holder->count = 0;
}

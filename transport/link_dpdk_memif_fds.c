/* DPDK memory files: restores descriptors that a zero-copy memif client closes by mistake.
 *
 * To share EAL's memory with its peer, the zero-copy memif client of DPDK 22.11 sends the
 * descriptors of EAL's memory files. Once connected it closes them, although they are EAL's own and
 * not duplicates. The next connection would send, and close, whatever has these numbers by then. So
 * a duplicate of each is kept here, and moved back to the old number if that is free. If it is not,
 * no client connects.
 *
 * Role: saving and restoring the descriptors.
 * Must not know: ports.
 * Threads: any; a mutex guards the state. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rte_memory.h>

#include "transport/link_dpdk_port.h"

enum { FILES_MAX = 64 };

static struct {
    pthread_mutex_t mutex;
    uint32_t count;
    struct file {
        int number; /* EAL's descriptor */
        int copy;   /* our duplicate */
    } files[FILES_MAX];
} held = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static int hold_one(const struct rte_memseg_list *list, const struct rte_memseg *segment,
                    void *unused)
{
    (void)unused;
    if (list->external)
        return 0;
    const int number = rte_memseg_get_fd_thread_unsafe(segment);
    for (uint32_t i = 0; i < held.count; i++)
        if (held.files[i].number == number)
            return 0;
    if (number < 0 || held.count == FILES_MAX)
        return -1;
    const int copy = fcntl(number, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return -1;
    held.files[held.count++] = (struct file){ .number = number, .copy = copy };
    return 0;
}

static bool same_file(int a, int b)
{
    struct stat sa, sb;
    return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev
           && sa.st_ino == sb.st_ino;
}

static bool restore_one(const struct file *f)
{
    if (same_file(f->number, f->copy))
        return true;
    /* Not dup2, which would close a descriptor that has this number now. */
    const int got = fcntl(f->copy, F_DUPFD_CLOEXEC, f->number);
    if (got == f->number)
        return true;
    if (got >= 0)
        close(got);
    return false;
}

bool link_dpdk_memif_fds_restore(void)
{
    bool whole = true;
    pthread_mutex_lock(&held.mutex);
    for (uint32_t i = 0; i < held.count; i++)
        whole &= restore_one(&held.files[i]);
    pthread_mutex_unlock(&held.mutex);
    return whole;
}

bool link_dpdk_memif_fds_can_be_made(void)
{
    const int fd = memfd_create("leat-probe", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

bool link_dpdk_memif_fds_hold(void)
{
    if (!link_dpdk_memif_fds_restore())
        return false;
    pthread_mutex_lock(&held.mutex);
    const bool done = rte_memseg_walk(hold_one, NULL) == 0;
    pthread_mutex_unlock(&held.mutex);
    return done;
}

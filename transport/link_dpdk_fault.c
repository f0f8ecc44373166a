/* DPDK faults: memory of a peer that goes away while it is used.
 *
 * Who shares a file with us may shorten it, and what we mapped of it raises SIGBUS from then on.
 * Not every file can be sealed against that: the memory of a peer's own DPDK, which it gives away
 * for zero-copy, cannot. So the files of peers are known here, and where one of them raises SIGBUS
 * its whole mapping becomes zeros of our own: the burst that stands in it goes on, and the peer is
 * hung up on. Anything else that raises it is not ours, and ends the process as before.
 *
 * Role: that. Must not know: whose the files are.
 * Threads: watch and forget any; the handler the one that faults. It asks the kernel where the
 * mapping is, with calls that a handler may make, and allocates nothing. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "transport/link_dpdk_port.h"

enum { FILES_MAX = 1024, LINE_BYTES = 512, CHUNK_BYTES = 1024 };

static struct file {
    _Atomic bool used, met;
    _Atomic uint64_t device, inode;
} files[FILES_MAX];

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of who watches and forgets */
static struct sigaction before;
static bool installed;
static _Atomic int told = -1; /* an eventfd */

struct mapping {
    uint64_t start, end, device, inode;
    bool shared;
};

static bool take_number(const char **at, int base, char end, uint64_t *out)
{
    uint64_t value = 0;
    for (; **at != end; (*at)++) {
        const char c = **at;
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
        if (digit >= base)
            return false;
        value = value * (uint64_t)base + (uint64_t)digit;
    }
    (*at)++;
    *out = value;
    return true;
}

/* A line of /proc/self/maps: "start-end rw-s offset major:minor inode name". */
static bool parse(const char *line, struct mapping *out)
{
    uint64_t offset = 0, major_number = 0, minor_number = 0;
    if (!take_number(&line, 16, '-', &out->start) || !take_number(&line, 16, ' ', &out->end)
        || strnlen(line, 5) < 5)
        return false;
    out->shared = line[3] == 's';
    line += 5;
    if (!take_number(&line, 16, ' ', &offset) || !take_number(&line, 16, ':', &major_number)
        || !take_number(&line, 16, ' ', &minor_number) || !take_number(&line, 10, ' ', &out->inode))
        return false;
    out->device = makedev((unsigned)major_number, (unsigned)minor_number);
    return true;
}

static bool find_mapping(uint64_t address, struct mapping *out)
{
    char line[LINE_BYTES] = { 0 }, chunk[CHUNK_BYTES];
    size_t used = 0;
    bool found = false;
    ssize_t got;
    const int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && !found && (got = read(fd, chunk, sizeof chunk)) > 0) {
        for (ssize_t i = 0; i < got && !found; i++) {
            if (chunk[i] != '\n') {
                line[used] = chunk[i];
                used += used < sizeof line - 1;
                continue;
            }
            line[used] = '\0';
            used = 0;
            found = parse(line, out) && address >= out->start && address < out->end;
        }
    }
    if (fd >= 0)
        close(fd);
    return found;
}

static struct file *find_file(const struct mapping *m)
{
    for (int i = 0; i < FILES_MAX; i++) {
        struct file *f = &files[i];
        if (atomic_load(&f->used) && atomic_load(&f->inode) == m->inode
            && atomic_load(&f->device) == m->device)
            return f;
    }
    return NULL;
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    struct mapping m = { 0 };
    struct file *f = NULL;
    (void)context;
    const uint64_t address = (uint64_t)(uintptr_t)info->si_addr;
    if (info->si_code > 0 && find_mapping(address, &m) && m.shared)
        f = find_file(&m);
    void *start = (char *)info->si_addr - (address - m.start);
    if (f != NULL
        && mmap(start, m.end - m.start, PROT_READ | PROT_WRITE,
                MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
               == start) {
        atomic_store(&f->met, true);
        eventfd_write(atomic_load(&told), 1); /* or nobody waits */
        return;
    }
    sigaction(signal, &before, NULL); /* it comes again, to who was there before */
}

void link_dpdk_fault_tell(int wake)
{
    atomic_store(&told, wake);
}

bool link_dpdk_fault_open(void)
{
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
    pthread_mutex_lock(&mutex);
    sigemptyset(&action.sa_mask);
    installed = installed || sigaction(SIGBUS, &action, &before) == 0;
    pthread_mutex_unlock(&mutex);
    return installed;
}

int link_dpdk_fault_watch(int fd)
{
    struct stat found;
    int place = -1;
    if (fstat(fd, &found) != 0)
        return -1;
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < FILES_MAX && place < 0; i++)
        if (!atomic_load(&files[i].used))
            place = i;
    if (place >= 0) {
        struct file *f = &files[place];
        atomic_store(&f->met, false);
        atomic_store(&f->device, found.st_dev);
        atomic_store(&f->inode, found.st_ino);
        atomic_store(&f->used, true);
    }
    pthread_mutex_unlock(&mutex);
    return place;
}

bool link_dpdk_fault_met(int place)
{
    return place >= 0 && atomic_load(&files[place].met);
}

void link_dpdk_fault_forget(int place)
{
    if (place >= 0)
        atomic_store(&files[place].used, false);
}

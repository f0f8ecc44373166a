/* Faults: the SIGBUS handler. See fault.h.
 *
 * The handler finds the mapping in /proc/self/maps with async-signal-safe calls, and allocates
 * nothing. Threads that fault at the same time are serialized: the second one finds the zero pages
 * that the first one has mapped, identified by their file, /dev/zero. */
#include "transport/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MAPS "/proc/self/maps"

enum { FILES_MAX = 1024, LINE_BYTES = 512, CHUNK_BYTES = 1024, NAME_BYTES = 16 };

static struct file {
    _Atomic bool used, met;
    _Atomic uint64_t device, inode;
} files[FILES_MAX];

struct mapping {
    uint64_t start, end, device, inode;
    bool shared;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* serializes fault_open, fault_watch */
static struct sigaction before;
static bool installed;
static int zero = -1;        /* /dev/zero */
static struct mapping zeros; /* its device and inode in /proc/self/maps */
static int maps = -1;        /* used if the handler cannot open another descriptor */
static atomic_flag busy = ATOMIC_FLAG_INIT;
static int told = -1;                /* eventfd of fault_tell, guarded by `busy` */
static const char *_Atomic suspects; /* name of fault_suspect_threads */

_Thread_local _Atomic bool *fault_suspect;

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

/* Parses a line of /proc/self/maps: "start-end rw-s offset major:minor inode name". */
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

static bool find_line(int fd, uint64_t address, struct mapping *out)
{
    char line[LINE_BYTES] = { 0 }, chunk[CHUNK_BYTES];
    size_t used = 0;
    ssize_t got;
    while ((got = read(fd, chunk, sizeof chunk)) > 0) {
        for (ssize_t i = 0; i < got; i++) {
            if (chunk[i] != '\n') {
                line[used] = chunk[i];
                used += used < sizeof line - 1;
                continue;
            }
            line[used] = '\0';
            used = 0;
            if (parse(line, out) && address >= out->start && address < out->end)
                return true;
        }
    }
    return false;
}

static bool find_mapping(uint64_t address, struct mapping *out)
{
    const int own = open(MAPS, O_RDONLY | O_CLOEXEC);
    const int fd = own >= 0 ? own : maps;
    const bool found = (own >= 0 || lseek(fd, 0, SEEK_SET) == 0) && find_line(fd, address, out);
    if (own >= 0)
        close(own);
    return found;
}

/* Marks the registered files of the mapping as faulted. False: its file is not registered. */
static bool tell(const struct mapping *m)
{
    bool any = false;
    for (int i = 0; i < FILES_MAX; i++) {
        struct file *f = &files[i];
        if (!atomic_load(&f->used) || atomic_load(&f->inode) != m->inode
            || atomic_load(&f->device) != m->device)
            continue;
        atomic_store(&f->met, true);
        any = true;
    }
    return any;
}

/* True if this thread's faults in shared mappings are a peer's. Sets its flag, if it has one. */
static bool suspect(const siginfo_t *info)
{
    char name[NAME_BYTES] = { 0 };
    const char *names = atomic_load(&suspects);
    if (info->si_code != BUS_ADRERR)
        return false;
    if (fault_suspect != NULL) {
        atomic_store(fault_suspect, true);
        return true;
    }
    return names != NULL && prctl(PR_GET_NAME, name) == 0 && strcmp(name, names) == 0;
}

static bool is_zeros(const struct mapping *m)
{
    return !m->shared && m->inode == zeros.inode && m->device == zeros.device;
}

/* Replaces the faulting mapping by zero pages. Called with `busy` set. False: it is not a peer's.
 */
static bool put_zeros(const siginfo_t *info)
{
    struct mapping m;
    const uint64_t address = (uint64_t)(uintptr_t)info->si_addr, one = 1;
    if (!find_mapping(address, &m))
        return false;
    if (is_zeros(&m))
        return info->si_code == BUS_ADRERR; /* else a memory error in a zero page itself */
    void *start = (char *)info->si_addr - (address - m.start);
    if (!m.shared || (!tell(&m) && !suspect(info))
        || mmap(start, m.end - m.start, PROT_READ | PROT_WRITE,
                MAP_FIXED | MAP_PRIVATE | MAP_NORESERVE, zero, 0)
               != start)
        return false;
    if (told >= 0 && write(told, &one, sizeof one) < 0)
        return true; /* the counter is full, so the reader wakes anyway */
    return true;
}

/* Sleeps instead of spinning: a thread of higher priority would never let the owner run. */
static void enter(void)
{
    while (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire))
        poll(NULL, 0, 1);
}

static void leave(void)
{
    atomic_flag_clear_explicit(&busy, memory_order_release);
}

/* Passes the signal to the previous handler, or applies the default action. */
static void pass_on(int signal, siginfo_t *info, void *context)
{
    const bool sent = info->si_code <= 0;
    if ((before.sa_flags & SA_SIGINFO) != 0) {
        before.sa_sigaction(signal, info, context);
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(signal);
    } else if (before.sa_handler == SIG_DFL || !sent) { /* a fault cannot be ignored */
        sigaction(signal, &before, NULL);
        if (sent)
            raise(signal); /* a fault is raised again by the instruction */
    }
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    const int error = errno;
    bool done = false;
    if (info->si_code > 0) {
        enter();
        done = put_zeros(info);
        leave();
    }
    if (!done)
        pass_on(signal, info, context);
    errno = error;
}

void fault_tell(int wake)
{
    enter();
    told = wake;
    leave();
}

static bool know_zeros(void)
{
    void *at = mmap(NULL, 1, PROT_READ, MAP_PRIVATE, zero, 0);
    if (at == MAP_FAILED)
        return false;
    const bool found = find_mapping((uint64_t)(uintptr_t)at, &zeros);
    munmap(at, 1);
    return found;
}

static bool open_files(void)
{
    zero = open("/dev/zero", O_RDWR | O_CLOEXEC);
    maps = open(MAPS, O_RDONLY | O_CLOEXEC);
    if (zero >= 0 && maps >= 0 && know_zeros())
        return true;
    const int error = errno;
    if (zero >= 0)
        close(zero);
    if (maps >= 0)
        close(maps);
    errno = error;
    return false;
}

bool fault_open(void)
{
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
    pthread_mutex_lock(&mutex);
    sigemptyset(&action.sa_mask);
    installed = installed || (open_files() && sigaction(SIGBUS, &action, &before) == 0);
    pthread_mutex_unlock(&mutex);
    return installed;
}

int fault_watch(int fd)
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

void fault_suspect_threads(const char *name)
{
    atomic_store(&suspects, name);
}

bool fault_met(int place)
{
    return place >= 0 && atomic_load(&files[place].met);
}

void fault_forget(int place)
{
    if (place >= 0)
        atomic_store(&files[place].used, false);
}

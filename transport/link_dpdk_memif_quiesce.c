/* DPDK memif quiescence: keeps memif's driver from unmapping rings that a lane is using.
 *
 * When a memif peer disconnects, DPDK 22.11 unmaps its rings on EAL's interrupt thread. The polling
 * lane may be in a burst over them at that time, so a client that dies would crash the broker. EAL
 * has one interrupt thread, which calls one handler at a time. One handler is ours: it does not
 * return, and polls memif's control sockets itself. Only when one of them is readable does it make
 * the lanes leave the device, and returns, so that EAL calls memif's handlers:
 *
 *      parked: lanes run --(a control socket is readable)--> quiesced: EAL calls memif's handlers
 *        ^--------------------(no control socket is readable)--------------------+
 *
 * A lane pays two plain stores and a load per burst; the fence is on the other side (membarrier).
 *
 * Role: parking EAL's thread and quiescing lanes.
 * Must not know: memif's messages.
 * Threads: link_dpdk_enter and _leave the polling lane's (or control's, when that one has ended);
 * add and remove control's; the handler EAL's. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_interrupts.h>

#include "transport/link_dpdk_port.h"

enum {
    PORTS_MAX = 32,
    SOCKETS_MAX = 128,
    PARKED_MS = 1000,   /* maximum delay of other interrupts */
    UNHEARD_MAX = 1000, /* calls in a row with a readable socket, before sockets are ignored */
    IGNORED_MS = 10,    /* for how long */
};

/* Initially true: a peer may have sent something before the handler is first called. */
_Atomic bool link_dpdk_quiesced = true;

static struct {
    pthread_mutex_t mutex; /* guards ports and port_count */
    struct link_dpdk_port *ports[PORTS_MAX];
    uint32_t port_count;
    struct rte_intr_handle *handle; /* NULL: not installed */
    int always;                     /* eventfd of the handler, readable while there are ports */
    int wake;                       /* eventfd: sockets or ports changed */
    bool expedited;                 /* membarrier works: lanes need no fence */
    uint32_t unheard;               /* calls in a row with a readable socket */
} guard = { .mutex = PTHREAD_MUTEX_INITIALIZER, .wake = -1 };

void link_dpdk_fence_lanes(void)
{
    if (guard.expedited)
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    else
        atomic_thread_fence(memory_order_seq_cst);
}

static void quiesce(void)
{
    atomic_store(&link_dpdk_quiesced, true);
    link_dpdk_fence_lanes();
    pthread_mutex_lock(&guard.mutex);
    for (uint32_t i = 0; i < guard.port_count; i++)
        while (atomic_load_explicit(&guard.ports[i]->inside, memory_order_acquire))
            sched_yield();
    pthread_mutex_unlock(&guard.mutex);
}

/* ---- memif's control sockets, identified by their address */

static bool is_named(const struct sockaddr_un *address, socklen_t size, const char *name)
{
    const size_t header = offsetof(struct sockaddr_un, sun_path);
    if (address->sun_family != AF_UNIX || size <= header)
        return false;
    const char *path = address->sun_path;
    size_t left = size - header;
    if (*path == '\0') { /* an abstract name */
        path++;
        left--;
    }
    return strnlen(path, left) == strlen(name) && memcmp(path, name, strlen(name)) == 0;
}

static bool is_control(int fd)
{
    struct sockaddr_un own = { 0 }, peer = { 0 };
    socklen_t own_size = sizeof own, peer_size = sizeof peer;
    if (getsockname(fd, (struct sockaddr *)&own, &own_size) != 0)
        return false;
    if (getpeername(fd, (struct sockaddr *)&peer, &peer_size) != 0)
        peer_size = 0;
    for (uint32_t i = 0; i < guard.port_count; i++) {
        const struct link_dpdk_device *d = &guard.ports[i]->device;
        if (d->memif_client ? is_named(&peer, peer_size, d->memif_socket)
                            : is_named(&own, own_size, d->memif_socket))
            return true;
    }
    return false;
}

/* Finds the control sockets; out[0] is the eventfd that wakes the handler. Inspects every
 * descriptor of the process, and so briefly holds a reference to files that another thread may be
 * closing (see event_close). */
static nfds_t find_sockets(struct pollfd out[SOCKETS_MAX])
{
    nfds_t count = 0;
    out[count++] = (struct pollfd){ .fd = guard.wake, .events = POLLIN };
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL)
        return count;
    pthread_mutex_lock(&guard.mutex);
    for (struct dirent *e = readdir(folder); e != NULL && count < SOCKETS_MAX;
         e = readdir(folder)) {
        const int fd = (int)strtol(e->d_name, NULL, 10);
        if (e->d_name[0] != '.' && is_control(fd))
            out[count++] = (struct pollfd){ .fd = fd, .events = POLLIN };
    }
    pthread_mutex_unlock(&guard.mutex);
    closedir(folder);
    return count;
}

static bool serves(int fd, const char *name)
{
    struct sockaddr_un own = { 0 };
    socklen_t size = sizeof own;
    return getsockname(fd, (struct sockaddr *)&own, &size) == 0 && is_named(&own, size, name);
}

static bool listens(int fd)
{
    int yes = 0;
    socklen_t size = sizeof yes;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &size) == 0 && yes != 0;
}

/* Calls `visit` with each socket of this process that is bound to this name; returns their number.
 */
static uint32_t walk_served(const char *name, void (*visit)(int fd, int argument), int argument)
{
    uint32_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    for (struct dirent *e = folder != NULL ? readdir(folder) : NULL; e != NULL;
         e = readdir(folder)) {
        const int fd = (int)strtol(e->d_name, NULL, 10);
        if (e->d_name[0] == '.' || !serves(fd, name))
            continue;
        count++;
        if (visit != NULL)
            visit(fd, argument);
    }
    if (folder != NULL)
        closedir(folder);
    return count;
}

/* Replaces a listener by an eventfd that is never readable: EAL keeps polling its number. */
static void silence(int fd, int never)
{
    if (listens(fd))
        dup3(never, fd, O_CLOEXEC);
}

void link_dpdk_memif_quiesce_silence(const struct link_dpdk_port *port)
{
    const int never = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (never < 0)
        return;
    walk_served(port->device.memif_socket, silence, never);
    close(never);
}

uint32_t link_dpdk_memif_quiesce_served(const struct link_dpdk_port *port)
{
    return walk_served(port->device.memif_socket, NULL, 0);
}

static void hang_up(int fd, int how)
{
    if (!listens(fd))
        shutdown(fd, how);
}

void link_dpdk_memif_quiesce_hang_up(const char *name)
{
    walk_served(name, hang_up, SHUT_RDWR);
}

/* ---- EAL's handler */

static void watch(void *unused)
{
    struct pollfd fds[SOCKETS_MAX];
    uint64_t value;
    (void)unused;
    const ssize_t woken = read(guard.wake, &value, sizeof value);
    (void)woken;                   /* all sockets are checked in either case */
    link_dpdk_memif_fds_restore(); /* a handler of memif may just have connected */
    const nfds_t count = find_sockets(fds);
    const bool spoken = poll(fds + 1, count - 1, 0) > 0;
    if (spoken && ++guard.unheard < UNHEARD_MAX)
        return; /* still quiesced: EAL calls memif's handlers, then this one again */
    atomic_store_explicit(&link_dpdk_quiesced, false, memory_order_release);
    if (!spoken)
        guard.unheard = 0;
    poll(fds, spoken ? 1 : count, spoken ? IGNORED_MS : PARKED_MS);
    quiesce();
}

static bool install(void)
{
    guard.always = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    guard.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    guard.expedited = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
    guard.handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
    if (guard.always >= 0 && guard.wake >= 0 && guard.handle != NULL
        && rte_intr_fd_set(guard.handle, guard.always) == 0
        && rte_intr_type_set(guard.handle, RTE_INTR_HANDLE_EXT) == 0
        && rte_intr_callback_register(guard.handle, watch, NULL) == 0)
        return true;
    rte_intr_instance_free(guard.handle);
    guard.handle = NULL;
    if (guard.always >= 0)
        close(guard.always);
    if (guard.wake >= 0)
        close(guard.wake);
    return false;
}

static void wake(void)
{
    const uint64_t one = 1;
    if (guard.wake >= 0 && write(guard.wake, &one, sizeof one) < 0)
        return; /* the counter is full, so the handler wakes anyway */
}

void link_dpdk_memif_quiesce_hurry(void)
{
    wake();
}

bool link_dpdk_memif_quiesce_add(struct link_dpdk_port *port)
{
    if (port->device.memif_socket[0] == '\0')
        return true;
    if (guard.handle == NULL && !install())
        return false;
    pthread_mutex_lock(&guard.mutex);
    const bool fits = guard.port_count < PORTS_MAX;
    if (fits && guard.port_count == 0)
        eventfd_write(guard.always, 1);
    if (fits)
        guard.ports[guard.port_count++] = port;
    pthread_mutex_unlock(&guard.mutex);
    port->quiesces = fits;
    port->fenced = !guard.expedited;
    wake();
    return fits;
}

void link_dpdk_memif_quiesce_changed(const struct link_dpdk_port *port)
{
    if (port->quiesces)
        wake();
}

void link_dpdk_memif_quiesce_remove(struct link_dpdk_port *port)
{
    if (!port->quiesces)
        return;
    eventfd_t value;
    port->quiesces = false;
    pthread_mutex_lock(&guard.mutex);
    for (uint32_t i = 0; i < guard.port_count; i++)
        if (guard.ports[i] == port)
            guard.ports[i] = guard.ports[--guard.port_count];
    if (guard.port_count == 0)
        eventfd_read(guard.always, &value);
    pthread_mutex_unlock(&guard.mutex);
    wake();
}

void link_dpdk_enter_waiting(struct link_dpdk_port *port)
{
    while (!link_dpdk_enter(port))
        sched_yield();
}

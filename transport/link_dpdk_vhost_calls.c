/* DPDK vhost calls: signals a peer's call eventfd without ever blocking a lane.
 *
 * DPDK 22.11's library signals with a write to the peer's eventfd, during a burst. The peer shares
 * the open file description, so it can make that write block by filling the eventfd and clearing
 * O_NONBLOCK. So the descriptor is replaced, under the same number, by a non-blocking pipe of ours.
 * A thread reads the pipe and signals the peer's eventfd through the kernel's asynchronous I/O,
 * which accepts only eventfds and never waits for their reader:
 *
 *      lane -> pipe, under the number that the library knows -> thread -> the peer's eventfd
 *
 * Role: the pipes and the thread.
 * Must not know: what is in the rings.
 * Threads: open and close control's; take the library's. */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <rte_vhost.h>

#include "transport/link_dpdk_port.h"

enum { RINGS_MAX = 2 * LEAT_SHARDS_MAX, EVENTS_MAX = 4, SINK_BYTES = 4096 };

struct link_dpdk_calls {
    pthread_mutex_t mutex; /* guards rings[].peer */
    pthread_t thread;
    bool runs;
    aio_context_t aio;
    int nowhere; /* /dev/null: target of the asynchronous writes */
    int stop[2]; /* a pipe; closing its write end stops the thread */
    uint32_t ring_count;
    struct ring {
        int pipe[2];
        int peer; /* its eventfd; -1: none */
    } rings[RINGS_MAX];
};

static void close_one(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Writes a byte to /dev/null; its completion, before this returns, signals the peer's eventfd. The
 * kernel refuses a descriptor that is not an eventfd: that peer is not signalled. */
static void signal_peer(struct link_dpdk_calls *c, int peer)
{
    static const char byte;
    struct io_event events[EVENTS_MAX];
    struct timespec at_once = { 0 };
    struct iocb one = { .aio_fildes = (uint32_t)c->nowhere,
                        .aio_lio_opcode = IOCB_CMD_PWRITE,
                        .aio_buf = (uint64_t)(uintptr_t)&byte,
                        .aio_nbytes = sizeof byte,
                        .aio_flags = IOCB_FLAG_RESFD,
                        .aio_resfd = (uint32_t)peer };
    struct iocb *list = &one;
    if (syscall(SYS_io_submit, c->aio, 1L, &list) == 1)
        syscall(SYS_io_getevents, c->aio, 0L, (long)EVENTS_MAX, events, &at_once);
}

static void pass_on(struct link_dpdk_calls *c, struct ring *r)
{
    char sink[SINK_BYTES];
    while (read(r->pipe[0], sink, sizeof sink) == sizeof sink)
        ;
    pthread_mutex_lock(&c->mutex);
    if (r->peer >= 0)
        signal_peer(c, r->peer);
    pthread_mutex_unlock(&c->mutex);
}

static void *run(void *argument)
{
    struct link_dpdk_calls *c = argument;
    struct pollfd fds[RINGS_MAX + 1];
    const nfds_t count = c->ring_count + 1;
    fds[c->ring_count] = (struct pollfd){ .fd = c->stop[0], .events = POLLIN };
    for (uint32_t i = 0; i < c->ring_count; i++)
        fds[i] = (struct pollfd){ .fd = c->rings[i].pipe[0], .events = POLLIN };
    for (;;) {
        if (poll(fds, count, -1) < 0 && errno != EINTR)
            return NULL;
        if (fds[c->ring_count].revents != 0)
            return NULL;
        for (uint32_t i = 0; i < c->ring_count; i++)
            if (fds[i].revents != 0)
                pass_on(c, &c->rings[i]);
    }
}

static bool start(struct link_dpdk_calls *c)
{
    sigset_t all, before;
    for (uint32_t i = 0; i < c->ring_count; i++)
        if (pipe2(c->rings[i].pipe, O_CLOEXEC | O_NONBLOCK) != 0)
            return false;
    c->nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (c->nowhere < 0 || pipe2(c->stop, O_CLOEXEC) != 0
        || syscall(SYS_io_setup, (long)EVENTS_MAX, &c->aio) != 0)
        return false;
    sigfillset(&all); /* signals go to other threads */
    pthread_sigmask(SIG_BLOCK, &all, &before);
    c->runs = pthread_create(&c->thread, NULL, run, c) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (c->runs)
        pthread_setname_np(c->thread, "leat-vhost");
    return c->runs;
}

struct link_dpdk_calls *link_dpdk_calls_open(uint32_t rings)
{
    struct link_dpdk_calls *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    pthread_mutex_init(&c->mutex, NULL);
    c->ring_count = rings < RINGS_MAX ? rings : RINGS_MAX;
    c->nowhere = c->stop[0] = c->stop[1] = -1;
    for (uint32_t i = 0; i < c->ring_count; i++)
        c->rings[i] = (struct ring){ .pipe = { -1, -1 }, .peer = -1 };
    if (start(c))
        return c;
    link_dpdk_calls_close(c);
    return NULL;
}

void link_dpdk_calls_close(struct link_dpdk_calls *c)
{
    if (c == NULL)
        return;
    close_one(&c->stop[1]);
    if (c->runs)
        pthread_join(c->thread, NULL);
    if (c->aio != 0)
        syscall(SYS_io_destroy, c->aio);
    for (uint32_t i = 0; i < c->ring_count; i++) {
        close_one(&c->rings[i].pipe[0]);
        close_one(&c->rings[i].pipe[1]);
        close_one(&c->rings[i].peer);
    }
    close_one(&c->stop[0]);
    close_one(&c->nowhere);
    pthread_mutex_destroy(&c->mutex);
    free(c);
}

/* True if `fd` is our pipe already. A pipe has a unique inode, and no peer has this pipe. */
static bool is_ours(int fd, const struct ring *r)
{
    struct stat theirs, ours;
    return fstat(fd, &theirs) == 0 && fstat(r->pipe[1], &ours) == 0 && theirs.st_dev == ours.st_dev
           && theirs.st_ino == ours.st_ino;
}

static bool take_one(struct link_dpdk_calls *c, struct ring *r, int fd)
{
    if (is_ours(fd, r))
        return true;
    const int peer = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (peer < 0 || dup3(r->pipe[1], fd, O_CLOEXEC) < 0) {
        if (peer >= 0)
            close(peer);
        return false;
    }
    pthread_mutex_lock(&c->mutex);
    close_one(&r->peer);
    r->peer = peer;
    pthread_mutex_unlock(&c->mutex);
    return true;
}

bool link_dpdk_calls_take(struct link_dpdk_calls *c, int vid)
{
    struct rte_vhost_vring known;
    bool taken = true;
    for (uint32_t i = 0; i < c->ring_count; i++)
        if (rte_vhost_get_vhost_vring(vid, (uint16_t)i, &known) == 0 && known.callfd >= 0)
            taken &= take_one(c, &c->rings[i], known.callfd);
    return taken;
}

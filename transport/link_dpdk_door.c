/* DPDK door: stands between memif's server and who knocks at its socket.
 *
 * 22.11's memif server cannot bear a peer that is gone before it was greeted: the connection stays
 * among EAL's interrupts with its memory freed and its number given back, and the next change of
 * those interrupts ends the process. So the server listens in a place of its own, which nobody else
 * can reach, and its only peer is this door: it knocks for those who come to the public socket,
 * hangs up no sooner than it was greeted, and hands messages and descriptors to and fro.
 *
 *      peer --- public socket --- door --- private socket --- memif's server
 *
 * Role: that. Must not know: what memif says, but for the word that a peer is connected.
 * Threads: prepare, open and close control's; a thread of its own, which sleeps in poll. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "transport/link_dpdk_port.h"

enum {
    DOORS_MAX = 32,
    PEERS_MAX = 64,
    POLLED_MAX = 1 + DOORS_MAX + 2 * PEERS_MAX,
    BACKLOG = 16,
    MESSAGE_BYTES = 256,
    MEMIF_BYTES = 128,   /* of each message of memif */
    TYPE_DISCONNECT = 8, /* then a code of 32 bits, and a text; memif.h of DPDK 22.11 */
    REASON_AT = 6,
    REASON_BYTES = 96,
    DESCRIPTORS_MAX = 4, /* of a message; memif sends one */
    TYPE_CONNECTED = 7,  /* the server's last word of a handshake; memif.h of DPDK 22.11 */
    KNOCK_AGAIN_MS = 10, /* the server has not taken those before */
    HANDSHAKE_MS = 2000, /* then who only stands in the door has to go */
};

struct link_dpdk_door {
    struct link_dpdk_door *next;
    char public_name[LINK_DPDK_SOCKET_BYTES];
    bool abstract; /* the public one has no file */
    char folder[LINK_DPDK_SOCKET_BYTES - sizeof "/memif"];
    char private_name[LINK_DPDK_SOCKET_BYTES];
    uint32_t ports; /* that are behind it, memif can tell them apart */
    int listener;   /* -1: not open yet */
    int server;     /* names the private socket, whose file is gone */
};

struct peer {
    struct link_dpdk_door *door; /* NULL: a free place */
    int outer;
    int inner; /* -1: not taken by the server yet */
    bool greeted, connected;
    leat_ns since;
};

static struct {
    pthread_mutex_t mutex; /* of everything here */
    struct link_dpdk_door *doors;
    uint32_t door_count;
    struct peer peers[PEERS_MAX];
    uint32_t generation; /* of the descriptors that are polled */
    pthread_t thread;
    int wake; /* -1: no thread */
} hall = { .mutex = PTHREAD_MUTEX_INITIALIZER, .wake = -1 };

static leat_ns clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (leat_ns)t.tv_sec * LEAT_NS_PER_S + (leat_ns)t.tv_nsec;
}

static void close_known(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ---- one message from one side to the other */

struct message {
    char bytes[MESSAGE_BYTES];
    ssize_t size;
    int descriptors[DESCRIPTORS_MAX];
    size_t descriptor_count;
};

static bool receive(int from, struct message *m)
{
    char control[CMSG_SPACE(sizeof m->descriptors)];
    struct iovec part = { .iov_base = m->bytes, .iov_len = sizeof m->bytes };
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
    };
    m->descriptor_count = 0;
    m->size = recvmsg(from, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (m->size < 0)
        return false;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c != NULL; c = CMSG_NXTHDR(&header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        m->descriptor_count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(m->descriptors, CMSG_DATA(c), m->descriptor_count * sizeof(int));
    }
    return m->size > 0 && (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
}

static bool pass_on(int to, struct message *m)
{
    char control[CMSG_SPACE(sizeof m->descriptors)] = { 0 };
    const size_t bytes = m->descriptor_count * sizeof(int);
    struct iovec part = { .iov_base = m->bytes, .iov_len = (size_t)m->size };
    struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
    if (bytes != 0) {
        header.msg_control = control;
        header.msg_controllen = CMSG_SPACE(bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(c), m->descriptors, bytes);
    }
    return sendmsg(to, &header, MSG_DONTWAIT | MSG_NOSIGNAL) == m->size;
}

static bool relay(int from, int to, struct message *m)
{
    const bool whole = receive(from, m);
    const bool done = whole && pass_on(to, m);
    for (size_t i = 0; i < m->descriptor_count; i++)
        close(m->descriptors[i]);
    return done;
}

static bool says_connected(const struct message *m)
{
    uint16_t type = 0;
    memcpy(&type, m->bytes, sizeof type);
    return m->size >= (ssize_t)sizeof type && type == TYPE_CONNECTED;
}

/* ---- peers */

static void dismiss(struct peer *peer)
{
    close_known(&peer->outer);
    close_known(&peer->inner);
    peer->door = NULL;
    hall.generation++;
}

/* False: not now. */
static bool knock(struct peer *peer)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", peer->door->server);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) {
        peer->inner = fd;
        hall.generation++;
        return true;
    }
    const bool full = fd >= 0 && errno == EAGAIN;
    if (fd >= 0)
        close(fd);
    if (!full)
        dismiss(peer);
    return false;
}

/* The last word to a peer: a message of the protocol, which its driver shows. */
static void say_why(int fd, const char *why)
{
    struct message m = { .size = MEMIF_BYTES };
    const uint16_t type = TYPE_DISCONNECT;
    memcpy(m.bytes, &type, sizeof type);
    snprintf(m.bytes + REASON_AT, REASON_BYTES, "%s", why);
    pass_on(fd, &m); /* or it does not hear it */
}

/* An abstract socket has no file that would keep others out. */
static bool is_ours(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0
           && (peer.uid == geteuid() || peer.uid == 0);
}

static void admit(struct link_dpdk_door *door, leat_ns now)
{
    const int fd = accept4(door->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (!is_ours(fd)) {
        say_why(fd, "memory is shared with processes of the same user only");
        close(fd);
        return;
    }
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        struct peer *peer = &hall.peers[i];
        if (peer->door != NULL)
            continue;
        *peer = (struct peer){ .door = door, .outer = fd, .inner = -1, .since = now };
        knock(peer);
        return;
    }
    close(fd);
}

static void serve(struct peer *peer, bool from_inner, bool from_outer)
{
    struct message m;
    bool stays = true;
    if (from_inner && (stays = relay(peer->inner, peer->outer, &m))) {
        hall.generation += !peer->greeted;
        peer->greeted = true;
        peer->connected |= says_connected(&m);
    }
    /* Who was not greeted yet may be gone already: the server must not find out. */
    if (stays && from_outer && peer->greeted)
        stays = relay(peer->outer, peer->inner, &m);
    if (!stays)
        dismiss(peer);
}

/* ---- the thread */

static nfds_t collect(struct pollfd fds[POLLED_MAX])
{
    nfds_t n = 0;
    fds[n++] = (struct pollfd){ .fd = hall.wake, .events = POLLIN };
    for (const struct link_dpdk_door *d = hall.doors; d != NULL; d = d->next)
        fds[n++] = (struct pollfd){ .fd = d->listener, .events = POLLIN };
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        const struct peer *p = &hall.peers[i];
        if (p->door == NULL)
            continue;
        fds[n++] = (struct pollfd){ .fd = p->inner, .events = POLLIN };
        fds[n++] = (struct pollfd){ .fd = p->greeted ? p->outer : -1, .events = POLLIN };
    }
    return n;
}

/* In the order of collect. */
static void serve_all(const struct pollfd fds[POLLED_MAX], leat_ns now)
{
    nfds_t n = 1;
    struct peer *known[PEERS_MAX];
    uint32_t known_count = 0;
    for (uint32_t i = 0; i < PEERS_MAX; i++)
        if (hall.peers[i].door != NULL)
            known[known_count++] = &hall.peers[i];
    for (struct link_dpdk_door *d = hall.doors; d != NULL; d = d->next)
        if (fds[n++].revents != 0)
            admit(d, now);
    for (uint32_t i = 0; i < known_count; i++, n += 2)
        serve(known[i], fds[n].revents != 0, fds[n + 1].revents != 0);
}

/* How long the thread may sleep for who waits, ms; -1: for ever. */
static int look_after_waiting(leat_ns now)
{
    int sleep_ms = -1;
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        struct peer *p = &hall.peers[i];
        if (p->door == NULL || p->connected)
            continue;
        const bool again = p->inner < 0 && !knock(p);
        if (p->door == NULL)
            continue;
        if (p->greeted && now - p->since > HANDSHAKE_MS * LEAT_NS_PER_MS)
            dismiss(p);
        else if (again)
            sleep_ms = KNOCK_AGAIN_MS;
        else if (sleep_ms < 0)
            sleep_ms = HANDSHAKE_MS;
    }
    return sleep_ms;
}

static void *stand(void *unused)
{
    struct pollfd fds[POLLED_MAX];
    uint64_t value;
    (void)unused;
    pthread_mutex_lock(&hall.mutex);
    while (hall.doors != NULL) {
        const int sleep_ms = look_after_waiting(clock_now());
        const nfds_t n = collect(fds);
        const uint32_t generation = hall.generation;
        const int wake = hall.wake;
        pthread_mutex_unlock(&hall.mutex);
        const int spoken = poll(fds, n, sleep_ms);
        if (fds[0].revents != 0 && read(wake, &value, sizeof value) < 0)
            value = 0; /* what changed is seen below */
        pthread_mutex_lock(&hall.mutex);
        if (spoken > 0 && hall.generation == generation)
            serve_all(fds, clock_now());
    }
    pthread_mutex_unlock(&hall.mutex);
    return NULL;
}

static bool start_thread(void)
{
    sigset_t all, before;
    hall.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (hall.wake < 0)
        return false;
    sigfillset(&all); /* signals are the application's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const bool started = pthread_create(&hall.thread, NULL, stand, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!started)
        close_known(&hall.wake);
    return started;
}

static void wake(void)
{
    const uint64_t one = 1;
    hall.generation++;
    if (write(hall.wake, &one, sizeof one) < 0)
        return; /* full: it is awake */
}

/* ---- doors */

static struct link_dpdk_door *find(const char *public_name, bool abstract)
{
    for (struct link_dpdk_door *d = hall.doors; d != NULL; d = d->next)
        if (d->abstract == abstract && strcmp(d->public_name, public_name) == 0)
            return d;
    return NULL;
}

static bool make_folder(struct link_dpdk_door *door)
{
    const char *where = getenv("TMPDIR");
    const struct sockaddr_un *address = NULL;
    if (door->folder[0] != '\0')
        return mkdir(door->folder, S_IRWXU) == 0;
    if (where == NULL || strlen(where) + sizeof "/leat-XXXXXX/memif" > sizeof address->sun_path)
        where = "/tmp";
    snprintf(door->folder, sizeof door->folder, "%s/leat-XXXXXX", where);
    if (mkdtemp(door->folder) == NULL) {
        door->folder[0] = '\0';
        return false;
    }
    snprintf(door->private_name, sizeof door->private_name, "%s/memif", door->folder);
    return true;
}

/* Whoever holds its descriptor still reaches the private socket. */
static void hide(const struct link_dpdk_door *door)
{
    unlink(door->private_name);
    rmdir(door->folder);
}

static int serve_public(const struct link_dpdk_door *door)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const size_t size = strlen(door->public_name);
    if (size + 1 > sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        fchmod(fd, S_IRUSR | S_IWUSR); /* the file that bind makes has it from the start */
    memcpy(address.sun_path + door->abstract, door->public_name, size);
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

const char *link_dpdk_door_prepare(struct link_dpdk_port *port)
{
    const struct link_dpdk_device *d = &port->device;
    pthread_mutex_lock(&hall.mutex);
    struct link_dpdk_door *door = find(d->memif_socket, d->memif_abstract);
    pthread_mutex_unlock(&hall.mutex);
    if (door == NULL && hall.door_count < DOORS_MAX && (door = calloc(1, sizeof *door)) != NULL) {
        memcpy(door->public_name, d->memif_socket, sizeof door->public_name);
        door->abstract = d->memif_abstract;
        door->listener = door->server = -1;
    }
    if (door == NULL || !make_folder(door)) {
        if (door != NULL && door->ports == 0)
            free(door);
        return NULL;
    }
    door->ports++;
    port->door = door;
    return door->private_name;
}

bool link_dpdk_door_open(struct link_dpdk_port *port)
{
    struct link_dpdk_door *door = port->door;
    bool serves = true;
    pthread_mutex_lock(&hall.mutex);
    if (door->listener < 0) {
        door->server = open(door->private_name, O_PATH | O_CLOEXEC);
        door->listener = door->server >= 0 ? serve_public(door) : -1;
        serves = door->listener >= 0 && (hall.wake >= 0 || start_thread());
        if (serves) {
            door->next = hall.doors;
            hall.doors = door;
            hall.door_count++;
            wake();
        }
    }
    const int error = errno;
    pthread_mutex_unlock(&hall.mutex);
    hide(door);
    errno = error;
    return serves;
}

/* What the server had to say last. */
static void dismiss_all(const struct link_dpdk_door *door)
{
    struct message m;
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        struct peer *p = &hall.peers[i];
        if (p->door != door)
            continue;
        while (p->inner >= 0 && relay(p->inner, p->outer, &m))
            ;
        dismiss(p);
    }
}

static void forget(struct link_dpdk_door *door)
{
    struct link_dpdk_door **at = &hall.doors;
    while (*at != NULL && *at != door)
        at = &(*at)->next;
    if (*at == NULL)
        return;
    *at = door->next;
    hall.door_count--;
    if (!door->abstract)
        unlink(door->public_name);
    wake();
}

bool link_dpdk_door_close(struct link_dpdk_port *port)
{
    struct link_dpdk_door *door = port->door;
    port->door = NULL;
    if (door == NULL || --door->ports > 0)
        return false;
    pthread_mutex_lock(&hall.mutex);
    dismiss_all(door);
    forget(door);
    const bool last = hall.doors == NULL && hall.wake >= 0;
    pthread_mutex_unlock(&hall.mutex);
    if (last) {
        pthread_join(hall.thread, NULL);
        close_known(&hall.wake);
    }
    hide(door); /* where it was not even opened */
    close_known(&door->listener);
    close_known(&door->server);
    free(door);
    return true;
}

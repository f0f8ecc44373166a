/* DPDK memif proxy: accepts peers in place of memif's server, and connects to the server for them.
 *
 * DPDK 22.11's memif server does not survive a peer that disconnects before the server's first
 * message (HELLO): the connection's interrupt handler stays registered with EAL after its memory
 * was freed and its descriptor closed, and the next change of EAL's interrupts ends the process. So
 * the server listens on a private socket that only this proxy can reach. For each peer of the
 * public socket the proxy connects to the server, disconnects only after the first message, and
 * forwards messages and descriptors:
 *
 *      peer --- public socket --- proxy --- private socket --- memif's server
 *
 * The server does not validate a peer's messages and rings. link_dpdk_handshake.c checks the
 * messages, link_dpdk_rings.c the rings.
 *
 * Role: connections and forwarding.
 * Must not know: regions and rings.
 * Threads: prepare, open and close control's; the rest a thread of the proxy, which sleeps in poll.
 */
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

#include "transport/accept.h"
#include "transport/link_dpdk_port.h"

enum {
    PROXIES_MAX = 32,
    PEERS_MAX = 64,
    POLLED_MAX = 1 + PROXIES_MAX + 2 * PEERS_MAX,
    RECONNECT_MS = 10, /* until the next attempt, if the server's backlog is full */
    RETIRED_MAX = PEERS_MAX,
    RETIRED_MS = 10,     /* between attempts to free retired rings */
    HANDSHAKE_MS = 2000, /* timeout of a peer's handshake */
};

struct link_dpdk_memif_proxy {
    struct link_dpdk_memif_proxy *next;
    char public_name[LINK_DPDK_SOCKET_BYTES];
    bool abstract; /* the public name is in the abstract namespace */
    char folder[LINK_DPDK_SOCKET_BYTES - sizeof "/memif"];
    char private_name[LINK_DPDK_SOCKET_BYTES];
    uint32_t ports; /* number of ports served; memif tells them apart by id */
    int listener;   /* -1: not open yet */
    int server;     /* O_PATH descriptor of the private socket, whose file is unlinked */
};

struct peer {
    struct link_dpdk_memif_proxy *proxy;   /* NULL: a free slot */
    int outer;                             /* connection with the peer */
    int inner;                             /* connection with the server; -1: none yet */
    bool greeted;                          /* the server has sent its first message */
    bool connected;                        /* the handshake is complete */
    leat_ns since;                         /* when the peer was accepted */
    struct link_dpdk_handshake *handshake; /* NULL: complete, or not begun */
    struct link_dpdk_port *port;           /* the port that uses its rings */
    struct link_dpdk_rings *rings;
};

/* Rings of a disconnected peer. They cannot be freed yet: a lane may be using them, and the driver
 * keeps its mapping until EAL's thread has handled the disconnection. */
struct retired {
    struct link_dpdk_rings *rings; /* NULL: a free slot */
    struct link_dpdk_port *port;   /* NULL: no lane uses the rings */
    int inner;                     /* the server closes it after unmapping; -1: done */
};

static struct {
    pthread_mutex_t mutex; /* guards all fields */
    struct link_dpdk_memif_proxy *all;
    uint32_t count;
    struct peer peers[PEERS_MAX];
    struct retired retired[RETIRED_MAX];
    struct link_dpdk_port *ports[PROXIES_MAX]; /* ports that proxies serve */
    uint32_t port_count;
    uint32_t generation; /* grows when the set of polled descriptors changes */
    pthread_t thread;
    int wake; /* eventfd; -1: the thread is not running */
} proxies = { .mutex = PTHREAD_MUTEX_INITIALIZER, .wake = -1 };

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

/* ---- retired rings */

static bool has_hung_up(int fd)
{
    struct link_dpdk_message m;
    while (link_dpdk_message_receive(fd, &m))
        link_dpdk_message_drop(&m);
    return m.size >= 0 || (errno != EAGAIN && errno != EINTR);
}

/* True: the rings were freed. `at_once`: no lane and no driver uses them any more. */
static bool try_free(struct retired *r, bool at_once)
{
    if (r->port != NULL && !at_once && atomic_load_explicit(&r->port->inside, memory_order_acquire))
        return false;
    r->port = NULL;
    if (r->inner >= 0 && !at_once && !has_hung_up(r->inner))
        return false;
    close_known(&r->inner);
    link_dpdk_rings_free(r->rings);
    r->rings = NULL;
    return true;
}

/* True: some could not be freed yet. */
static bool free_retired(bool at_once)
{
    bool left = false;
    for (uint32_t i = 0; i < RETIRED_MAX; i++)
        left |= proxies.retired[i].rings != NULL && !try_free(&proxies.retired[i], at_once);
    return left;
}

static void retire(struct peer *peer)
{
    struct link_dpdk_rings *mine = peer->rings;
    if (mine == NULL)
        return;
    atomic_compare_exchange_strong(&peer->port->rings, &mine, NULL);
    link_dpdk_fence_lanes();
    uint32_t at = 0;
    while (proxies.retired[at].rings != NULL)
        at++;
    proxies.retired[at] =
        (struct retired){ .rings = peer->rings, .port = peer->port, .inner = peer->inner };
    shutdown(peer->inner, SHUT_WR);
    peer->inner = -1;
    peer->rings = NULL;
    peer->port = NULL;
}

/* True if one more peer may connect: its rings will need a slot when they are retired. */
static bool has_place(void)
{
    uint32_t taken = 0;
    for (uint32_t i = 0; i < RETIRED_MAX; i++)
        taken += proxies.retired[i].rings != NULL;
    for (uint32_t i = 0; i < PEERS_MAX; i++)
        taken += proxies.peers[i].rings != NULL;
    return taken < RETIRED_MAX;
}

/* ---- peers */

static void disconnect(struct peer *peer)
{
    retire(peer);
    link_dpdk_handshake_free(peer->handshake);
    peer->handshake = NULL;
    close_known(&peer->outer);
    close_known(&peer->inner);
    peer->proxy = NULL;
    proxies.generation++;
}

static void refuse(struct peer *peer, const char *why)
{
    link_dpdk_message_say_why(peer->outer, why);
    disconnect(peer);
}

/* Connects to the private socket. False: not now, or it failed and the peer was disconnected. */
static bool connect_server(struct peer *peer)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", peer->proxy->server);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) {
        peer->inner = fd;
        proxies.generation++;
        return true;
    }
    const bool full = fd >= 0 && errno == EAGAIN;
    if (fd >= 0)
        close(fd);
    if (!full)
        disconnect(peer);
    return false;
}

static void accept_peer(struct link_dpdk_memif_proxy *proxy, leat_ns now)
{
    const int fd = accept_connection(proxy->listener);
    if (fd < 0)
        return;
    if (!link_dpdk_socket_is_ours(fd)) {
        link_dpdk_message_say_why(fd, "memory is shared with processes of the same user only");
        close(fd);
        return;
    }
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        struct peer *peer = &proxies.peers[i];
        if (peer->proxy != NULL)
            continue;
        *peer = (struct peer){ .proxy = proxy, .outer = fd, .inner = -1, .since = now };
        connect_server(peer);
        return;
    }
    close(fd);
}

static struct link_dpdk_port *find_port(const struct peer *peer)
{
    const uint32_t id = link_dpdk_handshake_id(peer->handshake);
    for (uint32_t i = 0; i < proxies.port_count; i++)
        if (proxies.ports[i]->proxy == peer->proxy && proxies.ports[i]->device.memif_id == id)
            return proxies.ports[i];
    return NULL;
}

/* Handles a message of the handshake. Returns NULL, or the reason to refuse the peer. */
static const char *hear_handshake(struct peer *peer, const struct link_dpdk_message *m)
{
    const int fd = m->descriptor_count == 1 ? m->descriptors[0] : -1;
    if (m->size != LINK_DPDK_MEMIF_BYTES || m->descriptor_count > 1)
        return "not a memif message";
    if (peer->handshake == NULL
        && (peer->handshake = link_dpdk_handshake_new(proxies.wake)) == NULL)
        return "out of memory or descriptors";
    const char *why = link_dpdk_handshake_hear(peer->handshake, (const uint8_t *)m->bytes, fd);
    if (why != NULL)
        return why;
    if (!link_dpdk_handshake_is_whole(peer->handshake)) {
        const uint8_t ack[LINK_DPDK_MEMIF_BYTES] = { LINK_DPDK_MEMIF_ACK };
        return link_dpdk_message_tell(peer->outer, ack, -1) ? NULL : "";
    }
    peer->port = find_port(peer);
    if (peer->port == NULL)
        return "ID not found";
    return link_dpdk_handshake_tell(peer->handshake, peer->inner, peer->port->device.data_bytes);
}

static void hear_peer(struct peer *peer)
{
    struct link_dpdk_message m;
    const char *why = NULL;
    bool stays = link_dpdk_message_receive(peer->outer, &m);
    if (stays && !peer->connected)
        why = hear_handshake(peer, &m);
    else if (stays && link_dpdk_message_type(&m) == LINK_DPDK_MEMIF_DISCONNECT
             && m.descriptor_count == 0)
        stays = link_dpdk_message_send(peer->inner, &m);
    else if (stays)
        why = "unexpected message from a connected peer";
    link_dpdk_message_drop(&m);
    if (why != NULL)
        refuse(peer, why);
    else if (!stays)
        disconnect(peer);
}

/* The driver has accepted the peer: lanes may use its rings. */
static bool connect_rings(struct peer *peer)
{
    if (peer->handshake == NULL || peer->port == NULL || !has_place())
        return false;
    peer->rings = link_dpdk_handshake_take_rings(peer->handshake);
    link_dpdk_handshake_free(peer->handshake);
    peer->handshake = NULL;
    peer->connected = true;
    atomic_store_explicit(&peer->port->rings, peer->rings, memory_order_release);
    return true;
}

/* Forwards a message of the server, except acknowledgements: the handshake sends those itself. */
static void hear_server(struct peer *peer)
{
    struct link_dpdk_message m;
    bool stays = link_dpdk_message_receive(peer->inner, &m);
    const uint16_t type = stays ? link_dpdk_message_type(&m) : 0;
    if (type == LINK_DPDK_MEMIF_CONNECTED)
        stays = connect_rings(peer);
    if (stays && type != LINK_DPDK_MEMIF_ACK)
        stays = link_dpdk_message_send(peer->outer, &m);
    link_dpdk_message_drop(&m);
    proxies.generation += stays && !peer->greeted;
    peer->greeted |= stays;
    if (!stays)
        disconnect(peer);
}

static void serve(struct peer *peer, bool from_inner, bool from_outer)
{
    if (from_inner)
        hear_server(peer);
    /* Before the server's first message do not read from the peer: if it has disconnected, the
     * proxy must not disconnect from the server yet. */
    if (from_outer && peer->proxy != NULL && peer->greeted)
        hear_peer(peer);
}

/* ---- the thread */

static nfds_t collect(struct pollfd fds[POLLED_MAX])
{
    nfds_t n = 0;
    fds[n++] = (struct pollfd){ .fd = proxies.wake, .events = POLLIN };
    for (const struct link_dpdk_memif_proxy *d = proxies.all; d != NULL; d = d->next)
        fds[n++] = (struct pollfd){ .fd = d->listener, .events = POLLIN };
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        const struct peer *p = &proxies.peers[i];
        if (p->proxy == NULL)
            continue;
        fds[n++] = (struct pollfd){ .fd = p->inner, .events = POLLIN };
        fds[n++] = (struct pollfd){ .fd = p->greeted ? p->outer : -1, .events = POLLIN };
    }
    return n;
}

/* `fds` is in the order of collect. */
static void serve_all(const struct pollfd fds[POLLED_MAX], leat_ns now)
{
    nfds_t n = 1;
    struct peer *known[PEERS_MAX];
    uint32_t known_count = 0;
    for (uint32_t i = 0; i < PEERS_MAX; i++)
        if (proxies.peers[i].proxy != NULL)
            known[known_count++] = &proxies.peers[i];
    for (struct link_dpdk_memif_proxy *d = proxies.all; d != NULL; d = d->next)
        if (fds[n++].revents != 0)
            accept_peer(d, now);
    for (uint32_t i = 0; i < known_count; i++, n += 2)
        serve(known[i], fds[n].revents != 0, fds[n + 1].revents != 0);
}

/* Handles broken rings, timeouts and reconnects. Returns how long poll may wait, in ms; -1: without
 * a limit. */
static int look_after_waiting(leat_ns now)
{
    int sleep_ms = free_retired(false) ? RETIRED_MS : -1;
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        struct peer *p = &proxies.peers[i];
        if (p->proxy != NULL && p->rings != NULL && link_dpdk_rings_broken(p->rings))
            refuse(p, "the rings or the memory of the peer are invalid");
        if (p->proxy == NULL || p->connected)
            continue;
        const bool again = p->inner < 0 && !connect_server(p);
        if (p->proxy == NULL)
            continue;
        if (p->greeted && now - p->since > HANDSHAKE_MS * LEAT_NS_PER_MS)
            refuse(p, "the handshake took too long");
        else if (again)
            sleep_ms = RECONNECT_MS; /* not above RETIRED_MS */
        else if (sleep_ms < 0)
            sleep_ms = HANDSHAKE_MS;
    }
    return sleep_ms;
}

static void *run(void *unused)
{
    struct pollfd fds[POLLED_MAX];
    uint64_t value;
    (void)unused;
    pthread_mutex_lock(&proxies.mutex);
    while (proxies.all != NULL) {
        const int sleep_ms = look_after_waiting(clock_now());
        const nfds_t n = collect(fds);
        const uint32_t generation = proxies.generation;
        const int wake = proxies.wake;
        pthread_mutex_unlock(&proxies.mutex);
        const int spoken = poll(fds, n, sleep_ms);
        if (fds[0].revents != 0 && read(wake, &value, sizeof value) < 0)
            value = 0; /* a failed read is harmless: all state is checked below */
        pthread_mutex_lock(&proxies.mutex);
        if (spoken > 0 && proxies.generation == generation)
            serve_all(fds, clock_now());
    }
    pthread_mutex_unlock(&proxies.mutex);
    return NULL;
}

static bool start_thread(void)
{
    sigset_t all, before;
    proxies.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (proxies.wake < 0)
        return false;
    sigfillset(&all); /* signals go to the application, except SIGBUS from a peer's memory */
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    fault_tell(proxies.wake);
    const bool started = fault_open() && pthread_create(&proxies.thread, NULL, run, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started)
        return true;
    fault_tell(-1);
    close_known(&proxies.wake);
    return false;
}

static void wake(void)
{
    const uint64_t one = 1;
    proxies.generation++;
    if (write(proxies.wake, &one, sizeof one) < 0)
        return; /* the counter is full, so the thread wakes anyway */
}

/* ---- proxies */

static struct link_dpdk_memif_proxy *find(const char *public_name, bool abstract)
{
    for (struct link_dpdk_memif_proxy *d = proxies.all; d != NULL; d = d->next)
        if (d->abstract == abstract && strcmp(d->public_name, public_name) == 0)
            return d;
    return NULL;
}

static bool make_folder(struct link_dpdk_memif_proxy *proxy)
{
    const char *where = getenv("TMPDIR");
    const struct sockaddr_un *address = NULL;
    if (proxy->folder[0] != '\0')
        return mkdir(proxy->folder, S_IRWXU) == 0;
    if (where == NULL || strlen(where) + sizeof "/leat-XXXXXX/memif" > sizeof address->sun_path)
        where = "/tmp";
    snprintf(proxy->folder, sizeof proxy->folder, "%s/leat-XXXXXX", where);
    if (mkdtemp(proxy->folder) == NULL) {
        proxy->folder[0] = '\0';
        return false;
    }
    snprintf(proxy->private_name, sizeof proxy->private_name, "%s/memif", proxy->folder);
    return true;
}

/* Unlinks the private socket. It stays reachable through the O_PATH descriptor. */
static void hide(const struct link_dpdk_memif_proxy *proxy)
{
    unlink(proxy->private_name);
    rmdir(proxy->folder);
}

const char *link_dpdk_memif_proxy_prepare(struct link_dpdk_port *port)
{
    const struct link_dpdk_device *d = &port->device;
    pthread_mutex_lock(&proxies.mutex);
    struct link_dpdk_memif_proxy *proxy = find(d->memif_socket, d->memif_abstract);
    pthread_mutex_unlock(&proxies.mutex);
    if (proxy == NULL && proxies.count < PROXIES_MAX
        && (proxy = calloc(1, sizeof *proxy)) != NULL) {
        memcpy(proxy->public_name, d->memif_socket, sizeof proxy->public_name);
        proxy->abstract = d->memif_abstract;
        proxy->listener = proxy->server = -1;
    }
    if (proxy == NULL || !make_folder(proxy)) {
        if (proxy != NULL && proxy->ports == 0)
            free(proxy);
        return NULL;
    }
    pthread_mutex_lock(&proxies.mutex);
    const bool fits = proxies.port_count < PROXIES_MAX;
    if (fits) {
        port->proxy = proxy;
        proxies.ports[proxies.port_count++] = port;
        proxy->ports++;
    }
    pthread_mutex_unlock(&proxies.mutex);
    if (!fits && proxy->ports == 0)
        free(proxy);
    return fits ? proxy->private_name : NULL;
}

bool link_dpdk_memif_proxy_open(struct link_dpdk_port *port)
{
    struct link_dpdk_memif_proxy *proxy = port->proxy;
    bool serves = true;
    pthread_mutex_lock(&proxies.mutex);
    if (proxy->listener < 0) {
        proxy->server = open(proxy->private_name, O_PATH | O_CLOEXEC);
        proxy->listener =
            proxy->server >= 0 ? link_dpdk_socket_listen(proxy->public_name, proxy->abstract) : -1;
        serves = proxy->listener >= 0 && (proxies.wake >= 0 || start_thread());
        if (serves) {
            proxy->next = proxies.all;
            proxies.all = proxy;
            proxies.count++;
            wake();
        }
    }
    const int error = errno;
    pthread_mutex_unlock(&proxies.mutex);
    hide(proxy);
    errno = error;
    return serves;
}

/* Disconnects the peers of a port that closes, after forwarding the server's last messages. No lane
 * of the port may be running. `proxy`: disconnects its peers as well; may be NULL. */
static void disconnect_all(const struct link_dpdk_port *port,
                           const struct link_dpdk_memif_proxy *proxy)
{
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        struct peer *p = &proxies.peers[i];
        if (p->proxy == NULL || (p->proxy != proxy && p->port != port))
            continue;
        struct link_dpdk_message m;
        while (p->inner >= 0 && link_dpdk_message_receive(p->inner, &m)) {
            link_dpdk_message_send(p->outer, &m);
            link_dpdk_message_drop(&m);
        }
        disconnect(p);
    }
    for (uint32_t i = 0; i < RETIRED_MAX; i++)
        if (proxies.retired[i].port == port)
            proxies.retired[i].port = NULL;
}

static void forget_port(const struct link_dpdk_port *port)
{
    for (uint32_t i = 0; i < proxies.port_count; i++)
        if (proxies.ports[i] == port)
            proxies.ports[i] = proxies.ports[--proxies.port_count];
}

static void forget(struct link_dpdk_memif_proxy *proxy)
{
    struct link_dpdk_memif_proxy **at = &proxies.all;
    while (*at != NULL && *at != proxy)
        at = &(*at)->next;
    if (*at == NULL)
        return;
    *at = proxy->next;
    proxies.count--;
    if (!proxy->abstract)
        unlink(proxy->public_name);
    wake();
}

bool link_dpdk_memif_proxy_close(struct link_dpdk_port *port)
{
    struct link_dpdk_memif_proxy *proxy = port->proxy;
    if (proxy == NULL)
        return false;
    pthread_mutex_lock(&proxies.mutex);
    const bool others = --proxy->ports > 0;
    disconnect_all(port, others ? NULL : proxy);
    forget_port(port);
    port->proxy = NULL;
    if (!others)
        forget(proxy);
    const bool last = !others && proxies.all == NULL && proxies.wake >= 0;
    pthread_mutex_unlock(&proxies.mutex);
    if (last) {
        pthread_join(proxies.thread, NULL);
        free_retired(true);
        fault_tell(-1);
        close_known(&proxies.wake);
    }
    if (others)
        return false;
    hide(proxy); /* if link_dpdk_memif_proxy_open was not called */
    close_known(&proxy->listener);
    close_known(&proxy->server);
    free(proxy);
    return true;
}

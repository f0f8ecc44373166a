/* DPDK memif proxy: accepts memif's peers in the place of its server, and connects to it for them.
 *
 * 22.11's memif server cannot bear a peer that is gone before it was greeted: the connection stays
 * among EAL's interrupts with its memory freed and its number given back, and the next change of
 * those interrupts ends the process. So the server listens in a place of its own, which nobody else
 * can reach, and its only peer is this proxy: it connects for those who come to the public socket,
 * closes no sooner than it was greeted, and hands messages and descriptors to and fro.
 *
 *      peer --- public socket --- proxy -- private socket --- memif's server
 *
 * What the peer says goes through link_dpdk_handshake.c, and its rings through link_dpdk_rings.c:
 * the server believes every word and every byte of them.
 *
 * Role: that. Must not know: regions and rings.
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

#include "transport/accept.h"
#include "transport/link_dpdk_port.h"

enum {
    PROXIES_MAX = 32,
    PEERS_MAX = 64,
    POLLED_MAX = 1 + PROXIES_MAX + 2 * PEERS_MAX,
    KNOCK_AGAIN_MS = 10, /* the server has not taken those before */
    RETIRED_MAX = PEERS_MAX,
    RETIRED_MS = 10,
    HANDSHAKE_MS = 2000, /* then a peer that has not said enough has to go */
};

struct link_dpdk_memif_proxy {
    struct link_dpdk_memif_proxy *next;
    char public_name[LINK_DPDK_SOCKET_BYTES];
    bool abstract; /* the public one has no file */
    char folder[LINK_DPDK_SOCKET_BYTES - sizeof "/memif"];
    char private_name[LINK_DPDK_SOCKET_BYTES];
    uint32_t ports; /* that are behind it, memif can tell them apart */
    int listener;   /* -1: not open yet */
    int server;     /* names the private socket, whose file is gone */
};

struct peer {
    struct link_dpdk_memif_proxy *proxy; /* NULL: a free place */
    int outer;
    int inner; /* -1: not taken by the server yet */
    bool greeted, connected;
    leat_ns since;
    struct link_dpdk_handshake *handshake; /* NULL: over, or not begun */
    struct link_dpdk_port *port;           /* that its rings are at */
    struct link_dpdk_rings *rings;
};

/* Rings of a peer that is gone: a lane may just be in them, and the driver has its memory mapped
 * until EAL's thread has heard. */
struct retired {
    struct link_dpdk_rings *rings; /* NULL: a free place */
    struct link_dpdk_port *port;   /* NULL: no lane uses them */
    int inner;                     /* the server hangs up once it has let go; -1: it has */
};

static struct {
    pthread_mutex_t mutex; /* of everything here */
    struct link_dpdk_memif_proxy *all;
    uint32_t count;
    struct peer peers[PEERS_MAX];
    struct retired retired[RETIRED_MAX];
    struct link_dpdk_port *ports[PROXIES_MAX]; /* that are behind proxies */
    uint32_t port_count;
    uint32_t generation; /* of the descriptors that are polled */
    pthread_t thread;
    int wake; /* -1: no thread */
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

/* ---- rings that no lane shall use any more */

static bool has_hung_up(int fd)
{
    struct link_dpdk_message m;
    while (link_dpdk_message_receive(fd, &m))
        link_dpdk_message_drop(&m);
    return m.size >= 0 || (errno != EAGAIN && errno != EINTR);
}

/* True: they are gone. */
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

/* True: some are left. */
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

/* There is a place to retire the rings of one more peer. */
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

static void dismiss(struct peer *peer)
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
    dismiss(peer);
}

/* False: not now. */
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
        dismiss(peer);
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

/* NULL, or why the peer has to go. */
static const char *hear_handshake(struct peer *peer, const struct link_dpdk_message *m)
{
    const int fd = m->descriptor_count == 1 ? m->descriptors[0] : -1;
    if (m->size != LINK_DPDK_MEMIF_BYTES || m->descriptor_count > 1)
        return "that is no message of memif";
    if (peer->handshake == NULL
        && (peer->handshake = link_dpdk_handshake_new(proxies.wake)) == NULL)
        return "there is no memory for one more peer";
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
        why = "that was not to be said now";
    link_dpdk_message_drop(&m);
    if (why != NULL)
        refuse(peer, why);
    else if (!stays)
        dismiss(peer);
}

/* The driver has taken the peer: its rings may be used. */
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

/* Acknowledgements are the handshake's: the peer had its own. */
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
        dismiss(peer);
}

static void serve(struct peer *peer, bool from_inner, bool from_outer)
{
    if (from_inner)
        hear_server(peer);
    /* Who was not greeted yet may be gone already: the server must not find out. */
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

/* In the order of collect. */
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

/* How long the thread may sleep for who waits, ms; -1: for ever. */
static int look_after_waiting(leat_ns now)
{
    int sleep_ms = free_retired(false) ? RETIRED_MS : -1;
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        struct peer *p = &proxies.peers[i];
        if (p->proxy != NULL && p->rings != NULL && link_dpdk_rings_broken(p->rings))
            refuse(p, "its rings or its memory were not what they have to be");
        if (p->proxy == NULL || p->connected)
            continue;
        const bool again = p->inner < 0 && !connect_server(p);
        if (p->proxy == NULL)
            continue;
        if (p->greeted && now - p->since > HANDSHAKE_MS * LEAT_NS_PER_MS)
            refuse(p, "the handshake took too long");
        else if (again)
            sleep_ms = KNOCK_AGAIN_MS; /* as often as for the retired */
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
            value = 0; /* what changed is seen below */
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
    sigfillset(&all); /* signals are the application's, but for what a peer's memory raises */
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
        return; /* full: it is awake */
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

/* Whoever holds its descriptor still reaches the private socket. */
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

/* Of a port that closes, no lane of which runs any more: what the server had to say to its peers
 * last, and their rings. `proxy`: all that is behind it. */
static void dismiss_all(const struct link_dpdk_port *port,
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
        dismiss(p);
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
    dismiss_all(port, others ? NULL : proxy);
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
    hide(proxy); /* where it was not even opened */
    close_known(&proxy->listener);
    close_known(&proxy->server);
    free(proxy);
    return true;
}

/* A TCP proxy in a thread, between a client and a leatd, that cuts connections at random, or
 * forgets data connections as a middlebox does. */
#include "tests/support/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/seeded.h"

enum { CHUNK = 1 << 16, CUT_BYTES_MAX = 400000 };

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "proxy: %s (%s)\n", what, strerror(errno));
    abort();
}

static struct sockaddr_in loopback(unsigned port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

/* A listener whose address is as long as `like`. */
static int listen_like(const char *like, char text[LEATD_ADDRESS_MAX])
{
    for (int attempt = 0; attempt < 1000; attempt++) {
        struct sockaddr_in address = loopback(0);
        socklen_t size = sizeof address;
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0
            || listen(fd, 64) != 0 || getsockname(fd, (struct sockaddr *)&address, &size) != 0)
            give_up("listen");
        snprintf(text, LEATD_ADDRESS_MAX, "127.0.0.1:%u", ntohs(address.sin_port));
        if (strlen(text) == strlen(like))
            return fd;
        close(fd);
    }
    give_up("no port of that many digits");
}

static void write_all(int fd, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        const ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the reader's end of it is seen by the next receive */
        bytes += n;
        size -= (size_t)n;
    }
}

static void rewrite(const struct proxy *proxy, uint8_t *bytes, size_t size)
{
    for (unsigned i = 1; i < proxy->ports; i++) {
        const size_t length = strlen(proxy->from[i]);
        uint8_t *at;
        while ((at = memmem(bytes, size, proxy->from[i], length)) != NULL)
            memcpy(at, proxy->to[i], length);
    }
}

static void end_side(int *fd)
{
    const struct linger now = { .l_onoff = 1 }; /* a reset, like a cable pulled */
    if (*fd < 0)
        return;
    setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(*fd);
    *fd = -1;
}

static void end_pair(struct proxy_pair *pair)
{
    end_side(&pair->client);
    end_side(&pair->broker);
}

static bool is_free(const struct proxy_pair *pair)
{
    return pair->client < 0 && pair->broker < 0;
}

static void accept_pair(struct proxy *proxy, unsigned port)
{
    const int client = accept4(proxy->listeners[port], NULL, NULL, SOCK_CLOEXEC);
    const int broker = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const unsigned number = (unsigned)atoi(strchr(proxy->from[port], ':') + 1);
    const struct sockaddr_in address = loopback(number);
    if (client < 0 || broker < 0
        || connect(broker, (const struct sockaddr *)&address, sizeof address) != 0)
        give_up("connect to the broker");
    const int on = 1;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(broker, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (unsigned i = 0; i < PROXY_PAIRS_MAX; i++) {
        if (!is_free(&proxy->pairs[i]))
            continue;
        struct seeded seed = { .state = proxy->random };
        proxy->pairs[i] = (struct proxy_pair){ .client = client,
                                               .broker = broker,
                                               .data = port != 0,
                                               .left = 1 + seeded_below(&seed, CUT_BYTES_MAX) };
        proxy->random = seed.state;
        return;
    }
    give_up("too many connections");
}

/* False: the pair is over. A cut may fall anywhere in what is forwarded. */
static bool forward(struct proxy *proxy, struct proxy_pair *pair, bool from_broker)
{
    static uint8_t bytes[CHUNK];
    const int in = from_broker ? pair->broker : pair->client;
    const ssize_t n = recv(in, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return true;
    if ((pair->faults & (from_broker ? PROXY_MUTE_BROKER : PROXY_MUTE_CLIENT)) != 0) {
        if (n <= 0)
            end_side(from_broker ? &pair->broker : &pair->client);
        return true;
    }
    if (n <= 0)
        return false;
    if (from_broker)
        rewrite(proxy, bytes, (size_t)n);
    size_t size = (size_t)n;
    const bool cuts = atomic_load_explicit(&proxy->cuts, memory_order_relaxed);
    const bool cut = cuts && size >= pair->left;
    if (cut)
        size = pair->left;
    if (cuts)
        pair->left -= size;
    write_all(from_broker ? pair->client : pair->broker, bytes, size);
    return !cut;
}

static void meet(struct proxy *proxy)
{
    const unsigned faults = atomic_load_explicit(&proxy->faults, memory_order_acquire);
    unsigned met = 0;
    for (unsigned i = 0; i < PROXY_PAIRS_MAX && faults != 0; i++) {
        struct proxy_pair *pair = &proxy->pairs[i];
        if (is_free(pair) || !pair->data)
            continue;
        met++;
        pair->faults |= faults;
        if ((faults & PROXY_RESET_BROKER) != 0) {
            pair->faults |= PROXY_MUTE_CLIENT;
            end_side(&pair->broker);
        }
    }
    atomic_store_explicit(&proxy->met, met, memory_order_relaxed);
    atomic_store_explicit(&proxy->faults, 0, memory_order_release);
}

static void *run(void *context)
{
    struct proxy *proxy = context;
    while (!atomic_load_explicit(&proxy->ends, memory_order_relaxed)) {
        if (atomic_load_explicit(&proxy->faults, memory_order_relaxed) != 0)
            meet(proxy);
        struct pollfd fds[PROXY_PORTS_MAX + 2 * PROXY_PAIRS_MAX];
        nfds_t count = 0;
        for (unsigned i = 0; i < proxy->ports; i++)
            fds[count++] = (struct pollfd){ .fd = proxy->listeners[i], .events = POLLIN };
        for (unsigned i = 0; i < PROXY_PAIRS_MAX; i++) {
            fds[count++] = (struct pollfd){ .fd = proxy->pairs[i].client, .events = POLLIN };
            fds[count++] = (struct pollfd){ .fd = proxy->pairs[i].broker, .events = POLLIN };
        }
        if (poll(fds, count, 20) <= 0)
            continue;
        for (unsigned i = 0; i < PROXY_PAIRS_MAX; i++) {
            struct proxy_pair *pair = &proxy->pairs[i];
            const struct pollfd *of = &fds[proxy->ports + 2 * i];
            if (is_free(pair))
                continue;
            if ((of[0].revents != 0 && !forward(proxy, pair, false))
                || (of[1].revents != 0 && !forward(proxy, pair, true)))
                end_pair(pair);
        }
        for (unsigned i = 0; i < proxy->ports; i++)
            if (fds[i].revents != 0)
                accept_pair(proxy, i);
    }
    return NULL;
}

void proxy_start(struct proxy *proxy, const struct leatd *broker, uint64_t seed)
{
    *proxy = (struct proxy){ .random = seed, .ports = 1 + broker->shards };
    snprintf(proxy->from[0], LEATD_ADDRESS_MAX, "%s", broker->control);
    for (unsigned i = 0; i < broker->shards; i++)
        snprintf(proxy->from[1 + i], LEATD_ADDRESS_MAX, "%s", broker->data[i]);
    for (unsigned i = 0; i < proxy->ports; i++)
        proxy->listeners[i] = listen_like(proxy->from[i], proxy->to[i]);
    for (unsigned i = 0; i < PROXY_PAIRS_MAX; i++)
        proxy->pairs[i].client = proxy->pairs[i].broker = -1;
    snprintf(proxy->url, sizeof proxy->url, "tcp://%s", proxy->to[0]);
    if (pthread_create(&proxy->thread, NULL, run, proxy) != 0)
        give_up("thread");
}

void proxy_cut(struct proxy *proxy, bool on)
{
    atomic_store_explicit(&proxy->cuts, on, memory_order_relaxed);
}

unsigned proxy_forget(struct proxy *proxy, unsigned faults)
{
    atomic_store_explicit(&proxy->faults, faults, memory_order_release);
    while (atomic_load_explicit(&proxy->faults, memory_order_acquire) != 0)
        sched_yield();
    return atomic_load_explicit(&proxy->met, memory_order_relaxed);
}

void proxy_end(struct proxy *proxy)
{
    atomic_store_explicit(&proxy->ends, true, memory_order_relaxed);
    pthread_join(proxy->thread, NULL);
    for (unsigned i = 0; i < PROXY_PAIRS_MAX; i++)
        end_pair(&proxy->pairs[i]);
    for (unsigned i = 0; i < proxy->ports; i++)
        close(proxy->listeners[i]);
}

/* One end of an echo over the DPDK driver, for tests/net/net_link_dpdk.sh and for measuring the
 * driver.
 *
 *      link_echo server --device D --ip A/N [--port P] [--lanes N] [--reference] ...
 *      link_echo client --device D --ip A/N --to A:P --count N --size B [--window W] ...
 *
 * Role: opens ports through the driver's table and nothing else; a server sends every datagram
 * back, a client counts what returns, checks it byte by byte and measures round trips. Both print
 * JSON lines: what they are when ready, what they counted at the end. A server ends with SIGTERM.
 * Must not know: DPDK.
 * Threads: a server has one for each lane. */
#include <arpa/inet.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "schema/bytes.h"
#include "schema/limits.h"
#include "schema/packet.h"
#include "schema/session_id.h"
#include "transport/link_dpdk.h"

enum {
    PORTS_MAX = 4,
    NUMBER_AT = 8,
    STAMP_AT = 16,
    HEAD_BYTES = 24, /* the rest is a pattern */
    PATTERN_BYTES = 1 << 21,
    SAMPLES_MAX = 1 << 22,
};

struct settings {
    bool server, spin, reference, deaf;
    bool idle; /* sleeps on armed links when nothing comes */
    uint32_t device_count;
    struct link_dpdk_options ports[PORTS_MAX];
    struct link_dpdk_eal eal;
    struct link_peer to;
    uint32_t count, warm_up, size, window;
    leat_ns patience;
};

static volatile sig_atomic_t ending;

static void on_signal(int number)
{
    (void)number;
    ending = 1;
}

static leat_ns now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (leat_ns)t.tv_sec * LEAT_NS_PER_S + (leat_ns)t.tv_nsec;
}

static void __attribute__((noreturn)) die(const char *what, const char *why)
{
    fprintf(stderr, "link_echo: %s: %s\n", what, why);
    exit(1);
}

/* ---- options */

static uint32_t number(const char *text, const char *what)
{
    char *end;
    const unsigned long value = strtoul(text, &end, 0);
    if (*text == '\0' || *end != '\0' || value > UINT32_MAX)
        die(what, text);
    return (uint32_t)value;
}

static uint32_t address(const char *text)
{
    struct in_addr a;
    if (inet_pton(AF_INET, text, &a) != 1)
        die("address", text);
    return ntohl(a.s_addr);
}

static void parse_ip(struct link_dpdk_options *port, char *text)
{
    char *slash = strchr(text, '/');
    if (slash == NULL)
        die("--ip: expected ADDRESS/BITS", text);
    *slash = '\0';
    port->ip = address(text);
    port->prefix_bits = (uint8_t)number(slash + 1, "--ip");
}

static void parse_to(struct link_peer *to, char *text)
{
    char *colon = strrchr(text, ':');
    if (colon == NULL)
        die("--to: expected ADDRESS:PORT", text);
    *colon = '\0';
    const uint32_t ip = htonl(address(text));
    to->key.address[10] = to->key.address[11] = 0xFF;
    memcpy(to->key.address + 12, &ip, sizeof ip);
    to->key.port = (uint16_t)number(colon + 1, "--to");
}

static const struct option names[] = {
    { "device", 1, NULL, 'd' },    { "ip", 1, NULL, 'i' },       { "port", 1, NULL, 'p' },
    { "to", 1, NULL, 't' },        { "count", 1, NULL, 'c' },    { "size", 1, NULL, 's' },
    { "window", 1, NULL, 'w' },    { "lanes", 1, NULL, 'l' },    { "mtu", 1, NULL, 'm' },
    { "rx-loss", 1, NULL, 'L' },   { "tx-loss", 1, NULL, 'T' },  { "burst", 1, NULL, 'B' },
    { "duplicate", 1, NULL, 'D' }, { "reorder", 1, NULL, 'R' },  { "corrupt", 1, NULL, 'C' },
    { "seed", 1, NULL, 'S' },      { "pages", 1, NULL, 'P' },    { "memory", 1, NULL, 'M' },
    { "reference", 0, NULL, 'r' }, { "spin", 0, NULL, 'x' },     { "warm-up", 1, NULL, 'W' },
    { "vlan", 1, NULL, 'v' },      { "patience", 1, NULL, 'q' }, { "buffers", 1, NULL, 'b' },
    { "gateway", 1, NULL, 'g' },   { "deaf", 0, NULL, 'e' },     { "idle", 0, NULL, 'I' },
    { NULL, 0, NULL, 0 },
};

/* What belongs to the port named last. */
static bool port_option(struct link_dpdk_options *port, int name, char *text)
{
    switch (name) {
    case 'i': parse_ip(port, text); return true;
    case 'p': port->port = (uint16_t)number(text, "--port"); return true;
    case 'l': port->lanes = number(text, "--lanes"); return true;
    case 'm': port->mtu = (uint16_t)number(text, "--mtu"); return true;
    case 'v': port->vlan = (uint16_t)number(text, "--vlan"); return true;
    case 'b': port->buffers = number(text, "--buffers"); return true;
    case 'g': port->gateway = address(text); return true;
    case 'L': port->inject.rx_loss_ppm = number(text, "--rx-loss"); return true;
    case 'T': port->inject.tx_loss_ppm = number(text, "--tx-loss"); return true;
    case 'B': port->inject.burst = number(text, "--burst"); return true;
    case 'D': port->inject.rx_duplicate_ppm = number(text, "--duplicate"); return true;
    case 'R': port->inject.rx_reorder_ppm = number(text, "--reorder"); return true;
    case 'C': port->inject.rx_corrupt_ppm = number(text, "--corrupt"); return true;
    case 'S': port->inject.seed = number(text, "--seed"); return true;
    default: return false;
    }
}

static void parse(struct settings *s, int argc, char **argv)
{
    *s = (struct settings){ .count = 1000, .size = 64, .window = 1, .patience = LEAT_NS_PER_S };
    int name;
    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (name == 'd') {
            if (s->device_count == PORTS_MAX)
                die("--device", "too many");
            s->ports[s->device_count++] =
                (struct link_dpdk_options){ .device = optarg, .lanes = 1 };
            continue;
        }
        if (s->device_count != 0 && port_option(&s->ports[s->device_count - 1], name, optarg))
            continue;
        switch (name) {
        case 't': parse_to(&s->to, optarg); break;
        case 'c': s->count = number(optarg, "--count"); break;
        case 's': s->size = number(optarg, "--size"); break;
        case 'w': s->window = number(optarg, "--window"); break;
        case 'W': s->warm_up = number(optarg, "--warm-up"); break;
        case 'q': s->patience = number(optarg, "--patience") * LEAT_NS_PER_MS; break;
        case 'P': s->eal.pages = (int32_t)number(optarg, "--pages"); break;
        case 'M': s->eal.memory_mb = number(optarg, "--memory"); break;
        case 'r': s->reference = true; break;
        case 'x': s->spin = true; break;
        case 'e': s->deaf = true; break;
        case 'I': s->idle = true; break;
        default: die("unknown option, or before --device", argv[optind - 1]);
        }
    }
    if (s->device_count == 0 || optind != argc - 1 || s->size < HEAD_BYTES || s->window == 0)
        die("usage", "link_echo server|client --device D --ip A/N ...");
    s->server = strcmp(argv[optind], "server") == 0;
}

/* ---- what both do */

static uint8_t *pattern; /* byte i of every datagram; registered with the driver */

static void make_pattern(const struct link_dpdk_driver *driver)
{
    pattern = mmap(NULL, PATTERN_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pattern == MAP_FAILED)
        die("memory", "mmap");
    for (uint32_t i = 0; i < PATTERN_BYTES; i++)
        pattern[i] = (uint8_t)(i * 7 + (i >> 8));
    const enum leat_error error = driver->register_memory(pattern, PATTERN_BYTES, 4096);
    if (error != LEAT_OK && error != LEAT_ERR_UNSUPPORTED)
        die("register_memory", "refused");
}

static _Atomic uint64_t released;

static void note_release(void *owner, uint32_t token)
{
    (void)owner;
    (void)token;
    atomic_fetch_add(&released, 1);
}

static void print_counters(const struct link_dpdk_driver *driver, struct link_dpdk_port *port,
                           uint32_t lanes)
{
    uint64_t rx = 0, accepted = 0, answered = 0, tx = 0, lost = 0, references = 0, kept = 0;
    uint64_t drops[LINK_DROPS] = { 0 }, dropped = 0;
    for (uint32_t i = 0; i < lanes; i++) {
        const struct link_counters *c = &driver->lane(port, i)->counters;
        rx += atomic_load(&c->rx);
        accepted += atomic_load(&c->accepted);
        answered += atomic_load(&c->answered);
        tx += atomic_load(&c->tx);
        lost += atomic_load(&c->tx_lost);
        kept += atomic_load(&c->tx_kept);
        references += atomic_load(&c->tx_references);
        for (uint32_t k = 0; k < LINK_DROPS; k++)
            drops[k] += atomic_load(&c->drops[k]);
    }
    printf("{\"rx\":%" PRIu64 ",\"accepted\":%" PRIu64 ",\"answered\":%" PRIu64 ",\"drops\":[", rx,
           accepted, answered);
    for (uint32_t k = 0; k < LINK_DROPS; k++) {
        printf("%s%" PRIu64, k != 0 ? "," : "", drops[k]);
        dropped += drops[k];
    }
    printf("],\"tx\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"kept\":%" PRIu64 ",\"references\":%" PRIu64
           ",\"balanced\":%s,\"buffers\":%u,\"lanes\":[",
           tx, lost, kept, references, rx == accepted + answered + dropped ? "true" : "false",
           driver->buffers_in_use(port));
    for (uint32_t i = 0; i < lanes; i++)
        printf("%s%" PRIu64, i != 0 ? "," : "",
               atomic_load(&driver->lane(port, i)->counters.accepted));
    printf("]}\n");
}

/* Once: the other end is there. */
static void say_heard(void)
{
    static _Atomic bool said;
    if (!atomic_exchange(&said, true))
        printf("{\"heard\":true}\n");
}

/* ---- sleeping */

struct sleeper {
    struct link *const *links;
    uint32_t link_count;
    int epoll;
    bool able; /* every link can wake us */
    bool armed;
    uint64_t woken, timed_out;
};

static void sleeper_open(struct sleeper *z, const struct settings *s, struct link *const *links,
                         uint32_t link_count)
{
    *z = (struct sleeper){ .links = links,
                           .link_count = link_count,
                           .epoll = epoll_create1(EPOLL_CLOEXEC),
                           .able = s->idle };
    for (uint32_t i = 0; i < link_count && z->able; i++) {
        struct epoll_event event = { .events = EPOLLIN | EPOLLET };
        const int fd = links[i]->ops->descriptor(links[i]);
        z->able = fd >= 0 && epoll_ctl(z->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
    }
}

static void disarm(struct sleeper *z)
{
    for (uint32_t i = 0; i < z->link_count && z->armed; i++)
        z->links[i]->ops->disarm(z->links[i]);
    z->armed = false;
}

/* Nothing came: arms at first, so that the caller asks once more; then blocks. */
static void idle(struct sleeper *z)
{
    const leat_ns now = now_ns();
    leat_ns until = now + LEAT_NS_PER_S;
    if (!z->armed) {
        z->armed = true;
        for (uint32_t i = 0; i < z->link_count; i++) {
            if (!z->links[i]->ops->arm(z->links[i])) {
                disarm(z);
                sched_yield();
                return;
            }
        }
        return;
    }
    for (uint32_t i = 0; i < z->link_count; i++) {
        const leat_ns deadline = z->links[i]->ops->deadline(z->links[i]);
        until = deadline < until ? deadline : until;
    }
    struct epoll_event event;
    const int ms = until > now ? (int)((until - now) / LEAT_NS_PER_MS) + 1 : 0;
    if (epoll_wait(z->epoll, &event, 1, ms) > 0)
        z->woken++;
    else
        z->timed_out++;
    disarm(z);
}

static void rest(struct sleeper *z, bool did_something, bool spin)
{
    if (did_something)
        disarm(z);
    else if (z->able)
        idle(z);
    else if (!spin)
        sched_yield();
}

static void print_sleeper(struct sleeper *z)
{
    struct rusage used;
    disarm(z);
    getrusage(RUSAGE_SELF, &used);
    printf("{\"able\":%s,\"woken\":%" PRIu64 ",\"timed_out\":%" PRIu64 ",\"cpu_ms\":%ld}\n",
           z->able ? "true" : "false", z->woken, z->timed_out,
           (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000
               + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000);
    close(z->epoll);
}

/* ---- server */

struct echo {
    const struct link_dpdk_driver *driver;
    const struct settings *settings;
    struct link *links[PORTS_MAX];
    uint32_t link_count;
};

/* As it came, or its head and the rest from the pattern, which is what it holds. */
static void echo_one(struct link *link, const struct link_datagram *d, bool by_reference)
{
    struct link_outgoing out;
    if (!link->ops->reserve(link, &out))
        return;
    const uint32_t rest = d->size > HEAD_BYTES ? d->size - HEAD_BYTES : 0;
    if (by_reference && link_sends_by_reference(&link->limits, rest)) {
        const struct link_reference reference = { .bytes = pattern + HEAD_BYTES,
                                                  .size = rest,
                                                  .release = note_release };
        memcpy(out.bytes, d->bytes, HEAD_BYTES);
        link->ops->send(link, &out, HEAD_BYTES, &reference, &d->peer);
        return;
    }
    memcpy(out.bytes, d->bytes, d->size);
    link->ops->send(link, &out, d->size, NULL, &d->peer);
}

static void *run_echo(void *argument)
{
    struct echo *e = argument;
    struct sleeper sleeper;
    e->driver->enter();
    sleeper_open(&sleeper, e->settings, e->links, e->link_count);
    while (!ending) {
        unsigned did = 0;
        for (uint32_t i = 0; i < e->link_count; i++) {
            struct link *link = e->links[i];
            struct link_datagram got[LINK_BURST];
            const leat_ns now = now_ns();
            const unsigned count = link->ops->receive(link, got, LINK_BURST, now);
            for (unsigned k = 0; k < count; k++)
                echo_one(link, &got[k], e->settings->reference);
            if (count != 0) {
                link->ops->release(link, got, count);
                say_heard();
            }
            link->ops->flush(link, now);
            did += count;
        }
        rest(&sleeper, did != 0, e->settings->spin);
    }
    print_sleeper(&sleeper);
    e->driver->leave();
    return NULL;
}

static void run_server(const struct link_dpdk_driver *driver, const struct settings *s,
                       struct link_dpdk_port **ports)
{
    static struct echo echoes[LEAT_SHARDS_MAX];
    pthread_t threads[LEAT_SHARDS_MAX];
    const uint32_t lanes = s->ports[0].lanes;
    for (uint32_t i = 0; i < lanes; i++) {
        echoes[i] = (struct echo){ .driver = driver, .settings = s };
        for (uint32_t p = 0; p < s->device_count; p++)
            if (i < s->ports[p].lanes)
                echoes[i].links[echoes[i].link_count++] = driver->lane(ports[p], i);
    }
    for (uint32_t i = 1; i < lanes; i++)
        if (pthread_create(&threads[i], NULL, run_echo, &echoes[i]) != 0)
            die("thread", "does not start");
    run_echo(&echoes[0]);
    for (uint32_t i = 1; i < lanes; i++)
        pthread_join(threads[i], NULL);
}

/* ---- client */

struct pings {
    struct link *link;
    const struct settings *s;
    struct link_peer to;
    uint64_t sent, received, duplicates, bad;
    uint8_t *seen;
    uint32_t *samples;
    uint32_t sample_count;
};

static bool send_ping(struct pings *p, leat_ns now)
{
    struct link_outgoing out;
    if (!p->link->ops->reserve(p->link, &out))
        return false;
    memset(out.bytes, 0, LEAT_PACKET_SESSION_AT);
    leat_store32(out.bytes + LEAT_PACKET_SESSION_AT, (uint32_t)(p->sent % 4)
                                                         << LEAT_SESSION_SHARD_SHIFT);
    leat_store64(out.bytes + NUMBER_AT, p->sent);
    leat_store64(out.bytes + STAMP_AT, now);
    memcpy(out.bytes + HEAD_BYTES, pattern + HEAD_BYTES, p->s->size - HEAD_BYTES);
    p->link->ops->send(p->link, &out, p->s->size, NULL, &p->to);
    p->sent++;
    return true;
}

static void take_pong(struct pings *p, const struct link_datagram *d, uint64_t total, leat_ns now)
{
    const uint64_t n = d->size == p->s->size ? leat_load64(d->bytes + NUMBER_AT) : UINT64_MAX;
    if (n >= total
        || memcmp(d->bytes + HEAD_BYTES, pattern + HEAD_BYTES, d->size - HEAD_BYTES) != 0) {
        p->bad++;
        return;
    }
    if (p->seen[n] != 0) {
        p->duplicates++;
        return;
    }
    p->seen[n] = 1;
    p->received++;
    memcpy(p->to.mac, d->peer.mac, sizeof p->to.mac); /* no need to look it up any more */
    p->to.vlan = d->peer.vlan;
    if (n >= p->s->warm_up && p->sample_count < SAMPLES_MAX)
        p->samples[p->sample_count++] = (uint32_t)(now - leat_load64(d->bytes + STAMP_AT));
}

static int by_value(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_pings(struct pings *p, uint64_t measured, leat_ns took)
{
    const uint32_t n = p->sample_count;
    qsort(p->samples, n, sizeof p->samples[0], by_value);
#define AT(share) (n != 0 ? p->samples[(uint32_t)((n - 1) * (share))] : 0)
    printf("{\"sent\":%" PRIu64 ",\"received\":%" PRIu64 ",\"duplicates\":%" PRIu64
           ",\"bad\":%" PRIu64 ",\"p50_ns\":%u,\"p99_ns\":%u,\"p999_ns\":%u,\"max_ns\":%u"
           ",\"per_second\":%.0f}\n",
           p->sent, p->received, p->duplicates, p->bad, AT(0.5), AT(0.99), AT(0.999), AT(1.0),
           (double)measured * 1e9 / (double)took);
#undef AT
}

/* Lost pings are given up when nothing came for `patience`. */
static void run_client(const struct link_dpdk_driver *driver, const struct settings *s,
                       struct link_dpdk_port *port)
{
    const uint64_t total = (uint64_t)s->count + s->warm_up;
    struct pings p = { .link = driver->lane(port, 0), .s = s, .to = s->to };
    p.seen = malloc(total);
    p.samples = malloc(SAMPLES_MAX * sizeof p.samples[0]);
    if (p.seen == NULL || p.samples == NULL || s->size > p.link->limits.payload_max)
        die("--size or --count", "too large");
    memset(p.seen, 0, total);
    memset(p.samples, 0, SAMPLES_MAX * sizeof p.samples[0]); /* all pages are there */
    driver->enter();
    struct sleeper sleeper;
    sleeper_open(&sleeper, s, &p.link, 1);
    const leat_ns patience_first = 10 * LEAT_NS_PER_S; /* the server may still be starting */
    leat_ns began = 0, heard = now_ns();
    uint64_t open = 0, before = 0; /* received when the measuring began */
    while (p.received < total && !ending) {
        struct link_datagram got[LINK_BURST];
        leat_ns now = now_ns();
        /* Deaf: it takes one answer, sends on and does not listen any more. */
        const bool listens = !s->deaf || p.received == 0;
        const unsigned count = listens ? p.link->ops->receive(p.link, got, LINK_BURST, now) : 0;
        for (unsigned k = 0; k < count; k++)
            take_pong(&p, &got[k], total, now);
        if (count != 0) {
            p.link->ops->release(p.link, got, count);
            say_heard();
            open -= count < open ? count : open;
            heard = now;
            if (began == 0 && p.received > s->warm_up) {
                began = now;
                before = p.received;
            }
        }
        const leat_ns quiet = now - heard;
        if (open != 0 && quiet > (p.received == 0 ? patience_first : s->patience)) {
            open = 0;
            heard = now;
            p.to = s->to; /* it may be somewhere else now */
            if (p.sent == total || p.received == 0)
                break;
        }
        /* The first one finds out where the server is. */
        const uint64_t window = p.received != 0 ? s->window : 1;
        while (open < window && p.sent < total && send_ping(&p, now))
            open++;
        p.link->ops->flush(p.link, now);
        rest(&sleeper, count != 0, s->spin);
    }
    print_sleeper(&sleeper);
    print_pings(&p, p.received - before, now_ns() - began);
    driver->leave();
    free(p.seen);
    free(p.samples);
}

int main(int argc, char **argv)
{
    static struct settings s;
    char text[LINK_DPDK_ERROR_TEXT];
    struct link_dpdk_port *ports[PORTS_MAX];
    parse(&s, argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGTERM, on_signal);
    const struct link_dpdk_driver *driver = link_dpdk_load(text);
    if (driver == NULL)
        die("driver", text);
    const leat_ns before = now_ns();
    if (driver->start(&s.eal, text) != LEAT_OK)
        die("start", text);
    const leat_ns started = now_ns();
    if (text[0] != '\0')
        fprintf(stderr, "link_echo: %s\n", text);
    for (uint32_t i = 0; i < s.device_count; i++) {
        s.ports[i].lane_shift = s.server ? LEAT_SESSION_SHARD_SHIFT : 32;
        if (driver->open(&ports[i], &s.ports[i], text) != LEAT_OK)
            die("open", text);
    }
    make_pattern(driver);
    printf("{\"start_ms\":%.1f,\"open_ms\":%.1f,\"payload_max\":%u,\"reference_min\":%u,"
           "\"buffers\":%u}\n",
           (double)(started - before) / 1e6, (double)(now_ns() - started) / 1e6,
           driver->lane(ports[0], 0)->limits.payload_max,
           driver->lane(ports[0], 0)->limits.reference_min, driver->buffers_in_use(ports[0]));
    if (s.server)
        run_server(driver, &s, ports);
    else
        run_client(driver, &s, ports[0]);
    uint64_t references = 0;
    for (uint32_t i = 0; i < s.device_count; i++) {
        print_counters(driver, ports[i], s.ports[i].lanes);
        for (uint32_t k = 0; k < s.ports[i].lanes; k++)
            references += atomic_load(&driver->lane(ports[i], k)->counters.tx_references);
        driver->close(ports[i]);
    }
    printf("{\"references\":%" PRIu64 ",\"released\":%" PRIu64 "}\n", references,
           atomic_load(&released));
    driver->forget_memory(pattern, PATTERN_BYTES);
    return 0;
}

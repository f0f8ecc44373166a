/* The lower bound of a bypass port: the round trip of DPDK alone between two processes.
 *
 *      dpdk_echo server DEVICE
 *      dpdk_echo client DEVICE PAYLOAD COUNT WINDOW [full]   {"p50_ns":...,"per_second":...}
 *
 * Role: the yardstick for the driver and Leat. Frames have the size of a datagram of PAYLOAD bytes.
 * The server sends them back in the buffers in which they arrived; it parses no headers and keeps
 * no counters. The client writes a time stamp and leaves the rest of the payload untouched, in
 * whichever cache it is; with "full" it writes and reads all of it, as an application does. It
 * spins, keeps WINDOW frames in flight for at most five seconds, and prints one JSON line. A server
 * ends with SIGTERM.
 * Must not know: Leat, except how EAL is started.
 * Threads: one. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include "transport/eal.h"

enum {
    BURST = 32,
    BUFFERS = 8191,
    DESCRIPTORS = 1024,
    HEADERS = 42,
    STAMP_AT = HEADERS,
    TYPE = 0x88B5, /* EtherType for local experiments */
    SAMPLES_MAX = 1 << 22,
    WARM_UP = 1000,
};
#define TIME_MAX_NS 5000000000ull /* of a client */

static volatile sig_atomic_t ending;

static void on_signal(int number)
{
    (void)number;
    ending = 1;
}

static void __attribute__((noreturn)) die(const char *what, const char *why)
{
    fprintf(stderr, "dpdk_echo: %s: %s\n", what, why);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint16_t open_port(const char *device, struct rte_mempool **pool)
{
    char text[LINK_DPDK_ERROR_TEXT], name[RTE_DEV_NAME_MAX_LEN];
    const struct link_dpdk_eal eal = { .memory_mb = 64 };
    const struct rte_eth_conf conf = { 0 };
    uint16_t port;
    if (eal_start(&eal, text) != LEAT_OK)
        die("EAL", text);
    snprintf(name, sizeof name, "%.*s", (int)strcspn(device, ","), device);
    *pool =
        rte_pktmbuf_pool_create("echo", BUFFERS, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    if (*pool == NULL || rte_dev_probe(device) != 0
        || rte_eth_dev_get_port_by_name(name, &port) != 0
        || rte_eth_dev_configure(port, 1, 1, &conf) != 0
        || rte_eth_rx_queue_setup(port, 0, DESCRIPTORS, 0, NULL, *pool) != 0
        || rte_eth_tx_queue_setup(port, 0, DESCRIPTORS, 0, NULL) != 0
        || rte_eth_dev_start(port) != 0) {
        eal_last_error(text, sizeof text);
        die(device, text);
    }
    if (rte_thread_register() != 0)
        die("thread", rte_strerror(rte_errno));
    return port;
}

static bool is_up(uint16_t port)
{
    struct rte_eth_link link;
    return rte_eth_link_get_nowait(port, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

static void send_all(uint16_t port, struct rte_mbuf **frames, uint16_t count)
{
    uint16_t sent = 0;
    while (sent < count && !ending)
        sent =
            (uint16_t)(sent + rte_eth_tx_burst(port, 0, frames + sent, (uint16_t)(count - sent)));
}

static bool is_ours(const struct rte_mbuf *m)
{
    const uint8_t *f = rte_pktmbuf_mtod(m, const uint8_t *);
    return f[12] == TYPE >> 8 && f[13] == (TYPE & 0xFF);
}

static void run_server(uint16_t port)
{
    while (!ending) {
        struct rte_mbuf *frames[BURST];
        const uint16_t count = rte_eth_rx_burst(port, 0, frames, BURST);
        uint16_t back = 0;
        for (uint16_t i = 0; i < count; i++)
            if (is_ours(frames[i]))
                frames[back++] = frames[i];
            else
                rte_pktmbuf_free(frames[i]);
        if (back != 0)
            send_all(port, frames, back);
    }
}

static int by_value(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_result(uint32_t *samples, uint32_t count, uint32_t payload, uint32_t window,
                         uint64_t received, uint64_t took)
{
    qsort(samples, count, sizeof samples[0], by_value);
#define AT(share) (count != 0 ? samples[(uint32_t)((count - 1) * (share))] : 0)
    printf("{\"payload\":%u,\"window\":%u,\"p50_ns\":%u,\"p99_ns\":%u,\"p999_ns\":%u,\"max_ns\":%u"
           ",\"per_second\":%.0f}\n",
           payload, window, AT(0.5), AT(0.99), AT(0.999), AT(1.0),
           (double)received * 1e9 / (double)took);
#undef AT
}

static volatile uint64_t all_read; /* keeps the compiler from removing the reads */

static uint64_t sum_of(const struct rte_mbuf *m)
{
    const uint8_t *bytes = rte_pktmbuf_mtod(m, const uint8_t *);
    uint64_t sum = 0, word;
    for (uint32_t at = 0; at + sizeof word <= m->data_len; at += (uint32_t)sizeof word) {
        memcpy(&word, bytes + at, sizeof word);
        sum += word;
    }
    return sum;
}

static void write_frame(uint8_t *frame, uint32_t payload, bool full, uint64_t stamp)
{
    if (full)
        memset(frame + HEADERS, (int)stamp, payload);
    memset(frame, 0xFF, 12);
    frame[6] = 2; /* the source is a unicast address, the destination broadcast */
    frame[12] = TYPE >> 8;
    frame[13] = TYPE & 0xFF;
    memcpy(frame + STAMP_AT, &stamp, sizeof stamp);
}

static void run_client(uint16_t port, struct rte_mempool *pool, uint32_t payload, uint64_t total,
                       uint32_t window, bool full)
{
    uint32_t *samples = malloc(SAMPLES_MAX * sizeof samples[0]);
    uint32_t sample_count = 0, open = 0;
    const uint64_t start = now_ns();
    uint64_t sent = 0, received = 0, began = start, now = start;
    if (samples == NULL)
        die("samples", "out of memory");
    memset(samples, 0, SAMPLES_MAX * sizeof samples[0]); /* faults in all pages */
    while (received < total && now - start < TIME_MAX_NS && !ending) {
        struct rte_mbuf *frames[BURST];
        uint16_t count = rte_eth_rx_burst(port, 0, frames, BURST);
        now = now_ns();
        for (uint16_t i = 0; i < count; i++) {
            uint64_t stamp;
            memcpy(&stamp, rte_pktmbuf_mtod(frames[i], uint8_t *) + STAMP_AT, sizeof stamp);
            if (!is_ours(frames[i]))
                continue;
            if (full)
                all_read = sum_of(frames[i]);
            if (++received == WARM_UP)
                began = now;
            open--;
            if (received > WARM_UP && sample_count < SAMPLES_MAX)
                samples[sample_count++] = (uint32_t)(now - stamp);
        }
        rte_pktmbuf_free_bulk(frames, count);
        for (count = 0; count < BURST && open < window && sent < total; count++) {
            struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
            if (m == NULL)
                break;
            uint8_t *frame = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(HEADERS + payload));
            write_frame(frame, payload, full, now);
            frames[count] = m;
            sent++;
            open++;
        }
        if (count != 0)
            send_all(port, frames, count);
    }
    if (received <= WARM_UP)
        die("client", "too few frames came back");
    print_result(samples, sample_count, payload, window, received - WARM_UP, now_ns() - began);
    free(samples);
}

int main(int argc, char **argv)
{
    struct rte_mempool *pool;
    const bool server = argc == 3 && strcmp(argv[1], "server") == 0;
    const bool full = argc == 7 && strcmp(argv[6], "full") == 0;
    if (!server && ((argc != 6 && !full) || strcmp(argv[1], "client") != 0))
        die("usage", "dpdk_echo server DEVICE | client DEVICE PAYLOAD COUNT WINDOW [full]");
    signal(SIGTERM, on_signal);
    const uint16_t port = open_port(argv[2], &pool);
    if (server) {
        printf("{\"ready\":true}\n");
        fflush(stdout);
        run_server(port);
    } else {
        while (!is_up(port) && !ending)
            rte_delay_us_sleep(1000);
        run_client(port, pool, (uint32_t)strtoul(argv[3], NULL, 0),
                   strtoull(argv[4], NULL, 0) + WARM_UP, (uint32_t)strtoul(argv[5], NULL, 0), full);
    }
    rte_eth_dev_stop(port);
    rte_eth_dev_close(port);
    return 0;
}

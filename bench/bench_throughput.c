/* Goal: records per second through the broker, beside a bare relay: a process that sends back the
 * same bytes without any logic. One client thread publishes and consumes (sends and receives) on
 * one core, the broker (the relay) spins on the other. Write size, socket buffers and congestion
 * control are the same. Method: ROUNDS turns each, alternating; the other side is stopped. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/common/bench.h"
#include "client/leat.h"
#include "tests/support/leatd.h"

enum {
    BATCH_BYTES = 60 << 10, /* bytes per write, on both sides */
    SOCKET_BUFFER = 1 << 20,
    AHEAD_BYTES = 2 << 20, /* published and not consumed: the ring must not overtake the reader */
    PAIRS = 5,
    ROUNDS = 4, /* per pair */
    CLIENT_CPU = 0,
    SERVER_CPU = 1,
};
#define ROUND_NS UINT64_C(250000000)

/* Sends back whatever arrives on the connection, in pieces of any size. */
static void relay(int fd, bool spin)
{
    static uint8_t bytes[1 << 18];
    (void)spin;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    size_t have = 0, sent = 0;
    for (;;) {
        if (have < sizeof bytes) {
            const ssize_t got = recv(fd, bytes + have, sizeof bytes - have, 0);
            if (got == 0 || (got < 0 && errno != EAGAIN))
                return;
            have += got > 0 ? (size_t)got : 0;
        }
        if (sent < have) {
            const ssize_t n = send(fd, bytes + sent, have - sent, MSG_NOSIGNAL);
            if (n < 0 && errno != EAGAIN)
                return;
            sent += n > 0 ? (size_t)n : 0;
        }
        if (sent == have)
            sent = have = 0;
    }
}

/* Returns bytes per second, sent and received back. */
static double relay_round(int fd)
{
    static uint8_t bytes[BATCH_BYTES], back[1 << 18];
    uint64_t received = 0, sent = 0;
    const uint64_t start = bench_now_ns();
    uint64_t now = start;
    while (now - start < ROUND_NS || received < sent) {
        if (now - start < ROUND_NS) {
            const ssize_t n =
                send(fd, bytes, sizeof bytes - sent % sizeof bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
            sent += n > 0 ? (uint64_t)n : 0;
        }
        const ssize_t got = recv(fd, back, sizeof back, MSG_DONTWAIT);
        if (got == 0)
            bench_fail("relay");
        received += got > 0 ? (uint64_t)got : 0;
        now = bench_now_ns();
    }
    return (double)received * 1e9 / (double)(now - start);
}

struct bus {
    struct leatd broker;
    leat_client *client;
    leat_producer *producer;
    leat_consumer *consumer;
};

static void bus_open(struct bus *bus, const char *congestion)
{
    char config[512];
    snprintf(
        config, sizeof config,
        "{\"port\":0,\"data_port\":0,\"idle\":\"latency\",\"cpus\":[%d],\"tcp_congestion\":\"%s\","
        "\"socket_buffer_bytes\":%d,\"topics\":[{\"name\":\"flow\",\"ring_bytes\":\"16MiB\"}]}",
        SERVER_CPU, congestion, SOCKET_BUFFER);
    leatd_start_config(&bus->broker, config);
    const char *topic = "flow";
    const struct leat_client_options options = { .size = sizeof options,
                                                 .tcp_congestion = congestion,
                                                 .socket_buffer_bytes = SOCKET_BUFFER };
    const struct leat_producer_options producing = { .size = sizeof producing,
                                                     .batch_bytes_max = BATCH_BYTES,
                                                     .in_flight_batches = 16 };
    const struct leat_consumer_options consuming = { .size = sizeof consuming,
                                                     .window_bytes = 1 << 20 };
    if (leat_client_open(&bus->client, bus->broker.url, &options) != 0
        || leat_producer_open(bus->client, &bus->producer, topic, &producing) != 0
        || leat_consumer_open(bus->client, &bus->consumer, &topic, 1, &consuming) != 0)
        bench_fail(leat_client_error(bus->client));
}

/* Returns records per second, published and delivered. */
static double bus_round(struct bus *bus, uint32_t size, uint64_t *total)
{
    static uint8_t value[1 << 16];
    static struct leat_record records[256];
    const struct leat_record record = {
        .value = value, .value_size = size, .partition = 0, .timestamp_ns = 1
    };
    uint64_t sent = 0, received = 0;
    const uint64_t start = bench_now_ns();
    uint64_t now = start;
    while (now - start < ROUND_NS || received < sent) {
        while ((sent - received) * size < AHEAD_BYTES && now - start < ROUND_NS) {
            const int error = leat_producer_send(bus->producer, &record);
            if (error != 0 && error != LEAT_BUSY)
                bench_fail(leat_strerror(error));
            if (error == LEAT_BUSY)
                break;
            sent++;
        }
        if (leat_client_poll(bus->client, 0) < 0)
            bench_fail("poll");
        int n;
        while ((n = leat_consumer_poll(bus->consumer, records, 256)) > 0)
            received += (uint64_t)n;
        now = bench_now_ns();
    }
    *total = received;
    return (double)received * 1e9 / (double)(now - start);
}

/* Results of all pairs. */
struct pair {
    double bare[PAIRS * ROUNDS], leat[PAIRS * ROUNDS], ratio[PAIRS * ROUNDS];
    size_t count;
    uint64_t records, cpu_ns;
};

/* Each pair has a new broker and a new relay with new connections, because throughput differs from
 * connection to connection. */
static void run_pair(struct pair *pair, const char *congestion, uint32_t size)
{
    struct bus bus;
    uint16_t port;
    const double wire = 16.0 + (double)size; /* bytes per record, without the 96 per batch */
    const pid_t server = bench_serve(relay, true, SERVER_CPU, congestion, SOCKET_BUFFER, &port);
    const int fd = bench_connect(port, congestion, SOCKET_BUFFER);
    bus_open(&bus, congestion);
    for (int i = -1; i < ROUNDS; i++) { /* the first is a warm-up */
        bench_stop(bus.broker.pid);
        bench_continue(server);
        const double bytes = relay_round(fd);
        bench_stop(server);
        bench_continue(bus.broker.pid);
        const uint64_t cpu_before = leatd_cpu_ns(&bus.broker);
        uint64_t received = 0;
        const double records = bus_round(&bus, size, &received);
        if (i < 0)
            continue;
        pair->cpu_ns += leatd_cpu_ns(&bus.broker) - cpu_before;
        pair->records += received;
        pair->bare[pair->count] = bytes / wire;
        pair->leat[pair->count] = records;
        pair->ratio[pair->count++] = records * wire / bytes;
    }
    leat_client_close(bus.client);
    leatd_end(&bus.broker);
    close(fd);
    bench_end(server);
}

static void measure(const char *congestion, uint32_t size, double target)
{
    struct pair pair = { .count = 0 };
    char name[96], note[256];
    for (int i = 0; i < PAIRS; i++)
        run_pair(&pair, congestion, size);
    const struct bench_spread r = bench_spread(pair.ratio, pair.count);
    const struct bench_spread b = bench_spread(pair.bare, pair.count);
    const struct bench_spread l = bench_spread(pair.leat, pair.count);
    snprintf(name, sizeof name, "tcp_throughput_ratio_%uB_%s", size, congestion);
    snprintf(note, sizeof note,
             "%.3g million records/s (%.3g..%.3g), relay %.3g (%.3g..%.3g); ratio %.2f..%.2f",
             l.p50 / 1e6, l.p25 / 1e6, l.p75 / 1e6, b.p50 / 1e6, b.p25 / 1e6, b.p75 / 1e6, r.p25,
             r.p75);
    bench_emit(name, r.p50, "ratio", BENCH_AT_LEAST, target, note);
    snprintf(name, sizeof name, "tcp_broker_cpu_%uB_%s", size, congestion);
    bench_emit(name, (double)pair.cpu_ns / 1e3 / (double)pair.records, "s/million records",
               BENCH_NO_GOAL, 0, "the shard spins: total time of the turns, not only work");
}

int main(void)
{
    bench_pin(CLIENT_CPU);
    static const char *const congestions[] = { "reno", "bbr" };
    for (int i = 0; i < 2; i++) {
        measure(congestions[i], 64, 0.4);
        measure(congestions[i], 1024, 0.6);
    }
    return 0;
}

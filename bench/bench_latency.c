/* Goal: publish-to-deliver latency over kernel TCP, one record at a time, beside a bare TCP_NODELAY
 * echo of the same number of bytes. Both make two hops.
 * Method: both sides wait in the same way (spin, or block in the kernel) and use the same
 * congestion control. Rounds of ROUND_PINGS alternate while the other side is stopped. Samples of
 * one side are pooled; the spread is over the medians of rounds. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/common/bench.h"
#include "client/leat.h"
#include "tests/support/leatd.h"

enum {
    RECORD_BYTES = 64,
    WIRE_BYTES =
        16 + 64 + 16 + RECORD_BYTES, /* PUBLISH header, batch header, record header, value */
    ROUNDS = 40,
    ROUND_PINGS = 500,
    CLIENT_CPU = 0,
    SERVER_CPU = 1,
};

static ssize_t receive(int fd, void *bytes, size_t size, bool spin)
{
    for (;;) {
        const ssize_t got = recv(fd, bytes, size, spin ? MSG_DONTWAIT : 0);
        if (got >= 0 || (errno != EAGAIN && errno != EINTR))
            return got;
    }
}

static bool receive_all(int fd, uint8_t *bytes, size_t size, bool spin)
{
    for (size_t have = 0; have < size;) {
        const ssize_t got = receive(fd, bytes + have, size - have, spin);
        if (got <= 0)
            return false;
        have += (size_t)got;
    }
    return true;
}

static void echo(int fd, bool spin)
{
    uint8_t bytes[WIRE_BYTES];
    while (receive_all(fd, bytes, sizeof bytes, spin))
        if (send(fd, bytes, sizeof bytes, MSG_NOSIGNAL) != (ssize_t)sizeof bytes)
            return;
}

static void echo_round(int fd, bool spin, struct bench_samples *out)
{
    uint8_t bytes[WIRE_BYTES] = { 0 };
    for (int i = 0; i < ROUND_PINGS; i++) {
        const uint64_t start = bench_now_ns();
        if (send(fd, bytes, sizeof bytes, MSG_NOSIGNAL) != (ssize_t)sizeof bytes
            || !receive_all(fd, bytes, sizeof bytes, spin))
            bench_fail("echo");
        bench_samples_add(out, bench_now_ns() - start);
    }
}

struct bus {
    struct leatd broker;
    leat_client *client;
    leat_producer *producer;
    leat_consumer *consumer;
};

static void bus_open(struct bus *bus, bool spin, const char *congestion)
{
    char config[512];
    snprintf(config, sizeof config,
             "{\"port\":0,\"data_port\":0,\"idle\":\"%s\",\"cpus\":[%d],\"tcp_congestion\":\"%s\","
             "\"topics\":[{\"name\":\"ping\",\"ring_bytes\":\"8MiB\"}]}",
             spin ? "latency" : "laptop", SERVER_CPU, congestion);
    leatd_start_config(&bus->broker, config);
    const char *topic = "ping";
    const struct leat_client_options options = { .size = sizeof options,
                                                 .tcp_congestion = congestion };
    if (leat_client_open(&bus->client, bus->broker.url, &options) != 0
        || leat_producer_open(bus->client, &bus->producer, topic, NULL) != 0
        || leat_consumer_open(bus->client, &bus->consumer, &topic, 1, NULL) != 0)
        bench_fail(leat_client_error(bus->client));
}

static void bus_round(struct bus *bus, bool spin, struct bench_samples *out)
{
    const char value[RECORD_BYTES] = { 0 };
    for (int i = 0; i < ROUND_PINGS; i++) {
        const struct leat_record record = { .value = value,
                                            .value_size = sizeof value,
                                            .partition = LEAT_ANY_PARTITION };
        struct leat_record got;
        const uint64_t start = bench_now_ns();
        if (leat_producer_send(bus->producer, &record) != 0)
            bench_fail("send");
        while (leat_consumer_poll(bus->consumer, &got, 1) == 0)
            if (leat_client_poll(bus->client, spin ? 0 : LEAT_FOREVER) < 0)
                bench_fail("poll");
        bench_samples_add(out, bench_now_ns() - start);
    }
}

static void report(const char *mode, const char *congestion, struct bench_samples sides[2],
                   double medians[2][ROUNDS], struct bench_samples *noise)
{
    char name[96], note[256];
    const double echo_p50 = bench_percentile(&sides[0], 50),
                 bus_p50 = bench_percentile(&sides[1], 50);
    const double echo_p99 = bench_percentile(&sides[0], 99),
                 bus_p99 = bench_percentile(&sides[1], 99);
    const struct bench_spread e = bench_spread(medians[0], ROUNDS);
    const struct bench_spread b = bench_spread(medians[1], ROUNDS);
    snprintf(name, sizeof name, "tcp_latency_p50_ratio_%s_%s", mode, congestion);
    snprintf(note, sizeof note, "%.1f us, echo %.1f us; rounds %.1f..%.1f, echo %.1f..%.1f",
             bus_p50 / 1e3, echo_p50 / 1e3, b.p25 / 1e3, b.p75 / 1e3, e.p25 / 1e3, e.p75 / 1e3);
    bench_emit(name, bus_p50 / echo_p50, "ratio", BENCH_AT_MOST, 1.3, note);
    snprintf(name, sizeof name, "tcp_latency_p99_ratio_%s_%s", mode, congestion);
    snprintf(note, sizeof note,
             "%.1f us, echo %.1f us; p99.9 %.1f, %.1f; noise p99 %.1f, p99.9 %.1f, max %.1f us",
             bus_p99 / 1e3, echo_p99 / 1e3, bench_percentile(&sides[1], 99.9) / 1e3,
             bench_percentile(&sides[0], 99.9) / 1e3, bench_percentile(noise, 99) / 1e3,
             bench_percentile(noise, 99.9) / 1e3, bench_percentile(noise, 100) / 1e3);
    bench_emit(name, bus_p99 / echo_p99, "ratio", BENCH_AT_MOST, 2, note);
}

static void measure(bool spin, const char *congestion)
{
    struct bench_samples sides[2] = { 0 }, round = { 0 }, noise = { 0 };
    double medians[2][ROUNDS];
    struct bus bus;
    uint16_t port;
    const pid_t server = bench_serve(echo, spin, SERVER_CPU, congestion, 0, &port);
    const int fd = bench_connect(port, congestion, 0);
    bus_open(&bus, spin, congestion);
    for (int i = -1; i < ROUNDS; i++) { /* the first is a warm-up */
        for (int side = 0; side < 2; side++) {
            bench_stop(side == 0 ? bus.broker.pid : server);
            bench_continue(side == 0 ? server : bus.broker.pid);
            bench_samples_clear(&round);
            if (side == 0)
                echo_round(fd, spin, &round);
            else
                bus_round(&bus, spin, &round);
            if (i < 0)
                continue;
            for (size_t k = 0; k < round.count; k++)
                bench_samples_add(&sides[side], round.ns[k]);
            medians[side][i] = bench_percentile(&round, 50);
        }
    }
    bench_continue(server);
    bench_noise(&noise, (uint64_t)medians[0][0], 200000000);
    report(spin ? "spin" : "block", congestion, sides, medians, &noise);
    leat_client_close(bus.client);
    leatd_end(&bus.broker);
    close(fd);
    bench_end(server);
}

int main(void)
{
    bench_pin(CLIENT_CPU);
    for (int spin = 1; spin >= 0; spin--) {
        measure(spin, "reno");
        measure(spin, "bbr");
    }
    return 0;
}

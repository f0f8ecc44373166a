/* clang-format off */
/* Leat's client in a bypass bench, as a process of its own, because EAL starts once per process.
 *
 *     bypass_client ping   URL CPU COUNT SIZE [PAUSE_US]    one record at a time, there and back
 *     bypass_client turns  URL CPU COUNT SIZE               the same for each line on stdin
 *     bypass_client flow   URL CPU MS    SIZE [RECORDS_MAX] full speed; RECORDS_MAX per batch
 *     bypass_client paced  URL CPU MS    SIZE RATE          RATE records per second, open loop
 *     bypass_client repair URL CPU COUNT SIZE PAUSE_US      pings; those with a loss separately
 *     bypass_client stay   URL CPU 0     0                  subscribes, prints a line, consumes
 *
 * Prints one JSON line per result. On a slow machine it stops before COUNT: after five seconds,
 * repair after ten. The topic is "bench", which the broker's configuration declares.
 * Threads: one, which spins. */
/* clang-format on */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/common/bench.h"
#include "client/leat.h"

enum {
    VALUE_MAX = 1 << 16,
    AHEAD_BYTES = 2 << 20,
    WARM_PINGS = 2000,
    WARM_LATE_PINGS = 20, /* if the pause is at least LONG_PAUSE_US */
    LONG_PAUSE_US = 1000,
    SLOW = 8, /* times the median: a slow ping waited for a repair, or for the machine */
    SETTLE_MS = 50,
};

#define PING_NS_MAX 5000000000ull
#define REPAIR_NS_MAX 10000000000ull

static uint8_t value[VALUE_MAX];

struct bus {
    leat_client *client;
    leat_producer *producer;
    leat_consumer *consumer;
};

static void bus_open(struct bus *bus, const char *url, uint32_t records_max)
{
    const char *topic = "bench";
    const struct leat_producer_options producing = { .size = sizeof producing,
                                                     .batch_records_max = records_max,
                                                     .in_flight_batches = 64 };
    if (leat_client_open(&bus->client, url, NULL) != 0)
        bench_fail(leat_client_error(NULL));
    if (leat_producer_open(bus->client, &bus->producer, topic, &producing) != 0
        || leat_consumer_open(bus->client, &bus->consumer, &topic, 1, NULL) != 0)
        bench_fail(leat_client_error(bus->client));
}

static void poll_once(const struct bus *bus)
{
    if (leat_client_poll(bus->client, 0) < 0)
        bench_fail(leat_client_error(bus->client));
}

static void poll_for(const struct bus *bus, uint64_t ns)
{
    for (const uint64_t start = bench_now_ns(); bench_now_ns() - start < ns;)
        poll_once(bus);
}

static struct leat_client_stats stats_of(const struct bus *bus)
{
    struct leat_client_stats stats = { .size = sizeof stats };
    leat_client_stats(bus->client, &stats);
    return stats;
}

static void print_samples(struct bench_samples *samples)
{
    printf("{\"count\":%zu,\"p50_ns\":%.0f,\"p99_ns\":%.0f,\"p999_ns\":%.0f,\"max_ns\":%.0f",
           samples->count, bench_percentile(samples, 50), bench_percentile(samples, 99),
           bench_percentile(samples, 99.9), bench_percentile(samples, 100));
}

static int finish(struct bus *bus)
{
    const struct leat_client_stats stats = stats_of(bus);
    printf(",\"packets_sent\":%llu,\"packets_received\":%llu,\"packets_lost\":%llu"
           ",\"bytes_sent\":%llu,\"bytes_received\":%llu}\n",
           (unsigned long long)stats.packets_sent, (unsigned long long)stats.packets_received,
           (unsigned long long)stats.packets_lost, (unsigned long long)stats.bytes_sent,
           (unsigned long long)stats.bytes_received);
    leat_client_close(bus->client);
    return 0;
}

static struct leat_record new_record(uint32_t size)
{
    return (struct leat_record){
        .value = value, .value_size = size, .partition = 0, .timestamp_ns = 1
    };
}

/* Publishes one record and waits for its delivery; returns the time taken, ns. */
static uint64_t once(const struct bus *bus, uint32_t size)
{
    const struct leat_record record = new_record(size);
    struct leat_record got;
    const uint64_t start = bench_now_ns();
    if (leat_producer_send(bus->producer, &record) != 0)
        bench_fail("send");
    while (leat_consumer_poll(bus->consumer, &got, 1) == 0)
        poll_once(bus);
    return bench_now_ns() - start;
}

static void ping(const struct bus *bus, struct bench_samples *samples, long count, uint32_t size,
                 uint32_t pause_us)
{
    const uint64_t start = bench_now_ns();
    uint64_t since = 0;
    long i = pause_us < LONG_PAUSE_US ? -WARM_PINGS : -WARM_LATE_PINGS;
    while (i < count && since < PING_NS_MAX) {
        const uint64_t took = once(bus, size);
        if (i >= 0)
            bench_samples_add(samples, took);
        if (pause_us != 0)
            poll_for(bus, (uint64_t)pause_us * 1000);
        since = bench_now_ns() - start;
        i = i < 0 && since > PING_NS_MAX / 5 ? 0 : i + 1;
    }
    if (samples->count == 0)
        bench_fail("no record was delivered in time");
}

static int ping_once(const char *url, long count, uint32_t size, uint32_t pause_us)
{
    struct bench_samples samples = { 0 };
    struct bus bus;
    bus_open(&bus, url, 0);
    ping(&bus, &samples, count, size, pause_us);
    print_samples(&samples);
    return finish(&bus);
}

/* Between turns it leaves its core to the processes that start meanwhile. */
static int ping_turns(const char *url, long count, uint32_t size)
{
    struct bench_samples samples = { 0 };
    struct pollfd told = { .fd = 0, .events = POLLIN };
    struct bus bus;
    char byte;
    bus_open(&bus, url, 0);
    for (;;) {
        while (poll(&told, 1, 1) == 0)
            poll_once(&bus);
        if (read(0, &byte, 1) != 1)
            break;
        bench_samples_clear(&samples);
        ping(&bus, &samples, count, size, 0);
        print_samples(&samples);
        printf("}\n");
        fflush(stdout);
    }
    leat_client_close(bus.client);
    return 0;
}

/* Pings over a lossy port. Reports those whose own packet was lost, recognized by this client's
 * count of lost packets growing before the next ping. Separately reports slow pings, the only sign
 * of a lost packet of the broker. */
static int repair(const char *url, long count, uint32_t size, uint32_t pause_us)
{
    struct bench_samples all = { 0 }, lost = { 0 }, slow = { 0 };
    struct bus bus;
    bus_open(&bus, url, 0);
    uint64_t before = stats_of(&bus).packets_lost;
    const uint64_t start = bench_now_ns();
    for (long i = -WARM_PINGS; i < count && bench_now_ns() - start < REPAIR_NS_MAX; i++) {
        const uint64_t took = once(&bus, size);
        poll_for(&bus, (uint64_t)pause_us * 1000);
        const uint64_t now = stats_of(&bus).packets_lost;
        if (i >= 0)
            bench_samples_add(&all, took);
        if (i >= 0 && now != before)
            bench_samples_add(&lost, took);
        before = now;
    }
    const double median = bench_percentile(&all, 50);
    for (size_t i = 0; i < all.count; i++)
        if (all.ns[i] > SLOW * median)
            bench_samples_add(&slow, all.ns[i]);
    print_samples(&lost);
    printf(",\"ping_p50_ns\":%.0f,\"slow\":%zu,\"slow_p50_ns\":%.0f,\"slow_p99_ns\":%.0f", median,
           slow.count, bench_percentile(&slow, 50), bench_percentile(&slow, 99));
    return finish(&bus);
}

struct counts {
    uint64_t sent, received;
};

static void take(const struct bus *bus, struct counts *c)
{
    static struct leat_record records[256];
    int n;
    while ((n = leat_consumer_poll(bus->consumer, records, 256)) > 0)
        c->received += (uint64_t)n;
}

static void send_many(const struct bus *bus, struct counts *c, uint32_t size)
{
    const struct leat_record record = new_record(size);
    for (int i = 0; i < 4096 && (c->sent - c->received) * size < AHEAD_BYTES; i++) {
        const int error = leat_producer_send(bus->producer, &record);
        if (error == LEAT_BUSY)
            return;
        if (error != 0)
            bench_fail(leat_strerror(error));
        c->sent++;
    }
}

static int flow(const char *url, long ms, uint32_t size, uint32_t records_max)
{
    struct bus bus;
    struct counts counts = { 0 }, warm = { 0 };
    struct leat_client_stats at_warm = { 0 };
    uint64_t duration = (uint64_t)ms * 1000000;
    bus_open(&bus, url, records_max);
    const uint64_t begin = bench_now_ns();
    uint64_t start = begin, now = begin;
    /* The first fifth is a warm-up. */
    while (now - begin < duration || counts.received < counts.sent) {
        if (now - begin < duration)
            send_many(&bus, &counts, size);
        poll_once(&bus);
        take(&bus, &counts);
        now = bench_now_ns();
        if (start == begin && now - begin > duration / 5) {
            warm = counts;
            at_warm = stats_of(&bus);
            start = now;
        }
    }
    const double seconds = (double)(now - start) / 1e9;
    const struct leat_client_stats stats = stats_of(&bus);
    printf("{\"records_per_s\":%.0f,\"packets_out_per_s\":%.0f,\"packets_in_per_s\":%.0f"
           ",\"records_a_packet\":%.3f",
           (double)(counts.received - warm.received) / seconds,
           (double)(stats.packets_sent - at_warm.packets_sent) / seconds,
           (double)(stats.packets_received - at_warm.packets_received) / seconds,
           (double)(counts.sent - warm.sent)
               / (double)(stats.packets_sent - at_warm.packets_sent + 1));
    return finish(&bus);
}

/* Open loop: latency is measured from the time a record was due, even if it was sent later. */
static int paced(const char *url, long ms, uint32_t size, uint32_t rate)
{
    const struct leat_record record = new_record(size);
    const uint64_t every = 1000000000u / (rate != 0 ? rate : 1);
    const uint64_t warm = (uint64_t)SETTLE_MS * 1000000 / every;
    const uint64_t total = warm + (uint64_t)ms * 1000000 / every;
    struct bench_samples samples = { 0 };
    struct counts counts = { 0 };
    struct leat_record got;
    struct bus bus;
    bus_open(&bus, url, 0);
    const uint64_t start = bench_now_ns();
    while (counts.received < total) {
        const uint64_t now = bench_now_ns();
        if (counts.sent < total && now >= start + counts.sent * every) {
            const int error = leat_producer_send(bus.producer, &record);
            if (error != 0 && error != LEAT_BUSY)
                bench_fail(leat_strerror(error));
            counts.sent += error == 0;
        }
        poll_once(&bus);
        while (leat_consumer_poll(bus.consumer, &got, 1) > 0) {
            if (counts.received >= warm)
                bench_samples_add(&samples, bench_now_ns() - (start + counts.received * every));
            counts.received++;
        }
    }
    print_samples(&samples);
    return finish(&bus);
}

static _Noreturn void stay(const char *url)
{
    struct counts counts = { 0 };
    struct bus bus;
    bus_open(&bus, url, 0);
    poll_for(&bus, SETTLE_MS * 1000000ull);
    printf("{\"ready\":true}\n");
    fflush(stdout);
    for (;;) {
        poll_once(&bus);
        take(&bus, &counts);
    }
}

int main(int argc, char **argv)
{
    if (argc < 6)
        bench_fail("usage: bypass_client ping|turns|flow|paced|repair|stay URL CPU COUNT|MS SIZE "
                   "[MORE]");
    const char *mode = argv[1], *url = argv[2];
    const long amount = atol(argv[4]);
    const uint32_t size = (uint32_t)atoi(argv[5]);
    const uint32_t more = argc > 6 ? (uint32_t)atoi(argv[6]) : 0;
    bench_pin(atoi(argv[3]));
    if (size > VALUE_MAX)
        bench_fail("SIZE: at most 65536");
    if (strcmp(mode, "ping") == 0)
        return ping_once(url, amount, size, more);
    if (strcmp(mode, "turns") == 0)
        return ping_turns(url, amount, size);
    if (strcmp(mode, "flow") == 0)
        return flow(url, amount, size, more);
    if (strcmp(mode, "paced") == 0)
        return paced(url, amount, size, more);
    if (strcmp(mode, "repair") == 0)
        return repair(url, amount, size, more);
    if (strcmp(mode, "stay") == 0)
        stay(url);
    bench_fail(mode);
}

/* Leat's client in a bypass bench, as a process of its own (EAL starts once a process).
 *
 *     bypass_client ping URL CPU COUNT SIZE     one record at a time, published and delivered
 *     bypass_client flow URL CPU MS SIZE RECORDS_MAX     as many as go; so many records a batch at
 * most
 *
 * Prints one JSON line. The topic is "bench", which the broker declares. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/common/bench.h"
#include "client/leat.h"

enum { VALUE_MAX = 1 << 16, AHEAD_BYTES = 2 << 20, WARM_PINGS = 2000 };

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

static void print_stats(const struct bus *bus)
{
    struct leat_client_stats stats = { .size = sizeof stats };
    leat_client_stats(bus->client, &stats);
    printf(",\"packets_sent\":%llu,\"packets_received\":%llu,\"packets_lost\":%llu}\n",
           (unsigned long long)stats.packets_sent, (unsigned long long)stats.packets_received,
           (unsigned long long)stats.packets_lost);
}

static int ping(const char *url, long count, uint32_t size)
{
    struct bench_samples samples = { 0 };
    struct bus bus;
    bus_open(&bus, url, 0);
    for (long i = -WARM_PINGS; i < count; i++) {
        const struct leat_record record = {
            .value = value, .value_size = size, .partition = 0, .timestamp_ns = 1
        };
        struct leat_record got;
        const uint64_t start = bench_now_ns();
        if (leat_producer_send(bus.producer, &record) != 0)
            bench_fail("send");
        while (leat_consumer_poll(bus.consumer, &got, 1) == 0) {
            if (leat_client_poll(bus.client, 0) < 0)
                bench_fail("poll");
        }
        if (i >= 0)
            bench_samples_add(&samples, bench_now_ns() - start);
    }
    printf("{\"p50_ns\":%.0f,\"p99_ns\":%.0f,\"p999_ns\":%.0f,\"max_ns\":%.0f",
           bench_percentile(&samples, 50), bench_percentile(&samples, 99),
           bench_percentile(&samples, 99.9), bench_percentile(&samples, 100));
    print_stats(&bus);
    leat_client_close(bus.client);
    return 0;
}

static int flow(const char *url, long ms, uint32_t size, uint32_t records_max)
{
    static struct leat_record records[256];
    struct bus bus;
    const struct leat_record record = {
        .value = value, .value_size = size, .partition = 0, .timestamp_ns = 1
    };
    const uint64_t duration = (uint64_t)ms * 1000000;
    uint64_t sent = 0, received = 0, warm = 0;
    bus_open(&bus, url, records_max);
    uint64_t start = bench_now_ns(), now = start;
    while (now - start < duration || received < sent) {
        const bool sends = now - start < duration;
        for (int i = 0; sends && i < 4096 && (sent - received) * size < AHEAD_BYTES; i++, sent++) {
            const int error = leat_producer_send(bus.producer, &record);
            if (error != 0 && error != LEAT_BUSY)
                bench_fail(leat_strerror(error));
            if (error == LEAT_BUSY)
                break;
        }
        if (leat_client_poll(bus.client, 0) < 0)
            bench_fail("poll");
        int n;
        while ((n = leat_consumer_poll(bus.consumer, records, 256)) > 0)
            received += (uint64_t)n;
        now = bench_now_ns();
        if (warm == 0 && now - start > duration / 5) { /* the first fifth is for warming up */
            warm = received;
            start = now;
        }
    }
    printf("{\"records_per_s\":%.0f", (double)(received - warm) * 1e9 / (double)(now - start));
    print_stats(&bus);
    leat_client_close(bus.client);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 6)
        bench_fail("usage: bypass_client ping|flow URL CPU COUNT|MS SIZE [RECORDS_MAX]");
    bench_pin(atoi(argv[3]));
    const uint32_t size = (uint32_t)atoi(argv[5]);
    if (size > VALUE_MAX)
        bench_fail("SIZE: at most 65536");
    if (strcmp(argv[1], "ping") == 0)
        return ping(argv[2], atol(argv[4]), size);
    return flow(argv[2], atol(argv[4]), size, argc > 6 ? (uint32_t)atoi(argv[6]) : 0);
}

/* clang-format off */
/* Goal: the processor cost of a record from client through the shard to the client, without a link:
 * on one thread, over a wire that is a queue of pointers. One record at a time, and many in full
 * packets.
 * Method: the real client, shard and control plane, stepped by this program; median and spread of
 * rounds. The broker's share is measured around its steps.
 *
 *     bench_path count one|flow udp|tcp N     runs N times and prints nothing: for bench/count.sh,
 *                                             which counts the instructions of one_trip and flow */
/* clang-format on */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <urcu-qsbr.h>

#include "bench/common/bench.h"
#include "bench/common/path.h"

enum { ROUNDS = 20, TRIPS = 20000, VALUE_BYTES = 64, RECORDS = 400000, RING_BYTES = 16 << 20 };

static struct path path;
static leat_client *client;
static leat_producer *producer;
static leat_consumer *consumer;
static uint64_t broker_ns;
static bool over_tcp; /* data goes through a loopback socket instead of the wire of pointers */

static void step_broker(void)
{
    const uint64_t start = bench_now_ns();
    if (over_tcp)
        sim_broker_step(&path.broker, path.now);
    else
        sim_broker_iterate(&path.broker, path.now);
    broker_ns += bench_now_ns() - start;
}

__attribute__((noinline)) void one_trip(void);
__attribute__((noinline)) uint64_t flow(uint64_t count);

void one_trip(void)
{
    static const char value[VALUE_BYTES];
    const struct leat_record record = {
        .value = value, .value_size = sizeof value, .partition = 0, .timestamp_ns = 1
    };
    struct leat_record got;
    path.now += 2000;
    if (leat_producer_send(producer, &record) != 0)
        bench_fail("send");
    while (leat_consumer_poll(consumer, &got, 1) == 0) {
        leat_client_poll(client, 0);
        step_broker();
        leat_client_poll(client, 0);
    }
}

uint64_t flow(uint64_t count)
{
    static const char value[VALUE_BYTES];
    static struct leat_record records[256];
    const struct leat_record record = {
        .value = value, .value_size = sizeof value, .partition = 0, .timestamp_ns = 1
    };
    uint64_t sent = 0, received = 0;
    while (received < count) {
        path.now += 2000;
        while (sent < count && sent - received < 20000
               && leat_producer_send(producer, &record) == 0)
            sent++;
        leat_client_poll(client, 0);
        step_broker();
        leat_client_poll(client, 0);
        int n;
        while ((n = leat_consumer_poll(consumer, records, 256)) > 0)
            received += (uint64_t)n;
    }
    return received;
}

static void report(const char *name, double *all, double *broker, const char *unit)
{
    char text[96], note[128];
    const struct bench_spread a = bench_spread(all, ROUNDS), b = bench_spread(broker, ROUNDS);
    snprintf(text, sizeof text, "path_%s", name);
    snprintf(note, sizeof note, "client and shard on one thread; %.4g..%.4g", a.p25, a.p75);
    bench_emit(text, a.p50, unit, BENCH_NO_GOAL, 0, note);
    snprintf(text, sizeof text, "path_%s_broker", name);
    snprintf(note, sizeof note, "the shard's share; %.4g..%.4g", b.p25, b.p75);
    bench_emit(text, b.p50, unit, BENCH_NO_GOAL, 0, note);
}

static void begin(void)
{
    bench_pin(0);
    rcu_register_thread();
    path_open(&path, WIRE_PAYLOAD_MAX, RING_BYTES);
    client = over_tcp ? path_tcp_client(&path, 1) : path_client(&path, 1);
    producer = path_producer(&path, 1);
    consumer = path_consumer(&path, 1);
}

static int end(void)
{
    path_close(&path);
    rcu_unregister_thread();
    return 0;
}

static int count(const char *what, const char *link, uint64_t times)
{
    over_tcp = strcmp(link, "tcp") == 0;
    begin();
    if (strcmp(what, "flow") == 0)
        flow(times);
    else
        for (uint64_t i = 0; i < times; i++)
            one_trip();
    return end();
}

int main(int argc, char **argv)
{
    double all[ROUNDS], broker[ROUNDS];
    if (argc == 5 && strcmp(argv[1], "count") == 0)
        return count(argv[2], argv[3], strtoull(argv[4], NULL, 10));
    begin();
    for (int round = -2; round < ROUNDS; round++) {
        const uint64_t start = bench_now_ns();
        broker_ns = 0;
        for (int i = 0; i < TRIPS; i++)
            one_trip();
        if (round >= 0) {
            all[round] = (double)(bench_now_ns() - start) / TRIPS;
            broker[round] = (double)broker_ns / TRIPS;
        }
    }
    report("one_record", all, broker, "ns");
    for (int round = -2; round < ROUNDS; round++) {
        const uint64_t start = bench_now_ns();
        broker_ns = 0;
        const uint64_t count = flow(RECORDS);
        if (round >= 0) {
            all[round] = (double)(bench_now_ns() - start) / (double)count;
            broker[round] = (double)broker_ns / (double)count;
        }
    }
    report("per_record", all, broker, "ns per record");
    return end();
}

/* Goal: what a record costs the processor on its way, without any link: client, shard and client
 * again, on one thread over a wire that is a queue of pointers. One record at a time (the whole
 * path once around), and many (records of full packets). Method: the real shard and control plane,
 * stepped by hand, and the real client; rounds, their median and spread; the broker's share is
 * measured around its steps. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <urcu-qsbr.h>

#include "bench/common/bench.h"
#include "bench/common/wire.h"
#include "client/client_core.h"
#include "client/leat.h"
#include "ops/log.h"
#include "tests/sim/broker.h"

enum { ROUNDS = 20, TRIPS = 20000, VALUE_BYTES = 64, RECORDS = 400000 };

static struct {
    struct wire *wire;
    struct sim_broker broker;
    leat_client *client;
    leat_producer *producer;
    leat_consumer *consumer;
    leat_ns now;
} w;

static leat_ns hook_clock(void *context)
{
    (void)context;
    return w.now;
}

static void hook_wait(void *context, leat_ns until)
{
    (void)context;
    (void)until;
    w.now += 1000;
    sim_broker_step(&w.broker, w.now);
}

static struct link *hook_link(void *context)
{
    (void)context;
    return wire_end(w.wire, 1);
}

static void open_all(void)
{
    char url[64];
    const char *topic = SIM_TOPIC;
    const struct client_hooks hooks = {
        .clock = hook_clock, .wait = hook_wait, .link_open = hook_link, .seed = 1
    };
    const struct leat_producer_options producing = { .size = sizeof producing,
                                                     .in_flight_batches = 64 };
    log_open(2, LOG_ERROR);
    w.now = LEAT_NS_PER_S;
    w.wire = wire_open(0);
    if (w.wire == NULL)
        bench_fail("wire");
    const struct sim_topic quotes = { .partitions = 1, .ring_bytes = 16 << 20 };
    sim_broker_open_on(&w.broker, wire_end(w.wire, 0), 1, 0, &quotes, w.now);
    snprintf(url, sizeof url, "udp://%s", sim_broker_control(&w.broker));
    if (client_open(&w.client, url, NULL, &hooks) != 0
        || leat_producer_open(w.client, &w.producer, topic, &producing) != 0
        || leat_consumer_open(w.client, &w.consumer, &topic, 1, NULL) != 0)
        bench_fail(leat_client_error(w.client));
}

static uint64_t broker_ns;

static void step_broker(void)
{
    const uint64_t start = bench_now_ns();
    sim_broker_iterate(&w.broker, w.now);
    broker_ns += bench_now_ns() - start;
}

__attribute__((noinline)) static void one_trip(void)
{
    static const char value[VALUE_BYTES];
    const struct leat_record record = {
        .value = value, .value_size = sizeof value, .partition = 0, .timestamp_ns = 1
    };
    struct leat_record got;
    w.now += 2000;
    if (leat_producer_send(w.producer, &record) != 0)
        bench_fail("send");
    while (leat_consumer_poll(w.consumer, &got, 1) == 0) {
        leat_client_poll(w.client, 0);
        step_broker();
        leat_client_poll(w.client, 0);
    }
}

static uint64_t flow(void)
{
    static const char value[VALUE_BYTES];
    static struct leat_record records[256];
    const struct leat_record record = {
        .value = value, .value_size = sizeof value, .partition = 0, .timestamp_ns = 1
    };
    uint64_t sent = 0, received = 0;
    while (received < RECORDS) {
        w.now += 2000;
        while (sent < RECORDS && sent - received < 20000
               && leat_producer_send(w.producer, &record) == 0)
            sent++;
        leat_client_poll(w.client, 0);
        step_broker();
        leat_client_poll(w.client, 0);
        int n;
        while ((n = leat_consumer_poll(w.consumer, records, 256)) > 0)
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
    snprintf(note, sizeof note, "the shard's part; %.4g..%.4g", b.p25, b.p75);
    bench_emit(text, b.p50, unit, BENCH_NO_GOAL, 0, note);
}

int main(void)
{
    double all[ROUNDS], broker[ROUNDS];
    bench_pin(0);
    rcu_register_thread();
    open_all();
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
        const uint64_t count = flow();
        if (round >= 0) {
            all[round] = (double)(bench_now_ns() - start) / (double)count;
            broker[round] = (double)broker_ns / (double)count;
        }
    }
    report("per_record", all, broker, "ns a record");
    leat_client_close(w.client);
    sim_broker_close(&w.broker);
    wire_close(w.wire);
    rcu_unregister_thread();
    return 0;
}

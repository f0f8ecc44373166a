/* Goal: a stopped subscriber costs the broker nothing: the shard's work counters grow per iteration
 * as they do without it.
 * Method: the real shard, stepped by this program, with a producer and a live reader: alone, and
 * beside a second subscriber of the same partition whose windows have filled and that is never
 * polled again. The ring is small, so that it overtakes the stopped subscriber. */
#include <math.h>
#include <stdio.h>
#include <urcu-qsbr.h>

#include "bench/common/bench.h"
#include "bench/common/path.h"

enum {
    ROUNDS = 7,
    PRODUCER_END = 1,
    READER_END = 2,
    STOPPED_END = 3,
    VALUE_BYTES = 64,
    PACKET_BYTES = 1472,
    RING_BYTES = 1 << 20,
    SETTLE_TRIPS = 20000,
    TRIPS = 100000,
    TRIP_NS = 2000,
    COUNTERS = 11,
};

static const char *const counters[COUNTERS] = {
    "leat_packets_in_total",
    "leat_packets_taken_total",
    "leat_packets_sent_total",
    "leat_packets_acked_total",
    "leat_packets_lost_total",
    "leat_probes_total",
    "leat_bytes_in_total",
    "leat_bytes_out_total",
    "leat_records_in_total",
    "leat_batches_in_total",
    "leat_shard_idle_iterations_total",
};

struct work {
    double count[COUNTERS]; /* per iteration */
    double ticks;
};

static void trip(struct path *path, leat_producer *producer, leat_consumer *consumer)
{
    static const char value[VALUE_BYTES];
    const struct leat_record record = {
        .value = value, .value_size = sizeof value, .partition = 0, .timestamp_ns = 1
    };
    struct leat_record got;
    path->now += TRIP_NS;
    if (leat_producer_send(producer, &record) != 0)
        bench_fail("send");
    leat_client_poll(path->ends[PRODUCER_END].client, 0);
    path_step(path);
    leat_client_poll(path->ends[READER_END].client, 0);
    if (leat_consumer_poll(consumer, &got, 1) != 1)
        bench_fail("the live reader did not get its record");
}

static struct work run(bool stopped)
{
    static struct path path;
    struct work work;
    path_open(&path, PACKET_BYTES, RING_BYTES);
    leat_producer *producer = path_producer(&path, PRODUCER_END);
    leat_consumer *consumer = path_consumer(&path, READER_END);
    if (stopped)
        path_consumer(&path, STOPPED_END);
    for (int i = 0; i < SETTLE_TRIPS; i++)
        trip(&path, producer, consumer);
    for (int i = 0; i < COUNTERS; i++)
        work.count[i] = -(double)sim_broker_counter(&path.broker, counters[i]);
    path_meter(&path, PATH_TICKS);
    for (int i = 0; i < TRIPS; i++)
        trip(&path, producer, consumer);
    work.ticks = path_cost(&path) / TRIPS;
    for (int i = 0; i < COUNTERS; i++) {
        work.count[i] += (double)sim_broker_counter(&path.broker, counters[i]);
        work.count[i] /= TRIPS;
    }
    path_close(&path);
    return work;
}

int main(void)
{
    struct work live, beside;
    double ratio[ROUNDS], largest = 0;
    int which = 0;
    char note[256];
    bench_pin(0);
    rcu_register_thread();
    for (int round = -1; round < ROUNDS; round++) {
        live = run(false);
        beside = run(true);
        if (round >= 0)
            ratio[round] = beside.ticks / live.ticks;
    }
    for (int i = 0; i < COUNTERS; i++) {
        const double change =
            fabs(beside.count[i] - live.count[i]) / (live.count[i] > 1 ? live.count[i] : 1);
        if (change > largest) {
            largest = change;
            which = i;
        }
    }
    snprintf(note, sizeof note, "largest of %d counters: %s %.5g, without it %.5g", COUNTERS,
             counters[which], beside.count[which], live.count[which]);
    bench_emit("stopped_consumer_work_change", largest, "per iteration", BENCH_AT_MOST, 0.01, note);
    const struct bench_spread r = bench_spread(ratio, ROUNDS);
    snprintf(note, sizeof note, "%s per iteration: %.0f, without it %.0f; rounds %.2f..%.2f",
             path_tick_unit(), beside.ticks, live.ticks, r.p25, r.p75);
    bench_emit("stopped_consumer_cost_ratio", r.p50, "ratio", BENCH_NO_GOAL, 0, note);
    rcu_unregister_thread();
    return 0;
}

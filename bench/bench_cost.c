/* Goal: the broker's processor cost of a record, published and delivered; and a second subscriber
 * of the same partition costs less than the first, because it reads the same bytes. Method: the
 * real shard and its clients are stepped on one thread over a wire that costs nothing. Only the
 * shard's iterations are measured. The same trips run with no reader, one and two, each with a new
 * broker, interleaved. No reader: the cost of publishing. The first reader adds the cost of
 * delivering. Records of 64 B, one per packet or as many as fit into 1,472 bytes. A run is the
 * median of its parts, to exclude pauses of the machine; median and quartiles of rounds are given.
 * Instructions are counted as well where the machine can. */
#include <stdio.h>
#include <urcu-qsbr.h>

#include "bench/common/bench.h"
#include "bench/common/path.h"

enum {
    ROUNDS = 11,
    PARTS = 50,
    READERS = 2,
    PRODUCER_END = 1,
    FIRST_READER_END = 2,
    VALUE_BYTES = 64,
    PACKET_BYTES = 1472,
    RING_BYTES = 16 << 20,
    WARM_TRIPS = 2000,
    TAKE_MAX = 256,
};

static const struct shape {
    const char *name;
    uint32_t trips, records; /* trips per part, records per trip */
    leat_ns trip_ns;
} shapes[] = {
    { "single", 800, 1, 2 * LEAT_NS_PER_US },
    { "batched", 80, 256, 10 * LEAT_NS_PER_US },
};

struct bus {
    struct path path;
    leat_producer *producer;
    int readers;
    leat_consumer *consumers[READERS];
    uint64_t sent, received[READERS];
};

static void trip(struct bus *bus, const struct shape *shape)
{
    static const char value[VALUE_BYTES];
    static struct leat_record records[TAKE_MAX];
    const struct leat_record record = {
        .value = value, .value_size = sizeof value, .partition = 0, .timestamp_ns = 1
    };
    bus->path.now += shape->trip_ns;
    for (uint32_t i = 0; i < shape->records && leat_producer_send(bus->producer, &record) == 0; i++)
        bus->sent++;
    leat_client_poll(bus->path.ends[PRODUCER_END].client, 0);
    path_step(&bus->path);
    for (int i = 0; i < bus->readers; i++) {
        int n;
        leat_client_poll(bus->path.ends[FIRST_READER_END + i].client, 0);
        while ((n = leat_consumer_poll(bus->consumers[i], records, TAKE_MAX)) > 0)
            bus->received[i] += (uint64_t)n;
    }
}

static uint64_t packets_to(const struct bus *bus, int reader)
{
    struct leat_client_stats stats = { .size = sizeof stats };
    leat_client_stats(bus->path.ends[FIRST_READER_END + reader].client, &stats);
    return stats.packets_received;
}

struct cost {
    double record;       /* per record, in the meter's unit */
    double last_packets; /* packets to the last reader, per record */
};

static struct cost run(const struct shape *shape, int readers, enum path_meter meter)
{
    static struct bus bus;
    struct cost cost = { 0 };
    double parts[PARTS];
    bus = (struct bus){ .readers = readers };
    path_open(&bus.path, PACKET_BYTES, RING_BYTES);
    bus.producer = path_producer(&bus.path, PRODUCER_END);
    for (int i = 0; i < readers; i++)
        bus.consumers[i] = path_consumer(&bus.path, FIRST_READER_END + i);
    for (uint32_t i = 0; i < WARM_TRIPS; i++)
        trip(&bus, shape);
    const uint64_t sent = bus.sent, packets = readers > 0 ? packets_to(&bus, readers - 1) : 0;
    for (int i = 0; i < PARTS; i++) {
        const uint64_t before = bus.sent;
        path_meter(&bus.path, meter);
        for (uint32_t n = 0; n < shape->trips; n++)
            trip(&bus, shape);
        parts[i] = path_cost(&bus.path) / (double)(bus.sent - before);
    }
    cost.record = bench_spread(parts, PARTS).p50;
    if (readers > 0)
        cost.last_packets =
            (double)(packets_to(&bus, readers - 1) - packets) / (double)(bus.sent - sent);
    for (int i = 0; i < readers; i++)
        if (bus.received[i] + 4096 < bus.sent)
            bench_fail("a reader fell behind: the trips do not measure delivery");
    path_close(&bus.path);
    return cost;
}

static void emit(const char *what, const char *shape, double *values, const char *unit,
                 const char *note)
{
    char name[96], text[256], per[64];
    const struct bench_spread s = bench_spread(values, ROUNDS);
    snprintf(name, sizeof name, "%s_%s", what, shape);
    snprintf(per, sizeof per, "%s per record", unit);
    snprintf(text, sizeof text, "%s; rounds %.4g..%.4g", note, s.p25, s.p75);
    bench_emit(name, s.p50, per, BENCH_NO_GOAL, 0, text);
}

static void measure(const struct shape *shape, enum path_meter meter)
{
    double publish[ROUNDS], deliver[ROUNDS], second[ROUNDS], ratio[ROUNDS], of_all[ROUNDS];
    char name[96], note[256];
    const bool ticks = meter == PATH_TICKS;
    const char *unit = ticks ? path_tick_unit() : "instructions";
    struct cost cost[READERS + 1] = { 0 };
    for (int round = -1; round < ROUNDS; round++) {
        for (int readers = 0; readers <= READERS; readers++)
            cost[readers] = run(shape, readers, meter);
        if (round < 0)
            continue;
        publish[round] = cost[0].record;
        deliver[round] = cost[1].record - cost[0].record;
        second[round] = cost[2].record - cost[1].record;
        const double packet = second[round] / cost[2].last_packets;
        ratio[round] = packet * cost[1].last_packets / deliver[round];
        of_all[round] = packet * cost[1].last_packets / cost[1].record;
    }
    emit(ticks ? "broker_cycles_publish" : "broker_instructions_publish", shape->name, publish,
         unit, "the shard's iterations with no reader");
    snprintf(note, sizeof note, "added by the first reader; %.3g packets per record",
             cost[1].last_packets);
    emit(ticks ? "broker_cycles_deliver" : "broker_instructions_deliver", shape->name, deliver,
         unit, note);
    const struct bench_spread r = bench_spread(ratio, ROUNDS);
    snprintf(name, sizeof name, "broker_second_subscriber_%sratio_%s", ticks ? "" : "instructions_",
             shape->name);
    snprintf(note, sizeof note,
             "per delivered packet: %.4g %s, first reader %.4g; %.2f of the first reader's cost "
             "with publishing; rounds %.2f..%.2f",
             bench_spread(second, ROUNDS).p50 / cost[2].last_packets, unit,
             bench_spread(deliver, ROUNDS).p50 / cost[1].last_packets,
             bench_spread(of_all, ROUNDS).p50, r.p25, r.p75);
    bench_emit(name, r.p50, "ratio", BENCH_AT_MOST, 0.7, note);
}

int main(void)
{
    struct path probe = { 0 };
    bench_pin(0);
    rcu_register_thread();
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        measure(&shapes[i], PATH_TICKS);
    if (path_meter(&probe, PATH_INSTRUCTIONS))
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
            measure(&shapes[i], PATH_INSTRUCTIONS);
    else
        bench_left_out("broker_instructions", "this machine cannot count instructions");
    rcu_unregister_thread();
    return 0;
}

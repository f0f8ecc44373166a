/* Path: the real broker and real clients on one thread, with a wire of pointers between them.
 *
 * Role: to say what the broker costs, by the clock around its iterations, and what it counted. Time
 * is made: the caller moves it on. Must not know: what is measured. Any failure ends the bench.
 * Threads: one, registered with RCU. */
#ifndef LEAT_BENCH_COMMON_PATH_H
#define LEAT_BENCH_COMMON_PATH_H

#include "bench/common/wire.h"
#include "client/leat.h"
#include "tests/sim/broker.h"

enum path_meter { PATH_TICKS, PATH_INSTRUCTIONS };

struct path {
    struct wire *wire;
    struct sim_broker broker;
    leat_ns now;
    struct path_end {
        struct path *path;
        leat_client *client; /* NULL: none */
    } ends[WIRE_ENDS];       /* [0] is the broker's */
    enum path_meter meter;
    uint64_t ticks, iterations;
};

/* Datagrams of at most `payload_max` bytes; the topic is SIM_TOPIC, one partition. */
void path_open(struct path *path, uint32_t payload_max, uint64_t ring_bytes);
void path_close(struct path *path);
/* The client at end 1 .. WIRE_ENDS - 1, opened. */
leat_client *path_client(struct path *path, int end);
/* The same over a loopback TCP socket: call this first for that end, and step the broker by
 * sim_broker_step, which looks at its sockets. */
leat_client *path_tcp_client(struct path *path, int end);
leat_producer *path_producer(struct path *path, int end);
leat_consumer *path_consumer(struct path *path, int end);
/* What counts from now on. False: this machine does not count that. */
bool path_meter(struct path *path, enum path_meter meter);
/* One iteration of the broker, on the meter. */
void path_step(struct path *path);
/* Of the iterations since path_meter, without what metering itself costs. */
double path_cost(const struct path *path);
/* "TSC cycles", or what stands for them here. */
const char *path_tick_unit(void);

#endif

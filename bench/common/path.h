/* Path: the real broker and real clients on one thread, with a wire of pointers between them.
 *
 * Role: measures the cost of the broker's iterations, in clock ticks or instructions. Time is
 * simulated: the caller advances `now`. Any failure ends the bench.
 * Must not know: what is measured.
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

/* Opens the broker with the topic SIM_TOPIC of one partition. Datagrams have at most `payload_max`
 * bytes. */
void path_open(struct path *path, uint32_t payload_max, uint64_t ring_bytes);
void path_close(struct path *path);
/* The client at end 1 .. WIRE_ENDS - 1; opens it at the first call. The path owns it. */
leat_client *path_client(struct path *path, int end);
/* The same over a loopback TCP socket. Call this before any other function for that end, and step
 * the broker with sim_broker_step, which polls its sockets. */
leat_client *path_tcp_client(struct path *path, int end);
leat_producer *path_producer(struct path *path, int end);
leat_consumer *path_consumer(struct path *path, int end);
/* Selects and resets the meter. False: this machine does not support it. */
bool path_meter(struct path *path, enum path_meter meter);
/* Runs and measures one iteration of the broker. */
void path_step(struct path *path);
/* The cost of the iterations since path_meter, without the cost of measuring. */
double path_cost(const struct path *path);
/* The unit of PATH_TICKS: "TSC cycles", or "ns" on other processors. */
const char *path_tick_unit(void);

#endif

/* The broker of a simulation: the real control plane and one real shard, stepped by hand.
 *
 * Role: compose them as leatd does, without threads, with a simulated link as the only way in for
 * data. Control is reached over loopback TCP, whose kernel answers at once.
 * Must not know: clients, faults.
 * Threads: one. */
#ifndef LEAT_TESTS_SIM_BROKER_H
#define LEAT_TESTS_SIM_BROKER_H

#include "broker/config/config.h"
#include "broker/control/control.h"
#include "broker/shard/shard.h"
#include "broker/state/catalog.h"
#include "tests/sim/fabric.h"

enum { SIM_BROKER_HOST = 1, SIM_BROKER_PORT = 7430 };
#define SIM_TOPIC "quotes"

/* What a run chooses of the topic. */
struct sim_topic {
    uint32_t partitions;
    uint64_t ring_bytes;
    bool blocks;            /* writers wait for required readers */
    uint64_t publish_quota; /* bytes a second; 0: none. With one the credit is small */
    uint64_t deliver_quota;
    uint64_t retention_ms; /* 0: no limit by age */
};

struct sim_broker {
    struct config config;
    struct catalog catalog;
    struct metrics *metrics;
    struct topics *topics;
    struct mailbox *inbox, *outbox;
    int wake, shard_wake;
    struct shard *shard;
    struct control *control;
    struct link *link;
    bool owns_link;
    char address[32];
    struct control_shard_ends shard_link;
    uint64_t wall_off_ns; /* its wall clock is so far ahead (modulo 2^64): set at any time */
};

/* Control on `control_port` (0: any free one), with SIM_TOPIC. Any failure ends the program. */
void sim_broker_open(struct sim_broker *b, struct fabric *fabric, uint32_t incarnation,
                     uint16_t control_port, const struct sim_topic *topic, leat_ns now);
/* The same over any link, which the caller closes behind the broker. */
void sim_broker_open_on(struct sim_broker *b, struct link *link, uint32_t incarnation,
                        uint16_t control_port, const struct sim_topic *topic, leat_ns now);
void sim_broker_close(struct sim_broker *b);
/* Everything it can do at `now`; true when there was anything. */
bool sim_broker_step(struct sim_broker *b, leat_ns now);
/* One iteration of the shard alone, as its loop has it between looks at its sockets. */
void sim_broker_iterate(struct sim_broker *b, leat_ns now);
/* When it wants to be stepped even if nothing comes. */
leat_ns sim_broker_deadline(const struct sim_broker *b);
/* "127.0.0.1:port" of control. */
const char *sim_broker_control(const struct sim_broker *b);
struct partition *sim_broker_partition(const struct sim_broker *b, uint32_t index);
/* NULL, or what a stream of a session did that its credit does not allow. */
const char *sim_broker_overrun(const struct sim_broker *b);
/* The sum of a counter over its labels. */
uint64_t sim_broker_counter(const struct sim_broker *b, const char *name);

#endif

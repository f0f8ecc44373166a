/* Sim: one run, its parts and what they share.
 *
 * Role: the state of a run (a broker, clients, the wire, what must hold of the records), its
 * randomness and its time; how a broken promise ends the program. Its clients (clients.c) and what
 * is done to everyone (faults.c) work on it; main.c runs it.
 * Must not know: how the parts work.
 * Threads: one. */
#ifndef LEAT_TESTS_SIM_SIM_H
#define LEAT_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "client/leat.h"
#include "tests/sim/ages.h"
#include "tests/sim/broker.h"
#include "tests/sim/deleted_topic.h"
#include "tests/sim/fabric.h"
#include "tests/sim/group_members.h"
#include "tests/sim/oracle.h"
#include "tests/sim/recreated_topics.h"
#include "tests/support/seeded.h"

enum {
    CLIENTS = DELETED_TOPIC_READERS,
    PARTITIONS = 2,
    LEDGERS_MAX = 32,
    CLIENT_HOST = 2, /* and one more each */
};
#define START_NS (100 * LEAT_NS_PER_S)

struct sim_client {
    struct sim *sim;
    unsigned index;
    unsigned lives;
    leat_client *client;
    leat_producer *producer;
    leat_consumer *consumer;
    leat_ns send_at, read_at, stalled_until;
    leat_ns read_every; /* 0: whenever it can */
};

struct sim {
    uint64_t seed;
    struct seeded random;
    bool verbose;
    leat_ns now;
    struct fabric *fabric;
    struct sim_broker broker;
    uint32_t incarnation;
    uint16_t control_port;
    uint64_t wall_off_ns; /* of the broker's wall clock, modulo 2^64 */
    leat_ns broker_stalled_until;
    bool broker_restarts; /* this run has them */
    bool seeks;           /* its readers do */
    uint32_t window_bytes;
    uint32_t narrow_bytes; /* what the wire carries while it is narrow... */
    uint8_t narrow_host;   /* ...to this host, 0: both ways */
    bool stays_narrow;     /* to the end */
    struct sim_topic topic;
    struct sim_client clients[CLIENTS];
    struct deleted_topic deleted_topic;
    struct group_members group_members;
    struct recreated_topics recreated_topics;
    struct oracle oracles[LEDGERS_MAX];
    unsigned oracle_partition[LEDGERS_MAX];
    unsigned oracle_count;
    struct ages ages[PARTITIONS];
    uint64_t records;
    uint64_t sends_left;
};

/* Of all runs. */
extern struct sim_totals {
    uint64_t runs, records, acked, delivered, lost_in_gaps, gaps, reconnects;
    uint64_t stalls, cuts, silent_paths, long_stalls, clock_steps;
    uint64_t client_restarts, broker_restarts;
    uint64_t full, slow, seeks, deletions, damaged_batches, damaged_headers;
    uint64_t handovers, processed, again, members_lost;
    uint64_t topics_made, topics_missed;
    struct fabric_counters fabric;
} sim_total;

/* A promise does not hold: says so, with the seed, and ends the program. `sim`: a struct sim. */
_Noreturn void sim_fail(void *sim, const char *what, uint64_t a, uint64_t b);
/* A line of a run that is to be looked at. */
__attribute__((format(printf, 2, 3))) void sim_tell(const struct sim *sim, const char *format, ...);
leat_ns sim_between(struct sim *sim, leat_ns low, leat_ns high);
/* Of one life of a partition's log. */
struct oracle *sim_oracle(struct sim *sim, unsigned partition, uint64_t log_epoch);

void sim_earliest(leat_ns *first, leat_ns when);
void sim_go_to(struct sim *sim, leat_ns when);
bool sim_step_broker(struct sim *sim);
/* When the wire or the broker has something to do. */
leat_ns sim_next_of_broker(const struct sim *sim);

/* ---- clients.c */

/* May fail while the wire is cut: the next step tries again. */
void sim_client_open(struct sim_client *c);
void sim_client_close(struct sim_client *c);
void sim_client_step(struct sim_client *c);
leat_ns sim_client_next(const struct sim_client *c);

/* ---- faults.c */

void sim_open_broker(struct sim *sim);
/* What must always hold of its counters. */
void sim_check_broker(struct sim *sim);
/* What the wire does to datagrams from now on. */
void sim_faults_choose(struct sim *sim);
/* Something that happens to someone, or to nobody. */
void sim_fault(struct sim *sim);
void sim_cut_some(struct sim *sim);
void sim_heal(struct sim *sim);
/* The broker's wall clock is set, by hours or days, or set right again. */
void sim_step_clock(struct sim *sim);
/* The broker's link: its wire takes nothing, its device is slow to say what it has sent. */
void sim_trouble_link(struct sim *sim, bool full, bool slow);
/* Its device reads from the log up to so long after it was told to; 0: at once. */
void sim_keep_references(struct sim *sim, leat_ns most_ns);
/* Damages a byte of a packet's headers and small frames, or of a batch with which a piece begins:
 * what links that only say that they are intact may do. */
bool sim_damage_packet(void *sim, struct seeded *random, uint8_t *bytes, uint32_t size);
/* Someone's loop stands still for as long as it takes to be given up, or not quite. */
void sim_stand_still(struct sim *sim);
/* The next step in the life of the topic that is deleted. */
void sim_delete_topic_step(struct sim *sim);
/* A topic is deleted, or made, under the members that read it. */
void sim_recreate_topics(struct sim *sim);

#endif

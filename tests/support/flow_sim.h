/* Two flows and the wires between them, in virtual time.
 *
 * Role: each end sends a stream of bytes that can be told by their positions, in DATA frames, and
 * joins what comes; the wires lose, double, delay and overtake, and have a rate and a queue. After
 * every step what must hold of a flow is held.
 * Must not know: who tests what with it.
 * Threads: one; one simulation at a time. */
#ifndef LEAT_TESTS_SUPPORT_FLOW_SIM_H
#define LEAT_TESTS_SUPPORT_FLOW_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/support/seeded.h"
#include "transport/flow.h"
#include "transport/stream.h"

enum {
    SIM_ENDS = 2,
    SIM_DATAGRAMS = 4096, /* on one wire at a time */
    SIM_PAYLOAD = 1200,
    SIM_BURST = 32, /* packets taken before an ack may leave, as from a link */
};

struct sim_wire {
    uint32_t lost_permille, doubled_permille;
    leat_ns delay_ns, jitter_ns;
    leat_ns packet_ns;   /* a packet takes so long to leave; 0: nothing */
    uint32_t queue;      /* packets that may wait to leave; 0: any number */
    bool down;           /* nothing arrives */
    uint32_t drop_next;  /* so many are lost first of all */
    uint64_t sent, lost; /* packets */
    leat_ns busy_until;
};

struct sim_datagram {
    leat_ns at; /* arrives */
    uint64_t order;
    uint32_t size;
    uint8_t bytes[SIM_PAYLOAD];
};

struct sim_end {
    struct flow flow;
    struct sim_wire wire;         /* towards the other end */
    uint64_t to_send;             /* bytes in all */
    uint64_t sent;                /* positions below were sent at least once */
    uint32_t piece_max;           /* bytes a frame carries at most */
    struct stream_map arrived;    /* of what the other end sends */
    uint64_t pieces, pieces_full; /* taken; found no range free */
    leat_ns done_at;              /* everything from the other end arrived */
    bool cuts;                    /* sends lost pieces in parts, now and then */
    bool was_tight;               /* items ran short */
};

/* Those under way, a heap: the first to arrive at 0, of one time the first sent. Places from
 * `count` on are free. */
struct sim_under_way {
    uint32_t count;
    uint16_t heap[SIM_DATAGRAMS];
    struct sim_datagram datagrams[SIM_DATAGRAMS];
};

struct sim {
    struct seeded random;
    leat_ns now;
    uint64_t steps, datagrams;
    struct sim_end ends[SIM_ENDS];
    struct sim_under_way under_way[SIM_ENDS]; /* by sender */
};

extern const struct flow_options sim_options;

/* Both ends with `options`, wires that only take 10 us, nothing to send. */
void sim_start(struct sim *sim, uint64_t seed, const struct flow_options *options);
/* The first packet from `end` will have this number. */
void sim_first_number(struct sim *sim, int end, uint64_t number);
/* `end` sends `bytes` more. */
void sim_send(struct sim *sim, int end, uint64_t bytes);
/* Goes on until everything arrived at both ends, or for `most_ns`. False: it did not. */
bool sim_run(struct sim *sim, leat_ns most_ns);
/* Goes on for so long, whatever arrives. */
void sim_rest(struct sim *sim, leat_ns for_ns);
bool sim_is_done(const struct sim *sim);

#endif

/* Bypass: two pairs of processes on ports of one kind, Leat's and the bare echo's, for turns.
 *
 * Role: hugepages, folders, namespaces and wires that go away again; leatd, stopped while it is not
 * its turn, and bench/dpdk_echo, as servers on BYPASS_SERVER_CPU; clients on BYPASS_CLIENT_CPU,
 * each a new process, whose one line of JSON is the result. Must not know: what is measured. What
 * the machine has not is a result of its own, left out; anything else that fails ends the bench.
 * Threads: one. */
#ifndef LEAT_BENCH_COMMON_BYPASS_H
#define LEAT_BENCH_COMMON_BYPASS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { BYPASS_CLIENT_CPU = 0, BYPASS_SERVER_CPU = 1, BYPASS_LINE_MAX = 4096 };

enum bypass_wire {
    BYPASS_MEMIF_ZERO, /* the client's side sends and receives without copies */
    BYPASS_MEMIF_COPY,
    BYPASS_VHOST,     /* virtio-user at the client's side */
    BYPASS_AF_PACKET, /* veth between two namespaces */
    BYPASS_AF_XDP,
    BYPASS_UDP, /* kernel sockets on loopback; Leat's side only */
    BYPASS_WIRES,
};

/* "memif_zero", for the names of results. */
const char *bypass_wire_name(enum bypass_wire wire);

/* Hugepages, a folder; all of it goes back at exit, by signal too. False: no hugepages; `name` is
 * left out. */
bool bypass_start(const char *name);

/* A program of ours, its output read line by line. */
struct bypass_process {
    pid_t pid; /* 0: none */
    int output;
    int input; /* -1: none */
};

struct bypass {
    enum bypass_wire wire;
    bool stopped; /* the broker is */
    struct bypass_process broker;
    pid_t spaces[2];      /* hold a namespace each; 0: none */
    char url[512];        /* for a client */
    char second_url[512]; /* for another one, where options.second */
};

struct bypass_options {
    const char *idle; /* leatd's ["latency"] */
    bool second;      /* a second memif on the broker */
};

/* Starts the broker, and stops it. False: this kind of port cannot be had here. */
bool bypass_open(struct bypass *b, enum bypass_wire wire, const struct bypass_options *options);
void bypass_close(struct bypass *b);
/* The broker gets no processor; it goes on. */
void bypass_pause(struct bypass *b);
void bypass_resume(struct bypass *b);

/* One turn, the other side stopped: a client's line, valid until the next. bypass_leat runs
 * bypass_client MODE on `url` with `more` behind it ("&inject=..."); `extra` 0: left out. */
const char *bypass_leat(struct bypass *b, const char *mode, const char *more, uint64_t amount,
                        uint32_t size, uint32_t extra);
/* `full`: its client writes and reads all that it carries, not a stamp alone. */
const char *bypass_echo(struct bypass *b, uint32_t payload, uint64_t count, uint32_t window,
                        bool full);
/* A number of such a line; it must be there. */
double bypass_number(const char *line, const char *field);

/* Of the packets of a bypass_leat line, both ways together. */
uint32_t bypass_mean_payload(const char *line);

/* A client that pings as often as this in every turn, and says how that went; bypass_end. */
void bypass_pinger(struct bypass *b, struct bypass_process *pinger, uint64_t pings, uint32_t size);
const char *bypass_turn(struct bypass_process *pinger);

/* A client that subscribes at `second_url` and goes on; bypass_end takes it away. */
void bypass_stay(struct bypass *b, struct bypass_process *stayer);
void bypass_end(struct bypass_process *p);

/* Processor time leatd used so far. */
uint64_t bypass_broker_cpu_ns(const struct bypass *b);

#endif

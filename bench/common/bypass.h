/* Bypass: processes of Leat and of the bare echo on ports of the same kind, which take turns.
 *
 * Role: sets up hugepages, a directory, namespaces and veth pairs, and removes them at exit. Runs
 * leatd, stopped while it is not its turn, and bench/dpdk_echo as servers on BYPASS_SERVER_CPU.
 * Runs clients on BYPASS_CLIENT_CPU, each a new process that prints its result as one line of JSON.
 * What the machine does not have is emitted as left out; any other failure ends the bench.
 * Must not know: what is measured.
 * Threads: one. */
#ifndef LEAT_BENCH_COMMON_BYPASS_H
#define LEAT_BENCH_COMMON_BYPASS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { BYPASS_CLIENT_CPU = 0, BYPASS_SERVER_CPU = 1, BYPASS_LINE_MAX = 4096 };

enum bypass_wire {
    BYPASS_MEMIF_ZERO, /* zero-copy on the client's side */
    BYPASS_MEMIF_COPY,
    BYPASS_VHOST,     /* virtio-user on the client's side */
    BYPASS_AF_PACKET, /* veth between two namespaces */
    BYPASS_AF_XDP,    /* the same */
    BYPASS_UDP,       /* kernel sockets on loopback, without an echo */
    BYPASS_WIRES,
};

/* "memif_zero" and so on, for the names of results. */
const char *bypass_wire_name(enum bypass_wire wire);

/* Reserves hugepages and makes a directory; both are undone at exit, after a signal too. False:
 * there are not enough hugepages, and `name` was emitted as left out. */
bool bypass_start(const char *name);

/* A child process whose output is read by line. */
struct bypass_process {
    pid_t pid; /* 0: none */
    int output;
    int input; /* -1: none */
};

struct bypass {
    enum bypass_wire wire;
    bool stopped; /* the broker is stopped */
    struct bypass_process broker;
    pid_t spaces[2];      /* processes that hold a network namespace each; 0: none */
    char url[512];        /* for a client */
    char second_url[512]; /* for a second client, if options.second */
};

struct bypass_options {
    const char *idle; /* leatd's idle mode ["latency"] */
    bool second;      /* the broker has a second memif */
};

/* Starts the broker, and stops it (SIGSTOP). False: this machine does not support this kind of
 * port, and it was emitted as left out. */
bool bypass_open(struct bypass *b, enum bypass_wire wire, const struct bypass_options *options);
void bypass_close(struct bypass *b);
/* Stops the broker (SIGSTOP), and continues it. */
void bypass_pause(struct bypass *b);
void bypass_resume(struct bypass *b);

/* The next two run one turn while the other side is stopped. They return the line that the client
 * printed, valid until the next call. bypass_leat runs bypass_client MODE with the broker's URL
 * followed by `more` ("&inject=..."); `extra` 0: omitted. */
const char *bypass_leat(struct bypass *b, const char *mode, const char *more, uint64_t amount,
                        uint32_t size, uint32_t extra);
/* `full`: the client writes and reads the whole payload, not only a time stamp. */
const char *bypass_echo(struct bypass *b, uint32_t payload, uint64_t count, uint32_t window,
                        bool full);
/* The number `field` of such a line; fails if it is missing. */
double bypass_number(const char *line, const char *field);

/* Mean payload of the packets in a line of bypass_leat, both directions together, bytes. */
uint32_t bypass_mean_payload(const char *line);

/* Starts a client that sends `pings` pings in each turn; bypass_turn runs a turn and returns the
 * line that the client printed. End it with bypass_end. */
void bypass_pinger(struct bypass *b, struct bypass_process *pinger, uint64_t pings, uint32_t size);
const char *bypass_turn(struct bypass_process *pinger);

/* Starts a client that subscribes at `second_url` and consumes until bypass_end. */
void bypass_stay(struct bypass *b, struct bypass_process *stayer);
void bypass_end(struct bypass_process *p);

/* Processor time that leatd has used so far, ns. */
uint64_t bypass_broker_cpu_ns(const struct bypass *b);

#endif

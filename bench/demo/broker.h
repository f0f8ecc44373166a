/* The broker the demo runs against: its own child, `leatd --dev --port 0` or, through bypass ports,
 * with a configuration of its own; ended with the demo whatever happens.
 *
 * Role: start it, read its ready line, end it. Must not know: what is said to it. */
#ifndef LEAT_BENCH_DEMO_BROKER_H
#define LEAT_BENCH_DEMO_BROKER_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

enum demo_transport { DEMO_TCP, DEMO_UDP, DEMO_BYPASS };

enum { DEMO_CLIENTS = 4, DEMO_URL_BYTES = 256 };

struct demo_broker {
    enum demo_transport transport;
    char folder[64]; /* of memif's sockets; "": none */
    pid_t pid;
    double ready_ms;  /* from fork to ready line */
    char control[64]; /* "127.0.0.1:41525" */
    FILE *log;        /* what it says on stderr; shown when something is wrong */
};

/* False with the reason in `error_text`. */
bool demo_broker_start(struct demo_broker *broker, const char *leatd, enum demo_transport transport,
                       char error_text[256]);
/* Where client number `client` < DEMO_CLIENTS reaches it: over memif each has a port of its own. */
void demo_broker_url(const struct demo_broker *broker, unsigned client, char url[DEMO_URL_BYTES]);
/* Processor time it used so far, seconds. */
double demo_broker_cpu_s(const struct demo_broker *broker);
/* Copies its log to stderr. */
void demo_broker_show_log(struct demo_broker *broker);
/* SIGTERM, then waits. False when it did not end with 0. */
bool demo_broker_stop(struct demo_broker *broker);

#endif

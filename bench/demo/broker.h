/* The demo's broker: a child process that ends with the demo. It runs `leatd --dev --port 0` or,
 * over bypass ports, with a configuration of its own.
 *
 * Role: starts it, reads its ready line, ends it.
 * Must not know: topics, records. */
#ifndef LEAT_BENCH_DEMO_BROKER_H
#define LEAT_BENCH_DEMO_BROKER_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

enum demo_transport { DEMO_TCP, DEMO_UDP, DEMO_BYPASS };

enum { DEMO_CLIENTS = 4, DEMO_URL_BYTES = 256 };

struct demo_broker {
    enum demo_transport transport;
    char folder[64]; /* directory of memif's sockets; "": none */
    pid_t pid;
    double ready_ms;  /* from fork to ready line */
    char control[64]; /* "127.0.0.1:41525" */
    FILE *log;        /* its stderr; see demo_broker_show_log */
};

/* False with the reason in `error_text`. */
bool demo_broker_start(struct demo_broker *broker, const char *leatd, enum demo_transport transport,
                       char error_text[256]);
/* The broker's URL for client number `client` < DEMO_CLIENTS. Over memif each client has a port of
 * its own. */
void demo_broker_url(const struct demo_broker *broker, unsigned client, char url[DEMO_URL_BYTES]);
/* Processor time that the broker has used so far, in seconds. */
double demo_broker_cpu_s(const struct demo_broker *broker);
/* Copies its log to stderr. */
void demo_broker_show_log(struct demo_broker *broker);
/* Sends SIGTERM and waits for the broker to end. False: its exit code was not 0. */
bool demo_broker_stop(struct demo_broker *broker);

#endif

/* A TCP proxy in a thread, between a client and a leatd, that cuts connections at random, or
 * forgets data connections as a middlebox does.
 *
 * Role: one listener for the control port and one per shard; forwards bytes, ends connections after
 * a number of bytes a seed chooses. It tells the client its own addresses by forwarding control
 * replies with the ports rewritten (the text keeps its length).
 * Must not know: messages beyond the "host:port" texts in them. */
#ifndef LEAT_TESTS_SUPPORT_PROXY_H
#define LEAT_TESTS_SUPPORT_PROXY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/support/leatd.h"

enum { PROXY_PORTS_MAX = 1 + LEATD_SHARDS_MAX, PROXY_PAIRS_MAX = 32 };

/* What becomes of the data connections that are open: a bit each. Those to come are forwarded. */
enum proxy_fault {
    PROXY_MUTE_CLIENT = 1,  /* what the client says, its end included, reaches nobody */
    PROXY_MUTE_BROKER = 2,  /* the same of the broker */
    PROXY_RESET_BROKER = 4, /* the broker is told that it is over, the client nothing */
};

struct proxy_pair {
    int client, broker; /* both -1: free */
    bool data;
    unsigned faults;
    uint64_t left; /* bytes until it is cut */
};

struct proxy {
    char url[LEATD_ADDRESS_MAX + 8];
    unsigned ports;
    int listeners[PROXY_PORTS_MAX];
    char from[PROXY_PORTS_MAX][LEATD_ADDRESS_MAX]; /* the broker's addresses */
    char to[PROXY_PORTS_MAX][LEATD_ADDRESS_MAX];   /* ours, of the same length */
    struct proxy_pair pairs[PROXY_PAIRS_MAX];
    uint64_t random;
    atomic_bool cuts;
    atomic_bool ends;
    atomic_uint faults; /* to be done to the data connections that are open */
    atomic_uint met;    /* connections that the last of them met */
    pthread_t thread;
};

/* The broker's addresses are 127.0.0.1 with ports of five digits, as the kernel chooses them. */
void proxy_start(struct proxy *proxy, const struct leatd *broker, uint64_t seed);
/* From now on connections are cut, or no more. */
void proxy_cut(struct proxy *proxy, bool on);
/* Returns when it is done, with the number of connections it was done to. */
unsigned proxy_forget(struct proxy *proxy, unsigned faults);
void proxy_end(struct proxy *proxy);

#endif

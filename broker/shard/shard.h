/* Shard: one thread that owns a set of partitions and all I/O for them, run to completion.
 *
 * Role: composition of the data path: receive -> frames -> append -> deliver to subscriptions ->
 * transmit -> timers -> mailbox -> quiescent state -> idle. Everything that is staged in an
 * iteration is sent in it.
 * Must not know: administration of topics, the control protocol, state files, byte layouts.
 *
 * Threads: shard_open, shard_close and the getters run before and after the thread; shard_run is
 * the thread. Any thread may read the counters. */
#ifndef LEAT_BROKER_SHARD_SHARD_H
#define LEAT_BROKER_SHARD_SHARD_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/shared/mailbox.h"
#include "broker/shared/reset_token.h"
#include "broker/shared/topics.h"
#include "ops/metrics.h"
#include "schema/error.h"
#include "schema/units.h"
#include "transport/link.h"

struct shard;

enum { SHARD_LINKS_MAX = 17 }; /* the UDP socket, and bypass ports */

enum idle_mode {
    IDLE_LATENCY,  /* spin */
    IDLE_BALANCED, /* spin for a short while after the last work, then block */
    IDLE_LAPTOP,   /* block at once */
};

struct shard_options {
    uint32_t index;
    int cpu; /* pin to this processor; -1: do not */
    enum idle_mode idle;
    const char *listen_host;      /* numeric address */
    uint16_t listen_port;         /* 0: any free one */
    uint32_t sessions_max;        /* attached and granted; at most 16,384 */
    uint32_t connections_max;     /* accepted, attached or not */
    uint32_t socket_buffer_bytes; /* 0: the kernel's default */
    const char *tcp_congestion;   /* NULL: the kernel's default */
    bool udp; /* receive packets over UDP, on the same port number if it is free */
    /* Further links for packets. They are the caller's, and are closed after the shard. */
    struct link *const *links;
    uint32_t link_count; /* at most SHARD_LINKS_MAX - 1 */
    /* Called by the shard's thread before and after its loop; NULL: not called. */
    void (*thread_enter)(void);
    void (*thread_leave)(void);
    uint8_t reset_secret[RESET_SECRET_BYTES];
    leat_ns keepalive_ns;        /* sessions that are silent for so long end; 0: none do */
    leat_ns producer_idle_ns;    /* unbound producers that are idle for so long are forgotten */
    const struct topics *topics; /* read under QSBR */
    struct mailbox *inbox;       /* from control; its eventfd wakes the shard */
    struct mailbox *outbox;      /* to control */
    struct metrics *metrics;     /* the shard registers its counters here */
};

/* Binds and listens. `inbox->eventfd` must be an eventfd that the shard may read. Errors:
 * LEAT_ERR_IO, LEAT_ERR_NO_MEMORY; then error_text names the address and what to do. */
enum leat_error shard_open(struct shard **out, const struct shard_options *options,
                           char error_text[256]);
/* The bound address as "host:port". Valid until shard_close. */
const char *shard_tcp_address(const struct shard *shard);
/* The same over UDP; NULL: none. */
const char *shard_udp_address(const struct shard *shard);
/* The shard's thread; `arg` is the shard. Registers itself with RCU. Returns after MESSAGE_STOP. */
void *shard_run(void *arg);
/* Runs one iteration at `now` (monotonic) and `wall_ns` without waiting. True when it did any work.
 * The caller must be registered with RCU. Simulations call this; shard_run loops over the same. */
bool shard_step(struct shard *shard, leat_ns now, uint64_t wall_ns);
void shard_close(struct shard *shard);

#endif

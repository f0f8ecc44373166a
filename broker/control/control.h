/* Control: the thread that does everything that is not per record: the catalog, granting and ending
 * sessions, access to streams, and the connections to the control port.
 *
 * Role: requests in, messages to shards, answers out. Never waits for a shard.
 * Must not know: frames, socket options, how a partition stores its data.
 *
 * Threads: the control thread, which is registered with RCU (QSBR) and online except while it
 * blocks.
 *
 * Its parts:
 *      control.c                open, close, the loop
 *      control_accept.c         accepting connections
 *      control_conn.c           input, turns, keepalive
 *      control_answers.c        packing answers
 *      control_requests.c       hello, ping, dispatch
 *      control_operations.c     requests that wait for replies of shards
 *      control_shard_mail.c     messages to and from shards
 *      control_topics.c         create, delete, list, describe
 *      control_topic_registry.c topics at startup and shutdown; their memory and shards
 *      control_creation.c       creating and deleting topics at run time
 *      control_left_out.c       topics that found no room at startup
 *      control_catalog.c        storing the catalog; reserving offsets
 *      worker.c                 a thread for blocking work
 *      control_sessions.c       granting and ending sessions
 *      control_streams.c        subscriptions, closing streams, offsets
 *      control_groups.c         members of consumer groups: join, heartbeat, leave
 *      control_group_admin.c    commits on control, resets, deletion
 *      control_group_describe.c lists and descriptions of groups
 *      control_offsets.c        storing and loading group offsets
 *      control_producers.c      opening producers
 *      control_memory.c         the memory budget of clients
 *      producer_names.c         the table of producer names
 *      control_producer_names.c expiry of producer names, requests about them
 *      control_group_age.c      expiry of groups
 *      control_shares.c         the shares of clients in control's tables (shares.h) */
#ifndef LEAT_BROKER_CONTROL_CONTROL_H
#define LEAT_BROKER_CONTROL_CONTROL_H

#include "broker/config/config.h"
#include "broker/log/logmem.h"
#include "broker/log/memory_budget.h"
#include "broker/shared/mailbox.h"
#include "broker/shared/reset_token.h"
#include "broker/shared/topics.h"
#include "broker/state/catalog.h"
#include "broker/state/statefile.h"
#include "ops/metrics.h"
#include "schema/error.h"

struct control;

enum { CONTROL_ERROR_TEXT = 1536 };

/* The connection of control to one shard. Borrowed until control_close. */
struct control_shard_ends {
    struct mailbox *inbox;  /* to the shard */
    struct mailbox *outbox; /* from it; wakes `control_options.wake` */
    const char *tcp_address;
    const char *udp_address;     /* NULL: none */
    char *const *port_addresses; /* one per bypass port */
    uint32_t port_count;
    bool intact; /* a link to it is shared memory of this machine (link_limits.intact) */
};

struct control_options {
    const struct config *config;
    struct topics *topics;
    struct catalog *catalog;                 /* with the incarnation of this run */
    const struct statefile *state;           /* NULL: no state is kept */
    const struct control_shard_ends *shards; /* array of config->shards; their threads run */
    int wake;                                /* eventfd */
    struct metrics *metrics;
    struct memory_budget *memory; /* of clients; NULL: no limit. Outlives control */
    /* Hooks for log memory, see broker/log/logmem.h; or NULL. */
    void (*memory_opened)(const struct logmem *mem);
    void (*memory_closing)(const struct logmem *mem);
    /* Called on SIGHUP, on the control thread; may change *config; or NULL. */
    void (*reload)(void *user);
    void *reload_user;
    uint8_t reset_secret[RESET_SECRET_BYTES]; /* the same as the shards' */
    uint8_t resume_secret[RESET_SECRET_BYTES];
    uint32_t resume_since; /* the incarnation since which resume_secret is the same */
};

/* Listens, opens the topics of the catalog and of the configuration, and hands them to the shards.
 * SIGTERM, SIGINT and SIGHUP must be blocked in every thread. On an error, *out is NULL (no memory)
 * or must be passed to control_close. */
enum leat_error control_open(struct control **out, const struct control_options *options,
                             char error_text[CONTROL_ERROR_TEXT]);
/* The bound address, "host:port". */
const char *control_address(const struct control *control);
/* Serves until SIGTERM or SIGINT, then sends every shard a stop message and returns. */
void control_run(struct control *control);
/* Runs one iteration at `now` (monotonic), without blocking. True if there was anything to do. For
 * simulations, which do not call control_run. */
bool control_step(struct control *control, leat_ns now);
/* Sends every shard a stop message; control_run does this at its end. */
void control_stop_shards(struct control *control);
/* Call after the threads of the shards have ended. Stores the exact offsets and the group offsets,
 * and frees everything. False: something could not be stored; the log says what. */
bool control_close(struct control *control);

#endif

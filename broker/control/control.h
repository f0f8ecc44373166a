/* Control: the one thread that owns everything that is not per record: the catalog, sessions' birth
 * and death, who may open what, and the conversations on the control port.
 *
 * Role: requests in, messages to shards, answers out. It never waits for a shard.
 * Must not know: frames, sockets' options, how a partition keeps its data.
 *
 * Threads: everything here is the control thread, registered with RCU (QSBR) and online, except
 * where it blocks. Its parts:
 *      control.c                open, close, the loop
 *      control_conn.c           input, turns, keepalive
 *      control_answers.c        what connections are owed
 *      control_requests.c       hello, ping, and who handles what
 *      control_operations.c     operations that wait for the answers of shards
 *      control_shard_mail.c     to and from shards
 *      control_topics.c         create, delete, list, describe
 *      control_topic_registry.c topics at start and stop; their memory, their shards
 *      control_creation.c       topics made and deleted while the broker runs
 *      control_catalog.c        the catalog, stored; reserved offsets
 *      worker.c                 a thread for what takes long
 *      control_sessions.c       grants and ends
 *      control_streams.c        subscriptions, closing streams, offsets
 *      control_groups.c         members of consumer groups: join, heartbeat, leave
 *      control_group_admin.c    commits on control, resets, deletion
 *      control_group_describe.c lists and descriptions of groups
 *      control_offsets.c        where groups stand, over a restart
 *      control_producers.c      opening producers
 *      control_memory.c         what clients may make it hold
 *      producer_names.c         named producers: a table, producer_names.h
 *      control_producer_names.c how long they are kept, requests about them
 *      control_group_age.c      how long groups are kept
 *      control_shares.c         who may take how much of the tables, shares.h */
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

/* Borrowed until control_close. */
struct control_shard_ends {
    struct mailbox *inbox;  /* to the shard */
    struct mailbox *outbox; /* from it; wakes `control_options.wake` */
    const char *tcp_address;
    const char *udp_address;     /* NULL: none */
    char *const *port_addresses; /* one a bypass port */
    uint32_t port_count;
    bool
        intact; /* packets reach it over a link within this machine's memory (link_limits.intact) */
};

struct control_options {
    const struct config *config;
    struct topics *topics;
    struct catalog *catalog;                 /* its incarnation is that of this run */
    const struct statefile *state;           /* NULL: nothing is kept */
    const struct control_shard_ends *shards; /* config->shards of them; their threads run */
    int wake;                                /* eventfd */
    struct metrics *metrics;
    struct memory_budget *memory; /* of clients; NULL: no limit. Outlives control */
    void (*memory_opened)(
        const struct logmem *mem); /* log memory: see broker/log/logmem.h; or NULL */
    void (*memory_closing)(const struct logmem *mem);
    void (*reload)(void *user); /* SIGHUP came: may change *config, on control's thread; or NULL */
    void *reload_user;
    uint8_t reset_secret[RESET_SECRET_BYTES]; /* the shards' */
    uint8_t resume_secret[RESET_SECRET_BYTES];
    uint32_t resume_since; /* incarnation: since that run it was the same */
};

/* On an error *out is set too when there was memory (else NULL): control_close is owed.
 * Opens the topics of the catalog and those that the configuration declares, hands them to the
 * shards, and listens. SIGTERM, SIGINT and SIGHUP must be blocked in every
 * thread. */
enum leat_error control_open(struct control **out, const struct control_options *options,
                             char error_text[CONTROL_ERROR_TEXT]);
/* "host:port" bound. */
const char *control_address(const struct control *control);
/* Serves until SIGTERM or SIGINT, then tells the shards to stop and returns once each has been
 * told. */
void control_run(struct control *control);
/* One iteration at `now` (monotonic), without waiting; true when there was anything to do. What
 * control_run loops over; simulations call it themselves. */
bool control_step(struct control *control, leat_ns now);
/* Tells the shards to stop; what control_run does at its end. */
void control_stop_shards(struct control *control);
/* The shards' threads have ended: stores exact offsets and the places of groups, closes everything
 * that is control's. False: something of that could not be stored; the log says what. */
bool control_close(struct control *control);

#endif

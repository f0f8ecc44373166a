/* Subscription: one reader's cursor in one partition's log.
 *
 *              append                     credit, quota
 *   WAITING ------------> READY <------------------------ PARKED
 *      ^  (caught up)       |  (in its session's turn)       ^
 *      +--------------------+--------------------------------+
 *
 * Role: decide what this reader gets next: a slice of the log, a GAP, BLOCKED, or nothing.
 * Must not know: sockets, other readers, how a partition keeps its data.
 *
 * A reader without credit or with a full socket is in no list that an append walks: it costs the
 * others nothing.
 * Threads: the owning shard. Allocates only when it opens. */
#ifndef LEAT_BROKER_SHARD_SUBSCRIPTION_H
#define LEAT_BROKER_SHARD_SUBSCRIPTION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "broker/shard/owned_partition.h"
#include "broker/shard/session.h"
#include "broker/shared/offsets.h"

enum subscription_state {
    SUBSCRIPTION_PARKED,    /* no credit yet */
    SUBSCRIPTION_THROTTLED, /* a quota is used up; in the shard's list of throttled ones */
    SUBSCRIPTION_WAITING,   /* caught up; in its partition's list */
    SUBSCRIPTION_READY,     /* something is to be sent; in its session's list */
};

struct subscription {
    struct session *session;
    struct owned_partition *owned;
    uint32_t number; /* stream number in the session */
    enum subscription_state state;
    uint64_t position; /* next log byte to send */
    uint64_t limit;    /* credit: it may be sent up to this position */
    uint64_t consumed;
    uint64_t blocked_said; /* the limit of the last BLOCKED that was sent; NEVER_SAID: none */
    uint32_t deficit;      /* bytes that it may still get in this turn; packets only */
    bool gap_said;
    struct leat_frame_gap gap; /* the last GAP that was sent */
    int required_mark; /* handle of its mark; -1: producers do not wait for it, or no longer */
    struct offsets_entry *entry; /* its group's offset, referenced; NULL: it is of no group */
    /* Records that the client reported as lost, of those counted in `entry`. */
    uint64_t lost_at_most, lost_at_least;
    uint64_t first_offset; /* no record below can be reported as lost */
    struct quota quota;
    struct quota_hold hold;                /* whether its client was told of the quota */
    TAILQ_ENTRY(subscription) state_node;  /* READY: session, WAITING: owned, THROTTLED: shard */
    TAILQ_ENTRY(subscription) reader_node; /* in its partition's list of readers */
};

enum subscription_action {
    SUBSCRIPTION_SEND,      /* `size` log bytes from `position` */
    SUBSCRIPTION_CAUGHT_UP, /* nothing to send before the next append */
    SUBSCRIPTION_NO_CREDIT, /* nothing to send without credit; send BLOCKED if `say_blocked` */
    SUBSCRIPTION_NO_QUOTA,  /* nothing to send before `when` */
    SUBSCRIPTION_GAP,       /* it was overtaken: send `gap`, then ask again */
};

struct subscription_next {
    enum subscription_action action;
    bool say_blocked;
    bool by_client; /* the quota is the client name's, not the topic's */
    uint64_t size;
    leat_ns when;
    struct leat_frame_gap gap;
};

/* Opens a subscription, PARKED until the first credit. `opening` is the request, with its
 * `position` found. *given_up: name of a required reader of the same client that lost its mark for
 * this one; 0: none. Errors: LEAT_ERR_NO_MEMORY; LEAT_ERR_LIMIT: too many required readers,
 * opening->refused says whose. */
enum leat_error subscription_open(struct subscription **out, struct session *session,
                                  struct owned_partition *owned, struct message_subscribe *opening,
                                  uint64_t *given_up, leat_ns now);
/* From now on this subscription commits to its entry, and no other does. */
void subscription_take_commits(struct subscription *sub);
/* Frees it. It must be in no list of state. */
void subscription_close(struct subscription *sub, leat_ns now);

/* Says what to do for it now. Only subscription_sent and subscription_skip move its position and
 * charge its quotas. */
struct subscription_next subscription_next(struct subscription *sub, leat_ns now);
void subscription_sent(struct subscription *sub, uint64_t size, leat_ns now);
/* The bytes from `position` on were not sent after all. */
void subscription_take_back(struct subscription *sub, uint64_t position);
/* The GAP was staged: continues behind it. */
void subscription_skip(struct subscription *sub, const struct leat_frame_gap *gap);
/* [*at, *at + *size) was sent in a packet that was lost. True: send it again; what is no longer
 * wanted was cut off the front. False: when gap->reason is not 0, send `gap` and ask again; else
 * nothing of it is wanted. */
bool subscription_again(const struct subscription *sub, uint64_t *at, uint32_t *size,
                        struct leat_frame_gap *gap);
/* Handles a COMMIT frame of a group's subscription. Errors: LEAT_ERR_UNKNOWN_STREAM (of no group),
 * LEAT_ERR_LOG_EPOCH, LEAT_ERR_OUT_OF_RANGE, LEAT_ERR_INVALID (so many records cannot be lost). */
enum leat_error subscription_commit(struct subscription *sub,
                                    const struct leat_frame_commit *commit, uint64_t wall_ns);
/* The same without a frame: commits `offset` if it is valid and higher than what is committed. */
enum leat_error subscription_commit_to(struct partition *p, struct offsets_entry *entry,
                                       uint64_t log_epoch, uint64_t offset, uint64_t wall_ns);
/* Handles a CREDIT frame. True when more may be sent than before. */
bool subscription_credit(struct subscription *sub, const struct leat_frame_credit *credit);

#endif

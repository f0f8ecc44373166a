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
 * others nothing. Threads: the owning shard. Allocates only when it opens. */
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
    SUBSCRIPTION_THROTTLED, /* a quota is used up; in the shard's list of those */
    SUBSCRIPTION_WAITING,   /* in its partition's list: has everything */
    SUBSCRIPTION_READY,     /* in its session's list: something is to be sent */
};

struct subscription {
    struct session *session;
    struct owned_partition *owned;
    uint32_t number; /* of the stream */
    enum subscription_state state;
    uint64_t position; /* next log byte to send */
    uint64_t limit;    /* credit: send up to here */
    uint64_t consumed;
    uint64_t blocked_said; /* the limit that BLOCKED was last said for; NONE: never */
    uint32_t deficit;      /* bytes it may still get in this turn: packets only */
    bool gap_said;
    struct leat_frame_gap gap;   /* the last one said */
    int required_mark;           /* a handle; -1: producers do not wait for it, or no more */
    struct offsets_entry *entry; /* where its group stands: held; NULL: it is of no group */
    /* Records its client says it lost, of those counted in `entry`. */
    uint64_t lost_at_most, lost_at_least;
    uint64_t first_offset; /* nothing below can be lost by it */
    struct quota quota;
    struct quota_hold hold;                /* of which its client was told */
    TAILQ_ENTRY(subscription) state_node;  /* READY: session, WAITING: owned, THROTTLED: shard */
    TAILQ_ENTRY(subscription) reader_node; /* in its partition, always */
};

enum subscription_action {
    SUBSCRIPTION_SEND,      /* `size` log bytes from `position` */
    SUBSCRIPTION_CAUGHT_UP, /* nothing before the next append */
    SUBSCRIPTION_NO_CREDIT, /* nothing before more credit; say BLOCKED when `say_blocked` */
    SUBSCRIPTION_NO_QUOTA,  /* nothing before *when */
    SUBSCRIPTION_GAP,       /* was overtaken: say `gap`, then ask again */
};

struct subscription_next {
    enum subscription_action action;
    bool say_blocked;
    bool by_client; /* the quota is that of the client's name, not the topic's */
    uint64_t size;
    leat_ns when;
    struct leat_frame_gap gap;
};

/* In state PARKED, until the first credit. `opening` is the request, its `position` already found.
 * *given_up: the name of a required reader of the same client that lost its mark for it; 0: none.
 * LEAT_ERR_NO_MEMORY; LEAT_ERR_LIMIT: too many required readers, opening->refused says whose. */
enum leat_error subscription_open(struct subscription **out, struct session *session,
                                  struct owned_partition *owned, struct message_subscribe *opening,
                                  uint64_t *given_up, leat_ns now);
/* From now on it is the one that commits to its entry; no other does. */
void subscription_take_commits(struct subscription *sub);
/* It is in no list of state. Frees it. */
void subscription_close(struct subscription *sub, leat_ns now);

/* What is to be done for it now; position and counters move only by subscription_sent and _skip. */
struct subscription_next subscription_next(struct subscription *sub, leat_ns now);
void subscription_sent(struct subscription *sub, uint64_t size, leat_ns now);
/* The bytes from `position` on were not sent after all. */
void subscription_take_back(struct subscription *sub, uint64_t position);
/* The GAP was staged. */
void subscription_skip(struct subscription *sub, const struct leat_frame_gap *gap);
/* [*at, *at + *size) was sent in a packet that was lost. True: send it again (what of it is no
 * longer wanted was cut off the front). False: say `gap`, when gap->reason is not 0, and then ask
 * again; else nothing of it is wanted. */
bool subscription_again(const struct subscription *sub, uint64_t *at, uint32_t *size,
                        struct leat_frame_gap *gap);
/* A COMMIT frame of a group's subscription. LEAT_ERR_UNKNOWN_STREAM (of no group),
 * LEAT_ERR_LOG_EPOCH, LEAT_ERR_OUT_OF_RANGE, LEAT_ERR_INVALID (so many cannot be lost). */
enum leat_error subscription_commit(struct subscription *sub,
                                    const struct leat_frame_commit *commit, uint64_t wall_ns);
/* The same without a frame: whether the group may stand at `offset`; then it does, unless it stands
 * higher. */
enum leat_error subscription_commit_to(struct partition *p, struct offsets_entry *entry,
                                       uint64_t log_epoch, uint64_t offset, uint64_t wall_ns);
/* A CREDIT frame. True when it may send further than before. */
bool subscription_credit(struct subscription *sub, const struct leat_frame_credit *credit);

#endif

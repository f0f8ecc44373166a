/* Groups: the coordinator of consumer groups: their members, the assignment of partitions to
 * members, and the hand-over of partitions between members.
 *
 *      member:    join --> [ heartbeats, always one outstanding ] --> leave, or session timeout
 *
 *      partition:         grant                 new target                not in `owned` any more,
 *          FREE -------------------> OWNED ----------------------> LEAVING  or timed out
 *            ^                        |  ^                          |  |
 *            |   the shard has        |  +--- target again ---------+  |
 *            |   closed the stream    +----- member out or rejoined -+
 *            +---------------------------------------------- DROPPING
 *
 * A partition has one owner from its grant until the shard has closed the owner's stream. The
 * owners of partitions that do not move are not interrupted. The epoch of a member increases
 * whenever its assignment changes; an epoch below the one it joined with belongs to an earlier
 * member with the same id.
 *
 * Role: a pure state machine. Requests and `now` go in; members to answer and partitions to drop
 * come out. broker/group/assignor.h decides the assignment, once per groups_step for all members
 * that joined before it.
 * Must not know: connections, shards, messages, logs, clocks, what `offsets` of a partition points
 * to.
 *
 * Every table is bounded.
 * Threads: control. */
#ifndef LEAT_BROKER_GROUP_GROUP_H
#define LEAT_BROKER_GROUP_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "schema/error.h"
#include "schema/limits.h"
#include "schema/units.h"
#include "transport/timers.h"

enum {
    GROUPS_MAX = 1 << 17,
    GROUPS_MEMBERS_MAX = 1 << 16,    /* of all groups */
    GROUP_PARTITIONS_MAX = 1 << 14,  /* of one group, all topics */
    GROUPS_PARTITIONS_MAX = 1 << 21, /* of all groups; 150 MB */
    GROUP_TOPIC_BUCKET_BITS = 12,
    /* The number of partitions that one groups_step scans for timeouts, and again for assignments.
       The next step continues. The last group of a step may exceed the limit. */
    GROUPS_STEP_PARTITIONS = 1 << 15,
};

struct group;
struct group_member;

enum group_partition_state { GROUP_FREE, GROUP_OWNED, GROUP_LEAVING, GROUP_DROPPING };

struct group_partition {
    struct group_member *owner;  /* OWNED, LEAVING; else NULL */
    struct group_member *target; /* the member it is assigned to; NULL: none */
    /* The caller's; set by group_partition_set_offsets. NULL: no shard has had a stream of it. */
    void *offsets;
    char *metadata;   /* the caller's: of the last commit that had metadata */
    leat_ns leave_by; /* LEAVING */
    uint32_t epoch;   /* of the assignment that granted (OWNED) or revoked (LEAVING) it */
    uint8_t state;    /* group_partition_state */
    bool told;        /* DROPPING: returned by groups_next_drop */
    struct group_topic *topic;
    TAILQ_ENTRY(group_partition) drop_node;
};

/* A topic that members subscribe to, or in which the group has offsets. */
struct group_topic {
    struct group *group;
    void *maker; /* the caller's: to whom it is charged; NULL: nobody */
    uint64_t id; /* 0: the topic does not exist, or there is no room for it (see `refused`) */
    uint64_t refused_id; /* id of a topic for which there is no room; 0: none */
    uint32_t refused_count;
    int16_t refused; /* LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY */
    uint32_t count;
    uint32_t subscribers;
    uint32_t place; /* index in group->topics, and bit in group_member.topics */
    struct group_partition *partitions;
    LIST_ENTRY(group_topic) name_node; /* in a bucket of groups->topics */
    char name[LEAT_NAME_BYTES_MAX + 1];
};

struct group_member {
    struct group *group;
    void *maker;           /* the caller's */
    uint64_t topics;       /* bits: its subscriptions */
    uint32_t joined_epoch; /* the epoch of the group when the member last joined */
    uint32_t epoch;        /* of its current assignment */
    uint32_t session_ms;
    uint32_t assigned, leaving; /* partitions */
    leat_ns heard;
    leat_ns leave_by; /* the earliest of its LEAVING partitions; LEAT_NS_NEVER: none */
    struct timer timer;

    /* The held request (join or heartbeat); `waiter` is the caller's. */
    bool waiting, answering;
    void *waiter;
    uint64_t request;
    leat_ns answer_by;
    LIST_ENTRY(group_member) waiter_node;  /* the caller's */
    TAILQ_ENTRY(group_member) answer_node; /* while `answering` */

    bool changed;  /* its assignment has changed since the last answer */
    uint32_t slot; /* the assignor's */
    uint32_t load; /* the assignor's */
    char id[LEAT_NAME_BYTES_MAX + 1];
    char client[LEAT_CLIENT_NAME_BYTES_MAX + 1];
};

struct group {
    uint64_t id; /* unique in this process */
    void *maker; /* the caller's */
    uint32_t epoch;
    uint32_t member_count, member_room, topic_count, partition_count;
    uint32_t dropping;             /* partitions in state DROPPING */
    uint32_t leaving;              /* partitions in state LEAVING */
    uint32_t in_use;               /* partitions with an owner or with offsets */
    uint32_t named;                /* members for which it has generated an id */
    uint32_t refused;              /* topics for which there is no room */
    bool unassigned;               /* members or topics changed since the last assignment */
    bool unsettled;                /* in groups->unsettled: the next groups_step handles it */
    struct group_member **members; /* by id */
    struct group_topic *topics[LEAT_GROUP_TOPICS_MAX]; /* NULL: free */
    TAILQ_ENTRY(group) unsettled_node;
    struct timer idle_timer; /* while it has no members */
    leat_ns idle_since;      /* its last member left, or groups_touch */
    uint64_t stored_ns;      /* the caller's: time of its last commit, since 1970; 0: in this run */
    char name[LEAT_NAME_BYTES_MAX + 1];
};

enum group_out { GROUP_OUT_LEFT, GROUP_OUT_SILENT, GROUP_OUT_FENCED };

/* The tables whose entries are charged to a maker. */
enum group_table { GROUP_TABLE_GROUPS, GROUP_TABLE_PARTITIONS, GROUP_TABLE_MEMBERS };

struct groups_hooks {
    void *user;
    /* Charges `count` entries of the table to `maker`. False: this would exceed its share, and
     * nothing was charged; *why is text that is valid until the next call. NULL: no limits. */
    bool (*take)(void *user, void *maker, enum group_table table, uint32_t count, const char **why);
    /* Undoes `take`. NULL if `take` is. */
    void (*give_back)(void *user, void *maker, enum group_table table, uint32_t count);
    /* The member is removed or, if FENCED, replaced by a new one with its id. The caller must
     * refuse its held request now. */
    void (*out)(void *user, struct group_member *member, enum group_out why);
    /* The caller must free `offsets` and `metadata` of the partition. */
    void (*forget)(void *user, struct group_partition *partition);
};

LIST_HEAD(group_topic_bucket, group_topic);

struct groups {
    struct groups_hooks hooks;
    struct group_topic_bucket topics[1 << GROUP_TOPIC_BUCKET_BITS]; /* of all groups, by name */
    struct group **all;                                             /* sorted by name */
    uint32_t count, room;
    uint32_t members;
    uint32_t partitions;
    uint64_t last_id;
    leat_ns look_ns;
    struct timers timers; /* of members */
    struct timers idle;   /* of groups without members */
    TAILQ_HEAD(, group) unsettled;
    TAILQ_HEAD(, group_member) answers;
    TAILQ_HEAD(, group_partition) drops;
};

/* groups_next_idle returns a group for the first time `look_ns` after it has become empty.
 * LEAT_ERR_NO_MEMORY. */
enum leat_error groups_open(struct groups *g, const struct groups_hooks *hooks, leat_ns look_ns);
void groups_close(struct groups *g);

struct group *groups_find(const struct groups *g, const char *name);
/* The index in `all` of the first group whose name is greater than `name`; g->count if there is
 * none. */
uint32_t groups_above(const struct groups *g, const char *name);
struct group_member *group_find_member(const struct group *group, const char *id);
struct group_topic *group_find_topic(const struct group *group, const char *name);

/* ---- members */

struct group_topic_ref {
    const char *name;
    uint64_t id;
    uint32_t partitions;
};

struct group_join {
    const char *group;
    const char *member_id; /* empty: an id is generated */
    const char *client;
    void *maker; /* charged for what is created; NULL: nobody */
    const struct group_topic_ref *topics;
    uint32_t topic_count; /* 1 .. LEAT_GROUP_TOPICS_MAX */
    uint32_t session_ms;
    uint32_t names_key; /* makes generated ids differ from those of other runs of the broker */
    void *waiter;
    uint64_t request;
};

/* The next groups_step answers the member. LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY; *why: static text,
 * or that of hooks.take. */
enum leat_error groups_join(struct groups *g, const struct group_join *join, leat_ns now,
                            struct group_member **out, const char **why);

struct group_owned {
    const char *topic;
    uint64_t topic_id; /* 0: any topic of this name */
    const uint32_t *partitions;
    size_t count;
};

struct group_heartbeat {
    const char *group;
    const char *member_id;
    uint32_t epoch;
    uint32_t wait_ms;
    const struct group_owned *owned;
    size_t owned_count;
    void *waiter;
    uint64_t request;
};

/* Holds the heartbeat; groups_next_answer returns the member when it is to be answered. The member
 * must have no held request. LEAT_ERR_UNKNOWN_MEMBER, LEAT_ERR_FENCED. */
enum leat_error groups_heartbeat(struct groups *g, const struct group_heartbeat *beat, leat_ns now,
                                 struct group_member **out);
/* LEAT_ERR_UNKNOWN_MEMBER, LEAT_ERR_FENCED. */
enum leat_error groups_leave(struct groups *g, const char *group, const char *member_id,
                             uint32_t epoch);
/* Finds the member and checks that `epoch` is valid for it. LEAT_ERR_UNKNOWN_MEMBER,
 * LEAT_ERR_FENCED. */
enum leat_error groups_speaks(const struct groups *g, const char *group, const char *member_id,
                              uint32_t epoch, struct group_member **out);
/* Whether the member may read the partition with an assignment of `epoch`: LEAT_OK,
 * LEAT_ERR_NOT_ASSIGNED, LEAT_ERR_FENCED. */
enum leat_error group_may_open(const struct group_member *member, uint32_t epoch,
                               const struct group_partition *partition);
/* Forgets the held request: its connection has closed. */
void group_forget_waiter(struct groups *g, struct group_member *member);
/* The maximum time between two heartbeats, and for which one is held. */
uint32_t group_heartbeat_ms(const struct group_member *member);

/* ---- steps */

/* Handles timeouts, assigns and grants partitions, within the limits of one step. Afterwards call
 * groups_next_answer and groups_next_drop until they return NULL. */
void groups_step(struct groups *g, leat_ns now);
/* When to call groups_step if there is no request before. */
leat_ns groups_deadline(const struct groups *g);
/* A member whose held request the caller must answer now, with its assignment. NULL: none. */
struct group_member *groups_next_answer(struct groups *g);
/* A partition whose stream the shard must close; then call groups_dropped. NULL: none. */
struct group_partition *groups_next_drop(struct groups *g);
void groups_dropped(struct groups *g, struct group_partition *partition);

/* ---- topics, offsets */

/* Whether it has an owner or offsets. */
static inline bool group_partition_in_use(const struct group_partition *p)
{
    return p->owner != NULL || p->offsets != NULL;
}
/* Sets the caller's `offsets`; NULL clears them. */
void group_partition_set_offsets(struct group_partition *p, void *offsets);

/* Iterates over the groups that have the topic: returns the one after `previous` (NULL: the first),
 * or NULL. */
struct group_topic *groups_next_topic(const struct groups *g, const char *name,
                                      const struct group_topic *previous);
/* The topic was deleted. */
void groups_topic_removed(struct groups *g, const char *name, uint64_t topic_id);
/* The topic was created. Groups that subscribe to it get its partitions. If there is no room for
 * them, the members are told, and their heartbeats retry it. */
void groups_topic_added(struct groups *g, const struct group_topic_ref *topic);
/* Finds or creates the group and its topic, for offsets that are not set by a member. The next
 * groups_step frees what has no offsets. LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY. */
enum leat_error groups_restore(struct groups *g, const char *group,
                               const struct group_topic_ref *topic, void *maker,
                               struct group_topic **out, const char **why);
/* Frees the `offsets` of the partition, in which nothing is committed and which no shard uses. The
 * next groups_step frees the topic and the group if they are unused. */
void groups_forget_offsets(struct groups *g, struct group_partition *partition);
/* A client that is not a member used the group: its idle time starts again. */
void groups_touch(struct group *group, leat_ns now);
/* A group without members whose idle timer has expired: the caller must delete it or call
 * groups_look_again. NULL: none. */
struct group *groups_next_idle(struct groups *g, leat_ns now);
/* Sets the idle timer. */
void groups_look_again(struct groups *g, struct group *group, leat_ns at);
/* LEAT_ERR_UNKNOWN_GROUP, LEAT_ERR_GROUP_NOT_EMPTY; LEAT_BUSY: a shard is still closing a stream.
 */
enum leat_error groups_delete(struct groups *g, const char *name);

#endif

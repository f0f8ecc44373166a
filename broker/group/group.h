/* Groups: who the members of each consumer group are, which partitions each may work on, and how a
 * partition goes from one to another.
 *
 *      member:    join --> [ heartbeats, always one under way ] --> leaves, or is silent too long
 *
 *      partition:         grant                 target is another         left out of `owned`,
 *          FREE -------------------> OWNED ----------------------> LEAVING  or took too long
 *            ^                        |  ^                          |  |
 *            |   the shard has        |  +--- target again ---------+  |
 *            |   dropped its stream   +----- member out, joined anew --+
 *            +---------------------------------------------- DROPPING
 *
 * A partition has one owner from its grant until the shard has let go of the owner's stream. Owners
 * of partitions that do not move notice nothing. A member's epoch counts up whenever what is
 * granted to it changes; a lower one than it joined with speaks for an earlier holder of its id.
 *
 * Role: pure. Requests and `now` go in; members to answer and partitions to drop come out. Who is
 * to have what is decided in broker/group/assignor.h, once in groups_step however many joined
 * before. Must not know: connections, shards, messages, logs, clocks, what `offsets` of a partition
 * is.
 *
 * Every table is bounded. Threads: control's. */
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
    GROUPS_PARTITIONS_MAX = 1 << 21, /* of all groups: 150 MB */
    GROUP_TOPIC_BUCKET_BITS = 12,
    /* Partitions looked at in one groups_step for timeouts, and as many again for assignments. What
     * is left is taken on in the next step. One group's, at most, may be more. */
    GROUPS_STEP_PARTITIONS = 1 << 15,
};

struct group;
struct group_member;

enum group_partition_state { GROUP_FREE, GROUP_OWNED, GROUP_LEAVING, GROUP_DROPPING };

struct group_partition {
    struct group_member *owner;  /* OWNED, LEAVING; else NULL */
    struct group_member *target; /* who is to have it; NULL: nobody */
    /* The caller's, set by group_partition_set_offsets; NULL: no shard has ever had a stream of it.
     */
    void *offsets;
    char *metadata;   /* the caller's: text of the last commit that had any */
    leat_ns leave_by; /* LEAVING */
    uint32_t epoch;   /* of the assignment that granted it (OWNED) or took it (LEAVING) */
    uint8_t state;    /* group_partition_state */
    bool told;        /* DROPPING: the shard is */
    struct group_topic *topic;
    TAILQ_ENTRY(group_partition) drop_node;
};

/* A topic that members name, or that the group has offsets in. */
struct group_topic {
    struct group *group;
    void *maker; /* the caller's: who had it made; NULL: nobody */
    uint64_t id; /* 0: there is no such topic now, or the group has no room for it: see `refused` */
    uint64_t refused_id; /* of the one there is no room for; 0: none */
    uint32_t refused_count;
    int16_t refused; /* LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY */
    uint32_t count;
    uint32_t subscribers;
    uint32_t place; /* in its group: the bit in a member's `topics` */
    struct group_partition *partitions;
    LIST_ENTRY(group_topic) name_node; /* of all groups' topics with names of one hash */
    char name[LEAT_NAME_BYTES_MAX + 1];
};

struct group_member {
    struct group *group;
    void *maker;           /* the caller's */
    uint64_t topics;       /* bits */
    uint32_t joined_epoch; /* of the group, when it joined (again) */
    uint32_t epoch;        /* of its assignment */
    uint32_t session_ms;
    uint32_t assigned, leaving; /* partitions */
    leat_ns heard;
    leat_ns leave_by; /* the first of its LEAVING partitions; LEAT_NS_NEVER: none */
    struct timer timer;

    /* A request that waits for its answer: `waiter` is the caller's. */
    bool waiting, answering;
    void *waiter;
    uint64_t request;
    leat_ns answer_by;
    LIST_ENTRY(group_member) waiter_node;  /* the caller's */
    TAILQ_ENTRY(group_member) answer_node; /* while `answering` */

    bool changed;  /* in the settling under way */
    uint32_t seat; /* the assignor's */
    uint32_t load; /* the assignor's */
    char id[LEAT_NAME_BYTES_MAX + 1];
    char client[LEAT_CLIENT_NAME_BYTES_MAX + 1];
};

struct group {
    uint64_t id; /* of this process */
    void *maker; /* the caller's */
    uint32_t epoch;
    uint32_t member_count, member_room, topic_count, partition_count;
    uint32_t dropping;             /* partitions in state DROPPING */
    uint32_t leaving;              /* partitions in state LEAVING */
    uint32_t in_use;               /* partitions with an owner or with offsets */
    uint32_t named;                /* members it has given names to */
    uint32_t refused;              /* topics that it has no room for */
    bool unassigned;               /* members or topics have changed since the last assignment */
    bool unsettled;                /* in the list of those to look at */
    struct group_member **members; /* by id */
    struct group_topic *topics[LEAT_GROUP_TOPICS_MAX]; /* NULL: free */
    TAILQ_ENTRY(group) unsettled_node;
    struct timer idle_timer; /* while it has no members */
    leat_ns idle_since;      /* its last member went, or groups_touch */
    uint64_t stored_ns;      /* the caller's: of its last commit, since 1970; 0: in this run */
    char name[LEAT_NAME_BYTES_MAX + 1];
};

enum group_out { GROUP_OUT_LEFT, GROUP_OUT_SILENT, GROUP_OUT_FENCED };

/* What a maker takes from. */
enum group_table { GROUP_TABLE_GROUPS, GROUP_TABLE_PARTITIONS, GROUP_TABLE_MEMBERS };

struct groups_hooks {
    void *user;
    /* Takes so many of the table for `maker`. False: it has its share, *why says so (text that is
     * valid until the next call); nothing was taken. NULL: everybody may take everything. */
    bool (*take)(void *user, void *maker, enum group_table table, uint32_t count, const char **why);
    /* They are free again. NULL together with `take`. */
    void (*give_back)(void *user, void *maker, enum group_table table, uint32_t count);
    /* The member goes (or, FENCED, somebody joined with its id): a waiting request is refused now.
     */
    void (*out)(void *user, struct group_member *member, enum group_out why);
    /* The record of the partition is freed: its `offsets` too. */
    void (*forget)(void *user, struct group_partition *partition);
};

LIST_HEAD(group_topic_bucket, group_topic);

struct groups {
    struct groups_hooks hooks;
    struct group_topic_bucket topics[1 << GROUP_TOPIC_BUCKET_BITS]; /* of all groups, by name */
    struct group **all;                                             /* by name */
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

/* A group is looked at `look_ns` after it has become empty: groups_next_idle.
 * LEAT_ERR_NO_MEMORY. */
enum leat_error groups_open(struct groups *g, const struct groups_hooks *hooks, leat_ns look_ns);
void groups_close(struct groups *g);

struct group *groups_find(const struct groups *g, const char *name);
/* The first group whose name is above `name`: its place in `all`; g->count: none. */
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
    const char *member_id; /* empty: gets a name */
    const char *client;
    void *maker; /* of what is made for it; NULL: nobody */
    const struct group_topic_ref *topics;
    uint32_t topic_count; /* 1 .. LEAT_GROUP_TOPICS_MAX */
    uint32_t session_ms;
    uint32_t names_key; /* makes given names unlike those of another run of the broker */
    void *waiter;
    uint64_t request;
};

/* The member is answered after the next groups_step. LEAT_ERR_LIMIT (*why: static text, or of
 * hooks.take), LEAT_ERR_NO_MEMORY. */
enum leat_error groups_join(struct groups *g, const struct group_join *join, leat_ns now,
                            struct group_member **out, const char **why);

struct group_owned {
    const char *topic;
    uint64_t topic_id; /* 0: whichever is there */
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

/* Is answered by groups_next_answer, at once or later; no request of the member may be waiting.
 * LEAT_ERR_UNKNOWN_MEMBER, LEAT_ERR_FENCED. */
enum leat_error groups_heartbeat(struct groups *g, const struct group_heartbeat *beat, leat_ns now,
                                 struct group_member **out);
/* LEAT_ERR_UNKNOWN_MEMBER, LEAT_ERR_FENCED. */
enum leat_error groups_leave(struct groups *g, const char *group, const char *member_id,
                             uint32_t epoch);
/* The member of this id, if `epoch` may speak for it. LEAT_ERR_UNKNOWN_MEMBER, LEAT_ERR_FENCED. */
enum leat_error groups_speaks(const struct groups *g, const char *group, const char *member_id,
                              uint32_t epoch, struct group_member **out);
/* Whether it may work on that partition with an assignment of `epoch`.
 * LEAT_ERR_NOT_ASSIGNED, LEAT_ERR_FENCED. */
enum leat_error group_may_open(const struct group_member *member, uint32_t epoch,
                               const struct group_partition *partition);
/* Nobody is there any more to take the answer. */
void group_forget_waiter(struct groups *g, struct group_member *member);
uint32_t group_heartbeat_ms(const struct group_member *member);

/* ---- what follows */

/* Timeouts, assignment, grants, as far as one step goes. Then take the answers and the drops. */
void groups_step(struct groups *g, leat_ns now);
/* When it wants to be stepped even if nothing comes. */
leat_ns groups_deadline(const struct groups *g);
/* Its request is to be answered with its assignment now, and waits no more. NULL: none. */
struct group_member *groups_next_answer(struct groups *g);
/* The shard is to drop the partition's stream; say groups_dropped when it has. NULL: none. */
struct group_partition *groups_next_drop(struct groups *g);
void groups_dropped(struct groups *g, struct group_partition *partition);

/* ---- topics, offsets */

/* Whether anything is to be told of it: it has an owner or offsets. */
static inline bool group_partition_in_use(const struct group_partition *p)
{
    return p->owner != NULL || p->offsets != NULL;
}
/* Sets what the caller keeps of it; NULL: nothing any more. */
void group_partition_set_offsets(struct group_partition *p, void *offsets);

/* A topic as one of the groups has it: the next one behind `previous` (NULL: the first), or NULL.
 */
struct group_topic *groups_next_topic(const struct groups *g, const char *name,
                                      const struct group_topic *previous);
/* There is no such topic any more. */
void groups_topic_removed(struct groups *g, const char *name, uint64_t topic_id);
/* There is a topic of this name. Groups whose members named it get its partitions; where there is
 * no room for them the members are told so, and it is tried again at their heartbeats. */
void groups_topic_added(struct groups *g, const struct group_topic_ref *topic);
/* The group and its topic, made where they are not there, for offsets that no member brings. What
 * has none is freed in the next groups_step. LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY. */
enum leat_error groups_restore(struct groups *g, const char *group,
                               const struct group_topic_ref *topic, void *maker,
                               struct group_topic **out, const char **why);
/* Nothing stands in the partition's `offsets`, and no shard has them: they are forgotten, and what
 * has nothing else is freed in the next groups_step. */
void groups_forget_offsets(struct groups *g, struct group_partition *partition);
/* Somebody used it who is no member: it is idle from now on. */
void groups_touch(struct group *group, leat_ns now);
/* A group without members that is to be looked at now: delete it, or say when to look again. NULL:
 * none. */
struct group *groups_next_idle(struct groups *g, leat_ns now);
void groups_look_again(struct groups *g, struct group *group, leat_ns at);
/* LEAT_ERR_UNKNOWN_GROUP, LEAT_ERR_GROUP_NOT_EMPTY; LEAT_BUSY: a shard still has a stream. */
enum leat_error groups_delete(struct groups *g, const char *name);

#endif

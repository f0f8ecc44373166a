/* Control state: what the files control*.c share, and nobody else sees.
 *
 * Threads: control's. */
#ifndef LEAT_BROKER_CONTROL_CONTROL_STATE_H
#define LEAT_BROKER_CONTROL_CONTROL_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <urcu-qsbr.h>

#include "broker/control/control.h"
#include "broker/control/producer_names.h"
#include "broker/control/shares.h"
#include "broker/control/worker.h"
#include "broker/group/group.h"
#include "broker/log/partition.h"
#include "broker/shard/session.h"
#include "broker/shared/client_quota.h"
#include "broker/shared/offsets.h"
#include "broker/shared/quota.h"
#include "schema/control.h"
#include "transport/link_tcp.h"

enum {
    CONTROL_EVENTS_MAX = 256,
    CONTROL_OUTPUT_PAUSE_BYTES = 1 << 20, /* above this a connection is not read */
    CONTROL_SOCKET_BYTES = 1 << 18,       /* what the kernel keeps for one that does not read */
    CONTROL_OPERATIONS_PER_CONNECTION = 8,
    CONTROL_OPERATIONS_MAX = 4096,
    CONTROL_QUEUE_SLOTS = 1 << 16, /* messages a full mailbox left with us, a shard */
    CONTROL_QUEUE_BUSY = 4096,     /* above this requests are answered BUSY */
    CONTROL_NAMES_MAX = 65536,
    CONTROL_TEXT_BYTES = 1024,
    CONTROL_SPARE_DESCRIPTORS = 2,
    CONTROL_GUESTS_MAX = 16, /* taken beyond connections_max, to be told so */
    CONTROL_RETRY_MS = 20,
    /* What costly requests may cost in one iteration, in rows and partitions (each some 100 ns);
     * the last may exceed it by what one request can cost. */
    CONTROL_COST_PER_ITERATION = 4096,
};

/* What an epoll event points at: every such struct begins with one of these. */
enum control_source { CONTROL_LISTENER, CONTROL_WAKE, CONTROL_SIGNAL, CONTROL_CONN };

struct control_watched {
    enum control_source source;
    int fd;
};

/* ---- connections */

enum control_conn_state {
    CONN_GREETING, /* has not said Hello */
    CONN_OPEN,
    CONN_CLOSING, /* its last answer is leaving; what still comes is dropped */
};

/* Taken only to be told why not, when it says Hello. */
enum control_conn_refused { CONN_WELCOME, CONN_NO_DESCRIPTOR, CONN_TOO_MANY, CONN_NO_MEMORY };

struct control_conn {
    enum control_source source;
    int fd;
    enum control_conn_state state;
    enum control_conn_refused refused;
    bool counted;     /* among the connections that its address has */
    bool closed;      /* closed in this iteration; freed at its end */
    bool working;     /* in control->work */
    bool costly;      /* in control->costly: its next request waits there, the rest behind it */
    bool costly_turn; /* its turn among those: one costly request may be handled */
    bool input_ready; /* the kernel may have more */
    uint32_t interest;
    uint32_t operations;          /* that wait for shards */
    leat_ns since;                /* heard last; or entered its state */
    struct memory_account memory; /* itself and its buffers */
    uint8_t *in;
    size_t in_used, in_room;
    uint8_t *out;
    size_t out_from, out_to, out_room;
    LIST_HEAD(, control_session) sessions;
    LIST_HEAD(, operation) operation_list;
    LIST_HEAD(, group_member) waiters; /* members whose heartbeats it waits for */
    struct share_maker *maker;         /* what it has taken of tables */
    struct quota joins;
    TAILQ_ENTRY(control_conn) node; /* of its state's list, oldest first */
    TAILQ_ENTRY(control_conn) work_node;
    TAILQ_ENTRY(control_conn) costly_node;
    char client_name[LEAT_CLIENT_NAME_BYTES_MAX + 1];
};

TAILQ_HEAD(control_conns, control_conn);

/* ---- sessions */

enum control_session_state { SESSION_FREE, SESSION_LIVE, SESSION_CLOSING };

struct control_session {
    uint32_t id; /* 0: never used */
    enum control_session_state state;
    uint32_t next_free;         /* slot + 1 */
    struct client_quota *quota; /* of its client's name; NULL: none */
    struct control_conn *owner;
    struct share_maker *maker;
    LIST_ENTRY(control_session) node;
};

/* ---- shards */

struct control_shard {
    struct control_shard_ends link;
    struct control_session *sessions; /* by slot */
    uint32_t slots_used;              /* slots above were never used */
    uint32_t free_first, free_last;   /* slot + 1; oldest first */
    struct message *queue;            /* a ring of CONTROL_QUEUE_SLOTS */
    uint64_t queue_head, queue_tail;
};

/* ---- the catalog, stored aside */

/* Who waits until the catalog is durable; a part of what it waits for. */
struct catalog_waiter {
    /* May free the waiter. error_text: "" unless there is an error. */
    void (*stored)(struct control *control, struct catalog_waiter *waiter, enum leat_error error,
                   const char *error_text);
    TAILQ_ENTRY(catalog_waiter) node;
};

TAILQ_HEAD(catalog_waiters, catalog_waiter);

struct catalog_store {
    struct worker_job job;
    bool running;                   /* a write, or those who waited for it are being told */
    bool telling;                   /* it has ended */
    struct catalog_waiters writing; /* for what is being written, or was */
    struct catalog_waiters waiting; /* for what is written next */
    const struct statefile *state;
    uint8_t *bytes;
    size_t size;
    enum leat_error error;
    char error_text[STATEFILE_ERROR_TEXT];
};

/* ---- operations: requests that wait for shards */

enum operation_kind {
    OPERATION_PREPARE, /* of a producer that another may have; then it becomes OPERATION_BIND */
    OPERATION_BIND,    /* and then OPERATION_PRODUCER */
    OPERATION_PRODUCER,
    OPERATION_SUBSCRIPTION,
    OPERATION_CLOSE_STREAMS,
    OPERATION_OFFSETS,
    OPERATION_CREATE_TOPIC,
    OPERATION_DELETE_TOPIC,
    OPERATION_DROP, /* a partition that goes from one member of a group to another */
    OPERATION_COMMIT,
    OPERATION_RESET,
    OPERATION_DESCRIBE_GROUP,
};

struct operation_part {
    struct message message; /* what was sent, then the reply to it; status: what came of it */
    uint32_t shard;
    bool sent;
    struct offsets_entry *entry; /* held while the shard may look at it; or NULL */
    char *metadata;              /* of a commit; owned; or NULL */
};

struct operation {
    enum operation_kind kind;
    uint32_t slot;
    struct memory_budget *memory; /* it is charged to; held */
    struct control_conn *owner;   /* NULL: it has gone, nobody is to be answered */
    LIST_ENTRY(operation) owner_node;
    uint64_t request; /* the client's */
    uint64_t topic_id;
    uint32_t awaited; /* replies to come */
    uint32_t count;   /* parts in use */
    struct {
        uint64_t id;
        uint32_t epoch;
        bool resume;
        bool new_name;          /* of this opening: goes again when it fails */
        bool holds_name;        /* see control_name_hold */
        bool expired;           /* everything is new to the broker */
        uint32_t claimed_epoch; /* of an earlier run of the broker; 0: none */
        uint32_t partitions;
        uint64_t *first_unanswered;         /* by partition; owned; NULL: all 0 */
        size_t unanswered_bytes;            /* of that */
        uint32_t sessions[LEAT_SHARDS_MAX]; /* by shard; 0: none */
        char name[LEAT_NAME_BYTES_MAX + 1];
    } producer;
    char topic[LEAT_NAME_BYTES_MAX + 1];
    char group[LEAT_NAME_BYTES_MAX + 1];
    bool dry_run; /* of a reset */
    bool cut;     /* of a description: there is more than fits */
    struct {      /* of a topic: see control_creation.c */
        struct catalog_waiter waiter;
        struct catalog_topic *known; /* out of the catalog, until that is stored */
        struct rcu_head rcu;
        struct worker_job job;
        struct control *control;
        struct operation *next;
    } deletion;
    void *answer;        /* owned; or NULL */
    size_t answer_bytes; /* of that */
    uint32_t room;       /* parts there is memory for */
    struct operation_part parts[];
};

struct operation_slot {
    struct operation *operation;
    uint32_t generation;
};

struct control_counters {
    metric connections_accepted, connections_refused, connections_expired;
    metric requests, requests_refused;
    metric connections, sessions, topics, log_bytes, log_normal_bytes;
    metric catalog_writes, catalog_failures, required_lost;
    metric groups, group_members, group_offsets, groups_expired;
    metric group_joins, group_joins_refused, group_silent, group_fenced, group_moves;
    metric held_back;
    metric shares_refused;
    metric names, names_expired;
    metric offsets_writes, offsets_failures;
};

struct control {
    struct control_options options;
    const struct config *config;
    struct control_watched listener, wake, signals;
    int epoll;
    int spare[CONTROL_SPARE_DESCRIPTORS];
    int reserve; /* a descriptor for who has to be told that there are no others; -1: in use */
    leat_ns full_until; /* the log has told of it */
    uint32_t lent;      /* how many have the spare ones */
    bool stopping;
    bool renewed; /* every log of the catalog has its first offset of this run */
    char address[LINK_TCP_ADDRESS_TEXT];
    leat_ns now;
    leat_ns accept_again; /* LEAT_NS_NEVER: the listener is on */
    leat_ns save_again;   /* what could not be stored; LEAT_NS_NEVER */
    bool reserving;       /* some partition waits for MESSAGE_OFFSETS_RESERVED; or save_again */
    bool storing_limits;  /* limits_waiter waits */
    struct catalog_waiter limits_waiter;
    struct worker *worker;
    struct catalog_store store;
    LIST_HEAD(, creation) creations; /* topics whose memory or catalog is under way */

    struct control_conns greeting, open, closing, zombies, work, costly;
    uint32_t connection_count, work_count, costly_count;
    uint32_t uncharged; /* connections with CONN_NO_MEMORY */
    uint64_t cost;      /* of this iteration's requests so far, see CONTROL_COST_PER_ITERATION */

    struct control_shard shards[LEAT_SHARDS_MAX];
    uint32_t shard_count;
    char endpoints[LEAT_SHARDS_MAX][LEAT_CONTROL_ADDRESS_BYTES_MAX + 1];
    char udp_endpoints[LEAT_SHARDS_MAX][LEAT_CONTROL_ADDRESS_BYTES_MAX + 1];
    uint32_t next_shard; /* of the next partition */
    struct logmem_budget budget;
    struct operation_slot operations[CONTROL_OPERATIONS_MAX];
    uint32_t operation_count, operation_next;
    struct shares shares;
    char share_text[CONTROL_TEXT_BYTES]; /* of the last refusal */
    char memory_text[CONTROL_TEXT_BYTES];
    struct producer_names names;
    leat_ns names_due; /* the next look at some of them; LEAT_NS_NEVER: there are none */
    struct offsets *offsets;
    struct groups groups;
    uint32_t group_numbers[GROUP_PARTITIONS_MAX]; /* of the assignment that is being told */
    Leat__Control__TopicRefused group_refused[LEAT_GROUP_TOPICS_MAX]; /* and of it, too */
    Leat__Control__TopicRefused *group_refused_list[LEAT_GROUP_TOPICS_MAX];
    bool groups_opened;
    struct offsets_save *offsets_save; /* under way; NULL: none */
    leat_ns offsets_due;               /* the next */
    bool offsets_loaded;               /* they may be written */
    uint32_t offsets_crc;              /* of the last that was written */
    size_t offsets_size;
    struct client_quotas quotas;
    leat_ns quota_lines_since; /* so many lines about quotas since then */
    uint32_t quota_lines;
    struct memory_budget *kept; /* what is kept for groups has this part of the memory */
    uint64_t metadata_bytes;    /* of the texts of all commits, under way too */
    uint64_t metadata_most;
    uint64_t memory_refused; /* times that the log has told of */
    leat_ns memory_said;
    uint32_t left_out;                  /* topics of the catalog */
    bool left_out_due;                  /* memory was given back: some may fit */
    uint64_t left_out_after;            /* those up to this id were tried */
    struct operation *_Atomic reapable; /* a grace period has passed; any thread pushes */

    struct control_counters counters;
};

/* ---- control.c */

/* Gives up the spare descriptors, for as long as something short needs some. */
void control_lend_descriptors(struct control *control);
void control_take_descriptors(struct control *control);
/* The one in reserve, when there is one to be had. */
void control_take_reserve(struct control *control);
/* epoll_ctl. */
bool control_watch(const struct control *control, int fd, void *what, int operation,
                   uint32_t events);

/* ---- control_memory.c */

void control_memory_register(struct control *control);
void control_memory_unregister(struct control *control);
/* False: no session could hold one batch of the largest record: error_text says what is missing. */
bool control_memory_has_room(const struct control *control, const char *topic,
                             const struct topic_settings *settings,
                             char error_text[CONTROL_ERROR_TEXT]);
/* Why there is no memory for it: the budget, its parts and what is taken of them. Valid until the
 * next call; `p` may be NULL. */
const char *control_memory_text(struct control *control, const struct control_conn *p);
/* The text of a commit, charged; NULL: no memory, or all texts would be more than is stored. */
char *control_metadata_copy(struct control *control, const char *text, size_t size);
/* NULL is a no-op. */
void control_metadata_free(struct control *control, char *text);
/* Says in the log that clients were refused for want of memory, now and then. */
void control_memory_step(struct control *control);

/* ---- control_conn.c */

void control_conn_accept(struct control *control);
/* What it was charged for itself may be somebody else's. */
void control_conn_give_place(struct control *control, struct control_conn *p);
/* Nobody is taken for a moment. */
void control_conn_pause_accepting(struct control *control);
/* Ends the one that has waited longest to say Hello. */
bool control_conn_end_oldest(struct control *control);
void control_conn_event(struct control *control, struct control_conn *p, uint32_t events);
/* To be looked at in this iteration: handle what it said, send what it is owed. */
void control_conn_want_work(struct control *control, struct control_conn *p);
void control_conn_work(struct control *control);
/* Closes it, and with it everything it opened. */
void control_conn_end(struct control *control, struct control_conn *p);
/* It has said Hello. */
void control_conn_open(struct control *control, struct control_conn *p, const char *client_name);
/* After the answers at hand have left. */
void control_conn_end_soon(struct control *control, struct control_conn *p);
void control_conn_reap(struct control *control);
void control_conn_expire(struct control *control);
leat_ns control_conn_deadline(const struct control *control);

/* ---- control_answers.c */

/* Bytes that it has yet to be sent. */
static inline size_t control_conn_owed(const struct control_conn *p)
{
    return p->out_to - p->out_from;
}
/* Packs an answer. NULL `p`: nobody is there any more. */
void control_conn_answer(struct control *control, struct control_conn *p,
                         Leat__Control__Response *response);
void control_conn_done(struct control *control, struct control_conn *p, uint64_t request);
void control_conn_refuse(struct control *control, struct control_conn *p, uint64_t request,
                         enum leat_error error, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* The same, and when to ask again. */
void control_conn_refuse_for(struct control *control, struct control_conn *p, uint64_t request,
                             enum leat_error error, uint32_t retry_after_ms, const char *format,
                             ...) __attribute__((format(printf, 6, 7)));
void control_conn_refuse_busy(struct control *control, struct control_conn *p, uint64_t request);
void control_conn_refuse_topic(struct control *control, struct control_conn *p, uint64_t request,
                               const char *name);

/* ---- control_requests.c */

/* Whether its cost grows with what the broker holds, and not only with the request's size. A
 * connection has one such request handled in its turn, behind everybody's cheap ones. */
bool control_request_is_costly(const Leat__Control__Request *request);
/* `rows` were looked at for a request: what CONTROL_COST_PER_ITERATION bounds. */
static inline void control_charge(struct control *control, uint64_t rows)
{
    control->cost += rows;
}
void control_handle_request(struct control *control, struct control_conn *p,
                            const Leat__Control__Request *request);

/* ---- control_shard_mail.c */

/* Sends now or queues. There is always a place: see CONTROL_QUEUE_SLOTS. */
void control_post(struct control *control, uint32_t shard, const struct message *message);
/* Hands over what was queued. True when something is left. */
bool control_flush_mail(struct control *control);
/* True when a shard has so much to do that requests should wait. */
bool control_congested(const struct control *control);
/* True when there was any. */
bool control_read_mail(struct control *control);

/* ---- control_operations.c */

/* With zeroed parts; NULL: no memory or too many, answered BUSY. */
struct operation *operation_begin(struct control *control, struct control_conn *p, uint64_t request,
                                  enum operation_kind kind, uint32_t parts);
/* The same, with op->answer: zeroed, so many bytes a part. What has effects takes the memory of its
 * answer first: nothing can lack for it later. */
struct operation *operation_begin_answer(struct control *control, struct control_conn *p,
                                         uint64_t request, enum operation_kind kind, uint32_t parts,
                                         size_t answer_bytes);
/* One of control's own, with zeroed parts; NULL: no memory or too many. */
struct operation *operation_begin_own(struct control *control, enum operation_kind kind,
                                      uint32_t parts);
/* Sends every part that is not a reply already and whose status is LEAT_OK; operation_complete is
 * called when all is answered, at once when nothing was sent. */
void operation_send(struct control *control, struct operation *op);
void operation_free(struct control *control, struct operation *op);
/* Its connection goes. */
void operation_disown(struct operation *op);
/* For the part's message: held until the operation ends. */
void operation_hold(struct operation_part *part, struct offsets_entry *entry);
/* A shard's reply to one of its parts, or that a session is closed. */
void operation_reply(struct control *control, const struct message *m);

/* ---- control_sessions.c */

void control_open_session(struct control *control, struct control_conn *p,
                          const Leat__Control__Request *request);
void control_close_session(struct control *control, struct control_conn *p,
                           const Leat__Control__Request *request);
/* Its connection goes. */
void control_session_close_all(struct control *control, struct control_conn *p);
/* Shards and connections have ended: nobody answers for those that are still being closed. */
void control_sessions_stop(struct control *control);
/* The shard says that the session waits for a quota: a line in the log. */
void control_held_by_quota(struct control *control, const struct message *m);
/* The shard says that it ended by itself, and why: its owner is told. */
void control_session_ended(struct control *control, uint32_t id, int status);
/* The shard has closed it, as it was told. */
void control_session_closed(struct control *control, uint32_t id);
/* The name of the client that has it; empty: it has ended. */
const char *control_session_client(struct control *control, uint32_t id);
/* It was granted, and neither has ended nor is closing. */
bool control_session_is_live(struct control *control, uint32_t id);
/* The session, when it is live and of this connection. */
struct control_session *control_session_of(struct control *control, const struct control_conn *p,
                                           uint32_t id);

/* ---- control_streams.c */

/* Where a reader begins, in a message that asks for it. */
/* By which a required group is known to the shards: its mark is no reader's of the same name. */
uint64_t control_hash_group(const char *name);
void control_set_start(struct message *m, const Leat__Control__PartitionStart *start);

void control_open_subscription(struct control *control, struct control_conn *p,
                               const Leat__Control__Request *request);
void control_close_streams(struct control *control, struct control_conn *p,
                           const Leat__Control__Request *request);
void control_list_offsets(struct control *control, struct control_conn *p,
                          const Leat__Control__Request *request);
void control_subscribed(struct control *control, struct operation *op);
void control_streams_closed(struct control *control, struct operation *op);
void control_offsets_found(struct control *control, struct operation *op);

/* ---- control_groups.c */

enum leat_error control_groups_open(struct control *control);
void control_groups_close(struct control *control);
void control_join_group(struct control *control, struct control_conn *p,
                        const Leat__Control__Request *request);
void control_group_heartbeat(struct control *control, struct control_conn *p,
                             const Leat__Control__Request *request);
void control_leave_group(struct control *control, struct control_conn *p,
                         const Leat__Control__Request *request);
/* Timeouts, assignment, what follows from them. */
void control_groups_step(struct control *control);
/* Its connection goes: nobody waits there any more. */
void control_group_forget_conn(struct control *control, struct control_conn *p);
/* A shard has let go of a partition's stream. */
void control_dropped(struct control *control, struct operation *op);
/* Producers wait for a required reader: says which. */
void control_held_back(struct control *control, const struct message *message);
/* A required reader has lost its mark: says which, and why. */
void control_required_lost(struct control *control, const struct message *message);
void control_group_topic_created(struct control *control, const struct topic *topic);
/* The entry of the partition of its topic, made where there is none. LEAT_ERR_LIMIT,
 * LEAT_ERR_NO_MEMORY. */
enum leat_error control_group_entry(struct control *control, struct group_partition *partition,
                                    uint64_t log_epoch, struct offsets_entry **out);
/* What was refused leaves nothing: entries of its parts in which nothing stands go. */
void control_group_forget_unused(struct control *control, struct operation *op);
/* There is no such group. */
void control_refuse_group(struct control *control, struct control_conn *p, uint64_t request,
                          const char *group);
/* Answers for a member that cannot be spoken for. */
void control_refuse_member(struct control *control, struct control_conn *p, uint64_t request,
                           enum leat_error error, const char *group, const char *member_id,
                           uint32_t epoch);
static inline struct group_partition *control_group_partition(const struct group *group,
                                                              const struct topic *topic,
                                                              uint32_t index)
{
    const struct group_topic *found = group_find_topic(group, topic->name);
    return found != NULL && found->id == topic->id && index < found->count
               ? &found->partitions[index]
               : NULL;
}

/* ---- control_group_age.c */

/* How long a group is left alone after it has become empty. */
leat_ns control_group_look_ns(const struct control *control);
/* Groups that have been without members and commits for too long go. */
void control_groups_expire(struct control *control);

/* ---- control_offsets.c */

struct offsets_save;

/* What an earlier run stored. LEAT_ERR_STATE, LEAT_ERR_IO, LEAT_ERR_NO_MEMORY. */
enum leat_error control_offsets_load(struct control *control, char error_text[CONTROL_ERROR_TEXT]);
/* Stores them when it is time and something has changed. */
void control_offsets_step(struct control *control);
/* The shards have ended: stores what stands at last. False: it is not stored. */
bool control_offsets_stop(struct control *control);

/* ---- control_group_admin.c */

void control_commit_offsets(struct control *control, struct control_conn *p,
                            const Leat__Control__Request *request);
void control_committed(struct control *control, struct operation *op);
void control_reset_group(struct control *control, struct control_conn *p,
                         const Leat__Control__Request *request);
void control_reset(struct control *control, struct operation *op);
void control_delete_group(struct control *control, struct control_conn *p,
                          const Leat__Control__Request *request);

/* ---- control_group_describe.c */

void control_list_groups(struct control *control, struct control_conn *p,
                         const Leat__Control__Request *request);
void control_describe_group(struct control *control, struct control_conn *p,
                            const Leat__Control__Request *request);
void control_described(struct control *control, struct operation *op);

/* ---- control_producers.c */

void control_open_producer(struct control *control, struct control_conn *p,
                           const Leat__Control__Request *request);
void control_producer_prepared(struct control *control, struct operation *op);
void control_producer_bound(struct control *control, struct operation *op);
void control_producer_opened(struct control *control, struct operation *op);

/* ---- control_shares.c */

/* LEAT_ERR_NO_MEMORY. */
enum leat_error control_shares_open(struct control *control);
struct share_words {
    const char *things, *what_to_do;
};
/* Counts a refusal. Returns what the client is told of it, until the next: which limit of a table
 * of `size` it was, what was taken of that (but for SHARE_FULL) and what may be. */
const char *control_share_refused(struct control *control, enum share_verdict verdict,
                                  uint32_t size, uint32_t taken, uint32_t share,
                                  const struct share_words *words);
/* False: the maker, or everybody, has taken too many already; *why is valid until the next call. */
bool control_may_take(struct control *control, const struct share_maker *maker, uint32_t table,
                      uint32_t count, const char **why);
/* Hooks of the groups. */
bool control_group_take(void *user, void *maker, enum group_table table, uint32_t count,
                        const char **why);
void control_group_give_back(void *user, void *maker, enum group_table table, uint32_t count);

/* ---- control_producer_names.c */

/* A new name. LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY: *why is valid until the next call. */
enum leat_error control_name_add(struct control *control, const char *text,
                                 struct share_maker *maker, struct producer_name **out,
                                 const char **why);
void control_name_remove(struct control *control, struct producer_name *name);
/* The operation, which opens it, keeps it until it is freed. */
void control_name_hold(struct operation *op, struct producer_name *name);
void control_name_release(struct control *control, struct operation *op);
/* The operation has opened its streams: the name is in use as long as the first one is there. */
void control_name_opened(struct control *control, const struct operation *op);
/* A client has closed that stream. */
void control_name_closed(struct control *control, uint32_t session, uint32_t stream);
/* Names that nobody has used for too long go. */
void control_names_step(struct control *control);
void control_delete_producer(struct control *control, struct control_conn *p,
                             const Leat__Control__Request *request);
void control_list_producers(struct control *control, struct control_conn *p,
                            const Leat__Control__Request *request);

#endif

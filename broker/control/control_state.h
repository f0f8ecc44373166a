/* Control state: private to control*.c.
 *
 * Threads: control, unless stated otherwise. */
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
    CONTROL_OUTPUT_PAUSE_BYTES = 1 << 20, /* with more output queued, a connection is not read */
    CONTROL_SOCKET_BYTES = 1 << 18,       /* kernel buffer for a client that does not read */
    CONTROL_OPERATIONS_PER_CONNECTION = 8,
    CONTROL_OPERATIONS_MAX = 4096,
    CONTROL_QUEUE_SLOTS = 1 << 16, /* messages queued for a full mailbox, per shard */
    CONTROL_QUEUE_BUSY = 4096,     /* with more queued, requests are answered BUSY */
    CONTROL_NAMES_MAX = 65536,
    CONTROL_TEXT_BYTES = 1024,
    CONTROL_SPARE_DESCRIPTORS = 2,
    CONTROL_GUESTS_MAX = 16, /* accepted beyond the limits, only to be told so */
    CONTROL_RETRY_MS = 20,
    /* The budget of costly requests per iteration, in rows and partitions (each about 100 ns). The
       last request may exceed it. */
    CONTROL_COST_PER_ITERATION = 4096,
};

/* The data of an epoll event points to a struct that begins with one of these. */
enum control_source { CONTROL_LISTENER, CONTROL_WAKE, CONTROL_SIGNAL, CONTROL_CONN };

struct control_watched {
    enum control_source source;
    int fd;
};

/* ---- connections */

enum control_conn_state {
    CONN_GREETING, /* no Hello received yet */
    CONN_OPEN,
    CONN_CLOSING, /* its last answer is being sent; input is discarded */
};

/* The reason why a connection was accepted only to refuse its Hello. */
enum control_conn_refused { CONN_WELCOME, CONN_NO_DESCRIPTOR, CONN_TOO_MANY, CONN_NO_MEMORY };

struct control_conn {
    enum control_source source;
    int fd;
    enum control_conn_state state;
    enum control_conn_refused refused;
    bool counted;     /* in SHARE_CONNECTIONS of its maker */
    bool closed;      /* closed in this iteration; freed at its end */
    bool working;     /* in control->work */
    bool costly;      /* in control->costly: its next request is a costly one */
    bool costly_turn; /* its turn in that queue: may handle one costly request */
    bool input_ready; /* the socket may have more input */
    uint32_t interest;
    uint32_t operations;          /* waiting for shards */
    leat_ns since;                /* last received something, or entered its state */
    struct memory_account memory; /* of the struct and its buffers */
    uint8_t *in;
    size_t in_used, in_room;
    uint8_t *out;
    size_t out_from, out_to, out_room;
    LIST_HEAD(, control_session) sessions;
    LIST_HEAD(, operation) operation_list;
    LIST_HEAD(, group_member) waiters; /* members whose held requests came from here */
    struct share_maker *maker;         /* its shares of the tables */
    struct quota joins;
    TAILQ_ENTRY(control_conn) node; /* in the list of its state, oldest first */
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
    struct client_quota *quota; /* of the client name; NULL: none */
    struct control_conn *owner;
    struct share_maker *maker;
    LIST_ENTRY(control_session) node;
};

/* ---- shards */

struct control_shard {
    struct control_shard_ends link;
    struct control_session *sessions; /* by slot */
    uint32_t slots_used;              /* higher slots were never used */
    uint32_t free_first, free_last;   /* slot + 1; freed first, reused first */
    struct message *queue;            /* a ring of CONTROL_QUEUE_SLOTS */
    uint64_t queue_head, queue_tail;
};

/* ---- storing the catalog */

/* Waits until the catalog is durable. Embedded in the caller's struct. */
struct catalog_waiter {
    /* May free the waiter. error_text: "" if error is LEAT_OK. */
    void (*stored)(struct control *control, struct catalog_waiter *waiter, enum leat_error error,
                   const char *error_text);
    TAILQ_ENTRY(catalog_waiter) node;
};

TAILQ_HEAD(catalog_waiters, catalog_waiter);

struct catalog_store {
    struct worker_job job;
    bool running;                   /* a write is in progress, or its waiters are being told */
    bool telling;                   /* the write has ended; its waiters are being told */
    struct catalog_waiters writing; /* for the current write */
    struct catalog_waiters waiting; /* for the next write */
    const struct statefile *state;
    uint8_t *bytes;
    size_t size;
    enum leat_error error;
    char error_text[STATEFILE_ERROR_TEXT];
};

/* ---- operations: requests that wait for shards */

enum operation_kind {
    OPERATION_PREPARE, /* of a producer that another client may have; then OPERATION_BIND */
    OPERATION_BIND,    /* then OPERATION_PRODUCER */
    OPERATION_PRODUCER,
    OPERATION_SUBSCRIPTION,
    OPERATION_CLOSE_STREAMS,
    OPERATION_OFFSETS,
    OPERATION_CREATE_TOPIC,
    OPERATION_DELETE_TOPIC,
    OPERATION_DROP, /* closes the stream of a partition that a group member has lost */
    OPERATION_COMMIT,
    OPERATION_RESET,
    OPERATION_DESCRIBE_GROUP,
};

struct operation_part {
    struct message message; /* the request, then the reply to it */
    uint32_t shard;
    bool sent;
    struct offsets_entry *entry; /* a reference, while the shard may use it; or NULL */
    char *metadata;              /* of a commit; owned; or NULL */
};

struct operation {
    enum operation_kind kind;
    uint32_t slot;
    struct memory_budget *memory; /* charged for the operation; a reference is held */
    struct control_conn *owner;   /* NULL: it has closed, so there is no answer */
    LIST_ENTRY(operation) owner_node;
    uint64_t request; /* id of the client's request */
    uint64_t topic_id;
    uint32_t awaited; /* outstanding replies */
    uint32_t count;   /* parts in use */
    struct {
        uint64_t id;
        uint32_t epoch;
        bool resume;
        bool new_name;          /* created by this opening; removed if it fails */
        bool holds_name;        /* see control_name_hold */
        bool expired;           /* the broker has no state of the producer */
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
    bool cut;     /* of a description: truncated */
    struct {      /* of DELETE_TOPIC, see control_creation.c */
        struct catalog_waiter waiter;
        struct catalog_topic *known; /* removed from the catalog, until that is stored */
        struct rcu_head rcu;
        struct worker_job job;
        struct control *control;
        struct operation *next;
    } deletion;
    void *answer;        /* owned; or NULL */
    size_t answer_bytes; /* of that */
    uint32_t room;       /* allocated parts */
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
    int reserve; /* a descriptor to refuse a connection with when there is no other; -1: in use */
    leat_ns full_until; /* end of the episode without room that was logged */
    uint32_t lent;      /* current users of the spare descriptors */
    bool stopping;
    bool renewed; /* all logs of the catalog have their log epoch of this run */
    char address[LINK_TCP_ADDRESS_TEXT];
    leat_ns now;
    leat_ns accept_again; /* LEAT_NS_NEVER: accepting now */
    leat_ns save_again;   /* when to retry a failed write; LEAT_NS_NEVER: none */
    bool reserving;       /* a partition waits for MESSAGE_OFFSETS_RESERVED, or save_again is set */
    bool storing_limits;  /* limits_waiter is in use */
    struct catalog_waiter limits_waiter;
    struct worker *worker;
    struct catalog_store store;
    LIST_HEAD(, creation) creations; /* topics being created */

    struct control_conns greeting, open, closing, zombies, work, costly;
    uint32_t connection_count, work_count, costly_count;
    uint32_t uncharged; /* connections with CONN_NO_MEMORY */
    uint64_t cost;      /* of costly requests in this iteration, see CONTROL_COST_PER_ITERATION */

    struct control_shard shards[LEAT_SHARDS_MAX];
    uint32_t shard_count;
    char endpoints[LEAT_SHARDS_MAX][LEAT_CONTROL_ADDRESS_BYTES_MAX + 1];
    char udp_endpoints[LEAT_SHARDS_MAX][LEAT_CONTROL_ADDRESS_BYTES_MAX + 1];
    uint32_t next_shard; /* shard of the next partition */
    struct logmem_budget budget;
    struct operation_slot operations[CONTROL_OPERATIONS_MAX];
    uint32_t operation_count, operation_next;
    struct shares shares;
    char share_text[CONTROL_TEXT_BYTES]; /* text of the last refusal */
    char memory_text[CONTROL_TEXT_BYTES];
    struct producer_names names;
    leat_ns names_due; /* time of the next scan; LEAT_NS_NEVER: no names */
    struct offsets *offsets;
    struct groups groups;
    uint32_t group_numbers[GROUP_PARTITIONS_MAX];                     /* scratch for an answer */
    Leat__Control__TopicRefused group_refused[LEAT_GROUP_TOPICS_MAX]; /* the same */
    Leat__Control__TopicRefused *group_refused_list[LEAT_GROUP_TOPICS_MAX];
    bool groups_opened;
    struct offsets_save *offsets_save; /* in progress; NULL: none */
    leat_ns offsets_due;               /* time of the next snapshot */
    bool offsets_loaded;               /* loaded, so that they may be written */
    uint32_t offsets_crc;              /* of the last snapshot written */
    size_t offsets_size;
    struct client_quotas quotas;
    leat_ns quota_lines_since; /* start of the second that quota_lines counts */
    uint32_t quota_lines;
    struct memory_budget *kept; /* the part of the memory budget for groups */
    uint64_t metadata_bytes;    /* of all commits, including those in progress */
    uint64_t metadata_most;
    uint64_t memory_refused; /* refusals already logged */
    leat_ns memory_said;
    uint32_t left_out;                  /* number of topics that are left out */
    bool left_out_due;                  /* log memory was freed: a left-out topic may fit */
    uint64_t left_out_after;            /* topics up to this id were tried */
    struct operation *_Atomic reapable; /* after the grace period; any thread pushes */

    struct control_counters counters;
};

/* ---- control.c */

/* Closes the spare descriptors, so that an operation that needs some can open them. */
void control_lend_descriptors(struct control *control);
/* Opens the spare descriptors again after the last operation. */
void control_take_descriptors(struct control *control);
/* Opens the reserve descriptor if it is closed and one is available. */
void control_take_reserve(struct control *control);
/* epoll_ctl(2) with `what` as data. False: it failed. */
bool control_watch(const struct control *control, int fd, void *what, int operation,
                   uint32_t events);

/* ---- control_memory.c */

void control_memory_register(struct control *control);
void control_memory_unregister(struct control *control);
/* False: no session could hold a batch with the largest record; error_text says what to change. */
bool control_memory_has_room(const struct control *control, const char *topic,
                             const struct topic_settings *settings,
                             char error_text[CONTROL_ERROR_TEXT]);
/* Why memory was refused: the budget and its use. Valid until the next call; `p` may be NULL. */
const char *control_memory_text(struct control *control, const struct control_conn *p);
/* Copies and charges the metadata of a commit. NULL: no memory, or all metadata would exceed what
 * can be stored. */
char *control_metadata_copy(struct control *control, const char *text, size_t size);
/* NULL is a no-op. */
void control_metadata_free(struct control *control, char *text);
/* Logs refusals for lack of client memory, at most every ten seconds. */
void control_memory_step(struct control *control);

/* ---- control_conn.c */

void control_conn_accept(struct control *control);
/* Gives back the memory charged for the connection itself. */
void control_conn_give_place(struct control *control, struct control_conn *p);
/* Stops accepting for a short time. */
void control_conn_pause_accepting(struct control *control);
/* Ends the oldest connection without a Hello, else the oldest that is closing. False: none. */
bool control_conn_end_oldest(struct control *control);
void control_conn_event(struct control *control, struct control_conn *p, uint32_t events);
/* Queues the connection for a turn in this iteration: handles its input, sends its output. */
void control_conn_want_work(struct control *control, struct control_conn *p);
void control_conn_work(struct control *control);
/* Closes the connection and its sessions. The struct is freed at the end of the iteration. */
void control_conn_end(struct control *control, struct control_conn *p);
/* Its Hello was accepted. */
void control_conn_open(struct control *control, struct control_conn *p, const char *client_name);
/* Ends the connection after its queued answers were sent. */
void control_conn_end_soon(struct control *control, struct control_conn *p);
void control_conn_reap(struct control *control);
void control_conn_expire(struct control *control);
leat_ns control_conn_deadline(const struct control *control);

/* ---- control_answers.c */

/* Bytes queued and not sent yet. */
static inline size_t control_conn_owed(const struct control_conn *p)
{
    return p->out_to - p->out_from;
}
/* Appends an answer to the output. `p` NULL (the connection has closed): does nothing. */
void control_conn_answer(struct control *control, struct control_conn *p,
                         Leat__Control__Response *response);
void control_conn_done(struct control *control, struct control_conn *p, uint64_t request);
void control_conn_refuse(struct control *control, struct control_conn *p, uint64_t request,
                         enum leat_error error, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* The same, with the time after which the client may retry. */
void control_conn_refuse_for(struct control *control, struct control_conn *p, uint64_t request,
                             enum leat_error error, uint32_t retry_after_ms, const char *format,
                             ...) __attribute__((format(printf, 6, 7)));
void control_conn_refuse_busy(struct control *control, struct control_conn *p, uint64_t request);
void control_conn_refuse_topic(struct control *control, struct control_conn *p, uint64_t request,
                               const char *name);

/* ---- control_requests.c */

/* Whether the cost of the request depends on the state of the broker, not only on its own size.
 * Each connection has one such request handled per turn, after the cheap requests of all
 * connections. */
bool control_request_is_costly(const Leat__Control__Request *request);
/* Charges `rows` rows to the budget CONTROL_COST_PER_ITERATION. */
static inline void control_charge(struct control *control, uint64_t rows)
{
    control->cost += rows;
}
void control_handle_request(struct control *control, struct control_conn *p,
                            const Leat__Control__Request *request);

/* ---- control_shard_mail.c */

/* Sends the message, or queues it if the mailbox is full. Cannot fail, see CONTROL_QUEUE_SLOTS. */
void control_post(struct control *control, uint32_t shard, const struct message *message);
/* Sends queued messages. True: some are still queued. */
bool control_flush_mail(struct control *control);
/* True: a queue is so long that requests should be refused or wait. */
bool control_congested(const struct control *control);
/* Handles messages from shards. True: there was one. */
bool control_read_mail(struct control *control);

/* ---- control_operations.c */

/* Begins an operation with zeroed parts. NULL: no memory or too many operations; answered BUSY. */
struct operation *operation_begin(struct control *control, struct control_conn *p, uint64_t request,
                                  enum operation_kind kind, uint32_t parts);
/* The same, with op->answer: `answer_bytes` zeroed bytes per part. A request with effects allocates
 * its answer first, so that answering cannot fail later. */
struct operation *operation_begin_answer(struct control *control, struct control_conn *p,
                                         uint64_t request, enum operation_kind kind, uint32_t parts,
                                         size_t answer_bytes);
/* Begins an operation without a request. NULL: no memory or too many operations. */
struct operation *operation_begin_own(struct control *control, enum operation_kind kind,
                                      uint32_t parts);
/* Sends every part that has status LEAT_OK and is not a reply. The operation completes when all
 * replies have arrived, or at once if nothing was sent. */
void operation_send(struct control *control, struct operation *op);
void operation_free(struct control *control, struct operation *op);
/* Its connection has closed. */
void operation_disown(struct operation *op);
/* Holds a reference to the entry until the operation is freed. */
void operation_hold(struct operation_part *part, struct offsets_entry *entry);
/* A shard has replied to a part of an operation, or has closed a session. */
void operation_reply(struct control *control, const struct message *m);

/* ---- control_sessions.c */

void control_open_session(struct control *control, struct control_conn *p,
                          const Leat__Control__Request *request);
void control_close_session(struct control *control, struct control_conn *p,
                           const Leat__Control__Request *request);
/* Its connection closes: ends all its sessions. */
void control_session_close_all(struct control *control, struct control_conn *p);
/* At shutdown, after the shards have ended: frees the sessions that are still being closed. */
void control_sessions_stop(struct control *control);
/* A shard reports that a quota throttles the session: logs it. */
void control_held_by_quota(struct control *control, const struct message *m);
/* The shard has ended the session; `status` says why. Tells the owner. */
void control_session_ended(struct control *control, uint32_t id, int status);
/* The shard has closed the session, as requested. */
void control_session_closed(struct control *control, uint32_t id);
/* The name of the client that owns the session; empty: it has ended. */
const char *control_session_client(struct control *control, uint32_t id);
/* Whether the session was granted and has neither ended nor is closing. */
bool control_session_is_live(struct control *control, uint32_t id);
/* The session, if it is live and belongs to this connection; else NULL. */
struct control_session *control_session_of(struct control *control, const struct control_conn *p,
                                           uint32_t id);

/* ---- control_streams.c */

/* The hash of a required group for shards; differs from that of a reader of the same name. */
uint64_t control_hash_group(const char *name);
/* Copies the start position of a reader to a message. */
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
/* Timeouts, assignment, answers and drops. Once per iteration. */
void control_groups_step(struct control *control);
/* Its connection closes: forgets the held requests. */
void control_group_forget_conn(struct control *control, struct control_conn *p);
/* A shard has closed the stream of a revoked partition. */
void control_dropped(struct control *control, struct operation *op);
/* Producers wait for a required reader: logs which. */
void control_held_back(struct control *control, const struct message *message);
/* Producers stopped waiting for a required reader: logs which, and why. */
void control_required_lost(struct control *control, const struct message *message);
void control_group_topic_created(struct control *control, const struct topic *topic);
/* Finds or creates the entry for the group's offset in the partition. LEAT_ERR_LIMIT,
 * LEAT_ERR_NO_MEMORY. */
enum leat_error control_group_entry(struct control *control, struct group_partition *partition,
                                    uint64_t log_epoch, struct offsets_entry **out);
/* After a refusal: frees the entries of the parts in which nothing is committed. */
void control_group_forget_unused(struct control *control, struct operation *op);
/* Answers that the group does not exist. */
void control_refuse_group(struct control *control, struct control_conn *p, uint64_t request,
                          const char *group);
/* Answers that the member is unknown or fenced. */
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

/* How long after it has become empty a group is checked for the first time. */
leat_ns control_group_look_ns(const struct control *control);
/* Deletes groups that were without members and commits for too long. */
void control_groups_expire(struct control *control);

/* ---- control_offsets.c */

struct offsets_save;

/* Loads the offsets that an earlier run stored. LEAT_ERR_STATE, LEAT_ERR_IO, LEAT_ERR_NO_MEMORY. */
enum leat_error control_offsets_load(struct control *control, char error_text[CONTROL_ERROR_TEXT]);
/* Stores a snapshot if it is due and something has changed. */
void control_offsets_step(struct control *control);
/* At shutdown, after the shards have ended: stores the final offsets. False: it failed. */
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
/* Counts a refusal. Returns the text for the client, valid until the next call: which limit of a
 * table of `size` entries was reached, how much is in use (except for SHARE_FULL) and the limit. */
const char *control_share_refused(struct control *control, enum share_verdict verdict,
                                  uint32_t size, uint32_t taken, uint32_t share,
                                  const struct share_words *words);
/* False: a limit of the maker or of the table is reached; *why is valid until the next call. */
bool control_may_take(struct control *control, const struct share_maker *maker, uint32_t table,
                      uint32_t count, const char **why);
/* Hooks of broker/group. */
bool control_group_take(void *user, void *maker, enum group_table table, uint32_t count,
                        const char **why);
void control_group_give_back(void *user, void *maker, enum group_table table, uint32_t count);

/* ---- control_producer_names.c */

/* Adds a new name, evicting an old one if needed. LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY; *why is valid
 * until the next call. */
enum leat_error control_name_add(struct control *control, const char *text,
                                 struct share_maker *maker, struct producer_name **out,
                                 const char **why);
void control_name_remove(struct control *control, struct producer_name *name);
/* Keeps the name in use until the operation that opens it is freed. */
void control_name_hold(struct operation *op, struct producer_name *name);
void control_name_release(struct control *control, struct operation *op);
/* The operation has opened its streams. The name is in use as long as the first of them exists. */
void control_name_opened(struct control *control, const struct operation *op);
/* A client has closed the stream. */
void control_name_closed(struct control *control, uint32_t session, uint32_t stream);
/* Forgets names that were unused for too long. Once per iteration. */
void control_names_step(struct control *control);
void control_delete_producer(struct control *control, struct control_conn *p,
                             const Leat__Control__Request *request);
void control_list_producers(struct control *control, struct control_conn *p,
                            const Leat__Control__Request *request);

#endif

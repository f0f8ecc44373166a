/* Mailbox: the messages between the control thread and a shard, and the ring that carries them.
 *
 * Role: one single-producer, single-consumer ring for each direction; messages of fixed size.
 * Must not know: what a message leads to.
 *
 * Nobody waits on a full mailbox: mailbox_send returns LEAT_BUSY, and the message stays with the
 * sender. A receiver that is about to sleep calls mailbox_prepare_sleep: it sets a flag, issues a
 * full fence, and checks again. A sender writes the eventfd only if the flag is set.
 *
 * Threads: exactly one sender and one receiver. */
#ifndef LEAT_BROKER_SHARED_MAILBOX_H
#define LEAT_BROKER_SHARED_MAILBOX_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/log/producer_dedup.h"
#include "schema/error.h"
#include "schema/limits.h"
#include "schema/units.h"

struct owned_partition;
struct client_bucket;
struct partition;
struct offsets_entry;

enum message_type {
    /* control -> shard. Those marked (reply) are answered by MESSAGE_REPLY with the same
     * request. */
    MESSAGE_ADD_PARTITION = 1, /* the shard owns `partition` from now on, and keeps its state in
                                  `owned`. Cannot fail */
    MESSAGE_REMOVE_PARTITION,  /* (reply) end its streams and give it back */
    MESSAGE_GRANT_SESSION,     /* `grant`: an ATTACH with this token may come */
    MESSAGE_CLOSE_SESSION, /* (reply) unbind everything of `session`, then close it; what it still
                              sends is dropped */
    MESSAGE_OPEN_PUBLISH, /* (reply) `publish`; the shard chooses `stream` (never 0). With `prepare`
                             it reserves all that may lack, and no other stream notices */
    MESSAGE_BIND_PUBLISH, /* (reply) `publish`: the prepared `stream` of `session` takes over */
    MESSAGE_OPEN_SUBSCRIPTION, /* (reply) `subscribe`; the shard chooses `stream`; no DATA before
                                  the client's first CREDIT */
    MESSAGE_CLOSE_STREAM,      /* (reply) `session`, `stream` */
    MESSAGE_FENCE, /* (reply) fence `publish.producer_id` below `publish.producer_epoch` in every
                      partition of the shard; its bound streams end */
    MESSAGE_SEEK,  /* (reply) `subscribe`: only find where it would begin */
    MESSAGE_OFFSETS_RESERVED, /* `partition`: offsets below `value` are reserved */
    MESSAGE_REVOKE,  /* (reply) `commit.entry`: end the stream that commits to it; value: the
                        committed offset */
    MESSAGE_COMMIT,  /* (reply) `commit`: as a COMMIT frame */
    MESSAGE_RESET,   /* (reply) commit the start of `subscribe` to its `entry` */
    MESSAGE_MEASURE, /* (reply) `measure`: how far a group has read */
    MESSAGE_STOP,

    /* shard -> control */
    MESSAGE_REPLY = 64,
    MESSAGE_SESSION_CLOSED, /* `session` ended without a request (peer gone, silent, protocol error,
                               never attached); status: why; 0: its client left */
    MESSAGE_RESERVE_OFFSETS, /* `partition` needs more offsets; `value`: next_offset now */
    MESSAGE_REQUIRED_LOST,   /* `partition`: the required reader `value` (hash of its name) has lost
                                its mark. status: LEAT_ERR_CLOSED: it was away too long;
                                LEAT_ERR_TIMEOUT: it held producers back too long (`session` has it
                                open; 0: none); LEAT_ERR_LIMIT: its client registered others */
    MESSAGE_HELD_BY_QUOTA,   /* a quota of `session`'s client name, or of `topic_id`, holds it back;
                                value 1: its publishing, 0: its reading. Once an episode */
    MESSAGE_HELD_BACK, /* `partition`: producers get BUSY, because the required reader `value` (hash
                          of its name) has not advanced; at most once a second */
};

struct message_grant {
    uint8_t token[LEAT_TOKEN_BYTES];
    uint8_t reset_token[LEAT_TOKEN_BYTES];
    uint64_t tag_to_broker, tag_to_client; /* tags of its packets */
    uint64_t challenge; /* random; a client that returns it has received a packet of ours */
    leat_ns expires_ns; /* without an ATTACH by then: MESSAGE_SESSION_CLOSED */
    uint64_t quota_publish_bytes; /* bytes a second, of this client on this shard; 0: no limit */
    uint64_t quota_deliver_bytes;
    struct memory_budget *memory; /* of the client's address; exists until the session has ended */
    struct client_bucket *bucket; /* of the client's name on this shard; NULL: no quota */
};

struct message_publish {
    uint64_t producer_id;
    uint32_t producer_epoch;
    bool prepare;              /* MESSAGE_BIND_PUBLISH is to follow */
    bool resume;               /* it was open before: its state is continued */
    uint64_t first_unanswered; /* everything below was answered */
    struct maker maker;
    /* reply: */
    struct producer_share refused; /* with LEAT_ERR_LIMIT; SHARE_OK: too many streams */
    bool expired;                  /* it was to resume, but this shard remembers nothing of it */
    uint64_t next_sequence;
    uint64_t credit;
};

struct message_subscribe {
    uint64_t start;     /* offset or time */
    uint64_t log_epoch; /* with an offset: the log that it is of; 0: any. At COMMITTED: the log that
                           the member knows; 0: none */
    uint64_t name_hash; /* hash of a required reader's name */
    /* At COMMITTED, of the log that the member knows: records below `seen` existed, and all below
     * `processed` were processed. */
    uint64_t seen, processed;
    bool same_topic; /* that log is an earlier life of this log */
    struct maker maker;
    uint8_t at;        /* partition_seek_at, or MESSAGE_AT_COMMITTED */
    uint8_t otherwise; /* at COMMITTED, when nothing is committed: partition_seek_at */
    bool required;
    bool dry_run;                /* RESET: only report what would be committed */
    int8_t refused;              /* reply: required_refusal, with status LEAT_ERR_LIMIT */
    struct offsets_entry *entry; /* of a group's subscription; NULL: of no group. Referenced by the
                                    sender until the reply */
    /* reply: */
    uint64_t position;
    uint64_t offset;
    uint64_t head_offset;
    uint64_t next_offset;
    uint64_t committed; /* offset before, in the life of committed_log_epoch; 0: none */
    uint64_t committed_log_epoch;
    uint64_t lost_at_least; /* those of [committed, offset) that are known to be records */
    bool lost_unknown;      /* where the group was in an earlier life of the log is unknown */
};

enum { MESSAGE_AT_COMMITTED = 4 };

struct message_commit {
    struct offsets_entry *entry; /* referenced by the sender until the reply */
    uint64_t offset;
    uint64_t log_epoch;
    uint64_t before; /* reply: the committed offset before */
};

struct message_measure {
    struct offsets_entry *entry; /* as in message_commit; NULL: nothing is committed */
    /* reply: */
    uint64_t head_offset, next_offset;
    uint64_t lag_bytes;
    uint64_t lag_ms;
    uint64_t overrun_bytes;
    uint64_t overrun_ms;
    bool open;
    bool required;
};

struct message {
    uint16_t type;  /* message_type */
    int16_t status; /* replies: leat_error */
    uint32_t session;
    uint32_t stream;
    uint32_t partition_index;
    uint64_t topic_id;
    uint64_t request; /* echoed in the reply */
    uint64_t value;
    struct partition *partition; /* always set in messages about a partition */
    union {
        struct owned_partition *owned; /* ADD_PARTITION, REMOVE_PARTITION */
        struct message_grant grant;
        struct message_publish publish;
        struct message_subscribe subscribe;
        struct message_commit commit;
        struct message_measure measure;
    };
};

enum { MAILBOX_SLOTS = 1024 };

struct mailbox {
    alignas(64) _Atomic uint64_t tail; /* sender: rw; receiver: ro */
    uint64_t head_seen;                /* sender only */
    alignas(64) _Atomic uint64_t head; /* receiver: rw; sender: ro */
    uint64_t tail_seen;                /* receiver only */
    alignas(64) _Atomic bool sleeping; /* receiver: rw; sender: ro */
    int eventfd;                       /* the receiver's */
    struct message slots[MAILBOX_SLOTS];
};

/* `eventfd` wakes the receiver, and remains the caller's. */
void mailbox_init(struct mailbox *box, int eventfd);

/* Sender. Copies the message. LEAT_BUSY: the mailbox is full; the message stays with the caller. */
enum leat_error mailbox_send(struct mailbox *box, const struct message *message);

/* Receiver. Copies the next message. False: there is none. */
bool mailbox_receive(struct mailbox *box, struct message *out);
/* Receiver. True when mailbox_receive would find nothing; cheap, for a loop that polls. */
static inline bool mailbox_is_empty(const struct mailbox *box)
{
    return atomic_load_explicit(&box->tail, memory_order_relaxed)
           == atomic_load_explicit(&box->head, memory_order_relaxed);
}

/* Receiver, before it blocks. True: nothing is waiting and the flag is set; block. False: do not
 * block. */
bool mailbox_prepare_sleep(struct mailbox *box);
/* Receiver, after it woke. */
void mailbox_awake(struct mailbox *box);

#endif

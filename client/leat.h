/* leat: client library of the Leat message bus. This is its only installed header; what is for
 * operators of a broker (topics, groups, names of producers) is kept in client/leat_admin.h.
 *
 * Conventions, true for everything below:
 *   Errors     functions return 0 (LEAT_OK), a count where they say so, or a negative
 *              `enum leat_error`; text from leat_strerror(), the last error's whole story from
 *              leat_client_error(). Nothing sets errno. Out-parameters change only on success.
 *              LEAT_BUSY is back-pressure: poll, then try again. LEAT_AGAIN: nothing yet.
 *   Units      are in the name: _ns nanoseconds, _bytes bytes. Wall-clock times are nanoseconds
 *              since 1970 (UTC). A timeout of 0 does not wait; LEAT_FOREVER waits.
 *   Ownership  pointers passed in are borrowed for the call (copied where kept) unless the
 *              comment says "keeps". Pointers handed out say how long they live.
 *   Threads    a client and everything opened from it is used by one thread at a time; separate
 *              clients are independent. The library starts no thread.
 *   Options    begin with `size = sizeof(struct ...)`; zero means the default in [brackets].
 *              Fields are only ever appended.
 *   Callbacks  run inside leat_client_poll(), leat_consumer_poll(), the functions that wait and
 *              those that close. They may send and ask;
 *              they may not poll, wait or close. */
#ifndef LEAT_H
#define LEAT_H

#include <stddef.h>
#include <stdint.h>

#include "schema/error.h" /* pasted in when this header is installed */

#ifdef __cplusplus
extern "C" {
#endif

#define LEAT_API __attribute__((visibility("default")))
#define LEAT_FOREVER UINT64_MAX
#define LEAT_NO_OFFSET UINT64_MAX
#define LEAT_UNKNOWN UINT64_MAX
#define LEAT_ANY_PARTITION (-1)

typedef struct leat_client leat_client;
typedef struct leat_producer leat_producer;
typedef struct leat_consumer leat_consumer;

/* Static text, never NULL; "unknown error" for a number that is not in the list. */
LEAT_API const char *leat_strerror(int error);
/* "MAJOR.MINOR.PATCH" of the library in use. Static text. */
LEAT_API const char *leat_version(void);

/* ------------------------------------------------------------------ events */

enum leat_event_type {
    LEAT_EVENT_CONNECTED = 1,    /* control and data paths are up (first time or again) */
    LEAT_EVENT_DISCONNECTED = 2, /* lost, or silent; reconnecting by itself. `error` says why */
    LEAT_EVENT_CIRCUIT_OPEN =
        3,                    /* too many failures in a row; next attempt at `time_ns` from now */
    LEAT_EVENT_GAP = 4,       /* records [first_offset, next_offset) will not come. `reason` */
    LEAT_EVENT_LOG_RESET = 5, /* the partition's log began anew: its topic was made again, or its
                                 broker restarted and kept no state. Offsets restart at next_offset,
                                 where the new log is read on; what the old one had from
                                 first_offset on is gone (LEAT_NO_OFFSET: how far it had been read
                                 is not known here). Told before the first record of the new log */
    LEAT_EVENT_RECORDS_LOST = 6,     /* broker restarted: acked records from first_offset up to
                                        next_offset of this producer were in its memory only */
    LEAT_EVENT_PRODUCER_EXPIRED = 7, /* the broker forgot the producer, which goes on: what
                                        was unacked is sent again and may be doubled */
    LEAT_EVENT_PRODUCER_FENCED = 8,  /* another producer took over its name, or writes under
                                        its identity: this one is over. Also told when idle */
    LEAT_EVENT_BAD_BATCH = 9,        /* a delivered batch failed its checks: records from
                                        first_offset up to next_offset are skipped. When they are
                                        equal its end is unknown and nothing follows before a
                                        leat_consumer_seek */
    LEAT_EVENT_TOPIC_DELETED = 10,   /* the topic is gone; nothing follows on this partition, whose
                                        records below first_offset were handed out. next_offset: its
                                        log's end (LEAT_NO_OFFSET: not known here). After the last
                                        one of a consumer without a group
                                        leat_consumer_poll says LEAT_ERR_UNKNOWN_TOPIC. A group's
                                        member reads on, after an ASSIGNED, should a topic of this
                                        name be made again */
    LEAT_EVENT_FALLBACK = 11,        /* packets do not get through (`error`, `text`): data goes over
                                        TCP from now on, from where it was (fallback=tcp) */
    /* Of a group's consumers: */
    LEAT_EVENT_ASSIGNED = 12,    /* the partition is this member's; records come from first_offset
                                    on */
    LEAT_EVENT_REVOKED = 13,     /* the partition goes to another member once this callback
                                    returned: a commit asked for in it still counts. Nothing of it
                                    is handed out after. first_offset: what stands committed, where
                                    the other goes on (LEAT_NO_OFFSET: nothing); next_offset: the
                                    position here */
    LEAT_EVENT_MEMBER_LOST = 14, /* the member was silent too long (time_ns), the broker restarted,
                                    or a topic that was missing when the member joined is there: all
                                    its partitions are others'. Told once, without a REVOKED for
                                    each; the consumer joins again by itself */
    LEAT_EVENT_MEMBER_FENCED = 15,  /* a newer member of the same id took over, or the broker does
                                       not take the member any more (`error`): the consumer is over,
                                       and leat_consumer_poll says `error` */
    LEAT_EVENT_COMMIT_REFUSED = 16, /* `error` says why; first_offset: what was asked, next_offset:
                                       what stands (LEAT_NO_OFFSET: nothing) */
    LEAT_EVENT_TOPIC_MISSING = 17,  /* there is no such topic: it was deleted, or the broker came
                                       back without it (partition -1). Told when that is found, and
                                       again once a minute while it lasts; time_ns: how long it has
                                       been missing. The member asks for it by itself, at least
                                       every backoff_max_ns, keeps its other topics meanwhile, and is
                                       told ASSIGNED when it has a part in the topic again.
                                       Partitions that the topic did not have before are read from
                                       their first record, whatever start_at says */
    LEAT_EVENT_THROTTLED = 18,      /* a quota of the broker holds back what `producer` sends or
                                       `consumer` gets: LEAT_ERR_THROTTLED, `text` says which quota.
                                       Nothing is lost. Told once, and again when it happens after
                                       ten seconds in which it did not */
    LEAT_EVENT_REFUSED = 19,        /* the broker does not take `producer` or `consumer` back after
                                       a reconnect, or gives a group's member no part of a topic:
                                       `error` and `text` say why (partition -1; topic NULL: it is
                                       about the group). For now (LEAT_BUSY, LEAT_ERR_THROTTLED,
                                       LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY, LEAT_ERR_IO, and others
                                       at first): it is asked again by itself, at least every
                                       backoff_max_ns, and nothing is lost that the log keeps. Told
                                       when it begins, and again once a minute while it lasts;
                                       time_ns: for how long. Else for good: leat_producer_send and
                                       leat_consumer_poll say `error` from then on */
};

enum leat_gap {
    LEAT_REASON_NONE = 0,
    LEAT_REASON_OVERRUN = 1,       /* the writer overtook this reader */
    LEAT_REASON_RETENTION = 2,     /* aged or sized out before it was read */
    LEAT_REASON_LOG_RESTARTED = 3, /* the broker restarted; its log begins above the old offsets */
};

/* Given to callbacks by pointer. Fields are only ever appended. */
struct leat_event {
    int32_t type;      /* leat_event_type */
    int32_t error;     /* leat_error, or 0 */
    int32_t partition; /* -1 when the event is not about a partition */
    int32_t reason;    /* leat_gap, for GAP */
    const char *topic; /* NULL when not about a topic; valid during the callback */
    uint64_t first_offset;
    uint64_t next_offset;
    uint64_t log_epoch;
    uint64_t time_ns;
    const char *text;        /* one sentence for a log; valid during the callback */
    leat_producer *producer; /* the one concerned, or NULL */
    leat_consumer *consumer; /* the one concerned, or NULL */
    /* For GAP, LOG_RESET and a consumer's TOPIC_DELETED: how many records that is. The two are the
     * same but where a log ended with a broker that was killed, or kept no state, or while it could
     * not be heard: then at least those that this client was
     * told of while it was there, and at most the offsets that may have been given out
     * (LEAT_UNKNOWN: nobody knows). */
    uint64_t lost_at_least;
    uint64_t lost_at_most;
};

/* ------------------------------------------------------------------ client */

/* A port of an application that runs DPDK's EAL itself: configured and started, its queues used by
 * nobody else. One thread polls it, the one that uses the client. */
struct leat_dpdk_port {
    size_t size;
    void *pool; /* struct rte_mempool, for what is sent; 32 of its buffers are kept at hand */
    uint16_t port;
    uint16_t rx_queue;
    uint16_t tx_queue;
    uint16_t reserved;
};

struct leat_client_options {
    size_t size;
    const char *client_name; /* shown to operators, owner of quotas ["leat"]; [A-Za-z0-9._-] */
    void (*on_event)(void *user, const struct leat_event *event); /* [none] */
    void *user;
    uint64_t connect_timeout_ns; /* of leat_client_open [5 s] */
    uint64_t request_timeout_ns; /* of each control request [5 s] */
    uint64_t backoff_min_ns;     /* first pause before reconnecting [10 ms]; doubles, with jitter */
    uint64_t backoff_max_ns;     /* longest pause [2 s] */
    uint32_t circuit_failures;   /* failures in a row that open the circuit [10] */
    uint32_t control_only;       /* not 0: topics and groups only; opens no port or data connection,
                                  * and no producer or consumer (LEAT_ERR_UNSUPPORTED) [0] */
    uint64_t circuit_open_ns;    /* how long it stays open [10 s] */
    uint32_t socket_buffer_bytes; /* SO_SNDBUF and SO_RCVBUF [kernel's own] */
    uint32_t reserved1;
    const char *tcp_congestion;             /* TCP_CONGESTION of data connections [kernel's own] */
    const struct leat_dpdk_port *dpdk_port; /* dpdk:// without a device: the application's [none] */
};

/* The URL says where the broker's control port is (TCP, hosts may be listed with commas) and how
 * data goes:
 *   tcp://host:port          over one connection to each shard; NULL means tcp://127.0.0.1:7420
 *   udp://host:port          in packets over one kernel socket, with acknowledgements, loss
 * recovery and congestion control of Leat's own. `mtu=N`: UDP payload at most [1,472; 8,952 on
 * loopback; what a probe confirms] dpdk://host:port?device=DEVARGS&ip=ADDRESS/BITS in packets
 * through a bypass port of this process (libleat-dpdk). `device` a DPDK device with its arguments,
 * left out with options->dpdk_port; `ip` ours; `gateway`, `vlan`, `mtu` (IP packet) and
 *                            `neighbour=IP/MAC` (may be repeated) as the network needs;
 *                            `memory_mb`, `pages=auto|huge|normal` for EAL; `cores=1`;
 *                            `inject=loss:PPM,...` faults made on purpose (also rx_loss, tx_loss,
 *                            duplicate, reorder, corrupt, burst:N, seed:N)
 * With `fallback=tcp` a udp or dpdk path that does not come up, or dies, is left for TCP for the
 * life of the client: LEAT_EVENT_FALLBACK. Values are percent-decoded; an unknown key is refused.
 *
 * Connects and waits for the broker's hello. On success the caller owns *client and
 * ends it with leat_client_close().
 * LEAT_ERR_INVALID (url or option), LEAT_ERR_UNSUPPORTED (scheme not in this build or on this
 * broker), LEAT_ERR_UNREACHABLE, LEAT_ERR_TIMEOUT, LEAT_ERR_VERSION, LEAT_ERR_NO_MEMORY. */
LEAT_API int leat_client_open(leat_client **client, const char *url,
                              const struct leat_client_options *options);

/* Does all I/O that is possible, runs callbacks, and waits at most timeout_ns for something to
 * do. Over dpdk, with a timeout of 0, the connection to control is looked at once a millisecond:
 * records are not kept waiting for it. Returns the number of frames and replies handled (0: timed
 * out, the connection was lost, or a consumer still has records that leat_consumer_poll had no room
 * for), or a negative error that the client cannot recover from by itself. Never invalidates
 * borrowed records.
 * Reconnecting is done here: keep polling. Every connection is asked for a sign of life at a third
 * of the broker's keepalive_ms [15 s], and one that gives none for keepalive_ms is lost
 * (LEAT_EVENT_DISCONNECTED); so is the client to the broker when it is not polled for that long. In
 * either case it goes on where it was. Names in the URL, and in what the broker advertises, are
 * looked up again before it reconnects, which blocks as long as the system's resolver takes;
 * numeric addresses are not looked up. */
LEAT_API int leat_client_poll(leat_client *client, uint64_t timeout_ns);

/* One descriptor that is readable whenever leat_client_poll has something to do, timers
 * included. For poll/epoll only; owned by the client. LEAT_ERR_NOFD on a spinning link. */
LEAT_API int leat_client_fd(leat_client *client);

/* What the last failed call on this client (or leat_client_open, with NULL) had to say: names the
 * thing, the value, what was expected. Valid until the next failing call of this thread. */
LEAT_API const char *leat_client_error(const leat_client *client);

/* Closes at once, with every producer and consumer of the client. A record whose delivery was not
 * yet called back gets its callback with LEAT_ERR_CLOSED here: it may or may not be in the log.
 * NULL is a no-op. */
LEAT_API void leat_client_close(leat_client *client);

struct leat_client_stats {
    size_t size;
    uint64_t bytes_sent;
    uint64_t bytes_received;
    uint64_t reconnects;
    uint64_t send_calls;    /* system calls that wrote data */
    uint64_t receive_calls; /* system calls that read data */
    uint64_t batches_sent;
    uint64_t records_sent;
    uint64_t records_acked;
    uint64_t records_received;
    uint64_t blocked; /* times a stream wanted to send and had no credit */
    /* Over udp:// and dpdk://, of all sessions so far: */
    uint64_t packets_sent;
    uint64_t packets_received;
    uint64_t packets_lost;    /* of those sent */
    uint64_t packets_dropped; /* received and not for us: another sender, another session, noise */
    uint64_t bytes_resent;    /* of batches, because of losses */
};
/* Fills the first stats->size bytes. */
LEAT_API int leat_client_stats(const leat_client *client, struct leat_client_stats *stats);

/* ------------------------------------------------------------------ records */

struct leat_header {
    const char *name; /* not NUL-terminated when received */
    const void *value;
    uint16_t name_size; /* 0 on sending: strlen(name) */
    uint16_t value_size;
    uint32_t reserved;
};

/* One record, sent or received: 128 bytes, the tail reserved (zero it). A NULL key or value is
 * "null", which is not the same as empty. */
struct leat_record {
    const void *key;
    const void *value;
    const struct leat_header *headers; /* sending: array of headers_count */
    const char *topic;                 /* received: valid while the consumer is open */
    uint32_t key_size;
    uint32_t value_size;
    uint32_t headers_count;
    int32_t partition;       /* sending: LEAT_ANY_PARTITION = by key; note that 0 is partition 0 */
    int64_t timestamp_ns;    /* producer's wall clock; sending: 0 = now */
    uint64_t append_time_ns; /* received: broker's wall clock, which may be set back */
    uint64_t offset;         /* received */
    uint64_t log_epoch;      /* received */
    uint64_t cookie;         /* sending: comes back in the delivery */
    const void *headers_encoded; /* received: read with leat_record_header() */
    uint32_t headers_encoded_bytes;
    uint32_t reserved0;
    uint64_t reserved[3];
};

/* Header `index` of a received record, its pointers as long-lived as the record's.
 * LEAT_ERR_OUT_OF_RANGE when there are fewer. */
LEAT_API int leat_record_header(const struct leat_record *record, uint32_t index,
                                struct leat_header *out);

/* ------------------------------------------------------------------ producer */

enum leat_level {
    LEAT_LEVEL_RECEIVED = 1,
    LEAT_LEVEL_IN_RING = 2, /* in the broker's memory: gone if the broker process dies */
    LEAT_LEVEL_DURABLE = 3,
    LEAT_LEVEL_REPLICATED = 4,
};

struct leat_delivery {
    int32_t status; /* 0: appended. LEAT_ERR_DUPLICATE: answered earlier, offset unknown. Else
                       refused */
    int32_t level;  /* leat_level when appended */
    int32_t partition;
    uint32_t reserved;
    uint64_t offset; /* LEAT_NO_OFFSET when unknown */
    uint64_t log_epoch;
    uint64_t cookie;
    leat_producer *producer;
};

struct leat_producer_options {
    size_t size;
    const char *name; /* a named producer fences older ones of its name [none: unnamed] */
    /* Once a record [none]. Over udp and dpdk the answer a lost packet held comes behind later
     * ones. */
    void (*on_delivery)(void *user, const struct leat_delivery *delivery);
    void *user;
    uint32_t batch_bytes_max;   /* a batch is sent when it is this full, or when the wire is idle
                                   [60 KiB, or one largest record]; at most 1 MiB */
    uint32_t batch_records_max; /* [65,536, or as many as fit batch_bytes_max]; 1: over udp and dpdk
                                   every record first leaves in a packet of its own, too */
    uint32_t in_flight_batches; /* unacked batches per partition [16]; at most 64 */
    uint32_t reserved0;
};

/* Opens a producer for one existing topic. Waits at most request_timeout_ns.
 * LEAT_ERR_UNKNOWN_TOPIC: there is none yet, or any more; none is created, and leat_client_error
 * says which and how to. A service that may start before its topic is created tries again.
 * LEAT_ERR_INVALID, LEAT_ERR_LIMIT, LEAT_ERR_TIMEOUT, LEAT_ERR_NO_MEMORY.
 * All its memory is reserved here: sending allocates nothing. */
LEAT_API int leat_producer_open(leat_client *client, leat_producer **producer, const char *topic,
                                const struct leat_producer_options *options);

/* Copies the record into the partition's batch; leat_client_poll sends it. Keyed records go to
 * the partition Kafka's default partitioner picks (murmur2), others round robin by batch.
 * LEAT_BUSY               no room: poll, then send again
 * LEAT_ERR_TOO_LARGE      above the topic's record_bytes_max
 * LEAT_ERR_INVALID        partition, key, header or timestamp out of range
 * LEAT_ERR_FENCED, LEAT_ERR_CLOSED   this producer is over */
LEAT_API int leat_producer_send(leat_producer *producer, const struct leat_record *record);

/* Sends and polls until the record is answered; *delivery may be NULL. The record's own
 * on_delivery callback runs too. Returns the delivery's status, or LEAT_ERR_TIMEOUT (the record is
 * still on its way). */
LEAT_API int leat_producer_send_wait(leat_producer *producer, const struct leat_record *record,
                                     struct leat_delivery *delivery, uint64_t timeout_ns);

/* Polls until everything sent so far was answered. LEAT_ERR_TIMEOUT. */
LEAT_API int leat_producer_flush(leat_producer *producer, uint64_t timeout_ns);

/* Records sent and not yet answered. */
LEAT_API uint64_t leat_producer_pending(const leat_producer *producer);

/* Partitions of the topic. */
LEAT_API uint32_t leat_producer_partitions(const leat_producer *producer);

/* Closes at once (flush first); what was not answered gets LEAT_ERR_CLOSED. NULL is a no-op. */
LEAT_API void leat_producer_close(leat_producer *producer);

/* ------------------------------------------------------------------ consumer */

enum leat_start {
    LEAT_START_LATEST = 0,
    LEAT_START_EARLIEST = 1,
    LEAT_START_OFFSET = 2, /* `start` is an offset */
    LEAT_START_TIME = 3,   /* `start` is an append time, ns since 1970 */
};

/* When a group's consumer commits by itself. A record counts as processed when the
 * leat_consumer_poll after the one that handed it out is called. */
enum leat_commit {
    LEAT_COMMIT_PROCESSED = 0, /* then */
    LEAT_COMMIT_OFF = 1,       /* never: leat_consumer_commit does */
    LEAT_COMMIT_INTERVAL = 2,  /* every commit_interval_ns, before a revocation and on close */
};

struct leat_consumer_options {
    size_t size;
    int32_t start_at; /* leat_start [latest] */
    uint32_t partition_count;
    const uint32_t *partitions; /* of every topic named [all] */
    uint64_t start;
    uint64_t window_bytes; /* unconsumed bytes held per partition [1 MiB]; at most 1 GiB; raised to
                              one largest batch of the topic where it is less. Over dpdk, up to
                              16 MiB, all of it is in memory from the start */
    const char *name;      /* shown to operators; a required reader's identity [client_name] */
    int32_t required;      /* under a topic's `block` policy producers wait for this reader */
    int32_t skip_crc;      /* 1: trust the broker's check */
    const char *group;     /* shares the topics' partitions with the group's other members, and goes
                              on where it committed; `partitions` stays empty. start_at (not
                              `offset`) and start: where a partition begins of which nothing is
                              committed [none] */
    const char *member;    /* an identity that outlives the process: its partitions wait for it for
                              the session timeout [random, and left on close] */
    uint64_t session_timeout_ns; /* how long the application may stay away from polling [10 s]; 100
                                    ms to one hour */
    uint64_t commit_interval_ns; /* [1 s] */
    int32_t commit;              /* leat_commit [processed] */
    int32_t reserved;
};

/* Subscribes to every partition (or the listed ones) of `topics`; with a group, to those the group
 * gives this member, from then on: it has joined on return, its events may come before. Waits at
 * most request_timeout_ns. LEAT_ERR_UNKNOWN_TOPIC (as in leat_producer_open; also of a group: it
 * awaits topics that go later, not what was never there), LEAT_ERR_UNKNOWN_PARTITION,
 * LEAT_ERR_OUT_OF_RANGE (a start offset above the log's end), LEAT_ERR_INVALID, LEAT_ERR_TIMEOUT,
 * LEAT_ERR_NO_MEMORY. */
LEAT_API int leat_consumer_open(leat_client *client, leat_consumer **consumer,
                                const char *const *topics, size_t topic_count,
                                const struct leat_consumer_options *options);

/* Hands out up to n records that have arrived and releases the ones handed out before. Does no
 * I/O: that is leat_client_poll. Records and what they point at are valid until the next call of
 * this function or leat_consumer_close. Returns how many (0: nothing yet), or why the consumer is
 * over, when no record is left: LEAT_ERR_UNKNOWN_TOPIC (all it read was deleted), of a group
 * LEAT_ERR_FENCED, or what the broker refused it with for good (LEAT_EVENT_REFUSED); close it.
 * Order is per partition; GAP and LOG_RESET events of a partition come between the records they lie
 * between. */
LEAT_API int leat_consumer_poll(leat_consumer *consumer, struct leat_record *records, size_t n);

/* Goes on from `offset` (start_at = LEAT_START_OFFSET), a time, or either end. What was buffered
 * of the partition is dropped. A loss at the place it leaves that was not told yet is told first.
 * Waits at most request_timeout_ns. */
LEAT_API int leat_consumer_seek(leat_consumer *consumer, const char *topic, uint32_t partition,
                                int32_t start_at, uint64_t start);

/* *offset: the next record leat_consumer_poll hands out has this offset or a higher one. */
LEAT_API int leat_consumer_position(leat_consumer *consumer, const char *topic, uint32_t partition,
                                    uint64_t *offset);

/* A group's consumer commits what is left to commit and leaves the group (a named member stays),
 * and waits at most request_timeout_ns for the answers: records handed out by the last
 * leat_consumer_poll are not committed unless leat_consumer_commit says so. NULL is a no-op. */
LEAT_API void leat_consumer_close(leat_consumer *consumer);

/* Hands out nothing more of the partition, and lets the broker send nothing more, until it is
 * resumed; what has arrived is kept. It stays this consumer's. A partition that is revoked, or
 * lost, is not paused any more. LEAT_ERR_UNKNOWN_PARTITION, LEAT_ERR_NOT_ASSIGNED. */
LEAT_API int leat_consumer_pause(leat_consumer *consumer, const char *topic, uint32_t partition);
LEAT_API int leat_consumer_resume(leat_consumer *consumer, const char *topic, uint32_t partition);

/* *records: how many the log has that were not handed out. Asks the broker, waits at most
 * request_timeout_ns. LEAT_ERR_UNKNOWN_PARTITION, LEAT_ERR_NOT_ASSIGNED, LEAT_ERR_TIMEOUT. */
LEAT_API int leat_consumer_lag(leat_consumer *consumer, const char *topic, uint32_t partition,
                               uint64_t *records);

/* ---- of a group; LEAT_ERR_INVALID for other consumers */

/* Everything below `offset` of the partition was processed; said to the broker by leat_client_poll,
 * the newest for all before. It never goes back: a lower offset changes nothing. topic NULL: in
 * every partition, all that was handed out. A refusal is LEAT_EVENT_COMMIT_REFUSED.
 * LEAT_ERR_NOT_ASSIGNED: the partition is not, or no longer, this member's. */
LEAT_API int leat_consumer_commit(leat_consumer *consumer, const char *topic, uint32_t partition,
                                  uint64_t offset);
/* Polls until every commit asked for so far was answered. Returns the worst answer since it was
 * called last: 0, LEAT_ERR_OUT_OF_RANGE, LEAT_ERR_LOG_EPOCH, LEAT_ERR_UNKNOWN_MEMBER (the partition
 * was lost first), or LEAT_ERR_TIMEOUT. */
LEAT_API int leat_consumer_commit_wait(leat_consumer *consumer, uint64_t timeout_ns);
/* *offset: what stands committed, as far as the broker said; LEAT_NO_OFFSET: nothing. */
LEAT_API int leat_consumer_committed(leat_consumer *consumer, const char *topic, uint32_t partition,
                                     uint64_t *offset);
/* Calls `visit` once a partition that is this member's now. */
LEAT_API int leat_consumer_assignment(leat_consumer *consumer,
                                      void (*visit)(void *user, const char *topic,
                                                    uint32_t partition),
                                      void *user);

#include "client/leat_admin.h" /* pasted in when this header is installed */

#ifdef __cplusplus
}
#endif

#endif

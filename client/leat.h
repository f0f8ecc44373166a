/* leat: the client library of the Leat message bus.
 *
 * This is the only installed header. Functions for operators of a broker (topics, groups, names of
 * producers) are declared in client/leat_admin.h, which is pasted in when this header is installed.
 *
 * These conventions apply to everything below:
 *   Errors     A function returns 0 (LEAT_OK), a count where its comment says so, or a negative
 *              `enum leat_error`. leat_strerror() gives the text of a code; leat_client_error()
 *              explains the last failure in full. errno is never set. Out-parameters change only
 *              on success. LEAT_BUSY is back-pressure: poll, then retry. LEAT_AGAIN means nothing
 *              is available yet.
 *   Units      The name carries the unit: _ns is nanoseconds, _bytes is bytes. Wall-clock times are
 *              nanoseconds since 1970-01-01 UTC. A timeout of 0 does not wait; LEAT_FOREVER waits
 *              without a limit.
 *   Ownership  A pointer passed in is borrowed for the call, and copied where its target is needed
 *              later, unless the comment says "keeps". The comment on a pointer handed out says how
 *              long it stays valid.
 *   Threads    A client, and everything opened from it, may be used by one thread at a time.
 *              Separate clients are independent. The library starts no threads.
 *   Options    Set `size` to sizeof(struct ...) first. Zero in any other field selects the default,
 *              given in [brackets]. New fields are only appended.
 *   Callbacks  They run inside leat_client_poll(), leat_consumer_poll(), functions that wait and
 *              functions that close. A callback may send records and make requests that do not
 *              wait. It must not poll, wait or close. */
#ifndef LEAT_H
#define LEAT_H

#include <stddef.h>
#include <stdint.h>

/* Both are pasted in when this header is installed. */
#include "schema/codes.h"
#include "schema/error.h"

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

/* Describes an error code. Returns static text, never NULL; "unknown error" for a code that is not
 * in the list. */
LEAT_API const char *leat_strerror(int error);
/* Returns the version of the library in use, "MAJOR.MINOR.PATCH". Static text. */
LEAT_API const char *leat_version(void);

/* ------------------------------------------------------------------ events */

enum leat_event_type {
    /* The control and data connections are up, for the first time or again. */
    LEAT_EVENT_CONNECTED = 1,

    /* A connection was lost or the broker was silent too long; `error` says why. The client
     * reconnects by itself. */
    LEAT_EVENT_DISCONNECTED = 2,

    /* Too many failures in a row. The client connects again `time_ns` from now. */
    LEAT_EVENT_CIRCUIT_OPEN = 3,

    /* Records [first_offset, next_offset) will not be delivered; `reason` says why. */
    LEAT_EVENT_GAP = 4,

    /* The partition has a new log: the topic was deleted and created again, or the broker restarted
     * without its state. Offsets restart at next_offset, and reading continues there. Records of
     * the old log from first_offset on are gone (LEAT_NO_OFFSET: this client does not know how far
     * the old log had been read). Reported before the first record of the new log. */
    LEAT_EVENT_LOG_RESET = 5,

    /* The broker restarted. Acknowledged records of this producer from first_offset up to
     * next_offset existed only in the broker's memory and are lost. */
    LEAT_EVENT_RECORDS_LOST = 6,

    /* The broker no longer knows this producer. The producer continues: unacknowledged records are
     * sent again and may be duplicated. */
    LEAT_EVENT_PRODUCER_EXPIRED = 7,

    /* Another producer took over this producer's name, or writes under its identity. This producer
     * can no longer be used. Also reported while the producer is idle. */
    LEAT_EVENT_PRODUCER_FENCED = 8,

    /* A delivered batch failed its checks: records from first_offset up to next_offset are skipped.
     * If the two are equal, the end of the batch is unknown, and nothing more is delivered until
     * leat_consumer_seek(). */
    LEAT_EVENT_BAD_BATCH = 9,

    /* The topic was deleted; this partition delivers nothing more. Records below first_offset were
     * handed out. next_offset is the end of the log (LEAT_NO_OFFSET: this client does not know it).
     * After the last such event of a consumer without a group, leat_consumer_poll() returns
     * LEAT_ERR_UNKNOWN_TOPIC. A group member continues, after an ASSIGNED, if a topic of this name
     * is created again. */
    LEAT_EVENT_TOPIC_DELETED = 10,

    /* Packets do not get through (`error`, `text`). Data goes over TCP from now on, and continues
     * where it stopped. Only with fallback=tcp. */
    LEAT_EVENT_FALLBACK = 11,

    /* ---- consumers in a group */

    /* The partition now belongs to this member. Records are delivered from first_offset on. */
    LEAT_EVENT_ASSIGNED = 12,

    /* The partition goes to another member once this callback returns; a commit requested inside
     * the callback still counts. No records of the partition are handed out afterwards.
     * first_offset is the committed offset, where the other member continues (LEAT_NO_OFFSET:
     * nothing is committed). next_offset is the position of this consumer. */
    LEAT_EVENT_REVOKED = 13,

    /* This member has lost all its partitions to others, because it was silent too long (time_ns),
     * the broker restarted, or a topic that was missing when the member joined now exists. Reported
     * once, without a REVOKED for each partition. The consumer rejoins by itself. */
    LEAT_EVENT_MEMBER_LOST = 14,

    /* A newer member with the same id took over, or the broker no longer accepts this member
     * (`error`). The consumer can no longer be used: leat_consumer_poll() returns `error`. */
    LEAT_EVENT_MEMBER_FENCED = 15,

    /* The broker refused a commit; `error` says why. first_offset is the offset requested,
     * next_offset the committed one (LEAT_NO_OFFSET: nothing is committed). */
    LEAT_EVENT_COMMIT_REFUSED = 16,

    /* The topic does not exist: it was deleted, or the broker restarted without it (partition -1).
     * Reported when this is found, and once a minute while it lasts; time_ns says for how long it
     * has been missing. The member asks for the topic by itself, at least every backoff_max_ns,
     * and keeps its other topics meanwhile. It gets an ASSIGNED when it has partitions of the topic
     * again. Partitions that the topic did not have before are read from their first record,
     * whatever start_at says. */
    LEAT_EVENT_TOPIC_MISSING = 17,

    /* A quota of the broker delays what `producer` sends or `consumer` receives
     * (LEAT_ERR_THROTTLED); `text` names the quota. Nothing is lost. Reported once, and again if it
     * happens after ten seconds without throttling. */
    LEAT_EVENT_THROTTLED = 18,

    /* The broker did not accept `producer` or `consumer` again after a reconnect, or gives a group
     * member no partitions of a topic; `error` and `text` say why. partition is -1; topic is NULL
     * if the refusal concerns the group.
     *
     * A refusal may be temporary: LEAT_BUSY, LEAT_ERR_THROTTLED, LEAT_ERR_LIMIT,
     * LEAT_ERR_NO_MEMORY, LEAT_ERR_IO, and at first other errors too. The client then asks again by
     * itself, at least every backoff_max_ns, and loses no record that the log keeps. A temporary
     * refusal is reported when it begins, and once a minute while it lasts; time_ns says for how
     * long it has lasted.
     *
     * Any other refusal is permanent: leat_producer_send() and leat_consumer_poll() return `error`
     * from then on. */
    LEAT_EVENT_REFUSED = 19,
};

/* Passed to callbacks by pointer. New fields are only appended. */
struct leat_event {
    int32_t type;      /* leat_event_type */
    int32_t error;     /* leat_error, or 0 */
    int32_t partition; /* -1 if the event does not concern a partition */
    int32_t reason;    /* leat_reason, of a GAP */
    const char *topic; /* NULL if the event does not concern a topic; valid during the callback */
    uint64_t first_offset;
    uint64_t next_offset;
    uint64_t log_epoch;
    uint64_t time_ns;
    const char *text;        /* one sentence for a log; valid during the callback */
    leat_producer *producer; /* the producer concerned, or NULL */
    leat_consumer *consumer; /* the consumer concerned, or NULL */
    /* How many records are lost, for GAP, LOG_RESET and a consumer's TOPIC_DELETED. The two are
     * equal, unless the log ended because the broker was killed or kept no state, or while the
     * client was not connected. Then lost_at_least counts the records that the broker had announced
     * to this client, and lost_at_most the offsets that may have been assigned (LEAT_UNKNOWN if
     * nobody knows). */
    uint64_t lost_at_least;
    uint64_t lost_at_most;
};

/* ------------------------------------------------------------------ client */

/* A port of an application that runs DPDK's EAL itself. The port is configured and started, and
 * nobody else uses its queues. The thread that uses the client polls it. */
struct leat_dpdk_port {
    size_t size;
    void *pool; /* struct rte_mempool for packets to send; the client holds 32 of its buffers */
    uint16_t port;
    uint16_t rx_queue;
    uint16_t tx_queue;
    uint16_t reserved;
};

struct leat_client_options {
    size_t size;
    const char *client_name; /* shown to operators; quotas apply to it; [A-Za-z0-9._-] ["leat"] */
    void (*on_event)(void *user, const struct leat_event *event); /* [none] */
    void *user;
    uint64_t connect_timeout_ns; /* of leat_client_open() [5 s] */
    uint64_t request_timeout_ns; /* of each control request [5 s] */
    uint64_t backoff_min_ns;   /* pause before the first reconnect [10 ms]; doubles, with jitter */
    uint64_t backoff_max_ns;   /* longest pause [2 s] */
    uint32_t circuit_failures; /* failures in a row that open the circuit [10] */
    uint32_t control_only;     /* not 0: for topics and groups only. Opens no port and no data
                                  connection; opening a producer or consumer fails with
                                  LEAT_ERR_UNSUPPORTED [0] */
    uint64_t circuit_open_ns;  /* how long the circuit stays open [10 s] */
    uint32_t socket_buffer_bytes; /* SO_SNDBUF and SO_RCVBUF [the kernel's default] */
    uint32_t reserved1;
    const char *tcp_congestion; /* TCP_CONGESTION of data connections [the kernel's default] */
    const struct leat_dpdk_port *dpdk_port; /* for a dpdk:// URL without a device [none] */
};

/* clang-format off */
/* Connects to a broker and waits for its hello.
 *
 * The host in the URL is the broker's control port, always reached over TCP. Several hosts may be
 * listed, separated by commas. A NULL URL means tcp://127.0.0.1:7420. The scheme selects how data
 * is carried:
 *
 *   tcp://host:port   One TCP connection to each shard.
 *   udp://host:port   Packets over one kernel UDP socket, with Leat's own acknowledgements, loss
 *                     recovery and congestion control.
 *   dpdk://host:port  Packets over a bypass port of this process. Needs libleat-dpdk.
 *
 * Query parameters (values are percent-decoded; an unknown key is an error):
 *
 *   fallback=tcp      udp, dpdk: if the path does not come up, or fails later, the client uses TCP
 *                     for the rest of its life and reports LEAT_EVENT_FALLBACK.
 *   mtu=N             udp: largest UDP payload in bytes [1,472; 8,952 on loopback; as confirmed by
 *                     path MTU probes]. dpdk: largest IP packet in bytes.
 *   device=DEVARGS    dpdk: the DPDK device and its arguments. Omitted with options->dpdk_port.
 *   ip=ADDRESS/BITS   dpdk: the address and prefix length of this process.
 *   gateway=ADDRESS   dpdk: if the network needs one.
 *   vlan=ID           dpdk: if the network needs one.
 *   neighbour=IP/MAC  dpdk: a static neighbour, if the network needs one; may be repeated.
 *   memory_mb=N       dpdk: memory of EAL.
 *   pages=KIND        dpdk: auto, huge or normal pages for EAL.
 *   cores=1           dpdk: only 1 is accepted, the thread that uses the client polls.
 *   inject=FAULTS     dpdk: faults injected on purpose, separated by commas: loss:PPM, rx_loss,
 *                     tx_loss, duplicate, reorder, corrupt, burst:N, seed:N.
 *
 * On success the caller owns *client and must call leat_client_close().
 *
 * Returns 0 or:
 *   LEAT_ERR_INVALID       the URL or an option is invalid
 *   LEAT_ERR_UNSUPPORTED   this build or this broker does not support the scheme
 *   LEAT_ERR_UNREACHABLE, LEAT_ERR_TIMEOUT, LEAT_ERR_VERSION, LEAT_ERR_NO_MEMORY */
/* clang-format on */
LEAT_API int leat_client_open(leat_client **client, const char *url,
                              const struct leat_client_options *options);

/* Performs all I/O that is possible, runs callbacks, and waits up to timeout_ns for something to
 * do. Records borrowed from leat_consumer_poll() stay valid.
 *
 * Returns the number of frames and replies handled, or a negative error that the client cannot
 * recover from by itself. 0 means that the call timed out, that the connection was lost, or that a
 * consumer still holds records for which leat_consumer_poll() had no room.
 *
 * Reconnecting happens inside this function, so keep calling it. The client pings every
 * connection each third of the broker's keepalive_ms [15 s]. A connection that is silent for
 * keepalive_ms is lost (LEAT_EVENT_DISCONNECTED). The broker likewise drops a client that is not
 * polled for keepalive_ms. In both cases the client continues where it was after reconnecting.
 *
 * Before reconnecting, the client resolves the names in the URL and the names that the broker
 * advertises. This blocks as long as the system's resolver takes. Numeric addresses are not
 * resolved.
 *
 * Over dpdk, and with a timeout of 0, the control connection is polled only once a millisecond, so
 * that it does not delay records. */
LEAT_API int leat_client_poll(leat_client *client, uint64_t timeout_ns);

/* Returns a descriptor that is readable whenever leat_client_poll() has something to do, timers
 * included. Use it only with poll() or epoll; the client owns it. LEAT_ERR_NOFD on a link that has
 * to be polled. */
LEAT_API int leat_client_fd(leat_client *client);

/* Explains the last call that failed on this client, or leat_client_open() if `client` is NULL. The
 * text names the object, the value, and what was expected. Valid until the next call of this thread
 * that fails. */
LEAT_API const char *leat_client_error(const leat_client *client);

/* Closes the client at once, with all its producers and consumers. Records without an answer get
 * their delivery callback here, with LEAT_ERR_CLOSED: they may or may not be in the log. NULL is a
 * no-op. */
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
    uint64_t blocked; /* times a stream had data to send but no credit */
    /* udp and dpdk: totals of all sessions so far */
    uint64_t packets_sent;
    uint64_t packets_received;
    uint64_t packets_lost;    /* of those sent */
    uint64_t packets_dropped; /* received, but from another sender, for another session, or noise */
    uint64_t bytes_resent;    /* of batches, because of packet loss */
};
/* Fills the first stats->size bytes of *stats. */
LEAT_API int leat_client_stats(const leat_client *client, struct leat_client_stats *stats);

/* ------------------------------------------------------------------ records */

struct leat_header {
    const char *name; /* not NUL-terminated when received */
    const void *value;
    uint16_t name_size; /* sending: 0 means strlen(name) */
    uint16_t value_size;
    uint32_t reserved;
};

/* One record, sent or received: 128 bytes. Zero the reserved tail. A NULL key or value is "null",
 * which differs from empty. */
struct leat_record {
    const void *key;
    const void *value;
    const struct leat_header *headers; /* sending: array of headers_count */
    const char *topic;                 /* received: valid while the consumer is open */
    uint32_t key_size;
    uint32_t value_size;
    uint32_t headers_count;
    int32_t partition;           /* sending: LEAT_ANY_PARTITION chooses by key; 0 is partition 0 */
    int64_t timestamp_ns;        /* the producer's wall clock; sending: 0 means now */
    uint64_t append_time_ns;     /* received: the broker's wall clock, which may be set back */
    uint64_t offset;             /* received */
    uint64_t log_epoch;          /* received */
    uint64_t cookie;             /* sending: returned in the delivery */
    const void *headers_encoded; /* received: read with leat_record_header() */
    uint32_t headers_encoded_bytes;
    uint32_t reserved0;
    uint64_t reserved[3];
};

/* Gets header `index` of a received record. The pointers in *out are valid as long as the record's.
 * LEAT_ERR_OUT_OF_RANGE if the record has fewer headers. */
LEAT_API int leat_record_header(const struct leat_record *record, uint32_t index,
                                struct leat_header *out);

/* ------------------------------------------------------------------ producer */

struct leat_delivery {
    int32_t status; /* 0: appended. LEAT_ERR_DUPLICATE: appended and answered earlier, the offset is
                       no longer known. Any other error: not accepted */
    int32_t level;  /* leat_level, when appended */
    int32_t partition;
    uint32_t reserved;
    uint64_t offset; /* LEAT_NO_OFFSET if unknown */
    uint64_t log_epoch;
    uint64_t cookie;
    leat_producer *producer;
};

struct leat_producer_options {
    size_t size;
    const char *name; /* a named producer fences older producers of the same name [unnamed] */
    /* Called once for each record [none]. Over udp and dpdk, an answer that was in a lost packet
     * arrives after later answers. */
    void (*on_delivery)(void *user, const struct leat_delivery *delivery);
    void *user;
    uint32_t batch_bytes_max;   /* send a batch at this size, or earlier when the wire is idle
                                   [60 KiB, or one record of the largest size]; at most 1 MiB */
    uint32_t batch_records_max; /* [65,536, or as many as fit in batch_bytes_max]. With 1, over udp
                                   and dpdk, every record is also first sent in a packet of its own
                                 */
    uint32_t in_flight_batches; /* unacknowledged batches per partition [16]; at most 64 */
    uint32_t reserved0;
};

/* Opens a producer for one existing topic. Waits at most request_timeout_ns. All memory is reserved
 * here, so that sending does not allocate.
 *
 * Returns 0 or:
 *   LEAT_ERR_UNKNOWN_TOPIC  the topic does not exist (yet, or any more) and is not created here.
 *                           leat_client_error() names it and says how to create it. A service that
 *                           may start before its topic exists should retry.
 *   LEAT_ERR_INVALID, LEAT_ERR_LIMIT, LEAT_ERR_TIMEOUT, LEAT_ERR_NO_MEMORY */
LEAT_API int leat_producer_open(leat_client *client, leat_producer **producer, const char *topic,
                                const struct leat_producer_options *options);

/* Copies the record into the batch of its partition; leat_client_poll() sends it. A record with a
 * key goes to the partition that Kafka's default partitioner (murmur2) picks; records without a key
 * go round-robin, one batch per partition.
 *
 * Returns 0 or:
 *   LEAT_BUSY              no room; poll, then send again
 *   LEAT_ERR_TOO_LARGE     the record exceeds the topic's record_bytes_max
 *   LEAT_ERR_INVALID       a partition, key, header or timestamp is out of range
 *   LEAT_ERR_FENCED, LEAT_ERR_CLOSED   this producer can no longer be used */
LEAT_API int leat_producer_send(leat_producer *producer, const struct leat_record *record);

/* Sends a record and polls until the broker answers. `delivery` may be NULL. The record's
 * on_delivery callback runs too. Returns the status of the delivery, or LEAT_ERR_TIMEOUT, after
 * which the record is still under way. */
LEAT_API int leat_producer_send_wait(leat_producer *producer, const struct leat_record *record,
                                     struct leat_delivery *delivery, uint64_t timeout_ns);

/* Polls until everything sent so far has been answered, or returns LEAT_ERR_TIMEOUT. */
LEAT_API int leat_producer_flush(leat_producer *producer, uint64_t timeout_ns);

/* Returns the number of records sent and not yet answered. */
LEAT_API uint64_t leat_producer_pending(const leat_producer *producer);

/* Returns the number of partitions of the topic. */
LEAT_API uint32_t leat_producer_partitions(const leat_producer *producer);

/* Closes the producer at once; call leat_producer_flush() first. Records without an answer get
 * LEAT_ERR_CLOSED. NULL is a no-op. */
LEAT_API void leat_producer_close(leat_producer *producer);

/* ------------------------------------------------------------------ consumer */

enum leat_start {
    LEAT_START_LATEST = 0,
    LEAT_START_EARLIEST = 1,
    LEAT_START_OFFSET = 2, /* `start` is an offset */
    LEAT_START_TIME = 3,   /* `start` is an append time, ns since 1970 */
};

/* When a group consumer commits by itself. A record counts as processed when leat_consumer_poll()
 * is called again after the call that handed it out. */
enum leat_commit {
    LEAT_COMMIT_PROCESSED = 0, /* as soon as records are processed */
    LEAT_COMMIT_OFF = 1,       /* never; the application calls leat_consumer_commit() */
    LEAT_COMMIT_INTERVAL = 2,  /* every commit_interval_ns, before a revocation and on close */
};

struct leat_consumer_options {
    size_t size;
    int32_t start_at; /* leat_start [latest] */
    uint32_t partition_count;
    const uint32_t *partitions; /* partition_count partitions, read from every topic [all] */
    uint64_t start;             /* as start_at says */
    uint64_t window_bytes; /* most unconsumed bytes buffered per partition [1 MiB]; at most 1 GiB;
                              raised to the topic's largest batch if less. Over dpdk, windows up to
                              16 MiB are faulted in when the consumer opens */
    const char *name;      /* shown to operators; identifies a required reader [client_name] */
    int32_t required;      /* 1: producers wait for this reader, if the topic's overrun policy is
                              block */
    int32_t skip_crc;      /* 1: rely on the broker's check of each batch */
    const char *group;     /* share the topics' partitions with the other members of this group and
                              continue where the group committed; leave `partitions` empty. start_at
                              (not LEAT_START_OFFSET) and start then apply to partitions without a
                              committed offset [none] */
    const char *member;    /* an identity that outlives the process: the group reserves its
                              partitions for the session timeout. [a random identity, which leaves
                              the group on close] */
    uint64_t session_timeout_ns; /* how long the application may go without polling [10 s]; 100 ms
                                    to one hour */
    uint64_t commit_interval_ns; /* [1 s] */
    int32_t commit;              /* leat_commit [processed] */
    int32_t reserved;
};

/* Subscribes to all partitions of `topics`, or to the listed ones. With a group, subscribes to the
 * partitions that the group assigns to this member, now and later; the member has joined when the
 * function returns, and its events may be reported before that. Waits at most request_timeout_ns.
 *
 * Returns 0 or:
 *   LEAT_ERR_UNKNOWN_TOPIC   a topic does not exist, as for leat_producer_open(). This applies to
 *                            groups too: a member waits for a topic that disappears later, not for
 *                            one that never existed
 *   LEAT_ERR_UNKNOWN_PARTITION
 *   LEAT_ERR_OUT_OF_RANGE    the start offset is above the end of the log
 *   LEAT_ERR_INVALID, LEAT_ERR_TIMEOUT, LEAT_ERR_NO_MEMORY */
LEAT_API int leat_consumer_open(leat_client *client, leat_consumer **consumer,
                                const char *const *topics, size_t topic_count,
                                const struct leat_consumer_options *options);

/* Hands out up to n records that have arrived, and releases those handed out before. Performs no
 * I/O: that is done by leat_client_poll(). Records, and what they point to, are valid until the
 * next call of this function or leat_consumer_close(). Records of one partition are in order; its
 * GAP and LOG_RESET events are reported between the records they separate.
 *
 * Returns the number of records; 0 means none has arrived. Once no record is left, it returns why
 * the consumer can no longer be used, and the application should close it:
 *   LEAT_ERR_UNKNOWN_TOPIC   every topic it read was deleted
 *   LEAT_ERR_FENCED          the group member was fenced
 *   any other error          the broker refused it permanently (LEAT_EVENT_REFUSED,
 *                            LEAT_EVENT_MEMBER_FENCED) */
LEAT_API int leat_consumer_poll(leat_consumer *consumer, struct leat_record *records, size_t n);

/* Continues at an offset, a time, or either end of the log, as start_at (leat_start) and `start`
 * say. Buffered records of the partition are dropped. A loss at the old position that was not
 * reported yet is reported first. Waits at most request_timeout_ns. */
LEAT_API int leat_consumer_seek(leat_consumer *consumer, const char *topic, uint32_t partition,
                                int32_t start_at, uint64_t start);

/* Sets *offset: the next record that leat_consumer_poll() hands out has this offset or a higher
 * one. */
LEAT_API int leat_consumer_position(leat_consumer *consumer, const char *topic, uint32_t partition,
                                    uint64_t *offset);

/* Closes the consumer. A group consumer first commits what is left to commit and leaves the group
 * (a named member stays in it), and waits at most request_timeout_ns for the answers. Records
 * handed out by the last leat_consumer_poll() are not committed unless leat_consumer_commit() was
 * called for them. NULL is a no-op. */
LEAT_API void leat_consumer_close(leat_consumer *consumer);

/* Pauses or resumes one partition. While it is paused, no records are handed out and the broker may
 * not send more; records that have arrived are kept, and the partition stays assigned. A partition
 * that is revoked or lost is no longer paused. LEAT_ERR_UNKNOWN_PARTITION, LEAT_ERR_NOT_ASSIGNED.
 */
LEAT_API int leat_consumer_pause(leat_consumer *consumer, const char *topic, uint32_t partition);
LEAT_API int leat_consumer_resume(leat_consumer *consumer, const char *topic, uint32_t partition);

/* Asks the broker how many records of the log have not been handed out yet, and sets *records.
 * Waits at most request_timeout_ns. LEAT_ERR_UNKNOWN_PARTITION, LEAT_ERR_NOT_ASSIGNED,
 * LEAT_ERR_TIMEOUT. */
LEAT_API int leat_consumer_lag(leat_consumer *consumer, const char *topic, uint32_t partition,
                               uint64_t *records);

/* ---- group consumers only; others get LEAT_ERR_INVALID */

/* Requests a commit: every record of the partition below `offset` was processed. Does not wait;
 * leat_client_poll() sends it, and a newer commit replaces older ones that were not sent. A commit
 * never moves back: a lower offset has no effect. With a NULL topic, commits everything handed out
 * so far, in all partitions. If the broker refuses a commit, LEAT_EVENT_COMMIT_REFUSED is reported.
 * LEAT_ERR_NOT_ASSIGNED: the partition does not belong to this member, or no longer. */
LEAT_API int leat_consumer_commit(leat_consumer *consumer, const char *topic, uint32_t partition,
                                  uint64_t offset);
/* Polls until every commit requested so far has been answered. Returns the worst answer since the
 * last call: 0, LEAT_ERR_OUT_OF_RANGE, LEAT_ERR_LOG_EPOCH or LEAT_ERR_UNKNOWN_MEMBER (the partition
 * was lost first); or LEAT_ERR_TIMEOUT. */
LEAT_API int leat_consumer_commit_wait(leat_consumer *consumer, uint64_t timeout_ns);
/* Sets *offset to the committed offset as last reported by the broker; LEAT_NO_OFFSET if nothing is
 * committed. Does not ask the broker. */
LEAT_API int leat_consumer_committed(leat_consumer *consumer, const char *topic, uint32_t partition,
                                     uint64_t *offset);
/* Calls `visit` for each partition currently assigned to this member. */
LEAT_API int leat_consumer_assignment(leat_consumer *consumer,
                                      void (*visit)(void *user, const char *topic,
                                                    uint32_t partition),
                                      void *user);

#include "client/leat_admin.h" /* pasted in when this header is installed */

#ifdef __cplusplus
}
#endif

#endif

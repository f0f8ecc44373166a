/* What a client consists of: the structs behind the opaque names of leat.h.
 *
 * Role: the data of the library, in one place; each file works on its own part of it.
 * Must not know: how anything is done.
 * Threads: one per client and everything opened from it. */
#ifndef LEAT_CLIENT_STATE_H
#define LEAT_CLIENT_STATE_H

#include <netinet/in.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "client/backoff.h"
#include "client/batch_queue.h"
#include "client/commit_state.h"
#include "client/control_channel.h"
#include "client/leat.h"
#include "client/lost_count.h"
#include "client/member_state.h"
#include "client/options.h"
#include "client/packet_port.h"
#include "client/partition_stream.h"
#include "client/ringmap.h"
#include "client/stream_table.h"
#include "client/topic_wait.h"
#include "client/url.h"
#include "schema/limits.h"
#include "schema/units.h"
#include "transport/link_tcp.h"

enum {
    CLIENT_ERROR_BYTES = 512,
    CLIENT_SMALL_FRAMES_BYTES = 256, /* ATTACH, PING, BLOCKED waiting to be sent */
    SESSION_STAGE_BYTES = 1 << 16,   /* what one receive may read besides a slice */
};

/* The first member of everything that a stream number of a session leads to. */
enum stream_kind { STREAM_PUBLISHER = 1, STREAM_READER };

/* Throttling by a quota of the broker. The application gets one event per episode. */
struct throttling {
    bool began;
    leat_ns last; /* when the broker said so */
};

/* A producer's stream to one partition. */
struct publisher {
    enum stream_kind kind;
    uint32_t partition;
    uint32_t number; /* of the stream */
    bool queued;     /* in its session's list */
    bool held;       /* in the client's list of held publishers, until hold_until */
    struct batch_queue queue;
    struct leat_producer *producer;
    struct client_session *session; /* NULL: no stream open */
    leat_ns hold_until;             /* because the broker asked to wait */
    uint64_t blocked_said;          /* the credit limit of the last BLOCKED sent */
    /* Acknowledged records that exist only in the log `acked_epoch`, in the broker's memory. */
    uint64_t acked_first, acked_next, acked_epoch;
    TAILQ_ENTRY(publisher) ready_node;
    TAILQ_ENTRY(publisher) held_node;
};
TAILQ_HEAD(publisher_list, publisher);

enum reader_state {
    READER_WANTED, /* to be opened */
    READER_OPENING,
    READER_OPEN,
    READER_DEAD, /* its partition is gone, or a seek is needed */
    READER_IDLE, /* of a group: not assigned to this member, or to be checked again */
};

/* A consumer's stream of one partition. */
struct reader {
    enum stream_kind kind;
    uint32_t partition;
    uint32_t number;
    enum reader_state state;
    struct partition_stream stream;
    struct ringmap window;
    struct ringmap outgrown; /* smaller, while records in it are handed out */
    struct subscribed *topic;
    struct client_session *session; /* NULL: no stream open */
    int32_t start_at;               /* leat_start */
    uint64_t start;
    bool resumes;        /* continue at stream.next_offset; otherwise start at start_at, start */
    bool credit_queued;  /* in its session's list */
    bool credit_again;   /* the packet with the last CREDIT was lost */
    bool ready_queued;   /* in its consumer's list */
    bool borrowed_noted; /* in its consumer's list */
    bool gone;           /* TOPIC_DELETED was reported */
    bool paused;         /* by the application: no records are handed out, no credit is given */
    int error;           /* of the last attempt to open it */
    uint64_t topic_id;   /* of the log that the stream has read; 0: none */

    /* ---- of a group */
    bool at_committed; /* opened at the committed offset; start_at, start if there is none */
    bool from_first;   /* created with a topic that came back: starts at its first record if nothing
                          is committed */
    bool had;          /* next_offset is a position that this member had ... */
    uint64_t had_in;   /* ... with the broker of this incarnation */
    bool opening_unknown; /* another member may have read part of what the opening reports */
    bool assigned;        /* the application got ASSIGNED ... */
    bool leaving;         /* ... and REVOKED: no more records are handed out */
    bool commit_own;      /* the newest commit was requested by the application */
    bool processed_due;   /* `processed` is to be committed */
    leat_ns leave_by;     /* how long to wait for the last commit */
    uint64_t processed;   /* records below were processed */
    struct lost_count lost;
    struct commit_state commits;
    TAILQ_ENTRY(reader) credit_node;
    TAILQ_ENTRY(reader) ready_node;
    TAILQ_ENTRY(reader) borrowed_node;
};
TAILQ_HEAD(reader_list, reader);

enum client_session_state {
    SESSION_NONE,
    SESSION_ASKED, /* OpenSession is on its way */
    SESSION_CONNECTING,
    SESSION_ATTACHING,
    SESSION_UP,
};

/* The session with one shard, over TCP or in packets. */
struct client_session {
    struct leat_client *client;
    uint32_t shard;
    enum client_session_state state;
    uint32_t id;
    leat_ns deadline; /* when it must be up */
    leat_ns heard;    /* over TCP: when the last bytes came */
    bool asked;       /* a PING was sent since then */
    uint8_t token[LEAT_TOKEN_BYTES];
    uint8_t reset_token[LEAT_TOKEN_BYTES];
    uint64_t tag_to_broker, tag_to_client; /* of packets */
    bool may_be_partial;                   /* the grant allows partial checksums of packets */
    struct stream_table streams;
    struct publisher_list publishers; /* that have something to send */
    struct reader_list credits;       /* that have a CREDIT or a COMMIT to send */
    struct session_packets *packets;  /* NULL: this session uses TCP, below */
    struct session_packets *packets_memory;

    /* ---- over TCP */
    int fd;              /* -1: none */
    bool watches_output; /* registered with epoll for EPOLLOUT */

    /* Receiving: the slice being received goes straight to its stream. */
    uint32_t slice_left;
    struct reader *slice_reader; /* NULL: the stream is closed; the bytes are dropped */
    uint8_t *slice_at;
    uint32_t staged;
    uint8_t *stage; /* SESSION_STAGE_BYTES */

    /* Sending: small frames, sent first, and the rest of a frame that was sent in part. A PING is
     * answered when there is room; a newer PING replaces an older one. */
    bool pong_due;
    uint64_t pong;
    uint32_t small_size;
    uint8_t small[CLIENT_SMALL_FRAMES_BYTES];
    uint32_t spill_at, spill_size;
    uint8_t *spill; /* LEAT_FRAME_BYTES_MAX */
};

enum client_phase {
    PHASE_WAITING, /* connects at phase_end */
    PHASE_CONNECTING,
    PHASE_GREETING,
    PHASE_READY, /* after the hello; sessions and streams are opened as needed */
};

/* How far a producer, or a topic of a consumer, has been opened. */
enum owner_step {
    OWNER_DESCRIBE,
    OWNER_DESCRIBING,
    OWNER_OPEN, /* open the sessions, then the streams */
    OWNER_OPENING,
    OWNER_READY,
    OWNER_AWAITED, /* of a group: the topic is missing and is described again later */
    OWNER_PUT_OFF, /* refused temporarily: described and opened again after a pause */
    OWNER_OVER,
};

struct topic_shards {
    uint32_t partitions;
    uint8_t *shard; /* of each */
};

struct leat_producer {
    struct leat_client *client;
    TAILQ_ENTRY(leat_producer) node;
    enum owner_step step;
    bool opened; /* was ready once; its memory is reserved */
    int over;    /* the error that ended it; 0 while it is usable */
    char topic[LEAT_NAME_BYTES_MAX + 1];
    char name[LEAT_NAME_BYTES_MAX + 1];
    struct leat_producer_options options;
    struct topic_shards shards;
    uint32_t record_bytes_max;
    uint64_t topic_id;
    uint64_t answers;        /* batches answered so far */
    uint64_t answers_before; /* `answers` at the last check */
    uint64_t incarnation;    /* of the broker that assigned id and epoch; 0: none assigned */
    bool renews;             /* the broker no longer knows the id: ask for a new one */
    uint8_t resume_token[LEAT_RESUME_TOKEN_BYTES]; /* needed to resume with the same id and epoch */
    struct batch_pool pool;
    struct publisher *publishers; /* one per partition */
    struct queued_batch **rings;
    uint8_t *headers; /* buffer for the encoded headers of one record */
    struct throttling throttling;
    struct topic_wait refused; /* while OWNER_PUT_OFF */
    uint64_t *unanswered;      /* first sequence per partition, for a resuming request */
    uint32_t sticky;           /* the partition for records without a key */
};

/* A topic of a consumer. */
struct subscribed {
    struct leat_consumer *consumer;
    enum owner_step step;
    char name[LEAT_NAME_BYTES_MAX + 1];
    struct topic_shards shards;
    struct reader **readers;
    uint32_t reader_count;
    uint32_t
        reader_room; /* that exist; more than reader_count if the topic once had more partitions */
    struct topic_wait wait;     /* while OWNER_AWAITED, and when the topic is then described */
    struct topic_wait refused;  /* while OWNER_PUT_OFF */
    struct topic_wait partless; /* while its group has no room for it; only for events */
};

/* A request of a group member that is not answered yet. */
struct group_request {
    struct leat_consumer *consumer; /* NULL: free */
    struct member_state_asked asked;
};

/* The part of a consumer that belongs to a group. */
struct consumer_group {
    struct member_state membership;
    char name[LEAT_NAME_BYTES_MAX + 1];
    char member_id[LEAT_NAME_BYTES_MAX + 1];
    bool named;                       /* it stays in the group when the consumer is closed */
    bool joined;                      /* was a member once */
    bool left;                        /* LeaveGroup was answered */
    leat_ns commit_at;                /* at LEAT_COMMIT_INTERVAL; NEVER: nothing to commit */
    leat_ns wake_at;                  /* when to stop waiting for a partition being released */
    leat_ns ask_at;                   /* when to ask for a missing topic again */
    char put_off[CLIENT_ERROR_BYTES]; /* why the join was put off, while the consumer is being
                                         opened */
    struct topic_wait refused;        /* while its joins are refused temporarily; only for events */
    int worst; /* worst answer to a commit since the last leat_consumer_commit_wait() */
    struct group_request requests[2 * MEMBER_STATE_UNDER_WAY_MAX];
};

struct leat_consumer {
    struct leat_client *client;
    TAILQ_ENTRY(leat_consumer) node;
    struct leat_consumer_options options;
    char name[LEAT_NAME_BYTES_MAX + 1];
    uint32_t *partitions;         /* listed by the application; NULL: all */
    struct consumer_group *group; /* NULL: not in a group */
    struct subscribed *topics;
    size_t topic_count;
    struct reader_list ready;
    struct throttling throttling;
    struct reader_list borrowed; /* the application holds records of these */
    bool opened;
    int over;
};

struct endpoint {
    bool known;
    char text[LEAT_CONTROL_ADDRESS_BYTES_MAX + 1];
    struct sockaddr_storage address;
};

enum {
    CLIENT_ADDRESSES_MAX = 32,
    RESOLVED_MAX = 8, /* most addresses of an endpoint's name */
};

struct client_address {
    struct sockaddr_storage address;
    uint32_t host; /* index of the URL's host */
};

struct leat_client {
    struct client_options options;
    struct url url;
    enum url_transport transport;                          /* the URL's, or TCP after a fallback */
    struct client_address addresses[CLIENT_ADDRESSES_MAX]; /* of the URL's hosts */
    uint32_t address_count;
    uint32_t address_next;
    uint32_t address_now;
    uint32_t round_left;     /* addresses to try before names are looked up again */
    uint32_t endpoint_turn;  /* index of the endpoint address to try */
    leat_ns hosts_again;     /* when the URL's hosts may be resolved again */
    leat_ns endpoints_again; /* when the endpoints' names may be resolved again */
    struct backoff backoff;
    uint64_t members_named; /* by it, in groups */
    bool opening;           /* inside leat_client_open */
    bool announced;
    bool work;     /* connect_advance() has a step to take */
    bool leftover; /* leat_consumer_poll() left records that were ready */
    bool woken;    /* return to the caller that waits: an answer came without a frame, or the
                      connection is gone */
    unsigned in_callback;

    leat_ns now;
    leat_ns next_deadline;
    leat_ns last_poll; /* when epoll was polled last */
    leat_ns armed;     /* what the timer descriptor is set to; 0: expired, LEAT_NS_NEVER: off */
    unsigned polls;    /* iterations since last_poll */
    int epoll;
    int timer; /* -1 until leat_client_fd() is called */

    enum client_phase phase;
    leat_ns phase_end;
    struct control_channel control;
    uint64_t incarnation;
    uint32_t keepalive_ms; /* the broker's */
    leat_ns heard;         /* when the last bytes came on the control connection */
    bool asked;            /* a Ping was sent since then */
    leat_ns ping_every;
    leat_ns ping_at;
    struct endpoint endpoints[LEAT_SHARDS_MAX];
    struct endpoint packet_endpoints[LEAT_SHARDS_MAX]; /* for packets */
    struct packet_port port;
    struct client_session *sessions[LEAT_SHARDS_MAX];
    uint32_t sessions_end;   /* all entries from here on are NULL */
    uint64_t sessions_up;    /* over TCP; one bit per shard */
    uint64_t sessions_dirty; /* with something to send; one bit per shard */
    struct publisher_list held;
    leat_ns retry_at; /* when to ask again for what was put off; LEAT_NS_NEVER: nothing was */

    int failure; /* leat_error that ended the connection, handled at the end of the step; or 0 */
    bool path_failed; /* the failure is that packets do not get through */
    bool seals; /* a link with partial checksums damaged bytes: checksums now cover all bytes */
    int last_failure;
    char failure_text[CLIENT_ERROR_BYTES];

    TAILQ_HEAD(, leat_producer) producers;
    TAILQ_HEAD(, leat_consumer) consumers;
    struct leat_client_stats stats;
    char error[CLIENT_ERROR_BYTES];
};

#endif

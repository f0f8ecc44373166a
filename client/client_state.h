/* What a client is made of: the structs behind the opaque names of leat.h.
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
    SESSION_STAGE_BYTES = 1 << 16,   /* what one receive can bring beside a slice */
};

/* What stands first in everything a data connection's stream number leads to. */
enum stream_kind { STREAM_PUBLISHER = 1, STREAM_READER };

/* A producer's part in one partition. */
/* Being held by a quota of the broker, as the application is told of it: once an episode. */
struct throttling {
    bool began;
    leat_ns last; /* when the broker said so */
};

struct publisher {
    enum stream_kind kind;
    uint32_t partition;
    uint32_t number; /* of the stream */
    bool queued;     /* in its session's list */
    bool held;       /* in the client's list, until hold_until */
    struct batch_queue queue;
    struct leat_producer *producer;
    struct client_session *session; /* NULL: no stream open */
    leat_ns hold_until;             /* the broker asked to wait */
    uint64_t blocked_said;          /* the credit BLOCKED was last said for */
    /* What was acked and lives in the memory of one life of the log only. */
    uint64_t acked_first, acked_next, acked_epoch;
    TAILQ_ENTRY(publisher) ready_node;
    TAILQ_ENTRY(publisher) held_node;
};
TAILQ_HEAD(publisher_list, publisher);

enum reader_state {
    READER_WANTED, /* to be opened */
    READER_OPENING,
    READER_OPEN,
    READER_DEAD, /* its partition is gone, or seeking is needed */
    READER_IDLE, /* of a group: not this member's, or to be looked at again */
};

/* A consumer's part in one partition. */
struct reader {
    enum stream_kind kind;
    uint32_t partition;
    uint32_t number;
    enum reader_state state;
    struct partition_stream stream;
    struct ringmap window;
    struct ringmap outgrown; /* a smaller one, while the application holds records in it */
    struct subscribed *topic;
    struct client_session *session; /* NULL: no stream open */
    int32_t start_at;               /* leat_start */
    uint64_t start;
    bool resumes;        /* go on from stream.next_offset; else start_at, start */
    bool credit_queued;  /* in its session's list */
    bool credit_again;   /* the packet with the last one was lost */
    bool ready_queued;   /* in its consumer's list */
    bool borrowed_noted; /* in its consumer's list */
    bool gone;           /* that its topic is was told */
    bool paused;         /* by the application: nothing is handed out, no credit given */
    int error;           /* of the last opening */
    uint64_t topic_id;   /* of the log that the stream knows; 0: of none */

    /* ---- of a group */
    bool at_committed;    /* opened where the group stands; start_at, start are the way out */
    bool from_first;      /* made with a topic that came back: the way out is its first record */
    bool had;             /* its place in the stream is one where this member stood ... */
    uint64_t had_in;      /* ... under the broker of this incarnation */
    bool opening_unknown; /* what the opening tells of, another may have read in part */
    bool assigned;        /* the application was told that it has it ... */
    bool leaving;         /* ... and that it goes: nothing more is handed out */
    bool commit_own;      /* the application asked for the newest commit itself */
    bool processed_due;   /* `processed` is to be committed */
    leat_ns leave_by;     /* the last commit is waited for so long */
    uint64_t processed;   /* everything below it was */
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

/* The session with one shard, over a connection of its own or in packets. */
struct client_session {
    struct leat_client *client;
    uint32_t shard;
    enum client_session_state state;
    uint32_t id;
    leat_ns deadline; /* to be up */
    leat_ns heard;    /* over TCP: last */
    bool asked;       /* a PING went since then */
    uint8_t token[LEAT_TOKEN_BYTES];
    uint8_t reset_token[LEAT_TOKEN_BYTES];
    uint64_t tag_to_broker, tag_to_client; /* of packets */
    bool may_be_partial;                   /* their checksum, says the grant */
    struct stream_table streams;
    struct publisher_list publishers; /* with something to send */
    struct reader_list credits;       /* with a CREDIT or a COMMIT to send */
    struct session_packets *packets;  /* NULL: this session goes over TCP; see below */
    struct session_packets *packets_memory;

    /* ---- over TCP */
    int fd;              /* -1: none */
    bool watches_output; /* epoll tells when it is writable */

    /* Receiving: a slice that is under way goes straight to its stream. */
    uint32_t slice_left;
    struct reader *slice_reader; /* NULL: its stream is closed, drop the bytes */
    uint8_t *slice_at;
    uint32_t staged;
    uint8_t *stage; /* SESSION_STAGE_BYTES */

    /* Sending: small frames to go first, and the rest of a frame that was cut. A PING is answered
     * once there is room; a newer one takes its place. */
    bool pong_due;
    uint64_t pong;
    uint32_t small_size;
    uint8_t small[CLIENT_SMALL_FRAMES_BYTES];
    uint32_t spill_at, spill_size;
    uint8_t *spill; /* LEAT_FRAME_BYTES_MAX */
};

enum client_phase {
    PHASE_WAITING, /* until phase_end, then connects */
    PHASE_CONNECTING,
    PHASE_GREETING,
    PHASE_READY, /* the hello is done; sessions and streams are opened as needed */
};

/* Where the producers and consumers stand in being opened. */
enum owner_step {
    OWNER_DESCRIBE,
    OWNER_DESCRIBING,
    OWNER_OPEN, /* sessions first, then the streams */
    OWNER_OPENING,
    OWNER_READY,
    OWNER_AWAITED, /* of a group: its topic is missing, and is described again */
    OWNER_PUT_OFF, /* refused for now: described and opened again after a pause */
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
    bool opened; /* was ready once: memory is reserved */
    int over;    /* why it is over; 0 while it lives */
    char topic[LEAT_NAME_BYTES_MAX + 1];
    char name[LEAT_NAME_BYTES_MAX + 1];
    struct leat_producer_options options;
    struct topic_shards shards;
    uint32_t record_bytes_max;
    uint64_t topic_id;
    uint64_t answers;        /* batches answered so far */
    uint64_t answers_before; /* when it was looked at last */
    uint64_t incarnation;    /* of the broker that gave id and epoch; 0: it has neither */
    bool renews;             /* the broker forgot the id: asks for another */
    uint8_t resume_token[LEAT_RESUME_TOKEN_BYTES]; /* with which it may go on under them */
    struct batch_pool pool;
    struct publisher *publishers; /* one a partition */
    struct queued_batch **rings;
    uint8_t *headers; /* room to encode one record's */
    struct throttling throttling;
    struct topic_wait refused; /* while OWNER_PUT_OFF */
    uint64_t *unanswered;      /* first sequence of each partition, for a request that resumes */
    uint32_t sticky;           /* partition of records without a key */
};

/* A topic of a consumer. */
struct subscribed {
    struct leat_consumer *consumer;
    enum owner_step step;
    char name[LEAT_NAME_BYTES_MAX + 1];
    struct topic_shards shards;
    struct reader **readers;
    uint32_t reader_count;
    uint32_t reader_room;       /* more are there when the topic once had more partitions */
    struct topic_wait wait;     /* while OWNER_AWAITED, and when it is described then */
    struct topic_wait refused;  /* while OWNER_PUT_OFF */
    struct topic_wait partless; /* while its group has no room for it: only for telling */
};

/* A request of a group that is under way. */
struct group_request {
    struct leat_consumer *consumer; /* NULL: free */
    struct member_state_asked asked;
};

/* What a consumer of a group has besides. */
struct consumer_group {
    struct member_state membership;
    char name[LEAT_NAME_BYTES_MAX + 1];
    char member_id[LEAT_NAME_BYTES_MAX + 1];
    bool named;                       /* it stays a member when it closes */
    bool joined;                      /* was in once */
    bool left;                        /* LeaveGroup was answered */
    leat_ns commit_at;                /* at LEAT_COMMIT_INTERVAL; NEVER: nothing to commit */
    leat_ns wake_at;                  /* a partition that leaves has waited long enough */
    leat_ns ask_at;                   /* a missing topic is to be asked for */
    char put_off[CLIENT_ERROR_BYTES]; /* why its join has to wait, while it is opened */
    struct topic_wait refused;        /* its joins are, for now: only for telling */
    int worst;                        /* answer of a commit since leat_consumer_commit_wait */
    struct group_request requests[2 * MEMBER_STATE_UNDER_WAY_MAX];
};

struct leat_consumer {
    struct leat_client *client;
    TAILQ_ENTRY(leat_consumer) node;
    struct leat_consumer_options options;
    char name[LEAT_NAME_BYTES_MAX + 1];
    uint32_t *partitions;         /* the listed ones; NULL: all */
    struct consumer_group *group; /* NULL: of none */
    struct subscribed *topics;
    size_t topic_count;
    struct reader_list ready;
    struct throttling throttling;
    struct reader_list borrowed; /* whose records the application holds */
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
    RESOLVED_MAX = 8, /* addresses of an endpoint's name */
};

struct client_address {
    struct sockaddr_storage address;
    uint32_t host; /* of the URL's */
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
    uint32_t endpoint_turn;  /* which of an endpoint's addresses is tried */
    leat_ns hosts_again;     /* the URL's hosts are not looked up before */
    leat_ns endpoints_again; /* nor the endpoints' */
    struct backoff backoff;
    uint64_t members_named; /* by it, in groups */
    bool opening;           /* inside leat_client_open */
    bool announced;
    bool work;     /* connecting has a step to take */
    bool leftover; /* a consumer left records behind that were ready */
    bool woken;    /* who waits should look: an answer without a frame, or the connection is gone */
    unsigned in_callback;

    leat_ns now;
    leat_ns next_deadline;
    leat_ns last_poll; /* when everything was looked at last */
    leat_ns armed;     /* what the timer descriptor is set to; 0: at once, LEAT_NS_NEVER: off */
    unsigned polls;    /* since then */
    int epoll;
    int timer; /* -1 until leat_client_fd was asked for */

    enum client_phase phase;
    leat_ns phase_end;
    struct control_channel control;
    uint64_t incarnation;
    uint32_t keepalive_ms; /* the broker's */
    leat_ns heard;         /* on the control connection, last */
    bool asked;            /* a Ping went since then */
    leat_ns ping_every;
    leat_ns ping_at;
    struct endpoint endpoints[LEAT_SHARDS_MAX];
    struct endpoint
        packet_endpoints[LEAT_SHARDS_MAX]; /* where they take packets of our transport */
    struct packet_port port;
    struct client_session *sessions[LEAT_SHARDS_MAX];
    uint32_t sessions_end;   /* all from here on are NULL */
    uint64_t sessions_up;    /* over TCP; a bit a shard */
    uint64_t sessions_dirty; /* have something to send */
    struct publisher_list held;
    leat_ns retry_at; /* the first that was put off is to be asked for; NEVER: none was */

    int failure;      /* the connection is over; taken up at the end of the step */
    bool path_failed; /* because packets do not get through */
    bool seals;       /* a link that promised intact bytes damaged some: all bytes are checked */
    int last_failure;
    char failure_text[CLIENT_ERROR_BYTES];

    TAILQ_HEAD(, leat_producer) producers;
    TAILQ_HEAD(, leat_consumer) consumers;
    struct leat_client_stats stats;
    char error[CLIENT_ERROR_BYTES];
};

#endif

/* Shard state: shared by the files shard*.c, and by no others.
 *
 *      shard.c                 open, close, one iteration
 *      shard_loop.c            the thread: clocks, spinning, sleeping
 *      shard_metrics.c         names of the counters
 *      shard_sessions.c        connections: accept, ATTACH; sessions: attach, end, reap
 *      shard_live.c            sessions whose client is silent, or does not take what it is sent
 *      shard_receive_packets.c packets received: session, ATTACH, flow timers, resets
 *      shard_frames.c          frames received
 *      shard_send_tcp.c        delivery over TCP: acks, credits, slices of the log
 *      shard_send_packets.c    delivery in packets, and retransmission
 *      shard_quota.c           streams that a quota holds back
 *      shard_mail.c            messages from and to control
 *      shard_groups.c          messages about consumer groups
 *
 * Threads: the shard's. Any thread may read the counters. */
#ifndef LEAT_BROKER_SHARD_SHARD_STATE_H
#define LEAT_BROKER_SHARD_SHARD_STATE_H

#include <sys/epoll.h>

#include "broker/shard/connection.h"
#include "broker/shard/owned_partition.h"
#include "broker/shard/publish_stream.h"
#include "broker/shard/publisher_index.h"
#include "broker/shard/reset_limit.h"
#include "broker/shard/session.h"
#include "broker/shard/shard.h"
#include "broker/shard/subscription.h"
#include "broker/shard/wallclock.h"
#include "transport/link_tcp.h"
#include "transport/loop_jitter.h"

#define SHARD_EXPIRE_NS (10 * LEAT_NS_PER_S)

enum {
    SHARD_EVENTS_MAX = 256,
    SHARD_BUSY_MAX = 4, /* sessions that are read without polling epoll while the shard spins */
    /* heard_ns is updated at most so many times in a keepalive. */
    SHARD_HEARING_SHARE = 8,
};

TAILQ_HEAD(session_list, session);
TAILQ_HEAD(subscription_list, subscription);
TAILQ_HEAD(publish_stream_list, publish_stream);

/* Why the shard dropped a datagram that a link accepted. */
enum packet_drop {
    PACKET_DROP_MALFORMED,
    PACKET_DROP_VERSION,
    PACKET_DROP_SESSION,   /* unknown, or ended */
    PACKET_DROP_TAG,       /* without the tag of its session */
    PACKET_DROP_CHECKSUM,  /* damaged on the way */
    PACKET_DROP_PEER,      /* not from where its session attached */
    PACKET_DROP_ATTACH,    /* a granted session's first packet without the right ATTACH */
    PACKET_DROP_DUPLICATE, /* received before, or too old to tell */
    PACKET_DROP_NO_ROOM,   /* no room for what it carries; it will be sent again */
    PACKET_DROP_PROTOCOL,  /* ended its session */
    PACKET_DROPS
};

struct shard_link {
    enum source source; /* SOURCE_LINK */
    struct link *link;
    bool ready;           /* epoll reported it, or there was more than one turn takes */
    uint32_t empty_reads; /* in a row */
    unsigned kept;        /* datagrams that the wire had no room for */
};

struct shard_counters {
    metric packets_in, packets_taken; /* in == taken + the sum of drops */
    metric packet_drops[PACKET_DROPS];
    metric packets_sent, packets_acked, packets_lost, packets_spurious, bytes_resent, probes;
    metric bytes_in, bytes_out;
    metric records_in, batches_in, refused, duplicates, busy;
    metric frames_unknown_stream, frames_dropped;
    metric connections_accepted, connections_refused, attach_refused;
    metric sessions_opened, sessions_ended, protocol_errors;
    metric sessions_silent, sessions_stuck;
    metric gaps, blocked, throttled;
    metric commits, commits_refused, revoked;
    metric iterations, iterations_idle;
    metric clock_steps, reclaims;
};

struct shard {
    struct shard_options options;
    struct shard_source {
        enum source source;
        int fd;
    } listener, inbox;
    int epoll;
    bool stopping;
    bool listener_paused;
    /* A descriptor kept free, to accept a connection and refuse it when no others are left; -1: in
     * use. */
    int reserve;
    leat_ns full_until; /* a shortage of connections counts as one, and was logged, until then */
    char address[LINK_TCP_ADDRESS_TEXT];
    leat_ns now;
    uint64_t wall_ns;
    struct wallclock wallclock;

    struct session **sessions;      /* by slot */
    struct session_list output;     /* with something to send */
    struct session_list granted;    /* not attached, oldest first */
    struct session_list attached;   /* in order of heard_ns */
    struct session_list stuck;      /* whose socket is full, in order of stuck_ns */
    leat_ns hearing_ns;             /* accuracy of heard_ns; LEAT_NS_NEVER: not kept */
    leat_ns silence_said;           /* when a silent or stuck session was last logged */
    struct session_list unreported; /* ended: control is told, then they are freed */
    struct session *busy_set[SHARD_BUSY_MAX];
    /* Sessions whose input epoll reports: those over TCP, and over the UDP socket. */
    uint32_t watched;

    struct shard_link links[SHARD_LINKS_MAX];
    uint32_t link_count;
    uint32_t polled_links;
    uint32_t unarmed_links;    /* polled links that cannot be armed */
    bool armed;                /* the polled links are armed, and were polled once more */
    bool owns_udp;             /* links[0] */
    leat_ns last_poll;         /* of epoll, while the busy set was read directly */
    uint32_t turns_since_poll; /* iterations since then */
    leat_ns backoff;           /* the last backoff, while a link has to be polled */
    struct timers timers;      /* flow deadlines of sessions in packets */
    struct loop_jitter loop_jitter;
    leat_ns reclaim_said; /* when a reclaim was last logged */
    char udp_address[LINK_TCP_ADDRESS_TEXT];

    struct connections connections;
    struct owned_partitions owned_partitions;
    struct stream_buffers buffers;
    struct publisher_index publishers;
    struct owned_partition_list fresh;
    struct owned_partition_list noticed; /* with notices for control */
    struct owned_partition_list leaving; /* being removed; control waits for the reply */
    struct subscription_list throttled_subscriptions;
    struct publish_stream_list throttled_publishers;

    leat_ns quota_deadline;  /* retry the throttled streams */
    leat_ns tick_deadline;   /* retention, required readers */
    leat_ns expire_deadline; /* forgotten producers */
    leat_ns count_deadline;  /* add up the flows' counters; it wakes nobody */
    leat_ns resume_accept_deadline;
    uint32_t ticking;           /* owned partitions with `ticks` */
    struct message held_notice; /* a quota holds a client, for control; type 0: none */

    struct message held; /* a message that the outbox had no room for */
    bool holds;

    int event_count;
    struct epoll_event events[SHARD_EVENTS_MAX];
    struct egress_batch batch;
    struct shard_counters counters;
    struct reset_limit resets; /* to unknown senders */
};

/* ---- shard.c */

/* Polls epoll, without waiting. */
void shard_poll_events(struct shard *shard);
/* Handles the pending events and all that follows from them, at shard->now. `read_busy`: also reads
 * the busy set and busy links, without an event. True when there was work. */
bool shard_iterate(struct shard *shard, bool read_busy);
/* The next deadline. */
leat_ns shard_deadline(const struct shard *shard);

/* ---- shard_metrics.c */

void shard_register_counters(const struct shard *shard);
/* Registers the counters of one link, labelled with its index in the shard. */
void shard_register_link(const struct shard *shard, uint32_t index);

/* ---- shard_sessions.c */

/* The listener is readable: accepts what is waiting. */
void shard_accept(struct shard *shard);
void shard_resume_accept(struct shard *shard);
void shard_connection_ready(struct shard *shard, struct connection *connection);
struct session *shard_session(const struct shard *shard, uint32_t id);
/* Ends the session now: closes its streams, and tells the client `status` when that is an error.
 * The struct lives until shard_reap. */
void shard_end_session(struct shard *shard, struct session *s, enum leat_error status);
/* Ends a session whose client violated the protocol as `error` says. Without a transport checksum
 * the fault may be damage on the way: the session ends with BAD_CRC, and the client's next one uses
 * checksums. */
void shard_end_broken(struct shard *shard, struct session *s, enum leat_error error);
void shard_expire_grants(struct shard *shard);
/* Frees what has ended, once control has been told. */
void shard_reap(struct shard *shard);
/* Updates the session's epoll events, if they have changed. */
void shard_set_interest(struct shard *shard, struct session *s);

/* ---- shard_live.c */

/* Moves the session to the end of `attached`. */
void shard_heard_anew(struct shard *shard, struct session *s);
/* Something was received from the client. */
static inline void shard_heard(struct shard *shard, struct session *s)
{
    if (shard->now - s->heard_ns >= shard->hearing_ns)
        shard_heard_anew(shard, s);
}
/* Call when the session's socket becomes full, or is no longer full. */
void shard_set_stuck(struct shard *shard, struct session *s, bool stuck);
/* Ends the sessions that are silent or stuck. */
void shard_expire_sessions(struct shard *shard);
/* When shard_expire_sessions has to be called next. */
leat_ns shard_expire_deadline(const struct shard *shard);

/* ---- shard_receive_packets.c */

/* Receives what the link has. True when there was anything. */
bool shard_receive_link(struct shard *shard, struct shard_link *source);
/* True when the link is worth polling without an event. */
bool shard_link_is_busy(const struct shard_link *source);
void shard_run_flow_timers(struct shard *shard);
/* Adds the session's packet counters to the shard's. */
void shard_count_flow(struct shard *shard, struct session_path *path);
/* Sends a RESET to the session's client. */
void shard_reset_packets(const struct session *s, enum leat_error status);

/* ---- shard_frames.c */

/* Handles one frame. LEAT_BUSY (packets only): no room for it, it counts as never received. Any
 * other error ends the session; LEAT_ERR_CLOSED: the client ended it. */
enum leat_error shard_handle_frame(struct shard *shard, struct session *s,
                                   const struct leat_frame *frame);
/* Tells the client that a publish stream has ended, whatever was or will be sent on it. */
void shard_refuse_stream(struct session *s, uint32_t stream, enum leat_error status);
/* Answers records for an unknown stream. */
void shard_refuse_unknown(struct session *s, uint32_t stream, uint64_t first_sequence,
                          uint32_t count);

/* Answers the COMMIT of `asked`. */
void shard_say_committed(struct session *s, uint32_t number, uint64_t asked, int16_t status);

/* Reads what the kernel has for the session and handles it. True when there was anything. */
bool shard_receive(struct shard *shard, struct session *s);
/* Packets only: handles the batches that were whole when there was no room to answer them. */
void shard_take_waiting(struct shard *shard, struct session *s);
/* Handles the whole frames in the receive buffer, as far as there is room for answers. */
void shard_handle_frames(struct shard *shard, struct session *s);

/* ---- shard_send_tcp.c */

/* The session has something to send: it gets a turn in this iteration. */
void shard_want_output(struct shard *shard, struct session *s);
void shard_set_ready(struct shard *shard, struct subscription *sub);
/* Removes it from the list of its state. */
void shard_unlist(struct shard *shard, struct subscription *sub);
/* Wakes the readers that waited for what was appended. */
void shard_wake_readers(struct shard *shard);
/* One turn for every session with something to send. True when more can be sent at once. */
bool shard_deliver(struct shard *shard);

/* The subscription waits for the next append. */
void shard_set_waiting(struct shard *shard, struct subscription *sub);

/* ---- shard_quota.c */

/* Grants more credit, or lets the stream wait for a quota. */
void shard_renew_credit(struct shard *shard, struct publish_stream *stream);
/* The same for a stream that opens: the reply carries its credit. While a quota is overdrawn it
 * gets none yet. */
void shard_first_credit(struct shard *shard, struct publish_stream *stream);
/* The client has sent BLOCKED. */
void shard_publisher_waits(struct shard *shard, struct publish_stream *stream);
/* The subscription waits for a quota until next->when. */
void shard_set_throttled(struct shard *shard, struct subscription *sub,
                         const struct subscription_next *next);
void shard_retry_throttled(struct shard *shard);

/* ---- shard_send_packets.c */

/* One turn of a session in packets. */
void shard_send_packets(struct shard *shard, struct session *s);
/* Flushes what the links have staged to the wire. */
void shard_flush_links(struct shard *shard);
/* An append waits for log memory that a link still sends from: asks the links to release it. */
void shard_reclaim_links(struct shard *shard, uint64_t topic_id);

/* ---- shard_groups.c */

/* Finds where the reader begins, and what the log holds, for the reply. */
enum leat_error shard_find_start(const struct shard *shard, struct partition *p,
                                 struct message_subscribe *want);
/* The same for a group's reader. Changes nothing. */
enum leat_error shard_find_group_start(const struct shard *shard, struct partition *p,
                                       struct message_subscribe *want);
/* Commits the offset where the group was found to begin, and counts what it has lost. */
void shard_begin_group(const struct shard *shard, const struct message_subscribe *found);
/* Ends the stream that commits to `entry`, if there is one, and tells its client. */
void shard_revoke(struct shard *shard, struct offsets_entry *entry);
/* Handles REVOKE, COMMIT, RESET and MEASURE. `owned` NULL: this shard does not own the
 * partition. */
enum leat_error shard_handle_group_mail(struct shard *shard, const struct owned_partition *owned,
                                        struct message *m);

/* ---- shard_mail.c */

void shard_close_stream(struct shard *shard, struct session *s, uint32_t number);
/* Tells the client the ends of streams that there was no room for, as far as there is room now.
 * Leaves room for one answer. */
void shard_report_ends(struct session *s);

/* Handles messages from control, as far as there is room for replies. True when there were any. */
bool shard_read_mail(struct shard *shard);
/* Sends a message to control. False: no room; the caller keeps it. */
bool shard_tell(struct shard *shard, const struct message *message);
/* Returns removed partitions to control, once no link sends from them. */
void shard_give_back(struct shard *shard);
/* Sends the notices of owned partitions. */
void shard_send_notices(struct shard *shard);
static inline bool shard_has_notices(const struct shard *shard)
{
    return !TAILQ_EMPTY(&shard->noticed) || shard->held_notice.type != 0;
}
/* The partition has a notice for control. */
static inline void shard_notice(struct shard *shard, struct owned_partition *owned)
{
    if (owned->noticed)
        return;
    owned->noticed = true;
    TAILQ_INSERT_TAIL(&shard->noticed, owned, notice_node);
}
/* A required reader of the partition has lost its mark: control is told by
 * MESSAGE_REQUIRED_LOST. */
void shard_tell_lost(struct shard *shard, struct owned_partition *owned, uint64_t name_hash,
                     uint32_t session, enum leat_error why);

#endif

/* Shard state: what the files shard*.c share, and nobody else sees.
 *
 *      shard.c                 open, close, one iteration
 *      shard_loop.c            the thread: clocks, spinning, sleeping
 *      shard_metrics.c         names of the counters
 *      shard_sessions.c        connections: accept, ATTACH, sessions' birth and end
 *      shard_live.c            sessions whose client is silent, or does not take what it is sent
 *      shard_receive_packets.c packets: whose they are, ATTACH, what they say
 *      shard_frames.c          what a session's bytes say
 *      shard_send_tcp.c        what leaves: acks, credits, slices of the log
 *      shard_send_packets.c    the same in packets, and again what was lost
 *      shard_quota.c           who is held by a quota
 *      shard_mail.c            what control says
 *      shard_groups.c          of it, what is about consumer groups
 *
 * Threads: the shard's. Counters are read by anyone. */
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
    SHARD_HEARING_SHARE = 8, /* of a keepalive: a session is moved in the list so often at most */
};

TAILQ_HEAD(session_list, session);
TAILQ_HEAD(subscription_list, subscription);
TAILQ_HEAD(publish_stream_list, publish_stream);

/* Why a datagram that a link accepted was not taken. */
enum packet_drop {
    PACKET_DROP_MALFORMED,
    PACKET_DROP_VERSION,
    PACKET_DROP_SESSION,   /* unknown, or over */
    PACKET_DROP_TAG,       /* without the tag of its session */
    PACKET_DROP_CHECKSUM,  /* damaged on its way */
    PACKET_DROP_PEER,      /* not from where its session attached */
    PACKET_DROP_ATTACH,    /* a granted session's first packet without the right ATTACH */
    PACKET_DROP_DUPLICATE, /* came before, or too late to tell */
    PACKET_DROP_NO_ROOM,   /* comes again */
    PACKET_DROP_PROTOCOL,  /* ended its session */
    PACKET_DROPS
};

struct shard_link {
    enum source source; /* SOURCE_LINK */
    struct link *link;
    bool ready;           /* epoll said so, or there was more than one turn takes */
    uint32_t empty_reads; /* in a row */
    unsigned kept;        /* datagrams the wire had no room for */
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
    int reserve; /* a descriptor for who has to be told that there are no others; -1: in use */
    leat_ns full_until; /* the log has told of it */
    char address[LINK_TCP_ADDRESS_TEXT];
    leat_ns now;
    uint64_t wall_ns;
    struct wallclock wallclock;

    struct session **sessions;      /* by slot */
    struct session_list output;     /* have something to send */
    struct session_list granted;    /* not attached, oldest first */
    struct session_list attached;   /* heard longest ago first */
    struct session_list stuck;      /* whose socket is full, looked at longest ago first */
    leat_ns hearing_ns;             /* heard_ns is as exact as this; LEAT_NS_NEVER: not kept */
    leat_ns silence_said;           /* of a session that ended for this, in the log, last */
    struct session_list unreported; /* ended; control is to hear of it, then they are freed */
    struct session *busy_set[SHARD_BUSY_MAX];
    uint32_t
        watched; /* sessions of whose bytes epoll tells: over connections, and the UDP socket */

    struct shard_link links[SHARD_LINKS_MAX];
    uint32_t link_count;
    uint32_t polled_links;
    uint32_t unarmed_links;    /* of those, cannot be armed */
    bool armed;                /* the polled links are, and were asked again */
    bool owns_udp;             /* links[0] */
    leat_ns last_poll;         /* at epoll, while what is busy was read directly ... */
    uint32_t turns_since_poll; /* ... and how many of those there were since */
    leat_ns backoff;           /* how long it slept last, while a link has to be polled */
    struct timers timers;      /* of sessions that go in packets */
    struct loop_jitter loop_jitter;
    leat_ns reclaim_said; /* in the log, last */
    char udp_address[LINK_TCP_ADDRESS_TEXT];

    struct connections connections;
    struct owned_partitions owned_partitions;
    struct stream_buffers buffers;
    struct publisher_index publishers;
    struct owned_partition_list fresh;
    struct owned_partition_list noticed; /* have something to tell control */
    struct owned_partition_list leaving; /* their removal is to be answered */
    struct subscription_list throttled_subscriptions;
    struct publish_stream_list throttled_publishers;

    leat_ns quota_deadline;  /* look at the throttled again */
    leat_ns tick_deadline;   /* retention, required readers */
    leat_ns expire_deadline; /* forgotten producers */
    leat_ns count_deadline;  /* of what packets became; nothing wakes up for it */
    leat_ns resume_accept_deadline;
    uint32_t ticking;           /* owned partitions with `ticks` */
    struct message held_notice; /* for control: somebody is held by a quota; type 0: nobody */

    struct message held; /* what the outbox had no room for */
    bool holds;

    int event_count;
    struct epoll_event events[SHARD_EVENTS_MAX];
    struct egress_batch batch;
    struct shard_counters counters;
    struct reset_limit resets; /* to strangers */
};

/* ---- shard.c */

/* Asks epoll, without waiting. */
void shard_poll_events(struct shard *shard);
/* Handles the events at hand and everything that follows from them, at shard->now. `read_busy`:
 * asks the busiest sessions and links without being told. True when there was work. */
bool shard_iterate(struct shard *shard, bool read_busy);
/* When something is due even if nothing comes. */
leat_ns shard_deadline(const struct shard *shard);

/* ---- shard_metrics.c */

void shard_register_counters(const struct shard *shard);
/* Every number of one link, labelled with its place in the shard. */
void shard_register_link(const struct shard *shard, uint32_t index);

/* ---- shard_sessions.c */

/* The listener is readable: takes what waits. */
void shard_accept(struct shard *shard);
void shard_resume_accept(struct shard *shard);
void shard_connection_ready(struct shard *shard, struct connection *connection);
struct session *shard_session(const struct shard *shard, uint32_t id);
/* Ends it now: streams are closed, the client is told `status` when it is an error. The struct
 * lives until shard_reap. */
void shard_end_session(struct shard *shard, struct session *s, enum leat_error status);
/* The same, because what came breaks the protocol as `error` says. Without a checksum of its way
 * nobody knows who is wrong: it ends with BAD_CRC, and its client's next one has checksums. */
void shard_end_broken(struct shard *shard, struct session *s, enum leat_error error);
void shard_expire_grants(struct shard *shard);
/* Frees what ended in this iteration, as far as control has been told. */
void shard_reap(struct shard *shard);
/* Registers what the session waits for, if it changed. */
void shard_set_interest(struct shard *shard, struct session *s);

/* ---- shard_live.c */

/* Moves it to the end of the list of those that were heard. */
void shard_heard_anew(struct shard *shard, struct session *s);
/* Something came from its client. */
static inline void shard_heard(struct shard *shard, struct session *s)
{
    if (shard->now - s->heard_ns >= shard->hearing_ns)
        shard_heard_anew(shard, s);
}
/* Its socket is full, or is not any more. */
void shard_set_stuck(struct shard *shard, struct session *s, bool stuck);
/* Ends the sessions that are silent or stuck. */
void shard_expire_sessions(struct shard *shard);
/* When it has to be called next. */
leat_ns shard_expire_deadline(const struct shard *shard);

/* ---- shard_receive_packets.c */

/* Receives what this link has. True when there was anything. */
bool shard_receive_link(struct shard *shard, struct shard_link *source);
/* Worth asking without being told. */
bool shard_link_is_busy(const struct shard_link *source);
void shard_run_flow_timers(struct shard *shard);
/* What happened to this session's packets, added to the shard's counters. */
void shard_count_flow(struct shard *shard, struct session_path *path);
/* Tells a session's client that it is over. */
void shard_reset_packets(struct shard *shard, const struct session *s, enum leat_error status);

/* ---- shard_frames.c */

/* One frame. LEAT_BUSY (packets only): no room for it, as if it had never come; else an error ends
 * the session (LEAT_ERR_CLOSED: it ended itself). */
enum leat_error shard_handle_frame(struct shard *shard, struct session *s,
                                   const struct leat_frame *frame);
/* Says that a publish stream is over, whatever was or will be sent on it. */
void shard_refuse_stream(struct session *s, uint32_t stream, enum leat_error status);
/* Answers records for a stream that is not there. */
void shard_refuse_unknown(struct session *s, uint32_t stream, uint64_t first_sequence,
                          uint32_t count);

/* Answers the COMMIT of `asked`. */
void shard_say_committed(struct session *s, uint32_t number, uint64_t asked, int16_t status);

/* Reads what the kernel has for this session and handles it. True when there was anything. */
bool shard_receive(struct shard *shard, struct session *s);
/* In packets: takes the batches that were whole when there was no room to answer them. */
void shard_take_waiting(struct shard *shard, struct session *s);
/* Handles whole frames in the receive buffer, as far as there is room for answers. */
void shard_handle_frames(struct shard *shard, struct session *s);

/* ---- shard_send_tcp.c */

/* It has something to send: serve it in this iteration. */
void shard_want_output(struct shard *shard, struct session *s);
void shard_set_ready(struct shard *shard, struct subscription *sub);
/* Takes it off whatever list its state put it on. */
void shard_unlist(struct shard *shard, struct subscription *sub);
/* Wakes the readers of what was appended. */
void shard_wake_readers(struct shard *shard);
/* One turn for everyone who has something to send. True when more is left for at once. */
bool shard_deliver(struct shard *shard);

/* Nothing for it before the next append. */
void shard_set_waiting(struct shard *shard, struct subscription *sub);

/* ---- shard_quota.c */

/* More credit, or it waits for a quota. */
void shard_renew_credit(struct shard *shard, struct publish_stream *stream);
/* The same for a stream that opens: the reply says its credit; who comes while a quota is overdrawn
 * gets none yet. */
void shard_first_credit(struct shard *shard, struct publish_stream *stream);
/* Its client has said BLOCKED. */
void shard_publisher_waits(struct shard *shard, struct publish_stream *stream);
/* Nothing for it before next->when. */
void shard_set_throttled(struct shard *shard, struct subscription *sub,
                         const struct subscription_next *next);
void shard_retry_throttled(struct shard *shard);

/* ---- shard_send_packets.c */

/* A turn of a session that goes in packets. */
void shard_send_packets(struct shard *shard, struct session *s);
/* Offers to the wire what was handed to the links. */
void shard_flush_links(struct shard *shard);
/* An append waits for log memory that a link still sends from. */
void shard_reclaim_links(struct shard *shard, uint64_t topic_id);

/* ---- shard_groups.c */

/* Finds where the reader begins and what the log holds, for the reply. */
enum leat_error shard_find_start(const struct shard *shard, struct partition *p,
                                 struct message_subscribe *want);
/* The same for a group's. Nothing is changed. */
enum leat_error shard_find_group_start(const struct shard *shard, struct partition *p,
                                       struct message_subscribe *want);
/* The group stands where it was found to begin, and has lost what was gone. */
void shard_begin_group(const struct shard *shard, const struct message_subscribe *found);
/* Ends the stream that commits to `entry`, if there is one, and tells its client. */
void shard_revoke(struct shard *shard, struct offsets_entry *entry);
/* REVOKE, COMMIT, RESET, MEASURE. `owned`: NULL: this shard does not have it. */
enum leat_error shard_handle_group_mail(struct shard *shard, const struct owned_partition *owned,
                                        struct message *m);

/* ---- shard_mail.c */

void shard_close_stream(struct shard *shard, struct session *s, uint32_t number);

/* Handles what control sent, as far as answers have room. True when there was anything. */
bool shard_read_mail(struct shard *shard);
/* False: no room; the sender keeps it. */
bool shard_tell(struct shard *shard, const struct message *message);
/* Gives logs that were deleted back to control, once no link sends from them. */
void shard_give_back(struct shard *shard);
/* Tells what owned partitions have to tell. */
void shard_send_notices(struct shard *shard);
static inline bool shard_has_notices(const struct shard *shard)
{
    return !TAILQ_EMPTY(&shard->noticed) || shard->held_notice.type != 0;
}
/* The partition has something to tell control. */
static inline void shard_notice(struct shard *shard, struct owned_partition *owned)
{
    if (owned->noticed)
        return;
    owned->noticed = true;
    TAILQ_INSERT_TAIL(&shard->noticed, owned, notice_node);
}
/* A required reader of the partition has lost its mark: control is told, as MESSAGE_REQUIRED_LOST
 * says. */
void shard_tell_lost(struct shard *shard, struct owned_partition *owned, uint64_t name_hash,
                     uint32_t session, enum leat_error why);

#endif

/* Session: one client's relation with one shard: its token, its TCP connection or its path for
 * packets, its streams, its buffers.
 *
 *      GRANTED --ATTACH--> ATTACHED --peer gone, protocol error, closed--> ended
 *         \--------------- not within 10 s ------------------------------/
 *
 * Role: hold these together; find a stream by its number.
 * Must not know: what frames lead to, topics, event loops.
 *
 * Threads: the owning shard. Allocates when a session is granted, when it attaches, and when a
 * stream opens. */
#ifndef LEAT_BROKER_SHARD_SESSION_H
#define LEAT_BROKER_SHARD_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "broker/log/memory_budget.h"
#include "broker/shard/egress.h"
#include "broker/shared/client_quota.h"
#include "broker/shared/mailbox.h"
#include "schema/error.h"
#include "schema/limits.h"
#include "schema/units.h"
#include "transport/flow.h"
#include "transport/link.h"
#include "transport/mtu.h"
#include "transport/timers.h"

enum {
    SESSION_RECEIVE_BYTES = 1 << 18,
    SESSION_STREAMS_MAX = 1 << 15,
    SESSION_AMPLIFICATION = 3,
};
static_assert(SESSION_RECEIVE_BYTES >= 2 * LEAT_FRAME_BYTES_MAX, "a cut frame and a whole one");

/* The most bytes that one session may hold, its streams apart. */
enum { SESSION_BYTES_MAX = SESSION_RECEIVE_BYTES + EGRESS_BYTES + (1 << 15) };

/* What an epoll event points to: every such struct begins with one of these. */
enum source { SOURCE_LISTENER, SOURCE_INBOX, SOURCE_LINK, SOURCE_CONNECTION, SOURCE_SESSION };

struct publish_stream;
struct subscription;

/* What the client has still to be told of a stream that has ended. */
enum stream_end {
    STREAM_REPORTED, /* nothing */
    STREAM_READER_UNREPORTED,
    STREAM_PUBLISHER_UNREPORTED,
};

/* One slot of the stream table. */
struct stream {
    struct publish_stream *publish; /* at most one of the two is set; none: free, if reported */
    struct subscription *subscription;
    uint16_t generation; /* of the stream number */
    uint8_t unreported;  /* enum stream_end */
};

/* The path of a session's packets: link, peer, flow, MTU. */
struct session_path {
    struct session *session;
    struct link *link;
    struct link_peer peer; /* fixed when it attached: packets of others are dropped */
    bool sealed;           /* the packets' checksums cover batches too */
    bool answered;         /* the client has shown that it receives there: see session_may_say */
    bool challenge_due;    /* a PING with the challenge is to be sent */
    uint64_t heard_bytes, said_bytes; /* bytes received and sent until `answered` */
    struct timer timer;               /* the flow's deadline */
    struct mtu mtu;
    struct flow_counters counted; /* what the shard's counters include already */
    struct flow flow;
};

struct session {
    enum source source;
    uint32_t id;
    int fd;                    /* of its TCP connection; -1: none */
    struct session_path *path; /* NULL: not packets. And no fd: granted, not attached */
    uint8_t token[LEAT_TOKEN_BYTES];
    uint8_t reset_token[LEAT_TOKEN_BYTES];
    uint64_t tag_to_broker, tag_to_client; /* tags of its packets */
    uint64_t challenge;                    /* a PONG with this value proves its address */
    leat_ns expires_ns;                    /* when the grant expires */

    struct memory_account memory_account; /* all memory that is held for it */
    uint8_t *memory;                      /* receive buffer, then egress; NULL: not attached */
    uint32_t receive_from, receive_to;
    bool unread; /* whole frames may wait in the receive buffer, whole batches in the windows of
                    streams in packets, or ends in the stream table: no room for answers */
    uint32_t unreported; /* streams whose end the client was not told; 0 unless `unread` */
    struct egress out;

    struct stream *streams;
    uint32_t stream_count; /* slots allocated */
    uint32_t stream_hint;  /* where to search for a free slot */

    struct client_bucket *bucket; /* quota of its client's name; NULL: none */

    TAILQ_HEAD(ready_list, subscription) ready; /* subscriptions with something to send, in turn */
    TAILQ_ENTRY(session) output_node;           /* in the shard's list of sessions to serve */
    TAILQ_ENTRY(session) lifetime_node;         /* granted: by expiry; attached: by heard_ns */
    leat_ns heard_ns;                           /* about when the client was last heard */
    TAILQ_ENTRY(session) stuck_node; /* in the shard's list of sessions whose socket is full */
    leat_ns stuck_ns;                /* when the socket was last checked */
    size_t stuck_bytes;              /* unsent bytes in the kernel then */
    uint8_t stuck_looks;             /* checks in a row without progress */
    bool stuck;                      /* in that list */
    bool in_output;
    bool ending;
    bool say_closed;       /* MESSAGE_SESSION_CLOSED is to be sent when it ends */
    int16_t ending_status; /* leat_error: why it ended, for control; 0: the client left */
    uint32_t interest;     /* EPOLLIN, EPOLLOUT as registered */
    uint32_t empty_reads;  /* in a row */
};

/* grant->memory is referenced while the session exists. Errors: LEAT_ERR_NO_MEMORY. */
enum leat_error session_grant(struct session **out, uint32_t id, const struct message_grant *grant,
                              leat_ns now);
/* The client has attached over `fd`, which is kept until the session ends. Errors:
 * LEAT_ERR_NO_MEMORY. */
enum leat_error session_attach(struct session *s, int fd);
/* The client has attached by a packet from `peer` over `link`, which is kept. MTU discovery tries
 * packets of up to `wanted_bytes`. options->payload_max is set here. Errors: LEAT_ERR_NO_MEMORY. */
enum leat_error session_attach_packets(struct session *s, struct link *link,
                                       const struct link_peer *peer,
                                       const struct flow_options *options, uint32_t wanted_bytes,
                                       leat_ns now);
/* How many bytes may be sent to the client's address now. Any number once a packet from there has
 * shown that what is sent there arrives; before that, three times what has arrived from there (RFC
 * 9000, section 8.1), because a client with a grant could name another's address. */
static inline uint64_t session_may_say(const struct session_path *path)
{
    const uint64_t most = SESSION_AMPLIFICATION * path->heard_bytes;
    if (path->answered)
        return UINT64_MAX;
    return most > path->said_bytes ? most - path->said_bytes : 0;
}
static inline bool session_is_packets(const struct session *s)
{
    return s->path != NULL;
}
/* True when a checksum of the transport covers all bytes that arrive, those of batches included:
 * TCP's, or the packets'. */
static inline bool session_is_covered(const struct session *s)
{
    return s->path == NULL || s->path->sealed;
}
static inline bool session_is_attached(const struct session *s)
{
    return s->fd >= 0 || s->path != NULL;
}
/* Frees the session. Its streams must be closed; the caller closes its descriptor. */
void session_free(struct session *s);

/* True when the token is the one granted. Takes the same time for every wrong one. */
bool session_token_is(const uint8_t expected[LEAT_TOKEN_BYTES],
                      const uint8_t given[LEAT_TOKEN_BYTES]);

/* Finds a free slot. *number is the stream's number on the wire, never 0. The slot stays valid
 * until the next session_stream_new. Errors: LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY. */
enum leat_error session_stream_new(struct session *s, struct stream **out, uint32_t *number);
/* The stream of this number, or NULL. */
struct stream *session_stream(const struct session *s, uint32_t number);
/* Frees the stream's slot. The number will not be reused soon. */
void session_stream_free(struct session *s, uint32_t number);
/* Ends the stream without telling the client, which there is no room for. Until it is told, the
 * number names nothing and the slot is not reused. The session is `unread` from now on. */
void session_stream_leave_unreported(struct session *s, uint32_t number,
                                     enum stream_end unreported);
/* Frees the slot of the next such stream, from slot *index on, and returns what its client has to
 * be told of *number now. *index is kept for the next call. STREAM_REPORTED: there is none. */
enum stream_end session_take_unreported(struct session *s, uint32_t *index, uint32_t *number);

#endif

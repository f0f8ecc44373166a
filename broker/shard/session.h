/* Session: one client's relation with one shard: its token, its connection or its path of packets,
 * its streams, its buffers.
 *
 *      GRANTED --ATTACH--> ATTACHED --peer gone, protocol error, closed--> ended
 *         \--------------- not within 10 s ------------------------------/
 *
 * Role: hold these together; find a stream by its number.
 * Must not know: what frames lead to, topics, event loops.
 *
 * Threads: the owning shard. Allocates when it is granted, attached, and when a stream opens. */
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

/* What one session may hold beside its streams. */
enum { SESSION_BYTES_MAX = SESSION_RECEIVE_BYTES + EGRESS_BYTES + (1 << 15) };

/* What an epoll event points at: every such struct begins with one of these. */
enum source { SOURCE_LISTENER, SOURCE_INBOX, SOURCE_LINK, SOURCE_CONNECTION, SOURCE_SESSION };

struct publish_stream;
struct subscription;

/* One place of the stream table. */
struct stream {
    struct publish_stream *publish; /* one of the two, or both NULL: free */
    struct subscription *subscription;
    uint16_t generation; /* of the stream number */
};

/* How a session's packets go: where to, over which link, and what became of them. */
struct session_path {
    struct session *session;
    struct link *link;
    struct link_peer peer; /* bound when it attached: others are not heard */
    bool sealed;           /* its packets' checksums cover batches too */
    bool answered;         /* its client has received something there: see session_may_say */
    bool challenge_due;    /* it is to be asked */
    uint64_t heard_bytes, said_bytes; /* until then */
    struct timer timer;               /* of the flow */
    struct mtu mtu;
    struct flow_counters counted; /* of them the shard's counters know */
    struct flow flow;
};

struct session {
    enum source source;
    uint32_t id;
    int fd;                    /* of its connection; -1: none */
    struct session_path *path; /* of its packets; NULL: none. Neither: granted, not attached */
    uint8_t token[LEAT_TOKEN_BYTES];
    uint8_t reset_token[LEAT_TOKEN_BYTES];
    uint64_t tag_to_broker, tag_to_client; /* of its packets */
    uint64_t challenge;                    /* a PONG with this answers for its address */
    leat_ns expires_ns;                    /* of the grant */

    struct memory_account memory_account; /* what is held for it */
    uint8_t *memory; /* receive buffer, then egress; NULL before it is attached */
    uint32_t receive_from, receive_to;
    bool unread; /* whole frames may be waiting in the receive buffer, or whole batches in the
                    windows of streams in packets: answers had no room */
    struct egress out;

    struct stream *streams;
    uint32_t stream_count; /* places allocated */
    uint32_t stream_hint;  /* where to look for a free one */

    struct client_bucket *bucket; /* of its client's name; NULL: no quota */

    TAILQ_HEAD(ready_list, subscription) ready; /* have something to send, in turn */
    TAILQ_ENTRY(session) output_node;           /* in the shard's list of sessions to serve */
    TAILQ_ENTRY(session) lifetime_node;         /* granted: by expiry; attached: by heard_ns */
    leat_ns heard_ns;                           /* about when its client was heard last */
    TAILQ_ENTRY(session) stuck_node;            /* in the shard's list of those that are blocked */
    leat_ns stuck_ns;                           /* when it was looked at last */
    size_t stuck_bytes;                         /* what the kernel held then */
    uint8_t stuck_looks;                        /* in a row that saw nothing leave */
    bool stuck;                                 /* in that list */
    bool in_output;
    bool ending;
    bool say_closed;       /* control must hear MESSAGE_SESSION_CLOSED when it ends */
    int16_t ending_status; /* leat_error: why it ended, for control; 0: its client left */
    uint32_t interest;     /* EPOLLIN, EPOLLOUT as registered */
    uint32_t empty_reads;  /* in a row */
};

/* grant->memory: held while the session is there. LEAT_ERR_NO_MEMORY. */
enum leat_error session_grant(struct session **out, uint32_t id, const struct message_grant *grant,
                              leat_ns now);
/* Its client has come, on `fd` (kept). LEAT_ERR_NO_MEMORY. */
enum leat_error session_attach(struct session *s, int fd);
/* The same, by a packet from `peer` over `link` (kept); packets of up to `wanted_bytes` are tried.
 * options->payload_max is set here. LEAT_ERR_NO_MEMORY. */
enum leat_error session_attach_packets(struct session *s, struct link *link,
                                       const struct link_peer *peer,
                                       const struct flow_options *options, uint32_t wanted_bytes,
                                       leat_ns now);
/* How many bytes may be sent to its address now: any number once a packet from there has shown that
 * what we send there arrives, three times what came from there before that (RFC 9000, section 8.1).
 * Whoever has a grant could name another's address. */
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
/* Whether a checksum of its way vouches for all bytes that come, those of batches included: TCP's,
 * or its packets'. */
static inline bool session_is_covered(const struct session *s)
{
    return s->path == NULL || s->path->sealed;
}
static inline bool session_is_attached(const struct session *s)
{
    return s->fd >= 0 || s->path != NULL;
}
/* Frees it. Its streams are closed already; its descriptor is the caller's. */
void session_free(struct session *s);

/* True when the token is the one granted. Takes the same time for every wrong one. */
bool session_token_is(const uint8_t expected[LEAT_TOKEN_BYTES],
                      const uint8_t given[LEAT_TOKEN_BYTES]);

/* A free place: *number is the stream's name on the wire, never 0. LEAT_ERR_LIMIT,
 * LEAT_ERR_NO_MEMORY. The place stays valid until the next session_stream_new. */
enum leat_error session_stream_new(struct session *s, struct stream **out, uint32_t *number);
/* The stream of this number, or NULL. */
struct stream *session_stream(const struct session *s, uint32_t number);
/* Frees its place; the number will not name anything again soon. */
void session_stream_free(struct session *s, uint32_t number);

#endif

/* A session over packets: the client's side of it, on top of transport/flow.h.
 *
 * Role: attaching; passing received frames to streams; packing what streams have into packets;
 * resending what was lost from where it still is; detecting a dead path.
 * Must not know: sockets, devices, topics, the application, when to reconnect.
 * Threads: the client's. Allocates only in session_packets_connect. */
#ifndef LEAT_CLIENT_SESSION_PACKETS_H
#define LEAT_CLIENT_SESSION_PACKETS_H

#include "client/client_state.h"
#include "transport/flow.h"
#include "transport/mtu.h"

enum { SESSION_PACKETS_PONGS_MAX = 8 };

struct session_packets {
    struct flow flow;
    struct mtu mtu;
    struct link_peer peer;
    bool attach_due;
    bool may_be_partial; /* packets stay within this machine, so that checksums may be partial */
    bool sealed;         /* checksums of packets we send cover batches too */
    uint32_t attaches;   /* ATTACHes sent so far */
    bool ping_due;
    uint32_t pong_count;
    uint64_t pongs[SESSION_PACKETS_PONGS_MAX]; /* to be answered, oldest first */
};

/* Starts the session after its grant. */
void session_packets_connect(struct client_session *session);

/* True if the packet, decoded from `bytes`, belongs to this session and is undamaged. Nothing of
 * any other packet may be used. */
bool session_packets_is_genuine(const struct client_session *session,
                                const struct leat_packet *packet, const uint8_t *bytes);
/* Takes a genuine packet of this session. Returns 1 unless it is a duplicate. */
unsigned session_packets_take(struct client_session *session, const struct leat_packet *packet);

/* Queues the answer to a PING. If there are more than fit, the newest are kept: the broker waits
 * for those. */
void session_packets_pong(struct session_packets *packets, uint64_t value);
/* The answer to a PING was lost. */
void session_packets_pong_again(struct session_packets *packets, uint64_t value);

void session_packets_flush(struct client_session *session);
/* Sends a PING; session_packets_timers() checks for the answer. */
void session_packets_ping(struct client_session *session);

/* Handles losses, probes and silence that are due. Returns when to call again. */
leat_ns session_packets_timers(struct client_session *session);
/* Returns when session_packets_timers() is due next. */
leat_ns session_packets_deadline(const struct client_session *session);

/* True if there is something to send in packets. */
bool session_packets_has_content(const struct client_session *session);

/* Adds the session's counters to `stats`. */
void session_packets_count(const struct client_session *session, struct leat_client_stats *stats);

void session_packets_end(struct client_session *session);
void session_packets_free(struct client_session *session);

#endif

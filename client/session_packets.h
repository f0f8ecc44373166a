/* A session in packets: the client's half of it over transport/flow.h.
 *
 * Role: attaching; frames out of packets to their streams; what streams have, into packets; sending
 * again what was lost, from where it still is; telling when the path is dead.
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
    bool may_be_partial; /* packets come and go within this machine: checksums may be partial */
    bool sealed;         /* ours are not: they cover batches too */
    uint32_t attaches;   /* said so far */
    bool ping_due;
    uint32_t pong_count;
    uint64_t pongs[SESSION_PACKETS_PONGS_MAX]; /* to be answered; the newest last */
};

/* The session was granted. */
void session_packets_connect(struct client_session *session);

/* True when the packet, decoded from `bytes`, is of this session and as it was sent. Nothing of
 * another one may be used. */
bool session_packets_is_genuine(const struct client_session *session,
                                const struct leat_packet *packet, const uint8_t *bytes);
/* A genuine packet of this session came. Returns 1 when it was news. */
unsigned session_packets_take(struct client_session *session, const struct leat_packet *packet);

/* A PING of this value is to be answered. Of more than there is room for the newest are: they say
 * what the broker waits for now. */
void session_packets_pong(struct session_packets *packets, uint64_t value);
/* The answer to it was lost. */
void session_packets_pong_again(struct session_packets *packets, uint64_t value);

void session_packets_flush(struct client_session *session);
/* Asks whether the broker is there; session_packets_timers sees to the answer. */
void session_packets_ping(struct client_session *session);

/* Losses, probes, silence; returns when to look again. */
leat_ns session_packets_timers(struct client_session *session);
/* When session_packets_timers has something to do. */
leat_ns session_packets_deadline(const struct client_session *session);

/* True when there is something to put into packets. */
bool session_packets_has_content(const struct client_session *session);

/* The numbers of the session so far, added to `stats`. */
void session_packets_count(const struct client_session *session, struct leat_client_stats *stats);

void session_packets_end(struct client_session *session);
void session_packets_free(struct client_session *session);

#endif

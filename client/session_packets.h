/* A session in packets: the client's half of it over transport/flow.h.
 *
 * Role: attaching; frames out of packets to their streams; what streams have, into packets; sending
 * again what was lost, from where it still is; telling when the path is dead.
 * Must not know: sockets, devices, topics, the application, when to reconnect.
 * Threads: the client's. Allocates only in packet_link_connect. */
#ifndef LEAT_CLIENT_PACKET_LINK_H
#define LEAT_CLIENT_PACKET_LINK_H

#include "client/client_state.h"
#include "transport/flow.h"
#include "transport/mtu.h"

enum { PACKET_LINK_PONGS_MAX = 8 };

struct packet_link {
    struct flow flow;
    struct mtu mtu;
    struct link_peer peer;
    bool attach_due;
    bool may_be_partial; /* packets come and go within this machine: checksums may be partial */
    bool sealed;         /* ours are not: they cover batches too */
    uint32_t attaches;   /* said so far */
    bool ping_due;
    uint32_t pong_count;
    uint64_t pongs[PACKET_LINK_PONGS_MAX]; /* to be answered; the newest last */
};

/* The session was granted. */
void packet_link_connect(struct data_link *link);

/* True when the packet, decoded from `bytes`, is of this session and as it was sent. Nothing of
 * another one may be used. */
bool packet_link_is_genuine(const struct data_link *link, const struct leat_packet *packet,
                            const uint8_t *bytes);
/* A genuine packet of this session came. Returns 1 when it was news. */
unsigned packet_link_take(struct data_link *link, const struct leat_packet *packet);

/* A PING of this value is to be answered. Of more than there is room for the newest are: they say
 * what the broker waits for now. */
void packet_link_pong(struct packet_link *packets, uint64_t value);
/* The answer to it was lost. */
void packet_link_pong_again(struct packet_link *packets, uint64_t value);

void packet_link_flush(struct data_link *link);
/* Asks whether the broker is there; packet_link_timers sees to the answer. */
void packet_link_ping(struct data_link *link);

/* Losses, probes, silence; returns when to look again. */
leat_ns packet_link_timers(struct data_link *link);
/* When packet_link_timers has something to do. */
leat_ns packet_link_deadline(const struct data_link *link);

/* True when there is something to put into packets. */
bool packet_link_has_content(const struct data_link *link);

/* The numbers of the session so far, added to `stats`. */
void packet_link_count(const struct data_link *link, struct leat_client_stats *stats);

void packet_link_end(struct data_link *link);
void packet_link_free(struct data_link *link);

#endif

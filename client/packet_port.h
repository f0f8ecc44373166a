/* The client's own end of the wire for packets: one link, shared by its sessions.
 *
 * Role: opening it (a UDP socket, a lane of a bypass port, what a test supplies), bursts in to the
 * sessions they are for, what sessions staged out.
 * Must not know: frames, streams.
 * Threads: the client's. Nothing is allocated after it opened. */
#ifndef LEAT_CLIENT_PACKET_PORT_H
#define LEAT_CLIENT_PACKET_PORT_H

#include <stdbool.h>

#include "client/leat.h"
#include "schema/units.h"
#include "transport/link.h"
#include "transport/link_dpdk.h"
#include "transport/loop_jitter.h"

struct packet_port {
    struct link *link; /* NULL: data goes over TCP */
    bool staged;       /* the link has something to flush */
    bool more;         /* it held more than one call takes: nothing else would tell */
    bool arms;         /* is polled, but can be armed to wake who waits */
    struct loop_jitter gap;
    const struct link_dpdk_driver *driver; /* of a bypass port; NULL: another kind of link */
    struct link_dpdk_port *dpdk;
};

/* Opens it for the client's transport, when the broker's addresses are known. A failure has been
 * told to the client. */
enum leat_error packet_port_open(struct leat_client *client);
void packet_port_close(struct leat_client *client);

/* True when it must be asked again and again. */
static inline bool packet_port_polled(const struct packet_port *port)
{
    return port->link != NULL && port->link->limits.polled;
}

/* Bursts that are there, each answered before the next; returns how many packets were taken. */
unsigned packet_port_receive(struct leat_client *client);
/* Offers what was staged to the wire. */
void packet_port_flush(struct leat_client *client);
/* What the link wants to be done by now; returns when it wants it next. */
leat_ns packet_port_timers(struct leat_client *client);

/* ---- packet_port_dpdk.c */
enum leat_error packet_port_open_dpdk(struct leat_client *client, char *why, size_t why_bytes);
void packet_port_close_dpdk(struct packet_port *port);

#endif

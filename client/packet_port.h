/* The client's port for packets: one link, shared by its sessions.
 *
 * Role: opening the link (a UDP socket, a lane of a bypass port, or one supplied by a test);
 * passing received packets to their sessions; flushing what sessions staged.
 * Must not know: frames, streams.
 * Threads: the client's. Does not allocate once open. */
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
    bool staged;       /* the link has packets to flush */
    bool
        more; /* the link may hold more packets than one call receives; nothing else reports that */
    bool arms; /* polled, but can be armed to wake a waiting caller */
    struct loop_jitter gap;
    const struct link_dpdk_driver *driver; /* of a bypass port; NULL: the link is of another kind */
    struct link_dpdk_port *dpdk;
};

/* Opens the port for the client's transport, once the broker's addresses are known. Reports a
 * failure to the client. */
enum leat_error packet_port_open(struct leat_client *client);
void packet_port_close(struct leat_client *client);

/* True if the port has to be polled. */
static inline bool packet_port_polled(const struct packet_port *port)
{
    return port->link != NULL && port->link->limits.polled;
}

/* Receives packets in bursts and acknowledges each burst before the next. Returns the number of
 * packets. */
unsigned packet_port_receive(struct leat_client *client);
/* Sends staged packets. */
void packet_port_flush(struct leat_client *client);
/* Runs timers of the link that are due. Returns when the next one is. */
leat_ns packet_port_timers(struct leat_client *client);

/* ---- packet_port_dpdk.c */
enum leat_error packet_port_open_dpdk(struct leat_client *client, char *why, size_t why_bytes);
void packet_port_close_dpdk(struct packet_port *port);

#endif

/* A session over a TCP connection of its own: frames back to back, both ways.
 *
 * Role: connecting and attaching; cutting frames out of what arrives, slices straight into their
 * streams' windows; sending what streams have, batches from their own memory.
 * Must not know: topics, the application, when to reconnect.
 * Threads: the client's. Allocates only in tcp_link_connect. */
#ifndef LEAT_CLIENT_TCP_LINK_H
#define LEAT_CLIENT_TCP_LINK_H

#include "client/client_state.h"

/* The session was granted. */
void tcp_link_connect(struct data_link *link);
/* The descriptor is writable: it is connected, or has room again. */
void tcp_link_writable(struct data_link *link);
/* Receives and handles what is there; returns how many frames. */
unsigned tcp_link_receive(struct data_link *link);
void tcp_link_flush(struct data_link *link);
/* Asks whether the broker is there: sets link->asked, which what comes clears. */
void tcp_link_ping(struct data_link *link);
void tcp_link_end(struct data_link *link);

#endif

/* A session over a TCP connection of its own: frames back to back, both ways.
 *
 * Role: connecting and attaching; cutting frames out of what arrives, slices straight into their
 * streams' windows; sending what streams have, batches from their own memory.
 * Must not know: topics, the application, when to reconnect.
 * Threads: the client's. Allocates only in session_tcp_connect. */
#ifndef LEAT_CLIENT_SESSION_TCP_H
#define LEAT_CLIENT_SESSION_TCP_H

#include "client/client_state.h"

/* The session was granted. */
void session_tcp_connect(struct client_session *session);
/* The descriptor is writable: it is connected, or has room again. */
void session_tcp_writable(struct client_session *session);
/* Receives and handles what is there; returns how many frames. */
unsigned session_tcp_receive(struct client_session *session);
void session_tcp_flush(struct client_session *session);
/* Asks whether the broker is there: sets session->asked, which what comes clears. */
void session_tcp_ping(struct client_session *session);
void session_tcp_end(struct client_session *session);

#endif

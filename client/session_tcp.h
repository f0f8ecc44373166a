/* A session over its own TCP connection: frames back to back in both directions.
 *
 * Role: connecting and attaching; cutting frames out of the byte stream, with slices read straight
 * into their streams' windows; sending what streams have, with batches written from their own
 * memory.
 * Must not know: topics, the application, when to reconnect.
 * Threads: the client's. Allocates only in session_tcp_connect. */
#ifndef LEAT_CLIENT_SESSION_TCP_H
#define LEAT_CLIENT_SESSION_TCP_H

#include "client/client_state.h"

/* Starts the session after its grant. */
void session_tcp_connect(struct client_session *session);
/* The descriptor is writable: it is connected, or can send again. */
void session_tcp_writable(struct client_session *session);
/* Receives and handles what has arrived. Returns the number of frames. */
unsigned session_tcp_receive(struct client_session *session);
void session_tcp_flush(struct client_session *session);
/* Sends a PING and sets session->asked, which received bytes clear. */
void session_tcp_ping(struct client_session *session);
void session_tcp_end(struct client_session *session);

#endif

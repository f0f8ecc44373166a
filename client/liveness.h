/* Whether the broker is still there, on every connection: asked for at a third of the keepalive,
 * all connections in one wake-up.
 *
 * Role: PING on control and on data, what was heard, and failing the client when that was nothing
 * for a keepalive; the broker's notice that a session has ended.
 * Must not know: what else the connections carry, when to reconnect.
 * Threads: the client's. */
#ifndef LEAT_CLIENT_LIVENESS_H
#define LEAT_CLIENT_LIVENESS_H

#include "client/client_state.h"

/* The broker has said Hello, and how long it bears silence. */
void liveness_begin(struct leat_client *client, uint32_t keepalive_ms);

/* Asks, and looks for what did not answer, when it is time; returns when it is next. */
leat_ns liveness_timers(struct leat_client *client);

/* A control_notice. `context` is the client. */
void liveness_notice(void *context, const Leat__Control__Response *notice);

#endif

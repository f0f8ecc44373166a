/* Liveness of the broker on every connection: pings three times per keepalive, all connections in
 * one wake-up.
 *
 * Role: PING on control and data connections; failing the client if a connection was silent for a
 * keepalive; the broker's notice that a session has ended.
 * Must not know: what else the connections carry, when to reconnect.
 * Threads: the client's. */
#ifndef LEAT_CLIENT_LIVENESS_H
#define LEAT_CLIENT_LIVENESS_H

#include "client/client_state.h"

/* The broker answered Hello with its keepalive_ms. */
void liveness_begin(struct leat_client *client, uint32_t keepalive_ms);

/* Sends pings and checks for silence when due. Returns when that is due next. */
leat_ns liveness_timers(struct leat_client *client);

/* A control_notice; `context` is the client. */
void liveness_notice(void *context, const Leat__Control__Response *notice);

#endif

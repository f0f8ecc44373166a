/* From nothing to everything open: connect, hello, sessions, producers, subscriptions; and the
 * same again after every loss of a connection.
 *
 * Role: the phases of the control connection, when to try again, what producers and consumers
 * share in being opened.
 * Must not know: records, frames.
 * Threads: the client's. */
#ifndef LEAT_CLIENT_CONNECT_H
#define LEAT_CLIENT_CONNECT_H

#include "client/client_state.h"

/* Resolves the URL's hosts (may block) and is about to connect. LEAT_ERR_UNREACHABLE, with its
 * story. */
int connect_start(struct leat_client *client);

/* The control connection became writable. */
void connect_writable(struct leat_client *client);
/* It has something to read; returns how many replies were handled. */
unsigned connect_receive(struct leat_client *client);

/* Takes every step that can be taken now. */
void connect_advance(struct leat_client *client);

/* Deadlines of the phases, the sessions and the pings; returns the next one. */
leat_ns connect_timers(struct leat_client *client);
/* Asks again for what was put off and is due; sets client->retry_at. */
void connect_retry(struct leat_client *client);

/* After client->failure: everything down, and a pause before the next attempt. */
void connect_down(struct leat_client *client);

/* Asks with the client's request timeout. A failure other than LEAT_BUSY fails the client. */
enum leat_error connect_ask(struct leat_client *client, Leat__Control__Request *request,
                            control_answer *answer, void *context);

/* Asks where the topic's partitions are. */
enum leat_error connect_describe(struct leat_client *client, char *topic, control_answer *answer,
                                 void *context);
/* Keeps the answer. LEAT_ERR_NO_MEMORY; LEAT_ERR_PROTOCOL. */
enum leat_error topic_shards_take(struct topic_shards *shards,
                                  const Leat__Control__Response *response);
void topic_shards_free(struct topic_shards *shards);

/* True when the session with every shard in `wanted` (a bit each) is up; asks for those that are
 * not. */
bool connect_sessions(struct leat_client *client, uint64_t wanted);

/* Tells the broker that streams are closed; nobody waits for the answer. */
struct stream_name {
    uint32_t session;
    uint32_t number;
};
void connect_close_streams(struct leat_client *client, const struct stream_name *streams,
                           size_t count);

/* Why not everything is up, as far as is known: what the last attempt met; "" when everything is.
 */
static inline const char *connect_trouble(const struct leat_client *client)
{
    return client->announced ? "" : client->failure_text;
}

/* Waits until requests can be asked, at most until `deadline`.
 * LEAT_ERR_TIMEOUT, LEAT_ERR_CIRCUIT_OPEN, with their story. */
int connect_wait_ready(struct leat_client *client, leat_ns deadline);

#endif

/* Connecting and reconnecting: control connection, hello, sessions, producers, subscriptions.
 *
 * Role: the phases of the control connection, when to retry, what producers and consumers have in
 * common while they are opened.
 * Must not know: records, frames.
 * Threads: the client's. */
#ifndef LEAT_CLIENT_CONNECT_H
#define LEAT_CLIENT_CONNECT_H

#include "client/client_state.h"

/* Resolves the URL's hosts, which may block, and schedules the first attempt to connect.
 * LEAT_ERR_UNREACHABLE, with the error text. */
int connect_start(struct leat_client *client);

/* The control connection became writable. */
void connect_writable(struct leat_client *client);
/* The control connection became readable. Returns how many replies were handled. */
unsigned connect_receive(struct leat_client *client);

/* Takes every step that can be taken now. */
void connect_advance(struct leat_client *client);

/* Handles deadlines of phases, sessions and pings that have passed. Returns the next one. */
leat_ns connect_timers(struct leat_client *client);
/* Asks again for what was put off until now; sets client->retry_at to the next such time. */
void connect_retry(struct leat_client *client);

/* Handles client->failure: closes everything and schedules the next attempt after a pause. */
void connect_down(struct leat_client *client);

/* Sends a request with the client's request timeout. A failure other than LEAT_BUSY fails the
 * client. */
enum leat_error connect_ask(struct leat_client *client, Leat__Control__Request *request,
                            control_answer *answer, void *context);

/* Asks which shards own the topic's partitions. */
enum leat_error connect_describe(struct leat_client *client, char *topic, control_answer *answer,
                                 void *context);
/* Stores the answer in *shards. LEAT_ERR_NO_MEMORY, LEAT_ERR_PROTOCOL. */
enum leat_error topic_shards_take(struct topic_shards *shards,
                                  const Leat__Control__Response *response);
void topic_shards_free(struct topic_shards *shards);

/* True if the session with every shard in `wanted` (one bit per shard) is up. Requests those that
 * are not. */
bool connect_sessions(struct leat_client *client, uint64_t wanted);

/* Tells the broker that streams are closed. Does not wait for the answer. */
struct stream_name {
    uint32_t session;
    uint32_t number;
};
void connect_close_streams(struct leat_client *client, const struct stream_name *streams,
                           size_t count);

/* Why the client is not fully connected: the text of the last failure; "" if it is connected. */
static inline const char *connect_trouble(const struct leat_client *client)
{
    return client->announced ? "" : client->failure_text;
}

/* Waits until requests can be sent, at most until `deadline`. LEAT_ERR_TIMEOUT,
 * LEAT_ERR_CIRCUIT_OPEN, with the error text. */
int connect_wait_ready(struct leat_client *client, leat_ns deadline);

#endif

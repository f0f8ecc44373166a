/* Liveness of the broker on every connection: pings three times per keepalive, all in one
 * wake-up. */
#include "client/liveness.h"

#include <inttypes.h>

#include "client/client_core.h"
#include "client/connect.h"
#include "client/producer.h"
#include "client/session_packets.h"
#include "client/session_tcp.h"

enum { PINGS_IN_KEEPALIVE = 3, KEEPALIVE_MS_MIN = 30 };

void liveness_begin(struct leat_client *client, uint32_t keepalive_ms)
{
    client->keepalive_ms = keepalive_ms < KEEPALIVE_MS_MIN ? KEEPALIVE_MS_MIN : keepalive_ms;
    client->ping_every = client->keepalive_ms * LEAT_NS_PER_MS / PINGS_IN_KEEPALIVE;
    client->ping_at = client->now + client->ping_every;
    client->heard = client->now;
    client->asked = false;
    client_timer_at(client, client->ping_at);
    link_tcp_user_timeout(client->control.fd, client->keepalive_ms);
}

static bool is_silent(const struct leat_client *client, leat_ns heard)
{
    return client->now - heard >= client->keepalive_ms * LEAT_NS_PER_MS;
}

/* ---- control */

static void on_pong(void *context, int error, const char *text,
                    const Leat__Control__Response *response)
{
    (void)response;
    if (error == LEAT_ERR_TIMEOUT)
        client_fail(context, error, "ping: %s", text);
}

static void ask_control(struct leat_client *client)
{
    /* The application may not have polled for a while: read what has arrived before judging. */
    if (client->asked && is_silent(client, client->heard) && connect_receive(client) > 0)
        client->woken = true;
    if (client->failure != 0)
        return;
    if (client->asked && is_silent(client, client->heard)) {
        client_fail(client, LEAT_ERR_UNREACHABLE,
                    "the control connection was silent for %" PRIu32 " ms", client->keepalive_ms);
        return;
    }
    Leat__Control__Ping body = LEAT__CONTROL__PING__INIT;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_PING;
    request.ping = &body;
    connect_ask(client, &request, on_pong, client);
    client->asked = true;
    client->work = true;
}

/* ---- data */

static void ask_shard(struct leat_client *client, struct client_session *session)
{
    if (session->asked && is_silent(client, session->heard) && session_tcp_receive(session) > 0)
        client->woken = true;
    if (client->failure != 0)
        return;
    if (session->asked && is_silent(client, session->heard))
        client_fail(client, LEAT_ERR_UNREACHABLE,
                    "shard %" PRIu32 " at %s was silent for %" PRIu32 " ms", session->shard,
                    client->endpoints[session->shard].text, client->keepalive_ms);
    else
        session_tcp_ping(session);
}

static void ask_shards(struct leat_client *client)
{
    for (uint32_t i = 0; i < client->sessions_end && client->failure == 0; i++) {
        struct client_session *session = client->sessions[i];
        if (session == NULL || session->state != SESSION_UP)
            continue;
        if (session->packets != NULL)
            session_packets_ping(session);
        else
            ask_shard(client, session);
    }
}

leat_ns liveness_timers(struct leat_client *client)
{
    if (client->ping_at > client->now)
        return client->ping_at;
    client->ping_at = client->now + client->ping_every;
    ask_control(client);
    ask_shards(client);
    struct leat_producer *producer;
    TAILQ_FOREACH(producer, &client->producers, node)
    producer_doubt(producer);
    return client->ping_at;
}

/* ---- what the broker says by itself */

void liveness_notice(void *context, const Leat__Control__Response *notice)
{
    struct leat_client *client = context;
    if (notice->body_case != LEAT__CONTROL__RESPONSE__BODY_SESSION_ENDED)
        return; /* a notice of a newer broker */
    const Leat__Control__SessionEnded *ended = notice->session_ended;
    for (uint32_t i = 0; i < client->sessions_end; i++) {
        const struct client_session *session = client->sessions[i];
        if (session == NULL || session->state <= SESSION_ASKED || session->id != ended->session)
            continue;
        client->seals |= ended->error == LEAT_ERR_BAD_CRC;
        client_fail(client, ended->error, "shard %" PRIu32 " ended the session: %s", i,
                    ended->text);
    }
}

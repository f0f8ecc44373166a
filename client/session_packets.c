/* A session over packets: attaching, timers, the end. */
#include "client/session_packets.h"

#include <stdlib.h>

#include "client/client_core.h"
#include "client/resolve.h"
#include "schema/packet.h"
#include "transport/link_udp.h"

enum {
    /* As much as one or two bursts plus the link's queue hold, on either kind of link. */
    RECEIVE_WINDOW = 512,
};
/* A broker answers within one round trip; two seconds mean several losses in a row. */
#define ATTACH_TIMEOUT_NS (2 * LEAT_NS_PER_S)
/* A PING per second is cheap. On a shared core a healthy broker may not run for hundreds of
 * milliseconds, so that only three seconds of silence, over three probes, prove anything. */
#define KEEPALIVE_NS (LEAT_NS_PER_S)
#define DEAD_NS (3 * LEAT_NS_PER_S)

#define RTT_INITIAL_BYPASS_NS (LEAT_NS_PER_MS)
#define RTT_INITIAL_KERNEL_NS (10 * LEAT_NS_PER_MS)

void session_packets_connect(struct client_session *session)
{
    struct leat_client *client = session->client;
    const struct endpoint *endpoint = &client->packet_endpoints[session->shard];
    const struct link_limits *limits = &client->port.link->limits;
    if (session->packets_memory == NULL)
        session->packets_memory = calloc(1, sizeof *session->packets_memory);
    struct session_packets *packets = session->packets_memory;
    if (packets == NULL) {
        client_fail(client, LEAT_ERR_NO_MEMORY, "session with shard %u: no memory", session->shard);
        return;
    }
    if (!endpoint->known || !link_udp_peer(&endpoint->address, &packets->peer)) {
        resolve_endpoint_failed(client);
        client_fail_path(client, LEAT_ERR_UNSUPPORTED,
                         "shard %u takes no packets of this transport; use tcp:// or fallback=tcp",
                         session->shard);
        return;
    }
    const uint32_t asked = client->transport == URL_UDP ? client->url.mtu : 0;
    mtu_init(&packets->mtu, mtu_wanted(limits, &packets->peer, asked), client->now);
    const struct flow_options options = {
        .session = session->id,
        .tag = session->tag_to_broker,
        .payload_max = packets->mtu.bytes,
        .ack_delay_ns = leat_ack_delay_ns(limits->bypass),
        .peer_ack_delay_ns = leat_ack_delay_ns(limits->bypass),
        .probe_floor_ns = loop_jitter_probe_floor(&client->port.gap, limits->bypass),
        .rtt_initial_ns = limits->bypass ? RTT_INITIAL_BYPASS_NS : RTT_INITIAL_KERNEL_NS,
        .receive_window = RECEIVE_WINDOW,
    };
    flow_init(&packets->flow, &options, client->now);
    packets->attach_due = true;
    packets->may_be_partial = session->may_be_partial && limits->intact && !client->seals;
    packets->attaches = 0;
    packets->ping_due = false;
    packets->pong_count = 0;
    session->packets = packets;
    session->state = SESSION_ATTACHING;
    session->deadline = client->now + ATTACH_TIMEOUT_NS;
    client_timer_at(client, session->deadline);
    client_dirty(client, session);
}

bool session_packets_has_content(const struct client_session *session)
{
    struct session_packets *packets = session->packets;
    if (packets->attach_due || flow_lost(&packets->flow) != NULL)
        return true;
    return session->state == SESSION_UP
           && (packets->ping_due || packets->pong_count > 0 || !TAILQ_EMPTY(&session->credits)
               || !TAILQ_EMPTY(&session->publishers));
}

/* ---- time */

static leat_ns keepalive_at(const struct client_session *session)
{
    if (session->state != SESSION_UP || session->streams.count == 0
        || session->packets->flow.sent.outstanding > 0)
        return LEAT_NS_NEVER; /* outstanding packets serve as probes already */
    return session->packets->flow.last_heard + KEEPALIVE_NS;
}

static leat_ns sooner(leat_ns a, leat_ns b)
{
    return a < b ? a : b;
}

void session_packets_ping(struct client_session *session)
{
    session->packets->ping_due = true;
    client_dirty(session->client, session);
}

leat_ns session_packets_deadline(const struct client_session *session)
{
    const struct session_packets *packets = session->packets;
    leat_ns next = flow_deadline(&packets->flow);
    if (packets->mtu.due_at < next && session->state == SESSION_UP && flow_may_try(&packets->flow))
        next = packets->mtu.due_at;
    return sooner(next, keepalive_at(session));
}

leat_ns session_packets_timers(struct client_session *session)
{
    struct leat_client *client = session->client;
    struct session_packets *packets = session->packets;
    const leat_ns now = client->now;
    if (session_packets_deadline(session) > now)
        return session_packets_deadline(session);
    if (flow_deadline(&packets->flow) <= now)
        flow_timeout(&packets->flow, now);
    if (flow_dead(&packets->flow, DEAD_NS, now)) {
        client_fail_path(client, LEAT_ERR_UNREACHABLE, "shard %u at %s was silent", session->shard,
                         client->packet_endpoints[session->shard].text);
        return LEAT_NS_NEVER;
    }
    if (packets->flow.probes_due > 0 && !session_packets_has_content(session)) {
        packets->attach_due = session->state == SESSION_ATTACHING;
        packets->ping_due = session->state == SESSION_UP;
    }
    if (keepalive_at(session) <= now)
        packets->ping_due = true;
    client_dirty(client, session); /* the next flush sets the deadline */
    return LEAT_NS_NEVER;
}

/* ---- the end */

void session_packets_count(const struct client_session *session, struct leat_client_stats *stats)
{
    const struct flow_counters *c = &session->packets->flow.counters;
    stats->packets_sent += c->packets_sent;
    stats->packets_received += c->packets_received;
    stats->packets_lost += c->packets_lost;
    stats->bytes_resent += c->bytes_resent;
}

void session_packets_end(struct client_session *session)
{
    session_packets_count(session, &session->client->stats);
    session->packets = NULL;
}

void session_packets_free(struct client_session *session)
{
    free(session->packets_memory);
    session->packets_memory = NULL;
}

#include "client/session_packets.h"

#include <stdlib.h>

#include "client/client_core.h"
#include "client/session.h"
#include "client/resolve.h"
#include "schema/error_text.h"
#include "transport/link_udp.h"

enum {
    /* What a burst or two and the link's own queue hold, on either kind of link. */
    RECEIVE_WINDOW = 512,
};
/* A broker answers within a round trip; two seconds are several losses in a row. */
#define ATTACH_TIMEOUT_NS (2 * LEAT_NS_PER_S)
/* Asking once a second costs nothing. On a shared core a healthy broker can be off it for hundreds
 * of milliseconds, so that less than three seconds of silence, over three probes, prove nothing. */
#define KEEPALIVE_NS (LEAT_NS_PER_S)
#define DEAD_NS (3 * LEAT_NS_PER_S)

#define ACK_DELAY_BYPASS_NS (25 * LEAT_NS_PER_US)
#define ACK_DELAY_KERNEL_NS (LEAT_NS_PER_MS)
#define RTT_INITIAL_BYPASS_NS (LEAT_NS_PER_MS)
#define RTT_INITIAL_KERNEL_NS (10 * LEAT_NS_PER_MS)

void packet_link_connect(struct data_link *link)
{
    struct leat_client *client = link->client;
    const struct endpoint *endpoint = &client->packet_endpoints[link->shard];
    const struct link_limits *limits = &client->port.link->limits;
    if (link->packets_memory == NULL)
        link->packets_memory = calloc(1, sizeof *link->packets_memory);
    struct packet_link *packets = link->packets_memory;
    if (packets == NULL) {
        client_fail(client, LEAT_ERR_NO_MEMORY, "session with shard %u: no memory", link->shard);
        return;
    }
    if (!endpoint->known || !link_udp_peer(&endpoint->address, &packets->peer)) {
        resolve_endpoint_failed(client);
        client_fail_path(client, LEAT_ERR_UNSUPPORTED,
                         "shard %u takes no packets of this transport; use tcp:// or fallback=tcp",
                         link->shard);
        return;
    }
    const uint32_t asked = client->transport == URL_UDP ? client->url.mtu : 0;
    mtu_init(&packets->mtu, mtu_wanted(limits, &packets->peer, asked), client->now);
    const struct flow_options options = {
        .session = link->session,
        .tag = link->tag_to_broker,
        .payload_max = packets->mtu.bytes,
        .ack_delay_ns = limits->bypass ? ACK_DELAY_BYPASS_NS : ACK_DELAY_KERNEL_NS,
        .peer_ack_delay_ns = limits->bypass ? ACK_DELAY_BYPASS_NS : ACK_DELAY_KERNEL_NS,
        .probe_floor_ns = loopgap_probe_floor(&client->port.gap, limits->bypass),
        .rtt_initial_ns = limits->bypass ? RTT_INITIAL_BYPASS_NS : RTT_INITIAL_KERNEL_NS,
        .receive_window = RECEIVE_WINDOW,
    };
    flow_init(&packets->flow, &options, client->now);
    packets->attach_due = true;
    packets->may_be_partial = link->may_be_partial && limits->intact && !client->seals;
    packets->attaches = 0;
    packets->ping_due = false;
    packets->pong_count = 0;
    link->packets = packets;
    link->state = LINK_ATTACHING;
    link->deadline = client->now + ATTACH_TIMEOUT_NS;
    client_timer_at(client, link->deadline);
    client_dirty(client, link);
}

bool packet_link_has_content(const struct data_link *link)
{
    struct packet_link *packets = link->packets;
    if (packets->attach_due || flow_lost(&packets->flow) != NULL)
        return true;
    return link->state == LINK_UP
           && (packets->ping_due || packets->pong_count > 0 || !TAILQ_EMPTY(&link->credits)
               || !TAILQ_EMPTY(&link->publishers));
}

/* ---- time */

static leat_ns keepalive_at(const struct data_link *link)
{
    if (link->state != LINK_UP || link->streams.count == 0
        || link->packets->flow.sent.outstanding > 0)
        return LEAT_NS_NEVER; /* what is outstanding asks already */
    return link->packets->flow.last_heard + KEEPALIVE_NS;
}

static leat_ns sooner(leat_ns a, leat_ns b)
{
    return a < b ? a : b;
}

void packet_link_ping(struct data_link *link)
{
    link->packets->ping_due = true;
    client_dirty(link->client, link);
}

leat_ns packet_link_deadline(const struct data_link *link)
{
    const struct packet_link *packets = link->packets;
    leat_ns next = flow_deadline(&packets->flow);
    if (packets->mtu.due_at < next && link->state == LINK_UP && flow_may_try(&packets->flow))
        next = packets->mtu.due_at;
    return sooner(next, keepalive_at(link));
}

leat_ns packet_link_timers(struct data_link *link)
{
    struct leat_client *client = link->client;
    struct packet_link *packets = link->packets;
    const leat_ns now = client->now;
    if (packet_link_deadline(link) > now)
        return packet_link_deadline(link);
    if (flow_deadline(&packets->flow) <= now)
        flow_timeout(&packets->flow, now);
    if (flow_dead(&packets->flow, DEAD_NS, now)) {
        client_fail_path(client, LEAT_ERR_UNREACHABLE, "nothing was heard from shard %u at %s",
                         link->shard, client->packet_endpoints[link->shard].text);
        return LEAT_NS_NEVER;
    }
    if (packets->flow.probes_due > 0 && !packet_link_has_content(link)) {
        packets->attach_due = link->state == LINK_ATTACHING;
        packets->ping_due = link->state == LINK_UP;
    }
    if (keepalive_at(link) <= now)
        packets->ping_due = true;
    client_dirty(client, link); /* the flush that follows tells the next deadline */
    return LEAT_NS_NEVER;
}

/* ---- the end */

void packet_link_count(const struct data_link *link, struct leat_client_stats *stats)
{
    const struct flow_counters *c = &link->packets->flow.counters;
    stats->packets_sent += c->packets_sent;
    stats->packets_received += c->packets_received;
    stats->packets_lost += c->packets_lost;
    stats->bytes_resent += c->bytes_resent;
}

void packet_link_end(struct data_link *link)
{
    packet_link_count(link, &link->client->stats);
    link->packets = NULL;
}

void packet_link_free(struct data_link *link)
{
    free(link->packets_memory);
    link->packets_memory = NULL;
}

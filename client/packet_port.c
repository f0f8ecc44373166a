/* The client's port for packets: one link, shared by its sessions. */
#include "client/packet_port.h"

#include <sys/epoll.h>

#include "client/client_core.h"
#include "client/session_packets.h"
#include "schema/error_text.h"
#include "schema/session_id.h"
#include "transport/link_udp.h"

enum {
    ROUNDS_MAX = 8, /* bursts per call, so that other work gets its turn */
};
/* Pause before sending again when the link had no room. */
#define RETRY_NS (200 * LEAT_NS_PER_US)

/* An IPv6 socket also reaches IPv4 peers, but not every host has IPv6. */
static int family_for(const struct leat_client *client)
{
    for (uint32_t i = 0; i < LEAT_SHARDS_MAX; i++) {
        const struct endpoint *endpoint = &client->packet_endpoints[i];
        if (endpoint->known && endpoint->address.ss_family == AF_INET6)
            return AF_INET6;
    }
    return AF_INET;
}

static enum leat_error open_udp(struct leat_client *client, char *why)
{
    const struct client_hooks *hooks = &client->options.hooks;
    if (hooks->link_open != NULL) {
        client->port.link = hooks->link_open(hooks->context);
        return client->port.link != NULL ? LEAT_OK : LEAT_ERR_UNREACHABLE;
    }
    const struct link_udp_options options = { .socket_buffer_bytes =
                                                  client->options.values.socket_buffer_bytes };
    char bound[LINK_TCP_ADDRESS_TEXT];
    return link_udp_open(&client->port.link, family_for(client), NULL, 0, &options, bound, why);
}

enum leat_error packet_port_open(struct leat_client *client)
{
    struct packet_port *port = &client->port;
    char why[CLIENT_ERROR_BYTES] = "";
    if (port->link != NULL || client->transport == URL_TCP)
        return LEAT_OK;
    const enum leat_error error = client->transport == URL_DPDK
                                      ? packet_port_open_dpdk(client, why, sizeof why)
                                      : open_udp(client, why);
    if (error != LEAT_OK) {
        client_fail_path(client, error, "%s", why[0] != '\0' ? why : leat_error_text(error));
        return error;
    }
    loop_jitter_init(&port->gap);
    const bool polled = packet_port_polled(port);
    const int fd = port->link->ops->descriptor(port->link);
    struct epoll_event event = { .events = polled ? EPOLLIN | EPOLLET : EPOLLIN };
    event.data.ptr = port;
    const bool watched = fd >= 0 && epoll_ctl(client->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
    port->arms = polled && watched;
    return LEAT_OK;
}

void packet_port_close(struct leat_client *client)
{
    struct packet_port *port = &client->port;
    if (port->link == NULL)
        return;
    const int fd = port->link->ops->descriptor(port->link);
    if (fd >= 0) /* event_close() says why */
        epoll_ctl(client->epoll, EPOLL_CTL_DEL, fd, NULL);
    if (port->driver != NULL)
        packet_port_close_dpdk(port);
    else
        port->link->ops->close(port->link);
    *port = (struct packet_port){ 0 };
}

/* The session of a packet, if the packet came from that session's peer. */
static struct client_session *session_of(const struct leat_client *client,
                                         const struct leat_packet *packet,
                                         const struct link_peer *peer)
{
    struct client_session *session = client->sessions[leat_session_shard(packet->session)];
    if (session == NULL || session->packets == NULL || session->id != packet->session
        || !link_peer_same(&session->packets->peer, peer))
        return NULL;
    return session;
}

static unsigned take(struct leat_client *client, const struct link_datagram *datagram)
{
    struct leat_packet packet;
    client->stats.bytes_received += datagram->size;
    struct client_session *session = NULL;
    if (leat_packet_decode(&packet, datagram->bytes, datagram->size) == LEAT_OK)
        session = session_of(client, &packet, &datagram->peer);
    if (session == NULL || !session_packets_is_genuine(session, &packet, datagram->bytes)) {
        client->stats.packets_dropped++;
        return 0;
    }
    return session_packets_take(session, &packet);
}

unsigned packet_port_receive(struct leat_client *client)
{
    struct link *link = client->port.link;
    unsigned handled = 0;
    client->port.more = false;
    for (unsigned round = 0; round < ROUNDS_MAX && client->failure == 0; round++) {
        struct link_datagram burst[LINK_BURST];
        const unsigned count = link->ops->receive(link, burst, LINK_BURST, client->now);
        client->stats.receive_calls++;
        if (count == 0)
            break;
        for (unsigned i = 0; i < count && client->failure == 0; i++)
            handled += take(client, &burst[i]);
        link->ops->release(link, burst, count);
        client_flush(client); /* acknowledgements, and data that they made room for */
        client->port.more = count == LINK_BURST;
        if (!client->port.more)
            break;
    }
    return handled;
}

void packet_port_flush(struct leat_client *client)
{
    struct packet_port *port = &client->port;
    client->stats.send_calls++;
    port->staged = port->link->ops->flush(port->link, client->now) > 0;
    if (port->staged)
        client_timer_at(client, client->now + RETRY_NS);
}

leat_ns packet_port_timers(struct leat_client *client)
{
    struct packet_port *port = &client->port;
    if (port->link == NULL)
        return LEAT_NS_NEVER;
    leat_ns next = LEAT_NS_NEVER;
    for (uint32_t i = 0; i < client->sessions_end; i++) {
        struct client_session *session = client->sessions[i];
        const leat_ns due = session != NULL && session->packets != NULL
                                ? session_packets_timers(session)
                                : LEAT_NS_NEVER;
        next = due < next ? due : next;
    }
    const leat_ns wanted = port->link->ops->deadline(port->link);
    if (wanted > client->now && !port->staged)
        return wanted < next ? wanted : next;
    port->staged = true; /* flushed with other packets, which sets the next time */
    return client->now + RETRY_NS < next ? client->now + RETRY_NS : next;
}

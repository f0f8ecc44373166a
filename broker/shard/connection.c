/* Connection: an accepted data connection that has no session yet, or not any more. */
#include "broker/shard/connection.h"

#include <stdlib.h>

#include "transport/event_wait.h"
#include "transport/link_tcp.h"

#define LINGER_NS LEAT_NS_PER_S

void connections_init(struct connections *c, int epoll)
{
    TAILQ_INIT(&c->waiting);
    TAILQ_INIT(&c->lingering);
    TAILQ_INIT(&c->zombies);
    c->count = 0;
    c->epoll = epoll;
}

struct connection *connections_add(struct connections *c, int fd, bool lingering, leat_ns now)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return NULL;
    connection->source = SOURCE_CONNECTION;
    connection->fd = fd;
    connection->lingering = lingering;
    connection->deadline_ns = now + (lingering ? LINGER_NS : LEAT_TOKEN_LIFE_NS);
    TAILQ_INSERT_TAIL(lingering ? &c->lingering : &c->waiting, connection, node);
    c->count++;
    return connection;
}

void connections_end(struct connections *c, struct connection *connection)
{
    if (connection->fd >= 0)
        event_close(c->epoll, connection->fd);
    connection->fd = -1;
    connection->closed = true;
    TAILQ_REMOVE(connection->lingering ? &c->lingering : &c->waiting, connection, node);
    TAILQ_INSERT_TAIL(&c->zombies, connection, node);
    c->count--;
}

void connections_reap(struct connections *c)
{
    struct connection *connection;
    while ((connection = TAILQ_FIRST(&c->zombies)) != NULL) {
        TAILQ_REMOVE(&c->zombies, connection, node);
        free(connection);
    }
}

bool connections_end_idle(struct connections *c, leat_ns now)
{
    struct connection *oldest = TAILQ_FIRST(&c->waiting);
    if (oldest == NULL || oldest->deadline_ns - LEAT_TOKEN_LIFE_NS + CONNECTION_GRACE_NS > now)
        return false;
    connections_end(c, oldest);
    return true;
}

static void expire(struct connections *c, struct connection_list *list, leat_ns now)
{
    struct connection *connection;
    while ((connection = TAILQ_FIRST(list)) != NULL && connection->deadline_ns <= now)
        connections_end(c, connection);
}

void connections_expire(struct connections *c, leat_ns now)
{
    expire(c, &c->waiting, now);
    expire(c, &c->lingering, now);
}

leat_ns connections_deadline(const struct connections *c)
{
    const struct connection *waiting = TAILQ_FIRST(&c->waiting);
    const struct connection *lingering = TAILQ_FIRST(&c->lingering);
    leat_ns deadline = LEAT_NS_NEVER;
    if (waiting != NULL)
        deadline = waiting->deadline_ns;
    if (lingering != NULL && lingering->deadline_ns < deadline)
        deadline = lingering->deadline_ns;
    return deadline;
}

static enum connection_said discard_input(struct connection *connection)
{
    uint8_t scrap[16384];
    size_t got;
    const enum leat_error error = link_tcp_receive(connection->fd, scrap, sizeof scrap, &got);
    return error == LEAT_ERR_CLOSED ? CONNECTION_ENDS : CONNECTION_NOTHING;
}

enum connection_said connection_read(struct connection *connection,
                                     struct leat_frame_attach *attach)
{
    if (connection->lingering)
        return discard_input(connection);
    size_t got;
    /* Not beyond ATTACH: the session reads the rest into its own memory. */
    const enum leat_error error =
        link_tcp_receive(connection->fd, connection->attach + connection->used,
                         sizeof connection->attach - connection->used, &got);
    if (error != LEAT_OK)
        return error == LEAT_AGAIN ? CONNECTION_NOTHING : CONNECTION_ENDS;
    connection->used = (uint8_t)(connection->used + got);
    struct leat_frame frame;
    const enum leat_error decoded = leat_frame_decode(&frame, connection->attach, connection->used);
    if (decoded == LEAT_AGAIN && connection->used < sizeof connection->attach)
        return CONNECTION_NOTHING;
    if (decoded != LEAT_OK || frame.type != LEAT_FRAME_ATTACH)
        return CONNECTION_ENDS;
    *attach = frame.attach;
    return CONNECTION_ATTACHES;
}

/* What the names in the URL and in the broker's answers stand for, asked anew whenever the client
 * has to connect again: a name may have moved.
 *
 * Role: names to socket addresses; which of several is next.
 * Must not know: the control connection, sessions.
 * Threads: the client's. A look-up blocks for as long as the system's resolver takes; numeric
 * addresses are never looked up. What answers slowly is not asked again at once, so that at most a
 * tenth of the time is spent waiting for it. */
#ifndef LEAT_CLIENT_RESOLVE_H
#define LEAT_CLIENT_RESOLVE_H

#include "client/client_state.h"

/* Looks up the URL's hosts. A host whose look-up fails keeps the addresses it had. Returns NULL, or
 * why there is no address at all. */
const char *resolve_hosts(struct leat_client *client);

/* The next of the URL's addresses to connect to; client->address_now is its place. Before a round
 * of attempts, names are looked up again. */
const struct sockaddr_storage *resolve_next(struct leat_client *client);
/* The one connected to has answered: when it is lost, a new round begins. */
void resolve_answered(struct leat_client *client);

/* The addresses of an endpoint's name, as the broker said it last; one look-up for all endpoints of
 * one host. */
struct resolved {
    char host[URL_HOST_BYTES_MAX + 1];
    uint32_t count;
    struct sockaddr_storage addresses[RESOLVED_MAX];
};
/* Where to connect to for `host`: the machine control was reached at, when it is one of its
 * addresses, and another one after each failure. False: the name stands for nothing now. */
bool resolve_endpoint(struct leat_client *client, struct resolved *cache,
                      const struct url_host *host, struct sockaddr_storage *out);
/* A data connection did not come to be: the next address is tried next. */
void resolve_endpoint_failed(struct leat_client *client);

/* False: it is no address with a port. */
bool resolve_set_port(struct sockaddr_storage *address, uint16_t port);

#endif

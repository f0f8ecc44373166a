/* Name resolution for the URL's hosts and the endpoints that the broker advertises, repeated
 * whenever the client reconnects: a name may have moved.
 *
 * Role: names to socket addresses; which of several addresses is next.
 * Must not know: the control connection, sessions.
 * Threads: the client's. A lookup blocks for as long as the system's resolver takes. Numeric
 * addresses are never looked up. After a slow lookup the next one is delayed, so that at most a
 * tenth of the time is spent in lookups. */
#ifndef LEAT_CLIENT_RESOLVE_H
#define LEAT_CLIENT_RESOLVE_H

#include "client/client_state.h"

/* Looks up the URL's hosts. A host whose lookup fails keeps its addresses. Returns NULL, or why
 * there is no address at all. */
const char *resolve_hosts(struct leat_client *client);

/* Returns the next address of the URL to connect to; client->address_now is its index. Names are
 * looked up again before each round of attempts. */
const struct sockaddr_storage *resolve_next(struct leat_client *client);
/* The current address answered: if it is lost, a new round begins. */
void resolve_answered(struct leat_client *client);

/* The addresses of an endpoint's host name; one lookup serves all endpoints of that host. */
struct resolved {
    char host[URL_HOST_BYTES_MAX + 1];
    uint32_t count;
    struct sockaddr_storage addresses[RESOLVED_MAX];
};
/* Gets the address to connect to for `host`: the address that control was reached at, if it is one
 * of the host's; after each failure, another one. False: the name does not resolve now. */
bool resolve_endpoint(struct leat_client *client, struct resolved *cache,
                      const struct url_host *host, struct sockaddr_storage *out);
/* A data connection failed: the next address is tried next time. */
void resolve_endpoint_failed(struct leat_client *client);

/* False: the address family has no port. */
bool resolve_set_port(struct sockaddr_storage *address, uint16_t port);

#endif

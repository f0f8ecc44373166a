/* Name resolution for the URL's hosts and the endpoints that the broker advertises. */
#include "client/resolve.h"

#include <assert.h>
#include <netdb.h>
#include <string.h>

#include "client/client_core.h"

static_assert((int)URL_HOSTS_MAX <= (int)CLIENT_ADDRESSES_MAX, "an address for each");

enum { PATIENCE_SHARE = 9 }; /* pause after a lookup, as a multiple of the time it took */

bool resolve_set_port(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET)
        ((struct sockaddr_in *)address)->sin_port = htons(port);
    else if (address->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
    else
        return false;
    return true;
}

static const char *ask_system(const char *name, struct sockaddr_storage *out, uint32_t room,
                              uint32_t *count)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *found;
    const int error = getaddrinfo(name, NULL, &hints, &found);
    if (error != 0)
        return gai_strerror(error);
    for (const struct addrinfo *a = found; a != NULL && *count < room; a = a->ai_next) {
        memset(&out[*count], 0, sizeof *out);
        memcpy(&out[*count], a->ai_addr, a->ai_addrlen);
        *count += resolve_set_port(&out[*count], 0);
    }
    freeaddrinfo(found);
    return NULL;
}

/* Looks up at most `room` addresses. Returns NULL, or why there is none. */
static const char *look_up(struct leat_client *client, const struct url_host *host,
                           struct sockaddr_storage *out, uint32_t room, uint32_t *count)
{
    const struct client_hooks *hooks = &client->options.hooks;
    *count = 0;
    if (link_tcp_address(host->host, host->port, out) == LEAT_OK) {
        *count = 1;
        return NULL;
    }
    const char *failed = NULL;
    if (hooks->resolve != NULL)
        *count = hooks->resolve(hooks->context, host->host, out, room);
    else
        failed = ask_system(host->host, out, room, count);
    for (uint32_t i = 0; i < *count; i++)
        resolve_set_port(&out[i], host->port);
    if (failed == NULL && *count == 0)
        failed = "no IPv4 or IPv6 address";
    return failed;
}

/* ---- the URL's hosts */

const char *resolve_hosts(struct leat_client *client)
{
    const struct url *url = &client->url;
    struct client_address found[CLIENT_ADDRESSES_MAX];
    struct sockaddr_storage of_host[CLIENT_ADDRESSES_MAX];
    uint32_t total = 0;
    const char *why = "no address";
    const leat_ns began = client_clock(client);
    for (uint32_t i = 0; i < url->count; i++) {
        /* Leave room for one address of each host after this one. */
        const uint32_t room = CLIENT_ADDRESSES_MAX - (url->count - 1 - i);
        uint32_t count;
        const char *failed = look_up(client, &url->hosts[i], of_host, room - total, &count);
        why = failed != NULL ? failed : why;
        for (uint32_t j = 0; j < count; j++)
            found[total++] = (struct client_address){ .address = of_host[j], .host = i };
        for (uint32_t j = 0; failed != NULL && j < client->address_count; j++)
            if (client->addresses[j].host == i && total < room)
                found[total++] = client->addresses[j];
    }
    memcpy(client->addresses, found, total * sizeof found[0]);
    client->address_count = client->round_left = total;
    client->now = client_clock(client);
    client->hosts_again = client_after(client->now, PATIENCE_SHARE * (client->now - began));
    return total > 0 ? NULL : why;
}

const struct sockaddr_storage *resolve_next(struct leat_client *client)
{
    if (client->round_left == 0) {
        if (client->hosts_again <= client->now)
            resolve_hosts(client); /* the old addresses stay if this fails */
        client->round_left = client->address_count;
    }
    assert(client->address_count != 0);
    client->round_left--;
    client->address_now = client->address_next++ % client->address_count;
    return &client->addresses[client->address_now].address;
}

void resolve_answered(struct leat_client *client)
{
    client->round_left = 0;
}

/* ---- endpoints */

static bool same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET)
        return ((const struct sockaddr_in *)a)->sin_addr.s_addr
               == ((const struct sockaddr_in *)b)->sin_addr.s_addr;
    return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
                  &((const struct sockaddr_in6 *)b)->sin6_addr, sizeof(struct in6_addr))
           == 0;
}

static void fill(struct leat_client *client, struct resolved *cache, const struct url_host *host)
{
    strcpy(cache->host, host->host);
    cache->count = 0;
    if (client->endpoints_again > client->now)
        return;
    const leat_ns began = client_clock(client);
    look_up(client, host, cache->addresses, RESOLVED_MAX, &cache->count);
    client->now = client_clock(client);
    client->endpoints_again = client_after(client->now, PATIENCE_SHARE * (client->now - began));
}

bool resolve_endpoint(struct leat_client *client, struct resolved *cache,
                      const struct url_host *host, struct sockaddr_storage *out)
{
    const struct sockaddr_storage *reached = &client->addresses[client->address_now].address;
    if (strcmp(cache->host, host->host) != 0)
        fill(client, cache, host);
    if (cache->count == 0)
        return false;
    uint32_t first = 0;
    for (uint32_t i = 0; i < cache->count; i++)
        if (same_host(&cache->addresses[i], reached))
            first = i;
    *out = cache->addresses[(first + client->endpoint_turn) % cache->count];
    return resolve_set_port(out, host->port);
}

void resolve_endpoint_failed(struct leat_client *client)
{
    client->endpoint_turn++;
}

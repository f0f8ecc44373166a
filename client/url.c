/* URLs: scheme and hosts of a broker. */
#include "client/url.h"

#include <stdio.h>
#include <string.h>

enum { DECIMAL = 10, PORT_MAX = 65535 };

static bool port_parse(const char *text, size_t size, uint16_t *out)
{
    uint32_t port = 0;
    if (size == 0)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        port = port * DECIMAL + (uint32_t)(text[i] - '0');
        if (port > PORT_MAX)
            return false;
    }
    *out = (uint16_t)port;
    return port != 0;
}

static bool host_byte_ok(char c, bool bracketed)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    return c == '.' || c == '-' || c == '_' || (bracketed && (c == ':' || c == '%'));
}

enum leat_error url_host_parse(struct url_host *out, const char *text, size_t size,
                               uint16_t default_port)
{
    const char *host = text;
    size_t host_size, used;
    const bool bracketed = size > 0 && text[0] == '[';
    if (bracketed) {
        const char *close = memchr(text, ']', size);
        if (close == NULL)
            return LEAT_ERR_INVALID;
        host = text + 1;
        host_size = (size_t)(close - host);
        used = host_size + 2;
    } else {
        const char *colon = memchr(text, ':', size);
        host_size = colon != NULL ? (size_t)(colon - text) : size;
        used = host_size;
    }
    if (host_size > URL_HOST_BYTES_MAX)
        return LEAT_ERR_INVALID;
    for (size_t i = 0; i < host_size; i++)
        if (!host_byte_ok(host[i], bracketed))
            return LEAT_ERR_INVALID;
    uint16_t port = default_port;
    if (used < size) {
        if (text[used] != ':' || !port_parse(text + used + 1, size - used - 1, &port))
            return LEAT_ERR_INVALID;
    } else if (default_port == 0) {
        return LEAT_ERR_INVALID;
    }
    memcpy(out->host, host, host_size);
    out->host[host_size] = '\0';
    out->port = port;
    return LEAT_OK;
}

static const struct {
    const char *prefix;
    enum url_transport transport;
} schemes[] = { { "tcp://", URL_TCP }, { "udp://", URL_UDP }, { "dpdk://", URL_DPDK } };

static enum leat_error scheme_check(const char *text, const char **rest, enum url_transport *out,
                                    char *why, size_t why_bytes)
{
    static const char *const later[] = { "tls://", "shm://" };
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        const size_t size = strlen(schemes[i].prefix);
        if (strncmp(text, schemes[i].prefix, size) != 0)
            continue;
        *rest = text + size;
        *out = schemes[i].transport;
        return LEAT_OK;
    }
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        if (strncmp(text, later[i], strlen(later[i])) == 0) {
            snprintf(why, why_bytes, "url \"%.200s\": this build has no %.3s link; use tcp://",
                     text, text);
            return LEAT_ERR_UNSUPPORTED;
        }
    }
    snprintf(why, why_bytes,
             "url \"%.200s\": expected tcp://host:port[,host:port...], or udp:// or dpdk:// so",
             text);
    return LEAT_ERR_INVALID;
}

static enum leat_error hosts_parse(struct url *url, const char *at, size_t size, const char *text,
                                   char *why, size_t why_bytes)
{
    const char *const end = at + size;
    for (;;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const size_t host_size = (size_t)((comma != NULL ? comma : end) - at);
        if (url->count == URL_HOSTS_MAX) {
            snprintf(why, why_bytes, "url \"%.200s\": at most %d hosts", text, URL_HOSTS_MAX);
            return LEAT_ERR_INVALID;
        }
        struct url_host *host = &url->hosts[url->count++];
        if (url_host_parse(host, at, host_size, URL_DEFAULT_PORT) != LEAT_OK
            || host->host[0] == '\0') {
            snprintf(why, why_bytes,
                     "url \"%.200s\": \"%.*s\" is not host:port (port 1 to 65535, IPv6 in "
                     "brackets)",
                     text, host_size > 80 ? 80 : (int)host_size, at);
            return LEAT_ERR_INVALID;
        }
        if (comma == NULL)
            return LEAT_OK;
        at = comma + 1;
    }
}

enum leat_error url_parse(struct url *out, const char *text, char *why, size_t why_bytes)
{
    struct url url = { .count = 0 };
    const char *at;
    enum leat_error error = scheme_check(text, &at, &url.transport, why, why_bytes);
    if (error != LEAT_OK)
        return error;
    const size_t size = strcspn(at, "?");
    error = hosts_parse(&url, at, size, text, why, why_bytes);
    if (error == LEAT_OK)
        error = url_query_parse(&url, at[size] == '?' ? at + size + 1 : "", text, why, why_bytes);
    if (error == LEAT_OK)
        *out = url;
    return error;
}

/* Where a broker is, as a user writes it: "tcp://host:port,host:port".
 *
 * Role: taking a URL and a "host:port" apart, and saying what is wrong with them.
 * Must not know: sockets, name resolution.
 * Threads: any. */
#ifndef LEAT_CLIENT_URL_H
#define LEAT_CLIENT_URL_H

#include <stddef.h>
#include <stdint.h>

#include "schema/error.h"

#define URL_DEFAULT "tcp://127.0.0.1:7420"

enum {
    URL_HOSTS_MAX = 16,
    URL_HOST_BYTES_MAX = 253, /* of a DNS name */
    URL_DEFAULT_PORT = 7420,
};

struct url_host {
    char host[URL_HOST_BYTES_MAX + 1]; /* without brackets */
    uint16_t port;
};

struct url {
    struct url_host hosts[URL_HOSTS_MAX];
    uint32_t count; /* >= 1 */
};

/* LEAT_ERR_INVALID; LEAT_ERR_UNSUPPORTED for a scheme this build has no link for. On a failure
 * `why` says what was expected. */
enum leat_error url_parse(struct url *out, const char *text, char *why, size_t why_bytes);

/* "host:port", "[v6]:port"; the port may be left out when `default_port` is not 0. An empty host
 * is allowed: brokers advertise it. LEAT_ERR_INVALID. */
enum leat_error url_host_parse(struct url_host *out, const char *text, size_t size,
                               uint16_t default_port);

#endif

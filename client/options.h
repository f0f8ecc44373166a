/* What an application asked for, checked and with the defaults filled in.
 *
 * Role: the only file that knows the defaults and ranges of leat.h's option structs, and how a
 * struct of an older or newer program is read.
 * Must not know: sockets, the broker.
 * Threads: any. */
#ifndef LEAT_CLIENT_OPTIONS_H
#define LEAT_CLIENT_OPTIONS_H

#include <sys/socket.h>

#include "client/leat.h"
#include "schema/limits.h"
#include "schema/units.h"

enum { OPTIONS_CONGESTION_BYTES = 16 }; /* TCP_CA_NAME_MAX */

struct link;

/* For tests: what else comes from the system. A NULL function is the system's own. */
struct client_hooks {
    void *context;
    leat_ns (*clock)(void *context); /* monotonic */
    int64_t (*wall)(void *context);  /* nanoseconds since 1970 */
    /* Instead of sleeping, until `until` at most: whoever moves the time moves it. */
    void (*wait)(void *context, leat_ns until);
    /* Instead of a UDP socket, when the URL says udp://. The client closes it. */
    struct link *(*link_open)(void *context);
    /* Instead of the system's resolver: up to `room` addresses of `name`, without a port. */
    uint32_t (*resolve)(void *context, const char *name, struct sockaddr_storage *out,
                        uint32_t room);
    uint64_t seed; /* of the pauses' jitter; 0: of the time */
};

struct client_options {
    struct leat_client_options values; /* its pointers point at the copies below */
    struct client_hooks hooks;
    struct leat_dpdk_port dpdk_port;
    char client_name[LEAT_CLIENT_NAME_BYTES_MAX + 1];
    char tcp_congestion[OPTIONS_CONGESTION_BYTES];
};

/* Each reads `given` (NULL: all defaults), of which given->size bytes are there. On
 * LEAT_ERR_INVALID `why` names the option, its value and what was expected. */
enum leat_error options_client(struct client_options *out, const struct leat_client_options *given,
                               char *why, size_t why_bytes);
/* Pointers in `out` are those given. batch_bytes_max stays 0 when it was. */
enum leat_error options_producer(struct leat_producer_options *out,
                                 const struct leat_producer_options *given, char *why,
                                 size_t why_bytes);
enum leat_error options_consumer(struct leat_consumer_options *out,
                                 const struct leat_consumer_options *given, char *why,
                                 size_t why_bytes);
enum leat_error options_topic(struct leat_topic_settings *out,
                              const struct leat_topic_settings *given, char *why, size_t why_bytes);
/* `given` may not be NULL: a reset has no default. */
enum leat_error options_group_reset(struct leat_group_reset_options *out,
                                    const struct leat_group_reset_options *given, char *why,
                                    size_t why_bytes);

#endif

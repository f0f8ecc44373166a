/* Options of the application, checked and with defaults filled in.
 *
 * Role: the only file that knows defaults and ranges of leat.h's option structs, and how a struct
 * of an older or newer program is read.
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

/* For tests: replacements for what the system provides. A NULL function is the system's own. */
struct client_hooks {
    void *context;
    leat_ns (*clock)(void *context); /* monotonic */
    int64_t (*wall)(void *context);  /* nanoseconds since 1970 */
    /* Called instead of sleeping, until `until` at most: the test's clock has to be advanced. */
    void (*wait)(void *context, leat_ns until);
    /* Replaces the UDP socket for a udp:// URL. The client closes it. */
    struct link *(*link_open)(void *context);
    /* Replaces the system's resolver: writes up to `room` addresses of `name`, without ports, and
     * returns their number. */
    uint32_t (*resolve)(void *context, const char *name, struct sockaddr_storage *out,
                        uint32_t room);
    uint64_t seed; /* of the jitter of pauses; 0: taken from the clock */
};

struct client_options {
    struct leat_client_options values; /* its pointers point to the copies below */
    struct client_hooks hooks;
    struct leat_dpdk_port dpdk_port;
    char client_name[LEAT_CLIENT_NAME_BYTES_MAX + 1];
    char tcp_congestion[OPTIONS_CONGESTION_BYTES];
};

/* Each reads given->size bytes of `given` (NULL: all defaults). On LEAT_ERR_INVALID, `why` names
 * the option, its value and what was expected. */
enum leat_error options_client(struct client_options *out, const struct leat_client_options *given,
                               char *why, size_t why_bytes);
/* Pointers in `out` are those of `given`. batch_bytes_max stays 0 if it was 0. */
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

/* clang-format off */
/* Connection: an accepted data connection that has no session yet, or not any more.
 *
 *   NEW        its first 32 bytes must be an ATTACH, within LEAT_TOKEN_LIFE_NS
 *   LINGERING  the client was told why it ends. Input is read and discarded for at most a second:
 *              the kernel answers unread bytes with a reset, which may overtake the last frame
 *
 * Role: the bounded table of such connections, in the order of their deadlines.
 * Must not know: sessions, whether an ATTACH is valid.
 * Threads: the owning shard. */
/* clang-format on */
#ifndef LEAT_BROKER_SHARD_CONNECTION_H
#define LEAT_BROKER_SHARD_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "broker/shard/session.h"
#include "schema/frame.h"

#define CONNECTION_GRACE_NS (100 * LEAT_NS_PER_MS)

struct connection {
    enum source source; /* SOURCE_CONNECTION */
    int fd;
    bool lingering;
    bool refused; /* accepted only to be refused when it attaches */
    bool closed;  /* closed in this iteration; freed at its end */
    uint8_t used;
    uint8_t attach[LEAT_ATTACH_BYTES];
    leat_ns deadline_ns;
    TAILQ_ENTRY(connection) node;
};

TAILQ_HEAD(connection_list, connection);

struct connections {
    struct connection_list waiting;   /* NEW, oldest first */
    struct connection_list lingering; /* oldest first */
    struct connection_list zombies;
    uint32_t count; /* waiting and lingering */
    int epoll;      /* the shard's, where they may be registered */
};

void connections_init(struct connections *c, int epoll);
/* Takes ownership of `fd`. NULL: no memory; `fd` is still the caller's. */
struct connection *connections_add(struct connections *c, int fd, bool lingering, leat_ns now);
/* Closes the descriptor, unless it was taken over (fd < 0). connections_reap frees the struct. */
void connections_end(struct connections *c, struct connection *connection);
/* Frees the connections that have ended. No pending event may refer to them. */
void connections_reap(struct connections *c);
/* Ends the connection that has waited longest to attach, if that is at least CONNECTION_GRACE_NS.
 * False: there is none. */
bool connections_end_idle(struct connections *c, leat_ns now);
/* Ends the connections whose deadline has passed. */
void connections_expire(struct connections *c, leat_ns now);
/* The next deadline; LEAT_NS_NEVER: there is none. */
leat_ns connections_deadline(const struct connections *c);

enum connection_said {
    CONNECTION_NOTHING, /* no whole frame yet, or lingering */
    CONNECTION_ATTACHES,
    CONNECTION_ENDS, /* closed by the peer, or its first bytes are not an ATTACH */
};
/* Reads what has arrived. CONNECTION_ATTACHES: *attach is the frame. */
enum connection_said connection_read(struct connection *connection,
                                     struct leat_frame_attach *attach);

#endif

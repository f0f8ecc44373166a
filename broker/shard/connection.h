/* Connection: an accepted data connection that no session has yet, or no longer.
 *
 *   NEW: its first 32 bytes must be ATTACH, within LEAT_TOKEN_LIFE_NS.
 *   LINGERING: it was told why it ends; what still comes is read and dropped for at most a second,
 * so that the kernel does not answer unread bytes with a reset that overtakes the telling.
 *
 * Role: the bounded table of them, in the order of their deadlines.
 * Must not know: sessions, what an ATTACH is worth.
 * Threads: the owning shard. */
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
    bool refused; /* taken only to be told that there is no room, when it attaches */
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
    int epoll;      /* the shard's, in which they may be */
};

void connections_init(struct connections *c, int epoll);
/* Takes `fd`. NULL: no memory; `fd` is still the caller's. */
struct connection *connections_add(struct connections *c, int fd, bool lingering, leat_ns now);
/* Closes its descriptor (unless it was taken: fd < 0) and frees it in connections_reap. */
void connections_end(struct connections *c, struct connection *connection);
/* Frees the ended. No event can name them any more. */
void connections_reap(struct connections *c);
/* Ends the one that has waited longest to attach, and for CONNECTION_GRACE_NS at least. False:
 * there is none. */
bool connections_end_idle(struct connections *c, leat_ns now);
/* Ends those whose time is over. */
void connections_expire(struct connections *c, leat_ns now);
/* When the next one's time is over; LEAT_NS_NEVER. */
leat_ns connections_deadline(const struct connections *c);

enum connection_said {
    CONNECTION_NOTHING, /* nothing whole yet, or lingering */
    CONNECTION_ATTACHES,
    CONNECTION_ENDS, /* closed, or its first bytes are no ATTACH */
};
/* Reads what has come. */
enum connection_said connection_read(struct connection *connection,
                                     struct leat_frame_attach *attach);

#endif

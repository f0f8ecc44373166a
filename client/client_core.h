/* What the files of the library ask of the client they work for.
 *
 * Role: errors, events, deadlines and the one loop everything waits in.
 * Must not know: producers, consumers.
 * Threads: the client's. */
#ifndef LEAT_CLIENT_CORE_H
#define LEAT_CLIENT_CORE_H

#include "client/client_state.h"

/* Notes the error's story for leat_client_error and returns `error`. */
__attribute__((format(printf, 3, 4))) int client_error(struct leat_client *client, int error,
                                                       const char *format, ...);

/* The connection is over, for this reason: taken down at the end of the step. The first counts. */
__attribute__((format(printf, 3, 4))) void client_fail(struct leat_client *client, int error,
                                                       const char *format, ...);

/* The same, because packets do not get through: with fallback=tcp the client goes on over TCP. */
__attribute__((format(printf, 3, 4))) void client_fail_path(struct leat_client *client, int error,
                                                            const char *format, ...);

/* Calls the application back. */
void client_event(struct leat_client *client, const struct leat_event *event);

/* The loop has something to do at `when`, at the latest. */
void client_timer_at(struct leat_client *client, leat_ns when);

/* A topic or producer that was put off is to be asked for at `when`. */
void client_retry_at(struct leat_client *client, leat_ns when);

/* `session` has something to send. */
void client_dirty(struct leat_client *client, const struct client_session *session);

/* True inside a callback, where waiting is refused; notes the error. */
bool client_refuses(struct leat_client *client, const char *call);
/* LEAT_ERR_UNSUPPORTED of a client that is for control only, and its error text; else LEAT_OK. */
int client_refuses_data(struct leat_client *client, const char *what);

void client_flush_links(struct leat_client *client);
/* Sends what is staged in sessions that are dirty. */
static inline void client_flush(struct leat_client *client)
{
    if (client->sessions_dirty != 0 || client->port.staged)
        client_flush_links(client);
}

/* leat_client_open; `hooks` NULL: the system's own. */
int client_open(struct leat_client **client, const char *url,
                const struct leat_client_options *options, const struct client_hooks *hooks);

/* One turn of everything at `now`: no waiting, no clock. Returns how many frames, packets and
 * replies were handled. */
unsigned client_step(struct leat_client *client, leat_ns now);

/* One turn: all I/O that is possible, waiting at most timeout_ns for some. Returns how many frames
 * and replies were handled. */
int client_run(struct leat_client *client, uint64_t timeout_ns);

void client_set_timer(struct leat_client *client);
/* The timer descriptor follows what is due, when someone waits on it. */
static inline void client_arm(struct leat_client *client)
{
    if (client->timer >= 0)
        client_set_timer(client);
}

leat_ns client_clock(const struct leat_client *client);
leat_ns client_after(leat_ns now, uint64_t timeout_ns); /* now + timeout_ns, or never */

#endif

/* What the library's other files need from the client: errors, events, deadlines, the loop.
 *
 * Role: errors, events, deadlines and the one loop that everything waits in.
 * Must not know: producers, consumers.
 * Threads: the client's. */
#ifndef LEAT_CLIENT_CORE_H
#define LEAT_CLIENT_CORE_H

#include "client/client_state.h"

/* Sets the text of leat_client_error() and returns `error`. */
__attribute__((format(printf, 3, 4))) int client_error(struct leat_client *client, int error,
                                                       const char *format, ...);

/* Marks the connection as failed; it is closed at the end of the step. Only the first failure of a
 * step counts. */
__attribute__((format(printf, 3, 4))) void client_fail(struct leat_client *client, int error,
                                                       const char *format, ...);

/* The same, because packets do not get through. With fallback=tcp the client then uses TCP. */
__attribute__((format(printf, 3, 4))) void client_fail_path(struct leat_client *client, int error,
                                                            const char *format, ...);

/* Calls the application's on_event. */
void client_event(struct leat_client *client, const struct leat_event *event);

/* The loop wakes up at `when` or earlier. */
void client_timer_at(struct leat_client *client, leat_ns when);

/* Asks again at `when` for a topic or producer that was refused temporarily. */
void client_retry_at(struct leat_client *client, leat_ns when);

/* Marks `session` as having something to send. */
void client_dirty(struct leat_client *client, const struct client_session *session);

/* True inside a callback, where waiting is not allowed; sets the error text. `call` is the name of
 * the function of leat.h. */
bool client_refuses(struct leat_client *client, const char *call);
/* LEAT_ERR_UNSUPPORTED, with the error text, if the client was opened with control_only. */
int client_refuses_data(struct leat_client *client, const char *what);

void client_flush_links(struct leat_client *client);
/* Sends what dirty sessions have staged. */
static inline void client_flush(struct leat_client *client)
{
    if (client->sessions_dirty != 0 || client->port.staged)
        client_flush_links(client);
}

/* leat_client_open with test hooks; `hooks` NULL: none. */
int client_open(struct leat_client **client, const char *url,
                const struct leat_client_options *options, const struct client_hooks *hooks);

/* Runs one iteration at time `now`: does not wait and reads no clock. Returns how many frames,
 * packets and replies were handled. */
unsigned client_step(struct leat_client *client, leat_ns now);

/* Runs one iteration: all I/O that is possible, waiting up to timeout_ns for some. Returns how many
 * frames and replies were handled. */
int client_run(struct leat_client *client, uint64_t timeout_ns);

void client_set_timer(struct leat_client *client);
/* Sets the timer descriptor to the next deadline, if the application waits on leat_client_fd(). */
static inline void client_arm(struct leat_client *client)
{
    if (client->timer >= 0)
        client_set_timer(client);
}

leat_ns client_clock(const struct leat_client *client);
leat_ns client_after(leat_ns now, uint64_t timeout_ns); /* now + timeout_ns, or LEAT_NS_NEVER */

#endif

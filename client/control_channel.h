/* The control connection: requests with deadlines out, responses back to their callbacks.
 *
 * Role: encoding and decoding messages, and the table of unanswered requests.
 * Must not know: what the requests mean, when to reconnect.
 * Threads: one per object. May allocate: nothing here is on a record's way. */
#ifndef LEAT_CLIENT_CONTROL_CHANNEL_H
#define LEAT_CLIENT_CONTROL_CHANNEL_H

#include <stddef.h>
#include <stdint.h>

#include "schema/control.h"
#include "schema/units.h"

enum { CONTROL_PENDING_MAX = 64 };

/* Called with the answer to a request. Without a response, `response` is NULL and `error` says why.
 * Otherwise `error` and `text` are those of the response ("" if it has no text). Both are valid
 * during the call. */
typedef void control_answer(void *context, int error, const char *text,
                            const Leat__Control__Response *response);

/* Called with a checked message that the broker sent on its own. Valid during the call. */
typedef void control_notice(void *context, const Leat__Control__Response *notice);

struct control_pending {
    uint64_t id; /* 0: free */
    leat_ns deadline;
    control_answer *answer;
    void *context;
};

struct control_channel {
    int fd; /* -1: none */
    control_notice *notice;
    void *notice_context;
    uint64_t last_id;
    uint8_t *out;
    size_t out_used, out_sent, out_room;
    uint8_t *in;
    size_t in_used, in_room;
    struct control_pending pending[CONTROL_PENDING_MAX];
};

/* `notice` may be NULL: notices are then dropped. */
void control_channel_init(struct control_channel *channel, control_notice *notice, void *context);
void control_channel_use(struct control_channel *channel, int fd);

/* Queues the request and sets its id. LEAT_BUSY: too many requests are unanswered;
 * LEAT_ERR_TOO_LARGE, LEAT_ERR_NO_MEMORY. */
enum leat_error control_channel_ask(struct control_channel *channel,
                                    Leat__Control__Request *request, leat_ns deadline,
                                    control_answer *answer, void *context);

/* Sends as much as the kernel accepts. LEAT_OK: everything; LEAT_AGAIN: some is left;
 * LEAT_ERR_CLOSED. */
enum leat_error control_channel_flush(struct control_channel *channel);

/* Receives messages and calls the callbacks. *handled counts responses, *bytes the bytes received.
 * LEAT_OK, LEAT_ERR_CLOSED, LEAT_ERR_PROTOCOL, LEAT_ERR_NO_MEMORY. */
enum leat_error control_channel_receive(struct control_channel *channel, unsigned *handled,
                                        size_t *bytes);

/* Answers requests past their deadline with LEAT_ERR_TIMEOUT. Returns the earliest remaining
 * deadline. */
leat_ns control_channel_expire(struct control_channel *channel, leat_ns now);

/* Drops the callbacks of all requests with this context. */
void control_channel_forget(struct control_channel *channel, const void *context);

/* Closes the connection, removes it from the epoll set `epoll`, and answers every pending request
 * with `error`. */
void control_channel_end(struct control_channel *channel, int epoll, int error, const char *text);
void control_channel_release(struct control_channel *channel); /* frees its buffers */

#endif

/* The control connection: requests out, each with its deadline, responses back to who asked.
 *
 * Role: bytes to messages and back, and the table of what is unanswered.
 * Must not know: what the requests mean, when to reconnect.
 * Threads: one per object. May allocate: nothing here is on a record's way. */
#ifndef LEAT_CLIENT_CONTROL_CHANNEL_H
#define LEAT_CLIENT_CONTROL_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/control.h"
#include "schema/units.h"

enum { CONTROL_PENDING_MAX = 64 };

/* `response` is NULL when none came: `error` says why. Else error is its own, and `text` what it
 * says, "" when it says nothing. Both are valid during the call. */
typedef void control_answer(void *context, int error, const char *text,
                            const Leat__Control__Response *response);

/* What the broker says without being asked; checked. Valid during the call. */
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

/* `notice` may be NULL: then notices are dropped. */
void control_channel_init(struct control_channel *channel, control_notice *notice, void *context);
void control_channel_use(struct control_channel *channel, int fd);

/* Queues the request (its id is set here). LEAT_BUSY: too many are unanswered;
 * LEAT_ERR_TOO_LARGE, LEAT_ERR_NO_MEMORY. */
enum leat_error control_channel_ask(struct control_channel *channel,
                                    Leat__Control__Request *request, leat_ns deadline,
                                    control_answer *answer, void *context);

/* Sends what the kernel takes. LEAT_OK: all; LEAT_AGAIN: a rest; LEAT_ERR_CLOSED. */
enum leat_error control_channel_flush(struct control_channel *channel);

/* Receives and answers, and hands notices on. *handled counts responses, *bytes what was received.
 * LEAT_OK, LEAT_ERR_CLOSED, LEAT_ERR_PROTOCOL, LEAT_ERR_NO_MEMORY. */
enum leat_error control_channel_receive(struct control_channel *channel, unsigned *handled,
                                        size_t *bytes);

/* Answers what is past its deadline with LEAT_ERR_TIMEOUT; returns the earliest of the rest. */
leat_ns control_channel_expire(struct control_channel *channel, leat_ns now);

/* Whoever asked with this context does not want the answer any more. */
void control_channel_forget(struct control_channel *channel, const void *context);

/* Closes the connection, which may be in the set of `epoll`; every pending request is answered with
 * `error`. */
void control_channel_end(struct control_channel *channel, int epoll, int error, const char *text);
void control_channel_release(struct control_channel *channel); /* and its memory */

#endif

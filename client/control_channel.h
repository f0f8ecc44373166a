/* The control connection: requests out, each with its deadline, responses back to who asked.
 *
 * Role: bytes to messages and back, and the table of what is unanswered.
 * Must not know: what the requests mean, when to reconnect.
 * Threads: one per object. May allocate: nothing here is on a record's way. */
#ifndef LEAT_CLIENT_CONTROL_LINK_H
#define LEAT_CLIENT_CONTROL_LINK_H

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

struct control_link {
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
void control_link_init(struct control_link *link, control_notice *notice, void *context);
void control_link_use(struct control_link *link, int fd);

/* Queues the request (its id is set here). LEAT_BUSY: too many are unanswered;
 * LEAT_ERR_TOO_LARGE, LEAT_ERR_NO_MEMORY. */
enum leat_error control_link_ask(struct control_link *link, Leat__Control__Request *request,
                                 leat_ns deadline, control_answer *answer, void *context);

/* Sends what the kernel takes. LEAT_OK: all; LEAT_AGAIN: a rest; LEAT_ERR_CLOSED. */
enum leat_error control_link_flush(struct control_link *link);

/* Receives and answers, and hands notices on. *handled counts responses, *bytes what was received.
 * LEAT_OK, LEAT_ERR_CLOSED, LEAT_ERR_PROTOCOL, LEAT_ERR_NO_MEMORY. */
enum leat_error control_link_receive(struct control_link *link, unsigned *handled, size_t *bytes);

/* Answers what is past its deadline with LEAT_ERR_TIMEOUT; returns the earliest of the rest. */
leat_ns control_link_expire(struct control_link *link, leat_ns now);

/* Whoever asked with this context does not want the answer any more. */
void control_link_forget(struct control_link *link, const void *context);

/* Closes the connection, which may be in the set of `epoll`; every pending request is answered with
 * `error`. */
void control_link_end(struct control_link *link, int epoll, int error, const char *text);
void control_link_release(struct control_link *link); /* and its memory */

#endif

/* Control by itself in the test's process, stepped one iteration at a time in virtual time, with
 * raw connections over loopback. There is one shard. The rig plays it, and does at once what
 * control asks of it. What the rig cannot do fails the test.
 *
 * Role: set up, time, requests and their answers.
 * Must not know: libleat, what a test expects. */
#ifndef LEAT_TESTS_SUPPORT_CONTROL_RIG_H
#define LEAT_TESTS_SUPPORT_CONTROL_RIG_H

#include <stdint.h>

#include "broker/control/control_state.h"

struct control_rig {
    struct config config; /* rig_init fills it; the test may change it before rig_open */
    struct catalog catalog;
    struct topics *topics;
    struct metrics *metrics;
    struct mailbox *inbox, *outbox;
    struct control *control;
    const struct statefile *state; /* NULL: nothing is kept */
    struct memory_budget memory;   /* without a limit, unless the test sets one */
    int wake, shard_wake;
    leat_ns now;
    uint64_t wall_ns;     /* at which the shard commits */
    uint64_t head_offset; /* of every log */
    uint64_t id;          /* of the last request */
    uint32_t stream;      /* the shard gave out last */
    bool refuse_publish;  /* the shard has no room for producers */
    bool ends_sessions; /* the session of a prepared publish stream has ended when it is answered */
    int16_t bind_status; /* which binding a publish stream has, of partitions from bind_fails on */
    uint32_t bind_fails;
    unsigned binds, fences; /* that were asked for */
    bool slow_worker;       /* what control gave it takes longer than a step */
};

/* The defaults, and a topic "t" of one partition. */
void rig_init(struct control_rig *rig);
void rig_open(struct control_rig *rig);
/* Control alone goes, as in an orderly end; rig_open starts it again. */
void rig_stop(struct control_rig *rig);
void rig_close(struct control_rig *rig);

/* One iteration, `ns` after the one before. */
void rig_step(struct control_rig *rig, leat_ns ns);
/* Steps that take `ns` together, in so many pieces. */
void rig_pass(struct control_rig *rig, leat_ns ns, unsigned pieces);

/* A connection from `host` ("127.0.0.2": another address) that has said Hello. */
int rig_peer(struct control_rig *rig, const char *host);
/* Sends it, with the next id; `body`: any request. */
void rig_send(struct control_rig *rig, int fd, Leat__Control__Request__BodyCase which, void *body);
/* What is said to it next; free with rig_done. */
Leat__Control__Response *rig_answer(struct control_rig *rig, int fd);
/* The answer; free with rig_done. `body`: any request. */
Leat__Control__Response *rig_ask(struct control_rig *rig, int fd,
                                 Leat__Control__Request__BodyCase which, void *body);
void rig_done(Leat__Control__Response *response);
/* Its error; frees it. `text` not NULL: it says that. */
int rig_error(Leat__Control__Response *response, const char *text);

#endif

/* What a member of a consumer group owes its broker, and what it may have open.
 *
 * Role: pure; answers and `now` in; the next request, and which partitions to open and to let go,
 * out. schema/PROTOCOL.md, "Groups", is what it follows.
 * Must not know: sockets, streams, records, the application.
 * Threads: one per object. */
#ifndef LEAT_CLIENT_MEMBER_STATE_H
#define LEAT_CLIENT_MEMBER_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/control.h"
#include "schema/limits.h"
#include "schema/units.h"

/* A heartbeat that is held, and newer ones because something was let go meanwhile. */
enum { MEMBER_STATE_UNDER_WAY_MAX = 4 };

enum member_state_step {
    MEMBER_STATE_OUT, /* joins when retry_at has come */
    MEMBER_STATE_JOINING,
    MEMBER_STATE_IN,
    MEMBER_STATE_OVER, /* fenced or refused: never joins again by itself */
};

enum member_state_request { MEMBER_STATE_NOTHING, MEMBER_STATE_JOIN, MEMBER_STATE_HEARTBEAT };

/* What a request was, for its answer. */
struct member_state_asked {
    enum member_state_request what;
    uint32_t life;
    uint32_t wait_ms; /* of a heartbeat */
    leat_ns sent;
};

struct member_state_answer {
    int error; /* leat_error */
    uint32_t retry_after_ms;
    const Leat__Control__GroupAssignment *assignment; /* when there is no error */
};

enum member_state_news {
    MEMBER_STATE_NO_NEWS,
    MEMBER_STATE_CONFIRMED, /* the broker has the member; look at the places */
    MEMBER_STATE_LOST,      /* it was out: every place is empty, and it joins again */
    MEMBER_STATE_FENCED,
    MEMBER_STATE_REFUSED,
};

/* One partition. */
enum {
    PLACE_ASSIGNED = 1, /* by the newest assignment */
    PLACE_HELD = 2,     /* said to be worked on; to be opened when it is not open */
    PLACE_LEAVING = 4,  /* asked to let go; still held */
};

struct member_state_topic {
    const char *name;    /* the caller's, as long as the membership */
    uint64_t id;         /* as it was described; 0: missing, or not known yet */
    uint32_t partitions; /* 0: not known yet */
    uint8_t *places;     /* of each; the caller's memory */
    bool named;          /* by the last join; the caller's */
    bool stale;          /* something was assigned of a topic with another id: describe it again */
};

struct member_state {
    enum member_state_step step;
    uint32_t life; /* answers of an earlier one are not listened to */
    uint32_t epoch;
    uint32_t heartbeat_ms;
    leat_ns session_ns;
    uint32_t under_way;
    leat_ns retry_at;
    leat_ns answered; /* when the newest request that was answered was sent */
    bool confirmed;   /* on this connection, and not silent for too long since */
    bool doubtful;    /* and whether that is so, is to be heard at once */
    bool changed;     /* the broker should hear at once what is held */
    struct member_state_topic topics[LEAT_GROUP_TOPICS_MAX];
    uint32_t topic_count;
};

/* What to ask at `now`; taken as sent. */
struct member_state_asked member_state_next(struct member_state *m, leat_ns now);
/* The broker still has the member, as far as can be known at `now`: what arrived may be handed out.
 */
bool member_state_is_in(const struct member_state *m, leat_ns now);
/* When there will be something to ask, if nothing comes before. */
leat_ns member_state_deadline(const struct member_state *m);

enum member_state_news member_state_answered(struct member_state *m,
                                             const struct member_state_asked *asked,
                                             const struct member_state_answer *answer, leat_ns now);

/* The connection is gone; nothing under way will be answered. */
void member_state_disconnected(struct member_state *m);

/* A stream was refused or dropped: the broker is asked at once how things are, but not before
 * `now` plus a pause. */
void member_state_doubt(struct member_state *m, leat_ns now);

/* A place that was LEAVING is closed: the next heartbeat says so. */
void member_state_let_go(struct member_state *m, uint32_t topic, uint32_t partition);

/* A refused join is worth another try, with other topics. */
void member_state_rejoin(struct member_state *m, leat_ns now);

/* It asks for nothing any more. */
void member_state_end(struct member_state *m);

#endif

/* The state of a group member: what it has to send to the broker, and which partitions it may open.
 *
 * Role: pure. Answers and `now` in; the next request, and which partitions to open and release,
 * out. Follows "Groups" in schema/PROTOCOL.md.
 * Must not know: sockets, streams, records, the application.
 * Threads: one per object. */
#ifndef LEAT_CLIENT_MEMBER_STATE_H
#define LEAT_CLIENT_MEMBER_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/control.h"
#include "schema/limits.h"
#include "schema/units.h"

/* A heartbeat that the broker holds, and newer ones sent because partitions were released
 * meanwhile. */
enum { MEMBER_STATE_UNDER_WAY_MAX = 4 };

enum member_state_step {
    MEMBER_STATE_OUT, /* joins at retry_at */
    MEMBER_STATE_JOINING,
    MEMBER_STATE_IN,
    MEMBER_STATE_OVER, /* fenced or refused: does not join again by itself */
};

enum member_state_request { MEMBER_STATE_NOTHING, MEMBER_STATE_JOIN, MEMBER_STATE_HEARTBEAT };

/* A request, kept for its answer. */
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
    MEMBER_STATE_CONFIRMED, /* the broker has the member; check the places */
    MEMBER_STATE_LOST,      /* the broker had removed the member: every place is empty, and it joins
                               again */
    MEMBER_STATE_FENCED,
    MEMBER_STATE_REFUSED,
};

/* One partition. */
enum {
    PLACE_ASSIGNED = 1, /* in the newest assignment */
    PLACE_HELD = 2,     /* reported to the broker as held; opened if it is not open */
    PLACE_LEAVING = 4,  /* the broker asked to release it; still held */
};

struct member_state_topic {
    const char *name;    /* the caller's; valid as long as the membership */
    uint64_t id;         /* from its description; 0: missing, or not known yet */
    uint32_t partitions; /* 0: not known yet */
    uint8_t *places;     /* of each partition; the caller's memory */
    bool named;          /* in the last join; set by the caller */
    bool stale; /* a partition of a topic with another id was assigned: describe the topic again */
};

struct member_state {
    enum member_state_step step;
    uint32_t life; /* answers to requests of an earlier life are ignored */
    uint32_t epoch;
    uint32_t heartbeat_ms;
    leat_ns session_ns;
    uint32_t under_way;
    leat_ns retry_at;
    leat_ns answered; /* when the newest answered request was sent */
    bool confirmed;   /* on this connection, and the broker has answered recently enough since */
    bool doubtful;    /* ask the broker at once whether that is still true */
    bool changed;     /* tell the broker at once what is held */
    struct member_state_topic topics[LEAT_GROUP_TOPICS_MAX];
    uint32_t topic_count;
};

/* Returns the request to send at `now`; counts it as sent. */
struct member_state_asked member_state_next(struct member_state *m, leat_ns now);
/* True if, as far as can be known at `now`, the broker still has the member: records that arrived
 * may be handed out. */
bool member_state_is_in(const struct member_state *m, leat_ns now);
/* When the next request is due if nothing happens before. */
leat_ns member_state_deadline(const struct member_state *m);

enum member_state_news member_state_answered(struct member_state *m,
                                             const struct member_state_asked *asked,
                                             const struct member_state_answer *answer, leat_ns now);

/* The connection was lost; pending requests will not be answered. */
void member_state_disconnected(struct member_state *m);

/* A stream was refused or dropped: asks the broker for the current assignment, after a short pause
 * from `now`. */
void member_state_doubt(struct member_state *m, leat_ns now);

/* A LEAVING partition was closed: the next heartbeat reports it. */
void member_state_let_go(struct member_state *m, uint32_t topic, uint32_t partition);

/* Joins again after a refused join, with other topics. */
void member_state_rejoin(struct member_state *m, leat_ns now);

/* Ends the membership: no more requests. */
void member_state_end(struct member_state *m);

#endif

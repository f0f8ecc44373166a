/* Where a group's reader wants to be committed, and where it stands.
 *
 * Role: pure; what the application asks and COMMITTED frames in, COMMIT frames out. One COMMIT is
 * under way at a time: what is asked meanwhile goes with the next, the newest for all.
 * Must not know: sockets, streams, records, who asks.
 * Threads: one per object. */
#ifndef LEAT_CLIENT_COMMIT_STATE_H
#define LEAT_CLIENT_COMMIT_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/frame.h"

struct commit_state {
    uint64_t offset; /* the newest that was asked for */
    uint64_t log_epoch;
    uint64_t sent;           /* of the COMMIT under way, or the last */
    uint64_t standing;       /* what the broker said stands ... */
    uint64_t standing_epoch; /* ... of this life of the log; 0: nothing */
    bool due;                /* `offset` is to be sent */
    bool waiting;            /* for an answer */
};

/* Everything below `offset` was processed. */
void commit_state_ask(struct commit_state *commits, uint64_t offset, uint64_t log_epoch);
/* True when a COMMIT is to be sent now; fills it, `lost` apart, and takes it as sent. */
bool commit_state_next(struct commit_state *commits, struct leat_frame_commit *frame);
/* Whether there is one, without taking it. */
bool commit_state_due(const struct commit_state *commits);
/* The packet with the COMMIT of that offset was lost. True when it must go again. */
bool commit_state_lost(struct commit_state *commits, uint64_t offset);
/* True when the frame answers the COMMIT under way; its status is that one's. */
bool commit_state_answered(struct commit_state *commits, const struct leat_frame_committed *frame);
/* The stream is gone: what was not answered is sent on the next one. */
void commit_state_interrupted(struct commit_state *commits);
/* Everything below is known to be committed in that log, or 0: what was answered, or at least
 * asked. */
uint64_t commit_state_known(const struct commit_state *commits, uint64_t log_epoch);
/* The broker said that the group stood at `offset` of that log: what was asked below it is
 * answered. */
void commit_state_cover(struct commit_state *commits, uint64_t offset, uint64_t log_epoch);
/* What the opening of a stream said. */
void commit_state_stand(struct commit_state *commits, uint64_t offset, uint64_t log_epoch);
/* LEAT_OFFSET_NONE: nothing. */
uint64_t commit_state_standing(const struct commit_state *commits);
/* Something was asked and not answered yet. */
bool commit_state_pending(const struct commit_state *commits);

#endif

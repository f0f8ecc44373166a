/* The commits of a group's reader: the offset requested, and the one the broker reported.
 *
 * Role: pure. Requests of the application and COMMITTED frames in, COMMIT frames out. One COMMIT is
 * unanswered at a time; what is requested meanwhile goes into the next, the newest offset for all.
 * Must not know: sockets, streams, records, who asks.
 * Threads: one per object. */
#ifndef LEAT_CLIENT_COMMIT_STATE_H
#define LEAT_CLIENT_COMMIT_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/frame.h"

struct commit_state {
    uint64_t offset; /* the newest requested */
    uint64_t log_epoch;
    uint64_t sent;           /* offset of the unanswered COMMIT, or of the last one */
    uint64_t standing;       /* committed offset that the broker reported ... */
    uint64_t standing_epoch; /* ... and its log epoch; 0: none reported */
    bool due;                /* `offset` has to be sent */
    bool waiting;            /* a COMMIT is unanswered */
};

/* Requests a commit: everything below `offset` was processed. */
void commit_state_ask(struct commit_state *commits, uint64_t offset, uint64_t log_epoch);
/* True if a COMMIT has to be sent now: fills all but its lost_ fields and counts it as sent. */
bool commit_state_next(struct commit_state *commits, struct leat_frame_commit *frame);
/* True if commit_state_next() would give one. */
bool commit_state_due(const struct commit_state *commits);
/* The packet with the COMMIT of `offset` was lost. True if the COMMIT has to be sent again. */
bool commit_state_lost(struct commit_state *commits, uint64_t offset);
/* Takes a COMMITTED. True if it answers the unanswered COMMIT, so that its status applies to it. */
bool commit_state_answered(struct commit_state *commits, const struct leat_frame_committed *frame);
/* The stream was closed: an unanswered commit is sent on the next one. */
void commit_state_interrupted(struct commit_state *commits);
/* Returns the offset in that log below which everything was committed, or at least requested; 0 if
 * there is none. */
uint64_t commit_state_known(const struct commit_state *commits, uint64_t log_epoch);
/* The broker reported that the group has committed `offset` in that log: requests up to it are
 * answered. */
void commit_state_cover(struct commit_state *commits, uint64_t offset, uint64_t log_epoch);
/* Takes the committed offset that the grant of a stream reported. */
void commit_state_stand(struct commit_state *commits, uint64_t offset, uint64_t log_epoch);
/* The committed offset as last reported; LEAT_OFFSET_NONE: none. */
uint64_t commit_state_standing(const struct commit_state *commits);
/* True if a request is not answered yet. */
bool commit_state_pending(const struct commit_state *commits);

#endif

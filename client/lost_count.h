/* How many records a group's reader lost, at least and at most, as reported in its COMMITs.
 *
 * Role: pure. Losses and stream openings in, the two numbers of a COMMIT out. Losses that the
 * broker counted itself when it opened the stream are left out. A loss goes into the first commit
 * beyond it: until then the group's offset is before the loss, and a member that continues there
 * counts it.
 * Must not know: events, streams, how frames travel.
 * Threads: one per object. */
#ifndef LEAT_CLIENT_LOST_COUNT_H
#define LEAT_CLIENT_LOST_COUNT_H

#include <stdint.h>

#include "schema/frame.h"

struct lost_number {
    uint64_t at_least, at_most;
};

struct lost_count {
    uint64_t counted; /* the broker counted losses below this offset */
    uint64_t end;     /* of the last loss noted */
    /* On this stream: noted, reported in a COMMIT, and reported in an answered COMMIT. */
    struct lost_number noted, told, answered;
};

/* The stream was opened at the committed offset and begins at `offset`; the broker counted what
 * lies between. */
void lost_count_begin(struct lost_count *count, uint64_t offset);
/* The stream was opened at the reader's own position. Losses that no COMMIT reported carry over to
 * this stream. Losses in an unanswered COMMIT may or may not have been counted, unless `committed`
 * shows that the COMMIT arrived.
 * `committed`: the committed offset that the broker reported at the opening.
 * `sent`: the offset of the last COMMIT on the old stream.
 * `stood`: the committed offset when that COMMIT was sent.
 * `most`: upper bound on the records lost since `committed`. */
void lost_count_resume(struct lost_count *count, uint64_t committed, uint64_t sent, uint64_t stood,
                       uint64_t most);
/* Notes that records of [first, next) were lost; `seen` and `certain` as in schema/loss.h. */
void lost_count_note(struct lost_count *count, uint64_t first, uint64_t next, uint64_t seen,
                     uint64_t certain);
/* Fills in the numbers of a COMMIT about to be sent. */
void lost_count_fill(struct lost_count *count, struct leat_frame_commit *commit);
/* The broker accepted the last COMMIT. */
void lost_count_answered(struct lost_count *count);

#endif

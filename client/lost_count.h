/* How many records a group's reader lost, as its COMMITs tell the broker: at least and at most.
 *
 * Role: pure; losses and openings in, the two numbers of COMMIT out. What the broker counted when
 * it opened the stream is left out. A loss goes with the first commit that lies behind it: before
 * that the group still stands before it, and whoever goes on there counts it. Must not know:
 * events, streams, frames' way. Threads: one per object. */
#ifndef LEAT_CLIENT_LOST_COUNT_H
#define LEAT_CLIENT_LOST_COUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/frame.h"

struct lost_number {
    uint64_t at_least, at_most;
};

struct lost_count {
    uint64_t counted; /* the broker counted what was lost below this offset */
    uint64_t end;     /* of the last loss that was noted */
    /* On this stream: all, those that a COMMIT told, and those whose COMMIT was answered. */
    struct lost_number noted, told, answered;
};

/* The stream was opened where the group stands, and begins at `offset`: what lies between is
 * counted. */
void lost_count_begin(struct lost_count *count, uint64_t offset);
/* It was opened where the reader stands. `committed`: the group's place as the broker said it then;
 * `sent`, `stood`: the offset of the last COMMIT of the old stream, and what stood when it was
 * sent; `most`: more than so many cannot have been lost from that place on. What no COMMIT told
 * goes on with this stream; what one told that was not answered may be counted or not, unless
 * `committed` shows that it arrived. */
void lost_count_resume(struct lost_count *count, uint64_t committed, uint64_t sent, uint64_t stood,
                       uint64_t most);
/* Records of [first, next) were lost; seen and certain as in schema/loss.h. */
void lost_count_note(struct lost_count *count, uint64_t first, uint64_t next, uint64_t seen,
                     uint64_t certain);
/* Fills the numbers of a COMMIT that is about to be sent. */
void lost_count_fill(struct lost_count *count, struct leat_frame_commit *commit);
/* The broker took what the last COMMIT told. */
void lost_count_answered(struct lost_count *count);

#endif

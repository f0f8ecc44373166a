#include "client/commit_state.h"

void commits_ask(struct commits *commits, uint64_t offset, uint64_t log_epoch)
{
    commits->offset = offset;
    commits->log_epoch = log_epoch;
    commits->due = true;
}

bool commits_due(const struct commits *commits)
{
    return commits->due && !commits->waiting;
}

bool commits_next(struct commits *commits, struct leat_frame_commit *frame)
{
    if (!commits_due(commits))
        return false;
    *frame =
        (struct leat_frame_commit){ .offset = commits->offset, .log_epoch = commits->log_epoch };
    commits->sent = commits->offset;
    commits->due = false;
    commits->waiting = true;
    return true;
}

bool commits_lost(struct commits *commits, uint64_t offset)
{
    if (!commits->waiting || commits->sent != offset)
        return false;
    commits_interrupted(commits);
    return true;
}

bool commits_answered(struct commits *commits, const struct leat_frame_committed *frame)
{
    /* In packets an older answer may come behind a newer one. */
    if (frame->log_epoch != 0 && frame->offset != LEAT_OFFSET_NONE
        && (frame->log_epoch != commits->standing_epoch || frame->offset > commits->standing))
        commits_stand(commits, frame->offset, frame->log_epoch);
    if (!commits->waiting || frame->asked != commits->sent)
        return false;
    commits->waiting = false;
    return true;
}

void commits_interrupted(struct commits *commits)
{
    commits->due = commits->due || commits->waiting;
    commits->waiting = false;
}

uint64_t commits_known(const struct commits *commits, uint64_t log_epoch)
{
    const uint64_t stands = commits->standing_epoch == log_epoch ? commits->standing : 0;
    const bool asked = commits_pending(commits) && commits->log_epoch == log_epoch;
    return asked && commits->offset > stands ? commits->offset : stands;
}

void commits_cover(struct commits *commits, uint64_t offset, uint64_t log_epoch)
{
    if (commits->log_epoch == log_epoch && commits->offset <= offset)
        commits->due = false;
}

void commits_stand(struct commits *commits, uint64_t offset, uint64_t log_epoch)
{
    commits->standing = offset;
    commits->standing_epoch = log_epoch;
}

uint64_t commits_standing(const struct commits *commits)
{
    return commits->standing_epoch != 0 ? commits->standing : LEAT_OFFSET_NONE;
}

bool commits_pending(const struct commits *commits)
{
    return commits->due || commits->waiting;
}

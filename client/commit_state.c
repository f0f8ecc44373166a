/* The commits of a group's reader: the offset requested, and the one the broker reported. */
#include "client/commit_state.h"

void commit_state_ask(struct commit_state *commits, uint64_t offset, uint64_t log_epoch)
{
    commits->offset = offset;
    commits->log_epoch = log_epoch;
    commits->due = true;
}

bool commit_state_due(const struct commit_state *commits)
{
    return commits->due && !commits->waiting;
}

bool commit_state_next(struct commit_state *commits, struct leat_frame_commit *frame)
{
    if (!commit_state_due(commits))
        return false;
    *frame =
        (struct leat_frame_commit){ .offset = commits->offset, .log_epoch = commits->log_epoch };
    commits->sent = commits->offset;
    commits->due = false;
    commits->waiting = true;
    return true;
}

bool commit_state_lost(struct commit_state *commits, uint64_t offset)
{
    if (!commits->waiting || commits->sent != offset)
        return false;
    commit_state_interrupted(commits);
    return true;
}

bool commit_state_answered(struct commit_state *commits, const struct leat_frame_committed *frame)
{
    /* Over packets an older answer may arrive after a newer one. */
    if (frame->log_epoch != 0 && frame->offset != LEAT_OFFSET_NONE
        && (frame->log_epoch != commits->standing_epoch || frame->offset > commits->standing))
        commit_state_stand(commits, frame->offset, frame->log_epoch);
    if (!commits->waiting || frame->asked != commits->sent)
        return false;
    commits->waiting = false;
    return true;
}

void commit_state_interrupted(struct commit_state *commits)
{
    commits->due = commits->due || commits->waiting;
    commits->waiting = false;
}

uint64_t commit_state_known(const struct commit_state *commits, uint64_t log_epoch)
{
    const uint64_t stands = commits->standing_epoch == log_epoch ? commits->standing : 0;
    const bool asked = commit_state_pending(commits) && commits->log_epoch == log_epoch;
    return asked && commits->offset > stands ? commits->offset : stands;
}

void commit_state_cover(struct commit_state *commits, uint64_t offset, uint64_t log_epoch)
{
    if (commits->log_epoch == log_epoch && commits->offset <= offset)
        commits->due = false;
}

void commit_state_stand(struct commit_state *commits, uint64_t offset, uint64_t log_epoch)
{
    commits->standing = offset;
    commits->standing_epoch = log_epoch;
}

uint64_t commit_state_standing(const struct commit_state *commits)
{
    return commits->standing_epoch != 0 ? commits->standing : LEAT_OFFSET_NONE;
}

bool commit_state_pending(const struct commit_state *commits)
{
    return commits->due || commits->waiting;
}

/* How many records a group's reader lost, at least and at most, as reported in its COMMITs. */
#include "client/lost_count.h"

#include "schema/loss.h"

void lost_count_begin(struct lost_count *count, uint64_t offset)
{
    *count = (struct lost_count){ .counted = offset };
}

void lost_count_resume(struct lost_count *count, uint64_t committed, uint64_t sent, uint64_t stood,
                       uint64_t most)
{
    struct lost_number left = { .at_least = count->noted.at_least - count->told.at_least,
                                .at_most = count->noted.at_most - count->told.at_most };
    const bool arrived = sent > stood && committed >= sent;
    if (!arrived)
        left.at_most += count->told.at_most - count->answered.at_most;
    if (left.at_most > most)
        left.at_most = most;
    if (left.at_least > left.at_most)
        left.at_least = left.at_most;
    count->noted = left;
    count->told = count->answered = (struct lost_number){ 0 };
}

void lost_count_note(struct lost_count *count, uint64_t first, uint64_t next, uint64_t seen,
                     uint64_t certain)
{
    const uint64_t from = first > count->counted ? first : count->counted;
    if (next <= from)
        return;
    count->noted.at_least += leat_lost_at_least(from, next, seen, certain);
    count->noted.at_most += next - from;
    count->end = next;
}

void lost_count_fill(struct lost_count *count, struct leat_frame_commit *commit)
{
    if (commit->offset >= count->end)
        count->told = count->noted;
    commit->lost_at_least = count->told.at_least;
    commit->lost_at_most = count->told.at_most;
}

void lost_count_answered(struct lost_count *count)
{
    count->answered = count->told;
}

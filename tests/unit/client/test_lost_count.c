/* Goal: what a group's reader lost reaches the broker once, however its streams end, and between
 * two bounds where nobody can know. Method: losses, commits and openings by hand. */
#include <criterion/criterion.h>

#include "client/lost_count.h"

enum { ANY = 1000000 };

static struct leat_frame_commit commit(struct lost_count *count, uint64_t offset)
{
    struct leat_frame_commit frame = { .offset = offset };
    lost_count_fill(count, &frame);
    return frame;
}

static void expect(struct leat_frame_commit frame, uint64_t at_least, uint64_t at_most)
{
    cr_assert_eq(frame.lost_at_least, at_least, "%lu", (unsigned long)frame.lost_at_least);
    cr_assert_eq(frame.lost_at_most, at_most, "%lu", (unsigned long)frame.lost_at_most);
}

Test(lost_count, what_the_opening_counted_is_left_out)
{
    struct lost_count count;
    lost_count_begin(&count, 50);
    lost_count_note(&count, 10, 50, 0, 0);
    expect(commit(&count, 50), 0, 0);
    /* It was not told yet when more was overrun: only that is new. */
    lost_count_note(&count, 10, 70, 0, 0);
    expect(commit(&count, 70), 20, 20);
    lost_count_note(&count, 80, 90, 0, 0);
    expect(commit(&count, 95), 30, 30);
}

/* Whoever goes on before it counts it. */
Test(lost_count, a_loss_goes_with_the_first_commit_behind_it)
{
    struct lost_count count;
    lost_count_begin(&count, 0);
    lost_count_note(&count, 10, 20, 0, 0);
    expect(commit(&count, 10), 0, 0);
    expect(commit(&count, 19), 0, 0);
    expect(commit(&count, 20), 10, 10);
    lost_count_note(&count, 30, 40, 0, 0);
    expect(commit(&count, 25), 10, 10);
    expect(commit(&count, 45), 20, 20);
}

Test(lost_count, both_bounds_are_told)
{
    struct lost_count count;
    lost_count_begin(&count, 0);
    lost_count_note(&count, 10, 100, 15, 97);
    expect(commit(&count, 100), 5 + 3, 90);
}

Test(lost_count, what_no_commit_told_goes_on_with_the_next_stream)
{
    struct lost_count count;
    lost_count_begin(&count, 0);
    lost_count_note(&count, 10, 20, 0, 0);
    expect(commit(&count, 20), 10, 10);
    lost_count_answered(&count);
    lost_count_note(&count, 30, 45, 0, 0);
    lost_count_resume(&count, 20, 20, 0, ANY);
    expect(commit(&count, 30), 0, 0);
    expect(commit(&count, 45), 15, 15);
}

/* The COMMIT or its answer was lost with the connection. */
Test(lost_count, what_may_be_counted_is_told_at_most)
{
    struct lost_count arrived, perhaps, bounded;
    lost_count_begin(&arrived, 0);
    lost_count_note(&arrived, 10, 20, 0, 0);
    commit(&arrived, 20);
    perhaps = bounded = arrived;
    lost_count_resume(&arrived, 20, 20, 0, ANY);
    expect(commit(&arrived, 25), 0, 0);
    lost_count_resume(&perhaps, 20, 20, 20, ANY);
    expect(commit(&perhaps, 25), 0, 10);
    lost_count_resume(&bounded, 20, 20, 20, 4);
    expect(commit(&bounded, 25), 0, 4);
}

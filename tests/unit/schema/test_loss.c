/* Goal: what is certain of a loss is counted once, and never more than the range. Method: every
 * combination of small numbers, against counting one by one. */
#include <criterion/criterion.h>

#include "schema/loss.h"

enum { END = 9 };

Test(loss, is_what_counting_one_by_one_gives)
{
    for (uint64_t first = 0; first < END; first++)
        for (uint64_t next = 0; next < END; next++)
            for (uint64_t seen = 0; seen < END; seen++)
                for (uint64_t certain = 0; certain < END; certain++) {
                    uint64_t count = 0;
                    for (uint64_t at = first; at < next; at++)
                        count += at < seen || at >= certain;
                    cr_assert_eq(leat_lost_at_least(first, next, seen, certain), count);
                }
}

Test(loss, large_numbers_do_not_wrap)
{
    cr_assert_eq(leat_lost_at_least(0, UINT64_MAX, UINT64_MAX, UINT64_MAX), UINT64_MAX);
    cr_assert_eq(leat_lost_at_least(5, UINT64_MAX, 0, 0), UINT64_MAX - 5);
    cr_assert_eq(leat_lost_at_least(UINT64_MAX, 5, UINT64_MAX, 0), 0u);
}

/* The fewest partitions that must change hands, counted by itself.
 *
 * Role: the oracle of a sticky and even assignment.
 * Must not know: how it is made. */
#ifndef LEAT_TESTS_UNIT_BROKER_GROUP_GROUP_MOVES_H
#define LEAT_TESTS_UNIT_BROKER_GROUP_GROUP_MOVES_H

#include <stdlib.h>

static inline int group_more_first(const void *a, const void *b)
{
    return *(const int *)b - *(const int *)a;
}

/* `has[i]` of `partitions` are with member i: what each has above an even share. Sorts `has`. */
static inline unsigned group_least_moves(int *has, int members, int partitions)
{
    unsigned moves = 0;
    qsort(has, (size_t)members, sizeof has[0], group_more_first);
    for (int i = 0; i < members; i++) {
        const int quota = partitions / members + (i < partitions % members);
        moves += (unsigned)(has[i] > quota ? has[i] - quota : 0);
    }
    return moves;
}

#endif

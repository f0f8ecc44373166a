/* Assignor: decides which member of a group gets which partition.
 *
 * Role: sets the target of every partition of a group. The assignment is even (the numbers of
 * partitions of two members differ by at most one) and sticky (as few changes as that allows). If
 * all members subscribe to the same topics, all partitions are assigned as one pool. Otherwise each
 * topic is assigned separately among its subscribers, and the remainder goes to the members with
 * the fewest partitions.
 * Must not know: how a partition moves between members, time.
 * Threads: any; there is no state. Allocates nothing. */
#ifndef LEAT_BROKER_GROUP_ASSIGNOR_H
#define LEAT_BROKER_GROUP_ASSIGNOR_H

#include "broker/group/group.h"

/* Sets `target` of every partition of the group. */
void assignor_run(struct group *group);

#endif

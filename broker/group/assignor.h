/* Assignor: who of a group's members is to have which partition.
 *
 * Role: sets the target of every partition of a group: as evenly as can be (the numbers of two
 * members differ by at most one), and with as few changes as that allows. Members that all name the
 * same topics share all of their partitions as one heap; else each topic is shared out by itself
 * among those who name it, what does not divide evenly going to who has least.
 * Must not know: how a partition goes from one to another, time.
 * Threads: any; nothing here has state. Allocates nothing. */
#ifndef LEAT_BROKER_GROUP_ASSIGNOR_H
#define LEAT_BROKER_GROUP_ASSIGNOR_H

#include "broker/group/group.h"

void assignor_run(struct group *group);

#endif

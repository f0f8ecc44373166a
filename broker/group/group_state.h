/* Group state: private to group*.c.
 *
 *      group.c         groups and their topics: create, free, find
 *      group_member.c  requests of members
 *      group_step.c    hand-over of partitions; timeouts
 *
 * Threads: control. */
#ifndef LEAT_BROKER_GROUP_GROUP_STATE_H
#define LEAT_BROKER_GROUP_GROUP_STATE_H

#include "broker/group/group.h"

/* ---- group.c */

/* Makes room for one more pointer in the array of `count` pointers. False: no memory. */
bool group_make_room(void *array, uint32_t count, uint32_t *room);
/* The index of the first member whose id is not less than `id`. */
uint32_t group_place_of_member(const struct group *group, const char *id);
/* Finds or creates the group. LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY. */
enum leat_error group_have(struct groups *g, const char *name, void *maker, struct group **out,
                           const char **why);
/* Finds or creates the topic in the group. LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY. */
enum leat_error group_have_topic(struct groups *g, struct group *group,
                                 const struct group_topic_ref *ref, void *maker,
                                 struct group_topic **out, const char **why);
/* See hooks.take. */
bool group_take(struct groups *g, void *maker, enum group_table table, uint32_t count,
                const char **why);
void group_give_back(struct groups *g, void *maker, enum group_table table, uint32_t count);
void group_free_topic(struct groups *g, struct group_topic *topic);
/* Retries topics for which the group had no room. */
void group_retry_refused(struct groups *g, struct group *group);
void group_free_member(struct groups *g, struct group_member *member);
/* Frees the group if it has neither members nor topics. True: it was freed. */
bool group_free_empty(struct groups *g, struct group *group);
void group_free(struct groups *g, struct group *group);

/* ---- group_member.c */

void group_remove_member(struct groups *g, struct group_member *member, enum group_out why);

/* ---- group_step.c */

/* Sets the owner of a partition (NULL: none) and updates group->in_use. */
void group_set_owner(struct group_partition *p, struct group_member *owner);
/* A partition of `member` enters or leaves the state LEAVING: updates the counts. */
void group_begin_leaving(struct group_member *member);
void group_end_leaving(struct group_member *member);

/* The next groups_step must handle the group. */
void group_unsettle(struct groups *g, struct group *group);
/* Takes the partition from its owner; the shard has to close the stream. */
void group_start_drop(struct groups *g, struct group_partition *p);
/* The same for every partition of `member`. */
void group_drop_all(struct groups *g, struct group_member *member);
/* Sets the timer to the next timeout of the member. */
void group_set_timer(struct groups *g, struct group_member *member);
/* Queues the held request of the member, if any, for groups_next_answer. */
void group_want_answer(struct groups *g, struct group_member *member);

#endif

/* Group state: what the files group*.c share, and nobody else sees.
 *
 *      group.c         groups and their topics: birth, death, finding
 *      group_member.c  members' requests
 *      group_step.c    partitions change hands; timeouts
 *
 * Threads: control's. */
#ifndef LEAT_BROKER_GROUP_GROUP_STATE_H
#define LEAT_BROKER_GROUP_GROUP_STATE_H

#include "broker/group/group.h"

/* ---- group.c */

/* Makes room for one more pointer in an array of `count`. */
bool group_make_room(void *array, uint32_t count, uint32_t *room);
/* The place of the first member whose id is not below `id`. */
uint32_t group_place_of_member(const struct group *group, const char *id);
/* Found or made. LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY. */
enum leat_error group_have(struct groups *g, const char *name, void *maker, struct group **out,
                           const char **why);
enum leat_error group_have_topic(struct groups *g, struct group *group,
                                 const struct group_topic_ref *ref, void *maker,
                                 struct group_topic **out, const char **why);
/* Takes of a table, as hooks.take does. */
bool group_take(struct groups *g, void *maker, enum group_table table, uint32_t count,
                const char **why);
void group_give_back(struct groups *g, void *maker, enum group_table table, uint32_t count);
void group_free_topic(struct groups *g, struct group_topic *topic);
/* Topics that the group had no room for get some when there is. */
void group_retry_refused(struct groups *g, struct group *group);
void group_free_member(struct groups *g, struct group_member *member);
/* Frees it if it has neither members nor topics. True: it did. */
bool group_free_empty(struct groups *g, struct group *group);
void group_free(struct groups *g, struct group *group);

/* ---- group_member.c */

void group_remove_member(struct groups *g, struct group_member *member, enum group_out why);

/* ---- group_step.c */

/* The owner of a partition, and the group's count of partitions in use. NULL: nobody. */
void group_set_owner(struct group_partition *p, struct group_member *owner);
/* One partition of `member` enters the state LEAVING, or ends it. */
void group_begin_leaving(struct group_member *member);
void group_end_leaving(struct group_member *member);

/* It is to be looked at in the next step. */
void group_unsettle(struct groups *g, struct group *group);
/* Its owner has it no more, whatever it thinks. */
void group_start_drop(struct groups *g, struct group_partition *p);
void group_drop_all(struct groups *g, struct group_member *member);
/* When its next timeout is. */
void group_set_timer(struct groups *g, struct group_member *member);
void group_want_answer(struct groups *g, struct group_member *member);

#endif

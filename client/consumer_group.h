/* Group membership of a consumer: member_state.h over the control connection, and its effect on the
 * consumer's readers.
 *
 * Role: joining, heartbeats, leaving; partitions assigned and revoked, with their events; when to
 * commit what was processed. consumer_commit.c implements the commits.
 * Must not know: sockets, bytes of frames.
 * Threads: the client's. `consumer` is in a group unless stated otherwise. */
#ifndef LEAT_CLIENT_CONSUMER_GROUP_H
#define LEAT_CLIENT_CONSUMER_GROUP_H

#include "client/client_state.h"

/* Makes consumer->group. LEAT_ERR_NO_MEMORY. */
enum leat_error group_make(struct leat_consumer *consumer,
                           const struct leat_consumer_options *options);
void group_unmake(struct leat_consumer *consumer);

/* Sends requests that are due, opens new partitions, releases revoked ones. */
void group_advance(struct leat_consumer *consumer);
/* Schedules the next group_advance() and returns when that is. */
leat_ns group_timers(struct leat_consumer *consumer);
void group_disconnected(struct leat_consumer *consumer);
/* True if the broker confirmed the member on this connection, or if none of its topics exists. */
bool group_is_settled(const struct leat_consumer *consumer);
/* True if records may be handed out: as far as we can know, the broker still has the member. */
bool group_hands_out(const struct leat_consumer *consumer);

/* The topic was described, and its readers exist. LEAT_ERR_NO_MEMORY, with the error text. */
enum leat_error group_topic_known(struct subscribed *topic, const Leat__Control__Topic *told);
/* The topic does not exist: it becomes OWNER_AWAITED. */
void group_topic_missing(struct subscribed *topic);

/* Sends the last commits as far as possible, before the streams are closed. */
void group_finish(struct leat_consumer *consumer);
/* Leaves the group, after group_finish() and closing the streams. */
void group_leave(struct leat_consumer *consumer);
/* Leaves the group because the consumer ended for another reason. */
void group_end(struct leat_consumer *consumer);

#endif

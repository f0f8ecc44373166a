/* A consumer's part in its group: member_state.h over the control connection, and what it means for
 * the consumer's readers.
 *
 * Role: joining, heartbeats, leaving; partitions that come and go, with their events; when to
 * commit what was processed. consumer_commit.c has the commits themselves.
 * Must not know: sockets, bytes of frames.
 * Threads: the client's. `consumer` is of a group, but where it says otherwise. */
#ifndef LEAT_CLIENT_CONSUMER_GROUP_H
#define LEAT_CLIENT_CONSUMER_GROUP_H

#include "client/client_state.h"

/* Makes consumer->group. LEAT_ERR_NO_MEMORY. */
enum leat_error group_make(struct leat_consumer *consumer,
                           const struct leat_consumer_options *options);
void group_unmake(struct leat_consumer *consumer);

/* Says what is to be said now, opens what came, closes what goes. */
void group_advance(struct leat_consumer *consumer);
/* Sees to it that group_advance is called when it is time; returns when that is next. */
leat_ns group_timers(struct leat_consumer *consumer);
void group_disconnected(struct leat_consumer *consumer);
/* It is a member, and the broker said so on this connection; or none of its topics is there. */
bool group_is_settled(const struct leat_consumer *consumer);
/* Records may be handed out: the broker has the member, as far as we can know. */
bool group_hands_out(const struct leat_consumer *consumer);

/* The topic was described so, its readers are made. LEAT_ERR_NO_MEMORY, with its story. */
enum leat_error group_topic_known(struct subscribed *topic, const Leat__Control__Topic *told);
/* There is no such topic: it is OWNER_AWAITED. */
void group_topic_missing(struct subscribed *topic);

/* Before the streams are closed: the last commits, as far as they can be said. */
void group_finish(struct leat_consumer *consumer);
/* After that. */
void group_leave(struct leat_consumer *consumer);
/* The consumer is over, but not because of its group: it leaves. */
void group_end(struct leat_consumer *consumer);

#endif

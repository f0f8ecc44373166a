/* The partitions of a group member: which ones its readers open, hold and release, and what it
 * commits.
 *
 * Role: readers follow the places of member_state.h; streams that are opened, ended or refused,
 * with their events; which records were processed.
 * Must not know: requests to the broker and their answers, which belong to consumer_group.h.
 * Threads: the client's. `consumer` is in a group unless stated otherwise. */
#ifndef LEAT_CLIENT_MEMBER_READERS_H
#define LEAT_CLIENT_MEMBER_READERS_H

#include "client/client_state.h"

/* The topic as the membership knows it. */
struct member_state_topic *group_known(const struct subscribed *topic);

/* Calls `visit` for each reader of the consumer. */
void group_each_reader(struct leat_consumer *consumer, void (*visit)(struct reader *reader));

/* The PLACE_ bits of the reader's partition. */
uint8_t *group_place(const struct reader *reader);

/* Drops the partition: records that arrived are not handed out. */
void group_drop(struct reader *reader);
/* Requests a stream if the partition is assigned and not open. */
void group_want(struct reader *reader);
/* Forgets this member's position: the partition now belongs to another member. */
void group_forget_place(struct reader *reader);
/* Takes the next step of releasing the partition: tell the application, wait for the last commit,
 * close the stream. */
void group_let_go(struct reader *reader);
/* True if the topic is gone, and TOPIC_DELETED is reported once the records that arrived were
 * handed out. */
bool group_end_comes(const struct reader *reader);
/* All partitions now belong to other members. */
void group_lose_all(struct leat_consumer *consumer);

/* For any consumer: takes the committed offset in the stream's grant as the application's position.
 * False: there is no such position. */
bool group_places(struct reader *reader, const Leat__Control__SubscriptionStream *stream);
/* The reader's stream was opened. */
void group_opened(struct reader *reader, const Leat__Control__SubscriptionStream *stream);
/* The reader's stream, or every stream requested, was refused. True if the group handles it. */
bool group_refused(struct reader *reader, int error);
bool group_refused_all(struct subscribed *topic, int error);

/* The reader lost its stream: asks the broker at once whether the partition is still assigned. */
void group_doubt(struct reader *reader);
/* The stream ended because the topic was deleted; the application was told. */
void group_topic_deleted(struct reader *reader);

/* The application has processed the records of the partition that were handed out. */
void group_processed(struct reader *reader);
/* Commits what was processed now, without waiting for the interval. */
void group_commit_processed(struct reader *reader);

#endif

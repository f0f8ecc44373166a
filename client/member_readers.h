/* The partitions of a group's member: which its readers open, hold and let go, and what it commits.
 *
 * Role: readers follow the places of member_state.h; streams that open, end and are refused, with
 * the events of that; what was processed. Must not know: requests to the broker and their answers,
 * which are consumer_group.h's. Threads: the client's. `consumer` is of a group, but where it says
 * otherwise. */
#ifndef LEAT_CLIENT_MEMBER_READERS_H
#define LEAT_CLIENT_MEMBER_READERS_H

#include "client/client_state.h"

/* What the membership knows of the topic. */
struct member_state_topic *group_known(const struct subscribed *topic);

/* Calls for each reader of the consumer. */
void group_each_reader(struct leat_consumer *consumer, void (*visit)(struct reader *reader));

/* PLACE_ bits of its partition. */
uint8_t *group_place(const struct reader *reader);

/* It is nobody's here: nothing that arrived of it is handed out. */
void group_drop(struct reader *reader);
/* What is assigned and not open is to be opened. */
void group_want(struct reader *reader);
/* What is another's says nothing of where this member stood. */
void group_forget_place(struct reader *reader);
/* One step of letting go: the application is told, its last commit answered, the stream closed. */
void group_let_go(struct reader *reader);
/* Its topic is gone, and it is told so when what has come of it was handed out. */
bool group_end_comes(const struct reader *reader);
/* Everything is others' now. */
void group_lose_all(struct leat_consumer *consumer);

/* Of any consumer: where the group stood, as the stream's grant says it, is where the application
 * stands. False: it has no such place. */
bool group_places(struct reader *reader, const Leat__Control__SubscriptionStream *stream);
/* Its stream is open. */
void group_opened(struct reader *reader, const Leat__Control__SubscriptionStream *stream);
/* Its stream, or every one that was asked for, was refused. True: the group sees to it. */
bool group_refused(struct reader *reader, int error);
bool group_refused_all(struct subscribed *topic, int error);

/* It has no stream any more, and whether the partition is this member's is to be heard at once. */
void group_doubt(struct reader *reader);
/* Its stream ended with the topic, and the application was told. */
void group_topic_deleted(struct reader *reader);

/* The application has done with what it was handed of the partition. */
void group_processed(struct reader *reader);
/* What was processed is committed now, not when its interval is over. */
void group_commit_processed(struct reader *reader);

#endif

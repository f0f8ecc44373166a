/* The topics of a consumer: what the broker says of each, and readers made by it.
 *
 * Role: describing a topic; what a refusal means for it. consumer_open.c opens its streams then.
 * Must not know: streams, records, what groups say to the broker.
 * Threads: the client's. */
#ifndef LEAT_CLIENT_CONSUMER_TOPICS_H
#define LEAT_CLIENT_CONSUMER_TOPICS_H

#include "client/client_state.h"

/* Asks what the topic is like; it is OWNER_OPEN once that is known. Again later when there is no
 * room for the request now. */
void topic_describe(struct subscribed *topic);

/* Something was refused because of the topic: the end of the opening, of the topic, of the consumer
 * or of the connection, or to be asked for again. */
void topic_refused(struct subscribed *topic, int error, const char *text);
/* It is asked for again after a pause; the application is told. What of it is open stays so. */
void topic_put_off(struct subscribed *topic, int error, const char *text);
/* Its group refuses streams of it as if it did not know what it said: the application is told when
 * that lasts. */
void topic_doubted(struct subscribed *topic, int error, const char *text);
/* The group has no room for it (`error`), or has again (0). */
void topic_partless(struct subscribed *topic, int error, const char *text);
/* When one that was put off is to be asked for; sees to those that are due. */
leat_ns topics_timers(struct leat_consumer *consumer);
/* Of a consumer that is being made. */
void topics_init(struct leat_consumer *consumer);
/* Whether a request about the topic was answered without an error; sees to it otherwise. */
bool topic_answer_came(struct subscribed *topic, int error, const char *text,
                       const Leat__Control__Response *response);

#endif

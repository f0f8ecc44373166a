/* The topics of a consumer: their descriptions, and the readers created from them.
 *
 * Role: describing a topic; handling refusals that concern it. consumer_open.c then opens its
 * streams.
 * Must not know: streams, records, what groups say to the broker.
 * Threads: the client's. */
#ifndef LEAT_CLIENT_CONSUMER_TOPICS_H
#define LEAT_CLIENT_CONSUMER_TOPICS_H

#include "client/client_state.h"

/* Requests the topic's description, after which it is OWNER_OPEN. Retries later if there is no room
 * for the request. */
void topic_describe(struct subscribed *topic);

/* Handles a refusal that concerns the topic: it fails the opening, ends the topic, the consumer or
 * the connection, or is retried later. */
void topic_refused(struct subscribed *topic, int error, const char *text);
/* Retries the topic after a pause and tells the application. Its open streams stay open. */
void topic_put_off(struct subscribed *topic, int error, const char *text);
/* The group refuses streams of the topic as if it did not know its own assignment: tells the
 * application if that lasts. */
void topic_doubted(struct subscribed *topic, int error, const char *text);
/* The group has no room for the topic (`error`), or has again (0). */
void topic_partless(struct subscribed *topic, int error, const char *text);
/* Retries topics that are due. Returns when the next one is. */
leat_ns topics_timers(struct leat_consumer *consumer);
/* Initialises the topics of a new consumer. */
void topics_init(struct leat_consumer *consumer);
/* True if a request about the topic was answered without an error. Otherwise handles the error. */
bool topic_answer_came(struct subscribed *topic, int error, const char *text,
                       const Leat__Control__Response *response);

#endif

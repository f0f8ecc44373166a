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

/* Something was refused because of the topic: the end of the opening, of the topic, or of the
 * connection. */
void topic_refused(struct subscribed *topic, int error, const char *text);
/* Whether a request about the topic was answered without an error; sees to it otherwise. */
bool topic_answer_came(struct subscribed *topic, int error, const char *text,
                       const Leat__Control__Response *response);

#endif

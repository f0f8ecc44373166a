/* A group member's requests on the control connection.
 *
 * Role: member_state.h's requests as messages, and their answers back to it.
 * Must not know: streams, records.
 * Threads: the client's. */
#ifndef LEAT_CLIENT_MEMBER_REQUESTS_H
#define LEAT_CLIENT_MEMBER_REQUESTS_H

#include "client/client_state.h"

/* Sends the request that member_state_next returned; its answer goes to group_news. */
void member_requests_send(struct leat_consumer *consumer, const struct member_state_asked *asked);
/* Sends LeaveGroup; sets group->left when it is answered. */
enum leat_error member_requests_leave(struct leat_consumer *consumer);
/* Drops the callbacks of all requests. */
void member_requests_forget(struct leat_consumer *consumer);

/* In consumer_group.c: handles an answer. `text` is the broker's. */
void group_news(struct leat_consumer *consumer, enum member_state_news news, int error,
                const char *text);

#endif

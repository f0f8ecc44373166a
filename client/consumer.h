/* Consumers: what leat.h promises of them, over partition streams and data connections.
 *
 * Role: opening, opening again and seeking; records and events out, in order and in turn; credit.
 * Must not know: sockets, bytes of frames.
 * Threads: the client's. Handing out allocates nothing. */
#ifndef LEAT_CLIENT_CONSUMER_H
#define LEAT_CLIENT_CONSUMER_H

#include "client/client_state.h"

/* Each topic takes the next step of being opened, if it can. */
void consumer_advance(struct leat_consumer *consumer);
bool consumer_is_ready(const struct leat_consumer *consumer);

/* The connection is gone: what had arrived and was not handed out comes again. */
void consumer_disconnected(struct leat_consumer *consumer);

/* Something arrived for the reader. */
void reader_arrived(struct reader *reader);
/* Queues a CREDIT if one is due. */
void reader_credit(struct reader *reader);

/* Frees it without telling the broker. */
void consumer_free(struct leat_consumer *consumer);

#endif

/* Producers as leat.h describes them, on top of batch queues and sessions.
 *
 * Role: opening and reopening, records in, answers back, and what a restart of the broker or a
 * newer producer of the same name means.
 * Must not know: sockets, bytes of frames.
 * Threads: the client's. Sending does not allocate. */
#ifndef LEAT_CLIENT_PRODUCER_H
#define LEAT_CLIENT_PRODUCER_H

#include "client/client_state.h"

/* A caller that waits for the answer to one record; its batch points to it. */
struct producer_waiter {
    struct leat_delivery delivery;
    bool done;
};

/* Takes the next step of opening the producer, if possible. */
void producer_advance(struct leat_producer *producer);
/* Reopens a producer that was put off, once that is due. Returns when it is due. */
leat_ns producer_timers(struct leat_producer *producer);

/* The connection was lost: nothing is sent until the producer is opened again. */
void producer_disconnected(struct leat_producer *producer);

void producer_acked(struct publisher *publisher, const struct leat_frame_publish_ack *ack);

/* Called at times: a producer that waits for answers and gets none asks whether its topic still
 * exists. The broker drops batches for a deleted topic without an answer. */
void producer_doubt(struct leat_producer *producer);

/* ---- between producer.c and producer_open.c */

/* Detaches the producer's streams from their sessions, without telling the broker. */
void producer_detach_all(struct leat_producer *producer);
/* Ends the producer: unanswered records are answered with `status`. `event` 0: no event is
 * reported. */
void producer_end(struct leat_producer *producer, int status, int event, const char *text);
void producer_topic_gone(struct leat_producer *producer);
void producer_fenced(struct leat_producer *producer, const char *text);
void producer_reopen(struct leat_producer *producer);

/* ---- for the client's loop */

/* Lets publishers whose pause is over send again. Returns when the next pause ends. */
leat_ns producer_release_held(struct leat_client *client);

#endif

/* Producers: what leat.h promises of them, over outboxes and data connections.
 *
 * Role: opening and opening again, records in, answers back, and what a restart of the broker or a
 * newer producer of the same name means.
 * Must not know: sockets, bytes of frames.
 * Threads: the client's. Sending allocates nothing. */
#ifndef LEAT_CLIENT_PRODUCER_H
#define LEAT_CLIENT_PRODUCER_H

#include "client/client_state.h"

/* Who waits for one record's answer; stands in its batch. */
struct producer_waiter {
    struct leat_delivery delivery;
    bool done;
};

/* Takes the next step of being opened, if it can. */
void producer_advance(struct leat_producer *producer);
/* When one that was put off is to be opened again; sees to it when that is due. */
leat_ns producer_timers(struct leat_producer *producer);

/* The connection is gone: nothing is sent before the next opening. */
void producer_disconnected(struct leat_producer *producer);

void producer_acked(struct publisher *publisher, const struct leat_frame_publish_ack *ack);

/* Called now and then: a producer that waits for answers and gets none asks whether its topic is
 * still there. A broker drops what comes for a topic that was deleted. */
void producer_doubt(struct leat_producer *producer);

/* ---- between producer.c and producer_open.c */

/* Its streams are let go of here; the broker is not told. */
void producer_detach_all(struct leat_producer *producer);
/* Nothing more is sent or taken; what was not answered is answered with `status`. `event` 0: none.
 */
void producer_end(struct leat_producer *producer, int status, int event, const char *text);
void producer_topic_gone(struct leat_producer *producer);
void producer_fenced(struct leat_producer *producer, const char *text);
void producer_reopen(struct leat_producer *producer);

/* ---- for the client's loop */

/* Publishers whose pause is over send again; returns when the next one's is. */
leat_ns producer_release_held(struct leat_client *client);

#endif

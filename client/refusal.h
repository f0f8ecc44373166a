/* Refusals: what to do when the broker refuses to reopen a producer or consumer.
 *
 * Role: pure. The error in, the reaction out.
 * Must not know: requests, topics, events.
 * Threads: any. */
#ifndef LEAT_CLIENT_REFUSAL_H
#define LEAT_CLIENT_REFUSAL_H

#include <stdbool.h>

enum refusal {
    REFUSAL_CONNECTION, /* the client's view of the broker is out of date: reconnect and open
                           everything again */
    REFUSAL_FOR_NOW,    /* tell the application and retry after a pause */
    REFUSAL_FOR_GOOD,   /* the producer or consumer is over */
};

/* `again`: the previous answer was a refusal too. A request may have become wrong because something
 * changed meanwhile: it is retried once before the error is believed. */
enum refusal refusal_of(int error, bool again);

#endif

/* Refusals: what a producer or consumer that was open does when the broker refuses to open it
 * again.
 *
 * Role: pure; the error goes in. Must not know: requests, topics, events.
 * Threads: any. */
#ifndef LEAT_CLIENT_REFUSAL_H
#define LEAT_CLIENT_REFUSAL_H

#include <stdbool.h>

enum refusal {
    REFUSAL_CONNECTION, /* what the client has of the broker does not hold any more: all of it anew
                         */
    REFUSAL_FOR_NOW,    /* the application is told, and it is asked again after a pause */
    REFUSAL_FOR_GOOD,   /* the producer or consumer is over */
};

/* `again`: the last answer was a refusal too. A request that became wrong because something changed
 * in the meantime is made once more before that is believed. */
enum refusal refusal_of(int error, bool again);

#endif

/* A topic that is missing, or refused for now: when to ask for it again, and when to tell the
 * application.
 *
 * Role: pure; what was found at `now` goes in, the next moments come out.
 * Must not know: requests, consumers, clocks.
 * Threads: one per object. */
#ifndef LEAT_CLIENT_TOPIC_WAIT_H
#define LEAT_CLIENT_TOPIC_WAIT_H

#include <stdbool.h>

#include "client/backoff.h"
#include "schema/units.h"

/* The application is told at once, and again so often while it lasts. */
#define TOPIC_WAIT_TELL_NS (60 * LEAT_NS_PER_S)
/* Before that is told which most often is over at once. */
#define TOPIC_WAIT_DOUBT_NS LEAT_NS_PER_S

struct topic_wait {
    struct backoff pauses;
    bool missing;
    leat_ns since; /* it was missed first */
    leat_ns told;
    leat_ns ask_at;
};

/* `pauses`: how long they are, and the seed of their jitter. The circuit is not used. */
void topic_wait_init(struct topic_wait *wait, const struct backoff *pauses);
/* There is no such topic at `now`. True: the application is to be told. */
bool topic_wait_missed(struct topic_wait *wait, leat_ns now);
/* The same of what may be over in a moment: told when it has lasted `after_ns`. */
bool topic_wait_lasts(struct topic_wait *wait, leat_ns now, leat_ns after_ns);
void topic_wait_found(struct topic_wait *wait);

#endif

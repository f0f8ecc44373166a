/* Waiting for a topic that is missing or refused temporarily: when to ask again, and when to tell
 * the application.
 *
 * Role: pure. The state found at `now` in, the next times out.
 * Must not know: requests, consumers, clocks.
 * Threads: one per object. */
#ifndef LEAT_CLIENT_TOPIC_WAIT_H
#define LEAT_CLIENT_TOPIC_WAIT_H

#include <stdbool.h>

#include "client/backoff.h"
#include "schema/units.h"

/* The application is told at once, and again at this interval while it lasts. */
#define TOPIC_WAIT_TELL_NS (60 * LEAT_NS_PER_S)
/* Delay before reporting a condition that is usually over at once. */
#define TOPIC_WAIT_DOUBT_NS LEAT_NS_PER_S

struct topic_wait {
    struct backoff pauses;
    bool missing;
    leat_ns since; /* when it was first found missing */
    leat_ns told;
    leat_ns ask_at;
};

/* `pauses` gives the lengths of pauses and the seed of their jitter. Its circuit is not used. */
void topic_wait_init(struct topic_wait *wait, const struct backoff *pauses);
/* The topic was found missing at `now`. True: the application is to be told. */
bool topic_wait_missed(struct topic_wait *wait, leat_ns now);
/* The same for a condition that may be short: true only once it has lasted `after_ns`. */
bool topic_wait_lasts(struct topic_wait *wait, leat_ns now, leat_ns after_ns);
void topic_wait_found(struct topic_wait *wait);

#endif

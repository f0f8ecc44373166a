/* A broker's control port that refuses what it is told to: requests of one kind are answered with
 * an error and never reach the broker; all others do. Data goes to the broker itself. It can also
 * say that a group has no room for a topic.
 *
 * Role: one listener and the control connections of one client, in a thread of its own.
 * Must not know: libleat, what a test expects.
 * Threads: the calls are the test's. */
#ifndef LEAT_TESTS_SUPPORT_REFUSER_H
#define LEAT_TESTS_SUPPORT_REFUSER_H

#include <pthread.h>
#include <stdatomic.h>

#include "schema/control.h"
#include "tests/support/leatd.h"

enum { REFUSER_FOR_EVER = 1 << 30 };

struct refuser {
    int listener, stop[2];
    unsigned broker_port;
    char control[LEATD_ADDRESS_MAX]; /* where the client connects */
    pthread_t thread;
    _Atomic int kind; /* Leat__Control__Request__BodyCase */
    _Atomic int error;
    _Atomic int left;          /* so many are refused yet */
    _Atomic bool partless;     /* assignments say that there is no room for topic "t" */
    _Atomic unsigned refused;  /* so many were */
    _Atomic unsigned accepted; /* connections */
};

void refuser_start(struct refuser *refuser, const struct leatd *broker);
void refuser_end(struct refuser *refuser);
/* From now on; the connection is cut, so that everything is opened again. */
void refuser_set(struct refuser *refuser, Leat__Control__Request__BodyCase kind, int error,
                 int times);

#endif

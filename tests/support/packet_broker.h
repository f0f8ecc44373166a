/* A small broker in packets at the other end of badwire: made by hand over the same pure core as
 * the real one, for tests of the library's session.
 *
 * Role: one session with one publish stream and one subscription of what that stream appended; it
 * fails the test when the client sends what it may not, or batches that are broken or out of order.
 * Must not know: libleat.
 * Threads: one; one broker a process. */
#ifndef LEAT_TESTS_SUPPORT_PACKET_BROKER_H
#define LEAT_TESTS_SUPPORT_PACKET_BROKER_H

#include <stdint.h>

#include "transport/link.h"

enum {
    PACKET_BROKER_SESSION = 0x123,
    PACKET_BROKER_PUBLISH_STREAM = 5,
    PACKET_BROKER_READ_STREAM = 9,
    PACKET_BROKER_BATCH = 4096, /* bytes, at most */
};
#define PACKET_BROKER_TAG_TO_BROKER UINT64_C(0x1122334455667788)
#define PACKET_BROKER_TAG_TO_CLIENT UINT64_C(0x99AABBCCDDEEFF00)

/* Empty, and nobody is attached. */
void packet_broker_start(leat_ns now);
/* From now on it is busy now and then, by badwire's seed: what comes must come again. */
void packet_broker_say_busy(void);
/* Of the publish stream, as it is now. */
uint64_t packet_broker_credit(void);
/* The highest COMMIT that came. */
uint64_t packet_broker_committed(void);
/* Takes what has landed, and sends all that may leave. */
void packet_broker_step(leat_ns now);

#endif

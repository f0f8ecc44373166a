/* A wire between a client's packets and a broker that a test plays: it loses, doubles and reorders
 * by a seed, or is cut, or carries only so much.
 *
 * Role: a struct link for the client's end, two directions of datagrams for the test's.
 * Must not know: what datagrams mean. One of them a process. */
#ifndef LEAT_TESTS_SUPPORT_BADWIRE_H
#define LEAT_TESTS_SUPPORT_BADWIRE_H

#include <stdbool.h>

#include "tests/support/seeded.h"
#include "transport/link.h"

enum { BADWIRE_MAX = 1024, BADWIRE_DATAGRAM_MAX = 9000 };

struct badwire_datagram {
    uint32_t size;
    uint8_t bytes[BADWIRE_DATAGRAM_MAX];
};

struct badwire_direction {
    struct badwire_datagram datagrams[BADWIRE_MAX];
    uint32_t count;
};

extern struct badwire {
    struct link link; /* the client's end */
    struct badwire_direction to_client, to_broker;
    struct link_peer broker; /* who datagrams to the client come from */
    struct seeded seed;
    uint32_t loss_percent, trouble_percent; /* doubled, and as many reordered */
    uint32_t path_bytes;                    /* larger ones never arrive */
    uint32_t largest;                       /* that did */
    bool cut;
    struct badwire_datagram outgoing[LINK_BURST * 8], incoming[LINK_BURST];
    uint32_t outgoing_used;
} badwire;

/* Puts one on its way. */
void badwire_fly(struct badwire_direction *to, const uint8_t *bytes, uint32_t size);
/* Takes up to `max` off; returns how many. */
uint32_t badwire_land(struct badwire_direction *from, struct badwire_datagram *out, uint32_t max);

extern const struct link_ops badwire_ops;

#endif

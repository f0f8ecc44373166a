/* Inject: faults made on purpose in what a port receives and sends.
 *
 * Role: loses (in bursts), duplicates, reorders and corrupts packets, as often as asked, the same
 * way for the same seed.
 * Must not know: what is in the packets, ports, lanes.
 * Threads: one lane's. */
#ifndef LEAT_TRANSPORT_INJECT_H
#define LEAT_TRANSPORT_INJECT_H

#include <stdint.h>

#include <rte_mbuf.h>

#include "transport/link_dpdk.h"

struct inject;

/* NULL: no memory. `stream` makes lanes of one seed differ. */
struct inject *inject_open(const struct link_dpdk_inject *options, uint64_t stream);
/* Frees what is held back, too. */
void inject_close(struct inject *inject);

/* What arrives of `count` packets, in place: at most `max`. *lost: how many were taken away. */
unsigned inject_received(struct inject *inject, struct rte_mbuf **packets, unsigned count,
                         unsigned max, unsigned *lost);
/* The next packet sent is lost. */
bool inject_loses_sent(struct inject *inject);

#endif

/* Fault injection into the packets that a lane receives and sends.
 *
 * Role: drops (in bursts), duplicates, reorders and corrupts packets at the given rates. The same
 * seed gives the same faults.
 * Must not know: packet contents, ports, lanes.
 * Threads: one lane's. */
#ifndef LEAT_TRANSPORT_INJECT_H
#define LEAT_TRANSPORT_INJECT_H

#include <stdint.h>

#include <rte_mbuf.h>

#include "transport/link_dpdk.h"

struct inject;

/* Copies `options`. `stream` selects a random sequence, so that lanes with the same seed differ.
 * NULL: no memory. */
struct inject *inject_open(const struct link_dpdk_inject *options, uint64_t stream);
/* Also frees a packet that is held back for reordering. NULL: does nothing. */
void inject_close(struct inject *inject);

/* Applies faults to `count` received packets in place and returns how many there are now, at most
 * `max`. *lost: how many were dropped (and freed). */
unsigned inject_received(struct inject *inject, struct rte_mbuf **packets, unsigned count,
                         unsigned max, unsigned *lost);
/* True if the next packet to be sent must be dropped instead. */
bool inject_loses_sent(struct inject *inject);

#endif

/* Wire: links between the ends of one process; sending a datagram copies a pointer.
 *
 * Role: measures the code above a link without the cost of a link. It neither waits nor makes
 * system calls. A datagram to an end whose queue is full is lost.
 * Must not know: what datagrams carry.
 * Threads: one. */
#ifndef LEAT_BENCH_COMMON_WIRE_H
#define LEAT_BENCH_COMMON_WIRE_H

#include "transport/link.h"

enum { WIRE_ENDS = 4, WIRE_PLACES = 1024, WIRE_PAYLOAD_MAX = 8972 };

struct wire;

/* NULL: no memory. */
struct wire *wire_open(uint32_t reference_min);
void wire_close(struct wire *wire);
/* The link of an end; the wire owns it. End `i` has address 10.0.0.(i + 1), port 7430 + i. */
struct link *wire_end(struct wire *wire, int end);

#endif

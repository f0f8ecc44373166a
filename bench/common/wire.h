/* Wire: two links in one process, each the other's peer; a datagram costs a copy of a pointer.
 *
 * Role: to measure what lies above a link without the link. No faults, no waiting, no system calls.
 * Must not know: what datagrams carry. Threads: one. */
#ifndef LEAT_BENCH_COMMON_WIRE_H
#define LEAT_BENCH_COMMON_WIRE_H

#include "transport/link.h"

enum { WIRE_ENDS = 2, WIRE_PLACES = 1024, WIRE_PAYLOAD_MAX = 8972 };

struct wire;

/* NULL: no memory. */
struct wire *wire_open(uint32_t reference_min);
void wire_close(struct wire *wire);
/* End 0 or 1; closed with the wire. End `i` is 10.0.0.(i + 1), port 7430 + i. */
struct link *wire_end(struct wire *wire, int end);

#endif

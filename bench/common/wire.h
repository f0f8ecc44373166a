/* Wire: a few links in one process, each the others' peer; a datagram costs a copy of a pointer.
 *
 * Role: to measure what lies above a link without the link. No waiting, no system calls; a datagram
 * to an end whose queue is full is lost.
 * Must not know: what datagrams carry. Threads: one. */
#ifndef LEAT_BENCH_COMMON_WIRE_H
#define LEAT_BENCH_COMMON_WIRE_H

#include "transport/link.h"

enum { WIRE_ENDS = 4, WIRE_PLACES = 1024, WIRE_PAYLOAD_MAX = 8972 };

struct wire;

/* NULL: no memory. */
struct wire *wire_open(uint32_t reference_min);
void wire_close(struct wire *wire);
/* Closed with the wire. End `i` is 10.0.0.(i + 1), port 7430 + i. */
struct link *wire_end(struct wire *wire, int end);

#endif

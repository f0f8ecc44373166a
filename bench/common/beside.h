/* Beside: the latency of a bypass port, in turns with a bare echo on a port of the same kind.
 *
 * Role: rounds, their ratios, and what is said of them. Must not know: which ports, how good they
 * ought to be. Threads: one. */
#ifndef LEAT_BENCH_COMMON_BESIDE_H
#define LEAT_BENCH_COMMON_BESIDE_H

#include "bench/common/bypass.h"

/* Emits bypass_latency_p50_ratio_WIRE and bypass_latency_p99_ratio_WIRE. */
void beside_latency(enum bypass_wire wire, uint64_t pings, double p50_goal);

#endif

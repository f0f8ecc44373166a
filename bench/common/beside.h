/* Beside: latency of a bypass port, in turns with a bare echo on a port of the same kind.
 *
 * Role: runs rounds, computes ratios, emits results.
 * Must not know: which ports, which goals.
 * Threads: one. */
#ifndef LEAT_BENCH_COMMON_BESIDE_H
#define LEAT_BENCH_COMMON_BESIDE_H

#include "bench/common/bypass.h"

/* Emits bypass_latency_p50_ratio_WIRE and bypass_latency_p99_ratio_WIRE. `pings` per turn;
 * `p50_goal`: the maximum of the former ratio. */
void beside_latency(enum bypass_wire wire, uint64_t pings, double p50_goal);

#endif

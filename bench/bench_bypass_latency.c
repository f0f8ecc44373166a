/* Goal: publish-to-deliver latency over memif, one record of 64 B at a time, beside a bare DPDK
 * echo of frames of the same size. The echo uses ports of the same kind, the client's in the same
 * copy mode. Both make two hops and spin at both ends. Method: turns alternate while the other side
 * is stopped; every turn's client is a new process. Ratios are of neighbouring turns; median and
 * quartiles are given. The echo's frames have the mean size of Leat's packets, both directions
 * together, measured in a turn that does not count. */
#include "bench/common/bench.h"
#include "bench/common/beside.h"

int main(void)
{
    if (!bypass_start("bypass_latency"))
        return 0;
    bench_pin(BYPASS_CLIENT_CPU);
    beside_latency(BYPASS_MEMIF_ZERO, 50000, 1.5);
    beside_latency(BYPASS_MEMIF_COPY, 50000, 1.5);
    return 0;
}

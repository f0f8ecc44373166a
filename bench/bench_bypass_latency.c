/* Goal: publish-to-deliver over memif, 64 B, one record at a time, beside a bare DPDK echo
 * of frames of the same size on ports of the same kind, the client's side in the same copy mode:
 * both make two hops and spin at both ends. Method: turns alternate, whoever is not on is stopped,
 * every turn's client is a new process; ratios are of neighbouring turns, their median and
 * quartiles. The size of a frame is what Leat's packets had on average, both ways together, in a
 * turn that does not count. */
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

/* Goal: publish-to-deliver latency of bypass ports on kernel interfaces: af_packet and af_xdp on
 * veth, one record of 64 B at a time, beside a bare DPDK echo on interfaces of the same kind.
 * Method: that of bench_bypass_latency, in two network namespaces that are removed at the end.
 * Needs root. */
#include "bench/common/bench.h"
#include "bench/common/beside.h"

int main(void)
{
    if (!bypass_start("bypass_latency_veth"))
        return 0;
    bench_pin(BYPASS_CLIENT_CPU);
    beside_latency(BYPASS_AF_PACKET, 15000, 1.4);
    beside_latency(BYPASS_AF_XDP, 15000, 1.4);
    return 0;
}

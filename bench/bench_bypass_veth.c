/* Goal: publish-to-deliver where a bypass port is a kernel's interface: af_packet and af_xdp on
 * veth, 64 B, one record at a time, beside a bare DPDK echo on a wire of the same kind. Method:
 * that of bench_bypass_latency, in two namespaces that go away with the bench; needs root. */
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

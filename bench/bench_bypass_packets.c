/* Goal: how many packets go through a memif, one 64 B record in each: one client that publishes and
 * consumes on one core, the shard on the other, both spinning, beside a bare echo's packets of that
 * size. Method: the echo has a window of WINDOW packets, both ways through the same kind of port,
 * every turn a new client; medians of neighbouring turns' ratios, and quartiles. The client sends
 * with batch_records_max = 1, which is one record to a PUBLISH packet, and has as many of them
 * under way as the echo; what the broker delivers shares packets as it falls. */
#include <stdio.h>

#include "bench/common/bench.h"
#include "bench/common/bypass.h"

enum { ROUNDS = 5, TURN_MS = 300, WINDOW = 64, ECHO_PACKETS = 400000, RECORD_BYTES = 64 };

static void measure(enum bypass_wire wire)
{
    double records[ROUNDS], leat[ROUNDS], echo[ROUNDS], ratio[ROUNDS], each = 0;
    char name[96], note[256];
    uint32_t payload = 0;
    struct bypass b;
    if (!bypass_open(&b, wire, NULL))
        return;
    for (int i = 0; i < ROUNDS; i++) {
        const char *line = bypass_leat(&b, "flow", "", TURN_MS, RECORD_BYTES, 1);
        records[i] = bypass_number(line, "records_per_s");
        leat[i] = bypass_number(line, "packets_out_per_s");
        each = bypass_number(line, "records_a_packet");
        if (payload == 0)
            payload = bypass_mean_payload(line);
        echo[i] = bypass_number(bypass_echo(&b, payload, ECHO_PACKETS, WINDOW), "per_second");
        ratio[i] = records[i] / echo[i];
    }
    bypass_close(&b);
    const struct bench_spread r = bench_spread(ratio, ROUNDS);
    snprintf(name, sizeof name, "bypass_packet_rate_ratio_%s", bypass_wire_name(wire));
    snprintf(note, sizeof note,
             "%.3g million records/s in %.3g million packets (%.2f each) to %.3g of %u bytes; "
             "rounds %.2f..%.2f",
             bench_spread(records, ROUNDS).p50 / 1e6, bench_spread(leat, ROUNDS).p50 / 1e6, each,
             bench_spread(echo, ROUNDS).p50 / 1e6, payload, r.p25, r.p75);
    bench_emit(name, r.p50, "ratio", BENCH_AT_LEAST, 0.5, note);
}

int main(void)
{
    if (!bypass_start("bypass_packet_rate"))
        return 0;
    measure(BYPASS_MEMIF_ZERO);
    measure(BYPASS_MEMIF_COPY);
    return 0;
}

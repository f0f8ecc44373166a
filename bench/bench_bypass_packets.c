/* Goal: the packet rate over a memif with one 64 B record per packet. One client publishes and
 * consumes on one core, the shard runs on the other, and both spin. The yardstick is a bare echo of
 * packets of the same size.
 * Method: the echo has a window of WINDOW packets, through the same kind of port in both
 * directions. Every turn has a new client. Ratios are of neighbouring turns; median and quartiles
 * are given. The client sends with batch_records_max = 1, one record per PUBLISH packet, and has as
 * many packets in flight as the echo. The broker may deliver several records in one packet. */
#include <stdio.h>

#include "bench/common/bench.h"
#include "bench/common/bypass.h"

enum { ROUNDS = 5, TURN_MS = 300, WINDOW = 64, ECHO_PACKETS = 400000, RECORD_BYTES = 64 };

static double echo_rate(struct bypass *b, uint32_t payload, bool full)
{
    return bypass_number(bypass_echo(b, payload, ECHO_PACKETS, WINDOW, full), "per_second");
}

static void measure(enum bypass_wire wire)
{
    double records[ROUNDS], leat[ROUNDS], echo[ROUNDS], full[ROUNDS], ratio[ROUNDS], each = 0;
    double to_full[ROUNDS];
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
        echo[i] = echo_rate(&b, payload, false);
        full[i] = echo_rate(&b, payload, true);
        ratio[i] = records[i] / echo[i];
        to_full[i] = records[i] / full[i];
    }
    bypass_close(&b);
    const struct bench_spread r = bench_spread(ratio, ROUNDS);
    snprintf(name, sizeof name, "bypass_packet_rate_ratio_%s", bypass_wire_name(wire));
    snprintf(note, sizeof note,
             "%.3g million records/s in %.3g million packets (%.2f each), echo %.3g of %u bytes; "
             "rounds %.2f..%.2f",
             bench_spread(records, ROUNDS).p50 / 1e6, bench_spread(leat, ROUNDS).p50 / 1e6, each,
             bench_spread(echo, ROUNDS).p50 / 1e6, payload, r.p25, r.p75);
    bench_emit(name, r.p50, "ratio", BENCH_AT_LEAST, 0.5, note);
    const struct bench_spread f = bench_spread(to_full, ROUNDS);
    snprintf(name, sizeof name, "bypass_packet_rate_ratio_%s_full", bypass_wire_name(wire));
    snprintf(note, sizeof note,
             "echo whose client writes and reads its payload: %.3g million/s; rounds "
             "%.2f..%.2f",
             bench_spread(full, ROUNDS).p50 / 1e6, f.p25, f.p75);
    bench_emit(name, f.p50, "ratio", BENCH_NO_GOAL, 0, note);
}

int main(void)
{
    if (!bypass_start("bypass_packet_rate"))
        return 0;
    measure(BYPASS_MEMIF_ZERO);
    measure(BYPASS_MEMIF_COPY);
    return 0;
}

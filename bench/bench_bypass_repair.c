/* Goal: the time to repair a tail loss (a lost packet that no other follows), on a memif whose
 * client drops LOSS_PPM of the packets that it sends, then of those that it receives. Method: pings
 * with a pause between them, so that a lost packet is the last of its sender; more than a thousand
 * losses if the machine is fast enough for PINGS in the bounded time of a run. The client counts
 * the packets that it drops while sending, so each of its repairs is known. Repairs of the broker
 * cannot be told from other slow pings: their median is meaningful, their tail contains pauses of
 * the machine. */
#include <stdio.h>

#include "bench/common/bench.h"
#include "bench/common/bypass.h"

enum {
    RECORD_BYTES = 64,
    PINGS = 260000,
    LOSS_PPM = 5000, /* low enough that a repair is rarely lost as well */
    PAUSE_US = 10,
};

static void measure(struct bypass *b)
{
    struct bench_samples noise = { 0 };
    char more[64], note[256];
    snprintf(more, sizeof more, "&inject=tx_loss:%d", LOSS_PPM);
    const char *line = bypass_leat(b, "repair", more, PINGS, RECORD_BYTES, PAUSE_US);
    const double p50 = bypass_number(line, "p50_ns") / 1e3,
                 p99 = bypass_number(line, "p99_ns") / 1e3;
    snprintf(note, sizeof note, "PUBLISH lost at the tail, %.0f times; without loss %.1f us",
             bypass_number(line, "count"), bypass_number(line, "ping_p50_ns") / 1e3);
    bypass_pause(b);
    bench_noise(&noise, (uint64_t)(p50 * 1e3) + 1000, 200000000);
    bench_emit("bypass_repair_publish_p50", p50, "us", BENCH_AT_MOST, 1000, note);
    snprintf(note, sizeof note, "max %.0f; noise in windows as long as the median: p99 %.1f us",
             bypass_number(line, "max_ns") / 1e3, bench_percentile(&noise, 99) / 1e3);
    bench_emit("bypass_repair_publish_p99", p99, "us", BENCH_AT_MOST, 1000, note);
    snprintf(more, sizeof more, "&inject=rx_loss:%d", LOSS_PPM);
    line = bypass_leat(b, "repair", more, PINGS, RECORD_BYTES, PAUSE_US);
    snprintf(
        note, sizeof note,
        "DATA lost at the tail: %.0f pings above 8 medians; p99 %.0f us includes machine pauses",
        bypass_number(line, "slow"), bypass_number(line, "slow_p99_ns") / 1e3);
    bench_emit("bypass_repair_data_p50", bypass_number(line, "slow_p50_ns") / 1e3, "us",
               BENCH_AT_MOST, 1000, note);
}

int main(void)
{
    struct bypass b;
    if (!bypass_start("bypass_repair") || !bypass_open(&b, BYPASS_MEMIF_ZERO, NULL))
        return 0;
    bench_pin(BYPASS_CLIENT_CPU);
    measure(&b);
    bypass_close(&b);
    return 0;
}

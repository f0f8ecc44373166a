/* Goal: how long it takes until a packet is there that was lost and that nothing followed, on a
 * memif whose client loses so many of a million that it sends, then of those it receives. Method:
 * pings apart from one another, so that the packet lost was the last of its end; more than a
 * thousand losses where the machine is fast enough for PINGS in a run's bounded time. Packets the
 * client lost are counted by the client, so its repairs are known one by one. Those the broker lost
 * are not told apart from other slow pings: of these the median says something, the tail contains
 * the machine's pauses. */
#include <stdio.h>

#include "bench/common/bench.h"
#include "bench/common/bypass.h"

enum {
    RECORD_BYTES = 64,
    PINGS = 260000,
    LOSS_PPM = 5000, /* few enough for a repair not to be lost as well, as a rule */
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
    snprintf(note, sizeof note, "a lost last PUBLISH, %.0f tries; without a loss %.1f us",
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
        "a lost last DATA: %.0f pings above 8 medians; p99 %.0f us, the machine's pauses in it",
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

/* Goal: the cost of loss, on a memif whose client drops 1 % of the packets that it sends and 1 % of
 * those that it receives: throughput of 64 B records, and tail latency in an open loop, beside the
 * same without loss.
 * Method: turns alternate, each with a new client; lossy ones have a seed of their own. Ratios are
 * of neighbouring turns; median and quartiles are given. */
#include <stdio.h>

#include "bench/common/bench.h"
#include "bench/common/bypass.h"

enum {
    ROUNDS = 5,
    RECORD_BYTES = 64,
    TURN_MS = 300,
    RATE = 50000,
};
#define LOSS "&inject=loss:10000,seed:%d"

struct tail {
    double p50[ROUNDS], p99[ROUNDS];
};

static void paced(struct bypass *b, struct tail *t, int round, const char *more)
{
    const char *line = bypass_leat(b, "paced", more, TURN_MS, RECORD_BYTES, RATE);
    t->p50[round] = bypass_number(line, "p50_ns") / 1e3;
    t->p99[round] = bypass_number(line, "p99_ns") / 1e3;
}

static void throughput(struct bypass *b)
{
    double plain[ROUNDS], lossy[ROUNDS], ratio[ROUNDS];
    char more[64], note[256];
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(more, sizeof more, LOSS, i);
        const char *line = bypass_leat(b, "flow", "", TURN_MS, RECORD_BYTES, 0);
        plain[i] = bypass_number(line, "records_per_s");
        line = bypass_leat(b, "flow", more, TURN_MS, RECORD_BYTES, 0);
        lossy[i] = bypass_number(line, "records_per_s");
        ratio[i] = lossy[i] / plain[i];
    }
    const struct bench_spread r = bench_spread(ratio, ROUNDS);
    snprintf(note, sizeof note,
             "1 %% loss each way: %.3g million records/s, %.3g without loss; rounds %.2f..%.2f",
             bench_spread(lossy, ROUNDS).p50 / 1e6, bench_spread(plain, ROUNDS).p50 / 1e6, r.p25,
             r.p75);
    bench_emit("bypass_loss_throughput_ratio", r.p50, "ratio", BENCH_AT_LEAST, 0.7, note);
}

static void tails(struct bypass *b)
{
    struct tail plain, lossy;
    double more_us[ROUNDS];
    char more[64], note[256];
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(more, sizeof more, LOSS, 100 + i);
        paced(b, &plain, i, "");
        paced(b, &lossy, i, more);
        more_us[i] = lossy.p99[i] - plain.p99[i];
    }
    const struct bench_spread m = bench_spread(more_us, ROUNDS);
    snprintf(note, sizeof note,
             "open loop, %d/s: p50 / p99 %.1f / %.0f us, %.1f / %.0f without loss; rounds "
             "%.0f..%.0f",
             RATE, bench_spread(lossy.p50, ROUNDS).p50, bench_spread(lossy.p99, ROUNDS).p50,
             bench_spread(plain.p50, ROUNDS).p50, bench_spread(plain.p99, ROUNDS).p50, m.p25,
             m.p75);
    bench_emit("bypass_loss_p99_added", m.p50, "us", BENCH_AT_MOST, 500, note);
}

int main(void)
{
    struct bypass b;
    if (!bypass_start("bypass_loss") || !bypass_open(&b, BYPASS_MEMIF_ZERO, NULL))
        return 0;
    bench_pin(BYPASS_CLIENT_CPU);
    throughput(&b);
    tails(&b);
    bypass_close(&b);
    return 0;
}

/* Goal: throughput in batches over a memif. One client publishes and consumes on one core, the
 * shard runs on the other, and both spin. 64 B records have no yardstick; 1 KiB records are
 * compared in bytes with a bare echo whose packets have the maximum size of Leat's. Method: the
 * echo has a window of WINDOW packets, through the same kind of port in both directions. Every turn
 * has a new client. Ratios are of neighbouring turns; median and quartiles are given. */
#include <stdio.h>

#include "bench/common/bench.h"
#include "bench/common/bypass.h"

enum {
    ROUNDS = 4,
    TURN_MS = 300,
    WINDOW = 64,
    ECHO_PACKETS = 400000,
    SMALL = 64,
    LARGE = 1024,
    RECORD_HEADER = 16,   /* bytes of each record in a batch, counted as throughput */
    LARGE_PAYLOAD = 1472, /* maximum payload of a packet */
};

struct rounds {
    double small[ROUNDS], large[ROUNDS], bytes[ROUNDS], full[ROUNDS], ratio[ROUNDS];
};

static double echo_bytes(struct bypass *b, bool full)
{
    const char *line = bypass_echo(b, LARGE_PAYLOAD, ECHO_PACKETS, WINDOW, full);
    return bypass_number(line, "per_second") * LARGE_PAYLOAD;
}

static void run(struct bypass *b, struct rounds *r, int i)
{
    const char *line = bypass_leat(b, "flow", "", TURN_MS, SMALL, 0);
    r->small[i] = bypass_number(line, "records_per_s");
    line = bypass_leat(b, "flow", "", TURN_MS, LARGE, 0);
    r->large[i] = bypass_number(line, "records_per_s") * (RECORD_HEADER + LARGE);
    r->bytes[i] = echo_bytes(b, false);
    r->full[i] = echo_bytes(b, true);
}

static struct bench_spread ratio_of(struct rounds *r, const double *leat, const double *echo)
{
    for (int i = 0; i < ROUNDS; i++)
        r->ratio[i] = leat[i] / echo[i];
    return bench_spread(r->ratio, ROUNDS);
}

static void report(struct rounds *r, const char *wire)
{
    char name[96], note[256];
    const struct bench_spread bytes = ratio_of(r, r->large, r->bytes);
    const struct bench_spread small = bench_spread(r->small, ROUNDS);
    snprintf(name, sizeof name, "bypass_records_64B_%s", wire);
    snprintf(note, sizeof note, "published and delivered; rounds %.3g..%.3g", small.p25 / 1e6,
             small.p75 / 1e6);
    bench_emit(name, small.p50 / 1e6, "million records/s", BENCH_AT_LEAST, 20, note);
    snprintf(name, sizeof name, "bypass_bytes_ratio_1KiB_%s", wire);
    snprintf(note, sizeof note,
             "records %.3g MB/s, echo %.3g MB/s in packets of %u; rounds %.2f..%.2f",
             bench_spread(r->large, ROUNDS).p50 / 1e6, bench_spread(r->bytes, ROUNDS).p50 / 1e6,
             LARGE_PAYLOAD, bytes.p25, bytes.p75);
    bench_emit(name, bytes.p50, "ratio", BENCH_AT_LEAST, 0.6, note);
    const struct bench_spread full = ratio_of(r, r->large, r->full);
    snprintf(name, sizeof name, "bypass_bytes_ratio_1KiB_%s_full", wire);
    snprintf(note, sizeof note,
             "echo whose client writes and reads its payload: %.3g MB/s; rounds %.2f..%.2f",
             bench_spread(r->full, ROUNDS).p50 / 1e6, full.p25, full.p75);
    bench_emit(name, full.p50, "ratio", BENCH_NO_GOAL, 0, note);
}

static void measure(enum bypass_wire wire)
{
    struct rounds rounds;
    struct bypass b;
    if (!bypass_open(&b, wire, NULL))
        return;
    for (int i = 0; i < ROUNDS; i++)
        run(&b, &rounds, i);
    report(&rounds, bypass_wire_name(wire));
    bypass_close(&b);
}

int main(void)
{
    if (!bypass_start("bypass_throughput"))
        return 0;
    measure(BYPASS_MEMIF_ZERO);
    measure(BYPASS_MEMIF_COPY);
    return 0;
}

/* Beside: latency of a bypass port, in turns with a bare echo on a port of the same kind. */
#include "bench/common/beside.h"

#include <stdio.h>

#include "bench/common/bench.h"

enum { RECORD_BYTES = 64, ROUNDS = 5 };
enum side_index { ECHO, FULL_ECHO, LEAT, SIDES };

struct side {
    double p50[ROUNDS], p99[ROUNDS], p999[ROUNDS], max;
};

static void take(struct side *side, int round, const char *line)
{
    const double max = bypass_number(line, "max_ns");
    side->p50[round] = bypass_number(line, "p50_ns");
    side->p99[round] = bypass_number(line, "p99_ns");
    side->p999[round] = bypass_number(line, "p999_ns");
    side->max = max > side->max ? max : side->max;
}

static void ratios(double out[ROUNDS], const double *leat, const double *echo)
{
    for (int i = 0; i < ROUNDS; i++)
        out[i] = leat[i] / echo[i];
}

/* Reports the ratio to an echo whose client touches the whole payload, as Leat's does. */
static void report_full(const struct bypass *b, const struct side sides[SIDES], double line_ns)
{
    double p50[ROUNDS];
    char name[96], note[256];
    ratios(p50, sides[LEAT].p50, sides[FULL_ECHO].p50);
    const struct bench_spread r = bench_spread(p50, ROUNDS);
    snprintf(name, sizeof name, "bypass_latency_p50_ratio_%s_full", bypass_wire_name(b->wire));
    snprintf(note, sizeof note,
             "echo whose client writes and reads its payload: %.2f us; rounds %.2f..%.2f; "
             "cache line between the two cores and back: %.0f ns",
             bench_spread(sides[FULL_ECHO].p50, ROUNDS).p50 / 1e3, r.p25, r.p75, line_ns);
    bench_emit(name, r.p50, "ratio", BENCH_NO_GOAL, 0, note);
}

static void report(const struct bypass *b, struct side sides[SIDES], uint32_t payload,
                   double p50_goal, double line_ns)
{
    const bool shared = b->wire == BYPASS_MEMIF_ZERO || b->wire == BYPASS_MEMIF_COPY;
    struct side *leat = &sides[LEAT], *echo = &sides[ECHO];
    struct bench_samples noise = { 0 };
    double p50[ROUNDS], p99[ROUNDS];
    char name[96], note[384];
    ratios(p50, leat->p50, echo->p50);
    ratios(p99, leat->p99, echo->p99);
    const struct bench_spread r50 = bench_spread(p50, ROUNDS), r99 = bench_spread(p99, ROUNDS);
    const double leat_p50 = bench_spread(leat->p50, ROUNDS).p50,
                 echo_p50 = bench_spread(echo->p50, ROUNDS).p50;
    bench_noise(&noise, (uint64_t)leat_p50, 200000000);
    snprintf(name, sizeof name, "bypass_latency_p50_ratio_%s", bypass_wire_name(b->wire));
    snprintf(note, sizeof note, "%.2f us, echo %.2f us; rounds %.2f..%.2f; frames of %u + 42 bytes",
             leat_p50 / 1e3, echo_p50 / 1e3, r50.p25, r50.p75, payload);
    bench_emit(name, r50.p50, "ratio", BENCH_AT_MOST, p50_goal, note);
    report_full(b, sides, line_ns);
    snprintf(name, sizeof name, "bypass_latency_p99_ratio_%s", bypass_wire_name(b->wire));
    snprintf(note, sizeof note,
             "%.2f us, echo %.2f us; rounds %.2f..%.2f; p99.9 %.1f, %.1f, max %.0f, %.0f; "
             "noise p99 %.1f, p99.9 %.1f, max %.0f us",
             bench_spread(leat->p99, ROUNDS).p50 / 1e3, bench_spread(echo->p99, ROUNDS).p50 / 1e3,
             r99.p25, r99.p75, bench_spread(leat->p999, ROUNDS).p50 / 1e3,
             bench_spread(echo->p999, ROUNDS).p50 / 1e3, leat->max / 1e3, echo->max / 1e3,
             bench_percentile(&noise, 99) / 1e3, bench_percentile(&noise, 99.9) / 1e3,
             bench_percentile(&noise, 100) / 1e3);
    bench_emit(name, r99.p50, "ratio", shared ? BENCH_AT_MOST : BENCH_NO_GOAL, 2, note);
}

void beside_latency(enum bypass_wire wire, uint64_t pings, double p50_goal)
{
    struct side sides[SIDES] = { 0 };
    struct bypass b;
    if (!bypass_open(&b, wire, NULL))
        return;
    const char *first = bypass_leat(&b, "ping", "", pings / 4, RECORD_BYTES, 0);
    const uint32_t payload = bypass_mean_payload(first);
    for (int i = 0; i < ROUNDS; i++) {
        take(&sides[ECHO], i, bypass_echo(&b, payload, pings, 1, false));
        take(&sides[FULL_ECHO], i, bypass_echo(&b, payload, pings, 1, true));
        take(&sides[LEAT], i, bypass_leat(&b, "ping", "", pings, RECORD_BYTES, 0));
    }
    bypass_pause(&b); /* no other process spins while the noise is measured */
    report(&b, sides, payload, p50_goal, bench_line_ns(BYPASS_CLIENT_CPU, BYPASS_SERVER_CPU));
    bypass_close(&b);
}

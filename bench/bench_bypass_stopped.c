/* Goal: a stopped consumer does not slow down the others.
 * Method: PAIRS pairs of turns of pings over one memif. In one turn of each pair a second client,
 * on a memif of its own and subscribed to the same partition, is stopped (SIGSTOP). Which turn
 * comes first alternates. The result is the median of the pairs' p99 ratios; the lower 95 % bound
 * of a bootstrap over the pairs says whether there is a difference. bench_stopped counts the
 * broker's work for the stopped client. */
#include <stdio.h>

#include "bench/common/bench.h"
#include "bench/common/bypass.h"

enum { PAIRS = 20, PINGS = 30000, RECORD_BYTES = 64, RESAMPLES = 4000, LOWER_PERCENT = 5 };

struct turns {
    double p50[PAIRS], p99[PAIRS];
};

static void turn(struct bypass_process *pinger, struct turns *t, int i)
{
    const char *line = bypass_turn(pinger);
    t->p50[i] = bypass_number(line, "p50_ns");
    t->p99[i] = bypass_number(line, "p99_ns");
}

static void turn_beside(struct bypass *b, struct bypass_process *pinger, struct turns *t, int i)
{
    struct bypass_process stayer;
    bypass_stay(b, &stayer);
    bench_stop(stayer.pid);
    turn(pinger, t, i);
    bypass_end(&stayer);
}

/* The lower bound of the median of `values`. Deterministic: equal values give an equal bound. */
static double lower_bound(const double values[PAIRS])
{
    static double medians[RESAMPLES];
    uint64_t random = 0x9E3779B97F4A7C15u;
    for (int i = 0; i < RESAMPLES; i++) {
        double some[PAIRS];
        for (int k = 0; k < PAIRS; k++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            some[k] = values[(random >> 32) % PAIRS];
        }
        medians[i] = bench_spread(some, PAIRS).p50;
    }
    bench_sort(medians, RESAMPLES);
    return medians[RESAMPLES * LOWER_PERCENT / 100];
}

int main(void)
{
    const struct bypass_options options = { .second = true };
    struct bypass_process pinger;
    struct turns live, stopped;
    double p50[PAIRS], p99[PAIRS];
    char note[256];
    struct bypass b;
    if (!bypass_start("bypass_stopped_consumer") || !bypass_open(&b, BYPASS_MEMIF_ZERO, &options))
        return 0;
    bypass_pinger(&b, &pinger, PINGS, RECORD_BYTES);
    for (int i = 0; i < PAIRS; i++) {
        if (i % 2 == 0)
            turn(&pinger, &live, i);
        turn_beside(&b, &pinger, &stopped, i);
        if (i % 2 != 0)
            turn(&pinger, &live, i);
        p50[i] = stopped.p50[i] / live.p50[i];
        p99[i] = stopped.p99[i] / live.p99[i];
    }
    bypass_end(&pinger);
    bypass_close(&b);
    const double lower = lower_bound(p99);
    const struct bench_spread s = bench_spread(p99, PAIRS);
    snprintf(note, sizeof note,
             "%d pairs: median %.3f, quartiles %.2f..%.2f; p50 %.3f; p99 %.2f us, live %.2f", PAIRS,
             s.p50, s.p25, s.p75, bench_spread(p50, PAIRS).p50,
             bench_spread(stopped.p99, PAIRS).p50 / 1e3, bench_spread(live.p99, PAIRS).p50 / 1e3);
    bench_emit("bypass_stopped_consumer_p99_ratio_lower95", lower, "ratio", BENCH_AT_MOST, 1.1,
               note);
    return 0;
}

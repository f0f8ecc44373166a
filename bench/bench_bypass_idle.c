/* Goal: the cost of an idle bypass port, and the latency of waking up: leatd with a memif, and with
 * a vhost port, in the idle modes latency (which spins), balanced and laptop. Method: first pings
 * with PAUSE_US between them, from a client that spins, so that only the broker's wake-up is added.
 * Then the processor time of the broker over IDLE_MS. */
#include <stdio.h>
#include <time.h>

#include "bench/common/bench.h"
#include "bench/common/bypass.h"

enum { IDLE_MS = 1500, PINGS = 200, PAUSE_US = 5000, RECORD_BYTES = 64, MODES = 3 };

static const char *const modes[MODES] = { "latency", "balanced", "laptop" };

struct idle {
    double percent, p50, p99;
};

static bool measure(enum bypass_wire wire, const char *mode, struct idle *out)
{
    const struct bypass_options options = { .idle = mode };
    struct bypass b;
    if (!bypass_open(&b, wire, &options))
        return false;
    const char *line = bypass_leat(&b, "ping", "", PINGS, RECORD_BYTES, PAUSE_US);
    out->p50 = bypass_number(line, "p50_ns") / 1e3;
    out->p99 = bypass_number(line, "p99_ns") / 1e3;
    const uint64_t before = bypass_broker_cpu_ns(&b), start = bench_now_ns();
    nanosleep(&(struct timespec){ IDLE_MS / 1000, IDLE_MS % 1000 * 1000000L }, NULL);
    out->percent =
        100 * (double)(bypass_broker_cpu_ns(&b) - before) / (double)(bench_now_ns() - start);
    bypass_close(&b);
    return true;
}

static void measure_all(enum bypass_wire wire)
{
    struct idle results[MODES];
    char name[96], note[256];
    for (int i = 0; i < MODES; i++) {
        const struct idle *spinning = &results[0], *r = &results[i];
        if (!measure(wire, modes[i], &results[i]))
            return;
        snprintf(name, sizeof name, "bypass_idle_cpu_%s_%s", modes[i], bypass_wire_name(wire));
        bench_emit(name, r->percent, "% of a core", BENCH_NO_GOAL, 0,
                   "leatd with this port, after its client has left");
        snprintf(name, sizeof name, "bypass_idle_latency_added_%s_%s", modes[i],
                 bypass_wire_name(wire));
        snprintf(note, sizeof note,
                 "a record every %d ms: p50 / p99 %.1f / %.1f us, spinning %.1f / %.1f us",
                 PAUSE_US / 1000, r->p50, r->p99, spinning->p50, spinning->p99);
        bench_emit(name, r->p50 - spinning->p50, "us", BENCH_NO_GOAL, 0, note);
    }
}

int main(void)
{
    if (!bypass_start("bypass_idle"))
        return 0;
    measure_all(BYPASS_MEMIF_ZERO);
    measure_all(BYPASS_VHOST);
    return 0;
}

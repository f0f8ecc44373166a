/* Goal: the cost of an idle broker, and how fast a test broker starts.
 * Method: processor time of leatd over IDLE_S seconds with connected, silent clients; time from
 * fork to the ready line, STARTS times. */
#include <stdio.h>
#include <time.h>

#include "bench/common/bench.h"
#include "client/leat.h"
#include "tests/support/leatd.h"

enum { STARTS = 15, CLIENTS = 10 };
#define IDLE_S 5

static void idle(void)
{
    struct leatd broker;
    leat_client *clients[CLIENTS];
    const char *topic = "calm";
    leatd_start_config(&broker,
                       "{\"port\":0,\"data_port\":0,\"idle\":\"laptop\",\"topics\":[{"
                       "\"name\":\"calm\",\"ring_bytes\":\"1MiB\",\"record_bytes_max\":65536}]}");
    for (int i = 0; i < CLIENTS; i++) {
        leat_consumer *consumer;
        if (leat_client_open(&clients[i], broker.url, NULL) != 0
            || leat_consumer_open(clients[i], &consumer, &topic, 1, NULL) != 0)
            bench_fail("idle clients");
    }
    const uint64_t before = leatd_cpu_ns(&broker), start = bench_now_ns();
    nanosleep(&(struct timespec){ .tv_sec = IDLE_S }, NULL);
    const double used = (double)(leatd_cpu_ns(&broker) - before);
    bench_emit("idle_cpu_laptop", 100 * used / (double)(bench_now_ns() - start), "% of a core",
               BENCH_AT_MOST, 1, "10 subscribed, silent clients; resolution of a clock tick");
    for (int i = 0; i < CLIENTS; i++)
        leat_client_close(clients[i]);
    leatd_end(&broker);
}

static void ready(void)
{
    double ms[STARTS];
    char note[128];
    for (int i = 0; i < STARTS; i++) {
        struct leatd broker;
        const uint64_t start = bench_now_ns();
        leatd_start(&broker);
        ms[i] = (double)(bench_now_ns() - start) / 1e6;
        leatd_end(&broker);
    }
    const struct bench_spread s = bench_spread(ms, STARTS);
    snprintf(note, sizeof note, "leatd --dev --port 0, fork to ready line; %.1f..%.1f", s.p25,
             s.p75);
    bench_emit("start_dev", s.p50, "ms", BENCH_AT_MOST, 100, note);
}

int main(void)
{
    ready();
    idle();
    return 0;
}

/* Goal: the broker's processor time per delivered record with 1, 10 and 100 subscribers, and per
 * million records published to one subscriber.
 * Method: the broker blocks when idle, so its processor time is work. About the same number of
 * deliveries for each count; rounds are interleaved. */
#include <stdio.h>
#include <stdlib.h>

#include "bench/common/bench.h"
#include "client/leat.h"
#include "tests/support/leatd.h"

enum {
    ROUNDS = 5,
    RECORD_BYTES = 64,
    DELIVERIES = 8000000, /* per round */
    SUBSCRIBERS_MAX = 100,
};

static struct leatd broker;

static leat_client *open_client(void)
{
    leat_client *client;
    const struct leat_client_options options = { .size = sizeof options };
    if (leat_client_open(&client, broker.url, &options) != 0)
        bench_fail(leat_client_error(NULL));
    return client;
}

/* Returns the broker's processor time per delivered record, ns. */
static double deliver(int subscribers)
{
    static uint8_t value[RECORD_BYTES];
    static struct leat_record records[256];
    leat_client *readers[SUBSCRIBERS_MAX];
    leat_consumer *consumers[SUBSCRIBERS_MAX];
    const char *topic = "fan";
    leat_client *client = open_client();
    leat_producer *producer;
    if (leat_producer_open(client, &producer, topic, NULL) != 0)
        bench_fail(leat_client_error(client));
    for (int i = 0; i < subscribers; i++) {
        readers[i] = open_client();
        if (leat_consumer_open(readers[i], &consumers[i], &topic, 1, NULL) != 0)
            bench_fail(leat_client_error(readers[i]));
    }
    const uint64_t records_each = DELIVERIES / (uint64_t)subscribers;
    const uint64_t cpu = leatd_cpu_ns(&broker);
    uint64_t sent = 0, received = 0;
    while (received < records_each * (uint64_t)subscribers) {
        const struct leat_record record = { .value = value, .value_size = sizeof value };
        /* At most a few batches ahead, so that the ring overtakes no reader. */
        while (sent < records_each
               && sent * (uint64_t)subscribers < received + 8000u * (uint64_t)subscribers
               && leat_producer_send(producer, &record) == 0)
            sent++;
        leat_client_poll(client, 0);
        for (int i = 0; i < subscribers; i++) {
            leat_client_poll(readers[i], 0);
            int n;
            while ((n = leat_consumer_poll(consumers[i], records, 256)) > 0)
                received += (uint64_t)n;
        }
    }
    const double cost = (double)(leatd_cpu_ns(&broker) - cpu) / (double)received;
    for (int i = 0; i < subscribers; i++)
        leat_client_close(readers[i]);
    leat_client_close(client);
    return cost;
}

int main(void)
{
    static const int subscribers[] = { 1, 10, 100 };
    double cost[3][ROUNDS];
    leatd_start_config(&broker, "{\"port\":0,\"data_port\":0,\"idle\":\"laptop\",\"topics\":[{"
                                "\"name\":\"fan\",\"ring_bytes\":\"64MiB\"}]}");
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < 3; i++)
            cost[i][round] = deliver(subscribers[i]);
    struct bench_spread spread[3];
    char note[256];
    for (int i = 0; i < 3; i++)
        spread[i] = bench_spread(cost[i], ROUNDS);
    snprintf(note, sizeof note, "published and delivered to one; rounds %.3f..%.3f",
             spread[0].p25 / 1e3, spread[0].p75 / 1e3);
    bench_emit("tcp_broker_cpu_1_subscriber", spread[0].p50 / 1e3, "s/million records",
               BENCH_NO_GOAL, 0, note);
    for (int i = 1; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "tcp_fanout_cost_ratio_%d", subscribers[i]);
        snprintf(note, sizeof note,
                 "%.1f ns per delivered record (%.1f..%.1f), %.1f ns with one subscriber",
                 spread[i].p50, spread[i].p25, spread[i].p75, spread[0].p50);
        bench_emit(name, spread[i].p50 / spread[0].p50, "ratio", BENCH_AT_MOST, 1.2, note);
    }
    leatd_end(&broker);
    return 0;
}

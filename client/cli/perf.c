/* leat perf: latency at a given rate, and throughput. One process publishes and subscribes, so that
 * one clock measures both ends.
 *
 * Latency is an open loop: the time at which a record is due does not depend on the record before,
 * and its latency counts from that time. A stall therefore shows in every record that was due
 * during it. Throughput is a closed loop that keeps the pipeline full; its latencies count from the
 * send. */
#include "client/cli/commands.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "ops/histogram.h"
#include "schema/limits.h"

enum {
    PERF_STAMP_BYTES = 16,
    PERF_RECORDS = 256,
    /* A send this much after its due time is counted: the measuring program itself was late. */
    PERF_LATE_NS = 100000,
};
#define PERF_WARMUP_NS (LEAT_NS_PER_S / 5)
#define PERF_DRAIN_NS (5 * LEAT_NS_PER_S)
#define PERF_RATE_MAX UINT64_C(10000000)

/* At the beginning of every value. */
struct stamp {
    uint64_t due_ns;
    uint32_t number; /* of the record, from 0 */
    uint32_t run;    /* distinguishes our records from others in the topic */
};

static_assert(sizeof(struct stamp) == PERF_STAMP_BYTES, "a stamp fits the smallest record");

struct perf {
    struct cli cli;
    leat_producer *producer;
    leat_consumer *consumer;
    const char *topic;
    char own_topic[32]; /* created for this run; empty: the user's topic */
    uint8_t *value;
    /* Options. */
    uint64_t rate;
    uint64_t duration_ns;
    uint64_t size;
    uint64_t batch_bytes;
    bool spin;
    bool json;
    /* Results. Records of the warm-up are sent and checked, but not measured. */
    uint32_t run;
    uint32_t warm; /* first record measured; UINT32_MAX during the warm-up */
    uint64_t sent;
    uint64_t received;
    uint64_t refused;
    uint64_t disorder;
    uint64_t late;
    uint64_t begin_ns; /* start of the measurement */
    uint64_t sent_end_ns;
    uint64_t received_end_ns;
    struct histogram latency;
};

static void on_delivery(void *user, const struct leat_delivery *delivery)
{
    struct perf *p = user;
    p->refused += delivery->status != 0;
}

static int perf_open(struct perf *p, const struct args_common *common, const char *command)
{
    int error = 0;
    int code = cli_open(&p->cli, command, common, CLI_DATA);
    if (code != 0)
        return code;
    p->cli.events_json = false;
    p->run = (uint32_t)(cli_wall_ns() / 1000) ^ (uint32_t)getpid() << 20;
    if (p->topic == NULL) {
        const struct leat_topic_settings settings = {
            .size = sizeof(settings),
            .record_bytes_max = p->size > LEAT_RECORD_BYTES_DEFAULT ? (uint32_t)p->size : 0
        };
        char name[sizeof(p->own_topic)];
        snprintf(name, sizeof(name), "perf-%08" PRIx32, p->run);
        error = leat_topic_create(p->cli.client, name, &settings);
        if (error != 0)
            return cli_fail_error(&p->cli, name, error);
        memcpy(p->own_topic, name, sizeof(name));
        p->topic = p->own_topic;
    }
    const struct leat_producer_options producer = { .size = sizeof(producer),
                                                    .on_delivery = on_delivery,
                                                    .user = p,
                                                    .batch_bytes_max = (uint32_t)p->batch_bytes };
    const struct leat_consumer_options consumer = { .size = sizeof(consumer),
                                                    .window_bytes = 4 * LEAT_MIB };
    error = leat_consumer_open(p->cli.client, &p->consumer, &p->topic, 1, &consumer);
    if (error == 0)
        error = leat_producer_open(p->cli.client, &p->producer, p->topic, &producer);
    return error == 0 ? 0 : cli_fail_error(&p->cli, p->topic, error);
}

static void perf_close(struct perf *p)
{
    leat_producer_close(p->producer);
    leat_consumer_close(p->consumer);
    if (p->own_topic[0] != '\0' && leat_topic_delete(p->cli.client, p->own_topic) != 0)
        cli_fail(&p->cli, "topic \"%s\" could not be deleted: leat topic delete %s", p->own_topic,
                 p->own_topic);
    cli_close(&p->cli);
    free(p->value);
    free(p);
}

static void take_record(struct perf *p, const struct leat_record *record, uint64_t now)
{
    struct stamp stamp;
    if (record->value == NULL || record->value_size != p->size)
        return;
    memcpy(&stamp, record->value, sizeof(stamp));
    if (stamp.run != p->run)
        return;
    /* Order is per partition: only a topic with one partition has a total order. */
    p->disorder +=
        leat_producer_partitions(p->producer) == 1 && stamp.number != (uint32_t)p->received;
    p->received++;
    p->received_end_ns = now;
    if (stamp.number >= p->warm)
        histogram_record(&p->latency, now > stamp.due_ns ? now - stamp.due_ns : 0);
}

/* Takes the records that have arrived. Returns how many, or an error. */
static int take_all(struct perf *p)
{
    struct leat_record records[PERF_RECORDS];
    int total = 0;
    for (;;) {
        const int n = leat_consumer_poll(p->consumer, records, PERF_RECORDS);
        if (n <= 0)
            return n < 0 ? n : total;
        const uint64_t now = cli_monotonic_ns();
        for (int i = 0; i < n; i++)
            take_record(p, &records[i], now);
        total += n;
    }
}

/* Sends record p->sent. After LEAT_BUSY it is sent later, with the same due time. */
static int send_one(struct perf *p, uint64_t due_ns)
{
    const struct stamp stamp = { .due_ns = due_ns, .number = (uint32_t)p->sent, .run = p->run };
    memcpy(p->value, &stamp, sizeof(stamp));
    const struct leat_record record = { .value = p->value,
                                        .value_size = (uint32_t)p->size,
                                        .partition = LEAT_ANY_PARTITION };
    const int error = leat_producer_send(p->producer, &record);
    p->sent += error == 0;
    return error;
}

/* Runs the client, then sleeps until due_ns unless there was something to do. */
static int wait_until(struct perf *p, uint64_t due_ns)
{
    int error = leat_client_poll(p->cli.client, 0);
    if (error > 0 || p->spin)
        return error < 0 ? error : 0;
    const uint64_t now = cli_monotonic_ns();
    if (error == 0 && due_ns > now)
        error = cli_wait(&p->cli, NULL, 0, due_ns - now);
    return error;
}

static int drain(struct perf *p)
{
    const uint64_t end_ns = cli_monotonic_ns() + PERF_DRAIN_NS;
    int error = 0;
    while (error >= 0 && p->received < p->sent && cli_monotonic_ns() < end_ns
           && !cli_stopped(&p->cli)) {
        error = take_all(p);
        if (error == 0)
            error = wait_until(p, end_ns);
    }
    return error < 0 ? error : 0;
}

static int run_latency(struct perf *p)
{
    const uint64_t start_ns = cli_monotonic_ns() + LEAT_NS_PER_MS;
    const uint64_t warm = PERF_WARMUP_NS * p->rate / LEAT_NS_PER_S;
    const uint64_t total = warm + (uint64_t)((double)p->duration_ns * (double)p->rate / 1e9);
    p->warm = (uint32_t)warm;
    p->begin_ns = start_ns + warm * LEAT_NS_PER_S / p->rate;
    while (p->sent < total && !cli_stopped(&p->cli)) {
        const uint64_t due_ns = start_ns + (uint64_t)((double)p->sent * 1e9 / (double)p->rate);
        const uint64_t now = cli_monotonic_ns();
        int error = take_all(p);
        if (error >= 0 && now >= due_ns) {
            error = send_one(p, due_ns);
            p->late += error == 0 && p->sent > p->warm && now - due_ns > PERF_LATE_NS;
            if (error == 0) {
                p->sent_end_ns = now;
                continue; /* other records that are due join the batch */
            }
        }
        if (error >= 0 || error == LEAT_BUSY)
            error = wait_until(p, error == LEAT_BUSY ? now + LEAT_NS_PER_MS : due_ns);
        if (error < 0)
            return error;
    }
    return drain(p);
}

static int run_throughput(struct perf *p)
{
    /* Stay close enough to the reader that the ring does not overwrite unread records. */
    const uint64_t ahead = 8 * LEAT_MIB / (p->size + 64) + 1;
    const uint64_t start_ns = cli_monotonic_ns();
    uint64_t now = start_ns;
    p->warm = UINT32_MAX;
    while (now < start_ns + PERF_WARMUP_NS + p->duration_ns && !cli_stopped(&p->cli)) {
        if (p->warm == UINT32_MAX && now >= start_ns + PERF_WARMUP_NS) {
            p->warm = (uint32_t)p->sent;
            p->begin_ns = now;
        }
        int error = 0;
        for (int i = 0; i < PERF_RECORDS && error == 0 && p->sent - p->received < ahead; i++)
            error = send_one(p, now);
        if (error < 0 && error != LEAT_BUSY)
            return error;
        error = take_all(p);
        if (error >= 0)
            error = wait_until(p, error > 0 ? 0 : now + LEAT_NS_PER_MS);
        if (error < 0)
            return error;
        now = cli_monotonic_ns();
    }
    p->sent_end_ns = now;
    return drain(p);
}

static double us(uint64_t ns)
{
    return (double)ns / 1000;
}

static double per_second(uint64_t count, uint64_t begin_ns, uint64_t end_ns)
{
    return end_ns > begin_ns ? (double)count * 1e9 / (double)(end_ns - begin_ns) : 0;
}

static void print_result(const struct perf *p, bool latency)
{
    const struct histogram *h = &p->latency;
    const uint64_t sent = p->sent > p->warm ? p->sent - p->warm : 0;
    const double sent_rate = per_second(sent, p->begin_ns, p->sent_end_ns);
    const double received_rate = per_second(h->count, p->begin_ns, p->received_end_ns);
    const double p50 = us(histogram_percentile(h, 50));
    const double p99 = us(histogram_percentile(h, 99));
    const double p999 = us(histogram_percentile(h, 99.9));
    if (!p->json) {
        printf("%" PRIu64 " records of %" PRIu64 " bytes sent, %" PRIu64 " delivered", sent,
               p->size, h->count);
        if (latency)
            printf(", %.0f a second of %" PRIu64 " asked, %" PRIu64 " sent late\n", sent_rate,
                   p->rate, p->late);
        else
            printf("\npublished %.0f records/s, %.1f MB/s\ndelivered %.0f records/s, %.1f MB/s\n",
                   sent_rate, sent_rate * (double)p->size / 1e6, received_rate,
                   received_rate * (double)p->size / 1e6);
        printf("publish to deliver, us: p50 %.1f  p99 %.1f  p99.9 %.1f  max %.1f\n", p50, p99, p999,
               us(h->max));
        return;
    }
    json_t *root =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f}", "mode",
                  latency ? "latency" : "throughput", "size_bytes", (json_int_t)p->size, "records",
                  (json_int_t)sent, "delivered", (json_int_t)h->count, "late_sends",
                  (json_int_t)p->late, "p50_us", p50, "p99_us", p99, "p99_9_us", p999, "max_us",
                  us(h->max), "min_us", us(h->min), "mean_us", histogram_mean(h) / 1000);
    if (latency) {
        json_object_set_new(root, "rate_asked", json_integer((json_int_t)p->rate));
        json_object_set_new(root, "rate_achieved", json_real(sent_rate));
    } else {
        json_object_set_new(root, "published_records_per_s", json_real(sent_rate));
        json_object_set_new(root, "published_mb_per_s",
                            json_real(sent_rate * (double)p->size / 1e6));
        json_object_set_new(root, "delivered_records_per_s", json_real(received_rate));
        json_object_set_new(root, "delivered_mb_per_s",
                            json_real(received_rate * (double)p->size / 1e6));
    }
    json_dumpf(root, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(root);
}

static int perf_run(struct perf *p, bool latency)
{
    const int error = latency ? run_latency(p) : run_throughput(p);
    if (error < 0)
        return cli_fail_error(&p->cli, p->topic, error);
    if (p->sent <= p->warm || p->latency.count == 0)
        return cli_fail(&p->cli, "stopped before anything was measured");
    print_result(p, latency);
    if (p->received != p->sent || p->refused > 0 || p->disorder > 0)
        return cli_fail(&p->cli,
                        "%" PRIu64 " records sent, %" PRIu64 " refused, %" PRIu64
                        " received, %" PRIu64 " of them out of order",
                        p->sent, p->refused, p->received, p->disorder);
    return 0;
}

static int perf_measure(int argc, char **argv, bool latency)
{
    struct perf *p = calloc(1, sizeof(*p));
    struct args_common common = { 0 };
    struct args_list operands;
    if (p == NULL)
        return EXIT_FAILED;
    p->rate = 1000;
    p->duration_ns = 5 * LEAT_NS_PER_S;
    p->size = 64;
    p->cli.signal_fd = -1;
    const struct args_option all[] = {
        { "rate", "N", "records per second [1000]", ARGS_NUMBER, &p->rate, 1, PERF_RATE_MAX },
        { "duration", "S", "seconds, after a warm-up of 0.2 [5]", ARGS_SECONDS, &p->duration_ns,
          LEAT_NS_PER_MS, 0 },
        { "size", "B", "bytes of a record's value [64]", ARGS_BYTES, &p->size, PERF_STAMP_BYTES,
          LEAT_RECORD_BYTES_LIMIT },
        { "topic", "T", "an existing topic [a new one, deleted afterwards]", ARGS_TEXT, &p->topic,
          0, 0 },
        { "spin", NULL, "busy-poll: uses one core for the lowest latency", ARGS_FLAG, &p->spin, 0,
          0 },
        { "batch-bytes", "B", "send a batch at this size [60KiB]", ARGS_BYTES, &p->batch_bytes, 256,
          LEAT_MIB },
        { .name = NULL },
    };
    const struct args_command command = {
        latency ? "perf latency" : "perf throughput", "",
        latency ? "Publishes at a fixed rate and measures the latency of each record until it is\n"
                  "delivered, from the time it was due."
                : "Publishes as fast as the broker accepts, and subscribes to the same topic.",
        /* Throughput has no --rate: skip the first option. */
        latency ? all : all + 1, 0, 0
    };
    int code = args_parse(&command, argc, argv, &common, &operands);
    if (code >= 0) {
        free(p);
        return code;
    }
    p->json = common.json;
    p->value = calloc(1, p->size);
    code = p->value == NULL ? EXIT_FAILED : perf_open(p, &common, command.name);
    if (code == 0)
        code = perf_run(p, latency);
    perf_close(p);
    return code;
}

int command_perf(int argc, char **argv)
{
    static const char usage[] = "usage: leat perf latency [OPTION]...\n"
                                "       leat perf throughput [OPTION]...\n"
                                "\nSee leat perf latency --help.\n";
    if (argc > 0 && strcmp(argv[0], "latency") == 0)
        return perf_measure(argc - 1, argv + 1, true);
    if (argc > 0 && strcmp(argv[0], "throughput") == 0)
        return perf_measure(argc - 1, argv + 1, false);
    if (argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc > 0 && (strcmp(argv[0], "run") == 0 || strcmp(argv[0], "max") == 0))
        fprintf(stderr, "leat perf %s: not implemented yet\n", argv[0]);
    else if (argc > 0)
        fprintf(stderr, "leat perf: no command \"%s\": expected latency or throughput\n", argv[0]);
    fputs(usage, stderr);
    return EXIT_USAGE;
}

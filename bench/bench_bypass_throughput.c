/* Goal: what goes through a memif, one client that publishes and consumes on one core, the shard on
 * the other, both spinning. Three measures, in turns: 64 B records one to a packet, beside a bare
 * echo's packets of that size; 64 B records in batches, a number alone; 1 KiB records in batches,
 * beside the bytes of a bare echo whose packets are as large as Leat's largest. Method: the echo
 * has a window of WINDOW packets, both ways through the same kind of port, every turn a new client;
 * medians of neighbouring turns' ratios, and quartiles. The library packs what waits into one
 * packet, also batches of one record: for one to a packet its client polls behind every record. */
#include <stdio.h>

#include "bench/common/bench.h"
#include "bench/common/bypass.h"

enum {
    ROUNDS = 5,
    TURN_MS = 500,
    WINDOW = 64,
    ECHO_PACKETS = 600000,
    SMALL = 64,
    LARGE = 1024,
    RECORD_HEADER = 16,   /* of each record in a batch: moved, too */
    LARGE_PAYLOAD = 1472, /* of a packet, at most */
};

struct rounds {
    double each[ROUNDS], each_packets[ROUNDS], packets[ROUNDS], small[ROUNDS];
    double large[ROUNDS], bytes[ROUNDS], ratio[ROUNDS];
    double records_a_packet;
    uint32_t payload;
};

static void run(struct bypass *b, struct rounds *r, int i)
{
    const char *line = bypass_leat(b, "each", "", TURN_MS, SMALL, 0);
    r->each[i] = bypass_number(line, "records_per_s");
    r->each_packets[i] = bypass_number(line, "packets_out_per_s");
    r->records_a_packet = bypass_number(line, "records_a_packet");
    if (r->payload == 0)
        r->payload = bypass_mean_payload(line);
    line = bypass_echo(b, r->payload, ECHO_PACKETS, WINDOW);
    r->packets[i] = bypass_number(line, "per_second");
    line = bypass_leat(b, "flow", "", TURN_MS, SMALL, 0);
    r->small[i] = bypass_number(line, "records_per_s");
    line = bypass_leat(b, "flow", "", TURN_MS, LARGE, 0);
    r->large[i] = bypass_number(line, "records_per_s") * (RECORD_HEADER + LARGE);
    line = bypass_echo(b, LARGE_PAYLOAD, ECHO_PACKETS, WINDOW);
    r->bytes[i] = bypass_number(line, "per_second") * LARGE_PAYLOAD;
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
    const struct bench_spread packets = ratio_of(r, r->each, r->packets);
    const struct bench_spread bytes = ratio_of(r, r->large, r->bytes);
    snprintf(name, sizeof name, "bypass_packet_rate_ratio_%s", wire);
    snprintf(note, sizeof note,
             "%.3g million records/s in %.3g million packets (%.2f each) to %.3g of %u bytes; "
             "rounds %.2f..%.2f",
             bench_spread(r->each, ROUNDS).p50 / 1e6,
             bench_spread(r->each_packets, ROUNDS).p50 / 1e6, r->records_a_packet,
             bench_spread(r->packets, ROUNDS).p50 / 1e6, r->payload, packets.p25, packets.p75);
    bench_emit(name, packets.p50, "ratio", BENCH_AT_LEAST, 0.5, note);
    const struct bench_spread small = bench_spread(r->small, ROUNDS);
    snprintf(name, sizeof name, "bypass_records_64B_%s", wire);
    snprintf(note, sizeof note, "published and delivered; rounds %.3g..%.3g", small.p25 / 1e6,
             small.p75 / 1e6);
    bench_emit(name, small.p50 / 1e6, "million records/s", BENCH_AT_LEAST, 20, note);
    snprintf(name, sizeof name, "bypass_bytes_ratio_1KiB_%s", wire);
    snprintf(note, sizeof note, "%.3g MB/s of records to %.3g in packets of %u; rounds %.2f..%.2f",
             bench_spread(r->large, ROUNDS).p50 / 1e6, bench_spread(r->bytes, ROUNDS).p50 / 1e6,
             LARGE_PAYLOAD, bytes.p25, bytes.p75);
    bench_emit(name, bytes.p50, "ratio", BENCH_AT_LEAST, 0.6, note);
}

static void measure(enum bypass_wire wire)
{
    struct rounds rounds = { .payload = 0 };
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
    if (!bypass_start())
        return 0;
    measure(BYPASS_MEMIF_ZERO);
    measure(BYPASS_MEMIF_COPY);
    return 0;
}

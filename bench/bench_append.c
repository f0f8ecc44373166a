/* clang-format off */
/* Goal: the cost for one shard of appending a batch to a log: header, producer deduplication,
 * CRC32C and record walk, copy, stamp, index. The yardstick is the minimum: memcpy and CRC32C of the
 * same bytes, into the same kind and number of double-mapped rings.
 * Method: alternating rounds of about ROUND_BYTES. Both sides read batches that were sealed just
 * before, outside the timing: they are in the cache, as after a receive.
 *
 *     bench_append count single|full N     appends N batches and prints nothing: for bench/count.sh,
 *                                          which counts the instructions of append_some */
/* clang-format on */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/common/bench.h"
#include "broker/log/partition.h"
#include "broker/log/ringlog.h"
#include "schema/batch.h"
#include "schema/crc32c.h"

enum {
    ROUNDS = 21,
    ROUND_BYTES = 64 << 20,
    BATCHES = 16, /* distinct batches, used in turn: about what a receive buffer holds */
    PARTITIONS_MAX = 1000,
};

static uint8_t *batches[BATCHES];
static uint32_t batch_bytes, batch_records;

/* Fills the batches with records of `value_size` bytes, up to `bytes` (0: one record). append_round
 * sets their sequences. */
static void make_batches(uint32_t bytes, uint32_t value_size)
{
    static uint8_t value[1 << 16];
    const uint32_t one = (uint32_t)leat_record_bytes(0, 0, value_size);
    const uint32_t room = bytes < LEAT_BATCH_HEADER_BYTES ? 0 : bytes - LEAT_BATCH_HEADER_BYTES;
    batch_records = room / one == 0 ? 1 : room / one;
    batch_bytes = LEAT_BATCH_HEADER_BYTES + batch_records * one;
    for (int i = 0; i < BATCHES; i++) {
        free(batches[i]);
        batches[i] = malloc(batch_bytes);
        if (batches[i] == NULL)
            bench_fail("memory");
        memset(value, i, value_size);
        for (uint32_t k = 0; k < batch_records; k++) {
            const struct leat_record_view record = { .value = value, .value_size = value_size };
            leat_record_write(batches[i] + LEAT_BATCH_HEADER_BYTES + k * one, &record, 0);
        }
    }
}

struct side {
    struct partition *partitions[PARTITIONS_MAX];
    struct producer_dedup *producers[PARTITIONS_MAX];
    struct ringlog rings[PARTITIONS_MAX];
    uint64_t sequences[PARTITIONS_MAX];
    struct logmem_budget budget;
    int count;
};

static struct side side;

static void open_side(int count, uint64_t ring_bytes)
{
    side = (struct side){ .count = count,
                          .budget = { .limit_bytes = UINT64_MAX, .pages = LOGMEM_NORMAL } };
    for (int i = 0; i < count; i++) {
        const struct partition_options options = { .ring_bytes = ring_bytes,
                                                   .record_bytes_max = 4096,
                                                   .leader_epoch = 1,
                                                   .offset_limit = LEAT_OFFSET_NONE,
                                                   .producers_max = 4 };
        uint64_t missing;
        bool was_bound;
        if (partition_open(&side.partitions[i], &options, &side.budget, &missing) != LEAT_OK
            || producer_dedup_open(partition_producers(side.partitions[i]), 1, 1,
                                   PRODUCER_DEDUP_NEW, MAKER_NOBODY, &side.producers[i], &was_bound)
                   != LEAT_OK
            || ringlog_open(&side.rings[i], ring_bytes, 0, &side.budget, &missing) != LEAT_OK)
            bench_fail("rings: not enough memory");
    }
}

static void close_side(void)
{
    for (int i = 0; i < side.count; i++) {
        partition_close(side.partitions[i]);
        ringlog_close(&side.rings[i], &side.budget);
    }
}

__attribute__((noinline)) void append_some(uint64_t done, uint64_t some, uint64_t now);

void append_some(uint64_t done, uint64_t some, uint64_t now)
{
    for (uint64_t i = 0; i < some; i++) {
        const int at = (int)((done + i) % (uint64_t)side.count);
        struct publish_result result;
        partition_publish(side.partitions[at], side.producers[at], batches[i], batch_bytes, now,
                          now, &result);
        if (result.status != LEAT_OK)
            bench_fail("append refused");
    }
}

/* Appends `times` batches; returns the nanoseconds spent. Sealing them, with the next sequence of
 * each partition, is outside the timing. */
static uint64_t append_round(uint64_t times)
{
    uint64_t spent = 0;
    for (uint64_t done = 0; done < times;) {
        const uint64_t some = times - done < BATCHES ? times - done : BATCHES;
        for (uint64_t i = 0; i < some; i++) {
            const int at = (int)((done + i) % (uint64_t)side.count);
            const struct leat_batch batch = { .producer_id = 1,
                                              .producer_epoch = 1,
                                              .base_sequence = side.sequences[at],
                                              .size = batch_bytes,
                                              .record_count = batch_records };
            leat_batch_seal(batches[i], &batch);
            side.sequences[at] += batch_records;
        }
        const uint64_t start = bench_now_ns();
        append_some(done, some, start);
        spent += bench_now_ns() - start;
        done += some;
    }
    return spent;
}

static volatile uint32_t sink;

static uint64_t bare_round(uint64_t times)
{
    uint64_t spent = 0;
    for (uint64_t done = 0; done < times;) {
        const uint64_t some = times - done < BATCHES ? times - done : BATCHES;
        for (uint64_t i = 0; i < some; i++) { /* brings the batch into the cache, as above */
            const struct leat_batch batch = { .producer_id = 1,
                                              .size = batch_bytes,
                                              .record_count = batch_records };
            leat_batch_seal(batches[i], &batch);
        }
        const uint64_t start = bench_now_ns();
        for (uint64_t i = 0; i < some; i++) {
            struct ringlog *ring = &side.rings[(done + i) % (uint64_t)side.count];
            const uint8_t *from = batches[i];
            sink = leat_crc32c(from + LEAT_BATCH_CRC_FROM, batch_bytes - LEAT_BATCH_CRC_FROM);
            memcpy(ringlog_at(ring, ring->tail), from, batch_bytes);
            ring->tail += batch_bytes;
        }
        spent += bench_now_ns() - start;
        done += some;
    }
    return spent;
}

/* Emits the ratio of the yardstick's time per batch to Leat's for BENCH_AT_LEAST, or its inverse
 * for BENCH_AT_MOST. */
static void measure(const char *name, enum bench_goal goal, double target)
{
    double ratio[ROUNDS], ns[ROUNDS];
    const uint64_t times = ROUND_BYTES / batch_bytes / (batch_bytes < 4096 ? 8 : 1);
    append_round((uint64_t)side.count * 4);
    bare_round((uint64_t)side.count * 4);
    for (int i = 0; i < ROUNDS; i++) {
        const double bare = (double)bare_round(times), leat = (double)append_round(times);
        ratio[i] = goal == BENCH_AT_LEAST ? bare / leat : leat / bare;
        ns[i] = leat / (double)times;
    }
    char note[256];
    const struct bench_spread r = bench_spread(ratio, ROUNDS), n = bench_spread(ns, ROUNDS);
    snprintf(note, sizeof note,
             "%.0f ns per batch of %u records, %u bytes; ratio %.3f..%.3f; CRC %s", n.p50,
             batch_records, batch_bytes, r.p25, r.p75, leat_crc32c_path());
    bench_emit(name, r.p50, "ratio", goal, target, note);
}

static int count(const char *what, uint64_t times)
{
    open_side(1, 1 << 20);
    make_batches(strcmp(what, "full") == 0 ? 60 << 10 : 0, 64);
    append_round(times);
    close_side();
    return 0;
}

int main(int argc, char **argv)
{
    static const int partitions[] = { 1, 10, 100, 1000 };
    if (argc == 4 && strcmp(argv[1], "count") == 0)
        return count(argv[2], strtoull(argv[3], NULL, 10));
    if (argc == 2 && strcmp(argv[1], "crc") == 0)
        return puts(leat_crc32c_path()) < 0;
    bench_pin(0);
    open_side(1, 64 << 20);
    make_batches(60 << 10, 1024);
    measure("append_full_1KiB_ratio", BENCH_AT_LEAST, 0.7);
    make_batches(60 << 10, 64);
    measure("append_full_64B_ratio", BENCH_AT_LEAST, 0.7);
    make_batches(0, 64);
    measure("append_single_64B_ratio", BENCH_AT_LEAST, 0.5);
    make_batches(0, 1024);
    measure("append_single_1KiB_ratio", BENCH_AT_LEAST, 0.5);
    close_side();
    for (int i = 0; i < 4; i++) {
        char name[64];
        open_side(partitions[i], 1 << 20);
        make_batches(16 << 10, 256);
        snprintf(name, sizeof name, "append_partitions_%d_cost_ratio", partitions[i]);
        measure(name, BENCH_AT_MOST, 1.3);
        close_side();
    }
    return 0;
}

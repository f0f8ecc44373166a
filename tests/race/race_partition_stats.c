/* Goal: anyone may read a partition's numbers while its shard appends: no number is torn, none goes
 * backward. Method: one writer, three readers, under TSan too. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "broker/log/partition.h"
#include "schema/batch.h"

enum { BATCHES = 30000, READERS = 3 };

static struct partition *partition;
static _Atomic int done;

static void *read_numbers(void *arg)
{
    struct partition_stats before = { 0 }, s;
    (void)arg;
    while (!atomic_load(&done)) {
        partition_stats(partition, &s);
        if (s.tail_position < before.tail_position || s.next_offset < before.next_offset
            || s.head_position < before.head_position || s.records_in < before.records_in) {
            fprintf(stderr, "a number went backward\n");
            return arg;
        }
        before = s;
    }
    return NULL;
}

int main(void)
{
    struct logmem_budget budget = { .limit_bytes = 1 << 20, .pages = LOGMEM_NORMAL };
    const struct partition_options options = { .ring_bytes = 1 << 17,
                                               .record_bytes_max = 4096,
                                               .leader_epoch = 1,
                                               .offset_limit = LEAT_OFFSET_NONE };
    struct producer_dedup *producer;
    bool was_bound;
    uint64_t missing;
    pthread_t readers[READERS];
    int failed = 0;
    if (partition_open(&partition, &options, &budget, &missing) != LEAT_OK
        || producer_dedup_open(partition_producers(partition), 1, 1, PRODUCER_DEDUP_NEW,
                               MAKER_NOBODY, &producer, &was_bound)
               != LEAT_OK)
        return 1;
    for (int i = 0; i < READERS; i++)
        pthread_create(&readers[i], NULL, read_numbers, &failed);
    for (uint64_t i = 0; i < BATCHES; i++) {
        uint8_t bytes[512];
        const struct leat_record_view record = { .value = bytes + 256, .value_size = 64 };
        struct publish_result result;
        memset(bytes, 0, sizeof bytes);
        const uint32_t size = 64 + leat_record_write(bytes + 64, &record, 0);
        const struct leat_batch batch = { .producer_id = 1,
                                          .producer_epoch = 1,
                                          .base_sequence = i,
                                          .size = size,
                                          .record_count = 1 };
        leat_batch_seal(bytes, &batch);
        partition_publish(partition, producer, bytes, size, i, i, &result);
        failed |= result.status != LEAT_OK;
    }
    atomic_store(&done, 1);
    for (int i = 0; i < READERS; i++) {
        void *said;
        pthread_join(readers[i], &said);
        failed |= said != NULL;
    }
    partition_close(partition);
    return failed;
}

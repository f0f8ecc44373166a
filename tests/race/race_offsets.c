/* Goal: shards commit, others look up and scan, while control deletes groups and topics: an entry
 * stays whole as long as it is held, never goes backward, and is freed exactly once. Method:
 * shards, readers and a control thread on the real table, entries handed over a ring as messages
 * are; run under AddressSanitizer or ThreadSanitizer it reports what is touched too late. Control
 * deletes a group or a topic at random while the shard still commits to its entries. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <urcu-qsbr.h>

#include "broker/shared/offsets.h"
#include "tests/support/seeded.h"

enum {
    SHARDS = 2,
    GROUPS = 64,
    TOPICS = 8,
    PARTITIONS = 8,
    RING = 1024,
    CHANGES = 200000,
    HELD_MAX = 256,
};

/* What control and a shard say to each other: take this one, or let go of it. */
struct box {
    struct offsets_entry *_Atomic slots[RING];
    _Atomic unsigned head, tail;
};

static struct offsets *offsets;
static struct box boxes[SHARDS];
static atomic_bool ended;
static atomic_ulong commits, scanned, found, wrong;

static bool box_send(struct box *box, struct offsets_entry *entry)
{
    const unsigned tail = atomic_load(&box->tail);
    if (tail - atomic_load(&box->head) == RING)
        return false;
    atomic_store(&box->slots[tail % RING], entry);
    atomic_store(&box->tail, tail + 1);
    return true;
}

static struct offsets_entry *box_receive(struct box *box)
{
    const unsigned head = atomic_load(&box->head);
    if (head == atomic_load(&box->tail))
        return NULL;
    struct offsets_entry *entry = atomic_load(&box->slots[head % RING]);
    atomic_store(&box->head, head + 1);
    return entry;
}

static void *shard(void *arg)
{
    struct box *box = arg;
    struct seeded random = { .state = (uintptr_t)arg };
    struct offsets_entry *held[HELD_MAX];
    unsigned count = 0;
    unsigned long done = 0, bad = 0;
    rcu_register_thread();
    for (;;) {
        const bool last = atomic_load(&ended);
        struct offsets_entry *entry = box_receive(box);
        if (last && entry == NULL)
            break;
        if (entry != NULL && count < HELD_MAX)
            held[count++] = entry;
        else if (entry != NULL)
            offsets_release(entry);
        for (unsigned i = 0; i < count && i < 16; i++) {
            entry = held[seeded_below(&random, count)];
            const uint64_t before = offsets_committed(entry);
            const uint64_t next = before == LEAT_OFFSET_NONE ? 1 : before + 1;
            offsets_commit(entry, next, next * 3);
            bad += entry->log_epoch != entry->key.topic_id * 7;
            done++;
        }
        /* A subscription ends. */
        if (count != 0 && seeded_below(&random, 4) == 0) {
            const unsigned i = seeded_below(&random, count);
            offsets_release(held[i]);
            held[i] = held[--count];
        }
        rcu_quiescent_state();
    }
    while (count != 0)
        offsets_release(held[--count]);
    rcu_unregister_thread();
    atomic_fetch_add(&commits, done);
    atomic_fetch_add(&wrong, bad);
    return NULL;
}

static void look(void *user, const struct offsets_entry *entry)
{
    unsigned long *counts = user;
    const uint64_t offset = offsets_committed(entry);
    /* The time is of this offset or a newer one. */
    const uint64_t time = atomic_load_explicit(&entry->commit_ns, memory_order_relaxed);
    counts[0]++;
    counts[1] += entry->log_epoch != entry->key.topic_id * 7;
    counts[1] += offset != LEAT_OFFSET_NONE && time < offset * 3;
}

static void *reader(void *arg)
{
    struct seeded random = { .state = (uintptr_t)arg };
    unsigned long counts[2] = { 0 }, seen = 0;
    rcu_register_thread();
    while (!atomic_load(&ended)) {
        const struct offsets_key key = { .group_id = 1 + seeded_below(&random, GROUPS),
                                         .topic_id = 1 + seeded_below(&random, TOPICS),
                                         .partition = seeded_below(&random, PARTITIONS) };
        const struct offsets_entry *entry = offsets_find(offsets, &key);
        if (entry != NULL) {
            seen++;
            counts[1] += entry->key.partition != key.partition;
            look(counts, entry);
        }
        if (seeded_below(&random, 64) == 0)
            offsets_scan(offsets, look, counts);
        rcu_quiescent_state();
    }
    rcu_unregister_thread();
    atomic_fetch_add(&found, seen);
    atomic_fetch_add(&scanned, counts[0]);
    atomic_fetch_add(&wrong, counts[1]);
    return NULL;
}

static struct offsets_entry *places[GROUPS][TOPICS][PARTITIONS];

static void drop(struct offsets_entry **place)
{
    if (*place != NULL)
        offsets_remove(offsets, *place);
    *place = NULL;
}

static void drop_group(unsigned group)
{
    for (unsigned t = 0; t < TOPICS; t++)
        for (unsigned p = 0; p < PARTITIONS; p++)
            drop(&places[group][t][p]);
}

static void drop_topic(unsigned topic)
{
    for (unsigned g = 0; g < GROUPS; g++)
        for (unsigned p = 0; p < PARTITIONS; p++)
            drop(&places[g][topic][p]);
}

static void change(struct seeded *random)
{
    for (unsigned i = 0; i < CHANGES; i++) {
        const unsigned g = seeded_below(random, GROUPS), t = seeded_below(random, TOPICS),
                       p = seeded_below(random, PARTITIONS);
        struct offsets_entry **place = &places[g][t][p];
        const unsigned kind = seeded_below(random, 4000);
        if (kind == 0)
            drop_topic(t);
        else if (kind < 10)
            drop_group(g);
        const struct offsets_key key = { .group_id = 1 + g, .topic_id = 1 + t, .partition = p };
        if (*place == NULL && offsets_create(offsets, &key, key.topic_id * 7, place) != LEAT_OK)
            abort();
        offsets_hold(*place);
        if (!box_send(&boxes[p % SHARDS], *place))
            offsets_release(*place);
        rcu_quiescent_state();
    }
}

int main(void)
{
    struct seeded random = seeded_start("race_offsets");
    pthread_t threads[SHARDS + 2];
    rcu_register_thread();
    if (offsets_open(&offsets, NULL) != LEAT_OK)
        return 1;
    for (uintptr_t i = 0; i < SHARDS; i++)
        if (pthread_create(&threads[i], NULL, shard, &boxes[i]) != 0)
            return 1;
    for (uintptr_t i = 0; i < 2; i++)
        if (pthread_create(&threads[SHARDS + i], NULL, reader, (void *)(i + 1)) != 0)
            return 1;
    change(&random);
    atomic_store(&ended, true);
    rcu_thread_offline();
    for (int i = 0; i < SHARDS + 2; i++)
        pthread_join(threads[i], NULL);
    rcu_thread_online();
    offsets_close(offsets);
    rcu_unregister_thread();
    printf("race_offsets: %lu commits, %lu found, %lu scanned, %lu wrong\n", atomic_load(&commits),
           atomic_load(&found), atomic_load(&scanned), atomic_load(&wrong));
    return atomic_load(&wrong) != 0 || atomic_load(&commits) == 0 || atomic_load(&scanned) == 0;
}

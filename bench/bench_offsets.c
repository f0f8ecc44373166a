/* Goal: the cost of a commit; a scan of the whole table does not slow down commits; lookups and
 * memory per entry do not get worse as the table grows.
 * Method: one thread commits to entries that it holds, as a shard does, with and without another
 * thread that scans the table 100 times a second, in turns. The same with an array of the entries
 * behind a pthread rwlock. Lookups are of keys in random order. Their yardstick is an
 * open-addressing table of pointers with the same hash, half full: two random memory accesses, the
 * minimum of a lookup. */
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <urcu-qsbr.h>

#include "bench/common/bench.h"
#include "broker/shared/offsets.h"
#include "tests/support/seeded.h"

enum {
    ENTRIES = 10000,
    HELD = 1000,
    ROUNDS = 21,
    PARTITIONS = 10, /* per group */
    LOOKUPS = 1 << 20,
    LOG_EPOCH = 7,
};
#define ROUND_NS UINT64_C(200000000)
#define SCAN_EVERY_NS UINT64_C(10000000)

static struct offsets *offsets;
static struct offsets_entry **entries;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static _Atomic int scanning; /* 0: nothing, 1: the table, 2: the array behind the lock */
static _Atomic bool ended;
static _Atomic uint64_t sum;

static struct offsets_key key_of(uint32_t i)
{
    return (struct offsets_key){ .group_id = 1 + i / PARTITIONS,
                                 .topic_id = UINT64_C(0x100000007),
                                 .partition = i % PARTITIONS };
}

static void fill(uint32_t count)
{
    if (offsets_open(&offsets, NULL) != LEAT_OK)
        bench_fail("memory");
    entries = calloc(count, sizeof(struct offsets_entry *));
    if (entries == NULL)
        bench_fail("memory");
    for (uint32_t i = 0; i < count; i++) {
        const struct offsets_key key = key_of(i);
        if (offsets_create(offsets, &key, LOG_EPOCH, &entries[i]) != LEAT_OK)
            bench_fail("memory");
        offsets_commit(entries[i], i, 1);
    }
}

static void empty(void)
{
    offsets_close(offsets);
    free(entries);
}

/* ---- commits beside scans */

static void add_up(void *user, const struct offsets_entry *entry)
{
    *(uint64_t *)user += offsets_committed(entry);
}

static void *scan(void *arg)
{
    (void)arg;
    bench_pin(1);
    rcu_register_thread();
    uint64_t next = bench_now_ns();
    while (!atomic_load(&ended)) {
        uint64_t total = 0;
        rcu_quiescent_state();
        if (bench_now_ns() < next)
            continue;
        next += SCAN_EVERY_NS;
        switch (atomic_load(&scanning)) {
        case 1: offsets_scan(offsets, add_up, &total); break;
        case 2:
            pthread_rwlock_rdlock(&lock);
            for (uint32_t i = 0; i < ENTRIES; i++)
                add_up(&total, entries[i]);
            pthread_rwlock_unlock(&lock);
            break;
        default: break;
        }
        atomic_fetch_add(&sum, total);
    }
    rcu_unregister_thread();
    return NULL;
}

/* Returns the nanoseconds per commit over one round. */
static double commit_for(uint64_t ns, bool locked)
{
    struct seeded random = { .state = 1 };
    const uint64_t begun = bench_now_ns();
    uint64_t now = begun, commits = 0;
    while (now - begun < ns) {
        for (int i = 0; i < 256; i++) {
            struct offsets_entry *entry = entries[seeded_below(&random, HELD)];
            if (locked)
                pthread_rwlock_wrlock(&lock);
            offsets_commit(entry, commits, now);
            if (locked)
                pthread_rwlock_unlock(&lock);
            commits++;
        }
        rcu_quiescent_state();
        now = bench_now_ns();
    }
    return (double)(now - begun) / (double)commits;
}

static double idle_loop(uint64_t ns)
{
    struct seeded random = { .state = 1 };
    const uint64_t begun = bench_now_ns();
    uint64_t now = begun, turns = 0, any = 0;
    while (now - begun < ns) {
        for (int i = 0; i < 256; i++, turns++)
            any += (uintptr_t)entries[seeded_below(&random, HELD)];
        rcu_quiescent_state();
        now = bench_now_ns();
    }
    atomic_fetch_add(&sum, any);
    return (double)(now - begun) / (double)turns;
}

static void commits_beside_scans(void)
{
    pthread_t scanner;
    double alone[ROUNDS], beside[ROUNDS], slower[ROUNDS], idle[ROUNDS], net[ROUNDS];
    double locked[ROUNDS], locked_slower[ROUNDS];
    fill(ENTRIES);
    bench_pin(0);
    if (pthread_create(&scanner, NULL, scan, NULL) != 0)
        bench_fail("a thread");
    for (int i = 0; i < ROUNDS; i++) {
        atomic_store(&scanning, 0);
        idle[i] = idle_loop(ROUND_NS / 4);
        alone[i] = commit_for(ROUND_NS, false);
        net[i] = alone[i] - idle[i];
        atomic_store(&scanning, 1);
        beside[i] = commit_for(ROUND_NS, false);
        slower[i] = 100.0 * (beside[i] / alone[i] - 1);
        atomic_store(&scanning, 0);
        locked[i] = commit_for(ROUND_NS, true);
        atomic_store(&scanning, 2);
        locked_slower[i] = 100.0 * (commit_for(ROUND_NS, true) / locked[i] - 1);
    }
    atomic_store(&ended, true);
    rcu_thread_offline();
    pthread_join(scanner, NULL);
    rcu_thread_online();
    bench_emit("offsets_commit_ns", bench_spread(net, ROUNDS).p50, "ns", BENCH_AT_MOST, 20,
               "a commit to one of 1,000 held entries, without the loop's overhead");
    bench_emit("offsets_scan_slows_commits", bench_spread(slower, ROUNDS).p50, "%", BENCH_AT_MOST,
               5, "a scan of 10,000 entries 100 times a second on another core");
    bench_emit("offsets_rwlock_commit_ns", bench_spread(locked, ROUNDS).p50, "ns", BENCH_NO_GOAL, 0,
               "the same behind a pthread rwlock, with the loop's overhead");
    bench_emit("offsets_rwlock_scan_slows_commits", bench_spread(locked_slower, ROUNDS).p50, "%",
               BENCH_NO_GOAL, 0, "a scan that holds the rwlock");
    empty();
}

/* ---- lookups */

struct bare {
    struct offsets_entry **places;
    uint64_t mask;
};

static uint64_t mix(uint64_t h)
{
    h = (h ^ h >> 33) * UINT64_C(0xFF51AFD7ED558CCD);
    h = (h ^ h >> 33) * UINT64_C(0xC4CEB9FE1A85EC53);
    return h ^ h >> 33;
}

static uint64_t bare_hash(const struct offsets_key *key)
{
    return mix(mix(key->group_id * UINT64_C(0x9E3779B97F4A7C15) ^ key->topic_id) + key->partition);
}

static struct offsets_entry **bare_find(const struct bare *bare, const struct offsets_key *key)
{
    uint64_t at = bare_hash(key) & bare->mask;
    while (bare->places[at] != NULL
           && (bare->places[at]->key.group_id != key->group_id
               || bare->places[at]->key.topic_id != key->topic_id
               || bare->places[at]->key.partition != key->partition))
        at = (at + 1) & bare->mask;
    return &bare->places[at];
}

static void bare_fill(struct bare *bare, uint32_t count)
{
    uint64_t places = 1;
    while (places < 2 * (uint64_t)count)
        places *= 2;
    bare->mask = places - 1;
    bare->places = calloc(places, sizeof(struct offsets_entry *));
    if (bare->places == NULL)
        bench_fail("memory");
    for (uint32_t i = 0; i < count; i++)
        *bare_find(bare, &entries[i]->key) = entries[i];
}

static double look_up(const struct bare *bare, uint32_t count)
{
    struct seeded random = { .state = 5 };
    uint64_t total = 0;
    const uint64_t begun = bench_now_ns();
    for (int i = 0; i < LOOKUPS; i++) {
        const struct offsets_key key = key_of(seeded_below(&random, count));
        const struct offsets_entry *entry =
            bare != NULL ? *bare_find(bare, &key) : offsets_find(offsets, &key);
        total += entry->key.partition;
        /* The next key depends on this entry, so that lookups do not overlap. */
        random.state += entry->log_epoch - LOG_EPOCH;
    }
    atomic_fetch_add(&sum, total);
    return (double)(bench_now_ns() - begun) / LOOKUPS;
}

/* The range of a figure over table sizes. */
struct flat {
    double least, most;
};

static void flat_add(struct flat *flat, double value)
{
    flat->least = flat->least == 0 || value < flat->least ? value : flat->least;
    flat->most = value > flat->most ? value : flat->most;
}

static void lookups(uint32_t count, const char *size, struct flat *probes, struct flat *memory)
{
    double ours[ROUNDS], ratio[ROUNDS];
    struct bare bare;
    char name[64];
    fill(count);
    bare_fill(&bare, count);
    for (int i = 0; i < ROUNDS; i++) {
        ours[i] = look_up(NULL, count);
        ratio[i] = ours[i] / look_up(&bare, count);
        rcu_quiescent_state();
    }
    snprintf(name, sizeof name, "offsets_lookup_%s_ns", size);
    bench_emit(name, bench_spread(ours, ROUNDS).p50, "ns", BENCH_NO_GOAL, 0,
               "keys in random order");
    snprintf(name, sizeof name, "offsets_lookup_%s_ratio", size);
    bench_emit(name, bench_spread(ratio, ROUNDS).p50, "x", BENCH_AT_MOST, 1.5,
               "beside a bare hash table of that size");
    snprintf(name, sizeof name, "offsets_probes_%s", size);
    const double looked_at = offsets_mean_probes(offsets);
    bench_emit(name, looked_at, "entries", BENCH_AT_MOST, 2, "examined per lookup");
    flat_add(probes, looked_at);
    snprintf(name, sizeof name, "offsets_memory_%s_bytes", size);
    const double bytes = (double)malloc_usable_size(entries[0])
                         + (double)offsets_table_bytes(offsets) / (double)count;
    bench_emit(name, bytes, "bytes", BENCH_AT_MOST, 200,
               "per entry, its share of the table included");
    flat_add(memory, bytes);
    free(bare.places);
    empty();
}

int main(void)
{
    struct flat probes = { 0 }, memory = { 0 };
    rcu_register_thread();
    commits_beside_scans();
    lookups(1000, "1e3", &probes, &memory);
    lookups(10000, "1e4", &probes, &memory);
    lookups(100000, "1e5", &probes, &memory);
    lookups(1000000, "1e6", &probes, &memory);
    bench_emit("offsets_probes_flat", probes.most / probes.least, "x", BENCH_AT_MOST, 1.25,
               "maximum over these sizes to minimum");
    bench_emit("offsets_memory_flat", memory.most / memory.least, "x", BENCH_AT_MOST, 1.25,
               "the same for the memory of an entry");
    rcu_unregister_thread();
    return 0;
}

/* Offsets: where each group stands in each partition, for the shards to store and anybody to read.
 *
 * Role: (group, topic, partition) -> an entry with the committed offset, when it was committed, and
 * what the group lost there; an entry's life.
 * Must not know: groups' names and members, streams, logs, files.
 *
 *      control: offsets_create ----> in the table, 1 reference of it
 *                                     | offsets_hold, with the message that opens a subscription
 *      shard:                         v
 *               commits through its own reference, one store each; offsets_release when it lets go
 *      control: offsets_remove ----> out of the table; freed when the last reference has gone and a
 *                                    grace period is over (call_rcu: nobody waits)
 *
 * Threads: control alone creates and removes. A shard that holds a reference writes `offset`,
 * `commit_ns`, `lost_*` and `holder` of entries of its own partitions, and nobody else does. Every
 * thread registered with RCU (QSBR) may look up and scan; what a lookup returned is valid until the
 * thread's next quiescent state, or as long as it is held. */
#ifndef LEAT_BROKER_SHARED_OFFSETS_H
#define LEAT_BROKER_SHARED_OFFSETS_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <urcu-qsbr.h>
#include <urcu/rculfhash.h>

#include "broker/log/memory_budget.h"
#include "schema/batch.h"
#include "schema/error.h"

struct offsets;
struct subscription;

enum {
    OFFSETS_MAX = 1 << 21,   /* entries of one broker */
    OFFSETS_SCAN_RUN = 1000, /* entries between two quiescent states of a long read */
};

struct offsets_key {
    uint64_t group_id; /* >= 1 */
    uint64_t topic_id;
    uint32_t partition;
};

struct offsets_entry {
    /* For lookups; does not change. */
    struct cds_lfht_node node;
    struct offsets_key key;
    uint64_t log_epoch; /* of the log its offset is about */
    /* Where the group stood in an earlier life of the log, as far as is known; epoch 0: nowhere.
     * Set before a shard hears of the entry. */
    uint64_t before_log_epoch, before_offset;
    /* For the shard that commits: a line of its own. */
    alignas(64) _Atomic uint64_t offset; /* LEAT_OFFSET_NONE: nothing is committed */
    _Atomic uint64_t commit_ns;          /* since 1970 */
    _Atomic uint64_t lost_at_least; /* records the group lost here: those that are known, ... */
    _Atomic uint64_t lost_at_most;  /* ... and with them all offsets that may have been records */
    struct subscription *holder;    /* the shard's: which one commits now; NULL: none */
    _Atomic uint32_t references;
    struct rcu_head rcu;
};

/* Entries are charged to `budget`, which is kept; NULL: no limit. LEAT_ERR_NO_MEMORY. */
enum leat_error offsets_open(struct offsets **out, struct memory_budget *budget);
/* No reader is left, every reference has been given up. */
void offsets_close(struct offsets *offsets);

/* Control. A new entry, with nothing committed; the key is not in the table.
 * LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY. */
enum leat_error offsets_create(struct offsets *offsets, const struct offsets_key *key,
                               uint64_t log_epoch, struct offsets_entry **out);
/* Control. No lookup finds it any more. */
void offsets_remove(struct offsets *offsets, struct offsets_entry *entry);

/* Whoever may see the entry now may go on doing so until it is released. */
void offsets_hold(struct offsets_entry *entry);
void offsets_release(struct offsets_entry *entry);

/* The entry's shard. */
static inline void offsets_commit(struct offsets_entry *entry, uint64_t offset, uint64_t wall_ns)
{
    atomic_store_explicit(&entry->commit_ns, wall_ns, memory_order_relaxed);
    /* Release: who reads the offset reads a time that is not older. */
    atomic_store_explicit(&entry->offset, offset, memory_order_release);
}
/* So many more, at least and at most. */
static inline void offsets_lose(struct offsets_entry *entry, uint64_t at_least, uint64_t at_most)
{
    /* One writer: no read-modify-write is needed. */
    const uint64_t least = atomic_load_explicit(&entry->lost_at_least, memory_order_relaxed);
    const uint64_t most = atomic_load_explicit(&entry->lost_at_most, memory_order_relaxed);
    /* In this order no reader sees more at least than at most. */
    atomic_store_explicit(&entry->lost_at_most, most + at_most, memory_order_release);
    atomic_store_explicit(&entry->lost_at_least, least + at_least, memory_order_release);
}

/* Any thread. */
static inline void offsets_lost(const struct offsets_entry *entry, uint64_t *at_least,
                                uint64_t *at_most)
{
    *at_least = atomic_load_explicit(&entry->lost_at_least, memory_order_acquire);
    *at_most = atomic_load_explicit(&entry->lost_at_most, memory_order_acquire);
}
static inline uint64_t offsets_committed(const struct offsets_entry *entry)
{
    return atomic_load_explicit(&entry->offset, memory_order_acquire);
}

/* Control, of an entry in the table. Nothing stands in it and nobody else has it. */
static inline bool offsets_is_unused(const struct offsets_entry *entry)
{
    return offsets_committed(entry) == LEAT_OFFSET_NONE && entry->before_log_epoch == 0
           && atomic_load_explicit(&entry->references, memory_order_acquire) == 1;
}

/* NULL: there is none. Any reader. */
struct offsets_entry *offsets_find(const struct offsets *offsets, const struct offsets_key *key);

/* Calls `visit` for every entry that is there all the while; others may be missed. Passes through a
 * quiescent state every OFFSETS_SCAN_RUN entries, so `visit` keeps no pointers and the caller has
 * none from before. Any reader that is online; nobody is stopped by it. */
void offsets_scan(const struct offsets *offsets,
                  void (*visit)(void *user, const struct offsets_entry *entry), void *user);

size_t offsets_count(const struct offsets *offsets);
/* Memory of the table beside the entries. */
size_t offsets_table_bytes(const struct offsets *offsets);
/* Entries that are looked at to find one, on average. Nobody scans meanwhile; there are some. */
double offsets_mean_probes(const struct offsets *offsets);

#endif

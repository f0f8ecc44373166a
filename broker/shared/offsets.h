/* Offsets: the committed offset of each group in each partition. Shards store them; any thread
 * reads them.
 *
 * Role: (group, topic, partition) -> an entry with the committed offset, the time of the commit,
 * and what the group lost there; the lifetime of entries.
 * Must not know: names and members of groups, streams, logs, files.
 *
 *      control: offsets_create ----> in the table, which holds 1 reference
 *                                     | offsets_hold, with the message that opens a subscription
 *      shard:                         v
 *               commits through its own reference, one store each; offsets_release when it is done
 *      control: offsets_remove ----> out of the table; freed when the last reference was released
 *                                    and a grace period is over (call_rcu: nobody waits)
 *
 * Threads: control alone creates and removes. A shard that holds a reference writes `offset`,
 * `commit_ns`, `lost_*` and `holder` of entries of its own partitions, and nobody else does. Every
 * thread registered with RCU (QSBR) may look up and scan. The result of a lookup is valid until the
 * thread's next quiescent state, or as long as it is referenced. */
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
    /* For lookups; immutable. */
    struct cds_lfht_node node;
    struct offsets_key key;
    uint64_t log_epoch; /* of the log that `offset` is of */
    /* The group's offset in an earlier life of the log, as far as it is known; epoch 0: none. Set
     * before a shard knows the entry. */
    uint64_t before_log_epoch, before_offset;
    /* Written by the shard that commits: a cache line of its own. */
    alignas(64) _Atomic uint64_t offset; /* LEAT_OFFSET_NONE: nothing is committed */
    _Atomic uint64_t commit_ns;          /* since 1970 */
    _Atomic uint64_t lost_at_least; /* lost here by the group: offsets known to be records ... */
    _Atomic uint64_t lost_at_most;  /* ... and all offsets that may have been records */
    struct subscription *holder;    /* the shard's: the subscription that commits; NULL: none */
    _Atomic uint32_t references;
    struct rcu_head rcu;
};

/* Entries are charged to `budget`, which must outlive the table; NULL: no limit. Errors:
 * LEAT_ERR_NO_MEMORY. */
enum leat_error offsets_open(struct offsets **out, struct memory_budget *budget);
/* No readers may be left, and every reference must have been released. */
void offsets_close(struct offsets *offsets);

/* Control. Adds an entry with nothing committed; the key must not be in the table. Errors:
 * LEAT_ERR_LIMIT, LEAT_ERR_NO_MEMORY. */
enum leat_error offsets_create(struct offsets *offsets, const struct offsets_key *key,
                               uint64_t log_epoch, struct offsets_entry **out);
/* Control. Removes the entry from the table: no lookup finds it from now on. */
void offsets_remove(struct offsets *offsets, struct offsets_entry *entry);

/* Takes and releases a reference. A thread to which the entry is valid may keep it so by a
 * reference. */
void offsets_hold(struct offsets_entry *entry);
void offsets_release(struct offsets_entry *entry);

/* The entry's shard. `wall_ns` is ns since 1970. */
static inline void offsets_commit(struct offsets_entry *entry, uint64_t offset, uint64_t wall_ns)
{
    atomic_store_explicit(&entry->commit_ns, wall_ns, memory_order_relaxed);
    /* Release: a reader of this offset reads a time that is not older. */
    atomic_store_explicit(&entry->offset, offset, memory_order_release);
}
/* The entry's shard. Adds lost records: at least and at most so many more. */
static inline void offsets_lose(struct offsets_entry *entry, uint64_t at_least, uint64_t at_most)
{
    /* One writer: no read-modify-write is needed. */
    const uint64_t least = atomic_load_explicit(&entry->lost_at_least, memory_order_relaxed);
    const uint64_t most = atomic_load_explicit(&entry->lost_at_most, memory_order_relaxed);
    /* In this order no reader sees `lost_at_least` above `lost_at_most`. */
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

/* Control, for an entry in the table. True when nothing is committed in it and nobody else
 * references it. */
static inline bool offsets_is_unused(const struct offsets_entry *entry)
{
    return offsets_committed(entry) == LEAT_OFFSET_NONE && entry->before_log_epoch == 0
           && atomic_load_explicit(&entry->references, memory_order_acquire) == 1;
}

/* Any registered reader. NULL: there is none. */
struct offsets_entry *offsets_find(const struct offsets *offsets, const struct offsets_key *key);

/* Calls `visit` for every entry that exists during the whole scan; others may be missed. Passes a
 * quiescent state every OFFSETS_SCAN_RUN entries, so `visit` must not keep pointers, and the
 * caller's are no longer valid. Any registered reader that is online; it blocks nobody. */
void offsets_scan(const struct offsets *offsets,
                  void (*visit)(void *user, const struct offsets_entry *entry), void *user);

size_t offsets_count(const struct offsets *offsets);
/* Bytes of the table, its entries apart. */
size_t offsets_table_bytes(const struct offsets *offsets);
/* The mean number of entries that a lookup compares. Nobody may scan meanwhile, and the table must
 * not be empty. */
double offsets_mean_probes(const struct offsets *offsets);

#endif

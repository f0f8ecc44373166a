/* Offsets: the committed offset of each group in each partition. Shards store them; any thread
 * reads them. */
#include "broker/shared/offsets.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/shared/tsan.h"

/* The table is grown here, so that there are always twice as many buckets as entries. liburcu's own
 * resizing waits until there are eight entries a bucket, and starts a thread. */
enum { BUCKETS_MIN = 1024, BUCKETS_PER_ENTRY = 2 };

struct offsets {
    struct cds_lfht *table;
    _Atomic size_t count; /* control writes */
    _Atomic size_t buckets;
    struct memory_budget *budget;
};

/* Charged for one entry, with its part of the table. */
static const uint64_t ENTRY_BYTES =
    sizeof(struct offsets_entry) + sizeof(struct cds_lfht_node[2 * BUCKETS_PER_ENTRY]);

/* Marks the place where a scan continues after a quiescent state. Its key has group 0, which no
 * entry has. */
struct bookmark {
    struct cds_lfht_node node;
    struct offsets_key key; /* as in an entry */
    struct rcu_head rcu;
};
static_assert(offsetof(struct bookmark, key) == offsetof(struct offsets_entry, key),
              "bookmarks and entries are told apart by the group in their key");

static uint64_t mix(uint64_t h)
{
    h = (h ^ h >> 33) * UINT64_C(0xFF51AFD7ED558CCD);
    h = (h ^ h >> 33) * UINT64_C(0xC4CEB9FE1A85EC53);
    return h ^ h >> 33;
}

static unsigned long hash(const struct offsets_key *key)
{
    return (unsigned long)mix(mix(key->group_id * UINT64_C(0x9E3779B97F4A7C15) ^ key->topic_id)
                              + key->partition);
}

/* The key of an entry or of a bookmark. */
static const struct offsets_key *key_of(const struct cds_lfht_node *node)
{
    return (const void *)((const char *)node + offsetof(struct bookmark, key));
}

static struct offsets_entry *entry_of(struct cds_lfht_node *node)
{
    return caa_container_of(node, struct offsets_entry, node);
}

static bool same(const struct offsets_key *a, const struct offsets_key *b)
{
    return a->group_id == b->group_id && a->topic_id == b->topic_id && a->partition == b->partition;
}

static int match(struct cds_lfht_node *node, const void *key)
{
    tsan_take(node);
    return same(key_of(node), key);
}

enum leat_error offsets_open(struct offsets **out, struct memory_budget *budget)
{
    struct offsets *offsets = calloc(1, sizeof *offsets);
    if (offsets == NULL)
        return LEAT_ERR_NO_MEMORY;
    offsets->budget = budget;
    offsets->buckets = BUCKETS_MIN;
    offsets->table = cds_lfht_new(BUCKETS_MIN, BUCKETS_MIN, 0, 0, NULL);
    if (offsets->table == NULL) {
        free(offsets);
        return LEAT_ERR_NO_MEMORY;
    }
    *out = offsets;
    return LEAT_OK;
}

void offsets_close(struct offsets *offsets)
{
    struct cds_lfht_iter iter;
    struct cds_lfht_node *node;
    cds_lfht_for_each(offsets->table, &iter, node)
    {
        offsets_remove(offsets, entry_of(node));
    }
    /* Waits for the callbacks; a registered caller does not hold them up. */
    rcu_barrier();
    cds_lfht_destroy(offsets->table, NULL);
    free(offsets);
}

static void grow(struct offsets *offsets)
{
    const size_t count = atomic_load_explicit(&offsets->count, memory_order_relaxed);
    const size_t buckets = atomic_load_explicit(&offsets->buckets, memory_order_relaxed);
    if (BUCKETS_PER_ENTRY * count < buckets)
        return;
    cds_lfht_resize(offsets->table, 2 * buckets);
    atomic_store_explicit(&offsets->buckets, 2 * buckets, memory_order_relaxed);
}

enum leat_error offsets_create(struct offsets *offsets, const struct offsets_key *key,
                               uint64_t log_epoch, struct offsets_entry **out)
{
    assert(key->group_id != 0);
    if (offsets_count(offsets) >= OFFSETS_MAX)
        return LEAT_ERR_LIMIT;
    if (!memory_budget_take(offsets->budget, ENTRY_BYTES))
        return LEAT_ERR_NO_MEMORY;
    struct offsets_entry *entry = aligned_alloc(alignof(struct offsets_entry), sizeof *entry);
    if (entry == NULL) {
        memory_budget_give(offsets->budget, ENTRY_BYTES);
        return LEAT_ERR_NO_MEMORY;
    }
    *entry = (struct offsets_entry){
        .key = *key, .log_epoch = log_epoch, .offset = LEAT_OFFSET_NONE, .references = 1
    };
    grow(offsets);
    cds_lfht_node_init(&entry->node);
    tsan_give(&entry->node);
    struct cds_lfht_node *placed =
        cds_lfht_add_unique(offsets->table, hash(key), match, key, &entry->node);
    assert(placed == &entry->node);
    (void)placed;
    atomic_fetch_add_explicit(&offsets->count, 1, memory_order_relaxed);
    *out = entry;
    return LEAT_OK;
}

static void free_after_grace(struct rcu_head *head)
{
    tsan_free(caa_container_of(head, struct offsets_entry, rcu));
}

void offsets_remove(struct offsets *offsets, struct offsets_entry *entry)
{
    const int gone = cds_lfht_del(offsets->table, &entry->node);
    assert(gone == 0);
    (void)gone;
    atomic_fetch_sub_explicit(&offsets->count, 1, memory_order_relaxed);
    memory_budget_give(offsets->budget, ENTRY_BYTES); /* freed within a grace period */
    offsets_release(entry);
}

void offsets_hold(struct offsets_entry *entry)
{
    /* Relaxed: the caller was handed the entry. */
    atomic_fetch_add_explicit(&entry->references, 1, memory_order_relaxed);
}

void offsets_release(struct offsets_entry *entry)
{
    /* The last release must come after everything that the other holders did. */
    if (atomic_fetch_sub_explicit(&entry->references, 1, memory_order_acq_rel) == 1)
        call_rcu(&entry->rcu, free_after_grace);
}

struct offsets_entry *offsets_find(const struct offsets *offsets, const struct offsets_key *key)
{
    struct cds_lfht_iter iter;
    cds_lfht_lookup(offsets->table, hash(key), match, key, &iter);
    struct cds_lfht_node *node = cds_lfht_iter_get_node(&iter);
    return node != NULL ? entry_of(node) : NULL;
}

static void free_bookmark(struct rcu_head *head)
{
    tsan_free(caa_container_of(head, struct bookmark, rcu));
}

static int match_bookmark(struct cds_lfht_node *node, const void *mark)
{
    return node == &((const struct bookmark *)mark)->node;
}

/* Passes a quiescent state and moves `iter` behind `node`. False: no memory; nothing was done. */
static bool pause_behind(const struct offsets *offsets, const struct cds_lfht_node *node,
                         struct cds_lfht_iter *iter)
{
    const unsigned long here = hash(key_of(node));
    struct bookmark *mark = calloc(1, sizeof *mark);
    if (mark == NULL)
        return false;
    cds_lfht_node_init(&mark->node);
    tsan_give(&mark->node);
    /* It is inserted behind all nodes with this hash. */
    cds_lfht_add(offsets->table, here, &mark->node);
    rcu_quiescent_state();
    cds_lfht_lookup(offsets->table, here, match_bookmark, mark, iter);
    cds_lfht_next(offsets->table, iter);
    cds_lfht_del(offsets->table, &mark->node);
    call_rcu(&mark->rcu, free_bookmark);
    return true;
}

void offsets_scan(const struct offsets *offsets,
                  void (*visit)(void *user, const struct offsets_entry *entry), void *user)
{
    struct cds_lfht_iter iter;
    struct cds_lfht_node *node;
    unsigned run = 0;
    cds_lfht_first(offsets->table, &iter);
    while ((node = cds_lfht_iter_get_node(&iter)) != NULL) {
        tsan_take(node);
        const bool marks = key_of(node)->group_id == 0; /* another scan's bookmark */
        if (!marks) {
            visit(user, entry_of(node));
            run++;
        }
        cds_lfht_next(offsets->table, &iter);
        struct cds_lfht_node *next = cds_lfht_iter_get_node(&iter);
        tsan_take(next);
        /* Not between two nodes of the same hash: the second would be skipped. */
        if (!marks && run >= OFFSETS_SCAN_RUN
            && (next == NULL || next->reverse_hash != node->reverse_hash)
            && pause_behind(offsets, node, &iter))
            run = 0;
    }
}

size_t offsets_count(const struct offsets *offsets)
{
    return atomic_load_explicit(&offsets->count, memory_order_relaxed);
}

size_t offsets_table_bytes(const struct offsets *offsets)
{
    return atomic_load_explicit(&offsets->buckets, memory_order_relaxed)
           * sizeof(struct cds_lfht_node);
}

double offsets_mean_probes(const struct offsets *offsets)
{
    const unsigned long mask = atomic_load_explicit(&offsets->buckets, memory_order_relaxed) - 1;
    struct cds_lfht_iter iter;
    struct cds_lfht_node *node;
    unsigned long last = ~0UL, rank = 0;
    double total = 0;
    /* Entries of one bucket follow one another: finding the third takes three comparisons. */
    cds_lfht_for_each(offsets->table, &iter, node)
    {
        const unsigned long bucket = hash(key_of(node)) & mask;
        rank = bucket == last ? rank + 1 : 1;
        last = bucket;
        total += (double)rank;
    }
    return total / (double)offsets_count(offsets);
}

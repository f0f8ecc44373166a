/* Topics: the table of topics and partitions that shards read and control changes. */
#include "broker/shared/topics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <urcu-qsbr.h>
#include <urcu/rculfhash.h>

#include "broker/shared/tsan.h"
#include "schema/crc32c.h"

/* Fixed: a table that grows needs a thread of its own, and saves only a few comparisons when there
 * are many topics. */
enum { BUCKETS = 8192 };

struct topics {
    struct cds_lfht *by_id;
    struct cds_lfht *by_name;
    _Atomic size_t count; /* control writes it; what others read is approximate */
};

struct entry {
    struct cds_lfht_node id_node;
    struct cds_lfht_node name_node;
    struct rcu_head rcu;
    struct topic *topic;
};

static unsigned long hash_id(uint64_t id)
{
    return (unsigned long)(id * UINT64_C(0x9E3779B97F4A7C15) >> 16);
}

static unsigned long hash_name(const char *name)
{
    return hash_id(leat_crc32c(name, strlen(name)));
}

static int match_id(struct cds_lfht_node *node, const void *id)
{
    struct entry *entry = caa_container_of(node, struct entry, id_node);
    tsan_take(entry);
    return entry->topic->id == *(const uint64_t *)id;
}

static int match_name(struct cds_lfht_node *node, const void *name)
{
    struct entry *entry = caa_container_of(node, struct entry, name_node);
    tsan_take(entry);
    return strcmp(entry->topic->name, name) == 0;
}

static void free_after_grace(struct rcu_head *head)
{
    struct entry *entry = caa_container_of(head, struct entry, rcu);
    tsan_free(entry->topic);
    tsan_free(entry);
}

enum leat_error topics_open(struct topics **out)
{
    struct topics *topics = calloc(1, sizeof *topics);
    if (topics == NULL)
        return LEAT_ERR_NO_MEMORY;
    topics->by_id = cds_lfht_new(BUCKETS, BUCKETS, BUCKETS, CDS_LFHT_ACCOUNTING, NULL);
    topics->by_name = cds_lfht_new(BUCKETS, BUCKETS, BUCKETS, CDS_LFHT_ACCOUNTING, NULL);
    if (topics->by_id == NULL || topics->by_name == NULL) {
        topics_close(topics);
        return LEAT_ERR_NO_MEMORY;
    }
    *out = topics;
    return LEAT_OK;
}

void topics_close(struct topics *topics)
{
    struct cds_lfht_iter iter;
    struct cds_lfht_node *node;
    if (topics->by_name != NULL) {
        cds_lfht_for_each(topics->by_name, &iter, node)
        {
            cds_lfht_del(topics->by_name, node);
        }
    }
    if (topics->by_id != NULL) {
        cds_lfht_for_each(topics->by_id, &iter, node)
        {
            cds_lfht_del(topics->by_id, node);
            call_rcu(&caa_container_of(node, struct entry, id_node)->rcu, free_after_grace);
        }
    }
    /* Waits for the callbacks; a registered caller does not hold them up. */
    rcu_barrier();
    if (topics->by_name != NULL)
        cds_lfht_destroy(topics->by_name, NULL);
    if (topics->by_id != NULL)
        cds_lfht_destroy(topics->by_id, NULL);
    free(topics);
}

enum leat_error topics_add(struct topics *topics, struct topic *topic)
{
    struct entry *entry = malloc(sizeof *entry);
    if (entry == NULL)
        return LEAT_ERR_NO_MEMORY;
    entry->topic = topic;
    cds_lfht_node_init(&entry->id_node);
    cds_lfht_node_init(&entry->name_node);
    tsan_give(entry);
    struct cds_lfht_node *placed = cds_lfht_add_unique(topics->by_name, hash_name(topic->name),
                                                       match_name, topic->name, &entry->name_node);
    if (placed != &entry->name_node) {
        free(entry); /* no reader has seen it */
        return LEAT_ERR_TOPIC_EXISTS;
    }
    placed = cds_lfht_add_unique(topics->by_id, hash_id(topic->id), match_id, &topic->id,
                                 &entry->id_node);
    assert(placed == &entry->id_node); /* ids are never reused */
    topics->count++;
    return LEAT_OK;
}

static struct entry *find_entry(const struct topics *topics, uint64_t id)
{
    struct cds_lfht_iter iter;
    cds_lfht_lookup(topics->by_id, hash_id(id), match_id, &id, &iter);
    struct cds_lfht_node *node = cds_lfht_iter_get_node(&iter);
    return node != NULL ? caa_container_of(node, struct entry, id_node) : NULL;
}

void topics_remove(struct topics *topics, struct topic *topic)
{
    struct entry *entry = find_entry(topics, topic->id);
    assert(entry != NULL && entry->topic == topic);
    cds_lfht_del(topics->by_name, &entry->name_node);
    cds_lfht_del(topics->by_id, &entry->id_node);
    topics->count--;
    call_rcu(&entry->rcu, free_after_grace);
}

const struct topic *topics_find(const struct topics *topics, uint64_t id)
{
    const struct entry *entry = find_entry(topics, id);
    return entry != NULL ? entry->topic : NULL;
}

const struct topic *topics_find_name(const struct topics *topics, const char *name)
{
    struct cds_lfht_iter iter;
    cds_lfht_lookup(topics->by_name, hash_name(name), match_name, name, &iter);
    struct cds_lfht_node *node = cds_lfht_iter_get_node(&iter);
    return node != NULL ? caa_container_of(node, struct entry, name_node)->topic : NULL;
}

void topics_visit(const struct topics *topics, bool (*visit)(void *user, const struct topic *topic),
                  void *user)
{
    struct cds_lfht_iter iter;
    struct cds_lfht_node *node;
    cds_lfht_for_each(topics->by_name, &iter, node)
    {
        struct entry *entry = caa_container_of(node, struct entry, name_node);
        tsan_take(entry);
        if (!visit(user, entry->topic))
            return;
    }
}

size_t topics_count(const struct topics *topics)
{
    return topics->count;
}

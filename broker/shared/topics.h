/* Topics: the table of topics and partitions that shards read and control changes.
 *
 * Role: (topic id) -> topic, (name) -> topic, each with its partitions and settings.
 * Must not know: sessions, frames, where partitions keep their data, state files.
 *
 * Threads: control alone adds and removes. Shards, ops and control look up between
 * rcu_quiescent_state() calls (liburcu QSBR). The result of a lookup is valid until the calling
 * thread's next quiescent state: never store it. A removed topic is unlinked at once and freed
 * after a grace period (call_rcu). The partitions belong to control and outlive their streams. */
#ifndef LEAT_BROKER_SHARED_TOPICS_H
#define LEAT_BROKER_SHARED_TOPICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/error.h"
#include "schema/limits.h"
#include "schema/units.h"

struct owned_partition;
struct partition;
struct topics;

struct topic_settings {
    uint32_t partitions;
    uint32_t record_bytes_max;
    uint64_t ring_bytes;
    uint64_t retention_ms;
    uint64_t retention_bytes;
    uint64_t required_timeout_ms;
    uint64_t quota_publish_bytes; /* bytes a second; 0: no limit */
    uint64_t quota_deliver_bytes;
    uint8_t overrun; /* partition_overrun */
};

struct topic {
    uint64_t id; /* never reused, across restarts too */
    char name[LEAT_NAME_BYTES_MAX + 1];
    struct topic_settings settings;
    struct topic_partition {
        struct partition *partition;
        struct owned_partition *owned; /* the shard's state; control allocates and frees it */
        uint32_t shard;
    } partitions[]; /* settings.partitions of them */
};

/* LEAT_ERR_NO_MEMORY. */
enum leat_error topics_open(struct topics **out);
void topics_close(struct topics *topics); /* no readers may be left */

/* Control. Takes ownership of `topic` (from malloc). LEAT_ERR_TOPIC_EXISTS, LEAT_ERR_NO_MEMORY. */
enum leat_error topics_add(struct topics *topics, struct topic *topic);
/* Control. Unlinks the topic, and frees it after a grace period. */
void topics_remove(struct topics *topics, struct topic *topic);

/* Any registered reader. NULL: there is no such topic. */
const struct topic *topics_find(const struct topics *topics, uint64_t id);
const struct topic *topics_find_name(const struct topics *topics, const char *name);

/* Calls `visit` for every topic until it returns false. Any registered reader. */
void topics_visit(const struct topics *topics, bool (*visit)(void *user, const struct topic *topic),
                  void *user);
size_t topics_count(const struct topics *topics);

#endif

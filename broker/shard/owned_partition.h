/* Owned partition: a partition on the shard that owns it: who publishes to it, who reads it, what
 * it owes control.
 *
 * Role: the shard's table of its partitions.
 * Must not know: frames, sockets, how a partition keeps its data.
 *
 * Its memory is control's, like the partition's: a shard cannot lack it, and who asks
 * for a topic is told when control does. Threads: the owning shard, but for owned_partition_new.
 * Allocates nothing else. */
#ifndef LEAT_BROKER_SHARD_OWNED_PARTITION_H
#define LEAT_BROKER_SHARD_OWNED_PARTITION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "broker/log/partition.h"
#include "broker/shared/mailbox.h"
#include "broker/shared/quota.h"
#include "schema/error.h"

struct publish_stream;
struct subscription;

/* What all partitions of one topic on this shard share. */
struct topic_share {
    uint64_t topic_id;
    uint32_t owned_partitions;
    struct quota publish_quota;
    uint64_t quota_deliver_bytes; /* of each reader */
    struct quota_hold publish_hold, deliver_hold;
};

struct owned_partition {
    struct partition *partition;
    struct topic_share *share; /* the first sibling's `own` */
    struct topic_share own;
    uint64_t topic_id;
    uint32_t index;
    uint32_t batch_bytes_max;
    bool fresh;           /* appended to in this iteration; its waiting readers are to be woken */
    bool noticed;         /* in the list of those that have something to tell control */
    bool reserve_pending; /* control must hear MESSAGE_RESERVE_OFFSETS */
    bool ticks;           /* something in it ends with time: retention by age, required readers */
    uint64_t held_by;     /* the required reader that producers wait for: control must hear; or 0 */
    leat_ns held_said;    /* when it did last */
    struct owned_partition_lost { /* readers whose loss of the mark control must hear of */
        uint64_t name_hash;
        uint32_t session; /* that has one of them open; 0: none */
        int16_t why;      /* as in MESSAGE_REQUIRED_LOST */
    } required_lost[REQUIRED_READERS_MAX];
    uint32_t required_lost_count;
    TAILQ_HEAD(waiting_list, subscription) waiting; /* caught up: woken by the next append */
    TAILQ_HEAD(reader_list, subscription) readers;  /* every one */
    TAILQ_HEAD(publisher_list, publish_stream) publishers;
    TAILQ_ENTRY(owned_partition) fresh_node;
    TAILQ_ENTRY(owned_partition) notice_node;
    struct message removal; /* control wants it back; answered when no link sends from it */
    TAILQ_ENTRY(owned_partition) leaving_node;
    TAILQ_ENTRY(owned_partition) node;
    struct owned_partition *behind; /* in its place of the table */
};

enum { OWNED_PARTITIONS_PLACES = 1 << 12 };

TAILQ_HEAD(owned_partition_list, owned_partition);

struct owned_partitions {
    struct owned_partition_list all;
    struct owned_partition *places[OWNED_PARTITIONS_PLACES]; /* by partition */
    uint32_t count;
};

/* Control. Room for one, for free() once no shard has any partition of its topic. NULL: no memory.
 */
struct owned_partition *owned_partition_new(void);

void owned_partitions_init(struct owned_partitions *h);
/* `owned` is from owned_partition_new. Its share is new (owned_partitions == 1) or that of a
 * sibling: partitions of one topic are added one behind the other. */
void owned_partitions_add(struct owned_partitions *h, struct partition *partition,
                          struct owned_partition *owned);
/* Nothing publishes to it or reads it any more. */
void owned_partitions_remove(struct owned_partitions *h, struct owned_partition *owned);
/* NULL when this shard does not have it. */
struct owned_partition *owned_partitions_find(const struct owned_partitions *h,
                                              const struct partition *partition);

#endif

/* Owned partition: a partition on the shard that owns it: its publishers, its readers, and its
 * pending notices to control.
 *
 * Role: the shard's table of its partitions.
 * Must not know: frames, sockets, how a partition keeps its data.
 *
 * The control thread allocates and frees the struct, as it does the partition. So a shard cannot
 * run out of memory for it, and a client that asks for a topic is told when control does.
 * Threads: the owning shard, except owned_partition_new. Nothing else here allocates. */
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

/* Shared by all partitions of one topic on this shard. */
struct topic_share {
    uint64_t topic_id;
    uint32_t owned_partitions;
    struct quota publish_quota;
    uint64_t quota_deliver_bytes; /* a second, of each reader */
    struct quota_hold publish_hold, deliver_hold;
};

struct owned_partition {
    struct partition *partition;
    struct topic_share *share; /* the `own` of the topic's first partition on this shard */
    struct topic_share own;
    uint64_t topic_id;
    uint32_t index;
    uint32_t batch_bytes_max;
    bool fresh;           /* appended to in this iteration: its waiting readers are to be woken */
    bool noticed;         /* in the shard's list of partitions with notices for control */
    bool reserve_pending; /* MESSAGE_RESERVE_OFFSETS is to be sent */
    bool ticks;           /* has deadlines: retention by age, or required readers */
    uint64_t held_by;     /* name of the required reader that producers wait for, to be reported to
                             control; 0: none */
    leat_ns held_said;    /* when one was last reported */
    /* Required readers that have lost their mark, to be reported to control. */
    struct owned_partition_lost {
        uint64_t name_hash;
        uint32_t session; /* with such a reader open; 0: none */
        int16_t why;      /* as in MESSAGE_REQUIRED_LOST */
    } required_lost[REQUIRED_READERS_MAX];
    uint32_t required_lost_count;
    TAILQ_HEAD(waiting_list, subscription) waiting; /* caught up: the next append wakes them */
    TAILQ_HEAD(reader_list, subscription) readers;  /* all of them */
    TAILQ_HEAD(publisher_list, publish_stream) publishers;
    TAILQ_ENTRY(owned_partition) fresh_node;
    TAILQ_ENTRY(owned_partition) notice_node;
    struct message removal; /* control's request; answered when no link sends from the log */
    TAILQ_ENTRY(owned_partition) leaving_node;
    TAILQ_ENTRY(owned_partition) node;
    struct owned_partition *behind; /* next in the same slot of the table */
};

enum { OWNED_PARTITIONS_PLACES = 1 << 12 };

TAILQ_HEAD(owned_partition_list, owned_partition);

struct owned_partitions {
    struct owned_partition_list all;
    struct owned_partition *places[OWNED_PARTITIONS_PLACES]; /* hashed by partition */
    uint32_t count;
};

/* Control thread. Allocates one, to be freed by free() once no shard has any partition of its
 * topic. NULL: no memory. */
struct owned_partition *owned_partition_new(void);

void owned_partitions_init(struct owned_partitions *h);
/* `owned` is from owned_partition_new. Its share is new (owned_partitions == 1) or that of a
 * sibling: the partitions of one topic must be added one after the other. */
void owned_partitions_add(struct owned_partitions *h, struct partition *partition,
                          struct owned_partition *owned);
/* Its publishers and readers must have been closed. */
void owned_partitions_remove(struct owned_partitions *h, struct owned_partition *owned);
/* NULL: this shard does not own it. */
struct owned_partition *owned_partitions_find(const struct owned_partitions *h,
                                              const struct partition *partition);

#endif

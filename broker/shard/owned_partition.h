/* Holding: a partition on the shard that owns it: who publishes to it, who reads it, what it owes
 * control.
 *
 * Role: the shard's table of its partitions.
 * Must not know: frames, sockets, how a partition keeps its data.
 *
 * The memory of a holding is control's, like the partition's: a shard cannot lack it, and who asks
 * for a topic is told when control does. Threads: the owning shard, but for holding_new. Allocates
 * nothing else. */
#ifndef LEAT_BROKER_HOLDING_H
#define LEAT_BROKER_HOLDING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "broker/shared/mailbox.h"
#include "broker/log/partition.h"
#include "broker/shared/quota.h"
#include "schema/error.h"

struct publish_stream;
struct subscription;

/* What all partitions of one topic on this shard share. */
struct topic_share {
    uint64_t topic_id;
    uint32_t holdings;
    struct quota publish_quota;
    uint64_t quota_deliver_bytes; /* of each reader */
    struct quota_hold publish_hold, deliver_hold;
};

struct holding {
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
    struct holding_lost { /* readers whose loss of the mark control must hear of */
        uint64_t name_hash;
        uint32_t session; /* that has one of them open; 0: none */
        int16_t why;      /* as in MESSAGE_REQUIRED_LOST */
    } required_lost[REQUIRED_MAX];
    uint32_t required_lost_count;
    TAILQ_HEAD(waiting_list, subscription) waiting; /* caught up: woken by the next append */
    TAILQ_HEAD(reader_list, subscription) readers;  /* every one */
    TAILQ_HEAD(publisher_list, publish_stream) publishers;
    TAILQ_ENTRY(holding) fresh_link;
    TAILQ_ENTRY(holding) notice_link;
    struct message removal; /* control wants it back; answered when no link sends from it */
    TAILQ_ENTRY(holding) leaving_link;
    TAILQ_ENTRY(holding) link;
    struct holding *behind; /* in its place of the table */
};

enum { HOLDINGS_PLACES = 1 << 12 };

TAILQ_HEAD(holding_list, holding);

struct holdings {
    struct holding_list all;
    struct holding *places[HOLDINGS_PLACES]; /* by partition */
    uint32_t count;
};

/* Control. Room for one, for free() once no shard has any partition of its topic. NULL: no memory.
 */
struct holding *holding_new(void);

void holdings_init(struct holdings *h);
/* `holding` is from holding_new. Its share is new (holdings == 1) or that of a sibling: partitions
 * of one topic are added one behind the other. */
void holdings_add(struct holdings *h, struct partition *partition, struct holding *holding);
/* Nothing publishes to it or reads it any more. */
void holdings_remove(struct holdings *h, struct holding *holding);
/* NULL when this shard does not have it. */
struct holding *holdings_find(const struct holdings *h, const struct partition *partition);

#endif

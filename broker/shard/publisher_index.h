/* Publisher index: a shard's live publish streams by producer, so that fencing or rebinding one
 * producer costs what that producer has open, and nothing of what others have.
 *
 * A stream is in it from when its producer is bound to it until it ends (publish_stream_hand_over
 * takes it out). Producer ids are given out by the broker, so that nobody can choose where they
 * fall. Must not know: partitions, sessions, why a stream ends.
 *
 * Threads: the owning shard. Allocates nothing. */
#ifndef LEAT_BROKER_SHARD_PUBLISHER_INDEX_H
#define LEAT_BROKER_SHARD_PUBLISHER_INDEX_H

#include <stdint.h>
#include <sys/queue.h>

struct publish_stream;

enum { PUBLISHER_BUCKET_BITS = 12 };

LIST_HEAD(publisher_bucket, publish_stream);

struct publisher_index {
    struct publisher_bucket buckets[1 << PUBLISHER_BUCKET_BITS];
};

/* All zeroes is an empty index. */
void publisher_index_add(struct publisher_index *index, struct publish_stream *stream);
/* The list that has every stream of this producer; and perhaps of others. */
struct publisher_bucket *publisher_index_find(struct publisher_index *index, uint64_t producer_id);

#endif

/* Publisher index: a shard's live publish streams by producer, so that fencing or rebinding a
 * producer costs no more than the streams which that producer has open.
 *
 * A stream is in the index from when its producer is bound until it ends (publish_stream_hand_over
 * removes it). The broker assigns producer ids, so no client can choose its bucket.
 * Must not know: partitions, sessions, why a stream ends.
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

/* A zeroed index is empty. */
void publisher_index_add(struct publisher_index *index, struct publish_stream *stream);
/* The bucket with all streams of this producer, and perhaps streams of others. */
struct publisher_bucket *publisher_index_find(struct publisher_index *index, uint64_t producer_id);

#endif

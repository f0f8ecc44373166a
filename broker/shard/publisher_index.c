/* Publisher index: a hash table of lists; see publisher_index.h. */
#include "broker/shard/publisher_index.h"

#include "broker/shard/publish_stream.h"

struct publisher_bucket *publisher_index_find(struct publisher_index *index, uint64_t producer_id)
{
    /* Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4): ids are sequential. */
    const uint64_t hash = producer_id * UINT64_C(0x9E3779B97F4A7C15);
    return &index->buckets[hash >> (64 - PUBLISHER_BUCKET_BITS)];
}

void publisher_index_add(struct publisher_index *index, struct publish_stream *stream)
{
    LIST_INSERT_HEAD(publisher_index_find(index, stream->producer_id), stream, producer_node);
}

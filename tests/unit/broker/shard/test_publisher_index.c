/* Goal: a producer that is opened again and again, or fenced, costs the shard what it has open and
 * no more: the streams it lost are not looked at again. Method: a real shard in virtual time; what
 * the index has is counted. */
#include <criterion/criterion.h>

#include "broker/shard/shard_state.h"
#include "tests/support/shard_peer.h"

enum { REOPENINGS = 5000, OTHERS = 300 };

TestSuite(publisher_index, .init = shard_peer_open, .fini = shard_peer_close, .timeout = 60);

static struct message open_publish(uint64_t id, uint32_t epoch, bool resume)
{
    const struct message m = {
        .type = MESSAGE_OPEN_PUBLISH,
        .session = SHARD_PEER_SESSION,
        .topic_id = SHARD_PEER_TOPIC,
        .partition = shard_peer.partition,
        .publish = { .producer_id = id, .producer_epoch = epoch, .resume = resume },
    };
    return shard_peer_ask(m);
}

/* Streams that a fence of `id` looks at. */
static unsigned looked_at(uint64_t id)
{
    unsigned count = 0;
    const struct publish_stream *stream;
    LIST_FOREACH(stream, publisher_index_find(&shard_peer.shard->publishers, id), producer_node)
    count++;
    return count;
}

Test(publisher_index, reopening_one_producer_leaves_one_stream_to_look_at)
{
    shard_peer_attach();
    for (unsigned i = 0; i < REOPENINGS; i++) {
        cr_assert_eq(open_publish(77, 1, i != 0).status, LEAT_OK, "opening %u", i);
        cr_assert_eq(looked_at(77), 1u, "after opening %u", i);
    }
}

Test(publisher_index, a_fence_looks_at_the_producers_own_streams_and_ends_them)
{
    shard_peer_attach();
    for (unsigned i = 0; i < OTHERS; i++)
        cr_assert_eq(open_publish((UINT64_C(1) << 32) + i, 1, false).status, LEAT_OK);
    cr_assert_leq(looked_at(UINT64_C(1) << 32), 3u, "ids that count up spread");
    const struct message fence = {
        .type = MESSAGE_FENCE, .publish = { .producer_id = UINT64_C(1) << 32, .producer_epoch = 2 }
    };
    const unsigned before = looked_at(UINT64_C(1) << 32);
    cr_assert_eq(shard_peer_ask(fence).status, LEAT_OK);
    cr_assert_eq(looked_at(UINT64_C(1) << 32), before - 1);
    cr_assert_eq(open_publish(UINT64_C(1) << 32, 1, true).status, LEAT_ERR_FENCED);
    cr_assert_eq(open_publish(UINT64_C(1) << 32, 2, false).status, LEAT_OK);
    cr_assert_eq(open_publish((UINT64_C(1) << 32) + 1, 1, true).status, LEAT_OK,
                 "another producer is not concerned");
}

/* Goal: packets are never larger than what was proved, a lost probe is tried again and then seldom,
 * an answer counts whenever it comes, and doubt makes them small. Method: the rules one by one,
 * time as an argument. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>

#include "schema/frame.h"
#include "transport/mtu.h"

static uint64_t probe(struct mtu *mtu, leat_ns now)
{
    static uint8_t bytes[LEAT_PACKET_BYTES_MAX];
    struct leat_frame ping, pad;
    const uint32_t size = mtu_probe(mtu, now) - LEAT_PACKET_OVERHEAD_BYTES;
    mtu_write(mtu, bytes, size);
    mtu_sent(mtu, now);
    cr_assert_eq(leat_frame_decode(&ping, bytes, size), LEAT_OK);
    cr_assert_eq(ping.type, LEAT_FRAME_PING);
    cr_assert_eq(leat_frame_decode(&pad, bytes + ping.length, size - ping.length), LEAT_OK);
    cr_assert_eq(pad.type, LEAT_FRAME_PAD);
    cr_assert_eq((uint32_t)ping.length + pad.length, size, "they fill the packet");
    return ping.ping;
}

static struct link_peer peer(const char *address)
{
    struct link_peer peer = { .key = { .port = 7430 } };
    if (inet_pton(AF_INET6, address, peer.key.address) == 1)
        return peer;
    peer.key.address[10] = peer.key.address[11] = 0xFF;
    cr_assert_eq(inet_pton(AF_INET, address, peer.key.address + 12), 1);
    return peer;
}

Test(mtu, what_to_aim_at)
{
    const struct link_limits kernel = { .payload_max = 8952 };
    const struct link_limits bypass = { .payload_max = 8972, .bypass = true };
    const struct link_peer far = peer("10.1.2.3"), near = peer("127.0.0.1");
    cr_assert_eq(mtu_wanted(&kernel, &far, 0), 1472u);
    cr_assert_eq(mtu_wanted(&kernel, &near, 0), 8952u);
    cr_assert_eq(mtu_wanted(&kernel, &near, 600), 600u);
    cr_assert_eq(mtu_wanted(&kernel, &far, 60000), 8952u);
    cr_assert_eq(mtu_wanted(&bypass, &far, 0), 8972u);
    const struct link_limits small = { .payload_max = 1000, .bypass = true };
    cr_assert_eq(mtu_wanted(&small, &near, 0), 1000u);
}

Test(mtu, the_header_of_ipv6_is_larger)
{
    const struct link_limits kernel = { .payload_max = 8952 };
    const struct link_peer far = peer("2001:db8::1"), near = peer("::1");
    cr_assert_eq(mtu_wanted(&kernel, &far, 0), 1500u - 40 - 8);
    cr_assert_eq(mtu_wanted(&kernel, &near, 0), 8952u);
}

Test(mtu, no_packet_is_larger_than_the_protocol_has_them)
{
    const struct link_limits bypass = { .payload_max = 65507, .bypass = true };
    const struct link_peer far = peer("10.1.2.3");
    cr_assert_eq(mtu_wanted(&bypass, &far, 0), (uint32_t)LEAT_PACKET_BYTES_MAX);
    cr_assert_eq(mtu_wanted(&bypass, &far, 65100), (uint32_t)LEAT_PACKET_BYTES_MAX);
}

Test(mtu, grows_when_the_probe_is_answered)
{
    struct mtu mtu;
    mtu_init(&mtu, 8952, 5);
    cr_assert_eq(mtu.bytes, (uint32_t)LEAT_PACKET_BYTES_BASE);
    cr_assert_eq(mtu_probe(&mtu, 4), 0u);
    cr_assert_eq(mtu_probe(&mtu, 5), 8952u);
    cr_assert_not(mtu_pong(&mtu, 0x4D54550000000000 + 8952), "nothing was asked yet");
    const uint64_t value = probe(&mtu, 5);
    cr_assert_eq(mtu_probe(&mtu, 6), 0u, "one at a time");
    cr_assert_not(mtu_pong(&mtu, 0), "the answer to another PING");
    cr_assert(mtu_pong(&mtu, value));
    cr_assert_eq(mtu.bytes, 8952u);
    cr_assert_eq(mtu.due_at, LEAT_NS_NEVER);
    cr_assert_not(mtu_pong(&mtu, value), "once");
}

Test(mtu, tries_seldom_after_three_and_takes_a_late_answer)
{
    struct mtu mtu;
    mtu_init(&mtu, 1472, 0);
    leat_ns now = 0;
    uint64_t value = 0;
    for (int i = 0; i < MTU_PROBES_MAX; i++) {
        value = probe(&mtu, now);
        cr_assert_eq(mtu.due_at, now + (i + 1 < MTU_PROBES_MAX ? MTU_PATIENCE_NS : MTU_AGAIN_NS));
        now = mtu.due_at;
    }
    for (int i = 0; i < 3; i++, now = mtu.due_at) {
        value = probe(&mtu, now);
        cr_assert_eq(mtu.due_at, now + MTU_AGAIN_NS);
    }
    cr_assert_eq(mtu.bytes, (uint32_t)LEAT_PACKET_BYTES_BASE);
    cr_assert(mtu_pong(&mtu, value));
    cr_assert_eq(mtu.bytes, 1472u);
    cr_assert_eq(mtu.due_at, LEAT_NS_NEVER);
}

Test(mtu, what_any_path_carries_needs_no_probe)
{
    struct mtu mtu;
    mtu_init(&mtu, 600, 0);
    cr_assert_eq(mtu.bytes, 600u);
    cr_assert_eq(mtu.due_at, LEAT_NS_NEVER);
    mtu_init(&mtu, LEAT_PACKET_BYTES_BASE, 0);
    cr_assert_eq(mtu.bytes, (uint32_t)LEAT_PACKET_BYTES_BASE);
    cr_assert_eq(mtu.due_at, LEAT_NS_NEVER);
}

Test(mtu, shrinks_when_nothing_arrives_any_more_and_tries_again_later)
{
    struct mtu mtu;
    mtu_init(&mtu, 8952, 5);
    cr_assert_not(mtu_doubt(&mtu, 9, 9, 6), "nothing was proved, nothing is lost");
    const uint64_t value = probe(&mtu, 10);
    cr_assert(mtu_pong(&mtu, value));
    cr_assert_not(mtu_doubt(&mtu, MTU_DOUBT_PROBES - 1, MTU_DOUBT_LOSSES - 1, 20));
    cr_assert_eq(mtu.bytes, 8952u);
    for (leat_ns now = 20; now < 20 + 2 * LEAT_NS_PER_S; now += LEAT_NS_PER_S) {
        cr_assert(now == 20 ? mtu_doubt(&mtu, MTU_DOUBT_PROBES, 0, now)
                            : mtu_doubt(&mtu, 0, MTU_DOUBT_LOSSES, now));
        cr_assert_eq(mtu.bytes, (uint32_t)LEAT_PACKET_BYTES_BASE);
        cr_assert_eq(mtu_probe(&mtu, now), 0u);
        cr_assert_not(mtu_pong(&mtu, value), "the answer to a probe of before");
        cr_assert_eq(mtu_probe(&mtu, now + MTU_PATIENCE_NS), 8952u);
        cr_assert(mtu_pong(&mtu, probe(&mtu, now + MTU_PATIENCE_NS)));
        cr_assert_eq(mtu.bytes, 8952u);
    }
}

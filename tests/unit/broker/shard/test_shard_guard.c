/* Goal: the guard of a session's packets: one without the tag, or that was damaged, changes nothing
 * and comes again; over a link of one machine the checksum leaves out batches, and damage to those
 * has no effect either. Method: a real shard whose only way in is a simulated fabric, as in
 * test_shard_packets.c. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "broker/shard/shard.h"
#include "broker/shard/shard_state.h"
#include "schema/packet.h"
#include "tests/support/shard_peer.h"

TestSuite(shard_guard, .init = shard_peer_open, .fini = shard_peer_close, .timeout = 60);

static uint64_t dropped(const char *why)
{
    char name[128];
    snprintf(name, sizeof name, "leat_packets_dropped_total{shard=\"0\",reason=\"%s\"}", why);
    return shard_peer_counted(name);
}

static const struct session *session(void)
{
    return shard_session(shard_peer.shard, SHARD_PEER_SESSION);
}

/* A packet that would end the session, acknowledge what is outstanding and use up a number. */
static void send_made_up(uint64_t tag, bool partial)
{
    struct link_outgoing out;
    struct leat_packet packet = { .type = LEAT_PACKET_SESSION,
                                  .session = SHARD_PEER_SESSION,
                                  .tag = tag,
                                  .number = (uint32_t)shard_peer.flow.sent.next,
                                  .has_ack = true,
                                  .ack = { .largest = 1, .window = 1 } };
    struct leat_frame_reset reset = { .status = LEAT_ERR_CLOSED };
    memset(reset.token, 2, sizeof reset.token); /* the right one */
    cr_assert(shard_peer.link->ops->reserve(shard_peer.link, &out));
    uint32_t size = (uint32_t)leat_packet_write(out.bytes, &packet);
    size += (uint32_t)leat_frame_write_reset(out.bytes + size, &reset);
    leat_packet_set_length(out.bytes, (uint16_t)size);
    if (partial)
        leat_packet_seal_partial(out.bytes, size, NULL, 0);
    else
        leat_packet_seal(out.bytes, size, NULL, 0);
    shard_peer.link->ops->send(shard_peer.link, &out, size, NULL, &shard_peer.broker);
    shard_peer.link->ops->flush(shard_peer.link, shard_peer.now);
}

/* Whoever knows the addresses can guess the id of a session: 12 bits of it are random. */
Test(shard_guard, a_packet_without_the_tag_changes_nothing)
{
    shard_peer_attach();
    const struct flow before = session()->path->flow;
    for (int bit = 0; bit < 64; bit++)
        send_made_up(SHARD_PEER_TAG_TO_BROKER ^ UINT64_C(1) << bit, false);
    send_made_up(0, false);
    send_made_up(SHARD_PEER_TAG_TO_CLIENT, false); /* that of the other direction is none */
    for (int i = 0; i < 10; i++)
        shard_peer_shard_turn();
    cr_assert_eq(dropped("tag"), 66);
    cr_assert_not_null(session());
    cr_assert_eq(memcmp(&before, &session()->path->flow, sizeof before), 0);
    send_made_up(SHARD_PEER_TAG_TO_BROKER, false);
    shard_peer_shard_turn();
    shard_peer_shard_turn();
    cr_assert_null(session(), "with the tag it would have ended");
}

Test(shard_guard, a_granted_session_is_attached_only_by_packets_with_its_tag)
{
    shard_peer.flow.options.tag ^= 1;
    shard_peer_send_attach(shard_peer.token);
    for (int i = 0; i < 20; i++)
        shard_peer_shard_turn();
    shard_peer_receive();
    cr_assert_not(shard_peer.attached);
    cr_assert_eq(dropped("tag"), 1);
    cr_assert_eq(shard_peer_counted("leat_attach_refused_total"), 0, "its token was not looked at");
    flow_init(&shard_peer.flow, &shard_peer.flow.options, shard_peer.now);
    shard_peer.flow.options.tag ^= 1;
    shard_peer_attach();
}

Test(shard_guard, a_damaged_packet_is_lost_and_comes_again)
{
    fabric_care(shard_peer.fabric, FABRIC_BLIND);
    shard_peer_attach();
    shard_peer_open_streams();
    fabric_set(shard_peer.fabric, &(struct fabric_faults){ .corrupt_ppm = 200000 });
    for (int i = 0; i < 50; i++) {
        shard_peer_send_credit(SHARD_PEER_RING);
        shard_peer_publish(64 + (uint32_t)i);
        shard_peer_turn();
    }
    fabric_set(shard_peer.fabric, &(struct fabric_faults){ .delay_ns = 0 });
    shard_peer_send_credit(SHARD_PEER_RING);
    UNTIL(shard_peer.acked == 50 && shard_peer_has_log(), 20000);
    cr_assert_eq(shard_peer.refusals, 0, "nothing is refused for good because a wire flipped it");
    cr_assert_gt(dropped("checksum"), 0);
    shard_peer_expect_log(0);
}

/* A checksum may leave out batches between processes of one machine, and nowhere else. */
Test(shard_guard, a_partial_checksum_is_taken_only_from_a_link_of_one_machine)
{
    shard_peer_attach();
    send_made_up(SHARD_PEER_TAG_TO_BROKER, true);
    for (int i = 0; i < 10; i++)
        shard_peer_shard_turn();
    cr_assert_not_null(session());
    cr_assert_eq(dropped("checksum"), 1);
    cr_assert_eq(shard_peer.partials, 0);
}

Test(shard_guard, over_a_link_of_one_machine_the_checksums_of_both_ends_are_partial)
{
    shard_peer.broker_link->limits.intact = shard_peer.partial = true;
    shard_peer_attach();
    shard_peer_open_streams();
    shard_peer_send_credit(SHARD_PEER_RING);
    for (int i = 0; i < 20; i++)
        shard_peer_publish(1000);
    UNTIL(shard_peer.acked == 20 && shard_peer_has_log(), 1000);
    cr_assert_geq(shard_peer.partials, 10);
    cr_assert_eq(dropped("checksum"), 0);
}

static bool damage_headers(void *user, struct seeded *random, uint8_t *bytes, uint32_t size)
{
    /* Behind the guard stands an ack block, or the head of a frame. */
    const uint32_t most = size < LEAT_PACKET_OVERHEAD_BYTES ? size : LEAT_PACKET_OVERHEAD_BYTES;
    (void)user;
    bytes[seeded_below(random, most)] ^= (uint8_t)(1 + seeded_below(random, 255));
    return true;
}

/* Numbers, acknowledgements and frames are covered there too: what damages them loses a packet. */
Test(shard_guard, damaged_headers_over_a_link_of_one_machine_are_lost_and_come_again)
{
    fabric_care(shard_peer.fabric, FABRIC_BLIND);
    fabric_damage_by(shard_peer.fabric, damage_headers, NULL);
    shard_peer.broker_link->limits.intact = shard_peer.partial = true;
    shard_peer_attach();
    shard_peer_open_streams();
    fabric_set(shard_peer.fabric, &(struct fabric_faults){ .corrupt_ppm = 200000 });
    for (int i = 0; i < 50; i++) {
        shard_peer_send_credit(SHARD_PEER_RING);
        shard_peer_publish(64 + (uint32_t)i);
        shard_peer_turn();
    }
    fabric_set(shard_peer.fabric, &(struct fabric_faults){ .delay_ns = 0 });
    shard_peer_send_credit(SHARD_PEER_RING);
    UNTIL(shard_peer.acked == 50 && shard_peer_has_log(), 20000);
    cr_assert_eq(shard_peer.refusals, 0);
    cr_assert_not_null(session());
    cr_assert_gt(dropped("checksum"), 0);
    shard_peer_expect_log(0);
}

/* Nobody knows whether the batch was sent so: its sequence is not consumed, and the client is told
 * to send whole checksums. */
Test(shard_guard, damage_that_no_packet_covers_ends_the_session_and_refuses_nothing)
{
    shard_peer.broker_link->limits.intact = shard_peer.partial = true;
    shard_peer_attach();
    shard_peer_open_streams();
    shard_peer_publish(64);
    UNTIL(shard_peer.acked == 1, 100);
    shard_peer_publish_broken(64);
    UNTIL(shard_peer.resets == 1, 100);
    cr_assert_eq(shard_peer.reset, LEAT_ERR_BAD_CRC);
    cr_assert_eq(shard_peer.refusals, 0u);
    cr_assert_eq(shard_peer_counted("leat_protocol_errors_total"), 0u);
    cr_assert_eq(dropped("checksum"), 1u);
    struct partition_stats stats;
    partition_stats(shard_peer.partition, &stats);
    cr_assert(stats.batches_in == 1 && stats.refused == 0);
}

Test(shard_guard, damage_under_a_checksum_is_the_producers_and_refused)
{
    shard_peer_attach();
    shard_peer_open_streams();
    shard_peer_publish_broken(64);
    UNTIL(shard_peer.refusals == 1, 100);
    cr_assert_eq(shard_peer.last_status, LEAT_ERR_BAD_CRC);
    shard_peer_publish(64);
    UNTIL(shard_peer.acked == 1, 100);
    cr_assert_eq(shard_peer.resets, 0u);
}

/* Its own link needs one, whatever ours says. */
Test(shard_guard, a_client_that_sends_whole_checksums_gets_them)
{
    shard_peer.broker_link->limits.intact = true;
    shard_peer_attach();
    cr_assert_eq(shard_peer.partials, 0);
}

/* What such a session brings is answered for good, so that every packet of it needs one. */
Test(shard_guard, a_client_that_sends_checksums_is_heard_only_with_them)
{
    shard_peer.broker_link->limits.intact = true;
    shard_peer_attach();
    send_made_up(SHARD_PEER_TAG_TO_BROKER, true);
    for (int i = 0; i < 10; i++)
        shard_peer_shard_turn();
    cr_assert_not_null(session());
    cr_assert_eq(dropped("checksum"), 1);
}

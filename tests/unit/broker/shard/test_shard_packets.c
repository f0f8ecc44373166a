/* Goal: the shard's side of a session in packets: who may attach and who is not heard, that
 * strangers cost bounded work and get no more bytes than they sent, that a log's memory stays while
 * a link sends from it, and that every packet is counted once. Method: a real shard whose only way
 * in is a simulated fabric; one thread plays control (the mailboxes), time, and a peer made of a
 * flow. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/shard/shard.h"
#include "broker/shard/shard_state.h"
#include "broker/shared/reset_token.h"
#include "schema/bytes.h"
#include "schema/packet.h"
#include "schema/session_id.h"
#include "tests/support/shard_peer.h"
#include "transport/link_udp.h"

TestSuite(shard_packets, .init = shard_peer_open, .fini = shard_peer_close, .timeout = 60);
TestSuite(shard_udp, .init = shard_peer_open_with_udp, .fini = shard_peer_close, .timeout = 60);

static const struct session *session(void)
{
    return shard_session(shard_peer.shard, SHARD_PEER_SESSION);
}

Test(shard_packets, a_batch_is_acknowledged_and_delivered)
{
    shard_peer_attach();
    shard_peer_open_streams();
    shard_peer_send_credit(SHARD_PEER_RING);
    shard_peer_publish(64);
    UNTIL(shard_peer.acked == 1 && shard_peer_has_log(), 100);
    shard_peer_expect_log(0);
    cr_assert_eq(shard_peer.duplicates, 0);
    cr_assert_eq(shard_peer_counted("leat_link_tx_lost_total"), 0);
    /* Quiet: nothing is said again when everything was acknowledged. */
    for (int i = 0; i < 100; i++)
        shard_peer_turn();
    const uint64_t sent = fabric_counters(shard_peer.fabric)->sent;
    for (int i = 0; i < 2000; i++)
        shard_peer_turn();
    cr_assert_eq(fabric_counters(shard_peer.fabric)->sent, sent);
    cr_assert_eq(fabric_buffers(shard_peer.fabric), 0);
}

/* The end of a stream may have come before the grant that names it: then the client waits for what
 * was said already. (Simulation, seed 32363: a reader was never told that its topic was gone.) */
Test(shard_packets, credit_for_a_stream_that_is_over_is_answered)
{
    shard_peer_attach();
    shard_peer_send_credit(SHARD_PEER_RING); /* no stream was opened yet */
    UNTIL(shard_peer.gaps == 1, 100);
    cr_assert_eq(shard_peer.gap.reason, LEAT_REASON_REVOKED);
    cr_assert_eq(shard_peer.gap.offset, LEAT_OFFSET_NONE);
    for (int i = 0; i < 2000; i++)
        shard_peer_turn();
    cr_assert_eq(shard_peer.gaps, 1, "it is said once");
    cr_assert_eq(fabric_buffers(shard_peer.fabric), 0);
}

Test(shard_packets, only_the_token_attaches_and_only_from_one_place)
{
    uint8_t wrong[LEAT_TOKEN_BYTES] = { 9 };
    shard_peer_send_attach(wrong);
    for (int i = 0; i < 20; i++)
        shard_peer_shard_turn();
    shard_peer_receive();
    cr_assert_not(shard_peer.attached);
    cr_assert_eq(shard_peer_counted("leat_attach_refused_total"), 1);
    flow_init(&shard_peer.flow, &shard_peer.flow.options, shard_peer.now);
    shard_peer_attach();
    /* The same session from another port: not heard, not answered. */
    struct link *first = shard_peer.link;
    shard_peer.link = fabric_link(shard_peer.fabric, SHARD_PEER_CLIENT_HOST, 1001);
    const uint64_t taken = shard_peer_counted("leat_packets_taken_total");
    const uint64_t before = fabric_counters(shard_peer.fabric)->sent;
    shard_peer_send_attach(shard_peer.token);
    for (int i = 0; i < 20; i++)
        shard_peer_shard_turn();
    cr_assert_eq(shard_peer_counted("leat_packets_taken_total"), taken);
    cr_assert_eq(fabric_counters(shard_peer.fabric)->sent, before + 1);
    shard_peer.link = first;
}

/* Its owner hears it, in no more bytes than it sent; nobody else does, and the grant stays good. */
Test(shard_packets, another_version_is_told_so)
{
    const struct link_counters *said = &shard_peer.broker_link->counters;
    uint8_t wrong[LEAT_TOKEN_BYTES] = { 9 };
    shard_peer_send_attach_as(wrong, LEAT_PROTOCOL_VERSION + 1);
    for (int i = 0; i < 20; i++)
        shard_peer_shard_turn();
    cr_assert_eq(said->tx, 0, "a stranger is told nothing");
    flow_init(&shard_peer.flow, &shard_peer.flow.options, shard_peer.now);
    const uint64_t heard = shard_peer.link->counters.tx_bytes;
    shard_peer_send_attach_as(shard_peer.token, LEAT_PROTOCOL_VERSION + 1);
    for (int i = 0; i < 20; i++)
        shard_peer_shard_turn();
    shard_peer_receive();
    cr_assert_eq(shard_peer.resets, 1u);
    cr_assert_eq(shard_peer.reset, LEAT_ERR_VERSION);
    cr_assert_leq(said->tx_bytes, shard_peer.link->counters.tx_bytes - heard);
    flow_init(&shard_peer.flow, &shard_peer.flow.options, shard_peer.now);
    shard_peer_attach();
}

Test(shard_packets, a_grant_that_is_too_old_does_not_attach)
{
    shard_peer.now += LEAT_TOKEN_LIFE_NS;
    shard_peer_send_attach(shard_peer.token);
    for (int i = 0; i < 20; i++)
        shard_peer_shard_turn();
    shard_peer_receive();
    cr_assert_not(shard_peer.attached);
}

Test(shard_packets, strangers_are_told_little_and_seldom)
{
    /* Small packets get nothing, large ones no more than they brought, and not all of them. */
    uint8_t bytes[64] = { 0 };
    const struct leat_packet packet = { .type = LEAT_PACKET_SESSION,
                                        .length = 64,
                                        .session = SHARD_PEER_SESSION
                                                   + (1 << LEAT_SESSION_GENERATION_BITS),
                                        .number = 1 };
    leat_packet_write(bytes, &packet);
    const uint64_t before = shard_peer.broker_link->counters.tx;
    for (int i = 0; i < 1000; i++) {
        struct link_outgoing out;
        const uint32_t size = i % 2 == 0 ? 64 : 36;
        cr_assert(shard_peer.link->ops->reserve(shard_peer.link, &out));
        memcpy(out.bytes, bytes, 64);
        leat_store16(out.bytes + 2, (uint16_t)size);
        shard_peer.link->ops->send(shard_peer.link, &out, size, NULL, &shard_peer.broker);
        if (i % 32 == 31) {
            shard_peer.link->ops->flush(shard_peer.link, shard_peer.now);
            shard_peer_shard_turn();
        }
    }
    shard_peer_turn();
    const uint64_t answered = shard_peer.broker_link->counters.tx - before;
    cr_assert_leq(answered, 101);
    cr_assert_geq(answered, 1);
    cr_assert_eq(shard_peer.resets, answered);
    cr_assert_eq(shard_peer.reset, LEAT_ERR_UNKNOWN_SESSION);
    cr_assert_leq(shard_peer.broker_link->counters.tx_bytes, 64 * answered);
}

/* Asks from `link` about a session that the shard does not know; how many answers come to it. */
static unsigned ask_from(struct link *link, unsigned times)
{
    struct link_datagram datagrams[LINK_BURST];
    const struct leat_packet packet = { .type = LEAT_PACKET_SESSION,
                                        .length = 64,
                                        .session = SHARD_PEER_SESSION
                                                   + (1 << LEAT_SESSION_GENERATION_BITS),
                                        .number = 1 };
    unsigned answers = 0;
    for (unsigned i = 0; i < times; i++) {
        struct link_outgoing out;
        cr_assert(link->ops->reserve(link, &out));
        memset(out.bytes, 0, packet.length);
        leat_packet_write(out.bytes, &packet);
        link->ops->send(link, &out, packet.length, NULL, &shard_peer.broker);
        link->ops->flush(link, shard_peer.now);
        for (int turn = 0; turn < 20; turn++) {
            shard_peer_shard_turn();
            const unsigned count = link->ops->receive(link, datagrams, LINK_BURST, shard_peer.now);
            link->ops->release(link, datagrams, count);
            answers += count;
        }
    }
    return answers;
}

Test(shard_packets, a_noisy_address_does_not_silence_the_answers_to_others)
{
    struct link *honest = fabric_link(shard_peer.fabric, SHARD_PEER_CLIENT_HOST + 2, 1000);
    struct link *noisy[4]; /* one address, whatever the port */
    const leat_ns began = shard_peer.now;
    unsigned told = 0;
    for (uint16_t i = 0; i < 4; i++)
        noisy[i] = fabric_link(shard_peer.fabric, SHARD_PEER_CLIENT_HOST + 1, (uint16_t)(1001 + i));
    for (int i = 0; i < 200; i++)
        told += ask_from(noisy[i % 4], 1);
    cr_assert(told >= 1 && told <= RESET_LIMIT_ADDRESS, "%u", told);
    cr_assert_eq(ask_from(honest, 1), 1u);
    cr_assert_lt(shard_peer.now - began, LEAT_NS_PER_S, "all in one second");
}

/* The token that the shard answers a packet of this tag with, for a session it does not know. */
static void ask_for_reset(uint64_t tag, uint8_t token[LEAT_TOKEN_BYTES])
{
    struct link_outgoing out;
    const struct leat_packet packet = { .type = LEAT_PACKET_SESSION,
                                        .length = 64,
                                        .session = SHARD_PEER_SESSION
                                                   + (1 << LEAT_SESSION_GENERATION_BITS),
                                        .tag = tag,
                                        .number = 1 };
    const uint32_t before = shard_peer.resets;
    shard_peer.now += LEAT_NS_PER_S; /* so many are answered in one */
    cr_assert(shard_peer.link->ops->reserve(shard_peer.link, &out));
    memset(out.bytes, 0, packet.length);
    leat_packet_write(out.bytes, &packet);
    leat_packet_seal(out.bytes, packet.length, NULL, 0);
    shard_peer.link->ops->send(shard_peer.link, &out, packet.length, NULL, &shard_peer.broker);
    shard_peer.link->ops->flush(shard_peer.link, shard_peer.now);
    UNTIL(shard_peer.resets == before + 1, 100);
    memcpy(token, shard_peer.reset_token, LEAT_TOKEN_BYTES);
}

/* A stranger can ask for all ids that are not in use yet, keep the answers, and send them to the
 * client that is granted one of them later. */
Test(shard_packets, a_reset_is_believed_only_by_who_sent_the_tag_of_the_grant)
{
    uint8_t of_stranger[LEAT_TOKEN_BYTES], of_owner[LEAT_TOKEN_BYTES], granted[LEAT_TOKEN_BYTES];
    reset_token_make(shard_peer.shard->options.reset_secret,
                     SHARD_PEER_SESSION + (1 << LEAT_SESSION_GENERATION_BITS),
                     SHARD_PEER_TAG_TO_BROKER, granted);
    ask_for_reset(SHARD_PEER_TAG_TO_BROKER, of_owner);
    cr_assert_arr_eq(of_owner, granted, LEAT_TOKEN_BYTES);
    for (int bit = 0; bit < 64; bit++) {
        ask_for_reset(SHARD_PEER_TAG_TO_BROKER ^ UINT64_C(1) << bit, of_stranger);
        cr_assert_neq(memcmp(of_stranger, granted, LEAT_TOKEN_BYTES), 0, "bit %d", bit);
    }
}

Test(shard_packets, noise_is_dropped_and_counted)
{
    struct seeded random = seeded_start("shard_packets_noise");
    shard_peer_attach();
    const uint64_t taken = shard_peer_counted("leat_packets_taken_total");
    for (int i = 0; i < 5000; i++) {
        struct link_outgoing out;
        const uint32_t size = 1 + seeded_below(&random, 200);
        cr_assert(shard_peer.link->ops->reserve(shard_peer.link, &out));
        seeded_fill(&random, out.bytes, size);
        if (size > 8 && i % 2 == 0) { /* looks right at first sight */
            const struct leat_packet packet = { .type = LEAT_PACKET_SESSION,
                                                .length = (uint16_t)size,
                                                .session = SHARD_PEER_SESSION
                                                           ^ (1u << seeded_below(&random, 32)),
                                                .number = seeded_below(&random, 1000) };
            uint8_t header[LEAT_PACKET_HEADER_BYTES + LEAT_PACKET_GUARD_BYTES];
            leat_packet_write(header, &packet);
            memcpy(out.bytes, header, size < sizeof header ? size : sizeof header);
        }
        shard_peer.link->ops->send(shard_peer.link, &out, size, NULL, &shard_peer.broker);
        if (i % 16 == 0) {
            shard_peer.link->ops->flush(shard_peer.link, shard_peer.now);
            shard_peer_shard_turn();
        }
    }
    shard_peer.link->ops->flush(shard_peer.link, shard_peer.now);
    shard_peer_shard_turn();
    cr_assert_eq(shard_peer_counted("leat_packets_taken_total"), taken);
}

/* Whoever has a grant can name another's address as his own: then everything goes to someone who
 * never spoke. Until that address has answered it gets at most three times what came from it,
 * whatever is asked for, acknowledged by guess, or goes wrong. */
Test(shard_packets, an_address_that_never_answers_gets_three_times_what_came_at_most)
{
    static const uint32_t patience = 12 * 1000 * 100; /* turns: 12 seconds */
    const struct link_counters *to_victim = &shard_peer.broker_link->counters;
    const struct link_counters *forged = &shard_peer.link->counters;
    shard_peer_attach();
    shard_peer_open_streams();
    for (int i = 0; i < 40; i++)
        shard_peer_publish(1200);
    UNTIL(shard_peer.acked == 40, 2000);
    shard_peer_open_session(SHARD_PEER_SESSION + (1 << LEAT_SESSION_GENERATION_BITS));
    const uint64_t heard = forged->tx_bytes, said = to_victim->tx_bytes;
    shard_peer_send_attach(shard_peer.token);
    shard_peer_shard_turn();
    shard_peer_open_subscription();
    for (uint32_t i = 0; i < patience; i++) {
        if (i < 20)
            shard_peer_send_credit(SHARD_PEER_RING);
        if (i == 1000)
            shard_peer_send_pings(100);
        if (i == 2000)
            shard_peer_guess_acks();
        shard_peer_shard_turn();
        cr_assert_leq(to_victim->tx_bytes - said, 3 * (forged->tx_bytes - heard), "turn %u", i);
    }
    cr_assert_gt(to_victim->tx_bytes - said, 0);
}

/* The challenge is a packet's content: it is lost like any other, and its answer too. */
Test(shard_packets, an_address_answers_though_packets_are_lost)
{
    fabric_set(shard_peer.fabric, &(struct fabric_faults){ .loss_ppm = 500000 });
    shard_peer_send_attach(shard_peer.token);
    UNTIL(shard_peer.attached && session()->path->answered, 2000000);
    fabric_set(shard_peer.fabric, &(struct fabric_faults){ .delay_ns = 0 });
    shard_peer_open_streams();
    shard_peer_send_credit(SHARD_PEER_RING);
    for (int i = 0; i < 40; i++)
        shard_peer_publish(1200);
    UNTIL(shard_peer.acked == 40 && shard_peer_has_log(), 200000);
}

/* Of several questions a client may answer the newest alone: each of them asks for the challenge.
 */
Test(shard_packets, an_address_that_has_not_answered_is_asked_for_nothing_but_the_challenge)
{
    unsigned asked = 0;
    shard_peer_send_attach(shard_peer.token);
    for (int i = 0; i < 20000; i++) {
        struct link_datagram came[LINK_BURST];
        if (i == 5)
            shard_peer_guess_acks(); /* it has come, and the answer was left out */
        if (i == 10)
            shard_peer_send_pings(50); /* what they are answered is not acknowledged */
        shard_peer_shard_turn();
        const unsigned count =
            shard_peer.link->ops->receive(shard_peer.link, came, LINK_BURST, shard_peer.now);
        for (unsigned k = 0; k < count; k++) {
            struct leat_packet packet;
            struct leat_frame frame;
            cr_assert_eq(leat_packet_decode(&packet, came[k].bytes, came[k].size), LEAT_OK);
            for (uint32_t at = 0; at < packet.frames_size; at += frame.length) {
                cr_assert_eq(leat_frame_decode(&frame, packet.frames + at, packet.frames_size - at),
                             LEAT_OK);
                if (frame.type != LEAT_FRAME_PING)
                    continue;
                cr_assert_eq(frame.ping, session()->challenge);
                asked++;
            }
        }
        shard_peer.link->ops->release(shard_peer.link, came, count);
    }
    cr_assert_gt(asked, 1u, "it was not asked again");
}

static void send_bogus_ack(void)
{
    struct link_outgoing out;
    cr_assert(shard_peer.link->ops->reserve(shard_peer.link, &out));
    const struct leat_packet packet = {
        .type = LEAT_PACKET_SESSION,
        .length = LEAT_PACKET_OVERHEAD_BYTES,
        .session = SHARD_PEER_SESSION,
        .tag = SHARD_PEER_TAG_TO_BROKER,
        .number = 500,
        .has_ack = true,
        .ack = { .largest = 1000000, .map = UINT64_MAX, .window = 500 },
    };
    leat_packet_write(out.bytes, &packet);
    leat_packet_seal(out.bytes, packet.length, NULL, 0);
    shard_peer.link->ops->send(shard_peer.link, &out, packet.length, NULL, &shard_peer.broker);
    shard_peer.link->ops->flush(shard_peer.link, shard_peer.now);
}

Test(shard_packets, acks_for_packets_never_sent_change_nothing)
{
    shard_peer_attach();
    shard_peer_open_streams();
    shard_peer_send_credit(SHARD_PEER_RING);
    send_bogus_ack();
    shard_peer_publish(10);
    UNTIL(shard_peer.acked == 1 && shard_peer_has_log(), 2000);
}

/* The log's memory is control's again only when no link sends from it any more. */
Test(shard_packets, a_deleted_log_stays_while_a_link_sends_from_it)
{
    struct message answer;
    shard_peer_attach();
    shard_peer_open_streams();
    shard_peer_send_credit(SHARD_PEER_RING);
    shard_peer_turn();
    fabric_slow(shard_peer.broker_link, true);
    shard_peer_publish(1000);
    UNTIL(shard_peer.acked == 1 && shard_peer_has_log(), 1000);
    cr_assert_eq(shard_peer.broker_link->counters.tx_references, 1);
    const struct message removal = { .type = MESSAGE_REMOVE_PARTITION,
                                     .request = ++shard_peer.requests,
                                     .topic_id = SHARD_PEER_TOPIC,
                                     .partition = shard_peer.partition };
    cr_assert_eq(mailbox_send(shard_peer.inbox, &removal), LEAT_OK);
    UNTIL(shard_peer.gaps == 1 && shard_peer.gap.reason == LEAT_REASON_TOPIC_DELETED, 1000);
    for (int i = 0; i < 100; i++) {
        shard_peer_turn();
        cr_assert_not(mailbox_receive(shard_peer.outbox, &answer), "the link still has it");
    }
    fabric_slow(shard_peer.broker_link, false);
    shard_peer_turn();
    cr_assert(mailbox_receive(shard_peer.outbox, &answer));
    cr_assert_eq(answer.type, MESSAGE_REPLY);
    cr_assert_eq(answer.request, removal.request);
    cr_assert_eq(answer.status, LEAT_OK);
}

/* The kernel gives many datagrams at once; those a turn has no time for are not forgotten until
 * the next one comes. */
Test(shard_udp, what_the_link_still_holds_is_taken_though_nothing_more_comes)
{
    enum { DATAGRAMS = 250 };
    char bound[LINK_TCP_ADDRESS_TEXT], text[LINK_TCP_ERROR_TEXT];
    struct sockaddr_storage address = { .ss_family = AF_INET };
    struct link_peer to;
    struct link *link;
    const struct link_udp_options options = { .socket_buffer_bytes = 0 };
    cr_assert_eq(link_udp_open(&link, AF_INET, "127.0.0.1", 0, &options, bound, text), LEAT_OK,
                 "%s", text);
    const uint16_t port =
        (uint16_t)strtoul(strrchr(shard_udp_address(shard_peer.shard), ':') + 1, NULL, 10);
    cr_assert_eq(link_tcp_address("127.0.0.1", port, &address), LEAT_OK);
    cr_assert(link_udp_peer(&address, &to));
    for (int i = 0; i < DATAGRAMS; i++) {
        struct link_outgoing out;
        cr_assert(link->ops->reserve(link, &out));
        memset(out.bytes, 0, 40);
        link->ops->send(link, &out, 40, NULL, &to);
    }
    cr_assert_eq(link->ops->flush(link, shard_peer.now), 0);
    /* One acknowledgement speaks of 64 packets, however the shard has come to look. */
    shard_peer.now += SHARD_PEER_STEP_NS;
    shard_peer.shard->now = shard_peer.now;
    shard_poll_events(shard_peer.shard);
    shard_iterate(shard_peer.shard, true);
    cr_assert_leq(shard_peer_counted("leat_packets_in_total"), LEAT_PACKET_MAP_BITS);
    for (int i = 0; i < 20; i++)
        shard_peer_shard_turn();
    cr_assert_eq(shard_peer_counted("leat_packets_in_total"), DATAGRAMS);
    link->ops->close(link);
}

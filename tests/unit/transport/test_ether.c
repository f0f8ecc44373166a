/* Goal: what is not whole, not for us or not right is dropped, with the reason that fits; what we
 * write is what we read; an answer is never larger than its question. Method: frames made by hand
 * and by the builders, cut at every length and changed in every byte; sums checked against a slow
 * second opinion; random frames in memory of exactly their size, for the sanitizers. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/seeded.h"
#include "transport/ether.h"

enum { ROUNDS = 2000, PAYLOAD_MAX = 1472, ROOM = 64 + PAYLOAD_MAX };

static const struct ether_self us = { .mac = { 2, 0, 0, 0, 0, 1 }, .ip = 0x0A090001 };
static const struct ether_self them = { .mac = { 2, 0, 0, 0, 0, 2 }, .ip = 0x0A090002 };

/* A datagram from `them` to `us`. */
struct made {
    uint8_t room[ROOM];
    uint8_t *frame, *payload;
    uint32_t size, payload_size;
};

static void make(struct made *m, uint32_t payload_size, uint16_t vlan)
{
    struct ether_route route = {
        .vlan = vlan, .ip = us.ip, .source_port = 40000, .target_port = 7430
    };
    struct ether_template template;
    memcpy(route.mac, us.mac, sizeof route.mac);
    ether_template(&template, &them, &route);
    m->payload = m->room + 64;
    m->payload_size = payload_size;
    for (uint32_t i = 0; i < payload_size; i++)
        m->payload[i] = (uint8_t)(i * 13 + payload_size);
    ether_prepend(&template, m->payload, payload_size);
    m->frame = m->payload - template.size;
    m->size = template.size + payload_size;
}

/* Parsed in memory of its own size. */
static struct ether_frame parse(const struct ether_self *self, const uint8_t *frame, uint32_t size)
{
    struct ether_frame out;
    memset(&out, 0x5A, sizeof out);
    uint8_t *copy = malloc(size != 0 ? size : 1);
    cr_assert_not_null(copy);
    memcpy(copy, frame, size);
    ether_parse(&out, self, copy, size);
    if (out.kind == ETHER_DATAGRAM)
        out.payload = frame + (out.payload - copy);
    free(copy);
    return out;
}

#define EXPECT_DROP(frame_, size_, reason)                              \
    do {                                                                \
        const struct ether_frame got_ = parse(&us, (frame_), (size_));  \
        cr_assert_eq(got_.kind, ETHER_DROP, "kind %d", got_.kind);      \
        cr_assert_eq(got_.drop, (reason), "dropped for %d", got_.drop); \
    } while (0)

/* One word after the other, in the plainest way. */
static uint16_t slow_sum(const uint8_t *bytes, uint32_t size, uint32_t start)
{
    uint32_t sum = start;
    for (uint32_t i = 0; i < size; i++) {
        sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
        if (sum > 0xFFFF)
            sum -= 0xFFFF;
    }
    return (uint16_t)sum;
}

static uint16_t udp_pseudo(const struct made *m)
{
    return slow_sum(m->payload - 8 - 20 + 12, 8, 17 + m->payload_size + 8);
}

static void fix_ip_sum(const struct made *m)
{
    uint8_t *ip = m->payload - 28;
    ether_store16(ip + 10, 0);
    ether_store16(ip + 10, (uint16_t)~slow_sum(ip, 20, 0));
}

Test(ether, what_is_written_is_what_is_read)
{
    struct seeded random = seeded_start("test_ether");
    for (uint32_t i = 0; i < ROUNDS; i++) {
        static struct made m;
        const uint16_t vlan = (uint16_t)(i % 3 == 0 ? 1 + seeded_below(&random, 0xFFFF) : 0);
        make(&m, seeded_below(&random, PAYLOAD_MAX + 1), vlan);
        const struct ether_frame got = parse(&us, m.frame, m.size);
        cr_assert_eq(got.kind, ETHER_DATAGRAM, "dropped for %d", got.drop);
        cr_assert_eq(got.vlan, vlan);
        cr_assert_eq(got.source_ip, them.ip);
        cr_assert_eq(got.source_port, 40000);
        cr_assert_eq(got.target_port, 7430);
        cr_assert_eq(got.payload, m.payload);
        cr_assert_eq(got.size, m.payload_size);
        const uint8_t *ip = m.payload - 28;
        cr_assert_eq(slow_sum(ip, 20, 0), 0xFFFF);
        cr_assert_eq(ether_load16(ip + 6), 0x4000); /* never to be fragmented */
        cr_assert_eq(ip[8], 64);
    }
}

Test(ether, short_frames_may_be_padded)
{
    static struct made m;
    make(&m, 4, 0);
    memset(m.payload + 4, 0xEE, 14);
    const struct ether_frame got = parse(&us, m.frame, ETHER_FRAME_MIN);
    cr_assert_eq(got.kind, ETHER_DATAGRAM);
    cr_assert_eq(got.size, 4);
}

Test(ether, no_part_of_a_frame_is_a_frame)
{
    for (uint16_t vlan = 0; vlan < 2; vlan++) {
        static struct made m;
        make(&m, 300, vlan);
        for (uint32_t size = 0; size < m.size; size++)
            EXPECT_DROP(m.frame, size, LINK_DROP_SHORT);
    }
}

Test(ether, any_changed_byte_of_an_ip_header_drops)
{
    static struct made m;
    make(&m, 100, 0);
    for (uint32_t at = 0; at < 20; at++) {
        for (uint32_t change = 1; change < 256; change++) {
            m.frame[ETHER_BYTES + at] ^= (uint8_t)change;
            EXPECT_DROP(m.frame, m.size, LINK_DROP_IP);
            m.frame[ETHER_BYTES + at] ^= (uint8_t)change;
        }
    }
    cr_assert_eq(parse(&us, m.frame, m.size).kind, ETHER_DATAGRAM);
}

Test(ether, a_udp_checksum_that_is_there_must_hold)
{
    for (uint32_t size = 0; size < 70; size++) {
        static struct made m;
        make(&m, size, 0);
        uint8_t *udp = m.payload - 8;
        const uint16_t sum = (uint16_t)~slow_sum(udp, size + 8, udp_pseudo(&m));
        ether_store16(udp + 6, sum != 0 ? sum : 0xFFFF);
        cr_assert_eq(parse(&us, m.frame, m.size).kind, ETHER_DATAGRAM, "size %u", size);
        for (uint32_t at = 0; at < size + 8; at++) {
            udp[at] ^= 0x10;
            if (ether_load16(udp + 6) != 0)
                EXPECT_DROP(m.frame, m.size, LINK_DROP_UDP);
            udp[at] ^= 0x10;
        }
    }
}

Test(ether, a_half_made_checksum_holds_only_where_a_kernel_is_near)
{
    static struct made m;
    struct ether_self local = us;
    local.partial_checksums = true;
    make(&m, 64, 0);
    const uint16_t half = udp_pseudo(&m);
    ether_store16(m.payload - 2, half);
    EXPECT_DROP(m.frame, m.size, LINK_DROP_UDP);
    cr_assert_eq(parse(&local, m.frame, m.size).kind, ETHER_DATAGRAM);
    for (uint32_t other = 1; other <= 0xFFFF; other++) {
        const uint16_t whole = (uint16_t)~slow_sum(m.payload, 64, slow_sum(m.payload - 8, 6, half));
        ether_store16(m.payload - 2, (uint16_t)other);
        const bool holds = other == half || other == whole;
        cr_assert_eq(parse(&local, m.frame, m.size).kind == ETHER_DATAGRAM, holds, "%x", other);
    }
}

Test(ether, reasons)
{
    static struct made m;
#define CHANGED(reason, ...)                                                                    \
    do {                                                                                        \
        make(&m, 64, 0);                                                                        \
        uint8_t *const ether = m.frame, *const ip = m.payload - 28, *const udp = m.payload - 8; \
        (void)ether, (void)ip, (void)udp;                                                       \
        __VA_ARGS__;                                                                            \
        fix_ip_sum(&m);                                                                         \
        EXPECT_DROP(m.frame, m.size, reason);                                                   \
    } while (0)
    CHANGED(LINK_DROP_ETHERTYPE, ether_store16(ether + 12, 0x86DD));
    CHANGED(LINK_DROP_ETHERTYPE, ether_store16(ether + 12, 0x88A8));
    CHANGED(LINK_DROP_IP, ether[5] ^= 1);             /* to another station */
    CHANGED(LINK_DROP_IP, memset(ether, 0xFF, 6));    /* to all of them */
    CHANGED(LINK_DROP_IP, ether[6] |= 1);             /* from a group */
    CHANGED(LINK_DROP_IP, ip[0] = 0x46);              /* options */
    CHANGED(LINK_DROP_IP, ip[0] = 0x65);              /* IPv6 */
    CHANGED(LINK_DROP_IP, ether_store16(ip + 2, 19)); /* shorter than its header */
    CHANGED(LINK_DROP_IP, ip[19] ^= 1);               /* to another host */
    CHANGED(LINK_DROP_IP, ip[12] = 127);
    CHANGED(LINK_DROP_IP, ip[12] = 224);
    CHANGED(LINK_DROP_IP, memset(ip + 12, 0, 4));
    CHANGED(LINK_DROP_IP, memset(ip + 12, 0xFF, 4));
    CHANGED(LINK_DROP_IP, memcpy(ip + 12, ip + 16, 4)); /* from ourselves */
    CHANGED(LINK_DROP_SHORT, ether_store16(ip + 2, 93));
    CHANGED(LINK_DROP_FRAGMENT, ether_store16(ip + 6, 0x2000));
    CHANGED(LINK_DROP_FRAGMENT, ether_store16(ip + 6, 0x0001));
    CHANGED(LINK_DROP_PROTOCOL, ip[9] = 6);
    CHANGED(LINK_DROP_PROTOCOL, ip[9] = 1); /* ICMP, but no echo */
    CHANGED(LINK_DROP_UDP, ether_store16(udp + 4, 7));
    CHANGED(LINK_DROP_UDP, ether_store16(udp + 4, 73));
    CHANGED(LINK_DROP_UDP, ether_store16(udp, 0));
    CHANGED(LINK_DROP_UDP, ether_store16(ip + 2, 27)); /* no room for UDP's header */
}

Test(ether, alone_on_the_wire_every_address_is_ours)
{
    static struct made m;
    struct ether_self alone = us;
    alone.alone = true;
    make(&m, 64, 0);
    m.frame[5] ^= 1;
    cr_assert_eq(parse(&alone, m.frame, m.size).kind, ETHER_DATAGRAM);
}

/* ---- ARP */

static struct ether_frame ask(uint8_t frame[ETHER_FRAME_MIN], const struct ether_self *from,
                              uint32_t target, uint16_t vlan)
{
    cr_assert_eq(ether_ask_arp(frame, from, target, vlan), ETHER_FRAME_MIN);
    return parse(&us, frame, ETHER_FRAME_MIN);
}

Test(ether, who_asks_for_us_is_answered)
{
    for (uint16_t vlan = 0; vlan < 100; vlan += 33) {
        uint8_t frame[ETHER_FRAME_MIN];
        const struct ether_frame question = ask(frame, &them, us.ip, vlan);
        cr_assert_eq(question.kind, ETHER_ARP);
        cr_assert(question.arp.request);
        cr_assert_eq(question.arp.sender_ip, them.ip);
        cr_assert_eq(question.vlan, vlan);
        const uint32_t size = ether_answer_arp(frame, &question, &us);
        cr_assert_leq(size, ETHER_FRAME_MIN);
        const struct ether_frame answer = parse(&them, frame, size);
        cr_assert_eq(answer.kind, ETHER_ARP);
        cr_assert_not(answer.arp.request);
        cr_assert_eq(answer.arp.sender_ip, us.ip);
        cr_assert_eq(answer.vlan, vlan);
        cr_assert_arr_eq(answer.arp.sender_mac, us.mac, 6);
        cr_assert_arr_eq(frame, them.mac, 6);
    }
}

Test(ether, arp_that_is_none_of_our_business)
{
    uint8_t frame[ETHER_FRAME_MIN];
    struct ether_self from = them;
    cr_assert_eq(ask(frame, &them, 0x0A090003, 0).drop, LINK_DROP_ARP);
    cr_assert_eq(ask(frame, &us, us.ip, 0).drop, LINK_DROP_ARP); /* ourselves, looped back */
    from.mac[0] |= 1;
    cr_assert_eq(ask(frame, &from, us.ip, 0).drop, LINK_DROP_ARP);
    from = them;
    from.ip = 0; /* a probe: somebody is about to take our address */
    cr_assert_eq(ask(frame, &from, us.ip, 0).kind, ETHER_ARP);
    cr_assert_eq(ask(frame, &them, them.ip, 0).kind, ETHER_ARP); /* an announcement */
    for (uint32_t at = 14; at < 22; at++) {
        cr_assert_eq(ask(frame, &them, us.ip, 0).kind, ETHER_ARP);
        frame[at] ^= 4;
        EXPECT_DROP(frame, ETHER_FRAME_MIN, LINK_DROP_ARP);
    }
    cr_assert_eq(ask(frame, &them, us.ip, 0).kind, ETHER_ARP);
    for (uint32_t size = 0; size < 42; size++)
        EXPECT_DROP(frame, size, LINK_DROP_SHORT);
}

/* ---- ICMP echo */

static void make_echo(struct made *m, uint32_t payload_size)
{
    make(m, payload_size, 0);
    uint8_t *ip = m->payload - 28, *icmp = m->payload - 8;
    ip[9] = 1;
    memset(icmp, 0, 8);
    icmp[0] = 8;
    ether_store32(icmp + 4, 0x12345678);
    ether_store16(icmp + 2, (uint16_t)~slow_sum(icmp, payload_size + 8, 0));
    fix_ip_sum(m);
}

Test(ether, an_echo_comes_back_as_it_went)
{
    for (uint32_t size = 0; size < PAYLOAD_MAX; size += 7) {
        static struct made m, before;
        make_echo(&m, size);
        make_echo(&before, size);
        const struct ether_frame got = parse(&us, m.frame, m.size);
        cr_assert_eq(got.kind, ETHER_ECHO);
        cr_assert_eq(ether_answer_echo(m.frame, &got), m.size);
        const uint8_t *ip = m.payload - 28, *icmp = m.payload - 8;
        cr_assert_eq(icmp[0], 0);
        cr_assert_eq(slow_sum(icmp, size + 8, 0), 0xFFFF);
        cr_assert_eq(slow_sum(ip, 20, 0), 0xFFFF);
        cr_assert_eq(ether_load32(ip + 12), us.ip);
        cr_assert_eq(ether_load32(ip + 16), them.ip);
        cr_assert_arr_eq(m.frame, them.mac, 6);
        cr_assert_arr_eq(m.frame + 6, us.mac, 6);
        cr_assert_arr_eq(icmp + 4, before.payload - 4, size + 4);
    }
}

Test(ether, an_echo_that_is_wrong_is_not_answered)
{
    static struct made m;
    make_echo(&m, 56);
    uint8_t *const icmp = m.payload - 8;
    for (uint32_t at = 0; at < 64; at++) {
        icmp[at] ^= 0x80;
        EXPECT_DROP(m.frame, m.size, LINK_DROP_PROTOCOL);
        icmp[at] ^= 0x80;
    }
}

/* ---- anything at all */

Test(ether, no_answer_is_larger_than_its_question)
{
    struct seeded random = seeded_start("test_ether");
    uint32_t answers = 0;
    for (uint32_t i = 0; i < 50 * ROUNDS; i++) {
        static struct made m;
        uint8_t frame[ETHER_FRAME_MIN];
        uint8_t *bytes = frame;
        uint32_t size = ETHER_FRAME_MIN;
        switch (i % 3) {
        case 0: ether_ask_arp(frame, &them, us.ip, (uint16_t)(i % 2)); break;
        case 1:
            make_echo(&m, seeded_below(&random, 80));
            bytes = m.frame;
            size = m.size;
            break;
        default: seeded_fill(&random, frame, sizeof frame);
        }
        for (uint32_t k = seeded_below(&random, 3); k != 0; k--)
            bytes[seeded_below(&random, size)] ^= (uint8_t)(1u << seeded_below(&random, 8));
        size -= seeded_below(&random, 4) == 0 ? seeded_below(&random, size) : 0;
        const struct ether_frame got = parse(&us, bytes, size);
        uint32_t answer = 0;
        if (got.kind == ETHER_ARP)
            answer = ether_answer_arp(bytes, &got, &us);
        else if (got.kind == ETHER_ECHO)
            answer = ether_answer_echo(bytes, &got);
        cr_assert_leq(answer, size);
        answers += answer != 0;
    }
    cr_assert_gt(answers, ROUNDS);
}

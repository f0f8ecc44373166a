/* Goal: every datagram that the kernel takes arrives whole and from the right sender, whatever its
 * size and whether its bytes lay in one place or two; references are given back exactly once; what
 * was received is what was counted. Method: two links on loopback, as many datagrams as fit a
 * socket buffer, in runs of equal sizes (which leave as one message) and in mixed ones. */
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "transport/link_udp.h"

enum { ROUNDS = 200, SIZE_MAX_TESTED = LINK_UDP_PAYLOAD_MAX };

static struct link *open_link_at(int family, const char *host, char bound[LINK_TCP_ADDRESS_TEXT],
                                 struct link_peer *self)
{
    const struct link_udp_options options = { 0 };
    char text[LINK_TCP_ERROR_TEXT] = "";
    struct link *link;
    cr_assert_eq(link_udp_open(&link, family, host, 0, &options, bound, text), LEAT_OK, "%s", text);
    struct sockaddr_storage address = { .ss_family = (sa_family_t)family };
    const char *colon = strrchr(bound, ':');
    cr_assert_eq(link_tcp_address(host, (uint16_t)atoi(colon + 1), &address), LEAT_OK);
    cr_assert(link_udp_peer(&address, self));
    return link;
}

static struct link *open_link(char bound[LINK_TCP_ADDRESS_TEXT], struct link_peer *self)
{
    return open_link_at(AF_INET, "127.0.0.1", bound, self);
}

static unsigned released;

static void note_release(void *owner, uint32_t token)
{
    (void)token;
    (*(unsigned *)owner)++;
}

/* Datagram number n: its first bytes say n, all others follow from it. */
static void fill(uint8_t *bytes, uint32_t size, uint32_t from, uint32_t n)
{
    for (uint32_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(n * 31 + from + i);
}

static uint32_t size_of(uint32_t n)
{
    static const uint32_t sizes[] = { 1, 64, 1200, 1200, 1200, 1200, 700, 8000, 8000, 8952, 13 };
    return sizes[n % (sizeof sizes / sizeof sizes[0])];
}

static void send_one(struct link *from, const struct link_peer *to, uint32_t n)
{
    static uint8_t elsewhere[ROUNDS * 4][SIZE_MAX_TESTED];
    struct link_outgoing out;
    const uint32_t size = size_of(n);
    cr_assert(from->ops->reserve(from, &out));
    if (size >= from->limits.reference_min && n % 2 == 0) {
        fill(out.bytes, 28, 0, n);
        fill(elsewhere[n], size - 28, 28, n);
        const struct link_reference reference = {
            .bytes = elsewhere[n], .size = size - 28, .release = note_release, .owner = &released
        };
        from->ops->send(from, &out, 28, &reference, to);
    } else {
        fill(out.bytes, size, 0, n);
        from->ops->send(from, &out, size, NULL, to);
    }
}

static void expect(struct link *at, const struct link_peer *from, uint32_t *next, uint32_t end)
{
    while (*next < end) {
        struct pollfd readable = { .fd = at->ops->descriptor(at), .events = POLLIN };
        struct link_datagram got[LINK_BURST];
        unsigned count = at->ops->receive(at, got, LINK_BURST, 0);
        if (count == 0) {
            cr_assert_eq(poll(&readable, 1, 5000), 1, "datagram %u did not come", *next);
            continue;
        }
        for (unsigned i = 0; i < count; i++, (*next)++) {
            uint8_t wanted[SIZE_MAX_TESTED];
            const uint32_t size = size_of(*next);
            cr_assert_eq(got[i].size, size, "datagram %u", *next);
            fill(wanted, size, 0, *next);
            cr_assert_eq(memcmp(got[i].bytes, wanted, size), 0, "datagram %u", *next);
            cr_assert(link_peer_same(&got[i].peer, from));
        }
        at->ops->release(at, got, count);
    }
}

Test(link_udp, carries_every_datagram_whole_and_counts_it)
{
    char bound[LINK_TCP_ADDRESS_TEXT];
    struct link_peer a_self, b_self;
    struct link *a = open_link(bound, &a_self), *b = open_link(bound, &b_self);
    uint32_t next = 0, references = 0;
    for (uint32_t n = 0; n < ROUNDS;) {
        const uint32_t burst = 1 + n % 11;
        for (uint32_t i = 0; i < burst; i++, n++) {
            references += size_of(n) >= a->limits.reference_min && n % 2 == 0;
            send_one(a, &b_self, n);
        }
        while (a->ops->flush(a, 0) != 0)
            ;
        expect(b, &a_self, &next, n);
    }
    cr_assert_eq(released, references);
    cr_assert_eq(a->counters.tx, next);
    cr_assert_eq(a->counters.tx_references, references);
    cr_assert_eq(b->counters.accepted, next);
    uint64_t dropped = 0;
    for (int i = 0; i < LINK_DROPS; i++)
        dropped += b->counters.drops[i];
    cr_assert_eq(b->counters.rx, b->counters.accepted + dropped);
    cr_assert_eq(a->counters.tx_bytes, b->counters.rx_bytes);
    a->ops->close(a);
    b->ops->close(b);
}

static bool has_ipv6(void)
{
    const struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    const int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    const bool has = fd >= 0 && bind(fd, (const struct sockaddr *)&any, sizeof any) == 0;
    close(fd);
    return has;
}

/* A path that is too narrow for one datagram, as for the probe of a path, refuses that one: those
 * of its size before and behind it too, what fits is carried, and others' runs still leave at once.
 */
Test(link_udp, a_datagram_too_large_for_the_path_takes_no_other_with_it)
{
    enum { NARROW = 1280 };
    char bound[LINK_TCP_ADDRESS_TEXT];
    struct link_peer a_self, b_self;
    const int mtu = NARROW;
    if (!has_ipv6())
        cr_skip_test("no IPv6 on loopback: the test cannot narrow a path");
    struct link *a = open_link_at(AF_INET6, "::1", bound, &a_self);
    struct link *b = open_link_at(AF_INET6, "::1", bound, &b_self);
    cr_assert_eq(setsockopt(a->ops->descriptor(a), IPPROTO_IPV6, IPV6_MTU, &mtu, sizeof mtu), 0);
    uint32_t arrived = 0;
    for (unsigned round = 0; round < 3; round++) {
        static const uint32_t sizes[] = { 1400, 1400, 700, 1000, 1000, 1400, 1 };
        static const unsigned fitting = 4;
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct link_outgoing out;
            cr_assert(a->ops->reserve(a, &out));
            memset(out.bytes, 1, sizes[i]);
            a->ops->send(a, &out, sizes[i], NULL, &b_self);
        }
        cr_assert_eq(a->ops->flush(a, 0), 0u);
        while (arrived < (round + 1) * fitting) {
            struct pollfd readable = { .fd = b->ops->descriptor(b), .events = POLLIN };
            struct link_datagram got[LINK_BURST];
            const unsigned count = b->ops->receive(b, got, LINK_BURST, 0);
            cr_assert(count != 0 || poll(&readable, 1, 5000) == 1, "%u did not come", arrived);
            for (unsigned i = 0; i < count; i++)
                cr_assert_lt(got[i].size, (uint32_t)NARROW);
            b->ops->release(b, got, count);
            arrived += count;
        }
    }
    cr_assert_eq(a->counters.tx, arrived);
    cr_assert_eq(a->counters.tx_lost, 9u);
    a->ops->close(a);
    b->ops->close(b);
}

Test(link_udp, runs_out_of_buffers_and_gets_them_back)
{
    char bound[LINK_TCP_ADDRESS_TEXT];
    struct link_peer self;
    struct link *link = open_link(bound, &self);
    struct link_outgoing out[1024];
    unsigned held = 0;
    while (held < 1024 && link->ops->reserve(link, &out[held]))
        held++;
    cr_assert_gt(held, 64);
    cr_assert_lt(held, 1024);
    cr_assert_eq(link->counters.tx_no_buffer, 1);
    for (unsigned i = 0; i < held; i++)
        link->ops->cancel(link, &out[i]);
    cr_assert(link->ops->reserve(link, &out[0]));
    link->ops->cancel(link, &out[0]);
    link->ops->close(link);
}

Test(link_udp, says_what_is_wrong_with_an_address)
{
    const struct link_udp_options options = { 0 };
    char bound[LINK_TCP_ADDRESS_TEXT], text[LINK_TCP_ERROR_TEXT];
    struct link *link, *second;
    cr_assert_eq(link_udp_open(&link, AF_INET, "nowhere", 1, &options, bound, text),
                 LEAT_ERR_INVALID);
    cr_assert(strstr(text, "nowhere") != NULL, "%s", text);
    struct link_peer self;
    link = open_link(bound, &self);
    cr_assert_eq(link_udp_open(&second, AF_INET, "127.0.0.1", self.key.port, &options, bound, text),
                 LEAT_ERR_IO);
    cr_assert(strstr(text, "in use") != NULL, "%s", text);
    link->ops->close(link);
}

/* A wire between a client's packets and a broker that a test plays: it loses, doubles and reorders
 * by a seed, or is cut, or carries only so much. */
#include "tests/support/badwire.h"

#include <criterion/criterion.h>

struct badwire badwire;

void badwire_fly(struct badwire_direction *to, const uint8_t *bytes, uint32_t size)
{
    const bool lost = badwire.cut || size > badwire.path_bytes
                      || seeded_below(&badwire.seed, 100) < badwire.loss_percent;
    uint32_t copies = lost ? 0 : 1 + (seeded_below(&badwire.seed, 100) < badwire.trouble_percent);
    badwire.largest = !lost && size > badwire.largest ? size : badwire.largest;
    for (; copies > 0 && to->count < BADWIRE_MAX; copies--) {
        uint32_t at = to->count++;
        if (at > 0 && seeded_below(&badwire.seed, 100) < badwire.trouble_percent) {
            const uint32_t other = at - 1 - seeded_below(&badwire.seed, at < 8 ? at : 8);
            to->datagrams[at] = to->datagrams[other];
            at = other;
        }
        to->datagrams[at].size = size;
        memcpy(to->datagrams[at].bytes, bytes, size);
    }
}

uint32_t badwire_land(struct badwire_direction *from, struct badwire_datagram *out, uint32_t max)
{
    const uint32_t count = from->count < max ? from->count : max;
    memcpy(out, from->datagrams, count * sizeof *out);
    from->count -= count;
    memmove(from->datagrams, from->datagrams + count, from->count * sizeof *out);
    return count;
}

static unsigned wire_receive(struct link *link, struct link_datagram *out, unsigned max,
                             leat_ns now)
{
    (void)link;
    (void)now;
    const uint32_t count = badwire_land(&badwire.to_client, badwire.incoming, max);
    for (uint32_t i = 0; i < count; i++)
        out[i] = (struct link_datagram){ .bytes = badwire.incoming[i].bytes,
                                         .size = badwire.incoming[i].size,
                                         .peer = badwire.broker };
    return count;
}

static void wire_release(struct link *link, struct link_datagram *datagrams, unsigned count)
{
    (void)link;
    (void)datagrams;
    (void)count;
}

static bool wire_reserve(struct link *link, struct link_outgoing *out)
{
    (void)link;
    if (badwire.outgoing_used == sizeof badwire.outgoing / sizeof *badwire.outgoing)
        return false;
    out->bytes = badwire.outgoing[badwire.outgoing_used++].bytes;
    return true;
}

static void wire_cancel(struct link *link, struct link_outgoing *out)
{
    (void)link;
    (void)out;
    badwire.outgoing_used--;
}

static void wire_send(struct link *link, struct link_outgoing *out, uint32_t size,
                      const struct link_reference *reference, const struct link_peer *to)
{
    (void)link;
    cr_assert_eq(reference, NULL);
    cr_assert(link_peer_same(to, &badwire.broker));
    badwire_fly(&badwire.to_broker, out->bytes, size);
}

static unsigned wire_flush(struct link *link, leat_ns now)
{
    (void)link;
    (void)now;
    badwire.outgoing_used = 0;
    return 0;
}

static int wire_descriptor(const struct link *link)
{
    (void)link;
    return -1;
}

static leat_ns wire_deadline(const struct link *link)
{
    (void)link;
    return LEAT_NS_NEVER;
}

static void wire_close(struct link *link)
{
    (void)link;
}

const struct link_ops badwire_ops = {
    .receive = wire_receive,
    .release = wire_release,
    .reserve = wire_reserve,
    .cancel = wire_cancel,
    .send = wire_send,
    .flush = wire_flush,
    .descriptor = wire_descriptor,
    .deadline = wire_deadline,
    .close = wire_close,
};

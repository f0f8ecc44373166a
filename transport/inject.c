/* Fault injection into a lane's packets. See inject.h.
 *
 * A packet held back for reordering is returned after the next packet, or after HELD_CALLS calls
 * that returned none, so that no packet is held for ever. */
#include "transport/inject.h"

#include <stdlib.h>
#include <string.h>

enum { PPM = 1000000, HELD_CALLS = 4096 };

struct inject {
    struct link_dpdk_inject options;
    uint64_t random;
    uint32_t rx_losing, tx_losing; /* packets still to be dropped of the current burst */
    struct rte_mbuf *held;
    uint32_t held_calls;
};

/* xorshift64*: fast, and random enough for fault injection. */
static uint64_t next_random(struct inject *i)
{
    i->random ^= i->random >> 12;
    i->random ^= i->random << 25;
    i->random ^= i->random >> 27;
    return i->random * UINT64_C(0x2545F4914F6CDD1D);
}

static bool happens(struct inject *i, uint32_t ppm)
{
    return ppm != 0 && (next_random(i) >> 32) % PPM < ppm;
}

struct inject *inject_open(const struct link_dpdk_inject *options, uint64_t stream)
{
    struct inject *i = calloc(1, sizeof *i);
    if (i == NULL)
        return NULL;
    i->options = *options;
    i->random = (options->seed + 1) * UINT64_C(0x9E3779B97F4A7C15) ^ (stream + 1) << 32;
    if (i->random == 0)
        i->random = 1;
    return i;
}

void inject_close(struct inject *i)
{
    if (i == NULL)
        return;
    rte_pktmbuf_free(i->held);
    free(i);
}

static bool loses(struct inject *i, uint32_t ppm, uint32_t *losing)
{
    if (*losing == 0 && happens(i, ppm))
        *losing = i->options.burst > 1 ? i->options.burst : 1;
    if (*losing == 0)
        return false;
    (*losing)--;
    return true;
}

static void corrupt(struct inject *i, struct rte_mbuf *packet)
{
    const uint64_t dice = next_random(i);
    if (packet->data_len == 0)
        return;
    rte_pktmbuf_mtod(packet, uint8_t *)[(dice >> 8) % packet->data_len] ^=
        (uint8_t)(1u << (dice & 7));
}

unsigned inject_received(struct inject *i, struct rte_mbuf **packets, unsigned count, unsigned max,
                         unsigned *lost)
{
    struct rte_mbuf *in[LINK_BURST];
    unsigned out = 0;
    *lost = 0;
    memcpy(in, packets, count * sizeof in[0]);
    for (unsigned k = 0; k < count; k++) {
        struct rte_mbuf *packet = in[k];
        if (loses(i, i->options.rx_loss_ppm, &i->rx_losing)) {
            rte_pktmbuf_free(packet);
            (*lost)++;
            continue;
        }
        if (happens(i, i->options.rx_corrupt_ppm))
            corrupt(i, packet);
        if (i->held == NULL && happens(i, i->options.rx_reorder_ppm)) {
            i->held = packet;
            i->held_calls = 0;
            continue;
        }
        packets[out++] = packet;
        if (out + (count - k - 1) < max && happens(i, i->options.rx_duplicate_ppm)) {
            struct rte_mbuf *copy = rte_pktmbuf_copy(packet, packet->pool, 0, UINT32_MAX);
            if (copy != NULL)
                packets[out++] = copy;
        }
    }
    if (i->held != NULL && out < max && (out != 0 || ++i->held_calls == HELD_CALLS)) {
        packets[out++] = i->held;
        i->held = NULL;
    }
    return out;
}

bool inject_loses_sent(struct inject *i)
{
    return loses(i, i->options.tx_loss_ppm, &i->tx_losing);
}

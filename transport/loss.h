/* Loss: RTT estimation, and when a packet counts as lost, by packet threshold and time threshold.
 *
 * Role: pure. RFC 9002, sections 5 and 6.1, in nanoseconds; the packet threshold also adapts to
 * reordering. Inline, because each ack samples the RTT.
 * Must not know: which packets are in flight and what they carried (sentmap), probes (flow),
 * windows, clocks.
 * Threads: the owner's. */
#ifndef LEAT_TRANSPORT_LOSS_H
#define LEAT_TRANSPORT_LOSS_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/units.h"

enum {
    LOSS_PACKET_THRESHOLD = 3,       /* kPacketThreshold: reordering distance that means loss */
    LOSS_PACKET_THRESHOLD_MAX = 64,  /* up to which spurious losses raise it */
    LOSS_PACKET_THRESHOLD_AGE = 256, /* acknowledged packets after which it falls by one */
    /* kTimeThreshold, 9/8: a packet is lost one RTT and an eighth of it after it was sent. */
    LOSS_TIME_THRESHOLD_FRACTION = 8,
    LOSS_GRANULARITY_NS = 10000, /* kGranularity: minimum of the time threshold */
};

struct loss {
    uint32_t packet_threshold, threshold_age;
    leat_ns srtt, rttvar, rtt_latest, rtt_min; /* srtt 0: no sample yet */
};

/* A packet sent at `sent_at` was acknowledged; the peer held its ack back for `delay`. */
static inline void loss_sample_rtt(struct loss *loss, leat_ns sent_at, leat_ns delay, leat_ns now)
{
    const leat_ns latest = now > sent_at ? now - sent_at : 1;
    loss->rtt_latest = latest;
    if (loss->srtt == 0) {
        loss->rtt_min = latest;
        loss->srtt = latest;
        loss->rttvar = latest / 2;
        return;
    }
    loss->rtt_min = latest < loss->rtt_min ? latest : loss->rtt_min;
    const leat_ns sample = latest >= loss->rtt_min + delay ? latest - delay : loss->rtt_min;
    const leat_ns apart = sample > loss->srtt ? sample - loss->srtt : loss->srtt - sample;
    loss->rttvar = loss->rttvar - loss->rttvar / 4 + apart / 4;
    loss->srtt = loss->srtt - loss->srtt / 8 + sample / 8;
}

/* The time threshold: how long after it was sent a packet older than an acknowledged one is lost.
 */
static inline leat_ns loss_time_threshold(const struct loss *loss)
{
    const leat_ns rtt = loss->srtt > loss->rtt_latest ? loss->srtt : loss->rtt_latest;
    const leat_ns delay = rtt + rtt / LOSS_TIME_THRESHOLD_FRACTION;
    return delay > LOSS_GRANULARITY_NS ? delay : LOSS_GRANULARITY_NS;
}

/* Whether a packet is lost that is `distance` numbers older than the largest acknowledged one, and
 * reaches the time threshold at `lost_at`. Without an RTT sample there is no time threshold. */
static inline bool loss_is_lost(const struct loss *loss, uint64_t distance, leat_ns lost_at,
                                leat_ns now)
{
    return distance >= loss->packet_threshold || (loss->srtt != 0 && now >= lost_at);
}

/* Spurious loss: a packet counted as lost arrived `distance` numbers late. Raises the packet
 * threshold to the observed reordering distance. */
static inline void loss_spurious(struct loss *loss, uint64_t distance)
{
    if (distance > loss->packet_threshold) {
        loss->packet_threshold =
            distance < LOSS_PACKET_THRESHOLD_MAX ? (uint32_t)distance : LOSS_PACKET_THRESHOLD_MAX;
        loss->threshold_age = 0;
    }
}

/* `acked` packets were acknowledged: without reordering the packet threshold falls again. */
static inline void loss_age(struct loss *loss, uint32_t acked)
{
    loss->threshold_age += acked;
    if (loss->threshold_age >= LOSS_PACKET_THRESHOLD_AGE) {
        loss->threshold_age = 0;
        loss->packet_threshold -= loss->packet_threshold > LOSS_PACKET_THRESHOLD ? 1 : 0;
    }
}

#endif

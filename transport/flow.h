/* Flow: the reliable half of a session over datagrams, one end of it, as pure state.
 *
 *      receive   packet -> flow_open -> [frames to the owner] -> flow_take
 *                       -> flow_acked (what arrived over there, what was lost on the way)
 *      send      flow_may_send -> flow_begin -> [frames, a flow_note each] -> flow_commit
 *      time      flow_deadline -> flow_timeout
 *
 * Role: numbers packets, acknowledges what came, measures the round trip, finds what was lost,
 * probes the tail, limits what is on the wire. What a packet carried is noted as items in the
 * owner's words; the items of a lost packet come back through flow_lost, and the owner sends their
 * content again, from wherever it still is, under a new number. Nothing is copied aside.
 * Must not know: frames' bodies, streams, logs, batches, links, clocks (`now` is an argument).
 *
 * Composed of recvmap.h (what arrived), sentmap.h (what is outstanding) and cc.h (how much may be).
 * Threads: the owner's. No allocation: a flow is a plain struct in memory that the owner reserves.
 */
#ifndef LEAT_TRANSPORT_FLOW_H
#define LEAT_TRANSPORT_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/packet.h"
#include "schema/units.h"
#include "transport/cc.h"
#include "transport/recvmap.h"
#include "transport/sentmap.h"

enum { FLOW_PEER_WINDOW_FIRST = 256 }; /* packets, until the peer's first ack says */

struct flow_options {
    uint32_t session;          /* stands in every header, both ways */
    uint64_t tag;              /* of what we send */
    uint32_t payload_max;      /* UDP payload of one packet; <= LEAT_PACKET_BYTES_MAX */
    leat_ns ack_delay_ns;      /* longest we sit on an acknowledgement: 25 us bypass, 1 ms kernel */
    leat_ns peer_ack_delay_ns; /* the same of the peer */
    leat_ns probe_floor_ns;    /* of the probe timer: see loop_jitter.h */
    leat_ns rtt_initial_ns;    /* before the first sample */
    uint16_t receive_window;   /* packets we take beyond the largest that came */
};

struct flow_counters {
    uint64_t packets_sent, packets_received;
    uint64_t packets_acked, packets_lost,
        packets_quiet;            /* acks alone: sent = acked + lost + outstanding + quiet */
    uint64_t packets_spurious;    /* of those lost: acknowledged later */
    uint64_t duplicates, too_old; /* received again, or too late to tell */
    uint64_t bytes_resent;        /* noted with flow_resent */
    uint64_t probes;
    uint64_t acks_bogus; /* for packets never sent: ignored */
};

struct flow {
    struct flow_options options;
    struct cc cc;
    struct flow_counters counters;
    uint32_t peer_window;      /* packets it takes beyond what came, as it said */
    leat_ns last_heard;        /* a packet was taken, or the flow began */
    leat_ns probe_base;        /* the probe timer counts from here */
    uint32_t probe_count;      /* in a row without an acknowledgement */
    uint32_t probes_due;       /* packets that may leave whatever the window says */
    uint32_t large_lost;       /* see flow_large_lost */
    leat_ns large_lost_at;     /* when that was last found */
    uint64_t resend_allowance; /* bytes: see flow_may_resend */
    leat_ns resend_refilled;
    struct recvmap received;
    struct sentmap sent; /* last: most of the memory */
};

/* `flow` is zeroed or reused memory. */
void flow_init(struct flow *flow, const struct flow_options *options, leat_ns now);
/* The loop's own pauses set how early a probe makes sense. */
static inline void flow_probe_floor(struct flow *flow, leat_ns floor_ns)
{
    flow->options.probe_floor_ns = floor_ns;
}

/* ---- receiving */

enum flow_verdict {
    FLOW_NEW,       /* handle its frames, then flow_take */
    FLOW_DUPLICATE, /* seen before, or too old to tell: drop it (counted). An ack is due anyway */
};
/* What `packet` is. *number is its whole number. */
enum flow_verdict flow_open(struct flow *flow, const struct leat_packet *packet, uint64_t *number,
                            leat_ns now);
/* Its ack block. Items of packets found lost wait in flow_lost. False: it speaks of packets never
 * sent, and nothing was changed. */
bool flow_acked(struct flow *flow, const struct leat_packet_ack *ack, leat_ns now);
/* Its frames were handled: it counts as arrived. A packet whose content found no room is simply not
 * taken: its sender will send the content again. `eliciting`: it carried anything but an ack. */
void flow_take(struct flow *flow, uint64_t number, bool eliciting, bool ack_now, leat_ns now);

/* ---- sending */

/* An ack should leave now: alone if nothing else does. To be asked at least once every 64 packets
 * received: an ack block does not speak of older ones, and what it does not speak of is lost. Also
 * when a probe is due and there is no room to remember content: then the packet without items is
 * the probe. */
bool flow_ack_due(const struct flow *flow, leat_ns now);
/* A packet with content may leave: window, peer's window, room to remember it. True regardless of
 * the windows while probes are due. */
bool flow_may_send(const struct flow *flow);
/* A trial may leave: within the windows, nothing waits that was lost, and the peer is heard. */
bool flow_may_try(const struct flow *flow);
/* How many more packets may leave now; what one loop may fill without asking each time. */
uint32_t flow_room(const struct flow *flow);

/* Begins a packet in `at` (room for options.payload_max): writes the headers, with an ack block
 * whenever there is anything to acknowledge; returns where its frames begin. */
uint32_t flow_begin(struct flow *flow, uint8_t *at, leat_ns now);
/* How many bytes of frames fit a packet with an ack block. */
static inline uint32_t flow_frames_max(const struct flow *flow)
{
    return flow->options.payload_max - LEAT_PACKET_OVERHEAD_BYTES;
}
/* The packet under way carries this. False: no room to remember it, leave it out. */
static inline bool flow_note(struct flow *flow, const struct flow_item *item)
{
    return sentmap_note(&flow->sent, item);
}
/* The packet in `at` is `size` bytes, header included (and counting bytes sent by reference). It is
 * without a checksum: its owner seals it (leat_packet_seal, leat_packet_seal_partial). With no item
 * noted it is an ack alone, which is not acknowledged in turn (and asks for an answer when it
 * stands in for a probe). */
void flow_commit(struct flow *flow, uint8_t *at, uint32_t size, leat_ns now);
/* The same of a packet larger than options.payload_max, which finds out whether the path carries
 * that: its loss says nothing of how much is on the wire. */
void flow_commit_trial(struct flow *flow, uint8_t *at, uint32_t size, leat_ns now);
/* Nothing was put in; the number is used for the next one. A packet with something in it is
 * committed even when the link does not take it: then it is lost, like any other. */
void flow_abandon(struct flow *flow);

/* The oldest item that was lost and not yet sent again; NULL: none. The owner may change it (a part
 * was sent) and takes it off with flow_lost_done, after noting what it sends instead. As long as
 * there is one and flow_may_resend, nothing new is noted before it. */
struct flow_item *flow_lost(struct flow *flow);
void flow_lost_done(struct flow *flow);
/* Content is sent again only within a budget, so that one lossy path does not take the wire from
 * the others: a quarter of what is sent anyway, and a window's worth each round trip. Probes are
 * free. */
bool flow_may_resend(struct flow *flow, leat_ns now);
void flow_resent(struct flow *flow, uint32_t bytes);

/* ---- time */

/* When flow_timeout must be called even if no packet comes; also when an ack is due, and when there
 * is a budget again for what was lost. */
leat_ns flow_deadline(const struct flow *flow);
/* Finds packets lost by time; when the probe timer has run out, gives the oldest outstanding items
 * back through flow_lost and lets two packets leave whatever the window says. With nothing to give
 * back the owner sends a PING. */
void flow_timeout(struct flow *flow, leat_ns now);
/* How often in a row packets larger than any path carries (LEAT_PACKET_BYTES_BASE) were lost, each
 * time some that left after the time before, and none arrived. What is small may arrive meanwhile.
 */
static inline uint32_t flow_large_lost(const struct flow *flow)
{
    return flow->large_lost;
}
/* How large packets are from now on. What was lost of those before says nothing about these. */
void flow_resize(struct flow *flow, uint32_t payload_max, leat_ns now);
/* True when packets are outstanding and nothing was heard for `after_ns`, over at least three
 * probes. */
bool flow_dead(const struct flow *flow, leat_ns after_ns, leat_ns now);

#endif

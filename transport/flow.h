/* Flow: one end of a session's reliable transport over datagrams, as pure state.
 *
 *      receive   packet -> flow_open -> [frames to the owner] -> flow_take
 *                       -> flow_acked (processes the packet's ack block)
 *      send      flow_may_send -> flow_begin -> [frames, a flow_note each] -> flow_commit
 *      time      flow_deadline -> flow_timeout
 *
 * Role: numbers packets, acknowledges received ones, measures the round-trip time, detects loss,
 * sends tail probes, limits the packets in flight. The owner notes what a packet carries as items,
 * whose meaning only the owner knows. Items of a lost packet are returned by flow_lost. The owner
 * sends their content again in a packet with a new number; the flow keeps no copy of it.
 * Must not know: frame bodies, streams, logs, batches, links, clocks (`now` is an argument).
 *
 * Consists of recvmap.h (packets received), sentmap.h (packets outstanding) and cc.h (congestion
 * window).
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

enum { FLOW_PEER_WINDOW_FIRST = 256 }; /* packets: assumed until the peer's first ack arrives */

struct flow_options {
    uint32_t session;          /* session id, in every packet header of both directions */
    uint64_t tag;              /* in the header of every packet that we send */
    uint32_t payload_max;      /* bytes of UDP payload; <= LEAT_PACKET_BYTES_MAX */
    leat_ns ack_delay_ns;      /* longest delay of an acknowledgement: 25 us bypass, 1 ms kernel */
    leat_ns peer_ack_delay_ns; /* the peer's ack_delay_ns */
    leat_ns probe_floor_ns;    /* minimum of the probe timer: see loop_jitter.h */
    leat_ns rtt_initial_ns;    /* used until the first sample */
    uint16_t receive_window;   /* packets we accept beyond the largest number received */
};

struct flow_counters {
    uint64_t packets_sent, packets_received;
    /* quiet: ACK-only. sent = acked + lost + outstanding + quiet. */
    uint64_t packets_acked, packets_lost, packets_quiet;
    uint64_t packets_spurious;    /* declared lost, acknowledged later; part of packets_lost */
    uint64_t duplicates, too_old; /* received again; too old to be told from a duplicate */
    uint64_t bytes_resent;        /* as reported with flow_resent */
    uint64_t probes;              /* expirations of the probe timer */
    uint64_t acks_bogus;          /* acks of packets never sent: ignored */
};

struct flow {
    struct flow_options options;
    struct cc cc;
    struct flow_counters counters;
    uint32_t peer_window;      /* packets, as advertised by the peer's newest ack */
    leat_ns last_heard;        /* when flow_take was last called; initially flow_init */
    leat_ns probe_base;        /* start of the probe timer */
    uint32_t probe_count;      /* probe timers in a row without an acknowledgement */
    uint32_t probes_due;       /* packets that may be sent regardless of the windows */
    uint32_t large_lost;       /* see flow_large_lost */
    leat_ns large_lost_at;     /* when large_lost last grew */
    uint64_t resend_allowance; /* bytes: see flow_may_resend */
    leat_ns resend_refilled;   /* when a window was last added to resend_allowance */
    struct recvmap received;
    struct sentmap sent; /* last, because it is the largest */
};

/* `flow` is zeroed or reused memory. */
void flow_init(struct flow *flow, const struct flow_options *options, leat_ns now);
/* Sets the minimum of the probe timer: see loop_jitter_probe_floor. */
static inline void flow_probe_floor(struct flow *flow, leat_ns floor_ns)
{
    flow->options.probe_floor_ns = floor_ns;
}

/* ---- receiving */

enum flow_verdict {
    FLOW_NEW,       /* handle its frames, then call flow_take */
    FLOW_DUPLICATE, /* received before, or too old to tell: drop it (counted). It is acknowledged
                       again unless it is an ACK-only packet that asks for no answer. */
};
/* Classifies a received packet. *number gets its packet number, widened to 64 bits. */
enum flow_verdict flow_open(struct flow *flow, const struct leat_packet *packet, uint64_t *number,
                            leat_ns now);
/* Processes a received ack block. flow_lost then returns the items of packets that it shows to be
 * lost. False: it acknowledges packets never sent, and nothing was changed. */
bool flow_acked(struct flow *flow, const struct leat_packet_ack *ack, leat_ns now);
/* Records a packet as received after its frames were handled. Do not call this for a packet whose
 * content found no room: without an acknowledgement its sender sends the content again.
 * `eliciting`: it carried more than an ack. `ack_now`: its sender asks for an ack without delay. */
void flow_take(struct flow *flow, uint64_t number, bool eliciting, bool ack_now, leat_ns now);

/* ---- sending */

/* True if an ack should be sent now, in a packet of its own unless another one leaves. Call this at
 * least once per 64 packets received: an ack block covers no more, and the peer declares packets
 * that it does not cover lost. Also true if a probe is due but there is no room to remember its
 * content: then an ACK-only packet is the probe. */
bool flow_ack_due(const struct flow *flow, leat_ns now);
/* True if a packet with content may be sent: the congestion window and the peer's window allow it,
 * and there is room to remember it. While probes are due the windows do not matter. */
bool flow_may_send(const struct flow *flow);
/* True if a trial may be sent (see flow_commit_trial): the windows allow it, no lost item waits,
 * and no probe timer has expired since the last acknowledgement. */
bool flow_may_try(const struct flow *flow);
/* How many more packets may be sent now without asking flow_may_send before each. */
uint32_t flow_room(const struct flow *flow);

/* Begins a packet in `at`, which has room for options.payload_max bytes. Writes the header, and an
 * ack block whenever there is something to acknowledge. Returns the offset of the first frame. */
uint32_t flow_begin(struct flow *flow, uint8_t *at, leat_ns now);
/* Bytes available for frames in a packet with an ack block. */
static inline uint32_t flow_frames_max(const struct flow *flow)
{
    return flow->options.payload_max - LEAT_PACKET_OVERHEAD_BYTES;
}
/* Notes an item that the current packet carries. False: there is no room to remember it, so it must
 * not be sent in this packet. */
static inline bool flow_note(struct flow *flow, const struct flow_item *item)
{
    return sentmap_note(&flow->sent, item);
}
/* Ends the packet in `at`, of `size` bytes with its header and with bytes sent by reference. The
 * owner adds the checksum (leat_packet_seal, leat_packet_seal_partial). A packet with no item noted
 * is ACK-only: the peer does not acknowledge it, unless it is the probe and so asks for an ack. */
void flow_commit(struct flow *flow, uint8_t *at, uint32_t size, leat_ns now);
/* Like flow_commit, for a packet larger than options.payload_max that tests whether the path
 * carries this size (see mtu.h). Its loss is no sign of congestion. */
void flow_commit_trial(struct flow *flow, uint8_t *at, uint32_t size, leat_ns now);
/* Drops the current packet, to which no frame was added; the next packet gets its number. A packet
 * with content must be committed even if the link does not accept it: it then counts as lost. */
void flow_abandon(struct flow *flow);

/* The oldest lost item that was not yet sent again; NULL: none. The owner may change it after
 * sending a part of it. After noting what it sends in its place the owner removes it with
 * flow_lost_done. While there is a lost item and flow_may_resend is true, the owner must not note
 * new content. */
struct flow_item *flow_lost(struct flow *flow);
void flow_lost_done(struct flow *flow);
/* True if lost content may be sent again now. Retransmission has a budget, so that one lossy path
 * does not take the wire from the others: a quarter of the bytes sent, and one window per round
 * trip. Probes are exempt. */
bool flow_may_resend(struct flow *flow, leat_ns now);
/* Charges `bytes` that were sent again to that budget. */
void flow_resent(struct flow *flow, uint32_t bytes);

/* ---- time */

/* When flow_timeout must be called, even if no packet arrives: a loss timer or the probe timer
 * expires, an ack is due, or there is a retransmission budget again for lost items. */
leat_ns flow_deadline(const struct flow *flow);
/* Declares packets lost by the time threshold. If the probe timer has expired, returns the oldest
 * outstanding items through flow_lost and allows two packets regardless of the windows. If there
 * are no such items the owner sends a PING. */
void flow_timeout(struct flow *flow, leat_ns now);
/* How often in a row packets above LEAT_PACKET_BYTES_BASE, the size that any path carries, were
 * lost while none of them arrived. Each time counts packets sent after the previous time. Smaller
 * packets may arrive meanwhile. */
static inline uint32_t flow_large_lost(const struct flow *flow)
{
    return flow->large_lost;
}
/* Sets options.payload_max (bytes) and resets flow_large_lost, because losses at the previous size
 * say nothing about the new one. */
void flow_resize(struct flow *flow, uint32_t payload_max, leat_ns now);
/* True if packets are outstanding, the probe timer has expired at least three times in a row and
 * nothing was received for `after_ns`. */
bool flow_dead(const struct flow *flow, leat_ns after_ns, leat_ns now);

#endif

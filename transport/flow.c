/* Flow: one end of a session's reliable transport over datagrams, as pure state. */
#include "transport/flow.h"

#include <assert.h>

enum {
    PROBES_AT_ONCE = 2,
    PROBES_BEFORE_DEATH = 3,
    PROBE_VARIANCE_NS_MIN = 50 * 1000,
    RESEND_SHARE = 4, /* retransmission budget: one byte per 4 bytes sent */
};
#define PROBE_NS_MAX LEAT_NS_PER_S

static leat_ns smaller(leat_ns a, leat_ns b)
{
    return a < b ? a : b;
}

static leat_ns since(leat_ns then, leat_ns now)
{
    return now > then ? now - then : 0;
}

void flow_init(struct flow *flow, const struct flow_options *options, leat_ns now)
{
    assert(options->payload_max > LEAT_PACKET_OVERHEAD_BYTES
           && options->payload_max <= LEAT_PACKET_BYTES_MAX);
    flow->options = *options;
    flow->counters = (struct flow_counters){ 0 };
    flow->peer_window = FLOW_PEER_WINDOW_FIRST;
    flow->last_heard = now;
    flow->probe_base = now;
    flow->probe_count = 0;
    flow->probes_due = 0;
    flow->large_lost = 0;
    flow->large_lost_at = now;
    flow->resend_allowance = 0;
    flow->resend_refilled = now;
    recvmap_init(&flow->received);
    sentmap_init(&flow->sent);
    cc_init(&flow->cc);
}

/* ---- receiving */

enum flow_verdict flow_open(struct flow *flow, const struct leat_packet *packet, uint64_t *number,
                            leat_ns now)
{
    struct recvmap *received = &flow->received;
    *number = leat_packet_number(received->largest, packet->number);
    flow->counters.packets_received++;
    if (recvmap_is_new(received, *number))
        return FLOW_NEW;
    if (recvmap_is_too_old(received, *number))
        flow->counters.too_old++;
    else
        flow->counters.duplicates++;
    if (packet->frames_size != 0 || (packet->flags & LEAT_PACKET_ACK_NOW) != 0)
        recvmap_again(received, now); /* an ACK-only duplicate needs no ack */
    return FLOW_DUPLICATE;
}

static void settle(struct flow *flow, const struct sentmap_news *news, leat_ns now)
{
    flow->counters.packets_acked += news->acked;
    flow->counters.packets_lost += news->lost;
    flow->counters.packets_spurious += news->spurious;
    const uint32_t lost = news->lost - (news->trial_lost ? 1 : 0);
    if (lost != 0)
        cc_lost(&flow->cc, lost, news->lost_sent_at, flow->sent.loss.srtt, flow->sent.loss.rtt_min,
                now);
    if (news->large_arrived) {
        flow->large_lost = 0;
    } else if (news->large_lost_sent_at != 0 && news->large_lost_sent_at >= flow->large_lost_at) {
        flow->large_lost++;
        flow->large_lost_at = now;
    }
}

bool flow_acked(struct flow *flow, const struct leat_packet_ack *ack, leat_ns now)
{
    struct sentmap *sent = &flow->sent;
    const uint32_t outstanding_before = sent->outstanding;
    const uint64_t known = sent->largest_acked;
    const uint64_t largest = leat_packet_number(sent->next - 1, ack->largest);
    struct sentmap_news news;
    sentmap_acked(sent, largest, ack, now, &news);
    if (news.bogus) {
        flow->counters.acks_bogus++;
        return false;
    }
    if (largest >= known) /* a reordered, older ack has an outdated window */
        flow->peer_window = ack->window != 0 ? ack->window : 1;
    settle(flow, &news, now);
    if (news.acked != 0)
        cc_acked(&flow->cc, news.acked, outstanding_before);
    if (news.acked + news.spurious != 0) {
        flow->probe_base = now;
        flow->probe_count = 0;
        flow->probes_due = 0;
    }
    return true;
}

void flow_take(struct flow *flow, uint64_t number, bool eliciting, bool ack_now, leat_ns now)
{
    flow->last_heard = now;
    recvmap_add(&flow->received, number, eliciting, ack_now, flow->options.ack_delay_ns, now);
}

/* ---- sending */

static uint32_t window(const struct flow *flow)
{
    return flow->cc.window < flow->peer_window ? flow->cc.window : flow->peer_window;
}

/* True if a probe is due but there is no room for items: the probe must be ACK-only. */
static bool must_probe_bare(const struct flow *flow)
{
    return flow->probes_due != 0 && !sentmap_has_room(&flow->sent);
}

bool flow_ack_due(const struct flow *flow, leat_ns now)
{
    return flow->received.ack_at <= now || must_probe_bare(flow);
}

bool flow_may_send(const struct flow *flow)
{
    return (flow->sent.outstanding < window(flow) || flow->probes_due != 0)
           && sentmap_has_room(&flow->sent);
}

bool flow_may_try(const struct flow *flow)
{
    return flow->probe_count == 0 && sentmap_lost_items(&flow->sent) == 0 && flow_may_send(flow);
}

uint32_t flow_room(const struct flow *flow)
{
    const uint32_t most = window(flow), outstanding = flow->sent.outstanding;
    const uint32_t left = sentmap_packets_left(&flow->sent);
    uint32_t room = most > outstanding ? most - outstanding : 0;
    room = room > flow->probes_due ? room : flow->probes_due;
    if (!sentmap_has_item(&flow->sent))
        return 0;
    return room < left ? room : left;
}

uint32_t flow_begin(struct flow *flow, uint8_t *at, leat_ns now)
{
    struct leat_packet packet = {
        .type = LEAT_PACKET_SESSION,
        .flags = flow->probes_due != 0 ? LEAT_PACKET_ACK_NOW : 0,
        .session = flow->options.session,
        .number = (uint32_t)flow->sent.next,
        .tag = flow->options.tag,
    };
    packet.has_ack = recvmap_ack(&flow->received, flow->options.receive_window, &packet.ack, now);
    return (uint32_t)leat_packet_write(at, &packet);
}

void flow_commit(struct flow *flow, uint8_t *at, uint32_t size, leat_ns now)
{
    struct sentmap *sent = &flow->sent;
    const bool awaited = sent->noted != 0 || must_probe_bare(flow);
    assert(size <= LEAT_PACKET_BYTES_MAX);
    leat_packet_set_length(at, (uint16_t)size);
    if (sentmap_is_full(sent)) {
        struct sentmap_news news;
        sentmap_drop_oldest(sent, &news);
        settle(flow, &news, now);
    }
    sentmap_sent(sent, size, awaited, now);
    flow->counters.packets_sent++;
    flow->resend_allowance += size / RESEND_SHARE;
    if (!awaited) {
        flow->counters.packets_quiet++;
        return;
    }
    flow->probe_base = now;
    flow->probes_due -= flow->probes_due != 0 ? 1 : 0;
}

void flow_commit_trial(struct flow *flow, uint8_t *at, uint32_t size, leat_ns now)
{
    flow->sent.trial = flow->sent.next;
    flow_commit(flow, at, size, now);
}

void flow_abandon(struct flow *flow)
{
    sentmap_abandon(&flow->sent);
    recvmap_unsaid(&flow->received);
}

/* ---- sending again */

struct flow_item *flow_lost(struct flow *flow)
{
    return sentmap_lost(&flow->sent);
}

void flow_lost_done(struct flow *flow)
{
    sentmap_lost_done(&flow->sent);
}

static leat_ns round_trip(const struct flow *flow)
{
    return flow->sent.loss.srtt != 0 ? flow->sent.loss.srtt : flow->options.rtt_initial_ns;
}

static void refill(struct flow *flow, leat_ns now)
{
    const uint64_t most = (uint64_t)flow->cc.window * flow->options.payload_max;
    if (since(flow->resend_refilled, now) >= round_trip(flow)) {
        flow->resend_refilled = now;
        flow->resend_allowance += most;
    }
    if (flow->resend_allowance > most)
        flow->resend_allowance = most;
}

static bool has_budget(const struct flow *flow)
{
    return flow->resend_allowance != 0 || flow->probes_due != 0 || sentmap_is_tight(&flow->sent);
}

bool flow_may_resend(struct flow *flow, leat_ns now)
{
    refill(flow, now);
    return has_budget(flow);
}

void flow_resent(struct flow *flow, uint32_t bytes)
{
    flow->counters.bytes_resent += bytes;
    if (flow->probes_due == 0)
        flow->resend_allowance -= smaller(bytes, flow->resend_allowance);
}

/* ---- time */

/* When the probe timer expires: RFC 9002, section 6.2, with a minimum of our own. */
static leat_ns probe_at(const struct flow *flow)
{
    const struct sentmap *sent = &flow->sent;
    if (sent->outstanding == 0)
        return LEAT_NS_NEVER;
    const leat_ns rtt = round_trip(flow);
    const leat_ns variance = 4 * (sent->loss.srtt != 0 ? sent->loss.rttvar : rtt / 2);
    leat_ns wait = rtt + (variance > PROBE_VARIANCE_NS_MIN ? variance : PROBE_VARIANCE_NS_MIN)
                   + flow->options.peer_ack_delay_ns;
    wait = wait > flow->options.probe_floor_ns ? wait : flow->options.probe_floor_ns;
    for (uint32_t i = 0; i < flow->probe_count && wait < PROBE_NS_MAX; i++)
        wait *= 2;
    return flow->probe_base + smaller(wait, PROBE_NS_MAX);
}

/* When the retransmission budget is refilled, if lost items wait for nothing else. */
static leat_ns budget_at(const struct flow *flow)
{
    const bool waits = sentmap_lost_items(&flow->sent) != 0 && !has_budget(flow);
    return waits && flow_may_send(flow) ? flow->resend_refilled + round_trip(flow) : LEAT_NS_NEVER;
}

leat_ns flow_deadline(const struct flow *flow)
{
    return smaller(smaller(flow->received.ack_at, flow->sent.loss_at),
                   smaller(probe_at(flow), budget_at(flow)));
}

void flow_timeout(struct flow *flow, leat_ns now)
{
    refill(flow, now);
    if (flow->sent.loss_at <= now) {
        struct sentmap_news news;
        sentmap_expire(&flow->sent, now, &news);
        settle(flow, &news, now);
    }
    if (probe_at(flow) <= now) {
        sentmap_give_back(&flow->sent, PROBES_AT_ONCE);
        flow->probes_due = PROBES_AT_ONCE;
        flow->probe_count++;
        flow->probe_base = now;
        flow->counters.probes++;
    }
}

void flow_resize(struct flow *flow, uint32_t payload_max, leat_ns now)
{
    flow->options.payload_max = payload_max;
    flow->large_lost = 0;
    flow->large_lost_at = now;
}

bool flow_dead(const struct flow *flow, leat_ns after_ns, leat_ns now)
{
    return flow->sent.outstanding != 0 && flow->probe_count >= PROBES_BEFORE_DEATH
           && since(flow->last_heard, now) >= after_ns;
}

/* Packets received: finds the session, handles ATTACH, flow timers and resets. */
#include <string.h>

#include "broker/shard/shard_state.h"
#include "broker/shared/reset_token.h"
#include "ops/log.h"
#include "schema/packet.h"

enum {
    /* Bursts of one link in one iteration: an ack block covers 64 packets. A bypass port is
     * answered burst by burst, so that both ends work at the same time. */
    BURSTS_MAX = 2,
    BYPASS_BURSTS_MAX = 1,
    LINK_IDLE_AFTER = 64, /* empty reads in a row */
    RESET_PACKET_BYTES = LEAT_PACKET_HEADER_BYTES + LEAT_PACKET_GUARD_BYTES + LEAT_RESET_BYTES,
    RECEIVE_WINDOW = 512, /* packets: streams have memory for all that credit allows */
};
/* How long acknowledgements wait for something to travel with, and where a round trip begins. */
#define BYPASS_RTT_INITIAL_NS (500 * LEAT_NS_PER_US)
#define KERNEL_RTT_INITIAL_NS (5 * LEAT_NS_PER_MS)

static void drop(struct shard *shard, enum packet_drop why)
{
    metric_add(&shard->counters.packet_drops[why], 1);
}

/* ---- unknown sessions */

static void send_reset(struct link *link, const struct link_peer *to, uint32_t session,
                       const uint8_t token[LEAT_TOKEN_BYTES], enum leat_error status)
{
    struct link_outgoing out;
    struct leat_packet packet = { .type = LEAT_PACKET_RESET,
                                  .length = RESET_PACKET_BYTES,
                                  .session = session };
    struct leat_frame_reset reset = { .status = (int16_t)status };
    if (!link->ops->reserve(link, &out))
        return;
    memcpy(reset.token, token, sizeof reset.token);
    const size_t at = leat_packet_write(out.bytes, &packet);
    leat_frame_write_reset(out.bytes + at, &reset);
    leat_packet_seal(out.bytes, RESET_PACKET_BYTES, NULL, 0);
    link->ops->send(link, &out, RESET_PACKET_BYTES, NULL, to);
}

/* RESETs are limited in number, and never larger than the packet that they answer. */
static bool may_reset(struct shard *shard, const struct link_datagram *datagram)
{
    return datagram->size >= RESET_PACKET_BYTES
           && reset_limit_take(&shard->resets, datagram->peer.key.address, shard->now);
}

/* Sends a RESET. Its token is derived from the packet: nothing is remembered of sessions that
 * ended. */
static void reset_unknown(struct shard *shard, struct link *link,
                          const struct link_datagram *datagram, const struct leat_packet *packet)
{
    uint8_t token[LEAT_TOKEN_BYTES];
    drop(shard, PACKET_DROP_SESSION);
    if (!may_reset(shard, datagram))
        return;
    reset_token_make(shard->options.reset_secret, packet->session, packet->tag, token);
    send_reset(link, &datagram->peer, packet->session, token, LEAT_ERR_UNKNOWN_SESSION);
}

void shard_reset_packets(const struct session *s, enum leat_error status)
{
    if (session_may_say(s->path) < RESET_PACKET_BYTES)
        return;
    send_reset(s->path->link, &s->path->peer, s->id, s->reset_token, status);
}

/* ---- attaching */

static struct flow_options flow_options(const struct shard *shard, const struct link *link,
                                        const struct session *s)
{
    const bool bypass = link->limits.bypass;
    const leat_ns delay = leat_ack_delay_ns(bypass);
    return (struct flow_options){
        .session = s->id,
        .tag = s->tag_to_client,
        .ack_delay_ns = delay,
        .peer_ack_delay_ns = delay,
        .probe_floor_ns = loop_jitter_probe_floor(&shard->loop_jitter, bypass),
        .rtt_initial_ns = bypass ? BYPASS_RTT_INITIAL_NS : KERNEL_RTT_INITIAL_NS,
        .receive_window = RECEIVE_WINDOW,
    };
}

/* Handles a granted session's first packet: it must be an ATTACH with the token. */
static bool attach(struct shard *shard, struct session *s, struct link *link,
                   const struct link_datagram *datagram, const struct leat_packet *packet)
{
    struct leat_frame frame;
    const bool right = s->expires_ns > shard->now
                       && leat_frame_decode(&frame, packet->frames, packet->frames_size) == LEAT_OK
                       && frame.type == LEAT_FRAME_ATTACH && frame.attach.session == s->id
                       && session_token_is(s->token, frame.attach.token);
    const bool speaks = right && frame.attach.version == LEAT_PROTOCOL_VERSION;
    /* The client proved with tag and token that it owns the session, so it is told, and need not
     * wait. */
    if (right && !speaks && may_reset(shard, datagram))
        send_reset(link, &datagram->peer, s->id, s->reset_token, LEAT_ERR_VERSION);
    if (!speaks) {
        metric_add(&shard->counters.attach_refused, 1);
        drop(shard, PACKET_DROP_ATTACH);
        return false;
    }
    const struct flow_options options = flow_options(shard, link, s);
    const uint32_t wanted = mtu_wanted(&link->limits, &datagram->peer, 0);
    if (session_attach_packets(s, link, &datagram->peer, &options, wanted, shard->now) != LEAT_OK) {
        drop(shard, PACKET_DROP_ATTACH);
        return false;
    }
    s->path->sealed = !leat_packet_is_partial(packet); /* the client knows its own link */
    TAILQ_REMOVE(&shard->granted, s, lifetime_node);
    TAILQ_INSERT_TAIL(&shard->attached, s, lifetime_node);
    s->heard_ns = shard->now;
    metric_add(&shard->counters.sessions_opened, 1);
    shard->watched += link->limits.polled ? 0 : 1;
    return true;
}

/* ---- packets */

/* True when the packet is the session's and undamaged. Checked before anything in it has an
 * effect. */
static bool is_genuine(struct shard *shard, const struct session *s, const struct link *link,
                       const struct link_datagram *datagram, const struct leat_packet *packet)
{
    if (!leat_packet_tag_is(packet, s->tag_to_broker)) {
        drop(shard, PACKET_DROP_TAG);
        return false;
    }
    const bool may_be_partial = link->limits.intact && (s->path == NULL || !s->path->sealed);
    if (!leat_packet_is_intact(packet, datagram->bytes, may_be_partial)) {
        drop(shard, PACKET_DROP_CHECKSUM);
        return false;
    }
    return true;
}

/* Handles the frames of a packet. LEAT_OK; LEAT_BUSY: no room for its content, the packet counts as
 * never received; another error ends the session. */
static enum leat_error handle_frames(struct shard *shard, struct session *s,
                                     const struct leat_packet *packet, bool *eliciting)
{
    const uint8_t *at = packet->frames, *end = at + packet->frames_size;
    while (at < end) {
        struct leat_frame frame;
        if (egress_room(&s->out) < EGRESS_ANSWER_BYTES)
            return LEAT_BUSY;
        if (leat_frame_decode(&frame, at, (size_t)(end - at)) != LEAT_OK)
            return LEAT_ERR_MALFORMED; /* a frame never crosses its packet's end */
        at += frame.length;
        *eliciting = true;
        const enum leat_error error = shard_handle_frame(shard, s, &frame);
        if (error != LEAT_OK)
            return error;
    }
    return LEAT_OK;
}

static void take_packet(struct shard *shard, struct session *s, const struct leat_packet *packet)
{
    struct flow *flow = &s->path->flow;
    uint64_t number;
    bool eliciting = false;
    s->path->heard_bytes += packet->length;
    if (packet->has_ack)
        flow_acked(flow, &packet->ack, shard->now);
    if (flow_open(flow, packet, &number, shard->now) != FLOW_NEW) {
        drop(shard, PACKET_DROP_DUPLICATE);
        shard_want_output(shard, s);
        return;
    }
    shard_heard(shard, s);
    const enum leat_error error = handle_frames(shard, s, packet, &eliciting);
    if (error == LEAT_BUSY) {
        drop(shard, PACKET_DROP_NO_ROOM);
        shard_want_output(shard, s);
        return;
    }
    if (error != LEAT_OK) {
        drop(shard, session_is_covered(s) ? PACKET_DROP_PROTOCOL : PACKET_DROP_CHECKSUM);
        if (error == LEAT_ERR_CLOSED)
            shard_end_session(shard, s, LEAT_OK);
        else
            shard_end_broken(shard, s, error);
        return;
    }
    metric_add(&shard->counters.packets_taken, 1);
    flow_take(flow, number, eliciting, (packet->flags & LEAT_PACKET_ACK_NOW) != 0, shard->now);
    /* A bare ACK that frees nothing needs no output, but it may have armed the loss timer. */
    if (eliciting || flow_lost(flow) != NULL || !TAILQ_EMPTY(&s->ready) || egress_pending(&s->out))
        shard_want_output(shard, s);
    else
        timers_set(&shard->timers, &s->path->timer, flow->sent.loss_at);
}

static void take_datagram(struct shard *shard, struct link *link,
                          const struct link_datagram *datagram)
{
    struct leat_packet packet;
    metric_add(&shard->counters.packets_in, 1);
    const enum leat_error error = leat_packet_decode(&packet, datagram->bytes, datagram->size);
    if (error != LEAT_OK) {
        drop(shard, error == LEAT_ERR_VERSION ? PACKET_DROP_VERSION : PACKET_DROP_MALFORMED);
        return;
    }
    struct session *s = shard_session(shard, packet.session);
    if (packet.type != LEAT_PACKET_SESSION)
        drop(shard, PACKET_DROP_MALFORMED); /* clients end sessions by a frame or by control */
    else if (s == NULL || s->ending)
        reset_unknown(shard, link, datagram, &packet);
    else if (s->fd >= 0
             || (s->path != NULL
                 && (s->path->link != link || !link_peer_same(&s->path->peer, &datagram->peer))))
        drop(shard, PACKET_DROP_PEER); /* a session cannot change its link or peer */
    else if (!is_genuine(shard, s, link, datagram, &packet))
        return;
    else if (s->path != NULL || attach(shard, s, link, datagram, &packet))
        take_packet(shard, s, &packet);
}

bool shard_receive_link(struct shard *shard, struct shard_link *source)
{
    struct link *link = source->link;
    struct link_datagram datagrams[LINK_BURST];
    bool any = false;
    const int most = link->limits.bypass ? BYPASS_BURSTS_MAX : BURSTS_MAX;
    source->ready = false;
    for (int burst = 0; burst < most; burst++) {
        const unsigned count = link->ops->receive(link, datagrams, LINK_BURST, shard->now);
        /* The link may hold more that it took from the kernel already: no event would announce
         * it. */
        source->ready = count == LINK_BURST;
        if (count == 0)
            break;
        any = true;
        for (unsigned i = 0; i < count; i++)
            take_datagram(shard, link, &datagrams[i]);
        link->ops->release(link, datagrams, count);
        if (!source->ready)
            break;
    }
    if (any)
        source->empty_reads = 0;
    else if (source->empty_reads < LINK_IDLE_AFTER)
        source->empty_reads++;
    return any;
}

bool shard_link_is_busy(const struct shard_link *source)
{
    return source->link->limits.polled || source->empty_reads < LINK_IDLE_AFTER;
}

/* ---- counting */

void shard_count_flow(struct shard *shard, struct session_path *path)
{
    struct shard_counters *c = &shard->counters;
    const struct flow_counters *now = &path->flow.counters;
    struct flow_counters *then = &path->counted;
    metric_add(&c->packets_sent, now->packets_sent - then->packets_sent);
    metric_add(&c->packets_acked, now->packets_acked - then->packets_acked);
    metric_add(&c->packets_lost, now->packets_lost - then->packets_lost);
    metric_add(&c->packets_spurious, now->packets_spurious - then->packets_spurious);
    metric_add(&c->bytes_resent, now->bytes_resent - then->bytes_resent);
    metric_add(&c->probes, now->probes - then->probes);
    *then = *now;
}

/* ---- time */

void shard_run_flow_timers(struct shard *shard)
{
    struct timer *timer;
    while ((timer = timers_due(&shard->timers, shard->now)) != NULL) {
        struct session_path *path =
            (struct session_path *)((char *)timer - offsetof(struct session_path, timer));
        if (flow_deadline(&path->flow) <= shard->now)
            flow_timeout(&path->flow, shard->now);
        /* The session's turn, in this iteration, checks what is really due. */
        shard_want_output(shard, path->session);
    }
}

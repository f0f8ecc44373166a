/* Packets sent: fills them with what a session has, and sends again what was lost. */
#include <string.h>

#include "broker/shard/shard_state.h"
#include "ops/log.h"

enum {
    PACKETS_PER_TURN = 64, /* of one session, before the next gets its turn */
    QUANTUM_BYTES = 16384, /* of one subscription, before the session's next gets its turn */
    SLICE_MIN_BYTES = 64,  /* less room than this at the end of a packet is left empty */
    /* For an address that has not answered: what is reserved for an acknowledgement, and the least
     * that is worth a packet. */
    ACK_BYTES = LEAT_PACKET_OVERHEAD_BYTES,
    SMALLEST_BYTES = LEAT_PACKET_OVERHEAD_BYTES + LEAT_ATTACHED_BYTES + LEAT_PING_BYTES,
};
#define RESEND_PAUSE_NS (50 * LEAT_NS_PER_US)
#define UNANSWERED_PAUSE_NS LEAT_NS_PER_MS
#define NO_BUFFER_PAUSE_NS (100 * LEAT_NS_PER_US)

/* One packet being filled. */
struct filling {
    struct session *session;
    struct link *link;
    struct flow *flow;
    struct link_outgoing out;
    struct link_reference reference;
    uint32_t used; /* of out.bytes */
    uint32_t end;  /* frames go up to here */
    bool any;
    bool starved; /* the link had no buffer */
};

static uint32_t room(const struct filling *f)
{
    return f->reference.size != 0 ? 0 : f->end - f->used;
}

static bool begin(struct filling *f, leat_ns now)
{
    if (!f->link->ops->reserve(f->link, &f->out)) {
        /* All buffers hold what other sessions staged. Unless the wire is full, a flush frees
         * some. */
        f->starved =
            f->link->ops->flush(f->link, now) != 0 || !f->link->ops->reserve(f->link, &f->out);
        if (f->starved)
            return false;
    }
    f->used = flow_begin(f->flow, f->out.bytes, now);
    f->end = f->used + flow_frames_max(f->flow);
    f->any = false;
    f->reference.size = 0;
    return true;
}

static void send_out(struct filling *f)
{
    if (f->session->path->sealed)
        leat_packet_seal(f->out.bytes, f->used, f->reference.bytes, f->reference.size);
    else
        leat_packet_seal_partial(f->out.bytes, f->used, f->reference.bytes, f->reference.size);
    f->session->path->said_bytes += f->used + f->reference.size;
    f->link->ops->send(f->link, &f->out, f->used, f->reference.size != 0 ? &f->reference : NULL,
                       &f->session->path->peer);
}

static void commit(struct filling *f, leat_ns now)
{
    flow_commit(f->flow, f->out.bytes, f->used + f->reference.size, now);
    send_out(f);
}

static void abandon(struct filling *f)
{
    flow_abandon(f->flow);
    f->link->ops->cancel(f->link, &f->out);
}

/* ---- staged frames */

/* Fills `item` with what has to be sent again for this frame if its packet is lost. False:
 * nothing. */
static bool note_of(const struct leat_frame *frame, struct flow_item *item)
{
    *item = (struct flow_item){ .kind = frame->type, .stream = frame->stream };
    switch (frame->type) {
    case LEAT_FRAME_PUBLISH_ACK: {
        const struct leat_ack_run first = leat_ack_run_at(&frame->publish_ack, 0);
        const struct leat_ack_run last =
            leat_ack_run_at(&frame->publish_ack, frame->publish_ack.run_count - 1);
        item->at = first.first_sequence;
        item->size = (uint32_t)(last.first_sequence + last.count - first.first_sequence);
        item->more = first.retry_after_us;
        item->reserved = (uint16_t)first.status;
        return true;
    }
    case LEAT_FRAME_GAP:
        item->at = frame->gap.position;
        item->flags = frame->gap.reason;
        return true;
    case LEAT_FRAME_BLOCKED: item->at = frame->blocked_limit; return true;
    case LEAT_FRAME_COMMITTED:
        item->at = frame->committed.asked;
        item->reserved = (uint16_t)frame->committed.status;
        return true;
    case LEAT_FRAME_CREDIT:
    case LEAT_FRAME_ATTACHED: return true;
    default: return false;
    }
}

static void add_staged(struct filling *f)
{
    struct egress *out = &f->session->out;
    const uint8_t *bytes;
    uint32_t size;
    while ((bytes = egress_first(out, &size)) != NULL && size <= room(f)) {
        struct leat_frame frame;
        struct flow_item item;
        leat_frame_peek(&frame, bytes);
        const bool returns = note_of(&frame, &item);
        if (!returns)
            item.kind = 0; /* it need not arrive, but its packet is acknowledged */
        if ((returns || !f->any) && !flow_note(f->flow, &item))
            return;
        memcpy(f->out.bytes + f->used, bytes, size);
        f->used += size;
        f->any = true;
        egress_took_first(out, size);
    }
}

/* ---- slices of the log */

static void release_pin(void *partition, uint32_t chunk)
{
    partition_unpin(partition, chunk);
}

/* Adds [at, at + size) of the subscription's log as a DATA frame. False: no room to remember it. */
static bool add_slice(struct filling *f, const struct subscription *sub, uint64_t at, uint32_t size)
{
    struct partition *p = sub->owned->partition;
    const struct flow_item item = {
        .kind = LEAT_FRAME_DATA, .stream = sub->number, .at = at, .size = size
    };
    uint64_t got;
    uint32_t chunk;
    if (!flow_note(f->flow, &item))
        return false;
    const uint8_t *bytes = partition_slice(p, at, size, &got);
    f->used += (uint32_t)leat_frame_write_data(f->out.bytes + f->used, sub->number, at, size);
    f->any = true;
    if (link_sends_by_reference(&f->link->limits, size) && partition_pin(p, at, size, &chunk)) {
        f->reference = (struct link_reference){
            .bytes = bytes, .size = size, .release = release_pin, .owner = p, .token = chunk
        };
        return true;
    }
    memcpy(f->out.bytes + f->used, bytes, size);
    f->used += size;
    return true;
}

static void end_turn(struct session *s, struct subscription *sub)
{
    sub->deficit = 0;
    TAILQ_REMOVE(&s->ready, sub, state_node);
    TAILQ_INSERT_TAIL(&s->ready, sub, state_node);
}

/* Adds new log bytes for the subscriptions that are ready. False: this packet is full. */
static bool add_fresh(struct shard *shard, struct filling *f)
{
    struct session *s = f->session;
    struct subscription *sub;
    while ((sub = TAILQ_FIRST(&s->ready)) != NULL) {
        if (egress_room(&s->out) < EGRESS_ANSWER_BYTES)
            return false;
        const struct subscription_next next = subscription_next(sub, shard->now);
        switch (next.action) {
        case SUBSCRIPTION_SEND: {
            if (room(f) < LEAT_DATA_HEADER_BYTES + SLICE_MIN_BYTES)
                return false;
            const uint32_t most = room(f) - LEAT_DATA_HEADER_BYTES;
            const uint32_t size = next.size < most ? (uint32_t)next.size : most;
            if (sub->deficit == 0)
                sub->deficit = QUANTUM_BYTES;
            if (!add_slice(f, sub, sub->position, size))
                return false;
            subscription_sent(sub, size, shard->now);
            sub->deficit -= size < sub->deficit ? size : sub->deficit;
            if (sub->deficit == 0)
                end_turn(s, sub);
            break;
        }
        case SUBSCRIPTION_GAP:
            egress_gap(&s->out, sub->number, &next.gap);
            subscription_skip(sub, &next.gap);
            metric_add(&shard->counters.gaps, 1);
            return true; /* the GAP must be sent before what follows it */
        case SUBSCRIPTION_CAUGHT_UP: shard_set_waiting(shard, sub); break;
        case SUBSCRIPTION_NO_QUOTA: shard_set_throttled(shard, sub, &next); break;
        case SUBSCRIPTION_NO_CREDIT:
            shard_unlist(shard, sub);
            if (next.say_blocked) {
                egress_blocked(&s->out, sub->number, sub->limit);
                metric_add(&shard->counters.blocked, 1);
                return true;
            }
            break;
        }
    }
    return true;
}

/* ---- what was lost */

/* Stages the acknowledgements of a lost packet again. False: no room for all of them; `item` keeps
 * the rest. */
static bool answer_again(struct session *s, const struct publish_stream *stream,
                         struct flow_item *item)
{
    const uint64_t log_epoch = partition_log_epoch(stream->owned->partition);
    const uint64_t end = item->at + item->size;
    const int16_t status = (int16_t)item->reserved;
    struct leat_ack_run run = { .first_sequence = item->at,
                                .base_offset = LEAT_OFFSET_NONE,
                                .count = item->size,
                                .retry_after_us = item->more,
                                .status = status };
    if (!egress_is_remembered(status)) {
        egress_ack(&s->out, item->stream, log_epoch, &run);
        return true;
    }
    while (publish_stream_answer_again(stream, &item->at, end, &run)) {
        item->size = (uint32_t)(end - item->at);
        egress_ack(&s->out, item->stream, log_epoch, &run);
        if (egress_room(&s->out) < EGRESS_ANSWER_BYTES)
            return item->size == 0;
    }
    return true;
}

/* True for a BLOCKED that names a quota, when the quota still holds. */
static bool is_held(uint64_t limit, bool throttled)
{
    return throttled && limit >= LEAT_BLOCKED_BY_TOPIC_QUOTA;
}

/* Stages what a lost packet carried again, as it is now. False: no room for all of it. */
static bool restage(struct session *s, struct flow_item *item)
{
    const struct stream *place = session_stream(s, item->stream);
    const struct publish_stream *publish = place != NULL ? place->publish : NULL;
    const struct subscription *sub = place != NULL ? place->subscription : NULL;
    switch (item->kind) {
    case LEAT_FRAME_ATTACHED: {
        const struct leat_frame_attached said = { .session = s->id, .status = LEAT_OK };
        egress_attached(&s->out, &said);
        break;
    }
    case LEAT_FRAME_PUBLISH_ACK:
        if (publish != NULL)
            return answer_again(s, publish, item);
        shard_refuse_unknown(s, item->stream, item->at, item->size);
        break;
    case LEAT_FRAME_CREDIT:
        if (publish != NULL)
            egress_credit(&s->out, item->stream, publish->credit);
        break;
    case LEAT_FRAME_COMMITTED:
        shard_say_committed(s, item->stream, item->at, (int16_t)item->reserved);
        break;
    case LEAT_FRAME_BLOCKED:
        if ((sub != NULL
             && (sub->limit == item->at || is_held(item->at, sub->state == SUBSCRIPTION_THROTTLED)))
            || (publish != NULL && is_held(item->at, publish->throttled)))
            egress_blocked(&s->out, item->stream, item->at);
        break;
    case LEAT_FRAME_GAP:
        if (sub != NULL && sub->gap_said && sub->gap.position == item->at) {
            egress_gap(&s->out, item->stream, &sub->gap);
        } else if (sub == NULL
                   && (item->flags == LEAT_REASON_TOPIC_DELETED
                       || item->flags == LEAT_REASON_REVOKED)) {
            /* What matters is that nothing follows. */
            const struct leat_frame_gap gone = { .position = item->at,
                                                 .offset = LEAT_OFFSET_NONE,
                                                 .reason = item->flags };
            egress_gap(&s->out, item->stream, &gone);
        }
        break;
    case LEAT_FRAME_PING: s->path->challenge_due = !s->path->answered; break;
    default: break;
    }
    return true;
}

enum resend { RESEND_DONE, RESEND_FULL, RESEND_STAGED };

/* Sends DATA that was lost again, from the log. */
static enum resend resend_slice(struct shard *shard, struct filling *f, struct flow_item *item)
{
    struct session *s = f->session;
    const struct stream *place = session_stream(s, item->stream);
    struct leat_frame_gap gap;
    if (place == NULL || place->subscription == NULL)
        return RESEND_DONE;
    struct subscription *sub = place->subscription;
    if (!subscription_again(sub, &item->at, &item->size, &gap)) {
        if (gap.reason == 0)
            return RESEND_DONE;
        egress_gap(&s->out, sub->number, &gap);
        subscription_skip(sub, &gap);
        metric_add(&shard->counters.gaps, 1);
        return RESEND_STAGED;
    }
    if (room(f) < LEAT_DATA_HEADER_BYTES + SLICE_MIN_BYTES)
        return RESEND_FULL;
    const uint32_t most = room(f) - LEAT_DATA_HEADER_BYTES;
    const uint32_t size = item->size < most ? item->size : most;
    if (!add_slice(f, sub, item->at, size))
        return RESEND_FULL;
    flow_resent(f->flow, size);
    item->at += size;
    item->size -= size;
    return item->size == 0 ? RESEND_DONE : RESEND_FULL;
}

/* Adds what was lost. False: this packet is full. */
static bool add_lost(struct shard *shard, struct filling *f)
{
    struct flow_item *item;
    while ((item = flow_lost(f->flow)) != NULL) {
        if (egress_room(&f->session->out) < EGRESS_ANSWER_BYTES + LEAT_FRAME_HEADER_BYTES)
            return false;
        if (item->kind != LEAT_FRAME_DATA) {
            const bool all = restage(f->session, item);
            if (all)
                flow_lost_done(f->flow);
            add_staged(f);
            if (!all)
                return false;
            continue;
        }
        if (!flow_may_resend(f->flow, shard->now)) {
            timers_set(&shard->timers, &f->session->path->timer, shard->now + RESEND_PAUSE_NS);
            return true;
        }
        switch (resend_slice(shard, f, item)) {
        case RESEND_DONE: flow_lost_done(f->flow); break;
        case RESEND_STAGED: add_staged(f); break;
        case RESEND_FULL: return false;
        }
    }
    return true;
}

/* ---- a turn */

static bool has_content(const struct shard *shard, const struct session *s)
{
    struct flow *flow = &s->path->flow;
    return !TAILQ_EMPTY(&s->ready) || egress_pending(&s->out) || s->path->challenge_due
           || (flow_lost(flow) != NULL && flow_may_resend(flow, shard->now));
}

static void add_ping(struct filling *f, uint64_t value)
{
    const struct flow_item item = { .kind = LEAT_FRAME_PING };
    flow_note(f->flow, &item);
    f->used += (uint32_t)leat_frame_write_ping(f->out.bytes + f->used, LEAT_FRAME_PING, value);
}

/* An address that has not answered gets small packets and a PING. False: it may get no packet at
 * all now. */
static bool begin_content(struct filling *f, leat_ns now)
{
    struct session_path *path = f->session->path;
    const uint64_t most = session_may_say(path);
    if (most < SMALLEST_BYTES + ACK_BYTES || !begin(f, now))
        return false;
    if (most - ACK_BYTES < f->end)
        f->end = (uint32_t)(most - ACK_BYTES);
    if (path->challenge_due) {
        add_ping(f, f->session->challenge);
        f->any = true;
        path->challenge_due = false;
    }
    return true;
}

/* Fills one packet and passes it to the link. False: nothing more to send, or no buffer. */
static bool send_packet(struct shard *shard, struct filling *f)
{
    struct session *s = f->session;
    if (!begin_content(f, shard->now))
        return false;
    add_staged(f);
    if (add_lost(shard, f) && add_fresh(shard, f))
        add_staged(f);
    if (f->any) {
        commit(f, shard->now);
        return true;
    }
    if (f->flow->probes_due != 0) {
        /* A PING makes the peer say what it has received. The peer answers only the newest, so
         * until its address has answered, the challenge serves as both. */
        add_ping(f, s->path->answered ? shard->now : s->challenge);
        commit(f, shard->now);
        return has_content(shard, s);
    }
    abandon(f);
    return false;
}

/* Sends one MTU probe of `bytes`. */
static void send_probe(struct shard *shard, struct filling *f, uint32_t bytes)
{
    struct session_path *path = f->session->path;
    const struct flow_item item = { .kind = LEAT_FRAME_PAD };
    path->flow.options.payload_max = bytes;
    if (begin(f, shard->now)) {
        const uint32_t size = room(f);
        flow_note(f->flow, &item);
        mtu_write(&path->mtu, f->out.bytes + f->used, size);
        f->used += size;
        flow_commit_trial(f->flow, f->out.bytes, f->used, shard->now);
        send_out(f);
        mtu_sent(&path->mtu, shard->now);
    }
    path->flow.options.payload_max = path->mtu.bytes;
}

static void send_ack(struct shard *shard, struct filling *f)
{
    if (session_may_say(f->session->path) >= ACK_BYTES && begin(f, shard->now))
        commit(f, shard->now);
}

/* When the session needs a turn even if nothing arrives. */
static leat_ns path_deadline(const struct session_path *path, leat_ns now)
{
    const leat_ns deadline = flow_deadline(&path->flow);
    /* What may not be sent yet is released by what arrives. */
    if (!path->answered)
        return deadline > now ? deadline : now + UNANSWERED_PAUSE_NS;
    /* An MTU probe waits until the flow allows it, without a timer of its own. */
    const leat_ns due_at = path->mtu.due_at;
    const leat_ns probe_at =
        due_at != LEAT_NS_NEVER && flow_may_try(&path->flow) ? due_at : LEAT_NS_NEVER;
    return deadline < probe_at ? deadline : probe_at;
}

void shard_send_packets(struct shard *shard, struct session *s)
{
    struct session_path *path = s->path;
    struct filling f = { .session = s, .link = path->link, .flow = &path->flow };
    uint32_t sent = 0;
    if (mtu_doubt(&path->mtu, path->flow.probe_count, flow_large_lost(&path->flow), shard->now))
        flow_resize(&path->flow, path->mtu.bytes, shard->now);
    const uint32_t probe = mtu_probe(&path->mtu, shard->now);
    if (probe != 0 && path->answered && flow_may_try(&path->flow))
        send_probe(shard, &f, probe);
    while (sent < PACKETS_PER_TURN && (has_content(shard, s) || path->flow.probes_due != 0)
           && flow_may_send(&path->flow) && send_packet(shard, &f))
        sent++;
    if (flow_ack_due(&path->flow, shard->now))
        send_ack(shard, &f);
    if (s->unread && egress_room(&s->out) >= EGRESS_STAGE_BYTES / 2) {
        shard_report_ends(s);
        shard_take_waiting(shard, s); /* may end it */
        if (s->ending)
            return;
        s->unread |= s->unreported != 0;
    }
    if (f.starved) {
        timers_set(&shard->timers, &path->timer, shard->now + NO_BUFFER_PAUSE_NS);
        return;
    }
    /* What waits for the congestion window is resumed by acknowledgements or the timer. */
    if (path->answered && has_content(shard, s) && flow_may_send(&path->flow))
        shard_want_output(shard, s);
    timers_set(&shard->timers, &path->timer, path_deadline(path, shard->now));
}

void shard_flush_links(struct shard *shard)
{
    for (uint32_t i = 0; i < shard->link_count; i++) {
        struct link *link = shard->links[i].link;
        shard->links[i].kept = link->ops->flush(link, shard->now);
    }
}

void shard_reclaim_links(struct shard *shard, uint64_t topic_id)
{
    metric_add(&shard->counters.reclaims, 1);
    for (uint32_t i = 0; i < shard->link_count; i++) {
        struct link *link = shard->links[i].link;
        const unsigned out = link->ops->reclaim(link);
        if (out == 0 || shard->now - shard->reclaim_said < LEAT_NS_PER_S)
            continue;
        /* The producer gets BUSY and retries. A device that never releases memory is for the
         * operator. */
        shard->reclaim_said = shard->now;
        log_line(LOG_WARN, "shard.log_held_by_link", log_u64("shard", shard->options.index),
                 log_u64("link", i), log_u64("topic_id", topic_id), log_u64("references", out),
                 log_text("do", "check the port: it has not transmitted the packets it was given"));
    }
}

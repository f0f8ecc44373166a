/* Delivery: the turn of every session with something to send, and how it goes over TCP: acks,
 * credits, slices of the log. */
#include "broker/shard/shard_state.h"

/* Log bytes that one session may get in one turn, so that a reader that catches up does not delay
 * others. */
#define TURN_BYTES ((uint64_t)256 * LEAT_KIB)

void shard_want_output(struct shard *shard, struct session *s)
{
    if (s->in_output || s->ending || !session_is_attached(s) || s->out.blocked)
        return;
    s->in_output = true;
    TAILQ_INSERT_TAIL(&shard->output, s, output_node);
}

void shard_unlist(struct shard *shard, struct subscription *sub)
{
    switch (sub->state) {
    case SUBSCRIPTION_PARKED: break;
    case SUBSCRIPTION_THROTTLED:
        TAILQ_REMOVE(&shard->throttled_subscriptions, sub, state_node);
        break;
    case SUBSCRIPTION_WAITING: TAILQ_REMOVE(&sub->owned->waiting, sub, state_node); break;
    case SUBSCRIPTION_READY: TAILQ_REMOVE(&sub->session->ready, sub, state_node); break;
    }
    sub->state = SUBSCRIPTION_PARKED;
}

void shard_set_ready(struct shard *shard, struct subscription *sub)
{
    shard_unlist(shard, sub);
    sub->state = SUBSCRIPTION_READY;
    TAILQ_INSERT_TAIL(&sub->session->ready, sub, state_node);
    shard_want_output(shard, sub->session);
}

void shard_wake_readers(struct shard *shard)
{
    struct owned_partition *owned;
    while ((owned = TAILQ_FIRST(&shard->fresh)) != NULL) {
        struct subscription *sub;
        TAILQ_REMOVE(&shard->fresh, owned, fresh_node);
        owned->fresh = false;
        while ((sub = TAILQ_FIRST(&owned->waiting)) != NULL)
            shard_set_ready(shard, sub);
    }
}

void shard_set_waiting(struct shard *shard, struct subscription *sub)
{
    shard_unlist(shard, sub);
    sub->state = SUBSCRIPTION_WAITING;
    TAILQ_INSERT_TAIL(&sub->owned->waiting, sub, state_node);
}

/* Adds the next slice of this subscription's log to the batch. False: the batch is full. */
static bool add_slice(struct shard *shard, struct subscription *sub, uint64_t size)
{
    struct egress_data data = { .source = sub, .position = sub->position };
    uint64_t got;
    const uint8_t *bytes = partition_slice(sub->owned->partition, sub->position, size, &got);
    data.size = (uint32_t)got;
    if (!egress_add_data(&shard->batch, sub->number, &data, bytes))
        return false;
    subscription_sent(sub, got, shard->now);
    /* To the end of the list: every subscription with something to send gets a slice in turn. */
    TAILQ_REMOVE(&sub->session->ready, sub, state_node);
    TAILQ_INSERT_TAIL(&sub->session->ready, sub, state_node);
    return true;
}

/* Collects what this session gets in this turn. */
static void gather(struct shard *shard, struct session *s)
{
    uint64_t budget = TURN_BYTES;
    struct subscription *sub;
    while (budget != 0 && (sub = TAILQ_FIRST(&s->ready)) != NULL) {
        if (egress_room(&s->out) < EGRESS_ANSWER_BYTES)
            return;
        const struct subscription_next next = subscription_next(sub, shard->now);
        uint64_t size = next.size < budget ? next.size : budget;
        switch (next.action) {
        case SUBSCRIPTION_SEND:
            if (!add_slice(shard, sub, size))
                return;
            budget -= size;
            break;
        case SUBSCRIPTION_GAP:
            egress_gap(&s->out, sub->number, &next.gap);
            subscription_skip(sub, &next.gap);
            metric_add(&shard->counters.gaps, 1);
            break;
        case SUBSCRIPTION_CAUGHT_UP: shard_set_waiting(shard, sub); break;
        case SUBSCRIPTION_NO_QUOTA: shard_set_throttled(shard, sub, &next); break;
        case SUBSCRIPTION_NO_CREDIT:
            shard_unlist(shard, sub);
            if (next.say_blocked) {
                egress_blocked(&s->out, sub->number, sub->limit);
                metric_add(&shard->counters.blocked, 1);
            }
            break;
        }
    }
}

/* Returns what the kernel did not take to the log; its subscriptions are first in the next turn. */
static void take_back(struct shard *shard, int taken)
{
    for (int i = shard->batch.data_count - 1; i >= taken; i--) {
        struct subscription *sub = shard->batch.data[i].source;
        subscription_take_back(sub, shard->batch.data[i].position);
        shard_unlist(shard, sub);
        sub->state = SUBSCRIPTION_READY;
        TAILQ_INSERT_HEAD(&sub->session->ready, sub, state_node);
    }
}

static void serve_session(struct shard *shard, struct session *s)
{
    int taken;
    uint64_t sent;
    shard->batch.data_count = 0;
    gather(shard, s);
    const enum leat_error error = egress_flush(&s->out, &shard->batch, s->fd, &taken, &sent);
    if (error == LEAT_ERR_CLOSED) {
        shard_end_session(shard, s, LEAT_OK);
        return;
    }
    metric_add(&shard->counters.bytes_out, sent);
    take_back(shard, taken);
    if (s->unread && egress_room(&s->out) >= EGRESS_STAGE_BYTES / 2) {
        shard_report_ends(s);
        shard_handle_frames(shard, s); /* may end it; sets its interest */
        if (s->ending)
            return;
        s->unread |= s->unreported != 0;
    }
    if (!TAILQ_EMPTY(&s->ready) || egress_pending(&s->out))
        shard_want_output(shard, s);
    shard_set_interest(shard, s);
}

bool shard_deliver(struct shard *shard)
{
    struct session_list turn = TAILQ_HEAD_INITIALIZER(turn);
    struct session *s;
    TAILQ_CONCAT(&turn, &shard->output, output_node);
    while ((s = TAILQ_FIRST(&turn)) != NULL) {
        TAILQ_REMOVE(&turn, s, output_node);
        s->in_output = false;
        if (session_is_packets(s))
            shard_send_packets(shard, s);
        else
            serve_session(shard, s);
    }
    shard_flush_links(shard);
    return !TAILQ_EMPTY(&shard->output);
}

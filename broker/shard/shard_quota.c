/* Quotas are enforced here: withholds credit from publishers and delivery from readers whose quota
 * is used up, lets them go on later, and tells their clients. A reader's is checked in
 * subscription_next. */
#include "broker/shard/shard_state.h"

static void wake_at(struct shard *shard, leat_ns when)
{
    if (when < shard->quota_deadline)
        shard->quota_deadline = when;
}

/* Has control log it: once an episode, and one notice at a time. */
static void note(struct shard *shard, const struct session *s, struct quota_hold *hold,
                 uint64_t topic_id, bool publishes)
{
    if (!quota_hold_note(hold, shard->now) || shard->held_notice.type != 0)
        return;
    hold->said = true;
    shard->held_notice = (struct message){
        .type = MESSAGE_HELD_BY_QUOTA, .session = s->id, .topic_id = topic_id, .value = publishes
    };
}

void shard_renew_credit(struct shard *shard, struct publish_stream *stream)
{
    struct session *s = stream->session;
    struct quota *topic = &stream->owned->share->publish_quota;
    struct quota *client = s->bucket != NULL ? &s->bucket->publish : NULL;
    stream->held_by_client = client != NULL && !quota_ready(client, shard->now);
    const bool ready = !stream->held_by_client && quota_ready(topic, shard->now);
    if (stream->throttled && ready)
        TAILQ_REMOVE(&shard->throttled_publishers, stream, throttled_node);
    if (!stream->throttled && !ready) {
        TAILQ_INSERT_TAIL(&shard->throttled_publishers, stream, throttled_node);
        metric_add(&shard->counters.throttled, 1);
    }
    stream->throttled = !ready;
    if (!ready) {
        const leat_ns all = quota_ready_at(topic, shard->now);
        const leat_ns mine = client != NULL ? quota_ready_at(client, shard->now) : 0;
        wake_at(shard, all > mine ? all : mine);
        return;
    }
    publish_stream_promise(stream);
    egress_credit(&s->out, stream->number, stream->credit);
}

void shard_first_credit(struct shard *shard, struct publish_stream *stream)
{
    const struct session *s = stream->session;
    struct quota *topic = &stream->owned->share->publish_quota;
    struct quota *client = s->bucket != NULL ? &s->bucket->publish : NULL;
    if (quota_ready(topic, shard->now) && (client == NULL || quota_ready(client, shard->now)))
        publish_stream_promise(stream); /* the reply carries the credit */
    else
        shard_renew_credit(shard, stream);
}

void shard_publisher_waits(struct shard *shard, struct publish_stream *stream)
{
    struct session *s = stream->session;
    if (!stream->limited)
        return; /* its credit is on the way already */
    stream->wants_batch = true;
    shard_renew_credit(shard, stream);
    if (!stream->throttled)
        return;
    egress_blocked(&s->out, stream->number,
                   stream->held_by_client ? LEAT_BLOCKED_BY_CLIENT_QUOTA
                                          : LEAT_BLOCKED_BY_TOPIC_QUOTA);
    if (stream->held_by_client)
        note(shard, s, &s->bucket->publish_hold, 0, true);
    else
        note(shard, s, &stream->owned->share->publish_hold, stream->owned->topic_id, true);
}

/* Every stream gets a little credit at once. A whole batch is granted to one stream after the
 * other, so that the waiting streams do not each overdraw the quota by a batch. */
static void retry_publishers(struct shard *shard)
{
    struct publish_stream *stream, *next;
    for (stream = TAILQ_FIRST(&shard->throttled_publishers); stream != NULL; stream = next) {
        next = TAILQ_NEXT(stream, throttled_node);
        if (egress_room(&stream->session->out) < EGRESS_ANSWER_BYTES) {
            /* Its client does not read: try again in a millisecond. */
            wake_at(shard, shard->now + LEAT_NS_PER_MS);
            continue;
        }
        const bool wanted_batch = stream->wants_batch;
        shard_renew_credit(shard, stream);
        shard_want_output(shard, stream->session);
        if (wanted_batch && !stream->throttled && next != NULL) {
            wake_at(shard, shard->now + LEAT_NS_PER_MS);
            return;
        }
    }
}

void shard_retry_throttled(struct shard *shard)
{
    struct subscription *sub;
    shard->quota_deadline = LEAT_NS_NEVER;
    retry_publishers(shard);
    /* Each is asked for its next action again, and may be throttled again. */
    while ((sub = TAILQ_FIRST(&shard->throttled_subscriptions)) != NULL)
        shard_set_ready(shard, sub);
}

void shard_set_throttled(struct shard *shard, struct subscription *sub,
                         const struct subscription_next *next)
{
    struct session *s = sub->session;
    shard_unlist(shard, sub);
    sub->state = SUBSCRIPTION_THROTTLED;
    TAILQ_INSERT_TAIL(&shard->throttled_subscriptions, sub, state_node);
    wake_at(shard, next->when);
    metric_add(&shard->counters.throttled, 1);
    if (quota_hold_note(&sub->hold, shard->now)) {
        sub->hold.said = true;
        egress_blocked(&s->out, sub->number,
                       next->by_client ? LEAT_BLOCKED_BY_CLIENT_QUOTA
                                       : LEAT_BLOCKED_BY_TOPIC_QUOTA);
    }
    if (next->by_client)
        note(shard, s, &s->bucket->deliver_hold, 0, false);
    else
        note(shard, s, &sub->owned->share->deliver_hold, sub->owned->topic_id, false);
}

/* Messages between control and the shards, with a queue for full mailboxes. */
#include <assert.h>

#include "broker/control/control_topic_registry.h"

enum {
    MAIL_PER_SHARD = 1024, /* messages read per iteration */
};

/* ---- to shards */

static bool queue_empty(const struct control_shard *shard)
{
    return shard->queue_head == shard->queue_tail;
}

void control_post(struct control *control, uint32_t index, const struct message *message)
{
    struct control_shard *shard = &control->shards[index];
    if (queue_empty(shard) && mailbox_send(shard->link.inbox, message) == LEAT_OK)
        return;
    /* Messages that close sessions or answer shards are bounded by the tables; everything else is
     * refused above CONTROL_QUEUE_BUSY. */
    assert(shard->queue_tail - shard->queue_head < CONTROL_QUEUE_SLOTS);
    shard->queue[shard->queue_tail++ % CONTROL_QUEUE_SLOTS] = *message;
}

bool control_flush_mail(struct control *control)
{
    bool left = false;
    for (uint32_t i = 0; i < control->shard_count; i++) {
        struct control_shard *shard = &control->shards[i];
        while (!queue_empty(shard)
               && mailbox_send(shard->link.inbox,
                               &shard->queue[shard->queue_head % CONTROL_QUEUE_SLOTS])
                      == LEAT_OK)
            shard->queue_head++;
        left |= !queue_empty(shard);
    }
    return left;
}

bool control_congested(const struct control *control)
{
    for (uint32_t i = 0; i < control->shard_count; i++)
        if (control->shards[i].queue_tail - control->shards[i].queue_head > CONTROL_QUEUE_BUSY)
            return true;
    return false;
}

/* ---- from shards */

static void take(struct control *control, const struct message *m)
{
    switch ((enum message_type)m->type) {
    case MESSAGE_REPLY: operation_reply(control, m); break;
    case MESSAGE_SESSION_CLOSED: control_session_ended(control, m->session, m->status); break;
    case MESSAGE_RESERVE_OFFSETS: topic_registry_want_offsets(control, m); break;
    case MESSAGE_HELD_BACK: control_held_back(control, m); break;
    case MESSAGE_HELD_BY_QUOTA: control_held_by_quota(control, m); break;
    case MESSAGE_REQUIRED_LOST: control_required_lost(control, m); break;
    case MESSAGE_ADD_PARTITION:
    case MESSAGE_REMOVE_PARTITION:
    case MESSAGE_GRANT_SESSION:
    case MESSAGE_CLOSE_SESSION:
    case MESSAGE_OPEN_PUBLISH:
    case MESSAGE_BIND_PUBLISH:
    case MESSAGE_OPEN_SUBSCRIPTION:
    case MESSAGE_CLOSE_STREAM:
    case MESSAGE_FENCE:
    case MESSAGE_SEEK:
    case MESSAGE_OFFSETS_RESERVED:
    case MESSAGE_REVOKE:
    case MESSAGE_COMMIT:
    case MESSAGE_RESET:
    case MESSAGE_MEASURE:
    case MESSAGE_STOP: break; /* sent only by control */
    }
}

bool control_read_mail(struct control *control)
{
    bool any = false;
    struct message message;
    for (uint32_t i = 0; i < control->shard_count; i++) {
        for (int n = 0; n < MAIL_PER_SHARD; n++) {
            if (!mailbox_receive(control->shards[i].link.outbox, &message))
                break;
            take(control, &message);
            any = true;
        }
    }
    return any;
}

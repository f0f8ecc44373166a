/* Subscription: what one reader gets next from one partition's log, and the GAP it gets when the
 * log no longer has what it should read next. */
#include "broker/shard/subscription.h"

#include <assert.h>
#include <stdlib.h>

#include "schema/frame.h"

#define NEVER_SAID UINT64_MAX

enum leat_error subscription_open(struct subscription **out, struct session *session,
                                  struct owned_partition *owned, struct message_subscribe *opening,
                                  uint64_t *given_up, leat_ns now)
{
    struct memory_account *account = &session->memory_account;
    *given_up = 0;
    struct subscription *sub = memory_account_calloc(account, sizeof *sub);
    if (sub == NULL)
        return LEAT_ERR_NO_MEMORY;
    sub->required_mark = -1;
    if (opening->required) {
        sub->required_mark = partition_required_attach(owned->partition, opening->name_hash,
                                                       opening->position, opening->maker, given_up);
        if (sub->required_mark < 0) {
            opening->refused = (int8_t)sub->required_mark;
            memory_account_give(account, sizeof *sub);
            free(sub);
            return LEAT_ERR_LIMIT;
        }
    }
    sub->session = session;
    sub->owned = owned;
    sub->state = SUBSCRIPTION_PARKED;
    sub->position = opening->position;
    sub->limit = opening->position;
    sub->consumed = opening->position;
    sub->blocked_said = NEVER_SAID;
    sub->entry = opening->entry;
    if (sub->entry != NULL) {
        offsets_hold(sub->entry);
        /* What the reader wanted may have been evicted before it opened, and counts as lost. */
        sub->first_offset = opening->at == PARTITION_OFFSET && opening->start < opening->offset
                                ? opening->start
                                : opening->offset;
        /* So does a loss that its client could not report before, of what the group has not
         * committed. */
        if (opening->at == PARTITION_OFFSET && opening->committed_log_epoch == sub->entry->log_epoch
            && opening->committed < sub->first_offset)
            sub->first_offset = opening->committed;
    }
    quota_init(&sub->quota, owned->share->quota_deliver_bytes, now);
    TAILQ_INSERT_TAIL(&owned->readers, sub, reader_node);
    *out = sub;
    return LEAT_OK;
}

void subscription_take_commits(struct subscription *sub)
{
    assert(sub->entry != NULL && sub->entry->holder == NULL);
    sub->entry->holder = sub;
}

void subscription_close(struct subscription *sub, leat_ns now)
{
    if (sub->required_mark >= 0)
        partition_required_detach(sub->owned->partition, sub->required_mark, now);
    if (sub->entry != NULL) {
        if (sub->entry->holder == sub)
            sub->entry->holder = NULL;
        offsets_release(sub->entry);
    }
    TAILQ_REMOVE(&sub->owned->readers, sub, reader_node);
    memory_account_give(&sub->session->memory_account, sizeof *sub);
    free(sub);
}

/* The GAP for a reader that wants `position`, which is below the head. */
static struct leat_frame_gap gap_at_head(const struct subscription *sub, uint64_t position)
{
    const struct partition *p = sub->owned->partition;
    return (struct leat_frame_gap){
        .position = partition_head(p),
        .offset = partition_head_offset(p),
        .log_epoch = partition_log_epoch(p),
        .reason = partition_overran(p, position) ? LEAT_REASON_OVERRUN : LEAT_REASON_RETENTION,
    };
}

struct subscription_next subscription_next(struct subscription *sub, leat_ns now)
{
    const struct partition *p = sub->owned->partition;
    if (sub->position < partition_head(p))
        return (struct subscription_next){ .action = SUBSCRIPTION_GAP,
                                           .gap = gap_at_head(sub, sub->position) };
    const uint64_t visible = partition_visible(p);
    if (sub->position == visible)
        return (struct subscription_next){ .action = SUBSCRIPTION_CAUGHT_UP };
    if (sub->position >= sub->limit) {
        const bool say = sub->blocked_said != sub->limit;
        sub->blocked_said = sub->limit;
        return (struct subscription_next){ .action = SUBSCRIPTION_NO_CREDIT, .say_blocked = say };
    }
    struct quota *client = sub->session->bucket != NULL ? &sub->session->bucket->deliver : NULL;
    const bool by_client = client != NULL && !quota_ready(client, now);
    if (by_client || !quota_ready(&sub->quota, now)) {
        const leat_ns mine = quota_ready_at(&sub->quota, now);
        const leat_ns all = client != NULL ? quota_ready_at(client, now) : 0;
        return (struct subscription_next){ .action = SUBSCRIPTION_NO_QUOTA,
                                           .by_client = by_client,
                                           .when = mine > all ? mine : all };
    }
    const uint64_t end = visible < sub->limit ? visible : sub->limit;
    const uint64_t size = end - sub->position;
    return (struct subscription_next){
        .action = SUBSCRIPTION_SEND,
        .size = size < LEAT_DATA_BYTES_MAX ? size : LEAT_DATA_BYTES_MAX,
    };
}

void subscription_sent(struct subscription *sub, uint64_t size, leat_ns now)
{
    sub->position += size;
    quota_take(&sub->quota, size, now);
    if (sub->session->bucket != NULL)
        quota_take(&sub->session->bucket->deliver, size, now);
}

void subscription_take_back(struct subscription *sub, uint64_t position)
{
    /* The quotas are not refunded for bytes that a full socket did not take, and are charged for
     * them again. A reader that keeps its socket full is below its quota anyway. */
    sub->position = position;
}

void subscription_skip(struct subscription *sub, const struct leat_frame_gap *gap)
{
    /* After a retransmission the reader may be beyond the gap already. */
    if (sub->position < gap->position)
        sub->position = gap->position;
    sub->gap = *gap;
    sub->gap_said = true;
}

bool subscription_again(const struct subscription *sub, uint64_t *at, uint32_t *size,
                        struct leat_frame_gap *gap)
{
    const uint64_t end = *at + *size;
    gap->reason = 0;
    if (sub->gap_said && *at < sub->gap.position)
        *at = sub->gap.position;
    if (*at >= end || end > sub->position)
        return false;
    *size = (uint32_t)(end - *at);
    if (*at >= partition_head(sub->owned->partition))
        return true;
    *gap = gap_at_head(sub, *at);
    return false;
}

bool subscription_credit(struct subscription *sub, const struct leat_frame_credit *credit)
{
    const uint64_t visible = partition_visible(sub->owned->partition);
    /* A client cannot have consumed what was not sent. */
    const uint64_t consumed = credit->consumed < sub->position ? credit->consumed : sub->position;
    if (consumed > sub->consumed && consumed <= visible) {
        sub->consumed = consumed;
        /* What a group has consumed and not committed is read again by the next member. */
        if (sub->required_mark >= 0 && sub->entry == NULL)
            partition_required_advance(sub->owned->partition, sub->required_mark, consumed);
    }
    if (credit->limit <= sub->limit)
        return false;
    sub->limit = credit->limit;
    return true;
}

/* When overrun is block, producers no longer wait for what is below `offset`. */
static void release_producers(struct partition *p, const struct subscription *sub, uint64_t offset)
{
    struct partition_place place;
    if (sub != NULL && sub->required_mark >= 0
        && partition_seek(p, PARTITION_OFFSET, offset, &place) == LEAT_OK)
        partition_required_advance(p, sub->required_mark, place.position);
}

enum leat_error subscription_commit_to(struct partition *p, struct offsets_entry *entry,
                                       uint64_t log_epoch, uint64_t offset, uint64_t wall_ns)
{
    const uint64_t stands = offsets_committed(entry);
    if (log_epoch != entry->log_epoch)
        return LEAT_ERR_LOG_EPOCH;
    if (offset > partition_next_offset(p))
        return LEAT_ERR_OUT_OF_RANGE;
    if (stands == LEAT_OFFSET_NONE || offset > stands) {
        if (offset < partition_head_offset(p))
            return LEAT_ERR_OUT_OF_RANGE;
        offsets_commit(entry, offset, wall_ns);
    }
    release_producers(p, entry->holder, offset);
    return LEAT_OK;
}

/* In packets, an older COMMIT may arrive after a newer one. */
__attribute__((noinline, cold)) static void count_lost(struct subscription *sub, uint64_t at_least,
                                                       uint64_t at_most)
{
    const uint64_t most = at_most > sub->lost_at_most ? at_most - sub->lost_at_most : 0;
    const uint64_t least = at_least > sub->lost_at_least ? at_least - sub->lost_at_least : 0;
    offsets_lose(sub->entry, least, most);
    sub->lost_at_most += most;
    sub->lost_at_least += least;
}

enum leat_error subscription_commit(struct subscription *sub,
                                    const struct leat_frame_commit *commit, uint64_t wall_ns)
{
    struct partition *p = sub->owned->partition;
    if (sub->entry == NULL)
        return LEAT_ERR_UNKNOWN_STREAM;
    const uint64_t head = partition_head_offset(p);
    const uint64_t most = commit->lost_at_most, least = commit->lost_at_least;
    if (most > sub->lost_at_most && (head < sub->first_offset || most > head - sub->first_offset))
        return LEAT_ERR_INVALID;
    const enum leat_error error =
        subscription_commit_to(p, sub->entry, commit->log_epoch, commit->offset, wall_ns);
    if (error == LEAT_ERR_LOG_EPOCH)
        return error;
    if (most > sub->lost_at_most || least > sub->lost_at_least)
        count_lost(sub, least, most);
    return error;
}

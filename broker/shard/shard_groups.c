/* The shard's part of consumer groups: where readers begin, revoking, commits, resets,
 * measuring. */
#include "broker/shard/shard_state.h"
#include "schema/loss.h"

/* ---- where readers begin */

enum leat_error shard_find_start(const struct shard *shard, struct partition *p,
                                 struct message_subscribe *want)
{
    struct partition_place place;
    enum partition_seek_at at = (enum partition_seek_at)want->at;
    /* The offset is of another life of this log: all of this one comes after it. */
    if (at == PARTITION_OFFSET && want->log_epoch != 0 && want->log_epoch != partition_log_epoch(p))
        at = PARTITION_EARLIEST;
    if (at == PARTITION_TIME)
        partition_see_clock(p, shard->now, shard->wall_ns);
    const enum leat_error error = partition_seek(p, at, want->start, &place);
    want->head_offset = partition_head_offset(p);
    want->next_offset = partition_next_offset(p);
    if (error != LEAT_OK)
        return error;
    want->position = place.position;
    want->offset = place.offset;
    return LEAT_OK;
}

/* The group's committed offset, for the reply: in this life of the log, or in an earlier one. */
static void set_committed(const struct offsets_entry *entry, struct message_subscribe *want)
{
    const uint64_t stands = offsets_committed(entry);
    const bool here = stands != LEAT_OFFSET_NONE;
    want->committed = here ? stands : entry->before_offset;
    want->committed_log_epoch = here ? entry->log_epoch : entry->before_log_epoch;
}

/* The group's offset in an earlier life of the log is as old as the last snapshot. A member that
 * read there may know a later one, and up to where there was anything to lose. What it knows of any
 * other log does not count. */
static void ask_member(const struct partition *p, struct message_subscribe *want)
{
    const bool before = offsets_committed(want->entry) == LEAT_OFFSET_NONE;
    if (!before || want->committed_log_epoch == 0 || want->log_epoch != want->committed_log_epoch) {
        want->seen = 0;
        return;
    }
    if (want->processed > want->committed && want->processed <= partition_head_offset(p))
        want->committed = want->processed;
}

/* Nothing is committed, and the member knows an earlier life of the log: its own offset there is
 * all that is known of the group's. If it had no offset there, it knows only that there was
 * something to lose. */
__attribute__((noinline, cold)) static void use_member_offset(const struct partition *p,
                                                              struct message_subscribe *want)
{
    if (want->committed_log_epoch != 0 || !want->same_topic || want->log_epoch == 0
        || want->log_epoch == partition_log_epoch(p))
        return;
    want->lost_unknown =
        want->otherwise != PARTITION_OFFSET || want->start > partition_head_offset(p);
    if (want->lost_unknown)
        return;
    want->committed = want->start;
    want->committed_log_epoch = want->log_epoch;
}

enum leat_error shard_find_group_start(const struct shard *shard, struct partition *p,
                                       struct message_subscribe *want)
{
    const struct offsets_entry *entry = want->entry;
    const bool at_committed = want->at == MESSAGE_AT_COMMITTED;
    const bool stands = offsets_committed(entry) != LEAT_OFFSET_NONE;
    set_committed(entry, want);
    if (at_committed) {
        use_member_offset(p, want);
        ask_member(p, want);
    }
    struct message_subscribe found = *want;
    if (at_committed && want->committed_log_epoch == 0) {
        /* A member that knows another life of the log reads all of this one. */
        const bool here = want->log_epoch == 0 || want->log_epoch == partition_log_epoch(p);
        found.at = here ? want->otherwise : PARTITION_EARLIEST;
    } else if (at_committed) {
        /* All of a later life comes after an offset of an earlier one. */
        found.at = stands ? PARTITION_OFFSET : PARTITION_EARLIEST;
        found.start = want->committed;
        found.log_epoch = 0; /* the group's offset, not one that the member knows of another log */
    }
    const enum leat_error error = shard_find_start(shard, p, &found);
    found.at = want->at;
    *want = found;
    want->lost_at_least =
        leat_lost_at_least(want->committed, want->offset, want->seen, partition_certain_offset(p));
    return error;
}

void shard_begin_group(const struct shard *shard, const struct message_subscribe *found)
{
    struct offsets_entry *entry = found->entry;
    if (found->at == MESSAGE_AT_COMMITTED && found->committed_log_epoch != 0
        && found->committed < found->offset)
        offsets_lose(entry, found->lost_at_least, found->offset - found->committed);
    else if (found->at == MESSAGE_AT_COMMITTED && found->lost_unknown)
        offsets_lose(entry, 0, found->offset); /* at most every offset that was ever assigned */
    else if (offsets_committed(entry) != LEAT_OFFSET_NONE)
        return;
    offsets_commit(entry, found->offset, shard->wall_ns);
}

/* ---- requests from control */

void shard_revoke(struct shard *shard, struct offsets_entry *entry)
{
    struct subscription *sub = entry->holder;
    if (sub == NULL)
        return;
    struct session *s = sub->session;
    const struct leat_frame_gap over = { .position = sub->position,
                                         .offset = offsets_committed(entry),
                                         .log_epoch = entry->log_epoch,
                                         .reason = LEAT_REASON_REVOKED };
    /* A client that does not read leaves no room for the GAP; its heartbeats will tell it. */
    if (session_is_attached(s) && egress_room(&s->out) >= EGRESS_ANSWER_BYTES) {
        egress_gap(&s->out, sub->number, &over);
        shard_want_output(shard, s);
    }
    metric_add(&shard->counters.revoked, 1);
    shard_close_stream(shard, s, sub->number);
}

static enum leat_error reset(struct shard *shard, struct partition *p,
                             struct message_subscribe *want)
{
    set_committed(want->entry, want);
    const enum leat_error error = shard_find_start(shard, p, want);
    if (error == LEAT_OK && !want->dry_run)
        offsets_commit(want->entry, want->offset, shard->wall_ns);
    return error;
}

/* How many ms `bytes` last at the average rate of what the log holds; 0: unknown. */
static uint64_t time_for(const struct shard *shard, const struct partition *p, uint64_t bytes)
{
    const uint64_t head = partition_head(p), held = partition_visible(p) - head;
    if (held == 0)
        return 0;
    const uint64_t ms = partition_age(p, head, shard->now) / LEAT_NS_PER_MS;
    const unsigned __int128 time = (unsigned __int128)bytes * ms / held;
    return time > UINT64_MAX ? UINT64_MAX : (uint64_t)time;
}

static enum leat_error measure(const struct shard *shard, const struct partition *p,
                               struct message_measure *m)
{
    struct partition_place place;
    m->head_offset = partition_head_offset(p);
    m->next_offset = partition_next_offset(p);
    if (m->entry == NULL)
        return LEAT_OK;
    const uint64_t stands = offsets_committed(m->entry);
    const bool here = stands != LEAT_OFFSET_NONE;
    if (!here && m->entry->before_log_epoch == 0)
        return LEAT_OK;
    /* All of this life of the log comes after an offset of an earlier one. */
    const enum leat_error error =
        partition_seek(p, here ? PARTITION_OFFSET : PARTITION_EARLIEST, stands, &place);
    if (error != LEAT_OK)
        return error;
    const struct subscription *sub = m->entry->holder;
    m->open = sub != NULL;
    m->required = sub != NULL && sub->required_mark >= 0;
    m->lag_bytes = partition_visible(p) - place.position;
    m->overrun_bytes = partition_room_above(p, place.position);
    m->overrun_ms = time_for(shard, p, m->overrun_bytes);
    if (m->lag_bytes == 0)
        return LEAT_OK;
    m->lag_ms = partition_age(p, place.position, shard->now) / LEAT_NS_PER_MS;
    return LEAT_OK;
}

enum leat_error shard_handle_group_mail(struct shard *shard, const struct owned_partition *owned,
                                        struct message *m)
{
    if (m->type == MESSAGE_REVOKE) { /* also when the partition is being removed */
        shard_revoke(shard, m->commit.entry);
        m->value = offsets_committed(m->commit.entry);
        return LEAT_OK;
    }
    if (owned == NULL)
        return LEAT_ERR_UNKNOWN_PARTITION;
    switch ((enum message_type)m->type) {
    case MESSAGE_COMMIT:
        m->commit.before = offsets_committed(m->commit.entry);
        return subscription_commit_to(owned->partition, m->commit.entry, m->commit.log_epoch,
                                      m->commit.offset, shard->wall_ns);
    case MESSAGE_RESET: return reset(shard, owned->partition, &m->subscribe);
    default: return measure(shard, owned->partition, &m->measure);
    }
}

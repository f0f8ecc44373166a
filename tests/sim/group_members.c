/* Group members: a group of consumers beside the ordinary readers, on the topic all runs have. */
#include "tests/sim/group_members.h"

#include <string.h>

#include "tests/sim/broker.h"

enum { CHANGES_ONE_IN = 1000, RECORDS = 32 };
#define SESSION_NS (100 * LEAT_NS_PER_MS)

static void broken(const struct group_members *group_members, const char *what, uint64_t a,
                   uint64_t b)
{
    group_members->broken(group_members->user, what, a, b);
}

static struct sim_group_log *log_of(struct group_members *group_members, unsigned partition,
                                    uint64_t log_epoch)
{
    struct sim_group_log *log = &group_members->logs[partition];
    uint64_t newest;
    group_members->head(group_members->user, partition, &newest);
    if (log->log_epoch != newest)
        *log = (struct sim_group_log){ .log_epoch = newest };
    return log_epoch == newest ? log : NULL; /* an earlier life is nobody's business any more */
}

static void mark(struct group_members *group_members, struct sim_group_log *log, uint64_t first,
                 uint64_t next)
{
    if (next > GROUP_MEMBERS_OFFSETS_MAX)
        broken(group_members, "an offset beyond all records: group", first, next);
    memset(log->done + first, 1, next - first);
}

static void committed(struct group_members *group_members, unsigned partition,
                      struct sim_group_log *log, uint64_t offset)
{
    if (offset <= log->committed)
        return;
    if (offset > GROUP_MEMBERS_OFFSETS_MAX || memchr(log->done, 0, offset) != NULL)
        broken(group_members, "committed, and not processed: partition, offset", partition, offset);
    log->committed = offset;
}

/* ---- events */

static void assigned(struct group_members *group_members, struct sim_member *m,
                     const struct leat_event *event, uint64_t log_epoch)
{
    const unsigned partition = (unsigned)event->partition;
    struct sim_place *place = &m->places[partition];
    struct sim_group_log *log = log_of(group_members, partition, log_epoch);
    uint64_t newest;
    if (place->held && place->log_epoch == log_epoch)
        broken(group_members, "assigned what it has: partition", partition, event->first_offset);
    *place = (struct sim_place){
        .held = true, .fresh = true, .log_epoch = log_epoch, .next = event->first_offset
    };
    group_members->handovers++;
    if (log == NULL)
        return;
    /* Before the first commit the group begins at the oldest that is kept. */
    if (event->first_offset <= group_members->head(group_members->user, partition, &newest))
        mark(group_members, log, 0, event->first_offset);
    committed(group_members, partition, log, event->first_offset);
}

static struct sim_member *member_of(struct group_members *group_members, unsigned client,
                                    const struct leat_event *event)
{
    for (unsigned i = 0; i < GROUP_MEMBERS_EACH; i++) {
        struct sim_member *m = &group_members->members[client][i];
        if (event->consumer != NULL && m->consumer == event->consumer)
            return m;
    }
    return NULL;
}

static void gap(struct group_members *group_members, struct sim_member *m,
                const struct leat_event *event)
{
    struct sim_place *place = &m->places[event->partition];
    struct sim_group_log *log = log_of(group_members, (unsigned)event->partition, event->log_epoch);
    if (!place->held)
        return;
    /* What a reset tells of was in another log. */
    const bool same = event->type == LEAT_EVENT_GAP && place->log_epoch == event->log_epoch;
    place->log_epoch = event->log_epoch;
    /* Its first one begins before first_offset, when what stood committed was overrun; unread, it
     * grows when more is. */
    const bool opening =
        place->fresh && event->first_offset <= place->next && event->next_offset >= place->next;
    if (same && event->first_offset != place->next && !opening)
        broken(group_members, "a member's gap is elsewhere: first, expected", event->first_offset,
               place->next);
    place->next = event->next_offset;
    if (log != NULL)
        mark(group_members, log, same ? event->first_offset : 0, event->next_offset);
}

bool group_members_event(struct group_members *group_members, unsigned client,
                         const struct leat_event *event)
{
    struct sim_member *m = member_of(group_members, client, event);
    if (m == NULL)
        m = group_members->opening;
    if (m == NULL)
        return false;
    switch (event->type) {
    case LEAT_EVENT_ASSIGNED: assigned(group_members, m, event, event->log_epoch); break;
    case LEAT_EVENT_REVOKED: m->places[event->partition].held = false; break;
    case LEAT_EVENT_MEMBER_LOST:
        memset(m->places, 0, sizeof m->places);
        group_members->lost++;
        break;
    case LEAT_EVENT_MEMBER_FENCED:
        broken(group_members, "a member was fenced: client", client, 0);
        break;
    case LEAT_EVENT_GAP:
    case LEAT_EVENT_LOG_RESET: gap(group_members, m, event); break;
    default: break;
    }
    return true;
}

/* ---- turns */

/* Once another was handed records of a partition, this one must have been assigned it anew: a
 * member that has had its turns knows when it is out, before the broker says so to others. */
static void check_owner(struct group_members *group_members, const struct sim_member *m,
                        unsigned partition, struct sim_group_log *log)
{
    const leat_ns silent = group_members->now(group_members->user) - m->seen;
    if (log->owner != m && !m->places[partition].fresh && silent < SESSION_NS / 2)
        broken(group_members,
               "handed out to one who is not the owner: partition, was silent for ns", partition,
               silent);
    log->owner = m;
}

static void process(struct group_members *group_members, struct sim_member *m,
                    struct seeded *random)
{
    struct leat_record records[RECORDS];
    const int n = leat_consumer_poll(m->consumer, records, 1 + seeded_below(random, RECORDS));
    for (int i = 0; i < n; i++) {
        const struct leat_record *r = &records[i];
        struct sim_place *place = &m->places[r->partition];
        struct sim_group_log *log = log_of(group_members, (unsigned)r->partition, r->log_epoch);
        if (!place->held)
            broken(group_members, "handed out, and not the member's: partition, offset",
                   (uint64_t)r->partition, r->offset);
        if (place->log_epoch == r->log_epoch && r->offset != place->next)
            broken(group_members, "a member's record out of turn: offset, expected", r->offset,
                   place->next);
        place->log_epoch = r->log_epoch;
        place->next = r->offset + 1;
        if (log == NULL)
            continue;
        check_owner(group_members, m, (unsigned)r->partition, log);
        /* Not when it was assigned: that may be read late, by one who is out again. */
        if (place->fresh && r->offset < log->committed)
            broken(group_members, "an owner begins below what stands committed", r->offset,
                   log->committed);
        place->fresh = false;
        group_members->processed++;
        group_members->again += log->done[r->offset];
        mark(group_members, log, r->offset, r->offset + 1);
    }
    for (unsigned p = 0; p < GROUP_MEMBERS_PARTITIONS; p++) {
        const struct sim_place *place = &m->places[p];
        struct sim_group_log *log = log_of(group_members, p, place->log_epoch);
        uint64_t offset;
        if (place->held && log != NULL
            && leat_consumer_committed(m->consumer, SIM_TOPIC, p, &offset) == LEAT_OK
            && offset != LEAT_NO_OFFSET)
            committed(group_members, p, log, offset);
    }
}

static void join(struct group_members *group_members, struct sim_member *m, leat_client *of,
                 struct seeded *random)
{
    const struct leat_consumer_options options = {
        .size = sizeof options,
        .start_at = LEAT_START_EARLIEST,
        .window_bytes = 32768,
        .group = "members",
        .session_timeout_ns = SESSION_NS,
        .commit = seeded_below(random, 2) == 0 ? LEAT_COMMIT_PROCESSED : LEAT_COMMIT_INTERVAL,
        .commit_interval_ns = 10 * LEAT_NS_PER_MS,
    };
    const char *topic = SIM_TOPIC;
    memset(m, 0, sizeof *m);
    group_members->opening = m;
    if (leat_consumer_open(of, &m->consumer, &topic, 1, &options) != LEAT_OK)
        memset(m, 0, sizeof *m); /* while the wire is cut */
    m->seen = group_members->now(group_members->user);
    group_members->opening = NULL;
}

void group_members_step(struct group_members *group_members, unsigned client, leat_client *of,
                        struct seeded *random)
{
    for (unsigned i = 0; i < GROUP_MEMBERS_EACH; i++) {
        struct sim_member *m = &group_members->members[client][i];
        const bool changes = seeded_below(random, CHANGES_ONE_IN) == 0;
        if (m->consumer == NULL) {
            if (changes || i == 0)
                join(group_members, m, of, random);
        } else if (changes) {
            /* While it waits for the last answers others may have its partitions already. */
            memset(m->places, 0, sizeof m->places);
            leat_consumer_close(m->consumer);
            memset(m, 0, sizeof *m);
        } else {
            process(group_members, m, random);
            m->seen = group_members->now(group_members->user);
        }
    }
}

void group_members_died(struct group_members *group_members, unsigned client)
{
    memset(group_members->members[client], 0, sizeof group_members->members[client]);
}

bool group_members_settled(const struct group_members *group_members, unsigned partition,
                           uint64_t log_epoch, uint64_t next)
{
    const struct sim_group_log *log = &group_members->logs[partition];
    return next == 0
           || (log->log_epoch == log_epoch && next <= GROUP_MEMBERS_OFFSETS_MAX
               && memchr(log->done, 0, next) == NULL);
}

#include "tests/sim/group_members.h"

#include <string.h>

#include "tests/sim/broker.h"

enum { CHANGES_ONE_IN = 1000, RECORDS = 32 };
#define SESSION_NS (100 * LEAT_NS_PER_MS)

static void broken(const struct crew *crew, const char *what, uint64_t a, uint64_t b)
{
    crew->broken(crew->user, what, a, b);
}

static struct crew_log *log_of(struct crew *crew, unsigned partition, uint64_t log_epoch)
{
    struct crew_log *log = &crew->logs[partition];
    uint64_t newest;
    crew->head(crew->user, partition, &newest);
    if (log->log_epoch != newest)
        *log = (struct crew_log){ .log_epoch = newest };
    return log_epoch == newest ? log : NULL; /* an earlier life is nobody's business any more */
}

static void mark(struct crew *crew, struct crew_log *log, uint64_t first, uint64_t next)
{
    if (next > CREW_OFFSETS_MAX)
        broken(crew, "an offset beyond all records: crew", first, next);
    memset(log->done + first, 1, next - first);
}

static void committed(struct crew *crew, unsigned partition, struct crew_log *log, uint64_t offset)
{
    if (offset <= log->committed)
        return;
    if (offset > CREW_OFFSETS_MAX || memchr(log->done, 0, offset) != NULL)
        broken(crew, "committed, and not processed: partition, offset", partition, offset);
    log->committed = offset;
}

/* ---- events */

static void assigned(struct crew *crew, struct crew_member *m, const struct leat_event *event,
                     uint64_t log_epoch)
{
    const unsigned partition = (unsigned)event->partition;
    struct crew_place *place = &m->places[partition];
    struct crew_log *log = log_of(crew, partition, log_epoch);
    uint64_t newest;
    if (place->held && place->log_epoch == log_epoch)
        broken(crew, "assigned what it has: partition", partition, event->first_offset);
    *place = (struct crew_place){
        .held = true, .fresh = true, .log_epoch = log_epoch, .next = event->first_offset
    };
    crew->handovers++;
    if (log == NULL)
        return;
    /* Before the first commit the group begins at the oldest that is kept. */
    if (event->first_offset <= crew->head(crew->user, partition, &newest))
        mark(crew, log, 0, event->first_offset);
    committed(crew, partition, log, event->first_offset);
}

static struct crew_member *member_of(struct crew *crew, unsigned client,
                                     const struct leat_event *event)
{
    for (unsigned i = 0; i < CREW_EACH; i++) {
        struct crew_member *m = &crew->members[client][i];
        if (event->consumer != NULL && m->consumer == event->consumer)
            return m;
    }
    return NULL;
}

static void gap(struct crew *crew, struct crew_member *m, const struct leat_event *event)
{
    struct crew_place *place = &m->places[event->partition];
    struct crew_log *log = log_of(crew, (unsigned)event->partition, event->log_epoch);
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
        broken(crew, "a member's gap is elsewhere: first, expected", event->first_offset,
               place->next);
    place->next = event->next_offset;
    if (log != NULL)
        mark(crew, log, same ? event->first_offset : 0, event->next_offset);
}

bool crew_event(struct crew *crew, unsigned client, const struct leat_event *event)
{
    struct crew_member *m = member_of(crew, client, event);
    if (m == NULL)
        m = crew->opening;
    if (m == NULL)
        return false;
    switch (event->type) {
    case LEAT_EVENT_ASSIGNED: assigned(crew, m, event, event->log_epoch); break;
    case LEAT_EVENT_REVOKED: m->places[event->partition].held = false; break;
    case LEAT_EVENT_MEMBER_LOST:
        memset(m->places, 0, sizeof m->places);
        crew->lost++;
        break;
    case LEAT_EVENT_MEMBER_FENCED: broken(crew, "a member was fenced: client", client, 0); break;
    case LEAT_EVENT_GAP:
    case LEAT_EVENT_LOG_RESET: gap(crew, m, event); break;
    default: break;
    }
    return true;
}

/* ---- turns */

/* Once another was handed records of a partition, this one must have been assigned it anew: a
 * member that has had its turns knows when it is out, before the broker says so to others. */
static void check_owner(struct crew *crew, const struct crew_member *m, unsigned partition,
                        struct crew_log *log)
{
    const leat_ns silent = crew->now(crew->user) - m->seen;
    if (log->owner != m && !m->places[partition].fresh && silent < SESSION_NS / 2)
        broken(crew, "handed out to one who is not the owner: partition, was silent for ns",
               partition, silent);
    log->owner = m;
}

static void process(struct crew *crew, struct crew_member *m, struct seeded *random)
{
    struct leat_record records[RECORDS];
    const int n = leat_consumer_poll(m->consumer, records, 1 + seeded_below(random, RECORDS));
    for (int i = 0; i < n; i++) {
        const struct leat_record *r = &records[i];
        struct crew_place *place = &m->places[r->partition];
        struct crew_log *log = log_of(crew, (unsigned)r->partition, r->log_epoch);
        if (!place->held)
            broken(crew, "handed out, and not the member's: partition, offset",
                   (uint64_t)r->partition, r->offset);
        if (place->log_epoch == r->log_epoch && r->offset != place->next)
            broken(crew, "a member's record out of turn: offset, expected", r->offset, place->next);
        place->log_epoch = r->log_epoch;
        place->next = r->offset + 1;
        if (log == NULL)
            continue;
        check_owner(crew, m, (unsigned)r->partition, log);
        /* Not when it was assigned: that may be read late, by one who is out again. */
        if (place->fresh && r->offset < log->committed)
            broken(crew, "an owner begins below what stands committed", r->offset, log->committed);
        place->fresh = false;
        crew->processed++;
        crew->again += log->done[r->offset];
        mark(crew, log, r->offset, r->offset + 1);
    }
    for (unsigned p = 0; p < CREW_PARTITIONS; p++) {
        const struct crew_place *place = &m->places[p];
        struct crew_log *log = log_of(crew, p, place->log_epoch);
        uint64_t offset;
        if (place->held && log != NULL
            && leat_consumer_committed(m->consumer, SIM_TOPIC, p, &offset) == LEAT_OK
            && offset != LEAT_NO_OFFSET)
            committed(crew, p, log, offset);
    }
}

static void join(struct crew *crew, struct crew_member *m, leat_client *of, struct seeded *random)
{
    const struct leat_consumer_options options = {
        .size = sizeof options,
        .start_at = LEAT_START_EARLIEST,
        .window_bytes = 32768,
        .group = "crew",
        .session_timeout_ns = SESSION_NS,
        .commit = seeded_below(random, 2) == 0 ? LEAT_COMMIT_PROCESSED : LEAT_COMMIT_INTERVAL,
        .commit_interval_ns = 10 * LEAT_NS_PER_MS,
    };
    const char *topic = SIM_TOPIC;
    memset(m, 0, sizeof *m);
    crew->opening = m;
    if (leat_consumer_open(of, &m->consumer, &topic, 1, &options) != LEAT_OK)
        memset(m, 0, sizeof *m); /* while the wire is cut */
    m->seen = crew->now(crew->user);
    crew->opening = NULL;
}

void crew_step(struct crew *crew, unsigned client, leat_client *of, struct seeded *random)
{
    for (unsigned i = 0; i < CREW_EACH; i++) {
        struct crew_member *m = &crew->members[client][i];
        const bool changes = seeded_below(random, CHANGES_ONE_IN) == 0;
        if (m->consumer == NULL) {
            if (changes || i == 0)
                join(crew, m, of, random);
        } else if (changes) {
            /* While it waits for the last answers others may have its partitions already. */
            memset(m->places, 0, sizeof m->places);
            leat_consumer_close(m->consumer);
            memset(m, 0, sizeof *m);
        } else {
            process(crew, m, random);
            m->seen = crew->now(crew->user);
        }
    }
}

void crew_died(struct crew *crew, unsigned client)
{
    memset(crew->members[client], 0, sizeof crew->members[client]);
}

bool crew_settled(const struct crew *crew, unsigned partition, uint64_t log_epoch, uint64_t next)
{
    const struct crew_log *log = &crew->logs[partition];
    return next == 0
           || (log->log_epoch == log_epoch && next <= CREW_OFFSETS_MAX
               && memchr(log->done, 0, next) == NULL);
}

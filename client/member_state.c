/* The state of a group member: what it has to send to the broker, and which partitions it may
 * open. */
#include "client/member_state.h"

#include <string.h>

#define RETRY_MIN_NS (100 * LEAT_NS_PER_MS)
/* Pause before asking why a shard refuses a stream that control assigned to us: their messages may
 * have crossed. */
#define DOUBT_NS (20 * LEAT_NS_PER_MS)

static bool silent_too_long(const struct member_state *m, leat_ns now)
{
    return now - m->answered > m->session_ns;
}

static bool may_beat(const struct member_state *m)
{
    return m->under_way == 0 || (m->changed && m->under_way < MEMBER_STATE_UNDER_WAY_MAX);
}

bool member_state_is_in(const struct member_state *m, leat_ns now)
{
    return m->confirmed && !silent_too_long(m, now);
}

static struct member_state_asked ask(struct member_state *m, enum member_state_request what,
                                     leat_ns now)
{
    const bool at_once = m->doubtful || !m->confirmed;
    m->under_way++;
    m->changed = m->doubtful = false;
    return (struct member_state_asked){
        .what = what, .life = m->life, .wait_ms = at_once ? 0 : m->heartbeat_ms, .sent = now
    };
}

struct member_state_asked member_state_next(struct member_state *m, leat_ns now)
{
    if (m->step == MEMBER_STATE_IN && m->confirmed && silent_too_long(m, now)) {
        m->confirmed =
            false; /* the broker may have removed us: until it confirms, no partition is ours */
        m->changed = true;
    }
    if (m->retry_at > now)
        return (struct member_state_asked){ .what = MEMBER_STATE_NOTHING };
    if (m->step == MEMBER_STATE_OUT) {
        m->step = MEMBER_STATE_JOINING;
        return ask(m, MEMBER_STATE_JOIN, now);
    }
    if (m->step == MEMBER_STATE_IN && may_beat(m))
        return ask(m, MEMBER_STATE_HEARTBEAT, now);
    return (struct member_state_asked){ .what = MEMBER_STATE_NOTHING };
}

leat_ns member_state_deadline(const struct member_state *m)
{
    const bool waits = m->step == MEMBER_STATE_OUT || (m->step == MEMBER_STATE_IN && may_beat(m));
    leat_ns next = waits ? m->retry_at : LEAT_NS_NEVER;
    if (m->step == MEMBER_STATE_IN && m->confirmed && m->answered + m->session_ns + 1 < next)
        next = m->answered + m->session_ns + 1;
    return next;
}

/* ---- answers */

static struct member_state_topic *find(struct member_state *m, const char *name)
{
    for (uint32_t i = 0; i < m->topic_count; i++)
        if (strcmp(m->topics[i].name, name) == 0)
            return &m->topics[i];
    return NULL;
}

static void take_places(struct member_state_topic *topic)
{
    for (uint32_t i = 0; i < topic->partitions; i++) {
        uint8_t *place = &topic->places[i];
        if ((*place & PLACE_ASSIGNED) == 0 && (*place & PLACE_HELD) != 0)
            *place |= PLACE_LEAVING;
        else if ((*place & PLACE_ASSIGNED) != 0)
            *place |=
                PLACE_HELD; /* a leaving partition is released first and opened again afterwards */
    }
}

static void take(struct member_state *m, const Leat__Control__GroupAssignment *assignment)
{
    for (uint32_t t = 0; t < m->topic_count; t++)
        for (uint32_t i = 0; i < m->topics[t].partitions; i++)
            m->topics[t].places[i] &= (uint8_t)~PLACE_ASSIGNED;
    for (size_t t = 0; t < assignment->n_assigned; t++) {
        const Leat__Control__TopicPartitions *told = assignment->assigned[t];
        struct member_state_topic *topic = find(m, told->topic);
        if (topic != NULL && topic->id != told->topic_id)
            topic->stale = true;
        for (size_t i = 0; topic != NULL && i < told->n_partitions; i++)
            if (told->partitions[i] < topic->partitions)
                topic->places[told->partitions[i]] |= PLACE_ASSIGNED;
    }
    for (uint32_t t = 0; t < m->topic_count; t++)
        take_places(&m->topics[t]);
    m->epoch = assignment->member_epoch;
    m->heartbeat_ms = assignment->heartbeat_ms;
    m->session_ns = assignment->session_timeout_ms * LEAT_NS_PER_MS;
}

static void begin_life(struct member_state *m)
{
    m->life++;
    m->under_way = 0;
    m->changed = false;
    m->confirmed = false;
}

static void clear(struct member_state *m, enum member_state_step step)
{
    begin_life(m);
    m->step = step;
    for (uint32_t t = 0; t < m->topic_count; t++)
        if (m->topics[t].partitions > 0)
            memset(m->topics[t].places, 0, m->topics[t].partitions);
}

static enum member_state_news taken(struct member_state *m, const struct member_state_asked *asked,
                                    const Leat__Control__GroupAssignment *assignment, leat_ns now)
{
    /* Answers may arrive out of order: the newer epoch wins. An answer of the same epoch says the
     * same, but more of it can be used if a topic was described since. */
    if (asked->what == MEMBER_STATE_JOIN || assignment->member_epoch >= m->epoch)
        take(m, assignment);
    m->step = MEMBER_STATE_IN;
    if (asked->sent > m->answered)
        m->answered = asked->sent;
    m->confirmed = !silent_too_long(m, now);
    return MEMBER_STATE_CONFIRMED;
}

enum member_state_news member_state_answered(struct member_state *m,
                                             const struct member_state_asked *asked,
                                             const struct member_state_answer *answer, leat_ns now)
{
    if (asked->life != m->life || m->step == MEMBER_STATE_OVER)
        return MEMBER_STATE_NO_NEWS;
    m->under_way--;
    if (answer->error == LEAT_OK)
        return taken(m, asked, answer->assignment, now);
    if (asked->what == MEMBER_STATE_HEARTBEAT && answer->error == LEAT_ERR_UNKNOWN_MEMBER) {
        clear(m, MEMBER_STATE_OUT);
        m->retry_at = now;
        return MEMBER_STATE_LOST;
    }
    if (answer->error == LEAT_ERR_FENCED) {
        clear(m, MEMBER_STATE_OVER);
        return MEMBER_STATE_FENCED;
    }
    const bool later = answer->retry_after_ms > 0 || answer->error == LEAT_BUSY
                       || answer->error == LEAT_ERR_THROTTLED || answer->error == LEAT_ERR_LIMIT
                       || answer->error == LEAT_ERR_NO_MEMORY;
    if (!later) {
        clear(m, MEMBER_STATE_OVER);
        return MEMBER_STATE_REFUSED;
    }
    const leat_ns pause = answer->retry_after_ms * LEAT_NS_PER_MS;
    m->retry_at = now + (pause > RETRY_MIN_NS ? pause : RETRY_MIN_NS);
    if (asked->what == MEMBER_STATE_JOIN)
        m->step = MEMBER_STATE_OUT;
    return MEMBER_STATE_NO_NEWS;
}

/* ---- the rest */

void member_state_disconnected(struct member_state *m)
{
    begin_life(m);
    m->retry_at = 0;
    if (m->step == MEMBER_STATE_JOINING)
        m->step =
            MEMBER_STATE_OUT; /* joins with the same id, which is harmless if it was a member */
}

void member_state_doubt(struct member_state *m, leat_ns now)
{
    m->doubtful = m->changed = true;
    m->retry_at = now + DOUBT_NS;
}

void member_state_let_go(struct member_state *m, uint32_t topic, uint32_t partition)
{
    uint8_t *place = &m->topics[topic].places[partition];
    *place = (*place & PLACE_ASSIGNED) != 0 ? PLACE_ASSIGNED | PLACE_HELD : 0;
    m->doubtful = m->doubtful || *place != 0; /* assigned again: opened once that is confirmed */
    m->changed = true;
}

void member_state_rejoin(struct member_state *m, leat_ns now)
{
    clear(m, MEMBER_STATE_OUT);
    m->retry_at = now + RETRY_MIN_NS;
}

void member_state_end(struct member_state *m)
{
    begin_life(m);
    m->step = MEMBER_STATE_OVER;
}

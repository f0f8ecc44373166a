/* Liveness: ends sessions whose client is silent, or does not take what it is sent. */
#include "broker/shard/shard_state.h"
#include "ops/log.h"

/* A client may vanish without a sign from the network. Its session ends here: nothing was received
 * for a keepalive, or nothing of what it is owed was sent. Both lists are in the order of time, so
 * only sessions that are due are checked. */

enum {
    CHECKS_PER_KEEPALIVE = 2, /* checks of a full socket */
};

static leat_ns check_interval_ns(const struct shard *shard)
{
    return shard->options.keepalive_ns / CHECKS_PER_KEEPALIVE;
}

/* ---- silent */

void shard_heard_anew(struct shard *shard, struct session *s)
{
    s->heard_ns = shard->now;
    TAILQ_REMOVE(&shard->attached, s, lifetime_node);
    TAILQ_INSERT_TAIL(&shard->attached, s, lifetime_node);
}

/* Logged once a second at most: a middlebox that restarts forgets many connections at once. */
static void end_dead(struct shard *shard, struct session *s, metric *counter, const char *what)
{
    metric_add(counter, 1);
    if (shard->silence_said == 0 || shard->now - shard->silence_said >= LEAT_NS_PER_S) {
        shard->silence_said = shard->now;
        log_line(LOG_INFO, what, log_u64("shard", shard->options.index), log_u64("session", s->id),
                 log_u64("keepalive_ms", shard->options.keepalive_ns / LEAT_NS_PER_MS),
                 log_u64("so_far", metric_get(counter)));
    }
    shard_end_session(shard, s, LEAT_ERR_TIMEOUT);
}

static bool has_unread_packets(const struct shard *shard, const struct link *link)
{
    for (uint32_t i = 0; i < shard->link_count; i++)
        if (shard->links[i].link == link)
            return shard->links[i].ready;
    return false;
}

/* True when input from the session may be unread: the shard may have been descheduled for long. */
static bool may_have_input(struct shard *shard, struct session *s)
{
    if (session_is_packets(s))
        return has_unread_packets(shard, s->path->link);
    if (s->unread) /* it is not read while it does not take its answers: see `stuck` below */
        return true;
    shard_receive(shard, s);
    return s->ending || s->heard_ns == shard->now;
}

static leat_ns silent_at(const struct shard *shard)
{
    const struct session *s = TAILQ_FIRST(&shard->attached);
    if (s == NULL || shard->options.keepalive_ns == 0)
        return LEAT_NS_NEVER;
    return s->heard_ns + shard->hearing_ns + shard->options.keepalive_ns;
}

static void expire_silent(struct shard *shard)
{
    while (silent_at(shard) <= shard->now) {
        struct session *s = TAILQ_FIRST(&shard->attached);
        if (!may_have_input(shard, s))
            end_dead(shard, s, &shard->counters.sessions_silent, "shard.session_silent");
        else if (!s->ending)
            shard_heard_anew(shard, s);
    }
}

/* ---- stuck */

static void check_later(struct shard *shard, struct session *s)
{
    s->stuck_ns = shard->now;
    TAILQ_INSERT_TAIL(&shard->stuck, s, stuck_node);
}

void shard_set_stuck(struct shard *shard, struct session *s, bool stuck)
{
    if (s->stuck == stuck)
        return;
    s->stuck = stuck;
    s->stuck_bytes = SIZE_MAX;
    if (stuck)
        check_later(shard, s);
    else
        TAILQ_REMOVE(&shard->stuck, s, stuck_node);
}

static leat_ns stuck_at(const struct shard *shard)
{
    const struct session *s = TAILQ_FIRST(&shard->stuck);
    return s == NULL || shard->options.keepalive_ns == 0 ? LEAT_NS_NEVER
                                                         : s->stuck_ns + check_interval_ns(shard);
}

/* A slow reader's socket may stay full for long: what counts is whether bytes leave it. */
static void expire_stuck(struct shard *shard)
{
    while (stuck_at(shard) <= shard->now) {
        struct session *s = TAILQ_FIRST(&shard->stuck);
        const size_t bytes = link_tcp_unsent(s->fd);
        s->stuck_looks = bytes < s->stuck_bytes ? 0 : (uint8_t)(s->stuck_looks + 1);
        s->stuck_bytes = bytes;
        if (s->stuck_looks >= CHECKS_PER_KEEPALIVE) {
            end_dead(shard, s, &shard->counters.sessions_stuck, "shard.session_stuck");
            continue;
        }
        TAILQ_REMOVE(&shard->stuck, s, stuck_node);
        check_later(shard, s);
    }
}

/* ---- both */

void shard_expire_sessions(struct shard *shard)
{
    expire_silent(shard);
    expire_stuck(shard);
}

leat_ns shard_expire_deadline(const struct shard *shard)
{
    const leat_ns silent = silent_at(shard), stuck = stuck_at(shard);
    return silent < stuck ? silent : stuck;
}

/* Data connections and sessions: accept, attach, end, reap. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "broker/shard/shard_state.h"
#include "ops/log.h"
#include "schema/session_id.h"
#include "transport/event_wait.h"

enum {
    ACCEPTS_PER_ITERATION = 64,
    /* Connections accepted beyond connections_max, only to be refused. */
    EXTRA_CONNECTIONS_MAX = 16,
};
#define ACCEPT_PAUSE_NS (100 * LEAT_NS_PER_MS)
/* A shortage is logged once; it is over when there was room for so long. */
#define EPISODE_NS (10 * LEAT_NS_PER_S)

static bool watch(struct shard *shard, int fd, void *what, int operation, uint32_t events)
{
    struct epoll_event event = { .events = events, .data = { .ptr = what } };
    return epoll_ctl(shard->epoll, operation, fd, &event) == 0;
}

static void take_reserve(struct shard *shard)
{
    if (shard->reserve < 0)
        shard->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void pause_accepting(struct shard *shard)
{
    watch(shard, shard->listener.fd, &shard->listener, EPOLL_CTL_MOD, 0);
    shard->listener_paused = true;
    shard->resume_accept_deadline = shard->now + ACCEPT_PAUSE_NS;
}

static void say_full(struct shard *shard, const char *event, const char *advice)
{
    const bool told = shard->now < shard->full_until;
    shard->full_until = shard->now + EPISODE_NS;
    if (!told)
        log_line(LOG_WARN, event, log_u64("shard", shard->options.index),
                 log_u64("connections", shard->connections.count), log_text("do", advice));
}

/* No descriptor is left. The oldest connection that has not attached is closed; if there is none,
 * the reserved descriptor is released, to accept the next one and refuse it (*refused). False:
 * accepting pauses for a while. */
static bool evict_oldest(struct shard *shard, bool *refused)
{
    say_full(shard, "shard.no_descriptors",
             "raise the limit of open files (ulimit -n, LimitNOFILE)");
    if (connections_end_idle(&shard->connections, shard->now) && shard->reserve >= 0)
        return true;
    take_reserve(shard);
    if (shard->reserve < 0) {
        pause_accepting(shard);
        return false;
    }
    close(shard->reserve);
    shard->reserve = -1;
    *refused = true;
    return true;
}

/* There are connections_max connections, none of which has waited for long. A few more are
 * accepted, to be refused with a reason (*refused). False: accepting pauses for a while. */
static bool make_room(struct shard *shard, bool *refused)
{
    if (shard->connections.count < shard->options.connections_max
        || connections_end_idle(&shard->connections, shard->now))
        return true;
    say_full(shard, "shard.connections_max", "raise connections_max");
    *refused = true;
    if (shard->connections.count < shard->options.connections_max + EXTRA_CONNECTIONS_MAX)
        return true;
    pause_accepting(shard);
    return false;
}

void shard_resume_accept(struct shard *shard)
{
    shard->listener_paused = false;
    shard->resume_accept_deadline = LEAT_NS_NEVER;
    watch(shard, shard->listener.fd, &shard->listener, EPOLL_CTL_MOD, EPOLLIN);
}

static void add(struct shard *shard, int fd, bool refused)
{
    struct connection *connection = connections_add(&shard->connections, fd, false, shard->now);
    if (connection == NULL) {
        log_line(LOG_WARN, "shard.not_taken", log_text("reason", "no memory"));
        close(fd);
        return;
    }
    connection->refused = refused;
    metric_add(
        refused ? &shard->counters.connections_refused : &shard->counters.connections_accepted, 1);
    if (watch(shard, fd, connection, EPOLL_CTL_ADD, EPOLLIN))
        return;
    log_line(LOG_WARN, "shard.not_taken", log_text("reason", "epoll takes no more"));
    connections_end(&shard->connections, connection);
}

void shard_accept(struct shard *shard)
{
    bool any = false;
    take_reserve(shard);
    for (int i = 0; i < ACCEPTS_PER_ITERATION; i++) {
        bool refused = false;
        int fd;
        if (any && shard->connections.count >= shard->options.connections_max)
            return; /* nobody may be waiting: see below */
        if (!make_room(shard, &refused))
            return;
        enum leat_error error = link_tcp_accept(shard->listener.fd, &fd);
        /* accept() needs a descriptor before it checks whether a connection is waiting. Once one
         * was accepted, nobody may be waiting, and closing another connection would be for
         * nothing. */
        if (error == LEAT_ERR_LIMIT && (any || !evict_oldest(shard, &refused)))
            return;
        if (error == LEAT_ERR_LIMIT)
            error = link_tcp_accept(shard->listener.fd, &fd);
        if (error != LEAT_OK)
            return;
        any = true;
        add(shard, fd, refused);
    }
}

struct session *shard_session(const struct shard *shard, uint32_t id)
{
    const uint32_t slot = leat_session_slot(id);
    if (slot >= shard->options.sessions_max)
        return NULL;
    struct session *s = shard->sessions[slot];
    return s != NULL && s->id == id ? s : NULL;
}

static enum leat_error attach(struct shard *shard, struct connection *connection,
                              const struct leat_frame_attach *wanted)
{
    if (wanted->version != LEAT_PROTOCOL_VERSION)
        return LEAT_ERR_VERSION;
    if (connection->refused)
        return LEAT_ERR_LIMIT;
    struct session *s = shard_session(shard, wanted->session);
    if (s == NULL || session_is_attached(s) || s->expires_ns <= shard->now
        || !session_token_is(s->token, wanted->token))
        return LEAT_ERR_UNKNOWN_SESSION;
    const int fd = connection->fd;
    const enum leat_error error = session_attach(s, fd);
    if (error != LEAT_OK)
        return error;
    TAILQ_REMOVE(&shard->granted, s, lifetime_node);
    TAILQ_INSERT_TAIL(&shard->attached, s, lifetime_node);
    s->heard_ns = shard->now;
    connection->fd = -1; /* owned by the session now */
    shard->watched++;
    connections_end(&shard->connections, connection);
    s->interest = EPOLLIN;
    if (!watch(shard, fd, s, EPOLL_CTL_MOD, EPOLLIN)) {
        shard_end_session(shard, s, LEAT_ERR_IO);
        return LEAT_OK;
    }
    const struct leat_frame_attached said = { .session = s->id, .status = LEAT_OK };
    egress_attached(&s->out, &said);
    metric_add(&shard->counters.sessions_opened, 1);
    shard_want_output(shard, s);
    return LEAT_OK;
}

/* Sends the last bytes of a connection, as far as the socket takes them, and lets it linger. */
static void linger(struct shard *shard, int fd, const uint8_t *bytes, size_t size)
{
    const struct iovec piece = { .iov_base = (void *)bytes, .iov_len = size };
    size_t sent;
    struct connection *lingering = NULL;
    if (link_tcp_send(fd, &piece, 1, &sent) == LEAT_OK && link_tcp_end_output(fd) == LEAT_OK)
        lingering = connections_add(&shard->connections, fd, true, shard->now);
    if (lingering == NULL)
        event_close(shard->epoll, fd);
    else if (!watch(shard, fd, lingering, EPOLL_CTL_MOD, EPOLLIN))
        connections_end(&shard->connections, lingering);
}

static void refuse(struct shard *shard, struct connection *connection, uint32_t session,
                   enum leat_error status)
{
    uint8_t bytes[LEAT_ATTACHED_BYTES];
    const struct leat_frame_attached said = { .session = session, .status = (int16_t)status };
    const size_t size = leat_frame_write_attached(bytes, &said);
    const int fd = connection->fd;
    metric_add(&shard->counters.attach_refused, 1);
    connection->fd = -1;
    connections_end(&shard->connections, connection);
    linger(shard, fd, bytes, size);
}

void shard_connection_ready(struct shard *shard, struct connection *connection)
{
    struct leat_frame_attach wanted;
    if (connection->closed)
        return;
    switch (connection_read(connection, &wanted)) {
    case CONNECTION_NOTHING: break;
    case CONNECTION_ENDS: connections_end(&shard->connections, connection); break;
    case CONNECTION_ATTACHES: {
        const enum leat_error error = attach(shard, connection, &wanted);
        if (error != LEAT_OK)
            refuse(shard, connection, wanted.session, error);
        break;
    }
    }
}

static void close_streams(struct shard *shard, struct session *s)
{
    for (uint32_t i = 0; i < s->stream_count; i++) {
        struct stream *stream = &s->streams[i];
        if (stream->publish != NULL) {
            if (stream->publish->throttled)
                TAILQ_REMOVE(&shard->throttled_publishers, stream->publish, throttled_node);
            publish_stream_close(stream->publish, shard->now);
        }
        if (stream->subscription != NULL) {
            shard_unlist(shard, stream->subscription);
            subscription_close(stream->subscription, shard->now);
        }
        stream->publish = NULL;
        stream->subscription = NULL;
    }
}

/* Sends what was staged for the session, then a RESET with the reason. */
static void reset(struct shard *shard, struct session *s, enum leat_error status)
{
    uint8_t bytes[LEAT_RESET_BYTES];
    struct leat_frame_reset said = { .status = (int16_t)status };
    memcpy(said.token, s->reset_token, sizeof said.token);
    const size_t size = leat_frame_write_reset(bytes, &said);
    int taken;
    uint64_t sent;
    shard->batch.data_count = 0;
    const enum leat_error error =
        s->out.blocked ? LEAT_AGAIN : egress_flush(&s->out, &shard->batch, s->fd, &taken, &sent);
    /* A RESET may only follow a whole frame. */
    if (error == LEAT_OK && !egress_pending(&s->out))
        linger(shard, s->fd, bytes, size);
    else
        event_close(shard->epoll, s->fd);
}

void shard_end_session(struct shard *shard, struct session *s, enum leat_error status)
{
    if (s->ending)
        return;
    s->ending = true;
    s->ending_status = (int16_t)status;
    shard_set_stuck(shard, s, false);
    close_streams(shard, s);
    if (s->in_output)
        TAILQ_REMOVE(&shard->output, s, output_node);
    s->in_output = false;
    TAILQ_REMOVE(session_is_attached(s) ? &shard->attached : &shard->granted, s, lifetime_node);
    for (int i = 0; i < SHARD_BUSY_MAX; i++)
        if (shard->busy_set[i] == s)
            shard->busy_set[i] = NULL;
    if (s->fd >= 0 || (s->path != NULL && !s->path->link->limits.polled))
        shard->watched--;
    if (session_is_packets(s)) {
        timers_remove(&shard->timers, &s->path->timer);
        shard_count_flow(shard, s->path);
        if (status != LEAT_OK)
            shard_reset_packets(s, status);
    } else if (s->fd >= 0 && status != LEAT_OK) {
        reset(shard, s, status);
    } else if (s->fd >= 0) {
        event_close(shard->epoll, s->fd);
    }
    if (session_is_attached(s))
        metric_add(&shard->counters.sessions_ended, 1);
    shard->sessions[leat_session_slot(s->id)] = NULL;
    TAILQ_INSERT_TAIL(&shard->unreported, s, lifetime_node);
}

void shard_end_broken(struct shard *shard, struct session *s, enum leat_error error)
{
    const bool covered = session_is_covered(s);
    metric_add(&shard->counters.protocol_errors, covered);
    shard_end_session(shard, s, covered ? error : LEAT_ERR_BAD_CRC);
}

void shard_expire_grants(struct shard *shard)
{
    struct session *s;
    while ((s = TAILQ_FIRST(&shard->granted)) != NULL && s->expires_ns <= shard->now)
        shard_end_session(shard, s, LEAT_ERR_TIMEOUT);
}

void shard_reap(struct shard *shard)
{
    struct session *s;
    connections_reap(&shard->connections);
    while ((s = TAILQ_FIRST(&shard->unreported)) != NULL) {
        const struct message closed = { .type = MESSAGE_SESSION_CLOSED,
                                        .status = s->ending_status,
                                        .session = s->id };
        if (s->say_closed && !shard_tell(shard, &closed))
            return;
        TAILQ_REMOVE(&shard->unreported, s, lifetime_node);
        session_free(s);
    }
}

void shard_set_interest(struct shard *shard, struct session *s)
{
    if (s->fd < 0)
        return;
    const uint32_t interest =
        (s->unread ? 0u : (uint32_t)EPOLLIN) | (s->out.blocked ? (uint32_t)EPOLLOUT : 0u);
    if (interest == s->interest)
        return;
    s->interest = interest;
    shard_set_stuck(shard, s, (interest & EPOLLOUT) != 0);
    if (!watch(shard, s->fd, s, EPOLL_CTL_MOD, interest))
        shard_end_session(shard, s, LEAT_ERR_IO);
}

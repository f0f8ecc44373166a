/* Shard: one thread that owns a set of partitions and all I/O for them, run to completion. */
#include "broker/shard/shard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/shard/shard_state.h"
#include "ops/log.h"
#include "schema/bytes.h"
#include "transport/link_udp.h"

#define TICK_NS (100 * LEAT_NS_PER_MS)

/* ---- open and close */

static bool watch(const struct shard *shard, int fd, uint32_t events, void *what)
{
    struct epoll_event event = { .events = events, .data = { .ptr = what } };
    return epoll_ctl(shard->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool watch_readable(const struct shard *shard, int fd, void *what)
{
    return watch(shard, fd, EPOLLIN, what);
}

/* Adds a link for packets. False: it cannot be watched by epoll. */
static bool add_link(struct shard *shard, struct link *link)
{
    struct shard_link *place = &shard->links[shard->link_count];
    const int fd = link->ops->descriptor(link);
    *place = (struct shard_link){ .source = SOURCE_LINK, .link = link };
    shard_register_link(shard, shard->link_count++);
    if (!link->limits.polled)
        return watch_readable(shard, fd, place);
    shard->polled_links++;
    shard->unarmed_links += fd < 0;
    return fd < 0 || watch(shard, fd, EPOLLIN | EPOLLET, place);
}

static enum leat_error open_udp(struct shard *shard, char error_text[256])
{
    const struct link_udp_options options = { .socket_buffer_bytes =
                                                  shard->options.socket_buffer_bytes };
    struct link *link;
    const char *colon = strrchr(shard->address, ':');
    const uint16_t port = (uint16_t)strtoul(colon + 1, NULL, 10);
    enum leat_error error = link_udp_open(&link, AF_UNSPEC, shard->options.listen_host, port,
                                          &options, shard->udp_address, error_text);
    /* The kernel chose the TCP port: the same number may be in use over UDP. */
    if (error == LEAT_ERR_IO && shard->options.listen_port == 0)
        error = link_udp_open(&link, AF_UNSPEC, shard->options.listen_host, 0, &options,
                              shard->udp_address, error_text);
    if (error != LEAT_OK)
        return error;
    if (!add_link(shard, link)) {
        snprintf(error_text, 256, "shard %u: epoll cannot watch the UDP socket",
                 shard->options.index);
        return LEAT_ERR_IO;
    }
    shard->owns_udp = true;
    return LEAT_OK;
}

static enum leat_error open_links(struct shard *shard, char error_text[256])
{
    const struct shard_options *options = &shard->options;
    if (options->udp) {
        const enum leat_error error = open_udp(shard, error_text);
        if (error != LEAT_OK)
            return error;
    }
    for (uint32_t i = 0; i < options->link_count; i++) {
        if (!add_link(shard, options->links[i])) {
            snprintf(error_text, 256, "shard %u: epoll cannot watch a port", options->index);
            return LEAT_ERR_IO;
        }
    }
    return LEAT_OK;
}

static void init_lists(struct shard *shard)
{
    TAILQ_INIT(&shard->output);
    TAILQ_INIT(&shard->granted);
    TAILQ_INIT(&shard->attached);
    TAILQ_INIT(&shard->stuck);
    TAILQ_INIT(&shard->unreported);
    TAILQ_INIT(&shard->fresh);
    TAILQ_INIT(&shard->noticed);
    TAILQ_INIT(&shard->leaving);
    TAILQ_INIT(&shard->throttled_subscriptions);
    TAILQ_INIT(&shard->throttled_publishers);
    connections_init(&shard->connections, shard->epoll);
    owned_partitions_init(&shard->owned_partitions);
    stream_buffers_init(&shard->buffers);
}

enum leat_error shard_open(struct shard **out, const struct shard_options *options,
                           char error_text[256])
{
    struct shard *shard = calloc(1, sizeof *shard);
    struct session **sessions = calloc(options->sessions_max, sizeof *sessions);
    if (shard == NULL || sessions == NULL) {
        snprintf(error_text, 256, "shard %u: no memory for %u sessions", options->index,
                 options->sessions_max);
        free(shard);
        free(sessions);
        return LEAT_ERR_NO_MEMORY;
    }
    shard->options = *options;
    reset_limit_init(&shard->resets, leat_load64(options->reset_secret));
    shard->sessions = sessions;
    shard->listener = (struct shard_source){ SOURCE_LISTENER, -1 };
    shard->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    shard->inbox = (struct shard_source){ SOURCE_INBOX, options->inbox->eventfd };
    shard->hearing_ns =
        options->keepalive_ns != 0 ? options->keepalive_ns / SHARD_HEARING_SHARE : LEAT_NS_NEVER;
    shard->quota_deadline = LEAT_NS_NEVER;
    shard->tick_deadline = LEAT_NS_NEVER;
    shard->resume_accept_deadline = LEAT_NS_NEVER;
    shard->epoll = epoll_create1(EPOLL_CLOEXEC);
    init_lists(shard);
    loop_jitter_init(&shard->loop_jitter);
    const struct link_tcp_options link = { .socket_buffer_bytes = options->socket_buffer_bytes,
                                           .congestion = options->tcp_congestion,
                                           .user_timeout_ms =
                                               (uint32_t)(options->keepalive_ns / LEAT_NS_PER_MS) };
    enum leat_error error =
        link_tcp_listen(&shard->listener.fd, options->listen_host, options->listen_port, &link,
                        shard->address, error_text);
    if (error == LEAT_OK && timers_open(&shard->timers, options->sessions_max) != LEAT_OK) {
        snprintf(error_text, 256, "shard %u: no memory for %u sessions", options->index,
                 options->sessions_max);
        error = LEAT_ERR_NO_MEMORY;
    }
    if (error == LEAT_OK
        && (shard->epoll < 0 || !watch_readable(shard, shard->listener.fd, &shard->listener)
            || !watch_readable(shard, shard->inbox.fd, &shard->inbox))) {
        snprintf(error_text, 256, "shard %u: epoll cannot be set up (%s): raise `ulimit -n`",
                 options->index, strerror(errno));
        error = LEAT_ERR_IO;
    }
    if (error == LEAT_OK)
        error = open_links(shard, error_text);
    if (error != LEAT_OK) {
        shard_close(shard);
        return error;
    }
    shard_register_counters(shard);
    *out = shard;
    return LEAT_OK;
}

const char *shard_tcp_address(const struct shard *shard)
{
    return shard->address;
}

const char *shard_udp_address(const struct shard *shard)
{
    return shard->udp_address[0] != '\0' ? shard->udp_address : NULL;
}

void shard_close(struct shard *shard)
{
    struct session *s;
    struct connection *connection;
    while ((s = TAILQ_FIRST(&shard->attached)) != NULL
           || (s = TAILQ_FIRST(&shard->granted)) != NULL) {
        s->say_closed = false;
        shard_end_session(shard, s, LEAT_OK);
    }
    TAILQ_FOREACH(s, &shard->unreported, lifetime_node)
    s->say_closed = false;
    while ((connection = TAILQ_FIRST(&shard->connections.waiting)) != NULL
           || (connection = TAILQ_FIRST(&shard->connections.lingering)) != NULL)
        connections_end(&shard->connections, connection);
    shard_reap(shard);
    metrics_unregister(shard->options.metrics, &shard->counters, sizeof shard->counters);
    for (uint32_t i = 0; i < shard->link_count; i++) {
        struct link *link = shard->links[i].link;
        link->ops->flush(link, shard->now); /* the RESETs of sessions that just ended */
        metrics_unregister(shard->options.metrics, &link->counters, sizeof link->counters);
    }
    if (shard->owns_udp)
        shard->links[0].link->ops->close(shard->links[0].link);
    timers_close(&shard->timers);
    if (shard->listener.fd >= 0)
        close(shard->listener.fd);
    if (shard->reserve >= 0)
        close(shard->reserve);
    if (shard->epoll >= 0)
        close(shard->epoll);
    free(shard->sessions);
    free(shard);
}

/* ---- one iteration */

static void handle_session_event(struct shard *shard, struct session *s, uint32_t events)
{
    if (s->ending)
        return;
    if ((events & EPOLLOUT) != 0 && s->out.blocked) {
        s->out.blocked = false;
        s->stuck_bytes = SIZE_MAX; /* something was sent */
        shard_want_output(shard, s);
        if (!s->in_output)
            shard_set_interest(shard, s);
    }
    if ((events & EPOLLIN) != 0)
        shard_receive(shard, s);
    else if ((events & (EPOLLERR | EPOLLHUP)) != 0)
        shard_end_session(shard, s, LEAT_OK);
}

static void handle_event(struct shard *shard, const struct epoll_event *event)
{
    enum source *source = event->data.ptr;
    switch (*source) {
    case SOURCE_LISTENER: shard_accept(shard); break;
    case SOURCE_INBOX: {
        uint64_t count;
        const ssize_t got = read(shard->inbox.fd, &count, sizeof count);
        (void)got; /* only its readability matters */
        break;
    }
    case SOURCE_LINK:
        ((struct shard_link *)event->data.ptr)->ready = true;
        break; /* the iteration reads it in turn */
    case SOURCE_CONNECTION: shard_connection_ready(shard, event->data.ptr); break;
    case SOURCE_SESSION: handle_session_event(shard, event->data.ptr, event->events); break;
    }
}

/* Clears a lost mark in the subscriptions that had it. Returns the session of one of them; 0:
 * none. */
static uint32_t forget_mark(struct owned_partition *owned, int mark)
{
    struct subscription *sub;
    uint32_t session = 0;
    TAILQ_FOREACH(sub, &owned->readers, reader_node)
    {
        if (sub->required_mark != mark)
            continue;
        sub->required_mark = -1;
        session = sub->session->id;
    }
    return session;
}

/* Not inlined, so that the iteration keeps its registers. */
__attribute__((noinline, cold)) static void tick(struct shard *shard)
{
    struct owned_partition *owned;
    struct required_lost lost[REQUIRED_READERS_MAX];
    shard->tick_deadline = shard->ticking != 0 ? shard->now + TICK_NS : LEAT_NS_NEVER;
    TAILQ_FOREACH(owned, &shard->owned_partitions.all, node)
    {
        if (!owned->ticks)
            continue;
        const unsigned count = partition_retain(owned->partition, shard->now, lost);
        for (unsigned i = 0; i < count; i++)
            shard_tell_lost(shard, owned, lost[i].name_hash, forget_mark(owned, lost[i].handle),
                            lost[i].stuck ? LEAT_ERR_TIMEOUT : LEAT_ERR_CLOSED);
    }
}

/* The sessions' own counters are added up now and then, so that a packet updates one counter
 * only. */
static void count_flows(struct shard *shard)
{
    struct session *s;
    shard->count_deadline = shard->now + TICK_NS;
    TAILQ_FOREACH(s, &shard->attached, lifetime_node)
    {
        if (session_is_packets(s))
            shard_count_flow(shard, s->path);
    }
}

static void expire_producers(struct shard *shard)
{
    struct owned_partition *owned;
    shard->expire_deadline = shard->now + SHARD_EXPIRE_NS;
    stream_buffers_trim(&shard->buffers);
    TAILQ_FOREACH(owned, &shard->owned_partitions.all, node)
    producer_dedup_expire(partition_producers(owned->partition), shard->now,
                          shard->options.producer_idle_ns);
}

static void run_timers(struct shard *shard)
{
    if (shard->tick_deadline <= shard->now)
        tick(shard);
    if (shard->quota_deadline <= shard->now)
        shard_retry_throttled(shard);
    if (shard->expire_deadline <= shard->now)
        expire_producers(shard);
    if (shard->resume_accept_deadline <= shard->now)
        shard_resume_accept(shard);
    if (shard->count_deadline <= shard->now)
        count_flows(shard);
    shard_run_flow_timers(shard);
    connections_expire(&shard->connections, shard->now);
    shard_expire_grants(shard);
    if (shard_expire_deadline(shard) <= shard->now)
        shard_expire_sessions(shard);
}

leat_ns shard_deadline(const struct shard *shard)
{
    const struct session *granted = TAILQ_FIRST(&shard->granted);
    const leat_ns all[] = {
        shard->tick_deadline,
        shard->quota_deadline,
        shard->owned_partitions.count != 0 ? shard->expire_deadline : LEAT_NS_NEVER,
        shard->resume_accept_deadline,
        timers_next(&shard->timers),
        connections_deadline(&shard->connections),
        granted != NULL ? granted->expires_ns : LEAT_NS_NEVER,
        shard_expire_deadline(shard),
    };
    leat_ns first = LEAT_NS_NEVER;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        first = all[i] < first ? all[i] : first;
    return first;
}

void shard_poll_events(struct shard *shard)
{
    const int ready = epoll_wait(shard->epoll, shard->events, SHARD_EVENTS_MAX, 0);
    shard->event_count = ready > 0 ? ready : 0;
}

bool shard_iterate(struct shard *shard, bool read_busy)
{
    bool worked = shard->event_count > 0;
    loop_jitter_tick(&shard->loop_jitter, shard->now);
    for (int i = 0; i < shard->event_count; i++)
        handle_event(shard, &shard->events[i]);
    shard->event_count = 0;
    /* Before packets, so that a grant is known before the first packet of its session. */
    if (shard->holds || !mailbox_is_empty(shard->options.inbox))
        worked |= shard_read_mail(shard);
    for (int i = 0; read_busy && shard->watched != 0 && i < SHARD_BUSY_MAX; i++)
        if (shard->busy_set[i] != NULL)
            worked |= shard_receive(shard, shard->busy_set[i]);
    for (uint32_t i = 0; i < shard->link_count; i++) {
        struct shard_link *source = &shard->links[i];
        if (source->ready || source->link->limits.polled
            || (read_busy && shard_link_is_busy(source)))
            worked |= shard_receive_link(shard, source);
    }
    run_timers(shard);
    shard_wake_readers(shard);
    worked |= shard_deliver(shard);
    if (!TAILQ_EMPTY(&shard->leaving))
        shard_give_back(shard);
    if (shard_has_notices(shard))
        shard_send_notices(shard);
    if (!TAILQ_EMPTY(&shard->unreported) || !TAILQ_EMPTY(&shard->connections.zombies))
        shard_reap(shard);
    metric_add(&shard->counters.iterations, 1);
    if (!worked)
        metric_add(&shard->counters.iterations_idle, 1);
    return worked;
}

bool shard_step(struct shard *shard, leat_ns now, uint64_t wall_ns)
{
    shard->now = now;
    shard->wall_ns = wall_ns;
    shard_poll_events(shard);
    return shard_iterate(shard, false);
}

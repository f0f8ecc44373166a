#include "broker/shard.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <urcu-qsbr.h>

#include "broker/shard_state.h"
#include "ops/log.h"

enum {
    POLL_EVERY = 16, /* iterations between asking epoll while hot sessions are read directly */
};
#define BALANCED_SPIN_NS (50 * LEAT_NS_PER_US)
#define TICK_NS (100 * LEAT_NS_PER_MS)
#define EXPIRE_NS (10 * LEAT_NS_PER_S)

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * LEAT_NS_PER_S + (uint64_t)t.tv_nsec;
}

/* ---- open and close */

static void register_counters(const struct shard *shard)
{
    const struct shard_counters *c = &shard->counters;
    const struct {
        const char *name, *help;
        const metric *value;
    } list[] = {
        { "leat_bytes_in_total", "Bytes of batches appended.", &c->bytes_in },
        { "leat_bytes_out_total", "Bytes sent on data connections.", &c->bytes_out },
        { "leat_records_in_total", "Records appended.", &c->records_in },
        { "leat_batches_in_total", "Batches appended.", &c->batches_in },
        { "leat_batches_refused_total", "Batches refused for good.", &c->refused },
        { "leat_batches_duplicate_total", "Batches that had been appended before.",
          &c->duplicates },
        { "leat_batches_busy_total", "Batches answered BUSY.", &c->busy },
        { "leat_frames_unknown_stream_total", "Frames for a stream that is not there.",
          &c->frames_unknown_stream },
        { "leat_frames_dropped_total", "Frames of unknown types that may be skipped.",
          &c->frames_dropped },
        { "leat_connections_accepted_total", "Data connections accepted.",
          &c->connections_accepted },
        { "leat_connections_refused_total", "Data connections that found no descriptor left.",
          &c->connections_refused },
        { "leat_attach_refused_total", "ATTACH frames refused.", &c->attach_refused },
        { "leat_sessions_opened_total", "Sessions attached.", &c->sessions_opened },
        { "leat_sessions_ended_total", "Attached sessions that ended.", &c->sessions_ended },
        { "leat_protocol_errors_total", "Sessions ended for breaking the protocol.",
          &c->protocol_errors },
        { "leat_gaps_total", "GAPs sent to overtaken readers.", &c->gaps },
        { "leat_blocked_total", "Times a side had something to send and no credit.", &c->blocked },
        { "leat_throttled_total", "Times a quota held something back.", &c->throttled },
        { "leat_shard_iterations_total", "Iterations of the shard's loop.", &c->iterations },
        { "leat_shard_idle_iterations_total", "Iterations that found nothing to do.",
          &c->iterations_idle },
        { "leat_clock_steps_total", "Steps of the system's clock by more than a second.",
          &c->clock_steps },
    };
    char labels[32];
    snprintf(labels, sizeof labels, "shard=\"%u\"", shard->options.index);
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        const struct metric_options options = { .name = list[i].name,
                                                .help = list[i].help,
                                                .labels = labels,
                                                .kind = METRIC_COUNTER,
                                                .value = list[i].value };
        if (metrics_register(shard->options.metrics, &options) != LEAT_OK)
            log_line(LOG_WARN, "shard.metric_refused", log_text("metric", list[i].name));
    }
}

static bool watch_readable(const struct shard *shard, int fd, void *what)
{
    struct epoll_event event = { .events = EPOLLIN, .data = { .ptr = what } };
    return epoll_ctl(shard->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void init_lists(struct shard *shard)
{
    TAILQ_INIT(&shard->output);
    TAILQ_INIT(&shard->granted);
    TAILQ_INIT(&shard->attached);
    TAILQ_INIT(&shard->untold);
    TAILQ_INIT(&shard->fresh);
    TAILQ_INIT(&shard->throttled_subscriptions);
    TAILQ_INIT(&shard->throttled_publishers);
    connections_init(&shard->connections);
    holdings_init(&shard->holdings);
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
    shard->sessions = sessions;
    shard->listener = (struct shard_source){ SOURCE_LISTENER, -1 };
    shard->inbox = (struct shard_source){ SOURCE_INBOX, options->inbox->eventfd };
    shard->quota_deadline = LEAT_NS_NEVER;
    shard->tick_deadline = LEAT_NS_NEVER;
    shard->resume_accept_deadline = LEAT_NS_NEVER;
    init_lists(shard);
    shard->epoll = epoll_create1(EPOLL_CLOEXEC);
    const struct link_tcp_options link = { .socket_buffer_bytes = options->socket_buffer_bytes,
                                           .congestion = options->tcp_congestion };
    enum leat_error error =
        link_tcp_listen(&shard->listener.fd, options->listen_host, options->listen_port, &link,
                        shard->address, error_text);
    if (error == LEAT_OK
        && (shard->epoll < 0 || !watch_readable(shard, shard->listener.fd, &shard->listener)
            || !watch_readable(shard, shard->inbox.fd, &shard->inbox))) {
        snprintf(error_text, 256, "shard %u: no epoll descriptor: raise `ulimit -n`",
                 options->index);
        error = LEAT_ERR_IO;
    }
    if (error != LEAT_OK) {
        shard_close(shard);
        return error;
    }
    register_counters(shard);
    *out = shard;
    return LEAT_OK;
}

const char *shard_tcp_address(const struct shard *shard)
{
    return shard->address;
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
    TAILQ_FOREACH(s, &shard->untold, lifetime_link)
    s->say_closed = false;
    while ((connection = TAILQ_FIRST(&shard->connections.waiting)) != NULL
           || (connection = TAILQ_FIRST(&shard->connections.lingering)) != NULL)
        connections_end(&shard->connections, connection);
    shard_bury(shard);
    metrics_unregister(shard->options.metrics, &shard->counters, sizeof shard->counters);
    holdings_free(&shard->holdings);
    if (shard->listener.fd >= 0)
        close(shard->listener.fd);
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
    case SOURCE_CONNECTION: shard_connection_ready(shard, event->data.ptr); break;
    case SOURCE_SESSION: handle_session_event(shard, event->data.ptr, event->events); break;
    }
}

static void tick(struct shard *shard)
{
    struct holding *holding;
    shard->tick_deadline = shard->ticking != 0 ? shard->now + TICK_NS : LEAT_NS_NEVER;
    TAILQ_FOREACH(holding, &shard->holdings.all, link)
    {
        if (!holding->ticks)
            continue;
        const unsigned lost = partition_retain(holding->partition, shard->now, shard->wall_ns);
        holding->required_lost += lost;
        shard->notices |= lost != 0;
    }
}

static void expire_producers(struct shard *shard)
{
    struct holding *holding;
    shard->expire_deadline = shard->now + EXPIRE_NS;
    TAILQ_FOREACH(holding, &shard->holdings.all, link)
    producer_expire(partition_producers(holding->partition), shard->now,
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
    connections_expire(&shard->connections, shard->now);
    shard_expire_grants(shard);
}

static leat_ns next_deadline(const struct shard *shard)
{
    const struct session *granted = TAILQ_FIRST(&shard->granted);
    const leat_ns all[] = {
        shard->tick_deadline,
        shard->quota_deadline,
        shard->holdings.count != 0 ? shard->expire_deadline : LEAT_NS_NEVER,
        shard->resume_accept_deadline,
        connections_deadline(&shard->connections),
        granted != NULL ? granted->expires_ns : LEAT_NS_NEVER,
    };
    leat_ns first = LEAT_NS_NEVER;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        first = all[i] < first ? all[i] : first;
    return first;
}

/* Handles the events at hand and everything that follows from them. True when there was work. */
static bool iterate(struct shard *shard, bool read_hot)
{
    bool worked = shard->event_count > 0;
    for (int i = 0; i < shard->event_count; i++)
        handle_event(shard, &shard->events[i]);
    shard->event_count = 0;
    for (int i = 0; read_hot && i < SHARD_HOT_MAX; i++) {
        if (shard->hot[i] != NULL)
            worked |= shard_receive(shard, shard->hot[i]);
    }
    worked |= shard_read_mail(shard);
    run_timers(shard);
    shard_wake_readers(shard);
    worked |= shard_serve(shard);
    if (shard->notices)
        shard_send_notices(shard);
    shard_bury(shard);
    metric_add(&shard->counters.iterations, 1);
    if (!worked)
        metric_add(&shard->counters.iterations_idle, 1);
    return worked;
}

bool shard_step(struct shard *shard, leat_ns now, uint64_t wall_ns)
{
    shard->now = now;
    shard->wall_ns = wall_ns;
    const int ready = epoll_wait(shard->epoll, shard->events, SHARD_EVENTS_MAX, 0);
    shard->event_count = ready > 0 ? ready : 0;
    return iterate(shard, false);
}

/* ---- the thread */

static void read_clock(struct shard *shard)
{
    shard->now = clock_ns(CLOCK_MONOTONIC);
    if (wallclock_due(&shard->wallclock, shard->now)) {
        const int64_t step =
            wallclock_check(&shard->wallclock, shard->now, clock_ns(CLOCK_REALTIME));
        if (step != 0) {
            metric_add(&shard->counters.clock_steps, 1);
            log_line(LOG_WARN, "shard.clock_stepped", log_u64("shard", shard->options.index),
                     log_i64("by_ns", step));
        }
    }
    shard->wall_ns = wallclock_at(&shard->wallclock, shard->now);
}

static bool pending_work(const struct shard *shard)
{
    return !TAILQ_EMPTY(&shard->output);
}

/* What control has no room for is tried again soon: its room is not announced. */
static bool has_untold(const struct shard *shard)
{
    return shard->holds || shard->notices || !TAILQ_EMPTY(&shard->untold);
}

static int timeout_ms(const struct shard *shard)
{
    const leat_ns deadline = next_deadline(shard);
    if (has_untold(shard))
        return 1;
    if (deadline == LEAT_NS_NEVER)
        return -1;
    if (deadline <= shard->now)
        return 0;
    const leat_ns wait = (deadline - shard->now + LEAT_NS_PER_MS - 1) / LEAT_NS_PER_MS;
    return wait > INT32_MAX ? INT32_MAX : (int)wait;
}

/* Blocks until there is something to do. */
static void sleep_until_event(struct shard *shard)
{
    if (!mailbox_prepare_sleep(shard->options.inbox))
        return;
    rcu_thread_offline();
    const int ready = epoll_wait(shard->epoll, shard->events, SHARD_EVENTS_MAX, timeout_ms(shard));
    rcu_thread_online();
    mailbox_awake(shard->options.inbox);
    shard->event_count = ready > 0 ? ready : 0;
}

static bool any_hot(const struct shard *shard)
{
    for (int i = 0; i < SHARD_HOT_MAX; i++) {
        if (shard->hot[i] != NULL)
            return true;
    }
    return false;
}

static void pin(const struct shard *shard)
{
    char name[16];
    snprintf(name, sizeof name, "leat-shard-%u", shard->options.index % 1000);
    pthread_setname_np(pthread_self(), name);
    if (shard->options.cpu < 0)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)shard->options.cpu, &set);
    if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) != 0)
        log_line(LOG_WARN, "shard.not_pinned", log_u64("shard", shard->options.index),
                 log_i64("cpu", shard->options.cpu));
}

void *shard_run(void *arg)
{
    struct shard *shard = arg;
    pin(shard);
    rcu_register_thread();
    const leat_ns start = clock_ns(CLOCK_MONOTONIC);
    wallclock_init(&shard->wallclock, start, clock_ns(CLOCK_REALTIME));
    leat_ns last_work = start;
    shard->expire_deadline = start + EXPIRE_NS;
    for (uint64_t turn = 0; !shard->stopping; turn++) {
        const enum idle_mode idle = shard->options.idle;
        const bool spins = idle == IDLE_LATENCY
                           || (idle == IDLE_BALANCED && shard->now - last_work < BALANCED_SPIN_NS);
        const bool hot = spins && any_hot(shard);
        if (!spins && !pending_work(shard)) {
            sleep_until_event(shard);
        } else if (!hot || turn % POLL_EVERY == 0) {
            const int ready = epoll_wait(shard->epoll, shard->events, SHARD_EVENTS_MAX, 0);
            shard->event_count = ready > 0 ? ready : 0;
        }
        read_clock(shard);
        if (iterate(shard, hot))
            last_work = shard->now;
        rcu_quiescent_state();
    }
    rcu_unregister_thread();
    return NULL;
}

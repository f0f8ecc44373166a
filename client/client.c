/* The client: open, close, and one iteration of its loop. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "client/client_core.h"
#include "client/connect.h"
#include "client/consumer_group.h"
#include "client/liveness.h"
#include "client/producer.h"
#include "client/session.h"
#include "client/session_packets.h"
#include "client/session_tcp.h"
#include "schema/bytes.h"
#include "schema/error_text.h"
#include "schema/version.h"
#include "transport/event_wait.h"

enum {
    READY_MAX = 16, /* descriptors handled in one iteration */
    /* A caller that polls in a loop gets one epoll_wait per this many calls; the other calls only
     * read the data connections. */
    POLLS_BETWEEN_LOOKS = 64,
    SPUN_LINKS_MAX = 4,
};
#define NS_BETWEEN_LOOKS (100 * LEAT_NS_PER_US)
/* Next to a bypass port, epoll_wait costs as much as many packets, and what it finds (control's
 * answers) is less urgent than they are. */
#define NS_BETWEEN_SPUN_LOOKS LEAT_NS_PER_MS
/* On a polled link, a caller that waits polls for this long, many times a round trip, and then
 * waits for the link's interrupt. If the link has none, it sleeps between polls: idle, it uses a
 * few per cent of a core. */
#define SPIN_NS (LEAT_NS_PER_MS)
#define BACKOFF_NS (50 * LEAT_NS_PER_US)

/* Why leat_client_open() failed: there is no client to hold the text. */
static _Thread_local char open_error[CLIENT_ERROR_BYTES];

leat_ns client_clock(const struct leat_client *client)
{
    const struct client_hooks *hooks = &client->options.hooks;
    if (hooks->clock != NULL)
        return hooks->clock(hooks->context);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (leat_ns)now.tv_sec * LEAT_NS_PER_S + (leat_ns)now.tv_nsec;
}

leat_ns client_after(leat_ns now, uint64_t timeout_ns)
{
    return timeout_ns < LEAT_NS_NEVER - now ? now + timeout_ns : LEAT_NS_NEVER;
}

int client_error(struct leat_client *client, int error, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(client->error, sizeof client->error, format, list);
    va_end(list);
    return error;
}

static void fail(struct leat_client *client, int error, const char *format, va_list list)
{
    client->failure = error != 0 ? error : LEAT_ERR_PROTOCOL;
    vsnprintf(client->failure_text, sizeof client->failure_text, format, list);
}

void client_fail(struct leat_client *client, int error, const char *format, ...)
{
    va_list list;
    if (client->failure != 0)
        return;
    va_start(list, format);
    fail(client, error, format, list);
    va_end(list);
}

void client_fail_path(struct leat_client *client, int error, const char *format, ...)
{
    va_list list;
    if (client->failure != 0)
        return;
    client->path_failed = true;
    va_start(list, format);
    fail(client, error, format, list);
    va_end(list);
}

void client_event(struct leat_client *client, const struct leat_event *event)
{
    const struct leat_client_options *options = &client->options.values;
    if (options->on_event == NULL)
        return;
    client->in_callback++;
    options->on_event(options->user, event);
    client->in_callback--;
}

void client_timer_at(struct leat_client *client, leat_ns when)
{
    if (when < client->next_deadline)
        client->next_deadline = when;
}

void client_retry_at(struct leat_client *client, leat_ns when)
{
    if (when < client->retry_at)
        client->retry_at = when;
    client_timer_at(client, when);
}

void client_dirty(struct leat_client *client, const struct client_session *session)
{
    client->sessions_dirty |= UINT64_C(1) << session->shard;
}

int client_refuses_data(struct leat_client *client, const char *what)
{
    if (client->options.values.control_only == 0)
        return LEAT_OK;
    return client_error(client, LEAT_ERR_UNSUPPORTED, "%s: the client was opened with control_only",
                        what);
}

bool client_refuses(struct leat_client *client, const char *call)
{
    if (client->in_callback == 0)
        return false;
    client_error(client, LEAT_ERR_INVALID,
                 "%s: called inside a callback, which may send but not poll, wait or close", call);
    return true;
}

/* ---- the loop */

void client_flush_links(struct leat_client *client)
{
    const uint64_t flushed = client->sessions_dirty;
    /* One attempt each: epoll reports when a full connection can send again. */
    for (uint64_t dirty = flushed; dirty != 0 && client->failure == 0; dirty &= dirty - 1)
        client_session_flush(client->sessions[__builtin_ctzll(dirty)]);
    if (client->port.staged)
        packet_port_flush(client);
    /* Computed after sending, so that packets leave first. */
    for (uint64_t dirty = flushed; dirty != 0 && client->failure == 0; dirty &= dirty - 1)
        client_timer_at(client, client_session_deadline(client->sessions[__builtin_ctzll(dirty)]));
}

static unsigned receive_packets(struct leat_client *client)
{
    return client->port.link != NULL && client->failure == 0 ? packet_port_receive(client) : 0;
}

static unsigned receive_links(struct leat_client *client)
{
    unsigned handled = receive_packets(client);
    for (uint64_t up = client->sessions_up; up != 0 && client->failure == 0; up &= up - 1)
        handled += session_tcp_receive(client->sessions[__builtin_ctzll(up)]);
    return handled;
}

static void run_timers(struct leat_client *client)
{
    client->next_deadline = LEAT_NS_NEVER; /* the steps below set it again */
    const leat_ns held = producer_release_held(client);
    const leat_ns phases = connect_timers(client);
    client_timer_at(client, held < phases ? held : phases);
    struct leat_consumer *consumer;
    TAILQ_FOREACH(consumer, &client->consumers, node)
    {
        if (consumer->group != NULL)
            client_timer_at(client, group_timers(consumer));
    }
    if (client->retry_at <= client->now)
        connect_retry(client);
    client_timer_at(client, client->retry_at);
    client_timer_at(client, packet_port_timers(client));
}

static unsigned take_event(struct leat_client *client, const struct epoll_event *event)
{
    if (event->data.ptr == &client->timer) {
        /* The timer stays readable until it is set again, in client_arm(). */
        client->armed = 0;
        return 0;
    }
    if (event->data.ptr == &client->control) {
        if (client->control.fd < 0)
            return 0;
        if ((event->events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0)
            connect_writable(client);
        const bool readable = (event->events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0;
        return readable && client->phase >= PHASE_GREETING ? connect_receive(client) : 0;
    }
    if (event->data.ptr == &client->port)
        return receive_packets(client);
    struct client_session *session = event->data.ptr;
    if (session->fd < 0)
        return 0;
    if ((event->events & EPOLLOUT) != 0
        || (session->state == SESSION_CONNECTING && (event->events & (EPOLLERR | EPOLLHUP)) != 0))
        session_tcp_writable(session);
    const bool readable = (event->events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0;
    return readable && session->state >= SESSION_ATTACHING ? session_tcp_receive(session) : 0;
}

/* Waits until `until` at most; does not wait if that has passed. */
static int wait_events(struct leat_client *client, struct epoll_event *events, leat_ns until)
{
    leat_ns left = LEAT_NS_NEVER;
    if (until != LEAT_NS_NEVER)
        left = until > client->now ? until - client->now : 0;
    return event_wait(client->epoll, events, READY_MAX, left);
}

static unsigned take_events(struct leat_client *client, const struct epoll_event *events, int count)
{
    unsigned handled = 0;
    client->last_poll = client->now;
    client->polls = 0;
    for (int i = 0; i < count && client->failure == 0; i++)
        handled += take_event(client, &events[i]);
    return handled;
}

/* Waits for and handles every kind of event. */
static unsigned poll_events(struct leat_client *client, leat_ns until)
{
    const struct client_hooks *hooks = &client->options.hooks;
    struct epoll_event events[READY_MAX];
    if (hooks->wait != NULL && until > client->now) {
        hooks->wait(hooks->context, until);
        until = 0;
    }
    const int count = wait_events(client, events, until);
    client->now = client_clock(client);
    return take_events(client, events, count);
}

static bool poll_is_due(struct leat_client *client, bool spins)
{
    const bool polled = packet_port_polled(&client->port);
    const leat_ns most = polled && spins ? NS_BETWEEN_SPUN_LOOKS : NS_BETWEEN_LOOKS;
    return (!polled && ++client->polls >= POLLS_BETWEEN_LOOKS)
           || client->now - client->last_poll >= most;
}

/* Blocks until the link or any descriptor has an event. The link is polled once more after it is
 * armed. */
static unsigned poll_events_armed(struct leat_client *client, leat_ns until)
{
    struct link *link = client->port.link;
    unsigned handled = receive_packets(client);
    if (handled == 0 && client->failure == 0 && !client->woken)
        handled = poll_events(client, until);
    /* A failure may have closed the link. */
    if (client->port.link == link)
        link->ops->disarm(link);
    return handled;
}

/* The same for a caller that waits. A polled link is polled repeatedly for a while. */
static unsigned poll_events_longer(struct leat_client *client, leat_ns began, leat_ns until)
{
    if (client->port.link == NULL)
        return poll_events(client, until);
    loop_jitter_slept(&client->port.gap);
    if (!packet_port_polled(&client->port))
        return poll_events(client, until);
    if (client->options.hooks.wait != NULL) /* the test that moves the time moves the wire too */
        return poll_events(client, until) + receive_packets(client);
    unsigned handled = 0;
    const bool spun = client->now - began >= SPIN_NS;
    if (spun && client->port.arms && client->port.link->ops->arm(client->port.link))
        return poll_events_armed(client, until) + receive_packets(client);
    const leat_ns backoff_end = spun ? client->now + BACKOFF_NS : 0;
    if (backoff_end != 0 || poll_is_due(client, false))
        handled = poll_events(client, backoff_end < until ? backoff_end : until);
    else
        client->now = client_clock(client);
    return handled + receive_packets(client);
}

/* True if settle() has nothing to do, as is usual. */
static inline bool is_settled(const struct leat_client *client)
{
    return client->next_deadline > client->now && client->sessions_dirty == 0 && !client->work
           && !client->port.staged && client->failure == 0;
}

static void settle(struct leat_client *client)
{
    if (is_settled(client))
        return;
    if (client->failure == 0 && client->next_deadline <= client->now)
        run_timers(client);
    while (client->work && client->failure == 0)
        connect_advance(client);
    client_flush(client);
    if (client->failure != 0)
        connect_down(client);
}

unsigned client_step(struct leat_client *client, leat_ns now)
{
    struct epoll_event events[READY_MAX];
    client->now = now;
    client->woken = false;
    settle(client);
    unsigned handled = receive_links(client);
    handled += take_events(client, events, wait_events(client, events, 0));
    settle(client);
    client->leftover = false;
    return handled;
}

/* True if there are at most SPUN_LINKS_MAX. */
static bool are_few(uint64_t sessions)
{
    for (int i = 0; i < SPUN_LINKS_MAX; i++)
        sessions &= sessions - 1;
    return sessions == 0;
}

int client_run(struct leat_client *client, uint64_t timeout_ns)
{
    client->now = client_clock(client);
    client->woken = false;
    const leat_ns began = client->now;
    const leat_ns end = client_after(client->now, timeout_ns);
    const bool spins = timeout_ns == 0;
    unsigned handled = 0;
    if (client->port.link != NULL)
        loop_jitter_tick(&client->port.gap, client->now);
    settle(client);
    if (are_few(client->sessions_up))
        handled += receive_links(client);
    else
        handled += poll_events(client, 0);
    /* A caller that waits polls below anyway, unless there is always something before that. */
    if ((spins || handled > 0) && poll_is_due(client, spins))
        handled += poll_events(client, 0);
    settle(client);
    while (handled == 0 && !spins && client->now < end) {
        if (client->leftover || client->woken)
            break;
        handled += poll_events_longer(client, began,
                                      end < client->next_deadline ? end : client->next_deadline);
        settle(client);
    }
    client->leftover = false;
    client_arm(client);
    return (int)handled;
}

/* ---- public */

int leat_client_poll(leat_client *client, uint64_t timeout_ns)
{
    if (client == NULL || client_refuses(client, "leat_client_poll"))
        return LEAT_ERR_INVALID;
    return client_run(client, timeout_ns);
}

static bool due_now(const struct leat_client *client)
{
    return client->sessions_dirty != 0 || client->work || client->failure != 0 || client->leftover
           || client->port.more;
}

void client_set_timer(struct leat_client *client)
{
    const leat_ns when = due_now(client) ? 1 : client->next_deadline; /* 1: in the past */
    if (when == client->armed)
        return;
    /* A session over packets moves its deadlines with every packet: keep the earlier timer and let
     * it fire. */
    if (client->port.link != NULL && client->armed > client->now && when > client->armed)
        return;
    struct itimerspec spec = { 0 };
    if (when != LEAT_NS_NEVER) {
        spec.it_value.tv_sec = (time_t)(when / LEAT_NS_PER_S);
        spec.it_value.tv_nsec = (long)(when % LEAT_NS_PER_S);
    }
    timerfd_settime(client->timer, TFD_TIMER_ABSTIME, &spec, NULL);
    client->armed = when;
}

int leat_client_fd(leat_client *client)
{
    if (client == NULL)
        return LEAT_ERR_INVALID;
    if (packet_port_polled(&client->port))
        return client_error(client, LEAT_ERR_NOFD,
                            "a bypass port has nothing to wait on: poll the client in a loop");
    if (client->timer < 0) {
        const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        if (timer < 0)
            return client_error(client, LEAT_ERR_IO, "no descriptor for the timer: %s",
                                strerror(errno));
        struct epoll_event event = { .events = EPOLLIN };
        event.data.ptr = &client->timer;
        epoll_ctl(client->epoll, EPOLL_CTL_ADD, timer, &event);
        client->timer = timer;
        client->armed = LEAT_NS_NEVER;
    }
    client_arm(client);
    return client->epoll;
}

const char *leat_client_error(const leat_client *client)
{
    return client != NULL ? client->error : open_error;
}

const char *leat_strerror(int error)
{
    return leat_error_text(error);
}

const char *leat_version(void)
{
    return LEAT_VERSION;
}

int leat_client_stats(const leat_client *client, struct leat_client_stats *stats)
{
    if (client == NULL || stats == NULL || stats->size < sizeof stats->size)
        return LEAT_ERR_INVALID;
    const size_t size = stats->size < sizeof *stats ? stats->size : sizeof *stats;
    const size_t given = stats->size;
    struct leat_client_stats now = client->stats;
    for (uint32_t i = 0; i < client->sessions_end; i++)
        if (client->sessions[i] != NULL && client->sessions[i]->packets != NULL)
            session_packets_count(client->sessions[i], &now);
    memcpy(stats, &now, size);
    stats->size = given;
    return LEAT_OK;
}

static void free_client(struct leat_client *client)
{
    for (uint32_t i = 0; i < client->sessions_end; i++)
        client_session_free(client->sessions[i]);
    packet_port_close(client);
    control_channel_end(&client->control, client->epoll, LEAT_ERR_CLOSED, "the client was closed");
    control_channel_release(&client->control);
    if (client->timer >= 0)
        close(client->timer);
    if (client->epoll >= 0)
        close(client->epoll);
    free(client);
}

void leat_client_close(leat_client *client)
{
    if (client == NULL || client_refuses(client, "leat_client_close"))
        return;
    struct leat_producer *producer;
    while ((producer = TAILQ_FIRST(&client->producers)) != NULL)
        leat_producer_close(producer);
    struct leat_consumer *consumer;
    while ((consumer = TAILQ_FIRST(&client->consumers)) != NULL)
        leat_consumer_close(consumer);
    free_client(client);
}

static struct leat_client *make(const struct client_options *options, const struct url *url)
{
    struct leat_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return NULL;
    client->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (client->epoll < 0) {
        free(client);
        return NULL;
    }
    client->timer = -1;
    client->retry_at = LEAT_NS_NEVER;
    client->options = *options;
    client->url = *url;
    client->transport = url->transport;
    client->options.values.client_name = client->options.client_name;
    if (options->values.tcp_congestion != NULL)
        client->options.values.tcp_congestion = client->options.tcp_congestion;
    if (options->values.dpdk_port != NULL)
        client->options.values.dpdk_port = &client->options.dpdk_port;
    client->now = client_clock(client);
    const uint64_t seed = options->hooks.seed;
    client->backoff =
        (struct backoff){ .min_ns = options->values.backoff_min_ns,
                          .max_ns = options->values.backoff_max_ns,
                          .open_ns = options->values.circuit_open_ns,
                          .circuit_failures = options->values.circuit_failures,
                          .random = seed != 0 ? seed : client->now ^ (uint64_t)getpid() << 32 };
    control_channel_init(&client->control, liveness_notice, client);
    TAILQ_INIT(&client->held);
    TAILQ_INIT(&client->producers);
    TAILQ_INIT(&client->consumers);
    return client;
}

/* Tries each address once, until one answers hello. */
static int connect_first(struct leat_client *client)
{
    const leat_ns deadline = client_after(client->now, client->options.values.connect_timeout_ns);
    client->opening = true;
    client->next_deadline = 0;
    uint32_t failures = 0;
    while (client->phase != PHASE_READY) {
        if (client->now >= deadline)
            return client_error(client, LEAT_ERR_TIMEOUT, "no hello within connect_timeout_ns%s%s",
                                failures > 0 ? ": " : "", client->failure_text);
        client_run(client, deadline - client->now);
        if (client->backoff.failures == failures)
            continue;
        failures = client->backoff.failures;
        if (failures >= client->address_count + (client->transport != client->url.transport))
            return client_error(client, client->last_failure, "%s", client->failure_text);
        if (client->phase == PHASE_WAITING) /* otherwise the next attempt has begun */
            client->phase_end = client->next_deadline = client->now;
    }
    client->opening = false;
    return LEAT_OK;
}

/* Checks what depends on both the URL and the options. */
static int check_port(const struct url *url, const struct client_options *options)
{
    if (url->transport != URL_DPDK
        || (url->dpdk.device[0] != '\0') != (options->values.dpdk_port != NULL))
        return LEAT_OK;
    snprintf(open_error, sizeof open_error,
             "url: dpdk:// needs device=..., or dpdk_port in the options, and not both");
    return LEAT_ERR_INVALID;
}

int client_open(struct leat_client **client, const char *url,
                const struct leat_client_options *options, const struct client_hooks *hooks)
{
    struct client_options checked;
    struct url parsed;
    if (client == NULL)
        return LEAT_ERR_INVALID;
    int error = url_parse(&parsed, url != NULL ? url : URL_DEFAULT, open_error, sizeof open_error);
    if (error == LEAT_OK)
        error = options_client(&checked, options, open_error, sizeof open_error);
    if (error == LEAT_OK)
        error = check_port(&parsed, &checked);
    if (error != LEAT_OK)
        return error;
    if (checked.values.control_only != 0)
        parsed.transport = URL_TCP; /* control always uses TCP */
    checked.hooks = hooks != NULL ? *hooks : (struct client_hooks){ 0 };
    struct leat_client *opened = make(&checked, &parsed);
    if (opened == NULL) {
        snprintf(open_error, sizeof open_error, "client: no memory or no descriptor left: %s",
                 strerror(errno));
        return LEAT_ERR_NO_MEMORY;
    }
    error = connect_start(opened);
    if (error == LEAT_OK)
        error = connect_first(opened);
    if (error != LEAT_OK) {
        memcpy(open_error, opened->error, sizeof open_error);
        free_client(opened);
        return error;
    }
    *client = opened;
    return LEAT_OK;
}

int leat_client_open(leat_client **client, const char *url,
                     const struct leat_client_options *options)
{
    return client_open(client, url, options, NULL);
}

/* Control: open, close, and the loop of the control thread. */
#include "broker/control/control.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>
#include <urcu-qsbr.h>

#include "broker/control/control_topic_registry.h"
#include "broker/state/offsets_file.h"
#include "ops/log.h"

enum {
    QUEUE_RETRY_MS = 1, /* a shard does not tell when its mailbox has room */
};
#define STOP_PATIENCE_NS (10 * LEAT_NS_PER_S)

static leat_ns monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (leat_ns)t.tv_sec * LEAT_NS_PER_S + (leat_ns)t.tv_nsec;
}

/* ---- descriptors kept in reserve */

void control_lend_descriptors(struct control *control)
{
    control->lent++;
    for (int i = 0; i < CONTROL_SPARE_DESCRIPTORS; i++) {
        if (control->spare[i] >= 0)
            close(control->spare[i]);
        control->spare[i] = -1;
    }
}

void control_take_descriptors(struct control *control)
{
    if (--control->lent != 0)
        return;
    for (int i = 0; i < CONTROL_SPARE_DESCRIPTORS; i++)
        if (control->spare[i] < 0)
            control->spare[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* ---- open */

static void register_counters(struct control *control)
{
    struct control_counters *c = &control->counters;
    const struct metric_options list[] = {
        { "leat_control_connections_accepted_total", "Control connections accepted.", NULL,
          METRIC_COUNTER, &c->connections_accepted },
        { "leat_control_connections_refused_total", "Control connections refused for lack of room.",
          NULL, METRIC_COUNTER, &c->connections_refused },
        { "leat_control_connections_expired_total", "Control connections closed by keepalive.",
          NULL, METRIC_COUNTER, &c->connections_expired },
        { "leat_control_connections", "Control connections open.", NULL, METRIC_GAUGE,
          &c->connections },
        { "leat_control_requests_total", "Requests on control connections.", NULL, METRIC_COUNTER,
          &c->requests },
        { "leat_control_requests_refused_total", "Requests answered with an error.", NULL,
          METRIC_COUNTER, &c->requests_refused },
        { "leat_sessions", "Open sessions.", NULL, METRIC_GAUGE, &c->sessions },
        { "leat_topics", "Topics.", NULL, METRIC_GAUGE, &c->topics },
        { "leat_log_memory_bytes", "Memory reserved by logs.", NULL, METRIC_GAUGE, &c->log_bytes },
        { "leat_log_memory_normal_pages_bytes", "Memory reserved by logs on normal pages.", NULL,
          METRIC_GAUGE, &c->log_normal_bytes },
        { "leat_catalog_writes_total", "Times the catalog was stored.", NULL, METRIC_COUNTER,
          &c->catalog_writes },
        { "leat_catalog_failures_total", "Times the catalog could not be stored.", NULL,
          METRIC_COUNTER, &c->catalog_failures },
        { "leat_groups", "Consumer groups.", NULL, METRIC_GAUGE, &c->groups },
        { "leat_group_members", "Members of groups.", NULL, METRIC_GAUGE, &c->group_members },
        { "leat_group_offsets", "Offsets of groups, one per group and partition.", NULL,
          METRIC_GAUGE, &c->group_offsets },
        { "leat_groups_expired_total", "Groups deleted because they were unused.", NULL,
          METRIC_COUNTER, &c->groups_expired },
        { "leat_group_joins_total", "Joins of members, including rejoins.", NULL, METRIC_COUNTER,
          &c->group_joins },
        { "leat_group_joins_refused_total", "Joins that were refused.", NULL, METRIC_COUNTER,
          &c->group_joins_refused },
        { "leat_group_members_silent_total", "Members removed by session timeout.", NULL,
          METRIC_COUNTER, &c->group_silent },
        { "leat_group_members_fenced_total", "Members replaced by a new member with the same id.",
          NULL, METRIC_COUNTER, &c->group_fenced },
        { "leat_group_partitions_moved_total", "Partitions taken from a member of a group.", NULL,
          METRIC_COUNTER, &c->group_moves },
        { "leat_producer_names", "Producer names.", NULL, METRIC_GAUGE, &c->names },
        { "leat_producer_names_expired_total", "Producer names forgotten because they were unused.",
          NULL, METRIC_COUNTER, &c->names_expired },
        { "leat_shares_refused_total",
          "Refusals because a client had used its share of a table, or a table was full.", NULL,
          METRIC_COUNTER, &c->shares_refused },
        { "leat_required_held_back_total",
          "Seconds in which producers waited for a required reader, summed over partitions.", NULL,
          METRIC_COUNTER, &c->held_back },
        { "leat_group_offsets_writes_total", "Times the group offsets were stored.", NULL,
          METRIC_COUNTER, &c->offsets_writes },
        { "leat_group_offsets_failures_total", "Times the group offsets could not be stored.", NULL,
          METRIC_COUNTER, &c->offsets_failures },
        { "leat_required_readers_lost_total",
          "Required readers that producers stopped waiting for.", NULL, METRIC_COUNTER,
          &c->required_lost },
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        if (metrics_register(control->options.metrics, &list[i]) != LEAT_OK)
            log_line(LOG_WARN, "control.metric_refused", log_text("metric", list[i].name));
}

static void init(struct control *control, const struct control_options *options)
{
    control->options = *options;
    control->config = options->config;
    control->listener = (struct control_watched){ CONTROL_LISTENER, -1 };
    control->wake = (struct control_watched){ CONTROL_WAKE, options->wake };
    control->signals = (struct control_watched){ CONTROL_SIGNAL, -1 };
    control->epoll = -1;
    control->accept_again = LEAT_NS_NEVER;
    control->save_again = LEAT_NS_NEVER;
    control->offsets_due = LEAT_NS_NEVER;
    control->metadata_most = OFFSETS_FILE_METADATA_BYTES;
    control->names_due = LEAT_NS_NEVER;
    control->now = monotonic_ns();
    control->lent = 1; /* lent until control_open returns */
    for (int i = 0; i < CONTROL_SPARE_DESCRIPTORS; i++)
        control->spare[i] = -1;
    control->reserve = -1;
    TAILQ_INIT(&control->greeting);
    TAILQ_INIT(&control->open);
    TAILQ_INIT(&control->closing);
    TAILQ_INIT(&control->zombies);
    TAILQ_INIT(&control->work);
    TAILQ_INIT(&control->costly);
    TAILQ_INIT(&control->store.writing);
    TAILQ_INIT(&control->store.waiting);
    LIST_INIT(&control->creations);
    control->shard_count = options->config->shards;
    control->budget = (struct logmem_budget){ .limit_bytes = options->config->log_memory_bytes,
                                              .pages = options->config->hugepages,
                                              .opened = options->memory_opened,
                                              .closing = options->memory_closing };
}

/* The endpoint that clients are told for the bound address `bound`. */
static void set_endpoint(const struct control *control,
                         char out[LEAT_CONTROL_ADDRESS_BYTES_MAX + 1], const char *bound)
{
    const char *host = control->config->advertise_host;
    const bool v6 = strchr(host, ':') != NULL; /* needs brackets in front of a port */
    if (host[0] == '\0')
        snprintf(out, LEAT_CONTROL_ADDRESS_BYTES_MAX + 1, "%s", bound);
    else
        snprintf(out, LEAT_CONTROL_ADDRESS_BYTES_MAX + 1, "%s%s%s%s", v6 ? "[" : "", host,
                 v6 ? "]" : "", strrchr(bound, ':'));
}

/* The tables are large, but untouched pages take no memory. */
static bool open_shard_tables(struct control *control)
{
    if (!client_quotas_open(&control->quotas, control->shard_count))
        return false;
    for (uint32_t i = 0; i < control->shard_count; i++) {
        struct control_shard *shard = &control->shards[i];
        shard->link = control->options.shards[i];
        shard->sessions = calloc(control->config->sessions_max, sizeof *shard->sessions);
        shard->queue = calloc(CONTROL_QUEUE_SLOTS, sizeof *shard->queue);
        if (shard->sessions == NULL || shard->queue == NULL)
            return false;
        set_endpoint(control, control->endpoints[i], shard->link.tcp_address);
        if (shard->link.udp_address != NULL)
            set_endpoint(control, control->udp_endpoints[i], shard->link.udp_address);
    }
    return true;
}

bool control_watch(const struct control *control, int fd, void *what, int operation,
                   uint32_t events)
{
    struct epoll_event event = { .events = events, .data = { .ptr = what } };
    return epoll_ctl(control->epoll, operation, fd, &event) == 0;
}

static bool watch(const struct control *control, struct control_watched *what)
{
    return control_watch(control, what->fd, what, EPOLL_CTL_ADD, EPOLLIN);
}

static enum leat_error open_descriptors(struct control *control,
                                        char error_text[CONTROL_ERROR_TEXT])
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    control->epoll = epoll_create1(EPOLL_CLOEXEC);
    control->signals.fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (control->epoll < 0 || control->signals.fd < 0 || !watch(control, &control->wake)
        || !watch(control, &control->signals)) {
        snprintf(error_text, CONTROL_ERROR_TEXT,
                 "control: cannot create descriptors (%s): raise `ulimit -n`", strerror(errno));
        return LEAT_ERR_IO;
    }
    return LEAT_OK;
}

static enum leat_error listen_on(struct control *control, char error_text[CONTROL_ERROR_TEXT])
{
    const struct link_tcp_options link = { .socket_buffer_bytes = CONTROL_SOCKET_BYTES,
                                           .user_timeout_ms = control->config->keepalive_ms };
    const enum leat_error error =
        link_tcp_listen(&control->listener.fd, control->config->host, control->config->port, &link,
                        control->address, error_text);
    if (error != LEAT_OK)
        return error;
    if (!watch(control, &control->listener)) {
        snprintf(error_text, CONTROL_ERROR_TEXT, "control: epoll: %s", strerror(errno));
        return LEAT_ERR_IO;
    }
    return LEAT_OK;
}

enum leat_error control_open(struct control **out, const struct control_options *options,
                             char error_text[CONTROL_ERROR_TEXT])
{
    struct control *control = calloc(1, sizeof *control);
    if (control == NULL) {
        snprintf(error_text, CONTROL_ERROR_TEXT, "control: no memory");
        return LEAT_ERR_NO_MEMORY;
    }
    init(control, options);
    enum leat_error error = control_shares_open(control);
    if (error != LEAT_OK || !open_shard_tables(control)) {
        snprintf(error_text, CONTROL_ERROR_TEXT,
                 "control: not enough memory for %u sessions: lower sessions_max",
                 options->config->sessions_max);
        error = LEAT_ERR_NO_MEMORY;
    }
    if (error == LEAT_OK)
        error = open_descriptors(control, error_text);
    /* The port first: if it is in use, the rest is not worth doing. */
    if (error == LEAT_OK)
        error = listen_on(control, error_text);
    register_counters(control);
    control_memory_register(control);
    if (error == LEAT_OK && control_groups_open(control) != LEAT_OK) {
        snprintf(error_text, CONTROL_ERROR_TEXT, "control: not enough memory for groups");
        error = LEAT_ERR_NO_MEMORY;
    }
    if (error == LEAT_OK && worker_open(&control->worker, options->wake) != LEAT_OK) {
        snprintf(error_text, CONTROL_ERROR_TEXT, "control: no memory");
        error = LEAT_ERR_NO_MEMORY;
    }
    if (error == LEAT_OK)
        error = topic_registry_start(control, error_text);
    if (error == LEAT_OK)
        error = control_offsets_load(control, error_text);
    control_take_descriptors(control);
    control_take_reserve(control);
    *out = control; /* also on an error: control_close frees it */
    return error;
}

const char *control_address(const struct control *control)
{
    return control->address;
}

/* ---- the loop */

static void drain_wake(struct control *control)
{
    uint64_t count;
    const ssize_t got = read(control->wake.fd, &count, sizeof count);
    (void)got; /* the count has no meaning */
}

static void read_signal(struct control *control)
{
    struct signalfd_siginfo signal;
    if (read(control->signals.fd, &signal, sizeof signal) != sizeof signal)
        return;
    if (signal.ssi_signo == SIGHUP) {
        if (control->options.reload != NULL)
            control->options.reload(control->options.reload_user);
        return;
    }
    log_line(LOG_INFO, "leatd.stopping", log_u64("signal", signal.ssi_signo));
    control->stopping = true;
}

static void handle_event(struct control *control, const struct epoll_event *event)
{
    const enum control_source *source = event->data.ptr;
    switch (*source) {
    case CONTROL_LISTENER: control_conn_accept(control); break;
    case CONTROL_WAKE: drain_wake(control); break;
    case CONTROL_SIGNAL: read_signal(control); break;
    case CONTROL_CONN: control_conn_event(control, event->data.ptr, event->events); break;
    }
}

static int timeout_ms(const struct control *control, bool mail_left)
{
    leat_ns deadline = control_conn_deadline(control);
    const leat_ns groups = groups_deadline(&control->groups);
    if (!control->storing_limits && control->save_again < deadline)
        deadline = control->save_again;
    if (groups < deadline)
        deadline = groups;
    if (control->names_due < deadline)
        deadline = control->names_due;
    if (control->offsets_save == NULL && control->offsets_due < deadline)
        deadline = control->offsets_due;
    if (control->left_out_due && LIST_EMPTY(&control->creations))
        return mail_left ? QUEUE_RETRY_MS : 0;
    if (!TAILQ_EMPTY(&control->work) || !TAILQ_EMPTY(&control->costly) || deadline <= control->now
        || (control->store.telling && !mail_left))
        return 0;
    if (mail_left)
        return QUEUE_RETRY_MS;
    if (deadline == LEAT_NS_NEVER)
        return -1;
    const leat_ns wait = (deadline - control->now + LEAT_NS_PER_MS - 1) / LEAT_NS_PER_MS;
    return wait > INT32_MAX ? INT32_MAX : (int)wait;
}

/* True: every shard will wake control. False: some mailbox has mail. */
static bool prepare_sleep(struct control *control)
{
    bool sleeps = true;
    for (uint32_t i = 0; i < control->shard_count; i++)
        sleeps &= mailbox_prepare_sleep(control->shards[i].link.outbox);
    return sleeps;
}

static int wait_for_events(struct control *control, struct epoll_event *events, bool mail_left)
{
    int timeout = timeout_ms(control, mail_left);
    if (timeout != 0 && !prepare_sleep(control))
        timeout = 0;
    rcu_thread_offline();
    const int ready = epoll_wait(control->epoll, events, CONTROL_EVENTS_MAX, timeout);
    rcu_thread_online();
    for (uint32_t i = 0; i < control->shard_count; i++)
        mailbox_awake(control->shards[i].link.outbox);
    return ready > 0 ? ready : 0;
}

/* Handles `ready` events and their consequences. True: mail for a shard is still queued. */
static bool iterate(struct control *control, const struct epoll_event *events, int ready)
{
    for (int i = 0; i < ready; i++)
        handle_event(control, &events[i]);
    control_read_mail(control);
    worker_collect(control->worker);
    if (control->store.telling)
        catalog_tell(control);
    deletion_close_reaped(control);
    if (control->left_out_due)
        left_out_step(control);
    control_conn_work(control);
    control_groups_step(control);
    control_offsets_step(control);
    control_names_step(control);
    topic_registry_reserve(control);
    control_memory_step(control);
    const bool mail_left = control_flush_mail(control);
    /* With more events pending, a connection may only look silent. */
    if (ready < CONTROL_EVENTS_MAX)
        control_conn_expire(control);
    control_conn_reap(control);
    return mail_left;
}

void control_run(struct control *control)
{
    struct epoll_event events[CONTROL_EVENTS_MAX];
    bool mail_left = control_flush_mail(control);
    while (!control->stopping) {
        const int ready = wait_for_events(control, events, mail_left);
        control->now = monotonic_ns();
        mail_left = iterate(control, events, ready);
    }
    control_stop_shards(control);
}

bool control_step(struct control *control, leat_ns now)
{
    struct epoll_event events[CONTROL_EVENTS_MAX];
    const int ready = epoll_wait(control->epoll, events, CONTROL_EVENTS_MAX, 0);
    control->now = now;
    iterate(control, events, ready > 0 ? ready : 0);
    return ready > 0 || !TAILQ_EMPTY(&control->work) || !TAILQ_EMPTY(&control->costly);
}

/* ---- stopping */

/* The number of messages that shards have not read yet. */
static uint64_t unread(const struct control *control)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < control->shard_count; i++) {
        const struct control_shard *shard = &control->shards[i];
        const struct mailbox *box = shard->link.inbox;
        /* Relaxed: only used to see progress. */
        count += atomic_load_explicit(&box->tail, memory_order_relaxed)
                 - atomic_load_explicit(&box->head, memory_order_relaxed);
        count += shard->queue_tail - shard->queue_head;
    }
    return count;
}

void control_stop_shards(struct control *control)
{
    const struct message stop = { .type = MESSAGE_STOP };
    const struct timespec little = { .tv_nsec = 1000000 };
    leat_ns moved = monotonic_ns();
    struct message ignored;
    for (uint32_t i = 0; i < control->shard_count; i++)
        control_post(control, i, &stop);
    /* A shard whose outbox is full reads nothing, so drain it until the shard has read its mail.
     * The timeout starts again on progress: a shard with a lot of mail must not be cut off. */
    for (uint64_t left = unread(control), before = left;
         left != 0 && monotonic_ns() - moved < STOP_PATIENCE_NS; left = unread(control)) {
        control_flush_mail(control);
        if (left < before)
            moved = monotonic_ns();
        before = left;
        for (uint32_t i = 0; i < control->shard_count; i++)
            while (mailbox_receive(control->shards[i].link.outbox, &ignored))
                ;
        rcu_thread_offline();
        nanosleep(&little, NULL);
        rcu_thread_online();
    }
}

/* Completes the jobs of the worker. The shards have ended, so messages to them are discarded. */
static void end_jobs(struct control *control)
{
    do {
        for (uint32_t i = 0; i < control->shard_count; i++)
            control->shards[i].queue_head = control->shards[i].queue_tail;
        worker_drain(control->worker);
    } while (catalog_tell(control));
}

static void free_operations(struct control *control)
{
    rcu_barrier();
    deletion_close_reaped(control);
    if (control->worker != NULL)
        end_jobs(control);
    for (uint32_t i = 0; i < CONTROL_OPERATIONS_MAX; i++) {
        struct operation *op = control->operations[i].operation;
        if (op == NULL)
            continue;
        deletion_abandon(op);
        operation_free(control, op);
    }
}

bool control_close(struct control *control)
{
    struct control_conns *lists[] = { &control->greeting, &control->open, &control->closing };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        while (!TAILQ_EMPTY(lists[i]))
            control_conn_end(control, TAILQ_FIRST(lists[i]));
    control_conn_reap(control);
    free_operations(control);
    control_lend_descriptors(control);
    const bool offsets_stored = control_offsets_stop(control);
    control_groups_close(control);
    worker_close(control->worker);
    const bool topics_stored = topic_registry_stop(control);
    metrics_unregister(control->options.metrics, &control->counters, sizeof control->counters);
    control_memory_unregister(control);
    control_sessions_stop(control);
    producer_names_free(&control->names);
    client_quotas_close(&control->quotas);
    shares_close(&control->shares);
    const int descriptors[] = { control->listener.fd, control->signals.fd, control->epoll,
                                control->reserve };
    for (size_t i = 0; i < sizeof descriptors / sizeof descriptors[0]; i++)
        if (descriptors[i] >= 0)
            close(descriptors[i]);
    for (uint32_t i = 0; i < control->shard_count; i++) {
        free(control->shards[i].sessions);
        free(control->shards[i].queue);
    }
    free(control);
    return offsets_stored && topics_stored;
}

/* The shard's thread: clocks, spinning, backing off, sleeping. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>
#include <urcu-qsbr.h>

#include "broker/shard/shard_state.h"
#include "ops/log.h"
#include "transport/event_wait.h"

/* While the busy set is read directly, epoll is polled only after so many turns and so much time.
 * Polling it every few microseconds, when it only watches the listener, would dominate a record's
 * latency. */
enum { POLL_TURNS = 32 };
#define POLL_NS (4 * LEAT_NS_PER_US)
#define POLL_SELDOM_NS (200 * LEAT_NS_PER_US)
#define BALANCED_SPIN_NS (50 * LEAT_NS_PER_US)
#define BACKOFF_MIN_NS (5 * LEAT_NS_PER_US)
#define BALANCED_BACKOFF_MAX_NS (100 * LEAT_NS_PER_US)
#define LAPTOP_BACKOFF_MAX_NS LEAT_NS_PER_MS
#define KEPT_PAUSE_NS (100 * LEAT_NS_PER_US)

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * LEAT_NS_PER_S + (uint64_t)t.tv_nsec;
}

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
    for (uint32_t i = 0; i < shard->link_count; i++)
        if (shard->links[i].ready)
            return true;
    return !TAILQ_EMPTY(&shard->output);
}

/* Messages that the mailbox to control had no room for, and logs that a link still sends from, are
 * retried soon: nothing announces that they can go. */
static bool has_unreported(const struct shard *shard)
{
    return shard->holds || shard_has_notices(shard) || !TAILQ_EMPTY(&shard->unreported)
           || !TAILQ_EMPTY(&shard->leaving);
}

static bool has_kept(const struct shard *shard)
{
    for (uint32_t i = 0; i < shard->link_count; i++)
        if (shard->links[i].kept != 0)
            return true;
    return false;
}

static void disarm_links(struct shard *shard)
{
    if (!shard->armed)
        return;
    shard->armed = false;
    for (uint32_t i = 0; i < shard->link_count; i++) {
        struct link *link = shard->links[i].link;
        if (link->limits.polled)
            link->ops->disarm(link);
    }
}

/* Arms the polled links to wake the shard, if all of them can. Otherwise they are polled with a
 * backoff. True: they were armed just now, and must be polled once more before sleeping. */
static bool arm_links(struct shard *shard)
{
    if (shard->armed || shard->polled_links == 0 || shard->unarmed_links != 0)
        return false;
    shard->armed = true;
    for (uint32_t i = 0; i < shard->link_count; i++) {
        struct link *link = shard->links[i].link;
        if (link->limits.polled && !link->ops->arm(link)) {
            disarm_links(shard);
            return false;
        }
    }
    return true;
}

/* When an armed link needs a flush. Links that are not armed are flushed all the time. */
static leat_ns links_deadline(const struct shard *shard)
{
    leat_ns first = LEAT_NS_NEVER;
    for (uint32_t i = 0; shard->armed && i < shard->link_count; i++) {
        const struct link *link = shard->links[i].link;
        const leat_ns deadline = link->ops->deadline(link);
        first = deadline < first ? deadline : first;
    }
    return first;
}

/* The backoff between polls of a link that cannot wake the shard; it grows while nothing
 * arrives. */
static leat_ns next_backoff(struct shard *shard)
{
    const leat_ns longest =
        shard->options.idle == IDLE_LAPTOP ? LAPTOP_BACKOFF_MAX_NS : BALANCED_BACKOFF_MAX_NS;
    const leat_ns backoff = shard->backoff == 0 ? BACKOFF_MIN_NS : 2 * shard->backoff;
    shard->backoff = backoff < longest ? backoff : longest;
    return shard->backoff;
}

/* How long to wait at most; LEAT_NS_NEVER: until an event. */
static leat_ns longest_wait(struct shard *shard)
{
    const leat_ns links = links_deadline(shard);
    leat_ns deadline = shard_deadline(shard);
    leat_ns wait = LEAT_NS_NEVER;
    if (links < deadline)
        deadline = links;
    if (deadline != LEAT_NS_NEVER)
        wait = deadline > shard->now ? deadline - shard->now : 0;
    if (has_unreported(shard) && wait > LEAT_NS_PER_MS)
        wait = LEAT_NS_PER_MS;
    if (has_kept(shard) && wait > KEPT_PAUSE_NS)
        wait = KEPT_PAUSE_NS;
    if (shard->polled_links != 0 && !shard->armed) {
        const leat_ns backoff = next_backoff(shard);
        wait = backoff < wait ? backoff : wait;
    }
    return wait;
}

/* Blocks until an event or a deadline. */
static void sleep_until_event(struct shard *shard)
{
    if (!mailbox_prepare_sleep(shard->options.inbox))
        return;
    rcu_thread_offline();
    const int ready =
        event_wait(shard->epoll, shard->events, SHARD_EVENTS_MAX, longest_wait(shard));
    rcu_thread_online();
    mailbox_awake(shard->options.inbox);
    loop_jitter_slept(&shard->loop_jitter);
    shard->event_count = ready > 0 ? ready : 0;
}

static bool any_busy(const struct shard *shard)
{
    for (int i = 0; i < SHARD_BUSY_MAX; i++)
        if (shard->busy_set[i] != NULL)
            return true;
    for (uint32_t i = 0; i < shard->link_count; i++)
        if (shard_link_is_busy(&shard->links[i]))
            return true;
    return false;
}

/* True when epoll should be polled while the busy set is read directly. */
static bool poll_is_due(struct shard *shard)
{
    const bool seldom = shard->watched == 0 && shard->polled_links != 0;
    const leat_ns pause = seldom ? POLL_SELDOM_NS : POLL_NS;
    if (++shard->turns_since_poll < POLL_TURNS || shard->now - shard->last_poll < pause)
        return false;
    shard->last_poll = shard->now;
    shard->turns_since_poll = 0;
    return true;
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
    if (shard->options.thread_enter != NULL)
        shard->options.thread_enter();
    const leat_ns start = clock_ns(CLOCK_MONOTONIC);
    wallclock_init(&shard->wallclock, start, clock_ns(CLOCK_REALTIME));
    leat_ns last_work = start;
    shard->expire_deadline = start + SHARD_EXPIRE_NS;
    while (!shard->stopping) {
        const enum idle_mode idle = shard->options.idle;
        const bool spins = idle == IDLE_LATENCY
                           || (idle == IDLE_BALANCED && shard->now - last_work < BALANCED_SPIN_NS);
        const bool busy = spins && any_busy(shard);
        if (!spins && !pending_work(shard) && !arm_links(shard)) {
            sleep_until_event(shard);
            disarm_links(shard);
        } else if (!busy || poll_is_due(shard)) {
            shard_poll_events(shard);
        }
        read_clock(shard);
        if (shard_iterate(shard, busy)) {
            last_work = shard->now;
            shard->backoff = 0;
            disarm_links(shard);
        }
        rcu_quiescent_state();
    }
    if (shard->options.thread_leave != NULL)
        shard->options.thread_leave();
    rcu_unregister_thread();
    return NULL;
}

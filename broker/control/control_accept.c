/* Accepts connections to the control port. If there is no room, it closes idle connections, or
 * accepts the new one only to tell the client why it is refused. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "broker/control/control_state.h"
#include "ops/log.h"

enum { ACCEPTS_PER_ITERATION = 64 };
#define ACCEPT_PAUSE_NS (100 * LEAT_NS_PER_MS)
/* A connection without a Hello for this long may be closed to make room. */
#define GREETER_GRACE_NS (100 * LEAT_NS_PER_MS)
/* One log line per episode without room. An episode ends when there was room for this long. */
#define EPISODE_NS (10 * LEAT_NS_PER_S)

void control_take_reserve(struct control *control)
{
    if (control->reserve < 0)
        control->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void control_conn_pause_accepting(struct control *control)
{
    control_watch(control, control->listener.fd, &control->listener, EPOLL_CTL_MOD, 0);
    control->accept_again = control->now + ACCEPT_PAUSE_NS;
}

static void say_full(struct control *control, const char *event, uint64_t limit, const char *advice)
{
    const bool told = control->now < control->full_until;
    control->full_until = control->now + EPISODE_NS;
    if (!told)
        log_line(LOG_WARN, event, log_u64("connections", control->connection_count),
                 log_u64("limit", limit), log_text("do", advice));
}

/* Closes the oldest connection that has not said Hello or is closing. False: there is none. */
static bool end_idle(struct control *control)
{
    struct control_conns *lists[] = { &control->greeting, &control->closing };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct control_conn *p = TAILQ_FIRST(lists[i]);
        if (p == NULL || control->now - p->since < GREETER_GRACE_NS)
            continue;
        control_conn_end(control, p);
        return true;
    }
    return false;
}

/* No descriptor is left. Closes an idle connection; otherwise frees the descriptor in reserve, to
 * accept the connection and tell the client the reason (*refused). False: accepting pauses. */
static bool evict_oldest(struct control *control, enum control_conn_refused *refused)
{
    struct rlimit limit = { .rlim_cur = 0 };
    getrlimit(RLIMIT_NOFILE, &limit);
    say_full(control, "control.no_descriptors", limit.rlim_cur,
             "raise the limit of open files (ulimit -n, LimitNOFILE)");
    if (end_idle(control) && control->reserve >= 0)
        return true;
    control_take_reserve(control);
    if (control->reserve < 0) {
        control_conn_pause_accepting(control);
        return false;
    }
    close(control->reserve);
    control->reserve = -1;
    *refused = CONN_NO_DESCRIPTOR;
    return true;
}

/* Enforces connections_max. A few connections more are accepted, to tell the client the reason
 * (*refused). False: accepting pauses. */
static bool make_room(struct control *control, enum control_conn_refused *refused)
{
    if (control->connection_count < control->config->connections_max || end_idle(control))
        return true;
    say_full(control, "control.connections_max", control->config->connections_max,
             "raise connections_max, or close connections");
    *refused = CONN_TOO_MANY;
    if (control->connection_count < control->config->connections_max + CONTROL_GUESTS_MAX)
        return true;
    control_conn_pause_accepting(control);
    return false;
}

void control_conn_give_place(struct control *control, struct control_conn *p)
{
    memory_account_give(&p->memory, sizeof *p);
    control->uncharged -= p->refused == CONN_NO_MEMORY;
}

static struct control_conn *charge_peer(struct memory_budget *memory)
{
    struct memory_account account = { .budget = memory };
    struct control_conn *p = memory_account_calloc(&account, sizeof *p);
    if (p != NULL)
        p->memory = account;
    return p;
}

/* Charges a new connection to its address. If there is no memory, closes an idle connection, or
 * accepts a few connections uncharged, to tell the client the reason (*refused). NULL: no memory.
 */
static struct control_conn *new_conn(struct control *control, const struct share_maker *maker,
                                     enum control_conn_refused *refused)
{
    struct memory_budget *memory = maker->address->memory;
    struct control_conn *p = charge_peer(memory);
    if (p == NULL && end_idle(control))
        p = charge_peer(memory);
    if (p != NULL || memory == NULL)
        return p;
    say_full(
        control, "control.client_memory", memory->whole->limit_bytes,
        "raise client_memory_bytes, or find the clients that use it: one address may hold half");
    if (control->uncharged == CONTROL_GUESTS_MAX)
        return NULL;
    p = charge_peer(NULL);
    *refused = CONN_NO_MEMORY;
    if (p != NULL) {
        p->refused = CONN_NO_MEMORY;
        control->uncharged++;
    }
    return p;
}

static void refuse_at_once(struct control *control, int fd, const char *reason)
{
    metric_add(&control->counters.connections_refused, 1);
    log_line(LOG_WARN, "control.not_taken", log_text("reason", reason));
    close(fd);
}

static void add(struct control *control, int fd, enum control_conn_refused refused)
{
    uint8_t address[LINK_TCP_PEER_BYTES];
    link_tcp_peer(fd, address);
    struct share_maker *maker = shares_enter(&control->shares, address);
    struct control_conn *p = maker != NULL ? new_conn(control, maker, &refused) : NULL;
    if (p == NULL || !control_watch(control, fd, p, EPOLL_CTL_ADD, EPOLLIN)) {
        refuse_at_once(control, fd, p == NULL ? "no memory" : "epoll_ctl failed");
        if (p != NULL)
            control_conn_give_place(control, p);
        free(p);
        if (maker != NULL)
            shares_leave(maker);
        return;
    }
    p->maker = maker;
    p->source = CONTROL_CONN;
    p->fd = fd;
    p->interest = EPOLLIN;
    p->state = CONN_GREETING;
    p->refused = refused;
    p->since = control->now;
    LIST_INIT(&p->sessions);
    LIST_INIT(&p->operation_list);
    TAILQ_INSERT_TAIL(&control->greeting, p, node);
    control->connection_count++;
    metric_add(refused == CONN_WELCOME ? &control->counters.connections_accepted
                                       : &control->counters.connections_refused,
               1);
    metric_set(&control->counters.connections, control->connection_count);
}

void control_conn_accept(struct control *control)
{
    bool any = false;
    control_take_reserve(control);
    for (int i = 0; i < ACCEPTS_PER_ITERATION; i++) {
        enum control_conn_refused refused = CONN_WELCOME;
        int fd;
        if (any && control->connection_count >= control->config->connections_max)
            return; /* the next connection may find room in the next iteration */
        if (!make_room(control, &refused))
            return;
        enum leat_error error = link_tcp_accept(control->listener.fd, &fd);
        /* accept(2) allocates a descriptor before it checks for a pending connection. After one
         * accept succeeded there may be no other connection pending, so close nothing for it. */
        if (error == LEAT_ERR_LIMIT && (any || !evict_oldest(control, &refused)))
            return;
        if (error == LEAT_ERR_LIMIT)
            error = link_tcp_accept(control->listener.fd, &fd);
        if (error != LEAT_OK)
            return;
        any = true;
        add(control, fd, refused);
    }
}

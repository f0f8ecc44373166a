/* Control connections: input, output, turns, keepalive, closing. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/control/control_state.h"
#include "ops/log.h"
#include "transport/event_wait.h"

enum {
    REQUESTS_PER_TURN = 8,
    IN_BYTES_MIN = 4096,
    HELLO_BYTES_MAX = LEAT_CONTROL_PREFIX_BYTES + LEAT_CONTROL_HELLO_BYTES_MAX,
    DROP_BYTES = 16384,
    COSTLY_ROWS_MIN = 16, /* cost of any costly request: lookups and messages */
};
#define HELLO_NS (10 * LEAT_NS_PER_S)
#define CLOSING_NS LEAT_NS_PER_S

/* ---- the lists */

static struct control_conns *list_of(struct control *control, const struct control_conn *p)
{
    switch (p->state) {
    case CONN_GREETING: return &control->greeting;
    case CONN_OPEN: return &control->open;
    case CONN_CLOSING: return &control->closing;
    }
    return NULL;
}

/* The connection enters `state`, or received something in it: restarts its timeout. */
static void move(struct control *control, struct control_conn *p, enum control_conn_state state)
{
    TAILQ_REMOVE(list_of(control, p), p, node);
    p->state = state;
    p->since = control->now;
    TAILQ_INSERT_TAIL(list_of(control, p), p, node);
}

bool control_conn_end_oldest(struct control *control)
{
    struct control_conn *p = TAILQ_FIRST(&control->greeting);
    if (p == NULL)
        p = TAILQ_FIRST(&control->closing);
    if (p == NULL)
        return false;
    control_conn_end(control, p);
    return true;
}

/* ---- the queue of costly requests */

static void join_costly(struct control *control, struct control_conn *p)
{
    p->costly = true;
    TAILQ_INSERT_TAIL(&control->costly, p, costly_node);
    control->costly_count++;
}

static void leave_costly(struct control *control, struct control_conn *p)
{
    if (!p->costly)
        return;
    p->costly = false;
    TAILQ_REMOVE(&control->costly, p, costly_node);
    control->costly_count--;
}

/* ---- closing */

void control_conn_end(struct control *control, struct control_conn *p)
{
    if (p->closed)
        return;
    p->closed = true;
    if (p->counted)
        shares_give_back(&control->shares, p->maker, SHARE_CONNECTIONS, 1);
    control_session_close_all(control, p);
    while (!LIST_EMPTY(&p->operation_list))
        operation_disown(LIST_FIRST(&p->operation_list));
    control_group_forget_conn(control, p);
    TAILQ_REMOVE(list_of(control, p), p, node);
    TAILQ_INSERT_TAIL(&control->zombies, p, node);
    if (p->working) {
        TAILQ_REMOVE(&control->work, p, work_node);
        control->work_count--;
    }
    leave_costly(control, p);
    event_close(control->epoll, p->fd);
    control_conn_give_place(control, p); /* at once: another connection may need it */
    control->connection_count--;
    metric_set(&control->counters.connections, control->connection_count);
    if (control->accept_again != LEAT_NS_NEVER)
        control->accept_again = control->now; /* a descriptor is free again */
}

void control_conn_open(struct control *control, struct control_conn *p, const char *client_name)
{
    strcpy(p->client_name, client_name);
    shares_take(&control->shares, p->maker, SHARE_CONNECTIONS, 1);
    p->counted = true;
    move(control, p, CONN_OPEN);
}

void control_conn_end_soon(struct control *control, struct control_conn *p)
{
    if (p->closed)
        return; /* no memory for the last answer: closed at once */
    if (p->state != CONN_CLOSING)
        move(control, p, CONN_CLOSING);
    p->in_used = 0;
    leave_costly(control, p);
    control_conn_want_work(control, p);
}

static void free_input(struct control_conn *p)
{
    memory_account_give(&p->memory, p->in_room);
    free(p->in);
    p->in = NULL;
    p->in_room = p->in_used = 0;
}

static void free_output(struct control_conn *p)
{
    memory_account_give(&p->memory, p->out_room);
    free(p->out);
    p->out = NULL;
    p->out_room = p->out_from = p->out_to = 0;
}

static void free_buffers(struct control_conn *p)
{
    free_input(p);
    free_output(p);
}

void control_conn_reap(struct control *control)
{
    struct control_conn *p;
    while ((p = TAILQ_FIRST(&control->zombies)) != NULL) {
        TAILQ_REMOVE(&control->zombies, p, node);
        free_buffers(p);
        shares_leave(p->maker);
        free(p);
    }
}

static leat_ns patience(const struct control *control, const struct control_conn *p)
{
    switch (p->state) {
    case CONN_GREETING: return HELLO_NS;
    case CONN_OPEN: return (leat_ns)control->config->keepalive_ms * LEAT_NS_PER_MS;
    case CONN_CLOSING: return CLOSING_NS;
    }
    return 0;
}

void control_conn_expire(struct control *control)
{
    struct control_conns *lists[] = { &control->greeting, &control->open, &control->closing };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct control_conn *p;
        while ((p = TAILQ_FIRST(lists[i])) != NULL
               && control->now - p->since >= patience(control, p)) {
            if (p->state == CONN_OPEN) {
                metric_add(&control->counters.connections_expired, 1);
                log_line(LOG_INFO, "control.keepalive_expired", log_text("client", p->client_name));
            }
            control_conn_end(control, p);
        }
    }
    if (control->accept_again <= control->now) {
        control->accept_again = LEAT_NS_NEVER;
        control_watch(control, control->listener.fd, &control->listener, EPOLL_CTL_MOD, EPOLLIN);
    }
}

leat_ns control_conn_deadline(const struct control *control)
{
    const struct control_conn *const firsts[] = { TAILQ_FIRST(&control->greeting),
                                                  TAILQ_FIRST(&control->open),
                                                  TAILQ_FIRST(&control->closing) };
    leat_ns deadline = control->accept_again;
    for (size_t i = 0; i < sizeof firsts / sizeof firsts[0]; i++)
        if (firsts[i] != NULL && firsts[i]->since + patience(control, firsts[i]) < deadline)
            deadline = firsts[i]->since + patience(control, firsts[i]);
    return deadline;
}

/* ---- in */

/* Whether to read and handle its requests. Answers hold memory until the client reads them. */
static bool welcome(const struct control_conn *p)
{
    return !p->costly && control_conn_owed(p) <= CONTROL_OUTPUT_PAUSE_BYTES
           && p->operations < CONTROL_OPERATIONS_PER_CONNECTION;
}

/* The buffer grows with the bytes received, not with the announced length. */
static bool make_input_room(struct control_conn *p)
{
    uint32_t total = 0;
    size_t wanted = p->state == CONN_GREETING ? HELLO_BYTES_MAX : IN_BYTES_MIN;
    if (p->state == CONN_OPEN && leat_control_length(p->in, p->in_used, &total) == LEAT_OK
        && total > wanted && 2 * p->in_used > wanted)
        wanted = 2 * p->in_used < total ? 2 * p->in_used : total;
    if (p->in_room >= wanted)
        return true;
    uint8_t *bytes = memory_account_realloc(&p->memory, p->in, p->in_room, wanted);
    if (bytes == NULL)
        return false;
    p->in = bytes;
    p->in_room = wanted;
    return true;
}

/* Frees empty buffers: an idle connection has none. */
static void shrink(struct control_conn *p)
{
    if (p->in_used == 0)
        free_input(p);
    if (p->out_from == p->out_to)
        free_output(p);
}

/* False: it ended. */
static bool receive(struct control *control, struct control_conn *p)
{
    size_t got;
    if (!make_input_room(p)) {
        free_input(p); /* makes room for the answer */
        control_conn_refuse(control, p, 0, LEAT_ERR_NO_MEMORY, "%s",
                            control_memory_text(control, p));
        control_conn_end_soon(control, p);
        return !p->closed;
    }
    if (p->in_used == p->in_room)
        return true; /* complete messages are waiting in the buffer */
    const enum leat_error error =
        link_tcp_receive(p->fd, p->in + p->in_used, p->in_room - p->in_used, &got);
    if (error == LEAT_ERR_CLOSED) {
        control_conn_end(control, p);
        return false;
    }
    p->input_ready = error == LEAT_OK;
    if (error == LEAT_OK) {
        p->in_used += got;
        if (p->state == CONN_OPEN)
            move(control, p, CONN_OPEN);
    }
    return true;
}

/* Handles one message. False: a costly request, which stays in the buffer until the turn of the
 * connection among those. */
static bool handle(struct control *control, struct control_conn *p, const uint8_t *bytes,
                   size_t size)
{
    Leat__Control__Request *request;
    if (leat_control_unpack_request(&request, bytes, size) != LEAT_OK) {
        control_conn_end(control, p);
        return true;
    }
    const bool costly = p->state == CONN_OPEN && control_request_is_costly(request);
    const bool now = !costly || p->costly_turn;
    if (now) {
        p->costly_turn &= !costly;
        metric_add(&control->counters.requests, 1);
        control_handle_request(control, p, request);
    } else {
        join_costly(control, p);
    }
    leat_control_free_request(request);
    if (now && !p->closed && p->state == CONN_GREETING)
        control_conn_end_soon(control, p); /* no Hello, or an invalid one */
    return now;
}

/* Handles complete messages. True: there may be more in the buffer. */
static bool handle_input(struct control *control, struct control_conn *p)
{
    size_t at = 0;
    bool more = false;
    if (p->in_used == 0)
        return false;
    for (int n = 0; !p->closed && p->state != CONN_CLOSING; n++) {
        uint32_t total;
        const enum leat_error error = leat_control_length(p->in + at, p->in_used - at, &total);
        if (error == LEAT_ERR_MALFORMED) {
            control_conn_end(control, p);
            return false;
        }
        if (error == LEAT_OK && p->state == CONN_GREETING && total > HELLO_BYTES_MAX) {
            control_conn_refuse(control, p, 0, LEAT_ERR_TOO_LARGE,
                                "the first message must be a Hello of at most %d bytes",
                                LEAT_CONTROL_HELLO_BYTES_MAX);
            control_conn_end_soon(control, p);
            return false;
        }
        if (error != LEAT_OK || total > p->in_used - at)
            break;
        if (n == REQUESTS_PER_TURN || !welcome(p)) {
            more = true;
            break;
        }
        if (!handle(control, p, p->in + at + LEAT_CONTROL_PREFIX_BYTES,
                    total - LEAT_CONTROL_PREFIX_BYTES))
            break;
        at += total;
    }
    if (p->closed || p->state == CONN_CLOSING)
        return false;
    memmove(p->in, p->in + at, p->in_used - at);
    p->in_used -= at;
    return more;
}

/* Discards input while closing. Otherwise the kernel would answer unread bytes with a RST, and the
 * client could lose the last answer. */
static void drop_input(struct control *control, struct control_conn *p)
{
    uint8_t bytes[DROP_BYTES];
    size_t got;
    if (link_tcp_receive(p->fd, bytes, sizeof bytes, &got) == LEAT_ERR_CLOSED)
        control_conn_end(control, p);
}

/* ---- out */

/* False: it ended. */
static bool flush(struct control *control, struct control_conn *p)
{
    while (control_conn_owed(p) > 0) {
        const struct iovec piece = { .iov_base = p->out + p->out_from,
                                     .iov_len = control_conn_owed(p) };
        size_t sent;
        const enum leat_error error = link_tcp_send(p->fd, &piece, 1, &sent);
        if (error == LEAT_AGAIN)
            return true;
        if (error != LEAT_OK) {
            control_conn_end(control, p);
            return false;
        }
        p->out_from += sent;
    }
    if (p->state == CONN_CLOSING && link_tcp_end_output(p->fd) != LEAT_OK) {
        control_conn_end(control, p);
        return false;
    }
    return true;
}

/* ---- turns */

void control_conn_want_work(struct control *control, struct control_conn *p)
{
    if (p->working || p->closed)
        return;
    p->working = true;
    TAILQ_INSERT_TAIL(&control->work, p, work_node);
    control->work_count++;
}

void control_conn_event(struct control *control, struct control_conn *p, uint32_t events)
{
    if (p->closed)
        return;
    if ((events & EPOLLIN) != 0)
        p->input_ready = true;
    else if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
        control_conn_end(control, p);
        return;
    }
    control_conn_want_work(control, p);
}

static void set_interest(struct control *control, struct control_conn *p)
{
    const bool reads = p->state == CONN_CLOSING || welcome(p);
    const uint32_t interest = (reads ? EPOLLIN : 0) | (control_conn_owed(p) > 0 ? EPOLLOUT : 0);
    if (interest != p->interest && control_watch(control, p->fd, p, EPOLL_CTL_MOD, interest))
        p->interest = interest;
}

static void turn(struct control *control, struct control_conn *p)
{
    bool more = false;
    if (p->state == CONN_CLOSING) {
        if (p->input_ready)
            drop_input(control, p);
        p->input_ready = false;
    } else {
        if (welcome(p) && p->input_ready && !receive(control, p))
            return;
        p->input_ready = false; /* epoll is level-triggered */
        more = !p->costly && handle_input(control, p);
    }
    if (p->closed || !flush(control, p))
        return;
    shrink(p);
    set_interest(control, p);
    if (more && welcome(p))
        control_conn_want_work(control, p);
}

static void cheap_turns(struct control *control)
{
    /* A connection that needs another turn is queued behind the others, for the next iteration. */
    for (uint32_t turns = control->work_count; turns > 0; turns--) {
        struct control_conn *p = TAILQ_FIRST(&control->work);
        if (p == NULL)
            return;
        TAILQ_REMOVE(&control->work, p, work_node);
        control->work_count--;
        p->working = false;
        turn(control, p);
    }
}

/* Handles one costly request of each connection that waits, within the budget of the iteration. */
static void costly_turns(struct control *control)
{
    control->cost = 0;
    for (uint32_t turns = control->costly_count;
         turns > 0 && control->cost < CONTROL_COST_PER_ITERATION; turns--) {
        struct control_conn *p = TAILQ_FIRST(&control->costly);
        if (p == NULL)
            return;
        leave_costly(control, p);
        p->costly_turn = true;
        control_charge(control, COSTLY_ROWS_MIN);
        turn(control, p);
        p->costly_turn = false;
    }
}

void control_conn_work(struct control *control)
{
    cheap_turns(control);
    costly_turns(control);
}

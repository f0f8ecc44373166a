/* Goal: a connection that was closed brings no more events, also while somebody else still has it
 * open: another thread in the middle of a system call on it, as a DPDK port's is now and then, or a
 * process that inherited it. What the events pointed at is freed by then. Method: a real leatd, and
 * a client, whose connections this process copies before they are closed; the kernel says what
 * their epoll instances watch. */
#include <criterion/criterion.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/leat.h"
#include "tests/support/bus.h"
#include "tests/support/holder.h"
#include "tests/support/leatd.h"
#include "tests/support/wire.h"

static struct leatd broker;
static struct holder holder;

static void set_up(void)
{
    leatd_start(&broker);
}

static void tear_down(void)
{
    holder_drop(&holder);
    cr_assert(leatd_alive(&broker), "the broker died");
    cr_assert_not(leatd_log_has(&broker, "Sanitizer"), "see %s", broker.log_path);
    leatd_end(&broker);
}

TestSuite(held_connections, .init = set_up, .fini = tear_down, .timeout = 60);

static void turn(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* Once it has so many: a connection is accepted, and then watched, in the broker's own time. */
static void hold(pid_t pid, unsigned at_least)
{
    for (int turns = 0;; turns++) {
        if (!holder_take(&holder, pid))
            cr_skip_test("this kernel lends no descriptors of another process");
        if (holder.count >= at_least && holder_watched(&holder) == holder.count)
            break;
        cr_assert_lt(turns, 20000, "%u connections, %u watched", holder.count,
                     holder_watched(&holder));
        holder_drop(&holder);
        turn();
    }
    cr_assert_eq(holder_open(&holder), holder.count);
}

/* It closes them all, and watches none of them. */
static void wait_until_closed(void)
{
    for (int turns = 0; holder_open(&holder) > 0; turns++) {
        cr_assert_lt(turns, 20000, "%u are open", holder_open(&holder));
        turn();
    }
    cr_assert_eq(holder_watched(&holder), 0, "%u closed connections are watched",
                 holder_watched(&holder));
}

Test(held_connections, of_control)
{
    const int fd = wire_control(broker.control);
    hold(broker.pid, 1);
    close(fd);
    wait_until_closed();
    close(wire_control(broker.control));
}

Test(held_connections, that_never_attached)
{
    const int control = wire_control(broker.control);
    const int fd = wire_connect(broker.data[0]);
    wire_create_topic(control, "t", 1 << 20, 1);
    const struct wire_grant grant = wire_open_session(control, 0);
    (void)grant;
    hold(broker.pid, 2);
    close(fd);
    close(control);
    wait_until_closed();
}

Test(held_connections, of_sessions)
{
    int16_t status;
    const int control = wire_control(broker.control);
    const struct wire_grant grant = wire_open_session(control, 0);
    const int fd = wire_attach(broker.data[0], &grant, &status);
    cr_assert_eq(status, LEAT_OK);
    hold(broker.pid, 2);
    close(fd);
    close(control);
    wait_until_closed();
}

/* Told why, and then lingering. */
Test(held_connections, of_a_session_that_is_reset)
{
    int16_t status;
    const int control = wire_control(broker.control);
    const struct wire_grant grant = wire_open_session(control, 0);
    const int fd = wire_attach(broker.data[0], &grant, &status);
    cr_assert_eq(status, LEAT_OK);
    hold(broker.pid, 2);
    char nonsense[256];
    memset(nonsense, 0xFF, sizeof nonsense);
    cr_assert(wire_send(fd, nonsense, sizeof nonsense));
    close(control);
    wait_until_closed();
    close(fd);
}

/* A client whose broker went away, while a child of its application has inherited everything. */
Test(held_connections, of_a_client)
{
    leat_client *client = bus_open(broker.url);
    bus_create(client, "t", (struct leat_topic_settings){ 0 });
    leat_producer *producer = bus_producer(client, "t");
    bus_publish(producer, 1);
    hold(getpid(), 2);
    leatd_kill(&broker);
    for (int turns = 0; holder_open(&holder) > 0; turns++) {
        cr_assert_lt(turns, PATIENCE_TURNS);
        cr_assert_geq(leat_client_poll(client, SECOND / 10), 0);
    }
    cr_assert_eq(holder_watched(&holder), 0);
    leatd_restart(&broker);
    for (int turns = 0; bus_count_events(LEAT_EVENT_CONNECTED) < 2; turns++) {
        cr_assert_lt(turns, PATIENCE_TURNS);
        cr_assert_geq(leat_client_poll(client, SECOND / 10), 0);
    }
    leat_client_close(client);
}

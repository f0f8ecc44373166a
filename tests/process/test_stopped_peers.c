/* Goal: a process that is stopped (SIGSTOP), whose kernel goes on acknowledging for it, is noticed
 * at the other end within some keepalives, be it the broker or a client; who was given up is told
 * when it runs again, and goes on with nothing lost or doubled. Method: real processes, stopped by
 * their pid; a leatd with a short keepalive. The kernel's own part, TCP_USER_TIMEOUT, alone: a peer
 * that takes nothing, over connections made as broker and client make theirs; by itself the kernel
 * would try for a quarter of an hour. */
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/leat.h"
#include "tests/support/bus.h"
#include "tests/support/leatd.h"
#include "transport/link_tcp.h"

#define CONFIG "{\"port\": 0, \"data_port\": 0, \"hugepages\": \"off\", \"keepalive_ms\": 300}"

enum { USER_TIMEOUT_MS = 300, PATIENCE_MS = 30000 };

static void stop(pid_t child)
{
    cr_assert_eq(kill(child, SIGSTOP), 0);
    cr_assert_eq(waitpid(child, NULL, WUNTRACED), child);
}

static void end(pid_t child)
{
    kill(child, SIGKILL);
    cr_assert_eq(waitpid(child, NULL, 0), child);
}

/* ---- the kernel's part */

static const struct link_tcp_options options = { .socket_buffer_bytes = 1 << 16,
                                                 .user_timeout_ms = USER_TIMEOUT_MS };

static pid_t fork_peer(void)
{
    const pid_t parent = getpid(), child = fork();
    cr_assert_geq(child, 0);
    if (child == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent))
        _exit(1);
    return child;
}

/* Sends to the stopped peer until nothing more is taken; the kernel must end the connection. */
static void expect_end(int fd)
{
    static uint8_t bytes[1 << 16];
    const struct iovec piece = { .iov_base = bytes, .iov_len = sizeof bytes };
    unsigned set = 0;
    socklen_t size = sizeof set;
    size_t sent;
    enum leat_error error = LEAT_OK;
    cr_assert_eq(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &set, &size), 0);
    cr_assert_eq(set, (unsigned)USER_TIMEOUT_MS);
    while (error == LEAT_OK || error == LEAT_AGAIN) {
        error = link_tcp_send(fd, &piece, 1, &sent);
        struct pollfd wait = { .fd = fd, .events = POLLOUT };
        if (error == LEAT_AGAIN)
            cr_assert_eq(poll(&wait, 1, PATIENCE_MS), 1, "the kernel does not give up");
    }
    cr_assert_eq(error, LEAT_ERR_CLOSED);
    cr_assert_eq(errno, ETIMEDOUT);
    close(fd);
}

Test(stopped_peers, what_was_accepted_ends_when_its_peer_takes_nothing, .timeout = 60)
{
    char bound[LINK_TCP_ADDRESS_TEXT], text[LINK_TCP_ERROR_TEXT];
    struct sockaddr_storage address;
    int listener, fd;
    cr_assert_eq(link_tcp_listen(&listener, "127.0.0.1", 0, &options, bound, text), LEAT_OK);
    const uint16_t port = (uint16_t)strtoul(strrchr(bound, ':') + 1, NULL, 10);
    cr_assert_eq(link_tcp_address("127.0.0.1", port, &address), LEAT_OK);
    const pid_t child = fork_peer();
    if (child == 0) {
        const int mine = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(mine, (struct sockaddr *)&address, sizeof(struct sockaddr_in)) != 0)
            _exit(1);
        for (;;)
            pause();
    }
    struct pollfd wait = { .fd = listener, .events = POLLIN };
    cr_assert_eq(poll(&wait, 1, PATIENCE_MS), 1);
    cr_assert_eq(link_tcp_accept(listener, &fd), LEAT_OK);
    stop(child);
    expect_end(fd);
    end(child);
    close(listener);
}

Test(stopped_peers, what_was_connected_ends_when_its_peer_takes_nothing, .timeout = 60)
{
    char bound[LINK_TCP_ADDRESS_TEXT], text[LINK_TCP_ERROR_TEXT];
    struct sockaddr_storage address;
    int listener, fd;
    const struct link_tcp_options plain = { .socket_buffer_bytes = 1 << 16 };
    cr_assert_eq(link_tcp_listen(&listener, "127.0.0.1", 0, &plain, bound, text), LEAT_OK);
    const uint16_t port = (uint16_t)strtoul(strrchr(bound, ':') + 1, NULL, 10);
    cr_assert_eq(link_tcp_address("127.0.0.1", port, &address), LEAT_OK);
    const pid_t child = fork_peer();
    if (child == 0)
        for (;;)
            pause(); /* the connection waits at its listener */
    close(listener); /* the child's alone */
    stop(child);
    cr_assert_eq(link_tcp_connect(&fd, &address, &options), LEAT_OK);
    struct pollfd wait = { .fd = fd, .events = POLLOUT };
    cr_assert_eq(poll(&wait, 1, PATIENCE_MS), 1);
    cr_assert_eq(link_tcp_connected(fd), LEAT_OK);
    expect_end(fd);
    end(child);
}

/* ---- a broker that is stopped */

BUS_TEST(stopped_peers, a_client_of_a_stopped_broker_is_told_and_goes_on)
{
    enum { BEFORE = 5, WITHIN = 5 };
    struct leatd broker;
    leatd_start_config(&broker, CONFIG);
    leat_client *client = bus_open(bus_url(way, broker.url));
    bus_create(client, "t", (struct leat_topic_settings){ 0 });
    leat_producer *producer = bus_producer(client, "t");
    leat_consumer *consumer = bus_consumer(client, "t", LEAT_START_EARLIEST, 0);
    for (uint64_t i = 0; i < BEFORE; i++)
        bus_publish(producer, i);
    stop(broker.pid);
    for (uint64_t i = BEFORE; i < BEFORE + WITHIN; i++) {
        const struct leat_record record = { .value = &i, .value_size = sizeof i };
        cr_assert_eq(leat_producer_send(producer, &record), 0);
    }
    for (int turns = 0; bus_count_events(LEAT_EVENT_DISCONNECTED) == 0; turns++) {
        cr_assert_lt(turns, PATIENCE_TURNS, "the client was not told");
        cr_assert_geq(leat_client_poll(client, SECOND / 10), 0);
    }
    cr_assert_eq(kill(broker.pid, SIGCONT), 0);
    cr_assert_eq(leat_producer_flush(producer, PATIENCE), 0);
    for (uint64_t i = 0; i < BEFORE + WITHIN; i++) {
        struct leat_record record;
        bus_consume(client, consumer, &record);
        cr_assert_eq(record.offset, i);
        cr_assert_eq(bus_value(&record), i);
    }
    cr_assert_eq(bus_count_events(LEAT_EVENT_GAP), 0u);
    leat_client_close(client);
    leatd_end(&broker);
}

/* ---- a client that is stopped */

enum { RECORDS = 400, VALUE = 1024 };

/* Reads all in order, in a process of its own. Exit status 0: each came once, and it was told that
 * it had been given up. */
static _Noreturn void read_all(const char *url, int ready)
{
    leat_client *client = bus_open(url);
    leat_consumer *consumer = bus_consumer(client, "t", LEAT_START_EARLIEST, 0);
    if (write(ready, "r", 1) != 1)
        _exit(2);
    for (uint64_t next = 0; next < RECORDS;) {
        struct leat_record record;
        if (leat_client_poll(client, SECOND / 10) < 0)
            _exit(3);
        const int n = leat_consumer_poll(consumer, &record, 1);
        if (n < 0 || (n == 1 && record.offset != next))
            _exit(4);
        next += (uint64_t)n;
    }
    _exit(bus_count_events(LEAT_EVENT_DISCONNECTED) == 0 ? 5
          : bus_count_events(LEAT_EVENT_GAP) != 0        ? 6
                                                         : 0);
}

BUS_TEST(stopped_peers, a_stopped_client_is_given_up_and_told_when_it_runs_again)
{
    struct leatd broker;
    int ready[2], status;
    char byte, value[VALUE] = "value";
    leatd_start_config(&broker, CONFIG);
    leat_client *client = bus_open(broker.url);
    bus_create(client, "t", (struct leat_topic_settings){ 0 });
    cr_assert_eq(pipe(ready), 0);
    const pid_t child = fork_peer();
    if (child == 0)
        read_all(bus_url(way, broker.url), ready[1]);
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    stop(child);
    leat_producer *producer = bus_producer(client, "t");
    for (unsigned i = 0; i < RECORDS; i++) {
        const struct leat_record record = { .value = value, .value_size = sizeof value };
        cr_assert_eq(leat_producer_send_wait(producer, &record, NULL, PATIENCE), 0);
    }
    for (int turns = 0; !leatd_log_has(&broker, "control.keepalive_expired"); turns++) {
        cr_assert_lt(turns, PATIENCE_TURNS, "the broker does not say so");
        cr_assert_geq(leat_client_poll(client, SECOND / 10), 0);
    }
    cr_assert_eq(kill(child, SIGCONT), 0);
    while (waitpid(child, &status, WNOHANG) == 0)
        cr_assert_geq(leat_client_poll(client, SECOND / 100), 0);
    cr_assert(WIFEXITED(status));
    cr_assert_eq(WEXITSTATUS(status), 0, "%d: see read_all", WEXITSTATUS(status));
    cr_assert_eq(bus_count_events(LEAT_EVENT_DISCONNECTED), 0u, "nobody else was given up");
    leat_client_close(client);
    leatd_end(&broker);
}

/* Goal: what connections and their requests make control hold is charged, bounded before Hello and
 * after it, for one connection, for one address and for all groups, refused with a reason, and
 * given back. Method: control itself in this process with a small budget, stepped in virtual time,
 * with raw connections over loopback. */
#include <criterion/criterion.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "schema/bytes.h"
#include "schema/control.h"
#include "tests/support/control_rig.h"
#include "tests/support/wire.h"

enum { PEERS = 64, LIMIT = 32 << 20, STEPS = 200 };

static struct control_rig rig;
static uint64_t empty; /* what control takes without clients */

static void set_up(void)
{
    rig_init(&rig);
    rig.config.topics->settings.partitions = 4;
    rig.head_offset = 1000;
    rig.memory.limit_bytes = LIMIT;
    rig_open(&rig);
    empty = rig.memory.used_bytes;
}

static void tear_down(void)
{
    rig_close(&rig);
}

TestSuite(control_memory, .init = set_up, .fini = tear_down, .timeout = 30);

static void steps(int count)
{
    rig_pass(&rig, (leat_ns)count * LEAT_NS_PER_MS, (unsigned)count);
}

/* Bytes as they are, taken by control as far as it takes them. */
static void say(int fd, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        const ssize_t sent = send(fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        steps(1);
        if (sent <= 0) {
            struct pollfd wait = { .fd = fd, .events = POLLOUT };
            cr_assert_geq(poll(&wait, 1, 0), 0);
            if ((wait.revents & (POLLERR | POLLHUP)) != 0)
                return;
            continue;
        }
        bytes += sent;
        size -= (size_t)sent;
    }
}

static int error_of(int fd, const char *text)
{
    return rig_error(rig_answer(&rig, fd), text);
}

static int connect_from(const char *host)
{
    const int fd = wire_connect_from(control_address(rig.control), host);
    steps(1);
    return fd;
}

static void send_hello(int fd)
{
    Leat__Control__Hello hello = LEAT__CONTROL__HELLO__INIT;
    hello.version_min = hello.version_max = LEAT_PROTOCOL_VERSION;
    hello.client_name = (char *)"peer";
    rig_send(&rig, fd, LEAT__CONTROL__REQUEST__BODY_HELLO, &hello);
}

static int new_peer(void)
{
    return rig_peer(&rig, "127.0.0.1");
}

static void announce(int fd, uint32_t size)
{
    uint8_t prefix[LEAT_CONTROL_PREFIX_BYTES];
    leat_store32(prefix, size);
    say(fd, prefix, sizeof prefix);
}

Test(control_memory, before_hello_a_connection_costs_little)
{
    static const uint8_t zeros[LEAT_CONTROL_HELLO_BYTES_MAX];
    int fds[PEERS];
    for (int i = 0; i < PEERS; i++) {
        fds[i] = connect_from("127.0.0.1");
        announce(fds[i], LEAT_CONTROL_HELLO_BYTES_MAX);
        say(fds[i], zeros, LEAT_CONTROL_HELLO_BYTES_MAX - 1);
    }
    steps(10);
    const uint64_t each = (rig.memory.used_bytes - empty) / PEERS;
    cr_assert_gt(each, (uint64_t)LEAT_CONTROL_HELLO_BYTES_MAX);
    cr_assert_leq(each, (uint64_t)4096, "%d connections hold %lu each", PEERS, (unsigned long)each);
    for (int i = 0; i < PEERS; i++)
        close(fds[i]);
    steps(10);
    cr_assert_eq(rig.memory.used_bytes, empty);
}

Test(control_memory, a_first_message_that_is_no_hello_by_its_size_is_refused)
{
    const int fd = connect_from("127.0.0.1");
    announce(fd, LEAT_CONTROL_HELLO_BYTES_MAX + 1);
    cr_assert_eq(error_of(fd, NULL), LEAT_ERR_TOO_LARGE);
    cr_assert_null(wire_response(fd));
    close(fd);
}

Test(control_memory, an_announced_message_costs_what_has_come_of_it)
{
    static uint8_t zeros[1 << 16];
    int fds[PEERS];
    for (int i = 0; i < PEERS; i++)
        fds[i] = new_peer();
    const uint64_t greeted = rig.memory.used_bytes;
    for (int i = 0; i < PEERS; i++)
        announce(fds[i], LEAT_CONTROL_BYTES_MAX);
    cr_assert_leq(rig.memory.used_bytes - greeted, (uint64_t)PEERS * 4096);
    say(fds[0], zeros, sizeof zeros);
    steps(20);
    cr_assert_geq(rig.memory.used_bytes - greeted, sizeof zeros);
    cr_assert_leq(rig.memory.used_bytes - greeted,
                  (uint64_t)PEERS * 4096 + 2 * sizeof zeros + 4096);
    for (int i = 0; i < PEERS; i++)
        close(fds[i]);
}

Test(control_memory, who_asks_for_more_than_there_is_hears_so_and_others_go_on)
{
    static uint8_t zeros[1 << 16];
    const int big = new_peer(), other = new_peer();
    rig.memory.limit_bytes = 2 * (rig.memory.used_bytes - empty + (16 << 10));
    announce(big, LEAT_CONTROL_BYTES_MAX);
    say(big, zeros, sizeof zeros);
    cr_assert_eq(error_of(big, "client_memory_bytes"), LEAT_ERR_NO_MEMORY);
    cr_assert_null(wire_response(big), "it is closed: the rest of its message would follow");
    Leat__Control__Ping ping = LEAT__CONTROL__PING__INIT;
    cr_assert_eq(rig_error(rig_ask(&rig, other, LEAT__CONTROL__REQUEST__BODY_PING, &ping), NULL),
                 LEAT_OK);
    close(big);
    close(other);
}

Test(control_memory, who_comes_when_it_is_used_up_takes_the_place_of_one_that_never_said_hello)
{
    const int silent = connect_from("127.0.0.1");
    steps(STEPS);
    rig.memory.limit_bytes = rig.memory.used_bytes;
    const int fd = connect_from("127.0.0.1");
    rig.memory.limit_bytes = LIMIT;
    send_hello(fd);
    cr_assert_eq(error_of(fd, NULL), LEAT_OK);
    cr_assert_null(wire_response(silent));
    close(silent);
    close(fd);
}

/* Commits offset `offset` in partition `partition` with a text of `size` bytes; its error. */
static int32_t commit(int fd, uint32_t partition, uint64_t offset, size_t size)
{
    char text[LEAT_GROUP_METADATA_MAX + 1] = { 0 };
    memset(text, 'm', size);
    Leat__Control__PartitionCommit one = LEAT__CONTROL__PARTITION_COMMIT__INIT;
    Leat__Control__PartitionCommit *list[] = { &one };
    Leat__Control__CommitOffsets asked = LEAT__CONTROL__COMMIT_OFFSETS__INIT;
    one.partition = partition;
    one.offset = offset;
    one.log_epoch = 1;
    one.metadata = text;
    asked.group = (char *)"g";
    asked.topic = (char *)"t";
    asked.n_offsets = 1;
    asked.offsets = list;
    Leat__Control__Response *response =
        rig_ask(&rig, fd, LEAT__CONTROL__REQUEST__BODY_COMMIT_OFFSETS, &asked);
    cr_assert_eq(response->error, LEAT_OK, "%s", response->error_text);
    cr_assert_eq(response->body_case, LEAT__CONTROL__RESPONSE__BODY_COMMITTED);
    const int32_t error = response->committed->offsets[0]->error;
    rig_done(response);
    return error;
}

Test(control_memory, texts_of_commits_are_bounded_in_all)
{
    const int fd = new_peer();
    rig.control->metadata_most = 1000;
    cr_assert_eq(commit(fd, 0, 1, 400), LEAT_OK);
    cr_assert_eq(commit(fd, 1, 1, 400), LEAT_OK);
    cr_assert_eq(commit(fd, 2, 1, 201), LEAT_ERR_NO_MEMORY);
    cr_assert_eq(commit(fd, 2, 1, 0), LEAT_OK, "without a text it needs none");
    cr_assert_eq(commit(fd, 2, 2, 200), LEAT_OK);
    cr_assert_eq(commit(fd, 1, 2, 400), LEAT_ERR_NO_MEMORY, "the old one stands until then");
    cr_assert_eq(rig.control->metadata_bytes, 1000u);
    rig.control->metadata_most = 2000;
    cr_assert_eq(commit(fd, 1, 2, 10), LEAT_OK);
    cr_assert_eq(rig.control->metadata_bytes, 610u);
    close(fd);
}

Test(control_memory, a_topic_whose_batches_nobody_could_send_is_refused)
{
    struct settings_error wrong;
    struct topic_settings settings = { .record_bytes_max = LEAT_RECORD_BYTES_LIMIT };
    char text[CONTROL_ERROR_TEXT];
    cr_assert_eq(settings_resolve(&settings, &wrong), LEAT_OK);
    cr_assert_not(control_memory_has_room(rig.control, "big", &settings, text));
    cr_assert_not_null(strstr(text, "client_memory_bytes"));
    cr_assert(control_memory_has_room(rig.control, "t", &rig.config.topics->settings, text));
}

/* ---- one address */

/* Messages that are announced and come but for their last byte, from one address until that is
 * refused; returns how many were not. */
static int fill_from(const char *host, int fds[PEERS])
{
    static uint8_t zeros[1 << 19];
    for (int i = 0; i < PEERS; i++) {
        struct pollfd told = { .events = POLLIN };
        fds[i] = rig_peer(&rig, host);
        announce(fds[i], sizeof zeros + 1);
        say(fds[i], zeros, sizeof zeros);
        steps(20);
        told.fd = fds[i];
        if (poll(&told, 1, 0) != 0)
            return i;
    }
    cr_assert_fail("nothing was refused");
    return 0;
}

Test(control_memory, one_address_holds_half_and_another_is_served)
{
    int fds[PEERS];
    const int count = fill_from("127.0.0.1", fds);
    cr_assert_gt(count, 4);
    cr_assert_eq(error_of(fds[count], "those of your address"), LEAT_ERR_NO_MEMORY);
    cr_assert_leq(rig.memory.used_bytes, (uint64_t)LIMIT / 2 + (1 << 16));
    const int other = rig_peer(&rig, "127.0.0.2");
    Leat__Control__OpenSession open = LEAT__CONTROL__OPEN_SESSION__INIT;
    cr_assert_eq(
        rig_error(rig_ask(&rig, other, LEAT__CONTROL__REQUEST__BODY_OPEN_SESSION, &open), NULL),
        LEAT_OK);
    cr_assert_eq(commit(other, 0, 1, 100), LEAT_OK);
    for (int i = 0; i <= count; i++)
        close(fds[i]);
    close(other);
    steps(20);
}

Test(control_memory, an_address_that_comes_back_has_no_other_half)
{
    int fds[PEERS];
    const int count = fill_from("127.0.0.1", fds);
    const struct memory_budget *part = rig.control->open.tqh_first->maker->address->memory;
    memory_part_hold((struct memory_budget *)part); /* as a shard does that has something of it */
    for (int i = 0; i <= count; i++)
        close(fds[i]);
    steps(20);
    const int fd = rig_peer(&rig, "127.0.0.1");
    cr_assert_eq(rig.control->open.tqh_first->maker->address->memory, part);
    memory_part_release((struct memory_budget *)part);
    close(fd);
    steps(20);
}

Test(control_memory, who_comes_when_it_is_used_up_is_told_so)
{
    enum { MANY = 2 * CONTROL_GUESTS_MAX };
    int fds[MANY];
    const int other = rig_peer(&rig, "127.0.0.1");
    rig.memory.limit_bytes = rig.memory.used_bytes;
    for (int i = 0; i < CONTROL_GUESTS_MAX; i++) {
        fds[i] = connect_from("127.0.0.1");
        send_hello(fds[i]);
        cr_assert_eq(error_of(fds[i], "client_memory_bytes"), LEAT_ERR_NO_MEMORY);
    }
    for (int i = 0; i < CONTROL_GUESTS_MAX; i++)
        close(fds[i]);
    steps(20);
    for (int i = 0; i < MANY; i++)
        fds[i] = connect_from("127.0.0.1"); /* they say nothing */
    cr_assert_eq(rig.control->uncharged, (uint32_t)CONTROL_GUESTS_MAX);
    cr_assert_null(wire_response(fds[MANY - 1]), "nobody waits without an end");
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    steps(20);
    cr_assert_eq(rig.control->uncharged, 0u);
    rig.memory.limit_bytes = LIMIT;
    close(other);
}

Test(control_memory, what_is_kept_for_groups_has_a_part_of_its_own)
{
    const int fd = new_peer();
    cr_assert_eq(memory_budget_limit(rig.control->kept), (uint64_t)LIMIT / MEMORY_OF_GROUPS);
    rig.control->kept->fraction = LIMIT / 3000;
    cr_assert_eq(commit(fd, 0, 1, 1000), LEAT_OK);
    cr_assert_eq(commit(fd, 1, 1, 1000), LEAT_OK);
    cr_assert_eq(commit(fd, 2, 1, 1000), LEAT_ERR_NO_MEMORY);
    rig.control->kept->fraction = MEMORY_OF_GROUPS;
    cr_assert_eq(commit(fd, 2, 1, 1000), LEAT_OK);
    close(fd);
}

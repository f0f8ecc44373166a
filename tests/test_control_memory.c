/* Goal: what connections and their requests make control hold is charged, bounded before Hello and
 * after it, refused with a reason, and given back; texts of commits are bounded in all. Method:
 * control itself in this process with a small budget, stepped in virtual time, with raw connections
 * over loopback and a shard whose mail the test answers. */
#include <criterion/criterion.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <urcu-qsbr.h>

#include "broker/control/control_state.h"
#include "schema/bytes.h"
#include "schema/control.h"
#include "tests/support/wire.h"

enum { PEERS = 64, LIMIT = 32 << 20, STEPS = 200 };

static struct {
    struct config config;
    struct catalog catalog;
    struct topics *topics;
    struct metrics *metrics;
    struct mailbox *inbox, *outbox;
    struct memory_budget memory;
    struct control *control;
    int wake, shard_wake;
    leat_ns now;
    uint64_t id;
    uint64_t empty;
} rig;

static struct mailbox *new_box(int wake)
{
    struct mailbox *box = aligned_alloc(alignof(struct mailbox), sizeof *box);
    cr_assert_neq(box, NULL);
    mailbox_init(box, wake);
    return box;
}

static void set_up(void)
{
    char text[CONTROL_ERROR_TEXT];
    struct settings_error wrong;
    rcu_register_thread();
    config_init(&rig.config, true);
    rig.config.port = 0;
    rig.config.log_memory_bytes = UINT64_C(8) << 20;
    rig.config.topics = calloc(1, sizeof *rig.config.topics);
    rig.config.topic_count = 1;
    strcpy(rig.config.topics->name, "t");
    rig.config.topics->settings.partitions = 4;
    rig.config.topics->settings.ring_bytes = 1 << 20;
    cr_assert_eq(settings_resolve(&rig.config.topics->settings, &wrong), LEAT_OK);
    catalog_init(&rig.catalog);
    rig.catalog.incarnation = 1;
    rig.wake = eventfd(0, EFD_NONBLOCK);
    rig.shard_wake = eventfd(0, EFD_NONBLOCK);
    rig.inbox = new_box(rig.shard_wake);
    rig.outbox = new_box(rig.wake);
    rig.now = LEAT_NS_PER_S;
    rig.memory.limit_bytes = LIMIT;
    cr_assert_eq(metrics_open(&rig.metrics), LEAT_OK);
    cr_assert_eq(topics_open(&rig.topics), LEAT_OK);
    const struct control_shard_link shard = { .inbox = rig.inbox,
                                              .outbox = rig.outbox,
                                              .tcp_address = "127.0.0.1:1" };
    const struct control_options options = { .config = &rig.config,
                                             .topics = rig.topics,
                                             .catalog = &rig.catalog,
                                             .shards = &shard,
                                             .wake = rig.wake,
                                             .memory = &rig.memory,
                                             .metrics = rig.metrics };
    cr_assert_eq(control_open(&rig.control, &options, text), LEAT_OK, "%s", text);
    rig.empty = rig.memory.used_bytes;
}

static void tear_down(void)
{
    control_close(rig.control);
    topics_close(rig.topics);
    rcu_barrier();
    metrics_close(rig.metrics);
    catalog_free(&rig.catalog);
    config_free(&rig.config);
    cr_assert_eq(rig.memory.used_bytes, 0u, "something was not given back");
    free(rig.inbox);
    free(rig.outbox);
    rcu_unregister_thread();
}

TestSuite(control_memory, .init = set_up, .fini = tear_down, .timeout = 30);

static void step(void)
{
    struct message m;
    rig.now += LEAT_NS_PER_MS;
    control_step(rig.control, rig.now);
    while (mailbox_receive(rig.inbox, &m)) {
        if (m.type != MESSAGE_COMMIT)
            continue;
        m.type = MESSAGE_REPLY;
        m.status = LEAT_OK;
        m.commit.before = LEAT_OFFSET_NONE;
        offsets_commit(m.commit.entry, m.commit.offset, 1);
        cr_assert_eq(mailbox_send(rig.outbox, &m), LEAT_OK);
    }
    rcu_quiescent_state();
}

static void steps(int count)
{
    for (int i = 0; i < count; i++)
        step();
}

/* Bytes as they are, taken by control as far as it takes them. */
static void say(int fd, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        const ssize_t sent = send(fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        step();
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

static Leat__Control__Response *answer(int fd)
{
    uint8_t byte;
    for (int i = 0; i < STEPS && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 1; i++)
        step();
    Leat__Control__Response *response = wire_response(fd);
    cr_assert_neq(response, NULL, "closed instead of answered");
    return response;
}

static int32_t error_of(int fd)
{
    Leat__Control__Response *response = answer(fd);
    const int32_t error = response->error;
    leat__control__response__free_unpacked(response, NULL);
    return error;
}

static void ask(int fd, Leat__Control__Request__BodyCase which, void *body)
{
    static uint8_t bytes[1 << 20];
    size_t size;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.id = ++rig.id;
    request.body_case = which;
    request.ping = body; /* any member of the union */
    cr_assert_eq(leat_control_pack_request(bytes, sizeof bytes, &size, &request), LEAT_OK);
    say(fd, bytes, size);
}

static int connect_peer(void)
{
    const int fd = wire_connect(control_address(rig.control));
    step();
    return fd;
}

static int new_peer(void)
{
    const int fd = connect_peer();
    Leat__Control__Hello hello = LEAT__CONTROL__HELLO__INIT;
    hello.version_min = hello.version_max = LEAT_PROTOCOL_VERSION;
    hello.client_name = (char *)"peer";
    ask(fd, LEAT__CONTROL__REQUEST__BODY_HELLO, &hello);
    cr_assert_eq(error_of(fd), LEAT_OK);
    return fd;
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
        fds[i] = connect_peer();
        announce(fds[i], LEAT_CONTROL_HELLO_BYTES_MAX);
        say(fds[i], zeros, LEAT_CONTROL_HELLO_BYTES_MAX - 1);
    }
    steps(10);
    const uint64_t each = (rig.memory.used_bytes - rig.empty) / PEERS;
    cr_assert_gt(each, (uint64_t)LEAT_CONTROL_HELLO_BYTES_MAX);
    cr_assert_leq(each, (uint64_t)4096, "%d connections hold %lu each", PEERS, (unsigned long)each);
    for (int i = 0; i < PEERS; i++)
        close(fds[i]);
    steps(10);
    cr_assert_eq(rig.memory.used_bytes, rig.empty);
}

Test(control_memory, a_first_message_that_is_no_hello_by_its_size_is_refused)
{
    const int fd = connect_peer();
    announce(fd, LEAT_CONTROL_HELLO_BYTES_MAX + 1);
    cr_assert_eq(error_of(fd), LEAT_ERR_TOO_LARGE);
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
    rig.memory.limit_bytes = rig.memory.used_bytes + (16 << 10);
    announce(big, LEAT_CONTROL_BYTES_MAX);
    say(big, zeros, sizeof zeros);
    cr_assert_eq(error_of(big), LEAT_ERR_NO_MEMORY);
    cr_assert_null(wire_response(big), "it is closed: the rest of its message would follow");
    Leat__Control__Ping ping = LEAT__CONTROL__PING__INIT;
    ask(other, LEAT__CONTROL__REQUEST__BODY_PING, &ping);
    cr_assert_eq(error_of(other), LEAT_OK);
    close(big);
    close(other);
}

Test(control_memory, who_comes_when_it_is_used_up_takes_the_place_of_one_that_never_said_hello)
{
    const int silent = connect_peer();
    steps(STEPS);
    rig.memory.limit_bytes = rig.memory.used_bytes;
    const int fd = connect_peer();
    rig.memory.limit_bytes = LIMIT;
    Leat__Control__Hello hello = LEAT__CONTROL__HELLO__INIT;
    hello.version_min = hello.version_max = LEAT_PROTOCOL_VERSION;
    ask(fd, LEAT__CONTROL__REQUEST__BODY_HELLO, &hello);
    cr_assert_eq(error_of(fd), LEAT_OK);
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
    ask(fd, LEAT__CONTROL__REQUEST__BODY_COMMIT_OFFSETS, &asked);
    Leat__Control__Response *response = answer(fd);
    cr_assert_eq(response->error, LEAT_OK, "%s", response->error_text);
    cr_assert_eq(response->body_case, LEAT__CONTROL__RESPONSE__BODY_COMMITTED);
    const int32_t error = response->committed->offsets[0]->error;
    leat__control__response__free_unpacked(response, NULL);
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

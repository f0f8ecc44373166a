/* Goal: whatever the order in which topics are made and deleted while the catalog is being written,
 * what is on disk is what clients were told, no partition waits for offsets in vain, and shards are
 * told of no more than control has places for. Method: control itself in this process, with a state
 * folder; a folder in the place of the file that is written aside makes a write fail. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <urcu-qsbr.h>

#include "broker/state/statefile.h"
#include "tests/support/control_rig.h"
#include "tests/support/refuse.h"
#include "tests/support/wire.h"

enum { PATIENCE_MS = 20000 };

static struct control_rig rig;
static struct statefile state;
static char folder[] = "/tmp/leat-topic-store-XXXXXX";
static int peers[2];

static void set_up(void)
{
    char text[STATEFILE_ERROR_TEXT];
    cr_assert_neq(mkdtemp(folder), NULL);
    cr_assert_eq(statefile_open(&state, folder, text), LEAT_OK, "%s", text);
    rig_init(&rig);
    rig.state = &state;
    rig_open(&rig);
    for (int i = 0; i < 2; i++)
        peers[i] = rig_peer(&rig, "127.0.0.1");
}

static void tear_down(void)
{
    for (int i = 0; i < 2; i++)
        close(peers[i]);
    rig_close(&rig);
    unlinkat(state.folder, "catalog", 0);
    unlinkat(state.folder, "group-offsets", 0);
    unlinkat(state.folder, "lock", 0);
    statefile_close(&state);
    cr_assert_eq(rmdir(folder), 0);
}

TestSuite(topic_store, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- requests */

static void ask_delete(int fd, const char *name)
{
    Leat__Control__DeleteTopic ask = LEAT__CONTROL__DELETE_TOPIC__INIT;
    ask.name = (char *)name;
    rig_send(&rig, fd, LEAT__CONTROL__REQUEST__BODY_DELETE_TOPIC, &ask);
}

static void ask_create(int fd, const char *name)
{
    Leat__Control__TopicSettings settings = LEAT__CONTROL__TOPIC_SETTINGS__INIT;
    Leat__Control__CreateTopic ask = LEAT__CONTROL__CREATE_TOPIC__INIT;
    settings.ring_bytes = LEAT_RING_BYTES_MIN;
    settings.record_bytes_max = 1024;
    ask.name = (char *)name;
    ask.settings = &settings;
    rig_send(&rig, fd, LEAT__CONTROL__REQUEST__BODY_CREATE_TOPIC, &ask);
}

/* Also what waits for other threads: RCU's, and the worker's. The shard's mail wakes nobody here,
 * so a step follows at the latest after a millisecond. */
static int answer(int fd)
{
    struct pollfd readable[] = { { .fd = fd, .events = POLLIN },
                                 { .fd = rig.wake, .events = POLLIN } };
    for (int steps = 0; poll(readable, 1, 0) == 0; steps++) {
        cr_assert_lt(steps, PATIENCE_MS, "no answer comes");
        rig_step(&rig, LEAT_NS_PER_MS);
        rcu_thread_offline();
        poll(readable, 2, 1);
        rcu_thread_online();
    }
    return rig_error(wire_response(fd), NULL);
}

static void create(const char *name)
{
    ask_create(peers[0], name);
    cr_assert_eq(answer(peers[0]), LEAT_OK);
}

/* Both requests have come; the catalog is written for the first, and the worker is done with it. */
static void let_it_be_written(void)
{
    struct pollfd wake = { .fd = rig.wake, .events = POLLIN };
    while (!rig.control->store.running)
        rig_step(&rig, LEAT_NS_PER_MS);
    cr_assert_eq(poll(&wake, 1, PATIENCE_MS), 1, "the worker does not end");
}

static void break_writes(void)
{
    cr_assert_eq(mkdirat(state.folder, "catalog.new", 0700), 0);
}

static void mend_writes(void)
{
    cr_assert_eq(unlinkat(state.folder, "catalog.new", AT_REMOVEDIR), 0);
}

static bool is_stored(const char *name)
{
    char text[STATEFILE_ERROR_TEXT];
    uint8_t *bytes;
    size_t size;
    uint32_t version;
    const char *why;
    struct catalog stored;
    catalog_init(&stored);
    cr_assert_eq(statefile_read(&state, &STATEFILE_CATALOG, &bytes, &size, &version, text),
                 LEAT_OK);
    cr_assert_eq(catalog_decode(&stored, bytes, size, version, &why), LEAT_OK);
    const bool found = catalog_find_name(&stored, name) != NULL;
    catalog_free(&stored);
    free(bytes);
    return found;
}

/* ---- orders */

/* The second waits for the next write, which is not to keep what the first was refused. */
Test(topic_store, a_deletion_that_was_refused_is_in_no_later_write)
{
    create("a");
    create("b");
    break_writes();
    ask_delete(peers[0], "a");
    ask_delete(peers[1], "b");
    let_it_be_written();
    cr_assert_not(TAILQ_EMPTY(&rig.control->store.waiting), "the second waits");
    mend_writes();
    const int first = answer(peers[0]), second = answer(peers[1]);
    cr_assert_eq((first == LEAT_OK) + (second == LEAT_OK), 1, "one fails, the other does not");
    cr_assert_eq(is_stored("a"), first != LEAT_OK);
    cr_assert_eq(is_stored("b"), second != LEAT_OK);
}

/* A partition asks once. */
Test(topic_store, who_asks_for_offsets_while_its_deletion_fails_gets_them)
{
    create("a");
    const struct topic *topic = topics_find_name(rig.topics, "a");
    const struct catalog_topic *known = catalog_find(&rig.catalog, topic->id);
    const uint64_t before = known->partitions[0].offset_limit;
    const struct message m = { .type = MESSAGE_RESERVE_OFFSETS,
                               .topic_id = topic->id,
                               .partition = topic->partitions[0].partition,
                               .value = before - 1 };
    break_writes();
    ask_delete(peers[0], "a");
    let_it_be_written();
    cr_assert_eq(mailbox_send(rig.outbox, &m), LEAT_OK);
    control_step(rig.control, rig.now); /* the mail first */
    mend_writes();
    cr_assert_eq(answer(peers[0]), LEAT_ERR_IO);
    rig_pass(&rig, 10 * LEAT_NS_PER_S, 10);
    cr_assert_gt(known->partitions[0].written_limit, before);
}

/* However many wait for one write. */
Test(topic_store, a_deletion_goes_on_when_shards_have_room_to_hear_of_it)
{
    const struct message nothing = { .type = MESSAGE_OFFSETS_RESERVED };
    create("a");
    ask_delete(peers[0], "a");
    let_it_be_written();
    for (int i = 0; i < MAILBOX_SLOTS + 2 * CONTROL_QUEUE_BUSY; i++)
        control_post(rig.control, 0, &nothing);
    rig_step(&rig, LEAT_NS_PER_MS);
    cr_assert_neq(topics_find_name(rig.topics, "a"), NULL, "it waits");
    cr_assert_eq(answer(peers[0]), LEAT_OK);
    cr_assert_eq(topics_find_name(rig.topics, "a"), NULL);
}

/* Nobody hears of it, and nothing is left behind. */
Test(topic_store, a_broker_ends_while_a_deletion_waits_for_room)
{
    const struct message nothing = { .type = MESSAGE_OFFSETS_RESERVED };
    create("a");
    ask_delete(peers[0], "a");
    let_it_be_written();
    for (int i = 0; i < MAILBOX_SLOTS + 2 * CONTROL_QUEUE_BUSY; i++)
        control_post(rig.control, 0, &nothing);
    control_step(rig.control, rig.now);
    rig_stop(&rig);
    cr_assert_not(is_stored("a"));
    rig_open(&rig);
    cr_assert_eq(topics_find_name(rig.topics, "a"), NULL);
}

/* ---- the folder cannot be synced: what is refused is on disk all the same */

static void break_syncs(void)
{
    if (!refuse_call_on(SYS_fsync, state.folder, EIO))
        cr_skip_test("no seccomp filters here");
}

/* The filter is of the descriptor alone, which stays open, so that no other file gets it. */
static void mend_syncs(void)
{
    state.folder = dup(state.folder);
    cr_assert_geq(state.folder, 0);
}

/* Waits for the write that nobody asked for. */
static void let_it_be_written_again(void)
{
    struct pollfd wake = { .fd = rig.wake, .events = POLLIN };
    rig_pass(&rig, 2 * LEAT_NS_PER_S, 2);
    while (rig.control->store.running) {
        cr_assert_eq(poll(&wake, 1, PATIENCE_MS), 1, "the worker does not end");
        rig_step(&rig, LEAT_NS_PER_MS);
    }
}

Test(topic_store, a_topic_that_was_refused_is_not_there_after_a_restart)
{
    break_syncs();
    ask_create(peers[0], "a");
    cr_assert_eq(answer(peers[0]), LEAT_ERR_IO);
    cr_assert(is_stored("a"), "this is the case");
    cr_assert_null(topics_find_name(rig.topics, "a"));
    let_it_be_written_again(); /* fails too */
    mend_syncs();
    const uint64_t failures = metric_get(&rig.control->counters.catalog_failures);
    let_it_be_written_again();
    cr_assert_not(is_stored("a"));
    cr_assert_eq(metric_get(&rig.control->counters.catalog_failures), failures);
    const uint64_t writes = metric_get(&rig.control->counters.catalog_writes);
    rig_pass(&rig, 10 * LEAT_NS_PER_S, 10);
    cr_assert_eq(metric_get(&rig.control->counters.catalog_writes), writes, "once is enough");
}

Test(topic_store, a_topic_whose_deletion_was_refused_is_there_after_a_restart)
{
    create("a");
    break_syncs();
    ask_delete(peers[0], "a");
    cr_assert_eq(answer(peers[0]), LEAT_ERR_IO);
    cr_assert_not(is_stored("a"), "this is the case");
    cr_assert_not_null(topics_find_name(rig.topics, "a"));
    mend_syncs();
    let_it_be_written_again();
    cr_assert(is_stored("a"));
}

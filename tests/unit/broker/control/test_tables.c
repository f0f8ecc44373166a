/* Goal: nobody fills control's tables alone, or for ever. A hostile client gets its share of
 * groups, their partitions and members, names of producers and sessions, and is told which table,
 * which share and what to do; an honest one beside it gets what it asks for. What nobody uses goes
 * after offsets_retention_ms, and nothing before. Method: control itself in this process, in
 * virtual time, with raw connections from two addresses. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker/state/statefile.h"
#include "tests/support/control_rig.h"
#include "tests/support/wire.h"

#define MINUTE_NS (60 * LEAT_NS_PER_S)
#define HOUR_NS (3600 * LEAT_NS_PER_S)
#define DAY_NS (24 * HOUR_NS)

enum { SESSIONS = 64, WIDE = 256 };

static struct control_rig rig;

static void set_up(void)
{
    rig_init(&rig);
    rig.config.sessions_max = SESSIONS;
    rig_open(&rig);
}

static void tear_down(void)
{
    rig_close(&rig);
}

TestSuite(tables, .init = set_up, .fini = tear_down, .timeout = 300);

/* ---- requests */

static Leat__Control__Response *commit(int fd, const char *group, uint64_t offset)
{
    Leat__Control__PartitionCommit place = LEAT__CONTROL__PARTITION_COMMIT__INIT, *places = &place;
    Leat__Control__CommitOffsets ask = LEAT__CONTROL__COMMIT_OFFSETS__INIT;
    place.offset = offset;
    place.log_epoch = 1;
    ask.group = (char *)group;
    ask.topic = (char *)"t";
    ask.offsets = &places;
    ask.n_offsets = 1;
    return rig_ask(&rig, fd, LEAT__CONTROL__REQUEST__BODY_COMMIT_OFFSETS, &ask);
}

static Leat__Control__Response *join(int fd, const char *group, const char *topic)
{
    char *topics[] = { (char *)topic };
    Leat__Control__JoinGroup ask = LEAT__CONTROL__JOIN_GROUP__INIT;
    ask.group = (char *)group;
    ask.member_id = (char *)"m";
    ask.topics = topics;
    ask.n_topics = 1;
    ask.session_timeout_ms = 3600000;
    rig.now += 2 * LEAT_NS_PER_MS; /* slower than what one connection may */
    return rig_ask(&rig, fd, LEAT__CONTROL__REQUEST__BODY_JOIN_GROUP, &ask);
}

static int leave(int fd, const char *group)
{
    Leat__Control__LeaveGroup ask = LEAT__CONTROL__LEAVE_GROUP__INIT;
    ask.group = (char *)group;
    ask.member_id = (char *)"m";
    ask.member_epoch = 2; /* it joined with 1, and was given the partition */
    return rig_error(rig_ask(&rig, fd, LEAT__CONTROL__REQUEST__BODY_LEAVE_GROUP, &ask), NULL);
}

static int delete_group(int fd, const char *group)
{
    Leat__Control__DeleteGroup ask = LEAT__CONTROL__DELETE_GROUP__INIT;
    ask.group = (char *)group;
    return rig_error(rig_ask(&rig, fd, LEAT__CONTROL__REQUEST__BODY_DELETE_GROUP, &ask), NULL);
}

static Leat__Control__Response *open_session(int fd)
{
    Leat__Control__OpenSession ask = LEAT__CONTROL__OPEN_SESSION__INIT;
    return rig_ask(&rig, fd, LEAT__CONTROL__REQUEST__BODY_OPEN_SESSION, &ask);
}

/* Commits for groups of its own until it is refused; how many it made. `says`: how it is refused.
 */
static uint32_t fill_groups(int fd, unsigned filler, const char *says)
{
    char name[32];
    for (uint32_t i = 0;; i++) {
        snprintf(name, sizeof name, "f%u-%06u", filler, i);
        Leat__Control__Response *r = commit(fd, name, 0);
        if (r->error == 0) {
            rig_done(r);
            continue;
        }
        cr_assert_eq(rig_error(r, says), LEAT_ERR_LIMIT);
        return i;
    }
}

static uint32_t session_of(int fd)
{
    Leat__Control__Response *r = open_session(fd);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    const uint32_t session = r->session->session;
    rig_done(r);
    return session;
}

static Leat__Control__Response *open_name(int fd, uint32_t session, const char *name)
{
    Leat__Control__OpenProducer ask = LEAT__CONTROL__OPEN_PRODUCER__INIT;
    ask.topic = (char *)"t";
    ask.name = (char *)name;
    ask.sessions = &session;
    ask.n_sessions = 1;
    return rig_ask(&rig, fd, LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER, &ask);
}

/* Its stream. */
static uint32_t must_open_name(int fd, uint32_t session, const char *name)
{
    Leat__Control__Response *r = open_name(fd, session, name);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    const uint32_t stream = r->producer->streams[0]->stream;
    rig_done(r);
    return stream;
}

static void close_stream(int fd, uint32_t session, uint32_t stream)
{
    Leat__Control__StreamRef ref = LEAT__CONTROL__STREAM_REF__INIT, *refs = &ref;
    Leat__Control__CloseStreams ask = LEAT__CONTROL__CLOSE_STREAMS__INIT;
    ref.session = session;
    ref.stream = stream;
    ask.streams = &refs;
    ask.n_streams = 1;
    cr_assert_eq(
        rig_error(rig_ask(&rig, fd, LEAT__CONTROL__REQUEST__BODY_CLOSE_STREAMS, &ask), NULL), 0);
}

static void close_session(int fd, uint32_t session)
{
    Leat__Control__CloseSession ask = LEAT__CONTROL__CLOSE_SESSION__INIT;
    ask.session = session;
    cr_assert_eq(
        rig_error(rig_ask(&rig, fd, LEAT__CONTROL__REQUEST__BODY_CLOSE_SESSION, &ask), NULL), 0);
}

static int delete_name(int fd, const char *name, const char *says)
{
    Leat__Control__DeleteProducer ask = LEAT__CONTROL__DELETE_PRODUCER__INIT;
    ask.name = (char *)name;
    return rig_error(rig_ask(&rig, fd, LEAT__CONTROL__REQUEST__BODY_DELETE_PRODUCER, &ask), says);
}

/* Opens names until it is refused; how many there are of it. */
static uint32_t fill_names(int fd, unsigned filler, const char *says)
{
    char name[32];
    const uint32_t session = session_of(fd);
    for (uint32_t i = 0;; i++) {
        snprintf(name, sizeof name, "f%u-%06u", filler, i);
        Leat__Control__Response *r = open_name(fd, session, name);
        if (r->error == 0) {
            rig_done(r);
            continue;
        }
        cr_assert_eq(rig_error(r, says), LEAT_ERR_LIMIT);
        return i;
    }
}

static bool is_name(const char *name)
{
    return producer_names_find(&rig.control->names, name) != NULL;
}

static bool there_is(const char *group)
{
    return groups_find(&rig.control->groups, group) != NULL;
}

/* ---- shares */

Test(tables, groups_of_one_connection_are_an_eighth_and_of_one_address_half)
{
    int fillers[5];
    for (unsigned i = 0; i < 5; i++)
        fillers[i] = rig_peer(&rig, "127.0.0.1");
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(fill_groups(fillers[i], i, "an eighth, 16384: delete some"), GROUPS_MAX / 8u);
    cr_assert_eq(fill_groups(fillers[4], 4, "one address may have half"), 0u);
    const int honest = rig_peer(&rig, "127.0.0.2");
    cr_assert_eq(rig_error(join(honest, "honest", "t"), NULL), 0);
    cr_assert_eq(rig_error(commit(honest, "honest-too", 0), NULL), 0);
    /* The filler may have again what it gives back, and its connections' ends give nothing back. */
    close(fillers[0]);
    rig_pass(&rig, LEAT_NS_PER_MS, 2);
    cr_assert_eq(fill_groups(fillers[4], 4, "one address may have half"), 0u);
    /* Of the half of what others leave: they have two groups by now. */
    cr_assert_eq(delete_group(fillers[1], "f1-000007"), 0);
    cr_assert_eq(delete_group(fillers[1], "f1-000008"), 0);
    cr_assert_eq(fill_groups(fillers[4], 4, "one address may have half"), 1u);
    cr_assert(there_is("f2-000000"), "a commit gives way to nothing");
    for (unsigned i = 1; i < 5; i++)
        close(fillers[i]);
    close(honest);
}

Test(tables, members_of_one_connection_are_an_eighth)
{
    char name[32];
    const int filler = rig_peer(&rig, "127.0.0.1"), honest = rig_peer(&rig, "127.0.0.1");
    for (uint32_t i = 0; i < GROUPS_MEMBERS_MAX / 8; i++) {
        snprintf(name, sizeof name, "g-%u", i);
        cr_assert_eq(rig_error(join(filler, name, "t"), NULL), 0);
    }
    cr_assert_eq(rig_error(join(filler, "one-more", "t"), "members of groups; one connection"),
                 LEAT_ERR_LIMIT);
    rig_pass(&rig, LEAT_NS_PER_MS, 2);
    cr_assert_not(there_is("one-more"), "a refusal leaves nothing");
    cr_assert_eq(rig_error(join(honest, "honest", "t"), NULL), 0);
    close(filler);
    close(honest);
}

Test(tables, partitions_of_groups_of_one_connection_are_an_eighth)
{
    char name[32];
    const int filler = rig_peer(&rig, "127.0.0.1"), honest = rig_peer(&rig, "127.0.0.1");
    Leat__Control__TopicSettings settings = LEAT__CONTROL__TOPIC_SETTINGS__INIT;
    Leat__Control__CreateTopic create = LEAT__CONTROL__CREATE_TOPIC__INIT;
    create.name = (char *)"wide";
    create.settings = &settings;
    settings.partitions = WIDE;
    settings.ring_bytes = 65536;
    settings.record_bytes_max = 1000;
    cr_assert_eq(
        rig_error(rig_ask(&rig, filler, LEAT__CONTROL__REQUEST__BODY_CREATE_TOPIC, &create), NULL),
        0);
    const uint32_t share = GROUPS_PARTITIONS_MAX / 8 / WIDE;
    for (uint32_t i = 0; i < share; i++) {
        snprintf(name, sizeof name, "g-%u", i);
        cr_assert_eq(rig_error(join(filler, name, "wide"), NULL), 0);
    }
    cr_assert_eq(rig_error(join(filler, "more", "wide"), "partitions of groups; one connection"),
                 LEAT_ERR_LIMIT);
    cr_assert_eq(rig_error(join(honest, "honest", "wide"), NULL), 0);
    cr_assert_eq(leave(filler, "g-0"), 0);
    rig_pass(&rig, LEAT_NS_PER_MS, 2);
    cr_assert_eq(rig_error(join(filler, "more", "wide"), NULL), 0, "what it gave back it may take");
    close(filler);
    close(honest);
}

Test(tables, sessions_of_one_connection_are_an_eighth_and_of_one_address_half)
{
    int fillers[5];
    for (int i = 0; i < 5; i++)
        fillers[i] = rig_peer(&rig, "127.0.0.1");
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < SESSIONS / 8; k++)
            cr_assert_eq(rig_error(open_session(fillers[i]), NULL), 0);
        cr_assert_eq(rig_error(open_session(fillers[i]), "sessions of a shard; one connection"),
                     LEAT_ERR_LIMIT);
    }
    cr_assert_eq(rig_error(open_session(fillers[4]), "one address may have half"), LEAT_ERR_LIMIT);
    const int honest = rig_peer(&rig, "127.0.0.2");
    cr_assert_eq(rig_error(open_session(honest), NULL), 0);
    /* They end with their connection. */
    close(fillers[0]);
    rig_pass(&rig, LEAT_NS_PER_MS, 4);
    cr_assert_eq(rig_error(open_session(fillers[4]), NULL), 0);
    for (int i = 1; i < 5; i++)
        close(fillers[i]);
    close(honest);
}

Test(tables, names_of_one_connection_are_an_eighth_and_of_one_address_half)
{
    int fillers[5];
    for (unsigned i = 0; i < 5; i++)
        fillers[i] = rig_peer(&rig, "127.0.0.1");
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(fill_names(fillers[i], i, "names of producers; one connection"),
                     CONTROL_NAMES_MAX / 8u);
    cr_assert_eq(fill_names(fillers[4], 4, "one address may have half"), 0u);
    const int honest = rig_peer(&rig, "127.0.0.2");
    must_open_name(honest, session_of(honest), "honest");
    for (unsigned i = 0; i < 5; i++)
        close(fillers[i]);
    close(honest);
}

Test(tables, only_what_is_ones_own_and_unused_gives_way)
{
    char name[32];
    const int filler = rig_peer(&rig, "127.0.0.1"), honest = rig_peer(&rig, "127.0.0.1");
    Leat__Control__Ping ping = LEAT__CONTROL__PING__INIT;
    rig.config.keepalive_ms = 60000;
    const uint32_t mine = session_of(honest), one = session_of(filler), two = session_of(filler);
    close_stream(honest, mine, must_open_name(honest, mine, "honest"));
    must_open_name(filler, one, "first");
    for (uint32_t i = 1; i < CONTROL_NAMES_MAX / 8; i++) {
        snprintf(name, sizeof name, "f-%06u", i);
        must_open_name(filler, two, name);
    }
    cr_assert_eq(rig_error(open_name(filler, one, "more"), "an eighth"), LEAT_ERR_LIMIT);
    close_session(filler, two);
    cr_assert_eq(rig_error(open_name(filler, one, "more"), "an eighth"), LEAT_ERR_LIMIT,
                 "who has lost a session may be about to come back");
    for (int i = 0; i < 5; i++) {
        rig_step(&rig, 30 * LEAT_NS_PER_S);
        rig_done(rig_ask(&rig, filler, LEAT__CONTROL__REQUEST__BODY_PING, &ping));
        rig_done(rig_ask(&rig, honest, LEAT__CONTROL__REQUEST__BODY_PING, &ping));
    }
    must_open_name(filler, one, "more");
    cr_assert(is_name("first") && is_name("honest") && is_name("more"));
    cr_assert_eq(rig.control->names.count, CONTROL_NAMES_MAX / 8u + 1u, "one of the closed went");
    close(filler);
    close(honest);
}

Test(tables, names_are_listed_and_deleted_when_nobody_has_them_open)
{
    const int fd = rig_peer(&rig, "127.0.0.1");
    const uint32_t session = session_of(fd);
    close_stream(fd, session, must_open_name(fd, session, "b"));
    must_open_name(fd, session, "a");
    must_open_name(fd, session, "a"); /* takes it over */
    rig_step(&rig, LEAT_NS_PER_S);
    Leat__Control__ListProducers list = LEAT__CONTROL__LIST_PRODUCERS__INIT;
    Leat__Control__Response *r =
        rig_ask(&rig, fd, LEAT__CONTROL__REQUEST__BODY_LIST_PRODUCERS, &list);
    cr_assert_eq(r->body_case, LEAT__CONTROL__RESPONSE__BODY_PRODUCERS);
    cr_assert_eq(r->producers->n_producers, 2u);
    const Leat__Control__ProducerSummary *a = r->producers->producers[0];
    const Leat__Control__ProducerSummary *b = r->producers->producers[1];
    cr_assert(strcmp(a->name, "a") == 0 && a->open && a->epoch == 2 && a->idle_ms == 0);
    cr_assert(strcmp(b->name, "b") == 0 && !b->open && b->idle_ms >= 1000);
    rig_done(r);
    cr_assert_eq(delete_name(fd, "a", "is open: close it first"), LEAT_BUSY);
    cr_assert_eq(delete_name(fd, "b", NULL), 0);
    cr_assert_eq(delete_name(fd, "b", "leat producer list"), LEAT_ERR_PRODUCER_EXPIRED);
    close_session(fd, session);
    cr_assert_eq(delete_name(fd, "a", NULL), 0);
    r = open_name(fd, session_of(fd), "a");
    cr_assert_eq(r->producer->producer_epoch, 1u, "nothing is remembered of it");
    rig_done(r);
    close(fd);
}

Test(tables, an_opening_that_fails_leaves_no_name_and_no_count)
{
    const int fd = rig_peer(&rig, "127.0.0.1");
    const uint32_t session = session_of(fd);
    rig.refuse_publish = true;
    for (int i = 0; i < 3; i++)
        cr_assert_neq(rig_error(open_name(fd, session, "a"), NULL), 0);
    cr_assert_not(is_name("a"));
    cr_assert_eq(rig.control->shares.taken[SHARE_NAMES], 0u);
    rig.refuse_publish = false;
    close_stream(fd, session, must_open_name(fd, session, "a"));
    rig.refuse_publish = true;
    cr_assert_neq(rig_error(open_name(fd, session, "a"), NULL), 0);
    cr_assert_eq(delete_name(fd, "a", NULL), 0, "no opening is under way");
    close(fd);
}

/* What its Hello is answered. */
static int greet(const char *host, const char *says, int *fd)
{
    Leat__Control__Hello hello = LEAT__CONTROL__HELLO__INIT;
    hello.version_min = hello.version_max = LEAT_PROTOCOL_VERSION;
    hello.client_name = (char *)"peer";
    *fd = wire_connect_from(control_address(rig.control), host);
    return rig_error(rig_ask(&rig, *fd, LEAT__CONTROL__REQUEST__BODY_HELLO, &hello), says);
}

Test(tables, control_connections_of_one_address_are_half)
{
    int fds[8], fd, honest;
    rig_stop(&rig);
    rig.config.connections_max = 16;
    rig_open(&rig);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(greet("127.0.0.1", NULL, &fds[i]), 0);
    cr_assert_eq(greet("127.0.0.1", "16 control connections; one address may have half", &fd),
                 LEAT_ERR_LIMIT);
    close(fd);
    cr_assert_eq(greet("127.0.0.2", NULL, &honest), 0);
    close(honest);
    close(fds[0]);
    rig_pass(&rig, 4 * LEAT_NS_PER_MS, 4);
    cr_assert_eq(greet("127.0.0.1", NULL, &fds[0]), 0, "there is a place again");
    for (int i = 0; i < 8; i++)
        close(fds[i]);
}

/* Neither for its request nor for the answer that says so: it ends, once. */
Test(tables, a_connection_ends_when_there_is_no_memory_even_to_refuse_it)
{
    const int fd = rig_peer(&rig, "127.0.0.2");
    rig.memory.limit_bytes = 1;
    cr_assert(wire_send(fd, "x", 1));
    while (rig.control->connection_count != 0)
        rig_step(&rig, LEAT_NS_PER_MS);
    rig_pass(&rig, 2 * HOUR_NS, 2);
    cr_assert(TAILQ_EMPTY(&rig.control->closing));
    cr_assert(wire_wait_closed(fd));
}

/* ---- ages */

Test(tables, a_name_that_nobody_has_open_goes_and_one_that_is_open_stays)
{
    const int fd = rig_peer(&rig, "127.0.0.1");
    rig.config.keepalive_ms = UINT32_MAX;
    const uint32_t one = session_of(fd), two = session_of(fd);
    must_open_name(fd, one, "open");
    const uint32_t stream = must_open_name(fd, one, "closed");
    must_open_name(fd, two, "left");
    close_stream(fd, one, stream);
    for (int hour = 0; hour < 3 * 24; hour++)
        rig_step(&rig, HOUR_NS);
    close_session(fd, two);
    for (int hour = 0; hour < 4 * 24 - 1; hour++)
        rig_step(&rig, HOUR_NS);
    cr_assert(is_name("open") && is_name("closed") && is_name("left"), "an hour is left");
    for (int hour = 0; hour < 12; hour++)
        rig_step(&rig, HOUR_NS);
    cr_assert_not(is_name("closed"), "seven days, and the walk's sixteenth");
    cr_assert(is_name("left"), "its session was there three days longer");
    for (int hour = 0; hour < 4 * 24; hour++)
        rig_step(&rig, HOUR_NS);
    cr_assert_not(is_name("left"));
    cr_assert(is_name("open"));
    close(fd);
}

/* The account of who made it goes with it, and must not be looked at after. */
Test(tables, the_last_name_of_who_has_left_goes_with_its_account)
{
    const int fd = rig_peer(&rig, "127.0.0.2");
    must_open_name(fd, session_of(fd), "last");
    const uint64_t taken = rig.control->shares.taken[SHARE_NAMES];
    close(fd);
    for (int hour = 0; hour < 8 * 24; hour++)
        rig_step(&rig, HOUR_NS);
    cr_assert_not(is_name("last"));
    cr_assert_eq(rig.control->shares.taken[SHARE_NAMES], taken - 1);
}

Test(tables, a_group_that_nobody_uses_goes_with_its_offsets_and_not_before)
{
    const int fd = rig_peer(&rig, "127.0.0.1");
    rig.config.keepalive_ms = UINT32_MAX; /* the days pass in silence */
    cr_assert_eq(rig_error(commit(fd, "old", 0), NULL), 0);
    cr_assert_eq(rig_error(commit(fd, "used", 0), NULL), 0);
    cr_assert_eq(rig_error(commit(fd, "failed", 5), NULL), 0);
    cr_assert_eq(rig_error(join(fd, "left", "t"), NULL), 0);
    cr_assert_eq(rig_error(commit(fd, "member", 0), NULL), 0);
    rig_pass(&rig, 61 * LEAT_NS_PER_S, 2);
    cr_assert_not(there_is("failed"), "nothing stands committed there");
    for (int hour = 0; hour < 6 * 24; hour++)
        rig_step(&rig, HOUR_NS);
    cr_assert(there_is("old") && there_is("used"), "six days");
    cr_assert_eq(rig_error(commit(fd, "used", 0), NULL), 0);
    cr_assert_eq(rig_error(join(fd, "member", "t"), NULL), 0);
    for (int hour = 0; hour < 23; hour++)
        rig_step(&rig, HOUR_NS);
    cr_assert(there_is("old"), "an hour less than seven days");
    rig_step(&rig, HOUR_NS);
    cr_assert_not(there_is("old"));
    cr_assert(there_is("used"));
    cr_assert_eq(offsets_count(rig.control->offsets), 2u, "of \"used\" and of \"member\"");
    close(fd);
}

static uint64_t real_wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * LEAT_NS_PER_S + (uint64_t)t.tv_nsec;
}

Test(tables, after_a_restart_a_group_is_as_old_as_its_last_commit)
{
    char folder[] = "/tmp/leat_tables_XXXXXX", text[STATEFILE_ERROR_TEXT];
    struct statefile state;
    cr_assert_neq(mkdtemp(folder), NULL);
    rig_stop(&rig);
    cr_assert_eq(statefile_open(&state, folder, text), LEAT_OK, "%s", text);
    rig.state = &state;
    rig_open(&rig);
    int fd = rig_peer(&rig, "127.0.0.1");
    rig.config.keepalive_ms = UINT32_MAX;
    rig.wall_ns = real_wall_ns() - 8 * DAY_NS;
    cr_assert_eq(rig_error(commit(fd, "ancient", 0), NULL), 0);
    cr_assert_eq(rig_error(commit(fd, "back", 0), NULL), 0);
    rig.wall_ns = real_wall_ns();
    cr_assert_eq(rig_error(commit(fd, "fresh", 0), NULL), 0);
    rig.wall_ns = real_wall_ns() + 30 * DAY_NS; /* a clock that was set since */
    cr_assert_eq(rig_error(commit(fd, "ahead", 0), NULL), 0);
    close(fd);
    rig_stop(&rig);
    rig_open(&rig);
    fd = rig_peer(&rig, "127.0.0.1");
    rig_pass(&rig, 59 * MINUTE_NS, 59);
    cr_assert(there_is("ancient") && there_is("back"), "the clock may be wrong at the start");
    cr_assert_eq(rig_error(join(fd, "back", "t"), NULL), 0);
    rig_pass(&rig, 2 * MINUTE_NS, 2);
    cr_assert_not(there_is("ancient"));
    cr_assert(there_is("back") && there_is("fresh") && there_is("ahead"));
    for (int hour = 0; hour < 7 * 24; hour++)
        rig_step(&rig, HOUR_NS);
    cr_assert_not(there_is("fresh"), "from then on time is monotonic");
    cr_assert_not(there_is("ahead"));
    close(fd);
    rig_stop(&rig);
    statefile_close(&state);
    rig.state = NULL;
    rig_open(&rig);
    snprintf(text, sizeof text, "rm -r %s", folder);
    cr_assert_eq(system(text), 0);
}

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

#define DAY_NS (24 * 3600 * LEAT_NS_PER_S)

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

/* ---- ages */

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
        rig_step(&rig, 3600 * LEAT_NS_PER_S);
    cr_assert(there_is("old") && there_is("used"), "six days");
    cr_assert_eq(rig_error(commit(fd, "used", 0), NULL), 0);
    cr_assert_eq(rig_error(join(fd, "member", "t"), NULL), 0);
    for (int hour = 0; hour < 23; hour++)
        rig_step(&rig, 3600 * LEAT_NS_PER_S);
    cr_assert(there_is("old"), "an hour less than seven days");
    rig_step(&rig, 3600 * LEAT_NS_PER_S);
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
    rig_pass(&rig, 59 * 60 * LEAT_NS_PER_S, 59);
    cr_assert(there_is("ancient") && there_is("back"), "the clock may be wrong at the start");
    cr_assert_eq(rig_error(join(fd, "back", "t"), NULL), 0);
    rig_pass(&rig, 2 * 60 * LEAT_NS_PER_S, 2);
    cr_assert_not(there_is("ancient"));
    cr_assert(there_is("back") && there_is("fresh") && there_is("ahead"));
    for (int hour = 0; hour < 7 * 24; hour++)
        rig_step(&rig, 3600 * LEAT_NS_PER_S);
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

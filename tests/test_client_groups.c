/* Goal: consumers of a group get what leat.h promises, against a real leatd.
 * Method: members are clients of one process, driven in turn, through the public header alone; a
 * member that is stopped is a process of its own. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/leat.h"
#include "tests/support/bus.h"
#include "tests/support/leatd.h"
#include "tests/support/members.h"
#include "tests/support/wire.h"

enum { PARTITIONS = 4, MEMBERS = 3 };

struct bus_member {
    leat_client *client;
    leat_consumer *consumer;
    unsigned records;
    uint64_t lost;             /* in GAPs */
    uint64_t next[PARTITIONS]; /* the highest offset handed out, + 1 */
    unsigned events[LEAT_EVENT_COMMIT_REFUSED + 1];
    struct leat_event last; /* of a partition that came or went, or of the member */
};

static void on_event(void *user, const struct leat_event *event)
{
    struct bus_member *m = user;
    m->events[event->type]++;
    if (event->type == LEAT_EVENT_GAP)
        m->lost += event->next_offset - event->first_offset;
    if (event->type >= LEAT_EVENT_ASSIGNED)
        m->last = *event;
}

static struct leat_consumer_options in_group(const char *member)
{
    return (struct leat_consumer_options){ .size = sizeof(struct leat_consumer_options),
                                           .group = "g",
                                           .member = member,
                                           .start_at = LEAT_START_EARLIEST,
                                           .session_timeout_ns = 2 * SECOND };
}

static void join_as(struct bus_member *m, const char *url, struct leat_consumer_options options)
{
    const char *topic = "t";
    *m = (struct bus_member){ .client = NULL };
    const struct leat_client_options client = { .size = sizeof client,
                                                .on_event = on_event,
                                                .user = m,
                                                .backoff_max_ns = SECOND / 10,
                                                .circuit_failures = 100000 };
    cr_assert_eq(leat_client_open(&m->client, url, &client), 0, "%s", leat_client_error(NULL));
    cr_assert_eq(leat_consumer_open(m->client, &m->consumer, &topic, 1, &options), 0, "%s",
                 leat_client_error(m->client));
}

static void leave(struct bus_member *m)
{
    leat_client_close(m->client);
    m->client = NULL;
}

/* What is there, and a little waiting when nothing is. */
static void turn(struct bus_member *m)
{
    struct leat_record records[16];
    const int n = leat_consumer_poll(m->consumer, records, 16);
    for (int i = 0; i < n; i++) {
        m->records++;
        if (records[i].offset >= m->next[records[i].partition])
            m->next[records[i].partition] = records[i].offset + 1;
    }
    cr_assert_geq(leat_client_poll(m->client, n > 0 ? 0 : SECOND / 500), 0);
}

static void count(void *user, const char *topic, uint32_t partition)
{
    unsigned *bits = user;
    cr_assert_str_eq(topic, "t");
    *bits |= 1U << partition;
}

static unsigned assigned(const struct bus_member *m)
{
    unsigned bits = 0;
    cr_assert_eq(leat_consumer_assignment(m->consumer, count, &bits), 0);
    return bits;
}

/* Turns of all `members`, until `done`. */
#define UNTIL(members, n, done)                                                 \
    do {                                                                        \
        const uint64_t until_turns = 20000;                                     \
        for (uint64_t t = 0; !(done); t++) {                                    \
            cr_assert_lt(t, until_turns, "it did not come to this: %s", #done); \
            for (unsigned m_ = 0; m_ < (n); m_++)                               \
                turn(&(members)[m_]);                                           \
        }                                                                       \
    } while (0)

struct bench {
    struct leatd broker;
    leat_client *client;
    leat_producer *producer;
    char url[128];
    uint64_t published;
};

static void set_up(struct bench *b, const char *way)
{
    *b = (struct bench){ .published = 0 };
    leatd_start(&b->broker);
    snprintf(b->url, sizeof b->url, "%s", bus_url(way, b->broker.url));
    b->client = bus_open(b->url);
    bus_create(b->client, "t", (struct leat_topic_settings){ .partitions = PARTITIONS });
    b->producer = bus_producer(b->client, "t");
}

static void tear_down(struct bench *b)
{
    leat_client_close(b->client);
    leatd_end(&b->broker);
}

/* So many to each partition. */
static void publish(struct bench *b, unsigned each)
{
    for (unsigned i = 0; i < each; i++) {
        for (int32_t p = 0; p < PARTITIONS; p++) {
            const struct leat_record record = { .value = "v", .value_size = 1, .partition = p };
            cr_assert_eq(leat_producer_send_wait(b->producer, &record, NULL, PATIENCE), 0, "%s",
                         leat_client_error(b->client));
            b->published++;
        }
    }
}

static uint64_t committed(const struct bus_member *m, uint32_t partition)
{
    uint64_t offset = 0;
    cr_assert_eq(leat_consumer_committed(m->consumer, "t", partition, &offset), 0, "%s",
                 leat_client_error(m->client));
    return offset;
}

BUS_TEST(groups, one_member_has_all_and_another_run_goes_on_where_it_committed)
{
    struct bench b;
    struct bus_member m;
    set_up(&b, way);
    publish(&b, 5);
    join_as(&m, b.url, in_group(NULL));
    UNTIL(&m, 1, m.records == 5 * PARTITIONS);
    cr_assert_eq(m.events[LEAT_EVENT_ASSIGNED], (unsigned)PARTITIONS);
    cr_assert_eq(assigned(&m), (1U << PARTITIONS) - 1);
    turn(&m); /* the last ones are processed */
    cr_assert_eq(leat_consumer_commit_wait(m.consumer, PATIENCE), 0, "%s",
                 leat_client_error(m.client));
    for (uint32_t p = 0; p < PARTITIONS; p++)
        cr_assert_eq(committed(&m, p), 5u);
    leave(&m);
    publish(&b, 2);
    join_as(&m, b.url, in_group(NULL));
    UNTIL(&m, 1, m.records == 2 * PARTITIONS);
    for (int i = 0; i < 20; i++)
        turn(&m);
    cr_assert_eq(m.records, 2U * PARTITIONS, "nothing that was committed came again");
    leave(&m);
    tear_down(&b);
}

#define ALL ((1U << PARTITIONS) - 1)

static bool share(const struct bus_member *members, unsigned count)
{
    unsigned seen = 0;
    for (unsigned i = 0; i < count; i++) {
        const unsigned mine = assigned(&members[i]);
        if (mine == 0 || (seen & mine) != 0)
            return false;
        seen |= mine;
    }
    return seen == ALL;
}

static unsigned records_of(const struct bus_member *members, unsigned count)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < count; i++)
        sum += members[i].records;
    return sum;
}

BUS_TEST(groups, partitions_move_as_members_come_and_go_and_nothing_is_doubled)
{
    struct bench b;
    struct bus_member m[MEMBERS];
    set_up(&b, way);
    publish(&b, 3);
    join_as(&m[0], b.url, in_group(NULL));
    UNTIL(m, 1, m[0].records == 3 * PARTITIONS);
    join_as(&m[1], b.url, in_group(NULL));
    UNTIL(m, 2, share(m, 2));
    cr_assert_eq(m[0].events[LEAT_EVENT_REVOKED], 2u, "half of four moves, and no more");
    publish(&b, 3);
    UNTIL(m, 2, records_of(m, 2) == 6 * PARTITIONS);
    join_as(&m[2], b.url, in_group(NULL));
    UNTIL(m, 3, share(m, 3));
    publish(&b, 3);
    UNTIL(m, 3, records_of(m, 3) == 9 * PARTITIONS);
    const unsigned gone = m[2].records;
    turn(&m[2]);
    leave(&m[2]); /* with its last commit: nothing of it comes again */
    UNTIL(m, 2, share(m, 2));
    publish(&b, 1);
    UNTIL(m, 2, records_of(m, 2) + gone == 10 * PARTITIONS);
    for (int i = 0; i < 20; i++) {
        turn(&m[0]);
        turn(&m[1]);
    }
    cr_assert_eq(records_of(m, 2) + gone, 10U * PARTITIONS);
    cr_assert_eq(m[0].events[LEAT_EVENT_MEMBER_LOST] + m[1].events[LEAT_EVENT_MEMBER_LOST], 0u);
    cr_assert_eq(m[0].events[LEAT_EVENT_GAP] + m[0].events[LEAT_EVENT_DISCONNECTED], 0u);
    leave(&m[0]);
    leave(&m[1]);
    tear_down(&b);
}

static void commit_in_revocation(void *user, const struct leat_event *event)
{
    struct bus_member *m = user;
    on_event(user, event);
    if (event->type == LEAT_EVENT_REVOKED)
        leat_consumer_commit(event->consumer, event->topic, (uint32_t)event->partition,
                             m->next[event->partition]);
}

BUS_TEST(groups, what_is_committed_while_a_partition_goes_counts)
{
    struct bench b;
    struct bus_member m[2];
    set_up(&b, way);
    publish(&b, 4);
    struct leat_consumer_options options = in_group(NULL);
    options.commit = LEAT_COMMIT_OFF;
    const char *topic = "t";
    m[0] = (struct bus_member){ .client = NULL };
    const struct leat_client_options client = { .size = sizeof client,
                                                .on_event = commit_in_revocation,
                                                .user = &m[0] };
    cr_assert_eq(leat_client_open(&m[0].client, b.url, &client), 0);
    cr_assert_eq(leat_consumer_open(m[0].client, &m[0].consumer, &topic, 1, &options), 0);
    UNTIL(m, 1, m[0].records == 4 * PARTITIONS);
    join_as(&m[1], b.url, options);
    UNTIL(m, 2, share(m, 2));
    for (int i = 0; i < 20; i++) {
        turn(&m[0]);
        turn(&m[1]);
    }
    cr_assert_eq(m[0].events[LEAT_EVENT_REVOKED], 2u);
    cr_assert_eq(m[1].records, 0u, "all of it was committed when it moved");
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        if ((assigned(&m[0]) >> p & 1) != 0)
            cr_assert_eq(committed(&m[0], p), 0u, "and nothing else: it is off");
    }
    leave(&m[0]);
    leave(&m[1]);
    tear_down(&b);
}

BUS_TEST(groups, commits_are_exact_and_refusals_are_told)
{
    struct bench b;
    struct bus_member m;
    uint64_t offset;
    set_up(&b, way);
    publish(&b, 10);
    struct leat_consumer_options options = in_group(NULL);
    options.commit = LEAT_COMMIT_OFF;
    join_as(&m, b.url, options);
    UNTIL(&m, 1, m.records == 10 * PARTITIONS);
    cr_assert_eq(leat_consumer_commit(m.consumer, "t", 2, 7), 0);
    cr_assert_eq(leat_consumer_commit_wait(m.consumer, PATIENCE), 0);
    cr_assert_eq(committed(&m, 2), 7u);
    cr_assert_eq(committed(&m, 1), 0u);
    cr_assert_eq(leat_consumer_commit(m.consumer, "t", 2, 3), 0);
    cr_assert_eq(leat_consumer_commit_wait(m.consumer, PATIENCE), 0, "a lower one is no error");
    cr_assert_eq(committed(&m, 2), 7u, "and changes nothing");
    cr_assert_eq(leat_consumer_commit(m.consumer, "t", 2, 1000), 0);
    cr_assert_eq(leat_consumer_commit_wait(m.consumer, PATIENCE), LEAT_ERR_OUT_OF_RANGE);
    cr_assert_eq(leat_consumer_commit_wait(m.consumer, PATIENCE), 0, "said once");
    cr_assert_eq(m.events[LEAT_EVENT_COMMIT_REFUSED], 1u);
    cr_assert(m.last.first_offset == 1000 && m.last.next_offset == 7 && m.last.partition == 2);
    cr_assert_eq(leat_consumer_commit(m.consumer, "t", PARTITIONS, 1), LEAT_ERR_UNKNOWN_PARTITION);
    cr_assert_eq(leat_consumer_commit(m.consumer, "other", 0, 1), LEAT_ERR_UNKNOWN_PARTITION);
    /* A seek in a group moves where it reads, not where the group stands. */
    cr_assert_eq(leat_consumer_seek(m.consumer, "t", 2, LEAT_START_OFFSET, 4), 0);
    cr_assert_eq(leat_consumer_position(m.consumer, "t", 2, &offset), 0);
    cr_assert_eq(offset, 4u);
    m.records = 0;
    UNTIL(&m, 1, m.records == 6);
    cr_assert_eq(committed(&m, 2), 7u);
    leave(&m);
    m.records = 0;
    join_as(&m, b.url, options);
    UNTIL(&m, 1, m.records == 10 * (PARTITIONS - 1) + 3);
    leave(&m);
    tear_down(&b);
}

BUS_TEST(groups, a_paused_partition_rests_and_loses_nothing)
{
    struct bench b;
    struct bus_member m;
    uint64_t lag;
    set_up(&b, way);
    join_as(&m, b.url, in_group(NULL));
    UNTIL(&m, 1, assigned(&m) == ALL);
    cr_assert_eq(leat_consumer_pause(m.consumer, "t", 1), 0);
    publish(&b, 6);
    UNTIL(&m, 1, m.records == 6 * (PARTITIONS - 1));
    for (int i = 0; i < 20; i++)
        turn(&m);
    cr_assert_eq(m.next[1], 0u);
    cr_assert_eq(leat_consumer_lag(m.consumer, "t", 1, &lag), 0, "%s", leat_client_error(m.client));
    cr_assert_eq(lag, 6u);
    cr_assert_eq(leat_consumer_lag(m.consumer, "t", 0, &lag), 0);
    cr_assert_eq(lag, 0u);
    cr_assert_eq(leat_consumer_resume(m.consumer, "t", 1), 0);
    UNTIL(&m, 1, m.records == 6 * PARTITIONS);
    cr_assert_eq(m.events[LEAT_EVENT_GAP], 0u);
    leave(&m);
    tear_down(&b);
}

BUS_TEST(groups, offsets_are_committed_at_intervals)
{
    struct bench b;
    struct bus_member m;
    set_up(&b, way);
    publish(&b, 3);
    struct leat_consumer_options options = in_group(NULL);
    options.commit = LEAT_COMMIT_INTERVAL;
    options.commit_interval_ns = SECOND / 20;
    join_as(&m, b.url, options);
    UNTIL(&m, 1, m.records == 3 * PARTITIONS);
    UNTIL(&m, 1, committed(&m, 0) == 3 && committed(&m, PARTITIONS - 1) == 3);
    options.commit_interval_ns = 3600 * SECOND;
    leave(&m);
    publish(&b, 1);
    join_as(&m, b.url, options);
    UNTIL(&m, 1, m.records == PARTITIONS);
    turn(&m);
    cr_assert_eq(committed(&m, 0), 3u, "its time has not come");
    leave(&m); /* it commits on close */
    join_as(&m, b.url, options);
    UNTIL(&m, 1, assigned(&m) == ALL);
    cr_assert_eq(committed(&m, 0), 4u);
    leave(&m);
    tear_down(&b);
}

BUS_TEST(groups, a_named_member_keeps_its_partitions_over_a_restart_and_fences_its_double)
{
    struct bench b;
    struct bus_member m[2], twin;
    set_up(&b, way);
    join_as(&m[0], b.url, in_group("one"));
    join_as(&m[1], b.url, in_group("two"));
    UNTIL(m, 2, share(m, 2));
    const unsigned mine = assigned(&m[1]);
    const unsigned came = m[0].events[LEAT_EVENT_ASSIGNED];
    leave(&m[1]);
    for (int i = 0; i < 50; i++)
        turn(&m[0]);
    join_as(&m[1], b.url, in_group("two"));
    UNTIL(m, 2, share(m, 2));
    cr_assert_eq(assigned(&m[1]), mine);
    cr_assert_eq(m[0].events[LEAT_EVENT_ASSIGNED], came, "nothing moved meanwhile");

    join_as(&twin, b.url, in_group("two"));
    UNTIL(m, 2, m[1].events[LEAT_EVENT_MEMBER_FENCED] == 1 || (turn(&twin), false));
    struct leat_record record;
    cr_assert_eq(leat_consumer_poll(m[1].consumer, &record, 1), LEAT_ERR_FENCED);
    cr_assert_eq(assigned(&m[1]), 0u);
    UNTIL(&twin, 1, assigned(&twin) == mine);
    publish(&b, 1);
    UNTIL(&twin, 1, twin.records == (unsigned)__builtin_popcount(mine));
    cr_assert_eq(m[1].events[LEAT_EVENT_MEMBER_FENCED], 1u);
    leave(&m[0]);
    leave(&m[1]);
    leave(&twin);
    tear_down(&b);
}

BUS_TEST(groups, a_broker_that_restarts_keeps_offsets_and_its_members_come_back)
{
    char state[] = "/tmp/leat_groups_XXXXXX";
    char config[256];
    struct bench b = { .published = 0 };
    struct bus_member m[2];
    cr_assert_neq(mkdtemp(state), NULL);
    snprintf(config, sizeof config, "{\"port\": 0, \"state_dir\": \"%s\"}", state);
    leatd_start_config(&b.broker, config);
    snprintf(b.url, sizeof b.url, "%s", bus_url(way, b.broker.url));
    b.client = bus_open(b.url);
    bus_create(b.client, "t", (struct leat_topic_settings){ .partitions = PARTITIONS });
    b.producer = bus_producer(b.client, "t");
    publish(&b, 5);
    join_as(&m[0], b.url, in_group(NULL));
    join_as(&m[1], b.url, in_group(NULL));
    UNTIL(m, 2, share(m, 2) && records_of(m, 2) >= 5 * PARTITIONS);
    turn(&m[0]);
    turn(&m[1]);
    cr_assert_eq(leat_consumer_commit_wait(m[0].consumer, PATIENCE), 0);
    cr_assert_eq(leat_consumer_commit_wait(m[1].consumer, PATIENCE), 0);
    m[0].records = m[1].records = 0;
    leatd_stop(&b.broker);
    leatd_restart(&b.broker);
    UNTIL(m, 2,
          m[0].events[LEAT_EVENT_MEMBER_LOST] == 1 && m[1].events[LEAT_EVENT_MEMBER_LOST] == 1
              && share(m, 2));
    publish(&b, 2);
    UNTIL(m, 2, records_of(m, 2) >= 2 * PARTITIONS);
    for (int i = 0; i < 20; i++) {
        turn(&m[0]);
        turn(&m[1]);
    }
    cr_assert_eq(records_of(m, 2), 2U * PARTITIONS, "only what is new");
    cr_assert_eq(m[0].events[LEAT_EVENT_MEMBER_LOST] + m[1].events[LEAT_EVENT_MEMBER_LOST], 2u);
    leave(&m[0]);
    leave(&m[1]);
    tear_down(&b);
    snprintf(config, sizeof config, "rm -rf '%s'", state);
    cr_assert_eq(system(config), 0);
}

/* The child's part: says the bytes of what happens to it on `out`, until it is killed. */
enum said { SAID_ASSIGNED = 'a', SAID_LOST = 'l', SAID_OTHER = 'o' };

static _Noreturn void live(const char *url, struct leat_consumer_options options, int out)
{
    struct bus_member m;
    unsigned had = 0, lost = 0;
    join_as(&m, url, options);
    for (;;) {
        turn(&m);
        const unsigned has = assigned(&m);
        char said = 0;
        if (m.events[LEAT_EVENT_MEMBER_LOST] != lost)
            said = SAID_LOST;
        else if (has != 0 && had == 0)
            said = SAID_ASSIGNED;
        lost = m.events[LEAT_EVENT_MEMBER_LOST];
        had = said == SAID_LOST ? 0 : has;
        if (said != 0 && write(out, &said, 1) != 1)
            _exit(1);
    }
}

/* The next byte from the child, while `m` lives on. */
static char hear(int in, struct bus_member *m)
{
    char said = 0;
    for (int i = 0; i < 10000; i++) {
        turn(m);
        if (read(in, &said, 1) == 1)
            return said;
    }
    return 0;
}

BUS_TEST(groups, a_member_that_was_stopped_is_told_once_and_joins_again)
{
    struct bench b;
    struct bus_member m;
    int pipes[2];
    set_up(&b, way);
    struct leat_consumer_options options = in_group(NULL);
    options.session_timeout_ns = SECOND / 2;
    cr_assert_eq(pipe2(pipes, O_NONBLOCK), 0);
    const pid_t child = fork();
    if (child == 0)
        live(b.url, options, pipes[1]);
    join_as(&m, b.url, options);
    cr_assert_eq(hear(pipes[0], &m), SAID_ASSIGNED);
    UNTIL(&m, 1, assigned(&m) != 0 && assigned(&m) != ALL);
    kill(child, SIGSTOP);
    UNTIL(&m, 1, assigned(&m) == ALL);
    const uint64_t records = m.records;
    publish(&b, 2);
    UNTIL(&m, 1, m.records - records == 2 * PARTITIONS);
    for (int i = 0; i < 500; i++) /* longer than packets take to give a session up */
        turn(&m);
    kill(child, SIGCONT);
    cr_assert_eq(hear(pipes[0], &m), SAID_LOST);
    cr_assert_eq(hear(pipes[0], &m), SAID_ASSIGNED);
    UNTIL(&m, 1, assigned(&m) != ALL);
    for (int i = 0; i < 200; i++) {
        char said;
        turn(&m);
        cr_assert_eq(read(pipes[0], &said, 1), -1, "told once: %c", said);
    }
    cr_assert_eq(m.events[LEAT_EVENT_MEMBER_LOST], 0u);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    leave(&m);
    tear_down(&b);
}

BUS_TEST(groups, what_an_overrun_took_is_counted_with_the_next_commit)
{
    struct bench b;
    struct bus_member m;
    set_up(&b, way);
    struct leat_consumer_options options = in_group(NULL);
    options.window_bytes = 1; /* one largest batch */
    join_as(&m, b.url, options);
    UNTIL(&m, 1, assigned(&m) == ALL);
    publish(&b, 1);
    UNTIL(&m, 1, m.next[0] == 1);
    cr_assert_eq(leat_consumer_pause(m.consumer, "t", 0), 0);
    static char large[3000];
    const struct leat_record record = { .value = large, .value_size = sizeof large };
    for (int i = 0; i < 1000; i++) /* of a ring of 1 MiB */
        cr_assert_eq(leat_producer_send_wait(b.producer, &record, NULL, PATIENCE), 0);
    for (int i = 0; i < 20; i++)
        turn(&m);
    cr_assert_eq(leat_consumer_resume(m.consumer, "t", 0), 0);
    UNTIL(&m, 1, m.next[0] == 1001);
    turn(&m);
    cr_assert_eq(leat_consumer_commit_wait(m.consumer, PATIENCE), 0, "%s",
                 leat_client_error(m.client));
    cr_assert_eq(committed(&m, 0), 1001u);
    cr_assert_gt(m.events[LEAT_EVENT_GAP], 0u);

    const int control = wire_control(b.broker.control);
    Leat__Control__Response *response = members_describe(control, "g");
    uint64_t lost = 0;
    for (size_t i = 0; i < response->group->n_partitions; i++)
        lost += response->group->partitions[i]->lost_records;
    members_done(response);
    close(control);
    cr_assert_eq(lost, m.lost);
    cr_assert_eq(m.records + lost, 1000U + PARTITIONS, "each was handed out or is lost");
    leave(&m);
    tear_down(&b);
}

BUS_TEST(groups, a_deleted_topic_is_told_and_the_others_go_on)
{
    struct bench b;
    struct bus_member m = { .client = NULL };
    set_up(&b, way);
    bus_create(b.client, "other", (struct leat_topic_settings){ .partitions = 1 });
    const char *topics[] = { "t", "other" };
    const struct leat_consumer_options options = in_group(NULL);
    const struct leat_client_options client = { .size = sizeof client,
                                                .on_event = on_event,
                                                .user = &m };
    cr_assert_eq(leat_client_open(&m.client, b.url, &client), 0);
    cr_assert_eq(leat_consumer_open(m.client, &m.consumer, topics, 2, &options), 0);
    UNTIL(&m, 1, m.events[LEAT_EVENT_ASSIGNED] == PARTITIONS + 1);
    cr_assert_eq(leat_topic_delete(b.client, "other"), 0);
    UNTIL(&m, 1, m.events[LEAT_EVENT_TOPIC_DELETED] + m.events[LEAT_EVENT_REVOKED] == 1);
    for (int i = 0; i < 20; i++)
        turn(&m);
    publish(&b, 2);
    UNTIL(&m, 1, m.records == 2 * PARTITIONS);
    cr_assert_eq(m.events[LEAT_EVENT_TOPIC_DELETED], 1u);
    cr_assert_eq(m.events[LEAT_EVENT_DISCONNECTED], 0u);
    leave(&m);
    tear_down(&b);
}

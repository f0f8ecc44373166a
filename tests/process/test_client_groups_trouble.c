/* Goal: consumers of a group go on by themselves when brokers restart, processes are stopped and
 * topics go, and tell it.
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

#include "tests/support/consumers.h"
#include "tests/support/members.h"

BUS_TEST(groups, a_broker_that_restarts_keeps_offsets_and_its_members_come_back)
{
    char state[] = "/tmp/leat_groups_XXXXXX";
    char config[256];
    struct consumers_bus b = { .published = 0 };
    struct consumer_member m[2];
    cr_assert_neq(mkdtemp(state), NULL);
    snprintf(config, sizeof config, "{\"port\": 0, \"state_dir\": \"%s\"}", state);
    leatd_start_config(&b.broker, config);
    snprintf(b.url, sizeof b.url, "%s", bus_url(way, b.broker.url));
    b.client = bus_open(b.url);
    bus_create(b.client, "t", (struct leat_topic_settings){ .partitions = PARTITIONS });
    b.producer = bus_producer(b.client, "t");
    consumers_publish(&b, 5);
    consumer_join(&m[0], b.url, consumers_in_group(NULL));
    consumer_join(&m[1], b.url, consumers_in_group(NULL));
    UNTIL(m, 2, consumers_share(m, 2) && consumers_records(m, 2) >= 5 * PARTITIONS);
    consumer_turn(&m[0]);
    consumer_turn(&m[1]);
    cr_assert_eq(leat_consumer_commit_wait(m[0].consumer, PATIENCE), 0);
    cr_assert_eq(leat_consumer_commit_wait(m[1].consumer, PATIENCE), 0);
    m[0].records = m[1].records = 0;
    leatd_stop(&b.broker);
    leatd_restart(&b.broker);
    UNTIL(m, 2,
          m[0].events[LEAT_EVENT_MEMBER_LOST] == 1 && m[1].events[LEAT_EVENT_MEMBER_LOST] == 1
              && consumers_share(m, 2));
    consumers_publish(&b, 2);
    UNTIL(m, 2, consumers_records(m, 2) >= 2 * PARTITIONS);
    for (int i = 0; i < 20; i++) {
        consumer_turn(&m[0]);
        consumer_turn(&m[1]);
    }
    cr_assert_eq(consumers_records(m, 2), 2U * PARTITIONS, "only what is new");
    cr_assert_eq(m[0].events[LEAT_EVENT_MEMBER_LOST] + m[1].events[LEAT_EVENT_MEMBER_LOST], 2u);
    consumer_leave(&m[0]);
    consumer_leave(&m[1]);
    consumers_tear_down(&b);
    snprintf(config, sizeof config, "rm -rf '%s'", state);
    cr_assert_eq(system(config), 0);
}

/* The child's part: says the bytes of what happens to it on `out`, until it is killed. */
enum said { SAID_ASSIGNED = 'a', SAID_LOST = 'l', SAID_OTHER = 'o' };

static _Noreturn void live(const char *url, struct leat_consumer_options options, int out)
{
    struct consumer_member m;
    unsigned had = 0, lost = 0;
    consumer_join(&m, url, options);
    for (;;) {
        consumer_turn(&m);
        const unsigned has = consumer_assigned(&m);
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
static char hear(int in, struct consumer_member *m)
{
    char said = 0;
    for (int i = 0; i < 10000; i++) {
        consumer_turn(m);
        if (read(in, &said, 1) == 1)
            return said;
    }
    return 0;
}

BUS_TEST(groups, a_member_that_was_stopped_is_told_once_and_joins_again)
{
    struct consumers_bus b;
    struct consumer_member m;
    int pipes[2];
    consumers_set_up(&b, way);
    struct leat_consumer_options options = consumers_in_group(NULL);
    options.session_timeout_ns = SECOND / 2;
    cr_assert_eq(pipe2(pipes, O_NONBLOCK), 0);
    const pid_t child = fork();
    if (child == 0)
        live(b.url, options, pipes[1]);
    consumer_join(&m, b.url, options);
    cr_assert_eq(hear(pipes[0], &m), SAID_ASSIGNED);
    UNTIL(&m, 1, consumer_assigned(&m) != 0 && consumer_assigned(&m) != ALL);
    kill(child, SIGSTOP);
    UNTIL(&m, 1, consumer_assigned(&m) == ALL);
    const uint64_t records = m.records;
    consumers_publish(&b, 2);
    UNTIL(&m, 1, m.records - records == 2 * PARTITIONS);
    for (int i = 0; i < 500; i++) /* longer than packets take to give a session up */
        consumer_turn(&m);
    kill(child, SIGCONT);
    cr_assert_eq(hear(pipes[0], &m), SAID_LOST);
    cr_assert_eq(hear(pipes[0], &m), SAID_ASSIGNED);
    UNTIL(&m, 1, consumer_assigned(&m) != ALL);
    for (int i = 0; i < 200; i++) {
        char said;
        consumer_turn(&m);
        cr_assert_eq(read(pipes[0], &said, 1), -1, "told once: %c", said);
    }
    cr_assert_eq(m.events[LEAT_EVENT_MEMBER_LOST], 0u);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    consumer_leave(&m);
    consumers_tear_down(&b);
}

BUS_TEST(groups, a_deleted_topic_is_told_and_the_others_go_on)
{
    struct consumers_bus b;
    struct consumer_member m = { .client = NULL };
    consumers_set_up(&b, way);
    bus_create(b.client, "other", (struct leat_topic_settings){ .partitions = 1 });
    const char *topics[] = { "t", "other" };
    const struct leat_consumer_options options = consumers_in_group(NULL);
    const struct leat_client_options client = { .size = sizeof client,
                                                .on_event = consumers_on_event,
                                                .user = &m };
    cr_assert_eq(leat_client_open(&m.client, b.url, &client), 0);
    cr_assert_eq(leat_consumer_open(m.client, &m.consumer, topics, 2, &options), 0);
    UNTIL(&m, 1, m.events[LEAT_EVENT_ASSIGNED] == PARTITIONS + 1);
    cr_assert_eq(leat_topic_delete(b.client, "other"), 0);
    UNTIL(&m, 1, m.events[LEAT_EVENT_TOPIC_DELETED] + m.events[LEAT_EVENT_REVOKED] == 1);
    for (int i = 0; i < 20; i++)
        consumer_turn(&m);
    consumers_publish(&b, 2);
    UNTIL(&m, 1, m.records == 2 * PARTITIONS);
    cr_assert_eq(m.events[LEAT_EVENT_TOPIC_DELETED], 1u);
    cr_assert_eq(m.events[LEAT_EVENT_DISCONNECTED], 0u);
    consumer_leave(&m);
    consumers_tear_down(&b);
}

/* A deleted topic that is made anew is for all who name it: those that did before, and new ones. */
BUS_TEST(groups, a_topic_that_is_made_anew_is_shared_by_all_who_name_it)
{
    struct consumers_bus b;
    struct consumer_member m[2] = { { .client = NULL } };
    consumers_set_up(&b, way);
    bus_create(b.client, "other", (struct leat_topic_settings){ .partitions = 1 });
    const char *topics[] = { "other", "t" };
    const struct leat_consumer_options options = consumers_in_group(NULL);
    const struct leat_client_options client = { .size = sizeof client,
                                                .on_event = consumers_on_event,
                                                .user = &m[0] };
    cr_assert_eq(leat_client_open(&m[0].client, b.url, &client), 0);
    cr_assert_eq(leat_consumer_open(m[0].client, &m[0].consumer, topics, 2, &options), 0);
    UNTIL(m, 1, m[0].events[LEAT_EVENT_ASSIGNED] == PARTITIONS + 1);
    leat_producer_close(b.producer);
    cr_assert_eq(leat_topic_delete(b.client, "t"), 0);
    UNTIL(m, 1, m[0].events[LEAT_EVENT_TOPIC_DELETED] == PARTITIONS);
    bus_create(b.client, "t", (struct leat_topic_settings){ .partitions = PARTITIONS });
    b.producer = bus_producer(b.client, "t");
    UNTIL(m, 1, m[0].events[LEAT_EVENT_ASSIGNED] == 2 * PARTITIONS + 1);
    cr_assert_eq(m[0].events[LEAT_EVENT_MEMBER_LOST], 0u);
    consumer_join(&m[1], b.url, consumers_in_group(NULL));
    UNTIL(m, 2, m[0].events[LEAT_EVENT_REVOKED] > 0 && consumer_assigned(&m[1]) != 0);
    consumers_publish(&b, 3);
    UNTIL(m, 2, consumers_records(m, 2) == 3 * PARTITIONS);
    cr_assert(m[0].records > 0 && m[1].records > 0);
    b.producer = bus_producer(b.client, "other");
    bus_publish(b.producer, 1);
    UNTIL(m, 2, m[0].records + m[1].records == 3 * PARTITIONS + 1);
    consumer_leave(&m[0]);
    consumer_leave(&m[1]);
    consumers_tear_down(&b);
}

/* Gone and there again while the member was busy: its next heartbeat hears of the new one only. */
BUS_TEST(groups, a_topic_that_is_made_anew_meanwhile_is_read_on)
{
    struct consumers_bus b;
    struct consumer_member m = { .client = NULL };
    consumers_set_up(&b, way);
    consumers_publish(&b, 2);
    consumer_join(&m, b.url, consumers_in_group(NULL));
    UNTIL(&m, 1, m.records == 2 * PARTITIONS);
    usleep(1000000); /* over a third of its session: the heartbeat under way is answered */
    leat_producer_close(b.producer);
    cr_assert_eq(leat_topic_delete(b.client, "t"), 0);
    bus_create(b.client, "t", (struct leat_topic_settings){ .partitions = PARTITIONS });
    b.producer = bus_producer(b.client, "t");
    consumers_publish(&b, 3);
    UNTIL(&m, 1, m.records == 5 * PARTITIONS);
    cr_assert_eq(m.events[LEAT_EVENT_TOPIC_DELETED], (unsigned)PARTITIONS);
    cr_assert_eq(m.events[LEAT_EVENT_REVOKED], 0u);
    consumer_leave(&m);
    consumers_tear_down(&b);
}

Test(groups, a_join_that_is_put_off_says_why, .timeout = 60)
{
    struct consumers_bus b;
    struct consumer_member m = { .client = NULL };
    char names[64][8];
    const char *topics[64];
    consumers_set_up(&b, "tcp");
    for (int i = 0; i < 64; i++) {
        snprintf(names[i], sizeof names[i], "x-%d", i);
        topics[i] = names[i];
        bus_create(b.client, names[i], (struct leat_topic_settings){ .partitions = 1 });
    }
    const struct leat_consumer_options options = consumers_in_group(NULL);
    const struct leat_client_options client = { .size = sizeof client,
                                                .request_timeout_ns = SECOND / 2 };
    leat_consumer *late;
    cr_assert_eq(leat_client_open(&m.client, b.url, &client), 0);
    cr_assert_eq(leat_consumer_open(m.client, &m.consumer, topics, 64, &options), 0, "%s",
                 leat_client_error(m.client));
    topics[0] = "t";
    cr_assert_eq(leat_consumer_open(m.client, &late, topics, 1, &options), LEAT_ERR_TIMEOUT);
    cr_assert_not_null(strstr(leat_client_error(m.client), "64 topics"), "%s",
                       leat_client_error(m.client));
    consumer_leave(&m);
    consumers_tear_down(&b);
}

/* Its partitions may be others' by now, and it asks for records before it asks how things are. */
BUS_TEST(groups, who_was_away_for_a_session_is_handed_nothing_it_had)
{
    struct consumers_bus b;
    struct consumer_member m;
    struct leat_record records[16];
    consumers_set_up(&b, way);
    consumer_join(&m, b.url, consumers_in_group(NULL));
    UNTIL(&m, 1, consumer_assigned(&m) == ALL);
    consumers_publish(&b, 10);
    int had = 0;
    for (int i = 0; i < 20000 && had == 0; i++) {
        leat_client_poll(m.client, SECOND / 500);
        had = leat_consumer_poll(m.consumer, records, 1);
    }
    cr_assert_eq(had, 1); /* of many that have come */
    usleep(2100000);      /* being away for a session is what is tested */
    cr_assert_eq(leat_consumer_poll(m.consumer, records, 16), 0);
    UNTIL(&m, 1, m.next[0] == 10 && m.next[1] == 10 && m.next[2] == 10 && m.next[3] == 10);
    consumer_leave(&m);
    consumers_tear_down(&b);
}

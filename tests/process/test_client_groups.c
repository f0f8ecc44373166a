/* Goal: consumers of a group get what leat.h promises, against a real leatd: partitions, commits,
 * pauses, names, what an overrun took.
 * Method: members are clients of one process, driven in turn, through the public header alone. */
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/consumers.h"
#include "tests/support/members.h"
#include "tests/support/wire.h"

BUS_TEST(groups, one_member_has_all_and_another_run_goes_on_where_it_committed)
{
    struct consumers_bus b;
    struct consumer_member m;
    consumers_set_up(&b, way);
    consumers_publish(&b, 5);
    consumer_join(&m, b.url, consumers_in_group(NULL));
    UNTIL(&m, 1, m.records == 5 * PARTITIONS);
    cr_assert_eq(m.events[LEAT_EVENT_ASSIGNED], (unsigned)PARTITIONS);
    cr_assert_eq(consumer_assigned(&m), (1U << PARTITIONS) - 1);
    consumer_turn(&m); /* the last ones are processed */
    cr_assert_eq(leat_consumer_commit_wait(m.consumer, PATIENCE), 0, "%s",
                 leat_client_error(m.client));
    for (uint32_t p = 0; p < PARTITIONS; p++)
        cr_assert_eq(consumer_committed(&m, p), 5u);
    consumer_leave(&m);
    consumers_publish(&b, 2);
    consumer_join(&m, b.url, consumers_in_group(NULL));
    UNTIL(&m, 1, m.records == 2 * PARTITIONS);
    for (int i = 0; i < 20; i++)
        consumer_turn(&m);
    cr_assert_eq(m.records, 2U * PARTITIONS, "nothing that was committed came again");
    consumer_leave(&m);
    consumers_tear_down(&b);
}

BUS_TEST(groups, partitions_move_as_members_come_and_go_and_nothing_is_doubled)
{
    struct consumers_bus b;
    struct consumer_member m[MEMBERS];
    consumers_set_up(&b, way);
    consumers_publish(&b, 3);
    consumer_join(&m[0], b.url, consumers_in_group(NULL));
    UNTIL(m, 1, m[0].records == 3 * PARTITIONS);
    consumer_join(&m[1], b.url, consumers_in_group(NULL));
    UNTIL(m, 2, consumers_share(m, 2));
    cr_assert_eq(m[0].events[LEAT_EVENT_REVOKED], 2u, "half of four moves, and no more");
    consumers_publish(&b, 3);
    UNTIL(m, 2, consumers_records(m, 2) == 6 * PARTITIONS);
    consumer_join(&m[2], b.url, consumers_in_group(NULL));
    UNTIL(m, 3, consumers_share(m, 3));
    consumers_publish(&b, 3);
    UNTIL(m, 3, consumers_records(m, 3) == 9 * PARTITIONS);
    const unsigned gone = m[2].records;
    consumer_turn(&m[2]);
    consumer_leave(&m[2]); /* with its last commit: nothing of it comes again */
    UNTIL(m, 2, consumers_share(m, 2));
    consumers_publish(&b, 1);
    UNTIL(m, 2, consumers_records(m, 2) + gone == 10 * PARTITIONS);
    for (int i = 0; i < 20; i++) {
        consumer_turn(&m[0]);
        consumer_turn(&m[1]);
    }
    cr_assert_eq(consumers_records(m, 2) + gone, 10U * PARTITIONS);
    cr_assert_eq(m[0].events[LEAT_EVENT_MEMBER_LOST] + m[1].events[LEAT_EVENT_MEMBER_LOST], 0u);
    cr_assert_eq(m[0].events[LEAT_EVENT_GAP] + m[0].events[LEAT_EVENT_DISCONNECTED], 0u);
    consumer_leave(&m[0]);
    consumer_leave(&m[1]);
    consumers_tear_down(&b);
}

static void commit_in_revocation(void *user, const struct leat_event *event)
{
    struct consumer_member *m = user;
    consumers_on_event(user, event);
    if (event->type == LEAT_EVENT_REVOKED)
        leat_consumer_commit(event->consumer, event->topic, (uint32_t)event->partition,
                             m->next[event->partition]);
}

BUS_TEST(groups, what_is_committed_while_a_partition_goes_counts)
{
    struct consumers_bus b;
    struct consumer_member m[2];
    consumers_set_up(&b, way);
    consumers_publish(&b, 4);
    struct leat_consumer_options options = consumers_in_group(NULL);
    options.commit = LEAT_COMMIT_OFF;
    const char *topic = "t";
    m[0] = (struct consumer_member){ .client = NULL };
    const struct leat_client_options client = { .size = sizeof client,
                                                .on_event = commit_in_revocation,
                                                .user = &m[0] };
    cr_assert_eq(leat_client_open(&m[0].client, b.url, &client), 0);
    cr_assert_eq(leat_consumer_open(m[0].client, &m[0].consumer, &topic, 1, &options), 0);
    UNTIL(m, 1, m[0].records == 4 * PARTITIONS);
    consumer_join(&m[1], b.url, options);
    UNTIL(m, 2, consumers_share(m, 2));
    for (int i = 0; i < 20; i++) {
        consumer_turn(&m[0]);
        consumer_turn(&m[1]);
    }
    cr_assert_eq(m[0].events[LEAT_EVENT_REVOKED], 2u);
    cr_assert_eq(m[1].records, 0u, "all of it was committed when it moved");
    for (uint32_t p = 0; p < PARTITIONS; p++)
        if ((consumer_assigned(&m[0]) >> p & 1) != 0)
            cr_assert_eq(consumer_committed(&m[0], p), 0u, "and nothing else: it is off");
    consumer_leave(&m[0]);
    consumer_leave(&m[1]);
    consumers_tear_down(&b);
}

BUS_TEST(groups, commits_are_exact_and_refusals_are_told)
{
    struct consumers_bus b;
    struct consumer_member m;
    uint64_t offset;
    consumers_set_up(&b, way);
    consumers_publish(&b, 10);
    struct leat_consumer_options options = consumers_in_group(NULL);
    options.commit = LEAT_COMMIT_OFF;
    consumer_join(&m, b.url, options);
    UNTIL(&m, 1, m.records == 10 * PARTITIONS);
    cr_assert_eq(leat_consumer_commit(m.consumer, "t", 2, 7), 0);
    cr_assert_eq(leat_consumer_commit_wait(m.consumer, PATIENCE), 0);
    cr_assert_eq(consumer_committed(&m, 2), 7u);
    cr_assert_eq(consumer_committed(&m, 1), 0u);
    cr_assert_eq(leat_consumer_commit(m.consumer, "t", 2, 3), 0);
    cr_assert_eq(leat_consumer_commit_wait(m.consumer, PATIENCE), 0, "a lower one is no error");
    cr_assert_eq(consumer_committed(&m, 2), 7u, "and changes nothing");
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
    cr_assert_eq(consumer_committed(&m, 2), 7u);
    consumer_leave(&m);
    m.records = 0;
    consumer_join(&m, b.url, options);
    UNTIL(&m, 1, m.records == 10 * (PARTITIONS - 1) + 3);
    consumer_leave(&m);
    consumers_tear_down(&b);
}

BUS_TEST(groups, a_paused_partition_rests_and_loses_nothing)
{
    struct consumers_bus b;
    struct consumer_member m;
    uint64_t lag;
    consumers_set_up(&b, way);
    consumer_join(&m, b.url, consumers_in_group(NULL));
    UNTIL(&m, 1, consumer_assigned(&m) == ALL);
    cr_assert_eq(leat_consumer_pause(m.consumer, "t", 1), 0);
    consumers_publish(&b, 6);
    UNTIL(&m, 1, m.records == 6 * (PARTITIONS - 1));
    for (int i = 0; i < 20; i++)
        consumer_turn(&m);
    cr_assert_eq(m.next[1], 0u);
    cr_assert_eq(leat_consumer_lag(m.consumer, "t", 1, &lag), 0, "%s", leat_client_error(m.client));
    cr_assert_eq(lag, 6u);
    cr_assert_eq(leat_consumer_lag(m.consumer, "t", 0, &lag), 0);
    cr_assert_eq(lag, 0u);
    cr_assert_eq(leat_consumer_resume(m.consumer, "t", 1), 0);
    UNTIL(&m, 1, m.records == 6 * PARTITIONS);
    cr_assert_eq(m.events[LEAT_EVENT_GAP], 0u);
    consumer_leave(&m);
    consumers_tear_down(&b);
}

BUS_TEST(groups, offsets_are_committed_at_intervals)
{
    struct consumers_bus b;
    struct consumer_member m;
    consumers_set_up(&b, way);
    consumers_publish(&b, 3);
    struct leat_consumer_options options = consumers_in_group(NULL);
    options.commit = LEAT_COMMIT_INTERVAL;
    options.commit_interval_ns = SECOND / 20;
    consumer_join(&m, b.url, options);
    UNTIL(&m, 1, m.records == 3 * PARTITIONS);
    UNTIL(&m, 1, consumer_committed(&m, 0) == 3 && consumer_committed(&m, PARTITIONS - 1) == 3);
    options.commit_interval_ns = 3600 * SECOND;
    consumer_leave(&m);
    consumers_publish(&b, 1);
    consumer_join(&m, b.url, options);
    UNTIL(&m, 1, m.records == PARTITIONS);
    consumer_turn(&m);
    cr_assert_eq(consumer_committed(&m, 0), 3u, "its time has not come");
    consumer_leave(&m); /* it commits on close */
    consumer_join(&m, b.url, options);
    UNTIL(&m, 1, consumer_assigned(&m) == ALL);
    cr_assert_eq(consumer_committed(&m, 0), 4u);
    consumer_leave(&m);
    consumers_tear_down(&b);
}

BUS_TEST(groups, a_named_member_keeps_its_partitions_over_a_restart_and_fences_its_double)
{
    struct consumers_bus b;
    struct consumer_member m[2], twin;
    consumers_set_up(&b, way);
    consumer_join(&m[0], b.url, consumers_in_group("one"));
    consumer_join(&m[1], b.url, consumers_in_group("two"));
    UNTIL(m, 2, consumers_share(m, 2));
    const unsigned mine = consumer_assigned(&m[1]);
    const unsigned came = m[0].events[LEAT_EVENT_ASSIGNED];
    consumer_leave(&m[1]);
    for (int i = 0; i < 50; i++)
        consumer_turn(&m[0]);
    consumer_join(&m[1], b.url, consumers_in_group("two"));
    UNTIL(m, 2, consumers_share(m, 2));
    cr_assert_eq(consumer_assigned(&m[1]), mine);
    cr_assert_eq(m[0].events[LEAT_EVENT_ASSIGNED], came, "nothing moved meanwhile");

    consumer_join(&twin, b.url, consumers_in_group("two"));
    UNTIL(m, 2, m[1].events[LEAT_EVENT_MEMBER_FENCED] == 1 || (consumer_turn(&twin), false));
    struct leat_record record;
    cr_assert_eq(leat_consumer_poll(m[1].consumer, &record, 1), LEAT_ERR_FENCED);
    cr_assert_eq(consumer_assigned(&m[1]), 0u);
    UNTIL(&twin, 1, consumer_assigned(&twin) == mine);
    consumers_publish(&b, 1);
    UNTIL(&twin, 1, twin.records == (unsigned)__builtin_popcount(mine));
    cr_assert_eq(m[1].events[LEAT_EVENT_MEMBER_FENCED], 1u);
    consumer_leave(&m[0]);
    consumer_leave(&m[1]);
    consumer_leave(&twin);
    consumers_tear_down(&b);
}

BUS_TEST(groups, what_an_overrun_took_is_counted_with_the_next_commit)
{
    struct consumers_bus b;
    struct consumer_member m;
    consumers_set_up(&b, way);
    struct leat_consumer_options options = consumers_in_group(NULL);
    options.window_bytes = 1; /* one largest batch */
    consumer_join(&m, b.url, options);
    UNTIL(&m, 1, consumer_assigned(&m) == ALL);
    consumers_publish(&b, 1);
    UNTIL(&m, 1, m.next[0] == 1);
    cr_assert_eq(leat_consumer_pause(m.consumer, "t", 0), 0);
    static char large[3000];
    const struct leat_record record = { .value = large, .value_size = sizeof large };
    for (int i = 0; i < 1000; i++) /* of a ring of 1 MiB */
        cr_assert_eq(leat_producer_send_wait(b.producer, &record, NULL, PATIENCE), 0);
    for (int i = 0; i < 20; i++)
        consumer_turn(&m);
    cr_assert_eq(leat_consumer_resume(m.consumer, "t", 0), 0);
    UNTIL(&m, 1, m.next[0] == 1001);
    consumer_turn(&m);
    cr_assert_eq(leat_consumer_commit_wait(m.consumer, PATIENCE), 0, "%s",
                 leat_client_error(m.client));
    cr_assert_eq(consumer_committed(&m, 0), 1001u);
    cr_assert_gt(m.events[LEAT_EVENT_GAP], 0u);

    const int control = wire_control(b.broker.control);
    Leat__Control__Response *response = members_describe(control, "g");
    uint64_t lost = 0;
    for (size_t i = 0; i < response->group->n_partitions; i++)
        lost += response->group->partitions[i]->lost_at_most;
    members_done(response);
    close(control);
    cr_assert_eq(lost, m.lost);
    cr_assert_eq(m.records + lost, 1000U + PARTITIONS, "each was handed out or is lost");
    consumer_leave(&m);
    consumers_tear_down(&b);
}

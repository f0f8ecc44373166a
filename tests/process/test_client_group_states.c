/* Goal: whatever becomes of its topics, its group and its broker, a group's member ends in records,
 * in an event or in an error; it never waits for ever and says nothing.
 * Method: members, over TCP and in packets, are brought by hand into each situation; then they are
 * driven, so many turns at most, until they say what they should. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/consumers.h"

static const char *const BARE = "{\"port\": 0, \"data_port\": 0}";

static void set_up(struct consumers_bus *b, const char *way, const char *config)
{
    *b = (struct consumers_bus){ .published = 0 };
    leatd_start_config(&b->broker, config);
    snprintf(b->url, sizeof b->url, "%s", bus_url(way, b->broker.url));
    b->client = bus_open(b->url);
    bus_create(b->client, "t", (struct leat_topic_settings){ .partitions = PARTITIONS });
    b->producer = bus_producer(b->client, "t");
}

/* One that keeps offsets and topics; its folder is in `state`. */
static void set_up_kept(struct consumers_bus *b, const char *way, char *state)
{
    char config[256];
    cr_assert_neq(mkdtemp(state), NULL);
    snprintf(config, sizeof config, "{\"port\": 0, \"state_dir\": \"%s\"}", state);
    set_up(b, way, config);
}

static void tear_down_kept(struct consumers_bus *b, const char *state)
{
    char command[300];
    consumers_tear_down(b);
    snprintf(command, sizeof command, "rm -rf '%s'", state);
    cr_assert_eq(system(command), 0);
}

/* The broker is another process then; members find out when they are driven. */
static void restart_after(struct consumers_bus *b, int (*end)(struct leatd *broker))
{
    leat_client_close(b->client);
    end(&b->broker);
    leatd_restart(&b->broker);
    b->client = bus_open(b->url);
    b->producer = NULL;
}

static void restart(struct consumers_bus *b)
{
    restart_after(b, leatd_kill);
}

static void delete_topic(struct consumers_bus *b)
{
    leat_producer_close(b->producer);
    b->producer = NULL;
    cr_assert_eq(leat_topic_delete(b->client, "t"), 0, "%s", leat_client_error(b->client));
}

static void create_topic(struct consumers_bus *b, uint32_t partitions)
{
    bus_create(b->client, "t", (struct leat_topic_settings){ .partitions = partitions });
    b->producer = bus_producer(b->client, "t");
}

/* So many records to each of `partitions`. */
static void publish(struct consumers_bus *b, uint32_t partitions, unsigned each)
{
    for (unsigned i = 0; i < each * partitions; i++) {
        const struct leat_record record = { .value = "v",
                                            .value_size = 1,
                                            .partition = (int32_t)(i % partitions) };
        cr_assert_eq(leat_producer_send_wait(b->producer, &record, NULL, PATIENCE), 0, "%s",
                     leat_client_error(b->client));
    }
}

static void join(struct consumer_member *m, struct consumers_bus *b, const char *const *topics,
                 size_t count, struct leat_consumer_options options)
{
    *m = (struct consumer_member){ .client = NULL };
    const struct leat_client_options client = { .size = sizeof client,
                                                .on_event = consumers_on_event,
                                                .user = m,
                                                .backoff_max_ns = SECOND / 10,
                                                .circuit_failures = 100000 };
    cr_assert_eq(leat_client_open(&m->client, b->url, &client), 0, "%s", leat_client_error(NULL));
    cr_assert_eq(leat_consumer_open(m->client, &m->consumer, topics, count, &options), 0, "%s",
                 leat_client_error(m->client));
}

static void turns(struct consumer_member *members, unsigned count, unsigned turns)
{
    for (unsigned i = 0; i < turns * count; i++)
        consumer_turn(&members[i % count]);
}

/* A member that has read and committed two records of each partition. */
static void begin(struct consumers_bus *b, struct consumer_member *m)
{
    consumers_publish(b, 2);
    consumer_join(m, b->url, consumers_in_group(NULL));
    UNTIL(m, 1, m->records == 2 * PARTITIONS);
    consumer_turn(m);
    cr_assert_eq(leat_consumer_commit_wait(m->consumer, PATIENCE), 0);
    m->records = 0;
}

/* It hears that the topic is missing, once; then the topic is there, and it reads all of it. */
static void comes_back(struct consumers_bus *b, struct consumer_member *m, uint32_t partitions)
{
    UNTIL(m, 1, m->events[LEAT_EVENT_TOPIC_MISSING] == 1);
    cr_assert_eq(m->events[LEAT_EVENT_TOPIC_DELETED], (unsigned)PARTITIONS);
    cr_assert_eq(consumer_assigned(m), 0u);
    turns(m, 1, 50);
    cr_assert_eq(m->events[LEAT_EVENT_TOPIC_MISSING], 1u, "told once");
    cr_assert_eq(leat_consumer_seek(m->consumer, "t", 0, LEAT_START_EARLIEST, 0),
                 LEAT_ERR_NOT_ASSIGNED);
    create_topic(b, partitions);
    publish(b, partitions, 3);
    UNTIL(m, 1, m->records == 3 * partitions);
    cr_assert_eq(m->events[LEAT_EVENT_ASSIGNED], PARTITIONS + partitions);
    cr_assert_eq(m->events[LEAT_EVENT_REVOKED], 0u, "nobody else has it");
    cr_assert_eq(m->events[LEAT_EVENT_MEMBER_FENCED], 0u);
    consumer_turn(m);
    cr_assert_eq(leat_consumer_commit_wait(m->consumer, PATIENCE), 0, "%s",
                 leat_client_error(m->client));
    cr_assert_eq(consumer_committed(m, partitions - 1), 3u);
    cr_assert_eq(leat_consumer_seek(m->consumer, "t", 0, LEAT_START_EARLIEST, 0), 0, "%s",
                 leat_client_error(m->client));
    UNTIL(m, 1, m->records == 3 * partitions + 3);
}

static void missing_at_restart(const char *way, uint32_t partitions)
{
    struct consumers_bus b;
    struct consumer_member m;
    set_up(&b, way, BARE);
    begin(&b, &m);
    restart(&b);
    comes_back(&b, &m, partitions);
    cr_assert_eq(m.events[LEAT_EVENT_CONNECTED], 2u, "though its topic was missing");
    cr_assert_eq(m.events[LEAT_EVENT_MEMBER_LOST], 1u);
    consumer_leave(&m);
    consumers_tear_down(&b);
}

BUS_TEST(group_states, a_topic_that_is_missing_at_a_restart_is_awaited)
{
    missing_at_restart(way, PARTITIONS);
}

BUS_TEST(group_states, a_topic_that_comes_back_after_a_restart_may_have_fewer_partitions)
{
    missing_at_restart(way, PARTITIONS - 3);
}

BUS_TEST(group_states, a_topic_that_comes_back_after_a_restart_may_have_more_partitions)
{
    missing_at_restart(way, PARTITIONS + 3);
}

static void deleted_while_connected(const char *way, uint32_t partitions)
{
    struct consumers_bus b;
    struct consumer_member m;
    set_up(&b, way, BARE);
    begin(&b, &m);
    delete_topic(&b);
    comes_back(&b, &m, partitions);
    cr_assert_eq(m.events[LEAT_EVENT_MEMBER_LOST] + m.events[LEAT_EVENT_DISCONNECTED], 0u,
                 "it was a member all the time");
    delete_topic(&b); /* and once more */
    UNTIL(&m, 1, m.events[LEAT_EVENT_TOPIC_MISSING] == 2);
    cr_assert_eq(m.events[LEAT_EVENT_TOPIC_DELETED], PARTITIONS + partitions);
    consumer_leave(&m);
    consumers_tear_down(&b);
}

BUS_TEST(group_states, a_topic_that_is_deleted_and_made_again_is_taken_up_again)
{
    deleted_while_connected(way, PARTITIONS);
}

BUS_TEST(group_states, a_topic_that_is_made_again_may_have_fewer_partitions)
{
    deleted_while_connected(way, PARTITIONS - 1);
}

BUS_TEST(group_states, a_topic_that_is_made_again_may_have_more_partitions)
{
    deleted_while_connected(way, PARTITIONS + 4);
}

BUS_TEST(group_states, a_topic_that_is_deleted_while_its_member_is_away_is_awaited)
{
    char state[] = "/tmp/leat_states_XXXXXX";
    struct consumers_bus b;
    struct consumer_member m;
    set_up_kept(&b, way, state);
    begin(&b, &m);
    restart(&b);
    cr_assert_eq(leat_topic_delete(b.client, "t"), 0);
    comes_back(&b, &m, PARTITIONS);
    consumer_leave(&m);
    tear_down_kept(&b, state);
}

/* Made anew before the member sees that it is gone. At its end every partition was read whole. */
static void made_anew_while_away(const char *way, uint32_t partitions)
{
    char state[] = "/tmp/leat_states_XXXXXX";
    struct consumers_bus b;
    struct consumer_member m;
    set_up_kept(&b, way, state);
    begin(&b, &m);
    restart(&b);
    cr_assert_eq(leat_topic_delete(b.client, "t"), 0);
    create_topic(&b, partitions);
    publish(&b, partitions, 3);
    UNTIL(&m, 1, m.records == 3 * partitions);
    const unsigned kept = partitions < PARTITIONS ? partitions : PARTITIONS;
    cr_assert_eq(m.events[LEAT_EVENT_TOPIC_DELETED], PARTITIONS - kept, "those that are gone");
    cr_assert_eq(m.events[LEAT_EVENT_LOG_RESET], kept, "those that began anew");
    cr_assert_eq(consumer_assigned(&m), (1U << partitions) - 1);
    cr_assert_eq(m.events[LEAT_EVENT_TOPIC_MISSING], 0u);
    consumer_leave(&m);
    tear_down_kept(&b, state);
}

BUS_TEST(group_states, a_topic_made_anew_while_away_is_read)
{
    made_anew_while_away(way, PARTITIONS);
}

BUS_TEST(group_states, a_topic_made_anew_with_fewer_partitions_while_away_is_read)
{
    made_anew_while_away(way, PARTITIONS - 2);
}

BUS_TEST(group_states, a_topic_made_anew_with_more_partitions_while_away_is_read)
{
    made_anew_while_away(way, PARTITIONS + 2);
}

/* Of new partitions a member misses nothing, though it was to begin at the end of the topic. */
BUS_TEST(group_states, new_partitions_are_read_from_their_first_record)
{
    struct consumers_bus b;
    struct consumer_member m;
    struct leat_consumer_options options = consumers_in_group(NULL);
    options.start_at = LEAT_START_LATEST;
    set_up(&b, way, BARE);
    consumer_join(&m, b.url, options);
    UNTIL(&m, 1, consumer_assigned(&m) == ALL);
    delete_topic(&b);
    create_topic(&b, PARTITIONS + 4);
    publish(&b, PARTITIONS + 4, 5);
    UNTIL(&m, 1, m.records == 5 * (PARTITIONS + 4));
    consumer_leave(&m);
    consumers_tear_down(&b);
}

/* Two members of a topic with one partition: one has nothing, and sees no stream of it end. */
BUS_TEST(group_states, a_member_without_a_part_gets_one_of_a_larger_topic)
{
    struct consumers_bus b;
    struct consumer_member m[2];
    set_up(&b, way, BARE);
    delete_topic(&b);
    create_topic(&b, 1);
    consumer_join(&m[0], b.url, consumers_in_group(NULL));
    consumer_join(&m[1], b.url, consumers_in_group(NULL));
    UNTIL(m, 2, (consumer_assigned(&m[0]) | consumer_assigned(&m[1])) == 1);
    delete_topic(&b);
    create_topic(&b, PARTITIONS);
    UNTIL(m, 2, consumers_share(m, 2));
    publish(&b, PARTITIONS, 2);
    UNTIL(m, 2, consumers_records(m, 2) == 2 * PARTITIONS);
    cr_assert_eq(m[0].events[LEAT_EVENT_DISCONNECTED] + m[1].events[LEAT_EVENT_DISCONNECTED], 0u);
    consumer_leave(&m[0]);
    consumer_leave(&m[1]);
    consumers_tear_down(&b);
}

/* One of two topics is missing: the other is read meanwhile, and both in the end. */
BUS_TEST(group_states, a_member_of_two_topics_reads_the_one_that_is_there)
{
    static const char *const topics[] = { "other", "t" };
    struct consumers_bus b;
    struct consumer_member m;
    set_up(&b, way, BARE);
    bus_create(b.client, "other", (struct leat_topic_settings){ .partitions = 1 });
    join(&m, &b, topics, 2, consumers_in_group(NULL));
    UNTIL(&m, 1, m.events[LEAT_EVENT_ASSIGNED] == PARTITIONS + 1);
    restart(&b);
    bus_create(b.client, "other", (struct leat_topic_settings){ .partitions = 1 });
    leat_producer *producer = bus_producer(b.client, "other");
    bus_publish(producer, 1);
    UNTIL(&m, 1, m.records == 1);
    cr_assert_eq(m.events[LEAT_EVENT_TOPIC_MISSING], 1u);
    create_topic(&b, PARTITIONS);
    publish(&b, PARTITIONS, 3);
    bus_publish(producer, 2);
    UNTIL(&m, 1, m.records >= 3 * PARTITIONS + 2);
    cr_assert_eq(m.events[LEAT_EVENT_MEMBER_LOST], 2u, "the restart; joined with both");
    consumer_leave(&m);
    consumers_tear_down(&b);
}

/* What the application holds stays as it is when the partition it came from is no more. */
BUS_TEST(group_states, records_stay_valid_while_their_topic_is_made_anew)
{
    struct consumers_bus b;
    struct consumer_member m;
    struct leat_record held[2 * PARTITIONS];
    int n = 0;
    set_up(&b, way, BARE);
    consumers_publish(&b, 2);
    consumer_join(&m, b.url, consumers_in_group(NULL));
    for (int i = 0; i < 20000 && n == 0; i++) {
        cr_assert_geq(leat_client_poll(m.client, SECOND / 500), 0);
        n = leat_consumer_poll(m.consumer, held, 2 * PARTITIONS);
    }
    cr_assert_gt(n, 0);
    restart(&b);
    create_topic(&b, 1);
    publish(&b, 1, 3);
    for (int i = 0; i < 20000 && m.events[LEAT_EVENT_CONNECTED] < 2; i++)
        cr_assert_geq(leat_client_poll(m.client, SECOND / 500), 0);
    for (int i = 0; i < n; i++) {
        cr_assert_str_eq(held[i].topic, "t");
        cr_assert_arr_eq(held[i].value, "v", 1);
    }
    UNTIL(&m, 1, m.records == 3);
    consumer_leave(&m);
    consumers_tear_down(&b);
}

/* Its group was deleted while it was away: it makes the group anew. */
BUS_TEST(group_states, a_member_of_a_deleted_group_joins_again)
{
    char state[] = "/tmp/leat_states_XXXXXX";
    struct consumers_bus b;
    struct consumer_member m;
    set_up_kept(&b, way, state);
    begin(&b, &m);
    restart_after(&b, leatd_stop); /* it writes down what is committed */
    cr_assert_eq(leat_group_delete(b.client, "g"), 0, "%s", leat_client_error(b.client));
    b.producer = bus_producer(b.client, "t");
    publish(&b, PARTITIONS, 3);
    UNTIL(&m, 1, m.records == 3 * PARTITIONS);
    cr_assert_eq(m.events[LEAT_EVENT_MEMBER_LOST], 1u);
    consumer_leave(&m);
    tear_down_kept(&b, state);
}

/* Its name was taken while its topic is missing. */
BUS_TEST(group_states, a_member_that_is_fenced_ends_with_an_error)
{
    static const char *const topics[] = { "other", "t" };
    struct consumers_bus b;
    struct consumer_member m, twin;
    struct leat_record record;
    set_up(&b, way, BARE);
    bus_create(b.client, "other", (struct leat_topic_settings){ .partitions = 1 });
    join(&m, &b, topics, 2, consumers_in_group("one"));
    UNTIL(&m, 1, m.events[LEAT_EVENT_ASSIGNED] == PARTITIONS + 1);
    delete_topic(&b);
    UNTIL(&m, 1, m.events[LEAT_EVENT_TOPIC_MISSING] == 1);
    join(&twin, &b, topics, 1, consumers_in_group("one"));
    UNTIL(&m, 1, m.events[LEAT_EVENT_MEMBER_FENCED] == 1);
    create_topic(&b, PARTITIONS);
    turns(&m, 1, 50);
    cr_assert_eq(leat_consumer_poll(m.consumer, &record, 1), LEAT_ERR_FENCED, "and stays so");
    cr_assert_eq(m.events[LEAT_EVENT_MEMBER_FENCED], 1u);
    consumer_leave(&m);
    consumer_leave(&twin);
    consumers_tear_down(&b);
}

/* Opened while the topic is missing: that is the caller's error, said at once. */
BUS_TEST(group_states, who_opens_with_a_missing_topic_is_refused)
{
    static const char *const topics[] = { "t", "missing" };
    struct consumers_bus b;
    leat_consumer *consumer;
    const struct leat_consumer_options options = consumers_in_group(NULL);
    set_up(&b, way, BARE);
    cr_assert_eq(leat_consumer_open(b.client, &consumer, topics, 2, &options),
                 LEAT_ERR_UNKNOWN_TOPIC);
    cr_assert_not_null(strstr(leat_client_error(b.client), "\"missing\""), "%s",
                       leat_client_error(b.client));
    consumers_tear_down(&b);
}

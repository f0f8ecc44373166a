/* Goal: what a group's members are promised by a real broker: partitions shared, changes that
 * travel at once and touch only what moves, offsets that stand where they were committed, an old
 * owner that cannot commit any more, and a typed refusal for everything that is wrong. Method: a
 * real leatd with two shards, raw peers on both channels. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/members.h"

static void set_up(void)
{
    leatd_start_config(&members_broker, "{\"port\": 0, \"data_port\": 0, \"shards\": 2,"
                                        " \"log_memory_bytes\": \"8MiB\", \"hugepages\": \"off\"}");
}

static void tear_down(void)
{
    cr_assert(leatd_alive(&members_broker), "the broker died");
    cr_assert_not(leatd_log_has(&members_broker, "Sanitizer"), "see %s", members_broker.log_path);
    leatd_end(&members_broker);
}

TestSuite(groups, .init = set_up, .fini = tear_down, .timeout = 60);

Test(groups, one_member_gets_everything_and_commits_where_it_is)
{
    struct member m;
    members_create_topic();
    members_publish(50);
    member_join(&m, "m-1");
    cr_assert_eq(m.assigned, 0xFu);
    member_open_all(&m);
    cr_assert_eq(m.open[1].offset, 0u);
    cr_assert_eq(m.open[1].committed_log_epoch, 0u, "nothing stood before");
    struct leat_frame_committed said =
        member_commit(&m, 1, (struct leat_frame_commit){ .offset = 30 });
    cr_assert(said.status == 0 && said.offset == 30);
    said = member_commit(&m, 1, (struct leat_frame_commit){ .offset = 20 });
    cr_assert(said.status == 0 && said.offset == 30, "a commit never moves back");
    member_open(&m, 1);
    cr_assert_eq(m.open[1].offset, 30u);
    cr_assert_eq(m.open[1].committed, 30u);
    cr_assert_eq(m.open[1].committed_log_epoch, m.open[1].log_epoch);
}

Test(groups, what_stands_committed_counts_whatever_log_a_member_knows)
{
    struct member m;
    members_create_topic();
    members_publish(50);
    member_join(&m, "m-1");
    member_open_all(&m);
    member_commit(&m, 1, (struct leat_frame_commit){ .offset = 30 });
    m.knows = m.open[1].log_epoch + 12345;
    member_open(&m, 1);
    cr_assert_eq(m.open[1].offset, 30u);
    cr_assert_eq(m.open[1].committed, 30u);
}

Test(groups, commits_that_cannot_be_are_refused)
{
    struct member m;
    members_create_topic();
    members_publish(50);
    member_join(&m, "m-1");
    member_open_all(&m);
    struct leat_frame_committed said =
        member_commit(&m, 0, (struct leat_frame_commit){ .offset = 51 });
    cr_assert_eq(said.status, LEAT_ERR_OUT_OF_RANGE, "beyond the tail");
    cr_assert_eq(said.offset, 0u, "what stands is where it began");
    said = member_commit(&m, 0, (struct leat_frame_commit){ .offset = 10, .log_epoch = 12345 });
    cr_assert_eq(said.status, LEAT_ERR_LOG_EPOCH);
    said = member_commit(&m, 0, (struct leat_frame_commit){ .offset = 10, .lost_at_most = 1 });
    cr_assert_eq(said.status, LEAT_ERR_INVALID, "nothing was overrun");
    members_publish(3000); /* far more than the ring holds */
    said = member_commit(&m, 0, (struct leat_frame_commit){ .offset = 10 });
    cr_assert_eq(said.status, LEAT_ERR_OUT_OF_RANGE, "before the head");
    /* What it was overrun by is counted, once. */
    member_open(&m, 0);
    cr_assert_gt(m.open[0].offset, 50u);
    cr_assert_eq(m.open[0].committed, 0u);
    const uint64_t head = m.open[0].offset;
    member_open(&m, 0);
    cr_assert_eq(m.open[0].committed, head);
    Leat__Control__Response *r = members_describe(m.control, "g");
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert_eq(r->group->n_partitions, (size_t)MEMBER_PARTITIONS);
    cr_assert_eq(r->group->partitions[0]->lost_at_most, head);
    cr_assert_eq(r->group->partitions[0]->lag_records, 3050u - head);
    cr_assert_gt(r->group->partitions[0]->lag_bytes, 0u);
    cr_assert_str_eq(r->group->partitions[0]->member_id, "m-1");
    cr_assert(r->group->partitions[0]->open);
    members_done(r);
    /* A stream of no group does not commit. */
    m.open[0].stream = wire_open_subscription(m.control, "t", m.sessions[0]).stream;
    said = member_commit(&m, 0, (struct leat_frame_commit){ .offset = 3000 });
    cr_assert_eq(said.status, LEAT_ERR_UNKNOWN_STREAM);
    m.open[0].stream = 12345;
    said = member_commit(&m, 0, (struct leat_frame_commit){ .offset = 3000 });
    cr_assert_eq(said.status, LEAT_ERR_UNKNOWN_STREAM);
}

/* A name and a place for offsets would stay for good. */
Test(groups, a_refused_commit_makes_no_group)
{
    const int control = members_create_topic();
    members_publish(50);
    Leat__Control__Response *r = members_commit_on_control(control, NULL, 0, 10, 12345);
    cr_assert_eq(r->committed->offsets[0]->error, LEAT_ERR_LOG_EPOCH);
    members_done(r);
    members_expect(members_describe(control, "g"), LEAT_ERR_UNKNOWN_GROUP, NULL);
    r = members_commit_on_control(control, NULL, MEMBER_PARTITIONS, 10, 12345);
    cr_assert_eq(r->committed->offsets[0]->error, LEAT_ERR_UNKNOWN_PARTITION);
    members_done(r);
    members_expect(members_describe(control, "g"), LEAT_ERR_UNKNOWN_GROUP, NULL);
}

Test(groups, a_second_member_gets_half_and_the_rest_goes_on)
{
    struct member a, b;
    members_create_topic();
    members_publish(50);
    member_join(&a, "m-a");
    member_open_all(&a);
    for (uint32_t p = 0; p < MEMBER_PARTITIONS; p++)
        member_commit(&a, p, (struct leat_frame_commit){ .offset = 10 + p });
    member_say_heartbeat(&a, MEMBER_SESSION_MS); /* is held */
    member_join(&b, "m-b");
    cr_assert_eq(b.assigned, 0u, "nothing is given on before it was let go");
    member_take_assignment(&a, members_hear(a.control));
    cr_assert_eq(__builtin_popcount(a.assigned), 2);
    /* Until it lets go, it commits. */
    const uint32_t moving = a.owned & ~a.assigned;
    const uint32_t first = (uint32_t)__builtin_ctz(moving);
    struct leat_frame_committed said =
        member_commit(&a, first, (struct leat_frame_commit){ .offset = 40 });
    cr_assert(said.status == 0 && said.offset == 40);
    members_expect(member_ask_open(&b, first, LEAT__CONTROL__START_AT__COMMITTED), 0,
                   NULL); /* in its stream: */
    a.owned = a.assigned;
    member_say_heartbeat(&a, MEMBER_SESSION_MS);
    member_follow(&b, 2);
    cr_assert_eq(b.assigned, moving);
    /* The shard dropped what the client had not closed: the old owner cannot commit. */
    said = member_commit(&a, first, (struct leat_frame_commit){ .offset = 45 });
    cr_assert_eq(said.status, LEAT_ERR_UNKNOWN_STREAM);
    member_open_all(&b);
    cr_assert_eq(b.open[first].offset, 40u);
    const uint32_t kept = (uint32_t)__builtin_ctz(a.owned);
    said = member_commit(&a, kept, (struct leat_frame_commit){ .offset = 45 });
    cr_assert(said.status == 0 && said.offset == 45, "what does not move goes on");
    Leat__Control__Response *r = member_ask_open(&a, first, LEAT__CONTROL__START_AT__COMMITTED);
    cr_assert_eq(r->error, 0);
    cr_assert_eq(r->subscription->streams[0]->error, LEAT_ERR_NOT_ASSIGNED);
    members_done(r);
}

Test(groups, a_silent_member_is_out_and_hears_it_once)
{
    struct member a, b;
    members_create_topic();
    member_join(&a, "m-a");
    member_open_all(&a);
    member_join(&b, "m-b");
    member_follow(&b, MEMBER_PARTITIONS); /* a is not heard; b's heartbeats go on */
    member_say_heartbeat(&a, 0);
    members_expect(members_hear(a.control), LEAT_ERR_UNKNOWN_MEMBER, "join again");
    member_take_assignment(&a, member_ask_join(&a));
    member_follow(&b, 2);
    b.owned = b.assigned;
    member_say_heartbeat(&b, MEMBER_SESSION_MS);
    member_follow(&a, 2);
}

Test(groups, the_same_id_again_takes_the_place_and_fences)
{
    struct member a, again;
    members_create_topic();
    members_publish(50);
    member_join(&a, "static-1");
    member_open_all(&a);
    member_commit(&a, 2, (struct leat_frame_commit){ .offset = 7 });
    member_say_heartbeat(&a, MEMBER_SESSION_MS);
    member_join(&again, "static-1");
    members_expect(members_hear(a.control), LEAT_ERR_FENCED, "static-1");
    member_follow(&again, MEMBER_PARTITIONS);
    cr_assert_gt(again.epoch, a.epoch);
    const struct leat_frame_committed said =
        member_commit(&a, 2, (struct leat_frame_commit){ .offset = 9 });
    cr_assert_eq(said.status, LEAT_ERR_UNKNOWN_STREAM);
    member_open_all(&again);
    cr_assert_eq(again.open[2].offset, 7u);
    member_say_heartbeat(&a, 0);
    members_expect(members_hear(a.control), LEAT_ERR_FENCED, NULL);
    members_expect(member_ask_open(&a, 0, LEAT__CONTROL__START_AT__COMMITTED), LEAT_ERR_FENCED,
                   NULL);
}

static Leat__Control__Response *reset_to(int control, uint64_t offset, bool dry_run)
{
    Leat__Control__PartitionStart all = LEAT__CONTROL__PARTITION_START__INIT;
    Leat__Control__ResetGroup reset = LEAT__CONTROL__RESET_GROUP__INIT;
    all.at = LEAT__CONTROL__START_AT__OFFSET;
    all.offset = offset;
    reset.group = (char *)"g";
    reset.topic = (char *)"t";
    reset.all = &all;
    reset.dry_run = dry_run;
    return members_ask(control, LEAT__CONTROL__REQUEST__BODY_RESET_GROUP, &reset);
}

static Leat__Control__Response *delete_group(int control)
{
    Leat__Control__DeleteGroup deleting = LEAT__CONTROL__DELETE_GROUP__INIT;
    deleting.group = (char *)"g";
    return members_ask(control, LEAT__CONTROL__REQUEST__BODY_DELETE_GROUP, &deleting);
}

Test(groups, reset_and_delete_need_an_empty_group)
{
    struct member m;
    const int control = members_create_topic();
    members_publish(50);
    members_expect(members_describe(control, "g"), LEAT_ERR_UNKNOWN_GROUP, "leat group list");
    member_join(&m, "m-1");
    member_open_all(&m);
    member_commit(&m, 3, (struct leat_frame_commit){ .offset = 33 });
    members_expect(reset_to(control, 5, false), LEAT_ERR_GROUP_NOT_EMPTY, "members (1)");
    members_expect(delete_group(control), LEAT_ERR_GROUP_NOT_EMPTY, NULL);
    members_expect(member_ask_leave(&m), 0, NULL);
    Leat__Control__Response *r;
    while ((r = reset_to(control, 5, true))->error == LEAT_BUSY)
        members_done(r);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert(r->committed->dry_run);
    cr_assert_eq(r->committed->n_offsets, (size_t)MEMBER_PARTITIONS);
    cr_assert(r->committed->offsets[3]->offset == 5 && r->committed->offsets[3]->before == 33);
    members_done(r);
    r = members_describe(control, "g");
    cr_assert_eq(r->group->state, LEAT__CONTROL__GROUP_STATE__EMPTY);
    cr_assert_eq(r->group->partitions[3]->committed, 33u, "a try changes nothing");
    members_done(r);
    members_expect(reset_to(control, 5, false), 0, NULL);
    r = reset_to(control, 51, false);
    cr_assert_eq(r->committed->offsets[0]->error, LEAT_ERR_OUT_OF_RANGE);
    members_done(r);
    r = members_describe(control, "g");
    cr_assert_eq(r->group->partitions[3]->committed, 5u, "a reset may go back");
    cr_assert_eq(r->group->partitions[3]->lag_records, 45u);
    members_done(r);
    Leat__Control__ListGroups list = LEAT__CONTROL__LIST_GROUPS__INIT;
    r = members_ask(control, LEAT__CONTROL__REQUEST__BODY_LIST_GROUPS, &list);
    cr_assert_eq(r->groups->n_groups, 1u);
    cr_assert_str_eq(r->groups->groups[0]->group, "g");
    cr_assert_eq(r->groups->groups[0]->partitions, (uint32_t)MEMBER_PARTITIONS);
    members_done(r);
    members_expect(delete_group(control), 0, NULL);
    members_expect(delete_group(control), LEAT_ERR_UNKNOWN_GROUP, NULL);
}

Test(groups, commits_on_control_carry_text)
{
    struct member m;
    const int control = members_create_topic();
    members_publish(50);
    member_join(&m, "m-1");
    member_open_all(&m);
    const uint64_t log_epoch = m.open[2].log_epoch;
    Leat__Control__Response *r = members_commit_on_control(control, &m, 2, 22, log_epoch);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert(r->committed->offsets[0]->error == 0 && r->committed->offsets[0]->offset == 22);
    members_done(r);
    r = members_describe(control, "g");
    cr_assert_str_eq(r->group->partitions[2]->metadata, "end of day");
    cr_assert_eq(r->group->partitions[2]->committed, 22u);
    members_done(r);
    r = members_commit_on_control(control, &m, 2, 23, log_epoch + 1);
    cr_assert_eq(r->committed->offsets[0]->error, LEAT_ERR_LOG_EPOCH);
    members_done(r);
    members_expect(members_commit_on_control(control, NULL, 2, 24, log_epoch),
                   LEAT_ERR_GROUP_NOT_EMPTY, NULL);
    m.epoch += 5;
    members_expect(members_commit_on_control(control, &m, 2, 24, log_epoch), LEAT_ERR_FENCED, NULL);
}

Test(groups, the_text_of_a_commit_that_came_too_late_is_not_kept)
{
    struct member m;
    const int control = members_create_topic();
    members_publish(50);
    member_join(&m, "m-1");
    member_open_all(&m);
    member_commit(&m, 2, (struct leat_frame_commit){ .offset = 40 });
    Leat__Control__Response *r = members_commit_on_control(control, &m, 2, 22, m.open[2].log_epoch);
    cr_assert(r->committed->offsets[0]->error == 0 && r->committed->offsets[0]->offset == 40);
    members_done(r);
    r = members_describe(control, "g");
    cr_assert_str_eq(r->group->partitions[2]->metadata, "", "it says nothing of 40");
    members_done(r);
}

Test(groups, ten_thousand_joins_are_throttled_and_nobody_else_notices)
{
    struct member a, flood;
    char *topics[] = { (char *)"t" };
    unsigned throttled = 0, joined = 0;
    members_create_topic();
    member_join(&a, "m-a");
    member_open_all(&a);
    member_connect(&flood, "");
    for (unsigned i = 0; i < 10000; i++) {
        char id[32];
        snprintf(id, sizeof id, "flood-%u", i % 50);
        Leat__Control__JoinGroup joining = LEAT__CONTROL__JOIN_GROUP__INIT;
        joining.group = (char *)"other";
        joining.member_id = id;
        joining.topics = topics;
        joining.n_topics = 1;
        Leat__Control__Response *r =
            members_ask(flood.control, LEAT__CONTROL__REQUEST__BODY_JOIN_GROUP, &joining);
        throttled += r->error == LEAT_ERR_THROTTLED && r->retry_after_ms != 0;
        joined += r->error == 0;
        members_done(r);
        if (i % 100 != 99)
            continue;
        member_say_heartbeat(&a, 0); /* however long all of them take */
        member_take_assignment(&a, members_hear(a.control));
        cr_assert_eq(a.assigned, 0xFu, "another group is as it was");
    }
    cr_assert_eq(throttled + joined, 10000u);
    cr_assert_gt(joined, 0u);
    cr_assert_gt(throttled, 1000u);
}

Test(groups, a_join_beyond_a_table_is_told_when_to_try_again)
{
    struct member m;
    char names[LEAT_GROUP_TOPICS_MAX][16], *topics[LEAT_GROUP_TOPICS_MAX];
    Leat__Control__TopicSettings settings = LEAT__CONTROL__TOPIC_SETTINGS__INIT;
    Leat__Control__CreateTopic create = LEAT__CONTROL__CREATE_TOPIC__INIT;
    Leat__Control__JoinGroup joining = LEAT__CONTROL__JOIN_GROUP__INIT;
    const int control = members_create_topic();
    settings.partitions = 1;
    settings.ring_bytes = MEMBER_RING;
    settings.record_bytes_max = 1000;
    create.settings = &settings;
    for (int i = 0; i < LEAT_GROUP_TOPICS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "x-%d", i);
        create.name = topics[i] = names[i];
        members_expect(members_ask(control, LEAT__CONTROL__REQUEST__BODY_CREATE_TOPIC, &create), 0,
                       NULL);
    }
    joining.group = (char *)"g";
    joining.topics = topics;
    joining.n_topics = LEAT_GROUP_TOPICS_MAX;
    members_expect(members_ask(control, LEAT__CONTROL__REQUEST__BODY_JOIN_GROUP, &joining), 0,
                   NULL);
    member_connect(&m, "m-1");
    Leat__Control__Response *r = member_ask_join(&m);
    cr_assert_gt(r->retry_after_ms, 0u);
    members_expect(r, LEAT_ERR_LIMIT, "64 topics");
}

Test(groups, a_topic_that_goes_takes_its_offsets_along)
{
    struct member m;
    const int control = members_create_topic();
    member_join(&m, "m-1");
    member_open_all(&m);
    member_say_heartbeat(&m, MEMBER_SESSION_MS);
    Leat__Control__DeleteTopic deleting = LEAT__CONTROL__DELETE_TOPIC__INIT;
    deleting.name = (char *)"t";
    members_expect(members_ask(control, LEAT__CONTROL__REQUEST__BODY_DELETE_TOPIC, &deleting), 0,
                   NULL);
    member_take_assignment(&m, members_hear(m.control));
    cr_assert_eq(m.assigned, 0u);
    m.owned = 0;
    member_say_heartbeat(&m, MEMBER_SESSION_MS);
    cr_assert_eq(wire_create_topic(control, "t", MEMBER_RING, MEMBER_PARTITIONS), 0);
    member_take_assignment(&m, members_hear(m.control));
    cr_assert_eq(m.assigned, 0xFu, "a topic of that name again");
    member_open_all(&m);
    cr_assert_eq(m.open[0].committed_log_epoch, 0u);
}

/* Publishes one batch to partition 0 and returns what was said. */
static int publish_one(const struct member *m, struct wire_reader *reader,
                       const struct wire_producer *producer, uint64_t sequence)
{
    static uint8_t batch[1 << 15];
    struct leat_frame frame;
    const size_t size = wire_make_batch(batch, sizeof batch, producer, sequence, 100, 100);
    cr_assert(wire_publish(m->data[0], producer->stream, batch, size));
    do
        cr_assert(wire_next_frame(reader, &frame));
    while (frame.type != LEAT_FRAME_PUBLISH_ACK);
    return leat_ack_run_at(&frame.publish_ack, 0).status;
}

/* One partition; required_timeout_ms 0: the default. Returns a control connection. */
static int create_blocking_topic(uint64_t required_timeout_ms)
{
    const int control = wire_control(members_broker.control);
    Leat__Control__TopicSettings settings = LEAT__CONTROL__TOPIC_SETTINGS__INIT;
    Leat__Control__CreateTopic create = LEAT__CONTROL__CREATE_TOPIC__INIT;
    create.name = (char *)"t";
    create.settings = &settings;
    settings.partitions = 1;
    settings.ring_bytes = MEMBER_RING;
    settings.record_bytes_max = 1000;
    settings.overrun = LEAT__CONTROL__OVERRUN__BLOCK;
    settings.required_timeout_ms = required_timeout_ms;
    members_expect(members_ask(control, LEAT__CONTROL__REQUEST__BODY_CREATE_TOPIC, &create), 0,
                   NULL);
    return control;
}

Test(groups, under_block_a_required_group_holds_producers_until_it_commits)
{
    struct member m, p;
    uint64_t sequence = 0;
    const int control = create_blocking_topic(0);
    member_join(&m, "m-1");
    member_requires = true;
    member_open_all(&m);
    member_connect(&p, "producer");
    const struct wire_producer producer = wire_open_producer(p.control, "t", p.sessions[0]);
    while (publish_one(&p, &p.readers[0], &producer, sequence) == 0) {
        sequence += 100;
        cr_assert_lt(sequence, 10000u, "nobody holds it");
    }
    Leat__Control__Response *r = members_describe(control, "g");
    cr_assert(r->group->partitions[0]->required);
    cr_assert_eq(r->group->partitions[0]->lost_at_most, 0u);
    cr_assert_lt(r->group->partitions[0]->overrun_bytes, 100u * 128u);
    cr_assert_eq(r->group->partitions[0]->lag_records, sequence);
    members_done(r);
    cr_assert(leatd_log_says(&members_broker, "topic.held_back"));
    cr_assert(
        leatd_log_says(&members_broker, "\"group\":\"g\",\"member\":\"m-1\",\"committed\":0"));
    /* What it has read does not count, only what it has committed. */
    const struct leat_frame_committed said =
        member_commit(&m, 0, (struct leat_frame_commit){ .offset = 150 });
    cr_assert_eq(said.status, 0);
    while (publish_one(&p, &p.readers[0], &producer, sequence) == 0) {
        sequence += 100;
        cr_assert_lt(sequence, 20000u, "nobody holds it");
    }
    members_done(members_commit_on_control(control, &m, 0, 550, m.open[0].log_epoch));
    cr_assert_eq(publish_one(&p, &p.readers[0], &producer, sequence), 0, "on control as well");
    r = members_describe(control, "g");
    cr_assert_eq(r->group->partitions[0]->lost_at_most, 0u);
    members_done(r);
}

Test(groups, a_required_group_that_is_there_and_never_commits_is_waited_for_no_longer)
{
    struct member m, p;
    uint64_t sequence = 0;
    bool held = false;
    const int control = create_blocking_topic(500);
    member_join(&m, "m-1");
    member_requires = true;
    member_open_all(&m);
    member_connect(&p, "producer");
    const struct wire_producer producer = wire_open_producer(p.control, "t", p.sessions[0]);
    /* Three rings' worth: with the mark it ends in one. */
    while (sequence < 3000) {
        const int status = publish_one(&p, &p.readers[0], &producer, sequence);
        cr_assert(status == 0 || status == LEAT_BUSY);
        held |= status == LEAT_BUSY;
        sequence += status == 0 ? 100 : 0;
    }
    cr_assert(held);
    while (!leatd_log_has(&members_broker, "topic.required_reader_lost"))
        members_done(members_describe(control, "g"));
    cr_assert(leatd_log_says(&members_broker, "\"group\":\"g\",\"client\":"));
    Leat__Control__Response *r = members_describe(control, "g");
    cr_assert_not(r->group->partitions[0]->required);
    cr_assert(r->group->partitions[0]->open, "it is there all the same");
    members_done(r);
}

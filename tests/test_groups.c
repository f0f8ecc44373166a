/* Goal: what a group's members are promised by a real broker: partitions shared, changes that
 * travel at once and touch only what moves, offsets that stand where they were committed, an old
 * owner that cannot commit any more, and a typed refusal for everything that is wrong. Method: a
 * real leatd with two shards, raw peers on both channels. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/offsets_file.h"
#include "broker/statefile.h"
#include "schema/bytes.h"
#include "schema/control.h"
#include "tests/support/leatd.h"
#include "tests/support/wire.h"

enum { RING = 1 << 16, PARTITIONS = 4, SHARDS = 2, SESSION_MS = 1500 };

static struct leatd broker;

static void set_up(void)
{
    leatd_start_config(&broker, "{\"port\": 0, \"data_port\": 0, \"shards\": 2,"
                                " \"log_memory_bytes\": \"8MiB\", \"hugepages\": \"off\"}");
}

static void tear_down(void)
{
    cr_assert(leatd_alive(&broker), "the broker died");
    cr_assert_not(leatd_log_has(&broker, "Sanitizer"), "see %s", broker.log_path);
    leatd_end(&broker);
}

TestSuite(groups, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- requests */

static void say(int control, Leat__Control__Request__BodyCase which, void *body)
{
    static uint8_t bytes[1 << 16];
    static uint64_t id = 100;
    size_t size;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.id = ++id;
    request.body_case = which;
    request.ping = body; /* any member of the union */
    cr_assert_eq(leat_control_pack_request(bytes, sizeof bytes, &size, &request), LEAT_OK);
    cr_assert(wire_send(control, bytes, size));
}

static Leat__Control__Response *hear(int control)
{
    uint8_t prefix[LEAT_CONTROL_PREFIX_BYTES];
    Leat__Control__Response *response = NULL;
    const char *what = "";
    cr_assert(wire_receive(control, prefix, sizeof prefix), "closed instead of answered");
    const uint32_t size = leat_load32(prefix);
    uint8_t *bytes = malloc(size);
    cr_assert(wire_receive(control, bytes, size));
    cr_assert_eq(leat_control_unpack_response(&response, bytes, size), LEAT_OK);
    cr_assert_eq(leat_control_check_response(response, &what), LEAT_OK, "%s", what);
    free(bytes);
    return response;
}

static Leat__Control__Response *ask(int control, Leat__Control__Request__BodyCase which, void *body)
{
    say(control, which, body);
    return hear(control);
}

static void done(Leat__Control__Response *response)
{
    leat_control_free_response(response);
}

static void expect(Leat__Control__Response *r, int error, const char *text)
{
    cr_assert_eq(r->error, error, "%d: %s", r->error, r->error_text);
    if (text != NULL)
        cr_assert_not_null(strstr(r->error_text, text), "%s", r->error_text);
    done(r);
}

/* ---- members */

struct member {
    int control;
    const char *id;
    uint32_t epoch;
    uint32_t assigned, owned; /* bits */
    uint32_t sessions[SHARDS];
    int data[SHARDS];
    struct wire_reader readers[SHARDS];
    struct {
        uint32_t stream;
        unsigned shard;
        uint64_t offset, committed, committed_log_epoch, log_epoch;
    } open[PARTITIONS];
};

static void connect_member(struct member *m, const char *id)
{
    *m = (struct member){ .id = id, .control = wire_control(broker.control) };
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        const struct wire_grant grant = wire_open_session(m->control, shard);
        int16_t status;
        m->data[shard] = wire_attach(broker.data[shard], &grant, &status);
        cr_assert_eq(status, 0);
        m->sessions[shard] = grant.session;
        wire_reader_init(&m->readers[shard], m->data[shard]);
    }
}

static void take_assignment(struct member *m, Leat__Control__Response *r)
{
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert_eq(r->body_case, LEAT__CONTROL__RESPONSE__BODY_ASSIGNMENT);
    cr_assert_str_eq(r->assignment->member_id, m->id);
    m->epoch = r->assignment->member_epoch;
    m->assigned = 0;
    for (size_t t = 0; t < r->assignment->n_assigned; t++) {
        for (size_t i = 0; i < r->assignment->assigned[t]->n_partitions; i++)
            m->assigned |= 1u << r->assignment->assigned[t]->partitions[i];
    }
    done(r);
}

static Leat__Control__Response *ask_join(struct member *m)
{
    char *topics[] = { (char *)"t" };
    Leat__Control__JoinGroup join = LEAT__CONTROL__JOIN_GROUP__INIT;
    join.group = (char *)"g";
    join.member_id = (char *)m->id;
    join.topics = topics;
    join.n_topics = 1;
    join.session_timeout_ms = SESSION_MS;
    return ask(m->control, LEAT__CONTROL__REQUEST__BODY_JOIN_GROUP, &join);
}

static void join(struct member *m, const char *id)
{
    connect_member(m, id);
    take_assignment(m, ask_join(m));
}

static void say_beat(struct member *m, uint32_t wait_ms)
{
    uint32_t numbers[PARTITIONS];
    Leat__Control__TopicPartitions topic = LEAT__CONTROL__TOPIC_PARTITIONS__INIT;
    Leat__Control__TopicPartitions *list[] = { &topic };
    topic.topic = (char *)"t";
    topic.partitions = numbers;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        if ((m->owned >> p & 1) != 0)
            numbers[topic.n_partitions++] = p;
    }
    Leat__Control__GroupHeartbeat beat = LEAT__CONTROL__GROUP_HEARTBEAT__INIT;
    beat.group = (char *)"g";
    beat.member_id = (char *)m->id;
    beat.member_epoch = m->epoch;
    beat.owned = list;
    beat.n_owned = 1;
    beat.wait_ms = wait_ms;
    say(m->control, LEAT__CONTROL__REQUEST__BODY_GROUP_HEARTBEAT, &beat);
}

/* Heartbeats until it has so many partitions. */
static void follow(struct member *m, int partitions)
{
    while (__builtin_popcount(m->assigned) != partitions) {
        say_beat(m, SESSION_MS);
        take_assignment(m, hear(m->control));
    }
}

static bool ask_required; /* by what is opened next */

static Leat__Control__Response *ask_open(struct member *m, uint32_t partition,
                                         Leat__Control__StartAt at)
{
    Leat__Control__PartitionStart start = LEAT__CONTROL__PARTITION_START__INIT;
    Leat__Control__PartitionStart *list[] = { &start };
    start.partition = partition;
    start.session = m->sessions[partition % SHARDS];
    start.at = at;
    start.otherwise = LEAT__CONTROL__START_AT__EARLIEST;
    Leat__Control__OpenSubscription open = LEAT__CONTROL__OPEN_SUBSCRIPTION__INIT;
    open.topic = (char *)"t";
    open.partitions = list;
    open.n_partitions = 1;
    open.required = ask_required;
    open.group = (char *)"g";
    open.member_id = (char *)m->id;
    open.member_epoch = m->epoch;
    return ask(m->control, LEAT__CONTROL__REQUEST__BODY_OPEN_SUBSCRIPTION, &open);
}

static void open_partition(struct member *m, uint32_t partition)
{
    Leat__Control__Response *r = ask_open(m, partition, LEAT__CONTROL__START_AT__COMMITTED);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    const Leat__Control__SubscriptionStream *s = r->subscription->streams[0];
    cr_assert_eq(s->error, 0);
    m->open[partition].stream = s->stream;
    m->open[partition].shard = partition % SHARDS;
    m->open[partition].offset = s->offset;
    m->open[partition].committed = s->committed;
    m->open[partition].committed_log_epoch = s->committed_log_epoch;
    m->open[partition].log_epoch = s->log_epoch;
    m->owned |= 1u << partition;
    done(r);
}

static void open_all(struct member *m)
{
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        if ((m->assigned >> p & 1) != 0)
            open_partition(m, p);
    }
}

/* Sends a COMMIT and waits for its answer. */
static struct leat_frame_committed commit(struct member *m, uint32_t partition,
                                          struct leat_frame_commit commit)
{
    uint8_t bytes[LEAT_COMMIT_BYTES];
    struct leat_frame frame;
    const unsigned shard = partition % SHARDS;
    if (commit.log_epoch == 0)
        commit.log_epoch = m->open[partition].log_epoch;
    leat_frame_write_commit(bytes, m->open[partition].stream, &commit);
    cr_assert(wire_send(m->data[shard], bytes, sizeof bytes));
    do
        cr_assert(wire_next_frame(&m->readers[shard], &frame));
    while (frame.type != LEAT_FRAME_COMMITTED);
    cr_assert_eq(frame.stream, m->open[partition].stream);
    cr_assert_eq(frame.committed.asked, commit.offset);
    return frame.committed;
}

static void publish(uint32_t records_each)
{
    static uint8_t batch[1 << 15];
    Leat__Control__OpenProducer open = LEAT__CONTROL__OPEN_PRODUCER__INIT;
    struct member m;
    connect_member(&m, "producer");
    open.topic = (char *)"t";
    open.sessions = m.sessions;
    open.n_sessions = SHARDS;
    Leat__Control__Response *r = ask(m.control, LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER, &open);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        const struct wire_producer producer = { .id = r->producer->producer_id,
                                                .epoch = r->producer->producer_epoch };
        const uint32_t stream = r->producer->streams[p]->stream;
        struct leat_frame frame;
        for (uint32_t done = 0; done < records_each;) {
            const uint32_t count = records_each - done < 100 ? records_each - done : 100;
            const size_t size = wire_make_batch(batch, sizeof batch, &producer, done, count, 100);
            cr_assert(wire_publish(m.data[p % SHARDS], stream, batch, size));
            do
                cr_assert(wire_next_frame(&m.readers[p % SHARDS], &frame));
            while (frame.type != LEAT_FRAME_PUBLISH_ACK);
            cr_assert_eq(leat_ack_run_at(&frame.publish_ack, 0).status, 0);
            done += count;
        }
    }
    done(r);
    close(m.control);
}

static int admin(void)
{
    const int control = wire_control(broker.control);
    cr_assert_eq(wire_create_topic(control, "t", RING, PARTITIONS), 0);
    return control;
}

static Leat__Control__Response *describe(int control, const char *group)
{
    Leat__Control__DescribeGroup ask_it = LEAT__CONTROL__DESCRIBE_GROUP__INIT;
    ask_it.group = (char *)group;
    return ask(control, LEAT__CONTROL__REQUEST__BODY_DESCRIBE_GROUP, &ask_it);
}

/* ---- */

Test(groups, one_member_gets_everything_and_commits_where_it_is)
{
    struct member m;
    admin();
    publish(50);
    join(&m, "m-1");
    cr_assert_eq(m.assigned, 0xFu);
    open_all(&m);
    cr_assert_eq(m.open[1].offset, 0u);
    cr_assert_eq(m.open[1].committed_log_epoch, 0u, "nothing stood before");
    struct leat_frame_committed said = commit(&m, 1, (struct leat_frame_commit){ .offset = 30 });
    cr_assert(said.status == 0 && said.offset == 30);
    said = commit(&m, 1, (struct leat_frame_commit){ .offset = 20 });
    cr_assert(said.status == 0 && said.offset == 30, "a commit never moves back");
    open_partition(&m, 1);
    cr_assert_eq(m.open[1].offset, 30u);
    cr_assert_eq(m.open[1].committed, 30u);
    cr_assert_eq(m.open[1].committed_log_epoch, m.open[1].log_epoch);
}

Test(groups, commits_that_cannot_be_are_refused)
{
    struct member m;
    admin();
    publish(50);
    join(&m, "m-1");
    open_all(&m);
    struct leat_frame_committed said = commit(&m, 0, (struct leat_frame_commit){ .offset = 51 });
    cr_assert_eq(said.status, LEAT_ERR_OUT_OF_RANGE, "beyond the tail");
    cr_assert_eq(said.offset, 0u, "what stands is where it began");
    said = commit(&m, 0, (struct leat_frame_commit){ .offset = 10, .log_epoch = 12345 });
    cr_assert_eq(said.status, LEAT_ERR_LOG_EPOCH);
    said = commit(&m, 0, (struct leat_frame_commit){ .offset = 10, .lost = 1 });
    cr_assert_eq(said.status, LEAT_ERR_INVALID, "nothing was overrun");
    publish(3000); /* far more than the ring holds */
    said = commit(&m, 0, (struct leat_frame_commit){ .offset = 10 });
    cr_assert_eq(said.status, LEAT_ERR_OUT_OF_RANGE, "before the head");
    /* What it was overrun by is counted, once. */
    open_partition(&m, 0);
    cr_assert_gt(m.open[0].offset, 50u);
    cr_assert_eq(m.open[0].committed, 0u);
    const uint64_t head = m.open[0].offset;
    open_partition(&m, 0);
    cr_assert_eq(m.open[0].committed, head);
    Leat__Control__Response *r = describe(m.control, "g");
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert_eq(r->group->n_partitions, (size_t)PARTITIONS);
    cr_assert_eq(r->group->partitions[0]->lost_records, head);
    cr_assert_eq(r->group->partitions[0]->lag_records, 3050u - head);
    cr_assert_gt(r->group->partitions[0]->lag_bytes, 0u);
    cr_assert_str_eq(r->group->partitions[0]->member_id, "m-1");
    cr_assert(r->group->partitions[0]->open);
    done(r);
    /* A stream of no group does not commit. */
    m.open[0].stream = wire_open_subscription(m.control, "t", m.sessions[0]).stream;
    said = commit(&m, 0, (struct leat_frame_commit){ .offset = 3000 });
    cr_assert_eq(said.status, LEAT_ERR_UNKNOWN_STREAM);
    m.open[0].stream = 12345;
    said = commit(&m, 0, (struct leat_frame_commit){ .offset = 3000 });
    cr_assert_eq(said.status, LEAT_ERR_UNKNOWN_STREAM);
}

Test(groups, a_second_member_gets_half_and_the_rest_goes_on)
{
    struct member a, b;
    admin();
    publish(50);
    join(&a, "m-a");
    open_all(&a);
    for (uint32_t p = 0; p < PARTITIONS; p++)
        commit(&a, p, (struct leat_frame_commit){ .offset = 10 + p });
    say_beat(&a, SESSION_MS); /* is held */
    join(&b, "m-b");
    cr_assert_eq(b.assigned, 0u, "nothing is given on before it was let go");
    take_assignment(&a, hear(a.control));
    cr_assert_eq(__builtin_popcount(a.assigned), 2);
    /* Until it lets go, it commits. */
    const uint32_t moving = a.owned & ~a.assigned;
    const uint32_t first = (uint32_t)__builtin_ctz(moving);
    struct leat_frame_committed said =
        commit(&a, first, (struct leat_frame_commit){ .offset = 40 });
    cr_assert(said.status == 0 && said.offset == 40);
    expect(ask_open(&b, first, LEAT__CONTROL__START_AT__COMMITTED), 0, NULL); /* in its stream: */
    a.owned = a.assigned;
    say_beat(&a, SESSION_MS);
    follow(&b, 2);
    cr_assert_eq(b.assigned, moving);
    /* The shard dropped what the client had not closed: the old owner cannot commit. */
    said = commit(&a, first, (struct leat_frame_commit){ .offset = 45 });
    cr_assert_eq(said.status, LEAT_ERR_UNKNOWN_STREAM);
    open_all(&b);
    cr_assert_eq(b.open[first].offset, 40u);
    const uint32_t kept = (uint32_t)__builtin_ctz(a.owned);
    said = commit(&a, kept, (struct leat_frame_commit){ .offset = 45 });
    cr_assert(said.status == 0 && said.offset == 45, "what does not move goes on");
    Leat__Control__Response *r = ask_open(&a, first, LEAT__CONTROL__START_AT__COMMITTED);
    cr_assert_eq(r->error, 0);
    cr_assert_eq(r->subscription->streams[0]->error, LEAT_ERR_NOT_ASSIGNED);
    done(r);
}

Test(groups, a_silent_member_is_out_and_hears_it_once)
{
    struct member a, b;
    admin();
    join(&a, "m-a");
    open_all(&a);
    join(&b, "m-b");
    follow(&b, PARTITIONS); /* a is not heard; b's heartbeats go on */
    say_beat(&a, 0);
    expect(hear(a.control), LEAT_ERR_UNKNOWN_MEMBER, "join again");
    take_assignment(&a, ask_join(&a));
    follow(&b, 2);
    b.owned = b.assigned;
    say_beat(&b, SESSION_MS);
    follow(&a, 2);
}

Test(groups, the_same_id_again_takes_the_place_and_fences)
{
    struct member a, again;
    admin();
    publish(50);
    join(&a, "static-1");
    open_all(&a);
    commit(&a, 2, (struct leat_frame_commit){ .offset = 7 });
    say_beat(&a, SESSION_MS);
    join(&again, "static-1");
    expect(hear(a.control), LEAT_ERR_FENCED, "static-1");
    follow(&again, PARTITIONS);
    cr_assert_gt(again.epoch, a.epoch);
    const struct leat_frame_committed said =
        commit(&a, 2, (struct leat_frame_commit){ .offset = 9 });
    cr_assert_eq(said.status, LEAT_ERR_UNKNOWN_STREAM);
    open_all(&again);
    cr_assert_eq(again.open[2].offset, 7u);
    say_beat(&a, 0);
    expect(hear(a.control), LEAT_ERR_FENCED, NULL);
    expect(ask_open(&a, 0, LEAT__CONTROL__START_AT__COMMITTED), LEAT_ERR_FENCED, NULL);
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
    return ask(control, LEAT__CONTROL__REQUEST__BODY_RESET_GROUP, &reset);
}

static Leat__Control__Response *leave(const struct member *m)
{
    Leat__Control__LeaveGroup leaving = LEAT__CONTROL__LEAVE_GROUP__INIT;
    leaving.group = (char *)"g";
    leaving.member_id = (char *)m->id;
    leaving.member_epoch = m->epoch;
    return ask(m->control, LEAT__CONTROL__REQUEST__BODY_LEAVE_GROUP, &leaving);
}

static Leat__Control__Response *delete_group(int control)
{
    Leat__Control__DeleteGroup deleting = LEAT__CONTROL__DELETE_GROUP__INIT;
    deleting.group = (char *)"g";
    return ask(control, LEAT__CONTROL__REQUEST__BODY_DELETE_GROUP, &deleting);
}

Test(groups, reset_and_delete_need_an_empty_group)
{
    struct member m;
    const int control = admin();
    publish(50);
    expect(describe(control, "g"), LEAT_ERR_UNKNOWN_GROUP, "leat group list");
    join(&m, "m-1");
    open_all(&m);
    commit(&m, 3, (struct leat_frame_commit){ .offset = 33 });
    expect(reset_to(control, 5, false), LEAT_ERR_GROUP_NOT_EMPTY, "1 members");
    expect(delete_group(control), LEAT_ERR_GROUP_NOT_EMPTY, NULL);
    expect(leave(&m), 0, NULL);
    Leat__Control__Response *r;
    while ((r = reset_to(control, 5, true))->error == LEAT_BUSY)
        done(r);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert(r->committed->dry_run);
    cr_assert_eq(r->committed->n_offsets, (size_t)PARTITIONS);
    cr_assert(r->committed->offsets[3]->offset == 5 && r->committed->offsets[3]->before == 33);
    done(r);
    r = describe(control, "g");
    cr_assert_eq(r->group->state, LEAT__CONTROL__GROUP_STATE__EMPTY);
    cr_assert_eq(r->group->partitions[3]->committed, 33u, "a try changes nothing");
    done(r);
    expect(reset_to(control, 5, false), 0, NULL);
    r = reset_to(control, 51, false);
    cr_assert_eq(r->committed->offsets[0]->error, LEAT_ERR_OUT_OF_RANGE);
    done(r);
    r = describe(control, "g");
    cr_assert_eq(r->group->partitions[3]->committed, 5u, "a reset may go back");
    cr_assert_eq(r->group->partitions[3]->lag_records, 45u);
    done(r);
    Leat__Control__ListGroups list = LEAT__CONTROL__LIST_GROUPS__INIT;
    r = ask(control, LEAT__CONTROL__REQUEST__BODY_LIST_GROUPS, &list);
    cr_assert_eq(r->groups->n_groups, 1u);
    cr_assert_str_eq(r->groups->groups[0]->group, "g");
    cr_assert_eq(r->groups->groups[0]->partitions, (uint32_t)PARTITIONS);
    done(r);
    expect(delete_group(control), 0, NULL);
    expect(delete_group(control), LEAT_ERR_UNKNOWN_GROUP, NULL);
}

static Leat__Control__Response *commit_on_control(int control, const struct member *m,
                                                  uint32_t partition, uint64_t offset,
                                                  uint64_t log_epoch)
{
    Leat__Control__PartitionCommit one = LEAT__CONTROL__PARTITION_COMMIT__INIT;
    Leat__Control__PartitionCommit *list[] = { &one };
    Leat__Control__CommitOffsets offsets = LEAT__CONTROL__COMMIT_OFFSETS__INIT;
    one.partition = partition;
    one.offset = offset;
    one.log_epoch = log_epoch;
    one.metadata = (char *)"end of day";
    offsets.group = (char *)"g";
    offsets.topic = (char *)"t";
    offsets.member_id = (char *)(m != NULL ? m->id : "");
    offsets.member_epoch = m != NULL ? m->epoch : 0;
    offsets.offsets = list;
    offsets.n_offsets = 1;
    return ask(control, LEAT__CONTROL__REQUEST__BODY_COMMIT_OFFSETS, &offsets);
}

Test(groups, commits_on_control_carry_text)
{
    struct member m;
    const int control = admin();
    publish(50);
    join(&m, "m-1");
    open_all(&m);
    const uint64_t log_epoch = m.open[2].log_epoch;
    Leat__Control__Response *r = commit_on_control(control, &m, 2, 22, log_epoch);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert(r->committed->offsets[0]->error == 0 && r->committed->offsets[0]->offset == 22);
    done(r);
    r = describe(control, "g");
    cr_assert_str_eq(r->group->partitions[2]->metadata, "end of day");
    cr_assert_eq(r->group->partitions[2]->committed, 22u);
    done(r);
    r = commit_on_control(control, &m, 2, 23, log_epoch + 1);
    cr_assert_eq(r->committed->offsets[0]->error, LEAT_ERR_LOG_EPOCH);
    done(r);
    expect(commit_on_control(control, NULL, 2, 24, log_epoch), LEAT_ERR_GROUP_NOT_EMPTY, NULL);
    m.epoch += 5;
    expect(commit_on_control(control, &m, 2, 24, log_epoch), LEAT_ERR_FENCED, NULL);
}

Test(groups, ten_thousand_joins_are_throttled_and_nobody_else_notices)
{
    struct member a, flood;
    char *topics[] = { (char *)"t" };
    unsigned throttled = 0, joined = 0;
    admin();
    join(&a, "m-a");
    open_all(&a);
    connect_member(&flood, "");
    for (unsigned i = 0; i < 10000; i++) {
        char id[32];
        snprintf(id, sizeof id, "flood-%u", i % 50);
        Leat__Control__JoinGroup joining = LEAT__CONTROL__JOIN_GROUP__INIT;
        joining.group = (char *)"other";
        joining.member_id = id;
        joining.topics = topics;
        joining.n_topics = 1;
        Leat__Control__Response *r =
            ask(flood.control, LEAT__CONTROL__REQUEST__BODY_JOIN_GROUP, &joining);
        throttled += r->error == LEAT_ERR_THROTTLED && r->retry_after_ms != 0;
        joined += r->error == 0;
        done(r);
    }
    cr_assert_eq(throttled + joined, 10000u);
    cr_assert_gt(joined, 0u);
    cr_assert_gt(throttled, 1000u);
    say_beat(&a, 0);
    take_assignment(&a, hear(a.control));
    cr_assert_eq(a.assigned, 0xFu, "another group is as it was");
}

Test(groups, a_topic_that_goes_takes_its_offsets_along)
{
    struct member m;
    const int control = admin();
    join(&m, "m-1");
    open_all(&m);
    say_beat(&m, SESSION_MS);
    Leat__Control__DeleteTopic deleting = LEAT__CONTROL__DELETE_TOPIC__INIT;
    deleting.name = (char *)"t";
    expect(ask(control, LEAT__CONTROL__REQUEST__BODY_DELETE_TOPIC, &deleting), 0, NULL);
    take_assignment(&m, hear(m.control));
    cr_assert_eq(m.assigned, 0u);
    m.owned = 0;
    say_beat(&m, SESSION_MS);
    cr_assert_eq(wire_create_topic(control, "t", RING, PARTITIONS), 0);
    take_assignment(&m, hear(m.control));
    cr_assert_eq(m.assigned, 0xFu, "a topic of that name again");
    open_all(&m);
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

Test(groups, under_block_a_required_group_holds_producers_until_it_commits)
{
    struct member m, p;
    uint64_t sequence = 0;
    const int control = wire_control(broker.control);
    Leat__Control__TopicSettings settings = LEAT__CONTROL__TOPIC_SETTINGS__INIT;
    Leat__Control__CreateTopic create = LEAT__CONTROL__CREATE_TOPIC__INIT;
    create.name = (char *)"t";
    create.settings = &settings;
    settings.partitions = 1;
    settings.ring_bytes = RING;
    settings.record_bytes_max = 1000;
    settings.overrun = LEAT__CONTROL__OVERRUN__BLOCK;
    expect(ask(control, LEAT__CONTROL__REQUEST__BODY_CREATE_TOPIC, &create), 0, NULL);
    join(&m, "m-1");
    ask_required = true;
    open_all(&m);
    connect_member(&p, "producer");
    const struct wire_producer producer = wire_open_producer(p.control, "t", p.sessions[0]);
    while (publish_one(&p, &p.readers[0], &producer, sequence) == 0) {
        sequence += 100;
        cr_assert_lt(sequence, 10000u, "nobody holds it");
    }
    Leat__Control__Response *r = describe(control, "g");
    cr_assert(r->group->partitions[0]->required);
    cr_assert_eq(r->group->partitions[0]->lost_records, 0u);
    cr_assert_lt(r->group->partitions[0]->overrun_bytes, 100u * 128u);
    cr_assert_eq(r->group->partitions[0]->lag_records, sequence);
    done(r);
    cr_assert(leatd_log_has(&broker, "topic.held_back"));
    cr_assert(leatd_log_has(&broker, "\"group\":\"g\",\"member\":\"m-1\",\"committed\":0"));
    /* What it has read does not count, only what it has committed. */
    const struct leat_frame_committed said =
        commit(&m, 0, (struct leat_frame_commit){ .offset = 150 });
    cr_assert_eq(said.status, 0);
    cr_assert_eq(publish_one(&p, &p.readers[0], &producer, sequence), 0);
    r = describe(control, "g");
    cr_assert_eq(r->group->partitions[0]->lost_records, 0u);
    done(r);
}

/* ---- over a restart of the broker */

static char folder[64], json[512];

static void set_up_kept(void)
{
    snprintf(folder, sizeof folder, "/tmp/leat-test-groups-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(json, sizeof json,
             "{\"port\": 0, \"data_port\": 0, \"shards\": 2, \"log_memory_bytes\": \"8MiB\","
             " \"hugepages\": \"off\", \"offsets_snapshot_ms\": 50, \"state_dir\": \"%s\"}",
             folder);
    leatd_start_config(&broker, json);
}

static void tear_down_kept(void)
{
    char command[128];
    tear_down();
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(groups_kept, .init = set_up_kept, .fini = tear_down_kept, .timeout = 60);

/* On other ports: somebody else's test may have taken the old ones. */
static void start_anew(void)
{
    leatd_end(&broker);
    leatd_start_config(&broker, json);
}

/* Whether the snapshot has a place at `offset`. */
static bool is_stored(uint64_t offset)
{
    static uint8_t bytes[1 << 16];
    char path[128];
    const uint8_t *payload;
    size_t size;
    const char *why;
    struct offsets_reader r;
    snprintf(path, sizeof path, "%s/group-offsets", folder);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    const size_t got = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    cr_assert_eq(statefile_check(bytes, got, &payload, &size, &why), LEAT_OK, "%s", why);
    cr_assert_eq(offsets_file_check(payload, size, &why), LEAT_OK, "%s", why);
    offsets_file_begin(&r, payload, size);
    while (offsets_file_next(&r)) {
        if (r.row.offset == offset)
            return true;
    }
    return false;
}

Test(groups_kept, a_group_goes_on_behind_what_the_restart_lost)
{
    struct member m;
    admin();
    publish(50);
    join(&m, "m-1");
    open_all(&m);
    for (uint32_t p = 0; p < PARTITIONS; p++)
        commit(&m, p, (struct leat_frame_commit){ .offset = 30 });
    const uint64_t log_epoch = m.open[1].log_epoch;
    done(commit_on_control(m.control, &m, 2, 35, log_epoch)); /* refused: another log's epoch */
    done(commit_on_control(m.control, &m, 1, 31, log_epoch));
    cr_assert_eq(leatd_stop(&broker), 0);
    start_anew();
    cr_assert(leatd_log_has(&broker, "group.offset_dropped"));
    const int control = wire_control(broker.control);
    Leat__Control__Response *r = describe(control, "g");
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert_str_eq(r->group->partitions[1]->metadata, "end of day");
    cr_assert_eq(r->group->partitions[1]->committed_log_epoch, 0u, "not of this life of the log");
    done(r);
    publish(5); /* before anybody has joined again: it must not be missed */
    join(&m, "m-1");
    cr_assert_eq(m.assigned, 0xFu);
    open_all(&m);
    cr_assert_eq(m.open[1].offset, 50u, "the new log's first");
    cr_assert_eq(m.open[1].committed, 31u);
    cr_assert_eq(m.open[1].committed_log_epoch, log_epoch);
    r = describe(control, "g");
    cr_assert_eq(r->group->partitions[1]->lost_records, 19u);
    cr_assert_eq(r->group->partitions[1]->lag_records, 5u);
    done(r);
    commit(&m, 1, (struct leat_frame_commit){ .offset = 55 });
}

Test(groups_kept, a_killed_broker_has_the_last_snapshot)
{
    struct member m;
    admin();
    publish(50);
    join(&m, "m-1");
    open_all(&m);
    commit(&m, 0, (struct leat_frame_commit){ .offset = 42 });
    for (int i = 0; i < 1000 && !is_stored(42); i++)
        usleep(10000); /* nothing says when the next snapshot is done */
    leatd_kill(&broker);
    start_anew();
    Leat__Control__Response *r = describe(wire_control(broker.control), "g");
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert_eq(r->group->n_partitions, (size_t)PARTITIONS);
    done(r);
}

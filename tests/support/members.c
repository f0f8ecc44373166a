/* Members of a consumer group, by hand: raw peers that join, heartbeat, open and commit. */
#include "tests/support/members.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schema/bytes.h"

struct leatd members_broker;
bool member_requires;

/* ---- requests */

void members_say(int control, Leat__Control__Request__BodyCase which, void *body)
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

Leat__Control__Response *members_hear(int control)
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

Leat__Control__Response *members_ask(int control, Leat__Control__Request__BodyCase which,
                                     void *body)
{
    members_say(control, which, body);
    return members_hear(control);
}

void members_done(Leat__Control__Response *response)
{
    leat_control_free_response(response);
}

void members_expect(Leat__Control__Response *r, int error, const char *text)
{
    cr_assert_eq(r->error, error, "%d: %s", r->error, r->error_text);
    if (text != NULL)
        cr_assert_not_null(strstr(r->error_text, text), "%s", r->error_text);
    members_done(r);
}

/* ---- members */

void member_connect(struct member *m, const char *id)
{
    *m = (struct member){ .id = id, .control = wire_control(members_broker.control) };
    for (uint32_t shard = 0; shard < MEMBER_SHARDS; shard++) {
        const struct wire_grant grant = wire_open_session(m->control, shard);
        int16_t status;
        m->data[shard] = wire_attach(members_broker.data[shard], &grant, &status);
        cr_assert_eq(status, 0);
        m->sessions[shard] = grant.session;
        wire_reader_init(&m->readers[shard], m->data[shard]);
    }
}

void member_take_assignment(struct member *m, Leat__Control__Response *r)
{
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    cr_assert_eq(r->body_case, LEAT__CONTROL__RESPONSE__BODY_ASSIGNMENT);
    cr_assert_str_eq(r->assignment->member_id, m->id);
    m->epoch = r->assignment->member_epoch;
    m->assigned = 0;
    for (size_t t = 0; t < r->assignment->n_assigned; t++)
        for (size_t i = 0; i < r->assignment->assigned[t]->n_partitions; i++)
            m->assigned |= 1u << r->assignment->assigned[t]->partitions[i];
    members_done(r);
}

Leat__Control__Response *member_ask_join(struct member *m)
{
    char *topics[] = { (char *)"t" };
    Leat__Control__JoinGroup join = LEAT__CONTROL__JOIN_GROUP__INIT;
    join.group = (char *)"g";
    join.member_id = (char *)m->id;
    join.topics = topics;
    join.n_topics = 1;
    join.session_timeout_ms = MEMBER_SESSION_MS;
    return members_ask(m->control, LEAT__CONTROL__REQUEST__BODY_JOIN_GROUP, &join);
}

void member_join(struct member *m, const char *id)
{
    member_connect(m, id);
    member_take_assignment(m, member_ask_join(m));
}

void member_say_heartbeat(struct member *m, uint32_t wait_ms)
{
    uint32_t numbers[MEMBER_PARTITIONS];
    Leat__Control__TopicPartitions topic = LEAT__CONTROL__TOPIC_PARTITIONS__INIT;
    Leat__Control__TopicPartitions *list[] = { &topic };
    topic.topic = (char *)"t";
    topic.partitions = numbers;
    for (uint32_t p = 0; p < MEMBER_PARTITIONS; p++)
        if ((m->owned >> p & 1) != 0)
            numbers[topic.n_partitions++] = p;
    Leat__Control__GroupHeartbeat beat = LEAT__CONTROL__GROUP_HEARTBEAT__INIT;
    beat.group = (char *)"g";
    beat.member_id = (char *)m->id;
    beat.member_epoch = m->epoch;
    beat.owned = list;
    beat.n_owned = 1;
    beat.wait_ms = wait_ms;
    members_say(m->control, LEAT__CONTROL__REQUEST__BODY_GROUP_HEARTBEAT, &beat);
}

/* Heartbeats until it has so many partitions. */
void member_follow(struct member *m, int partitions)
{
    while (__builtin_popcount(m->assigned) != partitions) {
        member_say_heartbeat(m, MEMBER_SESSION_MS);
        member_take_assignment(m, members_hear(m->control));
    }
}

Leat__Control__Response *member_ask_leave(const struct member *m)
{
    Leat__Control__LeaveGroup leaving = LEAT__CONTROL__LEAVE_GROUP__INIT;
    leaving.group = (char *)"g";
    leaving.member_id = (char *)m->id;
    leaving.member_epoch = m->epoch;
    return members_ask(m->control, LEAT__CONTROL__REQUEST__BODY_LEAVE_GROUP, &leaving);
}

Leat__Control__Response *member_ask_open(struct member *m, uint32_t partition,
                                         Leat__Control__StartAt at)
{
    Leat__Control__PartitionStart start = LEAT__CONTROL__PARTITION_START__INIT;
    Leat__Control__PartitionStart *list[] = { &start };
    start.partition = partition;
    start.session = m->sessions[partition % MEMBER_SHARDS];
    start.at = at;
    start.otherwise = LEAT__CONTROL__START_AT__EARLIEST;
    start.log_epoch = m->knows;
    start.seen_offset = m->seen;
    start.processed_offset = m->processed;
    Leat__Control__OpenSubscription open = LEAT__CONTROL__OPEN_SUBSCRIPTION__INIT;
    open.topic = (char *)"t";
    open.partitions = list;
    open.n_partitions = 1;
    open.required = member_requires;
    open.group = (char *)"g";
    open.member_id = (char *)m->id;
    open.member_epoch = m->epoch;
    return members_ask(m->control, LEAT__CONTROL__REQUEST__BODY_OPEN_SUBSCRIPTION, &open);
}

void member_open(struct member *m, uint32_t partition)
{
    Leat__Control__Response *r = member_ask_open(m, partition, LEAT__CONTROL__START_AT__COMMITTED);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    const Leat__Control__SubscriptionStream *s = r->subscription->streams[0];
    cr_assert_eq(s->error, 0);
    m->open[partition].stream = s->stream;
    m->open[partition].shard = partition % MEMBER_SHARDS;
    m->open[partition].offset = s->offset;
    m->open[partition].committed = s->committed;
    m->open[partition].committed_log_epoch = s->committed_log_epoch;
    m->open[partition].log_epoch = s->log_epoch;
    m->owned |= 1u << partition;
    members_done(r);
}

void member_open_all(struct member *m)
{
    for (uint32_t p = 0; p < MEMBER_PARTITIONS; p++)
        if ((m->assigned >> p & 1) != 0)
            member_open(m, p);
}

/* Sends a COMMIT and waits for its answer. */
struct leat_frame_committed member_commit(struct member *m, uint32_t partition,
                                          struct leat_frame_commit commit)
{
    uint8_t bytes[LEAT_COMMIT_BYTES];
    struct leat_frame frame;
    const unsigned shard = partition % MEMBER_SHARDS;
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

void members_publish(uint32_t records_each)
{
    static uint8_t batch[1 << 15];
    Leat__Control__OpenProducer open = LEAT__CONTROL__OPEN_PRODUCER__INIT;
    struct member m;
    member_connect(&m, "producer");
    open.topic = (char *)"t";
    open.sessions = m.sessions;
    open.n_sessions = MEMBER_SHARDS;
    Leat__Control__Response *r =
        members_ask(m.control, LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER, &open);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    for (uint32_t p = 0; p < MEMBER_PARTITIONS; p++) {
        const struct wire_producer producer = { .id = r->producer->producer_id,
                                                .epoch = r->producer->producer_epoch };
        const uint32_t stream = r->producer->streams[p]->stream;
        struct leat_frame frame;
        for (uint32_t done = 0; done < records_each;) {
            const uint32_t count = records_each - done < 100 ? records_each - done : 100;
            const size_t size = wire_make_batch(batch, sizeof batch, &producer, done, count, 100);
            cr_assert(wire_publish(m.data[p % MEMBER_SHARDS], stream, batch, size));
            do
                cr_assert(wire_next_frame(&m.readers[p % MEMBER_SHARDS], &frame));
            while (frame.type != LEAT_FRAME_PUBLISH_ACK);
            cr_assert_eq(leat_ack_run_at(&frame.publish_ack, 0).status, 0);
            done += count;
        }
    }
    members_done(r);
    close(m.control);
}

int members_create_topic(void)
{
    const int control = wire_control(members_broker.control);
    cr_assert_eq(wire_create_topic(control, "t", MEMBER_RING, MEMBER_PARTITIONS), 0);
    return control;
}

Leat__Control__Response *members_describe(int control, const char *group)
{
    Leat__Control__DescribeGroup ask_it = LEAT__CONTROL__DESCRIBE_GROUP__INIT;
    ask_it.group = (char *)group;
    return members_ask(control, LEAT__CONTROL__REQUEST__BODY_DESCRIBE_GROUP, &ask_it);
}

Leat__Control__Response *members_commit_on_control(int control, const struct member *m,
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
    return members_ask(control, LEAT__CONTROL__REQUEST__BODY_COMMIT_OFFSETS, &offsets);
}

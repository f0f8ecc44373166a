/* Goal: a request that memory is missing for is refused whole: what it asked for is not there, and
 * nobody else has lost anything by it. Nor is a part of it missing where it was answered with
 * success. Method: the real control plane and a real shard, stepped by hand in this process; for
 * each kind of request the first allocation it makes is refused, then the second, and so on, until
 * none is. */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>
#include <urcu-qsbr.h>

#include "broker/control/control_state.h"
#include "broker/log/partition.h"
#include "schema/control.h"
#include "schema/limits.h"
#include "schema/version.h"
#include "tests/sim/broker.h"
#include "tests/support/short_memory.h"
#include "tests/support/wire.h"

enum { PARTITIONS = 2, TRIES_MAX = 1000, REQUEST_BYTES = 4096 };

static struct sim_broker broker;
static struct fabric *fabric;
static leat_ns now = LEAT_NS_PER_S;

static void open_broker(void)
{
    const struct sim_topic topic = { .partitions = PARTITIONS, .ring_bytes = 1 << 16 };
    fabric = fabric_open(1);
    sim_broker_open(&broker, fabric, 1, 0, &topic, now);
}

static void close_broker(void)
{
    sim_broker_close(&broker);
    fabric_close(fabric);
}

static void set_up(void)
{
    rcu_register_thread();
}

static void tear_down(void)
{
    rcu_unregister_thread();
}

TestSuite(short_memory, .init = set_up, .fini = tear_down, .timeout = 120);

/* ---- a peer */

static void step(void)
{
    now += LEAT_NS_PER_MS;
    sim_broker_step(&broker, now);
    worker_drain(broker.control->worker);
}

static void say(int fd, Leat__Control__Request__BodyCase which, void *body)
{
    uint8_t bytes[REQUEST_BYTES];
    size_t size;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.id = which;
    request.body_case = which;
    request.ping = body; /* any member of the union */
    cr_assert_eq(leat_control_pack_request(bytes, sizeof bytes, &size, &request), LEAT_OK);
    cr_assert(wire_send(fd, bytes, size));
}

static void turns(void)
{
    for (int i = 0; i < 8; i++)
        step();
}

/* What has come. NULL: the broker has closed the connection, or says that it is about to; whatever
 * became of the request. */
static Leat__Control__Response *take(int fd)
{
    Leat__Control__Response *r = wire_response(fd);
    if (r == NULL || r->id != 0)
        return r;
    leat_control_free_response(r);
    return NULL;
}

static Leat__Control__Response *hear(int fd)
{
    turns();
    return take(fd);
}

/* What was said is dealt with while the broker's n-th allocation is refused. False: it made fewer.
 */
static bool strike(long nth)
{
    short_memory_fail_after(nth);
    turns();
    return short_memory_end();
}

static Leat__Control__Response *ask(int fd, Leat__Control__Request__BodyCase which, void *body)
{
    say(fd, which, body);
    Leat__Control__Response *r = hear(fd);
    cr_assert_not_null(r, "closed instead of answered");
    return r;
}

static void done(Leat__Control__Response *r)
{
    leat_control_free_response(r);
}

static int connect_control(void)
{
    Leat__Control__Hello hello = LEAT__CONTROL__HELLO__INIT;
    const int fd = wire_connect(sim_broker_control(&broker));
    hello.version_min = hello.version_max = LEAT_PROTOCOL_VERSION;
    hello.client_name = (char *)"short";
    Leat__Control__Response *r = ask(fd, LEAT__CONTROL__REQUEST__BODY_HELLO, &hello);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    done(r);
    return fd;
}

static uint32_t open_session(int fd)
{
    Leat__Control__OpenSession open = LEAT__CONTROL__OPEN_SESSION__INIT;
    Leat__Control__Response *r = ask(fd, LEAT__CONTROL__REQUEST__BODY_OPEN_SESSION, &open);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    const uint32_t session = r->session->session;
    done(r);
    return session;
}

struct identity {
    uint64_t id;
    uint32_t epoch;
    uint8_t token[LEAT_RESUME_TOKEN_BYTES];
};

static void say_open_producer(int fd, const char *topic, const char *name, uint32_t session,
                              const struct identity *resumes)
{
    Leat__Control__OpenProducer open = LEAT__CONTROL__OPEN_PRODUCER__INIT;
    open.topic = (char *)topic;
    open.name = (char *)name;
    open.sessions = &session;
    open.n_sessions = 1;
    if (resumes != NULL) {
        open.producer_id = resumes->id;
        open.producer_epoch = resumes->epoch;
        open.resume_token =
            (ProtobufCBinaryData){ sizeof resumes->token, (uint8_t *)resumes->token };
    }
    say(fd, LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER, &open);
}

static bool has_topic(int fd, const char *name)
{
    Leat__Control__ListTopics list = LEAT__CONTROL__LIST_TOPICS__INIT;
    Leat__Control__Response *r = ask(fd, LEAT__CONTROL__REQUEST__BODY_LIST_TOPICS, &list);
    bool has = false;
    for (size_t i = 0; i < r->topics->n_topics; i++)
        has |= strcmp(r->topics->topics[i]->name, name) == 0;
    done(r);
    return has;
}

static Leat__Control__Response *describe(int fd)
{
    Leat__Control__DescribeGroup describe = LEAT__CONTROL__DESCRIBE_GROUP__INIT;
    describe.group = (char *)"g";
    return ask(fd, LEAT__CONTROL__REQUEST__BODY_DESCRIBE_GROUP, &describe);
}

/* Runs `attempt` with the first allocation refused, then the second, until it uses none that is. */
static void sweep(bool (*attempt)(long nth))
{
    long nth = 0;
    bool struck = true;
    for (; struck && nth < TRIES_MAX; nth++) {
        open_broker();
        struck = attempt(nth);
        close_broker();
    }
    cr_assert(!struck);
    cr_assert_gt(nth, 2, "nothing was allocated");
}

/* ---- topics */

static bool create(long nth)
{
    Leat__Control__TopicSettings settings = LEAT__CONTROL__TOPIC_SETTINGS__INIT;
    Leat__Control__CreateTopic create = LEAT__CONTROL__CREATE_TOPIC__INIT;
    settings.partitions = 3;
    settings.ring_bytes = 1 << 16;
    settings.record_bytes_max = 4096;
    create.name = (char *)"new";
    create.settings = &settings;
    const int asker = connect_control(), other = connect_control();
    const uint32_t session = open_session(other);
    const uint64_t used = sim_broker_counter(&broker, "leat_log_memory_bytes");
    say(asker, LEAT__CONTROL__REQUEST__BODY_CREATE_TOPIC, &create);
    const bool struck = strike(nth);
    Leat__Control__Response *r = take(asker);
    if (r != NULL && r->error != 0) {
        cr_assert_not(has_topic(other, "new"), "%ld: refused and made", nth);
        cr_assert_eq(sim_broker_counter(&broker, "leat_log_memory_bytes"), used);
    } else if (has_topic(other, "new")) {
        say_open_producer(other, "new", "", session, NULL);
        Leat__Control__Response *opened = hear(other);
        cr_assert_eq(opened->error, 0, "%ld: made and useless: %s", nth, opened->error_text);
        done(opened);
    } else {
        cr_assert_null(r, "%ld: answered and not made", nth);
    }
    done(r);
    close(asker);
    close(other);
    return struck;
}

Test(short_memory, a_topic_is_made_whole_or_not_at_all)
{
    sweep(create);
}

/* ---- groups */

/* The list follows the commit in the same read: what is cleared away later has been seen. */
static bool commit(long nth)
{
    Leat__Control__PartitionCommit at = LEAT__CONTROL__PARTITION_COMMIT__INIT, *list = &at;
    Leat__Control__CommitOffsets commit = LEAT__CONTROL__COMMIT_OFFSETS__INIT;
    Leat__Control__ListGroups groups = LEAT__CONTROL__LIST_GROUPS__INIT;
    at.log_epoch = partition_log_epoch(sim_broker_partition(&broker, 0));
    at.metadata = (char *)"end of day";
    commit.group = (char *)"g";
    commit.topic = (char *)SIM_TOPIC;
    commit.offsets = &list;
    commit.n_offsets = 1;
    const int asker = connect_control(), other = connect_control();
    say(asker, LEAT__CONTROL__REQUEST__BODY_COMMIT_OFFSETS, &commit);
    say(asker, LEAT__CONTROL__REQUEST__BODY_LIST_GROUPS, &groups);
    const bool struck = strike(nth);
    Leat__Control__Response *first = take(asker);
    Leat__Control__Response *second = first != NULL ? take(asker) : NULL;
    if (first != NULL && first->id == LEAT__CONTROL__REQUEST__BODY_LIST_GROUPS) {
        Leat__Control__Response *list_first = first; /* it waits for no shard */
        first = second;
        second = list_first;
    } else if (first != NULL && first->error != 0 && second != NULL && second->error == 0) {
        cr_assert_eq(second->groups->n_groups, 0u, "%ld: refused (%s) and made", nth,
                     first->error_text);
    }
    Leat__Control__Response *r = describe(other);
    if (first != NULL && (first->error != 0 || first->committed->offsets[0]->error != 0)) {
        cr_assert_eq(r->error, LEAT_ERR_UNKNOWN_GROUP, "%ld: refused and there", nth);
    } else if (first != NULL) {
        cr_assert_eq(r->error, 0, "%ld: committed and gone", nth);
        cr_assert_eq(r->group->partitions[0]->committed_log_epoch, at.log_epoch);
        cr_assert_str_eq(r->group->partitions[0]->metadata, "end of day", "%ld", nth);
    }
    done(r);
    done(first);
    done(second);
    close(asker);
    close(other);
    return struck;
}

Test(short_memory, a_commit_takes_its_text_along_or_is_refused)
{
    sweep(commit);
}

static void say_join(int fd)
{
    char *topic = (char *)SIM_TOPIC;
    Leat__Control__JoinGroup join = LEAT__CONTROL__JOIN_GROUP__INIT;
    join.group = (char *)"g";
    join.member_id = (char *)"m";
    join.topics = &topic;
    join.n_topics = 1;
    join.session_timeout_ms = LEAT_GROUP_SESSION_MS_MAX;
    say(fd, LEAT__CONTROL__REQUEST__BODY_JOIN_GROUP, &join);
}

static void say_subscribe(int fd, uint32_t session, uint32_t epoch)
{
    Leat__Control__PartitionStart at = LEAT__CONTROL__PARTITION_START__INIT, *list = &at;
    Leat__Control__OpenSubscription open = LEAT__CONTROL__OPEN_SUBSCRIPTION__INIT;
    at.session = session;
    at.at = LEAT__CONTROL__START_AT__COMMITTED;
    open.topic = (char *)SIM_TOPIC;
    open.partitions = &list;
    open.n_partitions = 1;
    open.group = (char *)"g";
    open.member_id = (char *)"m";
    open.member_epoch = epoch;
    say(fd, LEAT__CONTROL__REQUEST__BODY_OPEN_SUBSCRIPTION, &open);
}

static uint32_t join(int fd)
{
    say_join(fd);
    Leat__Control__Response *r = hear(fd);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    const uint32_t epoch = r->assignment->member_epoch;
    done(r);
    return epoch;
}

static bool closes(int fd, uint32_t session, uint32_t stream)
{
    Leat__Control__StreamRef ref = LEAT__CONTROL__STREAM_REF__INIT, *list = &ref;
    Leat__Control__CloseStreams close = LEAT__CONTROL__CLOSE_STREAMS__INIT;
    ref.session = session;
    ref.stream = stream;
    close.streams = &list;
    close.n_streams = 1;
    Leat__Control__Response *r = ask(fd, LEAT__CONTROL__REQUEST__BODY_CLOSE_STREAMS, &close);
    const bool was_open = r->error == 0;
    done(r);
    return was_open;
}

/* The first opening commits where it begins. */
static bool open_first(long nth)
{
    const int fd = connect_control(), other = connect_control();
    const uint32_t session = open_session(fd), epoch = join(fd);
    say_subscribe(fd, session, epoch);
    const bool struck = strike(nth);
    Leat__Control__Response *r = take(fd);
    const bool refused = r != NULL && (r->error != 0 || r->subscription->streams[0]->error != 0);
    Leat__Control__Response *said = describe(other);
    cr_assert_eq(said->error, 0);
    if (refused)
        cr_assert_eq(said->group->partitions[0]->committed_log_epoch, 0u,
                     "%ld: refused, and the group stands there", nth);
    done(said);
    done(r);
    close(fd);
    close(other);
    return struck;
}

/* The one in the second session takes over the partition. */
static bool open_again(long nth)
{
    const int fd = connect_control();
    const uint32_t session = open_session(fd), next = open_session(fd), epoch = join(fd);
    say_subscribe(fd, session, epoch);
    Leat__Control__Response *r = hear(fd);
    cr_assert_eq(r->subscription->streams[0]->error, 0);
    const uint32_t stream = r->subscription->streams[0]->stream;
    done(r);
    say_subscribe(fd, next, epoch);
    const bool struck = strike(nth);
    r = take(fd);
    if (r != NULL) {
        const bool refused = r->error != 0 || r->subscription->streams[0]->error != 0;
        cr_assert_eq(closes(fd, session, stream), refused, "%ld", nth);
    }
    done(r);
    close(fd);
    return struck;
}

Test(short_memory, a_subscription_that_is_refused_has_moved_no_group)
{
    sweep(open_first);
}

Test(short_memory, a_subscription_that_is_refused_has_ended_no_older_one)
{
    sweep(open_again);
}

/* A member whose joining was refused would hold its partitions for a whole session time-out. */
static bool join_refused(long nth)
{
    const int fd = connect_control(), other = connect_control();
    say_join(fd);
    const bool struck = strike(nth);
    Leat__Control__Response *r = take(fd);
    if (r != NULL && r->error != 0) {
        Leat__Control__Response *said = describe(other);
        cr_assert_eq(said->error, LEAT_ERR_UNKNOWN_GROUP, "%ld: %s", nth, r->error_text);
        done(said);
    }
    done(r);
    close(fd);
    close(other);
    return struck;
}

Test(short_memory, who_is_refused_is_no_member)
{
    sweep(join_refused);
}

/* ---- producers */

static struct identity granted(int fd)
{
    struct identity identity = { 0 };
    Leat__Control__Response *r = hear(fd);
    cr_assert_not_null(r);
    cr_assert_eq(r->error, 0, "%s", r->error_text);
    identity.id = r->producer->producer_id;
    identity.epoch = r->producer->producer_epoch;
    memcpy(identity.token, r->producer->resume_token.data, sizeof identity.token);
    done(r);
    return identity;
}

static bool take_over(long nth)
{
    const int mine = connect_control(), other = connect_control();
    const uint32_t session = open_session(mine), others = open_session(other);
    say_open_producer(mine, SIM_TOPIC, "feed", session, NULL);
    const struct identity me = granted(mine);
    say_open_producer(other, SIM_TOPIC, "feed", others, NULL);
    const bool struck = strike(nth);
    Leat__Control__Response *r = take(other);
    say_open_producer(mine, SIM_TOPIC, "feed", session, &me);
    Leat__Control__Response *again = hear(mine);
    cr_assert_not_null(again);
    if (r != NULL && r->error != 0) {
        cr_assert_eq(again->error, 0, "%ld: refused and fenced: %s", nth, again->error_text);
        cr_assert_not(again->producer->streams[0]->expired, "%ld", nth);
        cr_assert_not(again->producer->streams[PARTITIONS - 1]->expired, "%ld", nth);
    } else if (r != NULL) {
        cr_assert_eq(again->error, LEAT_ERR_FENCED, "%ld", nth);
    }
    done(again);
    done(r);
    close(mine);
    close(other);
    return struck;
}

/* What was not granted has no name: the next who opens it is the first. */
static bool open_name(long nth)
{
    const int fd = connect_control();
    const uint32_t session = open_session(fd);
    say_open_producer(fd, SIM_TOPIC, "feed", session, NULL);
    const bool struck = strike(nth);
    Leat__Control__Response *r = take(fd);
    if (r != NULL) {
        const bool refused = r->error != 0;
        say_open_producer(fd, SIM_TOPIC, "feed", session, NULL);
        cr_assert_eq(granted(fd).epoch, refused ? 1u : 2u, "%ld", nth);
    }
    done(r);
    close(fd);
    return struck;
}

Test(short_memory, a_name_goes_over_when_the_opening_succeeds)
{
    sweep(take_over);
}

Test(short_memory, a_name_that_was_not_granted_is_not_remembered)
{
    sweep(open_name);
}

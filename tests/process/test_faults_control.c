/* Goal: whatever comes on the control port, and however many connections, the sender gets a typed
 * answer or a closed connection within a bound, others are served as before, and memory stays
 * bounded. Method: a real leatd and raw peers. Random bytes come from a printed seed. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "schema/bytes.h"
#include "tests/support/leatd.h"
#include "tests/support/wire.h"

enum { IDLE_CONNECTIONS = 10000, RING = 1 << 20 };

static struct leatd broker;

static void set_up(void)
{
    leatd_start(&broker);
}

static void check_and_end(void)
{
    const int control = wire_control(broker.control); /* aborts unless hello is answered */
    close(control);
    cr_assert(leatd_alive(&broker), "the broker died");
    cr_assert_not(leatd_log_has(&broker, "Sanitizer"), "see %s", broker.log_path);
    leatd_end(&broker);
}

TestSuite(faults_control, .init = set_up, .fini = check_and_end, .timeout = 120);

Test(faults_control, a_length_beyond_the_limit_closes_the_connection)
{
    const int fd = wire_connect(broker.control);
    uint8_t prefix[4];
    leat_store32(prefix, LEAT_CONTROL_BYTES_MAX + 1);
    cr_assert(wire_send(fd, prefix, sizeof prefix));
    cr_assert(wire_wait_closed(fd));
}

Test(faults_control, an_empty_message_closes_the_connection)
{
    const int fd = wire_connect(broker.control);
    const uint8_t prefix[4] = { 0 };
    cr_assert(wire_send(fd, prefix, sizeof prefix));
    cr_assert(wire_wait_closed(fd));
}

Test(faults_control, random_bytes_end_only_their_sender)
{
    uint8_t noise[4096];
    for (int round = 0; round < 200; round++) {
        cr_assert_eq(getrandom(noise, sizeof noise, 0), (ssize_t)sizeof noise);
        const int fd = round % 2 == 0 ? wire_connect(broker.control) : wire_control(broker.control);
        leat_store32(noise, 1 + leat_load32(noise) % (sizeof noise - 4));
        wire_send(fd, noise, sizeof noise);
        shutdown(fd, SHUT_WR);
        cr_assert(wire_wait_closed(fd), "round %d", round);
        close(fd);
    }
}

static int error_of(int control, const Leat__Control__Request *request, const char *expected_text)
{
    Leat__Control__Response *response = wire_request(control, request);
    cr_assert_neq(response, NULL, "closed instead of answered");
    const int error = response->error;
    cr_assert(error == 0 || strlen(response->error_text) > 0, "error %d without a text", error);
    if (expected_text != NULL)
        cr_assert(strstr(response->error_text, expected_text) != NULL, "\"%s\" lacks \"%s\"",
                  response->error_text, expected_text);
    leat__control__response__free_unpacked(response, NULL);
    return error;
}

Test(faults_control, hello_comes_first_and_once)
{
    const int fd = wire_connect(broker.control);
    Leat__Control__ListTopics list = LEAT__CONTROL__LIST_TOPICS__INIT;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.id = 5;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_LIST_TOPICS;
    request.list_topics = &list;
    Leat__Control__Response *response = wire_request(fd, &request);
    cr_assert(response == NULL || response->error != 0);
    if (response != NULL)
        leat__control__response__free_unpacked(response, NULL);
}

Test(faults_control, no_version_in_common_is_said)
{
    const int fd = wire_connect(broker.control);
    Leat__Control__Hello hello = LEAT__CONTROL__HELLO__INIT;
    hello.version_min = 77;
    hello.version_max = 99;
    hello.client_name = (char *)"future";
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.id = 1;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_HELLO;
    request.hello = &hello;
    cr_assert_eq(error_of(fd, &request, "77"), LEAT_ERR_VERSION);
}

Test(faults_control, a_client_of_the_version_before_is_told_what_to_upgrade)
{
    static const char *const said[] = { "versions 1 to 1", "version 2", "upgrade the client" };
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        const int fd = wire_connect(broker.control);
        Leat__Control__Hello hello = LEAT__CONTROL__HELLO__INIT;
        hello.version_min = hello.version_max = 1;
        hello.client_name = (char *)"past";
        hello.library = (char *)"libleat 0.1.0";
        Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
        request.id = 1;
        request.body_case = LEAT__CONTROL__REQUEST__BODY_HELLO;
        request.hello = &hello;
        cr_assert_eq(error_of(fd, &request, said[i]), LEAT_ERR_VERSION);
        close(fd);
    }
}

static int create(int control, const char *name, const Leat__Control__TopicSettings *settings,
                  const char *expected_text)
{
    Leat__Control__CreateTopic body = LEAT__CONTROL__CREATE_TOPIC__INIT;
    body.name = (char *)name;
    body.settings = (Leat__Control__TopicSettings *)settings;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.id = 9;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_CREATE_TOPIC;
    request.create_topic = &body;
    return error_of(control, &request, expected_text);
}

Test(faults_control, topic_settings_out_of_range_are_refused_by_name)
{
    const int fd = wire_control(broker.control);
    Leat__Control__TopicSettings s = LEAT__CONTROL__TOPIC_SETTINGS__INIT;
    cr_assert_eq(create(fd, "no/slashes", &s, "no/slashes"), LEAT_ERR_INVALID);
    cr_assert_eq(create(fd, "", &s, NULL), LEAT_ERR_INVALID);
    cr_assert_eq(create(fd, "..", &s, NULL), LEAT_ERR_INVALID);
    char name[LEAT_NAME_BYTES_MAX + 2];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    cr_assert_eq(create(fd, name, &s, NULL), LEAT_ERR_INVALID);

    s.partitions = LEAT_PARTITIONS_MAX + 1;
    cr_assert_eq(create(fd, "many", &s, "partitions"), LEAT_ERR_INVALID);
    s.partitions = 1;
    s.record_bytes_max = LEAT_RECORD_BYTES_LIMIT + 1;
    cr_assert_eq(create(fd, "large", &s, "record_bytes_max"), LEAT_ERR_INVALID);
    s.record_bytes_max = 1 << 20;
    s.ring_bytes = 1 << 20; /* not four of the largest batch */
    cr_assert_eq(create(fd, "small", &s, "ring_bytes"), LEAT_ERR_INVALID);
    s.record_bytes_max = 0;
    s.ring_bytes = UINT64_MAX;
    cr_assert_eq(create(fd, "huge", &s, "ring_bytes"), LEAT_ERR_INVALID);
    s.ring_bytes = 1 << 16;
    s.retention_bytes = UINT64_MAX;
    cr_assert_eq(create(fd, "kept", &s, "retention_bytes"), LEAT_ERR_INVALID);
    s.retention_bytes = 0;
    s.quota_publish_bytes = UINT64_MAX;
    cr_assert_eq(create(fd, "fast", &s, "quota_publish_bytes"), LEAT_ERR_INVALID);
    s.quota_publish_bytes = 0;
    s.quota_deliver_bytes = LEAT_QUOTA_BYTES_LIMIT + 1;
    cr_assert_eq(create(fd, "fast", &s, "quota_deliver_bytes"), LEAT_ERR_INVALID);
    s.quota_deliver_bytes = LEAT_QUOTA_BYTES_LIMIT;
    cr_assert_eq(create(fd, "fast", &s, NULL), LEAT_OK);
}

Test(faults_control, an_over_commit_is_refused_with_the_exact_bytes_missing)
{
    leatd_end(&broker);
    leatd_start_config(&broker, "{\"port\": 0, \"data_port\": 0, \"log_memory_bytes\": \"10MiB\","
                                " \"hugepages\": \"off\"}");
    const int fd = wire_control(broker.control);
    Leat__Control__TopicSettings s = LEAT__CONTROL__TOPIC_SETTINGS__INIT;
    s.record_bytes_max = 1 << 16;
    s.ring_bytes = 4 * LEAT_MIB;
    s.partitions = 2;
    cr_assert_eq(create(fd, "fits", &s, NULL), 0);
    /* 8 of 10 MiB are used; 8 more lack 6 MiB = 6291456 bytes. */
    cr_assert_eq(create(fd, "not", &s, "6291456"), LEAT_ERR_NO_MEMORY);
    s.partitions = 0;
    s.ring_bytes = 2 * LEAT_MIB;
    cr_assert_eq(create(fd, "last", &s, NULL), 0, "a refused topic must hold nothing back");
}

Test(faults_control, an_unknown_topic_says_how_to_create_it)
{
    const int fd = wire_control(broker.control);
    Leat__Control__OpenProducer open = LEAT__CONTROL__OPEN_PRODUCER__INIT;
    open.topic = (char *)"nothere";
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.id = 3;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER;
    request.open_producer = &open;
    cr_assert_eq(error_of(fd, &request, "leat topic create nothere"), LEAT_ERR_UNKNOWN_TOPIC);
}

Test(faults_control, a_session_of_another_connection_is_not_mine)
{
    const int owner = wire_control(broker.control);
    const int thief = wire_control(broker.control);
    cr_assert_eq(wire_create_topic(owner, "mine", RING, 1), 0);
    const struct wire_grant grant = wire_open_session(owner, 0);
    Leat__Control__OpenProducer open = LEAT__CONTROL__OPEN_PRODUCER__INIT;
    uint32_t session = grant.session;
    open.topic = (char *)"mine";
    open.sessions = &session;
    open.n_sessions = 1;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.id = 3;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER;
    request.open_producer = &open;
    cr_assert_eq(error_of(thief, &request, NULL), LEAT_ERR_UNKNOWN_SESSION);
}

Test(faults_control, sessions_end_with_their_control_connection)
{
    const int control = wire_control(broker.control);
    const struct wire_grant grant = wire_open_session(control, 0);
    int16_t status;
    const int data = wire_attach(broker.data[0], &grant, &status);
    cr_assert_eq(status, 0);
    close(control);
    cr_assert(wire_wait_closed(data));
}

Test(faults_control, a_client_that_asks_and_never_reads_is_bounded)
{
    leatd_end(&broker);
    leatd_start_measured(&broker);
    const int deaf = wire_control(broker.control);
    const int other = wire_control(broker.control);
    cr_assert_eq(wire_create_topic(other, "t", RING, 200), 0);
    const uint64_t before = leatd_rss_bytes(&broker);
    Leat__Control__ListTopics list = LEAT__CONTROL__LIST_TOPICS__INIT;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_LIST_TOPICS;
    request.list_topics = &list;
    uint8_t bytes[64];
    /* 200,000 requests whose answers are some 10 KiB each: 2 GB if nobody minded. */
    for (uint64_t id = 2; id < 200000; id++) {
        request.id = id;
        const size_t size = leat__control__request__get_packed_size(&request);
        leat_store32(bytes, (uint32_t)size);
        leat__control__request__pack(&request, bytes + 4);
        if (send(deaf, bytes, 4 + size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)(4 + size))
            break;
    }
    cr_assert_eq(wire_create_topic(other, "u", RING, 1), 0, "others are served");
    /* Turns alternate: nobody minding, the deaf one's answers would be 60 MB by the last of these.
     */
    for (request.id = 3; request.id < 6000; request.id++)
        cr_assert_eq(error_of(other, &request, NULL), 0);
    cr_assert_lt(leatd_rss_bytes(&broker), before + 32 * LEAT_MIB);
}

/* As many as the limit of this process allows, at most `want`. */
static unsigned open_many(const char *address, unsigned want)
{
    unsigned opened = 0;
    while (opened < want) {
        const int fd = wire_connect(address);
        if (fd < 0)
            break;
        opened++; /* kept open until the test's process ends */
    }
    return opened;
}

Test(faults_control, ten_thousand_idle_connections_hurt_nobody)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < IDLE_CONNECTIONS + 1000)
        cr_skip_test("only %lu file descriptors may be open here", (unsigned long)limit.rlim_max);

    leatd_end(&broker);
    leatd_start_measured(&broker);
    const uint64_t before = leatd_rss_bytes(&broker);
    cr_assert_eq(open_many(broker.control, IDLE_CONNECTIONS / 2), IDLE_CONNECTIONS / 2);
    cr_assert_eq(open_many(broker.data[0], IDLE_CONNECTIONS / 2), IDLE_CONNECTIONS / 2);
    const int control = wire_control(broker.control);
    cr_assert_eq(wire_create_topic(control, "calm", RING, 1), 0);
    const struct wire_grant grant = wire_open_session(control, 0);
    int16_t status;
    wire_attach(broker.data[0], &grant, &status);
    cr_assert_eq(status, 0);
    cr_assert_lt(leatd_rss_bytes(&broker), before + 64 * LEAT_MIB);
}

Test(faults_control, without_descriptors_left_it_refuses_and_recovers)
{
    leatd_end(&broker);
    leatd_start_limited(&broker, 48);
    const int control = wire_control(broker.control);
    cr_assert_eq(wire_create_topic(control, "few", RING, 1), 0);
    const struct wire_grant grant = wire_open_session(control, 0);
    int16_t status;
    const int data = wire_attach(broker.data[0], &grant, &status);
    cr_assert_eq(status, 0);

    int flood[200];
    for (int i = 0; i < 200; i++)
        flood[i] = wire_connect(i % 2 == 0 ? broker.control : broker.data[0]);
    /* Whoever got in before goes on; nobody spins. */
    cr_assert_eq(wire_create_topic(control, "fewer", RING, 1), 0);
    uint8_t ping[LEAT_PING_BYTES];
    cr_assert(wire_send(data, ping, leat_frame_write_ping(ping, LEAT_FRAME_PING, 3)));
    cr_assert(wire_receive(data, ping, sizeof ping));
    for (int i = 0; i < 200; i++)
        close(flood[i]);
    /* check_and_end connects anew: it recovered. */
}

/* Goal: a client that sends expensive requests to the control thread does not delay the others: an
 * honest client publishes and asks as fast as before.
 * Method: a real leatd. One process in a loop publishes a record and waits for its ack, then sends
 * a PING on the control connection and waits for the answer. It does so before, during and after
 * another process attacks as fast as it can; samples are pooled per phase. On a small machine an
 * attacker also takes processor time from everybody, so the first attack is a process that only
 * spins: its figures are what any busy process costs. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/common/bench.h"
#include "client/leat.h"
#include "schema/control.h"
#include "tests/support/leatd.h"
#include "tests/support/wire.h"

enum { RECORD_BYTES = 64, GROUPS = 256, LISTS_AT_ONCE = 64, NS_PER_S = 1000000000 };
#define PHASE_NS (2 * (uint64_t)NS_PER_S)

static struct leatd broker;

/* ---- attacks: each runs in a process of its own until that is killed */

static void drop(Leat__Control__Response *response)
{
    if (response == NULL)
        exit(1);
    leat__control__response__free_unpacked(response, NULL);
}

static Leat__Control__Response *ask(int fd, Leat__Control__Request__BodyCase which, void *body)
{
    static uint64_t id;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.id = ++id;
    request.body_case = which;
    request.ping = body; /* any member of the union */
    return wire_request(fd, &request);
}

static void busy(void)
{
    for (volatile uint64_t i = 0;; i++)
        ;
}

static void join_groups(int fd)
{
    char name[32];
    char *topics[] = { (char *)"wide" };
    Leat__Control__JoinGroup join = LEAT__CONTROL__JOIN_GROUP__INIT;
    join.group = name;
    join.topics = topics;
    join.n_topics = 1;
    join.session_timeout_ms = 600000;
    for (unsigned i = 0; i < GROUPS; i++) {
        snprintf(name, sizeof name, "group-%u", i);
        drop(ask(fd, LEAT__CONTROL__REQUEST__BODY_JOIN_GROUP, &join));
        usleep(2500); /* below the rate limit of a connection */
    }
}

/* Keeps LISTS_AT_ONCE requests pending, as if 4.6 KB of them were sent at once. */
static void lists(void)
{
    const int fd = wire_control(broker.control);
    Leat__Control__ListGroups list = LEAT__CONTROL__LIST_GROUPS__INIT;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    uint8_t bytes[64];
    size_t size;
    join_groups(fd);
    request.body_case = LEAT__CONTROL__REQUEST__BODY_LIST_GROUPS;
    request.list_groups = &list;
    for (uint64_t id = 1;; id++) {
        request.id = id;
        if (leat_control_pack_request(bytes, sizeof bytes, &size, &request) != LEAT_OK
            || !wire_send(fd, bytes, size))
            exit(1);
        if (id > LISTS_AT_ONCE)
            drop(wire_response(fd));
    }
}

static void descriptions(void)
{
    const int fd = wire_control(broker.control);
    Leat__Control__DescribeTopic describe = LEAT__CONTROL__DESCRIBE_TOPIC__INIT;
    describe.name = (char *)"wide";
    for (;;)
        drop(ask(fd, LEAT__CONTROL__REQUEST__BODY_DESCRIBE_TOPIC, &describe));
}

/* Allocates and frees half a GiB of log memory. */
static void creations(void)
{
    const int fd = wire_control(broker.control);
    Leat__Control__DeleteTopic delete = LEAT__CONTROL__DELETE_TOPIC__INIT;
    delete.name = (char *)"large";
    for (;;) {
        wire_create_topic(fd, "large", UINT64_C(512) << 20, 1);
        drop(ask(fd, LEAT__CONTROL__REQUEST__BODY_DELETE_TOPIC, &delete));
    }
}

static void openings(const char *name)
{
    const int fd = wire_control(broker.control);
    const struct wire_grant grant = wire_open_session(fd, 0);
    int16_t status;
    uint32_t session = grant.session;
    const int data = wire_attach(broker.data[0], &grant, &status);
    Leat__Control__OpenProducer open = LEAT__CONTROL__OPEN_PRODUCER__INIT;
    open.topic = (char *)"t";
    open.name = (char *)name;
    open.sessions = &session;
    open.n_sessions = 1;
    /* Read what the broker sends to the session, which it would end otherwise. */
    if (fork() == 0) {
        uint8_t scrap[4096];
        while (read(data, scrap, sizeof scrap) > 0)
            ;
        exit(0);
    }
    for (;;)
        drop(ask(fd, LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER, &open));
}

static void named_openings(void)
{
    openings("taken-over-and-over");
}

static void nameless_openings(void)
{
    openings("");
}

static const struct attack {
    const char *name;
    void (*run)(void);
} attacks[] = {
    { "busy_process", busy },
    { "list_groups", lists },
    { "describe_topic", descriptions },
    { "create_topic", creations },
    { "open_producer", nameless_openings },
    { "open_producer_by_name", named_openings },
};

/* ---- the honest client */

struct honest {
    leat_client *client;
    leat_producer *producer;
    int control;
};

static void honest_open(struct honest *h)
{
    const struct leat_client_options options = { .size = sizeof options, .client_name = "honest" };
    if (leat_client_open(&h->client, broker.url, &options) != 0
        || leat_producer_open(h->client, &h->producer, "t", NULL) != 0)
        bench_fail(leat_client_error(h->client));
    h->control = wire_control(broker.control);
}

static void phase(struct honest *h, struct bench_samples out[2])
{
    const char value[RECORD_BYTES] = { 0 };
    const struct leat_record record = { .value = value,
                                        .value_size = sizeof value,
                                        .partition = LEAT_ANY_PARTITION };
    const uint64_t begun = bench_now_ns();
    Leat__Control__Ping ping = LEAT__CONTROL__PING__INIT;
    while (bench_now_ns() - begun < PHASE_NS) {
        uint64_t start = bench_now_ns();
        if (leat_producer_send_wait(h->producer, &record, NULL, 20 * (uint64_t)NS_PER_S) != 0)
            bench_fail(leat_client_error(h->client));
        bench_samples_add(&out[0], bench_now_ns() - start);
        start = bench_now_ns();
        drop(ask(h->control, LEAT__CONTROL__REQUEST__BODY_PING, &ping));
        bench_samples_add(&out[1], bench_now_ns() - start);
    }
}

/* ---- one attack */

static pid_t begin(const struct attack *attack)
{
    const pid_t pid = fork();
    if (pid < 0)
        bench_fail("fork");
    if (pid == 0) {
        setpgid(0, 0);
        attack->run();
        exit(0);
    }
    setpgid(pid, pid);
    return pid;
}

static void end(pid_t pid)
{
    kill(-pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void measure(const struct attack *attack)
{
    static const char *const sides[] = { "publish", "ping" };
    struct bench_samples samples[3][2] = { 0 };
    struct honest h;
    char name[96], note[256];
    leatd_start_config(&broker, "{\"port\":0,\"data_port\":0,\"shards\":1,\"hugepages\":\"off\","
                                "\"log_memory_bytes\":\"1GiB\",\"topics\":["
                                "{\"name\":\"t\",\"ring_bytes\":\"8MiB\"},"
                                "{\"name\":\"wide\",\"ring_bytes\":\"64KiB\","
                                "\"record_bytes_max\":\"4KiB\",\"partitions\":1024}]}");
    honest_open(&h);
    phase(&h, samples[0]); /* warms up */
    for (int i = 0; i < 2; i++)
        bench_samples_clear(&samples[0][i]);
    phase(&h, samples[0]);
    const pid_t pid = begin(attack);
    usleep(800000); /* until join_groups has ended */
    phase(&h, samples[1]);
    if (waitpid(pid, NULL, WNOHANG) != 0)
        bench_fail("the attacker ended too early");
    end(pid);
    phase(&h, samples[2]);
    for (int side = 0; side < 2; side++) {
        double p99[3];
        for (int i = 0; i < 3; i++)
            p99[i] = bench_percentile(&samples[i][side], 99) / 1e3;
        snprintf(name, sizeof name, "attack_%s_%s_p99_us", attack->name, sides[side]);
        snprintf(note, sizeof note,
                 "before %.0f, after %.0f us; p50 %.0f, %.0f, %.0f; max during: %.0f us", p99[0],
                 p99[2], bench_percentile(&samples[0][side], 50) / 1e3,
                 bench_percentile(&samples[1][side], 50) / 1e3,
                 bench_percentile(&samples[2][side], 50) / 1e3,
                 bench_percentile(&samples[1][side], 100) / 1e3);
        bench_emit(name, p99[1], "us", BENCH_NO_GOAL, 0, note);
    }
    leat_client_close(h.client);
    close(h.control);
    leatd_end(&broker);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof attacks / sizeof attacks[0]; i++)
        if (argc < 2 || strcmp(argv[1], attacks[i].name) == 0)
            measure(&attacks[i]);
    return 0;
}

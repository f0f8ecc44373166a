/* Goal: where a kernel does not know a newer system call (ENOSYS), or a container's profile refuses
 * it (EPERM), broker and client do without it, or the start says which one it is.
 * Method: seccomp filters in a process that starts a real leatd and is its client, over TCP and
 * UDP, for every such call that either makes (strace -fc lists them). */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/leat.h"
#include "tests/support/leatd.h"
#include "tests/support/refuse.h"

#define SECOND UINT64_C(1000000000)

enum { NO_FILTERS = 77, RECORDS = 20 };

struct refused {
    long call;
    int error;
    char name[24];
};

#define BOTH(name)                \
    { SYS_##name, EPERM, #name }, \
    {                             \
        SYS_##name, ENOSYS, #name \
    }

TestSuite(refused_calls, .timeout = 120);

/* ---- in a process of its own, which ends with what went wrong */

static void must(bool right, const char *what, const char *why)
{
    if (right)
        return;
    fprintf(stderr, "%s: %s\n", what, why);
    _exit(1);
}

static void must_do(int error, leat_client *client, const char *what)
{
    must(error >= 0, what, leat_client_error(client));
}

static void publish_and_consume(const char *url, const char *topic)
{
    leat_client *client;
    leat_producer *producer;
    leat_consumer *consumer;
    const struct leat_topic_settings settings = { .size = sizeof settings,
                                                  .ring_bytes = 1 << 20,
                                                  .record_bytes_max = 65536 };
    const struct leat_consumer_options options = { .size = sizeof options,
                                                   .group = "g",
                                                   .start_at = LEAT_START_EARLIEST };
    must_do(leat_client_open(&client, url, NULL), NULL, url);
    must_do(leat_topic_create(client, topic, &settings), client, "topic create");
    must_do(leat_producer_open(client, &producer, topic, NULL), client, "producer");
    for (int i = 0; i < RECORDS; i++) {
        const struct leat_record record = { .partition = 0, .value = "x", .value_size = 1 };
        must_do(leat_producer_send(producer, &record), client, "send");
    }
    while (leat_producer_pending(producer) > 0)
        must_do(leat_client_poll(client, LEAT_FOREVER), client, "poll");
    must_do(leat_consumer_open(client, &consumer, &topic, 1, &options), client, "consumer");
    for (int got = 0; got < RECORDS;) {
        struct leat_record records[RECORDS];
        const int n = leat_consumer_poll(consumer, records, RECORDS);
        must_do(n, client, "consume");
        got += n;
        if (n == 0)
            must_do(leat_client_poll(client, LEAT_FOREVER), client, "poll");
    }
    leat_client_close(client);
}

static void work_without(const struct refused *refused)
{
    struct leatd broker;
    char folder[] = "/tmp/leat-test-refused-XXXXXX", json[256], url[128], command[128];
    must(mkdtemp(folder) != NULL, "mkdtemp", strerror(errno));
    snprintf(json, sizeof json,
             "{\"port\": 0, \"data_port\": 0, \"hugepages\": \"off\", \"state_dir\": \"%s\"}",
             folder);
    if (!refuse_call(refused->call, refused->error))
        _exit(NO_FILTERS);
    leatd_start_config(&broker, json);
    publish_and_consume(broker.url, "t");
    snprintf(url, sizeof url, "udp://%s", broker.control);
    publish_and_consume(url, "u");
    must(leatd_cpu_ns(&broker) < 20 * SECOND, "the broker", "spins");
    must(leatd_stop(&broker) == 0, "leatd", "does not end in order");
    leatd_end(&broker);
    snprintf(command, sizeof command, "rm -r %s", folder);
    must(system(command) == 0, command, "fails");
    _exit(0);
}

static void await(pid_t pid, const struct refused *refused)
{
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_FILTERS)
        cr_skip_test("no seccomp filters here");
    cr_assert_eq(status, 0, "%s, %s: wait status %d", refused->name, strerror(refused->error),
                 status);
}

ParameterizedTestParameters(refused_calls, are_done_without)
{
    static struct refused calls[] = {
        BOTH(accept4),
        BOTH(epoll_pwait2),
        BOTH(getrandom),
        BOTH(memfd_create),
        BOTH(fallocate),
        BOTH(recvmmsg),
        BOTH(sendmmsg),
        BOTH(madvise),
        BOTH(membarrier),
        BOTH(rseq),
        BOTH(prctl),

        BOTH(sched_setaffinity),
        { SYS_clone3, ENOSYS, "clone3" },
    };
    return cr_make_param_array(struct refused, calls, sizeof calls / sizeof calls[0]);
}

ParameterizedTest(struct refused *refused, refused_calls, are_done_without)
{
    const pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        work_without(refused);
    await(pid, refused);
}

/* ---- what there is no way without */

ParameterizedTestParameters(refused_calls, that_are_needed_are_named_at_the_start)
{
    static struct refused calls[] = {
        BOTH(eventfd2),
        BOTH(signalfd4),
        BOTH(epoll_create1),
        BOTH(flock),
        { SYS_clone3, EPERM, "clone3" },
    };
    return cr_make_param_array(struct refused, calls, sizeof calls / sizeof calls[0]);
}

ParameterizedTest(struct refused *refused, refused_calls, that_are_needed_are_named_at_the_start)
{
    const char *binary = getenv("LEATD") != NULL ? getenv("LEATD") : "build/release/bin/leatd";
    char folder[] = "/tmp/leat-test-refused-XXXXXX", said[4096], path[64];
    int ends[2], status;
    size_t used = 0;
    ssize_t got;
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/config", folder);
    FILE *config = fopen(path, "w");
    fprintf(config,
            "{\"port\": 0, \"data_port\": 0, \"hugepages\": \"off\", \"state_dir\": \"%s\"}",
            folder);
    fclose(config);
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    const pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        if (!refuse_call(refused->call, refused->error))
            _exit(NO_FILTERS);
        execl(binary, binary, "--config", path, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    while (used < sizeof said - 1 && (got = read(ends[0], said + used, sizeof said - 1 - used)) > 0)
        used += (size_t)got;
    said[used] = '\0';
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    snprintf(said + used, sizeof said - used, "%s", "");
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_FILTERS)
        cr_skip_test("no seccomp filters here");
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1, "%s: %d: %s", refused->name, status,
              said);
    cr_assert_not_null(strstr(said, "cannot start"), "%s", said);
    cr_assert_not_null(strstr(said, strerror(refused->error)), "%s: %s", refused->name, said);
}

/* Goal: a client lives through its broker's end. What was unacked is sent again; what was acked and
 * is gone with the broker's memory is reported once a partition; a reader hears of the break before
 * any record of the new log: GAP where offsets go on (state_dir), LOG_RESET where they start again
 * (--dev). Method: the real library against a real leatd that is stopped or killed and started on
 * the same port. Also: a reader that is stopped (SIGSTOP) comes back to one exact GAP while others
 * lost nothing. */
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/leat.h"
#include "tests/support/leatd.h"

#define SECOND UINT64_C(1000000000)

enum { SEEN_MAX = 64 };

static struct seen {
    unsigned count;
    struct leat_event events[SEEN_MAX];
} seen;

static void on_event(void *user, const struct leat_event *event)
{
    struct seen *s = user;
    if (s->count < SEEN_MAX)
        s->events[s->count++] = *event;
}

static const struct leat_event *find_event(int type)
{
    for (unsigned i = 0; i < seen.count; i++)
        if (seen.events[i].type == type)
            return &seen.events[i];
    return NULL;
}

static leat_client *open_client(const struct leatd *broker)
{
    leat_client *client;
    const struct leat_client_options options = {
        .size = sizeof options, .on_event = on_event, .user = &seen, .backoff_max_ns = SECOND / 10
    };
    const int error = leat_client_open(&client, broker->url, &options);
    cr_assert_eq(error, 0, "%s", leat_client_error(NULL));
    return client;
}

static void create_topic(leat_client *client, const char *name, uint64_t ring_bytes)
{
    const struct leat_topic_settings settings = { .size = sizeof settings,
                                                  .ring_bytes = ring_bytes,
                                                  .record_bytes_max = 4096 };
    cr_assert_eq(leat_topic_create(client, name, &settings), 0, "%s", leat_client_error(client));
}

static leat_producer *open_producer(leat_client *client, const char *topic)
{
    leat_producer *producer;
    cr_assert_eq(leat_producer_open(client, &producer, topic, NULL), 0, "%s",
                 leat_client_error(client));
    return producer;
}

static leat_consumer *open_consumer(leat_client *client, const char *topic)
{
    leat_consumer *consumer;
    const struct leat_consumer_options options = { .size = sizeof options,
                                                   .start_at = LEAT_START_EARLIEST };
    cr_assert_eq(leat_consumer_open(client, &consumer, &topic, 1, &options), 0, "%s",
                 leat_client_error(client));
    return consumer;
}

static uint64_t publish(leat_producer *producer, uint64_t value)
{
    struct leat_delivery delivery;
    const struct leat_record record = { .value = &value,
                                        .value_size = sizeof value,
                                        .partition = LEAT_ANY_PARTITION };
    const int error = leat_producer_send_wait(producer, &record, &delivery, 20 * SECOND);
    cr_assert_eq(error, 0, "%s", leat_strerror(error));
    return delivery.offset;
}

/* The next record's value; aborts when none comes. */
static uint64_t consume(leat_client *client, leat_consumer *consumer, uint64_t *offset)
{
    struct leat_record record;
    for (int patience = 0; patience < 200; patience++) {
        const int n = leat_consumer_poll(consumer, &record, 1);
        cr_assert_geq(n, 0, "%s", leat_strerror(n));
        if (n == 1) {
            uint64_t value;
            cr_assert_eq(record.value_size, sizeof value);
            memcpy(&value, record.value, sizeof value);
            if (offset != NULL)
                *offset = record.offset;
            return value;
        }
        leat_client_poll(client, SECOND / 10);
    }
    cr_assert_fail("no record came");
    return 0;
}

Test(restart, with_a_state_dir_offsets_go_on_and_the_gap_is_exact, .timeout = 120)
{
    struct leatd broker;
    char config[256], dir[] = "/tmp/leat-test-state-XXXXXX";
    cr_assert_neq(mkdtemp(dir), NULL);
    snprintf(config, sizeof config, "{\"port\": 0, \"data_port\": 0, \"state_dir\": \"%s\"}", dir);
    leatd_start_config(&broker, config);
    leat_client *client = open_client(&broker);
    create_topic(client, "kept", 1 << 20);
    leat_producer *producer = open_producer(client, "kept");
    leat_consumer *consumer = open_consumer(client, "kept");
    uint64_t last = 0, offset = 0;
    for (uint64_t i = 0; i < 10; i++) {
        last = publish(producer, i);
        cr_assert_eq(consume(client, consumer, NULL), i);
    }
    last = publish(producer, 10); /* acked, and never consumed by anyone */

    leatd_kill(&broker);
    leatd_restart(&broker);

    const uint64_t after = publish(producer, 11);
    cr_assert_gt(after, last, "an offset was given out twice");
    cr_assert_eq(consume(client, consumer, &offset), 11u);
    cr_assert_eq(offset, after);

    const struct leat_event *gap = find_event(LEAT_EVENT_GAP);
    cr_assert_neq(gap, NULL);
    cr_assert_eq(gap->reason, LEAT_REASON_LOG_RESTARTED);
    cr_assert_eq(gap->first_offset, last, "the reader's own next offset");
    cr_assert_eq(gap->next_offset, after);
    const struct leat_event *lost = find_event(LEAT_EVENT_RECORDS_LOST);
    cr_assert_neq(lost, NULL, "acked records died with the broker and nobody said so");
    cr_assert_eq(lost->first_offset, 0u);
    cr_assert_eq(lost->next_offset, last + 1);
    leat_client_close(client);
    leatd_end(&broker);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
}

Test(restart, a_clean_stop_continues_at_the_exact_offset, .timeout = 120)
{
    struct leatd broker;
    char config[256], dir[] = "/tmp/leat-test-state-XXXXXX";
    cr_assert_neq(mkdtemp(dir), NULL);
    snprintf(config, sizeof config, "{\"port\": 0, \"data_port\": 0, \"state_dir\": \"%s\"}", dir);
    leatd_start_config(&broker, config);
    leat_client *client = open_client(&broker);
    create_topic(client, "kept", 1 << 20);
    leat_producer *producer = open_producer(client, "kept");
    const uint64_t last = publish(producer, 1);
    const int status = leatd_stop(&broker);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a clean stop ends with 0");
    leatd_restart(&broker);
    cr_assert_eq(publish(producer, 2), last + 1);
    leat_client_close(client);
    leatd_end(&broker);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
}

Test(restart, without_one_the_reader_hears_of_the_reset_first, .timeout = 120)
{
    struct leatd broker;
    const char *config = "{\"port\": 0, \"data_port\": 0, \"topics\": [{\"name\": \"declared\","
                         " \"ring_bytes\": \"1MiB\", \"record_bytes_max\": 4096}]}";
    leatd_start_config(&broker, config);
    leat_client *client = open_client(&broker);
    leat_producer *producer = open_producer(client, "declared");
    leat_consumer *consumer = open_consumer(client, "declared");
    for (uint64_t i = 0; i < 5; i++) {
        publish(producer, i);
        cr_assert_eq(consume(client, consumer, NULL), i);
    }
    leatd_kill(&broker);
    leatd_restart(&broker);

    cr_assert_eq(publish(producer, 100), 0u, "offsets start again");
    uint64_t offset;
    cr_assert_eq(consume(client, consumer, &offset), 100u);
    cr_assert_eq(offset, 0u);
    const struct leat_event *reset = find_event(LEAT_EVENT_LOG_RESET);
    cr_assert_neq(reset, NULL);
    cr_assert_eq(reset->next_offset, 0u);
    cr_assert_neq(find_event(LEAT_EVENT_RECORDS_LOST), NULL);
    leat_client_close(client);
    leatd_end(&broker);
}

Test(restart, records_unacked_at_the_crash_are_sent_again, .timeout = 120)
{
    struct leatd broker;
    const char *config = "{\"port\": 0, \"data_port\": 0, \"topics\": [{\"name\": \"declared\","
                         " \"ring_bytes\": \"1MiB\", \"record_bytes_max\": 4096}]}";
    leatd_start_config(&broker, config);
    leat_client *client = open_client(&broker);
    leat_producer *producer = open_producer(client, "declared");
    publish(producer, 0);
    leatd_kill(&broker);
    for (uint64_t i = 1; i <= 3; i++) { /* the broker is gone: these wait in the client */
        const struct leat_record record = { .value = &i,
                                            .value_size = sizeof i,
                                            .partition = LEAT_ANY_PARTITION };
        cr_assert_eq(leat_producer_send(producer, &record), 0);
        leat_client_poll(client, 0);
    }
    leatd_restart(&broker);
    cr_assert_eq(leat_producer_flush(producer, 20 * SECOND), 0);
    leat_consumer *consumer = open_consumer(client, "declared");
    for (uint64_t i = 1; i <= 3; i++)
        cr_assert_eq(consume(client, consumer, NULL), i);
    leat_client_close(client);
    leatd_end(&broker);
}

/* ---- what these tests stand on */

/* Else a test fails where anything on the machine happens to be given the port meanwhile. */
Test(restart, the_ports_of_a_broker_that_is_away_are_nobody_elses, .timeout = 60)
{
    struct leatd broker;
    leatd_start(&broker);
    const unsigned long control = strtoul(strrchr(broker.control, ':') + 1, NULL, 10);
    const unsigned long data = strtoul(strrchr(broker.data[0], ':') + 1, NULL, 10);
    leatd_stop(&broker);
    for (int i = 0; i < 2; i++) {
        const struct sockaddr_in address = { .sin_family = AF_INET,
                                             .sin_port = htons((uint16_t)(i == 0 ? control : data)),
                                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        const int other = socket(AF_INET, SOCK_STREAM, 0);
        cr_assert_eq(bind(other, (const struct sockaddr *)&address, sizeof address), -1);
        close(other);
    }
    leatd_restart(&broker);
    cr_assert_eq(strtoul(strrchr(broker.control, ':') + 1, NULL, 10), control);
    cr_assert_eq(strtoul(strrchr(broker.data[0], ':') + 1, NULL, 10), data);
    leatd_end(&broker);
}

/* ---- kill -STOP */

enum { FLOOD = 20000 };

/* A subscriber in a process of its own: counts records and gaps, says when it is ready, ends after
 * it saw the last record. Exit status 0: received + lost == FLOOD, in order. */
static void subscriber(const struct leatd *broker, int ready)
{
    static struct seen mine;
    leat_client *client;
    leat_consumer *consumer;
    const char *topic = "flood";
    const struct leat_client_options options = { .size = sizeof options,
                                                 .on_event = on_event,
                                                 .user = &mine };
    const struct leat_consumer_options start = { .size = sizeof start,
                                                 .start_at = LEAT_START_EARLIEST };
    if (leat_client_open(&client, broker->url, &options) != 0
        || leat_consumer_open(client, &consumer, &topic, 1, &start) != 0
        || write(ready, "r", 1) != 1)
        _exit(10);
    uint64_t next = 0, received = 0, lost = 0;
    unsigned gaps = 0;
    while (next < FLOOD) {
        struct leat_record records[64];
        if (leat_client_poll(client, SECOND) < 0)
            _exit(11);
        const int n = leat_consumer_poll(consumer, records, 64);
        for (; gaps < mine.count; gaps++)
            if (mine.events[gaps].type == LEAT_EVENT_GAP)
                lost += mine.events[gaps].next_offset - mine.events[gaps].first_offset;
        for (int i = 0; i < n; i++) {
            if (records[i].offset < next)
                _exit(12);
            next = records[i].offset + 1;
            received++;
        }
    }
    _exit(received + lost == FLOOD ? (lost == 0 ? 0 : 1) : 13);
}

static pid_t start_subscriber(const struct leatd *broker)
{
    int ready[2];
    char byte;
    cr_assert_eq(pipe(ready), 0);
    const pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        subscriber(broker, ready[1]);
    close(ready[1]);
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

Test(stopped_reader, comes_back_to_an_exact_gap_and_nobody_else_lost_a_record, .timeout = 120)
{
    struct leatd broker;
    leatd_start(&broker);
    leat_client *client = open_client(&broker);
    create_topic(client, "flood", 1 << 20);
    leat_producer *producer = open_producer(client, "flood");
    leat_consumer *live = open_consumer(client, "flood");
    const pid_t stopped = start_subscriber(&broker);
    cr_assert_eq(kill(stopped, SIGSTOP), 0);
    cr_assert_eq(waitpid(stopped, NULL, WUNTRACED), stopped);

    uint64_t consumed = 0;
    char value[1024] = { 0 };
    for (uint64_t sent = 0; consumed < FLOOD;) {
        const struct leat_record record = { .value = value,
                                            .value_size = sizeof value,
                                            .partition = LEAT_ANY_PARTITION };
        /* Stay half a ring ahead at most, so that only the stopped one is overrun. */
        if (sent < FLOOD && sent - consumed < 256 && leat_producer_send(producer, &record) == 0)
            sent++;
        cr_assert_geq(leat_client_poll(client, 0), 0);
        struct leat_record records[64];
        const int n = leat_consumer_poll(live, records, 64);
        for (int i = 0; i < n; i++)
            cr_assert_eq(records[i].offset, consumed++);
    }
    cr_assert_eq(find_event(LEAT_EVENT_GAP), NULL, "the live reader lost records");

    int status;
    cr_assert_eq(kill(stopped, SIGCONT), 0);
    cr_assert_eq(waitpid(stopped, &status, 0), stopped);
    cr_assert(WIFEXITED(status));
    cr_assert_eq(WEXITSTATUS(status), 1, "1 = lost some, all accounted for; got %d",
                 WEXITSTATUS(status));
    leat_client_close(client);
    leatd_end(&broker);
}

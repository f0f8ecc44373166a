/* Goal: a broker at its limit of file descriptors answers everybody who speaks, with service or
 * with the reason why not, serves those it has, logs it once, and recovers. Method: a real leatd
 * with few descriptors; connections that speak and ones that do not. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/leat.h"
#include "schema/error.h"
#include "schema/version.h"
#include "tests/support/leatd.h"
#include "tests/support/wire.h"

enum { DESCRIPTORS = 48, MANY = 100 };

static struct leatd broker;

static void set_up(void)
{
    leatd_start_limited(&broker, DESCRIPTORS);
}

static void tear_down(void)
{
    cr_assert_not(leatd_log_has(&broker, "Sanitizer"), "see %s", broker.log_path);
    leatd_end(&broker);
}

TestSuite(descriptors, .init = set_up, .fini = tear_down, .timeout = 120);

/* Says Hello; what it was answered, and *text. */
static int greet(int fd, char text[256])
{
    Leat__Control__Hello hello = LEAT__CONTROL__HELLO__INIT;
    hello.version_min = hello.version_max = LEAT_PROTOCOL_VERSION;
    hello.client_name = hello.library = (char *)"test";
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.id = 1;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_HELLO;
    request.hello = &hello;
    Leat__Control__Response *response = wire_request(fd, &request);
    cr_assert_not_null(response, "closed without a word");
    const int error = response->error;
    snprintf(text, 256, "%s", response->error_text);
    leat__control__response__free_unpacked(response, NULL);
    return error;
}

/* Opens connections that say Hello until one is refused; returns how many were not. */
static int fill_control(int fds[MANY])
{
    char text[256];
    for (int i = 0; i < MANY; i++) {
        fds[i] = wire_connect(broker.control);
        const int error = greet(fds[i], text);
        if (error == 0)
            continue;
        cr_assert_eq(error, LEAT_ERR_LIMIT, "%d: %s", error, text);
        cr_assert_not_null(strstr(text, "file descriptors"), "%s", text);
        cr_assert(wire_wait_closed(fds[i]));
        close(fds[i]);
        return i;
    }
    cr_assert_fail("%d connections with %d descriptors", MANY, DESCRIPTORS);
    return 0;
}

/* Of the whole log: it ends the broker. */
static unsigned lines_with(const char *text)
{
    cr_assert_eq(leatd_stop(&broker), 0, "it ends in order");
    char line[8192];
    unsigned lines = 0;
    FILE *log = fopen(broker.log_path, "r");
    while (fgets(line, sizeof line, log) != NULL)
        lines += strstr(line, text) != NULL;
    fclose(log);
    return lines;
}

Test(descriptors, who_says_hello_is_answered_with_service_or_the_reason)
{
    int fds[MANY];
    char text[256];
    const int open = fill_control(fds);
    cr_assert_gt(open, 5);
    for (int i = 0; i < 20; i++) { /* every one of them */
        const int fd = wire_connect(broker.control);
        cr_assert_eq(greet(fd, text), LEAT_ERR_LIMIT);
        close(fd);
    }
    leat_client *client;
    const struct leat_client_options options = { .size = sizeof options,
                                                 .connect_timeout_ns = 1000000000 };
    cr_assert_neq(leat_client_open(&client, broker.url, &options), 0);
    cr_assert_not_null(strstr(leat_client_error(NULL), "out of file descriptors"), "%s",
                       leat_client_error(NULL));
    cr_assert_eq(wire_create_topic(fds[0], "t", 65536, 1), 0, "those it has are served");
    for (int i = 0; i < open; i++)
        close(fds[i]);
    int fd = wire_connect(broker.control);
    while (greet(fd, text) != 0) { /* until it has seen them go */
        close(fd);
        fd = wire_connect(broker.control);
    }
    close(fd);
    cr_assert_eq(lines_with("control.no_descriptors"), 1, "once, see %s", broker.log_path);
}

Test(descriptors, who_says_nothing_gives_way)
{
    for (int i = 0; i < MANY; i++)
        wire_connect(broker.control); /* to the end of this process */
    for (int i = 0; i < 5; i++) {
        char text[256];
        /* The first ones may come before the idle ones have been idle for long enough. */
        for (int fd = wire_connect(broker.control); greet(fd, text) != 0;
             fd = wire_connect(broker.control))
            close(fd);
    }
    cr_assert_leq(lines_with("no_descriptors"), 1);
}

Test(descriptors, who_attaches_is_answered_with_service_or_the_reason)
{
    int fds[MANY];
    int16_t status = 0;
    const int control = wire_control(broker.control);
    cr_assert_eq(wire_create_topic(control, "t", 65536, 1), 0);
    int open = 0;
    for (; open < MANY && status == 0; open++) {
        const struct wire_grant grant = wire_open_session(control, 0);
        fds[open] = wire_attach(broker.data[0], &grant, &status);
    }
    cr_assert_eq(status, LEAT_ERR_LIMIT);
    cr_assert_gt(open, 5);
    for (int i = 0; i < 5; i++) {
        const struct wire_grant grant = wire_open_session(control, 0);
        const int fd = wire_attach(broker.data[0], &grant, &status);
        cr_assert_eq(status, LEAT_ERR_LIMIT);
        close(fd);
    }
    uint8_t ping[LEAT_PING_BYTES];
    cr_assert(wire_send(fds[0], ping, leat_frame_write_ping(ping, LEAT_FRAME_PING, 3)));
    cr_assert(wire_receive(fds[0], ping, sizeof ping), "those it has are served");
    for (int i = 0; i < open; i++)
        close(fds[i]);
    do {
        const struct wire_grant grant = wire_open_session(control, 0);
        close(wire_attach(broker.data[0], &grant, &status));
    } while (status != 0);
    cr_assert_eq(lines_with("shard.no_descriptors"), 1);
}

/* As many as it may have: the same, by another limit. */
Test(descriptors, beyond_connections_max_who_says_hello_is_told_so)
{
    int fds[MANY];
    char text[256];
    leatd_end(&broker);
    leatd_start_config(&broker, "{\"port\": 0, \"data_port\": 0, \"connections_max\": 8,"
                                " \"hugepages\": \"off\"}");
    for (int i = 0; i < 8; i++) {
        char host[16];
        snprintf(host, sizeof host, "127.0.0.%d", 1 + i); /* one alone may have half */
        fds[i] = wire_connect_from(broker.control, host);
        cr_assert_eq(greet(fds[i], text), 0);
    }
    for (int i = 0; i < 20; i++) {
        const int fd = wire_connect(broker.control);
        cr_assert_eq(greet(fd, text), LEAT_ERR_LIMIT);
        cr_assert_not_null(strstr(text, "connections_max: 8"), "%s", text);
        close(fd);
    }
    for (int i = 0; i < MANY - 8; i++)
        fds[8 + i] = wire_connect(broker.control);
    cr_assert_eq(wire_create_topic(fds[0], "t", 65536, 1), 0, "those it has are served");
    cr_assert_eq(lines_with("control.connections_max"), 1);
}

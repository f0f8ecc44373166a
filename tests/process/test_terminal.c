/* Goal: a terminal holds nobody and obeys nobody: a broker whose log or ready line goes to one that
 * was stopped answers as before, and records shown on one are text.
 * Method: real processes on pseudo-terminals, which the test reads, or does not. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "client/leat.h"
#include "tests/support/leatd.h"

TestSuite(terminal, .timeout = 120);

/* A terminal that shows what it is given as it is. */
static void open_terminal(int *reader, int *writer, char name[64])
{
    struct termios plain;
    cr_assert_eq(openpty(reader, writer, name, NULL, NULL), 0);
    cr_assert_eq(tcgetattr(*writer, &plain), 0);
    cfmakeraw(&plain);
    cr_assert_eq(tcsetattr(*writer, TCSANOW, &plain), 0);
    fcntl(*reader, F_SETFD, FD_CLOEXEC);
    fcntl(*writer, F_SETFD, FD_CLOEXEC);
}

/* To the last byte. Also a pipe. */
static void fill(int writer)
{
    char bytes[256];
    memset(bytes, '.', sizeof bytes);
    const int flags = fcntl(writer, F_GETFL);
    fcntl(writer, F_SETFL, flags | O_NONBLOCK);
    while (write(writer, bytes, sizeof bytes) > 0)
        ;
    while (write(writer, bytes, 1) > 0)
        ;
    fcntl(writer, F_SETFL, flags);
}

/* Leaves room for less than a line: poll says then that there is room, and a write waits. */
static void fill_terminal(int reader, int writer)
{
    char byte;
    fill(writer);
    struct pollfd room = { .fd = writer, .events = POLLOUT };
    while (poll(&room, 1, 0) == 0)
        cr_assert_eq(read(reader, &byte, 1), 1);
}

static void make_and_delete(leat_client *client, const char *name)
{
    const struct leat_topic_settings settings = { .size = sizeof settings,
                                                  .partitions = 1,
                                                  .ring_bytes = 65536 };
    cr_assert_eq(leat_topic_create(client, name, &settings), 0, "%s", leat_client_error(client));
    cr_assert_eq(leat_topic_delete(client, name), 0, "%s", leat_client_error(client));
}

Test(terminal, one_that_was_stopped_holds_neither_control_nor_the_end)
{
    int reader, writer;
    char name[64], topic[240];
    struct leatd d;
    leat_client *client;
    open_terminal(&reader, &writer, name);
    leatd_start_logging(&d, name);
    cr_assert_eq(leat_client_open(&client, d.url, NULL), 0);
    fill_terminal(reader, writer);
    memset(topic, 't', sizeof topic - 1); /* long lines, of which ten a second are written */
    topic[sizeof topic - 1] = '\0';
    for (int i = 0; i < 100; i++)
        make_and_delete(client, topic);
    leat_client_close(client);
    cr_assert_eq(leatd_stop(&d), 0, "it ends in order, though nobody read the log");
    leatd_end(&d);
}

/* Ready, though nobody has read that it is. */
static void answers(struct leatd *d)
{
    leat_client *client;
    cr_assert_eq(leat_client_open(&client, d->url, NULL), 0, "%s", leat_client_error(NULL));
    make_and_delete(client, "t");
    leat_client_close(client);
}

Test(terminal, one_that_was_stopped_does_not_hold_a_broker_that_says_it_is_ready)
{
    int reader, writer;
    char name[64];
    struct leatd d;
    open_terminal(&reader, &writer, name);
    fill(writer);
    leatd_start_printing(&d, writer);
    answers(&d);
    cr_assert_eq(leatd_stop(&d), 0, "it ends in order, though nobody read the line");
    leatd_end(&d);
}

Test(terminal, a_pipe_that_nobody_reads_does_not_hold_it_either_and_has_the_line_when_it_is_read)
{
    int ends[2];
    struct leatd d;
    static char bytes[1 << 20];
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    fill(ends[1]);
    leatd_start_printing(&d, ends[1]);
    answers(&d);
    close(ends[1]);
    size_t used = 0;
    while (memchr(bytes, '\n', used) == NULL) {
        const ssize_t got = read(ends[0], bytes + used, sizeof bytes - used);
        cr_assert_gt(got, 0);
        used += (size_t)got;
    }
    const char *line = memchr(bytes, '{', used);
    cr_assert_not_null(line);
    cr_assert_not_null(strstr(line, d.control), "%s", line);
    cr_assert_eq(leatd_stop(&d), 0);
    cr_assert_eq(read(ends[0], bytes, sizeof bytes), 0, "once");
    leatd_end(&d);
}

/* In the background of the terminal `name`: a session of its own, whose foreground is another. */
static void work_in_background(const char *name)
{
    struct leatd d;
    leat_client *client;
    if (setsid() < 0)
        _exit(2);
    const int terminal = open(name, O_RDWR | O_CLOEXEC);
    struct termios mode;
    if (terminal < 0 || tcgetattr(terminal, &mode) != 0)
        _exit(3);
    mode.c_lflag |= TOSTOP;
    if (tcsetattr(terminal, TCSANOW, &mode) != 0)
        _exit(4);
    const pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        leatd_start_logging(&d, name);
        if (leat_client_open(&client, d.url, NULL) != 0)
            _exit(5);
        make_and_delete(client, "t");
        leat_client_close(client);
        const int status = leatd_stop(&d);
        _exit(status == 0 ? 0 : 6);
    }
    int status = -1;
    if (waitpid(pid, &status, 0) != pid || status != 0)
        _exit(7);
    _exit(0);
}

/* `stty tostop`: who writes from the background is stopped by SIGTTOU, unless it ignores that. */
Test(terminal, one_in_whose_background_it_runs_does_not_stop_it)
{
    int reader, writer, status;
    char name[64];
    open_terminal(&reader, &writer, name);
    const pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        work_in_background(name);
    close(writer);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0, "wait status %d", status);
    close(reader);
}

/* `leat sub` of all there is in "t"; what it printed. */
static size_t shown(const struct leatd *d, bool terminal, const char *option, char *bytes,
                    size_t room)
{
    const char *binary = getenv("LEAT");
    int reader, writer, status;
    char name[64];
    size_t used = 0;
    ssize_t got;
    if (terminal) {
        open_terminal(&reader, &writer, name);
    } else {
        int ends[2];
        cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
        reader = ends[0];
        writer = ends[1];
    }
    const pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        dup2(writer, STDOUT_FILENO);
        execl(binary != NULL ? binary : "build/release/bin/leat", "leat", "sub", "t", "--url",
              d->url, "--from", "earliest", "--count", "1", option, (char *)NULL);
        _exit(127);
    }
    close(writer);
    /* Behind the last writer a pipe ends and a terminal answers EIO. */
    while (used < room && (got = read(reader, bytes + used, room - used)) > 0)
        used += (size_t)got;
    close(reader);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
    return used;
}

static void is_shown(const struct leatd *d, bool terminal, const char *option, const char *text,
                     size_t size)
{
    char bytes[4096];
    const size_t got = shown(d, terminal, option, bytes, sizeof bytes);
    cr_assert_eq(got, size, "%zu bytes, expected %zu: %.*s", got, size, (int)got, bytes);
    cr_assert_eq(memcmp(bytes, text, size), 0, "%.*s", (int)got, bytes);
}

Test(terminal, records_shown_on_one_are_text_and_raw_where_that_is_asked_for)
{
    static const char value[] = "a\tb\n\x1b]0;title\x07\rc\x7f\xc2\x9b"
                                "2J \xff\xc3\xa9\xe2\x82\xac\x9b";
    static const char text[] =
        "a\tb\n\\x1B]0;title\\x07\\x0Dc\\x7F\\xC2\\x9B2J \\xFF\xc3\xa9\xe2\x82\xac\\x9B\n";
    const struct leat_topic_settings settings = { .size = sizeof settings,
                                                  .partitions = 1,
                                                  .ring_bytes = 65536 };
    struct leatd d;
    leat_client *client;
    leat_producer *producer;
    char raw[sizeof value];
    memcpy(raw, value, sizeof value - 1);
    raw[sizeof value - 1] = '\n';
    leatd_start(&d);
    cr_assert_eq(leat_client_open(&client, d.url, NULL), 0);
    cr_assert_eq(leat_topic_create(client, "t", &settings), 0);
    cr_assert_eq(leat_producer_open(client, &producer, "t", NULL), 0);
    const struct leat_record record = { .partition = 0,
                                        .value = value,
                                        .value_size = sizeof value - 1 };
    cr_assert_eq(leat_producer_send(producer, &record), 0);
    while (leat_producer_pending(producer) > 0)
        cr_assert_geq(leat_client_poll(client, LEAT_FOREVER), 0);
    is_shown(&d, true, NULL, text, sizeof text - 1);
    is_shown(&d, true, "--raw", raw, sizeof raw);
    is_shown(&d, false, NULL, raw, sizeof raw);
    char json[4096];
    const size_t size = shown(&d, true, "--json", json, sizeof json);
    for (size_t i = 0; i + 1 < size; i++)
        cr_assert((unsigned char)json[i] >= 0x20 && json[i] != 0x7f, "byte %zu of %.*s", i,
                  (int)size, json);
    leat_client_close(client);
    leatd_end(&d);
}

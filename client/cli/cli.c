/* What the commands of `leat` share: connecting, waiting, stopping, errors. */
#include "client/cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/parse.h"
#include "ops/json_text.h"
#include "schema/limits.h"

enum {
    OTHERS_MAX = 4,
    ERROR_BYTES = 4096, /* longest error text; the rest is cut */
};

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * LEAT_NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t cli_monotonic_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t cli_wall_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

/* Terminals also interpret the C1 control characters (U+0080 to U+009F) and some bytes that are not
 * UTF-8. */
size_t cli_printable(const char *bytes, size_t size)
{
    const unsigned char first = (unsigned char)bytes[0];
    const size_t length = json_text_utf8(bytes, size);
    const bool second_block = length == 2 && first == 0xC2 && (unsigned char)bytes[1] < 0xA0;
    return second_block || first < 0x20 || first == 0x7F ? 0 : length;
}

void cli_print(FILE *to, const char *text)
{
    while (*text != '\0') {
        const size_t size = cli_printable(text, strnlen(text, 4));
        if (size == 0)
            fprintf(to, "\\x%02X", (unsigned char)*text);
        else
            fwrite(text, 1, size, to);
        text += size + (size == 0);
    }
}

int cli_fail(const struct cli *cli, const char *format, ...)
{
    char text[ERROR_BYTES];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    fprintf(stderr, "leat %s: ", cli->command);
    cli_print(stderr, text);
    fputc('\n', stderr);
    return EXIT_FAILED;
}

int cli_fail_error(const struct cli *cli, const char *what, int error)
{
    const char *story =
        error == cli->fatal && error != 0 ? cli->fatal_story : leat_client_error(cli->client);
    if (story == NULL || *story == '\0')
        return cli_fail(cli, "%s: %s", what, leat_strerror(error));
    /* The broker's text often begins with the object already. */
    if (strncmp(story, what, strlen(what)) == 0)
        return cli_fail(cli, "%s", story);
    return cli_fail(cli, "%s: %s", what, story);
}

int cli_refuse(const struct cli *cli, const char *thing, const char *name, int error)
{
    char what[300];
    snprintf(what, sizeof(what), "%s \"%.249s\"", thing, name);
    return cli_fail_error(cli, what, error);
}

void cli_said(const struct args_common *common, const char *thing, const char *name,
              const char *what)
{
    if (common->json)
        printf("{\"%s\":\"%s\",\"%s\":true}\n", thing, name, what);
    else
        printf("%s \"%s\" %s\n", thing, name, what);
}

static const char *event_name(int32_t type)
{
    switch (type) {
    case LEAT_EVENT_CONNECTED: return "connected";
    case LEAT_EVENT_DISCONNECTED: return "disconnected";
    case LEAT_EVENT_CIRCUIT_OPEN: return "circuit_open";
    case LEAT_EVENT_GAP: return "gap";
    case LEAT_EVENT_LOG_RESET: return "log_reset";
    case LEAT_EVENT_RECORDS_LOST: return "records_lost";
    case LEAT_EVENT_PRODUCER_EXPIRED: return "producer_expired";
    case LEAT_EVENT_PRODUCER_FENCED: return "producer_fenced";
    case LEAT_EVENT_BAD_BATCH: return "bad_batch";
    case LEAT_EVENT_TOPIC_DELETED: return "topic_deleted";
    case LEAT_EVENT_FALLBACK: return "fallback";
    case LEAT_EVENT_ASSIGNED: return "assigned";
    case LEAT_EVENT_REVOKED: return "revoked";
    case LEAT_EVENT_MEMBER_LOST: return "member_lost";
    case LEAT_EVENT_MEMBER_FENCED: return "member_fenced";
    case LEAT_EVENT_COMMIT_REFUSED: return "commit_refused";
    case LEAT_EVENT_THROTTLED: return "throttled";
    case LEAT_EVENT_REFUSED: return "refused";
    case LEAT_EVENT_TOPIC_MISSING: return "topic_missing";
    default: return "event";
    }
}

static const char *gap_reason(int32_t reason)
{
    switch (reason) {
#define X(name, value, text) \
    case name: return text;
        LEAT_REASON_MAP(X)
#undef X
    default: return "none";
    }
}

/* True if the event reports how many records were lost. */
static bool event_has_loss(int32_t type)
{
    return type == LEAT_EVENT_GAP || type == LEAT_EVENT_LOG_RESET;
}

/* True if the event reports where reading ended. */
static bool event_has_end(const struct leat_event *event)
{
    return event->type == LEAT_EVENT_TOPIC_DELETED && event->consumer != NULL;
}

/* True if both offsets of the event have a meaning. */
static bool event_has_range(int32_t type)
{
    return type == LEAT_EVENT_GAP || type == LEAT_EVENT_RECORDS_LOST
           || type == LEAT_EVENT_BAD_BATCH;
}

/* True if only next_offset has a meaning. */
static bool event_has_next(int32_t type)
{
    return type == LEAT_EVENT_LOG_RESET || type == LEAT_EVENT_ASSIGNED;
}

/* Prints `,"NAME":N`, with null if `value` is LEAT_UNKNOWN, which LEAT_NO_OFFSET equals. */
static void print_json_number(const char *name, uint64_t value)
{
    if (value == LEAT_UNKNOWN)
        fprintf(stderr, ",\"%s\":null", name);
    else
        fprintf(stderr, ",\"%s\":%" PRIu64, name, value);
}

static void print_event_json(const struct leat_event *event)
{
    char text[2048] = "\"\"";
    const char *said = event->text == NULL ? "" : event->text;
    const size_t size = strnlen(said, (sizeof(text) - 3) / 6);
    text[json_text_escape(text, said, size)] = '\0';
    fprintf(stderr, "{\"event\":\"%s\"", event_name(event->type));
    if (event->topic != NULL)
        fprintf(stderr, ",\"topic\":\"%s\"", event->topic);
    if (event->partition >= 0)
        fprintf(stderr, ",\"partition\":%d", event->partition);
    const bool range = event_has_range(event->type), end = event_has_end(event);
    if (range || event_has_loss(event->type) || end)
        print_json_number("first_offset", event->first_offset);
    if (range || event_has_next(event->type) || end) {
        print_json_number("next_offset", event->next_offset);
        fprintf(stderr, ",\"log_epoch\":\"%" PRIu64 "\"", event->log_epoch);
    }
    if (event_has_loss(event->type) || end) {
        print_json_number("lost_at_least", event->lost_at_least);
        print_json_number("lost_at_most", event->lost_at_most);
    }
    if (event->type == LEAT_EVENT_TOPIC_MISSING)
        fprintf(stderr, ",\"missing_ms\":%" PRIu64, event->time_ns / LEAT_NS_PER_MS);
    if (event->type == LEAT_EVENT_GAP)
        fprintf(stderr, ",\"reason\":\"%s\"", gap_reason(event->reason));
    if (event->error != 0)
        fprintf(stderr, ",\"error\":\"%s\"", leat_strerror(event->error));
    fprintf(stderr, ",\"text\":%s}\n", text);
}

/* Prints ", 7 records", or what is known of the number. */
static void print_loss(const struct leat_event *event)
{
    if (event->lost_at_most == LEAT_UNKNOWN && event->lost_at_least == 0)
        fputs(", how many records is unknown", stderr);
    else if (event->lost_at_most == LEAT_UNKNOWN)
        fprintf(stderr, ", at least %" PRIu64 " records lost", event->lost_at_least);
    else if (event->lost_at_least != event->lost_at_most)
        fprintf(stderr, ", at least %" PRIu64 " and at most %" PRIu64 " records",
                event->lost_at_least, event->lost_at_most);
    else
        fprintf(stderr, ", %" PRIu64 " records", event->lost_at_most);
}

/* Prints the event's offsets: which records were lost, and where reading continues. */
static void print_offsets(const struct leat_event *event)
{
    if (event_has_range(event->type))
        fprintf(stderr, ": offsets %" PRIu64 "..%" PRIu64, event->first_offset,
                event->next_offset - 1);
    if (event->type == LEAT_EVENT_GAP)
        print_loss(event);
    else if (event_has_range(event->type))
        fprintf(stderr, ", %" PRIu64 " records", event->next_offset - event->first_offset);
    if (event->type == LEAT_EVENT_LOG_RESET && event->first_offset != LEAT_NO_OFFSET) {
        fprintf(stderr, ": the old log from offset %" PRIu64 " on", event->first_offset);
        print_loss(event);
    }
    if (event_has_end(event)) {
        fprintf(stderr, ": read up to offset %" PRIu64, event->first_offset);
        if (event->next_offset != LEAT_NO_OFFSET)
            fprintf(stderr, " of %" PRIu64, event->next_offset);
        print_loss(event);
        if (event->lost_at_most != 0 && event->lost_at_most != LEAT_UNKNOWN)
            fputs(" lost", stderr);
    }
    if (event_has_next(event->type))
        fprintf(stderr, ": continues at offset %" PRIu64, event->next_offset);
}

static void print_event_text(const struct cli *cli, const struct leat_event *event)
{
    fprintf(stderr, "leat %s: %s", cli->command, event_name(event->type));
    if (event->topic != NULL)
        fprintf(stderr, ": %s", event->topic);
    if (event->partition >= 0)
        fprintf(stderr, " partition %d", event->partition);
    print_offsets(event);
    if (event->type == LEAT_EVENT_TOPIC_MISSING)
        fprintf(stderr, ": for %" PRIu64 " s", event->time_ns / LEAT_NS_PER_S);
    if (event->type == LEAT_EVENT_GAP)
        fprintf(stderr, " (%s)", gap_reason(event->reason));
    if (event->error != 0)
        fprintf(stderr, ": %s", leat_strerror(event->error));
    if (event->text != NULL) {
        fputs(": ", stderr);
        cli_print(stderr, event->text); /* the text may come from the broker */
    }
    fputc('\n', stderr);
}

static void on_event(void *user, const struct leat_event *event)
{
    struct cli *cli = user;
    switch (event->type) {
    case LEAT_EVENT_CONNECTED: return; /* expected */
    case LEAT_EVENT_RECORDS_LOST: cli->vanished += event->next_offset - event->first_offset; break;
    case LEAT_EVENT_PRODUCER_FENCED: cli->fatal = LEAT_ERR_FENCED; break;
    case LEAT_EVENT_MEMBER_FENCED: cli->fatal = event->error; break;
    case LEAT_EVENT_TOPIC_DELETED:
        if (cli->awaits_topics)
            break;
        cli->fatal = LEAT_ERR_UNKNOWN_TOPIC;
        snprintf(cli->fatal_story, sizeof(cli->fatal_story), "topic \"%s\" was deleted",
                 event->topic != NULL ? event->topic : "");
        break;
    default: break;
    }
    if (cli->before_event != NULL)
        cli->before_event(cli->before_event_user);
    if (cli->events_json)
        print_event_json(event);
    else
        print_event_text(cli, event);
}

/* The signals that end a command. SIGHUP (the terminal was closed) is left ignored if it is, as
 * under nohup. */
static void set_signals(sigset_t *signals)
{
    struct sigaction hangup;
    sigemptyset(signals);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGTERM);
    if (sigaction(SIGHUP, NULL, &hangup) != 0 || hangup.sa_handler != SIG_IGN)
        sigaddset(signals, SIGHUP);
}

int cli_open(struct cli *cli, const char *command, const struct args_common *common,
             enum cli_way way)
{
    sigset_t signals;
    *cli = (struct cli){
        .command = command, .url = common->url, .signal_fd = -1, .events_json = common->json
    };
    if (cli->url == NULL)
        cli->url = "tcp://127.0.0.1:7420";
    char name[64];
    snprintf(name, sizeof(name), "leat-%.*s", (int)strcspn(command, " "), command);
    const struct leat_client_options options = { .size = sizeof(options),
                                                 .client_name = name,
                                                 .on_event = on_event,
                                                 .user = cli,
                                                 .control_only = way == CLI_CONTROL };
    const int error = leat_client_open(&cli->client, cli->url, &options);
    if (error != 0)
        return cli_fail_error(cli, cli->url, error);
    /* Let waits end on time, not 50 us later. */
    prctl(PR_SET_TIMERSLACK, 1UL);
    set_signals(&signals);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    cli->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (cli->signal_fd < 0)
        return cli_fail(cli, "signalfd: %s", strerror(errno));
    return 0;
}

void cli_close(struct cli *cli)
{
    leat_client_close(cli->client);
    if (cli->signal_fd >= 0)
        close(cli->signal_fd);
}

bool cli_stopped(struct cli *cli)
{
    struct signalfd_siginfo info;
    sigset_t signals;
    if (!cli->stopped && read(cli->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        cli->stopped = true;
        /* A second signal ends the process at once. SIGHUP does not count: when a terminal goes
         * away, the kernel and the shell may both send one. */
        sigemptyset(&signals);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGTERM);
        sigprocmask(SIG_UNBLOCK, &signals, NULL);
    }
    return cli->stopped;
}

int cli_wait(struct cli *cli, struct pollfd *others, nfds_t count, uint64_t timeout_ns)
{
    struct pollfd fds[OTHERS_MAX + 2];
    for (nfds_t i = 0; i < count; i++)
        others[i].revents = 0;
    int handled = leat_client_poll(cli->client, 0);
    if (handled != 0)
        return handled < 0 ? handled : cli->fatal;
    const int client_fd = leat_client_fd(cli->client);
    if (client_fd < 0 && client_fd != LEAT_ERR_NOFD)
        return client_fd;
    if (client_fd < 0) /* the link has to be polled: poll again soon */
        timeout_ns = 0;
    fds[0] = (struct pollfd){ .fd = cli->signal_fd, .events = POLLIN };
    fds[1] = (struct pollfd){ .fd = client_fd, .events = POLLIN };
    for (nfds_t i = 0; i < count; i++) /* `others` may be NULL if count is 0 */
        fds[2 + i] = others[i];
    const struct timespec timeout = { .tv_sec = (time_t)(timeout_ns / LEAT_NS_PER_S),
                                      .tv_nsec = (long)(timeout_ns % LEAT_NS_PER_S) };
    if (ppoll(fds, count + 2, timeout_ns == LEAT_FOREVER ? NULL : &timeout, NULL) > 0)
        for (nfds_t i = 0; i < count; i++)
            others[i] = fds[2 + i];
    handled = leat_client_poll(cli->client, 0);
    return handled < 0 ? handled : cli->fatal;
}

void cli_progress_show(struct cli_progress *progress, uint64_t now_ns, const char *format, ...)
{
    va_list list;
    if (now_ns < progress->next_ns || !isatty(STDERR_FILENO))
        return;
    /* The first line is delayed: short commands print none. */
    const bool first = progress->next_ns == 0;
    progress->next_ns = now_ns + LEAT_NS_PER_S / 2;
    if (first)
        return;
    fputs("\r\033[K", stderr);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    progress->shown = true;
}

void cli_progress_end(struct cli_progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
}

/* -------------------------------------------------------------- words */

bool cli_parse_start(const char *text, int32_t *at, uint64_t *value)
{
    if (strcmp(text, "earliest") == 0) {
        *at = LEAT_START_EARLIEST;
    } else if (strcmp(text, "latest") == 0) {
        *at = LEAT_START_LATEST;
    } else if (text[0] == '@') {
        *at = LEAT_START_TIME;
        return parse_instant(text + 1, value);
    } else {
        *at = LEAT_START_OFFSET;
        return parse_u64(text, strlen(text), value);
    }
    return true;
}

int cli_begin(struct cli *cli, const struct args_command *command, int argc, char **argv,
              struct args_list *operands, struct args_common *common)
{
    const int code = args_parse(command, argc, argv, common, operands);
    if (code >= 0)
        return code;
    if (cli_open(cli, command->name, common, CLI_CONTROL) == 0)
        return -1;
    cli_close(cli);
    return EXIT_FAILED;
}

int cli_verbs(const char *command, const struct cli_verb *verbs, const char *expected,
              const char *usage, int argc, char **argv)
{
    if (argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    for (const struct cli_verb *verb = verbs; argc > 0 && verb->name != NULL; verb++)
        if (strcmp(argv[0], verb->name) == 0)
            return verb->run(argc - 1, argv + 1);
    if (argc > 0) {
        fprintf(stderr, "leat %s: no command \"", command);
        cli_print(stderr, argv[0]);
        fprintf(stderr, "\": expected %s\n", expected);
    }
    fputs(usage, stderr);
    return EXIT_USAGE;
}

int cli_delete(const struct args_command *command, const char *thing,
               int (*remove)(leat_client *client, const char *name), int argc, char **argv)
{
    struct args_common common = { 0 };
    struct args_list names;
    struct cli cli;
    int code = cli_begin(&cli, command, argc, argv, &names, &common);
    if (code >= 0)
        return code;
    const int error = remove(cli.client, names.items[0]);
    code = 0;
    if (error == 0)
        cli_said(&common, thing, names.items[0], "deleted");
    else
        code = cli_refuse(&cli, thing, names.items[0], error);
    cli_close(&cli);
    return code;
}

/* What every command of `leat` shares: a connection, a way to wait, a way to stop, a way to
 * complain.
 *
 * Role: open the client, wait on it beside other descriptors, turn SIGINT, SIGTERM and SIGHUP into
 * a question, print events and failures. Must not know: what any command does. Threads: one. */
#ifndef LEAT_CLIENT_CLI_CLI_H
#define LEAT_CLIENT_CLI_CLI_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "client/cli/args.h"
#include "client/leat.h"

struct cli {
    leat_client *client;
    const char *command; /* "pub": every message begins with it */
    const char *url;
    int signal_fd;
    bool stopped;          /* SIGINT, SIGTERM or SIGHUP came */
    bool events_json;      /* events as JSON objects on stderr */
    bool awaits_topics;    /* one that is deleted may come back: it does not end the command */
    uint64_t vanished;     /* records acked earlier and lost with the broker */
    int fatal;             /* leat_error of an event that ends the command, or 0 */
    char fatal_story[320]; /* more of it, or empty */
    void (*before_event)(void *user); /* what is printed before an event of it is, or NULL */
    void *before_event_user;
};

enum cli_way {
    CLI_CONTROL, /* topics and groups: what the URL says of data is not opened */
    CLI_DATA,
};
/* Connects; says why not. 0 or EXIT_FAILED. Close with cli_close in both cases. */
int cli_open(struct cli *cli, const char *command, const struct args_common *common,
             enum cli_way way);
void cli_close(struct cli *cli);

/* Parses the command's words and connects, to control. -1: go on, and close. Else the exit code. */
int cli_begin(struct cli *cli, const struct args_command *command, int argc, char **argv,
              struct args_list *operands, struct args_common *common);

/* A command's commands: "create" of "topic create". The list ends with a NULL name. */
struct cli_verb {
    const char *name;
    int (*run)(int argc, char **argv);
};
/* Runs the one argv[0] names, or shows `usage`; `expected` is the list of them, for people. The
 * exit code. */
int cli_verbs(const char *command, const struct cli_verb *verbs, const char *expected,
              const char *usage, int argc, char **argv);

/* `topic "quotes" created`, or as JSON. */
void cli_said(const struct args_common *common, const char *thing, const char *name,
              const char *what);

/* "earliest", "latest", an offset, or "@" and a time, as a leat_start and its value. */
bool cli_parse_start(const char *text, int32_t *at, uint64_t *value);
#define CLI_START_RULE                                                            \
    "expected earliest, latest, an offset, or @TIME (nanoseconds since 1970, or " \
    "2024-08-08T23:54:15Z)"

/* How many of these bytes, at most 4, are one character that may be shown as it is; 0: the first
 * one may not: it is a control character (C0, DEL, C1) or not UTF-8. `size` >= 1. */
size_t cli_printable(const char *bytes, size_t size);

/* Text from elsewhere: no control character and no lone byte gets at the terminal, each becomes
 * \xHH. */
void cli_print(FILE *to, const char *text);

/* "leat pub: ..." on stderr. Returns EXIT_FAILED. */
int cli_fail(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same with the reason the client gives for `error`: "leat pub: topic "x": no such topic". */
int cli_fail_error(const struct cli *cli, const char *what, int error);
/* The same about the `thing` of this name: `topic "x"`. */
int cli_refuse(const struct cli *cli, const char *thing, const char *name, int error);

/* The whole command that deletes the one `thing` its argument names. Returns the exit code. */
int cli_delete(const struct args_command *command, const char *thing,
               int (*remove)(leat_client *client, const char *name), int argc, char **argv);

/* Does the client's work, then waits until it has more, one of `others` is ready, a signal came, or
 * timeout_ns passed. `revents` of others are set. 0, or a leat_error no polling recovers from. */
int cli_wait(struct cli *cli, struct pollfd *others, nfds_t count, uint64_t timeout_ns);

/* Whether the user asked to stop. Never blocks. */
bool cli_stopped(struct cli *cli);

uint64_t cli_monotonic_ns(void);
uint64_t cli_wall_ns(void);

/* "12,345 records" again and again on one line, only where stderr is a terminal. */
struct cli_progress {
    uint64_t next_ns;
    bool shown;
};
void cli_progress_show(struct cli_progress *progress, uint64_t now_ns, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void cli_progress_end(struct cli_progress *progress);

#endif

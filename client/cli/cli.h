/* What the commands of `leat` share: connecting, waiting, stopping, errors.
 *
 * Role: open the client; wait for it and for other descriptors; turn SIGINT, SIGTERM and SIGHUP
 * into a flag; print events and errors.
 * Must not know: what any command does.
 * Threads: one. */
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
    bool stopped;          /* SIGINT, SIGTERM or SIGHUP was received */
    bool events_json;      /* print events as JSON objects on stderr */
    bool awaits_topics;    /* a deleted topic may come back, so that it does not end the command */
    uint64_t vanished;     /* acknowledged records that were lost with the broker */
    int fatal;             /* leat_error of an event that ends the command, or 0 */
    char fatal_story[320]; /* details of `fatal`, or empty */
    void (*before_event)(void *user); /* called before an event is printed, or NULL */
    void *before_event_user;
};

enum cli_way {
    CLI_CONTROL, /* for topics and groups: data paths in the URL are not opened */
    CLI_DATA,
};
/* Connects; on failure prints why. Returns 0 or EXIT_FAILED. Call cli_close in both cases. */
int cli_open(struct cli *cli, const char *command, const struct args_common *common,
             enum cli_way way);
void cli_close(struct cli *cli);

/* Parses the command line and opens a control connection. Returns -1 to continue and then close, or
 * an exit code. */
int cli_begin(struct cli *cli, const struct args_command *command, int argc, char **argv,
              struct args_list *operands, struct args_common *common);

/* The subcommands of a command: "create" of "topic create". The list is terminated by a NULL
 * name. */
struct cli_verb {
    const char *name;
    int (*run)(int argc, char **argv);
};
/* Runs the subcommand named argv[0], or prints `usage`. `expected` lists the names, for the error
 * message. Returns the exit code. */
int cli_verbs(const char *command, const struct cli_verb *verbs, const char *expected,
              const char *usage, int argc, char **argv);

/* Prints `topic "quotes" created`, or the same as JSON. */
void cli_said(const struct args_common *common, const char *thing, const char *name,
              const char *what);

/* Parses "earliest", "latest", an offset, or "@" and a time into a leat_start and its value. */
bool cli_parse_start(const char *text, int32_t *at, uint64_t *value);
#define CLI_START_RULE                                                            \
    "expected earliest, latest, an offset, or @TIME (nanoseconds since 1970, or " \
    "2024-08-08T23:54:15Z)"

/* Returns the length, at most 4, of the first character if it is printable. Returns 0 if it is a
 * control character (C0, DEL, C1) or not UTF-8. `size` >= 1. */
size_t cli_printable(const char *bytes, size_t size);

/* Prints text from outside. Control characters and bytes that are not UTF-8 are printed as \xHH, so
 * that the terminal does not interpret them. */
void cli_print(FILE *to, const char *text);

/* Prints "leat pub: ..." on stderr. Returns EXIT_FAILED. */
int cli_fail(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same with the client's text for `error`: "leat pub: topic "x": no such topic". */
int cli_fail_error(const struct cli *cli, const char *what, int error);
/* The same for the `thing` with this name: `topic "x"`. */
int cli_refuse(const struct cli *cli, const char *thing, const char *name, int error);

/* Implements a delete command: removes the `thing` named on the command line. Returns the exit
 * code. */
int cli_delete(const struct args_command *command, const char *thing,
               int (*remove)(leat_client *client, const char *name), int argc, char **argv);

/* Runs the client, then waits until it has more to do, one of `others` is ready, a signal arrived,
 * or timeout_ns passed. Sets `revents` of `others`. Returns 0, or a leat_error that polling does
 * not recover from. */
int cli_wait(struct cli *cli, struct pollfd *others, nfds_t count, uint64_t timeout_ns);

/* True if the user asked to stop. Does not block. */
bool cli_stopped(struct cli *cli);

uint64_t cli_monotonic_ns(void);
uint64_t cli_wall_ns(void);

/* A progress line ("12,345 records") that is rewritten in place. Printed only if stderr is a
 * terminal. */
struct cli_progress {
    uint64_t next_ns;
    bool shown;
};
void cli_progress_show(struct cli_progress *progress, uint64_t now_ns, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void cli_progress_end(struct cli_progress *progress);

#endif

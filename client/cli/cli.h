/* What the commands of `leat` share: how they fail, how they read numbers, how they connect, when
 * to stop.
 *
 * Role: exit codes, option values, interruption, progress.
 * Must not know: what any command does. Threads: one.
 *
 * Exit codes: 0 ok, 1 failure, 2 usage. Results go to stdout; what went wrong and progress to
 * stderr. */
#ifndef LEAT_CLIENT_CLI_CLI_H
#define LEAT_CLIENT_CLI_CLI_H

#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/leat.h"

enum { CLI_OK = 0, CLI_FAILURE = 1, CLI_USAGE = 2 };

/* Each runs one command; argv[0] is its name. */
int cli_pub(int argc, char **argv);
int cli_sub(int argc, char **argv);
int cli_topic(int argc, char **argv);
int cli_perf(int argc, char **argv);

/* Set by SIGINT and SIGTERM once cli_watch_signals was called: finish and leave with 0. */
extern volatile sig_atomic_t cli_interrupted;
void cli_watch_signals(void);

/* "leat COMMAND: message; try: leat COMMAND --help"; returns CLI_USAGE. */
int cli_usage(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "leat: message"; returns CLI_FAILURE. */
int cli_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* What getopt_long just refused (it returned '?' or ':'). */
int cli_bad_option(const char *command, char **argv);

/* Values of options. False: not such a value. */
bool cli_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out);
bool cli_parse_double(const char *text, double min, double max, double *out);
/* "65536", "64KiB", "8MiB", "1GiB". */
bool cli_parse_bytes(const char *text, uint64_t *out);
/* "1723161240000000000" (ns since 1970) or RFC 3339: "2024-08-08T23:54:00.5Z". */
bool cli_parse_time(const char *text, uint64_t *ns);
/* Escapes \n \r \t \0 \\ \xHH; writes at most `room` bytes and their number. */
bool cli_parse_escaped(const char *text, char *out, size_t room, size_t *size);

/* A set --url, else $LEAT_URL, else NULL (the library's default). */
const char *cli_url(const char *given);
/* Connects; on failure says why and returns NULL. */
leat_client *cli_open(const char *url, const struct leat_client_options *options);

uint64_t cli_now_ns(void);  /* monotonic */
uint64_t cli_wall_ns(void); /* since 1970 */

/* A line of progress on stderr, rewritten at most five times a second; only on a terminal. */
struct cli_progress {
    uint64_t last_ns;
    bool shown;
};
void cli_progress(struct cli_progress *progress, const char *verb, uint64_t records,
                  uint64_t bytes);
void cli_progress_end(struct cli_progress *progress);

#endif

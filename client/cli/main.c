/* leat: publish, subscribe, manage topics and groups, measure. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/args.h"
#include "client/cli/cli.h"
#include "client/cli/commands.h"
#include "client/leat.h"
#include "ops/standard_files.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    { "pub", command_pub, "publish lines, a file or a packet capture" },
    { "sub", command_sub, "print records as they arrive" },
    { "topic", command_topic, "create, list, describe, delete topics" },
    { "group", command_group, "list, describe, reset, delete consumer groups" },
    { "producer", command_producer, "list, delete names of producers" },
    { "perf", command_perf, "measure latency and throughput" },
};

/* Planned commands, so that the error message does not suggest a typing error. */
static const char *const later[] = { "compare", "doctor", "top", "capture" };

static void print_help(FILE *to)
{
    fprintf(to, "usage: leat COMMAND [OPTION]...\n\n");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].help);
    fprintf(to, "\nSee leat COMMAND --help and leat --version.\n"
                "The broker: --url URL, or LEAT_URL, else tcp://127.0.0.1:7420\n");
}

static int refuse(const char *word)
{
    for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
        if (strcmp(word, later[i]) == 0) {
            fprintf(stderr, "leat %s: not implemented yet in leat %s\n", word, leat_version());
            return EXIT_USAGE;
        }
    }
    fprintf(stderr, "leat: no command \"");
    cli_print(stderr, word);
    fprintf(stderr, "\": expected pub, sub, topic, group, producer or perf\nTry: leat --help\n");
    return EXIT_USAGE;
}

/* Flushes stdout and returns the exit code. A reader that closed the pipe early (`| head`) is not
 * an error. */
static int end(int code)
{
    struct pollfd out = { .fd = STDOUT_FILENO, .events = 0 };
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    const int reason = errno;
    if (poll(&out, 1, 0) > 0 && (out.revents & POLLERR) != 0)
        return code;
    fprintf(stderr, "leat: stdout cannot be written%s%s\n", reason == 0 ? "" : ": ",
            reason == 0 ? "" : strerror(reason));
    return EXIT_FAILED;
}

int main(int argc, char **argv)
{
    standard_files_keep();
    /* A closed pipe is handled where it is written to. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* let the write fail, so that the command ends in order */
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0
        || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return end(0);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("leat %s\n", leat_version());
        return end(0);
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return end(commands[i].run(argc - 2, argv + 2));
    return refuse(argv[1]);
}

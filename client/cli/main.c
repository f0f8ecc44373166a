/* leat: the command line of the bus. Role: find the command and run it. */
#include <stdio.h>
#include <string.h>

#include "client/cli/cli.h"

static const struct {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
} commands[] = {
    { "pub", "publish lines, files or captures to a topic", cli_pub },
    { "sub", "print the records of topics", cli_sub },
    { "topic", "create, list, describe, delete topics", cli_topic },
    { "perf", "measure latency or throughput", cli_perf },
};

/* Named in the plan, not in this version. */
static const char *const later[] = { "group", "compare", "doctor", "top", "capture" };

static void print_help(FILE *to)
{
    fprintf(to, "usage: leat COMMAND [OPTION]...\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        fprintf(to, "  %-7s %s\n", commands[i].name, commands[i].summary);
    fprintf(
        to,
        "\nEvery command takes --url URL (else $LEAT_URL, else tcp://127.0.0.1:7420), --json and\n"
        "--help. Exit codes: 0 ok, 1 failure, 2 usage.\n");
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return CLI_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return CLI_OK;
    }
    if (strcmp(name, "--version") == 0) {
        printf("leat %s\n", leat_version());
        return CLI_OK;
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        if (strcmp(name, later[i]) == 0) {
            fprintf(stderr, "leat: \"%s\" is not in this version\n", name);
            return CLI_USAGE;
        }
    }
    fprintf(stderr, "leat: there is no command \"%s\"; try: leat --help\n", name);
    return CLI_USAGE;
}

/* The options of one command: a table says what there is; parsing and the help page follow it.
 *
 * Role: fill variables from argv, refuse what does not fit by name, value and expectation.
 * Must not know: what an option does.
 * Threads: one, before anything starts. */
#ifndef LEAT_CLIENT_CLI_ARGS_H
#define LEAT_CLIENT_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

enum { ARGS_LIST_MAX = 64 };

/* Texts of an option that may be given many times, or of what stands beside the options. Borrowed
 * from argv. */
struct args_list {
    const char *items[ARGS_LIST_MAX];
    size_t count;
};

enum args_kind {
    ARGS_FLAG,    /* bool */
    ARGS_TEXT,    /* const char * */
    ARGS_LIST,    /* struct args_list */
    ARGS_NUMBER,  /* uint64_t, min..max */
    ARGS_BYTES,   /* uint64_t, "64MiB" */
    ARGS_SECONDS, /* uint64_t nanoseconds */
    ARGS_SPEED,   /* double */
};

struct args_option {
    const char *name; /* without the two dashes */
    const char *metavar;
    const char *help;
    enum args_kind kind;
    void *target;
    uint64_t min;
    uint64_t max; /* 0: no bound */
};

struct args_command {
    const char *name;     /* "topic create" */
    const char *synopsis; /* what stands beside the options: "TOPIC" */
    const char *about;
    const struct args_option *options; /* ends with a NULL name */
    size_t operands_min;
    size_t operands_max;
};

/* Options of every command, filled by args_parse beside the command's own. */
struct args_common {
    const char *url;
    bool json;
};

/* -1: go on. Otherwise the exit code: 0 after --help, EXIT_USAGE after saying what is wrong. */
int args_parse(const struct args_command *command, int argc, char **argv,
               struct args_common *common, struct args_list *operands);

/* "leat NAME: ..." on stderr, and where help is; returns EXIT_USAGE. */
int args_refuse(const struct args_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif

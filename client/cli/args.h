/* The options of one command: a table defines them, for parsing and for the help page.
 *
 * Role: fill variables from argv; reject what does not fit, naming the option, the value and what
 * was expected.
 * Must not know: what an option does.
 * Threads: one, before anything starts. */
#ifndef LEAT_CLIENT_CLI_ARGS_H
#define LEAT_CLIENT_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

enum { ARGS_LIST_MAX = 64 };

/* The values of an option that may be repeated, or the operands. Borrowed from argv. */
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
    const char *synopsis; /* the operands: "TOPIC" */
    const char *about;
    const struct args_option *options; /* terminated by a NULL name */
    size_t operands_min;
    size_t operands_max;
};

/* Options that every command has, filled by args_parse. */
struct args_common {
    const char *url;
    bool json;
};

/* Parses the command line. Returns -1 to continue, or an exit code: 0 after --help, EXIT_USAGE
 * after an error message. */
int args_parse(const struct args_command *command, int argc, char **argv,
               struct args_common *common, struct args_list *operands);

/* Prints "leat NAME: ..." and where to find help on stderr. Returns EXIT_USAGE. */
int args_refuse(const struct args_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif

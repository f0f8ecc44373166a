/* The options of one command: a table defines them, for parsing and for the help page. */
#include "client/cli/args.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/parse.h"

enum { ARGS_REFUSAL_BYTES = 1024 };

int args_refuse(const struct args_command *command, const char *format, ...)
{
    char text[ARGS_REFUSAL_BYTES];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    fprintf(stderr, "leat %s: ", command->name);
    cli_print(stderr, text);
    fprintf(stderr, "\nTry: leat %s --help\n", command->name);
    return EXIT_USAGE;
}

static void print_option(const char *name, const char *metavar, const char *help)
{
    char left[64];
    snprintf(left, sizeof(left), "--%s%s%s", name, metavar == NULL ? "" : " ",
             metavar == NULL ? "" : metavar);
    printf("  %-28s %s\n", left, help);
}

static void print_help(const struct args_command *command)
{
    printf("usage: leat %s%s%s [OPTION]...\n\n%s\n\n", command->name,
           *command->synopsis == '\0' ? "" : " ", command->synopsis, command->about);
    for (const struct args_option *o = command->options; o->name != NULL; o++)
        print_option(o->name, o->metavar, o->help);
    print_option("url", "URL", "the broker [LEAT_URL, else tcp://127.0.0.1:7420]");
    print_option("json", NULL, "JSON on stdout");
    print_option("help", NULL, "this page");
    printf("\nExit code: 0 success, 1 failure, 2 usage error.\n");
}

static const struct args_option *find_option(const struct args_option *options, const char *name,
                                             size_t size)
{
    for (const struct args_option *o = options; o->name != NULL; o++)
        if (strlen(o->name) == size && memcmp(o->name, name, size) == 0)
            return o;
    return NULL;
}

static bool set_number(const struct args_option *option, const char *value, char *expected,
                       size_t room)
{
    uint64_t number;
    const uint64_t max = option->max == 0 ? UINT64_MAX : option->max;
    const bool bytes = option->kind == ARGS_BYTES;
    const bool parsed =
        bytes ? parse_bytes(value, &number) : parse_u64(value, strlen(value), &number);
    if (parsed && number >= option->min && number <= max) {
        *(uint64_t *)option->target = number;
        return true;
    }
    if (max == UINT64_MAX)
        snprintf(expected, room, "%s, at least %" PRIu64,
                 bytes ? "a size such as 65536, 64KiB, 64MiB" : "a whole number", option->min);
    else
        snprintf(expected, room, "%s from %" PRIu64 " to %" PRIu64,
                 bytes ? "a size such as 65536, 64KiB, 64MiB" : "a whole number", option->min, max);
    return false;
}

static bool set_seconds(const struct args_option *option, const char *value, char *expected,
                        size_t room)
{
    uint64_t ns;
    if (parse_duration_ns(value, &ns) && ns >= option->min) {
        *(uint64_t *)option->target = ns;
        return true;
    }
    snprintf(expected, room, "seconds such as 10, 0.5, 250ms%s",
             option->min > 0 ? ", more than 0" : "");
    return false;
}

/* Sets the option's variable. False: `expected` says what was expected. */
static bool set_option(const struct args_option *option, const char *value, char *expected,
                       size_t room)
{
    struct args_list *list = option->target;
    switch (option->kind) {
    case ARGS_FLAG: break; /* handled by the caller: it takes no value */
    case ARGS_TEXT: *(const char **)option->target = value; return true;
    case ARGS_LIST:
        snprintf(expected, room, "at most %d of them", ARGS_LIST_MAX);
        if (list->count == ARGS_LIST_MAX)
            return false;
        list->items[list->count++] = value;
        return true;
    case ARGS_NUMBER:
    case ARGS_BYTES: return set_number(option, value, expected, room);
    case ARGS_SECONDS: return set_seconds(option, value, expected, room);
    case ARGS_SPEED:
        snprintf(expected, room, "a number such as 1, 2, 0.5, or 0 for as fast as possible");
        return parse_speed(value, option->target);
    }
    return false;
}

/* Parses the option at argv[*at] and moves *at to its last word. Returns as args_parse does. */
static int take_option(const struct args_command *command, const struct args_option *common,
                       int argc, char **argv, int *at)
{
    const char *word = argv[*at];
    const char *name = word + 2;
    const size_t size = strcspn(name, "=");
    const struct args_option *option = find_option(command->options, name, size);
    if (option == NULL)
        option = find_option(common, name, size);
    if (option == NULL)
        return args_refuse(command, "unknown option \"%s\"", word);
    if (option->kind == ARGS_FLAG) {
        if (name[size] == '=')
            return args_refuse(command, "--%s takes no value, got \"%s\"", option->name,
                               name + size + 1);
        *(bool *)option->target = true;
        return -1;
    }
    if (name[size] != '=' && *at + 1 >= argc)
        return args_refuse(command, "--%s needs a value: --%s %s", option->name, option->name,
                           option->metavar);
    const char *value = name[size] == '=' ? name + size + 1 : argv[++*at];
    char expected[128];
    if (!set_option(option, value, expected, sizeof(expected)))
        return args_refuse(command, "--%s \"%s\": expected %s", option->name, value, expected);
    return -1;
}

int args_parse(const struct args_command *command, int argc, char **argv,
               struct args_common *common, struct args_list *operands)
{
    bool help = false;
    const struct args_option shared[] = {
        { .name = "url", .metavar = "URL", .kind = ARGS_TEXT, .target = &common->url },
        { .name = "json", .kind = ARGS_FLAG, .target = &common->json },
        { .name = "help", .kind = ARGS_FLAG, .target = &help },
        { .name = NULL }
    };
    bool only_operands = false;
    common->url = getenv("LEAT_URL");
    operands->count = 0;
    for (int i = 0; i < argc && !help; i++) {
        if (only_operands || argv[i][0] != '-' || argv[i][1] == '\0') {
            if (operands->count == command->operands_max)
                return args_refuse(command, "unexpected argument \"%s\"", argv[i]);
            operands->items[operands->count++] = argv[i];
        } else if (strcmp(argv[i], "--") == 0) {
            only_operands = true;
        } else if (argv[i][1] != '-') {
            if (strcmp(argv[i], "-h") != 0)
                return args_refuse(command, "unknown option \"%s\": options begin with --",
                                   argv[i]);
            help = true;
        } else {
            const int code = take_option(command, shared, argc, argv, &i);
            if (code >= 0)
                return code;
        }
    }
    if (help) {
        print_help(command);
        return 0;
    }
    if (operands->count < command->operands_min)
        return args_refuse(command, "%s is missing", command->synopsis);
    return -1;
}

/* leat producer: list, delete. */
#include "client/cli/commands.h"

#include <inttypes.h>
#include <stdio.h>

#include "client/cli/cli.h"
#include "client/cli/report.h"

/* Callback: appends the name to the list `user`. */
static void collect(void *user, const struct leat_producer_name *name)
{
    json_array_append_new(user, json_pack("{s:s, s:o, s:b, s:o}", "producer", name->name, "epoch",
                                          report_number(name->epoch), "open", name->open != 0,
                                          "idle_ms", report_number(name->idle_ms)));
}

static void print_list(const json_t *producers)
{
    size_t i;
    json_t *producer;
    printf("%-32s %-6s %10s %14s\n", "PRODUCER", "OPEN", "EPOCH", "IDLE MS");
    json_array_foreach(producers, i, producer)
        printf("%-32s %-6s %10" PRIu64 " %14" PRIu64 "\n", report_text_of(producer, "producer"),
               json_is_true(json_object_get(producer, "open")) ? "yes" : "no",
               report_number_of(producer, "epoch"), report_number_of(producer, "idle_ms"));
}

static int producer_list(int argc, char **argv)
{
    const struct args_option options[] = { { .name = NULL } };
    const struct args_command command = {
        "producer list", "", "Lists the names of producers that the broker remembers.",
        options,         0,  0
    };
    struct args_common common = { 0 };
    struct args_list names;
    struct cli cli;
    int code = cli_begin(&cli, &command, argc, argv, &names, &common);
    if (code >= 0)
        return code;
    json_t *producers = json_array();
    const int error = leat_producer_name_list(cli.client, collect, producers);
    code = error == 0 ? 0 : cli_fail_error(&cli, "producers", error);
    if (error == 0 && common.json)
        report_print(producers);
    else if (error == 0)
        print_list(producers);
    json_decref(producers);
    cli_close(&cli);
    return code;
}

static int producer_delete(int argc, char **argv)
{
    const struct args_option options[] = { { .name = NULL } };
    const struct args_command command = {
        "producer delete", "NAME", "Deletes a producer's name that no producer has open.",
        options,           1,      1
    };
    return cli_delete(&command, "producer", leat_producer_name_delete, argc, argv);
}

static const char usage[] = "usage: leat producer list\n"
                            "       leat producer delete NAME\n";

int command_producer(int argc, char **argv)
{
    static const struct cli_verb verbs[] = { { "list", producer_list },
                                             { "delete", producer_delete },
                                             { .name = NULL } };
    return cli_verbs("producer", verbs, "list or delete", usage, argc, argv);
}

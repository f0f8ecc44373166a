/* leat topic: create, list, describe, delete. */
#include "client/cli/commands.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "schema/limits.h"

/* -------------------------------------------------------------- what the broker says */

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* Ids and epochs use all 64 bits, which a JSON number does not survive in most readers. */
static json_t *whole(uint64_t value)
{
    return json_sprintf("%" PRIu64, value);
}

static json_t *partition_json(const struct leat_partition_info *p)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "partition", number(p->index), "shard",
                     number(p->shard), "log_epoch", whole(p->log_epoch), "head_offset",
                     number(p->head_offset), "next_offset", number(p->next_offset), "bytes",
                     number(p->bytes), "hugepages", p->hugepages != 0);
}

/* A visitor: appends the topic to the list `user`. */
static void collect(void *user, const struct leat_topic_info *info)
{
    const struct leat_topic_settings *s = &info->settings;
    json_t *partitions = json_array();
    uint64_t records = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < info->partition_count; i++) {
        const struct leat_partition_info *p = &info->partitions[i];
        records += p->next_offset - p->head_offset;
        bytes += p->bytes;
        json_array_append_new(partitions, partition_json(p));
    }
    json_t *settings = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:o}", "partitions", number(s->partitions),
        "record_bytes_max", number(s->record_bytes_max), "ring_bytes", number(s->ring_bytes),
        "retention_ms", number(s->retention_ms), "retention_bytes", number(s->retention_bytes),
        "overrun", s->overrun == LEAT_OVERRUN_BLOCK ? "block" : "evict", "required_timeout_ms",
        number(s->required_timeout_ms), "quota_publish_bytes", number(s->quota_publish_bytes),
        "quota_deliver_bytes", number(s->quota_deliver_bytes));
    json_array_append_new(user,
                          json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "name", info->name, "id",
                                    whole(info->id), "records", number(records), "bytes",
                                    number(bytes), "settings", settings, "partitions", partitions));
}

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static uint64_t number_of(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(text_of(*(json_t *const *)a, "name"), text_of(*(json_t *const *)b, "name"));
}

static json_t *sorted(const json_t *list)
{
    const size_t count = json_array_size(list);
    json_t **items = calloc(count + 1, sizeof(json_t *));
    json_t *result = json_array();
    if (items == NULL)
        abort(); /* a list this small: there is no memory for anything */
    for (size_t i = 0; i < count; i++)
        items[i] = json_array_get(list, i);
    qsort(items, count, sizeof(json_t *), by_name);
    for (size_t i = 0; i < count; i++)
        json_array_append(result, items[i]);
    free(items);
    return result;
}

/* -------------------------------------------------------------- tables */

static void print_list(const json_t *topics)
{
    size_t i;
    json_t *topic;
    printf("%-32s %10s %12s %14s %14s %8s\n", "TOPIC", "PARTITIONS", "RECORDS", "BYTES",
           "RING BYTES", "OVERRUN");
    json_array_foreach(topics, i, topic)
    {
        const json_t *s = json_object_get(topic, "settings");
        printf("%-32s %10" PRIu64 " %12" PRIu64 " %14" PRIu64 " %14" PRIu64 " %8s\n",
               text_of(topic, "name"), number_of(s, "partitions"), number_of(topic, "records"),
               number_of(topic, "bytes"), number_of(s, "ring_bytes"), text_of(s, "overrun"));
    }
}

static void print_topic(const json_t *topic)
{
    const json_t *settings = json_object_get(topic, "settings");
    const char *name;
    json_t *value;
    size_t i;
    json_t *p;
    printf("topic                %s\nid                   %s\n", text_of(topic, "name"),
           text_of(topic, "id"));
    void *at = json_object_iter((json_t *)settings);
    for (; at != NULL; at = json_object_iter_next((json_t *)settings, at)) {
        name = json_object_iter_key(at);
        value = json_object_iter_value(at);
        if (json_is_string(value))
            printf("%-20s %s\n", name, json_string_value(value));
        else
            printf("%-20s %" PRIu64 "\n", name, (uint64_t)json_integer_value(value));
    }
    printf("\n%9s %6s %20s %14s %14s %14s %10s\n", "PARTITION", "SHARD", "LOG EPOCH", "HEAD OFFSET",
           "NEXT OFFSET", "BYTES", "HUGEPAGES");
    json_array_foreach(json_object_get(topic, "partitions"), i, p)
    {
        printf("%9" PRIu64 " %6" PRIu64 " %20s %14" PRIu64 " %14" PRIu64 " %14" PRIu64 " %10s\n",
               number_of(p, "partition"), number_of(p, "shard"), text_of(p, "log_epoch"),
               number_of(p, "head_offset"), number_of(p, "next_offset"), number_of(p, "bytes"),
               json_is_true(json_object_get(p, "hugepages")) ? "yes" : "no");
    }
}

static void print_json(const json_t *value)
{
    json_dumpf(value, stdout, JSON_COMPACT);
    putchar('\n');
}

/* -------------------------------------------------------------- the four commands */

/* Parses and connects. -1: go on; cli_close is due. */
static int begin(struct cli *cli, const struct args_command *command, int argc, char **argv,
                 struct args_list *operands, struct args_common *common)
{
    const int code = args_parse(command, argc, argv, common, operands);
    if (code >= 0)
        return code;
    if (cli_open(cli, command->name, common) == 0)
        return -1;
    cli_close(cli);
    return EXIT_FAILED;
}

static void said(const struct args_common *common, const char *name, const char *what)
{
    if (common->json)
        printf("{\"topic\":\"%s\",\"%s\":true}\n", name, what);
    else
        printf("topic \"%s\" %s\n", name, what);
}

static int refuse(const struct cli *cli, const char *name, int error)
{
    char what[300];
    snprintf(what, sizeof(what), "topic \"%.249s\"", name);
    return cli_fail_error(cli, what, error);
}

static int topic_create(int argc, char **argv)
{
    struct leat_topic_settings settings = { .size = sizeof(settings) };
    uint64_t partitions = 0;
    uint64_t record_bytes = 0;
    const char *overrun = "evict";
    const struct args_option options[] = {
        { "partitions", "N", "[1]", ARGS_NUMBER, &partitions, 1, LEAT_PARTITIONS_MAX },
        { "ring-bytes", "SIZE",
          "memory of each partition, a power of two [64MiB, or 4 largest records]", ARGS_BYTES,
          &settings.ring_bytes, LEAT_RING_BYTES_MIN, LEAT_RING_BYTES_LIMIT },
        { "record-bytes-max", "SIZE", "largest key + headers + value [1MiB]", ARGS_BYTES,
          &record_bytes, 1, LEAT_RECORD_BYTES_LIMIT },
        { "retention-ms", "N", "forget records older than this [no limit]", ARGS_NUMBER,
          &settings.retention_ms, 0, 0 },
        { "retention-bytes", "SIZE", "keep at most this much of each partition [the ring]",
          ARGS_BYTES, &settings.retention_bytes, 0, 0 },
        { "overrun", "evict|block", "a full ring evicts the oldest [default], or blocks producers",
          ARGS_TEXT, &overrun, 0, 0 },
        { "required-timeout-ms", "N", "how long an absent required reader blocks [60000]",
          ARGS_NUMBER, &settings.required_timeout_ms, 0, 0 },
        { "quota-publish-bytes", "SIZE", "a second, all producers together [none]", ARGS_BYTES,
          &settings.quota_publish_bytes, 0, 0 },
        { "quota-deliver-bytes", "SIZE", "a second, each subscription [none]", ARGS_BYTES,
          &settings.quota_deliver_bytes, 0, 0 },
        { .name = NULL },
    };
    const struct args_command command = {
        "topic create", "NAME", "Creates a topic and reserves its memory.", options, 1, 1
    };
    struct args_common common = { 0 };
    struct args_list names;
    int code = args_parse(&command, argc, argv, &common, &names);
    if (code >= 0)
        return code;
    if (strcmp(overrun, "evict") != 0 && strcmp(overrun, "block") != 0)
        return args_refuse(&command, "--overrun \"%s\": expected evict or block", overrun);
    settings.partitions = (uint32_t)partitions;
    settings.record_bytes_max = (uint32_t)record_bytes;
    settings.overrun = strcmp(overrun, "block") == 0 ? LEAT_OVERRUN_BLOCK : LEAT_OVERRUN_EVICT;
    struct cli cli;
    code = cli_open(&cli, command.name, &common);
    if (code == 0) {
        const int error = leat_topic_create(cli.client, names.items[0], &settings);
        if (error == 0)
            said(&common, names.items[0], "created");
        else
            code = refuse(&cli, names.items[0], error);
    }
    cli_close(&cli);
    return code;
}

static int topic_list(int argc, char **argv)
{
    const struct args_option options[] = { { .name = NULL } };
    const struct args_command command = { "topic list", "", "Lists all topics.", options, 0, 0 };
    struct args_common common = { 0 };
    struct args_list names;
    struct cli cli;
    int code = begin(&cli, &command, argc, argv, &names, &common);
    if (code >= 0)
        return code;
    json_t *topics = json_array();
    const int error = leat_topic_describe(cli.client, NULL, collect, topics);
    code = error == 0 ? 0 : cli_fail_error(&cli, "topics", error);
    json_t *list = sorted(topics);
    if (error == 0 && common.json)
        print_json(list);
    else if (error == 0)
        print_list(list);
    json_decref(list);
    json_decref(topics);
    cli_close(&cli);
    return code;
}

static int topic_describe(int argc, char **argv)
{
    const struct args_option options[] = { { .name = NULL } };
    const struct args_command command = {
        "topic describe", "NAME", "Shows a topic's settings and partitions.", options, 1, 1
    };
    struct args_common common = { 0 };
    struct args_list names;
    struct cli cli;
    int code = begin(&cli, &command, argc, argv, &names, &common);
    if (code >= 0)
        return code;
    json_t *topics = json_array();
    int error = leat_topic_describe(cli.client, names.items[0], collect, topics);
    if (error == 0 && json_array_size(topics) == 0)
        error = LEAT_ERR_UNKNOWN_TOPIC;
    code = error == 0 ? 0 : refuse(&cli, names.items[0], error);
    if (error == 0 && common.json)
        print_json(json_array_get(topics, 0));
    else if (error == 0)
        print_topic(json_array_get(topics, 0));
    json_decref(topics);
    cli_close(&cli);
    return code;
}

static int topic_delete(int argc, char **argv)
{
    const struct args_option options[] = { { .name = NULL } };
    const struct args_command command = {
        "topic delete", "NAME", "Deletes a topic and everything in it.", options, 1, 1
    };
    struct args_common common = { 0 };
    struct args_list names;
    struct cli cli;
    int code = begin(&cli, &command, argc, argv, &names, &common);
    if (code >= 0)
        return code;
    const int error = leat_topic_delete(cli.client, names.items[0]);
    code = 0;
    if (error == 0)
        said(&common, names.items[0], "deleted");
    else
        code = refuse(&cli, names.items[0], error);
    cli_close(&cli);
    return code;
}

static const char usage[] = "usage: leat topic create NAME [OPTION]...\n"
                            "       leat topic list\n"
                            "       leat topic describe NAME\n"
                            "       leat topic delete NAME\n"
                            "\nleat topic create --help says more.\n";

int command_topic(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = { { "create", topic_create },
                     { "list", topic_list },
                     { "describe", topic_describe },
                     { "delete", topic_delete } };
    if (argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    for (size_t i = 0; argc > 0 && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[0], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    if (argc > 0)
        fprintf(stderr,
                "leat topic: no command \"%s\": expected create, list, describe or delete\n",
                argv[0]);
    fputs(usage, stderr);
    return EXIT_USAGE;
}

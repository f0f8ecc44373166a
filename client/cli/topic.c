/* leat topic: create, list, describe, delete. */
#include "client/cli/commands.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/report.h"
#include "schema/limits.h"

/* -------------------------------------------------------------- answers as JSON */

static json_t *partition_json(const struct leat_partition_info *p)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "partition", report_number(p->index),
                     "shard", report_number(p->shard), "log_epoch", report_whole(p->log_epoch),
                     "head_offset", report_number(p->head_offset), "next_offset",
                     report_number(p->next_offset), "bytes", report_number(p->bytes), "hugepages",
                     p->hugepages != 0);
}

/* Callback: appends the topic to the list `user`. */
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
        "{s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:o}", "partitions", report_number(s->partitions),
        "record_bytes_max", report_number(s->record_bytes_max), "ring_bytes",
        report_number(s->ring_bytes), "retention_ms", report_number(s->retention_ms),
        "retention_bytes", report_number(s->retention_bytes), "overrun",
        s->overrun == LEAT_OVERRUN_BLOCK ? "block" : "evict", "required_timeout_ms",
        report_number(s->required_timeout_ms), "quota_publish_bytes",
        report_number(s->quota_publish_bytes), "quota_deliver_bytes",
        report_number(s->quota_deliver_bytes));
    json_array_append_new(user, json_pack("{s:s, s:b, s:o, s:o, s:o, s:o, s:o}", "name", info->name,
                                          "left_out", info->partition_count == 0, "id",
                                          report_whole(info->id), "records", report_number(records),
                                          "bytes", report_number(bytes), "settings", settings,
                                          "partitions", partitions));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(report_text_of(*(json_t *const *)a, "name"),
                  report_text_of(*(json_t *const *)b, "name"));
}

static json_t *sorted(const json_t *list)
{
    const size_t count = json_array_size(list);
    json_t **items = calloc(count + 1, sizeof(json_t *));
    json_t *result = json_array();
    if (items == NULL)
        abort(); /* out of memory for a tiny list: give up */
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
        printf("%-32s %10" PRIu64 " %12" PRIu64 " %14" PRIu64 " %14" PRIu64 " %8s%s\n",
               report_text_of(topic, "name"), report_number_of(s, "partitions"),
               report_number_of(topic, "records"), report_number_of(topic, "bytes"),
               report_number_of(s, "ring_bytes"), report_text_of(s, "overrun"),
               json_is_true(json_object_get(topic, "left_out")) ? "  left out: no memory" : "");
    }
}

static void print_topic(const json_t *topic)
{
    const json_t *settings = json_object_get(topic, "settings");
    const char *name;
    json_t *value;
    size_t i;
    json_t *p;
    printf("topic                %s\nid                   %s\n", report_text_of(topic, "name"),
           report_text_of(topic, "id"));
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
               report_number_of(p, "partition"), report_number_of(p, "shard"),
               report_text_of(p, "log_epoch"), report_number_of(p, "head_offset"),
               report_number_of(p, "next_offset"), report_number_of(p, "bytes"),
               json_is_true(json_object_get(p, "hugepages")) ? "yes" : "no");
    }
}

/* -------------------------------------------------------------- the four commands */

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
        { "retention-ms", "N", "remove records older than this [no limit]", ARGS_NUMBER,
          &settings.retention_ms, 0, 0 },
        { "retention-bytes", "SIZE", "keep at most this much of each partition [the ring]",
          ARGS_BYTES, &settings.retention_bytes, 0, 0 },
        { "overrun", "evict|block",
          "when the ring is full: evict the oldest records [default] or block producers", ARGS_TEXT,
          &overrun, 0, 0 },
        { "required-timeout-ms", "N", "how long an absent required reader blocks [60000]",
          ARGS_NUMBER, &settings.required_timeout_ms, 0, 0 },
        { "quota-publish-bytes", "SIZE", "limit per second, all producers together [none]",
          ARGS_BYTES, &settings.quota_publish_bytes, 0, 0 },
        { "quota-deliver-bytes", "SIZE", "limit per second, each subscription [none]", ARGS_BYTES,
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
    code = cli_open(&cli, command.name, &common, CLI_CONTROL);
    if (code == 0) {
        const int error = leat_topic_create(cli.client, names.items[0], &settings);
        if (error == 0)
            cli_said(&common, "topic", names.items[0], "created");
        else
            code = cli_refuse(&cli, "topic", names.items[0], error);
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
    int code = cli_begin(&cli, &command, argc, argv, &names, &common);
    if (code >= 0)
        return code;
    json_t *topics = json_array();
    const int error = leat_topic_describe(cli.client, NULL, collect, topics);
    code = error == 0 ? 0 : cli_fail_error(&cli, "topics", error);
    json_t *list = sorted(topics);
    if (error == 0 && common.json)
        report_print(list);
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
    int code = cli_begin(&cli, &command, argc, argv, &names, &common);
    if (code >= 0)
        return code;
    json_t *topics = json_array();
    int error = leat_topic_describe(cli.client, names.items[0], collect, topics);
    if (error == 0 && json_array_size(topics) == 0)
        error = LEAT_ERR_UNKNOWN_TOPIC;
    code = error == 0 ? 0 : cli_refuse(&cli, "topic", names.items[0], error);
    if (error == 0 && common.json)
        report_print(json_array_get(topics, 0));
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
    return cli_delete(&command, "topic", leat_topic_delete, argc, argv);
}

static const char usage[] = "usage: leat topic create NAME [OPTION]...\n"
                            "       leat topic list\n"
                            "       leat topic describe NAME\n"
                            "       leat topic delete NAME\n"
                            "\nSee leat topic create --help.\n";

int command_topic(int argc, char **argv)
{
    static const struct cli_verb verbs[] = { { "create", topic_create },
                                             { "list", topic_list },
                                             { "describe", topic_describe },
                                             { "delete", topic_delete },
                                             { .name = NULL } };
    return cli_verbs("topic", verbs, "create, list, describe or delete", usage, argc, argv);
}

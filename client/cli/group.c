/* leat group: list, describe, reset, delete. */
#include "client/cli/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/report.h"
#include "schema/limits.h"

enum { LOST_WIDTH = 20 };

/* -------------------------------------------------------------- answers as JSON */

static const char *state_name(int32_t state)
{
    switch (state) {
    case LEAT_GROUP_STABLE: return "stable";
    case LEAT_GROUP_MOVING: return "moving";
    default: return "empty";
    }
}

/* Null if nothing is committed. */
static json_t *offset_json(uint64_t offset)
{
    return offset != LEAT_NO_OFFSET ? report_number(offset) : json_null();
}

/* Callback: appends the group to the list `user`. */
static void collect_group(void *user, const struct leat_group_info *info)
{
    json_array_append_new(user, json_pack("{s:s, s:s, s:o, s:o}", "group", info->name, "state",
                                          state_name(info->state), "members",
                                          report_number(info->members), "partitions",
                                          report_number(info->partitions)));
}

/* The member's partitions by topic: [{"topic": "t", "partitions": [0, 1]}]. */
static json_t *assignment_json(const struct leat_group_description *d, const char *member)
{
    json_t *topics = json_array();
    json_t *partitions = NULL; /* of the last topic */
    const char *topic = "";
    for (uint32_t i = 0; i < d->partition_count; i++) {
        const struct leat_group_partition *p = &d->partitions[i];
        if (p->member == NULL || strcmp(p->member, member) != 0)
            continue;
        if (strcmp(p->topic, topic) != 0) {
            topic = p->topic;
            partitions = json_array();
            json_array_append_new(
                topics, json_pack("{s:s, s:o}", "topic", topic, "partitions", partitions));
        }
        json_array_append_new(partitions, report_number(p->partition));
    }
    return topics;
}

static json_t *member_json(const struct leat_group_description *d,
                           const struct leat_group_member *m)
{
    json_t *topics = json_array();
    for (uint32_t t = 0; t < m->topic_count; t++)
        json_array_append_new(topics, json_string(m->topics[t]));
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "member", m->id, "client",
                     m->client_name, "epoch", report_number(m->epoch), "topics", topics, "assigned",
                     report_number(m->assigned), "leaving", report_number(m->leaving), "silent_ms",
                     report_number(m->silent_ms), "session_timeout_ms",
                     report_number(m->session_timeout_ms), "assignment", assignment_json(d, m->id));
}

static json_t *partition_json(const struct leat_group_partition *p)
{
    json_t *json = json_pack(
        "{s:s, s:o, s:s?, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "topic", p->topic,
        "partition", report_number(p->partition), "member", p->member, "open", p->open != 0,
        "required", p->required != 0, "log_epoch", report_whole(p->log_epoch), "head_offset",
        report_number(p->head_offset), "next_offset", report_number(p->next_offset), "committed",
        offset_json(p->committed), "committed_log_epoch", report_whole(p->committed_log_epoch),
        "commit_time_ns", report_number(p->commit_time_ns), "metadata", report_bytes(p->metadata));
    json_t *distance = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s?}", "lag_records", report_number(p->lag_records),
        "lag_bytes", report_number(p->lag_bytes), "lag_ms", report_number(p->lag_ms),
        "lost_at_least", report_number(p->lost_at_least), "lost_at_most",
        report_number(p->lost_at_most), "overrun_bytes", report_number(p->overrun_bytes),
        "overrun_ms", p->overrun_ms != 0 ? report_number(p->overrun_ms) : json_null(), "error",
        p->error != 0 ? leat_strerror(p->error) : NULL);
    json_object_update(json, distance);
    json_decref(distance);
    return json;
}

/* Callback: fills the object `user`. */
static void collect_description(void *user, const struct leat_group_description *d)
{
    json_t *members = json_array();
    json_t *partitions = json_array();
    for (uint32_t i = 0; i < d->member_count; i++)
        json_array_append_new(members, member_json(d, &d->members[i]));
    for (uint32_t i = 0; i < d->partition_count; i++)
        json_array_append_new(partitions, partition_json(&d->partitions[i]));
    json_object_set_new(user, "group", json_string(d->name));
    json_object_set_new(user, "state", json_string(state_name(d->state)));
    json_object_set_new(user, "epoch", report_number(d->epoch));
    json_object_set_new(user, "members", members);
    json_object_set_new(user, "partitions", partitions);
    json_object_set_new(user, "cut", json_boolean(d->cut));
}

/* Callback: appends to the list `user`. */
static void collect_move(void *user, const struct leat_group_move *move)
{
    json_array_append_new(
        user,
        json_pack("{s:o, s:o, s:o, s:o, s:o}", "partition", report_number(move->partition), "from",
                  offset_json(move->from), "from_log_epoch", report_whole(move->from_log_epoch),
                  "to", report_number(move->to), "log_epoch", report_whole(move->log_epoch)));
}

/* -------------------------------------------------------------- tables */

static void print_list(const json_t *groups)
{
    size_t i;
    json_t *group;
    printf("%-32s %8s %8s %10s\n", "GROUP", "STATE", "MEMBERS", "PARTITIONS");
    json_array_foreach(groups, i, group)
    {
        printf("%-32s %8s %8" PRIu64 " %10" PRIu64 "\n", report_text_of(group, "group"),
               report_text_of(group, "state"), report_number_of(group, "members"),
               report_number_of(group, "partitions"));
    }
}

/* " t:0,1 u:3" */
static void print_assignment(const json_t *assignment)
{
    size_t i, j;
    json_t *topic;
    json_t *partition;
    json_array_foreach(assignment, i, topic)
    {
        printf(" %s", report_text_of(topic, "topic"));
        json_array_foreach(json_object_get(topic, "partitions"), j, partition)
        {
            printf("%c%" JSON_INTEGER_FORMAT, j == 0 ? ':' : ',', json_integer_value(partition));
        }
    }
    if (json_array_size(assignment) == 0)
        printf(" -");
}

static void print_members(const json_t *members)
{
    size_t i;
    json_t *m;
    if (json_array_size(members) == 0) {
        printf("members              none\n");
        return;
    }
    printf("\n%-36s %-16s %6s %8s %8s %10s %11s %s\n", "MEMBER", "CLIENT", "EPOCH", "ASSIGNED",
           "LEAVING", "SILENT MS", "TIMEOUT MS", "ASSIGNMENT");
    json_array_foreach(members, i, m)
    {
        printf("%-36s %-16s %6" PRIu64 " %8" PRIu64 " %8" PRIu64 " %10" PRIu64 " %11" PRIu64,
               report_text_of(m, "member"), report_text_of(m, "client"),
               report_number_of(m, "epoch"), report_number_of(m, "assigned"),
               report_number_of(m, "leaving"), report_number_of(m, "silent_ms"),
               report_number_of(m, "session_timeout_ms"));
        print_assignment(json_object_get(m, "assignment"));
        putchar('\n');
    }
}

/* Prints a number, or "-" if the JSON has null. */
static void print_or_dash(const json_t *object, const char *name, int width)
{
    const json_t *value = json_object_get(object, name);
    if (json_is_null(value))
        printf(" %*s", width, "-");
    else
        printf(" %*" PRIu64, width, (uint64_t)json_integer_value(value));
}

static void print_seconds(const json_t *ms, int width)
{
    if (json_is_null(ms))
        printf(" %*s", width, "-");
    else
        printf(" %*.1f", width, (double)json_integer_value(ms) / 1e3);
}

/* True if the commit belongs to an earlier log. */
static bool is_before(const json_t *p)
{
    const char *epoch = report_text_of(p, "committed_log_epoch");
    return !json_is_null(json_object_get(p, "committed"))
           && strcmp(epoch, report_text_of(p, "log_epoch")) != 0;
}

/* Prints "19", or what is known: "7 to 1048576", "at most 1048576". */
static void print_lost(const json_t *p, int width)
{
    char text[64];
    const uint64_t least = report_number_of(p, "lost_at_least");
    const uint64_t most = report_number_of(p, "lost_at_most");
    if (least == most)
        snprintf(text, sizeof text, "%" PRIu64, most);
    else if (least == 0)
        snprintf(text, sizeof text, "at most %" PRIu64, most);
    else
        snprintf(text, sizeof text, "%" PRIu64 " to %" PRIu64, least, most);
    printf(" %*s", width, text);
}

static void print_partition(const json_t *p)
{
    const char *error = report_text_of(p, "error");
    const char *member = report_text_of(p, "member");
    const char *metadata = report_text_of(p, "metadata");
    printf("%-24s %9" PRIu64 " %-24s", report_text_of(p, "topic"), report_number_of(p, "partition"),
           member != NULL ? member : "-");
    if (error != NULL) {
        printf(" %s\n", error);
        return;
    }
    print_or_dash(p, "committed", 12);
    putchar(is_before(p) ? '*' : ' ');
    print_or_dash(p, "next_offset", 12);
    print_or_dash(p, "lag_records", 12);
    print_or_dash(p, "lag_bytes", 12);
    print_or_dash(p, "lag_ms", 10);
    print_or_dash(p, "overrun_bytes", 14);
    print_seconds(json_object_get(p, "overrun_ms"), 10);
    print_lost(p, LOST_WIDTH);
    putchar(' ');
    cli_print(stdout, metadata != NULL ? metadata : "-");
    putchar('\n');
}

static void print_description(const json_t *group)
{
    size_t i;
    json_t *p;
    bool before = false;
    printf("group                %s\nstate                %s\nepoch                %" PRIu64 "\n",
           report_text_of(group, "group"), report_text_of(group, "state"),
           report_number_of(group, "epoch"));
    print_members(json_object_get(group, "members"));
    printf("\n%-24s %9s %-24s %12s  %12s %12s %12s %10s %14s %10s %*s %s\n", "TOPIC", "PARTITION",
           "MEMBER", "COMMITTED", "NEXT OFFSET", "LAG RECORDS", "LAG BYTES", "LAG MS",
           "OVERRUN BYTES", "OVERRUN S", LOST_WIDTH, "LOST", "METADATA");
    json_array_foreach(json_object_get(group, "partitions"), i, p)
    {
        print_partition(p);
        before |= is_before(p);
    }
    if (before)
        printf("* committed before the broker restarted: the group continues at the first record "
               "kept\n");
}

static void print_moves(const char *group, const char *topic, bool dry_run, const json_t *moves)
{
    size_t i;
    json_t *move;
    printf("group \"%s\", topic \"%s\": %s\n%9s %14s %14s\n", group, topic,
           dry_run ? "nothing was changed (--dry-run)" : "reset", "PARTITION", "FROM", "TO");
    json_array_foreach(moves, i, move)
    {
        printf("%9" PRIu64, report_number_of(move, "partition"));
        print_or_dash(move, "from", 14);
        print_or_dash(move, "to", 14);
        putchar('\n');
    }
}

/* -------------------------------------------------------------- the four commands */

static int group_list(int argc, char **argv)
{
    const struct args_option options[] = { { .name = NULL } };
    const struct args_command command = { "group list", "", "Lists all consumer groups.",
                                          options,      0,  0 };
    struct args_common common = { 0 };
    struct args_list names;
    struct cli cli;
    int code = cli_begin(&cli, &command, argc, argv, &names, &common);
    if (code >= 0)
        return code;
    json_t *groups = json_array();
    const int error = leat_group_list(cli.client, collect_group, groups);
    code = error == 0 ? 0 : cli_fail_error(&cli, "groups", error);
    if (error == 0 && common.json)
        report_print(groups);
    else if (error == 0)
        print_list(groups);
    json_decref(groups);
    cli_close(&cli);
    return code;
}

static int group_describe(int argc, char **argv)
{
    const char *topic = NULL;
    const struct args_option options[] = {
        { "topic", "TOPIC", "partitions of this topic only [every topic]", ARGS_TEXT, &topic, 0,
          0 },
        { .name = NULL },
    };
    const struct args_command command = {
        "group describe",
        "GROUP",
        "Shows a group's members, and its progress and losses in each partition.",
        options,
        1,
        1
    };
    struct args_common common = { 0 };
    struct args_list names;
    struct cli cli;
    int code = cli_begin(&cli, &command, argc, argv, &names, &common);
    if (code >= 0)
        return code;
    json_t *group = json_object();
    const int error =
        leat_group_describe(cli.client, names.items[0], topic, collect_description, group);
    code = error == 0 ? 0 : cli_refuse(&cli, "group", names.items[0], error);
    if (error == 0 && common.json)
        report_print(group);
    else if (error == 0)
        print_description(group);
    if (error == 0 && json_is_true(json_object_get(group, "cut")))
        cli_fail(&cli, "group \"%s\": the answer is too large: add --topic TOPIC", names.items[0]);
    json_decref(group);
    cli_close(&cli);
    return code;
}

struct reset_options {
    const char *topic;
    const char *to;
    uint64_t partition; /* UINT64_MAX: all */
    int32_t at;         /* from `to` */
    uint64_t value;
    bool dry_run;
};

/* Returns -1, or the exit code after an error message. */
static int reset_understand(struct reset_options *o, const struct args_command *command)
{
    if (o->topic == NULL)
        return args_refuse(command, "--topic is missing: say which topic's offsets to reset");
    if (o->to == NULL)
        return args_refuse(command, "--to is missing: " CLI_START_RULE);
    if (!cli_parse_start(o->to, &o->at, &o->value))
        return args_refuse(command, "--to \"%s\": " CLI_START_RULE, o->to);
    return -1;
}

static int reset_run(struct cli *cli, const struct args_common *common, const char *group,
                     const struct reset_options *o)
{
    json_t *moves = json_array();
    const struct leat_group_reset_options options = {
        .size = sizeof options,
        .partition = o->partition == UINT64_MAX ? -1 : (int32_t)o->partition,
        .at = o->at,
        .value = o->value,
        .dry_run = o->dry_run,
    };
    const int error = leat_group_reset(cli->client, group, o->topic, &options, collect_move, moves);
    const int code = error == 0 ? 0 : cli_refuse(cli, "group", group, error);
    if (error == 0 && common->json) {
        json_t *said = json_pack("{s:s, s:s, s:b, s:O}", "group", group, "topic", o->topic,
                                 "dry_run", o->dry_run, "partitions", moves);
        report_print(said);
        json_decref(said);
    } else if (error == 0) {
        print_moves(group, o->topic, o->dry_run, moves);
    }
    json_decref(moves);
    return code;
}

static int group_reset(int argc, char **argv)
{
    struct reset_options o = { .partition = UINT64_MAX };
    const struct args_option options[] = {
        { "topic", "TOPIC", "the topic whose offsets are moved", ARGS_TEXT, &o.topic, 0, 0 },
        { "partition", "N", "only this partition [all]", ARGS_NUMBER, &o.partition, 0,
          LEAT_PARTITIONS_MAX - 1 },
        { "to", "WHERE", "earliest, latest, an offset, or @TIME", ARGS_TEXT, &o.to, 0, 0 },
        { "dry-run", NULL, "print what would change, change nothing", ARGS_FLAG, &o.dry_run, 0, 0 },
        { .name = NULL },
    };
    const struct args_command command = {
        "group reset",
        "GROUP",
        "Moves the committed offsets of a group without members: all of them, or none.",
        options,
        1,
        1
    };
    struct args_common common = { 0 };
    struct args_list names;
    struct cli cli;
    int code = args_parse(&command, argc, argv, &common, &names);
    if (code < 0)
        code = reset_understand(&o, &command);
    if (code >= 0)
        return code;
    code = cli_open(&cli, command.name, &common, CLI_CONTROL);
    if (code == 0)
        code = reset_run(&cli, &common, names.items[0], &o);
    cli_close(&cli);
    return code;
}

static int group_delete(int argc, char **argv)
{
    const struct args_option options[] = { { .name = NULL } };
    const struct args_command command = {
        "group delete", "GROUP", "Deletes a group without members, and its offsets.", options, 1, 1
    };
    return cli_delete(&command, "group", leat_group_delete, argc, argv);
}

static const char usage[] =
    "usage: leat group list\n"
    "       leat group describe GROUP [--topic TOPIC]\n"
    "       leat group reset GROUP --topic TOPIC [--partition N] --to WHERE [--dry-run]\n"
    "       leat group delete GROUP\n"
    "\nSee leat group reset --help.\n";

int command_group(int argc, char **argv)
{
    static const struct cli_verb verbs[] = { { "list", group_list },
                                             { "describe", group_describe },
                                             { "reset", group_reset },
                                             { "delete", group_delete },
                                             { .name = NULL } };
    return cli_verbs("group", verbs, "list, describe, reset or delete", usage, argc, argv);
}

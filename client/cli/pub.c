/* leat pub: lines, files and packet captures into a topic. */
#include "client/cli/commands.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/capture.h"
#include "client/cli/parse.h"
#include "client/cli/publish.h"
#include "schema/limits.h"

enum { DELIMITER_MAX = 64 };

struct pub_options {
    struct args_list operands;
    const char *file;
    const char *pcap;
    const char *separator;
    const char *delimiter;
    const char *timestamp_field;
    const char *timestamp_unit;
    struct args_list headers;
    uint64_t partition; /* UINT64_MAX: by key */
    uint64_t count;
    uint64_t timeout_ns;
    double speed;
};

struct pub {
    struct cli cli;
    struct publish publish;
    struct leat_header headers[LEAT_HEADERS_MAX];
    char *header_names[LEAT_HEADERS_MAX];
    char delimiter[DELIMITER_MAX];
    size_t delimiter_size;
    uint32_t partitions;
    bool found;
};

/* Adds a NAME=VALUE header. The name is copied to terminate it. */
static int take_header(struct pub *pub, const char *text, const struct args_command *command)
{
    struct publish *p = &pub->publish;
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text || strlen(equals + 1) > UINT16_MAX
        || equals - text > UINT16_MAX)
        return args_refuse(command, "--header \"%.100s\": expected NAME=VALUE", text);
    const size_t name_size = (size_t)(equals - text);
    char *name = strndup(text, name_size);
    if (name == NULL)
        return args_refuse(command, "out of memory");
    pub->header_names[p->headers_count] = name;
    pub->headers[p->headers_count++] =
        (struct leat_header){ .name = name,
                              .name_size = (uint16_t)name_size,
                              .value = equals + 1,
                              .value_size = (uint16_t)strlen(equals + 1) };
    p->headers_bytes += (uint32_t)(name_size + strlen(equals + 1));
    return -1;
}

static int understand_time(struct pub *pub, const struct pub_options *o,
                           const struct args_command *command)
{
    struct publish *p = &pub->publish;
    const uint64_t unit_ns = parse_time_unit(o->timestamp_unit);
    if (unit_ns == 0)
        return args_refuse(command, "--timestamp-unit \"%s\": expected ns, us, ms or s",
                           o->timestamp_unit);
    if (o->timestamp_field != NULL && o->pcap != NULL)
        return args_refuse(command, "--timestamp-field with --pcap: a capture has its own times");
    p->timed = o->timestamp_field != NULL;
    if (p->timed && !timefield_parse(&p->field, o->timestamp_field, unit_ns))
        return args_refuse(command,
                           "--timestamp-field \"%s\": expected a column from 1, or a JSON path "
                           "such as .data.E",
                           o->timestamp_field);
    if (o->speed > 0 && !p->timed && o->pcap == NULL)
        return args_refuse(
            command, "--replay-speed needs --timestamp-field or --pcap for the recorded times");
    p->speed = o->speed;
    return -1;
}

/* Returns -1, or the exit code after an error message. */
static int pub_understand(struct pub *pub, const struct pub_options *o,
                          const struct args_command *command)
{
    struct publish *p = &pub->publish;
    if (o->file != NULL && o->pcap != NULL)
        return args_refuse(command, "--file and --pcap: expected one of them");
    if (o->separator != NULL
        && (!parse_escapes(o->separator, p->separator, sizeof(p->separator), &p->separator_size)
            || p->separator_size == 0))
        return args_refuse(command,
                           "--key-separator \"%s\": expected 1 to %d bytes, with \\n \\r \\t \\0 "
                           "\\\\ \\xHH",
                           o->separator, PUBLISH_SEPARATOR_MAX);
    if (!parse_escapes(o->delimiter, (uint8_t *)pub->delimiter, sizeof(pub->delimiter),
                       &pub->delimiter_size))
        return args_refuse(command,
                           "--delimiter \"%s\": expected up to %d bytes, with \\n \\r \\t \\0 "
                           "\\\\ \\xHH",
                           o->delimiter, DELIMITER_MAX);
    for (size_t i = 0; i < o->headers.count; i++) {
        const int code = take_header(pub, o->headers.items[i], command);
        if (code >= 0)
            return code;
    }
    p->topic = o->operands.items[0];
    p->headers = pub->headers;
    p->partition = o->partition == UINT64_MAX ? LEAT_ANY_PARTITION : (int32_t)o->partition;
    p->count = o->count == 0 ? UINT64_MAX : o->count;
    p->timeout_ns = o->timeout_ns;
    p->source_name = o->file != NULL ? o->file : o->pcap != NULL ? o->pcap : "stdin";
    return understand_time(pub, o, command);
}

static void see_topic(void *user, const struct leat_topic_info *info)
{
    struct pub *pub = user;
    pub->publish.record_bytes_max = info->settings.record_bytes_max;
    pub->partitions = info->settings.partitions;
    pub->found = true;
}

static int open_source(struct pub *pub, const struct pub_options *o)
{
    char said[256] = "out of memory";
    pub->publish.source =
        o->pcap != NULL ? source_open_pcap(o->pcap, said)
                        : source_open_text(o->file, pub->delimiter, pub->delimiter_size, said);
    return pub->publish.source == NULL ? cli_fail(&pub->cli, "%s", said) : 0;
}

static int open_topic(struct pub *pub)
{
    struct publish *p = &pub->publish;
    int error = leat_topic_describe(pub->cli.client, p->topic, see_topic, pub);
    if (error != 0 || !pub->found)
        return cli_fail_error(&pub->cli, p->topic, error != 0 ? error : LEAT_ERR_UNKNOWN_TOPIC);
    if (p->partition >= (int32_t)pub->partitions)
        return cli_fail(&pub->cli,
                        "--partition %" PRId32 ": topic \"%s\" has partitions 0 to %" PRIu32,
                        p->partition, p->topic, pub->partitions - 1);
    p->partitions = calloc(pub->partitions, sizeof(*p->partitions));
    if (p->partitions == NULL)
        return cli_fail(&pub->cli, "out of memory");
    for (uint32_t i = 0; i < pub->partitions; i++)
        p->partitions[i].first_offset = p->partitions[i].last_offset = LEAT_NO_OFFSET;
    const struct leat_producer_options options = { .size = sizeof(options),
                                                   .on_delivery = publish_on_delivery,
                                                   .user = p };
    error = leat_producer_open(pub->cli.client, &p->producer, p->topic, &options);
    return error == 0 ? 0 : cli_fail_error(&pub->cli, p->topic, error);
}

static json_t *offset_json(uint64_t offset)
{
    return offset == LEAT_NO_OFFSET ? json_null() : json_integer((json_int_t)offset);
}

static void print_json(const struct pub *pub)
{
    const struct publish *p = &pub->publish;
    const struct capture_counts *c = source_capture_counts(p->source);
    json_t *partitions = json_array();
    for (uint32_t i = 0; i < pub->partitions; i++) {
        const struct publish_partition *part = &p->partitions[i];
        if (part->records > 0)
            json_array_append_new(partitions,
                                  json_pack("{s:I, s:I, s:o, s:o}", "partition", (json_int_t)i,
                                            "records", (json_int_t)part->records, "first_offset",
                                            offset_json(part->first_offset), "last_offset",
                                            offset_json(part->last_offset)));
    }
    json_t *root = json_pack("{s:s, s:I, s:I, s:I, s:I, s:o}", "topic", p->topic, "records",
                             (json_int_t)(p->answered - p->failed), "failed", (json_int_t)p->failed,
                             "unanswered", (json_int_t)(p->sent - p->answered), "bytes",
                             (json_int_t)p->bytes, "partitions", partitions);
    if (c != NULL)
        json_object_set_new(root, "capture",
                            json_pack("{s:I, s:I, s:I, s:I, s:I}", "packets",
                                      (json_int_t)c->packets, "datagrams", (json_int_t)c->datagrams,
                                      "fragments", (json_int_t)c->fragments, "truncated",
                                      (json_int_t)c->truncated, "other", (json_int_t)c->other));
    json_dumpf(root, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(root);
}

static void print_text(const struct pub *pub)
{
    const struct publish *p = &pub->publish;
    const struct capture_counts *c = source_capture_counts(p->source);
    printf("%" PRIu64 " records, %" PRIu64 " bytes to \"%s\"", p->answered - p->failed, p->bytes,
           p->topic);
    if (p->failed > 0)
        printf(", %" PRIu64 " failed", p->failed);
    if (p->sent > p->answered)
        printf(", %" PRIu64 " unanswered", p->sent - p->answered);
    putchar('\n');
    for (uint32_t i = 0; i < pub->partitions; i++) {
        const struct publish_partition *part = &p->partitions[i];
        if (part->records > 0 && part->first_offset != LEAT_NO_OFFSET)
            printf("  partition %" PRIu32 ": %" PRIu64 " records, offsets %" PRIu64 " to %" PRIu64
                   "\n",
                   i, part->records, part->first_offset, part->last_offset);
    }
    if (c != NULL && c->packets > c->datagrams)
        printf("  of %" PRIu64 " packets skipped: %" PRIu64 " fragments, %" PRIu64
               " truncated, %" PRIu64 " not UDP\n",
               c->packets, c->fragments, c->truncated, c->other);
}

/* Prints the result, once the producer was open. Returns the exit code. */
static int pub_report(struct pub *pub, int code, bool json)
{
    const struct publish *p = &pub->publish;
    if (json)
        print_json(pub);
    else
        print_text(pub);
    if (p->failed > 0)
        code =
            cli_fail(&pub->cli, "%" PRIu64 " records failed, the first was record %" PRIu64 ": %s",
                     p->failed, p->failed_number, leat_strerror(p->failed_status));
    if (pub->cli.vanished > 0)
        code = cli_fail(&pub->cli, "%" PRIu64 " acknowledged records were lost with the broker",
                        pub->cli.vanished);
    if (pub->cli.stopped)
        code = cli_fail(&pub->cli, "stopped after %" PRIu64 " records", p->sent);
    return code;
}

static void pub_close(struct pub *pub)
{
    cli_close(&pub->cli);
    if (pub->publish.source != NULL)
        source_close(pub->publish.source);
    for (uint32_t i = 0; i < pub->publish.headers_count; i++)
        free(pub->header_names[i]);
    free(pub->publish.partitions);
}

static int pub_run(struct pub *pub, const struct pub_options *o, const struct args_common *common)
{
    pub->publish.cli = &pub->cli;
    int code = cli_open(&pub->cli, "pub", common, CLI_DATA);
    if (code == 0)
        code = open_topic(pub);
    if (code == 0)
        code = open_source(pub, o);
    if (code == 0)
        code = pub_report(pub, publish_run(&pub->publish), common->json);
    return code;
}

int command_pub(int argc, char **argv)
{
    struct pub_options o = { .delimiter = "\\n",
                             .timestamp_unit = "ns",
                             .partition = UINT64_MAX,
                             .timeout_ns = 120 * LEAT_NS_PER_S };
    const struct args_option options[] = {
        { "file", "FILE", "read FILE (plain or gzip) instead of stdin", ARGS_TEXT, &o.file, 0, 0 },
        { "pcap", "FILE", "publish the UDP payloads of a packet capture", ARGS_TEXT, &o.pcap, 0,
          0 },
        { "delimiter", "D", "end of a record [\\n]; '': the input is one record", ARGS_TEXT,
          &o.delimiter, 0, 0 },
        { "key-separator", "S", "separates key and value in every record [no keys]", ARGS_TEXT,
          &o.separator, 0, 0 },
        { "header", "NAME=VALUE", "add to every record; may be repeated", ARGS_LIST, &o.headers, 0,
          0 },
        { "partition", "N", "send all records to partition N [by key, else round-robin]",
          ARGS_NUMBER, &o.partition, 0, LEAT_PARTITIONS_MAX - 1 },
        { "count", "N", "stop after N records", ARGS_NUMBER, &o.count, 1, 0 },
        { "timestamp-field", "F", "time within a record: column (from 1) or JSON path (.data.E)",
          ARGS_TEXT, &o.timestamp_field, 0, 0 },
        { "timestamp-unit", "UNIT", "unit of that field: ns, us, ms or s [ns]", ARGS_TEXT,
          &o.timestamp_unit, 0, 0 },
        { "replay-speed", "X", "replay at X times the recorded speed [0: no waiting]", ARGS_SPEED,
          &o.speed, 0, 0 },
        { "timeout", "S", "give up when the broker accepts nothing for S seconds [120]",
          ARGS_SECONDS, &o.timeout_ns, 0, 0 },
        { .name = NULL },
    };
    const struct args_command command = {
        .name = "pub",
        .synopsis = "TOPIC",
        .about = "Publishes stdin, a file or a capture, one record per line, and prints its "
                 "offsets.\nWaits while the broker has no room: nothing is dropped.",
        .options = options,
        .operands_min = 1,
        .operands_max = 1,
    };
    struct args_common common = { 0 };
    int code = args_parse(&command, argc, argv, &common, &o.operands);
    if (code >= 0)
        return code;
    struct pub *pub = calloc(1, sizeof(*pub));
    if (pub == NULL)
        return EXIT_FAILED;
    pub->cli.signal_fd = -1;
    code = pub_understand(pub, &o, &command);
    if (code < 0)
        code = pub_run(pub, &o, &common);
    pub_close(pub);
    free(pub);
    return code;
}

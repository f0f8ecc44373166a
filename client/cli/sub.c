/* leat sub: prints records on stdout as they arrive. */
#include "client/cli/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "client/cli/output.h"
#include "client/cli/parse.h"
#include "schema/limits.h"

enum { SUB_TOPICS_MAX = ARGS_LIST_MAX, SUB_RECORDS = 256, SUB_DELIMITER_MAX = 64 };

struct sub_options {
    struct args_list topics;
    struct args_list partitions;
    const char *from;
    const char *format;
    const char *delimiter;
    const char *name;
    const char *group;
    const char *member;
    uint64_t count;
    uint64_t timeout_ns;
    bool required;
    bool raw;
};

struct sub {
    struct cli cli;
    struct output out;
    leat_consumer *consumer;
    struct leat_consumer_options consumer_options;
    uint32_t partitions[ARGS_LIST_MAX];
    uint8_t delimiter[SUB_DELIMITER_MAX];
    size_t delimiter_size;
    bool json;
    bool visible;   /* stdout is a terminal: control characters are escaped */
    uint64_t count; /* UINT64_MAX: no limit */
    uint64_t timeout_ns;
    uint64_t received;
};

static struct args_command sub_command(const struct args_option *options)
{
    return (struct args_command){
        .name = "sub",
        .synopsis = "TOPIC...",
        .about = "Prints the records of topics as they arrive. Gaps and log resets are reported on "
                 "stderr.",
        .options = options,
        .operands_min = 1,
        .operands_max = SUB_TOPICS_MAX,
    };
}

/* Returns -1, or the exit code after an error message. */
static int sub_understand(struct sub *sub, const struct sub_options *o,
                          const struct args_common *common, const struct args_command *command)
{
    struct leat_consumer_options *consumer = &sub->consumer_options;
    if (!cli_parse_start(o->from, &consumer->start_at, &consumer->start))
        return args_refuse(command, "--from \"%s\": " CLI_START_RULE, o->from);
    if (o->group == NULL && o->member != NULL)
        return args_refuse(command, "--member \"%s\" needs --group", o->member);
    if (o->group != NULL && o->partitions.count > 0)
        return args_refuse(
            command,
            "--partition: group \"%s\" assigns partitions; use only one of the two options",
            o->group);
    if (o->group != NULL && consumer->start_at == LEAT_START_OFFSET)
        return args_refuse(command,
                           "--from \"%s\": a group continues at its committed offsets; expected "
                           "earliest, latest or @TIME for partitions without one",
                           o->from);
    if (strcmp(o->format, "value") != 0 && strcmp(o->format, "json") != 0)
        return args_refuse(command, "--format \"%s\": expected value or json", o->format);
    if (o->required && o->name == NULL && o->group == NULL)
        return args_refuse(
            command, "--required needs --name or --group: the reader that producers wait for");
    if (!parse_escapes(o->delimiter, sub->delimiter, sizeof(sub->delimiter), &sub->delimiter_size))
        return args_refuse(command,
                           "--delimiter \"%s\": expected up to %d bytes, with \\n \\r \\t \\0 "
                           "\\\\ \\xHH",
                           o->delimiter, SUB_DELIMITER_MAX);
    for (size_t i = 0; i < o->partitions.count; i++) {
        uint64_t index;
        const char *text = o->partitions.items[i];
        if (!parse_u64(text, strlen(text), &index) || index >= LEAT_PARTITIONS_MAX)
            return args_refuse(command, "--partition \"%s\": expected a whole number from 0 to %d",
                               text, LEAT_PARTITIONS_MAX - 1);
        sub->partitions[i] = (uint32_t)index;
    }
    consumer->size = sizeof(*consumer);
    consumer->partitions = o->partitions.count == 0 ? NULL : sub->partitions;
    consumer->partition_count = (uint32_t)o->partitions.count;
    consumer->name = o->name;
    consumer->required = o->required;
    consumer->group = o->group;
    consumer->member = o->member;
    consumer->commit = LEAT_COMMIT_OFF; /* sub_commit() commits after the output was written */
    sub->visible = !o->raw && isatty(STDOUT_FILENO);
    sub->json = common->json || strcmp(o->format, "json") == 0;
    sub->count = o->count == 0 ? UINT64_MAX : o->count;
    sub->timeout_ns = o->timeout_ns;
    return -1;
}

static void put_name(struct output *out, const char *name, const char *suffix)
{
    output_text(out, "\"");
    output_text(out, name);
    output_text(out, suffix);
    output_text(out, "\":");
}

/* Appends "NAME": text, "NAME_base64": bytes that are not UTF-8, or "NAME": null. */
static void put_bytes(struct output *out, const char *name, const void *bytes, size_t size)
{
    if (bytes == NULL) {
        put_name(out, name, "");
        output_text(out, "null");
    } else if (output_is_utf8(bytes, size)) {
        put_name(out, name, "");
        output_json(out, bytes, size);
    } else {
        put_name(out, name, "_base64");
        output_base64(out, bytes, size);
    }
}

/* A list, because names may repeat and the producer's order matters. */
static void put_headers(struct output *out, const struct leat_record *record)
{
    struct leat_header header;
    output_text(out, ",\"headers\":[");
    for (uint32_t i = 0; leat_record_header(record, i, &header) == 0; i++) {
        output_text(out, i == 0 ? "{" : ",{");
        put_bytes(out, "name", header.name, header.name_size);
        output_text(out, ",");
        put_bytes(out, "value", header.value, header.value_size);
        output_text(out, "}");
    }
    output_text(out, "]");
}

static void put_json(struct output *out, const struct leat_record *record)
{
    output_text(out, "{\"topic\":");
    output_json(out, record->topic, strlen(record->topic));
    output_text(out, ",\"partition\":");
    output_u64(out, (uint64_t)record->partition);
    output_text(out, ",\"offset\":");
    output_u64(out, record->offset);
    output_text(out, ",\"timestamp\":");
    if (record->timestamp_ns < 0)
        output_text(out, "-");
    output_u64(out, record->timestamp_ns < 0 ? 0 - (uint64_t)record->timestamp_ns
                                             : (uint64_t)record->timestamp_ns);
    output_text(out, ",\"append_time\":");
    output_u64(out, record->append_time_ns);
    output_text(out, ",");
    put_bytes(out, "key", record->key, record->key_size);
    put_headers(out, record);
    output_text(out, ",");
    put_bytes(out, "value", record->value, record->value_size);
    output_text(out, "}\n");
}

/* Tabs and line feeds are not escaped: they only move the text after them. */
static void put_visible(struct output *out, const char *bytes, size_t size)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t shown = 0; /* bytes appended so far */
    for (size_t at = 0; at < size;) {
        const size_t length = cli_printable(bytes + at, size - at);
        if (length != 0 || bytes[at] == '\n' || bytes[at] == '\t') {
            at += length != 0 ? length : 1;
            continue;
        }
        const uint8_t byte = (uint8_t)bytes[at];
        const char escaped[4] = { '\\', 'x', hex[byte >> 4], hex[byte & 15] };
        output_bytes(out, bytes + shown, at - shown);
        output_bytes(out, escaped, sizeof(escaped));
        shown = ++at;
    }
    output_bytes(out, bytes + shown, size - shown);
}

static void put_record(struct sub *sub, const struct leat_record *record)
{
    if (sub->json) {
        put_json(&sub->out, record);
    } else {
        const size_t size = record->value == NULL ? 0 : record->value_size;
        if (sub->visible)
            put_visible(&sub->out, record->value, size);
        else
            output_bytes(&sub->out, record->value, size);
        output_bytes(&sub->out, sub->delimiter, sub->delimiter_size);
    }
    sub->received++;
}

/* Prints the records that have arrived. Returns 0 if there were none. */
static int sub_drain(struct sub *sub)
{
    struct leat_record records[SUB_RECORDS];
    const uint64_t wanted = sub->count - sub->received;
    const int n = leat_consumer_poll(sub->consumer, records,
                                     wanted < SUB_RECORDS ? (size_t)wanted : SUB_RECORDS);
    for (int i = 0; i < n; i++) {
        put_record(sub, &records[i]);
        if (output_full(&sub->out))
            output_flush(&sub->out);
    }
    return n;
}

/* Commits printed records once the output was written. */
static int sub_commit(struct sub *sub)
{
    output_flush(&sub->out);
    if (sub->out.closed || sub->out.error != 0)
        return 0;
    return leat_consumer_commit(sub->consumer, NULL, 0, 0);
}

static int sub_timed_out(const struct sub *sub)
{
    if (sub->count == UINT64_MAX)
        return 0;
    return cli_fail(&sub->cli,
                    "no record for %" PRIu64 " ms (--timeout): got %" PRIu64 " of %" PRIu64
                    " records",
                    sub->timeout_ns / LEAT_NS_PER_MS, sub->received, sub->count);
}

/* Writes records that arrived before an event before the event is printed, so that merged stdout
 * and stderr show where records were lost. */
static void put_out_records(void *user)
{
    struct sub *sub = user;
    output_flush(&sub->out);
}

static int sub_run(struct sub *sub)
{
    /* No events: poll() still reports that the reader closed the pipe. */
    struct pollfd reader = { .fd = STDOUT_FILENO, .events = 0 };
    uint64_t last_ns = cli_monotonic_ns();
    while (sub->received < sub->count && !cli_stopped(&sub->cli)) {
        const int n = sub_drain(sub);
        /* Print the error of the poll after the records before it. */
        if (n < 0 || (n == 0 && sub->cli.fatal != 0)) {
            output_flush(&sub->out);
            return cli_fail_error(&sub->cli, "reading", n < 0 ? n : sub->cli.fatal);
        }
        if (n > 0) {
            last_ns = cli_monotonic_ns();
            int error = sub->consumer_options.group != NULL ? sub_commit(sub) : 0;
            if (error == 0)
                error = leat_client_poll(sub->cli.client, 0);
            if (error < 0)
                return cli_fail_error(&sub->cli, "reading", error);
        } else {
            output_flush(&sub->out);
            const uint64_t idle_ns = cli_monotonic_ns() - last_ns;
            if (sub->timeout_ns > 0 && idle_ns >= sub->timeout_ns)
                return sub_timed_out(sub);
            const int error =
                cli_wait(&sub->cli, &reader, 1,
                         sub->timeout_ns > 0 ? sub->timeout_ns - idle_ns : LEAT_FOREVER);
            if (error != 0)
                return cli_fail_error(&sub->cli, "reading", error);
        }
        if ((reader.revents & (POLLERR | POLLHUP)) != 0 || sub->out.closed)
            return 0;
        if (sub->out.error != 0)
            return 0; /* the caller prints the error */
    }
    /* Without --count, stopping is the normal end. With it, the user got fewer records than
     * requested. */
    if (sub->count != UINT64_MAX && sub->received < sub->count)
        return cli_fail(&sub->cli, "stopped: got %" PRIu64 " of %" PRIu64 " records", sub->received,
                        sub->count);
    return 0;
}

static int sub_open(struct sub *sub, const struct sub_options *o, const struct args_common *common)
{
    if (cli_open(&sub->cli, "sub", common, CLI_DATA) != 0)
        return EXIT_FAILED;
    sub->cli.events_json = sub->json;
    sub->cli.awaits_topics = o->group != NULL;
    const int error = leat_consumer_open(sub->cli.client, &sub->consumer, o->topics.items,
                                         o->topics.count, &sub->consumer_options);
    if (error == LEAT_ERR_UNKNOWN_TOPIC) {
        cli_fail_error(&sub->cli, "cannot subscribe", error);
        fprintf(stderr, "Try: leat topic list, or leat topic create NAME\n");
        return EXIT_FAILED;
    }
    if (error != 0)
        return cli_fail_error(&sub->cli, "cannot subscribe", error);
    return 0;
}

int command_sub(int argc, char **argv)
{
    struct sub_options o = { .from = "latest", .format = "value", .delimiter = "\\n" };
    const struct args_option options[] = {
        { "from", "WHERE", "earliest, latest, an offset, or @TIME [latest]", ARGS_TEXT, &o.from, 0,
          0 },
        { "count", "N", "stop after N records", ARGS_NUMBER, &o.count, 1, 0 },
        { "timeout", "S", "stop after S seconds without a record", ARGS_SECONDS, &o.timeout_ns, 1,
          0 },
        { "partition", "N", "only this partition; may be repeated", ARGS_LIST, &o.partitions, 0,
          0 },
        { "format", "value|json", "value [default], or json: one object per line", ARGS_TEXT,
          &o.format, 0, 0 },
        { "delimiter", "D", "printed after each value [\\n]", ARGS_TEXT, &o.delimiter, 0, 0 },
        { "raw", NULL, "print values unchanged on a terminal too", ARGS_FLAG, &o.raw, 0, 0 },
        { "name", "NAME", "this reader's name, shown to operators", ARGS_TEXT, &o.name, 0, 0 },
        { "required", NULL, "producers of a `block` topic wait for this reader", ARGS_FLAG,
          &o.required, 0, 0 },
        { "group", "NAME", "share the partitions with the other members of this group; commits",
          ARGS_TEXT, &o.group, 0, 0 },
        { "member", "ID", "id in the group, which keeps its partitions over a restart [random]",
          ARGS_TEXT, &o.member, 0, 0 },
        { .name = NULL },
    };
    const struct args_command command = sub_command(options);
    struct args_common common = { 0 };
    int code = args_parse(&command, argc, argv, &common, &o.topics);
    if (code >= 0)
        return code;
    struct sub sub = { .received = 0 };
    code = sub_understand(&sub, &o, &common, &command);
    if (code >= 0)
        return code;
    code = sub_open(&sub, &o, &common);
    if (code == 0 && !output_open(&sub.out, &sub.cli))
        code = cli_fail(&sub.cli, "out of memory");
    if (code == 0) {
        sub.cli.before_event = put_out_records;
        sub.cli.before_event_user = &sub;
        code = sub_run(&sub);
        sub.cli.before_event = NULL;
        output_flush(&sub.out);
        if (sub.out.error != 0)
            code = cli_fail(&sub.cli, "stdout: %s", strerror(sub.out.error));
    }
    output_close(&sub.out);
    cli_close(&sub.cli);
    return code;
}

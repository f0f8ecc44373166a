/* leat topic: create, list, describe, delete. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"

static const char help[] =
    "usage: leat topic create NAME [SETTING]... | list | describe NAME | delete NAME\n"
    "\n"
    "  --partitions N             [1]\n"
    "  --ring-bytes SIZE          memory of each partition, rounded up to a power of two [64MiB]\n"
    "  --record-bytes-max SIZE    largest key + headers + value [1MiB]\n"
    "  --retention-ms N           forget records older than this [no limit by age]\n"
    "  --retention-bytes SIZE     keep at most this much of each partition [the whole ring]\n"
    "  --overrun evict|block      a full ring evicts the oldest, or holds producers for required "
    "readers\n"
    "  --required-timeout-ms N    how long a required reader may be away [60000]\n"
    "  --quota-publish-bytes SIZE a second, all producers together [no limit]\n"
    "  --quota-deliver-bytes SIZE a second, each reader of a partition [no limit]\n"
    "  --url URL, --json, --help\n";

enum {
    OPT_URL = 1,
    OPT_JSON,
    OPT_HELP,
    OPT_PARTITIONS,
    OPT_RING,
    OPT_RECORD,
    OPT_RETENTION_MS,
    OPT_RETENTION_BYTES,
    OPT_OVERRUN,
    OPT_REQUIRED,
    OPT_QUOTA_PUBLISH,
    OPT_QUOTA_DELIVER,
};

static const struct option options[] = {
    { "url", required_argument, NULL, OPT_URL },
    { "json", no_argument, NULL, OPT_JSON },
    { "help", no_argument, NULL, OPT_HELP },
    { "partitions", required_argument, NULL, OPT_PARTITIONS },
    { "ring-bytes", required_argument, NULL, OPT_RING },
    { "record-bytes-max", required_argument, NULL, OPT_RECORD },
    { "retention-ms", required_argument, NULL, OPT_RETENTION_MS },
    { "retention-bytes", required_argument, NULL, OPT_RETENTION_BYTES },
    { "overrun", required_argument, NULL, OPT_OVERRUN },
    { "required-timeout-ms", required_argument, NULL, OPT_REQUIRED },
    { "quota-publish-bytes", required_argument, NULL, OPT_QUOTA_PUBLISH },
    { "quota-deliver-bytes", required_argument, NULL, OPT_QUOTA_DELIVER },
    { NULL, 0, NULL, 0 },
};

struct wanted {
    const char *url;
    bool json;
    struct leat_topic_settings settings;
};

/* A setting's value; false: it is not one. */
static bool read_setting(struct leat_topic_settings *s, int option)
{
    uint64_t n = 0;
    switch (option) {
    case OPT_PARTITIONS:
        if (!cli_parse_u64(optarg, 1, 4096, &n))
            return false;
        s->partitions = (uint32_t)n;
        return true;
    case OPT_RECORD:
        if (!cli_parse_bytes(optarg, &n) || n == 0 || n > UINT32_MAX)
            return false;
        s->record_bytes_max = (uint32_t)n;
        return true;
    case OPT_OVERRUN:
        s->overrun = strcmp(optarg, "block") == 0 ? LEAT_OVERRUN_BLOCK : LEAT_OVERRUN_EVICT;
        return strcmp(optarg, "block") == 0 || strcmp(optarg, "evict") == 0;
    case OPT_RETENTION_MS: return cli_parse_u64(optarg, 0, UINT64_MAX, &s->retention_ms);
    case OPT_REQUIRED: return cli_parse_u64(optarg, 1, UINT64_MAX, &s->required_timeout_ms);
    case OPT_RING: return cli_parse_bytes(optarg, &s->ring_bytes);
    case OPT_RETENTION_BYTES: return cli_parse_bytes(optarg, &s->retention_bytes);
    case OPT_QUOTA_PUBLISH: return cli_parse_bytes(optarg, &s->quota_publish_bytes);
    case OPT_QUOTA_DELIVER: return cli_parse_bytes(optarg, &s->quota_deliver_bytes);
    default: return false;
    }
}

/* ---- showing */

struct shown {
    bool json;
    bool whole; /* with partitions */
    json_t *list;
};

static json_t *partition_json(const struct leat_partition_info *p)
{
    return json_pack("{s:i,s:i,s:I,s:I,s:I,s:I,s:b}", "partition", (int)p->index, "shard",
                     (int)p->shard, "log_epoch", (json_int_t)p->log_epoch, "head_offset",
                     (json_int_t)p->head_offset, "next_offset", (json_int_t)p->next_offset, "bytes",
                     (json_int_t)p->bytes, "hugepages", p->hugepages != 0);
}

static json_t *topic_json(const struct leat_topic_info *info, bool whole)
{
    const struct leat_topic_settings *s = &info->settings;
    json_t *topic = json_pack("{s:s,s:I,s:i,s:I,s:i,s:I,s:I,s:s,s:I,s:I,s:I}", "name", info->name,
                              "id", (json_int_t)info->id, "partitions", (int)s->partitions,
                              "ring_bytes", (json_int_t)s->ring_bytes, "record_bytes_max",
                              (int)s->record_bytes_max, "retention_ms", (json_int_t)s->retention_ms,
                              "retention_bytes", (json_int_t)s->retention_bytes, "overrun",
                              s->overrun == LEAT_OVERRUN_BLOCK ? "block" : "evict",
                              "required_timeout_ms", (json_int_t)s->required_timeout_ms,
                              "quota_publish_bytes", (json_int_t)s->quota_publish_bytes,
                              "quota_deliver_bytes", (json_int_t)s->quota_deliver_bytes);
    if (whole) {
        json_t *list = json_array();
        for (uint32_t i = 0; i < info->partition_count; i++)
            json_array_append_new(list, partition_json(&info->partitions[i]));
        json_object_set_new(topic, "partition_list", list);
    }
    return topic;
}

static void show(void *user, const struct leat_topic_info *info)
{
    const struct shown *shown = user;
    if (shown->json) {
        json_array_append_new(shown->list, topic_json(info, shown->whole));
        return;
    }
    uint64_t records = 0, bytes = 0;
    for (uint32_t i = 0; i < info->partition_count; i++) {
        records += info->partitions[i].next_offset - info->partitions[i].head_offset;
        bytes += info->partitions[i].bytes;
    }
    printf("%-32s %5u partitions, %" PRIu64 " records, %.1f of %.1f MiB\n", info->name,
           info->settings.partitions, records, (double)bytes / 1048576,
           (double)info->settings.ring_bytes * info->settings.partitions / 1048576);
    for (uint32_t i = 0; shown->whole && i < info->partition_count; i++) {
        const struct leat_partition_info *p = &info->partitions[i];
        printf("  partition %-4u shard %-2u offsets %" PRIu64 "..%" PRIu64 "  %.1f MiB%s\n",
               p->index, p->shard, p->head_offset, p->next_offset, (double)p->bytes / 1048576,
               p->hugepages ? "  hugepages" : "");
    }
}

static int describe(leat_client *client, const char *name, bool json)
{
    struct shown shown = { .json = json, .whole = name != NULL, .list = json_array() };
    const int error = leat_topic_describe(client, name, show, &shown);
    int code = CLI_OK;
    if (error != LEAT_OK) {
        code = cli_fail("%s", leat_client_error(client));
    } else if (json) {
        json_dumpf(name != NULL ? json_array_get(shown.list, 0) : shown.list, stdout,
                   JSON_COMPACT | JSON_ENCODE_ANY);
        putchar('\n');
    }
    json_decref(shown.list);
    return code;
}

/* ---- doing */

static int say_done(bool json, const char *done, const char *name)
{
    if (json)
        printf("{\"%s\":\"%s\"}\n", done, name);
    else
        printf("%s %s\n", done, name);
    return CLI_OK;
}

static int act(leat_client *client, const struct wanted *wanted, const char *verb, const char *name)
{
    int error;
    if (strcmp(verb, "list") == 0)
        return describe(client, NULL, wanted->json);
    if (strcmp(verb, "describe") == 0)
        return describe(client, name, wanted->json);
    if (strcmp(verb, "create") == 0)
        error = leat_topic_create(client, name, &wanted->settings);
    else
        error = leat_topic_delete(client, name);
    if (error != LEAT_OK)
        return cli_fail("%s", leat_client_error(client));
    return say_done(wanted->json, strcmp(verb, "create") == 0 ? "created" : "deleted", name);
}

int cli_topic(int argc, char **argv)
{
    struct wanted wanted = { .settings = { .size = sizeof wanted.settings } };
    int option, index = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":", options, &index)) != -1) {
        switch (option) {
        case OPT_URL: wanted.url = optarg; break;
        case OPT_JSON: wanted.json = true; break;
        case OPT_HELP: fputs(help, stdout); return CLI_OK;
        case '?':
        case ':': return cli_bad_option("topic", argv);
        default:
            if (!read_setting(&wanted.settings, option))
                return cli_usage("topic", "--%s: not a value for it: \"%s\"", options[index].name,
                                 optarg);
        }
    }
    const char *verb = optind < argc ? argv[optind] : NULL;
    const int names = argc - optind - 1;
    if (verb == NULL)
        return cli_usage("topic", "what to do is missing: create, list, describe or delete");
    const bool list = strcmp(verb, "list") == 0;
    if (!list && strcmp(verb, "create") != 0 && strcmp(verb, "describe") != 0
        && strcmp(verb, "delete") != 0)
        return cli_usage("topic", "\"%s\": expected create, list, describe or delete", verb);
    if (names != (list ? 0 : 1))
        return cli_usage("topic", "%s takes %s, got %d", verb, list ? "no name" : "one name",
                         names);
    leat_client *client = cli_open(wanted.url, NULL);
    if (client == NULL)
        return CLI_FAILURE;
    const int code = act(client, &wanted, verb, list ? NULL : argv[optind + 1]);
    leat_client_close(client);
    return code;
}

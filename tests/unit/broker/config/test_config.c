/* Goal: a configuration is taken as it is written, or refused with every mistake at its place, with
 * its value and what was expected. Method: tables of texts against config_parse, which is pure. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/config.h"
#include "broker/config/config_value.h"
#include "broker/log/partition.h"

static struct config_errors errors;

static enum leat_error parse(struct config *config, const char *text)
{
    config_init(config, false);
    return config_parse(config, text, strlen(text), "leatd.json", &errors);
}

Test(config, an_empty_object_is_the_defaults)
{
    struct config config;
    cr_assert_eq(parse(&config, "{}"), LEAT_OK, "%s", errors.text);
    cr_assert_str_eq(config.host, "127.0.0.1");
    cr_assert_eq(config.port, 7420);
    cr_assert_eq(config.data_port, 7430);
    cr_assert_eq(config.shards, 1u);
    cr_assert_eq(config.idle, IDLE_BALANCED);
    cr_assert_eq(config.hugepages, LOGMEM_AUTO);
    cr_assert_eq(config.topic_count, 0u);
    struct memory_limits limits;
    char said[CONFIG_MEMORY_TEXT];
    memory_limits_read(&limits, "");
    cr_assert_eq(config_fit_memory(&config, &limits, said), LEAT_OK, "%s", said);
    cr_assert_neq(config.log_memory_bytes, 0u);
    cr_assert_neq(config.client_memory_bytes, 0u);
    config_free(&config);
}

Test(config, every_key_arrives)
{
    struct config config;
    const char *text =
        "{\"host\": \"::1\", \"port\": 1, \"data_port\": 2000, \"advertise\": {\"host\": "
        "\"example.org\"},"
        " \"shards\": 2, \"cpus\": [1, 0], \"idle\": \"latency\", \"state_dir\": \"/s\","
        " \"log_memory_bytes\": \"10MiB\", \"hugepages\": \"off\", \"sessions_max\": 7,"
        " \"connections_max\": 8, \"producers_max\": 9, \"producer_idle_ms\": 1000,"
        " \"socket_buffer_bytes\": \"1MiB\", \"tcp_congestion\": \"cubic\", \"keepalive_ms\": 500,"
        " \"offsets_retention_ms\": 1001,"
        " \"allow_unauthenticated\": true, \"log_level\": \"warn\","
        " \"quotas\": [{\"client\": \"*\", \"publish_bytes\": 5}, {\"client\": \"a\","
        " \"deliver_bytes\": \"2kB\"}],"
        " \"topics\": [{\"name\": \"t\", \"partitions\": 3, \"ring_bytes\": \"3MiB\","
        " \"record_bytes_max\": 1000, \"retention_ms\": 5, \"retention_bytes\": 6, \"overrun\": "
        "\"block\","
        " \"required_timeout_ms\": 7, \"quota_publish_bytes\": 8, \"quota_deliver_bytes\": 9}]}";
    cr_assert_eq(parse(&config, text), LEAT_OK, "%s", errors.text);
    cr_assert_str_eq(config.host, "::1");
    cr_assert_str_eq(config.advertise_host, "example.org");
    cr_assert_eq(config.cpu_count, 2u);
    cr_assert_eq(config.cpus[0], 1);
    cr_assert_eq(config.log_memory_bytes, 10 * LEAT_MIB);
    cr_assert_eq(config.socket_buffer_bytes, LEAT_MIB);
    cr_assert_str_eq(config.tcp_congestion, "cubic");
    cr_assert_eq(config.offsets_retention_ms, 1001u);
    cr_assert_eq(config.log_level, LOG_WARN);
    cr_assert_eq(config_quota_of(&config, "a")->deliver_bytes, 2000u);
    cr_assert_eq(config_quota_of(&config, "b")->publish_bytes, 5u);
    const struct topic_settings *s = &config.topics[0].settings;
    cr_assert_eq(s->partitions, 3u);
    cr_assert_eq(s->ring_bytes, 4 * LEAT_MIB, "rounded up to a power of two");
    cr_assert_eq(s->record_bytes_max, 1000u);
    cr_assert_eq(s->overrun, PARTITION_BLOCK);
    cr_assert_eq(s->quota_deliver_bytes, 9u);
    config_free(&config);
}

Test(config, mistakes_name_place_value_and_expectation)
{
    static const struct {
        const char *text, *says[3];
    } cases[] = {
        { "{\"prot\": 7420}", { "leatd.json: prot", "unknown key", "\"port\"" } },
        { "{\"zzzzzzzzzzzz\": 1}", { "unknown key", "log_memory_bytes", "topics" } },
        { "{\"port\": \"many\"}", { "port: got \"many\"", "0", "65535" } },
        { "{\"port\": -1}", { "port: got -1", "65535", "" } },
        { "{\"port\": 7420.5}", { "port: got 7420.5", "integer", "" } },
        { "{\"port\": null}", { "port: got null", "", "" } },
        { "{\"shards\": 65}", { "shards: got 65", "1 to 64", "" } },
        { "{\"data_port\": 65535, \"shards\": 2}", { "data_port", "65535", "" } },
        { "{\"idle\": \"lazy\"}", { "idle: got \"lazy\"", "laptop", "balanced" } },
        { "{\"client_memory_bytes\": \"1MiB\"}", { "client_memory_bytes", "1MiB", "" } },
        { "{\"log_memory_bytes\": \"12 parsecs\"}", { "log_memory_bytes", "12 parsecs", "MiB" } },
        { "{\"log_memory_bytes\": \"99999999999999999999GiB\"}", { "log_memory_bytes", "", "" } },
        { "{\"host\": \"localhost\"}", { "host: got \"localhost\"", "127.0.0.1", "" } },
        { "{\"host\": \"0.0.0.0\"}", { "host", "allow_unauthenticated", "" } },
        { "{\"cpus\": [0, 1]}", { "cpus", "per shard", "" } },
        { "{\"advertise\": \"me\"}", { "advertise", "host", "" } },
        { "{\"advertise\": {\"hots\": \"me\"}}", { "advertise.hots", "\"host\"", "" } },
        { "{\"advertise\": {\"host\": \"bus:7430\"}}",
          { "advertise.host", "bus:7430", "without a port" } },
        { "{\"advertise\": {\"host\": \"a b\"}}", { "advertise.host", "a b", "" } },
        { "{\"advertise\": {\"host\": \"\"}}", { "advertise.host", "", "" } },
        { "{\"topics\": {}}", { "topics", "list", "" } },
        { "{\"topics\": [1]}", { "topics[0]", "object", "" } },
        { "{\"topics\": [{}]}", { "topics[0].name: got nothing", "A-Z", "" } },
        { "{\"topics\": [{\"name\": \"a b\"}]}", { "topics[0].name: got \"a b\"", "A-Z", "" } },
        { "{\"topics\": [{\"name\": \"a\"}, {\"name\": \"a\"}]}",
          { "topics[1].name", "no other", "" } },
        { "{\"topics\": [{\"name\": \"a\", \"overrun\": \"maybe\"}]}",
          { "topics[0].overrun: got \"maybe\"", "evict", "block" } },
        { "{\"topics\": [{\"name\": \"a\", \"ring_bytes\": \"1MiB\", \"record_bytes_max\": "
          "\"1MiB\"}]}",
          { "topics[0].ring_bytes", "at least 4194816", "record_bytes_max" } },
        { "{\"quotas\": [{\"publish_bytes\": 1}]}", { "quotas[0].client: got nothing", "", "" } },
        { "{\"quotas\": [{\"client\": \"*\"}, {\"client\": \"*\"}]}",
          { "quotas[1].client", "", "" } },
        { "{\"offsets_retention_ms\": 0}", { "offsets_retention_ms: got 0", "1000", "" } },
        { "{\"state_dir\": \"\"}", { "state_dir", "directory", "" } },
        { "[]", { "leatd.json", "line 1", "object" } },
        { "{\n\"port\": 7420", { "leatd.json: line 2", "not JSON", "" } },
        { "{\"port\": 1,\n \"port\": 2}", { "line 2", "duplicate", "" } },
        { "", { "line", "not JSON", "" } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config config;
        cr_assert_neq(parse(&config, cases[i].text), LEAT_OK, "%s", cases[i].text);
        for (int k = 0; k < 3; k++)
            cr_assert(strstr(errors.text, cases[i].says[k]) != NULL, "%s: \"%s\" lacks \"%s\"",
                      cases[i].text, errors.text, cases[i].says[k]);
        config_free(&config);
    }
}

Test(config, all_mistakes_are_said_at_once)
{
    struct config config;
    cr_assert_eq(
        parse(&config,
              "{\"prot\": 1, \"shards\": \"x\", \"idle\": 3, \"topics\": [{\"name\": \"/\","
              "\"overrun\": 1}]}"),
        LEAT_ERR_INVALID);
    cr_assert_eq(errors.count, 5u, "%s", errors.text);
    config_free(&config);
}

Test(config, more_mistakes_than_room_are_still_counted)
{
    enum { MANY = 2000, ROOM = 64 * MANY };
    struct config config;
    char *text = malloc(ROOM);
    size_t used = (size_t)snprintf(text, ROOM, "{");
    for (int i = 0; i < MANY; i++)
        used +=
            (size_t)snprintf(text + used, ROOM - used, "%s\"unknown-key-%d\": 1", i ? "," : "", i);
    snprintf(text + used, ROOM - used, "}");
    cr_assert_eq(parse(&config, text), LEAT_ERR_INVALID);
    cr_assert_eq(errors.count, (unsigned)MANY);
    cr_assert_lt(errors.used, sizeof errors.text);
    cr_assert_eq(errors.text[errors.used - 1], '\n', "whole lines only");
    cr_assert_eq(strlen(errors.text), errors.used);
    config_free(&config);
    free(text);
}

Test(config, sizes)
{
    static const struct {
        const char *text;
        bool right;
        uint64_t bytes;
    } cases[] = {
        { "0", true, 0 },
        { "10MiB", true, 10485760 },
        { "10 MiB", true, 10485760 },
        { "1kB", true, 1000 },
        { "1TiB", true, UINT64_C(1) << 40 },
        { "18446744073709551615", true, UINT64_MAX },
        { "18446744073709551616", false, 0 },
        { "18446744073709551615KiB", false, 0 },
        { "", false, 0 },
        { "MiB", false, 0 },
        { "-1", false, 0 },
        { "1.5GiB", false, 0 },
        { "10mib", false, 0 },
        { "10MiB ", false, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t bytes = 0;
        cr_assert_eq(config_parse_size(cases[i].text, &bytes), cases[i].right, "\"%s\"",
                     cases[i].text);
        cr_assert_eq(bytes, cases[i].bytes, "\"%s\"", cases[i].text);
    }
}

Test(config, a_port_on_the_command_line_moves_all_ports)
{
    struct config config;
    cr_assert_eq(parse(&config, "{\"shards\": 4}"), LEAT_OK);
    cr_assert(config_set_port(&config, 9000));
    cr_assert_eq(config.port, 9000);
    cr_assert_eq(config.data_port, 9010);
    cr_assert(config_set_port(&config, 0));
    cr_assert_eq(config.data_port, 0);
    cr_assert(config_set_port(&config, 65522));
    cr_assert_not(config_set_port(&config, 65523), "the fourth shard would have 65536");
    config_free(&config);
}

Test(config, the_plan_says_what_is_in_force)
{
    struct config config;
    cr_assert_eq(parse(&config, "{\"log_memory_bytes\": \"1MiB\", \"topics\": [{\"name\": \"t\","
                                " \"ring_bytes\": \"1MiB\", \"partitions\": 2}]}"),
                 LEAT_OK, "%s", errors.text);
    char *plan = config_plan(&config, NULL);
    cr_assert_not_null(plan);
    cr_assert_not_null(strstr(plan, "\"log_declared_bytes\": 2097152"));
    cr_assert_not_null(strstr(plan, "\"log_missing_bytes\": 1048576"));
    free(plan);
    config_free(&config);
}

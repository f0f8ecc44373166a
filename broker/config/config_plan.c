/* Prints the effective configuration and its memory requirements as JSON (leatd --plan). */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/config.h"
#include "broker/log/maker.h"
#include "broker/log/memory_budget.h"
#include "broker/log/partition.h"
#include "broker/shard/egress.h"
#include "broker/shard/session.h"
#include "broker/shared/mailbox.h"
#include "broker/shared/offsets.h"
#include "schema/control.h"

static json_t *plan_topics(const struct config *config)
{
    json_t *list = json_array();
    for (size_t i = 0; i < config->topic_count; i++) {
        const struct topic_settings *s = &config->topics[i].settings;
        json_array_append_new(
            list,
            json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:I}", "name",
                      config->topics[i].name, "partitions", (json_int_t)s->partitions, "ring_bytes",
                      (json_int_t)s->ring_bytes, "record_bytes_max",
                      (json_int_t)s->record_bytes_max, "retention_ms", (json_int_t)s->retention_ms,
                      "retention_bytes", (json_int_t)s->retention_bytes, "overrun",
                      CONFIG_OVERRUN_NAMES[s->overrun], "required_timeout_ms",
                      (json_int_t)s->required_timeout_ms, "quota_publish_bytes",
                      (json_int_t)s->quota_publish_bytes, "quota_deliver_bytes",
                      (json_int_t)s->quota_deliver_bytes));
    }
    return list;
}

static json_t *plan_quotas(const struct config *config)
{
    json_t *list = json_array();
    for (size_t i = 0; i < config->quota_count; i++) {
        const struct config_quota *q = &config->quotas[i];
        json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "client", q->client,
                                              "publish_bytes", (json_int_t)q->publish_bytes,
                                              "deliver_bytes", (json_int_t)q->deliver_bytes));
    }
    return list;
}

/* The parts of client_memory_bytes, in bytes. */
static json_t *plan_client_parts(const struct config *config)
{
    const struct memory_budget budget = { .limit_bytes = config->client_memory_bytes };
    const json_int_t hello = LEAT_CONTROL_HELLO_BYTES_MAX,
                     producer = PRODUCER_DEDUP_BYTES + PRODUCER_DEDUP_SHARE_BYTES,
                     result = PRODUCER_DEDUP_RESULT_BYTES, session = SESSION_BYTES_MAX,
                     entry = sizeof(struct offsets_entry);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "each_address_max",
                     (json_int_t)(budget.limit_bytes / SHARE_OF_ADDRESS), "all_groups_max",
                     (json_int_t)(budget.limit_bytes / MEMORY_OF_GROUPS), "each_connection_max",
                     (json_int_t)memory_account_most(&budget), "each_connection_before_hello",
                     hello + LEAT_CONTROL_PREFIX_BYTES, "each_session", session,
                     "each_producer_and_partition", producer, "each_producer_and_partition_max",
                     producer + LEAT_IN_FLIGHT_BATCHES_MAX * result, "each_group_and_partition",
                     entry);
}

/* Memory limits, budgets and requirements, in bytes. */
static json_t *plan_memory(const struct config *config)
{
    uint64_t declared = 0;
    for (size_t i = 0; i < config->topic_count; i++)
        declared += config->topics[i].settings.ring_bytes * config->topics[i].settings.partitions;
    const uint64_t limit = config->log_memory_bytes;
    const uint64_t mailboxes = UINT64_C(2) * sizeof(struct mailbox) * config->shards;
    const uint64_t session = SESSION_RECEIVE_BYTES + EGRESS_BYTES;
    const uint64_t sessions = session * config->sessions_max * config->shards;
    const bool limited = config->memory_limit.from[0] != '\0';
    return json_pack("{s:o, s:s*, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "limit_bytes",
                     limited ? json_integer((json_int_t)config->memory_limit.bytes) : json_null(),
                     "limit_from", limited ? config->memory_limit.from : NULL, "client_limit_bytes",
                     (json_int_t)config->client_memory_bytes, "client_parts",
                     plan_client_parts(config), "log_limit_bytes", (json_int_t)limit,
                     "log_declared_bytes", (json_int_t)declared, "log_missing_bytes",
                     (json_int_t)(declared > limit ? declared - limit : 0), "mailboxes_bytes",
                     (json_int_t)mailboxes, "each_session_bytes", (json_int_t)session,
                     "all_sessions_bytes_max", (json_int_t)sessions);
}

/* `plans`: the requirements of each port, from the driver; NULL: the driver is not installed. */
static json_t *plan_ports(const struct config *config, const struct link_dpdk_plan *plans)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < config->ports.count; i++) {
        char ip[16];
        const struct config_port *port = &config->ports.list[i];
        config_port_ip_text(port->options.ip, ip);
        json_t *row = json_pack("{s:s, s:s, s:i}", "device", port->device, "ip", ip, "prefix_bits",
                                (int)port->options.prefix_bits);
        if (plans != NULL) {
            json_object_set_new(row, "buffers", json_integer(plans[i].buffers));
            json_object_set_new(row, "buffer_bytes", json_integer(plans[i].buffer_bytes));
            json_object_set_new(row, "memory_bytes",
                                json_integer((json_int_t)plans[i].memory_bytes));
        }
        json_array_append_new(list, row);
    }
    return list;
}

char *config_plan(const struct config *config, const struct link_dpdk_plan *ports)
{
    json_t *cpus = json_array();
    for (uint32_t i = 0; i < config->cpu_count; i++)
        json_array_append_new(cpus, json_integer(config->cpus[i]));
    json_t *plan = json_pack(
        "{s:s, s:i, s:i, s:{s:s}, s:i, s:o, s:s, s:s*, s:I, s:s, s:I, s:i, s:i, s:i, s:I, s:I, "
        "s:s*, "
        "s:i, s:i, s:I, s:b, s:b, s:o, s:s, s:o, s:o, s:o}",
        "host", config->host, "port", (int)config->port, "data_port", (int)config->data_port,
        "advertise", "host",
        config->advertise_host[0] != '\0' ? config->advertise_host : config->host, "shards",
        (int)config->shards, "cpus", cpus, "idle", CONFIG_IDLE_NAMES[config->idle], "state_dir",
        config->state_dir[0] != '\0' ? config->state_dir : NULL, "log_memory_bytes",
        (json_int_t)config->log_memory_bytes, "hugepages",
        CONFIG_HUGEPAGES_NAMES[config->hugepages], "client_memory_bytes",
        (json_int_t)config->client_memory_bytes, "sessions_max", (int)config->sessions_max,
        "connections_max", (int)config->connections_max, "producers_max",
        (int)config->producers_max, "producer_idle_ms", (json_int_t)config->producer_idle_ms,
        "socket_buffer_bytes", (json_int_t)config->socket_buffer_bytes, "tcp_congestion",
        config->tcp_congestion[0] != '\0' ? config->tcp_congestion : NULL, "keepalive_ms",
        (int)config->keepalive_ms, "offsets_snapshot_ms", (int)config->offsets_snapshot_ms,
        "offsets_retention_ms", (json_int_t)config->offsets_retention_ms, "udp", (int)config->udp,
        "allow_unauthenticated", (int)config->allow_unauthenticated, "dpdk",
        plan_ports(config, ports), "log_level", LOG_LEVEL_NAMES[config->log_level], "quotas",
        plan_quotas(config), "topics", plan_topics(config), "memory", plan_memory(config));
    char *text = plan != NULL ? json_dumps(plan, JSON_INDENT(2)) : NULL;
    json_decref(plan);
    return text;
}

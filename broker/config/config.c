/* Config: the broker's configuration, read from JSON and validated as a whole. */
#include "broker/config/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/config/config_value.h"
#include "broker/log/memory_budget.h"
#include "broker/log/partition.h"
#include "broker/shard/session.h"
#include "schema/control.h"
#include "schema/session_id.h"

enum {
    PORT_DEFAULT = 7420,
    CONNECTIONS_DEFAULT = 65536,
    CONNECTIONS_LIMIT = 1 << 20,
    PRODUCERS_LIMIT = 1 << 20,
    KEEPALIVE_DEFAULT_MS = 15000,
    OFFSETS_SNAPSHOT_DEFAULT_MS = 5000,
    OFFSETS_SNAPSHOT_MAX_MS = 3600000,
    KEEPALIVE_MIN_MS = 100,
    KEEPALIVE_MAX_MS = 3600000,
    SOCKET_BUFFER_MAX = 1 << 30,
};
#define PRODUCER_IDLE_DEFAULT_MS (UINT64_C(7) * 24 * 3600 * 1000)
#define PRODUCER_IDLE_MAX_MS (UINT64_C(365) * 24 * 3600 * 1000)
#define OFFSETS_RETENTION_DEFAULT_MS (UINT64_C(7) * 24 * 3600 * 1000)
#define OFFSETS_RETENTION_MIN_MS 1000
#define OFFSETS_RETENTION_MAX_MS (UINT64_C(100) * 365 * 24 * 3600 * 1000)
#define LOG_MEMORY_MIN LEAT_MIB

const char *const CONFIG_IDLE_NAMES[] = {
    [IDLE_LATENCY] = "latency", [IDLE_BALANCED] = "balanced", [IDLE_LAPTOP] = "laptop", NULL
};
const char *const CONFIG_HUGEPAGES_NAMES[] = {
    [LOGMEM_AUTO] = "auto", [LOGMEM_HUGE] = "require", [LOGMEM_NORMAL] = "off", NULL
};
const char *const CONFIG_OVERRUN_NAMES[] = {
    [PARTITION_EVICT] = "evict", [PARTITION_BLOCK] = "block", NULL
};

void config_init(struct config *config, bool dev)
{
    *config = (struct config){
        .host = "127.0.0.1",
        .port = PORT_DEFAULT,
        .data_port = CONFIG_DATA_PORT_DEFAULT,
        .shards = 1,
        .udp = true,
        .idle = dev ? IDLE_LAPTOP : IDLE_BALANCED,
        .hugepages = dev ? LOGMEM_NORMAL : LOGMEM_AUTO,
        .sessions_max = LEAT_SESSION_SLOTS_MAX,
        .connections_max = CONNECTIONS_DEFAULT,
        .producers_max = PARTITION_PRODUCERS_DEFAULT,
        .producer_idle_ms = PRODUCER_IDLE_DEFAULT_MS,
        .keepalive_ms = KEEPALIVE_DEFAULT_MS,
        .offsets_snapshot_ms = OFFSETS_SNAPSHOT_DEFAULT_MS,
        .offsets_retention_ms = OFFSETS_RETENTION_DEFAULT_MS,
        .log_level = LOG_INFO,
    };
}

void config_free(struct config *config)
{
    free(config->quotas);
    free(config->topics);
    config_ports_free(&config->ports);
    config->quotas = NULL;
    config->topics = NULL;
}

/* ---- topics and quotas */

static void parse_topic_settings(const struct config_place *at, struct topic_settings *s)
{
    unsigned overrun = PARTITION_EVICT;
    uint64_t record_bytes = 0;
    const unsigned before = at->errors->count;
    config_u32(at, "partitions", 1, LEAT_PARTITIONS_MAX, &s->partitions);
    config_size(at, "ring_bytes", LEAT_RING_BYTES_MIN, LEAT_RING_BYTES_LIMIT, &s->ring_bytes);
    config_size(at, "record_bytes_max", 1, LEAT_RECORD_BYTES_LIMIT, &record_bytes);
    config_integer(at, "retention_ms", 0, INT64_MAX / LEAT_NS_PER_MS, &s->retention_ms);
    config_size(at, "retention_bytes", 0, LEAT_RING_BYTES_LIMIT, &s->retention_bytes);
    config_choice(at, "overrun", CONFIG_OVERRUN_NAMES, &overrun);
    config_integer(at, "required_timeout_ms", 1, INT64_MAX / LEAT_NS_PER_MS,
                   &s->required_timeout_ms);
    config_size(at, "quota_publish_bytes", 0, LEAT_QUOTA_BYTES_LIMIT, &s->quota_publish_bytes);
    config_size(at, "quota_deliver_bytes", 0, LEAT_QUOTA_BYTES_LIMIT, &s->quota_deliver_bytes);
    s->record_bytes_max = (uint32_t)record_bytes;
    s->overrun = (uint8_t)overrun;
    struct settings_error error;
    if (at->errors->count == before && settings_resolve(s, &error) != LEAT_OK)
        config_mistake(at, error.name, error.got, error.expected);
}

static void parse_topic(struct config *config, const struct config_place *at)
{
    static const char *const known[] = { "name",
                                         "partitions",
                                         "ring_bytes",
                                         "record_bytes_max",
                                         "retention_ms",
                                         "retention_bytes",
                                         "overrun",
                                         "required_timeout_ms",
                                         "quota_publish_bytes",
                                         "quota_deliver_bytes",
                                         NULL };
    static const char rule[] = "a topic name: 1 to 249 of A-Z a-z 0-9 . _ - and not . or ..";
    struct config_topic *topic = &config->topics[config->topic_count++];
    config_known_keys(at, known);
    json_t *name = json_object_get(at->object, "name");
    if (name == NULL)
        config_mistake(at, "name", "nothing", rule);
    else if (config_text(at, "name", rule, topic->name, sizeof topic->name)
             && !leat_name_valid(topic->name, strlen(topic->name)))
        config_wrong(at, "name", name, rule);
    for (size_t i = 0; topic->name[0] != '\0' && i + 1 < config->topic_count; i++) {
        if (strcmp(config->topics[i].name, topic->name) == 0) {
            config_wrong(at, "name", name, "a name that no other topic in this list has");
            break;
        }
    }
    parse_topic_settings(at, &topic->settings);
}

static void parse_quota(struct config *config, const struct config_place *at)
{
    static const char *const known[] = { "client", "publish_bytes", "deliver_bytes", NULL };
    static const char rule[] = "a client name, or \"*\" for every other client";
    struct config_quota *quota = &config->quotas[config->quota_count++];
    config_known_keys(at, known);
    json_t *client = json_object_get(at->object, "client");
    if (client == NULL)
        config_mistake(at, "client", "nothing", rule);
    else if (config_text(at, "client", rule, quota->client, sizeof quota->client)
             && strcmp(quota->client, "*") != 0
             && !leat_name_valid(quota->client, strlen(quota->client)))
        config_wrong(at, "client", client, rule);
    for (size_t i = 0; i + 1 < config->quota_count; i++)
        if (strcmp(config->quotas[i].client, quota->client) == 0)
            config_wrong(at, "client", client,
                         "a client name that no other quota in this list has");
    config_size(at, "publish_bytes", 0, LEAT_QUOTA_BYTES_LIMIT, &quota->publish_bytes);
    config_size(at, "deliver_bytes", 0, LEAT_QUOTA_BYTES_LIMIT, &quota->deliver_bytes);
}

/* Calls `parse` for each object of the list `key`. False: no memory. */
static bool parse_list(struct config *config, const struct config_place *at, const char *key,
                       size_t count_max,
                       void (*parse)(struct config *config, const struct config_place *at))
{
    char expected[64];
    json_t *list = json_object_get(at->object, key);
    if (list == NULL)
        return true;
    snprintf(expected, sizeof expected, "a list of at most %zu objects", count_max);
    if (!json_is_array(list) || json_array_size(list) > count_max) {
        config_wrong(at, key, list, expected);
        return true;
    }
    const size_t count = json_array_size(list);
    void *memory = calloc(count + 1, parse == parse_topic ? sizeof(struct config_topic)
                                                          : sizeof(struct config_quota));
    if (memory == NULL)
        return false;
    if (parse == parse_topic)
        config->topics = memory;
    else
        config->quotas = memory;
    for (size_t i = 0; i < count; i++) {
        struct config_place inside = *at;
        inside.object = json_array_get(list, i);
        snprintf(inside.path, sizeof inside.path, "%s[%zu]", key, i);
        if (!json_is_object(inside.object)) {
            config_wrong(&inside, "", inside.object, "an object");
            continue;
        }
        strcat(inside.path, ".");
        parse(config, &inside);
    }
    return true;
}

/* ---- the rest */

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static void parse_host(struct config *config, const struct config_place *at)
{
    static const char rule[] = "a numeric address such as \"127.0.0.1\" or \"::1\"";
    unsigned char address[sizeof(struct in6_addr)];
    json_t *value = json_object_get(at->object, "host");
    config_bool(at, "allow_unauthenticated", &config->allow_unauthenticated);
    if (!config_text(at, "host", rule, config->host, sizeof config->host))
        return;
    if (inet_pton(AF_INET, config->host, address) != 1
        && inet_pton(AF_INET6, config->host, address) != 1) {
        config_wrong(at, "host", value, rule);
    } else if (!is_loopback(config->host) && !config->allow_unauthenticated) {
        config_wrong(
            at, "host", value,
            "a loopback address: every client that can reach another one can read and write "
            "everything; add \"allow_unauthenticated\": true to allow that");
    }
}

/* A valid host in front of ":port": an address or a DNS name. */
static bool is_host(const char *host)
{
    static const char name_bytes[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    struct in6_addr v6;
    return inet_pton(AF_INET6, host, &v6) == 1
           || (host[0] != '\0' && host[strspn(host, name_bytes)] == '\0');
}

static void parse_advertise(struct config *config, const struct config_place *at)
{
    static const char *const known[] = { "host", NULL };
    static const char rule[] =
        "the host name or address at which clients reach this broker, without a port";
    json_t *value = json_object_get(at->object, "advertise");
    if (value == NULL)
        return;
    if (!json_is_object(value)) {
        config_wrong(at, "advertise", value, "an object with \"host\"");
        return;
    }
    struct config_place inside = *at;
    inside.object = value;
    snprintf(inside.path, sizeof inside.path, "advertise.");
    config_known_keys(&inside, known);
    if (config_text(&inside, "host", rule, config->advertise_host, sizeof config->advertise_host)
        && !is_host(config->advertise_host))
        config_wrong(&inside, "host", json_object_get(value, "host"), rule);
}

static void parse_shards(struct config *config, const struct config_place *at)
{
    json_t *value = json_object_get(at->object, "shards");
    const json_int_t count = json_integer_value(value); /* 0: not an integer */
    if (value == NULL)
        return;
    if (count >= 1 && count <= LEAT_SHARDS_MAX)
        config->shards = (uint32_t)count;
    else
        config_wrong(at, "shards", value,
                     "an integer from 1 to 64: each shard is a thread with its own data port");
}

static void parse_cpus(struct config *config, const struct config_place *at)
{
    char expected[96];
    json_t *list = json_object_get(at->object, "cpus");
    if (list == NULL)
        return;
    snprintf(expected, sizeof expected, "a list of one processor number (0 to %d) per shard (%u)",
             CPU_SETSIZE - 1, config->shards);
    if (!json_is_array(list) || json_array_size(list) != config->shards) {
        config_wrong(at, "cpus", list, expected);
        return;
    }
    for (uint32_t i = 0; i < config->shards; i++) {
        json_t *cpu = json_array_get(list, i);
        const json_int_t number = json_integer_value(cpu);
        if (!json_is_integer(cpu) || number < 0 || number >= CPU_SETSIZE) {
            config_wrong(at, "cpus", list, expected);
            return;
        }
        config->cpus[i] = (int)number;
    }
    config->cpu_count = config->shards;
}

static void parse_ports(struct config *config, const struct config_place *at)
{
    uint64_t port = config->port, data_port = config->data_port;
    config_integer(at, "port", 0, UINT16_MAX, &port);
    config_integer(at, "data_port", 0, UINT16_MAX, &data_port);
    config->port = (uint16_t)port;
    config->data_port = (uint16_t)data_port;
    if (data_port != 0 && data_port + config->shards - 1 > UINT16_MAX) {
        char got[32];
        snprintf(got, sizeof got, "%" PRIu64, data_port);
        config_mistake(at, "data_port", got,
                       "a first data port such that the port of the last shard is at most 65535");
    }
}

static void parse_limits(struct config *config, const struct config_place *at)
{
    uint64_t buffer = config->socket_buffer_bytes;
    config_size(at, "log_memory_bytes", LOG_MEMORY_MIN, UINT64_C(1) << 50,
                &config->log_memory_bytes);
    config_size(at, "client_memory_bytes", MEMORY_BUDGET_BYTES_MIN, UINT64_C(1) << 50,
                &config->client_memory_bytes);
    config_u32(at, "sessions_max", 1, LEAT_SESSION_SLOTS_MAX, &config->sessions_max);
    config_u32(at, "connections_max", 1, CONNECTIONS_LIMIT, &config->connections_max);
    config_u32(at, "producers_max", 1, PRODUCERS_LIMIT, &config->producers_max);
    config_integer(at, "producer_idle_ms", 1000, PRODUCER_IDLE_MAX_MS, &config->producer_idle_ms);
    config_size(at, "socket_buffer_bytes", 0, SOCKET_BUFFER_MAX, &buffer);
    config_text(at, "tcp_congestion",
                "a congestion control algorithm of the kernel, such as \"cubic\"",
                config->tcp_congestion, sizeof config->tcp_congestion);
    config_u32(at, "keepalive_ms", KEEPALIVE_MIN_MS, KEEPALIVE_MAX_MS, &config->keepalive_ms);
    config_u32(at, "offsets_snapshot_ms", 0, OFFSETS_SNAPSHOT_MAX_MS, &config->offsets_snapshot_ms);
    config_integer(at, "offsets_retention_ms", OFFSETS_RETENTION_MIN_MS, OFFSETS_RETENTION_MAX_MS,
                   &config->offsets_retention_ms);
    config->socket_buffer_bytes = (uint32_t)buffer;
}

static void parse_state_dir(struct config *config, const struct config_place *at)
{
    static const char rule[] = "the path of a directory, at most 499 bytes";
    if (config_text(at, "state_dir", rule, config->state_dir, sizeof config->state_dir)
        && config->state_dir[0] == '\0')
        config_mistake(at, "state_dir", "\"\"", rule);
}

/* Without authentication, a port that other machines can reach lets them read and write everything.
 */
static void check_ports(const struct config *config, const struct config_place *at)
{
    for (uint32_t i = 0; i < config->ports.count && !config->allow_unauthenticated; i++) {
        char key[48];
        if (config_port_is_private(&config->ports.list[i]))
            continue;
        snprintf(key, sizeof key, "dpdk.ports[%u].device", i);
        config_mistake(at, key, config->ports.list[i].device,
                       "net_memif or net_vhost, which only this machine can reach: every host that "
                       "can reach another device can read and write everything; add "
                       "\"allow_unauthenticated\": true to allow that");
    }
}

static bool parse_root(struct config *config, const struct config_place *at)
{
    static const char *const known[] = { "host",
                                         "port",
                                         "data_port",
                                         "advertise",
                                         "shards",
                                         "cpus",
                                         "idle",
                                         "state_dir",
                                         "log_memory_bytes",
                                         "hugepages",
                                         "client_memory_bytes",
                                         "sessions_max",
                                         "connections_max",
                                         "producers_max",
                                         "producer_idle_ms",
                                         "socket_buffer_bytes",
                                         "tcp_congestion",
                                         "keepalive_ms",
                                         "offsets_snapshot_ms",
                                         "offsets_retention_ms",
                                         "udp",
                                         "dpdk",
                                         "allow_unauthenticated",
                                         "log_level",
                                         "quotas",
                                         "topics",
                                         NULL };
    unsigned idle = config->idle, pages = config->hugepages, level = config->log_level;
    config_known_keys(at, known);
    parse_host(config, at);
    parse_advertise(config, at);
    parse_shards(config, at);
    parse_ports(config, at);
    parse_cpus(config, at);
    parse_state_dir(config, at);
    parse_limits(config, at);
    config_bool(at, "udp", &config->udp);
    config_choice(at, "idle", CONFIG_IDLE_NAMES, &idle);
    config_choice(at, "hugepages", CONFIG_HUGEPAGES_NAMES, &pages);
    config_choice(at, "log_level", LOG_LEVEL_NAMES, &level);
    config->idle = (enum idle_mode)idle;
    config->hugepages = (enum logmem_pages)pages;
    config->log_level = (enum log_level)level;
    if (!config_ports_parse(&config->ports, at))
        return false;
    check_ports(config, at);
    return parse_list(config, at, "quotas", CONFIG_QUOTAS_MAX, parse_quota)
           && parse_list(config, at, "topics", CONFIG_TOPICS_MAX, parse_topic);
}

static enum leat_error say(struct config_errors *errors, enum leat_error error, const char *name,
                           const char *text)
{
    errors->count++;
    const int wrote = snprintf(errors->text, sizeof errors->text, "%s: %s\n", name, text);
    errors->used = (size_t)wrote < sizeof errors->text ? (size_t)wrote : sizeof errors->text - 1;
    return error;
}

enum leat_error config_parse(struct config *config, const char *bytes, size_t size,
                             const char *name, struct config_errors *errors)
{
    char text[JSON_ERROR_TEXT_LENGTH + 64];
    json_error_t wrong;
    *errors = (struct config_errors){ .used = 0 };
    json_t *root = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &wrong);
    if (root == NULL) {
        snprintf(text, sizeof text, "line %d, column %d: not JSON: %s", wrong.line, wrong.column,
                 wrong.text);
        return say(errors, LEAT_ERR_MALFORMED, name, text);
    }
    if (!json_is_object(root)) {
        json_decref(root);
        return say(errors, LEAT_ERR_INVALID, name, "line 1: expected a JSON object: { ... }");
    }
    const struct config_place at = { .errors = errors, .file = name, .object = root };
    const bool enough = parse_root(config, &at);
    json_decref(root);
    if (!enough)
        return say(errors, LEAT_ERR_NO_MEMORY, name, "not enough memory to read the configuration");
    return errors->count == 0 ? LEAT_OK : LEAT_ERR_INVALID;
}

/* Reads at most one byte more than a configuration may have. -1: errno is set. The caller frees
 * *bytes in both cases. */
static ssize_t read_file(int fd, char **bytes)
{
    const size_t room = CONFIG_FILE_BYTES_MAX + 1;
    size_t size = 0;
    *bytes = malloc(room);
    if (*bytes == NULL)
        return -1;
    while (size < room) {
        const ssize_t got = read(fd, *bytes + size, room - size);
        if (got == 0)
            break;
        if (got < 0 && errno != EINTR)
            return -1;
        size += got > 0 ? (size_t)got : 0;
    }
    return (ssize_t)size;
}

static enum leat_error load(struct config *config, const char *path, int fd,
                            struct config_errors *errors)
{
    char *bytes = NULL;
    const ssize_t size = fd < 0 ? -1 : read_file(fd, &bytes);
    const int reason = errno;
    if (fd >= 0)
        close(fd);
    enum leat_error error;
    if (size < 0)
        error = say(errors, LEAT_ERR_IO, path, strerror(reason));
    else if (size > CONFIG_FILE_BYTES_MAX)
        error = say(errors, LEAT_ERR_TOO_LARGE, path,
                    "the file is larger than 4 MiB, the maximum for a configuration");
    else
        error = config_parse(config, bytes, (size_t)size, path, errors);
    free(bytes);
    return error;
}

enum leat_error config_load(struct config *config, const char *path, struct config_errors *errors)
{
    *errors = (struct config_errors){ .used = 0 };
    return load(config, path, open(path, O_RDONLY | O_CLOEXEC), errors);
}

enum leat_error config_load_again(struct config *config, const char *path,
                                  struct config_errors *errors)
{
    struct stat about;
    *errors = (struct config_errors){ .used = 0 };
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || (fstat(fd, &about) == 0 && S_ISREG(about.st_mode)))
        return load(config, path, fd, errors);
    close(fd);
    return say(errors, LEAT_ERR_IO, path,
               "only a regular file can be read again; this is a pipe, a directory or a device");
}

/* ---- derived settings */

bool config_set_port(struct config *config, uint32_t port)
{
    const uint32_t data = port == 0 ? 0 : port + CONFIG_PORT_STEP;
    if (data != 0 && data + config->shards - 1 > UINT16_MAX)
        return false;
    config->port = (uint16_t)port;
    config->data_port = (uint16_t)data;
    return true;
}

const struct config_quota *config_quota_of(const struct config *config, const char *client)
{
    const struct config_quota *everyone = NULL;
    for (size_t i = 0; i < config->quota_count; i++) {
        if (strcmp(config->quotas[i].client, client) == 0)
            return &config->quotas[i];
        if (strcmp(config->quotas[i].client, "*") == 0)
            everyone = &config->quotas[i];
    }
    return everyone;
}

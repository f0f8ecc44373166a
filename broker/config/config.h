/* Config: the broker's configuration, read from JSON, validated as a whole and printed by --plan.
 *
 * Role: defaults and ranges. Every mistake in a file is reported, each with file, location, value
 * and expected value.
 * Must not know: what the values are used for.
 *
 * config_parse is pure: bytes in, a struct or errors out.
 * Threads: any. */
#ifndef LEAT_BROKER_CONFIG_CONFIG_H
#define LEAT_BROKER_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/config/config_ports.h"
#include "broker/config/memory_limits.h"
#include "broker/log/logmem.h"
#include "broker/shard/shard.h"
#include "broker/shared/settings.h"
#include "ops/log.h"

enum {
    CONFIG_HOST_BYTES = 64,
    CONFIG_ADVERTISE_BYTES = 254,
    CONFIG_FOLDER_BYTES = 500,
    CONFIG_CONGESTION_BYTES = 16,
    CONFIG_TOPICS_MAX = 4096,
    CONFIG_QUOTAS_MAX = 4096,
    CONFIG_FILE_BYTES_MAX = 4 << 20,
    CONFIG_ERROR_BYTES = 16384,
    CONFIG_MEMORY_TEXT = 1024,
    CONFIG_DATA_PORT_DEFAULT = 7430,
    CONFIG_PORT_STEP = 10, /* --port N: data ports from N + this */
};

struct config_topic {
    char name[LEAT_NAME_BYTES_MAX + 1];
    struct topic_settings settings; /* resolved */
};

struct config_quota {
    char client[LEAT_CLIENT_NAME_BYTES_MAX + 1]; /* "*": every client not named */
    uint64_t publish_bytes;                      /* per second; 0: no limit */
    uint64_t deliver_bytes;
};

struct config {
    char host[CONFIG_HOST_BYTES];                /* numeric */
    char advertise_host[CONFIG_ADVERTISE_BYTES]; /* empty: the bound address */
    uint16_t port, data_port;
    uint32_t shards;
    int cpus[LEAT_SHARDS_MAX];
    uint32_t cpu_count; /* 0: threads are not pinned */
    enum idle_mode idle;
    char state_dir[CONFIG_FOLDER_BYTES]; /* empty: no state is kept */
    uint64_t log_memory_bytes;           /* 0: not set; config_fit_memory chooses */
    enum logmem_pages hugepages;
    uint64_t client_memory_bytes; /* besides the logs; 0: not set */
    uint32_t sessions_max;        /* per shard */
    uint32_t connections_max;     /* of control and of each shard */
    uint32_t producers_max;       /* per partition */
    uint64_t producer_idle_ms;
    uint32_t socket_buffer_bytes;
    char tcp_congestion[CONFIG_CONGESTION_BYTES];
    uint32_t keepalive_ms;
    uint32_t offsets_snapshot_ms;     /* between snapshots of group offsets; 0: at shutdown only */
    struct memory_limit memory_limit; /* computed: the limit in force for the pages of the logs */
    uint64_t offsets_retention_ms;    /* of unused groups and producer names */
    bool udp;                         /* accept packets over UDP on the data ports */
    struct config_ports ports;
    bool allow_unauthenticated;
    enum log_level log_level;
    struct config_quota *quotas;
    size_t quota_count;
    struct config_topic *topics;
    size_t topic_count;
};

/* Names of enum values, in the file and in --plan, by value; NULL-terminated. */
extern const char *const CONFIG_IDLE_NAMES[];      /* of enum idle_mode */
extern const char *const CONFIG_HUGEPAGES_NAMES[]; /* of enum logmem_pages */
extern const char *const CONFIG_OVERRUN_NAMES[];   /* of enum partition_overrun */

/* One mistake per line. Mistakes that do not fit are counted only. */
struct config_errors {
    char text[CONFIG_ERROR_BYTES];
    size_t used;
    unsigned count;
};

/* Sets the defaults; with `dev`, those of --dev. */
void config_init(struct config *config, bool dev);
void config_free(struct config *config);

/* Applies the settings in `bytes` to `config`, which config_init has set. `name` is the file name
 * for messages. Returns LEAT_ERR_MALFORMED (not JSON), LEAT_ERR_INVALID or LEAT_ERR_NO_MEMORY; then
 * `errors` describes all mistakes and `config` may only be passed to config_free. */
enum leat_error config_parse(struct config *config, const char *bytes, size_t size,
                             const char *name, struct config_errors *errors);

/* Reads the file and parses it; LEAT_ERR_IO, LEAT_ERR_TOO_LARGE, or as config_parse. */
enum leat_error config_load(struct config *config, const char *path, struct config_errors *errors);
/* The same for a running broker, which must not block on a pipe: LEAT_ERR_IO unless `path` is a
 * regular file. */
enum leat_error config_load_again(struct config *config, const char *path,
                                  struct config_errors *errors);

/* Sets log_memory_bytes and client_memory_bytes, if not configured, to a half and a quarter of the
 * memory available to the process. LEAT_ERR_LIMIT: the configured budgets exceed a limit, which
 * `text` names. LEAT_OK: `text` is empty or a warning. */
enum leat_error config_fit_memory(struct config *config, const struct memory_limits *limits,
                                  char text[CONFIG_MEMORY_TEXT]);

/* Sets the control port to `port` and the data ports to `port` + CONFIG_PORT_STEP + shard; 0: any
 * free ports. False: a data port would be above 65535. */
bool config_set_port(struct config *config, uint32_t port);

/* The quota of the client name, or that of "*"; NULL: none. */
const struct config_quota *config_quota_of(const struct config *config, const char *client);

/* The effective configuration as JSON text, which the caller frees; NULL: no memory. `ports`: the
 * memory that each bypass port needs; NULL: unknown. */
char *config_plan(const struct config *config, const struct link_dpdk_plan *ports);

#endif

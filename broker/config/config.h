/* Config: what the operator wants, read from JSON, checked as a whole, shown by --plan.
 *
 * Role: defaults, ranges, and messages that name file, place, value and what was expected; all
 * mistakes of a file are reported at once. Must not know: what the values lead to.
 *
 * config_parse is pure: bytes in, struct or errors out. Threads: any. */
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
    char client[LEAT_CLIENT_NAME_BYTES_MAX + 1]; /* "*": everyone not named */
    uint64_t publish_bytes;                      /* a second; 0: none */
    uint64_t deliver_bytes;
};

struct config {
    char host[CONFIG_HOST_BYTES];                /* numeric */
    char advertise_host[CONFIG_ADVERTISE_BYTES]; /* empty: the address bound */
    uint16_t port, data_port;
    uint32_t shards;
    int cpus[LEAT_SHARDS_MAX];
    uint32_t cpu_count; /* 0: nothing is pinned */
    enum idle_mode idle;
    char state_dir[CONFIG_FOLDER_BYTES]; /* empty: nothing is kept */
    uint64_t log_memory_bytes;           /* 0: not given, see config_fit_memory */
    enum logmem_pages hugepages;
    uint64_t client_memory_bytes; /* beside the logs; 0: not given, see config_fit_memory */
    uint32_t sessions_max;        /* per shard */
    uint32_t connections_max;     /* of control, and of each shard */
    uint32_t producers_max;       /* per partition */
    uint64_t producer_idle_ms;
    uint32_t socket_buffer_bytes;
    char tcp_congestion[CONFIG_CONGESTION_BYTES];
    uint32_t keepalive_ms;
    uint32_t offsets_snapshot_ms;     /* between two of where groups stand; 0: at the end only */
    struct memory_limit memory_limit; /* the least one, of what the logs' pages are; not read */
    uint64_t offsets_retention_ms;    /* of a group, or a producer's name, that nobody uses */
    bool udp;                         /* take packets over UDP too, on the data ports */
    struct config_ports ports;
    bool allow_unauthenticated;
    enum log_level log_level;
    struct config_quota *quotas;
    size_t quota_count;
    struct config_topic *topics;
    size_t topic_count;
};

/* One mistake a line; what does not fit is counted. */
struct config_errors {
    char text[CONFIG_ERROR_BYTES];
    size_t used;
    unsigned count;
};

/* The defaults; `dev`: those of --dev. */
void config_init(struct config *config, bool dev);
void config_free(struct config *config);

/* Lays what the file says over `config`, which was initialised. `name` stands in messages.
 * LEAT_ERR_MALFORMED (not JSON), LEAT_ERR_INVALID: `errors` says all of it; `config` is then only
 * good for config_free. LEAT_ERR_NO_MEMORY. */
enum leat_error config_parse(struct config *config, const char *bytes, size_t size,
                             const char *name, struct config_errors *errors);

/* Reads the file and parses it. */
enum leat_error config_load(struct config *config, const char *path, struct config_errors *errors);
/* The same while the broker runs, which does not wait for a pipe's other end: LEAT_ERR_IO unless it
 * is a regular file. */
enum leat_error config_load_again(struct config *config, const char *path,
                                  struct config_errors *errors);

/* Gives log_memory_bytes and client_memory_bytes values where they have none: a half and a quarter
 * of what the machine has left and this process may have. LEAT_ERR_LIMIT: what the file says is
 * more than that, and `text` says which limit. LEAT_OK: `text` is empty or warns. */
enum leat_error config_fit_memory(struct config *config, const struct memory_limits *limits,
                                  char text[CONFIG_MEMORY_TEXT]);

/* Port N, data ports N + CONFIG_PORT_STEP + shard; 0: all of them free-chosen. False: no room above
 * N. */
bool config_set_port(struct config *config, uint32_t port);

/* The limits in force for a client of this name; NULL: none. */
const struct config_quota *config_quota_of(const struct config *config, const char *client);

/* The configuration in force as JSON text; the caller frees. `ports`: what each bypass port takes;
 * NULL: not known here. NULL: no memory. */
char *config_plan(const struct config *config, const struct link_dpdk_plan *ports);

#endif

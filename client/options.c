/* Options of the application, checked and with defaults filled in. */
#include "client/options.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "schema/control.h"

#define TIMEOUT_DEFAULT_NS (5 * LEAT_NS_PER_S)
#define BACKOFF_MIN_DEFAULT_NS (10 * LEAT_NS_PER_MS)
#define BACKOFF_MAX_DEFAULT_NS (2 * LEAT_NS_PER_S)
#define CIRCUIT_OPEN_DEFAULT_NS (10 * LEAT_NS_PER_S)
#define PAUSE_LIMIT_NS (3600 * LEAT_NS_PER_S)
#define COMMIT_INTERVAL_DEFAULT_NS (LEAT_NS_PER_S)
#define WINDOW_DEFAULT_BYTES (LEAT_MIB)
#define WINDOW_LIMIT_BYTES (LEAT_GIB)

enum {
    CIRCUIT_FAILURES_DEFAULT = 10,
    IN_FLIGHT_DEFAULT = 16,
    BATCH_BYTES_MIN = 1024,
    BATCH_BYTES_LIMIT = 1 << 20,
};

#define NAME_RULE "1 to 249 of A-Z a-z 0-9 . _ - and not . or .."

/* Copies the fields that the caller's struct has and this library knows. */
static bool copy_sized(void *out, size_t out_bytes, const void *given, size_t least)
{
    memset(out, 0, out_bytes);
    if (given != NULL) {
        size_t size;
        memcpy(&size, given, sizeof size);
        if (size < least)
            return false;
        memcpy(out, given, size < out_bytes ? size : out_bytes);
    }
    memcpy(out, &out_bytes, sizeof out_bytes);
    return true;
}

static enum leat_error size_refused(char *why, size_t why_bytes, const char *what)
{
    snprintf(why, why_bytes, "%s.size: expected sizeof(struct %s)", what, what);
    return LEAT_ERR_INVALID;
}

static enum leat_error name_refused(char *why, size_t why_bytes, const char *what, const char *name)
{
    snprintf(why, why_bytes, "%s \"%.80s\": expected " NAME_RULE, what, name);
    return LEAT_ERR_INVALID;
}

static void use_default(uint64_t *value, uint64_t otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

static enum leat_error check_client_name(struct client_options *out, char *why, size_t why_bytes)
{
    const char *name = out->values.client_name != NULL ? out->values.client_name : "leat";
    if (!leat_name_valid(name, strnlen(name, sizeof out->client_name)))
        return name_refused(why, why_bytes, "client_name", name);
    snprintf(out->client_name, sizeof out->client_name, "%s", name);
    out->values.client_name = out->client_name;
    return LEAT_OK;
}

enum leat_error options_client(struct client_options *out, const struct leat_client_options *given,
                               char *why, size_t why_bytes)
{
    struct leat_client_options *v = &out->values;
    if (!copy_sized(v, sizeof *v, given, offsetof(struct leat_client_options, client_name)))
        return size_refused(why, why_bytes, "leat_client_options");
    const enum leat_error error = check_client_name(out, why, why_bytes);
    if (error != LEAT_OK)
        return error;
    if (v->tcp_congestion != NULL) {
        const size_t size = strnlen(v->tcp_congestion, OPTIONS_CONGESTION_BYTES);
        if (size == 0 || size == OPTIONS_CONGESTION_BYTES) {
            snprintf(why, why_bytes, "tcp_congestion \"%.32s\": expected 1 to 15 characters",
                     v->tcp_congestion);
            return LEAT_ERR_INVALID;
        }
        memcpy(out->tcp_congestion, v->tcp_congestion, size + 1);
        v->tcp_congestion = out->tcp_congestion;
    }
    if (v->dpdk_port != NULL) {
        if (!copy_sized(&out->dpdk_port, sizeof out->dpdk_port, v->dpdk_port, sizeof out->dpdk_port)
            || out->dpdk_port.pool == NULL) {
            snprintf(why, why_bytes,
                     "dpdk_port: expected size = sizeof(struct leat_dpdk_port), and a pool");
            return LEAT_ERR_INVALID;
        }
        v->dpdk_port = &out->dpdk_port;
    }
    use_default(&v->connect_timeout_ns, TIMEOUT_DEFAULT_NS);
    use_default(&v->request_timeout_ns, TIMEOUT_DEFAULT_NS);
    if (v->backoff_min_ns == 0) {
        v->backoff_min_ns = BACKOFF_MIN_DEFAULT_NS;
        if (v->backoff_max_ns != 0 && v->backoff_max_ns < v->backoff_min_ns)
            v->backoff_min_ns = v->backoff_max_ns;
    }
    if (v->backoff_max_ns == 0)
        v->backoff_max_ns =
            v->backoff_min_ns > BACKOFF_MAX_DEFAULT_NS ? v->backoff_min_ns : BACKOFF_MAX_DEFAULT_NS;
    use_default(&v->circuit_open_ns, CIRCUIT_OPEN_DEFAULT_NS);
    if (v->circuit_failures == 0)
        v->circuit_failures = CIRCUIT_FAILURES_DEFAULT;
    if (v->backoff_max_ns > PAUSE_LIMIT_NS || v->circuit_open_ns > PAUSE_LIMIT_NS) {
        snprintf(why, why_bytes,
                 "backoff_max_ns %" PRIu64 ", circuit_open_ns %" PRIu64
                 ": expected at most one hour",
                 v->backoff_max_ns, v->circuit_open_ns);
        return LEAT_ERR_INVALID;
    }
    if (v->backoff_min_ns > v->backoff_max_ns) {
        snprintf(why, why_bytes,
                 "backoff_min_ns %" PRIu64 ": expected at most backoff_max_ns, %" PRIu64,
                 v->backoff_min_ns, v->backoff_max_ns);
        return LEAT_ERR_INVALID;
    }
    return LEAT_OK;
}

enum leat_error options_producer(struct leat_producer_options *out,
                                 const struct leat_producer_options *given, char *why,
                                 size_t why_bytes)
{
    if (!copy_sized(out, sizeof *out, given, offsetof(struct leat_producer_options, name)))
        return size_refused(why, why_bytes, "leat_producer_options");
    if (out->name != NULL
        && !leat_name_valid(out->name, strnlen(out->name, LEAT_NAME_BYTES_MAX + 1)))
        return name_refused(why, why_bytes, "producer name", out->name);
    if (out->batch_records_max == 0)
        out->batch_records_max = LEAT_BATCH_RECORDS_MAX;
    if (out->in_flight_batches == 0)
        out->in_flight_batches = IN_FLIGHT_DEFAULT;
    if (out->batch_bytes_max != 0
        && (out->batch_bytes_max < BATCH_BYTES_MIN || out->batch_bytes_max > BATCH_BYTES_LIMIT)) {
        snprintf(why, why_bytes, "batch_bytes_max %" PRIu32 ": expected 1024 to 1048576",
                 out->batch_bytes_max);
        return LEAT_ERR_INVALID;
    }
    if (out->batch_records_max > LEAT_BATCH_RECORDS_MAX) {
        snprintf(why, why_bytes, "batch_records_max %" PRIu32 ": expected at most 65536",
                 out->batch_records_max);
        return LEAT_ERR_INVALID;
    }
    if (out->in_flight_batches > LEAT_IN_FLIGHT_BATCHES_MAX) {
        snprintf(why, why_bytes, "in_flight_batches %" PRIu32 ": expected at most 64",
                 out->in_flight_batches);
        return LEAT_ERR_INVALID;
    }
    return LEAT_OK;
}

static enum leat_error check_group(struct leat_consumer_options *out, char *why, size_t why_bytes)
{
    if (!leat_name_valid(out->group, strnlen(out->group, LEAT_NAME_BYTES_MAX + 1)))
        return name_refused(why, why_bytes, "group", out->group);
    if (out->member != NULL
        && !leat_name_valid(out->member, strnlen(out->member, LEAT_NAME_BYTES_MAX + 1)))
        return name_refused(why, why_bytes, "member", out->member);
    use_default(&out->session_timeout_ns, LEAT_GROUP_SESSION_MS_DEFAULT * LEAT_NS_PER_MS);
    use_default(&out->commit_interval_ns, COMMIT_INTERVAL_DEFAULT_NS);
    if (out->partitions != NULL) {
        snprintf(why, why_bytes, "partitions: expected none, because group \"%s\" assigns them",
                 out->group);
    } else if (out->start_at == LEAT_START_OFFSET) {
        snprintf(why, why_bytes,
                 "start_at %" PRId32 ": expected latest, earliest or a time for a group; to start "
                 "elsewhere, seek once a partition is assigned, or reset the group",
                 out->start_at);
    } else if (out->commit < LEAT_COMMIT_PROCESSED || out->commit > LEAT_COMMIT_INTERVAL) {
        snprintf(why, why_bytes, "commit %" PRId32 ": expected a leat_commit, 0 to 2", out->commit);
    } else if (out->session_timeout_ns < LEAT_GROUP_SESSION_MS_MIN * LEAT_NS_PER_MS
               || out->session_timeout_ns > LEAT_GROUP_SESSION_MS_MAX * LEAT_NS_PER_MS) {
        snprintf(why, why_bytes, "session_timeout_ns %" PRIu64 ": expected 100 ms to one hour",
                 out->session_timeout_ns);
    } else {
        return LEAT_OK;
    }
    return LEAT_ERR_INVALID;
}

enum leat_error options_consumer(struct leat_consumer_options *out,
                                 const struct leat_consumer_options *given, char *why,
                                 size_t why_bytes)
{
    if (!copy_sized(out, sizeof *out, given, offsetof(struct leat_consumer_options, start_at)))
        return size_refused(why, why_bytes, "leat_consumer_options");
    if (out->name != NULL
        && !leat_name_valid(out->name, strnlen(out->name, LEAT_NAME_BYTES_MAX + 1)))
        return name_refused(why, why_bytes, "consumer name", out->name);
    if (out->start_at < LEAT_START_LATEST || out->start_at > LEAT_START_TIME) {
        snprintf(why, why_bytes, "start_at %" PRId32 ": expected a leat_start, 0 to 3",
                 out->start_at);
        return LEAT_ERR_INVALID;
    }
    if (out->partition_count > LEAT_PARTITIONS_MAX
        || (out->partition_count > 0) != (out->partitions != NULL)) {
        snprintf(why, why_bytes,
                 "partition_count %" PRIu32
                 ": expected at most 4096, and as many entries in partitions",
                 out->partition_count);
        return LEAT_ERR_INVALID;
    }
    const enum leat_error error = out->group != NULL ? check_group(out, why, why_bytes) : LEAT_OK;
    if (error != LEAT_OK)
        return error;
    use_default(&out->window_bytes, WINDOW_DEFAULT_BYTES);
    if (out->window_bytes > WINDOW_LIMIT_BYTES) {
        snprintf(why, why_bytes, "window_bytes %" PRIu64 ": expected at most 1 GiB",
                 out->window_bytes);
        return LEAT_ERR_INVALID;
    }
    return LEAT_OK;
}

enum leat_error options_topic(struct leat_topic_settings *out,
                              const struct leat_topic_settings *given, char *why, size_t why_bytes)
{
    if (!copy_sized(out, sizeof *out, given, offsetof(struct leat_topic_settings, partitions)))
        return size_refused(why, why_bytes, "leat_topic_settings");
    if (out->partitions > LEAT_PARTITIONS_MAX) {
        snprintf(why, why_bytes, "partitions %" PRIu32 ": expected at most 4096", out->partitions);
        return LEAT_ERR_INVALID;
    }
    if (out->record_bytes_max > LEAT_RECORD_BYTES_LIMIT) {
        snprintf(why, why_bytes, "record_bytes_max %" PRIu32 ": expected at most 16777216",
                 out->record_bytes_max);
        return LEAT_ERR_INVALID;
    }
    if (out->overrun != LEAT_OVERRUN_EVICT && out->overrun != LEAT_OVERRUN_BLOCK) {
        snprintf(why, why_bytes, "overrun %" PRId32 ": expected a leat_overrun, 0 or 1",
                 out->overrun);
        return LEAT_ERR_INVALID;
    }
    return LEAT_OK;
}

enum leat_error options_group_reset(struct leat_group_reset_options *out,
                                    const struct leat_group_reset_options *given, char *why,
                                    size_t why_bytes)
{
    if (given == NULL) {
        snprintf(why, why_bytes, "options NULL: expected a struct leat_group_reset_options");
        return LEAT_ERR_INVALID;
    }
    if (!copy_sized(out, sizeof *out, given, offsetof(struct leat_group_reset_options, reserved)))
        return size_refused(why, why_bytes, "leat_group_reset_options");
    if (out->partition < -1 || out->partition >= LEAT_PARTITIONS_MAX) {
        snprintf(why, why_bytes, "partition %" PRId32 ": expected 0 to %d, or -1 for all",
                 out->partition, LEAT_PARTITIONS_MAX - 1);
        return LEAT_ERR_INVALID;
    }
    return LEAT_OK;
}
